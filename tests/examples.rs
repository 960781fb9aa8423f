//! Runs every example as a user would; each checks its own result and fails when it is wrong.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Cargo builds the examples beside this test's folder before it runs the test.
fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test should know its own path");
    let profile = test.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps");
    profile.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

fn run(name: &str) {
    let path = binary(name);
    assert!(path.exists(), "{} is missing: run `cargo test`, which builds the examples", path.display());
    let output = Command::new(&path).output().unwrap_or_else(|e| panic!("{name} does not start: {e}"));
    assert!(
        output.status.success(),
        "{name} failed\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

macro_rules! examples {
    ($($test:ident = $name:literal;)+) => {
        $(
            #[test]
            fn $test() {
                run($name);
            }
        )+

        #[test]
        fn every_example_is_run() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
            let mut found: Vec<String> = std::fs::read_dir(folder)
                .expect("the examples should be there")
                .map(|e| e.expect("a folder entry").path())
                .filter_map(|p| Some(p.file_stem()?.to_string_lossy().into_owned()))
                .collect();
            found.sort();
            assert_eq!(found, [$($name),+]);
        }
    };
}

examples! {
    add = "01_add";
    softmax = "02_softmax";
    matmul = "03_matmul";
    attention = "04_attention";
    tuning = "05_tune";
    generation = "06_generate";
}
