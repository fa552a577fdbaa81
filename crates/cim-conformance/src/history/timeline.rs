//! When each commit of a stream can have happened.
//!
//! A stream's commits happened in the order in which they stand there. Each happened after it was
//! called and before it was answered. Whoever saw the stream end after a commit saw it after that
//! commit happened and before the next one did. So every commit has bounds from below and from
//! above; they can all be kept exactly if none of the earlier commits' lower bounds lies above an
//! upper bound of a later one or of itself. (If they can, taking each commit at the largest lower
//! bound up to it is a possible course of events.)

/// Bounds of each commit of a stream, and who gave them. Sources are numbers that the caller
/// chooses.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    commits: Vec<Bounds>,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    not_before: (u64, usize),
    not_after: (u64, usize),
}

/// Two that contradict each other: `after` says that something had not happened yet at a moment
/// when, as `before` says, it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Contradiction {
    /// Who gave the lower bound.
    pub(crate) after: usize,
    /// Who gave the upper bound.
    pub(crate) before: usize,
}

impl Timeline {
    /// Adds the next commit: called at `invoked`, answered at `completed` if it was.
    pub(crate) fn push(&mut self, invoked: u64, completed: Option<u64>, source: usize) {
        self.commits.push(Bounds {
            not_before: (invoked, source),
            not_after: (completed.unwrap_or(u64::MAX), source),
        });
    }

    /// Somebody saw exactly the first `count` commits, at a moment between the two.
    pub(crate) fn seen(&mut self, count: usize, invoked: u64, completed: u64, source: usize) {
        if let Some(last) = count.checked_sub(1).and_then(|n| self.commits.get_mut(n)) {
            last.not_after = last.not_after.min((completed, source));
        }
        self.not_yet(count, invoked, source);
    }

    /// Somebody who began at this moment did not see the commit after the first `count`.
    pub(crate) fn not_yet(&mut self, count: usize, invoked: u64, source: usize) {
        if let Some(next) = self.commits.get_mut(count) {
            next.not_before = next.not_before.max((invoked, source));
        }
    }

    /// All pairs of bounds that contradict each other most, each once.
    pub(crate) fn contradictions(&self) -> Vec<Contradiction> {
        let mut not_before = Vec::with_capacity(self.commits.len());
        let mut highest = (0, 0);
        for commit in &self.commits {
            highest = highest.max(commit.not_before);
            not_before.push(highest);
        }
        let mut found = Vec::new();
        let mut lowest = (u64::MAX, 0);
        for (commit, highest) in self.commits.iter().zip(not_before).rev() {
            lowest = lowest.min(commit.not_after);
            if highest.0 > lowest.0 {
                found.push(Contradiction {
                    after: highest.1,
                    before: lowest.1,
                });
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_that_overlap_can_stand_in_either_order() {
        let mut timeline = Timeline::default();
        timeline.push(5, Some(9), 0);
        timeline.push(1, Some(6), 1);
        assert_eq!(timeline.contradictions(), []);
    }

    #[test]
    fn a_commit_that_ended_before_another_began_stands_before_it() {
        let mut timeline = Timeline::default();
        timeline.push(5, Some(9), 0);
        timeline.push(1, Some(4), 1);
        let expected = Contradiction {
            after: 0,
            before: 1,
        };
        assert_eq!(timeline.contradictions(), [expected]);
    }

    #[test]
    fn a_commit_that_was_never_answered_can_have_happened_later() {
        let mut timeline = Timeline::default();
        timeline.push(5, Some(9), 0);
        timeline.push(1, None, 1);
        assert_eq!(timeline.contradictions(), []);
    }

    #[test]
    fn who_misses_what_another_saw_before_is_contradicted() {
        let mut timeline = Timeline::default();
        timeline.push(1, None, 0);
        timeline.seen(1, 2, 3, 1);
        timeline.seen(0, 4, 5, 2);
        let expected = Contradiction {
            after: 2,
            before: 1,
        };
        assert_eq!(timeline.contradictions(), [expected]);
    }
}
