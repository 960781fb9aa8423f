//! Where a model's files come from: a Hugging Face folder, or the demo model inside the program.
//!
//! Everything that parses a file takes its bytes and its displayed path from here, so that the embedded model goes
//! the same way as any other and messages can always name a file.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A file compiled into the program.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedFile {
    /// File name within the folder.
    pub name: &'static str,
    /// Contents; the weights should start at an address that is a multiple of 64.
    pub bytes: &'static [u8],
}

/// A model's folder.
#[derive(Clone, Debug)]
pub enum ModelSource {
    /// A folder on disk.
    Folder(PathBuf),
    /// Files in the program.
    Embedded(&'static [EmbeddedFile]),
}

impl ModelSource {
    /// Opens a folder, checking that it is one.
    ///
    /// # Errors
    /// [`Error::MissingFile`] where `path` is not a folder.
    pub fn folder(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        let hint = if path.exists() {
            "it is a file; give the folder that holds config.json"
        } else {
            "give the folder that holds config.json and the weights"
        };
        Err(Error::MissingFile { file: path.to_owned(), hint: hint.to_owned() })
    }

    /// The path that messages show for file `name`.
    pub fn path_of(&self, name: &str) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(name),
            Self::Embedded(_) => Path::new("<demo model>").join(name),
        }
    }

    /// The path that messages show for the whole model.
    pub fn place(&self) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.clone(),
            Self::Embedded(_) => PathBuf::from("<demo model>"),
        }
    }

    /// The bytes of file `name`, or `None` where the model has no such file.
    ///
    /// # Errors
    /// [`Error::ReadFile`] where the file is there but cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<Cow<'static, [u8]>>> {
        match self {
            Self::Folder(folder) => {
                let file = folder.join(name);
                match std::fs::read(&file) {
                    Ok(bytes) => Ok(Some(Cow::Owned(bytes))),
                    Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(source) => Err(Error::ReadFile { file, source }),
                }
            }
            Self::Embedded(files) => {
                Ok(files.iter().find(|file| file.name == name).map(|file| Cow::Borrowed(file.bytes)))
            }
        }
    }

    /// The bytes of file `name`, which the model cannot do without.
    ///
    /// # Errors
    /// [`Error::MissingFile`] with `hint`, or [`Error::ReadFile`].
    pub fn require(&self, name: &str, hint: &str) -> Result<Cow<'static, [u8]>> {
        self.read(name)?.ok_or_else(|| Error::MissingFile { file: self.path_of(name), hint: hint.to_owned() })
    }
}
