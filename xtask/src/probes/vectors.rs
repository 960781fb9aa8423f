//! What hardware gave, as JSON that is committed: one file for each device.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::probe::{Arg, Probe};

/// Results of one device.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Vectors {
    /// The product's name.
    pub(super) device: String,
    /// Compute capability, as major times ten and minor.
    pub(super) capability: u32,
    /// Newest CUDA that the driver knows.
    pub(super) driver: String,
    /// The compiler that made the machine code.
    pub(super) compiler: String,
    pub(super) results: Vec<Recorded>,
}

/// One probe's result.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Recorded {
    pub(super) probe: String,
    /// What was launched: [`fingerprint`].
    pub(super) fingerprint: String,
    pub(super) inputs: Vec<Vec<u8>>,
    pub(super) output: Vec<u8>,
}

impl Recorded {
    pub(super) fn new(probe: &Probe, output: Vec<u8>) -> Self {
        let (probe, inputs, fingerprint) = (probe.name.clone(), inputs(probe), fingerprint(probe));
        Self { probe, fingerprint, inputs, output }
    }
}

/// The bytes of a probe's arguments.
fn inputs(probe: &Probe) -> Vec<Vec<u8>> {
    probe
        .args
        .iter()
        .map(|arg| match arg {
            Arg::In(data) | Arg::Map(data, _) | Arg::MapOut(data, _) => data.clone(),
            Arg::Out(_) => Vec::new(),
            Arg::U32(v) => v.to_le_bytes().to_vec(),
            Arg::U64(v) => v.to_le_bytes().to_vec(),
        })
        .collect()
}

/// Source and launch in 64 bits (FNV-1a): a result of another probe is none of this one.
pub(super) fn fingerprint(probe: &Probe) -> String {
    let Probe { file, kernel, grid, threads, shared_bytes, .. } = probe;
    let maps: Vec<_> = probe
        .args
        .iter()
        .map(|arg| match arg {
            Arg::Map(_, of) | Arg::MapOut(_, of) => format!("{of:?}"),
            Arg::In(_) | Arg::Out(_) | Arg::U32(_) | Arg::U64(_) => String::new(),
        })
        .collect();
    let text = format!("{} {kernel} {grid} {threads} {shared_bytes} {maps:?}", file.source);
    let all = text.bytes().chain(inputs(probe).into_iter().flatten());
    let hash = all.fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

impl Vectors {
    /// As text.
    pub(super) fn to_json(&self) -> Result<String> {
        let results: Vec<Value> = self
            .results
            .iter()
            .map(|r| {
                json!({
                    "probe": r.probe,
                    "fingerprint": r.fingerprint,
                    "inputs": r.inputs.iter().map(|i| hex(i)).collect::<Vec<_>>(),
                    "output": hex(&r.output),
                })
            })
            .collect();
        let value = json!({
            "device": self.device,
            "capability": self.capability,
            "driver": self.driver,
            "compiler": self.compiler,
            "results": results,
        });
        Ok(serde_json::to_string_pretty(&value)? + "\n")
    }

    /// From text.
    pub(super) fn from_json(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)?;
        let word = |value: &Value, key: &str| -> Result<String> {
            Ok(value[key].as_str().with_context(|| format!("`{key}` should be text"))?.to_owned())
        };
        let mut results = Vec::new();
        for one in value["results"].as_array().context("`results` should be a list")? {
            let inputs = one["inputs"].as_array().context("`inputs` should be a list")?;
            let inputs = inputs.iter().map(|i| unhex(i.as_str().unwrap_or("?"))).collect::<Result<_>>()?;
            results.push(Recorded {
                probe: word(one, "probe")?,
                fingerprint: word(one, "fingerprint")?,
                inputs,
                output: unhex(&word(one, "output")?)?,
            });
        }
        let capability = value["capability"].as_u64().context("`capability` should be a number")? as u32;
        Ok(Self {
            device: word(&value, "device")?,
            capability,
            driver: word(&value, "driver")?,
            compiler: word(&value, "compiler")?,
            results,
        })
    }

    /// All files of a folder, by name; none if there is no folder.
    pub(super) fn all(folder: &Path) -> Result<Vec<(PathBuf, Self)>> {
        let mut paths: Vec<PathBuf> = match fs::read_dir(folder) {
            Ok(entries) => entries.map(|e| Ok(e?.path())).collect::<Result<_>>()?,
            Err(_) => Vec::new(),
        };
        paths.retain(|p| p.extension().is_some_and(|e| e == "json"));
        paths.sort();
        paths
            .into_iter()
            .map(|path| {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
                let vectors =
                    Self::from_json(&text).with_context(|| format!("reading {}", path.display()))?;
                Ok((path, vectors))
            })
            .collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        bail!("an odd number of hexadecimal digits");
    }
    let pair = |i: usize| u8::from_str_radix(&text[i..i + 2], 16).context("no hexadecimal digit");
    (0..text.len()).step_by(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let vectors = Vectors {
            device: "a device".to_owned(),
            capability: 90,
            driver: "13.0".to_owned(),
            compiler: "13.5".to_owned(),
            results: vec![Recorded {
                probe: "p".to_owned(),
                fingerprint: "0".to_owned(),
                inputs: vec![vec![1, 255], vec![]],
                output: vec![0, 16],
            }],
        };
        let text = vectors.to_json().expect("it should be text");
        assert_eq!(Vectors::from_json(&text).expect("it should be read"), vectors);
        assert!(Vectors::from_json("{}").is_err());
        assert!(unhex("0").is_err() && unhex("zz").is_err());
    }
}
