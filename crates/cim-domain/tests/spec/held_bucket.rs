//! A bucket that keeps whoever writes to it waiting until it is let go.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cim_domain::store::bucket::{EntryStream, KeyStream};
use cim_domain::store::{
    Bucket, BucketCapabilities, BucketError, BucketName, BucketSettings, Context, Entry, Key,
    Revision, SubjectPattern, WatchFrom, WriteOptions,
};
use tokio::sync::Semaphore;

#[derive(Debug)]
pub(crate) struct HeldBucket {
    inner: Arc<dyn Bucket>,
    gate: Semaphore,
    /// Whether it keeps whoever reads waiting, too.
    holds_reads: bool,
}

impl HeldBucket {
    pub(crate) fn new(inner: Arc<dyn Bucket>) -> Arc<Self> {
        let gate = Semaphore::new(0);
        Arc::new(Self {
            inner,
            gate,
            holds_reads: false,
        })
    }

    /// One that keeps readers waiting, too.
    pub(crate) fn reads_too(inner: Arc<dyn Bucket>) -> Arc<Self> {
        let gate = Semaphore::new(0);
        Arc::new(Self {
            inner,
            gate,
            holds_reads: true,
        })
    }

    /// Lets everybody through from now on.
    pub(crate) fn let_go(&self) {
        self.gate.add_permits(1_000);
    }

    async fn pass(&self) {
        let _ = self.gate.acquire().await.unwrap();
    }
}

#[async_trait]
impl Bucket for HeldBucket {
    fn name(&self) -> &BucketName {
        self.inner.name()
    }

    fn settings(&self) -> BucketSettings {
        self.inner.settings()
    }

    async fn get(&self, ctx: &Context, key: &Key) -> Result<Option<Entry>, BucketError> {
        if self.holds_reads {
            self.pass().await;
        }
        self.inner.get(ctx, key).await
    }

    async fn put(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        self.pass().await;
        self.inner.put(ctx, key, value, options).await
    }

    async fn create(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        self.pass().await;
        self.inner.create(ctx, key, value, options).await
    }

    async fn update(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        expected: Revision,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        self.pass().await;
        self.inner.update(ctx, key, value, expected, options).await
    }

    async fn delete(
        &self,
        ctx: &Context,
        key: &Key,
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError> {
        self.pass().await;
        self.inner.delete(ctx, key, expected).await
    }

    async fn purge(
        &self,
        ctx: &Context,
        key: &Key,
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError> {
        self.pass().await;
        self.inner.purge(ctx, key, expected).await
    }

    async fn keys(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
    ) -> Result<KeyStream, BucketError> {
        self.inner.keys(ctx, pattern).await
    }

    async fn entries(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
    ) -> Result<EntryStream, BucketError> {
        self.inner.entries(ctx, pattern).await
    }

    async fn history(&self, ctx: &Context, key: &Key) -> Result<Vec<Entry>, BucketError> {
        self.inner.history(ctx, key).await
    }

    async fn watch(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
        from: WatchFrom,
    ) -> Result<EntryStream, BucketError> {
        self.inner.watch(ctx, pattern, from).await
    }

    fn capabilities(&self) -> BucketCapabilities {
        self.inner.capabilities()
    }
}
