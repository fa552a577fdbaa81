//! Stores many commits in their order, as many of them in one atomic batch as it takes.
//!
//! A batch is stored whole, so the order holds, and each commit is whole. The commits of a batch
//! build on each other: a later one is made against the heads that the earlier ones bring about.
//! Each keeps its own headers, guards and mark, as if it had been stored by itself.
//!
//! A batch can't say which of its commits is in the way. So where it is refused, or its answer is
//! lost, its commits are appended one by one, which says so, and says what is stored already. After
//! a lost answer this also decides what became of the batch: it needs the places that its first
//! commit needs, so it is stored from then on, and its commits are found, or never will be.

use std::collections::{HashMap, HashSet, VecDeque};

use cim_store::{
    Append, Appended, AppendedInOrder, CommitId, Context, EventLogError, Fault, Head,
    OrderedAppend, Position, StreamId, Timestamp, staging,
};
use tokio::task::coop::consume_budget;

use super::append::{self, check_size, is_usable, make, needs_mark, read_heads, unmet};
use super::commits;
use super::log::SharedLog;
use super::messages::{Messages, Outgoing};
use super::publish::{BATCH_MESSAGES, Outcome};
use super::unanswered::Slot;
use crate::api::Failure;
use crate::budget::Budget;
use crate::follow::Start;

/// About as many bytes of payload as a batch has; a commit with more goes by itself.
const BATCH_BYTES: usize = 4 << 20;
/// So often a batch is sent to servers that are busy; then its commits go one by one.
const TRIES: u32 = 8;
/// After a refusal, as many commits as one more refused batch is worth.
const FEWEST: usize = 8;

/// Stores commits in their order, up to the first that can't be stored.
pub(super) async fn append_in_order(
    log: &SharedLog,
    ctx: &Context,
    commits: Vec<OrderedAppend>,
) -> AppendedInOrder {
    let mut import = Import {
        log,
        ctx,
        earlier: Earlier::of(&commits),
        left: commits.into(),
        sent: HashSet::new(),
        most: BATCH_MESSAGES,
        appended: Vec::new(),
    };
    let error = import.run().await.err();
    AppendedInOrder {
        appended: import.appended,
        error,
    }
}

/// The commits of one call.
struct Import<'a> {
    log: &'a SharedLog,
    /// The call's own; only its deadline counts.
    ctx: &'a Context,
    left: VecDeque<OrderedAppend>,
    earlier: Earlier,
    /// The commits that this call has dealt with: an id that comes again is a repetition.
    sent: HashSet<CommitId>,
    /// How many commits to try in the next batch: fewer where some could not go together, so that
    /// what is stored already, or in conflict, does not cost a look at many for each one.
    most: usize,
    appended: Vec<Appended>,
}

/// The next commits of a call that may go into one batch.
#[derive(Default)]
struct Plan {
    count: usize,
    /// The heads of the streams that they name, as they are before the batch.
    heads: HashMap<StreamId, Option<Head>>,
}

/// Commits that go into one batch.
#[derive(Default)]
struct Batch {
    messages: Vec<Outgoing>,
    bytes: usize,
    commits: Vec<Member>,
}

/// A commit in a batch.
struct Member {
    id: CommitId,
    /// How many messages of the batch stand before its first event.
    before: usize,
    events: usize,
    /// Its new heads; their positions count from its first event, from 0.
    heads: Vec<Head>,
    first_slot: Option<Slot>,
}

/// Whether a batch was stored.
enum Sent {
    Stored,
    /// Not; the same may succeed now.
    Again,
    /// Not, and it never will be.
    NotStored,
    /// Nobody knows.
    Unknown,
}

