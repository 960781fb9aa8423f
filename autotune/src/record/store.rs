//! Records on disk: `<root>/<device class>/<kernel>.json`.
//!
//! A reader sees the old file or the new one, never a part: the text goes to a temporary file in the same folder, is synced
//! and renamed. Writers of one folder take turns by a lock on `.lock`, so that none loses another's buckets.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::{RecordFile, verify};
use crate::problem::Subject;
use crate::{Error, Result};

/// Where the records of `kernel` on `device_class` live under `root`.
///
/// # Errors
/// [`Error::BadName`] if a name cannot be a file name.
pub fn path(root: &Path, device_class: &str, kernel: &str) -> Result<PathBuf> {
    for name in [device_class, kernel] {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(fits) {
            return Err(Error::BadName { name: name.to_owned() });
        }
    }
    Ok(root.join(device_class).join(format!("{kernel}.json")))
}

/// Reads and verifies the records of `subject` on `device_class`; `None` if there is no file.
///
/// # Errors
/// If the file cannot be read, is malformed, or is refused.
pub fn load(root: &Path, subject: &Subject<'_>, device_class: &str) -> Result<Option<RecordFile>> {
    let path = path(root, device_class, subject.kernel)?;
    let Some(file) = read(&path)? else { return Ok(None) };
    verify(&file, subject, device_class, &path.display().to_string())?;
    Ok(Some(file))
}

/// Merges `newer` into the file of its kernel and device class and writes it atomically. Records of another source of the
/// kernel are dropped; returns the path and how many were.
///
/// # Errors
/// If the folder cannot be written, or an existing file is malformed or of another schema, kernel or device class: it is then
/// left as it is.
pub fn save(root: &Path, newer: RecordFile) -> Result<(PathBuf, usize)> {
    let path = path(root, &newer.device_class, &newer.kernel)?;
    let folder = root.join(&newer.device_class);
    fs::create_dir_all(&folder).map_err(io_error("create folder", &folder))?;
    let lock_path = folder.join(".lock");
    let lock = OpenOptions::new().create(true).append(true).open(&lock_path);
    let lock = lock.map_err(io_error("open lock file", &lock_path))?;
    lock.lock().map_err(io_error("lock", &lock_path))?;

    let mut merged = newer;
    let mut dropped = 0;
    if let Some(mut existing) = read(&path)? {
        for (field, expected, found) in [
            ("kernel", &merged.kernel, &existing.kernel),
            ("device_class", &merged.device_class, &existing.device_class),
        ] {
            if expected != found {
                return Err(Error::Refused {
                    origin: path.display().to_string(),
                    field: field.to_owned(),
                    expected: format!("`{expected}`"),
                    found: format!("`{found}`"),
                    advice: "move it away before tuning into this folder",
                });
            }
        }
        dropped = existing.merge(merged);
        merged = existing;
    }
    write_atomically(&path, &merged.to_json())?;
    Ok((path, dropped))
}

fn read(path: &Path) -> Result<Option<RecordFile>> {
    match fs::read_to_string(path) {
        Ok(text) => RecordFile::from_json(&text, &path.display().to_string()).map(Some),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io_error("read", path)(e)),
    }
}

fn write_atomically(path: &Path, text: &str) -> Result<()> {
    // The process id keeps apart writers that a file system without locks lets in together.
    let temporary = path.with_extension(format!("json.{}.tmp", std::process::id()));
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|e| {
        // Best effort: the write has already failed, and a left-over is ignored by readers.
        let _ = fs::remove_file(&temporary);
        io_error("write", path)(e)
    })
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}
