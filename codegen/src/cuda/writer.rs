//! The writer: one pass over the statements, with the names, the scope of threads and the declarations that they need.
//!
//! A *scope* is the kernel or the body of a role: the threads that run together. `lane` and `warp` count within it, so layouts
//! need not know where a role's warps begin. Parts of coordinates and tables are declared once at its start.

use super::ctypes::{literal, register_count, register_type, value_type};
use super::names::{Names, identifier};
use super::prelude::{parts, used_by, words};
use super::text::Text;
use super::usage::{Place, Usage};
use super::views::ViewText;
use super::{CudaSource, WriteOptions};
use crate::gpu::{Block, GpuFunc, Op, Var, VarType};

/// The threads that run a body together.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// First warp in the block.
    pub(crate) first_warp: u32,
    /// Number of warps.
    pub(crate) n_warps: u32,
    /// Number of the barrier at which they meet: 0 for the whole block.
    pub(crate) barrier: u32,
    /// Declarations at the start: type, text and name.
    hoisted: Vec<(String, String, String)>,
    /// First line and depth.
    start: (usize, usize),
}

impl Scope {
    /// Threads.
    pub(crate) const fn n_threads(&self) -> u32 {
        self.n_warps * 32
    }
}

/// The state of the writer.
pub(crate) struct Writer<'a> {
    pub(crate) func: &'a GpuFunc,
    pub(crate) options: &'a WriteOptions,
    pub(crate) usage: Usage,
    pub(crate) names: Names,
    pub(crate) text: Text,
    pub(crate) scope: Scope,
    /// Name of each variable, empty until it is first named.
    pub(crate) var_names: Vec<String>,
    pub(crate) views: Vec<Option<ViewText>>,
    pub(crate) map_names: Vec<String>,
    /// Extents of the grid of programs, where blocks walk over it: names of parameters.
    pub(crate) grid_names: [String; 3],
    pub(crate) buffer_names: Vec<String>,
    pub(crate) barrier_names: Vec<String>,
    /// Functions generated for this kernel: name and text.
    pub(crate) generated: Vec<(String, String)>,
    /// Registers that one step of the loop over registers takes, so that their low bits need no terms.
    pub(crate) vector: u32,
    /// Lines of scopes that have ended.
    closed: Vec<(usize, usize)>,
    /// Whether warps have roles.
    has_roles: bool,
}

/// The kernel as CUDA C.
///
/// # Panics
/// When the function breaks an invariant of the GPU level (a layout that does not fit its statement, a variable without a
/// definition): lowering and verifier see to it that this does not happen.
#[must_use]
pub fn write(func: &GpuFunc, options: &WriteOptions) -> CudaSource {
    let entry = identifier(&func.name);
    let parts = parts();
    let reserved = parts.iter().map(|p| p.name).chain([entry.as_str(), "TensorMap"]);
    let mut writer = Writer {
        func,
        options,
        usage: Usage::of(func),
        names: Names::new(reserved),
        text: Text::default(),
        scope: Scope { n_warps: func.n_warps, ..Scope::default() },
        var_names: vec![String::new(); func.vars.len()],
        views: vec![None; func.vars.len()],
        map_names: Vec::new(),
        grid_names: Default::default(),
        buffer_names: Vec::new(),
        barrier_names: Vec::new(),
        generated: Vec::new(),
        vector: 1,
        closed: Vec::new(),
        has_roles: false,
    };
    crate::gpu::walk::for_each_stmt(&func.body, &mut |s| {
        writer.has_roles |= matches!(s.kind, crate::gpu::StmtKind::Roles(_))
    });
    let (params, slots) = writer.parameters();
    writer.buffer_names = func.buffers.iter().map(|b| writer.names.unique(&b.name)).collect();
    writer.barrier_names = func.barriers.iter().map(|b| writer.names.unique(&b.name)).collect();
    writer.block(&func.body);
    writer.end_scope();
    let (body, places) = std::mem::take(&mut writer.text).finish(1);
    assemble(func, &entry, &params, slots, &writer, &body, places)
}

