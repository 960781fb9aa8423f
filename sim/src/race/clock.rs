//! Vector clocks that share their storage until they differ.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Epoch;

/// Counts by actor.
#[derive(Debug, Clone)]
pub(super) struct Vc(Arc<Vec<u32>>);

impl Vc {
    pub(super) fn zero(n: usize) -> Self {
        Vc(Arc::new(vec![0; n]))
    }

    #[inline]
    pub(super) fn get(&self, actor: usize) -> u32 {
        self.0[actor]
    }

    /// Whether both are one clock in memory.
    pub(super) fn is_shared_with(&self, other: &Vc) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Makes an epoch known.
    pub(super) fn raise(&mut self, epoch: Epoch) {
        let at = epoch.actor as usize;
        if self.0[at] < epoch.clock {
            Arc::make_mut(&mut self.0)[at] = epoch.clock;
        }
    }

    /// Takes over whatever is newer in `other`; costs nothing for clocks that share storage.
    pub(super) fn join(&mut self, other: &Vc) {
        if Arc::ptr_eq(&self.0, &other.0) {
            return;
        }
        if self.0.iter().zip(other.0.iter()).all(|(a, b)| a >= b) {
            return;
        }
        if self.0.iter().zip(other.0.iter()).all(|(a, b)| a <= b) {
            self.0 = Arc::clone(&other.0);
            return;
        }
        for (a, b) in Arc::make_mut(&mut self.0).iter_mut().zip(other.0.iter()) {
            *a = (*a).max(*b);
        }
    }
}

/// What is known of the actors of other units, by unit; empty unless blocks synchronise through memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Foreign(Option<Arc<BTreeMap<u32, Vc>>>);

impl Foreign {
    pub(super) fn has_seen(&self, epoch: Epoch) -> bool {
        let known = self.0.as_ref().and_then(|units| units.get(&epoch.unit));
        known.is_some_and(|vc| vc.get(epoch.actor as usize) >= epoch.clock)
    }

    pub(super) fn join(&mut self, other: &Foreign) {
        let Some(theirs) = &other.0 else { return };
        if let Some(mine) = &self.0
            && Arc::ptr_eq(mine, theirs)
        {
            return;
        }
        for (&unit, vc) in theirs.iter() {
            self.learn(unit, vc);
        }
    }

    pub(super) fn learn(&mut self, unit: u32, vc: &Vc) {
        let units = Arc::make_mut(self.0.get_or_insert_default());
        match units.get_mut(&unit) {
            Some(mine) => mine.join(vc),
            None => {
                units.insert(unit, vc.clone());
            }
        }
    }

    pub(super) fn units(&self) -> impl Iterator<Item = (u32, &Vc)> {
        self.0.iter().flat_map(|units| units.iter().map(|(&unit, vc)| (unit, vc)))
    }
}

/// The clock of something threads synchronise through: theirs, their asynchronous proxy's, other units'.
#[derive(Debug, Clone)]
pub(super) struct Sync {
    pub(super) seen: Vc,
    pub(super) proxy: Vc,
    pub(super) foreign: Foreign,
}

impl Sync {
    pub(super) fn new(n: usize) -> Self {
        let zero = Vc::zero(n);
        Sync { seen: zero.clone(), proxy: zero, foreign: Foreign::default() }
    }
}

/// Results of the last joins, so that lanes with a shared clock go on sharing.
#[derive(Debug, Default)]
pub(super) struct Cache {
    joins: Vec<(Vc, Vc, Vc)>,
    raises: Vec<(Vc, Epoch, Vc)>,
}

impl Cache {
    pub(super) fn joined(&mut self, a: &Vc, b: &Vc) -> Vc {
        let hit =
            self.joins.iter().rev().take(4).find(|j| Arc::ptr_eq(&j.0.0, &a.0) && Arc::ptr_eq(&j.1.0, &b.0));
        if let Some(hit) = hit {
            return hit.2.clone();
        }
        let mut out = a.clone();
        out.join(b);
        self.joins.push((a.clone(), b.clone(), out.clone()));
        out
    }

    pub(super) fn raised(&mut self, a: &Vc, epoch: Epoch) -> Vc {
        let hit = self.raises.iter().rev().take(4).find(|r| Arc::ptr_eq(&r.0.0, &a.0) && r.1 == epoch);
        if let Some(hit) = hit {
            return hit.2.clone();
        }
        let mut out = a.clone();
        out.raise(epoch);
        self.raises.push((a.clone(), epoch, out.clone()));
        out
    }
}
