//! The port for keys and values.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cim_store::{
    Bucket, BucketCapabilities, BucketError, BucketName, BucketSettings, Context, Durability,
    Entry, EntryStream, Key, KeyStream, Operation, Revision, SubjectPattern, WatchFrom,
    WriteOptions, staging,
};
use futures_util::{StreamExt, TryStreamExt};

use super::change::{Request, change};
use super::moment::LastMoment;
use super::{reader, watch};
use crate::api::{Failure, NO_STREAM};
use crate::error;
use crate::session::Session;

/// One bucket of a store on NATS. Clones are the same bucket.
#[derive(Clone, Debug)]
pub(super) struct NatsBucket {
    pub(super) shared: Arc<SharedBucket>,
}

/// What a bucket shares with its listings and watches.
#[derive(Debug)]
pub(super) struct SharedBucket {
    pub(super) session: Arc<Session>,
    pub(super) name: BucketName,
    pub(super) settings: BucketSettings,
    /// Its JetStream stream.
    pub(super) stream: String,
    /// What the subjects of its keys begin with.
    pub(super) prefix: String,
    pub(super) last_moment: LastMoment,
}

impl SharedBucket {
    /// The subject of a key, or the filter of a pattern of keys.
    pub(super) fn subject(&self, keys: &str) -> String {
        format!("{}{keys}", self.prefix)
    }

    /// Reports a failure of an operation.
    pub(super) fn report(&self, failure: Failure, operation: &str) -> BucketError {
        if failure.is(NO_STREAM) {
            return error::stream_gone(&self.stream);
        }
        let error: BucketError = self.session.report(failure, operation);
        error.with("bucket", &self.name)
    }
}

impl NatsBucket {
    async fn change(
        &self,
        ctx: &Context,
        key: &Key,
        operation: Operation,
        (value, options): (Bytes, WriteOptions),
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError> {
        let session = &self.shared.session;
        let budget = session.begin(ctx, "the change")?;
        staging::check_value(key, &value, &session.limits)?;
        options.check()?;
        let ttl = match operation {
            Operation::Put => options.ttl.or(self.shared.settings.ttl),
            Operation::Delete | Operation::Purge => None,
        };
        let request = Request {
            key,
            operation,
            value,
            ttl,
            expected,
        };
        change(&self.shared, request, &budget).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Bucket for NatsBucket {
    fn name(&self) -> &BucketName {
        &self.shared.name
    }

    fn settings(&self) -> BucketSettings {
        self.shared.settings
    }

    async fn get(&self, ctx: &Context, key: &Key) -> Result<Option<Entry>, BucketError> {
        let budget = self.shared.session.begin(ctx, "the lookup")?;
        self.shared.value(key, &budget).await
    }

    async fn put(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        self.change(ctx, key, Operation::Put, (value, options), None)
            .await
    }

    async fn create(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        let expected = Some(Revision::NONE);
        self.change(ctx, key, Operation::Put, (value, options), expected)
            .await
    }

    async fn update(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        expected: Revision,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        self.change(ctx, key, Operation::Put, (value, options), Some(expected))
            .await
    }

    async fn delete(
        &self,
        ctx: &Context,
        key: &Key,
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError> {
        self.change(ctx, key, Operation::Delete, Default::default(), expected)
            .await
    }

    async fn purge(
        &self,
        ctx: &Context,
        key: &Key,
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError> {
        self.change(ctx, key, Operation::Purge, Default::default(), expected)
            .await
    }

    async fn keys(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
    ) -> Result<KeyStream, BucketError> {
        let entries = reader::entries(self.shared.clone(), ctx.clone(), pattern).await?;
        Ok(entries.map_ok(|entry| entry.key).boxed())
    }

    async fn entries(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
    ) -> Result<EntryStream, BucketError> {
        reader::entries(self.shared.clone(), ctx.clone(), pattern).await
    }

    async fn history(&self, ctx: &Context, key: &Key) -> Result<Vec<Entry>, BucketError> {
        let budget = self.shared.session.begin(ctx, "the lookup")?;
        self.shared.history(key, &budget).await
    }

    async fn watch(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
        from: WatchFrom,
    ) -> Result<EntryStream, BucketError> {
        watch::begin(self.shared.clone(), ctx, pattern, from).await
    }

    fn capabilities(&self) -> BucketCapabilities {
        let session = &self.shared.session;
        let mut capabilities = BucketCapabilities::whole(Durability::Replicated {
            replicas: session.replicas,
            flush: session.flush,
        });
        capabilities.limits = session.limits;
        capabilities
    }
}
