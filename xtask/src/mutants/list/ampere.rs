//! Mutants of products before Hopper: `cp.async`, `ldmatrix`, `mma.sync`, and the softmax between two of them.

use super::{Class, Mutant, mutant};
use crate::mutants::zoo::{ATTENTION_80, MATMUL_80};
use crate::ptx::edit::{At, Edit, To, first};

const BARRIER: At = first("bar.sync");
const COPY: At = first("cp.async.c*shared.global*");
const COMMIT: At = first("cp.async.commit_group");
const COPY_WAIT: At = first("cp.async.wait_group");
const LDMATRIX: At = first("ldmatrix*x4.shared*");
const LDMATRIX_TRANS: At = first("ldmatrix*x4.trans*");
const MMA: At = first("mma.sync*");
const SHUFFLE: At = first("shfl.sync.bfly*");
const STORE: At = first("st.global*");

pub(super) const AMPERE: &[Mutant] = &[
    // cp.async, ldmatrix, mma.sync.
    mutant(MATMUL_80, Class::Barrier, "no barrier after the wait for a stage", &[(BARRIER, Edit::Drop)]),
    mutant(
        MATMUL_80,
        Class::Wait,
        "one copy group too many stays in flight",
        &[(COPY_WAIT, Edit::Add(0, 1))],
    ),
    mutant(MATMUL_80, Class::Wait, "no wait for copies", &[(COPY_WAIT, Edit::Drop)]),
    mutant(MATMUL_80, Class::Commit, "the first copies are not committed", &[(COMMIT, Edit::Drop)]),
    mutant(MATMUL_80, Class::Commit, "copies of the loop are not committed", &[(COMMIT.last(), Edit::Drop)]),
    mutant(
        MATMUL_80,
        Class::Stage,
        "a copy of the loop lands in the next stage",
        &[(COPY.last(), Edit::Through(0, 0, "add.s32", "16384"))],
    ),
    mutant(
        MATMUL_80,
        Class::Swizzle,
        "a copy swizzled otherwise",
        &[(COPY.nth(1), Edit::Through(0, 0, "xor.b32", "16"))],
    ),
    mutant(
        MATMUL_80,
        Class::Swizzle,
        "ldmatrix reads another chunk",
        &[(LDMATRIX.nth(1), Edit::Through(1, 0, "xor.b32", "32"))],
    ),
    mutant(
        MATMUL_80,
        Class::Offset,
        "a copy from an address that is not aligned",
        &[(COPY.nth(2), Edit::Through(1, 0, "add.s64", "2"))],
    ),
    mutant(
        MATMUL_80,
        Class::Offset,
        "a copy from the next eight columns",
        &[(COPY.nth(2), Edit::Through(1, 0, "add.s64", "16"))],
    ),
    mutant(MATMUL_80, Class::Bounds, "copies never fill with zeros", &[(COPY.every(), Edit::Set(3, "16"))]),
    mutant(
        MATMUL_80,
        Class::Bounds,
        "the last step of K is left out",
        &[(MMA.last().to(&[(To::Next, "setp.lt.s32")]), Edit::Through(2, 0, "add.s32", "-64"))],
    ),
    mutant(
        MATMUL_80,
        Class::Bounds,
        "the last store skips its check",
        &[(STORE.last().to(&[(To::Previous, "bra")]), Edit::Drop)],
    ),
    mutant(
        MATMUL_80,
        Class::Fragment,
        "operand a with two registers exchanged",
        &[(MMA.nth(5), Edit::SwapIn(1, 1, 2))],
    ),
    mutant(
        MATMUL_80,
        Class::Fragment,
        "operand b with its registers exchanged",
        &[(MMA.nth(6), Edit::SwapIn(2, 0, 1))],
    ),
    mutant(
        MATMUL_80,
        Class::Fragment,
        "ldmatrix transposed",
        &[(LDMATRIX, Edit::Op(".x4.shared", ".x4.trans.shared"))],
    ),
    // Attention before tensor copies.
    mutant(
        ATTENTION_80,
        Class::Barrier,
        "no barrier after the wait for keys and values",
        &[(COPY_WAIT.to(&[(To::Next, "bar.sync")]), Edit::Drop)],
    ),
    mutant(ATTENTION_80, Class::Wait, "keys and values stay in flight", &[(COPY_WAIT, Edit::Add(0, 1))]),
    mutant(ATTENTION_80, Class::Commit, "keys and values are not committed", &[(COMMIT, Edit::Drop)]),
    mutant(
        ATTENTION_80,
        Class::Fragment,
        "values are not transposed",
        &[(LDMATRIX_TRANS, Edit::Op(".trans", ""))],
    ),
    mutant(
        ATTENTION_80,
        Class::Fragment,
        "probabilities handed on with two registers exchanged",
        &[(MMA.last(), Edit::SwapIn(1, 0, 1))],
    ),
    mutant(
        ATTENTION_80,
        Class::Lane,
        "a sum of rows over the wrong lanes",
        &[(SHUFFLE.nth(5), Edit::Set(2, "4"))],
    ),
    mutant(
        ATTENTION_80,
        Class::Lane,
        "a sum of rows over half the lanes",
        &[(SHUFFLE.nth(4), Edit::Set(2, "0"))],
    ),
    mutant(
        ATTENTION_80,
        Class::Bounds,
        "the causal mask leaves out the diagonal",
        &[(first("setp.le.s32").every(), Edit::Op("setp.le", "setp.lt"))],
    ),
    mutant(
        ATTENTION_80,
        Class::Store,
        "a part of the queries is not staged",
        &[(first("st.shared.v4*"), Edit::Drop)],
    ),
    mutant(
        ATTENTION_80,
        Class::Offset,
        "queries are staged 16 bytes late",
        &[(first("st.shared.v4*"), Edit::Through(0, 0, "add.s32", "16"))],
    ),
];
