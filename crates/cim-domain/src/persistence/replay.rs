//! Rebuilds an aggregate from its events, and brings it up to date with those that are newer.

use cim_store::{
    Context, EventLog, EventLogError, Head, RecordedEvent, StreamId, StreamRange, Timestamp,
    Version,
};
use futures_util::TryStreamExt as _;

use super::checked_loads::StreamCheck;
use super::decoding::Reader;
use super::error::ReplayFault;
use super::tombstone::is_tombstone;
use super::{Loaded, RepositoryError, UnknownEvents};
use crate::Aggregate;

/// An aggregate on the way through its events.
pub(super) struct Replay<A> {
    pub(super) state: A,
    stream: StreamId,
    check: StreamCheck,
    reader: Reader,
    /// The last event that was taken in.
    last: Option<Last>,
    /// How many events were read.
    read: u64,
    /// The events that were read, where somebody wants them.
    kept: Option<Vec<RecordedEvent>>,
}

struct Last {
    head: Head,
    stored_at: Timestamp,
    is_tombstone: bool,
}

/// How far events are taken in; the default: to the end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Until {
    /// No further than this version.
    pub(super) version: Option<Version>,
    /// No further than what the store had at this time.
    pub(super) as_of: Option<Timestamp>,
    /// An error where it takes more events than this.
    pub(super) max_events: Option<u64>,
}

impl<A: Aggregate> Replay<A> {
    /// Before the first event.
    pub(super) fn new(stream: StreamId, check: StreamCheck) -> Self {
        Self {
            state: A::default(),
            stream,
            check,
            reader: Reader::default(),
            last: None,
            read: 0,
            kept: None,
        }
    }

    /// With what becomes of events of unknown types.
    pub(super) fn with_unknown_events(mut self, policy: UnknownEvents) -> Self {
        self.reader = Reader::new(policy);
        self
    }

    /// How many events the state misses, because their types are unknown. One that misses any is
    /// not to be kept beyond this read.
    pub(super) fn skipped(&self) -> u64 {
        self.reader.skipped()
    }

    /// Keeps the events that are read from now on.
    pub(super) fn keep_events(&mut self) {
        self.kept.get_or_insert_default();
    }

    pub(super) fn stream(&self) -> &StreamId {
        &self.stream
    }

    pub(super) fn version(&self) -> Version {
        self.last
            .as_ref()
            .map_or(Version::NONE, |last| last.head.version)
    }

    /// The error that says that the aggregate was deleted, if it was.
    pub(super) fn deleted<E: std::error::Error + 'static>(&self) -> Option<RepositoryError<E>> {
        let (version, at) = self.tombstone()?;
        Some(RepositoryError::Deleted {
            stream: self.stream.clone(),
            version,
            at,
        })
    }

    /// Version and time of the tombstone, if the last event is one.
    pub(super) fn tombstone(&self) -> Option<(Version, Timestamp)> {
        let last = self.last.as_ref().filter(|last| last.is_tombstone)?;
        Some((last.head.version, last.stored_at))
    }

    /// The aggregate, if there is one.
    pub(super) fn into_loaded(self) -> Result<Loaded<A>, RepositoryError<A::Error>> {
        if let Some(deleted) = self.deleted() {
            return Err(deleted);
        }
        let Some(Last {
            head, stored_at, ..
        }) = self.last
        else {
            return Err(RepositoryError::NotFound {
                stream: self.stream,
            });
        };
        let (skipped, unknown) = self.reader.into_parts();
        Ok(Loaded {
            state: self.state,
            version: head.version,
            head,
            stored_at,
            events: self.kept.unwrap_or_default(),
            skipped,
            unknown,
        })
    }

    /// Takes in the events after the last one that was taken in.
    pub(super) async fn advance(
        &mut self,
        log: &dyn EventLog,
        ctx: &Context,
        until: &Until,
    ) -> Result<(), ReplayFault> {
        let range = StreamRange {
            to: until.version,
            // One more than there may be shows that there are too many.
            limit: until.max_events.map(|max| max.saturating_add(1)),
            ..StreamRange::from(self.version().next())
        };
        let mut events = log.read_stream(ctx, &self.stream, range).await?;
        while let Some(recorded) = events.try_next().await? {
            if until
                .as_of
                .is_some_and(|moment| recorded.stored_at > moment)
            {
                break;
            }
            self.read += 1;
            if until.max_events.is_some_and(|max| self.read > max) {
                return Err(ReplayFault::TooManyEvents {
                    stream: self.stream.clone(),
                    max: until.max_events.unwrap_or_default(),
                });
            }
            self.take_in(recorded)?;
        }
        Ok(())
    }

    fn take_in(&mut self, recorded: RecordedEvent) -> Result<(), ReplayFault> {
        self.check_follows(&recorded)?;
        self.check
            .check(&recorded)
            .map_err(|fault| ReplayFault::Integrity {
                stream: recorded.stream.clone(),
                version: recorded.version,
                source: fault.into(),
            })?;
        let is_tombstone = is_tombstone(&recorded);
        if is_tombstone {
            self.state = A::default();
            self.reader.forget();
        } else {
            for event in self.reader.read(&recorded)? {
                self.state.apply(&event);
            }
        }
        self.last = Some(Last {
            head: Head {
                stream: recorded.stream.clone(),
                version: recorded.version,
                position: recorded.position,
                cid: recorded.cid,
            },
            stored_at: recorded.stored_at,
            is_tombstone,
        });
        if let Some(kept) = &mut self.kept {
            kept.push(recorded);
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
