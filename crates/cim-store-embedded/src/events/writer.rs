//! The one that writes events: it takes appends from a queue, decides them in order, and makes a
//! group of them durable before it answers any.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cim_store::staging::{Placement, check_repetition, encode_event};
use cim_store::{
    Append, Appended, Clock, CommitId, Context, EventCid, EventLogError, Head, Position, StreamId,
    Timestamp, Version,
};
use tokio::sync::oneshot;

use crate::directory::Directory;
use crate::error::EngineError;
use crate::events::catch_up::{commit_slot, index_carried, step_entry};
use crate::events::head_cache::HeadCache;
use crate::events::in_order::{Part, StagedPart};
use crate::events::record::{EVENT, KnownHead, find_head, head_in};
use crate::events::{commits, truncate};
use crate::index::key::{IndexKey, KeyHasher, KeyMap, STEP};
use crate::index::{Detail, HEAD, Index, Slot};
use crate::journal::record::{FIRST_OF_COMMIT, LAST_OF_COMMIT, Place};
use crate::journal::writer::{FlushError, JournalWriter, NewRecord};
use crate::journal::{Journal, State};
use crate::keeper::Keeper;
use crate::writer_thread::{Committer, GROUP_BYTES};

/// What is asked of the writer.
pub(crate) enum Request {
    /// To store a commit.
    Append {
        /// The caller keeps it too, and frees it: memory that one thread takes and another frees
        /// costs both of them a lock.
        request: Arc<AppendRequest>,
        /// Room for the result's heads, for the same reason.
        room: Vec<Head>,
        answer: oneshot::Sender<Answer<Appended>>,
    },
    /// To store commits one after the other.
    AppendInOrder(Part),
    /// To give up what is at positions up to `through`, as agreed while `truncated_through` held.
    Truncate {
        through: u64,
        truncated_through: u64,
        answer: oneshot::Sender<Answer<()>>,
    },
    /// To answer when everything that was asked before is done.
    Settle(oneshot::Sender<()>),
}

pub(crate) type Answer<T> = Result<T, EventLogError>;

/// A commit to store, with what was looked up for it in advance.
pub(crate) struct AppendRequest {
    pub(crate) ctx: Context,
    pub(crate) append: Append,
    pub(crate) commit_id: CommitId,
    pub(crate) commit_key: IndexKey,
    /// The first record of a commit with this id, where one was found in advance.
    pub(crate) stored: Option<Slot>,
    /// For every stream that the append names, in the order of its expectations.
    pub(crate) streams: Vec<PreparedStream>,
    /// The index's generation before anything was looked up.
    pub(crate) generation: u64,
}

/// A stream that an append names, as it was looked up in advance.
#[derive(Clone, Copy)]
pub(crate) struct PreparedStream {
    pub(crate) key: IndexKey,
    pub(crate) head: Option<KnownHead>,
}

/// The state of the writer's thread.
pub(crate) struct EventWriter {
    journal: Arc<Journal>,
    index: Arc<Index>,
    heads: Arc<HeadCache>,
    writer: JournalWriter,
    keeper: Keeper,
    clock: Arc<dyn Clock>,
    state: State,
    /// How far the log is truncated, for readers.
    truncated_through: Arc<AtomicU64>,
    group: Group,
    /// The part whose commits are being decided.
    part: Option<StagedPart>,
    /// The heads of the streams that the append at hand names.
    named: Vec<Option<KnownHead>>,
    /// Its lock is held until the last writer has ended.
    _directory: Arc<Directory>,
}

/// What is gathered for the next flush.
#[derive(Default)]
pub(crate) struct Group {
    heads: KeyMap<KnownHead>,
    commits: HashSet<IndexKey, BuildHasherDefault<KeyHasher>>,
    entries: Vec<(IndexKey, Slot)>,
    new_streams: u64,
    events: u64,
    answers: Vec<(
        oneshot::Sender<Answer<Appended>>,
        CommitId,
        Answer<Appended>,
    )>,
    /// Parts that were decided to their end.
    parts: Vec<StagedPart>,
}

impl Group {
    /// Gives everyone what was decided, and begins the next group with the same memory.
    fn answer(&mut self) {
        for (answer, _, decided) in self.answers.drain(..) {
            // Whoever asked may be gone.
            let _ = answer.send(decided);
        }
        self.parts.drain(..).for_each(StagedPart::answer);
        self.clear();
    }

