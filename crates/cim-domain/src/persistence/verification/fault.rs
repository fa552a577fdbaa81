//! What a verification finds wrong, and where.

use std::fmt;

use cim_ipld::{ChainFault, ChainFaultKind};
use cim_store::{EventCid, Head, Position, StreamId, Version};

use super::heads::VerifiedHead;

/// Something that is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerificationFault {
    /// The stream; `None` where it is the log as a whole.
    pub stream: Option<StreamId>,
    /// The version at which it shows: all versions before it are verified.
    pub version: Option<Version>,
    /// The position at which it shows, where it has one.
    pub position: Option<Position>,
    /// What is wrong.
    pub kind: VerificationFaultKind,
    /// What is wrong, in a sentence without its place.
    pub message: String,
}

/// The kinds of [`VerificationFault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VerificationFaultKind {
    /// What is stored are not the bytes that were stored: they don't hash to the CID.
    Altered,
    /// Events are missing; later ones of the stream are there.
    Removed,
    /// Events stand in another order than their versions say.
    Reordered,
    /// An event stands there twice.
    Repeated,
    /// An event continues another history than the one before it, or two events claim one place.
    Forked,
    /// The last events are missing: the stream was longer before, or its head says so.
    Cut,
    /// What stands there hashes to its CID, but is no event.
    Malformed,
    /// An event is filed under another stream or version than its own.
    Misfiled,
    /// A place in the log where nothing can be read, and which no stream claims.
    Damaged,
    /// Positions or times of the log go back, or an event stands elsewhere than it was verified.
    Order,
    /// A commit is not whole.
    Commit,
    /// The events are sound, but the store's own index does not lead to them.
    Index,
}

impl VerificationFaultKind {
    /// One word, as `cim verify` prints it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Altered => "altered",
            Self::Removed => "removed",
            Self::Reordered => "reordered",
            Self::Repeated => "repeated",
            Self::Forked => "forked",
            Self::Cut => "cut",
            Self::Malformed => "malformed",
            Self::Misfiled => "misfiled",
            Self::Damaged => "damaged",
            Self::Order => "order",
            Self::Commit => "commit",
            Self::Index => "index",
        }
    }
}

impl fmt::Display for VerificationFaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl VerificationFault {
    /// Of a stream.
    pub(super) fn of(
        stream: &StreamId,
        version: Version,
        position: Option<Position>,
        kind: VerificationFaultKind,
        message: impl Into<String>,
    ) -> Self {
        Self {
            stream: Some(stream.clone()),
            version: Some(version),
            position,
            kind,
            message: message.into(),
        }
    }

    /// Of the log as a whole.
    pub(super) fn of_log(
        position: Option<Position>,
        kind: VerificationFaultKind,
        message: impl Into<String>,
    ) -> Self {
        Self {
            stream: None,
            version: None,
            position,
            kind,
            message: message.into(),
        }
    }

    /// Of a stream that is not there any more.
    pub(super) fn of_gone(stream: &StreamId, known: &VerifiedHead) -> Self {
        let message = format!(
            "the stream was verified up to version {}, and is not there any more",
            known.version
        );
        let first = Version::new(1);
        Self::of(stream, first, None, VerificationFaultKind::Cut, message)
    }

    /// Of a stream that ends before what was verified.
    pub(super) fn of_shorter(stream: &StreamId, known: &VerifiedHead, ends: u64) -> Self {
        let message = format!(
            "the stream was verified up to version {}, and ends with version {ends} now",
            known.version
        );
        let version = Version::new(ends).next();
        Self::of(stream, version, None, VerificationFaultKind::Cut, message)
    }

    /// Of a stream whose events are all truncated, where its head does not fit what was verified.
    pub(super) fn of_truncated(
        stream: &StreamId,
        known: &VerifiedHead,
        listed: Option<&Head>,
    ) -> Option<Self> {
        let Some(listed) = listed else {
            return Some(Self::of_gone(stream, known));
        };
        let ends = listed.version.get();
        if ends < known.version {
            return Some(Self::of_shorter(stream, known, ends));
        }
        (ends == known.version && listed.cid != known.cid).then(|| {
            let message = format!(
                "the head names {}, but what was verified before was {}",
                listed.cid, known.cid
            );
            let at = Some(listed.position);
            Self::of(
                stream,
                listed.version,
                at,
                VerificationFaultKind::Forked,
                message,
            )
        })
    }

    /// Of an event in the place of one that was verified.
    pub(super) fn of_replaced(
        stream: &StreamId,
        position: Position,
        known: &VerifiedHead,
        cid: EventCid,
    ) -> Self {
        let message = format!("the event is {cid}, but {} was verified before", known.cid);
        let (version, kind) = (Version::new(known.version), VerificationFaultKind::Forked);
        Self::of(stream, version, Some(position), kind, message)
    }

    /// Of an event that was verified, and stands elsewhere in the log now.
    pub(super) fn of_moved(stream: &StreamId, position: Position, known: &VerifiedHead) -> Self {
        let message = format!(
            "the event stood at position {} when it was verified before: the order between streams \
             was changed",
            known.position
        );
        let (version, kind) = (Version::new(known.version), VerificationFaultKind::Order);
        Self::of(stream, version, Some(position), kind, message)
    }

    /// Of a stream's chain, at the event that stands at `position`.
    pub(super) fn of_chain(stream: &StreamId, position: Position, fault: &ChainFault) -> Self {
        let (kind, version) = match &fault.kind {
            ChainFaultKind::Altered { .. } => (VerificationFaultKind::Altered, fault.version),
            ChainFaultKind::Malformed(_) => (VerificationFaultKind::Malformed, fault.version),
            ChainFaultKind::WrongStream { .. } => (VerificationFaultKind::Misfiled, fault.version),
            ChainFaultKind::Gap { .. } => (VerificationFaultKind::Removed, fault.version),
            ChainFaultKind::Repeated { found } => (VerificationFaultKind::Repeated, *found),
            ChainFaultKind::Reordered { found } => (VerificationFaultKind::Reordered, *found),
            ChainFaultKind::Rival { .. } => (
                VerificationFaultKind::Forked,
                fault.version.saturating_sub(1),
            ),
            _ => (VerificationFaultKind::Forked, fault.version),
        };
        Self {
            stream: Some(stream.clone()),
            version: Some(Version::new(version)),
            position: Some(position),
            kind,
            message: without_place(fault),
        }
    }
}

/// What a fault of a chain says behind its place.
fn without_place(fault: &ChainFault) -> String {
    let place = format!("stream {}, version {}: ", fault.stream, fault.version);
    let message = fault.to_string();
    match message.strip_prefix(&place) {
        Some(rest) => rest.to_owned(),
        None => message,
    }
}

impl fmt::Display for VerificationFault {
    /// Where it is, and what is wrong.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.stream {
            Some(stream) => write!(f, "stream {stream}")?,
            None => f.write_str("the log")?,
        }
        if let Some(version) = self.version {
            write!(f, ", version {version}")?;
        }
        if let Some(position) = self.position {
            write!(f, ", position {position}")?;
        }
        write!(f, ": {}", self.message)
    }
}
