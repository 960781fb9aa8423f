//! Kernels with the statements that only sm_90a has.

use super::build::{Build, rows};
use crate::gpu::{
    Arrive, Coord, Filled, GpuFunc, MatrixOperand, Op, Operand, ParamMap, Role, StmtKind, Swizzle,
    TensorMapId, Var, Warpgroup,
};
use crate::ir::{BinaryOp, DType};
use crate::layout::{Layout, WarpGrid};

const F32: DType = DType::F32;
const BF16: DType = DType::BF16;

fn of(v: Var) -> Operand {
    Operand::of(v)
}

/// A product on the matrix unit of sm_90: one warp of copies, warpgroups of products, rings of mbarriers, a store by tensor map.
pub(crate) fn hopper_gemm(dtype: DType, a_k_rows: bool, b_k_rows: bool) -> GpuFunc {
    let name = format!("hopper_gemm_{}_{}{}", dtype.name(), u8::from(a_k_rows), u8::from(b_k_rows));
    let mut b = Build::new(&name, 12);
    b.func.min_blocks = 1;
    let (av, bv) = (b.view("a", dtype, 2, false), b.view("b", dtype, 2, false));
    let is_wide = matches!(dtype, DType::F16 | BF16);
    let out_dtype = if is_wide { dtype } else { BF16 };
    let acc_dtype = if matches!(dtype, DType::I8 | DType::U8) { DType::I32 } else { F32 };
    let c = b.view("c", out_dtype, 2, true);
    let size = dtype.size_bytes() as u32;
    let (m, n, k, stages) = (128, 128, 128 / size, 4);
    let span = 128 / size;
    let shared = |b: &mut Build, name: &str, lines: u32, k_rows: bool| {
        let swizzle = Swizzle::Xor { shift: 0, mask: 7 };
        let shape = if k_rows { [lines / span, k, span] } else { [1, lines, k] };
        b.buffer(name, dtype, shape, stages, 128, swizzle)
    };
    let (a_tile, b_tile) = (shared(&mut b, "a_tile", m, a_k_rows), shared(&mut b, "b_tile", n, b_k_rows));
    let c_tile = b.buffer("c_tile", out_dtype, [2, m, 64], 1, 128, Swizzle::Xor { shift: 0, mask: 7 });
    let (full, empty) = (b.barrier("full", stages, 1), b.barrier("empty", stages, 8));
    let map = |b: &mut Build, param, box_dims: [u32; 2]| {
        let map = ParamMap { param, box_dims: box_dims.to_vec(), swizzle_bytes: 128 };
        b.func.maps.push(map);
        TensorMapId(b.func.maps.len() as u32 - 1)
    };
    let dims = |lines, k_rows: bool| if k_rows { [k, span] } else { [lines, k] };
    let (a_map, b_map) = (map(&mut b, av, dims(m, a_k_rows)), map(&mut b, bv, dims(n, b_k_rows)));
    let c_map = map(&mut b, c, [64, 64]);
    let (m0, n0) = (b.first("m0", 0, i64::from(m)), b.first("n0", 1, i64::from(n)));
    let (zero, one) = (b.int(0), b.int(1));
    let step = b.int(i64::from(k));
    let k_end = b.scalar("k_end", DType::I32);
    b.set(k_end, Op::ViewDim(av, u8::from(!a_k_rows)));
    b.line().stmt(StmtKind::InitBarriers).stmt(StmtKind::GridWait);
    let producer = b.block(|b| {
        let (slot, phase) = (b.scalar("slot", DType::I32), b.scalar("phase", DType::I32));
        b.set(slot, Op::Copy(of(zero)));
        b.set(phase, Op::Copy(of(one)));
        let at = b.scalar("k", DType::I32);
        let body = b.block(|b| {
            b.line().stmt(StmtKind::WaitBarrier { barrier: empty, slot: Some(slot), phase });
            b.stmt(StmtKind::ExpectBytes { barrier: full, slot, bytes: (m + n) * 128 });
            for (first, k_rows, lines, map, buffer) in
                [(m0, a_k_rows, m, a_map, a_tile), (n0, b_k_rows, n, b_map, b_tile)]
            {
                let panels = if k_rows { lines / span } else { 1 };
                for panel in 0..panels {
                    let mut line = first;
                    if panel > 0 {
                        let by = b.int(i64::from(panel * span));
                        line = b.scalar("line", DType::I32);
                        b.set(line, Op::Binary(BinaryOp::Add, of(first), of(by)));
                    }
                    let coords = if k_rows { vec![at, line] } else { vec![line, at] };
                    let fills = Filled::Own { row: 0 };
                    b.stmt(StmtKind::TmaLoad {
                        map,
                        coords,
                        buffer,
                        slot: Some(slot),
                        panel,
                        fills,
                        barrier: full,
                    });
                }
            }
            b.stmt(StmtKind::Advance { slot, phase: Some(phase), slots: stages });
        });
        b.stmt(StmtKind::For { iv: at, lo: zero, hi: k_end, step, body });
    });
    let layout = Layout::wgmma_accumulator(&[m, n], WarpGrid { m_bits: 1, n_bits: 0 }).unwrap();
    let consumer = b.block(|b| {
        let (slot, phase) = (b.scalar("slot", DType::I32), b.scalar("phase", DType::I32));
        b.line().set(slot, Op::Copy(of(zero)));
        b.set(phase, Op::Copy(of(zero)));
        let acc = b.tile("acc", acc_dtype, &[m, n], &layout);
        let start = b.zero(acc_dtype);
        b.set(acc, Op::Copy(of(start)));
        let at = b.scalar("k", DType::I32);
        let body = b.block(|b| {
            b.line().stmt(StmtKind::WaitBarrier { barrier: full, slot: Some(slot), phase });
            let more = b.scalar("more", DType::Bool);
            b.set(more, Op::Binary(BinaryOp::Gt, of(at), of(zero)));
            let operand = |buffer, k_rows| MatrixOperand::Shared { buffer, slot: Some(slot), k_rows };
            b.stmt(StmtKind::WgmmaFence);
            b.stmt(StmtKind::Wgmma {
                acc,
                a: operand(a_tile, a_k_rows),
                b: operand(b_tile, b_k_rows),
                dtype,
                groups: Warpgroup { n_groups: 2, n: 128 },
                extents: (m, n, k),
                accumulate: Some(more),
            });
            b.stmt(StmtKind::WgmmaCommit).stmt(StmtKind::WgmmaWait { pending: 0, done: vec![acc] });
            b.stmt(StmtKind::ArriveBarrier { barrier: empty, slot: Some(slot), by: Arrive::Warp });
            b.stmt(StmtKind::Advance { slot, phase: Some(phase), slots: stages });
        });
        b.stmt(StmtKind::For { iv: at, lo: zero, hi: k_end, step, body });
        b.stmt(StmtKind::GridRelease);
        let out = b.tile("out", out_dtype, &[m, n], &layout);
        b.line().set(out, Op::Cast(of(acc)));
        for panel in 0..2 {
            b.line().stmt(StmtKind::StoreMatrix { src: out, column: panel * 64, buffer: c_tile, panel });
        }
        b.stmt(StmtKind::FenceAsync);
        b.stmt(StmtKind::Barrier { id: 2, n_threads: 256 });
        for panel in 0..2 {
            for row in [0, 64] {
                let (x, y) = (b.scalar("x", DType::I32), b.scalar("y", DType::I32));
                let (right, down) = (b.int(i64::from(panel) * 64), b.int(i64::from(row)));
                b.set(x, Op::Binary(BinaryOp::Add, of(n0), of(right)));
                b.set(y, Op::Binary(BinaryOp::Add, of(m0), of(down)));
                b.stmt(StmtKind::TmaStore { map: c_map, coords: vec![y, x], buffer: c_tile, panel, row });
            }
        }
        b.stmt(StmtKind::WaitStores { pending: 0, complete: false });
    });
    let role = |name: &str, first_warp, n_warps, registers, releases, body| Role {
        name: name.to_owned(),
        first_warp,
        n_warps,
        active_warps: if first_warp == 0 { n_warps } else { 1 },
        registers,
        releases,
        body,
    };
    let roles =
        vec![role("consumer", 0, 8, 232, false, consumer), role("producer", 8, 4, 40, true, producer)];
    b.line().stmt(StmtKind::Roles(roles));
    b.done()
}

