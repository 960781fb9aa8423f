//! Planning the conversion of a tile from one register layout to another: the cheapest of renaming registers,
//! shuffling within warps, and going through shared memory.

use super::banks::SharedAccess;
use super::error::{LayoutError, shape_error};
use super::linear::{Input, Layout};
use super::shared::{SharedLayout, SwizzleSpan};
use super::shuffle::{self, Shuffles};

/// How a thread gets its registers of the destination layout.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Conversion {
    /// Nothing to do.
    Identity,
    /// Renaming: destination register `r` is source register `[r]` of the same thread.
    Registers(Vec<u32>),
    /// Exchanges within each warp.
    Shuffles(Shuffles),
    /// Store, barrier, load.
    Shared(Box<SharedPlan>),
}

/// An exchange through shared memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SharedPlan {
    /// Where elements lie meanwhile.
    pub layout: SharedLayout,
    /// How the source layout is stored. Copies need not be: see [`Layout::free_bits`].
    pub write: SharedAccess,
    /// How the destination layout is loaded.
    pub read: SharedAccess,
    /// For each register of the destination, the one loaded by a run of `read` that holds its element.
    pub register: Vec<u32>,
    /// Bytes of shared memory.
    pub bytes: u32,
    /// Whether neither side has bank conflicts.
    pub conflict_free: bool,
}

/// Two barriers, and the latency of a store followed by a load, in the units of [`Shuffles::cost`].
const SHARED_OVERHEAD: u32 = 160;

impl Conversion {
    /// The cheapest way from `source` to `destination`, both complete layouts of one tile over the same warps.
    ///
    /// # Errors
    /// The shapes or thread counts differ, the source does not hold every element, or the element size is not
    /// 1, 2, 4, 8 or 16 bytes.
    pub fn plan(
        source: &Layout,
        destination: &Layout,
        element_bytes: u32,
    ) -> Result<Conversion, LayoutError> {
        check(source, destination)?;
        if source == destination {
            return Ok(Conversion::Identity);
        }
        if let Some(table) = register_table(source, destination) {
            let unchanged = (0..).zip(&table).all(|(r, &from)| r == from);
            return Ok(if unchanged && table.len() as u32 == source.registers() {
                Conversion::Identity
            } else {
                Conversion::Registers(table)
            });
        }
        let shared = SharedPlan::new(source, destination, element_bytes)?;
        match shuffle::plan(source, destination, element_bytes) {
            Some(shuffles) if shuffles.cost() <= shared.cost() => Ok(Conversion::Shuffles(shuffles)),
            Some(_) | None => Ok(Conversion::Shared(Box::new(shared))),
        }
    }

    /// The plan by shuffles alone, whatever it costs; `None` where elements must change warps.
    ///
    /// # Errors
    /// As [`plan`](Conversion::plan).
    pub fn by_shuffles(
        source: &Layout,
        destination: &Layout,
        element_bytes: u32,
    ) -> Result<Option<Shuffles>, LayoutError> {
        check(source, destination)?;
        Ok(shuffle::plan(source, destination, element_bytes))
    }
}

impl SharedPlan {
    /// The cheapest exchange through shared memory: by a computed swizzle, which is free of conflicts with one access
    /// width for both sides, or by a hardware swizzle along one of the dimensions, which may let one side move 16 bytes
    /// where the other moves 4.
    ///
    /// # Errors
    /// As [`SharedLayout::for_exchange`].
    pub fn new(source: &Layout, destination: &Layout, element_bytes: u32) -> Result<SharedPlan, LayoutError> {
        let computed = SharedLayout::for_exchange(source, destination, element_bytes)?;
        let along = |fast: usize| {
            let order: Vec<usize> =
                std::iter::once(fast).chain((0..source.rank()).rev().filter(|&d| d != fast)).collect();
            let fits = |&span| SharedLayout::hardware(source.shape(), element_bytes, &order, span).ok();
            SwizzleSpan::ALL.iter().find_map(fits)
        };
        let plan = |layout: SharedLayout| {
            let (write, read) = (layout.access(source), layout.access(destination));
            SharedPlan {
                bytes: layout.bytes(),
                conflict_free: write.ways == 1 && read.ways == 1,
                register: destination.first_copies(),
                layout,
                write,
                read,
            }
        };
        let mut best = plan(computed);
        for layout in
            (0..source.rank()).filter_map(along).filter(|l| l.bytes() <= best.bytes).collect::<Vec<_>>()
        {
            let other = plan(layout);
            if other.cost() < best.cost() {
                best = other;
            }
        }
        Ok(best)
    }

    /// Wavefronts count 4, an instruction 1.
    fn cost(&self) -> u32 {
        let cost = |a: &SharedAccess| 4 * a.wavefronts + a.runs.len() as u32;
        cost(&self.write) + cost(&self.read) + SHARED_OVERHEAD
    }
}

impl Layout {
    /// For each register the one among those without [`free_bits`](Layout::free_bits) that holds the same element.
    pub fn first_copies(&self) -> Vec<u32> {
        let distinct = self.distinct_registers();
        let free = self.free_bits().register;
        let kept: Vec<u32> = (0..self.registers()).filter(|r| r & free == 0).collect();
        distinct.register.iter().map(|&r| kept[r as usize]).collect()
    }
}

fn check(source: &Layout, destination: &Layout) -> Result<(), LayoutError> {
    if source.shape() != destination.shape() {
        return shape_error(format!(
            "a conversion keeps the shape, and {:?} and {:?} were given",
            source.shape(),
            destination.shape()
        ));
    }
    let threads = |l: &Layout| (l.lanes(), l.warps());
    if threads(source) != threads(destination) || source.lanes() != 32 {
        return shape_error(format!(
            "a conversion is between complete layouts over the same warps: (lanes, warps) are {:?} and {:?}",
            threads(source),
            threads(destination)
        ));
    }
    if !source.is_surjective() {
        return shape_error("the source of a conversion does not hold every element of the tile");
    }
    Ok(())
}

/// Source registers by destination register, if the same for all threads.
fn register_table(source: &Layout, destination: &Layout) -> Option<Vec<u32>> {
    let threads = |l: &Layout| [l.packed(Input::Lane).to_vec(), l.packed(Input::Warp).to_vec()];
    if threads(source) != threads(destination) {
        return None;
    }
    let held = super::bits::Echelon::of(source.packed(Input::Register));
    let bits = destination.register_bits();
    let low: Option<Vec<u32>> = destination.packed(Input::Register).iter().map(|&v| held.solve(v)).collect();
    let low = low?;
    let from = |r: u32| {
        let repeat = source.repeat_index(&destination.apply(r >> bits << bits, 0, 0));
        repeat << source.register_bits() | super::bits::combine(&low, r)
    };
    Some((0..destination.registers()).map(from).collect())
}
