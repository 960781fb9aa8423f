//! `run`: answers prompts as one batch.

use std::io::{BufRead, Write};

use anyhow::Context;
use serde_json::{Value, json};

use super::session::Session;
use crate::args::{RunArgs, SamplingArgs};
use crate::chat_template::{ChatMessage, ChatTemplate};
use crate::error::{Error, Result};
use crate::generate::{Answer, Finish, Generator, Request, Timing};
use crate::tokenizer::{SpecialTokens, Tokenizer};

/// New tokens where nothing says how many.
const DEFAULT_NEW_TOKENS: usize = 256;

pub(super) fn run(args: &RunArgs, input: &mut dyn BufRead, out: &mut dyn Write) -> anyhow::Result<()> {
    let prompts = read_prompts(&args.prompts, input)?;
    let session = Session::open(&args.model)?;
    let tokenizer = session.tokenizer()?;
    let template = if args.raw { None } else { session.template()? };
    let requests = prompts
        .iter()
        .enumerate()
        .map(|(prompt_idx, prompt)| {
            let tokens = encode_prompt(&tokenizer, template.as_ref(), prompt)?;
            request(&session, &args.sampling, prompt_idx, tokens)
        })
        .collect::<Result<Vec<_>>>()?;
    let lengths: Vec<usize> =
        requests.iter().map(|request| request.prompt.len() + request.max_new_tokens).collect();
    let (mut forward, _) = session.load(session.n_kv_pages(&lengths))?;
    let mut generator = Generator::new(forward.as_mut(), &tokenizer);

    let is_streamed = requests.len() == 1 && !args.json;
    let mut written = Ok(());
    let (answers, timing) = generator.run(&requests, &mut |_, text| {
        if is_streamed && written.is_ok() {
            written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
    })?;
    written.context("cannot write the answer")?;
    if args.json {
        writeln!(out, "{:#}", as_json(&prompts, &requests, &answers, &timing))?;
    } else if is_streamed {
        writeln!(out)?;
    } else {
        for answer in &answers {
            writeln!(out, "{}", answer.text)?;
        }
    }
    Ok(())
}

/// The prompts given; `-`, or none at all, stands for all of standard input without its last line end.
fn read_prompts(given: &[String], input: &mut dyn BufRead) -> anyhow::Result<Vec<String>> {
    let mut read = || -> anyhow::Result<String> {
        let mut text = String::new();
        input.read_to_string(&mut text).context("cannot read the prompt from standard input")?;
        Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
    };
    if given.is_empty() {
        return Ok(vec![read()?]);
    }
    given.iter().map(|prompt| if prompt == "-" { read() } else { Ok(prompt.clone()) }).collect()
}

/// A prompt's tokens: as the user's turn of a chat where there is a template, else as plain text.
fn encode_prompt(tokenizer: &Tokenizer, template: Option<&ChatTemplate>, prompt: &str) -> Result<Vec<u32>> {
    match template {
        Some(template) => {
            let message = ChatMessage { role: "user".to_owned(), content: prompt.to_owned() };
            tokenizer.encode(&template.render(&[message])?, SpecialTokens::AsWritten)
        }
        None => tokenizer.encode(prompt, SpecialTokens::Add),
    }
}

/// The request for a prompt, checked against the context before any model is loaded.
pub(super) fn request(
    session: &Session,
    args: &SamplingArgs,
    prompt_idx: usize,
    prompt: Vec<u32>,
) -> Result<Request> {
    let sampling = args.params(&session.defaults);
    sampling.validate()?;
    let context_tokens = session.context_tokens();
    let room = context_tokens.saturating_sub(prompt.len());
    let max_new_tokens = args.max_new_tokens.unwrap_or(DEFAULT_NEW_TOKENS.min(room).max(1));
    if prompt.len() + max_new_tokens > context_tokens {
        return Err(Error::ContextExceeded {
            prompt_idx,
            prompt_tokens: prompt.len(),
            new_tokens: max_new_tokens,
            context_tokens,
        });
    }
    Ok(Request {
        prompt,
        max_new_tokens,
        sampling,
        eos_token_ids: session.defaults.eos_token_ids.clone(),
        stops: args.stop.clone(),
    })
}

fn as_json(prompts: &[String], requests: &[Request], answers: &[Answer], timing: &Timing) -> Value {
    let answers: Vec<Value> = prompts
        .iter()
        .zip(requests)
        .zip(answers)
        .map(|((prompt, request), answer)| {
            let (finish, stop) = match &answer.finish {
                Finish::Eos(_) => ("eos", None),
                Finish::Stop(stop) => ("stop", Some(stop)),
                Finish::Length => ("length", None),
            };
            json!({
                "prompt": prompt,
                "prompt_tokens": request.prompt.len(),
                "text": answer.text,
                "tokens": answer.tokens,
                "finish": finish,
                "stop": stop,
            })
        })
        .collect();
    json!({
        "answers": answers,
        "timing": {
            "prefill_tokens": timing.n_prefill_tokens,
            "prefill_s": timing.prefill.as_secs_f64(),
            "decode_tokens": timing.n_decode_tokens,
            "decode_s": timing.decode.as_secs_f64(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_come_from_the_line_or_from_standard_input() {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let read =
            |given: &[&str]| read_prompts(&owned(given), &mut &b"two\nlines\n"[..]).expect("should read");
        assert_eq!(read(&["a", "b"]), ["a", "b"]);
        assert_eq!(read(&[]), ["two\nlines"]);
        assert_eq!(read(&["a", "-"]), ["a", "two\nlines"]);
        assert!(read_prompts(&[], &mut &b"\xff"[..]).is_err());
    }
}
