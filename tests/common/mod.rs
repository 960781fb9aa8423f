//! What the tests of the GPU side share: the compiler of CUDA kernels, or a note that a test is skipped without it, and kernels
//! compiled as a launch on whole buffers compiles them.

use std::io::Write as _;

use tilewright_runtime::cuda::nvrtc::Nvrtc;

/// Whether this machine has the compiler; without it, says so, and the test counts as skipped.
pub(crate) fn has_nvrtc(test: &str) -> bool {
    match Nvrtc::get() {
        Ok(_) => true,
        Err(error) => {
            skip(test, &error.to_string());
            false
        }
    }
}

/// Whether `TILEWRIGHT_KERNEL` leaves this kernel in.
pub(crate) fn is_wanted(kernel: &str) -> bool {
    std::env::var("TILEWRIGHT_KERNEL").map_or(true, |only| only == kernel)
}

/// Records that `test` did not run, and why, where the test task counts it.
fn skip(test: &str, why: &str) {
    let line = format!("{test}: {why}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(folder) = std::env::var_os("TILEWRIGHT_SKIPPED_DIR") {
        let name = format!("tilewright-{}-{test}.txt", std::process::id());
        std::fs::write(std::path::Path::new(&folder).join(name), line)
            .expect("the folder for skipped tests should be writable");
    }
}
