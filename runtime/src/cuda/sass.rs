//! Machine code as text, by `nvdisasm`: for reports, and for tests that look for the instructions meant.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::cuda::toolkit::Search;
use crate::error::CudaError;

/// The machine code of a cubin, function by function, with the source lines that a compilation with them has kept.
///
/// # Errors
/// [`CudaError::ToolMissing`] without `nvdisasm`, [`CudaError::ToolFailed`] when it does not take the cubin.
pub fn sass(cubin: &[u8]) -> Result<String, CudaError> {
    const TOOL: &str = "nvdisasm";
    let failed = |message: String| CudaError::ToolFailed { tool: TOOL, message };
    let program = Search::from_env().program(TOOL).ok_or(CudaError::ToolMissing { tool: TOOL })?;
    let mut file = tempfile::NamedTempFile::new().map_err(|e| failed(format!("no temporary file: {e}")))?;
    file.write_all(cubin).map_err(|e| failed(format!("{} is not writable: {e}", file.path().display())))?;
    let mut command = Command::new(&program);
    command.args(["--print-code", "--print-line-info"]).arg(file.path()).stdin(Stdio::null());
    let output =
        command.output().map_err(|e| failed(format!("{} does not start: {e}", program.display())))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(failed(format!("{} over {} bytes: {}", output.status, cubin.len(), stderr.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How many instructions of a listing have an opcode that starts with `prefix`, such as `HGMMA` or `LDGSTS.E`.
#[must_use]
pub fn count_opcode(sass: &str, prefix: &str) -> usize {
    sass.lines().filter_map(opcode).filter(|opcode| opcode.starts_with(prefix)).count()
}

/// The opcode of a line such as `/*00a0*/ @!P0 LDG.E R2, desc[UR4][R2.64] ;`.
fn opcode(line: &str) -> Option<&str> {
    let (_, code) = line.trim_start().strip_prefix("/*")?.split_once("*/")?;
    code.split_whitespace().find(|word| !word.starts_with(['@', '{']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_are_counted_behind_predicates() {
        let text = "\
.text.k:
        /*0000*/                   LDC R1, c[0x0][0x37c] ;
        /*0010*/              @!P0 LDG.E R2, desc[UR4][R2.64] ;
        /*0020*/                   LDGSTS.E.128 [R3], desc[UR4][R2.64] ;
.L_x_0:
        /*0030*/               @P0 EXIT ;";
        assert_eq!(count_opcode(text, "LDG"), 2);
        assert_eq!(count_opcode(text, "LDG."), 1);
        assert_eq!(count_opcode(text, "EXIT"), 1);
        assert_eq!(count_opcode(text, "HGMMA"), 0);
    }
}
