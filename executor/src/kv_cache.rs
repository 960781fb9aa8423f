//! Book-keeping of a paged KV cache: which pages each sequence holds.
//!
//! Keys and values live in pages of a fixed number of tokens; a page holds one index for all layers. A sequence's
//! page table lists its pages in order, so token `t` is in page `table[t / page_tokens]` at row `t % page_tokens`.
//! There are no device types here: the model owns the memory and reads the tables.
//! Invariant: every page is either free or in exactly one table.

use crate::config::ModelConfig;
use crate::error::{Error, Result};

/// The size of what is cached per token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvLayout {
    /// Decoder layers.
    pub n_layers: usize,
    /// Key (and value) heads per layer.
    pub n_kv_heads: usize,
    /// Elements per head.
    pub head_dim: usize,
    /// Bytes per element.
    pub element_bytes: usize,
    /// Tokens per page.
    pub page_tokens: usize,
}

impl KvLayout {
    /// The layout that `config` needs.
    ///
    /// # Panics
    /// With `page_tokens` or `element_bytes` of 0.
    pub fn new(config: &ModelConfig, element_bytes: usize, page_tokens: usize) -> Self {
        assert!(element_bytes > 0 && page_tokens > 0, "a page should hold something");
        Self {
            n_layers: config.n_layers,
            n_kv_heads: config.n_kv_heads,
            head_dim: config.head_dim,
            element_bytes,
            page_tokens,
        }
    }

    /// Bytes of keys and values of one token, over all layers.
    pub fn bytes_per_token(&self) -> u64 {
        2 * (self.n_layers * self.n_kv_heads * self.head_dim * self.element_bytes) as u64
    }

    /// Bytes of one page, over all layers, keys and values.
    pub fn bytes_per_page(&self) -> u64 {
        self.bytes_per_token() * self.page_tokens as u64
    }

    /// Pages that hold `n_tokens` of one sequence.
    pub fn pages_for(&self, n_tokens: usize) -> usize {
        n_tokens.div_ceil(self.page_tokens)
    }
}

/// Names a sequence in a [`KvCache`]. Ids are never reused, so a stale one is caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqId(u64);

#[derive(Clone, Debug)]
struct Sequence {
    id: SeqId,
    n_tokens: usize,
    pages: Vec<u32>,
}

/// Pages, free and held.
#[derive(Clone, Debug)]
pub struct KvCache {
    layout: KvLayout,
    n_pages: usize,
    /// Used as a stack, so that a page just freed, still warm in cache, is the next one taken.
    free: Vec<u32>,
    sequences: Vec<Sequence>,
    next_id: u64,
}

impl KvCache {
    /// A cache of `n_pages` pages, all free.
    ///
    /// # Panics
    /// With more than 2^32 pages.
    pub fn new(layout: KvLayout, n_pages: usize) -> Self {
        let n_pages_u32 = u32::try_from(n_pages).expect("page numbers should fit in 32 bits");
        Self { layout, n_pages, free: (0..n_pages_u32).rev().collect(), sequences: Vec::new(), next_id: 0 }
    }

    /// What is cached per token.
    pub fn layout(&self) -> &KvLayout {
        &self.layout
    }

    /// Pages in all.
    pub fn n_pages(&self) -> usize {
        self.n_pages
    }

    /// Pages that no sequence holds.
    pub fn n_free_pages(&self) -> usize {
        self.free.len()
    }

    /// Tokens that the whole cache holds.
    pub fn capacity_tokens(&self) -> usize {
        self.n_pages * self.layout.page_tokens
    }

    /// Bytes of all pages.
    pub fn total_bytes(&self) -> u64 {
        self.n_pages as u64 * self.layout.bytes_per_page()
    }

    /// Checks that new sequences of these lengths would all fit in the pages that are free now.
    ///
    /// # Errors
    /// [`Error::KvCacheFull`] with the numbers.
    pub fn check_fits(&self, lengths: &[usize]) -> Result<()> {
        let needed_pages = lengths.iter().map(|n_tokens| self.layout.pages_for(*n_tokens)).sum();
        self.check_pages(lengths.iter().sum(), needed_pages)
    }

