//! How shared memory is permuted in 16-byte chunks, by tensor copies and by `wgmma` alike.
//!
//! The permutation acts on bits of the absolute shared address, not of the offset in a tile. With a span of 128 bytes:
//!
//! ```text
//! address bits   9 8 7 | 6 5 4 | 3 2 1 0
//!                row   | chunk | byte        chunk' = chunk ^ row; spans of 64 and 32 use the low 2 and 1 bits
//! ```

/// A permutation of 16-byte chunks within rows of a span.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Swizzle {
    /// Bytes lie in order.
    None,
    /// Span of 32 bytes, repeating every 256.
    B32,
    /// Span of 64 bytes, repeating every 512.
    B64,
    /// Span of 128 bytes, repeating every 1024.
    B128,
}

impl Swizzle {
    /// Bytes of a row within which chunks move; 16, one chunk, without a swizzle.
    pub const fn span(self) -> u32 {
        match self {
            Swizzle::None => 16,
            Swizzle::B32 => 32,
            Swizzle::B64 => 64,
            Swizzle::B128 => 128,
        }
    }

    /// Bytes after which the permutation repeats, which tiles should be aligned to: eight rows of the span.
    pub const fn period(self) -> u32 {
        match self {
            Swizzle::None => 16,
            Swizzle::B32 | Swizzle::B64 | Swizzle::B128 => 8 * self.span(),
        }
    }

    /// Where the byte that belongs at `address` lies. Its own inverse.
    #[inline]
    pub const fn apply(self, address: u64) -> u64 {
        address ^ (((address >> 7) & (self.span() as u64 / 16 - 1)) << 4)
    }

    /// The driver's number.
    pub const fn code(self) -> u32 {
        match self {
            Swizzle::None => 0,
            Swizzle::B32 => 1,
            Swizzle::B64 => 2,
            Swizzle::B128 => 3,
        }
    }

    /// The swizzle with the driver's number `code`, of those that are modelled.
    pub const fn from_code(code: u32) -> Option<Swizzle> {
        match code {
            0 => Some(Swizzle::None),
            1 => Some(Swizzle::B32),
            2 => Some(Swizzle::B64),
            3 => Some(Swizzle::B128),
            _ => None,
        }
    }
}
