//! What the compiler says of a kernel's resources: registers, stack, spills, shared memory, barriers, and its remarks.
//!
//! Read from the log of a verbose compilation, the only place that names spills and the remarks of the 75xx family, which
//! say that asynchronous matrix instructions were serialised or a register request was dropped: code that is right and slow.

use std::fmt;

use tilewright_codegen::target::Arch;

/// Resources of every kernel of a compilation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResourceReport {
    /// What was compiled for.
    pub arch: Arch,
    /// The `__global__` functions in the compiler's order.
    pub kernels: Vec<KernelResources>,
    /// Functions that were not inlined, with their stack and spills.
    pub functions: Vec<Frame>,
    /// Remarks and warnings, of the assembler and of the front end.
    pub notes: Vec<Note>,
}

/// Resources of one `__global__` function.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KernelResources {
    /// Stack and spills.
    pub frame: Frame,
    /// 32-bit registers of a thread.
    pub registers: u32,
    /// Static shared memory of a block, in bytes.
    pub static_shared_bytes: u32,
    /// Hardware barriers of a block. Compilers before CUDA 12.5 do not say.
    pub barriers: u32,
    /// Constant memory, the parameters included, in bytes; not said for every architecture.
    pub constant_bytes: u32,
}

/// Stack and spills of one function.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frame {
    /// Name of the function.
    pub name: String,
    /// Stack of a thread, in bytes: spilled registers, arrays with run-time indices, address-taken locals.
    pub stack_bytes: u32,
    /// Bytes of registers that are stored to the stack.
    pub spill_store_bytes: u32,
    /// Bytes of registers that are loaded from the stack.
    pub spill_load_bytes: u32,
}

/// A remark or a warning of the compiler.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// Number of the remark, such as 7510, where it has one.
    pub code: Option<u32>,
    /// The compiler's line.
    pub text: String,
}

/// What a kernel may use. The default allows no spill, no stack and no remark, and says nothing of the rest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Most registers of a thread.
    pub registers: Option<u32>,
    /// Most bytes of stack, whatever they are for.
    pub stack_bytes: u32,
    /// Most bytes of spills, stores and loads together.
    pub spill_bytes: u32,
    /// Most bytes of static shared memory.
    pub static_shared_bytes: Option<u32>,
    /// Most barriers.
    pub barriers: Option<u32>,
    /// Numbered remarks that are allowed. A warning without a number is never one.
    pub allowed_notes: Vec<u32>,
}

/// A limit that was passed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Violation {
    /// A function uses more than allowed.
    Over {
        /// The function.
        function: String,
        /// Of what.
        what: &'static str,
        /// How much it uses.
        found: u32,
        /// How much is allowed.
        limit: u32,
    },
    /// A remark that is not allowed.
    Note(Note),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over { function, what, found, limit } => {
                write!(f, "`{function}` uses {found} {what}, and {limit} are allowed")
            }
            Self::Note(note) => write!(f, "the compiler remarks: {}", note.text),
        }
    }
}

impl ResourceReport {
    /// Reads the log of a compilation with `--ptxas-options=-v`.
    #[must_use]
    pub fn parse(arch: Arch, log: &str) -> Self {
        let mut report = Self { arch, kernels: Vec::new(), functions: Vec::new(), notes: Vec::new() };
        let mut current = Frame::default();
        let mut entry: Option<String> = None;
        for line in log.lines() {
            let text = line.trim();
            if let Some(name) = between(text, "Compiling entry function '", "'") {
                entry = Some(name.to_owned());
            } else if let Some((_, name)) = text.split_once("Function properties for ") {
                current = Frame { name: name.trim().to_owned(), ..Frame::default() };
            } else if let Some(stack) = number_before(text, " bytes stack frame") {
                current.stack_bytes = stack;
                current.spill_store_bytes = number_before(text, " bytes spill stores").unwrap_or(0);
                current.spill_load_bytes = number_before(text, " bytes spill loads").unwrap_or(0);
                if entry.as_ref() != Some(&current.name) {
                    report.functions.push(std::mem::take(&mut current));
                }
            } else if let Some(registers) = between(text, "Used ", " registers").and_then(|n| n.parse().ok())
            {
                report.kernels.push(KernelResources {
                    frame: std::mem::take(&mut current),
                    registers,
                    static_shared_bytes: number_before(text, " bytes smem").unwrap_or(0),
                    barriers: between(text, "used ", " barriers").and_then(|n| n.parse().ok()).unwrap_or(0),
                    constant_bytes: number_before(text, " bytes cmem[0]").unwrap_or(0),
                });
                entry = None;
            } else if let Some(note) = note(text) {
                report.notes.push(note);
            }
        }
        report
    }

    /// The kernel of this name.
    #[must_use]
    pub fn kernel(&self, name: &str) -> Option<&KernelResources> {
        self.kernels.iter().find(|kernel| kernel.frame.name == name)
    }

