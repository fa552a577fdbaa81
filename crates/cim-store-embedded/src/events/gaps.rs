//! Positions that an examination has not seen, although it has seen later ones.
//!
//! Records that stand elsewhere than they were written come out of order, so only the end of the log
//! tells which of these positions are missing.

use std::collections::BTreeMap;

use crate::journal::record::Place;

/// Runs of positions that are remembered at most: a log would have to be shuffled for more.
const MOST_GAPS: usize = 64 << 10;

/// Positions next to each other that were not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Where the record stands that showed it.
    pub(crate) before: Place,
}

/// The positions that may still come, by the first of each run.
#[derive(Debug, Default)]
pub(crate) struct Gaps(BTreeMap<u64, Gap>);

impl Gaps {
    /// Positions that were not seen. Where these are too many, the first ones are given back: they
    /// are taken for missing.
    pub(crate) fn open(&mut self, gap: Gap) -> Option<Gap> {
        if gap.first > gap.last {
            return None;
        }
        self.0.insert(gap.first, gap);
        if self.0.len() <= MOST_GAPS {
            return None;
        }
        self.0.pop_first().map(|(_, gap)| gap)
    }

    /// A position comes after later ones. Returns as [`open`](Self::open).
    pub(crate) fn close(&mut self, position: u64) -> Option<Gap> {
        let (_, gap) = self.0.range(..=position).next_back()?;
        let gap = *gap;
        if position > gap.last {
            return None;
        }
        self.0.remove(&gap.first);
        let front = Gap {
            last: position - 1,
            ..gap
        };
        let back = Gap {
            first: position + 1,
            ..gap
        };
        self.open(front).or(self.open(back))
    }

    /// Positions up to here are not looked for any more.
    pub(crate) fn forget_through(&mut self, position: u64) {
        let later = self.0.split_off(&(position + 1));
        let before = std::mem::replace(&mut self.0, later);
        if let Some((_, gap)) = before.last_key_value() {
            self.open(Gap {
                first: position + 1,
                ..*gap
            });
        }
    }

    /// What is missing now that the log has ended, in order.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Gap> + use<> {
        std::mem::take(&mut self.0).into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(first: u64, last: u64) -> Gap {
        Gap {
            first,
            last,
            before: Place::new(1, 128),
        }
    }

    fn left(mut gaps: Gaps) -> Vec<(u64, u64)> {
        gaps.take().map(|gap| (gap.first, gap.last)).collect()
    }

    #[test]
    fn a_position_that_comes_late_is_not_missing() {
        let mut gaps = Gaps::default();
        assert_eq!(gaps.open(gap(3, 9)), None);
        for late in [3, 9, 6, 20, 1, 6] {
            assert_eq!(gaps.close(late), None);
        }
        assert_eq!(left(gaps), [(4, 5), (7, 8)]);
    }

    #[test]
    fn positions_that_were_given_up_are_forgotten() {
        let mut gaps = Gaps::default();
        for (first, last) in [(3, 4), (6, 9), (12, 12)] {
            assert_eq!(gaps.open(gap(first, last)), None);
        }
        gaps.forget_through(7);
        assert_eq!(left(gaps), [(8, 9), (12, 12)]);
    }

    #[test]
    fn too_many_gaps_are_given_back_from_the_first_on() {
        let mut gaps = Gaps::default();
        for at in 1..=MOST_GAPS as u64 {
            assert_eq!(gaps.open(gap(at * 4, at * 4 + 2)), None);
        }
        assert_eq!(gaps.open(gap(1 << 40, 1 << 40)), Some(gap(4, 6)));
        assert_eq!(gaps.close(13), Some(gap(8, 10)));
        assert_eq!(left(gaps).len(), MOST_GAPS);
    }
}
