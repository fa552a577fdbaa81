//! What a bucket holds: its kept changes by revision, and each key's revisions. Plain data
//! without locks or awaits.
//!
//! What ends by itself stands in queues by time: values at the end of their time to live, and the
//! marks of purges some time after. Nothing runs in the background; whoever looks at the bucket
//! first [sweeps](BucketState::sweep) away what is due, so that what is over is never seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;
use cim_subject::SubjectPattern;

use super::{PAGE, SCAN};
use crate::{BucketError, Entry, Key, Operation, Revision, Timestamp};

/// How long the mark of a purge is kept at least, for watchers that come later. Without an end, a
/// bucket of short-lived keys would grow for ever.
const PURGE_MARK_LIFE: Duration = Duration::from_secs(3_600);

/// Everything a bucket holds.
#[derive(Debug)]
pub(super) struct BucketState {
    history: usize,
    last: Revision,
    changes: BTreeMap<Revision, Entry>,
    /// The kept changes of each key, oldest first; never empty.
    keys: BTreeMap<Key, VecDeque<Revision>>,
    /// When values and earlier values end by themselves.
    due: BTreeSet<(Timestamp, Revision)>,
    /// The marks of purges, oldest first, and when they may go. Some may be gone already, with
    /// their key's history.
    marks: VecDeque<(Timestamp, Revision)>,
    /// How far each watcher got. A mark stays until all of them have passed it.
    watchers: BTreeMap<u64, Revision>,
    next_watcher: u64,
}

/// What a change of a key requires of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// Nothing.
    Any,
    /// Its value is the one of this revision; 0: it has none.
    Revision(Revision),
}

impl BucketState {
    pub(super) fn new(history: u8) -> Self {
        Self {
            history: usize::from(history),
            last: Revision::NONE,
            changes: BTreeMap::new(),
            keys: BTreeMap::new(),
            due: BTreeSet::new(),
            marks: VecDeque::new(),
            watchers: BTreeMap::new(),
            next_watcher: 0,
        }
    }

    /// The revision of the last change.
    pub(super) fn last(&self) -> Revision {
        self.last
    }

    /// When the next value ends by itself.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Takes away what is over at `now`, with a purge for each value.
    pub(super) fn sweep(&mut self, now: Timestamp) {
        while let Some(revision) = self.pop_due(now) {
            let Some(entry) = self.changes.get(&revision) else {
                continue;
            };
            let key = entry.key.clone();
            if self
                .value(&key)
                .is_some_and(|value| value.revision == revision)
            {
                self.record(&key, Operation::Purge, Bytes::new(), None, now);
            } else {
                self.forget(&key, revision);
            }
        }
        while let Some(revision) = self.pop_mark(now) {
            if let Some(entry) = self.changes.get(&revision) {
                let key = entry.key.clone();
                self.forget(&key, revision);
            }
        }
    }

    fn pop_due(&mut self, now: Timestamp) -> Option<Revision> {
        let next = self.due.first().is_some_and(|(due, _)| *due <= now);
        let (_, revision) = next.then(|| self.due.pop_first())??;
        Some(revision)
    }

    fn pop_mark(&mut self, now: Timestamp) -> Option<Revision> {
        let (_, revision) = *self.marks.front().filter(|(due, _)| *due <= now)?;
        let seen = self.watchers.values().all(|after| *after >= revision);
        seen.then(|| self.marks.pop_front())?;
        Some(revision)
    }

    /// Notes a watcher that has seen everything up to `after`; returns its number.
    pub(super) fn add_watcher(&mut self, after: Revision) -> u64 {
        self.next_watcher += 1;
        self.watchers.insert(self.next_watcher, after);
        self.next_watcher
    }

    /// Notes how far a watcher got.
    pub(super) fn move_watcher(&mut self, number: u64, after: Revision) {
        self.watchers.insert(number, after);
    }

    /// Forgets a watcher.
    pub(super) fn remove_watcher(&mut self, number: u64) {
        self.watchers.remove(&number);
    }

    /// The key's value.
    pub(super) fn value(&self, key: &Key) -> Option<&Entry> {
        let revision = self.keys.get(key)?.back()?;
        let entry = self.changes.get(revision)?;
        (entry.operation == Operation::Put).then_some(entry)
    }

