//! Reads of the log: from a position to the log's end as its leader has it when the read begins.
//!
//! Few messages at the end are got one by one; more of them come through a consumer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cim_store::{
    Context, EventFilter, EventLogError, EventStream, LogQuery, RecordedEvent, TimeBasis, Timestamp,
};
use cim_subject::SubjectPattern;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::coop::consume_budget;

use super::direct_read::headers;
use super::heads::{event_of, incomplete};
use super::log::SharedLog;
use crate::api::{Get, StoredMessage};
use crate::budget::Budget;
use crate::doubt::ShorterLog;
use crate::error::{self, ended_early};
use crate::follow::{Delivered, Follower, Following, Start};
use crate::store::check_complete;
use crate::subjects;
use crate::wire::{Arrived, decode_event};

/// How many events are handed on at once.
const PAGE: usize = 256;
/// How many messages are got one by one. Each may have a MiB.
const SHORT: u64 = 16;
/// How far the clocks of a cluster's servers may differ, when events are found by the time at which
/// they were stored.
pub(super) const CLOCKS_DIFFER: Duration = Duration::from_secs(5);
/// How long a consumer may say nothing before its replica is doubted.
const PATIENCE: Duration = Duration::from_secs(6);
/// How often another consumer is tried before it is said that events are missing.
const CONSUMERS: u32 = 3;

/// The end of the log.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) sequence: u64,
    /// When the last message was stored.
    stored_at: Timestamp,
    subject: String,
    /// Whether the commit of the last event has more events than there are.
    incomplete: bool,
}

impl End {
    /// The subjects of a consumer that reads what `meant` matches up to here. On a cluster the
    /// consumer may stand on a replica that is behind, and then "nothing more" means nothing; so
    /// it gets the last message, too, whose coming says that the end was reached.
    pub(super) fn filters(&self, meant: &str, replicas: u8) -> Vec<String> {
        let mut filters = vec![meant.to_owned()];
        if replicas > 1 && !self.is_meant(meant) {
            filters.push(self.subject.clone());
        }
        filters
    }

    /// Whether nothing stands where to begin, or behind it. A consumer that begins behind the end
    /// would wait for what is not there yet.
    pub(super) fn is_before(&self, start: Start) -> bool {
        match start {
            Start::Time(from) => self.stored_at < from,
            Start::Sequence(from) => self.sequence < from,
            Start::LastOfEach => false,
        }
    }

    fn is_meant(&self, meant: &str) -> bool {
        SubjectPattern::new(meant.to_owned())
            .is_ok_and(|pattern| pattern.matches_str(&self.subject))
    }
}

impl SharedLog {
    /// The log's end as its leader has it; `None` where nothing was stored yet.
    pub(super) async fn end(&self, budget: &Budget) -> Result<Option<End>, EventLogError> {
        let session = &self.session;
        let name = session.log_stream();
        // Both at once: the last message, and whether any before it is missing.
        let (last, info) = tokio::join!(
            self.last_message(budget),
            session.api.stream_info(name, budget)
        );
        let info = info.map_err(|failure| session.report(failure, "reading the log"))?;
        check_complete(&info.ok_or_else(|| error::stream_gone(name))?)?;
        let Some(last) = last? else {
            return Ok(None);
        };
        let event = subjects::parse_event(&last.subject).map(|_| event_of(&last));
        let incomplete = event
            .transpose()?
            .is_some_and(|event| event.commit_index + 1 != event.commit_count);
        Ok(Some(End {
            sequence: last.sequence,
            stored_at: last.stored_at,
            subject: last.subject,
            incomplete,
        }))
    }

    /// The last message as the leader has it; `None` where nothing was stored yet. A server that
    /// was the leader may answer for a moment, and is behind: what this process knows of must be
    /// there.
    async fn last_message(&self, budget: &Budget) -> Result<Option<StoredMessage>, EventLogError> {
        let session = &self.session;
        let known = session.highest();
        let mut shorter = ShorterLog::than(known);
        loop {
            let get = Get::Last { last_by_subj: ">" };
            let last = self.get(&get, budget).await?;
            let end = last.as_ref().map_or(0, |last| last.sequence);
            if end >= known {
                session.saw(end);
                return Ok(last);
            }
            shorter.again(session.log_stream(), end, budget).await?;
        }
    }

    /// The events between a position and the log's last message, where these are few: they are got
    /// together, in one round trip, where a consumer would take several. `None` where they are too
    /// many, or the last of them are the beginning of a commit.
    async fn short_tail(
        &self,
        after: u64,
        last: &StoredMessage,
        budget: &Budget,
    ) -> Result<Option<Vec<RecordedEvent>>, EventLogError> {
        let end = last.sequence;
        if end - after > SHORT {
            return Ok(None);
        }
        let before = (after + 1..end).collect();
        let mut events = self.events_at(before, budget).await?;
        events.sort_unstable_by_key(|event| event.position);
        if is_event(&last.subject) {
            events.push(event_of(last)?);
        }
        let is_whole = |last: &RecordedEvent| last.commit_index + 1 == last.commit_count;
        if !events.last().is_none_or(is_whole) {
            return Ok(None);
        }
        let mut reader = Reader::new(EventFilter::all(), after);
        for event in &events {
            reader.check_commit(event)?;
        }
        Ok(Some(events))
    }

