//! The port for events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use cim_store::{
    Append, Appended, AppendedInOrder, ArchiveDigester, Clock, CommitId, Context, Durability,
    EventFilter, EventLog, EventLogError, EventStream, Examination, Head, HeadStream, IdGenerator,
    LogCapabilities, LogQuery, LogStats, OrderedAppend, Position, RecordedEvent, Resolution,
    StreamId, StreamPattern, StreamRange, Truncation, positions, staging,
};
use futures_util::{StreamExt, stream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::coop::consume_budget;

use crate::error::EngineError;
use crate::events::examination::Examiner;
use crate::events::head_cache::HeadCache;
use crate::events::in_order::append_in_order;
use crate::events::log_read::{LogRead, Yielding, check_not_given_up};
use crate::events::read_at::PositionRead;
use crate::events::record::{KnownHead, find_head, read_head};
use crate::events::stream_read::StreamRead;
use crate::events::writer::{AppendRequest, PreparedStream, Request};
use crate::events::{commits, truncate};
use crate::index::Index;
use crate::index::key::IndexKey;
use crate::journal::Journal;
use crate::writer_thread::Asked;

/// What this adapter can do.
const CAPABILITIES: LogCapabilities = LogCapabilities::whole(Durability::Disk);

/// The log of events of an embedded store.
#[derive(Debug)]
pub(crate) struct EmbeddedLog {
    pub(crate) journal: Arc<Journal>,
    pub(crate) index: Arc<Index>,
    pub(crate) heads: Arc<HeadCache>,
    pub(crate) requests: mpsc::Sender<Asked<Request>>,
    /// The writer sets it, before anything goes.
    pub(crate) truncated_through: Arc<AtomicU64>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdGenerator>,
}

impl EmbeddedLog {
    /// Refuses an operation whose time is over, or that comes after the store was closed by its
    /// owner. A store that closed itself after a failure can still be read.
    fn check(&self, ctx: &Context, operation: &str) -> Result<(), EventLogError> {
        if self.requests.is_closed() {
            return Err(self
                .journal
                .closed()
                .unwrap_or_else(EngineError::closed)
                .into());
        }
        if ctx.is_expired(&*self.clock) {
            return Err(EventLogError::deadline_passed(operation));
        }
        Ok(())
    }

    /// The head of a stream, for the writer. Readers ask the index alone: there all heads of a
    /// group change at once.
    fn find_for_writer(
        &self,
        key: IndexKey,
        stream: &StreamId,
    ) -> Result<Option<KnownHead>, EngineError> {
        match self.heads.get(key) {
            Some(head) => Ok(Some(head)),
            None => find_head(&self.journal, &self.index, key, stream),
        }
    }

    /// Looks up what the writer needs to decide an append, so that it need not wait for a disk.
    pub(crate) fn prepare(
        &self,
        ctx: &Context,
        mut append: Append,
    ) -> Result<AppendRequest, EventLogError> {
        staging::check_append(&append, &CAPABILITIES.limits)?;
        let commit_id = staging::complete(&mut append, ctx, &*self.clock, &*self.ids);
        let generation = self.index.generation();
        let commit_key = IndexKey::commit(commit_id.as_bytes());
        // An id that was made for this append was never handed out before.
        let stored = match append.fresh {
            true => None,
            false => self.index.get(commit_key)?,
        };
        let streams = append
            .expectations()
            .map(|(stream, _)| {
                let key = IndexKey::stream(stream.as_str());
                let head = self.find_for_writer(key, stream)?;
                Ok(PreparedStream { key, head })
            })
            .collect::<Result<_, EngineError>>()?;
        Ok(AppendRequest {
            ctx: ctx.clone(),
            append,
            commit_id,
            commit_key,
            stored,
            streams,
            generation,
        })
    }

    /// Waits until the writer is done with everything that was asked before.
    async fn settle(&self, ctx: &Context) -> Result<(), EventLogError> {
        let (done, settled) = oneshot::channel();
        let request = Asked::Request(Request::Settle(done));
        let settling = async {
            self.requests.send(request).await.ok()?;
            settled.await.ok()
        };
        let settled = match ctx.remaining(&*self.clock) {
            None => settling.await,
            Some(left) => {
                let settling = std::pin::pin!(settling);
                match futures_util::future::select(settling, self.clock.sleep(left)).await {
                    futures_util::future::Either::Left((settled, _)) => settled,
                    futures_util::future::Either::Right(_) => {
                        return Err(EventLogError::deadline_passed("the lookup"));
                    }
                }
            }
        };
        settled.ok_or_else(|| {
            let closed = self.journal.closed();
            closed.unwrap_or_else(EngineError::closed).into()
        })
    }

    pub(crate) fn truncated_through(&self) -> u64 {
        self.truncated_through.load(Ordering::Acquire)
    }

    fn read(&self, query: LogQuery) -> Result<LogRead, EventLogError> {
        check_not_given_up(query.after, self.truncated_through())?;
        LogRead::new(Arc::clone(&self.journal), query)
    }

    /// The digest of the events that a truncation takes away.
    async fn archive_digest(
        &self,
        from: u64,
        through: Position,
    ) -> Result<cim_store::ArchiveDigest, EventLogError> {
        let query = LogQuery::all()
            .after(Position::new(from))
            .limit(through.get().saturating_sub(from));
        let mut events = Yielding::new(self.read(query)?);
        let mut digester = ArchiveDigester::new();
        while let Some(event) = events.next().await {
            digester.push(&event?);
        }
        Ok(digester.finish())
    }
}

/// Waits for an answer until the deadline.
pub(crate) async fn answered<T>(
    ctx: &Context,
    clock: &dyn Clock,
    answer: oneshot::Receiver<T>,
) -> Result<T, Unanswered> {
    let Some(left) = ctx.remaining(clock) else {
        return answer.await.map_err(|_| Unanswered::Gone);
    };
    let deadline = clock.sleep(left);
    match futures_util::future::select(answer, deadline).await {
        futures_util::future::Either::Left((answer, _)) => answer.map_err(|_| Unanswered::Gone),
        futures_util::future::Either::Right(_) => Err(Unanswered::Late),
    }
}

/// Why there is no answer.
pub(crate) enum Unanswered {
    /// The deadline passed.
    Late,
    /// The writer is gone.
    Gone,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl EventLog for EmbeddedLog {
    async fn append(&self, ctx: &Context, append: Append) -> Result<Appended, EventLogError> {
        self.check(ctx, "the append")?;
        let prepared = Arc::new(self.prepare(ctx, append)?);
        let commit_id = prepared.commit_id;
        let (sender, answer) = oneshot::channel();
        let request = Request::Append {
            request: Arc::clone(&prepared),
            room: Vec::with_capacity(prepared.append.writes.len()),
            answer: sender,
        };
        self.ask(ctx, request).await?;
        answered(ctx, &*self.clock, answer)
            .await
            .unwrap_or_else(|why| Err(why.unknown(commit_id)))
    }

    async fn append_in_order(&self, ctx: &Context, commits: Vec<OrderedAppend>) -> AppendedInOrder {
        if commits.is_empty() {
            return AppendedInOrder::default();
        }
        match self.check(ctx, "the append") {
            Ok(()) => append_in_order(self, ctx, commits).await,
            Err(error) => AppendedInOrder {
                appended: Vec::new(),
                error: Some(error),
            },
        }
    }

    async fn read_at(
        &self,
        ctx: &Context,
        positions: &[Position],
    ) -> Result<Vec<RecordedEvent>, EventLogError> {
        self.check(ctx, "the read")?;
        positions::check_count(positions, &CAPABILITIES.limits)?;
        let mut read = PositionRead::new(self);
        let mut events = Vec::with_capacity(positions.len());
        for position in positions {
            self.check(ctx, "the read")?;
            events.push(read.event(*position)?);
            consume_budget().await;
        }
        Ok(events)
    }

    async fn examine(&self, ctx: &Context, after: Position) -> Result<Examination, EventLogError> {
        self.check(ctx, "the examination")?;
        Ok(Examiner::of_log(self, after).into_examination())
    }

    async fn read_stream(
        &self,
        ctx: &Context,
        stream: &StreamId,
        range: StreamRange,
    ) -> Result<EventStream, EventLogError> {
        self.check(ctx, "the read")?;
        let key = IndexKey::stream(stream.as_str());
        let Some(head) = find_head(&self.journal, &self.index, key, stream)? else {
            return Ok(stream::empty().boxed());
        };
        let (journal, index) = (Arc::clone(&self.journal), Arc::clone(&self.index));
        let read = StreamRead::new(
            journal,
            index,
            stream.clone(),
            range,
            head,
            self.truncated_through(),
        )?;
        Ok(Yielding::new(EndsWithError::new(read)).boxed())
    }

    async fn read_log(&self, ctx: &Context, query: LogQuery) -> Result<EventStream, EventLogError> {
        self.check(ctx, "the read")?;
        Ok(Yielding::new(self.read(query)?).boxed())
    }

    async fn subscribe(
        &self,
        ctx: &Context,
        filter: EventFilter,
        after: Position,
    ) -> Result<EventStream, EventLogError> {
        self.check(ctx, "the subscription")?;
        let tail = self.journal.watch();
        let read = self.read(LogQuery::all().filter(filter).after(after))?;
        let journal = Arc::clone(&self.journal);
        Ok(crate::events::subscription::follow(journal, read, tail))
    }

    async fn head(&self, ctx: &Context, stream: &StreamId) -> Result<Option<Head>, EventLogError> {
        self.check(ctx, "the lookup")?;
        let key = IndexKey::stream(stream.as_str());
        let head = find_head(&self.journal, &self.index, key, stream)?;
        Ok(head.map(|head| Head {
            stream: stream.clone(),
            version: head.version,
            position: head.position,
            cid: head.cid,
        }))
    }

    async fn streams(
        &self,
        ctx: &Context,
        pattern: &StreamPattern,
    ) -> Result<HeadStream, EventLogError> {
        self.check(ctx, "the listing")?;
        let (journal, pattern) = (Arc::clone(&self.journal), pattern.clone());
        let index = Arc::clone(&self.index);
        let mut cursor = self.index.head_cursor();
        let mut next = move || -> Result<Option<Head>, EngineError> {
            while let Some((key, slot)) = cursor.next()? {
                let read = match read_head(&journal, slot) {
                    // A truncation carried the head elsewhere since the cursor was made.
                    Err(error) if journal.has_given_up(slot.place) => match index.get(key)? {
                        Some(slot) => read_head(&journal, slot),
                        None => Err(error),
                    },
                    read => read,
                };
                let (stream, head) = read.map_err(|error| index.condemn(error))?;
                if pattern.matches(&stream) {
                    return Ok(Some(Head {
                        stream,
                        version: head.version,
                        position: head.position,
                        cid: head.cid,
                    }));
                }
            }
            Ok(None)
        };
        let heads = std::iter::from_fn(move || next().map_err(EventLogError::from).transpose());
        Ok(Yielding::new(EndsWithError::new(heads)).boxed())
    }

    async fn resolve(&self, ctx: &Context, commit: CommitId) -> Result<Resolution, EventLogError> {
        self.check(ctx, "the lookup")?;
        if let Some(stored) = commits::find(&self.journal, &self.index, commit)? {
            return Ok(Resolution::Committed(stored.result));
        }
        // It may be on its way: its caller may have gone before the writer was done with it.
        self.settle(ctx).await?;
        if let Some(stored) = commits::find(&self.journal, &self.index, commit)? {
            return Ok(Resolution::Committed(stored.result));
        }
        // After a flush that failed only the next opening tells what is stored.
        match self.journal.closed() {
            Some(closed) => Err(closed.into()),
            None => Ok(Resolution::NotCommitted),
        }
    }

    async fn stats(&self, ctx: &Context) -> Result<LogStats, EventLogError> {
        self.check(ctx, "the count")?;
        // In this order: what is given up has been reached before.
        let through = self.truncated_through();
        let last = self.journal.reached().sequence;
        Ok(LogStats {
            events: last - through,
            streams: self.index.heads(),
            first: Position::new(if last > through { through + 1 } else { 0 }),
            last: Position::new(last),
            truncated_through: Position::new(through),
            bytes: self.journal.bytes(),
        })
    }

    async fn truncate(&self, ctx: &Context, truncation: Truncation) -> Result<(), EventLogError> {
        self.check(ctx, "the truncation")?;
        let (from, through) = (self.truncated_through(), truncation.through);
        if through.get() <= from {
            return Err(
                EventLogError::not_found("the log is truncated beyond this position")
                    .with("position", through)
                    .with("truncated through", from),
            );
        }
        truncate::check_ends_a_commit(&self.journal, through.get())?;
        let held = self.archive_digest(from, through).await?;
        if held != truncation.archived {
            return Err(EventLogError::invalid(
                "the archive does not hold the events that would go",
            )
            .with("archived", truncation.archived)
            .with("stored", held)
            .with_hint("archive the events again, up to the same position"));
        }
        let (answer, answered) = oneshot::channel();
        let request = Request::Truncate {
            through: through.get(),
            truncated_through: from,
            answer,
        };
        let sent = self.requests.send(Asked::Request(request)).await.is_ok();
        let answered = if sent { answered.await.ok() } else { None };
        let Some(done) = answered else {
            return Err(self
                .journal
                .closed()
                .unwrap_or_else(EngineError::closed)
                .into());
        };
        done
    }

    fn capabilities(&self) -> LogCapabilities {
        CAPABILITIES
    }
}

/// Ends an iterator after its first error.
pub(crate) struct EndsWithError<I> {
    iterator: Option<I>,
}

impl<I> EndsWithError<I> {
    pub(crate) fn new(iterator: I) -> Self {
        Self {
            iterator: Some(iterator),
        }
    }
}

impl<T, E, I: Iterator<Item = Result<T, E>>> Iterator for EndsWithError<I> {
    type Item = Result<T, E>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.iterator.as_mut()?.next();
        if !matches!(next, Some(Ok(_))) {
            self.iterator = None;
        }
        next
    }
}
