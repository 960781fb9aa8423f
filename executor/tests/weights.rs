//! Checkpoints that are whole, and every way in which one can be broken.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};
use serde_json::json;
use tempfile::TempDir;
use tilewright_executor::error::Error;
use tilewright_executor::source::ModelSource;
use tilewright_executor::weights::Weights;

/// The bytes of a safetensors file with f32 tensors of these names and shapes; element i of a tensor is i.
fn file_of(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let data: BTreeMap<&str, Vec<u8>> = tensors
        .iter()
        .map(|(name, shape)| {
            let values = 0..shape.iter().product::<usize>();
            (*name, values.flat_map(|value| (value as f32).to_le_bytes()).collect())
        })
        .collect();
    let views = tensors.iter().map(|(name, shape)| {
        (*name, TensorView::new(Dtype::F32, shape.to_vec(), &data[name]).expect("a legal tensor"))
    });
    serialize(views, None).expect("legal tensors should serialise")
}

fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).expect("a file");
    }
    folder
}

fn open(folder: &TempDir) -> Result<Weights, Error> {
    Weights::open(&ModelSource::folder(folder.path()).expect("a folder"))
}

fn failure(files: &[(&str, Vec<u8>)]) -> String {
    open(&folder(files)).expect_err("the checkpoint is broken").to_string()
}

fn index(pairs: &[(&str, &str)]) -> Vec<u8> {
    let map: serde_json::Map<String, serde_json::Value> =
        pairs.iter().map(|(tensor, shard)| ((*tensor).to_owned(), json!(shard))).collect();
    json!({"metadata": {"total_size": 0}, "weight_map": map}).to_string().into_bytes()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|chunk| f32::from_le_bytes(chunk.try_into().expect("four bytes"))).collect()
}

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

