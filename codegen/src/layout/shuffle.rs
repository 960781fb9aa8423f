//! Exchanging a tile within the warps: rounds of one shuffle each.
//!
//! In round `k` lane `l` fills its register `k ^ F(l)` from lane `H(l) ^ ..`, which offers whichever register that lane
//! wants. A round works when every lane is asked for one register only, so `F` is chosen to make `H` invertible
//! where source registers differ between lanes: the rotation by which a transpose within a warp is done.

use super::bits::{Echelon, combine, mask};
use super::express::{Join, ThreadTerm, thread_terms};
use super::linear::{Input, LANE_BITS, Layout};

/// A number that is an affine function over F2 of the thread index (five lane bits, then the warp's).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ThreadMap {
    /// The value at thread 0.
    pub base: u32,
    /// What each bit of the thread index flips.
    pub columns: Vec<u32>,
}

impl ThreadMap {
    /// The value for a thread.
    pub fn apply(&self, tid: u32) -> u32 {
        self.base ^ combine(&self.columns, tid)
    }

    /// Whether every thread has the same value, `base`.
    pub fn is_constant(&self) -> bool {
        self.columns.iter().all(|&c| c == 0)
    }

    /// The thread-dependent part for printing, and how its terms combine; the base is joined by XOR.
    pub fn terms(&self) -> (Vec<ThreadTerm>, Join) {
        (thread_terms(&self.columns), Join::of(self.columns.iter().copied()))
    }

    /// The values that occur, base first: what an emitter selects among.
    pub fn values(&self) -> Vec<u32> {
        let mut values = vec![self.base];
        for &c in &self.columns {
            if !values.contains(&(self.base ^ c)) {
                values.extend(values.clone().iter().map(|v| v ^ c));
            }
        }
        values
    }
}

/// One exchange: every lane offers a source register and receives into a register of the result.
/// Register numbers count units of [`Shuffles::unit`] registers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Round {
    /// The unit a lane offers.
    pub source: ThreadMap,
    /// The lane it reads.
    pub lane: ThreadMap,
    /// The unit it fills.
    pub destination: ThreadMap,
}

impl Round {
    /// Whether every lane reads its own register: a move, no shuffle.
    pub fn is_local(&self) -> bool {
        self.lane.base == 0
            && (0..).zip(&self.lane.columns).all(|(bit, &c)| c == if bit < LANE_BITS { 1 << bit } else { 0 })
    }
}

/// Exchanges within warps that turn one layout into another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shuffles {
    /// Adjacent registers that travel together (a power of two, at most 4 bytes): unit `u` is registers
    /// `u * unit .. (u + 1) * unit`, of the source and of the result alike.
    pub unit: u32,
    /// The rounds; together they fill every unit of every lane once.
    pub rounds: Vec<Round>,
    /// For each register of the destination layout, the register of the result that holds it (they differ where the
    /// destination keeps copies).
    pub register: Vec<u32>,
}

impl Shuffles {
    /// Where register `register` of a destination thread comes from: the source register and lane.
    /// `None` when no round fills it, which a plan from this module never has.
    pub fn source_of(&self, register: u32, tid: u32) -> Option<(u32, u32)> {
        let held = self.register[register as usize];
        let round = self.rounds.iter().find(|r| r.destination.apply(tid) == held / self.unit)?;
        let lane = round.lane.apply(tid);
        let partner = tid & !mask(LANE_BITS as u32) | lane;
        Some((round.source.apply(partner) * self.unit + held % self.unit, lane))
    }

    /// Cost per warp, in quarters of a bank cycle: a shuffle is 4, a selection among registers 1 per alternative.
    pub(crate) fn cost(&self) -> u32 {
        let selects = |m: &ThreadMap| m.values().len() as u32 - 1;
        let cost = |r: &Round| {
            let moved = if r.is_local() { 0 } else { 4 };
            moved + selects(&r.source) + selects(&r.destination)
        };
        self.rounds.iter().map(cost).sum()
    }
}

/// Lane bits in the masks below; register bits are under them.
const LANE_AT: u32 = 24;

/// A plan, or `None` when elements cross warps or no rotation makes the rounds one-to-one.
pub(crate) fn plan(source: &Layout, destination: &Layout, element_bytes: u32) -> Option<Shuffles> {
    let distinct = destination.distinct_registers();
    let to = &distinct.layout;
    let same = |&b: &usize| source.packed(Input::Register).get(b) == to.packed(Input::Register).get(b);
    let most = if element_bytes >= 4 { 0 } else { (4 / element_bytes.max(1)).ilog2() as usize };
    let most = most.min(to.packed(Input::Register).len());
    let together = (0..most).take_while(same).count();
    let rounds = (0..=together).rev().find_map(|unit| Some((unit, rounds(source, to, unit)?)));
    let (unit, rounds) = rounds?;
    Some(Shuffles { unit: 1 << unit, rounds, register: distinct.register })
}

