//! tilewright: a tiled kernel language, an autotuner and a model executor.
