//! Text to token ids and back, and text from a stream of tokens.
//!
//! A token of a byte-level vocabulary may hold part of a character, so [`TextStream`] releases text only up to the
//! last complete one. What it releases, piece after piece, is exactly the decoding of the whole.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::source::ModelSource;

/// A model's tokenizer.
#[derive(Debug)]
pub struct Tokenizer {
    file: PathBuf,
    inner: tokenizers::Tokenizer,
}

/// Whether the tokenizer adds the tokens that open a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialTokens {
    /// As the tokenizer's post-processor has it: for plain text.
    Add,
    /// None: for text from a chat template, which writes its own.
    AsWritten,
}

impl Tokenizer {
    /// Reads tokenizer.json of `source`.
    ///
    /// # Errors
    /// A missing or corrupt file.
    pub fn load(source: &ModelSource) -> Result<Self> {
        let name = "tokenizer.json";
        let bytes =
            source.require(name, "it turns text into tokens; save a fast tokenizer with transformers")?;
        Self::parse(source.path_of(name), &bytes)
    }

    /// Parses the bytes of a tokenizer.json; `file` is the path that messages show.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where they are not a tokenizer.
    pub fn parse(file: PathBuf, bytes: &[u8]) -> Result<Self> {
        let mut inner = match tokenizers::Tokenizer::from_bytes(bytes) {
            Ok(inner) => inner,
            Err(why) => {
                return Err(Error::Tokenizer { file, what: "not a tokenizer", why: why.to_string() });
            }
        };
        // Training may have left these on; they would cut or pad prompts silently.
        inner.with_padding(None);
        if let Err(why) = inner.with_truncation(None) {
            return Err(Error::Tokenizer { file, what: "cannot turn truncation off", why: why.to_string() });
        }
        Ok(Self { file, inner })
    }

    /// The token ids of `text`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] for text that the vocabulary cannot express.
    pub fn encode(&self, text: &str, special: SpecialTokens) -> Result<Vec<u32>> {
        let encoding = self
            .inner
            .encode_fast(text, special == SpecialTokens::Add)
            .map_err(|why| self.error("cannot encode the text", &why.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of `tokens`, special tokens left out.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where the decoder fails.
    pub fn decode(&self, tokens: &[u32]) -> Result<String> {
        self.inner
            .decode(tokens, true)
            .map_err(|why| self.error("cannot decode the tokens", &why.to_string()))
    }

    /// The id of a token, by its exact text.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Number of ids, added tokens included.
    pub fn n_tokens(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    fn error(&self, what: &'static str, why: &str) -> Error {
        Error::Tokenizer { file: self.file.clone(), what, why: why.to_owned() }
    }
}

/// Text from tokens that come one by one.
///
/// ```text
/// tokens   [ released ........ | context | pending ]
///                              ^ window_start
///                                        ^ n_released
/// ```
/// The context is decoded together with what is pending, because some decoders treat the first token of a text
/// differently (they drop its leading space).
#[derive(Clone, Debug, Default)]
pub struct TextStream {
    tokens: Vec<u32>,
    window_start: usize,
    n_released: usize,
}

impl TextStream {
    /// Takes a token and returns the text that is complete with it, possibly none.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, tokenizer: &Tokenizer, token: u32) -> Result<String> {
        self.tokens.push(token);
        let text = self.unreleased(tokenizer)?;
        // An incomplete character decodes to the replacement character.
        if text.is_empty() || text.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(String::new());
        }
        self.window_start = self.n_released;
        self.n_released = self.tokens.len();
        Ok(text)
    }

    /// Ends the stream: the rest of the text, incomplete characters replaced.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(&mut self, tokenizer: &Tokenizer) -> Result<String> {
        let text = self.unreleased(tokenizer)?;
        self.n_released = self.tokens.len();
        self.window_start = self.n_released;
        Ok(text)
    }

    fn unreleased(&self, tokenizer: &Tokenizer) -> Result<String> {
        let context = tokenizer.decode(&self.tokens[self.window_start..self.n_released])?;
        let mut text = tokenizer.decode(&self.tokens[self.window_start..])?;
        let cut = text.floor_char_boundary(context.len());
        Ok(text.split_off(cut))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_tokenizer::{byte_level, byte_level_json};

    #[test]
    fn text_round_trips_and_specials_are_left_out() {
        let tokenizer = byte_level();
        let tokens = tokenizer.encode("naïve ☕<|end|>", SpecialTokens::Add).expect("text should encode");
        assert_eq!(tokens.len(), "naïve ☕".len() + 1, "one token per byte and one special");
        assert_eq!(tokens.last().copied(), tokenizer.token_id("<|end|>"));
        assert_eq!(tokenizer.decode(&tokens).expect("tokens should decode"), "naïve ☕");
    }

    #[test]
    fn characters_are_released_whole() {
        let tokenizer = byte_level();
        let tokens = tokenizer.encode("aé☕b", SpecialTokens::AsWritten).expect("text should encode");
        let mut stream = TextStream::default();
        let pieces: Vec<String> =
            tokens.iter().map(|token| stream.push(&tokenizer, *token).expect("should decode")).collect();
        assert_eq!(pieces, ["a", "", "é", "", "", "☕", "b"]);
        assert_eq!(stream.finish(&tokenizer).expect("should decode"), "");
    }

    #[test]
    fn an_incomplete_character_comes_out_replaced_at_the_end() {
        let tokenizer = byte_level();
        let tokens = tokenizer.encode("x☕", SpecialTokens::AsWritten).expect("text should encode");
        let mut stream = TextStream::default();
        for token in &tokens[..3] {
            stream.push(&tokenizer, *token).expect("should decode");
        }
        assert_eq!(stream.finish(&tokenizer).expect("should decode"), "\u{fffd}");
    }

    #[test]
    fn a_corrupt_file_is_named() {
        let mut bytes = byte_level_json().into_bytes();
        bytes.truncate(bytes.len() / 2);
        let message =
            Tokenizer::parse("m/tokenizer.json".into(), &bytes).expect_err("half a file").to_string();
        assert!(message.contains("m/tokenizer.json: not a tokenizer: "), "{message}");
    }

    proptest! {
        #[test]
        fn the_pieces_make_the_whole(tokens in prop::collection::vec(0u32..257, 0..40)) {
            let tokenizer = byte_level();
            let mut stream = TextStream::default();
            let mut streamed = String::new();
            for token in &tokens {
                streamed += &stream.push(&tokenizer, *token).expect("any byte should decode");
            }
            streamed += &stream.finish(&tokenizer).expect("any byte should decode");
            prop_assert_eq!(streamed, tokenizer.decode(&tokens).expect("any byte should decode"));
        }
    }
}
