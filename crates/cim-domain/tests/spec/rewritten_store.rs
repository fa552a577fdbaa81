//! A store, and a log, that tell another history than the one that was stored, and count what is read.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use cim_domain::store::examination::by_reading;
use cim_domain::store::{
    Append, Appended, AppendedInOrder, Bucket, BucketError, BucketName, BucketSettings, CommitId,
    Context, Damage, EventCid, EventFilter, EventLog, EventLogError, EventStream, Examination,
    Examined, Head, HeadStream, Health, LogCapabilities, LogQuery, LogStats, OrderedAppend,
    Position, RecordedEvent, Resolution, SharedSubscriptions, Store, StreamId, StreamPattern,
    StreamRange, Truncation, Version, positions,
};
use futures_util::{StreamExt, TryStreamExt, stream};

/// What a reader gets instead of an event.
type Telling = Arc<dyn Fn(RecordedEvent) -> Vec<RecordedEvent> + Send + Sync>;

/// Passes everything on, but events as a test tells them.
pub(crate) struct RewrittenStore {
    inner: Arc<dyn Store>,
    telling: Telling,
    read: Arc<AtomicU64>,
    /// Where an examination finds damage.
    damaged: Option<Position>,
}

impl RewrittenStore {
    /// A store of which `telling` says what is read in place of each event.
    pub(crate) fn new(
        inner: Arc<dyn Store>,
        telling: impl Fn(RecordedEvent) -> Vec<RecordedEvent> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            inner,
            telling: Arc::new(telling),
            read: Arc::default(),
            damaged: None,
        })
    }

    /// A store whose log can't hand out what stands at a position.
    pub(crate) fn damaged(inner: Arc<dyn Store>, position: Position) -> Arc<Self> {
        Arc::new(Self {
            inner,
            telling: Arc::new(|event| vec![event]),
            read: Arc::default(),
            damaged: Some(position),
        })
    }

    /// A store that is as it is, and counts.
    pub(crate) fn counting(inner: Arc<dyn Store>) -> Arc<Self> {
        Self::new(inner, |event| vec![event])
    }

    /// How many events were read from the log since the last time.
    pub(crate) fn take_read(&self) -> u64 {
        self.read.swap(0, Ordering::Relaxed)
    }
}

/// The event with another payload, as if it had always been so.
pub(crate) fn rewritten(mut event: RecordedEvent) -> RecordedEvent {
    event.payload = b"{\"rewritten\":true}".as_slice().into();
    let mut block = Vec::new();
    event.block().encode_into(&mut block);
    event.cid = EventCid::of(&block);
    event
}

impl fmt::Debug for RewrittenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RewrittenStore").field(&self.inner).finish()
    }
}

#[async_trait]
impl Store for RewrittenStore {
    fn log(&self) -> Arc<dyn EventLog> {
        Arc::new(RewrittenLog {
            inner: self.inner.log(),
            telling: Arc::clone(&self.telling),
            read: Arc::clone(&self.read),
            damaged: self.damaged,
        })
    }

    fn shared_subscriptions(&self) -> Option<Arc<dyn SharedSubscriptions>> {
        self.inner.shared_subscriptions()
    }

    async fn bucket(
        &self,
        ctx: &Context,
        name: &BucketName,
        settings: BucketSettings,
    ) -> Result<Arc<dyn Bucket>, BucketError> {
        self.inner.bucket(ctx, name, settings).await
    }

    async fn buckets(
        &self,
        ctx: &Context,
    ) -> Result<Vec<(BucketName, BucketSettings)>, BucketError> {
        self.inner.buckets(ctx).await
    }

    async fn health(&self, ctx: &Context) -> Result<Health, EventLogError> {
        self.inner.health(ctx).await
    }

    async fn close(&self) -> Result<(), EventLogError> {
        self.inner.close().await
    }
}

pub(crate) struct RewrittenLog {
    inner: Arc<dyn EventLog>,
    telling: Telling,
    read: Arc<AtomicU64>,
    damaged: Option<Position>,
}

