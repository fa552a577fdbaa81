//! The log and the bucket of an index, counting what is asked of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use cim_domain::store::{Bucket, BucketError, BucketName, EventLog, Fault, Store};

use crate::hooked_bucket::{Hook, HookedBucket, Step};
use crate::watched_log::WatchedLog;

/// Every look for what is new begins with the last event that was taken in: the log may have been
/// restored.
pub(crate) const ANCHOR: u64 = 1;

/// What was asked.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) log: Arc<WatchedLog>,
    pub(crate) bucket: Arc<OfBucket>,
}

impl Counts {
    /// What was asked since the last time: reads of the log, events of these, positions, lookups.
    pub(crate) fn take(&self) -> [u64; 4] {
        let asked = self.log.asked();
        let lookups = self.bucket.lookups.swap(0, Ordering::SeqCst);
        [asked.log_reads, asked.events, asked.positions, lookups]
    }
}

/// What was asked of the bucket.
#[derive(Debug, Default)]
pub(crate) struct OfBucket {
    /// Values that were looked up.
    lookups: AtomicU64,
    /// Values that were written.
    writes: AtomicU64,
    /// Whether it refuses to be written to.
    pub(crate) refuses: AtomicBool,
}

#[async_trait]
impl Hook for Arc<OfBucket> {
    async fn before(&self, step: Step, _: &BucketName, _: &str) {
        if step == Step::Get {
            self.lookups.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn refusal(&self, step: Step) -> Option<BucketError> {
        if !matches!(step, Step::Put | Step::Create | Step::Update) {
            return None;
        }
        let writes = self.writes.fetch_add(1, Ordering::SeqCst);
        assert!(writes < 50_000, "there is no end to what is written");
        let why = "this bucket can't be written to";
        let refuses = self.refuses.load(Ordering::SeqCst);
        refuses.then(|| BucketError::new(Fault::Denied, why))
    }
}

/// The log and the bucket of an index, counting.
pub(crate) async fn counting(
    store: &Arc<dyn Store>,
) -> (Arc<dyn EventLog>, Arc<dyn Bucket>, Counts) {
    let log = WatchedLog::new(store.log());
    let of_bucket = Arc::<OfBucket>::default();
    let bucket = HookedBucket::over(super::bucket(store).await, Arc::clone(&of_bucket));
    let counts = Counts {
        log: Arc::clone(&log),
        bucket: of_bucket,
    };
    (log, bucket, counts)
}
