//! A store with faults.

use std::sync::Arc;

use async_trait::async_trait;
use cim_store::{
    Bucket, BucketError, BucketName, BucketSettings, Context, EventLog, EventLogError, Health,
    SharedSubscriptions, Store,
};

use super::FaultLayer;

#[derive(Debug)]
pub(super) struct FaultyStore {
    pub(super) inner: Arc<dyn Store>,
    pub(super) layer: FaultLayer,
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for FaultyStore {
    fn log(&self) -> Arc<dyn EventLog> {
        self.layer.log(self.inner.log())
    }

    fn shared_subscriptions(&self) -> Option<Arc<dyn SharedSubscriptions>> {
        // They are the inner store's own: what can be lost here is what comes again anyway.
        self.inner.shared_subscriptions()
    }

    async fn bucket(
        &self,
        ctx: &Context,
        name: &BucketName,
        settings: BucketSettings,
    ) -> Result<Arc<dyn Bucket>, BucketError> {
        // To open a bucket twice is to open it, so losing the answer is no unknown outcome.
        let opened = self.layer.asking(self.inner.bucket(ctx, name, settings));
        Ok(self.layer.bucket(opened.await?))
    }

    async fn buckets(
        &self,
        ctx: &Context,
    ) -> Result<Vec<(BucketName, BucketSettings)>, BucketError> {
        self.layer.asking(self.inner.buckets(ctx)).await
    }

    async fn health(&self, ctx: &Context) -> Result<Health, EventLogError> {
        // Whoever asks how the store is wants to hear it in spite of the faults.
        self.inner.health(ctx).await
    }

    async fn close(&self) -> Result<(), EventLogError> {
        // Never fails on purpose: a store that a test could not close would hold its place.
        self.inner.close().await
    }
}
