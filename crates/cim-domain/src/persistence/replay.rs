//! Rebuilds an aggregate from its events, and brings it up to date with those that are newer.

use cim_store::{
    Context, EventLog, EventLogError, Head, RecordedEvent, StreamId, StreamRange, Timestamp,
    Version,
};
use futures_util::TryStreamExt as _;

use super::checked_loads::StreamCheck;
use super::decoding::Reader;
use super::error::ReplayFault;
use super::snapshot::IgnoredSnapshot;
use super::tombstone::{Tombstone, is_tombstone};
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
    /// How many events were read, and how many bytes their payloads have.
    read: u64,
    read_bytes: u64,
    /// How many bytes the payloads have that came before, or the snapshot in their place.
    earlier_bytes: u64,
    /// The events that were read, where somebody wants them.
    kept: Option<Vec<RecordedEvent>>,
}

/// An aggregate as it was rebuilt, to go on from later.
pub(super) struct Remembered<A> {
    pub(super) state: A,
    pub(super) last: Last,
    /// Whether it is known when the last event was stored. Not every store says so with an append.
    pub(super) has_time: bool,
    /// Bytes of the payloads of all events that it was rebuilt from, as far as they are known.
    pub(super) bytes: u64,
}

/// The last event that an aggregate was rebuilt from.
#[derive(Clone)]
pub(super) struct Last {
    pub(super) head: Head,
    pub(super) stored_at: Timestamp,
    pub(super) is_tombstone: bool,
}

impl Last {
    /// It as a tombstone, if it is one.
    pub(super) fn tombstone(&self) -> Option<Tombstone> {
        self.is_tombstone.then(|| Tombstone {
            stream: self.head.stream.clone(),
            version: self.head.version,
            at: self.stored_at,
        })
    }
}

/// What is not known of what was remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Whether the log has anything newer.
    MayBeBehind,
    /// The same, and when the last event was stored.
    HasNoTime,
    /// The log has something newer. Whether it follows?
    IsBehind,
}

/// How what was remembered stands to the log.
enum Standing {
    /// The log has nothing newer.
    Newest,
    /// The log has something newer, which should follow it.
    Older,
    /// The log has something else in its place.
    Elsewhere,
}

/// Whether what the log has after the last event that is known follows that one.
enum Follows {
    Yes,
    /// It follows another one.
    No,
    /// There is nothing after it.
    Nothing,
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
            read_bytes: 0,
            earlier_bytes: 0,
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

    /// Goes behind an event, with the state that the events up to it make and the bytes it takes.
    pub(super) fn resume(&mut self, state: A, head: Head, stored_at: Timestamp, bytes: u64) {
        self.state = state;
        self.last = Some(Last {
            head,
            stored_at,
            is_tombstone: false,
        });
        self.earlier_bytes = bytes;
    }

    /// Goes on from what was remembered.
    pub(super) fn go_on(&mut self, remembered: Remembered<A>) {
        self.state = remembered.state;
        self.last = Some(remembered.last);
        (self.earlier_bytes, self.read_bytes) = (remembered.bytes, 0);
    }

    /// Gives away what was rebuilt, if there were any events and the state misses none of them.
    pub(super) fn remember(&mut self) -> Option<Remembered<A>> {
        if self.skipped() > 0 {
            return None;
        }
        Some(Remembered {
            last: self.last.take()?,
            state: std::mem::take(&mut self.state),
            has_time: true,
            bytes: self.earlier_bytes + self.read_bytes,
        })
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

    /// The last event that was taken in, and when the store took it.
    pub(super) fn last(&self) -> Option<(&Head, Timestamp)> {
        let last = self.last.as_ref()?;
        Some((&last.head, last.stored_at))
    }

    /// The same, where there is an aggregate and its state misses nothing.
    pub(super) fn present(&self) -> Option<(&Head, Timestamp)> {
        self.last()
            .filter(|_| !self.is_deleted() && self.skipped() == 0)
    }

    /// Whether the aggregate was deleted.
    pub(super) fn is_deleted(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.is_tombstone)
    }

    /// How many bytes the payloads have of the events that were read.
    pub(super) fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// The tombstone, if the last event is one.
    pub(super) fn tombstone(&self) -> Option<Tombstone> {
        self.last.as_ref()?.tombstone()
    }

