//! The text of a compiled program, for people and for snapshots.

use std::fmt::Write as _;

use super::micro::Base;
use super::program::{
    CpuProgram, DotPlan, DotSide, Group, Inst, MemAccess, NO_AXIS, Operand, SlotKind, StripOp,
};

/// The listing of `p`.
pub(crate) fn list(p: &CpuProgram) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(format!("program {} ({}), arena {} bytes", p.name, p.isa.name(), p.arena_bytes));
    for (i, inst) in p.insts.iter().enumerate() {
        match inst {
            Inst::Group(g) => {
                line(format!("{i:4}  group {g}"));
                group(p, &p.groups[*g as usize], &mut line);
            }
            Inst::Dot(d) => line(format!("{i:4}  {}", dot(p, &p.dots[*d as usize]))),
            Inst::CopyTile { dst, src, bytes } => {
                line(format!("{i:4}  copy {} <- {} ({bytes} bytes)", buf(p, *dst), buf(p, *src)));
            }
            Inst::ForEnter { iv, lo, hi, step, exit, .. } => {
                line(format!("{i:4}  for r{iv} in r{lo}..r{hi} step r{step}, exit {exit}"));
            }
            Inst::ForNext { iv, body, .. } => line(format!("{i:4}  next r{iv}, body {body}")),
            Inst::Jump(t) => line(format!("{i:4}  jump {t}")),
            Inst::JumpUnless { cond, target } => line(format!("{i:4}  unless r{cond} jump {target}")),
            Inst::LoadPoint { dst, point } => {
                let q = &p.points[*point as usize];
                line(format!("{i:4}  r{dst} = v{}[{}]", q.view, regs(&q.offsets[..q.rank as usize])));
            }
            Inst::StorePoint { src, point } => {
                let q = &p.points[*point as usize];
                line(format!("{i:4}  v{}[{}] = r{src}", q.view, regs(&q.offsets[..q.rank as usize])));
            }
            Inst::Binary { op, dtype, dst, a, b } => {
                line(format!("{i:4}  r{dst} = {}.{dtype} r{a}, r{b}", op.mnemonic()));
            }
            Inst::Unary { op, dtype, dst, a } => {
                line(format!("{i:4}  r{dst} = {}.{dtype} r{a}", op.mnemonic()))
            }
            Inst::Const { dst, bits } => line(format!("{i:4}  r{dst} = {bits:#x}")),
            Inst::ProgramId { dst, axis } => line(format!("{i:4}  r{dst} = program_id {axis}")),
            Inst::NumPrograms { dst, axis } => line(format!("{i:4}  r{dst} = num_programs {axis}")),
            Inst::Mov { dst, src } => line(format!("{i:4}  r{dst} = r{src}")),
            Inst::Fma { dtype, dst, a, b, c } => {
                line(format!("{i:4}  r{dst} = fma.{dtype} r{a}, r{b}, r{c}"))
            }
            Inst::Select { dst, cond, a, b } => line(format!("{i:4}  r{dst} = select r{cond}, r{a}, r{b}")),
            Inst::Cast { from, to, dst, a } => line(format!("{i:4}  r{dst} = cast.{from}.{to} r{a}")),
            Inst::ViewDim { dst, view, axis } => line(format!("{i:4}  r{dst} = dim v{view}, {axis}")),
            Inst::ViewSelect { dst, view, axis, index, .. } => {
                line(format!("{i:4}  v{dst} = select_axis v{view}, {axis}, r{index}"));
            }
            Inst::ViewSlice { dst, view, axis, start, len, .. } => {
                line(format!("{i:4}  v{dst} = slice_axis v{view}, {axis}, r{start}, r{len}"));
            }
            Inst::ViewPermute { dst, view, perm } => {
                line(format!("{i:4}  v{dst} = permute_view v{view}, {perm:?}"))
            }
            Inst::ViewMov { dst, src } => line(format!("{i:4}  v{dst} = v{src}")),
            Inst::ReadElem { dst, src, .. } => line(format!("{i:4}  r{dst} = first of {}", buf(p, *src))),
            Inst::ArgReduce { op, dtype, dst, src, outer, axis, inner } => line(format!(
                "{i:4}  {} = {}.{dtype} {} as {outer}x{axis}x{inner}",
                buf(p, *dst),
                op.mnemonic(),
                buf(p, *src)
            )),
            Inst::Print(q) => line(format!("{i:4}  print {:?}", p.prints[*q as usize].label)),
            Inst::Assert(q) => line(format!("{i:4}  assert {:?}", p.asserts[*q as usize].message)),
        }
    }
    out
}

fn buf(p: &CpuProgram, b: u32) -> String {
    format!("t{b}@{}", p.buf_offsets[b as usize])
}

fn regs(list: &[u32]) -> String {
    list.iter().map(|r| format!("r{r}")).collect::<Vec<_>>().join(", ")
}

fn access(m: &MemAccess) -> String {
    let at: Vec<String> = (0..m.rank as usize)
        .map(|i| {
            let offset = m.offsets[i].map_or(String::new(), |r| format!("r{r}"));
            if m.axes[i] == NO_AXIS { offset } else { format!("{offset}+i{}", m.axes[i]) }
        })
        .collect();
    format!("v{}<{}>[{}]", m.view, m.dtype, if m.is_indexed { "..".to_owned() } else { at.join(", ") })
}

