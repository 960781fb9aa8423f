//! Where values are read for the last time, block by block, so that a target can reuse their storage.
//!
//! A value dies in the block that defines it: a value from outside that a loop body reads dies with the loop statement, since
//! the next iteration reads it again. What a block yields is alive at its end and dies in none of its statements.

use crate::ir::walk::for_each_use;
use crate::ir::{Block, Value};

/// Deaths of the values that one block defines itself, parameters included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockLiveness {
    /// Parameters that nothing in the block reads.
    pub dead_on_entry: Vec<Value>,
    /// For each statement, the values that need no storage after it, ascending; a result that nothing reads dies at once.
    pub dies_after: Vec<Vec<Value>>,
}

/// The deaths in `block`, not in the regions inside it; `n_values` is the size of the function's arena.
#[must_use]
pub fn block_liveness(block: &Block, n_values: usize) -> BlockLiveness {
    /// What is known of the last read of a value.
    #[derive(Clone, Copy, PartialEq)]
    enum Last {
        NotHere,
        Unread,
        At(usize),
        Yielded,
    }
    let mut last = vec![Last::NotHere; n_values];
    for v in &block.params {
        last[v.index()] = Last::Unread;
    }
    for (i, stmt) in block.stmts.iter().enumerate() {
        let mut read = |v: Value| {
            if last[v.index()] != Last::NotHere {
                last[v.index()] = Last::At(i);
            }
        };
        stmt.kind.operands().into_iter().for_each(&mut read);
        for region in stmt.kind.regions() {
            for_each_use(region, &mut read);
        }
        for v in stmt.kind.results() {
            last[v.index()] = Last::At(i);
        }
    }
    for v in &block.yields {
        if last[v.index()] != Last::NotHere {
            last[v.index()] = Last::Yielded;
        }
    }
    let mut out =
        BlockLiveness { dead_on_entry: Vec::new(), dies_after: vec![Vec::new(); block.stmts.len()] };
    for (v, last) in (0u32..).map(Value).zip(last) {
        match last {
            Last::NotHere | Last::Yielded => {}
            Last::Unread => out.dead_on_entry.push(v),
            Last::At(i) => out.dies_after[i].push(v),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{StmtKind, parse};

    #[test]
    fn values_die_at_their_last_read_and_at_the_loop_that_reads_them() {
        let func = parse(
            "kernel @k(%x.0: view_mut<f32, 1>) {
               %1: i32 = const 0
               %2: i32 = const 8
               %3: i32 = const 1
               %4: f32 = const 2.0
               %5: f32 = neg %4
               %6: f32 = for %1 to %2 step %3 with (%5) do (%7: i32, %8: f32) {
                 %9: f32 = mul %8, %4
                 yield %9
               }
               store %x.0[%1] = %6
             }",
        )
        .expect("the text should parse");
        let n = func.values.len();
        let outer = block_liveness(&func.body, n);
        let v = |i: &[u32]| i.iter().copied().map(Value).collect::<Vec<_>>();
        assert_eq!(outer.dies_after, [v(&[]), v(&[]), v(&[]), v(&[]), v(&[]), v(&[2, 3, 4, 5]), v(&[1, 6])]);
        let StmtKind::For { body, .. } = &func.body.stmts[5].kind else {
            panic!("statement 5 should be the loop")
        };
        let inner = block_liveness(body, n);
        assert_eq!(inner, BlockLiveness { dead_on_entry: v(&[7]), dies_after: vec![v(&[8])] });
    }
}
