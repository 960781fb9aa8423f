//! Keys of compiled programs: a fast, stable 64-bit hash of a kernel's identity, its comptime values and the schedule.
//!
//! Not cryptographic: it is computed on every launch. Words are mixed by rotate, exclusive or and multiply, and the result is
//! finished with a xor-shift multiply so that low bits depend on all words.

use std::fmt::Debug;
use std::hash::{Hash, Hasher};

use crate::schedule::Schedule;

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Collects what a key depends on.
#[derive(Clone, Copy, Debug)]
pub struct KeyHasher(u64);

impl KeyHasher {
    /// A hasher that has seen the function's instantiated name and the hash of its source.
    #[must_use]
    pub fn of_kernel(instance: &str, source_hash: u64) -> Self {
        let mut hasher = Self(source_hash);
        hasher.write(instance.as_bytes());
        hasher
    }

    /// The key so far.
    #[must_use]
    pub const fn key(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(MULTIPLIER);
        mixed ^ (mixed >> 29)
    }

    const fn word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(MULTIPLIER);
    }
}

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.key()
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last) ^ ((bytes.len() as u64) << 56));
    }

    fn write_u8(&mut self, i: u8) {
        self.word(i.into());
    }
    fn write_u32(&mut self, i: u32) {
        self.word(i.into());
    }
    fn write_u64(&mut self, i: u64) {
        self.word(i);
    }
    fn write_usize(&mut self, i: usize) {
        self.word(i as u64);
    }
}

/// The key of a kernel under a schedule.
#[must_use]
pub fn launch_key(kernel_id: u64, schedule: &Schedule) -> u64 {
    let mut hasher = KeyHasher(kernel_id);
    for (knob, value) in &schedule.knobs {
        hasher.write(knob.as_bytes());
        hasher.word(*value as u64);
    }
    hasher.key()
}

/// A value that can be baked into a kernel: any owned type with equality, a hash and a text.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a comptime parameter of a kernel",
    label = "a comptime value is part of the kernel's key: it needs `Hash + Eq + Debug + Clone + Send + Sync`",
    note = "for a number that may change from launch to launch, take a `Scalar`; for data in memory, a `View`"
)]
pub trait Comptime: Hash + Eq + Debug + Clone + Send + Sync + 'static {}
#[diagnostic::do_not_recommend]
impl<T: Hash + Eq + Debug + Clone + Send + Sync + 'static> Comptime for T {}

/// Adds a comptime value to a key.
pub fn hash_comptime<T: Comptime>(value: &T, hasher: &mut KeyHasher) {
    value.hash(hasher);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_schedules_and_values_apart() {
        let schedules: Vec<Schedule> =
            (0..100).map(|i| Schedule::new(&[("BM", i % 10), ("BN", i / 10)])).collect();
        let mut keys: Vec<u64> = schedules.iter().map(|s| launch_key(7, s)).collect();
        let mut hasher = KeyHasher::of_kernel("k", 7);
        for text in ["", "a", "ab", "a\0", "abcdefgh", "abcdefghi"] {
            hash_comptime(&text, &mut hasher);
            keys.push(hasher.key());
        }
        let n = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), n);
        assert_eq!(launch_key(7, &schedules[3]), launch_key(7, &schedules[3].clone()));
    }
}