    /// Starts a sequence with no tokens and no pages.
    pub fn add_sequence(&mut self) -> SeqId {
        let id = SeqId(self.next_id);
        self.next_id += 1;
        self.sequences.push(Sequence { id, n_tokens: 0, pages: Vec::new() });
        id
    }

    /// Makes room for `n_tokens` more, taking pages as needed. Nothing changes on error.
    ///
    /// # Errors
    /// [`Error::KvCacheFull`] with the numbers.
    ///
    /// # Panics
    /// Where `seq` has been freed.
    pub fn append(&mut self, seq: SeqId, n_tokens: usize) -> Result<()> {
        let idx = self.index_of(seq);
        let sequence = &self.sequences[idx];
        let total = sequence.n_tokens + n_tokens;
        let needed_pages = self.layout.pages_for(total).saturating_sub(sequence.pages.len());
        self.check_pages(n_tokens, needed_pages)?;
        let first_taken = self.free.len() - needed_pages;
        let taken = self.free.drain(first_taken..).rev();
        let sequence = &mut self.sequences[idx];
        sequence.pages.extend(taken);
        sequence.n_tokens = total;
        Ok(())
    }

    /// Forgets all but the first `n_tokens`, returning the pages that are no longer needed.
    ///
    /// # Panics
    /// Where `seq` has been freed, or is shorter than `n_tokens`.
    pub fn truncate(&mut self, seq: SeqId, n_tokens: usize) {
        let idx = self.index_of(seq);
        let n_pages = self.layout.pages_for(n_tokens);
        let sequence = &mut self.sequences[idx];
        assert!(n_tokens <= sequence.n_tokens, "a sequence should not grow by being cut");
        sequence.n_tokens = n_tokens;
        self.free.extend(sequence.pages.drain(n_pages..).rev());
    }

    /// Ends a sequence and returns its pages.
    ///
    /// # Panics
    /// Where `seq` has been freed already.
    pub fn free(&mut self, seq: SeqId) {
        let idx = self.index_of(seq);
        let sequence = self.sequences.swap_remove(idx);
        self.free.extend(sequence.pages.into_iter().rev());
    }

    /// Tokens in a sequence.
    ///
    /// # Panics
    /// Where `seq` has been freed.
    pub fn n_tokens(&self, seq: SeqId) -> usize {
        self.sequences[self.index_of(seq)].n_tokens
    }

    /// A sequence's pages, in the order of its tokens.
    ///
    /// # Panics
    /// Where `seq` has been freed.
    pub fn page_table(&self, seq: SeqId) -> &[u32] {
        &self.sequences[self.index_of(seq)].pages
    }

    /// The row of token `position` among all pages' rows: `page * page_tokens + position % page_tokens`.
    ///
    /// # Panics
    /// Where `seq` has been freed, or has no such token.
    pub fn slot(&self, seq: SeqId, position: usize) -> u64 {
        let sequence = &self.sequences[self.index_of(seq)];
        assert!(position < sequence.n_tokens, "a slot should be one of the sequence's tokens");
        let page_tokens = self.layout.page_tokens;
        u64::from(sequence.pages[position / page_tokens]) * page_tokens as u64
            + (position % page_tokens) as u64
    }

    fn check_pages(&self, needed_tokens: usize, needed_pages: usize) -> Result<()> {
        if needed_pages <= self.free.len() {
            return Ok(());
        }
        Err(Error::KvCacheFull {
            needed_tokens,
            needed_pages,
            needed_bytes: needed_pages as u64 * self.layout.bytes_per_page(),
            free_pages: self.free.len(),
            total_pages: self.n_pages,
            page_tokens: self.layout.page_tokens,
            free_bytes: self.free.len() as u64 * self.layout.bytes_per_page(),
        })
    }

