//! The default of every kernel through the real compiler, against the reviewed table.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use tilewright_codegen::target::Arch;
use tilewright_runtime::cuda::nvrtc::Nvrtc;

use super::jobs::jobs;
use super::{Progress, compile_all, table};
use crate::points::Selection;

#[test]
fn defaults_compile_to_the_reviewed_table() {
    if let Err(error) = Nvrtc::get() {
        let line = format!("the table of GPU kernels needs NVRTC ({error}); `cargo xtask nvrtc` fetches it");
        println!("skipped: {line}");
        if let Some(dir) = std::env::var_os("TILEWRIGHT_SKIPPED_DIR") {
            let path = Path::new(&dir).join("cuda-report");
            let file = std::fs::File::create(path).and_then(|mut file| writeln!(file, "{line}"));
            file.expect("the folder of skipped tests should be writable");
        }
        return;
    }
    let all = jobs(&[Arch::Sm80, Arch::Sm90a], &BTreeSet::new(), Selection::Sample(0))
        .expect("the registry should be sound");
    let all = all.into_iter().filter(|job| matches!(job.dtype, "f32" | "bf16") && job.is_default);
    let all = all.enumerate().map(|(index, job)| super::Job { index, ..job }).collect();
    let rows = compile_all(all, Progress::Silent).expect("every configuration should be compiled");
    let wrong: Vec<String> = table::violations(&rows).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let found = table::rows(&rows);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots/cuda-report.txt");
    if std::env::var_os("TILEWRIGHT_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().expect("the table should lie in a folder"))
            .expect("should be writable");
        std::fs::write(&path, &found).expect("the table should be writable");
        return;
    }
    let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
    let changed: Vec<String> =
        found.lines().filter(|line| !reviewed.lines().any(|l| l == *line)).map(str::to_owned).collect();
    assert_eq!(found, reviewed, "review and run `cargo xtask bless`; new lines:\n{}", changed.join("\n"));
}
