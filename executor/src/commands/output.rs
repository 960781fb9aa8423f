//! Writing a result file in one step: a reader sees the old file or the whole new one.

use std::path::Path;

use anyhow::Context;

/// Writes `bytes` beside `path` and renames them into place; what was written is removed when something fails.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = Path::new(&part);
    let written = std::fs::write(part, bytes).and_then(|()| std::fs::rename(part, path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_file(part);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("out.json");
        write_whole(&path, b"one").expect("should write");
        write_whole(&path, b"two").expect("should replace");
        assert_eq!(std::fs::read(&path).expect("should read"), b"two");
        let missing = folder.path().join("no such folder").join("out.json");
        let error = write_whole(&missing, b"three").expect_err("the folder is missing").to_string();
        assert!(error.starts_with("cannot write ") && error.ends_with("out.json"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("should list").count(), 1);
    }
}
