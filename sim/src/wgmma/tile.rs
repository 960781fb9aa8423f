//! One operand in shared memory: the checks on its descriptor, and the addresses of its chunks.

use super::descriptor::{Axis, Descriptor, Distance, Layout, Major};
use super::error::{Side, WgmmaError};
use super::{Operand, SharedWindow};
use crate::fragments::Width;
use crate::tensormap::Swizzle;

/// Bytes of K in one instruction.
const K_BYTES: u32 = 32;

/// The chunks of an operand, as offsets into the shared window, by steps along M or N and then along K.
#[derive(Clone, Debug)]
pub(super) struct Tile {
    major: Major,
    k_steps: usize,
    offsets: Vec<u32>,
}

impl Tile {
    /// The operand of `extent` rows (A) or columns (B).
    pub(super) fn new(
        side: Side,
        bits: u64,
        width: Width,
        major: Major,
        extent: usize,
        window: SharedWindow,
    ) -> Result<Tile, WgmmaError> {
        let descriptor = Descriptor::decode(bits)?;
        let element = width.bytes() as u32;
        let (extent_bytes, k_elements) = (extent as u32 * element, K_BYTES / element);
        let (mn_steps, k_steps) = match major {
            Major::K => (extent as u32, K_BYTES / 16),
            Major::Mn => (extent_bytes / 16, k_elements),
        };
        let row_bytes = match major {
            Major::K => K_BYTES,
            Major::Mn => extent_bytes.min(descriptor.swizzle.span()),
        };
        check_start(side, &descriptor, major, row_bytes)?;
        let layout = Layout::of(major, descriptor.swizzle);
        check_distance(side, &descriptor, &layout.mn, mn_steps)?;
        check_distance(side, &descriptor, &layout.k, k_steps)?;

        let per_chunk = width.per_chunk();
        let (base, end) = (u64::from(window.base), u64::from(window.base) + u64::from(window.bytes));
        let mut offsets = Vec::with_capacity((mn_steps * k_steps) as usize);
        for mn in 0..mn_steps {
            for k in 0..k_steps {
                let linear = u64::from(descriptor.start)
                    + u64::from(layout.mn.offset(mn, &descriptor))
                    + u64::from(layout.k.offset(k, &descriptor));
                let address = descriptor.swizzle.apply(linear);
                if address < base || address + 16 > end {
                    let (mn, k) = match major {
                        Major::K => (mn as usize, k as usize * per_chunk),
                        Major::Mn => (mn as usize * per_chunk, k as usize),
                    };
                    return Err(WgmmaError::OutOfBounds { side, address, mn, k, base, end });
                }
                offsets.push((address - base) as u32);
            }
        }
        check_overlap(side, &descriptor, &offsets, window)?;
        Ok(Tile { major, k_steps: k_steps as usize, offsets })
    }

    /// Offsets of the 16-byte chunks.
    pub(super) fn chunks(&self) -> impl Iterator<Item = u32> {
        self.offsets.iter().copied()
    }

    /// Calls `put(row or column, k, value)` for every element; the loops are compiled once per type.
    #[inline(always)]
    pub(super) fn decode<T>(
        &self,
        operand: Operand,
        shared: &[u8],
        value: impl Fn(Operand, u32) -> T + Copy,
        mut put: impl FnMut(usize, usize, T),
    ) {
        macro_rules! each {
            ($($name:ident $bytes:literal)*) => {
                match operand {
                    $(Operand::$name => self.visit::<$bytes>(shared, |mn, k, element| {
                        let mut wide = [0; 4];
                        wide[..$bytes].copy_from_slice(element);
                        put(mn, k, value(Operand::$name, u32::from_le_bytes(wide)));
                    }),)*
                }
            };
        }
        each!(F16 2 Bf16 2 Tf32 4 E4m3 1 E5m2 1 S8 1 U8 1);
    }

    #[inline(always)]
    fn visit<const BYTES: usize>(&self, shared: &[u8], mut put: impl FnMut(usize, usize, &[u8])) {
        let per_chunk = 16 / BYTES;
        for (mn, row) in self.offsets.chunks_exact(self.k_steps).enumerate() {
            for (k, &offset) in row.iter().enumerate() {
                let chunk = &shared[offset as usize..][..16];
                for (i, element) in chunk.chunks_exact(BYTES).enumerate() {
                    match self.major {
                        Major::K => put(mn, k * per_chunk + i, element),
                        Major::Mn => put(mn * per_chunk + i, k, element),
                    }
                }
            }
        }
    }
}

fn check_start(side: Side, descriptor: &Descriptor, major: Major, row_bytes: u32) -> Result<(), WgmmaError> {
    let &Descriptor { start, swizzle, base_offset, .. } = descriptor;
    let (span, period) = (swizzle.span(), swizzle.period());
    let past = start % period;
    // The first lines of the pattern, in the unit of the base offset field.
    let expected = if past < span { 0 } else { past / 128 };
    if base_offset != expected {
        return Err(WgmmaError::BaseOffset { side, start, given: base_offset, expected, swizzle });
    }
    if past >= span {
        return Err(WgmmaError::PatternStart { side, start, past, period, swizzle });
    }
    let steps = major == Major::Mn || past.is_multiple_of(K_BYTES);
    if swizzle != Swizzle::None && (past + row_bytes > span || !steps) {
        return Err(WgmmaError::RowOverrun { side, inside: past, needed: row_bytes, span });
    }
    Ok(())
}

/// A distance of the descriptor, where the axis reaches it, must keep whole groups apart.
fn check_distance(side: Side, descriptor: &Descriptor, axis: &Axis, steps: u32) -> Result<(), WgmmaError> {
    if steps <= axis.modulus {
        return Ok(());
    }
    let name = match axis.far {
        Distance::Bytes(_) => return Ok(()),
        Distance::Leading => "leading dimension byte offset",
        Distance::Stride => "stride dimension byte offset",
    };
    let swizzle = descriptor.swizzle;
    let (bytes, multiple) = (axis.far.bytes(descriptor), swizzle.period());
    if bytes == 0 || bytes % multiple != 0 {
        return Err(WgmmaError::Distance { side, name, bytes, multiple, swizzle });
    }
    Ok(())
}

fn check_overlap(
    side: Side,
    descriptor: &Descriptor,
    offsets: &[u32],
    window: SharedWindow,
) -> Result<(), WgmmaError> {
    let mut seen = vec![0_u64; window.bytes as usize / 16 / 64 + 1];
    for &offset in offsets {
        let chunk = offset as usize / 16;
        if seen[chunk / 64] >> (chunk % 64) & 1 == 1 {
            return Err(WgmmaError::Overlap {
                side,
                address: offset + window.base,
                leading: descriptor.leading,
                stride: descriptor.stride,
            });
        }
        seen[chunk / 64] |= 1 << (chunk % 64);
    }
    Ok(())
}
