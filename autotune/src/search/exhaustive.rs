//! Every legal point in grid order, the last knob running fastest.

use tilewright_codegen::schedule::{Schedule, Space};

/// How far the grid has been walked.
#[derive(Debug, Default)]
pub struct Exhaustive {
    next_index: usize,
}

impl Exhaustive {
    /// The next legal point; `None` at the end of the grid.
    pub fn next_point(&mut self, space: &Space) -> Option<Schedule> {
        while self.next_index < space.grid_len() {
            self.next_index += 1;
            if let Some(schedule) = space.point(self.next_index - 1) {
                return Some(schedule);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use tilewright_codegen::schedule::{Knob, Rule};

    use super::*;

    #[test]
    fn covers_all_legal_points_in_order() {
        let knob = |name, values: &[i64]| Knob { name, values: values.to_vec() };
        let space = Space {
            knobs: vec![knob("A", &[1, 2, 3]), knob("B", &[10, 20])],
            legal: Rule::new(|s| s.get("A") != Some(2) || s.get("B") != Some(20)),
        };
        let mut search = Exhaustive::default();
        let found: Vec<Schedule> = std::iter::from_fn(|| search.next_point(&space)).collect();
        assert_eq!(found, space.points().collect::<Vec<_>>());
        assert_eq!(found.len(), 5);
        assert_eq!(search.next_point(&space), None);
    }
}
