//! Mutants of what Hopper has: tensor copies, mbarriers, warpgroup products, warp roles.

use super::{Class, Mutant, mutant};
use crate::mutants::zoo::{ATTENTION_90, MATMUL_90, MATMUL_90_LONG};
use crate::ptx::edit::{At, Edit, To, first};

const WAIT: At = first("mbarrier.try_wait.parity*");
const INIT: At = first("mbarrier.init*");
const EXPECT: At = first("mbarrier.arrive.expect_tx*");
const ARRIVE: At = first("mbarrier.arrive.shared*");
const TMA_LOAD: At = first("cp.async.bulk.tensor*global*complete_tx*");
const TMA_STORE: At = first("cp.async.bulk.tensor*global.shared*");
const WGMMA: At = first("wgmma.mma_async*");
const BARRIER: At = first("bar.sync");
const STMATRIX: At = first("stmatrix*");

pub(super) const HOPPER: &[Mutant] = &[
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
        &[(first("cp.async.bulk.wait_group*").every(), Edit::Drop)],
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
        &[(first("cp.async.bulk.commit_group").every(), Edit::Drop)],
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
        &[(first("wgmma.fence*").last(), Edit::Drop)],
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
        &[(WGMMA.nth(8), Edit::SwapIn(1, 1, 2))],
    ),
    mutant(
        ATTENTION_90,
        Class::Fragment,
        "values read as if they were not transposed",
        &[(WGMMA.nth(8), Edit::Set(6, "0"))],
    ),
];
