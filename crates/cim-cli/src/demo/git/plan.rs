//! Which events are stored together: all of a git commit in one append, and in as few as the
//! limits allow where there are more.
//!
//! The event of the git commit itself comes last, in the last part: where it is stored the git
//! commit was imported whole. The split depends on the history and the contract's limits only, so
//! a second try makes the same parts with the same ids.

use cim_store::{CommitId, Limits, NewEvent, StreamId};

use super::events::{EventError, EventMaker, append_id};
use super::object::ObjectId;
use super::reader::{GitCommit, Item};

/// Changes of one part. Each is a stream of its own; the git commit's stream and the check of the
/// one before it come on top.
const PART_CHANGES: usize = Limits::CONTRACT.commit_streams - 2;

/// Bytes of payload and metadata after which a part ends: half of what a commit may have, so that
/// the last change and the git commit's own event always fit.
const PART_BYTES: usize = Limits::CONTRACT.commit_bytes / 2;

/// Events that are stored together.
#[derive(Debug)]
pub(crate) struct Part {
    /// The git commit.
    pub(crate) hash: ObjectId,
    /// The id to append under.
    pub(crate) append_id: CommitId,
    /// Which part of the git commit, from 0.
    pub(crate) number: u32,
    /// Whether it ends with the git commit's own event.
    pub(crate) is_last: bool,
    /// Its events, each of a stream of its own.
    pub(crate) events: Vec<(StreamId, NewEvent)>,
    /// Their size.
    pub(crate) bytes: usize,
}

impl Part {
    /// Whether it is a git commit by itself.
    pub(crate) fn is_whole_commit(&self) -> bool {
        self.number == 0 && self.is_last
    }
}

/// Groups what the reader finds into parts.
#[derive(Debug)]
pub(crate) struct Planner {
    part_changes: usize,
    part_bytes: usize,
    open: Option<OpenCommit>,
}

#[derive(Debug)]
struct OpenCommit {
    commit: Box<GitCommit>,
    maker: EventMaker,
    number: u32,
    events: Vec<(StreamId, NewEvent)>,
    bytes: usize,
}

impl Planner {
    pub(crate) fn new() -> Self {
        Self::with_limits(PART_CHANGES, PART_BYTES)
    }

    fn with_limits(part_changes: usize, part_bytes: usize) -> Self {
        Self {
            part_changes,
            part_bytes,
            open: None,
        }
    }

    /// Takes the next item; gives the part that it completes.
    pub(crate) fn push(&mut self, item: Item) -> Result<Option<Part>, EventError> {
        match item {
            Item::Commit(commit) => {
                let done = self.finish()?;
                self.open = Some(OpenCommit {
                    maker: EventMaker::new(&commit)?,
                    commit,
                    number: 0,
                    events: Vec::new(),
                    bytes: 0,
                });
                Ok(done)
            }
            Item::Change(change) => {
                let Some(open) = &mut self.open else {
                    return Ok(None); // the reader gives no change before a commit
                };
                let is_full =
                    open.events.len() >= self.part_changes || open.bytes >= self.part_bytes;
                let done = is_full.then(|| open.take_part(false));
                open.push(open.maker.file(change)?);
                Ok(done)
            }
        }
    }

    /// The last part of the commit that is open.
    pub(crate) fn finish(&mut self) -> Result<Option<Part>, EventError> {
        let Some(mut open) = self.open.take() else {
            return Ok(None);
        };
        open.push(open.maker.recorded(&open.commit)?);
        Ok(Some(open.take_part(true)))
    }
}

impl OpenCommit {
    fn push(&mut self, event: (StreamId, NewEvent)) {
        self.bytes += event.1.payload.len() + event.1.metadata.encoded_len();
        self.events.push(event);
    }

    fn take_part(&mut self, is_last: bool) -> Part {
        let number = self.number;
        self.number += 1;
        Part {
            hash: self.commit.hash,
            append_id: append_id(&self.commit.hash, number),
            number,
            is_last,
            events: std::mem::take(&mut self.events),
            bytes: std::mem::take(&mut self.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::object::Mode;
    use super::super::reader::{Change, ChangeKind, Person};
    use super::super::text::GitText;
    use super::*;
    use proptest::prelude::*;

    fn commit(number: u8) -> Item {
        let person = || Person {
            name: GitText::new(""),
            email: GitText::new(""),
            seconds: 0,
            offset: "+0000".to_owned(),
        };
        Item::Commit(Box::new(GitCommit {
            hash: format!("{number:040x}").parse().unwrap(),
            parents: Vec::new(),
            author: person(),
            committer: person(),
            message: GitText::new(""),
        }))
    }

    fn change(number: usize) -> Item {
        Item::Change(Change {
            kind: ChangeKind::Added,
            path: GitText::new(number.to_string()),
            mode: Mode::from_octal(b"100644").unwrap(),
            blob: "ab".repeat(20).parse().unwrap(),
        })
    }

    fn parts(sizes: &[usize], mut planner: Planner) -> Vec<Part> {
        let mut parts = Vec::new();
        for (number, size) in sizes.iter().enumerate() {
            let number = u8::try_from(number).unwrap();
            for item in std::iter::once(commit(number)).chain((0..*size).map(change)) {
                parts.extend(planner.push(item).unwrap());
            }
        }
        parts.extend(planner.finish().unwrap());
        parts
    }

    proptest! {
        #[test]
        fn every_change_is_in_one_part_and_the_commit_itself_comes_last(
            sizes in proptest::collection::vec(0_usize..12, 1..6),
            part_changes in 1_usize..5,
        ) {
            let parts = parts(&sizes, Planner::with_limits(part_changes, usize::MAX));
            let mut ids = std::collections::HashSet::new();
            let mut parts = parts.iter();
            for (number, size) in sizes.iter().enumerate() {
                let expected_parts = size.div_ceil(part_changes).max(1);
                let mut changes = 0;
                for part_number in 0..expected_parts {
                    let part = parts.next().unwrap();
                    prop_assert_eq!(part.hash.to_string(), format!("{number:040x}"));
                    prop_assert_eq!(part.number as usize, part_number);
                    prop_assert_eq!(part.is_last, part_number + 1 == expected_parts);
                    prop_assert!(ids.insert(part.append_id));
                    let files = part.events.iter().filter(|(s, _)| s.aggregate() == "file").count();
                    prop_assert!(files <= part_changes);
                    changes += files;
                    let own = part.events.iter().position(|(s, _)| s.aggregate() == "commit");
                    prop_assert_eq!(own, part.is_last.then(|| part.events.len() - 1));
                }
                prop_assert_eq!(changes, *size);
            }
            prop_assert!(parts.next().is_none());
        }
    }

    #[test]
    fn a_part_ends_where_its_bytes_are_many() {
        let parts = parts(&[10], Planner::with_limits(usize::MAX, 500));
        assert!(parts.len() > 2, "{}", parts.len());
        assert!(parts.iter().all(|part| part.bytes < 1000));
    }

    #[test]
    fn the_contracts_limits_are_kept() {
        let parts = parts(&[PART_CHANGES, PART_CHANGES + 1], Planner::new());
        let sizes: Vec<_> = parts.iter().map(|part| part.events.len()).collect();
        assert_eq!(sizes, [PART_CHANGES + 1, PART_CHANGES, 2]);
        const { assert!(PART_CHANGES < Limits::CONTRACT.commit_events) }
    }
}
