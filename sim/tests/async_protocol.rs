//! Mistakes in the protocol of asynchronous copies that only an order of events shows.

mod common;

use common::{Arg, Bench, options};
use tilewright_sim::{FindingKind, Policy, Race, Report};

/// A kernel of 64 threads with 1024 bytes of shared memory after its mbarrier, around `body`.
fn kernel(body: &str) -> String {
    format!(
        ".version 8.5\n.target sm_90a\n.address_size 64\n.visible .entry k(.param .u64 p) {{
         .reg .pred %p<9>;
         .reg .b32 %r<9>;
         .reg .b64 %rd<9>;
         .shared .align 128 .b8 tile[1024];
         .shared .align 8 .b64 bar;
         ld.param.u64 %rd1, [p];
         mov.u32 %r1, %tid.x;
         setp.ne.u32 %p1, %r1, 0;
         mov.u32 %r2, tile;
         mov.u32 %r3, bar;
         {body}
         ret;
        }}"
    )
}

fn run(body: &str, policy: Policy, race: Race) -> Report {
    let mut bench = Bench::new(&kernel(body));
    let p = bench.upload(&[1; 1024], "p");
    bench.run("k", [1, 1, 1], 64, 0, &[Arg::U64(p)], options(policy, 1, race))
}

/// Thread 0 initialises (with `fence`), the block meets (with `barrier`), thread 0 copies, all wait.
fn load(fence: &str, barrier: &str) -> String {
    format!(
        "@%p1 bra after_init;
         mbarrier.init.shared::cta.b64 [%r3], 1;
         {fence}
         after_init:
         {barrier}
         @%p1 bra waiting;
         mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r3], 1024;
         cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r2], [%rd1], 1024, [%r3];
         waiting:
         mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r3], 0;
         @!%p2 bra waiting;"
    )
}

#[test]
fn a_copy_relies_on_a_fenced_initialisation() {
    for fence in ["fence.mbarrier_init.release.cluster;", "fence.proxy.async.shared::cta;"] {
        for policy in [Policy::Eager, Policy::Lazy, Policy::Random] {
            let report = run(&load(fence, "bar.sync 0;"), policy, Race::On);
            assert!(report.is_clean(), "{report}");
        }
    }
    let report = run(&load("", "bar.sync 0;"), Policy::Eager, Race::On);
    let first = report.findings.first().expect("there should be a finding");
    assert_eq!(first.kind, FindingKind::MissingProxyFence, "{report}");
    assert!(first.message.contains("fence.mbarrier_init"), "{report}");
}

#[test]
fn waiting_at_an_mbarrier_needs_its_initialisation_first() {
    let report = run(&load("fence.mbarrier_init.release.cluster;", ""), Policy::Eager, Race::On);
    let kinds: Vec<FindingKind> = report.findings.iter().map(|f| f.kind).collect();
    assert!(kinds.iter().any(|k| matches!(k, FindingKind::Race | FindingKind::Barrier)), "{report}");
}

#[test]
fn stores_outside_a_group_are_not_waited_for() {
    let store = |commit: &str| {
        format!(
            "st.shared.u32 [%r2], %r1;
             fence.proxy.async.shared::cta;
             bar.sync 0;
             @%p1 bra done;
             cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r2], 16;
             {commit}
             cp.async.bulk.wait_group.read 0;
             done:"
        )
    };
    let initialised = |body: String| {
        format!(
            "shl.b32 %r4, %r1, 2;\nadd.s32 %r4, %r4, %r2;\nst.shared.u32 [%r4], %r1;\nbar.sync 0;\n{body}"
        )
        .replace("st.shared.u32 [%r2], %r1;", "")
    };
    let report = run(&initialised(store("cp.async.bulk.commit_group;")), Policy::Lazy, Race::On);
    assert!(!report.findings.iter().any(|f| f.kind == FindingKind::MissingWait), "{report}");
    for policy in [Policy::Eager, Policy::Lazy, Policy::Random] {
        let report = run(&initialised(store("")), policy, Race::Off);
        assert!(report.findings.iter().any(|f| f.kind == FindingKind::MissingWait), "{report}");
    }
}

#[test]
fn nan_results_are_canonical() {
    let body = "mov.b32 %r4, 0x7f800000;
         mov.b32 %r5, 0xff800000;
         add.rn.f32 %r6, %r4, %r5;
         div.rn.f32 %r7, %r4, %r5;
         mul.wide.u32 %rd2, %r1, 8;
         add.s64 %rd2, %rd2, %rd1;
         st.global.v2.b32 [%rd2], {%r6, %r7};";
    let mut bench = Bench::new(&kernel(body));
    let p = bench.upload(&[0; 1024], "p");
    let report = bench.run("k", [1, 1, 1], 64, 0, &[Arg::U64(p)], options(Policy::Eager, 0, Race::Off));
    assert!(report.is_clean(), "{report}");
    assert_eq!(bench.u32s(p, 4), [0x7fff_ffff; 4]);
}
