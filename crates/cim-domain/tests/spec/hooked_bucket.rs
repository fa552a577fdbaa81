//! A bucket before whose operations something happens, as a test says: they are counted, or wait,
//! or are refused.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cim_domain::store::{
    Bucket, BucketCapabilities, BucketError, BucketName, BucketSettings, Context, Entry,
    EntryStream, Key, KeyStream, Revision, SubjectPattern, WatchFrom, WriteOptions,
};

/// An operation on a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Get,
    Put,
    Create,
    Update,
    Delete,
    Purge,
    Keys,
    Entries,
    History,
    Watch,
}

/// What happens before an operation.
#[async_trait]
pub(crate) trait Hook: fmt::Debug + Send + Sync + 'static {
    /// Happens before an operation on a key, or on all that match a pattern.
    async fn before(&self, step: Step, bucket: &BucketName, key: &str);

    /// Why the operation is not done, if it is not.
    fn refusal(&self, _step: Step) -> Option<BucketError> {
        None
    }
}

#[derive(Debug)]
pub(crate) struct HookedBucket<H> {
    inner: Arc<dyn Bucket>,
    pub(crate) hook: H,
}

impl<H: Hook> HookedBucket<H> {
    pub(crate) fn over(inner: Arc<dyn Bucket>, hook: H) -> Arc<Self> {
        Arc::new(Self { inner, hook })
    }

    async fn before(&self, step: Step, key: &str) -> Result<(), BucketError> {
        self.hook.before(step, self.inner.name(), key).await;
        self.hook.refusal(step).map_or(Ok(()), Err)
    }
}

#[async_trait]
impl<H: Hook> Bucket for HookedBucket<H> {
    fn name(&self) -> &BucketName {
        self.inner.name()
    }

    fn settings(&self) -> BucketSettings {
        self.inner.settings()
    }

    async fn get(&self, ctx: &Context, key: &Key) -> Result<Option<Entry>, BucketError> {
        self.before(Step::Get, key.as_str()).await?;
        self.inner.get(ctx, key).await
    }

    async fn put(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        self.before(Step::Put, key.as_str()).await?;
        self.inner.put(ctx, key, value, options).await
    }

    async fn create(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        self.before(Step::Create, key.as_str()).await?;
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
        self.before(Step::Update, key.as_str()).await?;
        self.inner.update(ctx, key, value, expected, options).await
    }

    async fn delete(
        &self,
        ctx: &Context,
        key: &Key,
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError> {
        self.before(Step::Delete, key.as_str()).await?;
        self.inner.delete(ctx, key, expected).await
    }

    async fn purge(
        &self,
        ctx: &Context,
        key: &Key,
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError> {
        self.before(Step::Purge, key.as_str()).await?;
        self.inner.purge(ctx, key, expected).await
    }

    async fn keys(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
    ) -> Result<KeyStream, BucketError> {
        self.before(Step::Keys, pattern.as_str()).await?;
        self.inner.keys(ctx, pattern).await
    }

    async fn entries(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
    ) -> Result<EntryStream, BucketError> {
        self.before(Step::Entries, pattern.as_str()).await?;
        self.inner.entries(ctx, pattern).await
    }

    async fn history(&self, ctx: &Context, key: &Key) -> Result<Vec<Entry>, BucketError> {
        self.before(Step::History, key.as_str()).await?;
        self.inner.history(ctx, key).await
    }

    async fn watch(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
        from: WatchFrom,
    ) -> Result<EntryStream, BucketError> {
        self.before(Step::Watch, pattern.as_str()).await?;
        self.inner.watch(ctx, pattern, from).await
    }

    fn capabilities(&self) -> BucketCapabilities {
        self.inner.capabilities()
    }
}
