//! The memory adapter: the whole contract, kept until the process ends.
//!
//! It is not a stand-in with shortcuts. Conflicts, atomic commits, repeated commit ids, snapshot
//! reads, live subscriptions, times to live and truncation behave as in every other adapter; only
//! what is stored does not outlive the store. Tests, demos and caches use it.
//!
//! The log and each bucket keep their data in one plain structure behind a lock that is never held
//! across an await. Readers, subscriptions and watches take a page at a time from it and remember
//! how far they got, so nobody needs a buffer that could overflow. No task runs in the background.

mod bucket;
mod bucket_state;
mod log;
mod log_state;
mod read;
mod subscription;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use self::bucket::MemoryBucket;
use self::log::MemoryLog;
use crate::{
    Bucket, BucketError, BucketName, BucketSettings, Clock, Context, EventLog, EventLogError,
    Finding, Health, IdGenerator, Severity, SharedSubscriptions, Store, SystemClock, SystemIds,
};

/// How many events, keys or changes a reader takes at once: enough that taking the lock costs
/// little, few enough that a reader holds little.
const PAGE: usize = 128;

/// How many entries one look under a lock passes at most when few of them match.
const SCAN: usize = 1_024;

/// A store in memory. Clones are the same store.
///
/// What it holds is gone when the last clone, port and stream of it is dropped, or with
/// [`close`](Store::close). Payloads and values are shared with the caller's [`Bytes`](bytes::Bytes),
/// not copied, so a small part of a large buffer keeps the whole buffer.
///
/// It works on any executor, except that a watch of a bucket whose values expire waits with
/// [`Clock::sleep`].
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use cim_store::{memory::MemoryStore, *};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// // Time and ids as the test decides.
/// let clock = ManualClock::at(Timestamp::EPOCH);
/// let store = MemoryStore::with(Arc::new(clock.clone()), Arc::new(SequentialIds::new(1)));
/// let ctx = Context::new();
///
/// let sessions = store.bucket(&ctx, &BucketName::new("sessions")?, BucketSettings::default()).await?;
/// let anna = Key::new("anna")?;
/// let minute = WriteOptions::ttl(Duration::from_secs(60));
/// sessions.put(&ctx, &anna, "token".into(), minute).await?;
///
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(sessions.get(&ctx, &anna).await?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    log: Arc<MemoryLog>,
    /// `None` once the store is closed.
    buckets: Mutex<Option<BTreeMap<BucketName, MemoryBucket>>>,
    clock: Arc<dyn Clock>,
}

impl MemoryStore {
    /// An empty store with the machine's clock and random ids.
    pub fn new() -> Self {
        Self::with(Arc::new(SystemClock), Arc::new(SystemIds))
    }

    /// An empty store that takes its time and its ids from these.
    pub fn with(clock: Arc<dyn Clock>, ids: Arc<dyn IdGenerator>) -> Self {
        Self {
            shared: Arc::new(Shared {
                log: Arc::new(MemoryLog::new(clock.clone(), ids)),
                buckets: Mutex::new(Some(BTreeMap::new())),
                clock,
            }),
        }
    }

    fn buckets(&self) -> MutexGuard<'_, Option<BTreeMap<BucketName, MemoryBucket>>> {
        self.shared
            .buckets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("log", &self.shared.log)
            .field("clock", &self.shared.clock)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn log(&self) -> Arc<dyn EventLog> {
        Arc::clone(&self.shared.log) as Arc<dyn EventLog>
    }

    fn shared_subscriptions(&self) -> Option<Arc<dyn SharedSubscriptions>> {
        None
    }

    async fn bucket(
        &self,
        ctx: &Context,
        name: &BucketName,
        settings: BucketSettings,
    ) -> Result<Arc<dyn Bucket>, BucketError> {
        if ctx.is_expired(&*self.shared.clock) {
            return Err(BucketError::deadline_passed("opening a bucket"));
        }
        settings.check()?;
        let mut buckets = self.buckets();
        let buckets = buckets.as_mut().ok_or_else(bucket_closed)?;
        let Some(bucket) = buckets.get(name) else {
            let bucket = MemoryBucket::new(name.clone(), settings, self.shared.clock.clone());
            buckets.insert(name.clone(), bucket.clone());
            return Ok(Arc::new(bucket));
        };
        bucket.settings().check_same(name, settings)?;
        Ok(Arc::new(bucket.clone()))
    }

    async fn buckets(
        &self,
        ctx: &Context,
    ) -> Result<Vec<(BucketName, BucketSettings)>, BucketError> {
        if ctx.is_expired(&*self.shared.clock) {
            return Err(BucketError::deadline_passed("listing the buckets"));
        }
        let buckets = self.buckets();
        let buckets = buckets.as_ref().ok_or_else(bucket_closed)?;
        Ok(buckets
            .iter()
            .map(|(name, bucket)| (name.clone(), bucket.settings()))
            .collect())
    }

    async fn health(&self, ctx: &Context) -> Result<Health, EventLogError> {
        let stats = self.shared.log.stats(ctx).await?;
        let buckets = self.buckets().as_ref().map_or(0, BTreeMap::len);
        Ok(Health::new()
            .with_fact("durability", self.shared.log.capabilities().durability)
            .with_fact("events", stats.events)
            .with_fact("streams", stats.streams)
            .with_fact("bytes", stats.bytes)
            .with_fact("buckets", buckets)
            .with_finding(Finding::new(
                Severity::Note,
                "everything is gone when the process ends",
                "keep what must stay in another store, such as `embedded:./data`",
            )))
    }

    async fn close(&self) -> Result<(), EventLogError> {
        // First no bucket can be opened any more, so that none is left open below.
        let buckets = self.buckets().take();
        self.shared.log.close();
        for bucket in buckets.into_iter().flat_map(BTreeMap::into_values) {
            bucket.close();
        }
        Ok(())
    }
}

fn bucket_closed() -> BucketError {
    BucketError::closed("the store is closed").with_hint("open it again")
}
