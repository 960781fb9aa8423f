//! Where NVIDIA's compiler and tools are on this machine.
//!
//! Order: the file or folder that `TILEWRIGHT_NVRTC` names; `target/nvrtc` of a folder above the executable or the current
//! directory, where `cargo xtask nvrtc` puts it; `CUDA_HOME` and `CUDA_PATH`; the system's loader. A variable that is set
//! and leads nowhere is an error rather than a reason to look on: whoever set it meant that compiler.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::CudaError;

/// The variable that names the compiler's library or a folder that has it.
pub const NVRTC_VARIABLE: &str = "TILEWRIGHT_NVRTC";

/// Names that the system's loader is asked for, best first.
#[cfg(not(windows))]
const LOADER_NAMES: [&str; 3] = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];
#[cfg(windows)]
const LOADER_NAMES: [&str; 2] = ["nvrtc64_130_0.dll", "nvrtc64_120_0.dll"];

/// Places for libraries below the folder of a toolkit or of unpacked wheels.
const LIBRARY_FOLDERS: [&str; 6] = ["", "lib64", "lib", "bin", "nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"];

/// Places for programs below the folder of a toolkit or of unpacked wheels.
const PROGRAM_FOLDERS: [&str; 3] = ["bin", "nvidia/cu13/bin", "nvidia/cuda_nvcc/bin"];

/// Where a library was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// `TILEWRIGHT_NVRTC`.
    Variable,
    /// `target/nvrtc`.
    Project,
    /// `CUDA_HOME` or `CUDA_PATH`.
    Toolkit,
    /// The system's loader.
    Loader,
}

impl Origin {
    /// For a report.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Variable => "TILEWRIGHT_NVRTC",
            Self::Project => "target/nvrtc",
            Self::Toolkit => "the CUDA toolkit",
            Self::Loader => "the system's libraries",
        }
    }
}

/// The places to look in, most wanted first.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Value of `TILEWRIGHT_NVRTC`.
    pub variable: Option<PathBuf>,
    /// Folders from which to walk up to `target/nvrtc`.
    pub starts: Vec<PathBuf>,
    /// Folders of CUDA toolkits.
    pub toolkits: Vec<PathBuf>,
    /// Names for the system's loader.
    pub loader_names: Vec<PathBuf>,
    /// Folders of programs: `PATH`.
    pub program_folders: Vec<PathBuf>,
}

impl Search {
    /// As the environment has it.
    #[must_use]
    pub fn from_env() -> Self {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let exe = env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
        Self {
            variable: set(NVRTC_VARIABLE),
            starts: exe.into_iter().chain(env::current_dir().ok()).collect(),
            toolkits: ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(set).collect(),
            loader_names: LOADER_NAMES.into_iter().map(PathBuf::from).collect(),
            program_folders: env::var_os("PATH").map(|p| env::split_paths(&p).collect()).unwrap_or_default(),
        }
    }

    /// Libraries to try in order: files, then bare names for the loader.
    ///
    /// # Errors
    /// [`CudaError::NvrtcVariable`] when the variable leads nowhere.
    pub fn libraries(&self) -> Result<Vec<(PathBuf, Origin)>, CudaError> {
        if let Some(given) = &self.variable {
            let found = if given.is_dir() { library_below(given) } else { Some(given.clone()) };
            return match found.filter(|file| file.is_file()) {
                Some(file) => Ok(vec![(file, Origin::Variable)]),
                None => Err(CudaError::NvrtcVariable { path: given.clone() }),
            };
        }
        let project = self.project_folders().filter_map(|folder| library_below(&folder));
        let toolkits = self.toolkits.iter().filter_map(|folder| library_below(folder));
        let mut all: Vec<(PathBuf, Origin)> = project.map(|file| (file, Origin::Project)).collect();
        all.extend(toolkits.map(|file| (file, Origin::Toolkit)));
        all.extend(self.loader_names.iter().map(|name| (name.clone(), Origin::Loader)));
        Ok(all)
    }

