//! The log in memory: [`EventLog`] over [`LogState`].
//!
//! Writers and readers share one lock, held only while plain data is looked at or changed. After
//! a commit the log wakes its subscribers, who then read for themselves.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::coop::consume_budget;

use super::log_state::LogState;
use super::read::{HeadRead, LogRead, StreamRead};
use super::subscription::Subscription;
use crate::examination::by_reading;
use crate::ordered::one_by_one;
use crate::{
    Append, Appended, AppendedInOrder, ArchiveDigest, ArchiveDigester, Clock, CommitId, Context,
    Durability, EventFilter, EventLog, EventLogError, EventStream, Examination, Head, HeadStream,
    IdGenerator, LogCapabilities, LogQuery, LogStats, OrderedAppend, Position, RecordedEvent,
    Resolution, StreamId, StreamPattern, StreamRange, Truncation, positions, staging,
};

/// What the log can do: everything, until the process ends.
const CAPABILITIES: LogCapabilities = LogCapabilities::whole(Durability::Process);

/// The log of a memory store. Clones are the same log.
#[derive(Clone)]
pub(super) struct MemoryLog {
    shared: Arc<SharedLog>,
}

/// What the log shares with its readers and subscriptions.
pub(super) struct SharedLog {
    /// `None` once the log is closed.
    state: RwLock<Option<LogState>>,
    /// Tells subscribers to look again. It carries nothing, so nobody can miss anything of it.
    changed: watch::Sender<()>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdGenerator>,
}

impl SharedLog {
    /// Looks at the state.
    pub(super) fn look<T>(
        &self,
        look: impl FnOnce(&LogState) -> Result<T, EventLogError>,
    ) -> Result<T, EventLogError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        look(state.as_ref().ok_or_else(closed)?)
    }

    /// Changes the state.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut LogState) -> Result<T, EventLogError>,
    ) -> Result<T, EventLogError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        change(state.as_mut().ok_or_else(closed)?)
    }

    /// Refuses to begin or continue an operation whose time is over.
    pub(super) fn check_deadline(
        &self,
        ctx: &Context,
        operation: &str,
    ) -> Result<(), EventLogError> {
        if ctx.is_expired(&*self.clock) {
            return Err(EventLogError::deadline_passed(operation));
        }
        Ok(())
    }

    /// Whoever waits on this is woken by every commit and by the end of the log.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

impl MemoryLog {
    pub(super) fn new(clock: Arc<dyn Clock>, ids: Arc<dyn IdGenerator>) -> Self {
        Self {
            shared: Arc::new(SharedLog {
                state: RwLock::new(Some(LogState::default())),
                changed: watch::Sender::new(()),
                clock,
                ids,
            }),
        }
    }

    /// Frees everything; subscriptions end with an error.
    pub(super) fn close(&self) {
        let state = self
            .shared
            .state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.shared.changed.send_replace(());
        drop(state); // may take a while, so not under the lock
    }

    /// Looks at the state before the operation's deadline.
    fn begin<T>(
        &self,
        ctx: &Context,
        operation: &str,
        look: impl FnOnce(&LogState) -> Result<T, EventLogError>,
    ) -> Result<T, EventLogError> {
        self.shared.look(|state| {
            self.shared.check_deadline(ctx, operation)?;
            look(state)
        })
    }

