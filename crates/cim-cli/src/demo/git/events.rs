//! What is stored: names of streams, ids, and the payloads of the four events.
//!
//! Every id is derived from the git history (UUID version 5, RFC 9562 section 5.5), so importing
//! the same history always gives the same events and repeating an append stores nothing twice.

use cim_store::stream_id::StreamIdError;
use cim_store::{
    CausationId, CommitId, ContentType, CorrelationId, EventId, EventType, Metadata, NewEvent,
    StreamId, Timestamp,
};
use serde::{Deserialize, Serialize};
use uuid::{Uuid, uuid};

use super::object::{Mode, ObjectId};
use super::reader::{Change, ChangeKind, GitCommit, Person};
use super::text::GitText;

/// The context of all streams.
pub(crate) const CONTEXT: &str = "git";
/// The aggregate type of paths.
pub(crate) const FILE: &str = "file";
/// The aggregate type of commits.
pub(crate) const COMMIT: &str = "commit";

pub(crate) const FILE_ADDED: &str = "file_added";
pub(crate) const FILE_MODIFIED: &str = "file_modified";
pub(crate) const FILE_DELETED: &str = "file_deleted";
pub(crate) const COMMIT_RECORDED: &str = "commit_recorded";

/// The namespace of the ids of paths: `git.file.{v5(FILES, path's bytes)}`. It is itself
/// `v5(namespace URL, "https://github.com/thecowboyai/cim-domain/demo/git/files")`.
const FILES: Uuid = uuid!("5cb495dd-156f-55f9-afc1-6e487a153ef3");

/// The namespace of ids that belong to a git commit, over its hash and what follows it. It is
/// itself `v5(namespace URL, "https://github.com/thecowboyai/cim-domain/demo/git/commits")`.
const COMMITS: Uuid = uuid!("6a673e08-dc2d-51a9-9953-8ff399617298");

/// Bytes of a message that are stored; longer ones are cut, so that with every byte escaped the
/// payload stays below what a store takes.
const MESSAGE_BYTES: usize = 128 << 10;

/// The name of metadata that names the git commit of an event.
pub(crate) const GIT_COMMIT: &str = "git_commit";

/// Something of the history that can't be made an event.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EventError {
    #[error("a stream can't be named")]
    Stream(#[from] StreamIdError),
    #[error("an event can't be made")]
    Event(#[from] cim_store::event::NewEventError),
    #[error("metadata can't be made")]
    Metadata(#[from] cim_store::metadata::MetadataError),
}

/// The payload of `file_added`, `file_modified` and `file_deleted`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileChange {
    pub(crate) path: GitText,
    /// The mode since the change; of a deleted file the one it had.
    pub(crate) mode: Mode,
    /// The content's object id since the change; of a deleted file the one it had.
    pub(crate) blob: ObjectId,
}

/// The payload of `commit_recorded`.
#[derive(Serialize)]
struct CommitRecorded<'a> {
    hash: ObjectId,
    parents: &'a [ObjectId],
    author: PersonPayload<'a>,
    committer: PersonPayload<'a>,
    message: GitText,
    /// The message's whole size where it was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_bytes: Option<usize>,
}

#[derive(Serialize)]
struct PersonPayload<'a> {
    name: &'a GitText,
    email: &'a GitText,
    time: Timestamp,
    offset: &'a str,
}

impl<'a> From<&'a Person> for PersonPayload<'a> {
    fn from(person: &'a Person) -> Self {
        Self {
            name: &person.name,
            email: &person.email,
            time: Timestamp::from_seconds(person.seconds),
            offset: &person.offset,
        }
    }
}

/// The stream of a path.
pub(crate) fn file_stream(path: &[u8]) -> Result<StreamId, StreamIdError> {
    StreamId::new(CONTEXT, FILE, &Uuid::new_v5(&FILES, path).to_string())
}

/// The stream of a git commit.
pub(crate) fn commit_stream(hash: &ObjectId) -> Result<StreamId, StreamIdError> {
    StreamId::new(CONTEXT, COMMIT, &hash.to_string())
}

/// The commit id of the append that stores this part of a git commit, from 0.
pub(crate) fn append_id(hash: &ObjectId, part: u32) -> CommitId {
    CommitId::from_uuid(commit_uuid(hash, format!(" part {part}").as_bytes()))
}

fn commit_uuid(hash: &ObjectId, what: &[u8]) -> Uuid {
    let mut name = hash.to_string().into_bytes();
    name.extend_from_slice(what);
    Uuid::new_v5(&COMMITS, &name)
}

/// Makes the events of one git commit.
#[derive(Debug)]
pub(crate) struct EventMaker {
    hash: ObjectId,
    recorded_id: EventId,
    correlation_id: CorrelationId,
    time: Timestamp,
    metadata: Metadata,
}