    /// The program `name` (`nvdisasm`, `cuobjdump`, `ptxas`), where it is installed.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let file_name = format!("{name}{}", env::consts::EXE_SUFFIX);
        // Beside a library that was named, the programs of the same toolkit are two folders up.
        let named = self.variable.iter().flat_map(|path| path.ancestors().take(3).map(Path::to_owned));
        let toolkits = named.chain(self.project_folders()).chain(self.toolkits.iter().cloned());
        let mut files = toolkits
            .flat_map(|folder| PROGRAM_FOLDERS.map(|below| folder.join(below)))
            .chain(self.program_folders.iter().cloned())
            .map(|folder| folder.join(&file_name));
        files.find(|file| file.is_file())
    }

    fn project_folders(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let above = self.starts.iter().flat_map(|start| start.ancestors());
        // The second is for a target folder that is not called `target`.
        above.flat_map(|folder| [folder.join("target").join("nvrtc"), folder.join("nvrtc")])
    }
}

/// The folder of headers that belongs to a library, where there is one.
#[must_use]
pub fn headers_of(library: &Path) -> Option<PathBuf> {
    let above = library.parent()?.parent()?;
    // Wheels of CUDA 12 have a folder for each component.
    ["include", "../cuda_runtime/include"]
        .map(|below| above.join(below))
        .into_iter()
        .find(|folder| folder.join("cuda_fp16.h").is_file())
}

/// The newest NVRTC below a toolkit's folder.
fn library_below(folder: &Path) -> Option<PathBuf> {
    let newest = |folder: PathBuf| {
        let files = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        files.filter(|file| is_nvrtc(file)).max()
    };
    LIBRARY_FOLDERS.into_iter().find_map(|below| newest(folder.join(below)))
}

/// Whether a file is the compiler itself, and not its builtins or the variant with another allocator.
fn is_nvrtc(file: &Path) -> bool {
    let Some(name) = file.file_name().and_then(|name| name.to_str()) else { return false };
    let unix = name == "libnvrtc.so" || name.starts_with("libnvrtc.so.") || name == "libnvrtc.dylib";
    let windows = name.starts_with("nvrtc64_") && name.ends_with("_0.dll");
    unix || windows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().expect("the file should have a folder")).expect("a folder");
        fs::write(path, "").expect("the file should be writable");
    }

    #[test]
    fn the_order_of_places_is_as_documented() {
        let base = tempfile::tempdir().expect("a temporary folder");
        let at = |path: &str| base.path().join(path);
        let wheels = "work/target/nvrtc/nvidia/cu13";
        touch(&at(&format!("{wheels}/lib/libnvrtc.so.13")));
        touch(&at(&format!("{wheels}/lib/libnvrtc-builtins.so.13.5")));
        touch(&at(&format!("{wheels}/bin/nvdisasm")));
        touch(&at(&format!("{wheels}/include/cuda_fp16.h")));
        touch(&at("cuda/lib64/libnvrtc.so"));
        touch(&at("cuda/lib64/libnvrtc.so.12"));
        touch(&at("cuda/bin/nvdisasm"));
        touch(&at("own/libnvrtc.so.13"));
        let mut search = Search {
            starts: vec![at("work/crate/src")],
            toolkits: vec![at("cuda")],
            loader_names: vec!["libnvrtc.so".into()],
            ..Search::default()
        };
        let found = search.libraries().expect("nothing is set wrongly");
        let project = at(&format!("{wheels}/lib/libnvrtc.so.13"));
        assert_eq!(
            found,
            [
                (project.clone(), Origin::Project),
                (at("cuda/lib64/libnvrtc.so.12"), Origin::Toolkit),
                ("libnvrtc.so".into(), Origin::Loader),
            ]
        );
        assert_eq!(headers_of(&project), Some(at(&format!("{wheels}/include"))));
        assert_eq!(search.program("nvdisasm"), Some(at(&format!("{wheels}/bin/nvdisasm"))));
        assert_eq!(search.program("ptxas"), None);

        for given in ["own", "own/libnvrtc.so.13"] {
            search.variable = Some(at(given));
            let found = search.libraries().expect("the variable leads to a library");
            assert_eq!(found, [(at("own/libnvrtc.so.13"), Origin::Variable)]);
        }
        for given in ["nowhere", "work"] {
            search.variable = Some(at(given));
            let error = search.libraries().expect_err("the variable leads nowhere").to_string();
            assert!(error.contains(given) && error.contains(NVRTC_VARIABLE), "{error}");
        }
    }
}
