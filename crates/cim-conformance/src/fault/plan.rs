//! Which calls fail, and how.

use std::collections::BTreeMap;

use crate::model::Rng;

/// When a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before its effect: nothing happens.
    Before,
    /// After its effect: only the answer is lost.
    After,
}

/// Which calls fail, counted from 1.
///
/// ```
/// use cim_conformance::FaultPlan;
/// use cim_conformance::fault::When;
///
/// let plan = FaultPlan::before(2).and(FaultPlan::after(5));
/// assert_eq!(plan.fault_of(2), Some(When::Before));
/// assert_eq!(plan.fault_of(5), Some(When::After));
/// assert_eq!(plan.fault_of(6), None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    calls: BTreeMap<u64, When>,
    /// Each call fails once in so many times, as a seed decides.
    random: Option<(u64, u64)>,
}

impl FaultPlan {
    /// No call fails.
    pub fn none() -> Self {
        Self::default()
    }

    /// The `n`-th call fails before its effect.
    pub fn before(n: u64) -> Self {
        Self {
            calls: BTreeMap::from([(n, When::Before)]),
            random: None,
        }
    }

    /// The `n`-th call fails after its effect.
    pub fn after(n: u64) -> Self {
        Self {
            calls: BTreeMap::from([(n, When::After)]),
            random: None,
        }
    }

    /// Each call fails once in `times` on average (0: as 1, always), before or after its effect;
    /// which ones is decided by the seed alone.
    pub fn random(seed: u64, times: u64) -> Self {
        Self {
            calls: BTreeMap::new(),
            random: Some((seed, times.max(1))),
        }
    }

    /// Calls of either plan fail; where both name a call, as `other` says.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.calls.extend(other.calls);
        self.random = other.random.or(self.random);
        self
    }

    /// How the `n`-th call fails; `None` when it does not.
    pub fn fault_of(&self, n: u64) -> Option<When> {
        if let Some(when) = self.calls.get(&n) {
            return Some(*when);
        }
        let (seed, times) = self.random?;
        let mut rng = Rng::new(seed ^ n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        if !rng.one_in(times) {
            return None;
        }
        Some(if rng.one_in(2) {
            When::Before
        } else {
            When::After
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_plan_fails_about_as_often_as_it_says() {
        let plan = FaultPlan::random(3, 4);
        let faults: Vec<_> = (1..=1_000).filter_map(|n| plan.fault_of(n)).collect();
        assert!((200..300).contains(&faults.len()), "{}", faults.len());
        let before = faults.iter().filter(|when| **when == When::Before).count();
        assert!((80..170).contains(&before), "{before}");
    }

    #[test]
    fn the_same_seed_is_the_same_plan() {
        let (one, other) = (FaultPlan::random(9, 3), FaultPlan::random(9, 3));
        assert!((1..100).all(|n| one.fault_of(n) == other.fault_of(n)));
    }
}
