//! The one that writes changes of buckets: it decides them in order, and makes a group of them
//! durable before it answers any.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use cim_store::{BucketError, Clock, Context, Key, Operation, PortError, Revision, Timestamp};
use tokio::sync::oneshot;

use crate::buckets::catalog::Catalog;
use crate::buckets::change::{Change, encode, head_entry, kind_of};
use crate::buckets::compaction::Compaction;
use crate::buckets::expiry::{Expiries, Watchers};
use crate::buckets::reader::Reader;
use crate::directory::Directory;
use crate::error::EngineError;
use crate::index::Slot;
use crate::index::key::IndexKey;
use crate::journal::State;
use crate::journal::record::{FIRST_OF_COMMIT, LAST_OF_COMMIT, MOVED, Place};
use crate::journal::writer::{FlushError, JournalWriter, NewRecord};
use crate::keeper::Keeper;
use crate::writer_thread::Committer;

/// With fewer new entries of the index than this, closing leaves them to be read from the journal at
/// the next opening, which is quicker than a run.
const WORTH_A_RUN: usize = 4_096;
/// With so many bytes of purges in it a group is stored before more are recorded.
const SWEEP_BYTES: usize = 4 << 20;

/// What is asked of the writer.
pub(crate) enum Request {
    /// To change a key.
    Change(Box<ChangeRequest>),
    /// To record purges of the bucket's values that are over; answered when that is done.
    Sweep {
        bucket: u16,
        done: oneshot::Sender<()>,
    },
}

/// A change of a key.
pub(crate) struct ChangeRequest {
    pub(crate) ctx: Context,
    pub(crate) bucket: u16,
    pub(crate) key: Key,
    pub(crate) operation: Operation,
    pub(crate) value: Bytes,
    /// How long the value lives.
    pub(crate) ttl: Option<std::time::Duration>,
    /// The revision that the key's value must have; 0: it must have none.
    pub(crate) expected: Option<Revision>,
    pub(crate) answer: oneshot::Sender<Result<Revision, BucketError>>,
}

type Answer = Result<Revision, BucketError>;

/// What writers and readers of buckets share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) reader: Reader,
    pub(crate) catalog: Catalog,
    pub(crate) expiries: Expiries,
    pub(crate) watchers: Watchers,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The state of the writer's thread.
pub(crate) struct BucketWriter {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: JournalWriter,
    pub(crate) keeper: Keeper,
    pub(crate) state: State,
    pub(crate) compaction: Compaction,
    group: Group,
    /// Its lock is held until the last writer has ended.
    _directory: Arc<Directory>,
}

#[derive(Default)]
struct Group {
    /// Keys that the group changed, as they are then.
    changed: HashMap<IndexKey, Change>,
    entries: Vec<(IndexKey, Slot)>,
    /// Revisions given out so far.
    changes: u64,
    /// Ends of values that the group's changes replace.
    replaced: Vec<(u16, Key, Timestamp)>,
    /// Ends of values that the group records.
    due: Vec<(u16, Key, Timestamp)>,
    /// Dropped, and so answered, when the group is done.
    swept: Vec<oneshot::Sender<()>>,
    answers: Vec<(oneshot::Sender<Answer>, Answer)>,
}

impl BucketWriter {
    pub(crate) fn new(
        shared: Arc<Shared>,
        writer: JournalWriter,
        keeper: Keeper,
        state: State,
        directory: Arc<Directory>,
    ) -> Self {
        Self {
            shared,
            writer,
            keeper,
            state,
            compaction: Compaction::default(),
            group: Group::default(),
            _directory: directory,
        }
    }

