//! Who was told how long a stream is: readers, and those whose conflicts and checks say it.

use std::collections::BTreeMap;

use cim_store::{CommitId, ExpectedVersion, StreamId, Version};

use super::operation::{Call, History, Outcome, Seen};
use super::violation::Violation;

/// Somebody who was told how long a stream is.
pub(super) struct Sighting<'a> {
    /// The number of the operation in the history.
    pub(super) operation: usize,
    pub(super) invoked: u64,
    pub(super) completed: u64,
    pub(super) what: What<'a>,
}

/// How they were told.
pub(super) enum What<'a> {
    Read {
        from: Version,
        events: &'a [Seen],
    },
    Head(Version),
    Conflict {
        commit: CommitId,
        expected: ExpectedVersion,
        actual: Version,
    },
    Check {
        commit: CommitId,
        version: Version,
    },
}

/// How long the stream was, as they were told.
pub(super) enum Length {
    Exactly(u64),
    AtMost(u64),
}

impl Sighting<'_> {
    pub(super) fn length(&self) -> Length {
        match self.what {
            What::Read { from, events } => {
                let before = from.get().max(1) - 1;
                match events.len() as u64 {
                    0 => Length::AtMost(before),
                    count => Length::Exactly(before + count),
                }
            }
            What::Head(version)
            | What::Conflict {
                actual: version, ..
            }
            | What::Check { version, .. } => Length::Exactly(version.get()),
        }
    }

    fn version(&self) -> Version {
        match self.length() {
            Length::Exactly(length) | Length::AtMost(length) => Version::new(length),
        }
    }

    /// A conflict with what was expected.
    pub(super) fn contradicts_itself(&self) -> bool {
        matches!(self.what, What::Conflict { expected, actual, .. } if expected.is_met_by(actual))
    }

    /// What it is when it was told too little, or something impossible.
    pub(super) fn violation(&self, stream: &StreamId, history: &History) -> Violation {
        let stream = stream.clone();
        match self.what {
            What::Conflict {
                commit,
                expected,
                actual,
            } => Violation::ImpossibleConflict {
                commit,
                stream,
                expected,
                actual,
            },
            What::Check { commit, version } => Violation::ImpossibleCheck {
                commit,
                stream,
                version,
            },
            What::Read { .. } | What::Head(_) => Violation::StaleRead {
                client: history.operations[self.operation].client,
                stream,
                version: self.version(),
            },
        }
    }

    /// What it is when it was told of what had not been appended yet.
    pub(super) fn of_the_future(&self, stream: &StreamId, history: &History) -> Violation {
        match self.what {
            What::Read { .. } | What::Head(_) => Violation::ReadOfTheFuture {
                client: history.operations[self.operation].client,
                stream: stream.clone(),
                version: self.version(),
            },
            What::Conflict { .. } | What::Check { .. } => self.violation(stream, history),
        }
    }

    /// What it is when no commit ends where it was told that the stream does.
    pub(super) fn at_no_end(&self, stream: &StreamId, length: u64, history: &History) -> Violation {
        match self.what {
            What::Read { .. } | What::Head(_) => Violation::PartialRead {
                client: history.operations[self.operation].client,
                stream: stream.clone(),
                version: Version::new(length),
            },
            What::Conflict { .. } | What::Check { .. } => self.violation(stream, history),
        }
    }
}

/// Everybody who was told how long a stream is, by stream.
pub(super) fn sightings<'a>(
    history: &'a History,
    repeated: impl Fn(CommitId) -> bool,
) -> BTreeMap<&'a StreamId, Vec<Sighting<'a>>> {
    let mut sightings: BTreeMap<&StreamId, Vec<Sighting<'a>>> = BTreeMap::new();
    for (index, operation) in history.operations.iter().enumerate() {
        let Some(completed) = operation.completed else {
            continue;
        };
        let mut saw = |stream: &'a StreamId, what: What<'a>| {
            sightings.entry(stream).or_default().push(Sighting {
                operation: index,
                invoked: operation.invoked,
                completed,
                what,
            });
        };
        match (&operation.call, &operation.outcome) {
            (Call::Read { stream, from }, Outcome::Read(events)) => {
                saw(
                    stream,
                    What::Read {
                        from: *from,
                        events,
                    },
                );
            }
            (Call::Head { stream }, Outcome::Head(version)) => saw(stream, What::Head(*version)),
            (
                Call::Append(call),
                Outcome::Conflict {
                    stream,
                    expected,
                    actual,
                },
            ) => {
                let (commit, expected, actual) = (call.commit, *expected, *actual);
                saw(
                    stream,
                    What::Conflict {
                        commit,
                        expected,
                        actual,
                    },
                );
            }
            (Call::Append(call), Outcome::Appended(_)) => {
                // A commit that was stored by an earlier call was not checked again.
                if repeated(call.commit) {
                    continue;
                }
                let commit = call.commit;
                for check in &call.checks {
                    let version = check.version;
                    saw(&check.stream, What::Check { commit, version });
                }
                // A write without events is a check too.
                for write in call.writes.iter().filter(|write| write.events.is_empty()) {
                    if let ExpectedVersion::Exact(version) = write.expected {
                        saw(&write.stream, What::Check { commit, version });
                    }
                }
            }
            _ => {}
        }
    }
    sightings
}
