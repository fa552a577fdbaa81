//! The order of a verification: what is listed, what is examined, what is compared.

use std::collections::{HashMap, HashSet, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;

use cim_store::{
    Context, EventCid, EventLog, EventLogError, Examination, Examined, Head, LogStats, Position,
    StreamId, StreamPattern, StreamRange,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::chains::Chains;
use super::ends::Listing;
use super::fault::{VerificationFault, VerificationFaultKind};
use super::hashing::{self, BATCH_EVENTS, Batch};
use super::heads::{VerifiedHead, VerifiedHeads};
use super::streams::{self, Walk};
use super::task::Task;

/// Streams that are read at the same time for each worker: their reads wait in turn.
const WALKS_A_WORKER: usize = 4;

/// Verifies a log.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # use cim_domain::persistence::verification::Verifier;
/// # use cim_domain::store::{Context, EventLogExt, ExpectedVersion, NewEvent, StreamId};
/// # let store = cim_domain::open("memory:").await?;
/// # let (log, ctx) = (store.log(), Context::new());
/// # let order = StreamId::new("sales", "order", "7")?;
/// # let placed = NewEvent::json("order_placed", &12)?;
/// # log.append_to(&ctx, &order, ExpectedVersion::NEW, vec![placed]).await?;
/// // Every night: what is new.
/// let night = Verifier::new(log.clone()).verify(&ctx, |_| ()).await?;
///
/// // Every week: all of it again, in the log and in the streams, and no other log will do. It has
/// // the time, so it leaves the other cores to the application.
/// let week = Verifier::new(log)
///     .since(night.heads)
///     .reading_all()
///     .reading_streams()
///     .expecting_the_same_log()
///     .with_workers(1)
///     .verify(&ctx, |_| ())
///     .await?;
/// assert!(week.is_sound());
/// assert_eq!((week.events, week.events_before), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Verifier {
    log: Arc<dyn EventLog>,
    known: VerifiedHeads,
    workers: usize,
    reads_streams: bool,
    reads_all: bool,
    same_log: bool,
}

/// How far a verification has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerificationProgress {
    /// What is being counted.
    pub what: VerificationUnit,
    /// So many are done.
    pub done: u64,
    /// Of so many.
    pub total: u64,
}

/// What a [`VerificationProgress`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerificationUnit {
    /// Positions of the log.
    Positions,
    /// Streams.
    Streams,
}

/// What a verification found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verification {
    /// How many streams were meant.
    pub streams: u64,
    /// How many events were read and verified now.
    pub events: u64,
    /// How many were verified before and not read again.
    pub events_before: u64,
    /// Whether the [`VerifiedHeads`] were of another log, so that everything was read.
    pub other_log: bool,
    /// What is wrong: of each stream the first fault, then those of the log as a whole.
    pub faults: Vec<VerificationFault>,
    /// What is verified now, including what was before. Streams with a fault stand as they were
    /// verified before.
    pub heads: VerifiedHeads,
}

impl Verification {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
}

