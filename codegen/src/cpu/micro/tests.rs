//! Tests of the micro-kernels on every instruction set of the machine, against f64 or exact references.
//!
//! This file holds what they share: random numbers, and poisoned buffers whose surroundings are checked.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test names the variants it is about")]

mod convert;
mod dots;
mod math;
mod pack;
mod reduce;
mod strips;

use crate::ir::types::DType;

/// A small fast generator (splitmix64).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [-1, 1).
    fn f32(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.f32()).collect()
    }

    /// Uniform in `0..n`.
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

const GUARD: usize = 128;
const POISON: u8 = 0xa5;

/// A poisoned buffer between two guard zones, at an odd multiple of 4 bytes.
struct Guarded {
    bytes: Vec<u8>,
    len: usize,
}

impl Guarded {
    fn new(len: usize) -> Self {
        Self { bytes: vec![POISON; len + 2 * GUARD + 8], len }
    }

    fn start(&self) -> usize {
        GUARD + self.bytes.as_ptr().wrapping_add(GUARD).align_offset(8) % 8
    }

    fn ptr(&mut self) -> *mut u8 {
        let start = self.start();
        self.bytes[start..].as_mut_ptr()
    }

    /// The contents as `T`, after checking that nothing around them was written.
    fn read<T: Copy>(&mut self) -> Vec<T> {
        let start = self.start();
        let outside = self.bytes[..start].iter().chain(&self.bytes[start + self.len..]);
        assert!(outside.copied().all(|b| b == POISON), "a write outside the buffer of {} bytes", self.len);
        let count = self.len / size_of::<T>();
        // SAFETY: the buffer holds `count` elements and tests use plain number types.
        (0..count).map(|i| unsafe { self.ptr().cast::<T>().add(i).read_unaligned() }).collect()
    }

    fn write<T: Copy>(&mut self, data: &[T]) {
        assert!(size_of_val(data) <= self.len, "the data should fit the buffer");
        for (i, &x) in data.iter().enumerate() {
            // SAFETY: checked above.
            unsafe { self.ptr().cast::<T>().add(i).write_unaligned(x) };
        }
    }
}

/// The pointer of a slice as bytes.
fn bytes<T>(data: &[T]) -> *const u8 {
    data.as_ptr().cast()
}

/// Float types with arithmetic.
const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

/// Lengths around the vector widths.
const LENGTHS: [usize; 12] = [0, 1, 3, 7, 8, 15, 16, 17, 31, 64, 129, 300];
