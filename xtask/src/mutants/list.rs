//! The mutants: each breaks one thing that a kernel's author, or our own lowering, could get wrong.
//!
//! A mutant is in the list only if it is wrong by the rules of PTX or computes something else, whatever a device makes of it.
//! Left out, because they are equivalent here: the `bar.warp.sync` before a consumer's release of a stage that only `wgmma`
//! reads (every lane has waited for the products); the wait for copies at the end of kernels that reuse no shared memory (none are in
//! flight); and masks whose other condition is the stricter one (keys beyond the end, under a causal mask that ends there).

use super::zoo::{
    ARGMAX_80, ATTENTION_80, ATTENTION_90, DECODE_80, EMBEDDING_80, MATMUL_80, MATMUL_90, MATMUL_90_LONG,
    MATVEC_80, RMS_NORM_80, SOFTMAX_80, Subject,
};
use crate::ptx::edit::{At, Edit, Step, To, first};

/// What a mutation breaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Class {
    Fence,
    Wait,
    Barrier,
    Parity,
    Count,
    Commit,
    Release,
    Stage,
    Offset,
    Swizzle,
    Bounds,
    Fragment,
    Lane,
    Store,
}

/// A broken kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mutant {
    pub(super) subject: Subject,
    /// The kernel's name in CUDA C, where a launch takes several.
    pub(super) kernel: &'static str,
    pub(super) class: Class,
    pub(super) name: &'static str,
    pub(super) steps: &'static [Step],
}

const fn mutant(subject: Subject, class: Class, name: &'static str, steps: &'static [Step]) -> Mutant {
    Mutant { subject, kernel: subject.kernel, class, name, steps }
}

const WAIT: At = first("mbarrier.try_wait.parity*");
const INIT: At = first("mbarrier.init*");
const EXPECT: At = first("mbarrier.arrive.expect_tx*");
const ARRIVE: At = first("mbarrier.arrive.shared*");
const TMA_LOAD: At = first("cp.async.bulk.tensor*global*complete_tx*");
const TMA_STORE: At = first("cp.async.bulk.tensor*global.shared*");
const WGMMA: At = first("wgmma.mma_async*");
const BARRIER: At = first("bar.sync");
const COPY: At = first("cp.async.c*shared.global*");
const COMMIT: At = first("cp.async.commit_group");
const COPY_WAIT: At = first("cp.async.wait_group");
const LDMATRIX: At = first("ldmatrix*x4.shared*");
const LDMATRIX_TRANS: At = first("ldmatrix*x4.trans*");
const MMA: At = first("mma.sync*");
const STMATRIX: At = first("stmatrix*");
const SHUFFLE: At = first("shfl.sync.bfly*");
const STORE: At = first("st.global*");
const LOAD: At = first("ld.global*");

impl Mutant {
    /// Kernel and mutation.
    pub(super) fn label(&self) -> String {
        format!("{}: {}", self.subject.name, self.name)
    }
}

/// All mutants.
pub(super) fn all() -> impl Iterator<Item = Mutant> {
    ALL.iter().copied()
}