impl Verifier {
    /// Verifies this log from its beginning, on as many cores as there are.
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self {
            log,
            known: VerifiedHeads::default(),
            workers: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            reads_streams: false,
            reads_all: false,
            same_log: false,
        }
    }

    /// Goes on from what was verified before: what it covers is not read again, but must still be
    /// what the history goes on from. Where another event stands at its position than then, as in a
    /// store that the history was moved to, everything is read and compared with it.
    ///
    /// What was altered in the meantime behind the verified heads, without touching any event after
    /// them, is found by a whole verification only.
    #[must_use]
    pub fn since(mut self, heads: VerifiedHeads) -> Self {
        self.known = heads;
        self
    }

    /// Reads everything again, also what was verified before, and compares it with that.
    #[must_use]
    pub fn reading_all(mut self) -> Self {
        self.reads_all = true;
        self
    }

    /// Takes it for a fault where the log does not begin with the event that the verified heads say.
    /// Otherwise it is taken for another log, which is [told](Verification::other_log) and verified
    /// from its beginning.
    #[must_use]
    pub fn expecting_the_same_log(mut self) -> Self {
        self.same_log = true;
        self
    }

    /// On how many cores to hash; at least 1. With 1 everything happens in the calling task, with
    /// more it needs a tokio runtime.
    #[must_use]
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Also reads every stream the way an application does, which shows that the store's own index
    /// leads to the events that the log holds.
    #[must_use]
    pub fn reading_streams(mut self) -> Self {
        self.reads_streams = true;
        self
    }

    /// Verifies the whole log: every chain, the order of positions and times, and every commit.
    ///
    /// Memory is one head per stream.
    ///
    /// # Errors
    /// Of being unable to look: `Unavailable`, `Closed`, `Denied`. What is wrong with the log is in
    /// [`Verification::faults`].
    pub async fn verify(
        mut self,
        ctx: &Context,
        mut progress: impl FnMut(VerificationProgress),
    ) -> Result<Verification, EventLogError> {
        let stats = self.log.stats(ctx).await?;
        let first = self.first_event(ctx, &stats).await?;
        let (other_log, other) = self.meet(first);
        let stands = self.stands(ctx, &stats, first).await?;
        self.reads_all |= !stands;
        let (events_before, known_through) = if self.reads_all {
            (0, Position::NONE)
        } else {
            (self.known.events(), self.known.position())
        };
        let begin = known_through.max(stats.truncated_through);
        let walked = if self.reads_streams {
            let (listing, _) = list(&self.log, ctx, &StreamPattern::all()).await?;
            let heads = listing.heads.into_values().collect();
            self.walk_all(ctx, heads, &mut progress).await?
        } else {
            Vec::new()
        };
        let known = std::mem::take(&mut self.known);
        let mut chains = Chains::new(known, None, begin, &stats);
        chains.same_places = stands;
        if self.reads_all {
            chains.link_all();
        }
        // What is listed later than this is at least as new as what is examined.
        let examined = self.log.examine(ctx, begin).await?;
        let listing = (self.workers > 1).then(|| {
            let (log, ctx) = (self.log.clone(), ctx.clone());
            Task(tokio::spawn(async move {
                list(&log, &ctx, &StreamPattern::all()).await
            }))
        });
        let extent = (begin, stats.last);
        self.examine(examined, extent, &mut chains, &mut progress)
            .await?;
        let (listing, unlisted) = match listing {
            Some(listing) => listing.await??,
            None => list(&self.log, ctx, &StreamPattern::all()).await?,
        };
        let streams = listing.heads.len().max(chains.chains.len()) as u64;
        let (events, reached) = (chains.events, chains.order.position.max(begin));
        let (mut faults, mut heads) = chains.finish(&listing);
        faults.extend(unlisted);
        faults.extend(other);
        add_unseen(&mut faults, walked);
        if faults.is_empty() {
            heads.begin(first);
            heads.reach(reached, events_before + events);
        }
        Ok(Verification {
            streams,
            events,
            events_before,
            other_log,
            faults,
            heads,
        })
    }

    /// Verifies the streams whose name matches, by reading them.
    ///
    /// Where the store refuses to read on, the log is examined to say what exactly is wrong.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub async fn verify_streams(
        mut self,
        ctx: &Context,
        pattern: &StreamPattern,
        mut progress: impl FnMut(VerificationProgress),
    ) -> Result<Verification, EventLogError> {
        let stats = self.log.stats(ctx).await?;
        let first = self.first_event(ctx, &stats).await?;
        let (other_log, other) = self.meet(first);
        let (listing, unlisted) = list(&self.log, ctx, pattern).await?;
        let listed = listing.heads;
        let mut faults: Vec<_> = unlisted.into_iter().chain(other).collect();
        let is_gone = |stream: &StreamId| pattern.matches(stream) && !listed.contains_key(stream);
        let gone = self.known.iter().filter(|(stream, _)| is_gone(stream));
        faults.extend(gone.map(|(stream, known)| VerificationFault::of_gone(stream, known)));
        let streams = listed.len() as u64;
        let before = |stream: &StreamId| self.known.head(stream).map_or(0, |head| head.version);
        let events_before = match self.reads_all {
            true => 0,
            false => listed.keys().map(before).sum(),
        };
        let heads: Vec<Head> = listed.values().cloned().collect();
        let walks = self.walk_all(ctx, heads, &mut progress).await?;
        let mut verified = self.known.clone();
        let (mut events, mut unclear) = (0, HashSet::new());
        let mut unexplained = HashMap::new();
        for walk in walks {
            events += walk.events;
            if walk.unclear {
                unexplained.extend(walk.fault.map(|fault| (walk.stream.clone(), fault)));
                unclear.insert(walk.stream);
            } else if let Some(fault) = walk.fault {
                faults.push(fault);
            } else if let Some((head, listed)) = walk.head.zip(listed.get(&walk.stream)) {
                let head = VerifiedHead {
                    version: head.version,
                    position: listed.position,
                    cid: head.cid,
                };
                verified.put(walk.stream, head);
            }
        }
        if !unclear.is_empty() {
            let truncated = stats.truncated_through;
            let mut chains = Chains::new(verified, Some(unclear), truncated, &stats);
            // From the beginning: what is known of the streams may rest on what is damaged.
            chains.link_all();
            let examined = self.log.examine(ctx, truncated).await?;
            let extent = (truncated, stats.last);
            self.examine(examined, extent, &mut chains, &mut progress)
                .await?;
            let (listing, _) = list(&self.log, ctx, pattern).await?;
            events += chains.events;
            let (found, heads) = chains.finish(&listing);
            verified = heads;
            for fault in found {
                // Places that no stream claims are no matter of these streams.
                if let Some(stream) = &fault.stream {
                    unexplained.remove(stream);
                    faults.push(fault);
                }
            }
            faults.extend(unexplained.into_values());
        }
        faults.sort_by(|one, other| one.stream.cmp(&other.stream));
        verified.begin(first);
        Ok(Verification {
            streams,
            events,
            events_before,
            other_log,
            faults,
            heads: verified,
        })
    }

    /// The CID of the log's first event, where it can still be read.
    async fn first_event(
        &self,
        ctx: &Context,
        stats: &LogStats,
    ) -> Result<Option<EventCid>, EventLogError> {
        if stats.truncated_through > Position::NONE {
            return Ok(None);
        }
        let mut found = self.log.examine(ctx, Position::NONE).await?;
        Ok(match found.try_next().await? {
            Some(Examined::Event(event)) => Some(event.cid),
            _ => None,
        })
    }

    /// Whether what was verified last before still stands where it stood. In a copy of the log, or in
    /// one that was imported again, the same events have other positions, by which nothing can be
    /// passed over. What is not there any more is found by reading everything, too.
    async fn stands(
        &self,
        ctx: &Context,
        stats: &LogStats,
        first: Option<EventCid>,
    ) -> Result<bool, EventLogError> {
        let whole = stats.truncated_through == Position::NONE;
        if whole && first.is_none() && self.known.first().is_some() {
            return Ok(false);
        }
        let heads = || self.known.iter().map(|(_, head)| *head);
        let last = |head: &VerifiedHead| head.position;
        // A stream that was verified alone since then may stand behind what was verified whole.
        let covered = heads().filter(|head| head.position <= self.known.position());
        let covered = covered.max_by_key(last);
        let beyond = heads()
            .max_by_key(last)
            .filter(|head| covered != Some(*head));
        for head in covered.into_iter().chain(beyond) {
            if head.position <= stats.truncated_through {
                continue;
            }
            let before = Position::new(head.position.get().saturating_sub(1));
            let mut found = self.log.examine(ctx, before).await?;
            match found.try_next().await? {
                Some(Examined::Event(event))
                    if (event.position, event.cid) == (head.position, head.cid) => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Compares what is known with the log's first event; forgets it where it is of another log.
    fn meet(&mut self, first: Option<EventCid>) -> (bool, Option<VerificationFault>) {
        let Some((first, known)) = first.zip(self.known.first()) else {
            return (false, None);
        };
        if first == known {
            return (false, None);
        }
        self.known = VerifiedHeads::default();
        let message = format!(
            "the log begins with {first}, and with {known} when it was verified before: it is \
             another log, or all of its history was replaced"
        );
        let kind = VerificationFaultKind::Forked;
        let fault = VerificationFault::of_log(None, kind, message);
        (true, self.same_log.then_some(fault))
    }

    async fn walk_all(
        &self,
        ctx: &Context,
        heads: Vec<Head>,
        progress: &mut impl FnMut(VerificationProgress),
    ) -> Result<Vec<Walk>, EventLogError> {
        let total = heads.len() as u64;
        let walks = heads.into_iter().map(|head| {
            let known = self.known.head(&head.stream);
            streams::walk(self.log.clone(), ctx.clone(), head, known, self.reads_all)
        });
        let mut done = Vec::with_capacity(total as usize);
        let mut note = |done: &[Walk]| {
            progress(VerificationProgress {
                what: VerificationUnit::Streams,
                done: done.len() as u64,
                total,
            });
        };
        if self.workers == 1 {
            for walk in walks {
                done.push(walk.await?);
                note(&done);
            }
            return Ok(done);
        }
        let spawned = stream::iter(walks)
            .map(|walk| async { Task(tokio::spawn(walk)).await.flatten() })
            .buffer_unordered(self.workers * WALKS_A_WORKER);
        let mut spawned = std::pin::pin!(spawned);
        while let Some(walk) = spawned.try_next().await? {
            done.push(walk);
            note(&done);
        }
        Ok(done)
    }

    /// Links what is examined. Hashing runs beside the reading, in the order of the log.
    async fn examine(
        &self,
        mut examined: Examination,
        (after, last): (Position, Position),
        chains: &mut Chains,
        progress: &mut impl FnMut(VerificationProgress),
    ) -> Result<(), EventLogError> {
        let total = last.get().saturating_sub(after.get());
        let mut note = |chains: &Chains| {
            let reached = chains.order.position.get();
            progress(VerificationProgress {
                what: VerificationUnit::Positions,
                done: reached.saturating_sub(after.get()).min(total),
                total,
            });
        };
        if self.workers == 1 {
            while let Some(found) = examined.try_next().await? {
                if chains.mean(&found) {
                    chains.push(hashing::hash(found));
                    if chains.events.is_multiple_of(BATCH_EVENTS) {
                        note(chains);
                    }
                }
            }
            note(chains);
            return Ok(());
        }
        let mut batch = Batch::default();
        let mut hashing = VecDeque::new();
        let begin = |batch| Task(tokio::task::spawn_blocking(|| hashing::hash_all(batch)));
        while let Some(found) = examined.try_next().await? {
            if !chains.mean(&found) {
                continue;
            }
            let Some(full) = batch.push(found) else {
                continue;
            };
            hashing.push_back(begin(full));
            // Memory is bounded, and nobody waits while there is work for everyone.
            if hashing.len() > self.workers * 2
                && let Some(first) = hashing.pop_front()
            {
                chains.push_all(first.await?);
                note(chains);
            }
        }
        hashing.extend(batch.take().map(begin));
        for hashed in hashing {
            chains.push_all(hashed.await?);
            note(chains);
        }
        Ok(())
    }
}

/// What the store says of its streams, and the fault where it can't list them all.
async fn list(
    log: &Arc<dyn EventLog>,
    ctx: &Context,
    pattern: &StreamPattern,
) -> Result<(Listing, Option<VerificationFault>), EventLogError> {
    let mut listing = Listing::default();
    let listed = async {
        let mut heads = log.streams(ctx, pattern).await?;
        while let Some(head) = heads.try_next().await? {
            listing.heads.insert(head.stream.clone(), head);
        }
        let last = log.stats(ctx).await?.last;
        // A head may be seen a moment before the count of the log says so.
        let newest = listing.heads.values().max_by_key(|head| head.position);
        let is_there = match newest.filter(|head| head.position > last) {
            Some(head) => is_there(&**log, ctx, head).await,
            None => false,
        };
        let newest = newest.map_or(Position::NONE, |head| head.position);
        listing.last = Some(if is_there { last.max(newest) } else { last });
        Ok(())
    };
    let ended: Result<(), EventLogError> = listed.await;
    match ended {
        Ok(()) => Ok((listing, None)),
        Err(error) if error.is_integrity() => {
            let kind = VerificationFaultKind::Index;
            let message = format!("the store can't list its streams: {error}");
            let fault = VerificationFault::of_log(None, kind, message);
            Ok((listing, Some(fault)))
        }
        Err(error) => Err(error),
    }
}

/// Whether a head leads to its event.
async fn is_there(log: &dyn EventLog, ctx: &Context, head: &Head) -> bool {
    let alone = StreamRange::from(head.version).to(head.version);
    let Ok(mut events) = log.read_stream(ctx, &head.stream, alone).await else {
        return false;
    };
    match events.try_next().await {
        Ok(Some(event)) => event.cid == head.cid && event.position == head.position,
        _ => false,
    }
}

/// Adds the faults of streams of which nothing else is said.
fn add_unseen(faults: &mut Vec<VerificationFault>, walks: Vec<Walk>) {
    let named: HashSet<StreamId> = faults.iter().filter_map(|f| f.stream.clone()).collect();
    let found = walks.into_iter().filter_map(|walk| walk.fault);
    faults.extend(found.filter(|f| {
        f.stream
            .as_ref()
            .is_none_or(|stream| !named.contains(stream))
    }));
}
