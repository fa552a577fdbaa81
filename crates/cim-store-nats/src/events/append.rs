//! Stores a commit, or finds out that it can't be, or says that nobody knows.
//!
//! An attempt is sent against heads that this process has read or written, guarded so that it is
//! stored only if the places of its events are empty. So of all attempts of a commit, also of those
//! whose answers were lost, at most one is stored: each needs a place that another one of them, or
//! another writer, has taken before it is given up for new heads.

use cim_store::{
    Append, Appended, CommitId, Context, EventLogError, ExpectedVersion, Fault, Head, LimitName,
    Limits, Position, StreamId, Version, staging,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::commits;
use super::log::SharedLog;
use super::messages::{Known, Messages, mark, messages};
use super::publish::{BATCH_MESSAGES, Outcome};
use crate::api::Failure;
use crate::budget::Budget;
use crate::requests::Lost;

/// More bytes of headers than a server takes, or than the adapter makes.
const MOST_HEADERS: usize = 64 << 10;
/// How many heads are read at the same time.
const READS: usize = 64;

/// Stores one commit, or nothing.
pub(super) async fn append(
    log: &SharedLog,
    ctx: &Context,
    mut append: Append,
    budget: &Budget,
) -> Result<Appended, EventLogError> {
    staging::check_append(&append, &log.session.limits).map_err(of_this_server)?;
    let settings = &log.session.settings;
    let commit_id = staging::complete(&mut append, ctx, &*settings.clock, &*settings.ids);
    let marked = needs_mark(log, &append, commit_id);
    if append.event_count() == 0 {
        if !append.fresh
            && let Some(stored) = commits::find(log, commit_id, budget).await?
        {
            return stored.repeated(&append, commit_id);
        }
        return only_check(log, &append, commit_id, budget).await;
    }
    let mut attempts = Attempts {
        log,
        ctx,
        append: &append,
        commit_id,
        marked,
        budget,
        number: 0,
        unanswered: None,
        slot: None,
    };
    match attempts.run().await {
        // The same commit may have been stored beside this, by another call: that is no conflict.
        Err(error) if error.is_conflict() && !append.fresh => {
            match commits::find(log, commit_id, budget).await? {
                Some(stored) => stored.repeated(&append, commit_id),
                None => Err(error),
            }
        }
        answer => answer,
    }
}

/// The attempts of one append.
struct Attempts<'a> {
    log: &'a SharedLog,
    ctx: &'a Context,
    append: &'a Append,
    commit_id: CommitId,
    marked: bool,
    budget: &'a Budget,
    number: u32,
    /// Why nothing is known of an attempt that may have arrived.
    unanswered: Option<Lost>,
    /// Where the first event of the last attempt would stand.
    slot: Option<(StreamId, Version)>,
}

/// What stands where an attempt would.
enum Found {
    This(Appended),
    Other,
    Nothing,
}

/// Who took a place of an attempt.
enum Taker {
    This(Appended),
    Other,
    /// Nobody, as it seems: what was read contradicts what was said.
    Nobody,
}