    /// Everything over the limits, in the order of the report.
    #[must_use]
    pub fn violations(&self, limits: &Limits) -> Vec<Violation> {
        let mut all = Vec::new();
        let mut check = |function: &str, what: &'static str, found: u32, limit: Option<u32>| {
            if let Some(limit) = limit.filter(|&limit| found > limit) {
                all.push(Violation::Over { function: function.to_owned(), what, found, limit });
            }
        };
        for kernel in &self.kernels {
            let name = &kernel.frame.name;
            check(name, "registers", kernel.registers, limits.registers);
            check(
                name,
                "bytes of static shared memory",
                kernel.static_shared_bytes,
                limits.static_shared_bytes,
            );
            check(name, "barriers", kernel.barriers, limits.barriers);
        }
        for frame in self.kernels.iter().map(|kernel| &kernel.frame).chain(&self.functions) {
            let spills = frame.spill_store_bytes.saturating_add(frame.spill_load_bytes);
            check(&frame.name, "bytes of stack", frame.stack_bytes, Some(limits.stack_bytes));
            check(&frame.name, "bytes of register spills", spills, Some(limits.spill_bytes));
        }
        let allowed = |note: &&Note| note.code.is_some_and(|code| limits.allowed_notes.contains(&code));
        all.extend(self.notes.iter().filter(|note| !allowed(note)).cloned().map(Violation::Note));
        all
    }
}

/// One line for each kernel and each remark.
impl fmt::Display for ResourceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for k in &self.kernels {
            let frame = &k.frame;
            writeln!(
                f,
                "{} {}: {} registers, {} B stack, {}/{} B spilled (stores/loads), {} B static shared, {} barriers",
                self.arch,
                frame.name,
                k.registers,
                frame.stack_bytes,
                frame.spill_store_bytes,
                frame.spill_load_bytes,
                k.static_shared_bytes,
                k.barriers
            )?;
        }
        for frame in &self.functions {
            let (stores, loads) = (frame.spill_store_bytes, frame.spill_load_bytes);
            writeln!(
                f,
                "{} {} (not inlined): {} B stack, {stores}/{loads} B spilled",
                self.arch, frame.name, frame.stack_bytes
            )?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{}", note.text))
    }
}

/// A remark with a number `(C75xx)`, or a warning of the assembler or the front end.
fn note(text: &str) -> Option<Note> {
    let code = between(text, "(C", ")").and_then(|digits| digits.parse().ok());
    // The front end writes `name(line): warning #177-D: ...`, the assembler `ptxas warning : ...`.
    let warns = text.contains("warning ") && (text.starts_with("ptxas") || text.contains("): warning "));
    (code.is_some() || warns).then(|| Note { code, text: text.to_owned() })
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

/// The number that stands directly before `words`.
fn number_before(text: &str, words: &str) -> Option<u32> {
    let (before, _) = text.split_once(words)?;
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
k.cu(12): warning #177-D: variable \"x\" was declared but never referenced

ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized in function 'second'
ptxas info    : 8 bytes gmem
ptxas info    : Compiling entry function 'first' for 'sm_90a'
ptxas info    : Function properties for first
ptxas         .     16 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 168 registers, used 3 barriers, 688 bytes cumulative stack size, 4096 bytes smem, 388 bytes cmem[0]
ptxas info    : Compile time = 947.446 ms
ptxas info    : Function properties for helper
ptxas         .     32 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Compiling entry function 'second' for 'sm_90a'
ptxas info    : Function properties for second
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 24 registers
";

    #[test]
    fn every_figure_of_the_log_is_read() {
        let report = ResourceReport::parse(Arch::Sm90a, LOG);
        let frame = |name: &str, stack_bytes, spill_store_bytes, spill_load_bytes| Frame {
            name: name.to_owned(),
            stack_bytes,
            spill_store_bytes,
            spill_load_bytes,
        };
        let first = KernelResources {
            frame: frame("first", 16, 4, 12),
            registers: 168,
            static_shared_bytes: 4096,
            barriers: 3,
            constant_bytes: 388,
        };
        assert_eq!(report.kernel("first"), Some(&first));
        let second =
            KernelResources { frame: frame("second", 0, 0, 0), registers: 24, ..KernelResources::default() };
        assert_eq!(report.kernels, [first, second]);
        assert_eq!(report.functions, [frame("helper", 32, 0, 0)]);
        assert_eq!(report.notes.iter().map(|note| note.code).collect::<Vec<_>>(), [None, Some(7510)]);
    }

    #[test]
    fn violations_name_function_figure_and_limit() {
        let report = ResourceReport::parse(Arch::Sm90a, LOG);
        let limits = Limits { registers: Some(100), barriers: Some(3), ..Limits::default() };
        let found: Vec<String> = report.violations(&limits).iter().map(ToString::to_string).collect();
        let expected = [
            "`first` uses 168 registers, and 100 are allowed",
            "`first` uses 16 bytes of stack, and 0 are allowed",
            "`first` uses 16 bytes of register spills, and 0 are allowed",
            "`helper` uses 32 bytes of stack, and 0 are allowed",
        ];
        assert_eq!(found[..4], expected);
        assert_eq!(found.len(), 6, "{found:#?}");
        assert!(found[5].contains("C7510"), "{found:#?}");
        let generous =
            Limits { stack_bytes: 32, spill_bytes: 16, allowed_notes: vec![7510], ..Limits::default() };
        let left = report.violations(&generous);
        assert!(matches!(&left[..], [Violation::Note(note)] if note.code.is_none()), "{left:#?}");
    }
}