    /// Where to begin for events after a position that a filter means.
    pub(super) async fn start(
        &self,
        filter: &EventFilter,
        after: u64,
        budget: &Budget,
    ) -> Result<Start, EventLogError> {
        let sequence = Start::Sequence(after.saturating_add(1));
        let stored = filter
            .time
            .filter(|range| range.basis == TimeBasis::StoredAt);
        let Some(from) = stored.and_then(|range| range.from) else {
            return Ok(sequence);
        };
        let slack = CLOCKS_DIFFER.as_micros() as i64;
        let from = Timestamp::from_micros(from.as_micros().saturating_sub(slack));
        if from < Timestamp::EPOCH {
            return Ok(sequence);
        }
        if after > 0 {
            let before = self.get(&Get::Sequence { seq: after }, budget).await?;
            if before.is_none_or(|before| before.stored_at >= from) {
                return Ok(sequence);
            }
        }
        Ok(Start::Time(from))
    }
}

/// Begins a read.
pub(super) async fn read(
    log: Arc<SharedLog>,
    ctx: Context,
    query: LogQuery,
) -> Result<EventStream, EventLogError> {
    let budget = log.session.begin(&ctx, "read_log")?;
    let nothing = || stream::empty().boxed();
    let after = query.after.get();
    if query.limit == Some(0) {
        return Ok(nothing());
    }
    let Some(meant) = subjects::events_meant(query.filter.pattern.as_ref(), &query.filter.types)
    else {
        return Ok(nothing());
    };
    // Whoever asks again and again for what is new mostly gets nothing, or little: small questions
    // tell.
    if after > 0 {
        let last = log.last_message(&budget).await?;
        let Some(last) = last.filter(|last| last.sequence > after) else {
            return Ok(nothing());
        };
        if let Some(events) = log.short_tail(after, &last, &budget).await? {
            let mut subject = String::new();
            let meant = events.into_iter();
            let meant = meant.filter(move |event| query.filter.matches(event, &mut subject));
            let limit = query.limit.and_then(|limit| usize::try_from(limit).ok());
            let meant = meant.take(limit.unwrap_or(usize::MAX));
            return Ok(stream::iter(meant.map(Ok)).boxed());
        }
    }
    let mut end = log.end(&budget).await?;
    let mut attempt = 0;
    while end.as_ref().is_some_and(|end| end.incomplete) {
        // A commit becomes visible as a whole, so it was just being stored; or it never was.
        attempt += 1;
        if attempt > 5 || !budget.pause(attempt).await {
            let last = log.last_event(subjects::EVENTS, &budget).await?;
            if let Some(last) = last.filter(|last| last.commit_index + 1 != last.commit_count) {
                return Err(incomplete(&last));
            }
        }
        end = log.end(&budget).await?;
    }
    let Some(end) = end.filter(|end| end.sequence > after) else {
        return Ok(nothing());
    };
    let start = log.start(&query.filter, after, &budget).await?;
    if end.is_before(start) {
        return Ok(nothing());
    }
    let replicas = log.session.replicas;
    let following = Following {
        stream: log.session.log_stream().to_owned(),
        filters: end.filters(&meant, replicas),
        headers_only: false,
    };
    let mut follower = Follower::new(log.session.clone(), following.clone(), start);
    let begun = follower.begin(&budget).await;
    let waiting = begun.map_err(|failure| log.session.report(failure, "read_log"))?;
    let has_stop = replicas > 1 || end.is_meant(&meant);
    if waiting == 0 && !has_stop {
        return Ok(nothing());
    }
    let read = LogRead {
        reader: Reader::new(query.filter, after),
        follower,
        following,
        end: end.sequence,
        has_stop,
        left: query.limit.unwrap_or(u64::MAX),
        finished: false,
        log,
        ctx,
    };
    Ok(stream::try_unfold(read, LogRead::next_page)
        .map_ok(|page| stream::iter(page).map(Ok))
        .try_flatten()
        .boxed())
}

/// A read under way.
struct LogRead {
    log: Arc<SharedLog>,
    ctx: Context,
    reader: Reader,
    follower: Follower,
    following: Following,
    end: u64,
    /// Whether the message at the end is delivered, so that its coming is the end.
    has_stop: bool,
    left: u64,
    finished: bool,
}

