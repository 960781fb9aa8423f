//! What the tests of the CUDA side share: the compiler, or a note that a test is skipped without it.

use std::io::Write as _;

use tilewright_runtime::cuda::nvrtc::Nvrtc;

/// The compiler of this machine; without one, says so and returns `None`, and the test counts as skipped.
pub(crate) fn nvrtc_or_skip(test: &str) -> Option<&'static Nvrtc> {
    match Nvrtc::get() {
        Ok(nvrtc) => Some(nvrtc),
        Err(error) => {
            skip(test, &error.to_string());
            None
        }
    }
}

/// Records that `test` did not run, and why, where the test task counts it.
pub(crate) fn skip(test: &str, why: &str) {
    let line = format!("{test}: {why}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(folder) = std::env::var_os("TILEWRIGHT_SKIPPED_DIR") {
        let name = format!("runtime-{}-{test}.txt", std::process::id());
        std::fs::write(std::path::Path::new(&folder).join(name), line)
            .expect("the folder for skipped tests should be writable");
    }
}