    fn index_of(&self, seq: SeqId) -> usize {
        self.sequences
            .iter()
            .position(|sequence| sequence.id == seq)
            .expect("a sequence should not be used after it is freed")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layout(page_tokens: usize) -> KvLayout {
        KvLayout { n_layers: 3, n_kv_heads: 2, head_dim: 8, element_bytes: 2, page_tokens }
    }

    #[test]
    fn sizes_are_counted_over_layers_and_both_halves() {
        assert_eq!(layout(16).bytes_per_token(), 2 * 3 * 2 * 8 * 2);
        assert_eq!(KvCache::new(layout(16), 5).total_bytes(), 5 * 16 * 192);
        assert_eq!([0, 1, 16, 17].map(|n_tokens| layout(16).pages_for(n_tokens)), [0, 1, 1, 2]);
    }

    #[test]
    fn a_full_cache_names_tokens_pages_and_bytes() {
        let mut cache = KvCache::new(layout(4), 3);
        let seq = cache.add_sequence();
        cache.append(seq, 5).expect("5 tokens should fit in 3 pages of 4");
        let message = cache.append(seq, 8).expect_err("13 tokens should not fit in 12").to_string();
        for part in ["8 tokens", "2 pages", "1536 bytes", "1 of 3 pages of 4 tokens", "768 bytes"] {
            assert!(message.contains(part), "`{part}` should be in: {message}");
        }
        assert_eq!(cache.n_tokens(seq), 5, "a failed append should change nothing");
        assert!(cache.check_fits(&[4]).is_ok());
        assert!(cache.check_fits(&[2, 2]).is_err(), "two sequences should not share a page");
    }

    #[derive(Clone, Debug)]
    enum Action {
        Add,
        Append { which: usize, n_tokens: usize },
        Truncate { which: usize, keep: usize },
        Free { which: usize },
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            Just(Action::Add),
            (any::<usize>(), 0usize..20).prop_map(|(which, n_tokens)| Action::Append { which, n_tokens }),
            (any::<usize>(), any::<usize>()).prop_map(|(which, keep)| Action::Truncate { which, keep }),
            any::<usize>().prop_map(|which| Action::Free { which }),
        ]
    }

    proptest! {
        #[test]
        fn pages_are_free_or_held_once(
            page_tokens in 1usize..9,
            n_pages in 0usize..24,
            actions in prop::collection::vec(action(), 0..80),
        ) {
            let mut cache = KvCache::new(layout(page_tokens), n_pages);
            let mut live: Vec<(SeqId, usize)> = Vec::new();
            for action in actions {
                match action {
                    Action::Add => live.push((cache.add_sequence(), 0)),
                    Action::Append { which, n_tokens } if !live.is_empty() => {
                        let slot = which % live.len();
                        let (seq, len) = live[slot];
                        let before = cache.page_table(seq).to_vec();
                        let extra = (len + n_tokens).div_ceil(page_tokens) - len.div_ceil(page_tokens);
                        let fits = extra <= cache.n_free_pages();
                        prop_assert_eq!(cache.append(seq, n_tokens).is_ok(), fits);
                        if fits {
                            live[slot].1 += n_tokens;
                        }
                        prop_assert_eq!(&cache.page_table(seq)[..before.len()], &before[..]);
                    }
                    Action::Truncate { which, keep } if !live.is_empty() => {
                        let slot = which % live.len();
                        let keep = keep % (live[slot].1 + 1);
                        cache.truncate(live[slot].0, keep);
                        live[slot].1 = keep;
                    }
                    Action::Free { which } if !live.is_empty() => {
                        cache.free(live.swap_remove(which % live.len()).0);
                    }
                    Action::Append { .. } | Action::Truncate { .. } | Action::Free { .. } => {}
                }
                let mut slots: Vec<u64> = Vec::new();
                let mut held = 0;
                for (seq, len) in &live {
                    prop_assert_eq!(cache.n_tokens(*seq), *len);
                    prop_assert_eq!(cache.page_table(*seq).len(), len.div_ceil(page_tokens));
                    held += cache.page_table(*seq).len();
                    slots.extend((0..*len).map(|position| cache.slot(*seq, position)));
                }
                prop_assert_eq!(held + cache.n_free_pages(), n_pages);
                let n_slots = slots.len();
                slots.sort_unstable();
                slots.dedup();
                prop_assert_eq!(slots.len(), n_slots, "no two tokens should share a slot");
                prop_assert!(slots.last().is_none_or(|slot| *slot < (n_pages * page_tokens) as u64));
            }
        }
    }
}
