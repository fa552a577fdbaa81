//! The heads of active streams, in bounded memory.
//!
//! A head that is here was read or written by this process. It may be stale, because others write
//! too; a guard of the server tells. Streams never go back, so of two heads the later one counts.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cim_store::{Head, StreamId};

const SHARDS: usize = 16;

/// The heads that were used last.
pub(crate) struct HeadCache {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    /// How many heads one generation of a shard has.
    room: usize,
}

/// Two generations: what is used moves to the young one; when that is full it becomes the old one,
/// and what was still in the old one is forgotten.
#[derive(Default)]
struct Shard {
    young: HashMap<StreamId, Head>,
    old: HashMap<StreamId, Head>,
}

impl HeadCache {
    /// With room for so many heads.
    pub(crate) fn new(heads: usize) -> Self {
        Self {
            shards: std::iter::repeat_with(Mutex::default)
                .take(SHARDS)
                .collect(),
            hasher: RandomState::new(),
            room: heads / SHARDS / 2,
        }
    }

    fn shard(&self, stream: &StreamId) -> Option<MutexGuard<'_, Shard>> {
        let shard = self.hasher.hash_one(stream) as usize % SHARDS;
        let shard = self.shards.get(shard)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The head of a stream, if it is here.
    pub(crate) fn get(&self, stream: &StreamId) -> Option<Head> {
        let mut shard = self.shard(stream)?;
        if let Some(head) = shard.young.get(stream) {
            return Some(head.clone());
        }
        let head = shard.old.remove(stream)?;
        shard.insert(head.clone(), self.room);
        Some(head)
    }

    /// Puts a head in, unless a later one of its stream is here.
    pub(crate) fn put(&self, head: &Head) {
        let Some(mut shard) = self.shard(&head.stream) else {
            return;
        };
        let known = shard
            .young
            .get(&head.stream)
            .or_else(|| shard.old.get(&head.stream));
        if known.is_some_and(|known| known.version >= head.version) {
            return;
        }
        shard.old.remove(&head.stream);
        shard.insert(head.clone(), self.room);
    }
}

impl Shard {
    fn insert(&mut self, head: Head, room: usize) {
        if self.young.len() >= room && !self.young.contains_key(&head.stream) {
            self.old = std::mem::take(&mut self.young);
            if room == 0 {
                return;
            }
        }
        self.young.insert(head.stream.clone(), head);
    }
}

impl fmt::Debug for HeadCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeadCache({} heads)", self.room * 2 * SHARDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cim_store::{EventCid, Position, Version};

    fn head(stream: u64, version: u64) -> Head {
        Head {
            stream: StreamId::new("a", "b", &stream.to_string()).unwrap(),
            version: Version::new(version),
            position: Position::new(version),
            cid: EventCid::from_digest([0; 32]),
        }
    }

    #[test]
    fn the_later_head_counts() {
        let cache = HeadCache::new(1_000);
        cache.put(&head(1, 5));
        cache.put(&head(1, 4));
        assert_eq!(cache.get(&head(1, 0).stream), Some(head(1, 5)));
        cache.put(&head(1, 6));
        assert_eq!(cache.get(&head(1, 0).stream), Some(head(1, 6)));
        assert_eq!(cache.get(&head(2, 0).stream), None);
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let cache = HeadCache::new(320);
        for stream in 0..10_000 {
            cache.put(&head(stream, 1));
            assert!(cache.get(&head(7, 0).stream).is_some() || stream < 7);
        }
        let kept = (0..10_000).filter(|n| cache.get(&head(*n, 0).stream).is_some());
        assert!(kept.count() <= 320);
    }

    #[test]
    fn a_cache_without_room_remembers_nothing() {
        let cache = HeadCache::new(0);
        cache.put(&head(1, 1));
        assert_eq!(cache.get(&head(1, 0).stream), None);
    }
}
