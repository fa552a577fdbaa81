//! A bucket in memory: [`Bucket`] over [`BucketState`].
//!
//! Every look at the state sweeps away first what is over by the clock, so that reads, writers
//! and watchers agree on what is there without a task in the background.

use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cim_subject::SubjectPattern;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;
use tokio::task::coop::consume_budget;

use super::bucket_closed;
use super::bucket_state::{BucketState, Expected};
use super::watch::Watch;
use crate::staging;
use crate::{
    Bucket, BucketCapabilities, BucketError, BucketName, BucketSettings, Clock, Context,
    Durability, Entry, EntryStream, Key, KeyStream, Operation, Revision, Timestamp, WatchFrom,
    WriteOptions,
};

/// What a bucket can do: everything, until the process ends.
const CAPABILITIES: BucketCapabilities = BucketCapabilities::whole(Durability::Process);

/// A bucket of a memory store. Clones are the same bucket.
#[derive(Clone)]
pub(super) struct MemoryBucket {
    shared: Arc<SharedBucket>,
}

/// What a bucket shares with its readers and watches.
pub(super) struct SharedBucket {
    name: BucketName,
    settings: BucketSettings,
    /// `None` once the bucket is closed.
    state: Mutex<Option<BucketState>>,
    /// Tells watches to look again. It carries nothing, so nobody can miss anything of it.
    changed: watch::Sender<()>,
    clock: Arc<dyn Clock>,
}

impl SharedBucket {
    /// Looks at or changes the state as it is now, and wakes the watches after a change.
    pub(super) fn access<T>(
        &self,
        access: impl FnOnce(&mut BucketState, Timestamp) -> Result<T, BucketError>,
    ) -> Result<T, BucketError> {
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = guard.as_mut().ok_or_else(bucket_closed)?;
        let before = state.last();
        let now = self.clock.now();
        state.sweep(now);
        let result = access(state, now);
        let has_changed = state.last() != before;
        drop(guard);
        if has_changed {
            self.changed.send_replace(());
        }
        result
    }

    /// As [`access`](Self::access), before the operation's deadline.
    pub(super) fn begin<T>(
        &self,
        ctx: &Context,
        operation: &str,
        access: impl FnOnce(&mut BucketState, Timestamp) -> Result<T, BucketError>,
    ) -> Result<T, BucketError> {
        self.access(|state, now| {
            if ctx.is_expired(&*self.clock) {
                return Err(BucketError::deadline_passed(operation));
            }
            access(state, now)
        })
    }

    /// Whoever waits on this is woken by every change and by the end of the bucket.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Forgets a watch that was dropped. It changes nothing that anyone could see, so it needs no
    /// sweep and works on a closed bucket too.
    pub(super) fn leave(&self, watcher: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = state.as_mut() {
            state.remove_watcher(watcher);
        }
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}

impl MemoryBucket {
    pub(super) fn new(name: BucketName, settings: BucketSettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            shared: Arc::new(SharedBucket {
                name,
                settings,
                state: Mutex::new(Some(BucketState::new(settings.history))),
                changed: watch::Sender::new(()),
                clock,
            }),
        }
    }

    /// Frees everything; watches end with an error.
    pub(super) fn close(&self) {
        let state = self
            .shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.shared.changed.send_replace(());
        drop(state); // may take a while, so not under the lock
    }

    fn write(
        &self,
        ctx: &Context,
        operation: &str,
        (key, expected): (&Key, Expected),
        value: Bytes,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        self.shared.begin(ctx, operation, |state, now| {
            staging::check_value(key, &value, &CAPABILITIES.limits)?;
            options.check()?;
            let ttl: Option<Duration> = options.ttl.or(self.shared.settings.ttl);
            let expires_at = ttl.map(|ttl| now.saturating_add(ttl));
            state.change(key, expected, Operation::Put, value, expires_at, now)
        })
    }