impl Import<'_> {
    async fn run(&mut self) -> Result<(), EventLogError> {
        while !self.left.is_empty() {
            let plan = match self.plan().await {
                Ok(plan) => plan,
                // Nothing was sent, and for nobody anything could be.
                Err(error) if matches!(error.fault(), Some(Fault::Unavailable | Fault::Closed)) => {
                    return Err(error);
                }
                // It may be about any of them, so each hears of it by itself.
                Err(_) => Plan::default(),
            };
            let (mut attempt, mut was_busy) = (0, false);
            let (count, sent) = loop {
                let batch = self.batch(&plan).await;
                let count = batch.commits.len();
                if count < 2 {
                    break (1, None);
                }
                attempt += 1;
                match self.send(batch, attempt).await? {
                    // The next one is made against the same heads, so only one can be stored.
                    Sent::Again => was_busy = true,
                    sent => break (count, Some(sent)),
                }
            };
            let lost = match sent {
                Some(Sent::Stored) => {
                    self.most = (count * 2).min(BATCH_MESSAGES);
                    continue;
                }
                Some(Sent::Unknown) => true,
                Some(Sent::NotStored | Sent::Again) | None => false,
            };
            self.most = match sent {
                Some(_) => (count / 2).max(FEWEST),
                None => 2,
            };
            if lost || was_busy {
                // Their ids are not fresh any more: this call has used them.
                for commit in self.left.iter_mut().take(count) {
                    commit.append.fresh = false;
                }
            }
            for _ in 0..count {
                self.one(lost).await?;
            }
        }
        Ok(())
    }

    /// Appends the next commit by itself. `lost`: it was in a batch of which nobody knows whether it
    /// was stored, so "not stored" can't be said of it where it is not found out.
    async fn one(&mut self, lost: bool) -> Result<(), EventLogError> {
        let Some(OrderedAppend { ctx, append }) = self.left.pop_front() else {
            return Ok(());
        };
        let (log, id) = (self.log, append.commit_id);
        let ctx = ctx.with_deadline_of(self.ctx);
        let answer = async {
            let budget = log.session.begin(&ctx, "append")?;
            log.session.check_writable()?;
            append::append(log, &ctx, append, &budget).await
        };
        match (answer.await, id) {
            (Ok(appended), _) => {
                self.sent.insert(appended.commit_id);
                self.appended.push(appended);
                Ok(())
            }
            (Err(error), Some(id))
                if lost && !error.is_conflict() && error.unknown_commit().is_none() =>
            {
                Err(append::unknown(id).with_source(error))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Finds out which of the next commits may go into one batch.
    async fn plan(&mut self) -> Result<Plan, EventLogError> {
        let budget = self.log.session.begin(self.ctx, "append")?;
        self.log.session.check_writable()?;
        let plan = self.gather(&budget).await?;
        if plan.count > 1 {
            let known = plan.heads.values().flatten();
            let reach = known.map(|head| head.position.get()).max().unwrap_or(0);
            self.earlier.look(self.log, reach, &budget).await?;
        }
        Ok(plan)
    }

    /// Makes the batch of a plan: as many of its commits as go together.
    async fn batch(&self, plan: &Plan) -> Batch {
        let largest = self.log.session.api.requests.client().max_payload();
        let mut batch = Batch::default();
        // What the batch itself brings about.
        let mut new: HashMap<StreamId, Head> = HashMap::new();
        for commit in self.left.iter().take(plan.count) {
            let Some(id) = commit.append.commit_id else {
                break;
            };
            let of_streams: Vec<Option<Head>> = commit
                .append
                .expectations()
                .map(|(stream, _)| match new.get(stream) {
                    Some(head) => Some(head.clone()),
                    None => plan.heads.get(stream).cloned().flatten(),
                })
                .collect();
            if self.earlier.has(id) || unmet(&commit.append, &of_streams).is_some() {
                break;
            }
            let marked = needs_mark(self.log, &commit.append, id);
            let made = make(&commit.append, id, &commit.ctx, &of_streams, marked);
            let Ok(made) = made else {
                break;
            };
            if !batch.has_room(&made, largest) {
                break;
            }
            for head in &made.heads {
                new.insert(head.stream.clone(), head.clone());
            }
            batch.push(id, commit.append.event_count(), made);
            consume_budget().await;
        }
        batch
    }

    /// Completes the next commits, as many as may go into a batch, and reads the heads of the
    /// streams that they name.
    async fn gather(&mut self, budget: &Budget) -> Result<Plan, EventLogError> {
        let settings = &self.log.session.settings;
        let (mut count, mut messages, mut bytes) = (0, 0, 0);
        let mut ids = HashSet::new();
        let mut heads: HashMap<StreamId, Option<Head>> = HashMap::new();
        let mut unknown = Vec::new();
        for OrderedAppend { ctx, append } in &mut self.left {
            let events = append.event_count();
            if events == 0 || staging::check_append(append, &self.log.session.limits).is_err() {
                break;
            }
            let id = staging::complete(append, ctx, &*settings.clock, &*settings.ids);
            if self.sent.contains(&id) || !ids.insert(id) {
                break;
            }
            messages += events + usize::from(needs_mark(self.log, append, id));
            bytes += payload_bytes(append);
            let is_full = messages > BATCH_MESSAGES || bytes > BATCH_BYTES;
            if count == self.most || (count > 0 && is_full) {
                break;
            }
            count += 1;
            for (stream, expected) in append.expectations() {
                if heads.contains_key(stream) {
                    continue; // what counts then is what the earlier commits make of it
                }
                let head = self.log.heads.get(stream);
                if !is_usable(expected, head.as_ref()) {
                    unknown.push(stream.clone());
                }
                heads.insert(stream.clone(), head);
            }
            consume_budget().await;
        }
        if count > 1 && !unknown.is_empty() {
            let read = read_heads(self.log, unknown.clone(), budget).await?;
            heads.extend(unknown.into_iter().zip(read));
        }
        Ok(Plan { count, heads })
    }

    /// Publishes a batch, and takes what it has from what is left where it was stored.
    async fn send(&mut self, batch: Batch, attempt: u32) -> Result<Sent, EventLogError> {
        let Batch {
            messages, commits, ..
        } = batch;
        let Some(first) = commits.first().map(|commit| commit.id) else {
            return Ok(Sent::NotStored);
        };
        let session = &self.log.session;
        let budget = session.begin(self.ctx, "append")?;
        session.check_kept(&budget).await?;
        let count = messages.len() as u64;
        let messages = Messages {
            messages,
            before_events: 0,
            heads: Vec::new(),
            first_slot: None,
        };
        let publisher = &self.log.publisher;
        let outcome = publisher.publish(messages, first, attempt, &budget).await;
        let base = match outcome {
            Outcome::Stored { first } => first,
            Outcome::Busy(_) if attempt < TRIES && budget.pause(attempt).await => {
                return Ok(Sent::Again);
            }
            Outcome::Unknown(_) | Outcome::Refused(Failure::Malformed { .. }) => {
                for commit in commits {
                    if let Some(slot) = commit.first_slot {
                        self.log.unanswered.note(commit.id, slot);
                    }
                }
                return Ok(Sent::Unknown);
            }
            Outcome::Taken | Outcome::Busy(_) | Outcome::Refused(_) => return Ok(Sent::NotStored),
        };
        self.earlier.stored(base, base + count - 1);
        for commit in commits {
            self.left.pop_front();
            self.sent.insert(commit.id);
            let stored = commit.stored(base);
            for head in &stored.heads {
                self.log.heads.put(head);
            }
            session.saw(stored.position.get());
            self.appended.push(stored);
        }
        Ok(Sent::Stored)
    }
}

impl Batch {
    /// Whether a commit's messages have room in it, and each is one that a server takes. The
    /// first one always has room.
    fn has_room(&self, made: &Messages, largest: usize) -> bool {
        let fits = self.messages.len() + made.messages.len() <= BATCH_MESSAGES
            && (self.commits.is_empty() || self.bytes + bytes_of(made) <= BATCH_BYTES);
        fits && made
            .messages
            .iter()
            .all(|message| check_size(message, largest).is_ok())
    }

    fn push(&mut self, id: CommitId, events: usize, made: Messages) {
        self.bytes += bytes_of(&made);
        self.commits.push(Member {
            id,
            before: self.messages.len() + made.before_events,
            events,
            heads: made.heads,
            first_slot: made.first_slot,
        });
        self.messages.extend(made.messages);
    }
}

impl Member {
    /// Its result, where the batch's first message has this position.
    fn stored(self, base: u64) -> Appended {
        let first = base + self.before as u64;
        let mut heads = self.heads;
        for head in &mut heads {
            head.position = Position::new(first + head.position.get());
        }
        Appended {
            commit_id: self.id,
            position: Position::new(first + self.events as u64 - 1),
            stored_at: None,
            heads,
        }
    }
}

fn bytes_of(made: &Messages) -> usize {
    made.messages
        .iter()
        .map(|message| message.payload.len())
        .sum()
}

fn payload_bytes(append: &Append) -> usize {
    let events = append.writes.iter().flat_map(|write| &write.events);
    events.map(|event| event.payload.len()).sum()
}

/// Which commits of a call are in the log already, without a mark that would stop them.
///
/// A commit that was stored later than a head was read takes the place that comes behind this head,
/// which stops its repetition. So what has to be looked at is the log up to the heads that a batch
/// is made against; each event is looked at once.
#[derive(Debug)]
struct Earlier {
    /// The commits that may have been stored without a mark.
    ids: HashSet<CommitId>,
    /// When, in the server's time; `None` where there are no such commits.
    between: Option<(Timestamp, Timestamp)>,
    /// Everything up to here was looked at.
    seen: Option<u64>,
    found: HashSet<CommitId>,
}

impl Earlier {
    fn of(commits: &[OrderedAppend]) -> Self {
        let mut earlier = Self {
            ids: HashSet::new(),
            between: None,
            seen: None,
            found: HashSet::new(),
        };
        for OrderedAppend { append, .. } in commits {
            let Some(id) = append.commit_id.filter(|_| !append.fresh) else {
                continue;
            };
            if let Some((from, until)) = commits::stored_between(id) {
                earlier.ids.insert(id);
                let (first, last) = earlier.between.unwrap_or((from, until));
                earlier.between = Some((first.min(from), last.max(until)));
            }
        }
        earlier
    }

    fn has(&self, id: CommitId) -> bool {
        self.found.contains(&id)
    }

    /// Looks at the log up to this position, as far as that was not done.
    async fn look(
        &mut self,
        log: &SharedLog,
        through: u64,
        budget: &Budget,
    ) -> Result<(), EventLogError> {
        let Some((from, until)) = self.between else {
            return Ok(());
        };
        if through <= self.seen.unwrap_or(0) {
            return Ok(());
        }
        let start = match self.seen {
            Some(seen) => Start::Sequence(seen + 1),
            None => Start::Time(from),
        };
        let looked = commits::scan(log, start, Some(until), budget, |_, commit| {
            self.found
                .extend(commit.filter(|commit| self.ids.contains(commit)));
            false
        });
        self.seen = Some(looked.await?);
        Ok(())
    }

    /// This call itself stored everything from `first` to `last`.
    fn stored(&mut self, first: u64, last: u64) {
        if self.seen.unwrap_or(0).checked_add(1) == Some(first) {
            self.seen = Some(last);
        }
    }
}
