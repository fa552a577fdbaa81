//! The log and the bucket of an index, counting what is asked of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use cim_domain::store::{Bucket, BucketName, EventLog, Store};

use crate::hooked_bucket::{Hook, HookedBucket, Step};
use crate::watched_log::WatchedLog;

/// Every look for what is new begins with the last event that was taken in: the log may have been
/// restored.
pub(crate) const ANCHOR: u64 = 1;

/// What was asked.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) log: Arc<WatchedLog>,
    /// Values that were looked up in the bucket.
    lookups: Arc<Lookups>,
}

impl Counts {
    /// What was asked since the last time: reads of the log, events of these, positions, lookups.
    pub(crate) fn take(&self) -> [u64; 4] {
        let asked = self.log.asked();
        let lookups = self.lookups.0.swap(0, Ordering::SeqCst);
        [asked.log_reads, asked.events, asked.positions, lookups]
    }
}

#[derive(Debug, Default)]
struct Lookups(AtomicU64);

#[async_trait]
impl Hook for Arc<Lookups> {
    async fn before(&self, step: Step, _: &BucketName, _: &str) {
        if step == Step::Get {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// The log and the bucket of an index, counting.
pub(crate) async fn counting(
    store: &Arc<dyn Store>,
) -> (Arc<dyn EventLog>, Arc<dyn Bucket>, Counts) {
    let log = WatchedLog::new(store.log());
    let lookups = Arc::<Lookups>::default();
    let bucket = HookedBucket::over(super::bucket(store).await, Arc::clone(&lookups));
    let counts = Counts {
        log: Arc::clone(&log),
        lookups,
    };
    (log, bucket, counts)
}