    fn decide(&mut self, request: &ChangeRequest) -> Result<Revision, BucketError> {
        if let Some(closed) = self.shared.reader.journal.closed() {
            return Err(closed.into());
        }
        if request.ctx.is_expired(&*self.shared.clock) {
            return Err(BucketError::deadline_passed("the change"));
        }
        self.begin()?;
        let now = self.now();
        self.sweep(request.bucket, now)?;
        let last = self.last(request.bucket, &request.key)?;
        let value = last.as_ref().filter(|change| change.has_value(now));
        let actual = value.map_or(Revision::NONE, |change| change.entry.revision);
        if let Some(expected) = request.expected
            && expected != actual
        {
            let key = request.key.clone();
            return Err(BucketError::revision_conflict(key, expected, actual));
        }
        let expires_at = request.ttl.map(|ttl| now.saturating_add(ttl));
        let change = NewChange {
            bucket: request.bucket,
            key: &request.key,
            operation: request.operation,
            value: &request.value,
            expires_at,
        };
        Ok(self.write(&change, last.as_ref(), now))
    }

    /// Begins a group where none is begun.
    pub(crate) fn begin(&mut self) -> Result<(), EngineError> {
        self.writer.begin()
    }

    /// The store's time, which never goes back along the journal.
    pub(crate) fn now(&self) -> Timestamp {
        let reached = Timestamp::from_micros(self.writer.latest());
        self.shared.clock.now().max(reached)
    }

    /// Records a purge for each value of the bucket that is over, if anyone has to be told.
    fn sweep(&mut self, bucket: u16, now: Timestamp) -> Result<(), EngineError> {
        while let Some((end, key)) = self.shared.expiries.take_due(bucket, now) {
            if self.writer.gathered() >= SWEEP_BYTES {
                self.store_group()?;
                self.begin()?;
            }
            let last = self.last(bucket, &key);
            self.group.due.push((bucket, key, end));
            let Some(last) = last? else {
                continue;
            };
            if last.entry.operation == Operation::Put && last.is_over(now) {
                self.purge(&last, now);
            }
        }
        Ok(())
    }

    /// Records the end of a value.
    pub(crate) fn purge(&mut self, last: &Change, now: Timestamp) {
        let change = NewChange {
            bucket: last.bucket,
            key: &last.entry.key,
            operation: Operation::Purge,
            value: &[],
            expires_at: None,
        };
        self.write(&change, Some(last), now);
    }

    /// The key's last change, counting the group's own.
    pub(crate) fn last(&self, bucket: u16, key: &Key) -> Result<Option<Change>, EngineError> {
        let index_key = IndexKey::entry(u32::from(bucket), key.as_str());
        match self.group.changed.get(&index_key) {
            Some(change) => Ok(Some(change.clone())),
            None => self.shared.reader.last(bucket, key),
        }
    }

    fn write(&mut self, new: &NewChange<'_>, last: Option<&Change>, now: Timestamp) -> Revision {
        if let Some(end) = last.and_then(|change| change.entry.expires_at) {
            self.group.replaced.push((new.bucket, new.key.clone(), end));
        }
        self.group.changes += 1;
        let revision = Revision::new(self.writer.reached().sequence + self.group.changes);
        // What a purge ends is never asked for again, so nothing leads there.
        let previous = match (new.operation, last) {
            (Operation::Purge, _) | (_, None) => Place::NONE,
            (_, Some(last)) => last.place,
        };
        let change = Change {
            bucket: new.bucket,
            entry: cim_store::Entry {
                key: new.key.clone(),
                value: Bytes::copy_from_slice(new.value),
                revision,
                operation: new.operation,
                stored_at: now,
                expires_at: new.expires_at,
            },
            place: Place::NONE,
            previous,
        };
        self.append(change, 0);
        revision
    }

    /// Writes again, at the end of the journal, what is left of a key: its changes, newest first.
    pub(crate) fn move_changes(&mut self, kept: Vec<Change>) {
        let mut previous = Place::NONE;
        for mut change in kept.into_iter().rev() {
            change.previous = previous;
            previous = self.append(change, MOVED);
        }
    }

