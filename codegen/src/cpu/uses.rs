//! Who defines and who reads each value, seen from the block that defines it.
//!
//! A use inside a region counts, for the defining block, as a use by the statement that owns the region. The compiler ticks
//! users off as it emits them, so that "is this value needed later?" is a look at the users that are left.

use crate::ir::{Block, Func, Op, StmtKind, Value};

/// Index of a statement in text order.
pub(crate) type StmtId = usize;
/// Index of a block in text order; the body is 0.
pub(crate) type BlockId = usize;

/// Something in a value's own block that reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum User {
    /// An operand of a statement.
    Stmt(StmtId),
    /// Something inside a statement's regions.
    Body(StmtId),
    /// A yield of the block, or a pin: needed to the block's end.
    End,
}

/// Definitions, users and liveness of a function's values.
pub(crate) struct Uses<'f> {
    /// The operation of a `Let`, and its statement.
    pub defs: Vec<Option<(&'f Op, StmtId)>>,
    /// The value that a statement defines, if it is a `Let`.
    pub let_value: Vec<Option<Value>>,
    /// The block that defines a value.
    pub block_of: Vec<BlockId>,
    pub users: Vec<Vec<User>>,
    /// Whether the value is worth computing.
    pub live: Vec<bool>,
    /// Whether a statement's operands have been read.
    pub entry_done: Vec<bool>,
    /// Whether a statement's regions have run.
    pub body_done: Vec<bool>,
    /// Values read inside each statement's regions but defined outside them.
    pub captured: Vec<Vec<Value>>,
}

struct Walk<'f, 'u> {
    uses: &'u mut Uses<'f>,
    n_blocks: usize,
    /// Enclosing statements with the block that holds each.
    path: Vec<(BlockId, StmtId)>,
    roots: Vec<Value>,
}

impl<'f> Uses<'f> {
    /// Analyses `func`.
    pub(crate) fn new(func: &'f Func) -> Self {
        let n = func.values.len();
        let mut uses = Self {
            defs: vec![None; n],
            let_value: Vec::new(),
            block_of: vec![0; n],
            users: vec![Vec::new(); n],
            live: vec![false; n],
            entry_done: Vec::new(),
            body_done: Vec::new(),
            captured: Vec::new(),
        };
        let mut walk = Walk { uses: &mut uses, n_blocks: 1, path: Vec::new(), roots: Vec::new() };
        walk.block(&func.body, 0);
        let mut work = walk.roots;
        while let Some(v) = work.pop() {
            if !std::mem::replace(&mut uses.live[v.index()], true)
                && let Some((op, _)) = uses.defs[v.index()]
            {
                work.extend(op.operands());
            }
        }
        uses
    }

    /// Keeps `v` needed to the end of its block.
    pub(crate) fn pin(&mut self, v: Value) {
        self.users[v.index()].push(User::End);
    }
}

impl<'f> Walk<'f, '_> {
    fn block(&mut self, block: &'f Block, id: BlockId) {
        for &p in &block.params {
            self.uses.block_of[p.index()] = id;
        }
        for stmt in &block.stmts {
            let s = self.uses.entry_done.len();
            self.uses.entry_done.push(false);
            self.uses.body_done.push(false);
            self.uses.captured.push(Vec::new());
            self.uses.let_value.push(None);
            let operands = stmt.kind.operands();
            for &v in &operands {
                self.read(v, id, User::Stmt(s));
            }
            if let StmtKind::Let { value, op } = &stmt.kind {
                self.uses.defs[value.index()] = Some((op, s));
                self.uses.let_value[s] = Some(*value);
            } else {
                self.roots.extend(operands);
            }
            for v in stmt.kind.results() {
                self.uses.block_of[v.index()] = id;
            }
            for region in stmt.kind.regions() {
                let inner = self.n_blocks;
                self.n_blocks += 1;
                self.path.push((id, s));
                self.block(region, inner);
                self.path.pop();
            }
        }
        for &v in &block.yields {
            self.read(v, id, User::End);
            self.roots.push(v);
        }
    }

    fn read(&mut self, v: Value, here: BlockId, user: User) {
        let home = self.uses.block_of[v.index()];
        // Outside its block the reader is the enclosing statement; every region passed on the way captures the value.
        let user = if home == here {
            user
        } else {
            let mut at = user;
            for &(block, s) in self.path.iter().rev() {
                if !self.uses.captured[s].contains(&v) {
                    self.uses.captured[s].push(v);
                }
                if block == home {
                    at = User::Body(s);
                    break;
                }
            }
            at
        };
        let users = &mut self.uses.users[v.index()];
        if !users.contains(&user) {
            users.push(user);
        }
    }
}
