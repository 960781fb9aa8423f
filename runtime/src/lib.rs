//! Devices, buffers, streams and launches.