impl LogRead {
    async fn next_page(mut self) -> Result<Option<(VecDeque<RecordedEvent>, Self)>, EventLogError> {
        let mut page = VecDeque::new();
        while !self.finished && self.left > 0 && page.len() < PAGE {
            let delivered = match self.follower.ready() {
                Some(delivered) => delivered,
                // What is here is handed on before there is a wait.
                None if !page.is_empty() => break,
                None => self.wait().await?,
            };
            let past = delivered.sequence > self.end;
            let no_more = !self.has_stop && delivered.pending == 0;
            self.finished = delivered.sequence >= self.end || no_more;
            if past {
                break;
            }
            if let Some(event) = self.reader.take(&delivered)? {
                self.left -= 1;
                page.push_back(event);
            }
            if self.reader.is_past {
                self.finished = true;
            }
        }
        consume_budget().await;
        let Some(last) = page.back() else {
            return Ok(None);
        };
        self.log.session.saw(last.position.get());
        Ok(Some((page, self)))
    }

    /// Waits for the next message, which must come.
    async fn wait(&mut self) -> Result<Delivered, EventLogError> {
        for consumers in 0.. {
            let budget: Budget = self.log.session.begin(&self.ctx, "read_log")?;
            let limit = budget.left().unwrap_or_default().min(PATIENCE);
            let next = self.follower.next(limit).await;
            let next = next.map_err(|failure| self.log.session.report(failure, "read_log"))?;
            if let Some(delivered) = next {
                return Ok(delivered);
            }
            // The consumer says nothing, or there is none. Does its leader still have the end?
            if budget.left().is_none() {
                return Err(EventLogError::deadline_passed("read_log"));
            }
            let end = Get::Sequence { seq: self.end };
            let there = self.log.get(&end, &budget).await?.is_some();
            let lives = self.follower.lives();
            if !there || (lives && consumers + 1 >= CONSUMERS) {
                return Err(ended_early(self.reader.after, self.end));
            }
            if lives {
                let start = Start::Sequence(self.reader.after + 1);
                let session = self.log.session.clone();
                self.follower = Follower::new(session, self.following.clone(), start);
            }
        }
        Err(ended_early(self.reader.after, self.end))
    }
}

/// Whether what has this subject is an event, or must be one.
pub(super) fn is_event(subject: &str) -> bool {
    subject.starts_with("cim.events.")
}

/// Makes events of messages, checks that they are in order and whole, and keeps what is meant.
pub(super) struct Reader {
    filter: EventFilter,
    /// Whether every event is meant, so that commits can be checked to be whole.
    all: bool,
    /// Everything up to here was looked at.
    pub(super) after: u64,
    /// Whether nothing that is meant can come any more.
    pub(super) is_past: bool,
    commit: Option<RecordedEvent>,
    subject: String,
    block: Vec<u8>,
}

impl Reader {
    pub(super) fn new(filter: EventFilter, after: u64) -> Self {
        Self {
            all: filter.is_all(),
            filter,
            after,
            is_past: false,
            commit: None,
            subject: String::new(),
            block: Vec::new(),
        }
    }

    /// The event of a message, if it is meant.
    pub(super) fn take(
        &mut self,
        delivered: &Delivered,
    ) -> Result<Option<RecordedEvent>, EventLogError> {
        if delivered.sequence <= self.after {
            return Ok(None);
        }
        self.after = delivered.sequence;
        if !is_event(&delivered.message.subject) {
            return Ok(None); // a mark that says where the end is
        }
        let arrived = Arrived {
            subject: &delivered.message.subject,
            sequence: delivered.sequence,
            stored_at: delivered.stored_at,
            headers: headers(&delivered.message),
            payload: delivered.message.payload.clone(),
        };
        let event = decode_event(arrived, &mut self.block)?;
        if self.all {
            self.check_commit(&event)?;
        }
        let end = self
            .filter
            .time
            .filter(|range| range.basis == TimeBasis::StoredAt);
        if let Some(end) = end.and_then(|range| range.to) {
            self.is_past = event.stored_at >= end.saturating_add(CLOCKS_DIFFER);
        }
        let meant = self.filter.matches(&event, &mut self.subject);
        Ok(meant.then_some(event))
    }

    /// The events of a commit stand next to each other, and all of them are there.
    fn check_commit(&mut self, event: &RecordedEvent) -> Result<(), EventLogError> {
        let follows = match &self.commit {
            Some(last) if last.commit_index + 1 < last.commit_count => {
                let next = event.commit_id == last.commit_id
                    && event.commit_index == last.commit_index + 1
                    && event.position.get() == last.position.get() + 1;
                if !next {
                    return Err(incomplete(last));
                }
                true
            }
            Some(_) => event.commit_index == 0,
            // A read may begin in the middle of a commit.
            None => true,
        };
        if !follows {
            return Err(incomplete(event));
        }
        self.commit = Some(event.clone());
        Ok(())
    }
}