    /// Tells everyone that the group could not be flushed.
    fn refuse(&mut self, error: &FlushError) {
        for (answer, commit_id, _) in self.answers.drain(..) {
            let _ = answer.send(Err(Self::refusal(error, commit_id)));
        }
        for mut part in self.parts.drain(..) {
            part.refuse(error);
            part.answer();
        }
        self.clear();
    }

    /// What somebody is told whose commit was in a group that could not be flushed.
    pub(crate) fn refusal(error: &FlushError, commit_id: CommitId) -> EventLogError {
        match error {
            FlushError::NotStored(error) => {
                EventLogError::from(error.again()).with("stored", "nothing")
            }
            FlushError::Unknown(error) => {
                let message = "a flush failed, so the commit may be stored or not, \
                               and the store is closed for writing";
                EventLogError::unknown(commit_id, message)
                    .with_source(error.again())
                    .with_hint("open the store again and ask `resolve` for the commit")
            }
        }
    }

    fn clear(&mut self) {
        self.heads.clear();
        self.commits.clear();
        self.entries.clear();
        (self.new_streams, self.events) = (0, 0);
    }
}

impl EventWriter {
    pub(crate) fn new(
        writer: JournalWriter,
        (index, heads, truncated_through): (Arc<Index>, Arc<HeadCache>, Arc<AtomicU64>),
        keeper: Keeper,
        clock: Arc<dyn Clock>,
        state: State,
        directory: Arc<Directory>,
    ) -> Self {
        let journal = Arc::clone(writer.journal());
        Self {
            journal,
            index,
            heads,
            writer,
            keeper,
            clock,
            state,
            truncated_through,
            group: Group::default(),
            part: None,
            named: Vec::new(),
            _directory: directory,
        }
    }

    /// Decides an append and adds its records to the group.
    fn stage(
        &mut self,
        request: &AppendRequest,
        room: Vec<Head>,
        answer: oneshot::Sender<Answer<Appended>>,
    ) {
        if answer.is_closed() {
            return; // whoever asked does not wait any more, and nothing was promised
        }
        let decided = self.decide(request, room);
        let staged = (answer, request.commit_id, decided);
        self.group.answers.push(staged);
    }

    /// Decides commits one after the other, up to the first that can't be stored.
    fn stage_in_order(&mut self, part: Part) {
        let request = Arc::clone(&part.request);
        self.part = StagedPart::begin(part);
        for commit in &request.commits {
            // The memory for a group is bounded; and what was stored before is read back, which
            // takes a flush where it is in this group. A flush that fails ends the part.
            let full = self.writer.gathered() >= GROUP_BYTES;
            if full || self.group.commits.contains(&commit.commit_key) {
                self.commit();
            }
            let Some(part) = self.part.as_mut().filter(|part| !part.is_over()) else {
                break;
            };
            let room = part.room();
            let gathered = self.writer.gathered();
            let decided = self.decide(commit, room);
            let staged = self.writer.gathered() > gathered;
            if let Some(part) = &mut self.part {
                part.note(decided, staged);
            }
        }
        self.group.parts.extend(self.part.take());
    }

    fn decide(&mut self, request: &AppendRequest, room: Vec<Head>) -> Answer<Appended> {
        if let Some(closed) = self.journal.closed() {
            return Err(closed.into());
        }
        if request.ctx.is_expired(&*self.clock) {
            return Err(EventLogError::deadline_passed("the append"));
        }
        if let Some(first) = self.stored_before(request)? {
            return Ok(first);
        }
        self.named.clear();
        for ((stream, expected), prepared) in request.append.expectations().zip(&request.streams) {
            let head = self.head(stream, prepared, request.generation)?;
            let actual = head.map_or(Version::NONE, |head| head.version);
            if !expected.is_met_by(actual) {
                return Err(EventLogError::version_conflict(
                    stream.clone(),
                    expected,
                    actual,
                ));
            }
            self.named.push(head);
        }
        let now = self
            .clock
            .now()
            .max(Timestamp::from_micros(self.writer.latest()));
        if request.append.event_count() == 0 {
            return Ok(Appended {
                commit_id: request.commit_id,
                position: Position::NONE,
                stored_at: Some(now),
                heads: room,
            });
        }
        self.writer.begin()?;
        Ok(self.write(request, room, now))
    }

