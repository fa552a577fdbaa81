//! The optimistic cache of aggregates: the last state and head of those that were touched lately.
//!
//! A repository with a cache decides on the kept state and appends against the kept head, so a
//! command on a kept aggregate costs one append and no read. The log remains the judge: an append
//! expects exactly the version that was decided upon, so nothing can be written from a state that
//! is not the newest. What comes of such a state otherwise, a refusal or a decision for nothing, is
//! not believed before the log was asked.
//!
//! | file | what is in it |
//! |---|---|
//! | `mod.rs` | what applications see: [`AggregateCache`], its settings and figures |
//! | `keys.rs` | which kept states are the same: by log, type, way of reading and stream |
//! | `shard.rs` | one part of the cache: entries, who waits for them, and which one goes first |
//! | `turn.rs` | the right to work on one aggregate alone, and what is kept of it meanwhile |

mod keys;
mod shard;
#[cfg(test)]
mod tests;
mod turn;

use std::any::TypeId;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cim_store::{Clock, Context, EventLog, EventLogError, StreamId};
use futures_util::future::{Either, select};

use keys::{Key, KnownLogs};
use shard::{Arrival, Kept, Shard};
use turn::{Baton, Waiting};

pub(super) use keys::Space;
pub(super) use turn::{Moment, Turn};

/// Entries that a part of a cache has at least, where there are several.
const ENTRIES_OF_SHARD: usize = 128;
/// Parts of a cache at most. Calls on different parts never wait for each other's short locks.
const SHARDS: usize = 64;
/// No cache is larger, so that sums of sizes fit, whatever states claim to take.
const MOST_BYTES: u64 = 1 << 60;
/// What an entry takes beside its state, in bytes: its place in the cache, its head and its name.
const ENTRY_BYTES: u64 = 512;

/// Keeps the last state and head of the aggregates that were touched lately, for all repositories
/// of a program.
///
/// Clones are the same cache. One serves repositories of all types and over several stores; states
/// of different stores or types never mix.
///
/// ```
/// # use cim_domain::{Aggregate, DomainEvent};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, Serialize, Deserialize, DomainEvent)]
/// # struct Increased { by: u64 }
/// # #[derive(Clone, Default)] struct Counter(u64);
/// # impl Aggregate for Counter {
/// #     const CONTEXT: &'static str = "docs";
/// #     const TYPE: &'static str = "counter";
/// #     type Id = String;
/// #     type Event = Increased;
/// #     type Command = u64;
/// #     type Error = std::convert::Infallible;
/// #     fn apply(&mut self, event: &Increased) { self.0 += event.by; }
/// #     fn handle(&self, by: u64) -> Result<Vec<Increased>, Self::Error> { Ok(vec![Increased { by }]) }
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_domain::persistence::{AggregateCache, CacheSettings};
/// use cim_domain::{Repository, open, store::Context};
///
/// let cache = AggregateCache::new(CacheSettings { max_entries: 10_000, max_bytes: 64 << 20 });
/// let store = open("memory:").await?;
/// let counters = Repository::<Counter>::new(store.log()).with_cache(&cache);
///
/// let (ctx, id) = (Context::new(), "visits".to_owned());
/// counters.execute(&ctx, &id, 2).await?; // reads that there are no events, and appends
/// counters.execute(&ctx, &id, 3).await?; // only appends
/// let stats = cache.stats();
/// assert_eq!((stats.hits, stats.misses, stats.entries), (1, 1, 1));
///
/// cache.clear(); // memory is short: the next call reads again
/// assert_eq!(counters.cache().map(|cache| cache.stats().entries), Some(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it promises
/// - **Nothing is written from an old state.** An append expects exactly the version that was
///   decided upon. Where the log is further, the newer events are read and the aggregate decides
///   again.
/// - **Nothing is refused from an old state**, and no command is found to change nothing: before
///   that is believed, the log is asked for newer events.
/// - **A load never returns an old state.** It reads the events that are newer.
/// - **A kept state is one that a replay gives**, of what was stored. Where a call panics, or is
///   dropped while it takes in events, the entry goes.
/// - **One at a time.** Of the calls of this program that execute a command on the same aggregate,
///   or load it, one at a time works and the others wait in the order in which they came, until
///   their deadlines. So a busy aggregate does not conflict with itself. Calls on different
///   aggregates don't wait for each other.
/// - **Bounded.** Beyond its settings it gives up entries that were not used lately, never one that
///   is in use.
///
/// # What it does not see
/// Who may read an aggregate is decided by the log, when it is asked. A command on a kept aggregate
/// asks it only to append; so the state that `execute` returns goes to whoever may append.
///
/// A log that was put back from a backup while this program ran, and that stands at exactly the
/// version that is kept with other events before it, is noticed by the next load, and not by a
/// command before that. [`clear`](Self::clear) the cache after putting a log back, or restart.
#[derive(Clone)]
pub struct AggregateCache {
    shared: Arc<Shared>,
}

