//! What a caller may see and change of the launches of a simulated device: the PTX that runs, how it runs, what it reported.
//!
//! Mutation tests put broken PTX in place of the compiler's, and one device runs the same compiled kernel under many schedules.

use tilewright_sim::{Options, Report};

/// Watches the launches of a simulated device; all methods may be called from any thread.
pub trait SimHook: Send + Sync {
    /// The PTX to run in place of `ptx`, which the compiler made of `kernel`; asked once for each variant.
    ///
    /// # Errors
    /// A sentence, with which the launch fails.
    fn ptx(&self, kernel: &str, ptx: &str) -> Result<String, String> {
        let _ = kernel;
        Ok(ptx.to_owned())
    }

    /// How the next launch runs.
    fn options(&self) -> Options;

    /// What a launch reported, clean or not.
    fn reported(&self, report: &Report);
}
