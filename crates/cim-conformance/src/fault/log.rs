//! A log with faults.

use std::sync::Arc;

use async_trait::async_trait;
use cim_store::ordered::one_by_one;
use cim_store::{
    Append, Appended, AppendedInOrder, CommitId, Context, EventFilter, EventLog, EventLogError,
    EventStream, Examination, Head, HeadStream, LogCapabilities, LogQuery, LogStats, OrderedAppend,
    Position, RecordedEvent, Resolution, StreamId, StreamPattern, StreamRange, Truncation,
};

use super::FaultLayer;

#[derive(Debug)]
pub(super) struct FaultyLog {
    pub(super) inner: Arc<dyn EventLog>,
    pub(super) layer: FaultLayer,
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl EventLog for FaultyLog {
    async fn append(&self, ctx: &Context, mut append: Append) -> Result<Appended, EventLogError> {
        let ids = &self.layer.shared.ids;
        let commit = *append
            .commit_id
            .get_or_insert_with(|| CommitId::from_uuid(ids.next_uuid()));
        let call = self.inner.append(ctx, append);
        self.layer
            .changing(call, |message| EventLogError::unknown(commit, message))
            .await
    }

    async fn append_in_order(&self, ctx: &Context, commits: Vec<OrderedAppend>) -> AppendedInOrder {
        one_by_one(self, ctx, commits).await
    }

    async fn read_at(
        &self,
        ctx: &Context,
        positions: &[Position],
    ) -> Result<Vec<RecordedEvent>, EventLogError> {
        self.layer.asking(self.inner.read_at(ctx, positions)).await
    }

    async fn examine(&self, ctx: &Context, after: Position) -> Result<Examination, EventLogError> {
        self.layer.asking(self.inner.examine(ctx, after)).await
    }

    async fn read_stream(
        &self,
        ctx: &Context,
        stream: &StreamId,
        range: StreamRange,
    ) -> Result<EventStream, EventLogError> {
        let call = self.inner.read_stream(ctx, stream, range);
        self.layer.asking(call).await
    }

    async fn read_log(&self, ctx: &Context, query: LogQuery) -> Result<EventStream, EventLogError> {
        self.layer.asking(self.inner.read_log(ctx, query)).await
    }

    async fn subscribe(
        &self,
        ctx: &Context,
        filter: EventFilter,
        after: Position,
    ) -> Result<EventStream, EventLogError> {
        let call = self.inner.subscribe(ctx, filter, after);
        self.layer.asking(call).await
    }

    async fn head(&self, ctx: &Context, stream: &StreamId) -> Result<Option<Head>, EventLogError> {
        self.layer.asking(self.inner.head(ctx, stream)).await
    }

    async fn streams(
        &self,
        ctx: &Context,
        pattern: &StreamPattern,
    ) -> Result<HeadStream, EventLogError> {
        self.layer.asking(self.inner.streams(ctx, pattern)).await
    }

    async fn resolve(&self, ctx: &Context, commit: CommitId) -> Result<Resolution, EventLogError> {
        self.layer.asking(self.inner.resolve(ctx, commit)).await
    }

    async fn stats(&self, ctx: &Context) -> Result<LogStats, EventLogError> {
        self.layer.asking(self.inner.stats(ctx)).await
    }

    async fn truncate(&self, ctx: &Context, truncation: Truncation) -> Result<(), EventLogError> {
        // A truncation has no commit whose outcome could be asked for; `Unavailable` is right in
        // that nothing was stored, and whoever repeats it learns what became of it.
        let call = self.inner.truncate(ctx, truncation);
        self.layer.changing(call, EventLogError::unavailable).await
    }

    fn capabilities(&self) -> LogCapabilities {
        self.inner.capabilities()
    }
}
