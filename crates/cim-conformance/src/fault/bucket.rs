//! A bucket with faults.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cim_store::bucket::KeyStream;
use cim_store::{
    Bucket, BucketCapabilities, BucketError, BucketName, BucketSettings, Context, Entry,
    EntryStream, Key, Revision, SubjectPattern, WatchFrom, WriteOptions,
};

use super::FaultLayer;

#[derive(Debug)]
pub(super) struct FaultyBucket {
    pub(super) inner: Arc<dyn Bucket>,
    pub(super) layer: FaultLayer,
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Bucket for FaultyBucket {
    fn name(&self) -> &BucketName {
        self.inner.name()
    }

    fn settings(&self) -> BucketSettings {
        self.inner.settings()
    }

    async fn get(&self, ctx: &Context, key: &Key) -> Result<Option<Entry>, BucketError> {
        self.layer.asking(self.inner.get(ctx, key)).await
    }

    async fn put(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        let call = self.inner.put(ctx, key, value, options);
        self.layer.changing(call, BucketError::unknown).await
    }

    async fn create(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        let call = self.inner.create(ctx, key, value, options);
        self.layer.changing(call, BucketError::unknown).await
    }

    async fn update(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        expected: Revision,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        let call = self.inner.update(ctx, key, value, expected, options);
        self.layer.changing(call, BucketError::unknown).await
    }

    async fn delete(
        &self,
        ctx: &Context,
        key: &Key,
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError> {
        let call = self.inner.delete(ctx, key, expected);
        self.layer.changing(call, BucketError::unknown).await
    }

    async fn purge(
        &self,
        ctx: &Context,
        key: &Key,
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError> {
        let call = self.inner.purge(ctx, key, expected);
        self.layer.changing(call, BucketError::unknown).await
    }

    async fn keys(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
    ) -> Result<KeyStream, BucketError> {
        self.layer.asking(self.inner.keys(ctx, pattern)).await
    }

    async fn entries(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
    ) -> Result<EntryStream, BucketError> {
        self.layer.asking(self.inner.entries(ctx, pattern)).await
    }

    async fn history(&self, ctx: &Context, key: &Key) -> Result<Vec<Entry>, BucketError> {
        self.layer.asking(self.inner.history(ctx, key)).await
    }

    async fn watch(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
        from: WatchFrom,
    ) -> Result<EntryStream, BucketError> {
        let call = self.inner.watch(ctx, pattern, from);
        self.layer.asking(call).await
    }

    fn capabilities(&self) -> BucketCapabilities {
        self.inner.capabilities()
    }
}
