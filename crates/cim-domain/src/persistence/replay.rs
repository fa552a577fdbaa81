//! Rebuilds an aggregate from its events, and brings it up to date with those that are newer.

use cim_store::{
    Context, EventLog, EventLogError, Head, RecordedEvent, StreamId, StreamRange, Timestamp,
    Version,
};
use futures_util::TryStreamExt as _;

use super::checked_loads::StreamCheck;
use super::decoding::decode;
use super::{Loaded, RepositoryError};
use crate::Aggregate;

/// An aggregate on the way through its events.
pub(super) struct Replay<A> {
    pub(super) state: A,
    stream: StreamId,
    check: StreamCheck,
    /// The last event that was applied, and when it was stored.
    head: Option<(Head, Timestamp)>,
}

impl<A: Aggregate> Replay<A> {
    /// Before the first event.
    pub(super) fn new(stream: StreamId, check: StreamCheck) -> Self {
        Self {
            state: A::default(),
            stream,
            check,
            head: None,
        }
    }

    pub(super) fn stream(&self) -> &StreamId {
        &self.stream
    }

    pub(super) fn version(&self) -> Version {
        self.head
            .as_ref()
            .map_or(Version::NONE, |(head, _)| head.version)
    }

    /// The aggregate, if there were any events.
    pub(super) fn into_loaded(self) -> Option<Loaded<A>> {
        let state = self.state;
        self.head.map(|(head, stored_at)| Loaded {
            state,
            version: head.version,
            head,
            stored_at,
        })
    }

    /// Applies the events after the last one that was applied, up to `end` or all of them.
    pub(super) async fn advance(
        &mut self,
        log: &dyn EventLog,
        ctx: &Context,
        end: Option<Version>,
    ) -> Result<(), RepositoryError<A::Error>> {
        let range = StreamRange {
            to: end,
            ..StreamRange::from(self.version().next())
        };
        let mut events = log.read_stream(ctx, &self.stream, range).await?;
        while let Some(recorded) = events.try_next().await? {
            self.check_follows(&recorded)?;
            self.check
                .check(&recorded)
                .map_err(|fault| RepositoryError::integrity(&recorded, fault))?;
            for event in decode(&recorded)? {
                self.state.apply(&event);
            }
            let head = Head {
                stream: recorded.stream,
                version: recorded.version,
                position: recorded.position,
                cid: recorded.cid,
            };
            self.head = Some((head, recorded.stored_at));
        }
        Ok(())
    }

    /// A state from which an event is missing decides wrongly, so this is checked once more than
    /// the adapter does.
    fn check_follows(&self, recorded: &RecordedEvent) -> Result<(), EventLogError> {
        let due = self.version().next();
        if recorded.version == due && recorded.stream == self.stream {
            return Ok(());
        }
        Err(
            EventLogError::integrity("a read of a stream delivered another event than the next")
                .with("stream", &self.stream)
                .with("due", due)
                .with(
                    "delivered",
                    format!("{} of {}", recorded.version, recorded.stream),
                ),
        )
    }
}
