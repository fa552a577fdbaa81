//! Commits: what is stored as a whole or not at all.

use crate::{
    CommitId, EventCid, ExpectedVersion, NewEvent, Position, StreamId, Timestamp, Version,
};

/// One append: events for one or several streams, and checks of others. All of it is stored, or
/// nothing.
///
/// ```
/// use cim_store::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let from = StreamId::new("bank", "account", "anna")?;
/// let to = StreamId::new("bank", "account", "bert")?;
/// let bank = StreamId::new("bank", "branch", "main")?;
/// let transfer = Append::new()
///     .write(from, Version::new(4), vec![NewEvent::json("money_sent", &100)?])
///     .write(to, Version::new(9), vec![NewEvent::json("money_received", &100)?])
///     .check(bank, Version::new(1));
/// assert_eq!(transfer.event_count(), 2);
/// assert_eq!(transfer.expectations().count(), 3);
///
/// // Under an id of its own it can be appended again where the answer was lost: it is stored once.
/// # let made_with_the_order = [7; 16];
/// let id = CommitId::from_bytes(made_with_the_order);
/// assert_eq!(transfer.with_commit_id(id).commit_id, Some(id));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Append {
    /// The commit's id; a fresh one is taken where there is none. Whoever wants to repeat an
    /// append whose answer was lost gives it one.
    pub commit_id: Option<CommitId>,
    /// Whether the commit's id was made for this append alone, so that nobody can have appended
    /// under it before. A store may then save itself looking for an earlier try.
    /// [`staging::complete`](crate::staging::complete) sets it where it makes the id.
    pub fresh: bool,
    /// What is written, in this order. A stream stands in it at most once.
    pub writes: Vec<StreamWrite>,
    /// What must hold of streams that are not written.
    pub checks: Vec<Check>,
}

/// Events for one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamWrite {
    /// The stream.
    pub stream: StreamId,
    /// Where it must be for the commit to be stored.
    pub expected: ExpectedVersion,
    /// Its new events. Without any, the write only checks.
    pub events: Vec<NewEvent>,
}

/// A requirement on a stream that the commit does not write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The stream.
    pub stream: StreamId,
    /// The version it must still be at; 0: it must not exist.
    pub version: Version,
}

impl Append {
    /// An append of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this id, so that the same append can be repeated without storing it twice.
    #[must_use]
    pub fn with_commit_id(mut self, id: CommitId) -> Self {
        self.commit_id = Some(id);
        self.fresh = false;
        self
    }

    /// Also writes these events to this stream.
    #[must_use]
    pub fn write(
        mut self,
        stream: StreamId,
        expected: impl Into<ExpectedVersion>,
        events: Vec<NewEvent>,
    ) -> Self {
        self.writes.push(StreamWrite {
            stream,
            expected: expected.into(),
            events,
        });
        self
    }

    /// Also requires that this stream, which is not written, is still at this version.
    #[must_use]
    pub fn check(mut self, stream: StreamId, version: Version) -> Self {
        self.checks.push(Check { stream, version });
        self
    }

    /// How many events it would store.
    pub fn event_count(&self) -> usize {
        self.writes.iter().map(|write| write.events.len()).sum()
    }

    /// Every stream it names with what it expects of it: writes first, then checks.
    pub fn expectations(&self) -> impl Iterator<Item = (&StreamId, ExpectedVersion)> {
        let writes = self
            .writes
            .iter()
            .map(|write| (&write.stream, write.expected));
        let checks = self
            .checks
            .iter()
            .map(|check| (&check.stream, ExpectedVersion::Exact(check.version)));
        writes.chain(checks)
    }
}

/// A stream's last version, position and CID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The stream.
    pub stream: StreamId,
    /// The version of its last event.
    pub version: Version,
    /// The position of its last event.
    pub position: Position,
    /// The CID of its last event.
    pub cid: EventCid,
}

/// What an append stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The commit's id.
    pub commit_id: CommitId,
    /// The position of the commit's last event; of an append without events
    /// [`Position::NONE`].
    pub position: Position,
    /// When the store took it, where the store's answer says so; its events say it anyhow. A NATS
    /// server acknowledges without the time.
    pub stored_at: Option<Timestamp>,
    /// The new heads of the streams that got events, in the order they were written.
    pub heads: Vec<Head>,
}

impl Appended {
    /// The new head of this stream, if the commit wrote it.
    pub fn head(&self, stream: &StreamId) -> Option<&Head> {
        self.heads.iter().find(|head| head.stream == *stream)
    }
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It was stored, with this result.
    Committed(Appended),
    /// It was not stored. Where its append may still be under way it can be stored later; append
    /// it again with the same commit id to be sure of either.
    NotCommitted,
}
