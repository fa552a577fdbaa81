//! When values end by themselves, for buckets that are watched.
//!
//! Whoever reads compares times, so a value that is over is never seen. Only watchers have to be
//! told. So when a bucket is watched for the first time, the ends of its values are looked up; from
//! then on they are kept as values are written. The writer records a purge for what is over, before
//! any other change.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use cim_store::{Key, Timestamp};

use crate::journal::record::Place;

/// The ends of values, by bucket.
#[derive(Debug, Default)]
pub(crate) struct Expiries {
    buckets: Mutex<HashMap<u16, BTreeSet<(Timestamp, Key)>>>,
}

impl Expiries {
    /// Begins to keep a bucket's ends; true where they were not kept before.
    pub(crate) fn keep(&self, bucket: u16) -> bool {
        self.with(|buckets| {
            let fresh = !buckets.contains_key(&bucket);
            buckets.entry(bucket).or_default();
            fresh
        })
    }

    /// Ends keeping a bucket's ends: they could not all be looked up.
    pub(crate) fn forget(&self, bucket: u16) {
        self.with(|buckets| buckets.remove(&bucket));
    }

    /// Notes the end of a value, if its bucket's are kept.
    pub(crate) fn add(&self, bucket: u16, key: &Key, end: Timestamp) {
        self.with(|buckets| {
            if let Some(ends) = buckets.get_mut(&bucket) {
                ends.insert((end, key.clone()));
            }
        });
    }

    /// Forgets the end of a value that was replaced.
    pub(crate) fn remove(&self, bucket: u16, key: &Key, end: Timestamp) {
        self.with(|buckets| {
            if let Some(ends) = buckets.get_mut(&bucket) {
                ends.remove(&(end, key.clone()));
            }
        });
    }

    /// When the next value of a bucket ends.
    pub(crate) fn next(&self, bucket: u16) -> Option<Timestamp> {
        self.with(|buckets| Some(buckets.get(&bucket)?.first()?.0))
    }

    /// Takes the next key out whose value is over, with its end.
    pub(crate) fn take_due(&self, bucket: u16, now: Timestamp) -> Option<(Timestamp, Key)> {
        self.with(|buckets| {
            let ends = buckets.get_mut(&bucket)?;
            let due = ends.first().is_some_and(|(end, _)| *end <= now);
            due.then(|| ends.pop_first())?
        })
    }

    fn with<T>(
        &self,
        access: impl FnOnce(&mut HashMap<u16, BTreeSet<(Timestamp, Key)>>) -> T,
    ) -> T {
        access(&mut self.buckets.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How far each watcher got: what they have not seen is not given up.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    places: Mutex<(u64, HashMap<u64, Place>)>,
}

impl Watchers {
    /// Notes a watcher and returns its number.
    pub(crate) fn add(&self, place: Place) -> u64 {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.0 += 1;
        let number = places.0;
        places.1.insert(number, place);
        number
    }

    /// Notes how far a watcher got.
    pub(crate) fn set(&self, number: u64, place: Place) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.1.insert(number, place);
    }

    /// Forgets a watcher.
    pub(crate) fn remove(&self, number: u64) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.1.remove(&number);
    }

    /// The oldest segment that a watcher still reads.
    pub(crate) fn oldest_segment(&self) -> Option<u32> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.1.values().map(|place| place.segment()).min()
    }
}
