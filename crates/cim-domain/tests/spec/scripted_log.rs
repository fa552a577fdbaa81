//! A log between the repository and the real one that follows a script: what becomes of each
//! append, in order. After the script it is honest.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cim_domain::store::clock::Sleep;
use cim_domain::store::ordered::one_by_one;
use cim_domain::store::{
    Append, Appended, AppendedInOrder, Clock, CommitId, Context, EventFilter, EventLog,
    EventLogError, EventStream, Examination, ExpectedVersion, Head, HeadStream, LogCapabilities,
    LogQuery, LogStats, ManualClock, NewEvent, OrderedAppend, Position, RecordedEvent, Resolution,
    StreamId, StreamPattern, StreamRange, Timestamp, Truncation,
};

/// What becomes of one append.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// It is stored, and its answer is lost.
    StoredAnswerLost,
    /// It is not stored, and its answer is lost.
    LostAnswerLost,
    /// Somebody else appends this event to the same stream first.
    SomebodyFirst(NewEvent),
    /// It is not possible now.
    Unavailable,
    /// The log is closed.
    Closed,
}

#[derive(Debug)]
pub(crate) struct ScriptedLog {
    inner: Arc<dyn EventLog>,
    script: Mutex<VecDeque<Fate>>,
    appends: Mutex<Vec<Append>>,
    reads: Mutex<Vec<StreamRange>>,
}

impl ScriptedLog {
    pub(crate) fn new(
        inner: Arc<dyn EventLog>,
        script: impl IntoIterator<Item = Fate>,
    ) -> Arc<Self> {
        Arc::new(Self {
            inner,
            script: Mutex::new(script.into_iter().collect()),
            appends: Mutex::default(),
            reads: Mutex::default(),
        })
    }

    /// The appends that arrived.
    pub(crate) fn appends(&self) -> Vec<Append> {
        self.appends.lock().unwrap().clone()
    }

    /// The ranges of the streams that were read since the last call.
    pub(crate) fn take_reads(&self) -> Vec<StreamRange> {
        std::mem::take(&mut *self.reads.lock().unwrap())
    }

    /// The ranges of the streams that were read.
    pub(crate) fn reads(&self) -> Vec<StreamRange> {
        self.reads.lock().unwrap().clone()
    }
}

#[async_trait]
impl EventLog for ScriptedLog {
    async fn append(&self, ctx: &Context, append: Append) -> Result<Appended, EventLogError> {
        self.appends.lock().unwrap().push(append.clone());
        let commit_id = append.commit_id.expect("repositories fix the commit id");
        let stream = append.writes[0].stream.clone();
        let lost = || Err(EventLogError::unknown(commit_id, "the answer was lost"));
        let fate = self.script.lock().unwrap().pop_front();
        match fate {
            None => self.inner.append(ctx, append).await,
            Some(Fate::StoredAnswerLost) => {
                self.inner.append(ctx, append).await?;
                lost()
            }
            Some(Fate::LostAnswerLost) => lost(),
            Some(Fate::SomebodyFirst(event)) => {
                let theirs = Append::new().write(stream, ExpectedVersion::Any, vec![event]);
                self.inner.append(&Context::new(), theirs).await?;
                self.inner.append(ctx, append).await
            }
            Some(Fate::Unavailable) => Err(EventLogError::unavailable("no connection")),
            Some(Fate::Closed) => Err(EventLogError::closed("the log is closed")),
        }
    }

    async fn append_in_order(&self, ctx: &Context, commits: Vec<OrderedAppend>) -> AppendedInOrder {
        one_by_one(self, ctx, commits).await
    }

    async fn read_at(
        &self,
        ctx: &Context,
        positions: &[Position],
    ) -> Result<Vec<RecordedEvent>, EventLogError> {
        self.inner.read_at(ctx, positions).await
    }

    async fn examine(&self, ctx: &Context, after: Position) -> Result<Examination, EventLogError> {
        self.inner.examine(ctx, after).await
    }

    async fn read_stream(
        &self,
        ctx: &Context,
        stream: &StreamId,
        range: StreamRange,
    ) -> Result<EventStream, EventLogError> {
        self.reads.lock().unwrap().push(range);
        self.inner.read_stream(ctx, stream, range).await
    }

    async fn read_log(&self, ctx: &Context, query: LogQuery) -> Result<EventStream, EventLogError> {
        self.inner.read_log(ctx, query).await
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

/// A clock on which waiting takes no time of the test's but all of its own.
#[derive(Clone, Debug)]
pub(crate) struct ImpatientClock(pub(crate) ManualClock);

impl ImpatientClock {
    pub(crate) fn new() -> Self {
        Self(ManualClock::at(Timestamp::EPOCH))
    }
}

impl Clock for ImpatientClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn monotonic(&self) -> std::time::Instant {
        self.0.monotonic()
    }

    fn sleep(&self, duration: std::time::Duration) -> Sleep {
        self.0.advance(duration);
        Box::pin(std::future::ready(()))
    }
}