/// Operand A of the matrix unit in registers, several instructions per warpgroup, columns three times a power of two; B stored
/// either way, in 64-byte rows.
pub(crate) fn hopper_registers(b_k_rows: bool) -> GpuFunc {
    let mut b = Build::new(&format!("hopper_registers_{}", u8::from(b_k_rows)), 4);
    let (av, bv, c) = (b.view("a", BF16, 2, false), b.view("b", BF16, 2, false), b.view("c", F32, 2, true));
    let zero = b.int(0);
    let (m, n, k) = (128, 96, 64);
    let grid = WarpGrid::default();
    let swizzle = Swizzle::Xor { shift: 1, mask: 3 };
    let shape = if b_k_rows { [n / 32, k, 32] } else { [k / 32, n, 32] };
    let b_tile = b.buffer("b_tile", BF16, shape, 1, 64, swizzle);
    let a = b.load("a", av, &[zero, zero], &[m, k], &Layout::wgmma_a(&[m, k], 2, grid).unwrap(), 2);
    let (rows_b, columns_b) = if b_k_rows { (k, n) } else { (n, k) };
    let bt = b.load("b", bv, &[zero, zero], &[rows_b, columns_b], &rows(&[rows_b, columns_b], 2, 4), 8);
    let straight = [Coord::Axis(0), Coord::Axis(1)];
    b.line().stmt(StmtKind::ToShared { src: bt, buffer: b_tile, slot: None, coords: straight, vector: 8 });
    b.stmt(StmtKind::FenceAsync).stmt(StmtKind::Barrier { id: 0, n_threads: 128 });
    let layout = Layout::wgmma_accumulator(&[m, n], grid).unwrap();
    let acc = b.tile("acc", F32, &[m, n], &layout);
    let start = b.zero(F32);
    b.line().set(acc, Op::Copy(of(start)));
    b.stmt(StmtKind::WgmmaFence);
    b.stmt(StmtKind::Wgmma {
        acc,
        a: MatrixOperand::Registers(a),
        b: MatrixOperand::Shared { buffer: b_tile, slot: None, k_rows: b_k_rows },
        dtype: BF16,
        groups: Warpgroup { n_groups: 1, n: 32 },
        extents: (m, n, k),
        accumulate: None,
    });
    b.stmt(StmtKind::WgmmaCommit).stmt(StmtKind::WgmmaWait { pending: 0, done: vec![acc] });
    b.line().store(c, &[zero, zero], acc, 2);
    b.done()
}

