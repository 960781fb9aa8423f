//! Mutants of reductions: decode attention, matrix-vector products, softmax, norms, positions, gathers.

use super::{Class, Mutant, mutant};
use crate::mutants::zoo::{ARGMAX_80, DECODE_80, EMBEDDING_80, MATVEC_80, RMS_NORM_80, SOFTMAX_80};
use crate::ptx::edit::{At, Edit, To, first};

const BARRIER: At = first("bar.sync");
const SHUFFLE: At = first("shfl.sync.bfly*");
const STORE: At = first("st.global*");
const LOAD: At = first("ld.global*");

pub(super) const ROWS: &[Mutant] = &[
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
    mutant(
        DECODE_80,
        Class::Barrier,
        "no barrier before partial maxima are written again",
        &[(first("st.shared.v2*").to(&[(To::Previous, "bar.sync")]), Edit::Drop)],
    ),
    mutant(
        DECODE_80,
        Class::Barrier,
        "no barrier between partial sums and partial outputs",
        &[(first("st.shared.v2*").nth(1).to(&[(To::Next, "bar.sync"), (To::Next, "bar.sync")]), Edit::Drop)],
    ),
    Mutant {
        kernel: "attention_merge",
        ..mutant(
            DECODE_80,
            Class::Barrier,
            "merge: no barrier before the exchange is written again",
            &[(first("st.shared.v2*").nth(1).to(&[(To::Previous, "bar.sync")]), Edit::Drop)],
        )
    },
    Mutant {
        kernel: "attention_merge",
        ..mutant(
            DECODE_80,
            Class::Barrier,
            "merge: no barrier before the last exchange is read",
            &[(first("st.shared.v2*").last().to(&[(To::Next, "bar.sync")]), Edit::Drop)],
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
        "every position is the first warp's",
        &[(first("ld.shared.u32").every(), Edit::Set(1, "[shared+1024]"))],
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