/// How much an [`AggregateCache`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Aggregates at most; 0: none are kept, and calls on one aggregate still take turns.
    pub max_entries: usize,
    /// Bytes that they take together at most, as [`Aggregate::cached_bytes`](crate::Aggregate::cached_bytes)
    /// estimates them, and what the cache itself needs for each.
    pub max_bytes: u64,
}

impl Default for CacheSettings {
    /// 10 000 aggregates and 64 MiB.
    fn default() -> Self {
        Self {
            max_entries: 10_000,
            max_bytes: 64 << 20,
        }
    }
}

/// What an [`AggregateCache`] holds, and how it did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Calls that found their aggregate.
    pub hits: u64,
    /// Calls that did not.
    pub misses: u64,
    /// How often what was found was behind the log, because somebody else had appended: each cost
    /// a read of the newer events, and where it was an append that noticed, also another decision.
    pub conflicts: u64,
    /// Aggregates that were given up for others.
    pub evictions: u64,
    /// Aggregates that are kept now.
    pub entries: u64,
    /// What they are estimated to take, in bytes.
    pub bytes: u64,
}

impl CacheStats {
    /// The share of calls that found their aggregate, from 0 to 1; 0 where there were no calls.
    pub fn hit_rate(&self) -> f64 {
        let calls = self.hits + self.misses;
        if calls == 0 {
            return 0.0;
        }
        self.hits as f64 / calls as f64
    }
}

impl AggregateCache {
    /// An empty cache.
    pub fn new(mut settings: CacheSettings) -> Self {
        settings.max_bytes = settings.max_bytes.min(MOST_BYTES);
        let shards = (settings.max_entries / ENTRIES_OF_SHARD)
            .clamp(1, SHARDS)
            .next_power_of_two();
        Self {
            shared: Arc::new(Shared {
                settings,
                hasher: RandomState::new(),
                shards: std::iter::repeat_with(ShardCell::default)
                    .take(shards)
                    .collect(),
                entries: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
                logs: Mutex::default(),
            }),
        }
    }

    /// How much it keeps.
    pub fn settings(&self) -> CacheSettings {
        self.shared.settings
    }

    /// What it holds, and how it did since it was made.
    pub fn stats(&self) -> CacheStats {
        let mut stats = CacheStats {
            entries: self.shared.entries.load(Ordering::Relaxed),
            bytes: self.shared.bytes.load(Ordering::Relaxed),
            ..CacheStats::default()
        };
        for number in 0..self.shared.shards.len() {
            let shard = self.shared.shard(number);
            stats.hits += shard.tally.hits;
            stats.misses += shard.tally.misses;
            stats.conflicts += shard.tally.conflicts;
            stats.evictions += shard.evictions;
        }
        stats
    }

    /// Gives up everything that is not in use just now.
    pub fn clear(&self) {
        self.shared.give_up(|_| true);
    }

    /// Where states of type `T` stand that were read from this log.
    pub(super) fn space<T: 'static>(&self, log: &Arc<dyn EventLog>) -> Space {
        let (log, gone) = self.lock_logs().number_of(log);
        if !gone.is_empty() {
            // A store that was closed and dropped does not come back.
            self.shared.give_up(|key| gone.contains(&key.space.log));
        }
        let state = TypeId::of::<T>();
        Space {
            log,
            state,
            is_verified: false,
            seed: self.shared.hasher.hash_one((log, state)),
        }
    }

    /// Waits for the turn to work on an aggregate, in the order in which calls came.
    ///
    /// # Errors
    /// `Unavailable` where the deadline comes first.
    pub(super) async fn turn<T: Send + Sync + 'static>(
        &self,
        space: Space,
        stream: &StreamId,
        ctx: &Context,
        clock: &dyn Clock,
    ) -> Result<Turn<T>, EventLogError> {
        let hash = space.seed ^ self.shared.hasher.hash_one(stream.as_str());
        let key = Key {
            hash,
            space,
            stream: stream.clone(),
        };
        loop {
            let waiting = match Shared::arrive(&self.shared, &key) {
                Ok(turn) => return Ok(turn),
                Err(waiting) => waiting.turn(),
            };
            let turn = match ctx.remaining(clock) {
                None => waiting.await,
                Some(left) => match select(std::pin::pin!(waiting), clock.sleep(left)).await {
                    Either::Left((turn, _)) => turn,
                    Either::Right(_) => return Err(late(stream)),
                },
            };
            if let Some(turn) = turn {
                return Ok(turn);
            }
        }
    }

    fn lock_logs(&self) -> MutexGuard<'_, KnownLogs> {
        self.shared
            .logs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn late(stream: &StreamId) -> EventLogError {
    EventLogError::deadline_passed("the call on the same aggregate before this one")
        .with("stream", stream)
        .with_hint("calls on one aggregate take turns: allow more time, or send it fewer")
}

