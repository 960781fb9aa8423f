//! The language without the macro: kernels written as the macro would expand them.

use tilewright_codegen::dsl::control::{for_loop, if_else};
use tilewright_codegen::dsl::dim::{Var, dim};
use tilewright_codegen::dsl::memory::{param_scalar, param_view, param_view_mut};
use tilewright_codegen::dsl::operators::{cmp_eq, cmp_lt, logic_and};
use tilewright_codegen::ir::{StmtKind, ViewFacts, builder};
use tilewright_codegen::prelude::*;

fn silu<S: TileShape>(x: Tile<f32, S>) -> Tile<f32, S> {
    x * x.sigmoid() + 0.5 * x - x / 2.0
}

fn matmul<T: Float + DotInput<Acc = f32>, BM: Dim, BN: Dim, BK: Dim>(
    x: View<T, 2>,
    w: View<T, 2>,
    y: ViewMut<T, 2>,
    scale: Scalar<f32>,
    transposed: bool,
) {
    let m = program_id(0) * dim::<BM>();
    let n = program_id(1) * dim::<BN>();
    let mut acc = zeros::<f32, (BM, BN)>();
    (acc,) = for_loop(range(0, x.dim(1), dim::<BK>()), (acc,), |k, (mut acc,)| {
        let a = x.load::<(BM, BK)>([m, k]);
        let b = if transposed { w.load::<(BN, BK)>([n, k]).t() } else { w.load::<(BK, BN)>((k, n)) };
        acc = dot(a, b, acc);
        (acc,)
    });
    acc *= scale;
    let row_max = acc.max_keep::<1>();
    let shifted = silu(acc - row_max);
    let c = logic_and(cmp_lt(&m, &5), || cmp_eq(&n, &0));
    let ((), (acc,)) = if_else(c, (shifted,), |(a,)| ((), (a + 1.0,)), |(a,)| ((), (a,)));
    let flags = cmp_lt(&acc, &0.0);
    let acc = select(flags, 0.0, acc);
    y.store([m, n], acc.cast::<T>());
}

#[test]
fn a_kernel_builds_its_function() {
    let func = builder::build("matmul", &[32, 48, 16], || {
        let facts = ViewFacts::default();
        let (x, w, y) = (param_view("x", facts), param_view("w", facts), param_view_mut("y", facts));
        matmul::<f16, Var<0>, Var<1>, Var<2>>(x, w, y, param_scalar("scale"), true);
    })
    .expect("the kernel should specialise");
    assert_eq!(func.params.len(), 4);
    assert!(func.body.stmts.iter().any(|s| matches!(s.kind, StmtKind::For { .. })));
    assert!(func.body.stmts.iter().all(|s| s.loc.is_known()));
}
