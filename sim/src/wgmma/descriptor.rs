//! The 64-bit shared-memory descriptor, and where the 16-byte chunks of an operand lie under it.
//!
//! Every layout is two axes. Along the contiguous dimension a step is one chunk of 16 bytes; along the other it is one
//! element. Each axis splits its index by a modulus into a near and a far distance, and the whole is a table of eight
//! rows rather than code:
//!
//! ```text
//! offset = (i % modulus) * near + (i / modulus) * far        summed over both axes, then swizzled with the start
//! ```

use super::error::WgmmaError;
use crate::tensormap::Swizzle;

/// Which dimension of an operand is contiguous in shared memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Major {
    /// K: rows of A, or columns of B, are contiguous.
    K,
    /// M for A and N for B (`tnsp` 1).
    Mn,
}

/// A decoded descriptor. Offsets and addresses in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// Start address, a multiple of 16 below 2^18.
    pub start: u32,
    /// Leading dimension byte offset, a multiple of 16.
    pub leading: u32,
    /// Stride dimension byte offset, a multiple of 16.
    pub stride: u32,
    /// Matrix base offset, 0 to 7.
    pub base_offset: u32,
    /// Swizzle.
    pub swizzle: Swizzle,
}

const FIELD: u64 = 0x3fff;
const RESERVED: u64 = !(FIELD | FIELD << 16 | FIELD << 32 | 7 << 49 | 3 << 62);

impl Descriptor {
    /// Reads the fields.
    ///
    /// # Errors
    /// A bit outside the fields is set.
    pub const fn decode(bits: u64) -> Result<Descriptor, WgmmaError> {
        if bits & RESERVED != 0 {
            return Err(WgmmaError::ReservedBits { bits, reserved: bits & RESERVED });
        }
        Ok(Descriptor {
            start: ((bits & FIELD) << 4) as u32,
            leading: ((bits >> 16 & FIELD) << 4) as u32,
            stride: ((bits >> 32 & FIELD) << 4) as u32,
            base_offset: (bits >> 49 & 7) as u32,
            swizzle: match bits >> 62 {
                0 => Swizzle::None,
                1 => Swizzle::B128,
                2 => Swizzle::B64,
                _ => Swizzle::B32,
            },
        })
    }

    /// The 64 bits, each field cut to its width as kernels cut it.
    pub const fn encode(&self) -> u64 {
        let swizzle = match self.swizzle {
            Swizzle::None => 0,
            Swizzle::B128 => 1,
            Swizzle::B64 => 2,
            Swizzle::B32 => 3,
        };
        (self.start as u64 >> 4 & FIELD)
            | (self.leading as u64 >> 4 & FIELD) << 16
            | (self.stride as u64 >> 4 & FIELD) << 32
            | (self.base_offset as u64 & 7) << 49
            | swizzle << 62
    }
}

/// A distance in a layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Distance {
    /// Fixed.
    Bytes(u32),
    /// The descriptor's leading dimension byte offset.
    Leading,
    /// The descriptor's stride dimension byte offset.
    Stride,
}

/// How an index along one dimension becomes bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Axis {
    /// Steps before the far distance.
    pub modulus: u32,
    /// Bytes between steps.
    pub near: Distance,
    /// Bytes between groups of `modulus` steps.
    pub far: Distance,
}

/// The two axes of an operand: rows of A or columns of B, and K.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Along M or N: elements if K-major, chunks if MN-major.
    pub mn: Axis,
    /// Along K: chunks if K-major, elements if MN-major.
    pub k: Axis,
}

const fn axis(modulus: u32, near: Distance, far: Distance) -> Axis {
    Axis { modulus, near, far }
}

/// K-major with a span: eight rows of the span form a group; the 32 bytes of K lie inside a row.
const fn k_major(span: u32) -> Layout {
    Layout {
        mn: axis(8, Distance::Bytes(span), Distance::Stride),
        k: axis(2, Distance::Bytes(16), Distance::Bytes(0)),
    }
}

/// MN-major with a span: a row of the span is one k; eight of them form a group.
const fn mn_major(span: u32) -> Layout {
    Layout {
        mn: axis(span / 16, Distance::Bytes(16), Distance::Leading),
        k: axis(8, Distance::Bytes(span), Distance::Stride),
    }
}

/// Without a swizzle the unit is a core matrix: eight rows of 16 bytes, contiguous.
const K_MAJOR_PLAIN: Layout = Layout {
    mn: axis(8, Distance::Bytes(16), Distance::Stride),
    k: axis(1, Distance::Bytes(0), Distance::Leading),
};
const MN_MAJOR_PLAIN: Layout = Layout {
    mn: axis(1, Distance::Bytes(0), Distance::Stride),
    k: axis(8, Distance::Bytes(16), Distance::Leading),
};

impl Layout {
    /// The layout of an operand.
    pub const fn of(major: Major, swizzle: Swizzle) -> Layout {
        match (major, swizzle) {
            (Major::K, Swizzle::None) => K_MAJOR_PLAIN,
            (Major::K, Swizzle::B32) => k_major(32),
            (Major::K, Swizzle::B64) => k_major(64),
            (Major::K, Swizzle::B128) => k_major(128),
            (Major::Mn, Swizzle::None) => MN_MAJOR_PLAIN,
            (Major::Mn, Swizzle::B32) => mn_major(32),
            (Major::Mn, Swizzle::B64) => mn_major(64),
            (Major::Mn, Swizzle::B128) => mn_major(128),
        }
    }
}

impl Axis {
    /// Bytes from index 0 to `index`.
    pub const fn offset(&self, index: u32, descriptor: &Descriptor) -> u32 {
        (index % self.modulus) * self.near.bytes(descriptor)
            + (index / self.modulus) * self.far.bytes(descriptor)
    }
}

impl Distance {
    /// The distance under a descriptor.
    pub const fn bytes(self, descriptor: &Descriptor) -> u32 {
        match self {
            Distance::Bytes(bytes) => bytes,
            Distance::Leading => descriptor.leading,
            Distance::Stride => descriptor.stride,
        }
    }
}