impl Attempts<'_> {
    async fn run(&mut self) -> Result<Appended, EventLogError> {
        let mut heads = self.settle(false).await?;
        if let Some(stored) = self.look().await? {
            return Ok(stored);
        }
        loop {
            self.number += 1;
            // An id whose time has passed meanwhile would not be found by it.
            self.marked |= !commits::tells_its_time(self.log, self.commit_id);
            let outcome = match self.publish(&heads).await {
                Ok(outcome) => outcome,
                Err(error) => return Err(self.doubt(error)),
            };
            match outcome {
                Ok(stored) => return Ok(stored),
                Err(Outcome::Taken) => {
                    match self.who_took_it(&heads).await {
                        Ok(Taker::This(stored)) => return Ok(stored),
                        Ok(Taker::Other) => {}
                        Ok(Taker::Nobody) => {
                            if !self.budget.pause(self.number).await {
                                return Err(self.give_up());
                            }
                            continue;
                        }
                        Err(error) => return Err(self.doubt(error)),
                    }
                    // None of the attempts so far was stored or can be: their places are taken.
                    self.unanswered = None;
                    heads = self.settle(true).await?;
                    if let Some(stored) = self.look().await? {
                        return Ok(stored);
                    }
                    if self.number > 1 && !self.budget.pause(self.number).await {
                        return Err(self.give_up());
                    }
                }
                Err(Outcome::Unknown(lost)) => {
                    self.unanswered = Some(lost);
                    if self.log.session.is_closed() || !self.budget.pause(self.number).await {
                        return Err(self.give_up());
                    }
                }
                Err(Outcome::Busy(failure)) => {
                    if !self.budget.pause(self.number).await {
                        if self.unanswered.is_some() {
                            return Err(self.give_up());
                        }
                        return Err(self.log.session.report(failure, "append"));
                    }
                }
                Err(Outcome::Refused(failure)) => {
                    if self.unanswered.is_some() {
                        // Whatever was heard last, an earlier attempt may have been stored.
                        return match self.find_own().await {
                            Ok(Found::This(stored)) => Ok(stored),
                            _ => Err(self.give_up().with_source(failure)),
                        };
                    }
                    return Err(self.log.session.report(failure, "append"));
                }
                Err(Outcome::Stored { .. }) => {}
            }
        }
    }

    /// Makes and publishes one attempt.
    async fn publish(
        &mut self,
        heads: &[Option<Head>],
    ) -> Result<Result<Appended, Outcome>, EventLogError> {
        let mut made = self.messages(heads, self.marked)?;
        if made.messages.len() > BATCH_MESSAGES {
            if !self.mark_ahead().await? {
                return Ok(Err(Outcome::Taken));
            }
            made = self.messages(heads, false)?;
        }
        self.log.session.check_kept(self.budget).await?;
        self.slot = made.first_slot.clone();
        let largest = self.log.session.api.requests.client().max_payload();
        for message in &made.messages {
            check_size(message, largest)?;
        }
        let mut heads = std::mem::take(&mut made.heads);
        let outcome = self
            .log
            .publisher
            .publish(made, self.commit_id, self.number, self.budget)
            .await;
        let Outcome::Stored { first } = outcome else {
            return Ok(Err(outcome));
        };
        for head in &mut heads {
            head.position = Position::new(first + head.position.get());
            self.log.heads.put(head);
            self.log.session.saw(head.position.get());
        }
        Ok(Ok(Appended {
            commit_id: self.commit_id,
            position: Position::new(first + self.append.event_count() as u64 - 1),
            stored_at: None,
            heads,
        }))
    }

    fn messages(&self, heads: &[Option<Head>], marked: bool) -> Result<Messages, EventLogError> {
        make(self.append, self.commit_id, self.ctx, heads, marked)
    }

    /// Where the commit's mark has no room in its batch, stores it before. Says `false` where the
    /// commit is stored already.
    async fn mark_ahead(&mut self) -> Result<bool, EventLogError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mark = Messages::alone(mark(self.commit_id, None));
            let publisher = &self.log.publisher;
            let outcome = publisher
                .publish(mark, self.commit_id, attempt, self.budget)
                .await;
            match outcome {
                Outcome::Stored { .. } => return Ok(true),
                // It is there: from this append, from an earlier one, or from one beside this.
                Outcome::Taken => {
                    let stored = commits::find(self.log, self.commit_id, self.budget).await?;
                    return Ok(stored.is_none());
                }
                Outcome::Refused(failure) => {
                    return Err(self.log.session.report(failure, "append"));
                }
                Outcome::Busy(failure) => self.pause_mark(attempt, failure).await?,
                Outcome::Unknown(lost) => self.pause_mark(attempt, lost.into()).await?,
            }
        }
    }

    /// Waits before the mark is stored once more; a mark alone is no commit, so its fate leaves
    /// nothing unknown.
    async fn pause_mark(&self, attempt: u32, failure: Failure) -> Result<(), EventLogError> {
        if self.budget.pause(attempt).await {
            return Ok(());
        }
        Err(self.log.session.report(failure, "append"))
    }

    /// A commit without a mark can't be stopped by one, so it is looked for: after the heads were
    /// read, because what is stored later than that takes a place that this append needs.
    async fn look(&self) -> Result<Option<Appended>, EventLogError> {
        if self.append.fresh || !commits::may_be_unmarked(self.commit_id) {
            return Ok(None);
        }
        match commits::find(self.log, self.commit_id, self.budget).await? {
            Some(stored) => stored.repeated(self.append, self.commit_id).map(Some),
            None => Ok(None),
        }
    }

    /// What an error means where an earlier attempt may have been stored.
    fn doubt(&self, error: EventLogError) -> EventLogError {
        match self.unanswered {
            Some(_) => self.give_up().with_source(error),
            None => error,
        }
    }

    /// Who took a place of an attempt that was made against these heads.
    async fn who_took_it(&self, heads: &[Option<Head>]) -> Result<Taker, EventLogError> {
        match self.find_own().await? {
            Found::This(stored) => return Ok(Taker::This(stored)),
            Found::Other => return Ok(Taker::Other),
            Found::Nothing => {}
        }
        // The first place is empty, so it must have been another one; or a server answered that
        // was the leader, and is behind.
        let names = self.append.expectations();
        let names = names.map(|(stream, _)| stream.clone()).collect();
        let now = read_heads(self.log, names, self.budget).await?;
        let version = |head: &Option<Head>| head.as_ref().map_or(Version::NONE, |h| h.version);
        let first = self.slot.as_ref().map(|(stream, _)| stream);
        let mut others = self.append.expectations().zip(heads.iter().zip(&now));
        let moved = others.any(|((stream, _), (before, now))| {
            Some(stream) != first && version(before) < version(now)
        });
        if !moved {
            return Ok(Taker::Nobody);
        }
        // This very commit may be what moved it, and the answer before was out of date.
        Ok(match self.find_own().await? {
            Found::This(stored) => Taker::This(stored),
            Found::Other | Found::Nothing => Taker::Other,
        })
    }

    /// What stands at the first place of the last attempt.
    async fn find_own(&self) -> Result<Found, EventLogError> {
        let mut found = commits::At::Nothing;
        if let Some(slot) = &self.slot {
            found = commits::look_at(self.log, self.commit_id, slot, self.budget).await?;
        }
        if self.marked
            && !matches!(found, commits::At::This(_))
            && let Some(stored) =
                commits::find_marked(self.log, self.commit_id, self.budget).await?
        {
            found = commits::At::This(stored);
        }
        let stored = match found {
            commits::At::This(stored) => stored,
            commits::At::Other => return Ok(Found::Other),
            commits::At::Nothing => return Ok(Found::Nothing),
        };
        for head in &stored.result.heads {
            self.log.heads.put(head);
        }
        stored
            .repeated(self.append, self.commit_id)
            .map(Found::This)
    }

    /// The heads of all streams that the append names, in its order, where its expectations hold.
    /// What is remembered is taken as it is unless the server said that it is stale.
    async fn settle(&self, again: bool) -> Result<Vec<Option<Head>>, EventLogError> {
        if !again {
            let mut heads = Vec::new();
            let mut unknown = Vec::new();
            for (at, (stream, expected)) in self.append.expectations().enumerate() {
                let head = self.log.heads.get(stream);
                if !is_usable(expected, head.as_ref()) {
                    unknown.push(at);
                }
                heads.push(head);
            }
            let names = self.append.expectations().enumerate();
            let names = names.filter(|(at, _)| unknown.binary_search(at).is_ok());
            let names = names.map(|(_, (stream, _))| stream.clone()).collect();
            let read = read_heads(self.log, names, self.budget).await?;
            for (at, head) in unknown.into_iter().zip(read) {
                if let Some(place) = heads.get_mut(at) {
                    *place = head;
                }
            }
            if unmet(self.append, &heads).is_none() {
                return Ok(heads);
            }
        }
        // Something does not hold, so it is said of the streams as they all are now.
        let names = self.append.expectations();
        let names = names.map(|(stream, _)| stream.clone()).collect();
        let heads = read_heads(self.log, names, self.budget).await?;
        match unmet(self.append, &heads) {
            None => Ok(heads),
            Some(conflict) => Err(conflict),
        }
    }

    /// The time is over.
    fn give_up(&self) -> EventLogError {
        match &self.unanswered {
            Some(lost) => {
                if let Some(slot) = &self.slot {
                    self.log.unanswered.note(self.commit_id, slot.clone());
                }
                unknown(self.commit_id).with_source(lost.clone())
            }
            None if self.log.session.is_closed() => crate::error::closed(),
            None => EventLogError::unavailable(
                "others wrote to the same streams again and again until the time was over; \
                 nothing was stored",
            ),
        }
    }
}

