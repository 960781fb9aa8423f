//! table: forms whose operands are more than registers: memory, control, barriers, asynchronous copies, matrices.
//!
//! Each row is an opcode and its modifiers in order. A form fits a row only if every modifier is consumed by
//! a stage, in order, and no required stage is left empty; so a form is known whole or not at all.

/// What a row lowers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Load,
    Store,
    Atom,
    Red,
    Cvta,
    IsSpace,
    Nothing,
    Branch,
    Return,
    Exit,
    Trap,
    Call,
    Bar,
    BarWarp,
    BarRed,
    BarCluster,
    Fence,
    Shfl,
    Vote,
    Match,
    Redux,
    Elect,
    ActiveMask,
    CpAsync,
    CpAsyncCommit,
    CpAsyncWait,
    CpAsyncWaitAll,
    CpAsyncArrive,
    LdMatrix,
    StMatrix,
    MovMatrix,
    Mma,
    MbarInit,
    MbarInval,
    MbarArrive,
    MbarExpect,
    MbarWait,
    MbarPending,
    Mapa,
    GetRank,
    SetMaxReg,
    CreatePolicy,
    BulkLoad,
    BulkStore,
    BulkReduce,
    BulkShared,
    TensorLoad,
    TensorStore,
    TensorReduce,
    BulkCommit,
    BulkWait,
    StAsync,
    Wgmma,
    WgmmaFence,
    WgmmaCommit,
    WgmmaWait,
}

/// One stage of modifiers: name, whether one is required, the choices.
type Stage = (&'static str, bool, &'static [&'static str]);

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    head: &'static str,
    stages: &'static [Stage],
}

/// The modifiers of a form, by stage.
#[derive(Debug)]
pub(crate) struct Mods {
    row: &'static Row,
    picked: Vec<Option<&'static str>>,
}

impl Mods {
    /// The choice made in a stage, or "".
    pub(crate) fn get(&self, stage: &str) -> &'static str {
        let at = self.row.stages.iter().position(|s| s.0 == stage).expect("a stage asked for should exist");
        self.picked[at].unwrap_or("")
    }

    /// Whether a stage made a choice.
    pub(crate) fn has(&self, stage: &str) -> bool {
        !self.get(stage).is_empty()
    }
}

/// The row and modifiers of a form.
pub(crate) fn find(form: &str) -> Option<(Kind, Mods)> {
    ROWS.iter().find_map(|row| {
        let rest = form.strip_prefix(row.head)?;
        if !rest.is_empty() && !rest.starts_with('.') {
            return None;
        }
        let mut words = rest.split('.').skip(1).peekable();
        let mut picked = Vec::with_capacity(row.stages.len());
        for (_, required, choices) in row.stages {
            let hit = words.peek().and_then(|w| choices.iter().find(|c| *c == w).copied());
            if hit.is_some() {
                words.next();
            } else if *required {
                return None;
            }
            picked.push(hit);
        }
        words.next().is_none().then_some((row.kind, Mods { row, picked }))
    })
}

/// All rows as patterns: `{.a,.b}` one of, `{.a,}` none or one.
pub(crate) fn patterns() -> impl Iterator<Item = String> {
    ROWS.iter().map(|row| {
        let mut out = row.head.to_owned();
        for (_, required, choices) in row.stages {
            let list: Vec<String> = choices.iter().map(|c| format!(".{c}")).collect();
            let text = list.join(",");
            out += &match (required, choices.len()) {
                (true, 1) => text,
                (true, _) => format!("{{{text}}}"),
                (false, _) => format!("{{{text},}}"),
            };
        }
        out
    })
}