/// Prelude, generated functions, signature, body.
fn assemble(
    func: &GpuFunc,
    entry: &str,
    params: &[String],
    slots: Vec<super::ParamSlot>,
    writer: &Writer<'_>,
    body: &str,
    places: Vec<(u32, crate::diag::Loc)>,
) -> CudaSource {
    let mut text = format!("// {} for {}: {} warps", func.name, func.arch, func.n_warps);
    if func.shared_bytes > 0 {
        text.push_str(&format!(", {} bytes of shared memory", func.shared_bytes));
    }
    text.push_str(".\n");
    let generated: String = writer.generated.iter().map(|(_, t)| t.as_str()).collect();
    let used = used_by(&format!("{body}{generated}{}", params.join(" ")));
    for part in &used {
        text.push_str(part.text);
    }
    text.push_str(&generated);
    text.push('\n');
    let threads = func.n_threads();
    let bounds =
        if func.min_blocks > 0 { format!("{threads}, {}", func.min_blocks) } else { threads.to_string() };
    text.push_str(&format!("extern \"C\" __global__ void __launch_bounds__({bounds})\n{entry}(\n"));
    for (i, param) in params.iter().enumerate() {
        let comma = if i + 1 < params.len() { "," } else { "" };
        text.push_str(&format!("    {param}{comma}\n"));
    }
    text.push_str(") {\n");
    if writer.func.shared_bytes > 0 && words(body).any(|w| w == "shared") {
        text.push_str("  extern __shared__ __align__(1024) unsigned char shared[];\n");
    }
    let before = text.lines().count() as u32;
    for line in body.lines() {
        if !line.is_empty() && !line.starts_with('#') {
            text.push_str("  ");
        }
        text.push_str(line);
        text.push('\n');
    }
    text.push_str("}\n");
    CudaSource {
        text,
        entry: entry.to_owned(),
        params: slots,
        lines: places.into_iter().map(|(line, loc)| (before + line, loc)).collect(),
        prelude: used.iter().map(|p| p.name).collect(),
    }
}