    /// The first result of a commit that was stored before or is in this group.
    fn stored_before(&mut self, request: &AppendRequest) -> Answer<Option<Appended>> {
        let (append, id) = (&request.append, request.commit_id);
        if self.group.commits.contains(&request.commit_key) {
            self.commit(); // then it can be read like any other
        }
        // What was not found in advance can only be in memory, unless entries left it meanwhile.
        // So memory is asked first: they may leave it between the two questions.
        let slot = match self.index.get_fresh(request.commit_key) {
            Some(slot) => Some(slot),
            None if request.generation == self.index.generation() => request.stored,
            None => self.index.get(request.commit_key)?,
        };
        let Some(slot) = slot else { return Ok(None) };
        let stored = commits::read(&self.journal, slot, id)?;
        check_repetition(append, id, stored.content)?;
        Ok(Some(stored.result))
    }

    fn head(
        &self,
        stream: &StreamId,
        prepared: &PreparedStream,
        generation: u64,
    ) -> Result<Option<KnownHead>, EngineError> {
        if let Some(head) = self.group.heads.get(&prepared.key) {
            return Ok(Some(*head));
        }
        if let Some(head) = self.heads.get(prepared.key) {
            return Ok(Some(head));
        }
        if let Some(slot) = self.index.get_fresh(prepared.key) {
            return head_in(&self.journal, slot, stream).map(Some);
        }
        if generation == self.index.generation() {
            return Ok(prepared.head);
        }
        find_head(&self.journal, &self.index, prepared.key, stream)
    }

    fn write(&mut self, request: &AppendRequest, room: Vec<Head>, now: Timestamp) -> Appended {
        let append = &request.append;
        let count = append.event_count() as u32;
        let mut result = Appended {
            commit_id: request.commit_id,
            position: Position::NONE,
            stored_at: Some(now),
            heads: room,
        };
        let commit_entry = (
            request.commit_key,
            commit_slot(self.writer.next_place(), u64::from(count)),
        );
        self.group.entries.push(commit_entry);
        let mut index = 0;
        for (at, (write, prepared)) in append.writes.iter().zip(&request.streams).enumerate() {
            let mut head = self.named.get(at).copied().flatten();
            for event in &write.events {
                let version = head.map_or(Version::NONE, |head| head.version).next();
                let place = Placement {
                    stream: &write.stream,
                    version,
                    previous: head.map(|head| head.cid),
                    commit_id: request.commit_id,
                    index,
                    count,
                };
                let (position, cid, at) = self.write_event(
                    event,
                    &place,
                    head.map(|head| head.place),
                    now,
                    &request.ctx,
                );
                head = Some(KnownHead {
                    version,
                    position,
                    cid,
                    place: at,
                });
                self.group.new_streams += u64::from(version == Version::new(1));
                if version.get().is_multiple_of(STEP) {
                    self.group
                        .entries
                        .push(step_entry(write.stream.as_str(), version.get(), at));
                }
                result.position = position;
                index += 1;
            }
            if let (Some(head), false) = (head, write.events.is_empty()) {
                self.group.heads.insert(prepared.key, head);
                result.heads.push(Head {
                    stream: write.stream.clone(),
                    version: head.version,
                    position: head.position,
                    cid: head.cid,
                });
            }
        }
        self.group.commits.insert(request.commit_key);
        result
    }

    fn write_event(
        &mut self,
        event: &cim_store::NewEvent,
        placement: &Placement<'_>,
        previous: Option<Place>,
        now: Timestamp,
        ctx: &Context,
    ) -> (Position, EventCid, Place) {
        self.group.events += 1;
        let sequence = self.writer.reached().sequence + self.group.events;
        let mut flags = 0;
        if placement.index == 0 {
            flags |= FIRST_OF_COMMIT;
        }
        if placement.index + 1 == placement.count {
            flags |= LAST_OF_COMMIT;
        }
        let mut cid = EventCid::from_digest([0; 32]);
        let place = self.writer.push(
            NewRecord {
                kind: EVENT,
                flags,
                sequence,
                stored_at: now.as_micros(),
                previous: previous.unwrap_or(Place::NONE),
                number: placement.version.get(),
            },
            |buffer| {
                let digest = buffer.len();
                buffer.extend_from_slice(&[0; 32]);
                cid = encode_event(event, placement, ctx, buffer);
                buffer[digest..digest + 32].copy_from_slice(cid.digest());
            },
        );
        (Position::new(sequence), cid, place)
    }

