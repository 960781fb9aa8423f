//! A checkpoint's tensors by name: `model.safetensors`, or shards by `model.safetensors.index.json`.
//!
//! Nothing is copied: a [`WeightView`] points into the mapped file. What the model asks for is checked against what
//! the file has when it asks, so every message can give the expected and the found shape.

mod shard;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use safetensors::Dtype;

pub use shard::SharedBytes;
use shard::{Shard, ShardTensor};

use crate::config::{Fields, parse_object};
use crate::error::{Error, Result};
use crate::source::ModelSource;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Element types that the kernels take as weights.
pub const WEIGHT_DTYPES: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::BF16];

/// All tensors of a checkpoint.
#[derive(Debug)]
pub struct Weights {
    place: PathBuf,
    shards: Vec<Shard>,
    /// Name to (shard, tensor within the shard).
    by_name: BTreeMap<String, (usize, usize)>,
}

/// One tensor: row-major, little-endian, in place.
#[derive(Clone, Copy, Debug)]
pub struct WeightView<'a> {
    /// Its name in the checkpoint.
    pub name: &'a str,
    /// The shard that holds it.
    pub file: &'a Path,
    /// Element type.
    pub dtype: Dtype,
    /// Extents, outermost first; a linear layer's is `[out, in]`.
    pub shape: &'a [usize],
    /// The elements, aligned to the element size; clone it to keep the bytes alive without a copy.
    pub bytes: &'a SharedBytes,
}

impl WeightView<'_> {
    /// Number of elements.
    pub fn n_elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Tensors of one element type, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DtypeTotal {
    /// The element type.
    pub dtype: Dtype,
    /// Tensors.
    pub n_tensors: usize,
    /// Elements in them.
    pub n_elements: u64,
    /// Their bytes.
    pub n_bytes: u64,
}

impl Weights {
    /// Opens the checkpoint of `source`: the single file where there is one, else the shards of the index.
    ///
    /// # Errors
    /// No weights, a missing, truncated or damaged shard, a tensor that is not where the index says, or one that
    /// two shards hold.
    pub fn open(source: &ModelSource) -> Result<Self> {
        match source {
            ModelSource::Embedded(_) => {
                let file = source.path_of(SINGLE);
                match source.require(SINGLE, "the weights")? {
                    std::borrow::Cow::Borrowed(bytes) => Self::from_embedded(&file, bytes),
                    std::borrow::Cow::Owned(_) => {
                        unreachable!("an embedded file should be borrowed from the program")
                    }
                }
            }
            ModelSource::Folder(folder) if folder.join(SINGLE).exists() => {
                let shard = Shard::open(&folder.join(SINGLE))?;
                Self::gather(folder.clone(), vec![shard])
            }
            ModelSource::Folder(folder) if folder.join(INDEX).exists() => Self::open_index(folder),
            ModelSource::Folder(folder) => {
                Err(Error::MissingFile { file: folder.join(SINGLE), hint: missing_hint(folder) })
            }
        }
    }

    /// A checkpoint of one file that is part of the program.
    ///
    /// # Errors
    /// A truncated or damaged file.
    pub fn from_embedded(file: &Path, bytes: &'static [u8]) -> Result<Self> {
        Self::gather(file.to_owned(), vec![Shard::embedded(file, bytes)?])
    }

    fn open_index(folder: &Path) -> Result<Self> {
        let index = folder.join(INDEX);
        let bytes =
            std::fs::read(&index).map_err(|source| Error::ReadFile { file: index.clone(), source })?;
        let map = parse_object(&index, &bytes)?;
        let fields = Fields::new(&index, &map);
        let weight_map = fields.object("weight_map")?.ok_or_else(|| fields.missing("weight_map"))?;

        let mut shard_of = BTreeMap::new();
        for tensor in weight_map.keys() {
            let name = weight_map.str(tensor)?.ok_or_else(|| weight_map.missing(tensor))?;
            // A checkpoint comes from others: it may not point outside its folder.
            if Path::new(name).file_name() != Some(name.as_ref()) {
                return Err(weight_map.bad(tensor, "the name of a file in the same folder"));
            }
            if !folder.join(name).exists() {
                return Err(Error::MissingShard { index, shard: name.to_owned(), tensor: tensor.to_owned() });
            }
            shard_of.insert(tensor, name);
        }
        let names: BTreeSet<&str> = shard_of.values().copied().collect();
        let shards = names.iter().map(|name| Shard::open(&folder.join(name))).collect::<Result<Vec<_>>>()?;
        let weights = Self::gather(folder.to_owned(), shards)?;
        for (tensor, name) in shard_of {
            let shard = folder.join(name);
            let found = weights.by_name.get(tensor).map(|(shard_idx, _)| &weights.shards[*shard_idx].file);
            if found != Some(&shard) {
                return Err(Error::NotInShard { index, shard, tensor: tensor.to_owned() });
            }
        }
        Ok(weights)
    }

