//! A log and a bucket that count what is asked of them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use cim_domain::store::{
    Append, Appended, AppendedInOrder, Bucket, BucketCapabilities, BucketError, BucketName,
    BucketSettings, CommitId, Context, Entry, EntryStream, EventFilter, EventLog, EventLogError,
    EventStream, Examination, Head, HeadStream, Key, KeyStream, LogCapabilities, LogQuery,
    LogStats, OrderedAppend, Position, RecordedEvent, Resolution, Revision, Store, StreamId,
    StreamPattern, StreamRange, SubjectPattern, Truncation, WatchFrom, WriteOptions,
};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;

/// What was asked, and what happens meanwhile.
#[derive(Default)]
pub(crate) struct Counts {
    /// Reads of the log.
    pub(crate) reads: AtomicU64,
    /// Events that they delivered.
    pub(crate) events: AtomicU64,
    /// Positions that were read.
    pub(crate) positions: AtomicU64,
    /// Values that were looked up in the bucket.
    pub(crate) lookups: AtomicU64,
    /// Happens before the next page of an answer is read by its positions.
    pub(crate) first: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counts").finish_non_exhaustive()
    }
}

impl Counts {
    /// What was asked since the last time: reads of the log, events of these, positions, lookups.
    pub(crate) fn take(&self) -> [u64; 4] {
        [&self.reads, &self.events, &self.positions, &self.lookups]
            .map(|count| count.swap(0, Ordering::SeqCst))
    }
}

/// The log and the bucket of an index, counting.
pub(crate) async fn counting(
    store: &Arc<dyn Store>,
) -> (Arc<dyn EventLog>, Arc<dyn Bucket>, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let log = CountingLog {
        inner: Replaceable::new(store.log()),
        counts: Arc::clone(&counts),
    };
    let bucket = CountingBucket {
        inner: super::bucket(store).await,
        counts: Arc::clone(&counts),
    };
    (Arc::new(log), Arc::new(bucket), counts)
}

/// Leads to a log, and later to another one, as the address of a server does that is restored.
#[derive(Clone, Debug)]
pub(crate) struct Replaceable(Arc<Mutex<Arc<dyn EventLog>>>);

impl Replaceable {
    pub(crate) fn new(log: Arc<dyn EventLog>) -> Self {
        Self(Arc::new(Mutex::new(log)))
    }

    pub(crate) fn replace(&self, log: Arc<dyn EventLog>) {
        *self.0.lock().unwrap() = log;
    }

    pub(crate) fn log(&self) -> Arc<dyn EventLog> {
        Arc::new(CountingLog {
            inner: self.clone(),
            counts: Arc::default(),
        })
    }
}

#[derive(Debug)]
struct CountingLog {
    inner: Replaceable,
    counts: Arc<Counts>,
}

impl CountingLog {
    fn inner(&self) -> Arc<dyn EventLog> {
        Arc::clone(&self.inner.0.lock().unwrap())
    }
}

#[async_trait]
impl EventLog for CountingLog {
    async fn append(&self, ctx: &Context, append: Append) -> Result<Appended, EventLogError> {
        self.inner().append(ctx, append).await
    }

    async fn append_in_order(&self, ctx: &Context, commits: Vec<OrderedAppend>) -> AppendedInOrder {
        self.inner().append_in_order(ctx, commits).await
    }

    async fn read_at(
        &self,
        ctx: &Context,
        positions: &[Position],
    ) -> Result<Vec<RecordedEvent>, EventLogError> {
        // An answer's, not the look at the last event that was taken in.
        let first = match positions.len() {
            0 | 1 => None,
            _ => self.counts.first.lock().unwrap().take(),
        };
        if let Some(first) = first {
            first.await;
        }
        let count = positions.len() as u64;
        self.counts.positions.fetch_add(count, Ordering::SeqCst);
        self.inner().read_at(ctx, positions).await
    }

    async fn examine(&self, ctx: &Context, after: Position) -> Result<Examination, EventLogError> {
        self.inner().examine(ctx, after).await
    }

    async fn read_stream(
        &self,
        ctx: &Context,
        stream: &StreamId,
        range: StreamRange,
    ) -> Result<EventStream, EventLogError> {
        self.inner().read_stream(ctx, stream, range).await
    }

    async fn read_log(&self, ctx: &Context, query: LogQuery) -> Result<EventStream, EventLogError> {
        self.counts.reads.fetch_add(1, Ordering::SeqCst);
        let counts = Arc::clone(&self.counts);
        let events = self.inner().read_log(ctx, query).await?;
        let count = move |_: &Result<_, _>| {
            counts.events.fetch_add(1, Ordering::SeqCst);
        };
        Ok(events.inspect(count).boxed())
    }

    async fn subscribe(
        &self,
        ctx: &Context,
        filter: EventFilter,
        after: Position,
    ) -> Result<EventStream, EventLogError> {
        self.inner().subscribe(ctx, filter, after).await
    }

    async fn head(&self, ctx: &Context, stream: &StreamId) -> Result<Option<Head>, EventLogError> {
        self.inner().head(ctx, stream).await
    }

    async fn streams(
        &self,
        ctx: &Context,
        pattern: &StreamPattern,
    ) -> Result<HeadStream, EventLogError> {
        self.inner().streams(ctx, pattern).await
    }

    async fn resolve(&self, ctx: &Context, commit: CommitId) -> Result<Resolution, EventLogError> {
        self.inner().resolve(ctx, commit).await
    }

    async fn stats(&self, ctx: &Context) -> Result<LogStats, EventLogError> {
        self.inner().stats(ctx).await
    }

    async fn truncate(&self, ctx: &Context, truncation: Truncation) -> Result<(), EventLogError> {
        self.inner().truncate(ctx, truncation).await
    }

    fn capabilities(&self) -> LogCapabilities {
        self.inner().capabilities()
    }
}

#[derive(Debug)]
struct CountingBucket {
    inner: Arc<dyn Bucket>,
    counts: Arc<Counts>,
}

#[async_trait]
impl Bucket for CountingBucket {
    fn name(&self) -> &BucketName {
        self.inner.name()
    }

    fn settings(&self) -> BucketSettings {
        self.inner.settings()
    }

    async fn get(&self, ctx: &Context, key: &Key) -> Result<Option<Entry>, BucketError> {
        self.counts.lookups.fetch_add(1, Ordering::SeqCst);
        self.inner.get(ctx, key).await
    }

    async fn put(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        self.inner.put(ctx, key, value, options).await
    }

    async fn create(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
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
        self.inner.update(ctx, key, value, expected, options).await
    }

    async fn delete(
        &self,
        ctx: &Context,
        key: &Key,
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError> {
        self.inner.delete(ctx, key, expected).await
    }

    async fn purge(
        &self,
        ctx: &Context,
        key: &Key,
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError> {
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