const ALL: &[Mutant] = &[
    // Tensor copies, mbarriers, warpgroup products, warp roles.
    mutant(
        MATMUL_90,
        Class::Fence,
        "no proxy fence before the tensor store",
        &[(first("fence.proxy.async*"), Edit::Drop)],
    ),
    mutant(
        MATMUL_90,
        Class::Fence,
        "no fence after the initialisation of mbarriers",
        &[(first("fence.mbarrier_init*"), Edit::Drop)],
    ),
    mutant(
        MATMUL_90,
        Class::Fence,
        "no wgmma.fence before the products",
        &[(first("wgmma.fence*"), Edit::Drop)],
    ),
    mutant(
        MATMUL_90,
        Class::Barrier,
        "no barrier after the initialisation of mbarriers",
        &[(BARRIER, Edit::Drop)],
    ),
    mutant(
        MATMUL_90,
        Class::Barrier,
        "no barrier between stmatrix and the tensor store",
        &[(BARRIER.last(), Edit::Drop)],
    ),
    mutant(
        MATMUL_90,
        Class::Barrier,
        "barrier of half the consumers",
        &[(BARRIER.last(), Edit::Set(1, "128"))],
    ),
    mutant(
        MATMUL_90,
        Class::Wait,
        "the last products are not waited for",
        &[(first("wgmma.wait_group*").last(), Edit::Drop)],
    ),
    mutant(
        MATMUL_90,
        Class::Wait,
        "tensor stores are not waited for",
        &[(first("cp.async.bulk.wait_group*"), Edit::Drop)],
    ),
    mutant(
        MATMUL_90,
        Class::Commit,
        "products are not committed",
        &[(first("wgmma.commit_group*"), Edit::Drop)],
    ),
    mutant(
        MATMUL_90,
        Class::Commit,
        "tensor stores are not committed",
        &[(first("cp.async.bulk.commit_group"), Edit::Drop)],
    ),
    mutant(
        MATMUL_90,
        Class::Parity,
        "consumers wait for the other phase",
        &[(WAIT, Edit::Through(2, 0, "xor.b32", "1"))],
    ),
    mutant(
        MATMUL_90,
        Class::Parity,
        "the producer waits for the other phase",
        &[(WAIT.last(), Edit::Through(2, 0, "xor.b32", "1"))],
    ),
    mutant(MATMUL_90, Class::Parity, "the producer's phase never flips", &[(WAIT.last(), Edit::Set(2, "1"))]),
    mutant(
        MATMUL_90,
        Class::Count,
        "one arrival too many expected of a full stage",
        &[(INIT, Edit::Through(1, 0, "add.s32", "1"))],
    ),
    mutant(
        MATMUL_90_LONG,
        Class::Count,
        "one arrival too few expected of an empty stage",
        &[(INIT.last(), Edit::Through(1, 0, "add.s32", "-1"))],
    ),
    mutant(
        MATMUL_90,
        Class::Count,
        "half the bytes announced",
        &[(EXPECT, Edit::Through(2, 0, "shr.u32", "1"))],
    ),
    mutant(
        MATMUL_90,
        Class::Count,
        "16 bytes too many announced",
        &[(EXPECT, Edit::Through(2, 0, "add.s32", "16"))],
    ),
    mutant(
        MATMUL_90,
        Class::Count,
        "every lane of the producer copies",
        &[(EXPECT.to(&[(To::Previous, "bra")]), Edit::Drop)],
    ),
    mutant(
        MATMUL_90,
        Class::Count,
        "every lane of a consumer releases",
        &[(ARRIVE.to(&[(To::Previous, "bra")]), Edit::Drop)],
    ),
    mutant(
        MATMUL_90,
        Class::Count,
        "more registers claimed than given back",
        &[(first("setmaxnreg.inc*"), Edit::Set(0, "240"))],
    ),
    mutant(MATMUL_90, Class::Release, "stages are never released", &[(ARRIVE, Edit::Drop)]),
    mutant(
        MATMUL_90,
        Class::Release,
        "a stage is released while its products are in flight",
        &[(first("wgmma.wait_group*"), Edit::Add(0, 1))],
    ),
    mutant(
        MATMUL_90,
        Class::Stage,
        "the stage in use is released, not the one before",
        &[(ARRIVE, Edit::Through(1, 0, "add.s32", "8"))],
    ),
    mutant(
        MATMUL_90,
        Class::Stage,
        "a copy signals the next stage",
        &[(TMA_LOAD, Edit::Through(2, 0, "add.s32", "8"))],
    ),
    mutant(
        MATMUL_90,
        Class::Stage,
        "a copy fills the next stage",
        &[(TMA_LOAD, Edit::Through(0, 0, "add.s32", "16384"))],
    ),
    mutant(
        MATMUL_90,
        Class::Stage,
        "consumers use one stage too few",
        &[(
            WAIT.to(&[(To::Next, "wgmma.commit*"), (To::Next, "selp.b32"), (To::Operand(3), "setp*")]),
            Edit::Add(2, -1),
        )],
    ),
    mutant(
        MATMUL_90,
        Class::Offset,
        "the second product reads the third's columns",
        &[(WGMMA.nth(1), Edit::Through(1, 0, "add.s64", "2"))],
    ),
    mutant(
        MATMUL_90,
        Class::Offset,
        "a product starts a row of the tile late",
        &[(WGMMA, Edit::Through(2, 0, "add.s64", "8"))],
    ),
    mutant(
        MATMUL_90,
        Class::Offset,
        "the tensor store takes the other half",
        &[(TMA_STORE, Edit::Through(1, 0, "add.s32", "16384"))],
    ),
    mutant(
        MATMUL_90,
        Class::Swizzle,
        "a descriptor without swizzle",
        &[(WGMMA, Edit::Through(1, 0, "xor.b64", "0x4000000000000000"))],
    ),
    mutant(
        MATMUL_90,
        Class::Swizzle,
        "one stmatrix swizzled otherwise",
        &[(STMATRIX.nth(3), Edit::Through(0, 0, "xor.b32", "16"))],
    ),
    mutant(
        MATMUL_90,
        Class::Bounds,
        "tensor copies start one element late along K",
        &[(TMA_LOAD, Edit::Through(1, 1, "add.s32", "1"))],
    ),
    mutant(
        MATMUL_90,
        Class::Bounds,
        "consumers leave out the last step of K",
        &[(WGMMA.last().to(&[(To::Next, "setp.lt.s32")]), Edit::Through(2, 0, "add.s32", "-64"))],
    ),
    mutant(
        MATMUL_90,
        Class::Bounds,
        "a consumer warp takes the producer's role",
        &[(first("setmaxnreg.inc*").to(&[(To::Previous, "setp.lt.s32")]), Edit::Add(2, -1))],
    ),
    mutant(
        MATMUL_90,
        Class::Fragment,
        "stmatrix with two matrices exchanged",
        &[(STMATRIX, Edit::SwapIn(1, 0, 1))],
    ),
    mutant(
        MATMUL_90,
        Class::Fragment,
        "products replace the accumulator",
        &[(first("setp.ne.b32").every(), Edit::Op("setp.ne", "setp.eq"))],
    ),
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
    // Attention with them.
    mutant(
        ATTENTION_90,
        Class::Barrier,
        "no barrier after the queries are staged",
        &[(first("st.shared.v4*").last().to(&[(To::Next, "bar.sync")]), Edit::Drop)],
    ),
    mutant(
        ATTENTION_90,
        Class::Fence,
        "no wgmma.fence after the probabilities are written",
        &[(first("wgmma.fence*").nth(1), Edit::Drop)],
    ),
    mutant(
        ATTENTION_90,
        Class::Wait,
        "scores are read while their product is in flight",
        &[(first("wgmma.wait_group*"), Edit::Add(0, 1))],
    ),
    mutant(
        ATTENTION_90,
        Class::Parity,
        "values are awaited in the other phase",
        &[(WAIT.nth(1), Edit::Through(2, 0, "xor.b32", "1"))],
    ),
    mutant(
        ATTENTION_90,
        Class::Stage,
        "keys are awaited at the barrier of another stage",
        &[(WAIT, Edit::Through(1, 0, "add.s32", "8"))],
    ),
    mutant(
        ATTENTION_90,
        Class::Count,
        "twice the bytes announced",
        &[(EXPECT, Edit::Through(2, 0, "shl.b32", "1"))],
    ),
    mutant(
        ATTENTION_90,
        Class::Count,
        "every lane of the producer copies",
        &[(first("elect.sync").to(&[(To::Next, "bra")]), Edit::Drop)],
    ),
    mutant(ATTENTION_90, Class::Release, "keys are never released", &[(ARRIVE, Edit::Drop)]),
    mutant(
        ATTENTION_90,
        Class::Offset,
        "a product reads the keys 32 bytes along",
        &[(WGMMA.nth(1), Edit::Through(2, 0, "add.s64", "2"))],
    ),
    mutant(
        ATTENTION_90,
        Class::Fragment,
        "operand a with two registers exchanged",
        &[(WGMMA, Edit::SwapIn(1, 1, 2))],
    ),
    mutant(
        ATTENTION_90,
        Class::Fragment,
        "values read as if they were not transposed",
        &[(WGMMA.nth(4), Edit::Set(6, "0"))],
    ),
    // Decode attention and its merge.
    mutant(
        DECODE_80,
        Class::Barrier,
        "no barrier before partial maxima are read",
        &[(first("st.shared.v2*").to(&[(To::Next, "bar.sync")]), Edit::Drop)],
    ),
    mutant(
        DECODE_80,
        Class::Barrier,
        "no barrier before the exchange is reused",
        &[(first("st.shared.v2*").nth(1).to(&[(To::Previous, "bar.sync")]), Edit::Drop)],
    ),
    mutant(
        DECODE_80,
        Class::Barrier,
        "no barrier before partial outputs are read",
        &[(first("st.shared.v4*").last().to(&[(To::Next, "bar.sync")]), Edit::Drop)],
    ),
    mutant(
        DECODE_80,
        Class::Offset,
        "the page of the next entry of the table",
        &[(LOAD.with("").nth(0), Edit::Through(1, 0, "add.s64", "4"))],
    ),
    mutant(
        DECODE_80,
        Class::Lane,
        "a score summed over the wrong lanes",
        &[(SHUFFLE.nth(2), Edit::Set(2, "16"))],
    ),
    mutant(
        DECODE_80,
        Class::Store,
        "a partial output is not stored",
        &[(first("st.global.v4*"), Edit::Drop)],
    ),
    Mutant {
        kernel: "attention_merge",
        ..mutant(
            DECODE_80,
            Class::Barrier,
            "merge: no barrier before the exchange is read",
            &[(first("st.shared.v2*").to(&[(To::Next, "bar.sync")]), Edit::Drop)],
        )
    },
    Mutant {
        kernel: "attention_merge",
        ..mutant(
            DECODE_80,
            Class::Offset,
            "merge: the sums of the next split",
            &[(first("ld.global.v2*"), Edit::Through(1, 0, "add.s64", "8"))],
        )
    },
    // A few rows.
    mutant(MATVEC_80, Class::Barrier, "no barrier before partial sums are read", &[(BARRIER, Edit::Drop)]),
    mutant(MATVEC_80, Class::Lane, "a sum over the wrong lanes", &[(SHUFFLE.nth(1), Edit::Set(2, "16"))]),
    mutant(
        MATVEC_80,
        Class::Bounds,
        "weights are read without a check",
        &[(LOAD.last().to(&[(To::Previous, "bra")]), Edit::Drop)],
    ),
    mutant(
        MATVEC_80,
        Class::Bounds,
        "the last row's store skips its check",
        &[(STORE.last().to(&[(To::Previous, "bra")]), Edit::Drop)],
    ),
    mutant(
        MATVEC_80,
        Class::Offset,
        "the partial sums of another warp",
        &[(first("ld.shared.v4*").nth(1), Edit::Set(1, "[shared]"))],
    ),
    // Rows.
    mutant(SOFTMAX_80, Class::Barrier, "no barrier before partial maxima are read", &[(BARRIER, Edit::Drop)]),
    mutant(
        SOFTMAX_80,
        Class::Barrier,
        "no barrier before the exchange is reused",
        &[(BARRIER.nth(1), Edit::Drop)],
    ),
    mutant(
        SOFTMAX_80,
        Class::Barrier,
        "no barrier before partial sums are read",
        &[(BARRIER.nth(2), Edit::Drop)],
    ),
    mutant(SOFTMAX_80, Class::Lane, "a sum over the wrong lanes", &[(SHUFFLE.last(), Edit::Set(2, "2"))]),
    mutant(
        SOFTMAX_80,
        Class::Bounds,
        "columns beyond the row are read",
        &[(LOAD.last().to(&[(To::Previous, "bra")]), Edit::Drop)],
    ),
    mutant(
        SOFTMAX_80,
        Class::Bounds,
        "columns beyond the row are written",
        &[(STORE.last().to(&[(To::Previous, "bra")]), Edit::Drop)],
    ),
    mutant(
        SOFTMAX_80,
        Class::Store,
        "a warp's partial sum is not stored",
        &[(first("st.shared.f32").last(), Edit::Drop)],
    ),
    mutant(RMS_NORM_80, Class::Barrier, "no barrier before partial sums are read", &[(BARRIER, Edit::Drop)]),
    mutant(
        RMS_NORM_80,
        Class::Offset,
        "the exchange starts a word late",
        &[(first("st.shared.f32"), Edit::Through(0, 0, "add.s32", "4"))],
    ),
    mutant(
        RMS_NORM_80,
        Class::Bounds,
        "weights beyond the row are read",
        &[(LOAD.last().to(&[(To::Previous, "bra")]), Edit::Drop)],
    ),
    mutant(
        ARGMAX_80,
        Class::Barrier,
        "no barrier before values and positions are read",
        &[(BARRIER.last(), Edit::Drop)],
    ),
    mutant(ARGMAX_80, Class::Store, "positions are not exchanged", &[(first("st.shared.u32"), Edit::Drop)]),
    mutant(
        ARGMAX_80,
        Class::Offset,
        "the position of another warp",
        &[(first("ld.shared.u32").nth(1), Edit::Set(1, "[shared+1024]"))],
    ),
    mutant(
        EMBEDDING_80,
        Class::Bounds,
        "columns beyond the table are read",
        &[(LOAD.last().to(&[(To::Previous, "bra")]), Edit::Drop)],
    ),
    mutant(
        EMBEDDING_80,
        Class::Bounds,
        "columns beyond the output are written",
        &[(STORE.last().to(&[(To::Previous, "bra")]), Edit::Drop)],
    ),
    mutant(
        EMBEDDING_80,
        Class::Offset,
        "the token after this one",
        &[(LOAD, Edit::Through(1, 0, "add.s64", "4"))],
    ),
];