const SCOPE: Stage = ("scope", false, &["cta", "cluster", "gpu", "sys"]);
const L1: Stage = (
    "l1",
    false,
    &["L1::evict_normal", "L1::evict_unchanged", "L1::evict_first", "L1::evict_last", "L1::no_allocate"],
);
const L2: Stage = ("l2", false, &["L2::evict_normal", "L2::evict_first", "L2::evict_last"]);
const HINT: Stage = ("hint", false, &["L2::cache_hint"]);
const PREFETCH: Stage = ("prefetch", false, &["L2::64B", "L2::128B", "L2::256B"]);
const SPACE: Stage = (
    "space",
    false,
    &[
        "global",
        "shared",
        "shared::cta",
        "shared::cluster",
        "local",
        "param",
        "param::entry",
        "param::func",
        "const",
    ],
);
const VEC: Stage = ("vec", false, &["v2", "v4", "v8"]);
const TYPE: Stage = (
    "type",
    true,
    &[
        "b8", "u8", "s8", "b16", "u16", "s16", "f16", "bf16", "b32", "u32", "s32", "f32", "b64", "u64",
        "s64", "f64",
    ],
);
const ATOM_SPACE: Stage = ("space", false, &["global", "shared", "shared::cta", "shared::cluster"]);
const ATOM_OP: Stage = ("op", true, &["and", "or", "xor", "cas", "exch", "add", "inc", "dec", "min", "max"]);
const ATOM_TYPE: Stage = (
    "type",
    true,
    &[
        "b32", "u32", "s32", "b64", "u64", "s64", "f32", "f64", "f16", "bf16", "f16x2", "bf16x2", "b16",
        "b128",
    ],
);
const NOFTZ: Stage = ("noftz", false, &["noftz"]);
const SEM: Stage = ("sem", false, &["relaxed", "acquire", "release", "acq_rel"]);
const MB_SHARED: Stage = ("space", false, &["shared", "shared::cta", "shared::cluster"]);
const B64: Stage = ("b64", true, &["b64"]);
const SYNC: Stage = ("sync", true, &["sync"]);
const ALIGNED: Stage = ("aligned", true, &["aligned"]);
const COMPLETE: Stage = ("complete", true, &["mbarrier::complete_tx::bytes"]);
const MULTICAST: Stage = ("multicast", false, &["multicast::cluster"]);
const DIM: Stage = ("dim", true, &["1d", "2d", "3d", "4d", "5d"]);
const TILE: Stage = ("tile", false, &["tile"]);
const TO_SHARED: Stage = ("dst", true, &["shared::cluster", "shared::cta"]);
const GROUP: Stage = ("group", true, &["bulk_group"]);

const fn row(kind: Kind, head: &'static str, stages: &'static [Stage]) -> Row {
    Row { kind, head, stages }
}

