//! The PTX machine of tilewright.
