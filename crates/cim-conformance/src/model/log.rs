//! A log as a list of events and a map of streams: the contract, written as simply as possible.

use std::collections::BTreeMap;

use bytes::Bytes;
use cim_store::{
    Append, CommitId, Direction, EventId, EventType, ExpectedVersion, StreamId, StreamRange,
    Timestamp, Version,
};

/// A log that is right because it is simple.
#[derive(Clone, Debug, Default)]
pub struct LogModel {
    events: Vec<ModelEvent>,
    streams: BTreeMap<StreamId, Vec<usize>>,
    commits: BTreeMap<CommitId, ModelCommit>,
}

/// An event of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelEvent {
    /// Its id.
    pub id: EventId,
    /// Its stream.
    pub stream: StreamId,
    /// Its version.
    pub version: Version,
    /// Its type.
    pub event_type: EventType,
    /// Its payload.
    pub payload: Bytes,
    /// When it happened.
    pub time: Timestamp,
    /// Its commit.
    pub commit: CommitId,
    /// Its place in the commit, from 0.
    pub index: usize,
    /// How many events the commit has.
    pub count: usize,
}

/// What an append to the model stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelCommit {
    /// The new versions of the streams that were written, in the order in which they were.
    pub heads: Vec<(StreamId, Version)>,
    /// How many events were stored up to the end of this commit; `None`: it stored none.
    pub end: Option<usize>,
    /// The streams and types of its events.
    shape: Vec<(StreamId, EventType)>,
}

/// Why the model refuses an append.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogRefusal {
    /// A stream is not where it was expected to be.
    Conflict {
        /// The stream.
        stream: StreamId,
        /// What was expected of it.
        expected: ExpectedVersion,
        /// Where it is.
        actual: Version,
    },
    /// The append contradicts itself, or uses a commit id again.
    Invalid,
}

impl LogModel {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends. The append must have its ids and times.
    ///
    /// # Errors
    /// What a store refuses, limits apart.
    pub fn append(&mut self, append: &Append) -> Result<ModelCommit, LogRefusal> {
        let mut named: Vec<&StreamId> = append.expectations().map(|(stream, _)| stream).collect();
        let count = named.len();
        named.sort_unstable();
        named.dedup();
        if named.len() < count {
            return Err(LogRefusal::Invalid);
        }
        let commit = append.commit_id.ok_or(LogRefusal::Invalid)?;
        let shape: Vec<_> = append
            .writes
            .iter()
            .flat_map(|write| write.events.iter().map(|event| (&write.stream, event)))
            .map(|(stream, event)| (stream.clone(), event.event_type.clone()))
            .collect();
        if let Some(before) = self.commits.get(&commit) {
            return if before.shape == shape {
                Ok(before.clone())
            } else {
                Err(LogRefusal::Invalid)
            };
        }
        for (stream, expected) in append.expectations() {
            let actual = self.version(stream);
            if !expected.is_met_by(actual) {
                return Err(LogRefusal::Conflict {
                    stream: stream.clone(),
                    expected,
                    actual,
                });
            }
        }
        let count = shape.len();
        let mut heads = Vec::new();
        let mut index = 0;
        for write in &append.writes {
            for event in &write.events {
                let places = self.streams.entry(write.stream.clone()).or_default();
                places.push(self.events.len());
                self.events.push(ModelEvent {
                    id: event.id.ok_or(LogRefusal::Invalid)?,
                    stream: write.stream.clone(),
                    version: Version::new(places.len() as u64),
                    event_type: event.event_type.clone(),
                    payload: event.payload.clone(),
                    time: event.time.ok_or(LogRefusal::Invalid)?,
                    commit,
                    index,
                    count,
                });
                index += 1;
            }
            if !write.events.is_empty() {
                heads.push((write.stream.clone(), self.version(&write.stream)));
            }
        }
        let stored = ModelCommit {
            heads,
            end: (count > 0).then_some(self.events.len()),
            shape,
        };
        if count > 0 {
            self.commits.insert(commit, stored.clone());
        }
        Ok(stored)
    }

    /// The version that a stream is at.
    pub fn version(&self, stream: &StreamId) -> Version {
        Version::new(self.streams.get(stream).map_or(0, Vec::len) as u64)
    }

    /// What a read of a stream delivers.
    pub fn read_stream(&self, stream: &StreamId, range: StreamRange) -> Vec<&ModelEvent> {
        let places = self.streams.get(stream).into_iter().flatten();
        let mut events: Vec<&ModelEvent> = places
            .map(|place| &self.events[*place])
            .filter(|event| event.version >= range.from)
            .filter(|event| range.to.is_none_or(|to| event.version <= to))
            .collect();
        if range.direction == Direction::Backwards {
            events.reverse();
        }
        if let Some(limit) = range.limit {
            events.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        events
    }

    /// All events, in the order of the log.
    pub fn events(&self) -> &[ModelEvent] {
        &self.events
    }

    /// All streams with their versions.
    pub fn streams(&self) -> impl Iterator<Item = (&StreamId, Version)> {
        self.streams
            .iter()
            .map(|(stream, places)| (stream, Version::new(places.len() as u64)))
    }

    /// What a commit stored; `None` when it was not.
    pub fn commit(&self, commit: CommitId) -> Option<&ModelCommit> {
        self.commits.get(&commit)
    }
}
