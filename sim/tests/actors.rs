//! Threads, not warps, are what synchronises: one lane's arrival says nothing of its sisters' stores.

mod common;

use common::{Arg, Bench, options};
use tilewright_sim::{FindingKind, Policy, Race, Report};

/// Warp 0 stores, its lane 0 arrives for all; warp 1 waits and loads. `join`: what warp 0 does in between.
fn hand_over(join: &str) -> (Report, Vec<u32>) {
    let ptx = format!(
        "
        .version 8.0
        .target sm_90
        .address_size 64
        .visible .entry hand_over(.param .u64 out)
        {{
            .reg .pred %p<4>;
            .reg .b32 %r<9>;
            .reg .b64 %rd<4>;
            .shared .align 8 .b64 bar;
            .shared .align 4 .b8 slots[128];
            ld.param.u64 %rd1, [out];
            mov.u32 %r1, %tid.x;
            and.b32 %r2, %r1, 31;
            shl.b32 %r3, %r2, 2;
            mov.u32 %r4, slots;
            add.s32 %r4, %r4, %r3;
            mov.u32 %r5, bar;
            setp.ne.s32 %p1, %r1, 0;
            @%p1 bra $initialised;
            mbarrier.init.shared::cta.b64 [%r5], 1;
        $initialised:
            bar.sync 0;
            setp.gt.u32 %p2, %r1, 31;
            @%p2 bra $consumer;
            st.shared.u32 [%r4], %r2;
            {join}
            @%p1 bra $done;
            mbarrier.arrive.shared::cta.b64 _, [%r5];
            bra $done;
        $consumer:
            mbarrier.try_wait.parity.shared::cta.b64 %p3, [%r5], 0;
            @!%p3 bra $consumer;
            ld.shared.u32 %r6, [%r4];
            mul.wide.u32 %rd2, %r3, 1;
            add.s64 %rd3, %rd1, %rd2;
            st.global.u32 [%rd3], %r6;
        $done:
            ret;
        }}"
    );
    let mut bench = Bench::new(&ptx);
    let out = bench.machine.alloc(128, "out");
    let report =
        bench.run("hand_over", [1, 1, 1], 64, 0, &[Arg::U64(out)], options(Policy::Eager, 0, Race::On));
    let values = bench.u32s(out, 32);
    (report, values)
}

#[test]
fn an_elected_lane_does_not_speak_for_its_warp() {
    let (report, _) = hand_over("");
    assert!(report.findings.iter().any(|f| f.kind == FindingKind::Race), "{report}");
}

#[test]
fn it_does_after_a_warp_barrier() {
    let (report, values) = hand_over("bar.warp.sync -1;");
    assert!(report.is_clean(), "{report}");
    assert_eq!(values, (0..32).collect::<Vec<u32>>());
}