#[test]
fn a_single_file_is_read_in_place() {
    let dir = folder(&[(SINGLE, file_of(&[("a", &[2, 3]), ("b", &[1]), ("empty", &[0, 7])]))]);
    let weights = open(&dir).expect("a whole checkpoint");
    let a = weights.require("a", &[2, 3]).expect("the tensor");
    assert_eq!((a.dtype, a.n_elements()), (Dtype::F32, 6));
    assert_eq!(floats(a.bytes), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert!(a.bytes.is_in_place());
    assert_eq!(weights.require("empty", &[0, 7]).expect("the tensor").bytes.len(), 0);
    assert_eq!(weights.iter().map(|tensor| tensor.name).collect::<Vec<_>>(), ["a", "b", "empty"]);
    let totals = weights.totals();
    assert_eq!((totals.len(), totals[0].n_elements, totals[0].n_bytes), (1, 7, 28));

    // The bytes outlive the checkpoint and its file.
    let kept = a.bytes.clone();
    drop(weights);
    drop(dir);
    assert_eq!(floats(&kept)[5], 5.0);
}

#[test]
fn shards_are_found_by_the_index() {
    let dir = folder(&[
        (INDEX, index(&[("a", "m-1.safetensors"), ("b", "m-2.safetensors"), ("c", "m-1.safetensors")])),
        ("m-1.safetensors", file_of(&[("a", &[4]), ("c", &[2, 2])])),
        ("m-2.safetensors", file_of(&[("b", &[129])])),
    ]);
    let weights = open(&dir).expect("a whole checkpoint");
    assert_eq!((weights.n_tensors(), weights.files().count()), (3, 2));
    let b = weights.require("b", &[129]).expect("the tensor");
    assert_eq!(b.file.file_name(), Some("m-2.safetensors".as_ref()));
    assert_eq!(floats(b.bytes)[128], 128.0);
}

#[test]
fn a_header_without_padding_is_copied_to_alignment() {
    let whole = file_of(&[("a", &[3])]);
    let length = u64::from_le_bytes(whole[..8].try_into().expect("eight bytes")) as usize;
    for n_spaces in 0..4 {
        let mut header = whole[8..8 + length].trim_ascii_end().to_vec();
        header.extend(std::iter::repeat_n(b' ', n_spaces));
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        let is_aligned = (8 + header.len()).is_multiple_of(4);
        bytes.extend(header);
        bytes.extend(&whole[8 + length..]);
        let weights = open(&folder(&[(SINGLE, bytes)])).expect("a legal file");
        let a = weights.require("a", &[3]).expect("the tensor");
        assert_eq!(floats(a.bytes), [0.0, 1.0, 2.0]);
        assert!(a.bytes.as_ptr().addr().is_multiple_of(4));
        assert_eq!(a.bytes.is_in_place(), is_aligned);
    }
}

#[test]
fn embedded_bytes_are_a_checkpoint_too() {
    let bytes: &'static [u8] = file_of(&[("a", &[2])]).leak();
    let weights = Weights::from_embedded(Path::new("<demo>"), bytes).expect("a whole checkpoint");
    assert_eq!(floats(weights.require("a", &[2]).expect("the tensor").bytes), [0.0, 1.0]);
    let error = Weights::from_embedded(Path::new("<demo>"), &bytes[..20]).expect_err("cut").to_string();
    assert!(error.starts_with("<demo>: the header describes "), "{error}");
}

#[test]
fn a_wrong_tensor_is_named_with_both_shapes_or_types() {
    let dir = folder(&[(SINGLE, file_of(&[("a", &[2, 3])]))]);
    let weights = open(&dir).expect("a whole checkpoint");
    let message = weights.require("b", &[1]).expect_err("missing").to_string();
    assert!(message.ends_with("tensor `b` is missing (the checkpoint has 1 tensors)"), "{message}");
    let message = weights.require("a", &[3, 2]).expect_err("another shape").to_string();
    assert!(
        message.ends_with(
            "model.safetensors: tensor `a` has shape [2, 3], expected [3, 2] from the configuration"
        ),
        "{message}"
    );
    let dtypes = [Dtype::BF16, Dtype::F16];
    let message = weights.require_dtype("a", &[2, 3], &dtypes).expect_err("another dtype").to_string();
    assert!(message.ends_with("tensor `a` has dtype F32, expected BF16 or F16"), "{message}");

    let data = [0u8; 8];
    let ints = TensorView::new(Dtype::I32, vec![2], &data).expect("a legal tensor");
    let dir = folder(&[(SINGLE, serialize([("i", ints)], None).expect("should serialise"))]);
    let message = open(&dir).expect("whole").require("i", &[2]).expect_err("integers").to_string();
    assert!(message.ends_with("tensor `i` has dtype I32, expected F32 or F16 or BF16"), "{message}");
}

#[test]
fn a_truncated_shard_is_told_by_its_numbers() {
    let whole = file_of(&[("a", &[100])]);
    let message = failure(&[(SINGLE, whole[..whole.len() - 1].to_vec())]);
    assert!(message.contains(&format!("but the file has {};", whole.len() - 1)), "{message}");
    assert!(message.contains(&format!("describes {} bytes", whole.len())), "{message}");
    let mut longer = whole.clone();
    longer.extend([0; 5]);
    assert!(failure(&[(SINGLE, longer)]).contains(&format!("the file has {}", whole.len() + 5)));
    // Cut within the header, within the length, and to nothing.
    assert!(failure(&[(SINGLE, whole[..30].to_vec())]).contains("but the file has 30;"));
    assert!(failure(&[(SINGLE, whole[..5].to_vec())]).contains("describes 8 bytes but the file has 5;"));
    assert!(failure(&[(SINGLE, Vec::new())]).contains("describes 8 bytes but the file has 0;"));
}

#[test]
fn a_damaged_header_is_told_from_a_short_file() {
    let message = failure(&[(SINGLE, b"PK\x03\x04 this is a zip archive, not a checkpoint".to_vec())]);
    assert!(message.contains("this is not a safetensors file"), "{message}");
    let mut broken = file_of(&[("a", &[1])]);
    broken[8] = b'[';
    assert!(failure(&[(SINGLE, broken)]).contains("damaged safetensors header: "));
    let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    let mut gap = (header.len() as u64).to_le_bytes().to_vec();
    gap.extend(header);
    gap.extend([0; 8]);
    assert!(failure(&[(SINGLE, gap)]).contains("tensor `a` does not start where the one before it ends"));
}

#[test]
fn an_index_is_checked_against_its_shards() {
    let shard = || file_of(&[("a", &[1])]);
    let message = failure(&[(INDEX, index(&[("a", "m-1.safetensors")]))]);
    assert!(
        message.contains("tensor `a` is said to be in `m-1.safetensors`, which is not in the folder"),
        "{message}"
    );

    let message = failure(&[
        (INDEX, index(&[("a", "m-1.safetensors"), ("b", "m-1.safetensors")])),
        ("m-1.safetensors", shard()),
    ]);
    assert!(message.contains("m-1.safetensors: tensor `b` is not in this shard, although "), "{message}");

    let both = index(&[("a", "m-1.safetensors"), ("c", "m-2.safetensors")]);
    let second = file_of(&[("a", &[1]), ("c", &[1])]);
    let message = failure(&[(INDEX, both), ("m-1.safetensors", shard()), ("m-2.safetensors", second)]);
    assert!(message.starts_with("tensor `a` is both in "), "{message}");
    assert!(message.contains("m-1.safetensors and in ") && message.ends_with("m-2.safetensors"), "{message}");

    let message = failure(&[(INDEX, index(&[("a", "../m-1.safetensors")]))]);
    assert!(
        message.contains("key `weight_map.a` is \"../m-1.safetensors\", expected the name of a file"),
        "{message}"
    );
    assert!(failure(&[(INDEX, b"{}".to_vec())]).contains("key `weight_map` is missing"));
    assert!(failure(&[(INDEX, br#"{"weight_map": {"a": 3}}"#.to_vec())]).contains("key `weight_map.a` is 3"));
    assert!(failure(&[(INDEX, b"{".to_vec())]).contains("not a JSON object"));
}

#[test]
fn a_folder_without_weights_says_what_it_looked_for() {
    let message = failure(&[]);
    assert!(
        message.ends_with("model.safetensors: no such file (nor is there model.safetensors.index.json)"),
        "{message}"
    );
    let message = failure(&[("pytorch_model.bin", vec![1])]);
    assert!(message.contains("there is pytorch_model.bin; save the model as model.safetensors"), "{message}");
    let dir = folder(&[("x", vec![])]);
    let error = ModelSource::folder(&dir.path().join("x")).expect_err("a file").to_string();
    assert!(error.contains("it is a file; give the folder"), "{error}");
    assert!(ModelSource::folder(&dir.path().join("y")).is_err());
}
