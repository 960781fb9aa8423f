//! Rules of the repository that rustc does not check: file length, a module doc in every file, the direction of dependencies.

use std::fs;
use std::path::{Path, PathBuf};

/// Files longer than this are split, unless their first lines say `//! table`.
const MAX_LINES: usize = 800;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("reading {}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(files.len() > 20, "the walk should find the sources");
    files
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_file_says_what_it_owns() {
    let silent: Vec<String> = rust_files()
        .iter()
        .filter(|p| !relative(p).starts_with("tests/ui/"))
        .filter(|p| !fs::read_to_string(p).unwrap().starts_with("//!"))
        .map(|p| relative(p))
        .collect();
    assert!(silent.is_empty(), "files without a leading `//!` doc: {silent:#?}");
}

#[test]
fn no_file_outgrows_the_limit() {
    let long: Vec<String> = rust_files()
        .iter()
        .filter_map(|p| {
            let text = fs::read_to_string(p).unwrap();
            let n_lines = text.lines().count();
            let is_table = text.lines().take(3).any(|l| l.starts_with("//! table"));
            (n_lines > MAX_LINES && !is_table).then(|| format!("{} ({n_lines} lines)", relative(p)))
        })
        .collect();
    assert!(long.is_empty(), "split these files: {long:#?}");
}

#[test]
fn dependencies_point_downward() {
    // Each crate with the crates of ours that it may depend on.
    let allowed: [(&str, &[&str]); 7] = [
        ("dsl-macros", &[]),
        ("codegen", &["macros"]),
        ("sim", &[]),
        ("runtime", &["macros", "codegen", "sim"]),
        ("kernels-lib", &["macros", "codegen", "runtime"]),
        ("autotune", &["codegen", "runtime", "kernels"]),
        ("executor", &["codegen", "runtime", "kernels", "autotune"]),
    ];
    for (folder, may) in allowed {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let section = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let section = section.split("\n[").next().unwrap_or_default();
        for line in section.lines() {
            let Some(rest) = line.strip_prefix("tilewright-") else { continue };
            let name = rest.split(['.', ' ', '=']).next().unwrap();
            assert!(may.contains(&name), "{folder} may not depend on tilewright-{name}");
        }
    }
}

#[test]
fn nothing_is_ignored_or_left_for_later() {
    let needles =
        [concat!("#[", "ignore"), concat!("todo", "!("), concat!("unimplemented", "!("), concat!("TO", "DO")];
    for path in rust_files() {
        let text = fs::read_to_string(&path).unwrap();
        for needle in needles {
            assert!(!text.contains(needle), "{} contains `{needle}`", relative(&path));
        }
    }
}
