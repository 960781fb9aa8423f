//! The syntax tree of a PTX module.

/// State space of a variable or an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Space {
    Global,
    Shared,
    SharedCluster,
    Local,
    Param,
    Const,
    Generic,
}

/// A whole module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ptx {
    pub(crate) target: String,
    pub(crate) files: Vec<(u32, String)>,
    pub(crate) vars: Vec<Var>,
    pub(crate) functions: Vec<Function>,
}

/// A variable of any space, or a kernel parameter.
#[derive(Debug, Clone)]
pub(crate) struct Var {
    pub(crate) space: Space,
    pub(crate) name: String,
    pub(crate) ty: String,
    pub(crate) align: u64,
    /// Size in bytes; 0 for the dynamic array of `.extern .shared`.
    pub(crate) bytes: u64,
    pub(crate) init: Vec<Init>,
    pub(crate) is_extern: bool,
}

/// One initialiser element.
#[derive(Debug, Clone)]
pub(crate) enum Init {
    Bits(u64),
    Address(String, i64),
}

/// A kernel or a device function.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) is_entry: bool,
    pub(crate) returns: Vec<Var>,
    pub(crate) params: Vec<Var>,
    /// `.maxntid`, `.reqntid`, `.reqnctapercluster`, ... with their numbers.
    pub(crate) directives: Vec<(String, Vec<u32>)>,
    pub(crate) body: Vec<Stmt>,
    pub(crate) has_body: bool,
}

/// One statement of a body.
#[derive(Debug, Clone)]
pub(crate) enum Stmt {
    Open,
    Close,
    Reg { ty: String, name: String, count: Option<u32> },
    Var(Var),
    Label(String),
    Loc { file: u32, line: u32 },
    Inst(Inst),
}

/// One instruction.
#[derive(Debug, Clone)]
pub(crate) struct Inst {
    pub(crate) guard: Option<Guard>,
    pub(crate) op: String,
    pub(crate) operands: Vec<Operand>,
    pub(crate) line: u32,
}

/// `@p` or `@!p`.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    pub(crate) name: String,
    pub(crate) negated: bool,
}

/// One operand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    Name(String),
    NameOffset(String, i64),
    Not(String),
    Int(i64),
    F32(u32),
    F64(u64),
    Vector(Vec<Operand>),
    Pair(Box<Operand>, Box<Operand>),
    /// `[base + offset]`.
    Mem(Box<Operand>, i64),
    /// `[map, {coordinates}]`.
    Tensor(Box<Operand>, Vec<Operand>),
    /// `(list)` of a call.
    List(Vec<Operand>),
}

/// Bytes of one element of a PTX type, `None` for a word that is not a type.
pub(crate) fn type_bytes(ty: &str) -> Option<u64> {
    Some(match ty {
        ".b8" | ".u8" | ".s8" => 1,
        ".b16" | ".u16" | ".s16" | ".f16" | ".bf16" => 2,
        ".b32" | ".u32" | ".s32" | ".f32" | ".f16x2" | ".bf16x2" => 4,
        ".b64" | ".u64" | ".s64" | ".f64" => 8,
        ".b128" => 16,
        _ => return None,
    })
}
