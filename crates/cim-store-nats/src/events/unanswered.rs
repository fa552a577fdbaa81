//! Commits of which this process does not know whether they were stored, and the place that tells.
//!
//! Every try of a commit needs the same place, or one that comes after it was taken. So whoever
//! looks at the last place that was tried knows: it holds the commit, or something else and the
//! commit never will be stored, or nothing yet.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use cim_store::{CommitId, StreamId, Version};

/// More than can be of interest; the oldest are forgotten, and looked for like any other commit.
const MOST: usize = 4_096;

/// The place of a commit's first event.
pub(super) type Slot = (StreamId, Version);

/// The commits and their places.
#[derive(Debug, Default)]
pub(crate) struct Unanswered {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    slots: HashMap<CommitId, Slot>,
    order: VecDeque<CommitId>,
}

impl Unanswered {
    /// Notes where a commit would stand.
    pub(super) fn note(&self, commit: CommitId, slot: Slot) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.slots.insert(commit, slot).is_none() {
            state.order.push_back(commit);
        }
        if state.order.len() > MOST
            && let Some(oldest) = state.order.pop_front()
        {
            state.slots.remove(&oldest);
        }
    }

    /// Where a commit would stand.
    pub(super) fn slot(&self, commit: CommitId) -> Option<Slot> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.slots.get(&commit).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let unanswered = Unanswered::default();
        let stream = StreamId::new("a", "b", "c").unwrap();
        let id = |n: u64| CommitId::from_uuid(uuid::Uuid::from_u64_pair(0, n));
        for n in 0..=MOST as u64 {
            unanswered.note(id(n), (stream.clone(), Version::new(n)));
        }
        assert_eq!(unanswered.slot(id(0)), None);
        assert_eq!(
            unanswered.slot(id(1)),
            Some((stream.clone(), Version::new(1)))
        );
        unanswered.note(id(1), (stream.clone(), Version::new(9)));
        assert_eq!(unanswered.slot(id(1)), Some((stream, Version::new(9))));
    }
}
