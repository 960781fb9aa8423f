//! The steady state of our own machine code, counted by hand: a small product of warpgroups and one of warps, as NVRTC 13.5 made
//! them (`listings/`), and what a change to their text does.

use super::listing::functions;
use super::steady::{Class, Pass, Scope, passes};
use super::{Peer, parse};

const WARPGROUPS: &str = include_str!("listings/matmul_64x64_sm_90a.sass");
const WARPS: &str = include_str!("listings/matmul_64x64_sm_80.sass");

/// The passes over the matrix loops of the only function of a listing.
fn passes_of(text: &str) -> Vec<Pass> {
    let all = functions(text).expect("the text is a listing");
    assert_eq!(all.len(), 1);
    passes(&all[0]).expect("its loops are known")
}

fn counts(pass: &Pass) -> [usize; 9] {
    Class::ALL.map(|class| pass.count(class))
}

#[test]
fn a_warpgroup_product_waits_multiplies_and_releases_the_slot_before() {
    let all = passes_of(WARPGROUPS);
    assert_eq!(all.len(), 1, "the producer and the loop over tiles hold no products of their own");
    let pass = &all[0];
    assert_eq!(pass.scope, Scope::Warpgroup);
    assert_eq!(pass.multiply_adds, 4 * 64 * 64 * 16);
    assert!((pass.units() - 1.0).abs() < 1e-12, "{}", pass.units());
    // Barriers: the wait, the fence, the wait for products, the release. Control: the retry, the release in the first pass, a NOP,
    // the way back.
    assert_eq!(counts(pass), [4, 4, 9, 28, 0, 0, 0, 4, 0]);
    assert!((pass.instructions_per_unit() - 49.0).abs() < 1e-12);
}

#[test]
fn a_warp_product_copies_ahead_in_every_pass_of_the_steady_state() {
    let pass = &passes_of(WARPS)[0];
    assert_eq!(pass.scope, Scope::Warp);
    // 64 x 64 x 32 by four warps: each has 4 x 4 products of 16 x 8 x 16.
    assert!((pass.units() - 16.0).abs() < 1e-12, "{}", pass.units());
    assert_eq!(pass.count(Class::Matrix), 16);
    let function = &functions(WARPS).expect("the text is a listing")[0];
    let copies = pass.instructions.iter().filter(|&&i| function.instructions[i].mnemonic() == "LDGSTS");
    assert_eq!(copies.count(), 4, "two tiles of 64 x 32 are four accesses of 16 bytes by 128 threads");
    assert_eq!((pass.instructions.len(), pass.count(Class::Spill)), (123, 0));
}

#[test]
fn one_more_instruction_in_the_loop_is_one_more_in_the_count() {
    let before = &passes_of(WARPGROUPS)[0];
    let spilled = WARPGROUPS.replacen("WARPGROUP.DEPBAR.LE gsb0, 0x1 ;", "STL [R1], R2 ;", 1);
    assert_ne!(spilled, WARPGROUPS);
    let after = &passes_of(&spilled)[0];
    assert_eq!(after.instructions.len(), before.instructions.len());
    assert_eq!(
        (after.count(Class::Spill), after.count(Class::Barrier)),
        (1, before.count(Class::Barrier) - 1)
    );
}

#[test]
fn what_is_not_understood_is_an_error() {
    let strange = WARPS.replace("HMMA.16816", "HMMA.12345");
    let function = &functions(&strange).expect("the text is a listing")[0];
    let error = passes(function).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("12345"), "{error}");
    let jump = WARPS.replacen("S2R R9, ", "BRX R2 ", 1);
    let function = &functions(&jump).expect("the text is a listing")[0];
    let error = passes(function).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("branches through registers"), "{error}");
}

#[test]
fn a_kernel_without_products_has_no_matrix_loop() {
    let text = ".text.k:\n.a:\n/*0000*/ FADD R0, R0, R1 ;\n/*0010*/ @P0 BRA `(.a) ;\n/*0020*/ EXIT ;\n";
    assert!(passes_of(text).is_empty());
}

#[test]
fn arguments_are_checked() {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let args = parse(&words("--only sm_80 --no-triton --json out.json")).expect("they should parse");
    assert!(args.contests.iter().all(|c| c.arch.name() == "sm_80") && args.contests.len() > 1);
    assert_eq!((args.triton, args.json.as_deref()), (Peer::Out, Some("out.json".as_ref())));
    for (text, said) in [("--only nothing", "nothing"), ("--keep", "needs a value"), ("-x", "-x")] {
        let error = parse(&words(text)).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(said), "{text}: {error}");
    }
}