/// The commit was sent, and nobody said what became of it.
pub(super) fn unknown(commit_id: CommitId) -> EventLogError {
    EventLogError::unknown(commit_id, "no server said whether the commit was stored")
}

/// The messages of an append that was completed, where these are the heads of the streams that it
/// names, in its order.
pub(super) fn make(
    append: &Append,
    commit_id: CommitId,
    ctx: &Context,
    heads: &[Option<Head>],
    marked: bool,
) -> Result<Messages, EventLogError> {
    let known: Vec<Known<'_>> = append
        .expectations()
        .zip(heads)
        .map(|((stream, expected), head)| Known {
            stream,
            expected,
            head: head.as_ref(),
        })
        .collect();
    messages(append, commit_id, ctx, &known, marked)
}

/// Whether a commit goes with a mark. A fresh id that says its own time can be found by it; every
/// other one is marked, so that it is found, and stored once, whenever it was used.
pub(super) fn needs_mark(log: &SharedLog, append: &Append, commit_id: CommitId) -> bool {
    !append.fresh || !commits::tells_its_time(log, commit_id)
}

/// Whether a head that is remembered is enough to append against.
pub(super) fn is_usable(expected: ExpectedVersion, head: Option<&Head>) -> bool {
    match (expected, head) {
        // Nothing has to be known of a stream that must not exist: its first place must be empty.
        (ExpectedVersion::Exact(Version::NONE), None) => true,
        (ExpectedVersion::Exact(version), Some(head)) => head.version == version,
        (ExpectedVersion::Any | ExpectedVersion::Exists, Some(_)) => true,
        _ => false,
    }
}

