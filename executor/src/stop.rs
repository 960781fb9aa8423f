//! Stop strings over streamed text.
//!
//! A stop string may begin in one token and end in another, so the longest end of the text that could still become
//! one is held back; everything else is released at once. The stop string itself is never released.

/// Watches a stream of text for stop strings.
#[derive(Clone, Debug)]
pub struct StopMatcher {
    stops: Vec<String>,
    held: String,
}

/// What [`StopMatcher::push`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopStep {
    /// Text that can be shown now.
    pub text: String,
    /// The stop string that ended the stream, by its index.
    pub stopped_by: Option<usize>,
}

impl StopMatcher {
    /// Watches for any of `stops`; empty ones are ignored.
    pub fn new(stops: &[String]) -> Self {
        Self { stops: stops.to_vec(), held: String::new() }
    }

    /// Takes the next piece of text. After a stop, no more should be pushed.
    pub fn push(&mut self, text: &str) -> StopStep {
        self.held.push_str(text);
        let first = self
            .stops
            .iter()
            .enumerate()
            .filter(|(_, stop)| !stop.is_empty())
            .filter_map(|(stop_idx, stop)| self.held.find(stop.as_str()).map(|start| (start, stop_idx)))
            .min();
        if let Some((start, stop_idx)) = first {
            let mut text = std::mem::take(&mut self.held);
            text.truncate(start);
            return StopStep { text, stopped_by: Some(stop_idx) };
        }
        let keep_from = self.partial_match_start();
        let rest = self.held.split_off(keep_from);
        StopStep { text: std::mem::replace(&mut self.held, rest), stopped_by: None }
    }

    /// Ends the stream, releasing what was held back.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Where the longest end of the held text that begins some stop string starts.
    fn partial_match_start(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let len = self.held.len();
        self.held
            .char_indices()
            .map(|(start, _)| start)
            .filter(|start| len - start < longest)
            .find(|start| self.stops.iter().any(|stop| stop.starts_with(&self.held[*start..])))
            .unwrap_or(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes the pieces; the released pieces and the stop's index.
    fn stream(stops: &[&str], pieces: &[&str]) -> (Vec<String>, Option<usize>) {
        let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let mut matcher = StopMatcher::new(&stops);
        let mut released = Vec::new();
        for piece in pieces {
            let step = matcher.push(piece);
            released.push(step.text);
            if step.stopped_by.is_some() {
                return (released, step.stopped_by);
            }
        }
        released.push(matcher.finish());
        (released, None)
    }

    #[test]
    fn stop_across_pieces_is_never_shown() {
        assert_eq!(
            stream(&["</s>"], &["ab<", "/", "s", ">cd"]),
            (vec!["ab".to_owned(), String::new(), String::new(), String::new()], Some(0))
        );
    }

    #[test]
    fn a_partial_match_that_fails_is_released() {
        assert_eq!(
            stream(&["</s>"], &["a</", "b", "<"]),
            (vec!["a".to_owned(), "</b".to_owned(), String::new(), "<".to_owned()], None)
        );
    }

    #[test]
    fn overlapping_starts_keep_the_longest_end() {
        // After "aab" fails to be "aac" the second "a..." may still begin a match.
        assert_eq!(
            stream(&["aac"], &["a", "a", "a", "c"]),
            (vec![String::new(), String::new(), "a".to_owned(), String::new()], Some(0))
        );
    }

    #[test]
    fn the_earliest_of_several_wins() {
        assert_eq!(stream(&["world", "lo"], &["hello world"]), (vec!["hel".to_owned()], Some(1)));
    }

    #[test]
    fn multi_byte_text_is_cut_at_characters() {
        assert_eq!(
            stream(&["é!"], &["caf", "é", "é", "!x"]),
            (vec!["caf".to_owned(), String::new(), "é".to_owned(), String::new()], Some(0))
        );
    }

    #[test]
    fn no_stops_hold_nothing() {
        assert_eq!(
            stream(&["", ""], &["a", "b"]),
            (vec!["a".to_owned(), "b".to_owned(), String::new()], None)
        );
    }
}
