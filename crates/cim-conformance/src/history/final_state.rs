//! The log that a history left.

use std::collections::BTreeSet;

use cim_store::{Context, EventLog, EventLogError, LogQuery, RecordedEvent, StreamId, StreamRange};
use futures_util::TryStreamExt;

/// All events of a log, in order, as every reader of it sees them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FinalState {
    /// The log.
    pub events: Vec<RecordedEvent>,
    /// The same log as other readers see it: through other replicas, or stream by stream.
    pub replicas: Vec<Vec<RecordedEvent>>,
}

impl FinalState {
    /// Takes a log that was read.
    pub fn new(events: Vec<RecordedEvent>) -> Self {
        Self {
            events,
            replicas: Vec::new(),
        }
    }

    /// Reads a log twice: as a whole, and stream by stream.
    ///
    /// # Errors
    /// As the log's.
    pub async fn read(log: &dyn EventLog, ctx: &Context) -> Result<Self, EventLogError> {
        let read = log.read_log(ctx, LogQuery::all()).await?;
        let events: Vec<RecordedEvent> = read.try_collect().await?;
        let streams: BTreeSet<&StreamId> = events.iter().map(|event| &event.stream).collect();
        let mut by_stream: Vec<RecordedEvent> = Vec::with_capacity(events.len());
        for stream in streams {
            let read = log.read_stream(ctx, stream, StreamRange::all()).await?;
            by_stream.extend(read.try_collect::<Vec<_>>().await?);
        }
        by_stream.sort_by_key(|event| event.position);
        Ok(Self::new(events).with_replica(by_stream))
    }

    /// Adds the log as another reader sees it.
    #[must_use]
    pub fn with_replica(mut self, events: Vec<RecordedEvent>) -> Self {
        self.replicas.push(events);
        self
    }
}
