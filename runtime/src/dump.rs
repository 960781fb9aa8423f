//! `TILEWRIGHT_DUMP` and `TILEWRIGHT_OVERRIDE`: look at a kernel between two passes, or run an edited version of it.
//!
//! - `TILEWRIGHT_DUMP=after:<pass>` prints the IR after one pass, `all` after each (`after:input` is the IR as built).
//!   With `TILEWRIGHT_DUMP_DIR=<dir>` each goes to the file `<kernel>.<pass>.tile` there instead of standard error.
//! - `TILEWRIGHT_OVERRIDE=<dir>` reads `<kernel>.<pass>.tile`, where that file exists, in place of the IR after that pass.

use std::io::Write;
use std::path::PathBuf;

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

    /// Dumps `func` as it is after `stage`, and returns what should replace it.
    ///
    /// # Errors
    /// A sentence that names the file which could not be read, parsed or written.
    pub fn observe(&self, stage: &str, func: &Func) -> Result<Option<Func>, String> {
        let file = format!("{}.{stage}.tile", func.name);
        if self.after.as_deref().is_some_and(|after| after == "all" || after == stage) {
            let text = print::print(func);
            match &self.dir {
                Some(dir) => {
                    let path = dir.join(&file);
                    std::fs::create_dir_all(dir)
                        .and_then(|()| std::fs::write(&path, text))
                        .map_err(|e| format!("the dump {} could not be written: {e}", path.display()))?;
                }
                None => {
                    // A closed standard error must not stop the kernel.
                    let _ = writeln!(std::io::stderr(), "// {} after {stage}\n{text}", func.name);
                }
            }
        }
        let Some(path) = self.overrides.as_ref().map(|dir| dir.join(&file)).filter(|path| path.exists())
        else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(&path)
            .map_err(|e| format!("the override {} could not be read: {e}", path.display()))?;
        parse::parse(&text)
            .map(Some)
            .map_err(|e| format!("the override {} does not parse: {e}", path.display()))
    }
}