impl Writer<'_> {
    /// A declaration at the start of the scope; the same one is made once. `constexpr int [n]` declares an array.
    pub(crate) fn hoist(&mut self, ty: &str, wanted: &str, text: &str) -> String {
        if let Some((.., name)) = self.scope.hoisted.iter().find(|(t, x, _)| t == ty && x == text) {
            return name.clone();
        }
        let name = self.names.unique(wanted);
        self.scope.hoisted.push((ty.to_owned(), text.to_owned(), name.clone()));
        name
    }

    /// A declaration at the start of the scope under a name of its own.
    pub(crate) fn hoist_named(&mut self, ty: &str, name: &str, text: &str) {
        if !self.scope.hoisted.iter().any(|(.., n)| n == name) {
            self.scope.hoisted.push((ty.to_owned(), text.to_owned(), name.to_owned()));
        }
    }

    /// Begins the scope of a role; returns the one around it.
    pub(crate) fn begin_scope(&mut self, first_warp: u32, n_warps: u32, barrier: u32) -> Scope {
        let start = (self.text.len(), self.text.indent());
        std::mem::replace(&mut self.scope, Scope { first_warp, n_warps, barrier, hoisted: Vec::new(), start })
    }

    /// Puts the declarations of the scope at its start.
    pub(crate) fn end_scope(&mut self) {
        let scope = &self.scope;
        // Roles inside have their own.
        let mut body = self.text.outside(scope.start.0, &self.closed);
        let mut lines = Vec::new();
        for (ty, text, name) in scope.hoisted.iter().rev() {
            if !words(&body).any(|w| w == name) {
                continue;
            }
            let line = match ty.split_once(" [") {
                Some((ty, count)) => format!("{ty} {name}[{count} = {text};"),
                None => format!("{ty} {name} = {text};"),
            };
            body.push_str(&line);
            body.push('\n');
            lines.push(line);
        }
        lines.reverse();
        let has = |word: &str| words(&body).any(|w| w == word);
        let mut indices = Vec::new();
        // The matrix unit and the copy engine want the warp's number to be uniform to the compiler.
        let uniform = ["elect_one", "wgmma_fence"].iter().any(|w| has(w)) || self.has_roles;
        let thread = if scope.first_warp == 0 {
            "(int)threadIdx.x".to_owned()
        } else {
            format!("(int)threadIdx.x - {}", scope.first_warp * 32)
        };
        if has("tid") {
            indices.push(format!("tid = {thread}"));
        }
        if has("lane") {
            indices.push("lane = (int)threadIdx.x & 31".to_owned());
        }
        if has("warp") {
            let all = if uniform {
                "__shfl_sync(0xffffffffu, (int)threadIdx.x >> 5, 0)"
            } else {
                "(int)threadIdx.x >> 5"
            };
            let warp = if scope.first_warp == 0 {
                all.to_owned()
            } else {
                format!("({all}) - {}", scope.first_warp)
            };
            indices.push(format!("warp = {warp}"));
        }
        if !indices.is_empty() {
            lines.insert(0, format!("const int {};", indices.join(", ")));
        }
        let (at, indent) = scope.start;
        self.text.insert(at, indent, lines);
        self.closed.push((at, self.text.len()));
    }

    /// The C name of a variable.
    pub(crate) fn name(&mut self, v: Var) -> String {
        if self.var_names[v.index()].is_empty() {
            let wanted = self.func.vars[v.index()].name.clone().unwrap_or_else(|| format!("v{}", v.0));
            self.var_names[v.index()] = self.names.unique(&wanted);
        }
        self.var_names[v.index()].clone()
    }

    /// A scalar operand: its name, or the number when it is a constant.
    pub(crate) fn scalar(&mut self, v: Var) -> String {
        match self.usage.constant(v) {
            Some(c) => literal(c),
            None => self.name(v),
        }
    }

    /// The bits of a 16-bit float scalar.
    pub(crate) fn half_bits_of(&mut self, v: Var) -> String {
        if let Some(c) = self.usage.constant(v) {
            return if c.bits == 0 { "0u".to_owned() } else { format!("{:#x}u", c.bits) };
        }
        let short = super::ctypes::short_name(self.func.ty(v).dtype());
        let name = self.name(v);
        format!("f32_to_{short}({name})")
    }

    /// Statements of a block.
    pub(crate) fn block(&mut self, block: &Block) {
        let mut index = 0;
        while index < block.stmts.len() {
            let end = self.group_end(block, index);
            if end > index {
                self.group(block, index..end);
                index = end;
                continue;
            }
            let issued = self.issue_end(block, index);
            if issued > index {
                // Coordinates computed between the copies come first.
                let mut kinds = Vec::new();
                for (at, stmt) in block.stmts.iter().enumerate().take(issued).skip(index) {
                    if let crate::gpu::StmtKind::Set { dst, op } = &stmt.kind {
                        self.comment(stmt.loc);
                        self.set_scalar(*dst, op, (block, at));
                    } else {
                        kinds.push(stmt.kind.clone());
                    }
                }
                self.comment(block.stmts[index].loc);
                self.issue(&kinds);
                index = issued;
                continue;
            }
            let stmt = &block.stmts[index];
            self.comment(stmt.loc);
            let place: Place = (block, index);
            self.declare_for(place, &stmt.kind);
            self.statement(&stmt.kind, place);
            index += 1;
        }
    }

    /// Names the author's line when it is another one than before.
    pub(crate) fn comment(&mut self, loc: crate::diag::Loc) {
        if !self.text.at(loc) || !loc.is_known() {
            return;
        }
        let file = loc.file.rsplit(['/', '\\']).next().unwrap_or(loc.file);
        let mut lines = vec![format!("// {file}:{}", loc.line)];
        if self.options.line_directives {
            lines.push(format!("#line {} \"{}\"", loc.line, loc.file.replace('\\', "/")));
        }
        self.text.announce(lines);
    }

    /// Declares what the statement at `place` is the first to mention, but what it defines itself.
    fn declare_for(&mut self, place: Place, kind: &crate::gpu::StmtKind) {
        let mut own = None;
        if let crate::gpu::StmtKind::Set { dst, op } = kind
            && self.defines_inline(*dst, op)
        {
            own = Some(*dst);
        }
        for v in self.usage.declared_by(place) {
            if Some(v) != own && self.usage.constant(v).is_none() {
                self.declare(v);
            }
        }
    }

    /// Whether a definition of `dst` by `op` is printed as a declaration with a value.
    fn defines_inline(&self, dst: Var, op: &Op) -> bool {
        match self.func.ty(dst) {
            VarType::View(_) => true,
            VarType::Scalar(_) => !matches!(op, Op::Reduce { .. } | Op::ArgReduce { .. }),
            VarType::Tile { .. } => false,
        }
    }

    /// Declares a variable without a value.
    pub(crate) fn declare(&mut self, v: Var) {
        let name = self.name(v);
        match self.func.ty(v) {
            VarType::Scalar(dtype) => self.text.line(format!("{} {name};", value_type(*dtype))),
            VarType::Tile { dtype, layout, .. } => {
                let n = layout.registers() as usize;
                self.text.line(format!(
                    "{} {name}[{}];",
                    register_type(*dtype, n),
                    register_count(*dtype, n)
                ));
            }
            VarType::View(ty) => {
                // Its definitions lie in inner blocks; strides of 64 bits serve all of them.
                let like = ViewText::new(*ty, false, String::new());
                self.declare_view(v, &like);
            }
        }
    }

    /// Prints `dst = value`, as a declaration where it is one.
    pub(crate) fn assign(&mut self, dst: Var, place: Place, value: &str) {
        let name = self.name(dst);
        if self.usage.declared_at(dst) != Some(place) {
            self.text.line(format!("{name} = {value};"));
            return;
        }
        let ty = value_type(self.func.ty(dst).dtype());
        let access = if self.usage.is_constant(dst) { "const " } else { "" };
        self.text.line(format!("{access}{ty} {name} = {value};"));
    }
}
