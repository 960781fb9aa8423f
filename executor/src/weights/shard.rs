//! One safetensors file, memory-mapped or embedded: its header checked, its tensors as byte ranges.
//!
//! The bytes are shared by reference count, so that a device buffer may keep using them without a copy after the
//! [`super::Weights`] that opened the file is gone.

use std::fs::File;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use safetensors::tensor::{SafeTensorError, SafeTensors};
use safetensors::{Dtype, tensor::Metadata};

use crate::error::{Error, Result};

/// Immutable bytes that live as long as anyone holds them; dereferences to `[u8]`.
#[derive(Clone, Debug)]
pub struct SharedBytes {
    store: Store,
    range: Range<usize>,
}

#[derive(Clone, Debug)]
enum Store {
    Mapped(Arc<Mmap>),
    Embedded(&'static [u8]),
    /// A copy of a tensor that the file does not align to its element size.
    Owned(Arc<[u64]>),
}

impl Store {
    fn all(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Embedded(bytes) => bytes,
            Self::Owned(words) => bytemuck::cast_slice(words),
        }
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.store.all()[self.range.clone()]
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl SharedBytes {
    /// Whether the bytes are mapped or embedded, rather than a copy made for alignment.
    pub fn is_in_place(&self) -> bool {
        !matches!(self.store, Store::Owned(_))
    }
}

/// An open shard.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) file: PathBuf,
    pub(super) tensors: Vec<ShardTensor>,
}

/// A tensor within a shard.
#[derive(Debug)]
pub(super) struct ShardTensor {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: SharedBytes,
}

impl Shard {
    /// Maps `file` and reads its header.
    pub(super) fn open(file: &Path) -> Result<Self> {
        let read_error = |source| Error::ReadFile { file: file.to_owned(), source };
        let handle = File::open(file).map_err(read_error)?;
        if handle.metadata().map_err(read_error)?.len() == 0 {
            // An empty file cannot be mapped.
            return Err(Error::TruncatedShard { file: file.to_owned(), expected_bytes: 8, found_bytes: 0 });
        }
        #[expect(unsafe_code, reason = "mapping a file is the only way not to copy gigabytes of weights")]
        // SAFETY: the map is read-only and private to us. Another process that truncates or rewrites the file while
        // it is mapped is outside what a program can guard against; checkpoints are replaced by renaming.
        let map = unsafe { Mmap::map(&handle) }.map_err(read_error)?;
        Self::parse(file, &Store::Mapped(Arc::new(map)))
    }

    /// Reads the header of a file that is part of the program.
    pub(super) fn embedded(file: &Path, bytes: &'static [u8]) -> Result<Self> {
        Self::parse(file, &Store::Embedded(bytes))
    }

    fn parse(file: &Path, store: &Store) -> Result<Self> {
        let (header_bytes, metadata) =
            SafeTensors::read_metadata(store.all()).map_err(|error| explain(file, store.all(), &error))?;
        let data_start = 8 + header_bytes;
        let mut names = metadata.offset_keys();
        names.sort_unstable();
        let tensors = names
            .into_iter()
            .map(|name| {
                let info = metadata.info(&name).expect("a listed tensor should have its entry");
                let (start, end) = info.data_offsets;
                let bytes = SharedBytes { store: store.clone(), range: data_start + start..data_start + end };
                let bytes = aligned(bytes, info.dtype);
                ShardTensor { dtype: info.dtype, shape: info.shape.clone(), bytes, name }
            })
            .collect();
        Ok(Self { file: file.to_owned(), tensors })
    }
}

/// The same bytes at an address that is a multiple of the element size: old writers did not pad the header.
fn aligned(bytes: SharedBytes, dtype: Dtype) -> SharedBytes {
    let align_bytes = (dtype.bitsize() / 8).clamp(1, 8);
    if bytes.as_ptr().addr().is_multiple_of(align_bytes) {
        return bytes;
    }
    let mut words = vec![0u64; bytes.len().div_ceil(8)];
    let len = bytes.len();
    bytemuck::cast_slice_mut::<u64, u8>(&mut words)[..len].copy_from_slice(&bytes);
    SharedBytes { store: Store::Owned(words.into()), range: 0..len }
}

/// Turns the parser's terse error into one with the file and its numbers.
fn explain(file: &Path, bytes: &[u8], error: &SafeTensorError) -> Error {
    let found_bytes = bytes.len() as u64;
    let truncated =
        |expected_bytes| Error::TruncatedShard { file: file.to_owned(), expected_bytes, found_bytes };
    let corrupt = |why: String| Error::CorruptShard { file: file.to_owned(), why };
    let header_bytes = match bytes.first_chunk::<8>() {
        Some(length) => u64::from_le_bytes(*length),
        None => return truncated(8),
    };
    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is another crate's and grows")]
    match error {
        SafeTensorError::HeaderTooLarge => {
            corrupt(format!("its length field says {header_bytes} bytes; this is not a safetensors file"))
        }
        SafeTensorError::InvalidHeaderLength => truncated(header_bytes.saturating_add(8)),
        SafeTensorError::MetadataIncompleteBuffer => {
            truncated(data_bytes(bytes, header_bytes).saturating_add(header_bytes).saturating_add(8))
        }
        SafeTensorError::InvalidOffset(tensor) => {
            corrupt(format!("tensor `{tensor}` does not start where the one before it ends"))
        }
        other => corrupt(other.to_string()),
    }
}

/// How many bytes of tensor data a header announces.
fn data_bytes(bytes: &[u8], header_bytes: u64) -> u64 {
    usize::try_from(header_bytes)
        .ok()
        .and_then(|length| bytes.get(8..8 + length))
        .and_then(|header| serde_json::from_slice::<Metadata>(header).ok())
        .map_or(0, |metadata| metadata.data_len() as u64)
}