/// The rounds when the lowest `unit` register bits of both sides travel together.
fn rounds(source: &Layout, to: &Layout, unit: usize) -> Option<Vec<Round>> {
    let from_registers = &source.packed(Input::Register)[unit..];
    let from_lanes = source.packed(Input::Lane);
    let mut own = Echelon::default();
    for (i, &v) in from_registers.iter().enumerate() {
        // Copies in the source are never asked for.
        let _ = own.insert(v, 1 << i);
    }
    let mut all = own.clone();
    for (i, &v) in from_lanes.iter().enumerate() {
        let _ = all.insert(v, 1 << (LANE_AT + i as u32));
    }
    // For each index bit of the destination, the source (register, lane) bits it flips; its own lane where possible.
    let split = |m: u32| (m & mask(LANE_AT), m >> LANE_AT);
    let register_of = |&v: &u32| own.solve(v).or_else(|| all.solve(v)).map(split);
    let per_register: Vec<(u32, u32)> =
        to.packed(Input::Register)[unit..].iter().map(register_of).collect::<Option<_>>()?;
    let lane_of = |(bit, &v): (usize, &u32)| match own.solve(v ^ from_lanes[bit]) {
        Some(registers) => Some((registers, 1 << bit)),
        None => all.solve(v).map(split),
    };
    let per_lane: Vec<(u32, u32)> =
        to.packed(Input::Lane).iter().enumerate().map(lane_of).collect::<Option<_>>()?;
    let warps = to.packed(Input::Warp).iter().zip(source.packed(Input::Warp));
    let per_warp: Vec<(u32, u32)> =
        warps.map(|(&v, &own_warp)| all.solve(v ^ own_warp).map(split)).collect::<Option<_>>()?;

    let rotation = rotation(&per_register, &per_lane)?;
    let pick = |pairs: &[(u32, u32)], m: u32| {
        (0..).zip(pairs).fold(
            (0, 0),
            |sum: (u32, u32), (i, p)| {
                if m >> i & 1 == 1 { (sum.0 ^ p.0, sum.1 ^ p.1) } else { sum }
            },
        )
    };
    // Source register and lane of a lane bit once the destination register turns with the lane.
    let turned: Vec<(u32, u32)> = (0..LANE_BITS)
        .map(|b| {
            let (r, l) = pick(&per_register, rotation[b]);
            (per_lane[b].0 ^ r, per_lane[b].1 ^ l)
        })
        .collect();
    // What a lane must offer, from the side of the lane that offers.
    let mut asked = Echelon::default();
    for (b, t) in turned.iter().enumerate() {
        if let Err(same_lane) = asked.insert(t.1, 1 << b)
            && pick(&turned, same_lane).0 != 0
        {
            return None;
        }
    }
    for b in 0..LANE_BITS {
        // Lanes nobody asks may offer anything.
        let _ = asked.insert(1 << b, 0);
    }
    let offer: Vec<u32> = (0..LANE_BITS)
        .map(|b| pick(&turned, asked.solve(1 << b).expect("the lanes should be spanned")).0)
        .collect();

    let (from_bits, to_bits) = (from_registers.len() as u32, to.register_bits() - unit as u32);
    let with_warps = |lanes: Vec<u32>, warp: &dyn Fn(&(u32, u32)) -> u32| {
        let mut columns = lanes;
        columns.extend(per_warp.iter().map(warp));
        columns
    };
    let round = |k: u32| {
        let index = k >> to_bits;
        let coord = to.apply(index << to.register_bits(), 0, 0);
        let (register, lane) = pick(&per_register, k & mask(to_bits));
        Round {
            source: ThreadMap {
                base: source.repeat_index(&coord) << from_bits | register ^ combine(&offer, lane),
                columns: with_warps(offer.clone(), &|w| w.0 ^ combine(&offer, w.1)),
            },
            lane: ThreadMap {
                base: lane,
                columns: with_warps(turned.iter().map(|t| t.1).collect(), &|w| w.1),
            },
            destination: ThreadMap { base: k, columns: with_warps(rotation.clone(), &|_| 0) },
        }
    };
    Some((0..to.repeat_count() << to_bits).map(round).collect())
}

/// For each lane bit, the destination register bits that turn with it, so that no lane is asked for two registers in
/// one round.
fn rotation(per_register: &[(u32, u32)], per_lane: &[(u32, u32)]) -> Option<Vec<u32>> {
    if per_lane.len() != LANE_BITS {
        return None;
    }
    // Sets of lane bits that leave the source lane unchanged; those that change its register are in conflict.
    let mut lanes = Echelon::default();
    let mut conflicts = Vec::new();
    let mut basis = Echelon::default();
    let mut wanted = Echelon::default();
    for (b, &(_, lane)) in per_lane.iter().enumerate() {
        if let Err(unmoved) = lanes.insert(lane, 1 << b) {
            let register = combine(&per_lane.iter().map(|p| p.0).collect::<Vec<_>>(), unmoved);
            if wanted.insert(register, 1 << conflicts.len()).is_ok() {
                conflicts.push(unmoved);
            } else {
                // The same register as a sum of conflicts: that combination of lanes is in agreement.
                let sum = wanted.solve(register).expect("a dependent vector should be solvable");
                let agreed = combine(&conflicts, sum) ^ unmoved;
                let _ = basis.insert(agreed, 0);
            }
        }
    }
    // Register bits whose flip leads to lanes not asked so far.
    let mut turns = Vec::new();
    for (j, &(_, lane)) in per_register.iter().enumerate() {
        if turns.len() < conflicts.len() && lanes.insert(lane, 0).is_ok() {
            turns.push(1u32 << j);
        }
    }
    if turns.len() < conflicts.len() {
        return None;
    }
    for (i, &c) in conflicts.iter().enumerate() {
        basis.insert(c, 1 << i).expect("conflicts should be independent of agreements");
    }
    for b in 0..LANE_BITS {
        let _ = basis.insert(1 << b, 0);
    }
    let turn = |b: u32| basis.solve(1 << b).map(|m| combine(&turns, m));
    (0..LANE_BITS as u32).map(turn).collect()
}
