//! A reduction over one dimension, as the three steps a block takes: registers of a thread, lanes of a warp, warps.
//!
//! Copies must not be combined twice, so a plan exists only where each index bit moves either along the reduced
//! dimension or across it. Every layout the constructors make is like that.

use super::algebra::Projection;
use super::bits::Echelon;
use super::error::LayoutError;
use super::linear::{Input, Layout};

/// What to combine to reduce over a dimension.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reduction {
    /// The layout of the result (see [`Layout::slice`]): held by every thread that took part.
    pub result: Projection,
    /// First, in each thread: per register of the result, the registers to combine, each element once.
    pub registers: Vec<Vec<u32>>,
    /// Then, in each warp: the lane bits over which to exchange (butterfly with `1 << bit`).
    pub lane_bits: Vec<u32>,
    /// Last, through shared memory: the warp bits over which to exchange.
    pub warp_bits: Vec<u32>,
}

impl Layout {
    /// The plan of a reduction over `dim`; `Ok(None)` where the layout mixes the dimension with others inside an index
    /// bit, or holds copies that are not told apart by a bit. Convert to a blocked layout first then.
    ///
    /// # Errors
    /// The dimension does not exist.
    pub fn reduction(&self, dim: usize) -> Result<Option<Reduction>, LayoutError> {
        let result = self.slice(dim)?;
        let all = self.space.total_bits();
        let along = super::bits::mask(self.space.bits[dim]) << self.space.at[dim];
        let across = super::bits::mask(all) & !along;
        let mut held = Echelon::of(self.packed(Input::Register));
        let mut kept = Echelon::default();
        for &v in self.packed(Input::Register) {
            // Dependent registers are copies, which `distinct_registers` leaves out below.
            let _ = kept.insert(v & across, 0);
        }
        let mut bits = [Vec::new(), Vec::new()];
        for (input, bits) in [Input::Lane, Input::Warp].into_iter().zip(&mut bits) {
            for (bit, &v) in (0..).zip(self.packed(input)) {
                if v == 0 {
                    continue;
                }
                let mixed = v & along != 0 && v & across != 0;
                if mixed || held.insert(v, 0).is_err() {
                    return Ok(None);
                }
                if v & along != 0 {
                    bits.push(bit);
                } else if kept.insert(v, 0).is_err() {
                    return Ok(None);
                }
            }
        }
        let free = self.free_bits().register;
        let mut registers = vec![Vec::new(); result.layout.registers() as usize];
        for r in (0..self.registers()).filter(|r| r & free == 0) {
            registers[result.register[r as usize] as usize].push(r);
        }
        let [lane_bits, warp_bits] = bits;
        Ok(Some(Reduction { result, registers, lane_bits, warp_bits }))
    }
}