    /// Changes the key if it is as expected.
    pub(super) fn change(
        &mut self,
        key: &Key,
        expected: Expected,
        operation: Operation,
        value: Bytes,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Revision, BucketError> {
        if let Expected::Revision(expected) = expected {
            let actual = self
                .value(key)
                .map_or(Revision::NONE, |value| value.revision);
            if actual != expected {
                return Err(BucketError::revision_conflict(
                    key.clone(),
                    expected,
                    actual,
                ));
            }
        }
        Ok(self.record(key, operation, value, expires_at, now))
    }

    fn record(
        &mut self,
        key: &Key,
        operation: Operation,
        value: Bytes,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Revision {
        let kept_before = match operation {
            Operation::Put | Operation::Delete => self.history.saturating_sub(1),
            Operation::Purge => 0,
        };
        while let Some(oldest) = self.oldest_beyond(key, kept_before) {
            self.forget(key, oldest);
        }
        self.last = self.last.next();
        let entry = Entry {
            key: key.clone(),
            value,
            revision: self.last,
            operation,
            stored_at: now,
            expires_at,
        };
        self.due.extend(due(&entry).map(|due| (due, self.last)));
        if operation == Operation::Purge {
            let due = now.saturating_add(PURGE_MARK_LIFE);
            self.marks.push_back((due, self.last));
        }
        self.changes.insert(self.last, entry);
        self.keys
            .entry(key.clone())
            .or_default()
            .push_back(self.last);
        self.last
    }

    /// The key's oldest change, if more than `kept` are kept.
    fn oldest_beyond(&self, key: &Key, kept: usize) -> Option<Revision> {
        let revisions = self.keys.get(key)?;
        (revisions.len() > kept).then(|| revisions.front().copied())?
    }

    fn forget(&mut self, key: &Key, revision: Revision) {
        if let Some(due) = self.changes.remove(&revision).as_ref().and_then(due) {
            self.due.remove(&(due, revision));
        }
        if let Some(revisions) = self.keys.get_mut(key) {
            revisions.retain(|kept| *kept != revision);
            if revisions.is_empty() {
                self.keys.remove(key);
            }
        }
    }

    /// What is kept of the key's changes, oldest first.
    pub(super) fn history(&self, key: &Key) -> Vec<Entry> {
        let revisions = self.keys.get(key).into_iter().flatten();
        let entries = revisions.filter_map(|revision| self.changes.get(revision));
        entries.cloned().collect()
    }

    /// The next values of keys that match, in the order of keys, and where to go on; nowhere when
    /// there are no more.
    pub(super) fn values_page(
        &self,
        pattern: &SubjectPattern,
        from: Bound<&Key>,
    ) -> (Vec<Entry>, Option<Key>) {
        let prefix = pattern.literal_prefix();
        let mut values = Vec::new();
        let keys = self.keys.range::<Key, _>((from, Bound::Unbounded));
        for (passed, (key, _)) in keys.enumerate() {
            if !key.as_str().starts_with(prefix) {
                break; // keys are sorted, so none that follows begins with it either
            }
            if pattern.matches_str(key.as_str()) {
                values.extend(self.value(key).cloned());
            }
            if values.len() == PAGE || passed + 1 == SCAN {
                return (values, Some(key.clone()));
            }
        }
        (values, None)
    }

    /// The next kept changes after `after` of keys that match, and the revision up to which all
    /// were looked at.
    ///
    /// Of changes up to `values_until` only those are meant that gave a key the value which it
    /// had at that revision.
    pub(super) fn changes_page(
        &self,
        pattern: &SubjectPattern,
        after: Revision,
        values_until: Revision,
    ) -> (Vec<Entry>, Revision) {
        let mut changes = Vec::new();
        let rest = (Bound::Excluded(after), Bound::Unbounded);
        for (passed, (revision, entry)) in self.changes.range(rest).enumerate() {
            let meant = *revision > values_until || self.was_value(entry, values_until);
            if meant && pattern.matches_str(entry.key.as_str()) {
                changes.push(entry.clone());
            }
            if changes.len() == PAGE || passed + 1 == SCAN {
                return (changes, *revision);
            }
        }
        (changes, self.last.max(after))
    }

    /// Whether this change gave its key the value that it had at revision `at`.
    fn was_value(&self, entry: &Entry, at: Revision) -> bool {
        let revisions = self.keys.get(&entry.key).into_iter().flatten();
        let last = revisions.take_while(|revision| **revision <= at).last();
        entry.operation == Operation::Put && last == Some(&entry.revision)
    }
}

/// When a kept change ends by itself. The mark of a purge stands in a queue of its own, because
/// no watcher needs to wake when it goes.
fn due(entry: &Entry) -> Option<Timestamp> {
    match entry.operation {
        Operation::Put => entry.expires_at,
        Operation::Delete | Operation::Purge => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What happens to a bucket.
    #[derive(Clone, Debug)]
    enum Step {
        Put {
            key: u8,
            ttl: Option<u8>,
        },
        Delete {
            key: u8,
        },
        Purge {
            key: u8,
        },
        Pass {
            seconds: u16,
        },
        /// The watcher takes a page.
        Watch,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let key = 0..6_u8;
        let ttl = proptest::option::of(1..20_u8);
        let step = prop_oneof![
            4 => (key.clone(), ttl).prop_map(|(key, ttl)| Step::Put { key, ttl }),
            1 => key.clone().prop_map(|key| Step::Delete { key }),
            1 => key.prop_map(|key| Step::Purge { key }),
            3 => (1..15_u16).prop_map(|seconds| Step::Pass { seconds }),
            1 => Just(Step::Pass { seconds: 3_600 }),
            3 => Just(Step::Watch),
        ];
        proptest::collection::vec(step, 1..80)
    }

    /// A copy of the bucket that is kept up to date by watching, whatever it misses between.
    struct Copy {
        number: u64,
        after: Revision,
        values_until: Revision,
        values: BTreeMap<Key, Entry>,
    }

    impl Copy {
        fn begin(state: &mut BucketState) -> Self {
            Self {
                number: state.add_watcher(Revision::NONE),
                after: Revision::NONE,
                values_until: state.last(),
                values: BTreeMap::new(),
            }
        }

        fn follow(&mut self, state: &mut BucketState) {
            let all = SubjectPattern::all();
            let (changes, after) = state.changes_page(&all, self.after, self.values_until);
            for change in changes {
                assert!(change.revision > self.after, "in order and never twice");
                self.after = change.revision;
                match change.operation {
                    Operation::Put => self.values.insert(change.key.clone(), change),
                    Operation::Delete | Operation::Purge => self.values.remove(&change.key),
                };
            }
            self.after = after;
            state.move_watcher(self.number, after);
        }
    }

    fn check_bookkeeping(state: &BucketState, now: Timestamp) {
        let mut listed: Vec<Revision> = Vec::new();
        for (key, revisions) in &state.keys {
            assert!((1..=state.history).contains(&revisions.len()));
            assert!(revisions.iter().is_sorted());
            assert!(
                revisions
                    .iter()
                    .all(|revision| state.changes[revision].key == *key)
            );
            listed.extend(revisions);
        }
        listed.sort();
        assert!(listed.iter().eq(state.changes.keys()));
        let expected: BTreeSet<_> = state
            .changes
            .values()
            .filter_map(|entry| Some((due(entry)?, entry.revision)))
            .collect();
        assert_eq!(state.due, expected);
        assert!(state.due.iter().all(|(due, _)| *due > now));
    }

    proptest! {
        #[test]
        fn a_copy_that_follows_the_changes_has_the_values(
            history in 1..4_u8,
            before in steps(),
            after in steps(),
        ) {
            let mut state = BucketState::new(history);
            let mut now = Timestamp::EPOCH;
            let mut copy = Copy::begin(&mut state);
            for (index, step) in before.iter().chain(&after).enumerate() {
                if index == before.len() {
                    state.remove_watcher(copy.number);
                    copy = Copy::begin(&mut state);
                }
                state.sweep(now);
                let mut change = |key: &u8, operation, expires_at| {
                    let key = Key::new(format!("k{key}")).unwrap();
                    state
                        .change(&key, Expected::Any, operation, Bytes::new(), expires_at, now)
                        .unwrap();
                };
                match step {
                    Step::Put { key, ttl } => {
                        let ttl = ttl.map(|ttl| Duration::from_secs(ttl.into()));
                        change(key, Operation::Put, ttl.map(|ttl| now.saturating_add(ttl)));
                    }
                    Step::Delete { key } => change(key, Operation::Delete, None),
                    Step::Purge { key } => change(key, Operation::Purge, None),
                    Step::Pass { seconds } => {
                        now = now.saturating_add(Duration::from_secs((*seconds).into()));
                        state.sweep(now);
                    }
                    Step::Watch => copy.follow(&mut state),
                }
                check_bookkeeping(&state, now);
            }
            copy.follow(&mut state);
            let (values, _) = state.values_page(&SubjectPattern::all(), Bound::Unbounded);
            prop_assert!(values.iter().eq(copy.values.values()));

            state.sweep(now.saturating_add(PURGE_MARK_LIFE));
            let purges = |entry: &Entry| entry.operation == Operation::Purge;
            let fresh = state.marks.len();
            prop_assert_eq!(state.changes.values().filter(|entry| purges(entry)).count(), fresh);
        }
    }
}
