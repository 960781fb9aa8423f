//! The loop over a model of a few lines, which keeps a real paged memory so that wrong books show.

use super::*;
use crate::test_model::{END, Reverser};
use crate::test_tokenizer::byte_level;
use crate::tokenizer::SpecialTokens;

fn request(tokenizer: &Tokenizer, prompt: &str, max_new_tokens: usize) -> Request {
    Request {
        prompt: tokenizer.encode(prompt, SpecialTokens::Add).expect("the prompt should encode"),
        max_new_tokens,
        sampling: SamplingParams::greedy(),
        eos_token_ids: vec![END],
        stops: Vec::new(),
    }
}

#[test]
fn a_batch_ends_sequence_by_sequence() {
    let tokenizer = byte_level();
    let mut model = Reverser::new(40);
    let requests = ["abc:", "é☕z:", ":", "0123456789:"].map(|prompt| request(&tokenizer, prompt, 20));
    let mut streamed = vec![String::new(); 4];
    let mut generator = Generator::new(&mut model, &tokenizer);
    let (answers, timing) = generator
        .run(&requests, &mut |request_idx, text| streamed[request_idx] += text)
        .expect("the batch should run");
    assert_eq!(generator.kv().n_free_pages(), 40, "all pages should return");
    let reversed = String::from_utf8_lossy(&"é☕z".bytes().rev().collect::<Vec<_>>()).into_owned();
    assert_eq!(streamed, ["cba", &reversed, "", "9876543210"]);
    for (answer, streamed) in answers.iter().zip(&streamed) {
        assert_eq!(&answer.text, streamed);
        assert_eq!(answer.finish, Finish::Eos(END));
        assert_eq!(answer.tokens.last(), Some(&END));
    }
    assert_eq!(timing.n_prefill_tokens, 4 + 7 + 1 + 11);
    assert_eq!(timing.n_decode_tokens, 3 + 6 + 10);
    assert_eq!(model.batch_sizes, [3, 3, 3, 2, 2, 2, 1, 1, 1, 1]);
}

#[test]
fn length_and_stop_strings_end_answers() {
    let tokenizer = byte_level();
    let mut model = Reverser::new(40);
    let short = request(&tokenizer, "abcdef:", 2);
    let none = request(&tokenizer, "abc:", 0);
    let stopped = Request { stops: vec!["cb".into(), "zz".into()], ..request(&tokenizer, "abcdef:", 9) };
    let held = Request { stops: vec!["ax".into()], ..request(&tokenizer, "abc:", 9) };
    let (answers, _) = Generator::new(&mut model, &tokenizer)
        .run(&[short, none, stopped, held], &mut |_, _| {})
        .expect("the batch should run");
    let texts: Vec<&str> = answers.iter().map(|answer| answer.text.as_str()).collect();
    assert_eq!(texts, ["fe", "", "fed", "cba"], "what was held back comes at the end");
    let finishes: Vec<Finish> = answers.into_iter().map(|answer| answer.finish).collect();
    assert_eq!(finishes, [Finish::Length, Finish::Length, Finish::Stop("cb".into()), Finish::Eos(END)]);
}

#[test]
fn sizes_are_checked_before_work_starts() {
    let tokenizer = byte_level();
    let mut model = Reverser::new(6);
    let mut generator = Generator::new(&mut model, &tokenizer);
    let mut fail = |requests: &[Request]| -> String {
        generator.run(requests, &mut |_, _| panic!("nothing should run")).expect_err("too large").to_string()
    };
    let message = fail(&[request(&tokenizer, "ab:", 3), request(&tokenizer, "abcdefgh:", 32)]);
    for part in ["prompt 1 has 9 tokens", "32 more", "41 in all", "holds 40"] {
        assert!(message.contains(part), "`{part}` should be in: {message}");
    }
    let message = fail(&[request(&tokenizer, "ab:", 10), request(&tokenizer, "ab:", 10)]);
    for part in ["26 tokens need 8 pages", "6 of 6 pages of 4 tokens"] {
        assert!(message.contains(part), "`{part}` should be in: {message}");
    }
    assert_eq!(fail(&[request(&tokenizer, "", 3)]), "prompt 0 has no tokens; give at least one");
    let outside = Request { prompt: vec![1, 300], ..request(&tokenizer, "a:", 3) };
    assert!(fail(&[outside]).contains("position 1: token id 300 is outside the vocabulary of 257"));
    assert_eq!((model.n_prefilled, model.batch_sizes.len()), (0, 0));
}

#[test]
fn a_conversation_runs_only_what_is_new() {
    let tokenizer = byte_level();
    let mut model = Reverser::new(10);
    let mut generator = Generator::new(&mut model, &tokenizer);
    let mut conversation = generator.start_conversation();
    let mut ask = |prompt: &str| {
        generator
            .run_in(&mut conversation, &request(&tokenizer, prompt, 9), &mut |_, _| {})
            .map(|(answer, timing)| (answer.text, timing.n_prefill_tokens))
            .expect("the turn should run")
    };
    assert_eq!(ask("abc:"), ("cba".to_owned(), 4));
    // Prompt and answer are in the cache; only the new turn runs.
    assert_eq!(ask("abc:cba|de:"), ("ed".to_owned(), 4));
    // An edited history reuses what is still the same.
    assert_eq!(ask("abc:cb|xyz:"), ("zyx".to_owned(), 5));
    // The same prompt again must still run one token.
    assert_eq!(ask("abc:cb|xyz:"), ("zyx".to_owned(), 1));
    let too_long = request(&tokenizer, "abc:", 37);
    assert!(generator.run_in(&mut conversation, &too_long, &mut |_, _| {}).is_err());
    let (answer, _) = generator
        .run_in(&mut conversation, &request(&tokenizer, "q:", 9), &mut |_, _| {})
        .expect("the conversation should go on");
    assert_eq!(answer.text, "q");
}
