//! Compilation through the cache on disk.
//!
//! The key holds everything that decides the machine code and the log: source, architecture, options, and the compiler down
//! to its build. What is kept is the compiler's output; the resource report is read from the log again.

use tilewright_codegen::target::Arch;

use crate::cache::{DiskCache, Key};
use crate::cuda::nvrtc::{CompileOptions, CompiledCuda, Nvrtc};
use crate::cuda::report::ResourceReport;
use crate::error::CudaError;

/// Where a compiled kernel came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Provenance {
    /// The compiler ran.
    Compiled,
    /// The cache had it.
    Cached,
}

/// Compiles, unless the cache has the result.
///
/// # Errors
/// As [`Nvrtc::compile`]; the cache adds none.
pub fn compile_cached(
    nvrtc: &Nvrtc,
    cache: Option<&DiskCache>,
    source: &str,
    arch: Arch,
    options: &CompileOptions,
) -> Result<(CompiledCuda, Provenance), CudaError> {
    let key = key(nvrtc, source, arch, options);
    if let Some(known) = cache.and_then(|cache| unpack(&cache.get(&key)?, arch)) {
        return Ok((known, Provenance::Cached));
    }
    let compiled = nvrtc.compile(source, arch, options)?;
    if let Some(cache) = cache {
        cache.put(&key, &pack(&compiled));
    }
    Ok((compiled, Provenance::Compiled))
}

/// The name of a compilation in the cache.
#[must_use]
pub fn key(nvrtc: &Nvrtc, source: &str, arch: Arch, options: &CompileOptions) -> Key {
    let (major, minor) = nvrtc.version();
    // The library does not say its build; its size differs between builds.
    let library_bytes = std::fs::metadata(nvrtc.path()).map_or(0, |metadata| metadata.len());
    let compiler = format!("nvrtc {major}.{minor} {library_bytes}");
    let arguments = options.arguments(arch).join("\0");
    let parts = ["cuda 1", &compiler, arch.name(), &options.name, &arguments, source];
    Key::of(&parts.map(str::as_bytes))
}

/// Three parts with their lengths before them.
fn pack(compiled: &CompiledCuda) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in [&compiled.cubin[..], compiled.ptx.as_bytes(), compiled.log.as_bytes()] {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(part);
    }
    bytes
}

fn unpack(bytes: &[u8], arch: Arch) -> Option<CompiledCuda> {
    let mut rest = bytes;
    let mut next = || {
        let (len, after) = rest.split_first_chunk::<8>()?;
        let (part, after) = after.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        rest = after;
        Some(part.to_vec())
    };
    let (cubin, ptx, log) = (next()?, next()?, next()?);
    let (ptx, log) = (String::from_utf8(ptx).ok()?, String::from_utf8(log).ok()?);
    let report = ResourceReport::parse(arch, &log);
    rest.is_empty().then_some(CompiledCuda { cubin, ptx, log, report })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let log = "ptxas info    : Function properties for k\nptxas info    : Used 8 registers\n";
        let compiled = CompiledCuda {
            cubin: (0..=255).collect(),
            ptx: ".version 9.5".to_owned(),
            log: log.to_owned(),
            report: ResourceReport::parse(Arch::Sm80, log),
        };
        assert_eq!(compiled.report.kernels.len(), 1);
        let bytes = pack(&compiled);
        assert_eq!(unpack(&bytes, Arch::Sm80), Some(compiled));
        for length in 0..bytes.len() {
            assert_eq!(unpack(&bytes[..length], Arch::Sm80), None, "{length} bytes");
        }
        assert_eq!(unpack(&[&bytes[..], b"x"].concat(), Arch::Sm80), None);
    }
}