    /// The digest of the events after one position, up to another.
    async fn digest(
        &self,
        ctx: &Context,
        mut after: Position,
        through: Position,
    ) -> Result<ArchiveDigest, EventLogError> {
        let mut digester = ArchiveDigester::new();
        loop {
            let page = self.begin(ctx, "truncate", |state| state.log_page(after, through))?;
            let Some(last) = page.last() else {
                return Ok(digester.finish());
            };
            after = last.event.position;
            for stored in &page {
                digester.push(&stored.event);
            }
            consume_budget().await;
        }
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn append(&self, ctx: &Context, mut append: Append) -> Result<Appended, EventLogError> {
        self.begin(ctx, "append", |_| Ok(()))?;
        staging::check_append(&append, &CAPABILITIES.limits)?;
        let (clock, ids) = (&*self.shared.clock, &*self.shared.ids);
        let commit_id = staging::complete(&mut append, ctx, clock, ids);
        let appended = self
            .shared
            .change(|state| state.append(&append, commit_id, ctx, clock.now()))?;
        if appended.position != Position::NONE {
            self.shared.changed.send_replace(());
        }
        Ok(appended)
    }

    async fn append_in_order(&self, ctx: &Context, commits: Vec<OrderedAppend>) -> AppendedInOrder {
        one_by_one(self, ctx, commits).await
    }

    async fn read_at(
        &self,
        ctx: &Context,
        positions: &[Position],
    ) -> Result<Vec<RecordedEvent>, EventLogError> {
        let found: Vec<_> = self.begin(ctx, "read_at", |state| {
            positions::check_count(positions, &CAPABILITIES.limits)?;
            positions
                .iter()
                .map(|at| state.event_to_read(*at))
                .collect()
        })?;
        Ok(found.iter().map(|stored| stored.event.clone()).collect())
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
        let versions = self.begin(ctx, "read_stream", |state| {
            state.stream_range(stream, &range)
        })?;
        let (log, ctx) = (self.shared.clone(), ctx.clone());
        Ok(StreamRead::new(log, ctx, stream.clone(), versions, range.direction).into_stream())
    }

    async fn read_log(&self, ctx: &Context, query: LogQuery) -> Result<EventStream, EventLogError> {
        let (after, through) = self.begin(ctx, "read_log", |state| {
            state.check_not_truncated(query.after)?;
            let (after, through) = state.seek(&query.filter);
            Ok((after.max(query.after), through.min(state.last())))
        })?;
        let (log, ctx) = (self.shared.clone(), ctx.clone());
        Ok(LogRead::new(log, ctx, query, after, through).into_stream())
    }

    async fn subscribe(
        &self,
        ctx: &Context,
        filter: EventFilter,
        after: Position,
    ) -> Result<EventStream, EventLogError> {
        let after = self.begin(ctx, "subscribe", |state| {
            state.check_not_truncated(after)?;
            Ok(state.seek(&filter).0.max(after))
        })?;
        Ok(Subscription::new(self.shared.clone(), filter, after).into_stream())
    }

    async fn head(&self, ctx: &Context, stream: &StreamId) -> Result<Option<Head>, EventLogError> {
        self.begin(ctx, "head", |state| Ok(state.head(stream).cloned()))
    }

    async fn streams(
        &self,
        ctx: &Context,
        pattern: &StreamPattern,
    ) -> Result<HeadStream, EventLogError> {
        let count = self.begin(ctx, "streams", |state| Ok(state.stream_count()))?;
        let (log, ctx) = (self.shared.clone(), ctx.clone());
        Ok(HeadRead::new(log, ctx, pattern.clone(), count).into_stream())
    }

    async fn resolve(&self, ctx: &Context, commit: CommitId) -> Result<Resolution, EventLogError> {
        self.begin(ctx, "resolve", |state| {
            Ok(match state.result_of(commit) {
                Some(result) => Resolution::Committed(result.clone()),
                None => Resolution::NotCommitted,
            })
        })
    }

    async fn stats(&self, ctx: &Context) -> Result<LogStats, EventLogError> {
        self.begin(ctx, "stats", |state| Ok(state.stats()))
    }

    async fn truncate(&self, ctx: &Context, truncation: Truncation) -> Result<(), EventLogError> {
        let Truncation { through, archived } = truncation;
        let after = self.begin(ctx, "truncate", |state| {
            state.check_cut(through)?;
            Ok(state.truncated_through())
        })?;
        let held = self.digest(ctx, after, through).await?;
        if held != archived {
            return Err(EventLogError::invalid(
                "the archive does not hold exactly the events that would go",
            )
            .with("through", through)
            .with("digest of the archive", archived)
            .with("digest of the events", held)
            .with_hint("archive the events that can be read now, up to this position, again"));
        }
        // Stored events never change, so the digest still holds unless another truncation was
        // faster; then its cut is refused here, or this one would prove too much.
        let gone = self.shared.change(|state| {
            state.check_cut(through)?;
            if state.truncated_through() != after {
                return Err(EventLogError::invalid(
                    "another truncation gave up some of these events meanwhile",
                )
                .with("through", through)
                .with("truncated through", state.truncated_through()));
            }
            Ok(state.cut(through))
        })?;
        drop(gone); // freed without the lock
        Ok(())
    }

    fn capabilities(&self) -> LogCapabilities {
        CAPABILITIES
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("MemoryLog");
        match self.shared.look(|state| Ok(state.stats())) {
            Ok(stats) => shown.field("stats", &stats),
            Err(_) => shown.field("closed", &true),
        };
        shown.finish_non_exhaustive()
    }
}

#[cold]
fn closed() -> EventLogError {
    EventLogError::closed("the store is closed").with_hint("open it again")
}
