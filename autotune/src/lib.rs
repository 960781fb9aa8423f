//! Chooses schedules by measurement, and keeps the choices as records.
//!
//! The way from a kernel to a record: a [`Family`](problem::Family) opens a [`Problem`](problem::Problem) at one bucket,
//! [`tune`](tune::tune) searches its space and measures the candidates, [`Record`](record::Record) keeps the winner with its
//! provenance, [`Library`](library::Library) finds it again for whoever launches the kernel. Nothing here tunes unless asked:
//! a lookup that finds no record answers with the reason why the default schedule serves.

pub mod ahead;
pub mod ceiling;
mod error;
pub mod fingerprint;
pub mod kernels;
pub mod library;
pub mod measure;
pub mod problem;
pub mod record;
pub mod report;
pub mod search;
mod shipped;
pub mod tune;

pub use error::{Error, Result};