/// The first expectation that does not hold.
pub(super) fn unmet(append: &Append, heads: &[Option<Head>]) -> Option<EventLogError> {
    append
        .expectations()
        .zip(heads)
        .find_map(|((stream, expected), head)| {
            let actual = head.as_ref().map_or(Version::NONE, |head| head.version);
            (!expected.is_met_by(actual))
                .then(|| EventLogError::version_conflict(stream.clone(), expected, actual))
        })
}

/// The heads of streams, in their order.
pub(super) async fn read_heads(
    log: &SharedLog,
    streams: Vec<StreamId>,
    budget: &Budget,
) -> Result<Vec<Option<Head>>, EventLogError> {
    if let [stream] = &streams[..] {
        return Ok(vec![log.read_head(stream, budget).await?]);
    }
    stream::iter(streams)
        .map(|stream| async move { log.read_head(&stream, budget).await })
        .buffered(READS)
        .try_collect()
        .await
}

/// What makes room for a larger payload on NATS.
const RAISE_MAX_PAYLOAD: &str = "set `max_payload: 4MB` in the configuration of each server";

/// Says what to change where it is the server's limit that a payload exceeds, not the contract's.
fn of_this_server(error: EventLogError) -> EventLogError {
    let contract = Limits::CONTRACT.payload_bytes as u64;
    match error.fault() {
        Some(Fault::TooLarge {
            limit: LimitName::PayloadBytes,
            size,
            max,
        }) if max < contract && size <= contract => error.with_hint(RAISE_MAX_PAYLOAD),
        _ => error,
    }
}

/// Refuses a message that the server would not take.
pub(super) fn check_size(
    message: &super::messages::Outgoing,
    largest: usize,
) -> Result<(), EventLogError> {
    if message.payload.len() + MOST_HEADERS <= largest {
        return Ok(());
    }
    let headers: usize = message
        .headers
        .iter()
        .map(|(name, values)| {
            let name: &str = name.as_ref();
            let lines = values
                .iter()
                .map(|value| name.len() + value.as_str().len() + 4);
            lines.sum::<usize>()
        })
        .sum();
    // The batch's own headers come later.
    let size = message.payload.len() + headers + 256;
    if size <= largest {
        return Ok(());
    }
    let limit = LimitName::PayloadBytes;
    let room = largest.saturating_sub(headers + 256);
    Err(EventLogError::too_large(limit, message.payload.len(), room)
        .with("subject", &message.subject)
        .with("max_payload of the server", largest)
        .with_hint(RAISE_MAX_PAYLOAD))
}

/// An append without events: checks what it expects, all at one moment. Versions only grow, so what
/// is the same in two readings was so all the time from the end of the first to the begin of the
/// second.
async fn only_check(
    log: &SharedLog,
    append: &Append,
    commit_id: CommitId,
    budget: &Budget,
) -> Result<Appended, EventLogError> {
    let several = append.expectations().count() > 1;
    let mut before: Option<Vec<Version>> = None;
    let mut attempt = 0;
    loop {
        let names = append.expectations();
        let names = names.map(|(stream, _)| stream.clone()).collect();
        let heads = read_heads(log, names, budget).await?;
        if let Some(conflict) = unmet(append, &heads) {
            return Err(conflict);
        }
        let version = |head: &Option<Head>| head.as_ref().map_or(Version::NONE, |h| h.version);
        let versions: Vec<Version> = heads.iter().map(version).collect();
        if !several || before.as_ref() == Some(&versions) {
            return Ok(Appended {
                commit_id,
                position: Position::NONE,
                stored_at: None,
                heads: Vec::new(),
            });
        }
        if before.replace(versions).is_some() {
            attempt += 1;
            if !budget.pause(attempt).await {
                return Err(EventLogError::deadline_passed("append"));
            }
        }
    }
}