impl Default for AggregateCache {
    fn default() -> Self {
        Self::new(CacheSettings::default())
    }
}

impl fmt::Debug for AggregateCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AggregateCache")
            .field("settings", &self.shared.settings)
            .field("stats", &self.stats())
            .finish()
    }
}

/// What the clones of a cache share. No lock is held while anything of an application runs: `apply`,
/// `handle`, `clone`, `drop`, or I/O.
struct Shared {
    settings: CacheSettings,
    /// Keyed at random, because ids may come from those who would like them to collide.
    hasher: RandomState,
    shards: Box<[ShardCell]>,
    /// Entries of all shards, those in use included.
    entries: AtomicU64,
    /// Their weights.
    bytes: AtomicU64,
    logs: Mutex<KnownLogs>,
}

#[derive(Default)]
struct ShardCell {
    shard: Mutex<Shard>,
    /// Counts arrivals, reads and appends, so that it can be said which came first.
    moments: AtomicU64,
}

impl Shared {
    fn shard(&self, number: usize) -> MutexGuard<'_, Shard> {
        self.shards[number]
            .shard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn shard_of(&self, hash: u64) -> usize {
        // Other bits than those by which the shard's own map places keys.
        (hash >> 40) as usize & (self.shards.len() - 1)
    }

    /// The next moment of a shard. They are all different, and later ones are larger.
    fn moment(&self, shard: usize) -> Moment {
        Moment(self.shards[shard].moments.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// A turn where the aggregate is free, otherwise a place among those who wait.
    fn arrive<T: Send + Sync + 'static>(
        shared: &Arc<Self>,
        key: &Key,
    ) -> Result<Turn<T>, Waiting<T>> {
        let number = shared.shard_of(key.hash);
        let mut shard = shared.shard(number);
        let arrived = shared.moment(number);
        let arrival = shard.arrive(key, arrived);
        drop(shard);
        match arrival {
            Arrival::Free { node, kept } => {
                let baton = Baton::new(Arc::clone(shared), number, node, kept);
                Ok(Turn::new(baton, arrived))
            }
            Arrival::Taken { node, baton } => Err(Waiting::new(
                Arc::clone(shared),
                (number, node),
                arrived,
                baton,
            )),
        }
    }

    fn is_over_its_bounds(&self) -> bool {
        self.entries.load(Ordering::Relaxed) > self.settings.max_entries as u64
            || self.bytes.load(Ordering::Relaxed) > self.settings.max_bytes
    }

    /// Gives up entries until the bounds are kept, those of this shard first, and returns them.
    fn make_room(&self, first: usize) -> Vec<Kept> {
        let (mut gone, count) = (Vec::new(), self.shards.len());
        for number in (0..count).map(|next| (first + next) % count) {
            while self.is_over_its_bounds() {
                let evicted = self.shard(number).evict();
                let Some(evicted) = evicted else { break };
                self.entries.fetch_sub(1, Ordering::Relaxed);
                self.bytes.fetch_sub(evicted.weight, Ordering::Relaxed);
                gone.push(evicted);
            }
        }
        gone
    }

    /// Gives up the entries that are meant and not in use.
    fn give_up(&self, is_meant: impl Fn(&Key) -> bool) {
        for number in 0..self.shards.len() {
            let gone = self.shard(number).remove_where(&is_meant);
            for kept in gone {
                self.entries.fetch_sub(1, Ordering::Relaxed);
                self.bytes.fetch_sub(kept.weight, Ordering::Relaxed);
            }
        }
    }
}
