//! The kernel attribute of tilewright.
