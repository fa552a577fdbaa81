//! What goes wrong with CAR files of histories, and where.

use cim_ipld::car::CarError;
use cim_ipld::dag_cbor::CodecError;
use cim_ipld::{BlockError, ChainFault, Cid, EventCid};
use cim_store::staging::DecodeError;
use cim_store::stream_id::StreamIdError;
use cim_store::{CommitId, EventLogError, Position, StreamId, Version};

use super::commits::SplitCommit;

/// A page, a block of heads or a root that can't be encoded. The limits leave no way to one.
#[derive(Debug, thiserror::Error)]
#[error("a block of the file's layout can't be encoded")]
pub struct LayoutError(#[source] pub(crate) CodecError);

/// Why a history was not exported. What was written so far is no history: its header says that it
/// was never finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The log can't be read.
    #[error("the log can't be read")]
    Read(#[source] EventLogError),
    /// The beginning of what was to be exported is not in the log any more.
    #[error(
        "events up to position {through} were truncated, so the history can't be exported whole; \
         an archive holds them"
    )]
    Truncated {
        /// The last position that is gone.
        through: Position,
    },
    /// An event does not hash to its CID.
    #[error(
        "the event at position {position}, version {version} of stream {stream}, was altered: it is \
         stored under {claimed} but hashes to {actual}"
    )]
    Altered {
        /// The event's position.
        position: Position,
        /// Its stream.
        stream: StreamId,
        /// Its version there.
        version: Version,
        /// The CID it is stored under.
        claimed: EventCid,
        /// The CID of its block.
        actual: EventCid,
    },
    /// An event does not follow the one before it in its stream.
    #[error("the event at position {position} breaks its stream's chain")]
    Chain {
        /// The event's position.
        position: Position,
        /// Its stream and version, and what is wrong.
        #[source]
        fault: Box<ChainFault>,
    },
    /// An event has no block that could be read again.
    #[error("the event at position {position} is not one that can be read again")]
    Malformed {
        /// The event's position.
        position: Position,
        /// What is wrong with it.
        #[source]
        source: BlockError,
    },
    /// A commit lacks an event.
    #[error(
        "commit {}, before position {position}, is not whole: event {} of {} is missing",
        split.commit, split.missing + 1, split.count
    )]
    SplitCommit {
        /// The position of the event at which it shows.
        position: Position,
        /// The commit.
        split: SplitCommit,
    },
    /// Positions don't increase.
    #[error("position {position} comes after {previous} in the log")]
    Order {
        /// The position that came.
        position: Position,
        /// The one before it.
        previous: Position,
    },
    /// The log ended before its end.
    #[error("the log says it holds {expected} events, but gave {found}")]
    Short {
        /// How many events the log said it holds when the export began.
        expected: u64,
        /// How many came.
        found: u64,
    },
    /// The file can't be written.
    #[error("the file can't be written")]
    Write(#[source] CarError),
    /// The root can't be written into the file's header.
    #[error("the file's header can't be written")]
    Header(#[source] std::io::Error),
    /// A block of the layout can't be encoded.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The thread that writes the file ended without an answer.
    #[error("the thread that writes the file ended unexpectedly")]
    Thread(#[source] Option<tokio::task::JoinError>),
}

impl From<CarError> for ExportError {
    fn from(error: CarError) -> Self {
        Self::Write(error)
    }
}

/// Why a file is not read as a history. Nothing of it can be trusted but the events before it, and
/// these only as a beginning.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryFileError {
    /// It is not a whole CAR file.
    #[error("the file is not a whole CAR file")]
    Car(#[from] CarError),
    /// It is a CAR file, but of something else.
    #[error("this CAR file holds no exported history: its header names {found} roots, not one")]
    Roots {
        /// How many roots the header names.
        found: usize,
    },
    /// The export that wrote it did not come to its end.
    #[error("the export that wrote this file did not come to its end; export again")]
    Unfinished,
    /// It is not the history that was asked for.
    #[error("the file's root is {found}, not {expected}")]
    OtherRoot {
        /// The root that was asked for.
        expected: Box<Cid>,
        /// The root that the file has.
        found: Box<Cid>,
    },
    /// A block does not hash to its CID.
    #[error(
        "byte {offset}: the block was altered: it stands under {claimed} but hashes to {actual}"
    )]
    Altered {
        /// The byte at which the block's section begins.
        offset: u64,
        /// The CID it stands under.
        claimed: EventCid,
        /// The CID of its bytes.
        actual: EventCid,
    },
    /// An event does not follow the one before it in its stream.
    #[error("byte {offset}: event {event} of the file breaks its stream's chain")]
    Chain {
        /// The byte at which the event's section begins.
        offset: u64,
        /// Which event of the file it is, from 1.
        event: u64,
        /// Stream, version, and what is wrong.
        #[source]
        fault: Box<ChainFault>,
    },
    /// An event is none.
    #[error("byte {offset}: event {event} of the file is not an event's block")]
    Malformed {
        /// The byte at which the event's section begins.
        offset: u64,
        /// Which event of the file it is, from 1.
        event: u64,
        /// What is wrong with it.
        #[source]
        source: BlockError,
    },
    /// An event's block has a format of a later release.
    #[error(
        "byte {offset}: event {event} of the file has a block of format version {found}; this release \
         reads version 1, a newer one may read it"
    )]
    EventVersion {
        /// The byte at which the event's section begins.
        offset: u64,
        /// Which event of the file it is, from 1.
        event: u64,
        /// The format version found.
        found: u64,
    },
    /// An event names a stream that can't be.
    #[error("event {event} of the file belongs to a stream that can't be")]
    Stream {
        /// Which event of the file it is, from 1.
        event: u64,
        /// What is wrong with the stream's name.
        #[source]
        source: StreamIdError,
    },
    /// An event has a value that no store takes.
    #[error("event {event} of the file can't have been stored")]
    Event {
        /// Which event of the file it is, from 1.
        event: u64,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// A block is not the one that the events before it lead to.
    #[error("byte {offset}: {what}")]
    Layout {
        /// The byte at which the block's section begins.
        offset: u64,
        /// What stands there and what should.
        what: String,
    },
    /// The layout is a newer one.
    #[error(
        "byte {offset}: the layout has version {found}; this release reads version 1, a newer one may read it"
    )]
    Version {
        /// The byte at which the root's section begins.
        offset: u64,
        /// The version found.
        found: u64,
    },
    /// It ends before its root.
    #[error("the file ends after event {events}, before its root: it was cut off")]
    Cut {
        /// How many events it has.
        events: u64,
    },
    /// A commit lacks an event, so it can be read and checked, but not stored as it was.
    #[error(
        "commit {} is not whole in the file: event {} of {} is not there{}",
        split.commit, split.missing + 1, split.count, of_streams(streams)
    )]
    SplitCommit {
        /// The commit.
        split: SplitCommit,
        /// The streams that the commit wrote and the file has, as far as they are known.
        streams: Vec<String>,
    },
    /// The events of a commit can't be those of one commit.
    #[error("commit {commit} can't have been stored as one: {why}")]
    NotOneCommit {
        /// The commit.
        commit: CommitId,
        /// What its events disagree about.
        why: &'static str,
    },
    /// Two commits have one id. No store stores an id twice, so somebody made the file up.
    #[error(
        "byte {offset}: event {event} of the file begins commit {commit}, which stands in the file \
         before: no store has two commits with one id"
    )]
    RepeatedCommit {
        /// The byte at which the event's section begins.
        offset: u64,
        /// Which event of the file it is, from 1.
        event: u64,
        /// The commit.
        commit: CommitId,
    },
    /// A block of the layout can't be made to compare it.
    #[error(transparent)]
    Encode(#[from] LayoutError),
}

