//! The heads of active streams, in bounded memory.
//!
//! Only the writer puts heads in, at every commit of a stream. So a head that is here is always the
//! newest that was flushed, and an append to an active stream asks no file. Heads of one group come
//! in one after the other, so this is for deciding appends and not for readers.

use std::fmt;
use std::sync::{PoisonError, RwLock};

use crate::events::record::KnownHead;
use crate::index::key::IndexKey;

const SHARDS: usize = 64;
/// Places in a shard. A stream has one place, by its key; another stream may take it.
const PLACES: usize = 1_024;

type Shard = Vec<Option<(IndexKey, KnownHead)>>;

/// The heads that were written last.
pub(crate) struct HeadCache {
    shards: Vec<RwLock<Shard>>,
}

impl HeadCache {
    pub(crate) fn new() -> Self {
        let shard = || RwLock::new(vec![None; PLACES]);
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
        }
    }

    fn locate(&self, key: IndexKey) -> Option<(&RwLock<Shard>, usize)> {
        let bits = key.0 as usize;
        let shard = self.shards.get(bits % SHARDS)?;
        Some((shard, bits / SHARDS % PLACES))
    }

    /// The head of a stream, if it is here.
    pub(crate) fn get(&self, key: IndexKey) -> Option<KnownHead> {
        let (shard, place) = self.locate(key)?;
        let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
        let (found, head) = (*shard.get(place)?)?;
        (found == key).then_some(head)
    }

    /// Puts a stream's new head in.
    pub(crate) fn put(&self, key: IndexKey, head: KnownHead) {
        if let Some((shard, place)) = self.locate(key) {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(kept) = shard.get_mut(place) {
                *kept = Some((key, head));
            }
        }
    }

    /// Forgets all heads: where they lead to is not there any more.
    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            shard
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .fill(None);
        }
    }
}

impl fmt::Debug for HeadCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeadCache({} places)", SHARDS * PLACES)
    }
}

#[cfg(test)]
mod tests {
    use cim_store::{EventCid, Position, Version};

    use super::*;
    use crate::journal::record::Place;

    fn head(version: u64) -> KnownHead {
        KnownHead {
            version: Version::new(version),
            position: Position::new(version),
            cid: EventCid::from_digest([0; 32]),
            place: Place::new(1, 128),
        }
    }

    #[test]
    fn a_stream_that_takes_the_place_of_another_does_not_answer_for_it() {
        let cache = HeadCache::new();
        let one = IndexKey(7);
        let other = IndexKey(7 + (SHARDS * PLACES) as u128);
        cache.put(one, head(1));
        assert_eq!(cache.get(one), Some(head(1)));
        assert_eq!(cache.get(other), None);
        cache.put(other, head(2));
        assert_eq!(cache.get(other), Some(head(2)));
        assert_eq!(cache.get(one), None);
        cache.clear();
        assert_eq!(cache.get(other), None);
    }
}