impl RewrittenLog {
    /// A log that hands out something else than it took.
    pub(crate) fn altering(inner: Arc<dyn EventLog>, alter: fn(&mut RecordedEvent)) -> Arc<Self> {
        Self::telling(inner, move |mut event| {
            alter(&mut event);
            vec![event]
        })
    }

    /// A broken log: its reads skip this version.
    pub(crate) fn leaving_out(inner: Arc<dyn EventLog>, version: Version) -> Arc<Self> {
        let is_kept = move |event: &RecordedEvent| event.version != version;
        Self::telling(inner, move |event| {
            Some(event).filter(is_kept).into_iter().collect()
        })
    }

    fn telling(
        inner: Arc<dyn EventLog>,
        telling: impl Fn(RecordedEvent) -> Vec<RecordedEvent> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            inner,
            telling: Arc::new(telling),
            read: Arc::default(),
            damaged: None,
        })
    }

    fn tell(&self, events: EventStream) -> EventStream {
        let (telling, read) = (Arc::clone(&self.telling), Arc::clone(&self.read));
        events
            .map_ok(move |event| {
                read.fetch_add(1, Ordering::Relaxed);
                stream::iter(telling(event).into_iter().map(Ok))
            })
            .try_flatten()
            .boxed()
    }
}

impl fmt::Debug for RewrittenLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RewrittenLog").field(&self.inner).finish()
    }
}

#[async_trait]
impl EventLog for RewrittenLog {
    async fn append(&self, ctx: &Context, append: Append) -> Result<Appended, EventLogError> {
        self.inner.append(ctx, append).await
    }

    async fn append_in_order(&self, ctx: &Context, commits: Vec<OrderedAppend>) -> AppendedInOrder {
        self.inner.append_in_order(ctx, commits).await
    }

    async fn read_at(
        &self,
        ctx: &Context,
        positions: &[Position],
    ) -> Result<Vec<RecordedEvent>, EventLogError> {
        positions::by_reading(self, ctx, positions).await
    }

    async fn examine(&self, ctx: &Context, after: Position) -> Result<Examination, EventLogError> {
        let damaged = self.damaged;
        let examined = by_reading(self, ctx, after).await?;
        let damage = move |found| match found {
            Examined::Event(event) if Some(event.position) == damaged => Examined::Damage(Damage {
                position: Some(event.position),
                stream: None,
                version: None,
                missing: false,
                message: "a record does not check".to_owned(),
            }),
            found => found,
        };
        Ok(examined.map_ok(damage).boxed())
    }

    async fn read_stream(
        &self,
        ctx: &Context,
        stream: &StreamId,
        range: StreamRange,
    ) -> Result<EventStream, EventLogError> {
        Ok(self.tell(self.inner.read_stream(ctx, stream, range).await?))
    }

    async fn read_log(&self, ctx: &Context, query: LogQuery) -> Result<EventStream, EventLogError> {
        Ok(self.tell(self.inner.read_log(ctx, query).await?))
    }

    async fn subscribe(
        &self,
        ctx: &Context,
        filter: EventFilter,
        after: Position,
    ) -> Result<EventStream, EventLogError> {
        self.inner.subscribe(ctx, filter, after).await
    }

    async fn head(&self, ctx: &Context, stream: &StreamId) -> Result<Option<Head>, EventLogError> {
        self.inner.head(ctx, stream).await
    }

    async fn streams(
        &self,
        ctx: &Context,
        pattern: &StreamPattern,
    ) -> Result<HeadStream, EventLogError> {
        self.inner.streams(ctx, pattern).await
    }

    async fn resolve(&self, ctx: &Context, commit: CommitId) -> Result<Resolution, EventLogError> {
        self.inner.resolve(ctx, commit).await
    }

    async fn stats(&self, ctx: &Context) -> Result<LogStats, EventLogError> {
        self.inner.stats(ctx).await
    }

    async fn truncate(&self, ctx: &Context, truncation: Truncation) -> Result<(), EventLogError> {
        self.inner.truncate(ctx, truncation).await
    }

    fn capabilities(&self) -> LogCapabilities {
        self.inner.capabilities()
    }
}
