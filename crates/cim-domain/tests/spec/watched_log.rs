//! A log between what is tested and the real one that counts what is asked of it. It can take its
//! time: then every operation gives way to others before and after it is done. And another log can
//! be put in the place of the one behind it, as happens when a server is restored from a copy.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use async_trait::async_trait;
use cim_domain::store::{
    Append, Appended, AppendedInOrder, CommitId, Context, EventFilter, EventLog, EventLogError,
    EventStream, Examination, Head, HeadStream, LogCapabilities, LogQuery, LogStats, OrderedAppend,
    Position, RecordedEvent, Resolution, StreamId, StreamPattern, StreamRange, Truncation,
};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, TryStreamExt as _};

pub(crate) struct WatchedLog {
    inner: RwLock<Arc<dyn EventLog>>,
    takes_its_time: bool,
    counts: Arc<Counts>,
    /// What happens before several positions are read the next time.
    before_positions: Mutex<Option<BoxFuture<'static, ()>>>,
}

#[derive(Debug, Default)]
struct Counts {
    appends: AtomicU64,
    reads: AtomicU64,
    log_reads: AtomicU64,
    events: AtomicU64,
    positions: AtomicU64,
    pages: AtomicU64,
    largest_page: AtomicU64,
    heads: AtomicU64,
}

/// What was asked of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) appends: u64,
    /// Reads of streams.
    pub(crate) reads: u64,
    /// Reads of the whole log.
    pub(crate) log_reads: u64,
    /// Events that these reads delivered.
    pub(crate) events: u64,
    /// Positions that were read.
    pub(crate) positions: u64,
    pub(crate) heads: u64,
}

impl WatchedLog {
    pub(crate) fn new(inner: Arc<dyn EventLog>) -> Arc<Self> {
        Self::over(inner, false)
    }

    pub(crate) fn slow(inner: Arc<dyn EventLog>) -> Arc<Self> {
        Self::over(inner, true)
    }

    fn over(inner: Arc<dyn EventLog>, takes_its_time: bool) -> Arc<Self> {
        Arc::new(Self {
            inner: RwLock::new(inner),
            takes_its_time,
            counts: Arc::default(),
            before_positions: Mutex::default(),
        })
    }

    /// What was asked since the last time.
    pub(crate) fn asked(&self) -> Asked {
        let take = |count: &AtomicU64| count.swap(0, Ordering::SeqCst);
        Asked {
            appends: take(&self.counts.appends),
            reads: take(&self.counts.reads),
            log_reads: take(&self.counts.log_reads),
            events: take(&self.counts.events),
            positions: take(&self.counts.positions),
            heads: take(&self.counts.heads),
        }
    }

    /// How many reads of several positions there were, and the most bytes of payload that one of them
    /// brought.
    pub(crate) fn pages(&self) -> (u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::SeqCst);
        (of(&self.counts.pages), of(&self.counts.largest_page))
    }

    /// From now on this log is behind it.
    pub(crate) fn replace(&self, inner: Arc<dyn EventLog>) {
        *self.inner.write().unwrap() = inner;
    }

    /// This happens before several positions are read the next time.
    pub(crate) fn before_positions(&self, first: impl Future<Output = ()> + Send + 'static) {
        *self.before_positions.lock().unwrap() = Some(Box::pin(first));
    }

    fn inner(&self) -> Arc<dyn EventLog> {
        Arc::clone(&self.inner.read().unwrap())
    }

    async fn give_way(&self) {
        if self.takes_its_time {
            tokio::task::yield_now().await;
        }
    }
}

impl fmt::Debug for WatchedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedLog").finish_non_exhaustive()
    }
}

#[async_trait]
impl EventLog for WatchedLog {
    async fn append(&self, ctx: &Context, append: Append) -> Result<Appended, EventLogError> {
        self.counts.appends.fetch_add(1, Ordering::SeqCst);
        self.give_way().await;
        let appended = self.inner().append(ctx, append).await;
        self.give_way().await;
        appended
    }

    async fn append_in_order(&self, ctx: &Context, commits: Vec<OrderedAppend>) -> AppendedInOrder {
        self.inner().append_in_order(ctx, commits).await
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
        self.counts.reads.fetch_add(1, Ordering::SeqCst);
        self.give_way().await;
        let (counts, slow) = (Arc::clone(&self.counts), self.takes_its_time);
        let events = self.inner().read_stream(ctx, stream, range).await?;
        let counted = events.and_then(move |event| {
            counts.events.fetch_add(1, Ordering::SeqCst);
            async move {
                if slow {
                    tokio::task::yield_now().await;
                }
                Ok(event)
            }
        });
        Ok(counted.boxed())
    }

    async fn read_log(&self, ctx: &Context, query: LogQuery) -> Result<EventStream, EventLogError> {
        self.counts.log_reads.fetch_add(1, Ordering::SeqCst);
        let counts = Arc::clone(&self.counts);
        let events = self.inner().read_log(ctx, query).await?;
        let counted = events.inspect_ok(move |_| {
            counts.events.fetch_add(1, Ordering::SeqCst);
        });
        Ok(counted.boxed())
    }

    async fn read_at(
        &self,
        ctx: &Context,
        positions: &[Position],
    ) -> Result<Vec<RecordedEvent>, EventLogError> {
        let first = match positions.len() {
            0 | 1 => None,
            _ => self.before_positions.lock().unwrap().take(),
        };
        if let Some(first) = first {
            first.await;
        }
        let count = positions.len() as u64;
        self.counts.positions.fetch_add(count, Ordering::SeqCst);
        let events = self.inner().read_at(ctx, positions).await?;
        if count > 1 {
            let bytes = events.iter().map(|event| event.payload.len() as u64).sum();
            self.counts.pages.fetch_add(1, Ordering::SeqCst);
            self.counts.largest_page.fetch_max(bytes, Ordering::SeqCst);
        }
        Ok(events)
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
        self.counts.heads.fetch_add(1, Ordering::SeqCst);
        self.give_way().await;
        let head = self.inner().head(ctx, stream).await;
        self.give_way().await;
        head
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
