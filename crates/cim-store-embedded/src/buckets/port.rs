//! The port for keys and values.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cim_store::{
    Bucket, BucketCapabilities, BucketError, BucketName, BucketSettings, Context, Durability,
    Entry, EntryStream, Key, KeyStream, Operation, Revision, SubjectPattern, WatchFrom,
    WriteOptions, staging,
};
use futures_util::future::{Either, select};
use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::{mpsc, oneshot};

use crate::buckets::watch::Watch;
use crate::buckets::writer::{ChangeRequest, Request, Shared};
use crate::error::EngineError;
use crate::events::log::{EndsWithError, Unanswered, answered};
use crate::events::log_read::Yielding;
use crate::writer_thread::Asked;

/// What this adapter can do.
const CAPABILITIES: BucketCapabilities = BucketCapabilities::whole(Durability::Disk);

/// One bucket of an embedded store.
#[derive(Clone, Debug)]
pub(crate) struct EmbeddedBucket {
    pub(crate) shared: Arc<Shared>,
    pub(crate) requests: mpsc::Sender<Asked<Request>>,
    pub(crate) number: u16,
    pub(crate) name: BucketName,
    pub(crate) settings: BucketSettings,
}

impl EmbeddedBucket {
    fn check(&self, ctx: &Context, operation: &str) -> Result<(), BucketError> {
        if self.requests.is_closed() {
            return Err(self.closed());
        }
        if ctx.is_expired(&*self.shared.clock) {
            return Err(BucketError::deadline_passed(operation));
        }
        Ok(())
    }

    fn closed(&self) -> BucketError {
        self.shared
            .reader
            .journal
            .closed()
            .unwrap_or_else(EngineError::closed)
            .into()
    }

    async fn change(
        &self,
        ctx: &Context,
        key: &Key,
        operation: Operation,
        (value, options): (Bytes, WriteOptions),
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError> {
        self.check(ctx, "the change")?;
        staging::check_value(key, &value, &CAPABILITIES.limits)?;
        options.check()?;
        let ttl = match operation {
            Operation::Put => options.ttl.or(self.settings.ttl),
            Operation::Delete | Operation::Purge => None,
        };
        let (answer, waiting) = oneshot::channel();
        let request = Request::Change(Box::new(ChangeRequest {
            ctx: ctx.clone(),
            bucket: self.number,
            key: key.clone(),
            operation,
            value,
            ttl,
            expected,
            answer,
        }));
        let clock = &*self.shared.clock;
        let sending = self.requests.send(Asked::Request(request));
        let sent = match ctx.remaining(clock) {
            None => sending.await.is_ok(),
            Some(left) => match select(std::pin::pin!(sending), clock.sleep(left)).await {
                Either::Left((sent, _)) => sent.is_ok(),
                Either::Right(_) => return Err(BucketError::deadline_passed("the change")),
            },
        };
        if !sent {
            return Err(self.closed());
        }
        answered(ctx, clock, waiting).await.unwrap_or_else(|why| {
            Err(BucketError::unknown(match why {
                Unanswered::Late => "the deadline passed before the answer came",
                Unanswered::Gone => "the writer ended before it answered",
            }))
        })
    }

    /// The entries of keys that match and have a value.
    fn values(&self, pattern: &SubjectPattern) -> EntryStream {
        let mut keys = self.shared.reader.keys(self.number);
        let (pattern, clock) = (pattern.clone(), Arc::clone(&self.shared.clock));
        let mut next = move || -> Result<Option<Entry>, EngineError> {
            while let Some(last) = keys.next()? {
                let meant = pattern.matches_str(last.entry.key.as_str());
                if meant && last.has_value(clock.now()) {
                    return Ok(Some(last.entry));
                }
            }
            Ok(None)
        };
        let entries = std::iter::from_fn(move || next().map_err(BucketError::from).transpose());
        Yielding::new(EndsWithError::new(entries)).boxed()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Bucket for EmbeddedBucket {
    fn name(&self) -> &BucketName {
        &self.name
    }

    fn settings(&self) -> BucketSettings {
        self.settings
    }

    async fn get(&self, ctx: &Context, key: &Key) -> Result<Option<Entry>, BucketError> {
        self.check(ctx, "the lookup")?;
        let last = self.shared.reader.last(self.number, key)?;
        let now = self.shared.clock.now();
        Ok(last
            .filter(|change| change.has_value(now))
            .map(|change| change.entry))
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
        self.change(
            ctx,
            key,
            Operation::Put,
            (value, options),
            Some(Revision::NONE),
        )
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
        self.check(ctx, "the listing")?;
        Ok(self.values(pattern).map_ok(|entry| entry.key).boxed())
    }

    async fn entries(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
    ) -> Result<EntryStream, BucketError> {
        self.check(ctx, "the listing")?;
        Ok(self.values(pattern))
    }

    async fn history(&self, ctx: &Context, key: &Key) -> Result<Vec<Entry>, BucketError> {
        self.check(ctx, "the lookup")?;
        let Some(last) = self.shared.reader.last(self.number, key)? else {
            return Ok(Vec::new());
        };
        let now = self.shared.clock.now();
        let kept = self.shared.reader.kept(last, self.settings.history, now)?;
        Ok(kept.into_iter().rev().map(|change| change.entry).collect())
    }

    async fn watch(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
        from: WatchFrom,
    ) -> Result<EntryStream, BucketError> {
        self.check(ctx, "the watch")?;
        Ok(Watch::begin(self, pattern, from)?.into_stream())
    }

    fn capabilities(&self) -> BucketCapabilities {
        CAPABILITIES
    }
}
