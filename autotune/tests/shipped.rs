//! The embedded records are the files under `records/`, and each is readable and in its place.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use tilewright_autotune::library::shipped_names;
use tilewright_autotune::record::RecordFile;

/// Sorted entries of a folder; none if it does not exist.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = read.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Device class, kernel and path of every record file of the source tree.
fn files() -> Vec<(String, String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("records");
    let name = |path: &Path| path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let is_record = |path: &PathBuf| path.extension().is_some_and(|e| e == "json");
    entries(&root)
        .iter()
        .filter(|class| class.is_dir())
        .flat_map(|class| entries(class).into_iter().filter(is_record).map(|path| (class.clone(), path)))
        .map(|(class, path)| {
            (class.file_name().unwrap_or_default().to_string_lossy().into_owned(), name(&path), path)
        })
        .collect()
}

#[test]
fn every_record_file_names_its_place() {
    for (class, kernel, path) in files() {
        let text = fs::read_to_string(&path).expect("record should be readable");
        let file =
            RecordFile::from_json(&text, &path.display().to_string()).expect("record should be well formed");
        assert_eq!((&file.device_class, &file.kernel), (&class, &kernel), "{}", path.display());
        assert_eq!(file.to_json(), text, "{} should be as the tuner writes it", path.display());
    }
}

#[test]
fn the_embedded_list_is_the_folder() {
    let files: Vec<(String, String)> =
        files().into_iter().map(|(class, kernel, _)| (class, kernel)).collect();
    let embedded: Vec<(String, String)> =
        shipped_names().map(|(c, k)| (c.to_owned(), k.to_owned())).collect();
    if files == embedded {
        return;
    }
    let mut table = String::from("pub(crate) const SHIPPED: &[Shipped] = &[");
    for (class, kernel) in &files {
        let _ = write!(
            table,
            "\n    Shipped {{\n        device_class: \"{class}\",\n        kernel: \"{kernel}\",\n        \
             json: include_str!(\"../records/{class}/{kernel}.json\"),\n    }},"
        );
    }
    table.push_str(if files.is_empty() { "];\n" } else { "\n];\n" });
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/shipped.rs");
    if std::env::var_os("TILEWRIGHT_BLESS").is_some() {
        let source = fs::read_to_string(&path).expect("source should be readable");
        let head = source.split("pub(crate) const SHIPPED").next().expect("a split should have a head");
        fs::write(&path, format!("{head}{table}")).expect("source should be writable");
        return;
    }
    panic!(
        "src/shipped.rs should list exactly the files under records/; rerun with TILEWRIGHT_BLESS=1 to rewrite it:\n{table}"
    );
}