    fn keep(&mut self, full: bool) {
        for (segment, last) in self.writer.take_sealable() {
            self.keeper.seal(segment, last);
        }
        if let Some(failure) = self.index.failure() {
            self.journal.close(Some(failure.into()));
        } else if full {
            self.keeper.freeze(&self.index);
        }
    }

    fn truncate(&mut self, through: u64, truncated_through: u64) -> Answer<()> {
        if let Some(closed) = self.journal.closed() {
            return Err(closed.into());
        }
        if self.state.truncated_through != truncated_through {
            return Err(EventLogError::invalid("the log was truncated meanwhile"));
        }
        self.keeper.wait();
        let state = truncate::prepare(&self.journal, &self.index, &self.state, through)?;
        if let Err(error) = self.carry_out(&state) {
            // Unless the old state stands for sure, only opening again tells which of them counts.
            if !State::read(&self.journal.setting).is_ok_and(|found| found == self.state) {
                self.journal.close(Some(error.to_string()));
            }
            return Err(error.into());
        }
        self.state = state;
        Ok(())
    }

    /// Carries a prepared truncation out.
    fn carry_out(&mut self, state: &State) -> Result<(), EngineError> {
        state.write(&self.journal.setting)?;
        // Before anything goes, so that no read takes what is left for all there is.
        self.truncated_through
            .store(state.truncated_through, Ordering::Release);
        if state.carried != self.state.carried {
            // The index leads to what is carried before the records are taken away.
            let before = truncate::take_carried(&self.journal, state)?;
            index_carried(&self.journal, &self.index, true)?;
            // Not before: a run in between must not be taken for one that knows all of it.
            self.index.set_carried(state.carried.clone());
            self.heads.clear();
            truncate::remove_given_up(&self.journal, state, before);
            self.keeper.freeze(&self.index);
            self.keeper.wait();
        }
        Ok(())
    }
}

impl Committer for EventWriter {
    type Request = Request;

    fn take(&mut self, request: Request) {
        match request {
            Request::Append {
                request,
                room,
                answer,
            } => self.stage(&request, room, answer),
            Request::AppendInOrder(part) => self.stage_in_order(part),
            Request::Truncate {
                through,
                truncated_through,
                answer,
            } => {
                self.commit();
                // Whoever asked may be gone.
                let _ = answer.send(self.truncate(through, truncated_through));
            }
            Request::Settle(done) => {
                self.commit();
                // Whoever asked may be gone.
                let _ = done.send(());
            }
        }
    }

    fn gathered(&self) -> usize {
        self.writer.gathered()
    }

    fn commit(&mut self) {
        let group = &mut self.group;
        if self.writer.gathered() == 0 {
            group.answer();
            return;
        }
        if let Err(error) = self.writer.flush() {
            group.refuse(&error);
            if let Some(part) = &mut self.part {
                part.refuse(&error);
            }
            return;
        }
        if let Some(part) = &mut self.part {
            part.flushed();
        }
        let cache = &self.heads;
        let heads = group.heads.drain().map(|(key, head)| {
            cache.put(key, head);
            let detail = Detail {
                sequence: head.position.get(),
                digest: *head.cid.digest(),
            };
            let slot = Slot {
                kind: HEAD,
                place: head.place,
                number: head.version.get(),
                detail: Some(detail),
            };
            (key, slot)
        });
        let entries = heads.chain(group.entries.drain(..));
        let reached = self.writer.reached();
        let full = self.index.apply(entries, group.new_streams, reached);
        self.writer.publish();
        group.answer();
        self.keep(full);
    }

    fn tidy(&mut self) -> bool {
        false
    }

    fn finish(mut self) -> Result<(), EngineError> {
        self.journal.close(None);
        let finished = self.writer.finish();
        // Then the index tells how far each stream went, should the log be cut while it is closed.
        self.keeper.finish(&self.index, 1);
        finished
    }

    fn refuse(request: Request) {
        let error = EventLogError::from(EngineError::closed());
        match request {
            Request::Append { answer, .. } => drop(answer.send(Err(error))),
            Request::AppendInOrder(part) => part.refuse(error),
            Request::Truncate { answer, .. } => drop(answer.send(Err(error))),
            Request::Settle(_) => {} // dropping it tells that it was not done
        }
    }
}
