//! `TILEWRIGHT_DUMP` and `TILEWRIGHT_OVERRIDE`: look at a kernel between two passes, or run an edited version of it.
//!
//! - `TILEWRIGHT_DUMP=after:<pass>` prints the IR after one pass, `all` after each. `after:input` is the IR as built, `after:gpu:lowered`
//!   the GPU level as lowered and `after:gpu:<pass>` after one of its passes, `after:cuda` CUDA C.
//!   With `TILEWRIGHT_DUMP_DIR=<dir>` each goes to a file there instead of standard error: `<label>.<pass>.tile`, at the GPU level
//!   `<label>.<pass>.gpu`, and `<label>.cuda.cu`.
//! - `TILEWRIGHT_OVERRIDE=<dir>` reads these files, where they exist, in place of what the compiler has after that pass.
//!
//! The label is the kernel's name and a hash of kernel, comptime values and schedule: a model launches one kernel in many
//! specialisations, and an edit is meant for one of them. Below the tile level it goes on with the architecture and a hash of what
//! the launch knows of its arguments.

use std::io::Write;
use std::path::PathBuf;

use tilewright_codegen::gpu::{self, GpuFunc};
use tilewright_codegen::ir::{Func, parse, print};

/// What the environment asks for; read once per compilation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dumps {
    /// `all`, or the name of one pass.
    pub after: Option<String>,
    /// Where dumps go instead of standard error.
    pub dir: Option<PathBuf>,
    /// Where edited dumps come from.
    pub overrides: Option<PathBuf>,
}

impl Dumps {
    /// From the environment.
    #[must_use]
    pub fn from_env() -> Self {
        let path = |name| std::env::var_os(name).map(PathBuf::from);
        let after = std::env::var("TILEWRIGHT_DUMP").ok();
        Self {
            after: after.map(|value| value.strip_prefix("after:").unwrap_or(&value).to_owned()),
            dir: path("TILEWRIGHT_DUMP_DIR"),
            overrides: path("TILEWRIGHT_OVERRIDE"),
        }
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.after.is_none() && self.overrides.is_none()
    }

    /// Dumps `func`, the specialisation `label`, as it is after `stage`, and returns what should replace it.
    ///
    /// # Errors
    /// A sentence that names the file which could not be read, parsed or written.
    pub fn observe(&self, label: &str, stage: &str, func: &Func) -> Result<Option<Func>, String> {
        let shown = || print::print(func);
        let Some((path, text)) = self.exchanged(label, stage, "tile", &shown)? else { return Ok(None) };
        parse::parse(&text)
            .map(Some)
            .map_err(|e| format!("the override {} does not parse: {e}", path.display()))
    }

    /// Dumps a function of the GPU level, the variant `label`, as it is after `stage` (`gpu:lowered`, `gpu:<pass>`), and returns what
    /// should replace it.
    ///
    /// # Errors
    /// A sentence that names the file which could not be read, parsed or written, or whose parameters are not those of the dump.
    pub fn observe_gpu(&self, label: &str, stage: &str, func: &GpuFunc) -> Result<Option<GpuFunc>, String> {
        let shown = || gpu::print(func);
        let Some((path, text)) = self.exchanged(label, stage, "gpu", &shown)? else { return Ok(None) };
        let path = path.display();
        let edited = gpu::parse(&text).map_err(|e| format!("the override {path} does not parse: {e}"))?;
        let params = |func: &GpuFunc| -> Vec<_> {
            func.params.iter().map(|p| (p.facts, p.is_small, func.ty(p.var).clone())).collect()
        };
        if edited.arch != func.arch || params(&edited) != params(func) {
            return Err(format!(
                "the override {path} has another architecture or other parameters than the dump: keep the line of the kernel"
            ));
        }
        Ok(Some(edited))
    }

    /// Dumps CUDA C, the specialisation `label`, as stage `cuda` in files `<label>.cuda.cu`, and returns what should replace it.
    ///
    /// # Errors
    /// A sentence that names the file which could not be read or written.
    pub fn observe_text(&self, label: &str, stage: &str, text: &str) -> Result<Option<String>, String> {
        Ok(self.exchanged(label, stage, "cu", &|| text.to_owned())?.map(|(_, text)| text))
    }

