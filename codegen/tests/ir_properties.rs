//! Properties of the IR over random functions: the text form loses nothing, the parser survives any text, and the passes
//! change no effect.

mod common;

use common::{generate, interpret};
use proptest::prelude::*;
use tilewright_codegen::ir::verify::{render_errors, verify};
use tilewright_codegen::ir::{parse, print};
use tilewright_codegen::passes::{PIPELINE, PassCx, run_pipeline};

fn choices() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(any::<u32>(), 0..600)
}

fn floats() -> impl Strategy<Value = f32> {
    prop_oneof![any::<f32>(), Just(-0.0f32), Just(0.0f32), Just(f32::NAN)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printing_and_parsing_changes_nothing(choices in choices()) {
        let func = generate::function(&choices);
        prop_assert_eq!(render_errors(&func), None);
        let text = print(&func);
        let again = parse(&text);
        prop_assert_eq!(again.as_ref(), Ok(&func), "{}", text);
    }

    #[test]
    fn passes_keep_every_effect(choices in choices(), n in 0..4i32, a in floats(), c in any::<bool>()) {
        let func = generate::function(&choices);
        let before = interpret::run(&func, n, a, c);
        for pass in PIPELINE {
            let mut one = func.clone();
            (pass.run)(&mut one, &PassCx::default());
            prop_assert_eq!(render_errors(&one), None, "{}", pass.name);
            prop_assert_eq!(&interpret::run(&one, n, a, c), &before, "{}\n{}\n{}", pass.name, func, one);
        }
        let mut all = func.clone();
        run_pipeline(&mut all, &PassCx::default()).expect("the function should be legal");
        prop_assert_eq!(&interpret::run(&all, n, a, c), &before, "{}\n{}", func, all);
    }

    #[test]
    fn the_parser_survives_damaged_text(
        choices in prop::collection::vec(any::<u32>(), 0..120),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..5u8, any::<prop::sample::Index>()), 1..6),
    ) {
        let mut text: Vec<char> = print(&generate::function(&choices)).chars().collect();
        let alphabet: Vec<char> = "%.,:<>(){}[]@\"\\=/ \n0123456789xa_-é".chars().collect();
        for (at, how, what) in damage {
            let at = at.index(text.len());
            match how {
                0 => text.truncate(at + 1),
                1 => { text.remove(at); }
                2 => text.insert(at, alphabet[what.index(alphabet.len())]),
                3 => text[at] = alphabet[what.index(alphabet.len())],
                _ => {
                    let from = what.index(text.len()).min(at);
                    let piece: Vec<char> = text[from..at].to_vec();
                    text.splice(at..at, piece);
                }
            }
            if text.is_empty() {
                text.push(' ');
            }
        }
        let text: String = text.into_iter().collect();
        if let Ok(func) = parse(&text) {
            // Whatever parses can be verified, and printed with its errors.
            prop_assert_eq!(verify(&func).is_err(), render_errors(&func).is_some());
            prop_assert_eq!(parse(&print(&func)), Ok(func));
        }
    }
}

#[test]
fn nesting_is_limited_instead_of_overflowing_the_stack() {
    let open = "if %c then { ".repeat(100_000);
    let error = parse(&format!("kernel @k(%c: bool) {{ {open}")).expect_err("the nesting is too deep");
    assert_eq!(error.message, "regions are nested deeper than the limit of 64");
}