    fn take_away(
        &self,
        ctx: &Context,
        name: &str,
        operation: Operation,
        key: &Key,
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError> {
        let expected = expected.map_or(Expected::Any, Expected::Revision);
        self.shared.begin(ctx, name, |state, now| {
            state.change(key, expected, operation, Bytes::new(), None, now)
        })
    }
}

#[async_trait]
impl Bucket for MemoryBucket {
    fn name(&self) -> &BucketName {
        &self.shared.name
    }

    fn settings(&self) -> BucketSettings {
        self.shared.settings
    }

    async fn get(&self, ctx: &Context, key: &Key) -> Result<Option<Entry>, BucketError> {
        self.shared
            .begin(ctx, "get", |state, _| Ok(state.value(key).cloned()))
    }

    async fn put(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        self.write(ctx, "put", (key, Expected::Any), value, options)
    }

    async fn create(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        let expected = Expected::Revision(Revision::NONE);
        self.write(ctx, "create", (key, expected), value, options)
    }

    async fn update(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        expected: Revision,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        let expected = Expected::Revision(expected);
        self.write(ctx, "update", (key, expected), value, options)
    }

    async fn delete(
        &self,
        ctx: &Context,
        key: &Key,
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError> {
        self.take_away(ctx, "delete", Operation::Delete, key, expected)
    }

    async fn purge(
        &self,
        ctx: &Context,
        key: &Key,
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError> {
        self.take_away(ctx, "purge", Operation::Purge, key, expected)
    }

    async fn keys(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
    ) -> Result<KeyStream, BucketError> {
        let read = ValueRead::begin(&self.shared, ctx, pattern, "keys")?;
        Ok(stream::try_unfold(read, ValueRead::next_page)
            .map_ok(|page| stream::iter(page).map(|entry| Ok(entry.key)))
            .try_flatten()
            .boxed())
    }

    async fn entries(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
    ) -> Result<EntryStream, BucketError> {
        let read = ValueRead::begin(&self.shared, ctx, pattern, "entries")?;
        Ok(stream::try_unfold(read, ValueRead::next_page)
            .map_ok(|page| stream::iter(page).map(Ok))
            .try_flatten()
            .boxed())
    }

    async fn history(&self, ctx: &Context, key: &Key) -> Result<Vec<Entry>, BucketError> {
        self.shared
            .begin(ctx, "history", |state, _| Ok(state.history(key)))
    }

    async fn watch(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
        from: WatchFrom,
    ) -> Result<EntryStream, BucketError> {
        Ok(Watch::begin(&self.shared, ctx, pattern, from)?.into_stream())
    }

    fn capabilities(&self) -> BucketCapabilities {
        CAPABILITIES
    }
}

impl fmt::Debug for MemoryBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBucket")
            .field("name", &self.shared.name)
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}

/// A read of the values of all keys that match, in the order of keys, a page at a time.
struct ValueRead {
    bucket: Arc<SharedBucket>,
    ctx: Context,
    pattern: SubjectPattern,
    operation: &'static str,
    /// Where the next page begins; `None` at the end.
    from: Option<Bound<Key>>,
}

impl ValueRead {
    fn begin(
        bucket: &Arc<SharedBucket>,
        ctx: &Context,
        pattern: &SubjectPattern,
        operation: &'static str,
    ) -> Result<Self, BucketError> {
        bucket.begin(ctx, operation, |_, _| Ok(()))?;
        let from = match pattern.literal_prefix() {
            "" => Some(Bound::Unbounded),
            // What can't be a key is not the beginning of one either.
            prefix => Key::new(prefix.to_owned()).ok().map(Bound::Included),
        };
        Ok(Self {
            bucket: bucket.clone(),
            ctx: ctx.clone(),
            pattern: pattern.clone(),
            operation,
            from,
        })
    }

    async fn next_page(mut self) -> Result<Option<(Vec<Entry>, Self)>, BucketError> {
        while let Some(from) = self.from.take() {
            let (values, last) = self.bucket.begin(&self.ctx, self.operation, |state, _| {
                Ok(state.values_page(&self.pattern, from.as_ref()))
            })?;
            self.from = last.map(Bound::Excluded);
            consume_budget().await;
            if !values.is_empty() {
                return Ok(Some((values, self)));
            }
        }
        Ok(None)
    }
}
