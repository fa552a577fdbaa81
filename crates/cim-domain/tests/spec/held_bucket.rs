//! A bucket that keeps whoever writes to it waiting until it is let go.

use std::sync::Arc;

use async_trait::async_trait;
use cim_domain::store::{Bucket, BucketName};
use tokio::sync::Semaphore;

use crate::hooked_bucket::{Hook, HookedBucket, Step};

pub(crate) type HeldBucket = HookedBucket<Hold>;

#[derive(Debug)]
pub(crate) struct Hold {
    gate: Semaphore,
    /// Whether it keeps whoever reads waiting, too.
    holds_reads: bool,
}

impl HeldBucket {
    pub(crate) fn new(inner: Arc<dyn Bucket>) -> Arc<Self> {
        Self::holding(inner, false)
    }

    /// One that keeps readers waiting, too.
    pub(crate) fn reads_too(inner: Arc<dyn Bucket>) -> Arc<Self> {
        Self::holding(inner, true)
    }

    fn holding(inner: Arc<dyn Bucket>, holds_reads: bool) -> Arc<Self> {
        let gate = Semaphore::new(0);
        Self::over(inner, Hold { gate, holds_reads })
    }

    /// Lets everybody through from now on.
    pub(crate) fn let_go(&self) {
        self.hook.gate.add_permits(1_000);
    }
}

#[async_trait]
impl Hook for Hold {
    async fn before(&self, step: Step, _: &BucketName, _: &str) {
        let waits = match step {
            Step::Put | Step::Create | Step::Update | Step::Delete | Step::Purge => true,
            Step::Get => self.holds_reads,
            Step::Keys | Step::Entries | Step::History | Step::Watch => false,
        };
        if waits {
            let _ = self.gate.acquire().await.unwrap();
        }
    }
}
