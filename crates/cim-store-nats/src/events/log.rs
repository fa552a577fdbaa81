//! The log on NATS: [`EventLog`] over one JetStream stream.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cim_store::{
    Append, Appended, AppendedInOrder, CommitId, Context, Durability, EventFilter, EventLog,
    EventLogError, EventStream, Examination, Head, HeadStream, LogCapabilities, LogQuery, LogStats,
    OrderedAppend, Position, RecordedEvent, Resolution, StreamId, StreamPattern, StreamRange,
    Truncation, positions,
};

use super::head_cache::HeadCache;
use super::publish::Publisher;
use super::unanswered::Unanswered;
use super::{
    append, commits, examine, in_order, log_read, read_at, stream_read, streams, subscription,
};
use crate::session::Session;

/// The log of a store on NATS. Clones are the same log.
#[derive(Clone)]
pub(crate) struct NatsLog {
    pub(crate) shared: Arc<SharedLog>,
}

/// What the log shares with its readers and subscriptions.
#[derive(Debug)]
pub(crate) struct SharedLog {
    pub(crate) session: Arc<Session>,
    pub(crate) heads: HeadCache,
    pub(crate) publisher: Publisher,
    pub(crate) unanswered: Unanswered,
}

impl NatsLog {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self {
            shared: Arc::new(SharedLog {
                heads: HeadCache::new(session.settings.head_cache),
                publisher: Publisher::new(session.clone()),
                unanswered: Unanswered::default(),
                session,
            }),
        }
    }
}

#[async_trait]
impl EventLog for NatsLog {
    async fn append(&self, ctx: &Context, append: Append) -> Result<Appended, EventLogError> {
        let budget = self.shared.session.begin(ctx, "append")?;
        self.shared.session.check_writable()?;
        append::append(&self.shared, ctx, append, &budget).await
    }

    async fn append_in_order(&self, ctx: &Context, commits: Vec<OrderedAppend>) -> AppendedInOrder {
        in_order::append_in_order(&self.shared, ctx, commits).await
    }

    async fn read_at(
        &self,
        ctx: &Context,
        positions: &[Position],
    ) -> Result<Vec<RecordedEvent>, EventLogError> {
        let budget = self.shared.session.begin(ctx, "read_at")?;
        positions::check_count(positions, &self.shared.session.limits)?;
        read_at::read(&self.shared, positions, &budget).await
    }

    async fn examine(&self, ctx: &Context, after: Position) -> Result<Examination, EventLogError> {
        examine::examine(self.shared.clone(), ctx.clone(), after).await
    }

    async fn read_stream(
        &self,
        ctx: &Context,
        stream: &StreamId,
        range: StreamRange,
    ) -> Result<EventStream, EventLogError> {
        stream_read::read(self.shared.clone(), ctx.clone(), stream.clone(), range).await
    }

    async fn read_log(&self, ctx: &Context, query: LogQuery) -> Result<EventStream, EventLogError> {
        log_read::read(self.shared.clone(), ctx.clone(), query).await
    }

    async fn subscribe(
        &self,
        ctx: &Context,
        filter: EventFilter,
        after: Position,
    ) -> Result<EventStream, EventLogError> {
        subscription::subscribe(self.shared.clone(), ctx, filter, after).await
    }

    async fn head(&self, ctx: &Context, stream: &StreamId) -> Result<Option<Head>, EventLogError> {
        let budget = self.shared.session.begin(ctx, "head")?;
        self.shared.read_head(stream, &budget).await
    }

    async fn streams(
        &self,
        ctx: &Context,
        pattern: &StreamPattern,
    ) -> Result<HeadStream, EventLogError> {
        streams::list(self.shared.clone(), ctx.clone(), pattern.clone()).await
    }

    async fn resolve(&self, ctx: &Context, commit: CommitId) -> Result<Resolution, EventLogError> {
        let budget = self.shared.session.begin(ctx, "resolve")?;
        Ok(match commits::find(&self.shared, commit, &budget).await? {
            Some(stored) => Resolution::Committed(stored.result),
            None => Resolution::NotCommitted,
        })
    }

    async fn stats(&self, ctx: &Context) -> Result<LogStats, EventLogError> {
        streams::stats(&self.shared, ctx).await
    }

    async fn truncate(&self, ctx: &Context, truncation: Truncation) -> Result<(), EventLogError> {
        let _: crate::budget::Budget = self.shared.session.begin(ctx, "truncate")?;
        // A guard of a server can't tell the place of an event that was given up from one that was
        // never filled, so a writer that knows an old head could write history a second time.
        Err(
            EventLogError::unsupported("a log on NATS can't give up old events")
                .with("through", truncation.through)
                .with_hint("archive into another store, and give the JetStream stream more room"),
        )
    }

    fn capabilities(&self) -> LogCapabilities {
        let session = &self.shared.session;
        let mut capabilities = LogCapabilities::whole(Durability::Replicated {
            replicas: session.replicas,
            flush: session.flush,
        });
        capabilities.truncate = false;
        capabilities.shared_subscriptions = !session.is_inspected();
        capabilities.limits = session.limits;
        capabilities
    }
}

impl fmt::Debug for NatsLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsLog")
            .field("stream", &self.shared.session.log_stream())
            .field("heads", &self.shared.heads)
            .finish_non_exhaustive()
    }
}