    fn gather(place: PathBuf, shards: Vec<Shard>) -> Result<Self> {
        let mut by_name: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for (shard_idx, shard) in shards.iter().enumerate() {
            for (tensor_idx, tensor) in shard.tensors.iter().enumerate() {
                if let Some((first, _)) = by_name.insert(tensor.name.clone(), (shard_idx, tensor_idx)) {
                    return Err(Error::DuplicateTensor {
                        tensor: tensor.name.clone(),
                        first: shards[first].file.clone(),
                        second: shard.file.clone(),
                    });
                }
            }
        }
        Ok(Self { place, shards, by_name })
    }

    /// The tensor `name`, where the checkpoint has one.
    pub fn get(&self, name: &str) -> Option<WeightView<'_>> {
        self.by_name.get(name).map(|&(shard_idx, tensor_idx)| {
            let shard = &self.shards[shard_idx];
            view(shard, &shard.tensors[tensor_idx])
        })
    }

    /// The tensor `name`, which must have this shape and one of [`WEIGHT_DTYPES`].
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::WrongDtype`] or [`Error::WrongShape`].
    pub fn require(&self, name: &str, shape: &[usize]) -> Result<WeightView<'_>> {
        self.require_dtype(name, shape, &WEIGHT_DTYPES)
    }

    /// The tensor `name`, which must have this shape and one of these element types.
    ///
    /// # Errors
    /// As [`Weights::require`].
    pub fn require_dtype(&self, name: &str, shape: &[usize], dtypes: &[Dtype]) -> Result<WeightView<'_>> {
        let found = self.get(name).ok_or_else(|| Error::MissingTensor {
            place: self.place.clone(),
            tensor: name.to_owned(),
            n_tensors: self.by_name.len(),
        })?;
        if !dtypes.contains(&found.dtype) {
            let expected: Vec<String> = dtypes.iter().map(|dtype| format!("{dtype:?}")).collect();
            return Err(Error::WrongDtype {
                file: found.file.to_owned(),
                tensor: name.to_owned(),
                found: format!("{:?}", found.dtype),
                expected: expected.join(" or "),
            });
        }
        if found.shape != shape {
            return Err(Error::WrongShape {
                file: found.file.to_owned(),
                tensor: name.to_owned(),
                found: found.shape.to_vec(),
                expected: shape.to_vec(),
            });
        }
        Ok(found)
    }

    /// Every tensor, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = WeightView<'_>> {
        self.by_name.values().map(|&(shard_idx, tensor_idx)| {
            let shard = &self.shards[shard_idx];
            view(shard, &shard.tensors[tensor_idx])
        })
    }

    /// Number of tensors.
    pub fn n_tensors(&self) -> usize {
        self.by_name.len()
    }

    /// The files that hold the tensors.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.shards.iter().map(|shard| shard.file.as_path())
    }

    /// Tensors, elements and bytes by element type, in the order in which the types first appear.
    pub fn totals(&self) -> Vec<DtypeTotal> {
        let mut totals: Vec<DtypeTotal> = Vec::new();
        for tensor in self.iter() {
            let (elements, bytes) = (tensor.n_elements() as u64, tensor.bytes.len() as u64);
            match totals.iter_mut().find(|total| total.dtype == tensor.dtype) {
                Some(total) => {
                    total.n_tensors += 1;
                    total.n_elements += elements;
                    total.n_bytes += bytes;
                }
                None => totals.push(DtypeTotal {
                    dtype: tensor.dtype,
                    n_tensors: 1,
                    n_elements: elements,
                    n_bytes: bytes,
                }),
            }
        }
        totals
    }
}

fn view<'a>(shard: &'a Shard, tensor: &'a ShardTensor) -> WeightView<'a> {
    WeightView {
        name: &tensor.name,
        file: &shard.file,
        dtype: tensor.dtype,
        shape: &tensor.shape,
        bytes: &tensor.bytes,
    }
}

fn missing_hint(folder: &Path) -> String {
    let other = ["pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.safetensors"]
        .into_iter()
        .find(|name| folder.join(name).exists());
    match other {
        Some(name) => format!("there is {name}; save the model as {SINGLE} with transformers"),
        None => format!("nor is there {INDEX}"),
    }
}
