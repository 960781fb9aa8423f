//! `autotune doctor`: what this machine has, what is missing, and what to install.

use std::io::Write;

use anyhow::Result;
use tilewright_runtime::doctor::Doctor;

use crate::args::DoctorArgs;

/// Writes the findings; what is missing is no failure, since the CPU needs none of it.
pub(crate) fn doctor(args: &DoctorArgs, out: &mut dyn Write) -> Result<()> {
    let findings = Doctor::examine();
    if args.json {
        writeln!(out, "{:#}", findings.to_json())?;
    } else {
        write!(out, "{findings}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_programs_get_the_same_findings() {
        let text_of = |json: bool| {
            let mut out = Vec::new();
            doctor(&DoctorArgs { json }, &mut out).expect("a buffer should be writable");
            String::from_utf8(out).expect("the findings should be text")
        };
        let json: serde_json::Value = serde_json::from_str(&text_of(true)).expect("it should be JSON");
        let threads = json["cpu"]["threads"].as_u64().expect("a number of threads");
        assert!(text_of(false).starts_with(&format!("cpu       {threads} threads")));
    }
}