    /// The aggregate, if there is one.
    pub(super) fn into_loaded(self) -> Result<Loaded<A>, RepositoryError<A::Error>> {
        if let Some(tombstone) = self.tombstone() {
            return Err(tombstone.into());
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
        let range = self.range(until);
        let mut events = log.read_stream(ctx, &self.stream, range).await?;
        while let Some(recorded) = events.try_next().await? {
            if !self.take_next(recorded, until)? {
                break;
            }
        }
        Ok(())
    }

    /// As [`advance`](Self::advance), where the state so far is a snapshot: only if that stands on
    /// the log. Otherwise this is good for nothing more, and the reason is the answer.
    pub(super) async fn advance_if_on(
        &mut self,
        log: &dyn EventLog,
        ctx: &Context,
        until: &Until,
    ) -> Result<Option<IgnoredSnapshot>, ReplayFault> {
        match self.take_what_follows(log, ctx, until).await? {
            Follows::Yes => Ok(None),
            Follows::No => Ok(Some(IgnoredSnapshot::OtherHistory)),
            Follows::Nothing => self.stands_at_the_end_of(log, ctx).await,
        }
    }

    /// As [`advance`](Self::advance), where the state so far was remembered: only if the log still
    /// has what that stands on. Otherwise, after a server was restored from a copy say, the answer
    /// is no, and this is good for nothing more.
    pub(super) async fn advance_remembered(
        &mut self,
        log: &dyn EventLog,
        ctx: &Context,
        until: &Until,
        doubt: Doubt,
    ) -> Result<bool, ReplayFault> {
        match self.compare(log, ctx, doubt).await? {
            Standing::Newest => return Ok(true),
            Standing::Older => {}
            Standing::Elsewhere => return Ok(false),
        }
        let follows = self.take_what_follows(log, ctx, until).await?;
        Ok(matches!(follows, Follows::Yes))
    }

    /// Takes in the events after the last one that is known, if they follow that one.
    async fn take_what_follows(
        &mut self,
        log: &dyn EventLog,
        ctx: &Context,
        until: &Until,
    ) -> Result<Follows, ReplayFault> {
        let range = self.range(until);
        let mut events = log.read_stream(ctx, &self.stream, range).await?;
        let Some(first) = events.try_next().await? else {
            return Ok(Follows::Nothing);
        };
        if first.previous != self.last().map(|(head, _)| head.cid) {
            return Ok(Follows::No);
        }
        let mut next = Some(first);
        while let Some(recorded) = next {
            if !self.take_next(recorded, until)? {
                break;
            }
            next = events.try_next().await?;
        }
        Ok(Follows::Yes)
    }

    /// Asks the log how what was remembered stands to it. One look at the head is enough, mostly.
    async fn compare(
        &mut self,
        log: &dyn EventLog,
        ctx: &Context,
        doubt: Doubt,
    ) -> Result<Standing, EventLogError> {
        let newest = match doubt {
            Doubt::IsBehind => return Ok(Standing::Older),
            Doubt::MayBeBehind => {
                let head = log.head(ctx, &self.stream).await?;
                head.map(|head| (head.version, head.cid, None))
            }
            Doubt::HasNoTime => {
                let range = StreamRange::all().backwards().limit(1);
                let mut events = log.read_stream(ctx, &self.stream, range).await?;
                let event = events.try_next().await?;
                event.map(|event| (event.version, event.cid, Some(event.stored_at)))
            }
        };
        let (Some(last), Some((version, cid, time))) = (&mut self.last, newest) else {
            return Ok(Standing::Elsewhere);
        };
        if (version, cid) == (last.head.version, last.head.cid) {
            last.stored_at = time.unwrap_or(last.stored_at);
            return Ok(Standing::Newest);
        }
        Ok(match version > last.head.version {
            true => Standing::Older,
            false => Standing::Elsewhere,
        })
    }

    /// Whether the event that the state stands on is in the log, where none was read after it.
    async fn stands_at_the_end_of(
        &self,
        log: &dyn EventLog,
        ctx: &Context,
    ) -> Result<Option<IgnoredSnapshot>, ReplayFault> {
        let Some((due, _)) = self.last() else {
            return Ok(None);
        };
        let cid = match log.head(ctx, &self.stream).await? {
            Some(head) if head.version == due.version => head.cid,
            // The load ends before the stream does.
            Some(head) if head.version > due.version => {
                let range = StreamRange::from(due.version).to(due.version);
                let mut events = log.read_stream(ctx, &self.stream, range).await?;
                match events.try_next().await? {
                    Some(recorded) if recorded.version == due.version => recorded.cid,
                    _ => return Ok(Some(IgnoredSnapshot::OtherHistory)),
                }
            }
            _ => return Ok(Some(IgnoredSnapshot::AheadOfLog)),
        };
        Ok((cid != due.cid).then_some(IgnoredSnapshot::OtherHistory))
    }

    /// The events after the last one that was taken in.
    fn range(&self, until: &Until) -> StreamRange {
        StreamRange {
            to: until.version,
            // One more than there may be shows that there are too many.
            limit: until.max_events.map(|max| max.saturating_add(1)),
            ..StreamRange::from(self.version().next())
        }
    }

    /// Takes in the next event; `false` where it and what follows is too late.
    fn take_next(&mut self, recorded: RecordedEvent, until: &Until) -> Result<bool, ReplayFault> {
        if until
            .as_of
            .is_some_and(|moment| recorded.stored_at > moment)
        {
            return Ok(false);
        }
        self.read += 1;
        self.read_bytes += recorded.payload.len() as u64;
        if until.max_events.is_some_and(|max| self.read > max) {
            return Err(ReplayFault::TooManyEvents {
                stream: self.stream.clone(),
                max: until.max_events.unwrap_or_default(),
            });
        }
        self.take_in(recorded)?;
        Ok(true)
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
        self.check_is_linked(&recorded)?;
        let is_tombstone = is_tombstone(&recorded.event_type);
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

    /// A log that was put back to an older state between two reads, and written anew, has other
    /// events before this one than those that were taken in.
    fn check_is_linked(&self, recorded: &RecordedEvent) -> Result<(), EventLogError> {
        let before = self.last.as_ref().map(|last| last.head.cid);
        if before.is_none() || recorded.previous == before {
            return Ok(());
        }
        Err(
            EventLogError::integrity("an event follows another one than the last that was read")
                .with("stream", &self.stream)
                .with("version", recorded.version),
        )
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
