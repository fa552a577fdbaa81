//! What a history consists of, and its form as lines of JSON.
//!
//! A line is one thing that happened: a call, or the answer to one. Their order is the order in
//! which they happened, so a line's number is its moment. A history of a process that was killed
//! is what it had written by then; its last line may be torn.

use cim_store::{CommitId, EventId, ExpectedVersion, StreamId, Version};
use serde::{Deserialize, Serialize};

/// What clients asked of a log and were told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The operations, in the order in which they were called.
    pub operations: Vec<Operation>,
    /// The next moment that has not been used.
    pub(crate) end: u64,
}

/// One call and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Which client called.
    pub client: u32,
    /// The moment of the call. Moments only tell before from after.
    pub invoked: u64,
    /// The moment of the answer; `None` when there was none.
    pub completed: Option<u64>,
    /// What was asked.
    pub call: Call,
    /// What was answered; [`Outcome::Unknown`] when nothing was.
    pub outcome: Outcome,
}

/// What a client asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// To store a commit.
    Append(AppendCall),
    /// To read a stream from this version to its end.
    Read {
        /// The stream.
        stream: StreamId,
        /// The first version.
        from: Version,
    },
    /// Where a stream's head is.
    Head {
        /// The stream.
        stream: StreamId,
    },
}

/// A commit that a client asked to be stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendCall {
    /// Its id.
    pub commit: CommitId,
    /// What it writes, in order.
    pub writes: Vec<WriteCall>,
    /// What it requires of other streams.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckCall>,
}

/// What a commit writes to one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteCall {
    /// The stream.
    pub stream: StreamId,
    /// Where it must be.
    #[serde(with = "ExpectedVersionForm")]
    pub expected: ExpectedVersion,
    /// The ids of the events, in order.
    pub events: Vec<EventId>,
}

/// What a commit requires of a stream that it does not write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckCall {
    /// The stream.
    pub stream: StreamId,
    /// The version it must be at.
    pub version: Version,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The commit is stored, at these versions.
    Appended(Vec<Written>),
    /// The commit is not stored, because a stream is at another version.
    Conflict {
        /// The stream.
        stream: StreamId,
        /// What was expected of it.
        #[serde(with = "ExpectedVersionForm")]
        expected: ExpectedVersion,
        /// The version it is at.
        actual: Version,
    },
    /// The commit is not stored, or the read gave nothing.
    Failed,
    /// The commit may be stored.
    Unknown,
    /// The events that were read.
    Read(Vec<Seen>),
    /// The version that the head is at; 0 when there is none.
    Head(Version),
}

/// The versions that a commit's events have in one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The stream.
    pub stream: StreamId,
    /// The version of its first event.
    pub first: Version,
    /// The version of its last event.
    pub last: Version,
}

/// An event that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its version.
    pub version: Version,
    /// Its id.
    pub id: EventId,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ExpectedVersion", rename_all = "snake_case")]
enum ExpectedVersionForm {
    Any,
    Exact(Version),
    Exists,
}

/// One line: something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// A client called.
    Called {
        operation: u64,
        client: u32,
        call: Call,
    },
    /// A client was answered.
    Answered { operation: u64, outcome: Outcome },
}

/// A text that is not a history.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// A line is not what a recorder writes.
    #[error("line {number} of the history is not one that a recorder writes")]
    Line {
        /// Which line, from 1.
        number: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A line answers a call that is not there.
    #[error("line {number} of the history answers a call that is not in it, or was answered")]
    Answer {
        /// Which line, from 1.
        number: usize,
    },
}

impl History {
    /// Reads the lines that a recorder wrote. A last line without its end was being written when
    /// the process ended, and is ignored.
    ///
    /// # Errors
    /// When a whole line is not one that a recorder writes.
    pub fn from_json_lines(text: &str) -> Result<Self, HistoryError> {
        let mut lines = Vec::new();
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let Some(line) = line.strip_suffix('\n') else {
                break;
            };
            let line = serde_json::from_str(line).map_err(|source| HistoryError::Line {
                number: index + 1,
                source,
            })?;
            lines.push(line);
        }
        Self::from_lines(&lines)
    }

    pub(crate) fn from_lines(lines: &[Line]) -> Result<Self, HistoryError> {
        let mut history = Self::default();
        let mut places = std::collections::HashMap::new();
        for (index, line) in lines.iter().enumerate() {
            let moment = index as u64;
            match line {
                Line::Called {
                    operation,
                    client,
                    call,
                } => {
                    places.insert(*operation, history.operations.len());
                    history.operations.push(Operation {
                        client: *client,
                        invoked: moment,
                        completed: None,
                        call: call.clone(),
                        outcome: Outcome::Unknown,
                    });
                }
                Line::Answered { operation, outcome } => {
                    let answered = places
                        .remove(operation)
                        .and_then(|place| history.operations.get_mut(place))
                        .ok_or(HistoryError::Answer { number: index + 1 })?;
                    answered.completed = Some(moment);
                    answered.outcome = outcome.clone();
                }
            }
        }
        history.end = lines.len() as u64;
        Ok(history)
    }

    /// The lines that [`from_json_lines`](Self::from_json_lines) reads, to be kept when a check
    /// fails.
    pub fn to_json_lines(&self) -> String {
        let mut lines = Vec::new();
        for (number, operation) in (0..).zip(&self.operations) {
            let called = Line::Called {
                operation: number,
                client: operation.client,
                call: operation.call.clone(),
            };
            lines.push((operation.invoked, called));
            if let Some(completed) = operation.completed {
                let outcome = operation.outcome.clone();
                let answered = Line::Answered {
                    operation: number,
                    outcome,
                };
                lines.push((completed, answered));
            }
        }
        lines.sort_by_key(|(moment, _)| *moment);
        lines.iter().map(|(_, line)| line.to_text()).collect()
    }

    /// Adds what happened after all of this: the history of the next run on the same log.
    pub fn then(&mut self, next: History) {
        let offset = self.end;
        self.end += next.end;
        self.operations
            .extend(next.operations.into_iter().map(|mut operation| {
                operation.invoked += offset;
                operation.completed = operation.completed.map(|moment| moment + offset);
                operation
            }));
    }
}

impl Line {
    /// As one line of JSON, with its end.
    pub(crate) fn to_text(&self) -> String {
        // Every part has a form in JSON: texts, numbers, lists, and maps with texts as keys.
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }
}
