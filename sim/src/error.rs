//! Why a module could not be loaded or a launch could not start.
//!
//! What a running kernel does wrong is not an error here but a finding (`report`): a launch that ran,
//! even badly, returns its report.

use thiserror::Error;

/// Everything the host interface can refuse.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SimError {
    /// The text is not PTX the parser understands.
    #[error("PTX line {line}: {message}")]
    Parse {
        /// 1-based line of the PTX text.
        line: u32,
        /// What was expected and what was there.
        message: String,
    },
    /// The instruction's complete form is not in the form table.
    #[error(
        "PTX line {line}: the machine does not know the form `{form}`; \
         `sim forms` lists what it knows, add this one to the form table"
    )]
    UnknownForm {
        /// Opcode with all modifiers.
        form: String,
        /// 1-based line of the PTX text.
        line: u32,
    },
    /// A known form with operands it cannot take.
    #[error("PTX line {line}: `{form}`: {message}")]
    Operand {
        /// Opcode with all modifiers.
        form: String,
        /// 1-based line of the PTX text.
        line: u32,
        /// What does not fit.
        message: String,
    },
    /// The module has no such kernel.
    #[error("no kernel `{name}` in the module; it has {known}")]
    NoKernel {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The launch configuration cannot run.
    #[error("kernel `{kernel}` cannot be launched: {message}")]
    Launch {
        /// The kernel's name.
        kernel: String,
        /// What is wrong, with the numbers.
        message: String,
    },
    /// A host access to device memory that is not there.
    #[error("{action} of {bytes} bytes at {addr:#x}: {message}")]
    Memory {
        /// Copy in, copy out or free.
        action: &'static str,
        /// Device address.
        addr: u64,
        /// Length of the access.
        bytes: u64,
        /// Which allocation was missed, and by how much.
        message: String,
    },
}
