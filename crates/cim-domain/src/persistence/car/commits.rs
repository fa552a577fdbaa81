//! Whether commits are whole: each with all its events, next to each other and in order.

use cim_store::CommitId;

/// Where an event stands in its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) commit: CommitId,
    /// From 0.
    pub(crate) index: u32,
    pub(crate) count: u32,
}

/// A commit of which some events are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitCommit {
    /// The commit.
    pub commit: CommitId,
    /// The first of its events that is not there, from 0.
    pub missing: u32,
    /// How many events it has.
    pub count: u32,
}

/// Follows commits, event by event.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    open: Option<Open>,
    split: u64,
    first_split: Option<SplitCommit>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    last: Seat,
    seen: u32,
    missing: Option<u32>,
}

/// What one more event means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The commit before this event's, where it ended without all its events.
    pub(crate) split: Option<SplitCommit>,
    /// Whether this event is the first one that is there of its commit.
    pub(crate) begins: bool,
    /// Whether this event is the last one of a commit that is whole.
    pub(crate) completes: bool,
}

impl Commits {
    /// Takes the next event.
    pub(crate) fn push(&mut self, seat: Seat) -> Step {
        let goes_on = |open: &Open| {
            (seat.commit, seat.count) == (open.last.commit, open.last.count)
                && seat.index > open.last.index
        };
        let (mut open, split) = match self.open.take() {
            Some(open) if goes_on(&open) => (open, None),
            before => {
                let fresh = Open {
                    last: seat,
                    seen: 0,
                    missing: None,
                };
                (fresh, before.and_then(|before| self.close(before)))
            }
        };
        let begins = open.seen == 0;
        if seat.index != open.seen {
            open.missing = open.missing.or(Some(open.seen));
        }
        open.last = seat;
        open.seen += 1;
        let completes = open.seen == seat.count;
        self.open = (!completes).then_some(open);
        Step {
            split,
            begins,
            completes,
        }
    }

    /// Nothing follows any more.
    pub(crate) fn finish(&mut self) -> Option<SplitCommit> {
        let open = self.open.take()?;
        self.close(open)
    }

    fn close(&mut self, open: Open) -> Option<SplitCommit> {
        let split = SplitCommit {
            commit: open.last.commit,
            missing: open.missing.unwrap_or(open.seen),
            count: open.last.count,
        };
        self.split += 1;
        self.first_split = self.first_split.or(Some(split));
        Some(split)
    }

    /// How many commits were not whole.
    pub(crate) fn split(&self) -> u64 {
        self.split
    }

    /// The first one of them.
    pub(crate) fn first_split(&self) -> Option<SplitCommit> {
        self.first_split
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(commit: u8, index: u32, count: u32) -> Seat {
        Seat {
            commit: CommitId::from_bytes([commit; 16]),
            index,
            count,
        }
    }

    /// The commits that are not whole, each with the first event that is not there.
    fn split(seats: &[Seat]) -> Vec<(u8, u32)> {
        let mut commits = Commits::default();
        let mut found: Vec<SplitCommit> = Vec::new();
        for seat in seats {
            found.extend(commits.push(*seat).split);
        }
        found.extend(commits.finish());
        assert_eq!(commits.split(), found.len() as u64);
        assert_eq!(commits.first_split(), found.first().copied());
        let told = |split: &SplitCommit| (split.commit.as_bytes()[0], split.missing);
        found.iter().map(told).collect()
    }

    #[test]
    fn commits_with_all_their_events_in_order_are_whole() {
        assert_eq!(split(&[]), []);
        assert_eq!(
            split(&[seat(1, 0, 2), seat(1, 1, 2), seat(2, 0, 1), seat(3, 0, 1)]),
            []
        );
    }

    #[test]
    fn a_commit_that_lacks_an_event_anywhere_is_split() {
        let whole = [seat(1, 0, 3), seat(1, 1, 3), seat(1, 2, 3)];
        let after = seat(2, 0, 1);
        for missing in 0..3 {
            let mut seats = whole.to_vec();
            seats.remove(missing);
            let expected = [(1, missing as u32)];
            assert_eq!(split(&seats), expected);
            seats.push(after);
            assert_eq!(split(&seats), expected);
        }
    }

    #[test]
    fn an_event_that_comes_again_or_late_splits_its_commit() {
        assert_eq!(
            split(&[seat(1, 0, 2), seat(2, 0, 1), seat(1, 1, 2)]),
            [(1, 1), (1, 0)]
        );
        assert_eq!(split(&[seat(1, 1, 2), seat(1, 0, 2)]), [(1, 0), (1, 1)]);
        assert_eq!(split(&[seat(1, 0, 2), seat(1, 1, 3)]), [(1, 1), (1, 0)]);
    }

    #[test]
    fn the_first_event_that_is_there_begins_its_commit() {
        let mut commits = Commits::default();
        assert!(commits.push(seat(1, 0, 3)).begins);
        assert!(!commits.push(seat(1, 2, 3)).begins);
        assert!(commits.push(seat(2, 1, 2)).begins);
        assert!(commits.push(seat(3, 0, 1)).begins);
        assert!(commits.push(seat(1, 1, 3)).begins);
    }

    #[test]
    fn the_last_event_of_a_whole_commit_completes_it() {
        let mut commits = Commits::default();
        assert!(!commits.push(seat(1, 0, 2)).completes);
        assert!(commits.push(seat(1, 1, 2)).completes);
        assert!(commits.push(seat(2, 0, 1)).completes);
        assert!(!commits.push(seat(3, 1, 2)).completes);
    }
}