/// Boxes of every rank to shared memory and back.
pub(crate) fn boxes(rank: u32) -> GpuFunc {
    let mut b = Build::new(&format!("boxes_{rank}d"), 1);
    let (x, y) = (b.view("x", F32, rank as u8, false), b.view("y", F32, rank as u8, true));
    let buffer = b.buffer("tile", F32, [1, 1, 32], 1, 128, Swizzle::None);
    b.func.buffers[0].align_bytes = 128;
    let full = b.barrier("full", 1, 1);
    let mut box_dims = vec![1; rank as usize - 1];
    box_dims.push(32);
    for param in [x, y] {
        b.func.maps.push(ParamMap { param, box_dims: box_dims.clone(), swizzle_bytes: 0 });
    }
    let zero = b.int(0);
    let coords: Vec<Var> = (0..rank).map(|axis| b.int(i64::from(axis))).collect();
    b.line().stmt(StmtKind::InitBarriers);
    b.stmt(StmtKind::ExpectBytes { barrier: full, slot: zero, bytes: 128 });
    let load = StmtKind::TmaLoad {
        map: TensorMapId(0),
        coords: coords.clone(),
        buffer,
        slot: None,
        panel: 0,
        fills: Filled::Own { row: 0 },
        barrier: full,
    };
    b.stmt(load).stmt(StmtKind::WaitBarrier { barrier: full, slot: None, phase: zero });
    let straight = [Coord::Zero, Coord::Axis(0)];
    let layout = rows(&[32], 4, 1);
    let xs = b.tile("xs", F32, &[32], &layout);
    b.line().set(xs, Op::FromShared { buffer, slot: None, coords: straight.clone() });
    let doubled = b.tile("doubled", F32, &[32], &layout);
    b.line().set(doubled, Op::Binary(BinaryOp::Add, of(xs), of(xs)));
    b.stmt(StmtKind::ToShared { src: doubled, buffer, slot: None, coords: straight, vector: 1 });
    b.stmt(StmtKind::FenceAsync).stmt(StmtKind::Barrier { id: 0, n_threads: 32 });
    b.line().stmt(StmtKind::TmaStore { map: TensorMapId(1), coords, buffer, panel: 0, row: 0 });
    b.stmt(StmtKind::WaitStores { pending: 0, complete: true });
    b.done()
}

/// Every case that only sm_90a compiles.
pub(crate) fn hopper() -> Vec<GpuFunc> {
    let mut out = Vec::new();
    for (a, b) in [(false, false), (false, true), (true, false), (true, true)] {
        out.push(hopper_gemm(BF16, a, b));
    }
    out.extend(
        [DType::F16, DType::F8E4M3, DType::F8E5M2, DType::I8, DType::U8]
            .map(|t| hopper_gemm(t, false, false)),
    );
    out.extend([false, true].map(hopper_registers));
    out.extend((1..=5).map(boxes));
    out
}
