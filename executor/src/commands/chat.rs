//! `chat`: a conversation, one line per turn.
//!
//! The history is rendered anew for each turn, and the cache keeps what it shares with the last: only the new turn
//! runs. `/reset` forgets the history, `/exit` or the end of input ends the program.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::Context;

use super::run::request;
use super::session::Session;
use crate::args::ChatArgs;
use crate::chat_template::{ChatMessage, ChatTemplate};
use crate::error::Result;
use crate::generate::{Generator, Request};
use crate::tokenizer::{SpecialTokens, Tokenizer};

/// KV budget of a conversation where the options give none.
const DEFAULT_CONTEXT: usize = 4096;

pub(super) fn chat(args: &ChatArgs, input: &mut dyn BufRead, out: &mut dyn Write) -> anyhow::Result<()> {
    let session = Session::open(&args.model)?;
    let tokenizer = session.tokenizer()?;
    let template = if args.raw { None } else { session.template()? };
    anyhow::ensure!(
        args.raw || template.is_some(),
        "{}: the model has no chat template; use --raw to continue plain text",
        session.source.place().display()
    );
    // Refuses bad options before the model loads.
    request(&session, &args.sampling, 0, vec![0])?;
    let context = session.context_tokens().min(args.model.context.unwrap_or(DEFAULT_CONTEXT));
    let (mut forward, _) = session.load(session.n_kv_pages(&[context]))?;
    let mut generator = Generator::new(forward.as_mut(), &tokenizer);
    let history = History::new(template.as_ref(), args.system.as_deref());
    let make_request = |tokens: Vec<u32>| -> Result<Request> {
        let asked = request(&session, &args.sampling, 0, tokens)?;
        let room = context.saturating_sub(asked.prompt.len());
        let max_new_tokens = match args.sampling.max_new_tokens {
            Some(given) => given,
            None => asked.max_new_tokens.min(room).max(1),
        };
        Ok(Request { max_new_tokens, ..asked })
    };
    converse(&mut generator, &tokenizer, history, &make_request, input, out)
}

/// The read-answer loop. A turn that fails is reported and taken back; the conversation goes on.
fn converse(
    generator: &mut Generator<'_>,
    tokenizer: &Tokenizer,
    mut history: History<'_>,
    make_request: &dyn Fn(Vec<u32>) -> Result<Request>,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut conversation = generator.start_conversation();
    let prompt = if std::io::stdin().is_terminal() { "> " } else { "" };
    loop {
        write!(out, "{prompt}")?;
        out.flush()?;
        let mut line = String::new();
        if input.read_line(&mut line).context("cannot read from standard input")? == 0 {
            return Ok(());
        }
        match line.trim() {
            "" => continue,
            "/exit" => return Ok(()),
            "/reset" => {
                history.clear();
                continue;
            }
            said => history.push("user", said),
        }
        let mut written = Ok(());
        let answered = history.tokens(tokenizer).and_then(make_request).and_then(|request| {
            generator.run_in(&mut conversation, &request, &mut |_, text| {
                if written.is_ok() {
                    written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                }
            })
        });
        written.context("cannot write the answer")?;
        match answered {
            Ok((answer, _)) => {
                writeln!(out)?;
                history.push("assistant", &answer.text);
            }
            Err(error) => {
                writeln!(out, "error: {error}")?;
                history.pop();
            }
        }
    }
}

/// What was said so far.
struct History<'t> {
    template: Option<&'t ChatTemplate>,
    system: Vec<ChatMessage>,
    turns: Vec<ChatMessage>,
}

impl<'t> History<'t> {
    fn new(template: Option<&'t ChatTemplate>, system: Option<&str>) -> Self {
        let system = system.map(|content| message("system", content)).into_iter().collect();
        Self { template, system, turns: Vec::new() }
    }

    fn push(&mut self, role: &str, content: &str) {
        self.turns.push(message(role, content));
    }

    fn pop(&mut self) {
        self.turns.pop();
    }

    fn clear(&mut self) {
        self.turns.clear();
    }

    fn tokens(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
        match self.template {
            Some(template) => {
                let messages: Vec<ChatMessage> = self.system.iter().chain(&self.turns).cloned().collect();
                tokenizer.encode(&template.render(&messages)?, SpecialTokens::AsWritten)
            }
            None => {
                let text: String = self.turns.iter().map(|turn| turn.content.as_str()).collect();
                tokenizer.encode(&text, SpecialTokens::Add)
            }
        }
    }
}

fn message(role: &str, content: &str) -> ChatMessage {
    ChatMessage { role: role.to_owned(), content: content.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::SamplingParams;
    use crate::test_model::{END, Reverser};
    use crate::test_tokenizer::byte_level;

    fn session(lines: &str, system: Option<&str>) -> (String, usize) {
        let tokenizer = byte_level();
        let mut model = Reverser::new(10);
        let mut generator = Generator::new(&mut model, &tokenizer);
        let text = "{% for m in messages %}{{ m.content }}{{ ':' if m.role == 'user' else '|' }}{% endfor %}";
        let template = ChatTemplate::parse("t".as_ref(), text, serde_json::Map::new()).expect("should parse");
        let history = History::new(Some(&template), system);
        let make_request = |prompt: Vec<u32>| {
            Ok(Request {
                prompt,
                max_new_tokens: 8,
                sampling: SamplingParams::greedy(),
                eos_token_ids: vec![END],
                stops: Vec::new(),
            })
        };
        let mut out = Vec::new();
        converse(&mut generator, &tokenizer, history, &make_request, &mut lines.as_bytes(), &mut out)
            .expect("the conversation should end");
        drop(generator);
        (String::from_utf8(out).expect("text"), model.n_prefilled)
    }

    #[test]
    fn turns_build_on_the_cache() {
        // "ab:" 3 tokens; then "|cd:" 4 more after the cached "ab:ba".
        assert_eq!(session("ab\n\ncd\n", None), ("ba\ndc\n".to_owned(), 3 + 4));
        assert_eq!(session("ab\n/reset\ncd\n/exit\nef\n", None), ("ba\ndc\n".to_owned(), 3 + 3));
        assert_eq!(session("ab\n", Some("s")).0, "ba\n");
    }

    #[test]
    fn a_turn_that_does_not_fit_is_taken_back() {
        let long = "x".repeat(40);
        let (text, _) = session(&format!("{long}\nab\n"), None);
        assert!(text.starts_with("error: prompt 0 has 41 tokens"), "{text}");
        assert!(text.ends_with("\nba\n"), "{text}");
    }
}