/// The streams of a commit that are there, as a part of a sentence.
fn of_streams(streams: &[String]) -> String {
    if streams.is_empty() {
        return String::new();
    }
    let (named, more) = streams.split_at(streams.len().min(NAMED_STREAMS));
    let more = match more.len() {
        0 => String::new(),
        number => format!(" and {number} more"),
    };
    format!(
        "; it belongs to another stream than {}{more}",
        named.join(", ")
    )
}

/// A commit can have written thousands of streams, and a sentence has an end.
const NAMED_STREAMS: usize = 5;

impl HistoryFileError {
    /// Whether nothing of the file is damaged as far as it was read, but it can't be stored as it is.
    pub fn is_not_importable(&self) -> bool {
        matches!(
            self,
            Self::Roots { .. }
                | Self::Version { .. }
                | Self::EventVersion { .. }
                | Self::SplitCommit { .. }
                | Self::NotOneCommit { .. }
                | Self::Event { .. }
                | Self::Stream { .. }
        )
    }
}

/// Why a history was not imported, or not to its end. What is stored is a beginning of the file,
/// made of whole commits; the same import again goes on after it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file is damaged, or can't be stored as it is.
    #[error(transparent)]
    File(#[from] HistoryFileError),
    /// The store holds something else than a beginning of the file. Nothing was stored.
    #[error(
        "the store holds another history: its event {event}, at position {position}, is version \
         {version} of stream {stream}, and not the file's"
    )]
    OtherHistory {
        /// Which event of the store it is, from 1.
        event: u64,
        /// Its position.
        position: Position,
        /// Its stream.
        stream: StreamId,
        /// Its version there.
        version: Version,
    },
    /// The store holds the whole file and more. Nothing was stored.
    #[error(
        "the store holds all {events} events of the file and more: position {position} is version \
         {version} of stream {stream}"
    )]
    MoreThanFile {
        /// How many events the file has.
        events: u64,
        /// The position of the first event beyond them.
        position: Position,
        /// Its stream.
        stream: StreamId,
        /// Its version there.
        version: Version,
    },
    /// The beginning of the store's log was truncated, so it can't be compared. Nothing was stored.
    #[error("events of the store up to position {through} were truncated, so it is not empty")]
    TruncatedTarget {
        /// The last position that is gone.
        through: Position,
    },
    /// The store's log ends inside a commit of the file. Nothing was stored.
    #[error("the store's log ends inside commit {commit}; `cim verify` names every damaged place")]
    HalfCommit {
        /// The commit.
        commit: CommitId,
    },
    /// The store can't be read.
    #[error("the store can't be read")]
    Read(#[source] EventLogError),
    /// The store did not take a commit.
    #[error("event {event} of the file, the first of commit {commit}, is not stored")]
    Store {
        /// Which event of the file it is, from 1.
        event: u64,
        /// Its commit.
        commit: CommitId,
        /// Why.
        #[source]
        source: EventLogError,
    },
    /// The store acknowledged something else than what it was given.
    #[error("commit {commit} was stored with other CIDs than the file's: {what}")]
    OtherCid {
        /// The commit.
        commit: CommitId,
        /// What was stored and what should have been.
        what: String,
    },
    /// Somebody else appended meanwhile.
    #[error(
        "the file has {file} events, but the store holds {found}: somebody else wrote to it meanwhile"
    )]
    Mixed {
        /// Events of the file.
        file: u64,
        /// Events of the store.
        found: u64,
    },
    /// The progress callback asked to stop.
    #[error("stopped after event {events} of the file, as asked")]
    Stopped {
        /// How many events of the file the store holds.
        events: u64,
    },
    /// The thread that reads the file ended without an answer.
    #[error("the thread that reads the file ended unexpectedly")]
    Thread(#[source] Option<tokio::task::JoinError>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_few_of_many_streams() {
        let split = SplitCommit {
            commit: CommitId::from_bytes([1; 16]),
            missing: 0,
            count: 9,
        };
        let told = |number: usize| {
            let streams = (1..=number).map(|number| format!("a.b.{number}")).collect();
            let error = HistoryFileError::SplitCommit { split, streams };
            let told = error.to_string();
            told.split_once(" is not there").unwrap().1.to_owned()
        };
        let five = "; it belongs to another stream than a.b.1, a.b.2, a.b.3, a.b.4, a.b.5";
        assert_eq!(told(0), "");
        assert_eq!(told(5), five);
        assert_eq!(told(7), format!("{five} and 2 more"));
    }
}