    /// Adds a change's record to the group.
    fn append(&mut self, mut change: Change, flags: u8) -> Place {
        let entry = &change.entry;
        let record = NewRecord {
            kind: kind_of(entry.operation),
            flags: flags | FIRST_OF_COMMIT | LAST_OF_COMMIT,
            sequence: entry.revision.get(),
            stored_at: entry.stored_at.as_micros(),
            previous: change.previous,
            number: u64::from(change.bucket),
        };
        let place = self.writer.push(record, |buffer| {
            encode(&entry.key, &entry.value, entry.expires_at, buffer);
        });
        let indexed = head_entry(change.bucket, &entry.key, entry.revision, place);
        self.group.entries.push(indexed);
        change.place = place;
        self.group.changed.insert(indexed.0, change);
        place
    }
}

struct NewChange<'a> {
    bucket: u16,
    key: &'a Key,
    operation: Operation,
    value: &'a [u8],
    expires_at: Option<Timestamp>,
}

impl Committer for BucketWriter {
    type Request = Request;

    fn take(&mut self, request: Request) {
        match request {
            Request::Change(request) => {
                if request.answer.is_closed() {
                    return; // whoever asked does not wait any more, and nothing was promised
                }
                let decided = self.decide(&request);
                self.group.answers.push((request.answer, decided));
            }
            Request::Sweep { bucket, done } => {
                let now = self.now();
                if self.shared.reader.journal.closed().is_none()
                    && let Err(error) = self.begin().and_then(|()| self.sweep(bucket, now))
                {
                    // Nobody waits for this; the next change of the bucket meets the same error.
                    tracing::warn!(%error, "the end of a value could not be recorded");
                }
                self.group.swept.push(done);
            }
        }
    }

    fn gathered(&self) -> usize {
        self.writer.gathered()
    }

    fn commit(&mut self) {
        // Everyone whose change it is was told.
        let _ = self.store_group();
    }

    fn tidy(&mut self) -> bool {
        self.compact()
    }

    fn finish(mut self) -> Result<(), EngineError> {
        self.shared.reader.journal.close(None);
        let finished = self.writer.finish();
        self.keeper.finish(&self.shared.reader.index, WORTH_A_RUN);
        finished
    }

    fn refuse(request: Request) {
        if let Request::Change(request) = request {
            let _ = request.answer.send(Err(EngineError::closed().into()));
        }
    }
}

impl BucketWriter {
    /// Makes the group durable, shows it to readers, and answers.
    pub(crate) fn store_group(&mut self) -> Result<(), EngineError> {
        let group = std::mem::take(&mut self.group);
        if self.writer.gathered() == 0 {
            for (answer, decided) in group.answers {
                let _ = answer.send(decided);
            }
            return Ok(());
        }
        let expiries = &self.shared.expiries;
        if let Err(error) = self.writer.flush() {
            for (answer, _) in group.answers {
                let _ = answer.send(Err(refusal(&error)));
            }
            // What these purges were to tell is still to be told.
            for (bucket, key, end) in &group.due {
                expiries.add(*bucket, key, *end);
            }
            let (FlushError::NotStored(error) | FlushError::Unknown(error)) = error;
            return Err(error);
        }
        let index = &self.shared.reader.index;
        let full = index.apply(group.entries, 0, self.writer.reached());
        // After the index knows them: whoever begins to keep ends meanwhile looks them up there.
        for (bucket, key, end) in &group.replaced {
            expiries.remove(*bucket, key, *end);
        }
        for change in group.changed.values() {
            if let Some(end) = change.entry.expires_at {
                expiries.add(change.bucket, &change.entry.key, end);
            }
        }
        self.writer.publish();
        for (answer, decided) in group.answers {
            let _ = answer.send(decided);
        }
        for (segment, last) in self.writer.take_sealable() {
            self.keeper.seal(segment, last);
            self.compaction.note_growth();
        }
        if let Some(failure) = index.failure() {
            self.shared.reader.journal.close(Some(failure.into()));
        } else if full {
            self.keeper.freeze(index);
        }
        Ok(())
    }
}

fn refusal(error: &FlushError) -> BucketError {
    match error {
        FlushError::NotStored(error) => PortError::from(error.again()),
        FlushError::Unknown(error) => BucketError::unknown(
            "a flush failed, so the change may be stored or not, \
             and the store is closed for writing",
        )
        .with_source(error.again())
        .with_hint("open the store again and get the key"),
    }
}