const ROWS: &[Row] = &[
    row(
        Kind::Load,
        "ld",
        &[
            ("sem", false, &["weak", "volatile", "relaxed", "acquire", "mmio"]),
            SCOPE,
            SPACE,
            ("cop", false, &["ca", "cg", "cs", "lu", "cv"]),
            ("nc", false, &["nc"]),
            L1,
            L2,
            HINT,
            PREFETCH,
            VEC,
            TYPE,
        ],
    ),
    row(Kind::Load, "ldu", &[("space", true, &["global"]), VEC, TYPE]),
    row(
        Kind::Store,
        "st",
        &[
            ("sem", false, &["weak", "volatile", "relaxed", "release", "mmio"]),
            SCOPE,
            SPACE,
            ("cop", false, &["wb", "cg", "cs", "wt"]),
            L1,
            L2,
            HINT,
            VEC,
            TYPE,
        ],
    ),
    row(Kind::Atom, "atom", &[SEM, SCOPE, ATOM_SPACE, ATOM_OP, NOFTZ, HINT, VEC, ATOM_TYPE]),
    row(
        Kind::Red,
        "red",
        &[("async", false, &["async"]), SEM, SCOPE, ATOM_SPACE, ATOM_OP, NOFTZ, HINT, VEC, ATOM_TYPE],
    ),
    // The compiler writes the space before the scope.
    row(Kind::Atom, "atom", &[SEM, ATOM_SPACE, SCOPE, ATOM_OP, NOFTZ, HINT, VEC, ATOM_TYPE]),
    row(Kind::Red, "red", &[SEM, ATOM_SPACE, SCOPE, ATOM_OP, NOFTZ, HINT, VEC, ATOM_TYPE]),
    // The older spelling puts the vector between the space and the operation.
    row(
        Kind::Atom,
        "atom",
        &[
            SEM,
            SCOPE,
            ATOM_SPACE,
            VEC,
            ("type", true, &["f32", "f16", "bf16", "f16x2", "bf16x2"]),
            ATOM_OP,
            NOFTZ,
        ],
    ),
    row(
        Kind::Red,
        "red",
        &[
            SEM,
            SCOPE,
            ATOM_SPACE,
            VEC,
            ("type", true, &["f32", "f16", "bf16", "f16x2", "bf16x2"]),
            ATOM_OP,
            NOFTZ,
        ],
    ),
    row(
        Kind::Cvta,
        "cvta",
        &[
            ("to", false, &["to"]),
            (
                "space",
                true,
                &[
                    "global",
                    "shared",
                    "shared::cta",
                    "shared::cluster",
                    "local",
                    "param",
                    "const",
                    "param::entry",
                ],
            ),
            ("type", true, &["u64", "u32"]),
        ],
    ),
    row(
        Kind::IsSpace,
        "isspacep",
        &[(
            "space",
            true,
            &["global", "shared", "shared::cta", "shared::cluster", "local", "const", "param"],
        )],
    ),
    row(
        Kind::Nothing,
        "prefetch",
        &[
            ("space", false, &["global", "local", "param", "const"]),
            ("level", true, &["L1", "L2", "L2::evict_last", "L2::evict_normal", "tensormap"]),
        ],
    ),
    row(Kind::Nothing, "prefetchu", &[("level", true, &["L1"])]),
    row(Kind::Nothing, "discard", &[("space", false, &["global"]), ("level", true, &["L2"])]),
    row(
        Kind::Nothing,
        "applypriority",
        &[("space", false, &["global"]), ("level", true, &["L2::evict_normal"])],
    ),
    row(Kind::Nothing, "nanosleep", &[("type", true, &["u32"])]),
    row(Kind::Nothing, "pmevent", &[("mask", false, &["mask"])]),
    row(Kind::Nothing, "griddepcontrol", &[("what", true, &["wait", "launch_dependents"])]),
    row(Kind::Nothing, "cp.async.bulk.prefetch.L2", &[("src", true, &["global"]), HINT]),
    row(
        Kind::Nothing,
        "cp.async.bulk.prefetch.tensor",
        &[DIM, ("l2", true, &["L2"]), ("src", true, &["global"]), TILE, HINT],
    ),
    row(Kind::Branch, "bra", &[("uni", false, &["uni"])]),
    row(Kind::Return, "ret", &[("uni", false, &["uni"])]),
    row(Kind::Exit, "exit", &[]),
    row(Kind::Trap, "trap", &[]),
    row(Kind::Trap, "brkpt", &[]),
    row(Kind::Call, "call", &[("uni", false, &["uni"])]),
    row(Kind::BarWarp, "bar.warp", &[SYNC]),
    row(Kind::Bar, "bar", &[("cta", false, &["cta"]), ("what", true, &["sync", "arrive"])]),
    row(
        Kind::Bar,
        "barrier",
        &[("cta", false, &["cta"]), ("what", true, &["sync", "arrive"]), ("aligned", false, &["aligned"])],
    ),
    row(
        Kind::BarRed,
        "bar",
        &[
            ("cta", false, &["cta"]),
            ("red", true, &["red"]),
            ("op", true, &["popc", "and", "or"]),
            ("type", true, &["u32", "pred"]),
        ],
    ),
    row(
        Kind::BarRed,
        "barrier",
        &[
            ("cta", false, &["cta"]),
            ("red", true, &["red"]),
            ("op", true, &["popc", "and", "or"]),
            ("aligned", false, &["aligned"]),
            ("type", true, &["u32", "pred"]),
        ],
    ),
    row(
        Kind::BarCluster,
        "barrier.cluster",
        &[
            ("what", true, &["arrive", "wait"]),
            ("sem", false, &["release", "relaxed", "acquire"]),
            ("aligned", false, &["aligned"]),
        ],
    ),
    row(Kind::Fence, "membar", &[("scope", true, &["cta", "gl", "sys"])]),
    row(
        Kind::Fence,
        "fence.proxy",
        &[
            ("proxy", true, &["alias", "async", "async.global", "async::generic"]),
            ("space", false, &["global", "shared::cta", "shared::cluster"]),
        ],
    ),
    row(
        Kind::Fence,
        "fence.proxy.async::generic",
        &[
            ("sem", true, &["acquire", "release"]),
            ("sync", true, &["sync_restrict::shared::cluster", "sync_restrict::shared::cta"]),
            ("scope", true, &["cluster"]),
        ],
    ),
    row(Kind::Fence, "fence.proxy.tensormap::generic", &[("sem", true, &["acquire", "release"]), SCOPE]),
    row(Kind::Fence, "fence.mbarrier_init", &[("sem", true, &["release"]), ("scope", true, &["cluster"])]),
    row(
        Kind::Fence,
        "fence",
        &[
            ("sem", false, &["sc", "acq_rel", "acquire", "release"]),
            ("scope", true, &["cta", "cluster", "gpu", "sys"]),
        ],
    ),
    row(
        Kind::Shfl,
        "shfl",
        &[SYNC, ("mode", true, &["up", "down", "bfly", "idx"]), ("type", true, &["b32"])],
    ),
    row(
        Kind::Vote,
        "vote",
        &[SYNC, ("mode", true, &["all", "any", "uni", "ballot"]), ("type", true, &["pred", "b32"])],
    ),
    row(Kind::Match, "match", &[("mode", true, &["any", "all"]), SYNC, ("type", true, &["b32", "b64"])]),
    row(
        Kind::Redux,
        "redux",
        &[
            SYNC,
            ("op", true, &["add", "min", "max", "and", "or", "xor"]),
            ("abs", false, &["abs"]),
            ("nan", false, &["NaN"]),
            ("type", true, &["u32", "s32", "b32", "f32"]),
        ],
    ),
    row(Kind::Elect, "elect", &[SYNC]),
    row(Kind::ActiveMask, "activemask", &[("type", true, &["b32"])]),
    row(Kind::CpAsyncCommit, "cp.async.commit_group", &[]),
    row(Kind::CpAsyncWait, "cp.async.wait_group", &[]),
    row(Kind::CpAsyncWaitAll, "cp.async.wait_all", &[]),
    row(Kind::CpAsyncArrive, "cp.async.mbarrier.arrive", &[("noinc", false, &["noinc"]), MB_SHARED, B64]),
    row(
        Kind::CpAsync,
        "cp.async",
        &[
            ("cop", true, &["ca", "cg"]),
            ("dst", true, &["shared", "shared::cta"]),
            ("src", true, &["global"]),
            HINT,
            PREFETCH,
        ],
    ),
    row(
        Kind::LdMatrix,
        "ldmatrix",
        &[
            SYNC,
            ALIGNED,
            ("shape", true, &["m8n8"]),
            ("num", true, &["x1", "x2", "x4"]),
            ("trans", false, &["trans"]),
            ("space", false, &["shared", "shared::cta"]),
            ("type", true, &["b16"]),
        ],
    ),
    row(
        Kind::StMatrix,
        "stmatrix",
        &[
            SYNC,
            ALIGNED,
            ("shape", true, &["m8n8"]),
            ("num", true, &["x1", "x2", "x4"]),
            ("trans", false, &["trans"]),
            ("space", false, &["shared", "shared::cta"]),
            ("type", true, &["b16"]),
        ],
    ),
    row(
        Kind::MovMatrix,
        "movmatrix",
        &[SYNC, ALIGNED, ("shape", true, &["m8n8"]), ("trans", true, &["trans"]), ("type", true, &["b16"])],
    ),
    row(
        Kind::Mma,
        "mma",
        &[
            SYNC,
            ALIGNED,
            ("shape", true, &["m16n8k4", "m16n8k8", "m16n8k16", "m16n8k32"]),
            ("a_major", true, &["row"]),
            ("b_major", true, &["col"]),
            ("kind", false, &["kind::f8f6f4"]),
            ("satfinite", false, &["satfinite"]),
            ("d", true, &["f32", "f16", "s32"]),
            ("a", true, &["f16", "bf16", "tf32", "e4m3", "e5m2", "s8", "u8"]),
            ("b", true, &["f16", "bf16", "tf32", "e4m3", "e5m2", "s8", "u8"]),
            ("c", true, &["f32", "f16", "s32"]),
        ],
    ),
    row(Kind::MbarInit, "mbarrier.init", &[MB_SHARED, B64]),
    row(Kind::MbarInval, "mbarrier.inval", &[MB_SHARED, B64]),
    row(Kind::MbarExpect, "mbarrier.expect_tx", &[("sem", false, &["relaxed"]), SCOPE, MB_SHARED, B64]),
    row(Kind::MbarExpect, "mbarrier.complete_tx", &[("sem", false, &["relaxed"]), SCOPE, MB_SHARED, B64]),
    row(
        Kind::MbarArrive,
        "mbarrier.arrive",
        &[
            ("tx", false, &["expect_tx"]),
            ("nocomplete", false, &["noComplete"]),
            ("sem", false, &["release", "relaxed"]),
            SCOPE,
            MB_SHARED,
            B64,
        ],
    ),
    row(
        Kind::MbarArrive,
        "mbarrier.arrive_drop",
        &[
            ("tx", false, &["expect_tx"]),
            ("nocomplete", false, &["noComplete"]),
            ("sem", false, &["release", "relaxed"]),
            SCOPE,
            MB_SHARED,
            B64,
        ],
    ),
    row(
        Kind::MbarWait,
        "mbarrier.test_wait",
        &[("parity", false, &["parity"]), ("sem", false, &["acquire", "relaxed"]), SCOPE, MB_SHARED, B64],
    ),
    row(
        Kind::MbarWait,
        "mbarrier.try_wait",
        &[("parity", false, &["parity"]), ("sem", false, &["acquire", "relaxed"]), SCOPE, MB_SHARED, B64],
    ),
    row(Kind::MbarPending, "mbarrier.pending_count", &[B64]),
    row(Kind::Mapa, "mapa", &[("space", false, &["shared::cluster"]), ("type", true, &["u32", "u64"])]),
    row(
        Kind::GetRank,
        "getctarank",
        &[("space", false, &["shared::cluster"]), ("type", true, &["u32", "u64"])],
    ),
    row(
        Kind::SetMaxReg,
        "setmaxnreg",
        &[("what", true, &["inc", "dec"]), SYNC, ALIGNED, ("type", true, &["u32"])],
    ),
    row(
        Kind::CreatePolicy,
        "createpolicy.fractional",
        &[
            (
                "primary",
                true,
                &["L2::evict_last", "L2::evict_normal", "L2::evict_first", "L2::evict_unchanged"],
            ),
            ("secondary", false, &["L2::evict_first", "L2::evict_unchanged"]),
            B64,
        ],
    ),
    row(Kind::BulkLoad, "cp.async.bulk", &[TO_SHARED, ("src", true, &["global"]), COMPLETE, MULTICAST, HINT]),
    row(
        Kind::BulkShared,
        "cp.async.bulk",
        &[("dst", true, &["shared::cluster"]), ("src", true, &["shared::cta"]), COMPLETE],
    ),
    row(
        Kind::BulkStore,
        "cp.async.bulk",
        &[("dst", true, &["global"]), ("src", true, &["shared::cta"]), GROUP, HINT],
    ),
    row(
        Kind::BulkReduce,
        "cp.reduce.async.bulk",
        &[
            ("dst", true, &["global"]),
            ("src", true, &["shared::cta"]),
            GROUP,
            HINT,
            ("op", true, &["add", "min", "max", "inc", "dec", "and", "or", "xor"]),
            NOFTZ,
            ("type", true, &["f16", "bf16", "b32", "u32", "s32", "b64", "u64", "s64", "f32", "f64"]),
        ],
    ),
    row(
        Kind::TensorLoad,
        "cp.async.bulk.tensor",
        &[DIM, TO_SHARED, ("src", true, &["global"]), TILE, COMPLETE, MULTICAST, HINT],
    ),
    row(
        Kind::TensorStore,
        "cp.async.bulk.tensor",
        &[DIM, ("dst", true, &["global"]), ("src", true, &["shared::cta"]), TILE, GROUP, HINT],
    ),
    row(
        Kind::TensorReduce,
        "cp.reduce.async.bulk.tensor",
        &[
            DIM,
            ("dst", true, &["global"]),
            ("src", true, &["shared::cta"]),
            ("op", true, &["add", "min", "max", "inc", "dec", "and", "or", "xor"]),
            TILE,
            GROUP,
            HINT,
        ],
    ),
    row(Kind::BulkCommit, "cp.async.bulk.commit_group", &[]),
    row(Kind::BulkWait, "cp.async.bulk.wait_group", &[("read", false, &["read"])]),
    row(
        Kind::StAsync,
        "st.async",
        &[
            ("weak", false, &["weak"]),
            ("space", false, &["shared::cluster"]),
            COMPLETE,
            VEC,
            ("type", true, &["b32", "u32", "s32", "f32", "b64", "u64", "s64", "f64"]),
        ],
    ),
    row(Kind::WgmmaFence, "wgmma.fence", &[SYNC, ALIGNED]),
    row(Kind::WgmmaCommit, "wgmma.commit_group", &[SYNC, ALIGNED]),
    row(Kind::WgmmaWait, "wgmma.wait_group", &[SYNC, ALIGNED]),
    row(
        Kind::Wgmma,
        "wgmma.mma_async",
        &[
            SYNC,
            ALIGNED,
            (
                "shape",
                true,
                &[
                    "m64n8k8",
                    "m64n16k8",
                    "m64n24k8",
                    "m64n32k8",
                    "m64n40k8",
                    "m64n48k8",
                    "m64n56k8",
                    "m64n64k8",
                    "m64n72k8",
                    "m64n80k8",
                    "m64n88k8",
                    "m64n96k8",
                    "m64n104k8",
                    "m64n112k8",
                    "m64n120k8",
                    "m64n128k8",
                    "m64n136k8",
                    "m64n144k8",
                    "m64n152k8",
                    "m64n160k8",
                    "m64n168k8",
                    "m64n176k8",
                    "m64n184k8",
                    "m64n192k8",
                    "m64n200k8",
                    "m64n208k8",
                    "m64n216k8",
                    "m64n224k8",
                    "m64n232k8",
                    "m64n240k8",
                    "m64n248k8",
                    "m64n256k8",
                    "m64n8k16",
                    "m64n16k16",
                    "m64n24k16",
                    "m64n32k16",
                    "m64n40k16",
                    "m64n48k16",
                    "m64n56k16",
                    "m64n64k16",
                    "m64n72k16",
                    "m64n80k16",
                    "m64n88k16",
                    "m64n96k16",
                    "m64n104k16",
                    "m64n112k16",
                    "m64n120k16",
                    "m64n128k16",
                    "m64n136k16",
                    "m64n144k16",
                    "m64n152k16",
                    "m64n160k16",
                    "m64n168k16",
                    "m64n176k16",
                    "m64n184k16",
                    "m64n192k16",
                    "m64n200k16",
                    "m64n208k16",
                    "m64n216k16",
                    "m64n224k16",
                    "m64n232k16",
                    "m64n240k16",
                    "m64n248k16",
                    "m64n256k16",
                    "m64n8k32",
                    "m64n16k32",
                    "m64n24k32",
                    "m64n32k32",
                    "m64n40k32",
                    "m64n48k32",
                    "m64n56k32",
                    "m64n64k32",
                    "m64n72k32",
                    "m64n80k32",
                    "m64n88k32",
                    "m64n96k32",
                    "m64n104k32",
                    "m64n112k32",
                    "m64n120k32",
                    "m64n128k32",
                    "m64n136k32",
                    "m64n144k32",
                    "m64n152k32",
                    "m64n160k32",
                    "m64n168k32",
                    "m64n176k32",
                    "m64n184k32",
                    "m64n192k32",
                    "m64n200k32",
                    "m64n208k32",
                    "m64n216k32",
                    "m64n224k32",
                    "m64n232k32",
                    "m64n240k32",
                    "m64n248k32",
                    "m64n256k32",
                ],
            ),
            ("satfinite", false, &["satfinite"]),
            ("d", true, &["f32", "f16", "s32"]),
            ("a", true, &["f16", "bf16", "tf32", "e4m3", "e5m2", "s8", "u8"]),
            ("b", true, &["f16", "bf16", "tf32", "e4m3", "e5m2", "s8", "u8"]),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_are_read_in_order_and_whole() {
        let (kind, mods) = find("ld.global.nc.L1::no_allocate.L2::256B.v4.u32").expect("a known form");
        assert_eq!((kind, mods.get("vec"), mods.get("type")), (Kind::Load, "v4", "u32"));
        assert!(find("ld.nc.global.u32").is_none());
        assert!(find("ld.global.u32.nc").is_none());
        assert!(find("ld.global").is_none());
        assert_eq!(find("bar.warp.sync").map(|f| f.0), Some(Kind::BarWarp));
        assert_eq!(find("cp.async.bulk.wait_group.read").map(|f| f.0), Some(Kind::BulkWait));
        assert_eq!(find("fence.proxy.async.shared::cta").map(|f| f.0), Some(Kind::Fence));
    }
}