fn dot(p: &CpuProgram, d: &DotPlan) -> String {
    let side = |s: &DotSide| match s {
        DotSide::Tile { buf: b, strides } => format!("{} strides {strides:?}", buf(p, *b)),
        DotSide::View(m) => access(m),
    };
    let mut out = format!("dot {} += {} * {}, ", buf(p, d.c), side(&d.a), side(&d.b));
    let _ = write!(out, "{}x{}x{}x{}{}", d.batch, d.m, d.n, d.k, if d.is_int { " i32" } else { "" });
    out
}

fn operand(o: &Operand) -> String {
    match o {
        Operand::Row(s) => format!("s{s}"),
        Operand::One(s) => format!("s{s}[0]"),
        Operand::Reg(r) => format!("r{r}"),
    }
}

fn operands(list: &[Operand]) -> String {
    list.iter().map(operand).collect::<Vec<_>>().join(", ")
}

fn group(p: &CpuProgram, g: &Group, line: &mut impl FnMut(String)) {
    line(format!(
        "        rows {:?} = {}, cols {}, strips of {}x{}",
        g.outer, g.rows, g.cols, g.strip_rows, g.strip_cols
    ));
    for (i, s) in g.slots.iter().enumerate() {
        match s {
            SlotKind::Linear { buf: b, .. } => line(format!("        s{i}: {}", buf(p, *b))),
            SlotKind::RowOf { buf: b, strides, col_stride, .. } => {
                let strides = &strides[..g.outer.len()];
                line(format!("        s{i}: {} strides {strides:?} {col_stride}", buf(p, *b)));
            }
            SlotKind::Stored { mem, .. } => {
                line(format!("        s{i} in the memory of m{mem} where it is whole"))
            }
            SlotKind::Scratch(_) | SlotKind::Fetched(_) => {}
        }
    }
    for op in &g.ops {
        line(format!("        {}", strip_op(p, g, op)));
    }
    for (dtype, b, n) in &g.rounds {
        line(format!("        round.{dtype} {} x{n}", buf(p, *b)));
    }
}

fn strip_op(p: &CpuProgram, g: &Group, op: &StripOp) -> String {
    let mem = |m: &u32| access(&g.mems[*m as usize]);
    let once = |once: &bool| if *once { " once" } else { "" };
    match op {
        StripOp::Fetch { dst, mem: m } => format!("s{dst} = load {}", mem(m)),
        StripOp::FetchTile { dst, buf: b, strides, col_stride, once: o, .. } => {
            let strides = &strides[..g.outer.len()];
            format!("s{dst} = tile {} strides {strides:?} {col_stride}{}", buf(p, *b), once(o))
        }
        StripOp::Iota { dst, axis, base, once: o } => {
            let axis = if *axis == NO_AXIS { "0".to_owned() } else { format!("i{axis}") };
            format!("s{dst} = {axis} + [{}] - [{}]{}", regs(&base.add), regs(&base.sub), once(o))
        }
        StripOp::Fill { dst, a, once: o, .. } => format!("s{dst} = fill {}{}", operand(a), once(o)),
        StripOp::Unary { op, dtype, dst, a } => format!("s{dst} = {}.{dtype} s{a}", op.mnemonic()),
        StripOp::Binary { op, dtype, dst, a, b } => {
            format!("s{dst} = {}.{dtype} {}", op.mnemonic(), operands(&[*a, *b]))
        }
        StripOp::Fma { dtype, dst, a, b, c } => format!("s{dst} = fma.{dtype} {}", operands(&[*a, *b, *c])),
        StripOp::Select { dtype, dst, cond, a, b } => {
            format!("s{dst} = select.{dtype} {}", operands(&[*cond, *a, *b]))
        }
        StripOp::Cast { from, to, dst, a } => format!("s{dst} = cast.{from}.{to} s{a}"),
        StripOp::Exp2Affine { dst, a, s, b } => format!("s{dst} = exp2_affine {}", operands(&[*a, *s, *b])),
        StripOp::ExpSub { dst, a, b } => format!("s{dst} = exp_sub {}", operands(&[*a, *b])),
        StripOp::Exp2Sub { dst, a, b } => format!("s{dst} = exp2_sub {}", operands(&[*a, *b])),
        StripOp::ExpSum { base, dst, a, b, sum } => {
            let name = match base {
                Base::E => "exp_sub",
                Base::Two => "exp2_sub",
            };
            format!("s{dst} = {name} {}, {} = sum.f32 of rows of s{dst}", operands(&[*a, *b]), buf(p, *sum))
        }
        StripOp::Gather { dst, mem: m, indices, mask } => {
            format!("s{dst} = gather {} at {}{}", mem(m), operands(indices), masked(mask.as_ref()))
        }
        StripOp::Copy { dst, a, .. } => format!("s{dst} = s{a}"),
        StripOp::Store { mem: m, a } => format!("store {} = {}", mem(m), operand(a)),
        StripOp::Scatter { mem: m, indices, mask, a } => {
            format!("scatter {} at {}{} = {}", mem(m), operands(indices), masked(mask.as_ref()), operand(a))
        }
        StripOp::ReduceRows { op, dtype, dst, a } => {
            format!("{} = {}.{dtype} of rows of s{a}", buf(p, *dst), op.mnemonic())
        }
        StripOp::ReduceCols { op, dtype, dst, a, axis, .. } => {
            format!("{} = {}.{dtype} along i{axis} of s{a}", buf(p, *dst), op.mnemonic())
        }
    }
}

fn masked(mask: Option<&Operand>) -> String {
    mask.map_or(String::new(), |m| format!(" if {}", operand(m)))
}
