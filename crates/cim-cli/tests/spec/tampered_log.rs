//! A log that fails, dawdles or lies where a test says so.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use cim_store::examination::by_reading;
use cim_store::ordered::one_by_one;
use cim_store::{
    Append, Appended, AppendedInOrder, CommitId, Context, EventFilter, EventLog, EventLogError,
    EventStream, Examination, Head, HeadStream, LogCapabilities, LogQuery, LogStats, OrderedAppend,
    Position, RecordedEvent, Resolution, StreamId, StreamPattern, StreamRange, Truncation,
    positions,
};
use futures_util::{StreamExt, TryStreamExt};

/// What happens to one append.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It is passed on.
    Stored,
    /// It is passed on when the runtime finds that the task has not done too much already.
    InTurn,
    /// It is passed on after others had their turn.
    Late,
    /// It fails, and nothing is stored.
    Refused,
    /// It fails with this error, and nothing is stored.
    Fails(EventLogError),
}

type OnAppend = Box<dyn Fn(u64) -> Fate + Send + Sync>;
type OnRead = Arc<dyn Fn(RecordedEvent) -> Option<RecordedEvent> + Send + Sync>;

/// Passes everything on but what a test decides.
pub(crate) struct TamperedLog {
    inner: Arc<dyn EventLog>,
    appends: AtomicU64,
    on_append: OnAppend,
    on_read: OnRead,
    /// Whether readers of one stream are lied to as well.
    in_streams: bool,
}

impl TamperedLog {
    /// `on_append` decides over each append by its number, from 1.
    pub(crate) fn appending(
        inner: Arc<dyn EventLog>,
        on_append: impl Fn(u64) -> Fate + Send + Sync + 'static,
    ) -> Arc<dyn EventLog> {
        Arc::new(Self {
            inner,
            appends: AtomicU64::new(0),
            on_append: Box::new(on_append),
            on_read: Arc::new(Some),
            in_streams: false,
        })
    }

    /// `on_read` gives the event that a reader gets instead, or none.
    pub(crate) fn reading(
        inner: Arc<dyn EventLog>,
        on_read: impl Fn(RecordedEvent) -> Option<RecordedEvent> + Send + Sync + 'static,
    ) -> Arc<dyn EventLog> {
        Arc::new(Self {
            in_streams: true,
            ..Self::lying(inner, on_read)
        })
    }

    /// As [`reading`](Self::reading), but only for those who read the whole log.
    pub(crate) fn reading_log(
        inner: Arc<dyn EventLog>,
        on_read: impl Fn(RecordedEvent) -> Option<RecordedEvent> + Send + Sync + 'static,
    ) -> Arc<dyn EventLog> {
        Arc::new(Self::lying(inner, on_read))
    }

    fn lying(
        inner: Arc<dyn EventLog>,
        on_read: impl Fn(RecordedEvent) -> Option<RecordedEvent> + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner,
            appends: AtomicU64::new(0),
            on_append: Box::new(|_| Fate::Stored),
            on_read: Arc::new(on_read),
            in_streams: false,
        }
    }

    fn tamper(&self, events: EventStream) -> EventStream {
        let on_read = Arc::clone(&self.on_read);
        let kept = events.try_filter_map(move |event| std::future::ready(Ok(on_read(event))));
        kept.boxed()
    }
}

impl fmt::Debug for TamperedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TamperedLog").field(&self.inner).finish()
    }
}

#[async_trait]
impl EventLog for TamperedLog {
    async fn append(&self, ctx: &Context, append: Append) -> Result<Appended, EventLogError> {
        let number = self.appends.fetch_add(1, Ordering::Relaxed) + 1;
        match (self.on_append)(number) {
            Fate::Stored => {}
            Fate::InTurn => {
                for _ in 0..100 {
                    tokio::task::coop::consume_budget().await;
                }
            }
            Fate::Late => {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
            }
            Fate::Refused => return Err(EventLogError::unavailable("out of order today")),
            Fate::Fails(error) => return Err(error),
        }
        self.inner.append(ctx, append).await
    }

    async fn append_in_order(&self, ctx: &Context, commits: Vec<OrderedAppend>) -> AppendedInOrder {
        one_by_one(self, ctx, commits).await
    }

    async fn read_at(
        &self,
        ctx: &Context,
        positions: &[Position],
    ) -> Result<Vec<RecordedEvent>, EventLogError> {
        positions::by_reading(self, ctx, positions).await
    }

    async fn examine(&self, ctx: &Context, after: Position) -> Result<Examination, EventLogError> {
        by_reading(self, ctx, after).await
    }

    async fn read_stream(
        &self,
        ctx: &Context,
        stream: &StreamId,
        range: StreamRange,
    ) -> Result<EventStream, EventLogError> {
        let events = self.inner.read_stream(ctx, stream, range).await?;
        Ok(if self.in_streams {
            self.tamper(events)
        } else {
            events
        })
    }

    async fn read_log(&self, ctx: &Context, query: LogQuery) -> Result<EventStream, EventLogError> {
        Ok(self.tamper(self.inner.read_log(ctx, query).await?))
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
