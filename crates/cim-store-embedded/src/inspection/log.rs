//! The log of a store that is inspected: the port, with what can be done.

use std::sync::Arc;

use async_trait::async_trait;
use cim_store::{
    Append, Appended, AppendedInOrder, CommitId, Context, Durability, EventFilter, EventLog,
    EventLogError, EventStream, Examination, Head, HeadStream, LogCapabilities, LogQuery, LogStats,
    OrderedAppend, Position, RecordedEvent, Resolution, StreamId, StreamPattern, StreamRange,
    Truncation,
};
use futures_util::StreamExt;

use super::Inspected;
use super::heads::HeadList;
use super::report::Report;
use crate::events::examination::examination;
use crate::events::log_read::Yielding;
use crate::index::Index;

/// The log of a store that is inspected.
#[derive(Debug)]
pub(super) struct InspectedLog(pub(super) Arc<Inspected>);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl EventLog for InspectedLog {
    async fn append(&self, ctx: &Context, _: Append) -> Result<Appended, EventLogError> {
        Err(self.0.refuse(ctx, "an append"))
    }

    async fn append_in_order(&self, ctx: &Context, commits: Vec<OrderedAppend>) -> AppendedInOrder {
        let refused = || self.0.refuse(ctx, "an append");
        AppendedInOrder {
            appended: Vec::new(),
            error: (!commits.is_empty()).then(refused),
        }
    }

    async fn read_stream(
        &self,
        ctx: &Context,
        _: &StreamId,
        _: StreamRange,
    ) -> Result<EventStream, EventLogError> {
        Err(self.0.refuse(ctx, "a read"))
    }

    async fn read_log(&self, ctx: &Context, _: LogQuery) -> Result<EventStream, EventLogError> {
        Err(self.0.refuse(ctx, "a read"))
    }

    async fn read_at(
        &self,
        ctx: &Context,
        _: &[Position],
    ) -> Result<Vec<RecordedEvent>, EventLogError> {
        Err(self.0.refuse(ctx, "a read"))
    }

    async fn examine(&self, ctx: &Context, after: Position) -> Result<Examination, EventLogError> {
        self.0.check(ctx, "the examination")?;
        Ok(examination(Report::new(Arc::clone(&self.0), after)))
    }

    async fn subscribe(
        &self,
        ctx: &Context,
        _: EventFilter,
        _: Position,
    ) -> Result<EventStream, EventLogError> {
        Err(self.0.refuse(ctx, "a subscription"))
    }

    async fn head(&self, ctx: &Context, _: &StreamId) -> Result<Option<Head>, EventLogError> {
        Err(self.0.refuse(ctx, "a lookup"))
    }

    async fn streams(
        &self,
        ctx: &Context,
        pattern: &StreamPattern,
    ) -> Result<HeadStream, EventLogError> {
        self.0.check(ctx, "the listing")?;
        let heads = HeadList::new(Arc::clone(&self.0), pattern.clone())?;
        let heads = Yielding::new(heads).filter_map(std::future::ready);
        Ok(heads.boxed())
    }

    async fn resolve(&self, ctx: &Context, _: CommitId) -> Result<Resolution, EventLogError> {
        Err(self.0.refuse(ctx, "a lookup"))
    }

    /// How much there should be: what was flushed, whether or not it is still there. The streams are
    /// those that the index knows.
    async fn stats(&self, ctx: &Context) -> Result<LogStats, EventLogError> {
        self.0.check(ctx, "the count")?;
        let files = &self.0.files;
        let (first, last) = files.positions();
        Ok(LogStats {
            events: last.get() - files.truncated_through,
            streams: self.0.index.as_ref().map_or(0, Index::heads),
            first,
            last,
            truncated_through: Position::new(files.truncated_through),
            bytes: files.bytes,
        })
    }

    async fn truncate(&self, ctx: &Context, _: Truncation) -> Result<(), EventLogError> {
        Err(self.0.refuse(ctx, "a truncation"))
    }

    fn capabilities(&self) -> LogCapabilities {
        let mut capabilities = LogCapabilities::whole(Durability::Disk);
        capabilities.truncate = false;
        capabilities
    }
}
