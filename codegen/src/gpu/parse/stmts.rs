//! Statements: one arm per spelling.

use super::Parser;
use crate::diag::Loc;
use crate::gpu::func::{Block, Var};
use crate::gpu::memory::BufferId;
use crate::gpu::ops::{Arrive, Filled, MatrixOperand, MatrixShape, Role, Stmt, StmtKind, Turn, Warpgroup};
use crate::gpu::print::{arrive_word, shape_word};
use crate::ir::parse::{Fault, Parsed};

/// Deepest nesting of blocks that is read; the parser calls itself per level.
const MAX_DEPTH: usize = 64;

/// A shared operand as it is spelt: the buffer, its slot, and whether its rows run along K.
type SharedMatrix = (BufferId, Option<Var>, bool);

impl Parser<'_> {
    fn block(&mut self, depth: usize) -> Parsed<Block> {
        self.cur.expect("{")?;
        self.rest_of_block(depth)
    }

    /// The statements of a block whose brace has been read.
    pub(super) fn rest_of_block(&mut self, depth: usize) -> Parsed<Block> {
        if depth > MAX_DEPTH {
            return Err(self.cur.fault(&format!("blocks are nested deeper than the limit of {MAX_DEPTH}")));
        }
        let mut block = Block::default();
        while !self.cur.eat("}") {
            block.stmts.push(self.stmt(depth)?);
        }
        Ok(block)
    }

    fn stmt_loc(&mut self) -> Parsed<Loc> {
        Ok(self.loc()?.unwrap_or_default())
    }

    fn stmt(&mut self, depth: usize) -> Parsed<Stmt> {
        if self.cur.starts_with("$") {
            return self.set();
        }
        let at = self.cur.offset();
        let word = self.cur.word_for("a statement or `}`")?;
        let kind = match word {
            "for" => return self.for_loop(depth),
            "while" => {
                let loc = self.stmt_loc()?;
                let test = self.block(depth + 1)?;
                let cond = self.keyed("holds")?;
                self.cur.expect_word("do")?;
                let body = self.block(depth + 1)?;
                return Ok(Stmt { kind: StmtKind::While { test, cond, body }, loc });
            }
            "if" => {
                let cond = self.var()?;
                let loc = self.stmt_loc()?;
                let then_block = self.block(depth + 1)?;
                let else_block =
                    if self.cur.eat_word("else") { self.block(depth + 1)? } else { Block::default() };
                return Ok(Stmt { kind: StmtKind::If { cond, then_block, else_block }, loc });
            }
            "roles" => {
                let loc = self.stmt_loc()?;
                self.cur.expect("{")?;
                let mut roles = Vec::new();
                while !self.cur.eat("}") {
                    roles.push(self.role(depth + 1)?);
                }
                return Ok(Stmt { kind: StmtKind::Roles(roles), loc });
            }
            _ => self.plain(word, at)?,
        };
        Ok(Stmt { kind, loc: self.stmt_loc()? })
    }

    /// `$x: type = op`, the type where the variable is new.
    fn set(&mut self) -> Parsed<Stmt> {
        let at = self.cur.offset();
        let dst = self.var()?;
        let def = if self.cur.starts_with(":") { Some(self.type_and_loc()?) } else { None };
        let known = def.as_ref().map(|(ty, _)| ty).or_else(|| self.labels.type_of(dst.0));
        let dtype = known.map(|ty| ty.dtype());
        self.cur.expect("=")?;
        let op_at = self.cur.offset();
        let word = self.cur.word_for("an operation")?;
        let op = self.op(word, op_at, dtype)?;
        let loc = self.stmt_loc()?;
        if let Some(def) = def {
            self.define(dst, at, def, loc)?;
        }
        Ok(Stmt { kind: StmtKind::Set { dst, op }, loc })
    }

    fn for_loop(&mut self, depth: usize) -> Parsed<Stmt> {
        let at = self.cur.offset();
        let iv = self.var()?;
        let def = if self.cur.starts_with(":") { Some(self.type_and_loc()?) } else { None };
        self.cur.expect("=")?;
        let (lo, hi, step) = (self.var()?, self.keyed("to")?, self.keyed("step")?);
        let loc = self.stmt_loc()?;
        if let Some(def) = def {
            self.define(iv, at, def, loc)?;
        }
        let body = self.block(depth + 1)?;
        Ok(Stmt { kind: StmtKind::For { iv, lo, hi, step, body }, loc })
    }

    fn role(&mut self, depth: usize) -> Parsed<Role> {
        self.cur.expect_word("role")?;
        let name = self.cur.word_or_string()?;
        let n_warps = self.numbered("warps")?;
        Ok(Role {
            name,
            n_warps,
            first_warp: self.numbered("from")?,
            active_warps: self.number_after("active", n_warps)?,
            registers: self.number_after("registers", 0)?,
            releases: self.cur.eat_word("releases"),
            body: self.block(depth)?,
        })
    }

    /// A statement without blocks.
    fn plain(&mut self, word: &str, at: usize) -> Parsed<StmtKind> {
        Ok(match word {
            "store" => {
                let (view, offsets, coords) = self.window()?;
                self.cur.expect("=")?;
                StmtKind::Store {
                    view,
                    offsets,
                    coords,
                    src: self.var()?,
                    vector: self.number_after("vector", 1)?,
                }
            }
            "scatter" => {
                let (view, indices, mask) = self.indexed()?;
                self.cur.expect("=")?;
                StmtKind::Scatter { view, indices, src: self.operand()?, mask }
            }
            "print" => {
                let label = self.cur.string()?;
                let mut values = Vec::new();
                while self.cur.eat(",") {
                    values.push(self.var()?);
                }
                StmtKind::Print { label, values }
            }
            "assert" => {
                let cond = self.var()?;
                self.cur.expect(",")?;
                StmtKind::Assert { cond, message: self.cur.number()? }
            }
            "barrier" => StmtKind::Barrier { id: self.cur.number()?, n_threads: self.numbered("threads")? },
            "to_shared" => {
                let (buffer, slot) = self.place()?;
                let coords = self.row_and_column()?;
                self.cur.expect("=")?;
                let src = self.var()?;
                StmtKind::ToShared { src, buffer, slot, coords, vector: self.number_after("vector", 1)? }
            }
            "copy_async" => {
                let (buffer, slot) = self.place()?;
                self.cur.expect("=")?;
                let (view, offsets) = self.point()?;
                StmtKind::CopyAsync {
                    view,
                    offsets,
                    row_axis: self.numbered("rows")?,
                    column_axis: self.numbered("columns")?,
                    buffer,
                    slot,
                    bytes: self.numbered("bytes")?,
                    guard: self.var_after("when")?,
                }
            }
            "commit" => StmtKind::CommitCopies,
            "wait_copies" => StmtKind::WaitCopies { pending: self.cur.number()? },
            "advance" => {
                let slot = self.var()?;
                StmtKind::Advance { slot, phase: self.var_after("phase")?, slots: self.numbered("of")? }
            }
            "dot" => {
                let acc = self.accumulator()?;
                let (a, a_slot, a_k_rows) = self.shared_matrix()?;
                self.cur.expect(",")?;
                let (b, b_slot, b_k_rows) = self.shared_matrix()?;
                StmtKind::DotShared { acc, a, a_k_rows, b, b_k_rows, k: self.numbered("k")?, a_slot, b_slot }
            }
            "dot_rows" => {
                let acc = self.accumulator()?;
                let a = self.var()?;
                self.cur.expect(",")?;
                let b = self.var()?;
                let m = self.numbered("rows")?;
                self.cur.expect_word("strides")?;
                let [x, y] = self.tuple()?;
                self.cur.expect_word("lanes")?;
                self.cur.expect("[")?;
                let lanes = self.list("]", |p| p.tuple().map(|[a, b]| (a, b)))?;
                StmtKind::DotRows { acc, a, b, lanes, m, strides: (x, y) }
            }
            "mma" => self.mma()?,
            "init_barriers" => StmtKind::InitBarriers,
            "cluster_sync" => StmtKind::ClusterSync,
            "expect" => {
                let barrier = self.barrier()?;
                self.cur.expect("[")?;
                let slot = self.var()?;
                self.cur.expect("]")?;
                StmtKind::ExpectBytes { barrier, slot, bytes: self.numbered("bytes")? }
            }
            "wait" => {
                let barrier = self.barrier()?;
                StmtKind::WaitBarrier { barrier, slot: self.index()?, phase: self.keyed("phase")? }
            }
            "arrive" => {
                let barrier = self.barrier()?;
                let slot = self.index()?;
                self.cur.expect_word("by")?;
                let by = [Arrive::Warp, Arrive::Thread, Arrive::Cluster]
                    .into_iter()
                    .find(|&by| self.cur.eat_word(arrive_word(by)));
                let by = by.ok_or_else(|| self.cur.expected("`warp`, `thread` or `cluster`"))?;
                StmtKind::ArriveBarrier { barrier, slot, by }
            }
            "tma_load" => {
                let (buffer, slot) = self.place()?;
                let panel = self.numbered("panel")?;
                let fills = if self.cur.eat_word("to") {
                    self.cur.expect_word("cluster")?;
                    Filled::Cluster
                } else {
                    Filled::Own { row: self.number_after("row", 0)? }
                };
                self.cur.expect("=")?;
                let map = self.map()?;
                self.cur.expect("(")?;
                let coords = self.list(")", Self::var)?;
                self.cur.expect_word("signal")?;
                StmtKind::TmaLoad { map, coords, buffer, slot, panel, fills, barrier: self.barrier()? }
            }
            "tma_store" => {
                let map = self.map()?;
                self.cur.expect("(")?;
                let coords = self.list(")", Self::var)?;
                self.cur.expect("=")?;
                let buffer = self.buffer()?;
                StmtKind::TmaStore {
                    map,
                    coords,
                    buffer,
                    panel: self.numbered("panel")?,
                    row: self.numbered("row")?,
                }
            }
            "wait_stores" => {
                let complete = self.cur.eat_word("complete");
                if !complete {
                    self.cur.expect_word("read")?;
                }
                StmtKind::WaitStores { pending: self.number_after("pending", 0)?, complete }
            }
            "fence_async" => StmtKind::FenceAsync,
            "wgmma_fence" => StmtKind::WgmmaFence,
            "wgmma" => {
                let acc = self.accumulator()?;
                let a = self.matrix()?;
                self.cur.expect(",")?;
                let b = self.matrix()?;
                self.cur.expect_word("as")?;
                let dtype = self.dtype()?;
                let groups = Warpgroup { n_groups: self.numbered("groups")?, n: self.numbered("n")? };
                let extents = self.extents()?;
                StmtKind::Wgmma {
                    acc,
                    a,
                    b,
                    dtype,
                    groups,
                    extents,
                    accumulate: self.var_after("accumulate")?,
                }
            }
            "wgmma_commit" => StmtKind::WgmmaCommit,
            "wgmma_wait" => {
                let pending = self.cur.number()?;
                let mut done = Vec::new();
                if self.cur.eat_word("done") {
                    done.push(self.var()?);
                    while self.cur.eat(",") {
                        done.push(self.var()?);
                    }
                }
                StmtKind::WgmmaWait { pending, done }
            }
            "settle" => {
                let mut values = vec![self.var()?];
                while self.cur.eat(",") {
                    values.push(self.var()?);
                }
                StmtKind::Settle { values }
            }
            "turn" => {
                let turn = Turn::ALL.into_iter().find(|t| self.cur.eat_word(t.word()));
                let Some(turn) = turn else {
                    let message = "a turn is opened, taken, passed or closed: open, take, pass, close";
                    return Err(Fault { at, message: message.to_owned() });
                };
                StmtKind::Turn { turn, first: self.numbered("barriers")? }
            }
            "store_matrix" => {
                let buffer = self.buffer()?;
                let panel = self.number_after("panel", 0)?;
                self.cur.expect("=")?;
                let src = self.var()?;
                StmtKind::StoreMatrix { src, column: self.number_after("column", 0)?, buffer, panel }
            }
            "grid_wait" => StmtKind::GridWait,
            "grid_release" => StmtKind::GridRelease,
            _ => return Err(Fault { at, message: format!("`{word}` is not a statement") }),
        })
    }

    fn mma(&mut self) -> Parsed<StmtKind> {
        let shape = [MatrixShape::M16N8K16, MatrixShape::M16N8K32]
            .into_iter()
            .find(|&shape| self.cur.eat_word(shape_word(shape)))
            .ok_or_else(|| self.cur.expected("`m16n8k16` or `m16n8k32`"))?;
        let acc = self.accumulator()?;
        let a = self.matrix()?;
        self.cur.expect(",")?;
        let b = self.matrix()?;
        self.cur.expect_word("as")?;
        let dtype = self.dtype()?;
        self.cur.expect_word("warps")?;
        let [warps_m, warps_n] = self.tuple()?;
        let extents = self.extents()?;
        let (a_rows, b_rows) = (self.numbered("a_rows")?, self.numbered("b_rows")?);
        Ok(StmtKind::Mma { acc, a, b, dtype, shape, warps: (warps_m, warps_n), extents, a_rows, b_rows })
    }

    fn extents(&mut self) -> Parsed<(u32, u32, u32)> {
        self.cur.expect_word("extents")?;
        self.tuple().map(|[m, n, k]| (m, n, k))
    }

    /// `(1, 2)` of as many numbers as are wanted.
    fn tuple<T: TryFrom<u64> + Copy, const N: usize>(&mut self) -> Parsed<[T; N]> {
        let at = self.cur.offset();
        self.cur.expect("(")?;
        let numbers: Vec<T> = self.list(")", |p| p.cur.number())?;
        let found = numbers.len();
        <[T; N]>::try_from(numbers)
            .map_err(|_| Fault { at, message: format!("{N} numbers should stand here, not {found}") })
    }

    fn accumulator(&mut self) -> Parsed<Var> {
        let acc = self.var()?;
        self.cur.expect("+=")?;
        Ok(acc)
    }

    /// `#b[$slot]`.
    pub(super) fn place(&mut self) -> Parsed<(BufferId, Option<Var>)> {
        Ok((self.buffer()?, self.index()?))
    }

    fn index(&mut self) -> Parsed<Option<Var>> {
        if !self.cur.eat("[") {
            return Ok(None);
        }
        let slot = self.var()?;
        self.cur.expect("]")?;
        Ok(Some(slot))
    }

    fn shared_matrix(&mut self) -> Parsed<SharedMatrix> {
        let (buffer, slot) = self.place()?;
        Ok((buffer, slot, self.cur.eat_word("k_rows")))
    }

    fn matrix(&mut self) -> Parsed<MatrixOperand> {
        if self.cur.starts_with("$") {
            return self.var().map(MatrixOperand::Registers);
        }
        let (buffer, slot, k_rows) = self.shared_matrix()?;
        Ok(MatrixOperand::Shared { buffer, slot, k_rows })
    }
}