impl EventMaker {
    pub(crate) fn new(commit: &GitCommit) -> Result<Self, EventError> {
        let hash = commit.hash;
        Ok(Self {
            hash,
            recorded_id: EventId::from_uuid(commit_uuid(&hash, b" recorded")),
            correlation_id: CorrelationId::from_uuid(commit_uuid(&hash, b"")),
            time: Timestamp::from_seconds(commit.committer.seconds),
            metadata: Metadata::from_pairs([(GIT_COMMIT, hash.to_string())])?,
        })
    }

    /// The event of one change, caused by the commit's own event.
    pub(crate) fn file(&self, change: Change) -> Result<(StreamId, NewEvent), EventError> {
        let event_type = match change.kind {
            ChangeKind::Added => FILE_ADDED,
            ChangeKind::Modified => FILE_MODIFIED,
            ChangeKind::Deleted => FILE_DELETED,
        };
        let stream = file_stream(change.path.as_bytes())?;
        let id = commit_uuid(&self.hash, &[b" file ", change.path.as_bytes()].concat());
        let payload = FileChange {
            path: change.path,
            mode: change.mode,
            blob: change.blob,
        };
        let event = self
            .event(event_type, EventId::from_uuid(id), &payload)?
            .with_causation_id(CausationId::from(self.recorded_id));
        Ok((stream, event))
    }

    /// The event of the commit itself.
    pub(crate) fn recorded(&self, commit: &GitCommit) -> Result<(StreamId, NewEvent), EventError> {
        let message = commit.message.as_bytes();
        let kept = &message[..message.len().min(MESSAGE_BYTES)];
        let payload = CommitRecorded {
            hash: commit.hash,
            parents: &commit.parents,
            author: (&commit.author).into(),
            committer: (&commit.committer).into(),
            message: GitText::new(kept),
            message_bytes: (kept.len() < message.len()).then_some(message.len()),
        };
        let event = self.event(COMMIT_RECORDED, self.recorded_id, &payload)?;
        Ok((commit_stream(&commit.hash)?, event))
    }

    fn event(
        &self,
        event_type: &'static str,
        id: EventId,
        payload: &impl Serialize,
    ) -> Result<NewEvent, EventError> {
        // Two steps rather than `NewEvent::json`, so that the type's name is not copied.
        let event_type =
            EventType::new(event_type).map_err(cim_store::event::NewEventError::from)?;
        let payload = serde_json::to_vec(payload).map_err(cim_store::event::NewEventError::from)?;
        Ok(NewEvent::new(event_type, ContentType::JSON, payload)
            .with_id(id)
            .with_time(self.time)
            .with_metadata(self.metadata.clone())
            .with_correlation_id(self.correlation_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(message: &[u8]) -> GitCommit {
        let person = || Person {
            name: GitText::new("Ann"),
            email: GitText::new("ann@example.org"),
            seconds: 1_000_000_000,
            offset: "+0200".to_owned(),
        };
        GitCommit {
            hash: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
            parents: Vec::new(),
            author: person(),
            committer: person(),
            message: GitText::new(message),
        }
    }

    #[test]
    fn namespaces_are_derived_as_documented() {
        let derived = |name: &str| {
            let url = format!("https://github.com/thecowboyai/cim-domain/demo/git/{name}");
            Uuid::new_v5(&Uuid::NAMESPACE_URL, url.as_bytes())
        };
        assert_eq!(FILES, derived("files"));
        assert_eq!(COMMITS, derived("commits"));
    }

    #[test]
    fn a_git_commit_becomes_the_documented_payloads() {
        let commit = commit(b"subject\n");
        let maker = EventMaker::new(&commit).unwrap();
        let (stream, event) = maker.recorded(&commit).unwrap();
        assert_eq!(
            stream.as_str(),
            "git.commit.0123456789abcdef0123456789abcdef01234567"
        );
        let payload = String::from_utf8(event.payload.to_vec()).unwrap();
        expect_test::expect![[r#"{"hash":"0123456789abcdef0123456789abcdef01234567","parents":[],"author":{"name":"Ann","email":"ann@example.org","time":"2001-09-09T01:46:40Z","offset":"+0200"},"committer":{"name":"Ann","email":"ann@example.org","time":"2001-09-09T01:46:40Z","offset":"+0200"},"message":"subject\n"}"#]]
        .assert_eq(&payload);
        let change = Change {
            kind: ChangeKind::Added,
            path: GitText::new("src/lib.rs"),
            mode: Mode::from_octal(b"100644").unwrap(),
            blob: commit.hash,
        };
        let (_, file) = maker.file(change).unwrap();
        assert_eq!(file.causation_id, event.id.map(CausationId::from));
        assert_eq!(file.correlation_id, event.correlation_id);
        assert_eq!(
            file.metadata.get(GIT_COMMIT),
            Some(commit.hash.to_string().as_str())
        );
    }

    #[test]
    fn a_message_that_no_store_would_take_is_cut_and_says_so() {
        let commit = commit(&[1; 2 << 20]);
        let (_, event) = EventMaker::new(&commit).unwrap().recorded(&commit).unwrap();
        assert!(event.payload.len() < 1 << 20, "{}", event.payload.len());
        let payload: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
        assert_eq!(payload["message_bytes"], 2 << 20);
    }
}
