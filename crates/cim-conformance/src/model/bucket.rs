//! A bucket as a map of keys and lists of changes.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use cim_store::{BucketSettings, Key, Revision, Timestamp};

/// A bucket that is right because it is simple. Revisions are the store's: the model is told which
/// one a change got.
#[derive(Clone, Debug)]
pub struct BucketModel {
    settings: BucketSettings,
    keys: BTreeMap<Key, Vec<Change>>,
    last: Revision,
}

#[derive(Clone, Debug)]
struct Change {
    revision: Revision,
    /// `None`: deleted.
    value: Option<Bytes>,
    ends: Option<Timestamp>,
}

/// Why the model refuses a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BucketRefusal {
    /// The key's value is that of this revision; 0: it has none.
    Conflict {
        /// The revision.
        actual: Revision,
    },
}

impl BucketModel {
    /// An empty bucket.
    pub fn new(settings: BucketSettings) -> Self {
        Self {
            settings,
            keys: BTreeMap::new(),
            last: Revision::NONE,
        }
    }

    /// The key's value and its revision.
    pub fn get(&self, key: &Key, now: Timestamp) -> Option<(&Bytes, Revision)> {
        let change = self.keys.get(key)?.last()?;
        let over = change.ends.is_some_and(|ends| ends <= now);
        let value = change.value.as_ref().filter(|_| !over)?;
        Some((value, change.revision))
    }

    /// The revision of the key's value; 0 when it has none.
    pub fn revision(&self, key: &Key, now: Timestamp) -> Revision {
        self.get(key, now)
            .map_or(Revision::NONE, |(_, revision)| revision)
    }

    /// Whether a change that expects this revision (0: no value) is possible.
    ///
    /// # Errors
    /// When it is not.
    pub fn expect(
        &self,
        key: &Key,
        expected: Revision,
        now: Timestamp,
    ) -> Result<(), BucketRefusal> {
        let actual = self.revision(key, now);
        if actual == expected {
            Ok(())
        } else {
            Err(BucketRefusal::Conflict { actual })
        }
    }

    /// The last revision that a change got.
    pub fn last(&self) -> Revision {
        self.last
    }

    /// Gives the key a value.
    pub fn put(
        &mut self,
        key: &Key,
        value: Bytes,
        ttl: Option<Duration>,
        revision: Revision,
        now: Timestamp,
    ) {
        let ends = ttl.or(self.settings.ttl).map(|ttl| now.saturating_add(ttl));
        self.change(key, Some(value), ends, revision, now);
    }

    /// Takes the key's value away.
    pub fn delete(&mut self, key: &Key, revision: Revision, now: Timestamp) {
        self.change(key, None, None, revision, now);
    }

    /// Takes the key's value and history away.
    pub fn purge(&mut self, key: &Key, revision: Revision) {
        self.last = revision;
        self.keys.remove(key);
    }

    fn change(
        &mut self,
        key: &Key,
        value: Option<Bytes>,
        ends: Option<Timestamp>,
        revision: Revision,
        now: Timestamp,
    ) {
        self.last = revision;
        // The end of the last value's time took its history with it.
        let changes = self.keys.entry(key.clone()).or_default();
        if changes
            .last()
            .is_some_and(|last| last.ends.is_some_and(|ends| ends <= now))
        {
            changes.clear();
        }
        changes.push(Change {
            revision,
            value,
            ends,
        });
        let depth = usize::from(self.settings.history);
        let surplus = changes.len().saturating_sub(depth);
        changes.drain(..surplus);
    }

    /// The keys with a value.
    pub fn keys(&self, now: Timestamp) -> Vec<&Key> {
        self.keys
            .keys()
            .filter(|key| self.get(key, now).is_some())
            .collect()
    }

    /// The values that are kept of a key, and their revisions, oldest first.
    pub fn history(&self, key: &Key, now: Timestamp) -> Vec<(&Bytes, Revision)> {
        let Some(changes) = self.keys.get(key) else {
            return Vec::new();
        };
        let over = |change: &Change| change.ends.is_some_and(|ends| ends <= now);
        if changes.last().is_some_and(over) {
            return Vec::new();
        }
        changes
            .iter()
            .filter(|change| !over(change))
            .filter_map(|change| Some((change.value.as_ref()?, change.revision)))
            .collect()
    }
}