    /// Writes a dump where one is asked for, and reads the override where there is one.
    fn exchanged(
        &self,
        label: &str,
        stage: &str,
        suffix: &str,
        shown: &dyn Fn() -> String,
    ) -> Result<Option<(PathBuf, String)>, String> {
        // What kind of stage it is, the suffix says already, and a colon is no character for a file.
        let file = format!("{label}.{}.{suffix}", stage.strip_prefix("gpu:").unwrap_or(stage));
        if self.after.as_deref().is_some_and(|after| after == "all" || after == stage) {
            let text = shown();
            match &self.dir {
                Some(dir) => {
                    let path = dir.join(&file);
                    std::fs::create_dir_all(dir)
                        .and_then(|()| std::fs::write(&path, text))
                        .map_err(|e| format!("the dump {} could not be written: {e}", path.display()))?;
                }
                None => {
                    // A closed standard error must not stop the kernel.
                    let _ = writeln!(std::io::stderr(), "// {label} after {stage}\n{text}");
                }
            }
        }
        let Some(path) = self.overrides.as_ref().map(|dir| dir.join(&file)).filter(|path| path.exists())
        else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(&path)
            .map_err(|e| format!("the override {} could not be read: {e}", path.display()))?;
        Ok(Some((path, text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gpu_level_has_files_of_its_own() {
        let dir = std::env::temp_dir().join(format!("tilewright-gpu-dump-{}", std::process::id()));
        let text = "kernel @k($x.0: view_mut<f32, 1> contiguous divisible 4 small) for sm_80 warps 4 {\n}\n";
        let func = gpu::parse(text).expect("the text should parse");
        let dump = Dumps {
            after: Some("gpu:lowered".to_owned()),
            dir: Some(dir.clone()),
            overrides: Some(dir.clone()),
        };
        assert_eq!(dump.observe_gpu("k", "gpu:insert_barriers", &func), Ok(None), "not asked for");
        // What was just written is read back as an override.
        assert_eq!(dump.observe_gpu("k", "gpu:lowered", &func), Ok(Some(func.clone())));
        let path = dir.join("k.lowered.gpu");
        let written = std::fs::read_to_string(&path).expect("the dump should be written");
        let read = Dumps { after: None, ..dump };
        for (from, to, expected) in [
            ("sm_80", "sm_90a", "keep the line of the kernel"),
            ("divisible 4", "divisible 8", "keep the line of the kernel"),
            ("warps 4", "warps", "k.lowered.gpu does not parse"),
        ] {
            std::fs::write(&path, written.replace(from, to)).expect("the dump should be editable");
            let error = read.observe_gpu("k", "gpu:lowered", &func).expect_err("a mistake");
            assert!(error.contains(expected), "{error}");
        }
        std::fs::write(&path, written.replace("warps 4", "warps 8")).expect("the dump should be editable");
        let edited = read.observe_gpu("k", "gpu:lowered", &func).expect("it parses").expect("it is there");
        assert_eq!(edited.n_warps, 8);
        std::fs::remove_dir_all(&dir).expect("the folder should be removable");
    }

    #[test]
    fn an_override_is_for_one_specialisation() {
        let dir = std::env::temp_dir().join(format!("tilewright-dump-{}", std::process::id()));
        let write = Dumps { after: Some("all".to_owned()), dir: Some(dir.clone()), overrides: None };
        let func = Func::new("scale");
        assert_eq!(write.observe("scale-00000001", "input", &func), Ok(None));
        let path = dir.join("scale-00000001.input.tile");
        let text = std::fs::read_to_string(&path).expect("the dump should be written");
        std::fs::write(&path, text.replace("@scale", "@edited")).expect("the dump should be editable");

        let read = Dumps { after: None, dir: None, overrides: Some(dir.clone()) };
        let edited = read.observe("scale-00000001", "input", &func).expect("the override should parse");
        assert_eq!(edited.map(|f| f.name).as_deref(), Some("edited"));
        assert_eq!(read.observe("scale-00000002", "input", &func), Ok(None), "another specialisation");
        std::fs::write(&path, "nonsense").expect("the dump should be writable");
        let error = read.observe("scale-00000001", "input", &func).expect_err("nonsense should not parse");
        assert!(error.contains("scale-00000001.input.tile does not parse"), "{error}");
        std::fs::remove_dir_all(&dir).expect("the folder should be removable");
    }
}
