//! What can be wrong with a history and the log it left.

use cim_ipld::ChainFault;
use cim_store::{CommitId, EventId, EventLogError, ExpectedVersion, Position, StreamId, Version};

/// Why an event should not be in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhantomOrigin {
    /// Its append was answered with an error that says it was not stored.
    Failed,
    /// Nobody ever appended it.
    NeverAppended,
}

/// What a log did that no log with the contract does.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// An acknowledged event is not there.
    #[error(
        "event {event} of commit {commit} was acknowledged as version {version} of {stream} and is not there"
    )]
    Lost {
        /// The commit.
        commit: CommitId,
        /// The event.
        event: EventId,
        /// Where it should be.
        stream: StreamId,
        /// The version that was acknowledged.
        version: Version,
    },
    /// An event is there, but not where its commit put it.
    #[error(
        "event {event} of commit {commit} should be version {version} of {stream}, and is version {found_version} of {found_stream}"
    )]
    Misplaced {
        /// The commit.
        commit: CommitId,
        /// The event.
        event: EventId,
        /// Where it should be.
        stream: StreamId,
        /// The version that it should have.
        version: Version,
        /// Where it is.
        found_stream: StreamId,
        /// The version that it has.
        found_version: Version,
    },
    /// An event is there twice.
    #[error("event {event} is there twice: at position {first} and at position {second}")]
    Duplicate {
        /// The event.
        event: EventId,
        /// Where it is first.
        first: Position,
        /// Where it is again.
        second: Position,
    },
    /// An event is there that should not be.
    #[error("event {event} is version {version} of {stream}, but {}", match origin {
        PhantomOrigin::Failed => "its append was answered with: not stored",
        PhantomOrigin::NeverAppended => "nobody appended it",
    })]
    Phantom {
        /// The event.
        event: EventId,
        /// Where it is.
        stream: StreamId,
        /// The version that it has.
        version: Version,
        /// Why it should not be there.
        origin: PhantomOrigin,
    },
    /// Only a part of a commit is there.
    #[error("commit {commit} is there in part: {found} of {count} events")]
    Torn {
        /// The commit.
        commit: CommitId,
        /// How many of its events are there, together, as it put them.
        found: usize,
        /// How many it has.
        count: usize,
    },
    /// A stream's versions are not 1, 2, 3 …
    #[error("{stream} has version {found} where version {expected} should be")]
    VersionGap {
        /// The stream.
        stream: StreamId,
        /// The version that should come.
        expected: Version,
        /// The version that came.
        found: Version,
    },
    /// Positions do not increase along the log.
    #[error("position {position} comes after position {after}")]
    PositionGoesBack {
        /// The position that came before.
        after: Position,
        /// The one that follows it.
        position: Position,
    },
    /// A stream's chain does not verify.
    #[error("the chain of a stream is broken")]
    Chain(#[from] ChainFault),
    /// A commit was acknowledged before another was called, and comes after it.
    #[error(
        "commit {earlier} was acknowledged before commit {later} was called, and comes after it in {}",
        stream.as_ref().map_or("the log", |stream| stream.as_str())
    )]
    OutOfOrder {
        /// The stream; `None` when they have none in common.
        stream: Option<StreamId>,
        /// The commit that was acknowledged.
        earlier: CommitId,
        /// The commit that was called after that.
        later: CommitId,
    },
    /// A commit was acknowledged although its expectation did not hold.
    #[error(
        "commit {commit} expected {expected} of {stream} and was acknowledged, but the stream was at version {actual}"
    )]
    BrokenExpectation {
        /// The commit.
        commit: CommitId,
        /// The stream.
        stream: StreamId,
        /// What it expected.
        expected: ExpectedVersion,
        /// The version that the stream was at.
        actual: Version,
    },
    /// A commit was acknowledged although a stream that it checked was not at that version at any
    /// moment of the call.
    #[error(
        "commit {commit} was acknowledged, but {stream} was not at version {version} at any moment of the call"
    )]
    ImpossibleCheck {
        /// The commit.
        commit: CommitId,
        /// The stream.
        stream: StreamId,
        /// The version that it checked.
        version: Version,
    },
    /// A conflict reports a version that the stream did not have, or that was the expected one.
    #[error(
        "commit {commit} was told that {stream} is at version {actual}, which it was not at any moment of the call, or which it expected ({expected})"
    )]
    ImpossibleConflict {
        /// The commit that was refused.
        commit: CommitId,
        /// The stream.
        stream: StreamId,
        /// What the commit expected.
        expected: ExpectedVersion,
        /// The version that the answer says.
        actual: Version,
    },
    /// A read gave other events than are there.
    #[error("client {client} read another event as version {version} of {stream} than is there")]
    DifferentRead {
        /// Who read.
        client: u32,
        /// The stream.
        stream: StreamId,
        /// The first version that differs.
        version: Version,
    },
    /// A read ended in the middle of a commit.
    #[error(
        "client {client} saw {stream} end at version {version}, which is in the middle of a commit"
    )]
    PartialRead {
        /// Who read.
        client: u32,
        /// The stream.
        stream: StreamId,
        /// Where the read ended.
        version: Version,
    },
    /// A read missed what was acknowledged, or seen, before it began.
    #[error(
        "client {client} saw {stream} end at version {version}, although more was there before it asked"
    )]
    StaleRead {
        /// Who read.
        client: u32,
        /// The stream.
        stream: StreamId,
        /// Where the read ended.
        version: Version,
    },
    /// A read saw what was appended after it ended.
    #[error("client {client} saw {stream} end at version {version}, before that was appended")]
    ReadOfTheFuture {
        /// Who read.
        client: u32,
        /// The stream.
        stream: StreamId,
        /// Where the read ended.
        version: Version,
    },
    /// Two readers see different logs.
    #[error("reader {replica} sees another log than the first one, from event {index} on")]
    ReplicasDiffer {
        /// Which reader, from 1.
        replica: usize,
        /// The first event that differs, from 0.
        index: usize,
    },
    /// The log could not be read.
    #[error("the log can't be read")]
    Unreadable(#[from] EventLogError),
}
