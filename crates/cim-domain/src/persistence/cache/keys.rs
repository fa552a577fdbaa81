//! Which kept states are the same: by log, type, way of reading and stream.

use std::any::TypeId;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::{Arc, Weak};

use cim_store::{EventLog, StreamId};

/// Whose states: a log's, of one Rust type, read in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::persistence) struct Space {
    pub(super) log: LogNumber,
    pub(super) state: TypeId,
    /// Whether every event of the state was verified. A repository that verifies every read does
    /// not use what another one read without.
    pub(super) is_verified: bool,
    /// What keeps the hashes of different spaces apart. Computed once, as it is the same for all
    /// streams.
    pub(super) seed: u64,
}

impl Space {
    /// The same for those who verify every read, or don't.
    pub(in crate::persistence) fn verified(self, is_verified: bool) -> Self {
        Self {
            is_verified,
            ..self
        }
    }
}

/// A log, as a cache tells it from others. Numbers don't come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LogNumber(u64);

/// The name of an entry.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// Of the other two, under the cache's own hasher.
    pub(super) hash: u64,
    pub(super) space: Space,
    pub(super) stream: StreamId,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.space == other.space && self.stream == other.stream
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Takes the hash that a [`Key`] has already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hashed(u64);

pub(super) type BuildHashed = BuildHasherDefault<Hashed>;

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    /// Not called for a [`Key`].
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}

/// The logs that a cache was used with.
#[derive(Debug, Default)]
pub(super) struct KnownLogs {
    /// A weak reference keeps the log's place in memory from being taken by another one, so an
    /// address stands for one log as long as it is here.
    logs: Vec<(Weak<dyn EventLog>, LogNumber)>,
    next: u64,
}

impl KnownLogs {
    /// The number of a log; and the numbers of those that are gone for good, each told once.
    pub(super) fn number_of(&mut self, log: &Arc<dyn EventLog>) -> (LogNumber, Vec<LogNumber>) {
        let mut gone = Vec::new();
        self.logs.retain(|(known, number)| {
            let is_there = known.strong_count() > 0;
            if !is_there {
                gone.push(*number);
            }
            is_there
        });
        let is_it =
            |known: &Weak<dyn EventLog>| std::ptr::addr_eq(known.as_ptr(), Arc::as_ptr(log));
        let number = match self.logs.iter().find(|(known, _)| is_it(known)) {
            Some((_, number)) => *number,
            None => {
                let number = LogNumber(self.next);
                self.next += 1;
                self.logs.push((Arc::downgrade(log), number));
                number
            }
        };
        (number, gone)
    }
}
