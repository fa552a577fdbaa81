//! What was asked of a store and promised by it, and the check of a store against it.
//!
//! A commit's content follows from a seed and its number alone, so a list of numbers says what was
//! asked, and every event that is found can be compared with what it must be.

pub(crate) mod keys;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::time::Duration;

use cim_conformance::model::Rng;
use cim_store::{
    Append, Appended, ArchiveDigester, Clock, CommitId, Context, EventCid, EventLog, EventLogError,
    ExpectedVersion, LogQuery, NewEvent, Position, RecordedEvent, Resolution, StreamId,
    StreamPattern, StreamRange, SystemClock, Truncation, Version,
};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};
use futures_util::TryStreamExt;

/// The seed in `CIM_SEED`, or a new one; printed, so that a failure can be repeated.
pub(crate) fn seed(test: &str) -> u64 {
    let given = std::env::var("CIM_SEED").ok();
    let seed = given.and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 16);
    println!("{test}: CIM_SEED={seed}");
    seed
}

/// A number from an environment variable.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Writers that append at the same time; commit `number` is of writer `number % WRITERS`.
pub(crate) const WRITERS: u64 = 4;

/// The id of a commit.
pub(crate) fn commit_id(seed: u64, number: u64) -> CommitId {
    let mut rng = Rng::new(seed ^ number.wrapping_mul(0x9E37_79B9));
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&rng.next().to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    CommitId::from_bytes(bytes)
}

fn number_of(id: CommitId) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&id.as_bytes()[8..]);
    u64::from_be_bytes(bytes)
}

/// The streams that a commit writes to, with the payloads for each. Streams of the writer's own
/// come first.
fn content(seed: u64, number: u64) -> Vec<(StreamId, Vec<String>)> {
    let mut rng = Rng::new(seed.rotate_left(17) ^ number);
    let mut streams: Vec<String> = Vec::new();
    let shape = rng.below(8);
    let own = || format!("own-{}", number % WRITERS);
    streams.push(format!("{}-{}", own(), rng.below(4)));
    if shape >= 5 {
        streams.push(format!("shared-{}", rng.below(3)));
    }
    if shape == 7 {
        streams.push(format!("once-{number}"));
    }
    let mut index = 0;
    let mut writes = Vec::new();
    for name in streams {
        let count = if rng.one_in(3) { 1 + rng.below(5) } else { 1 };
        let payloads = (0..count).map(|_| {
            let size = if rng.one_in(20) {
                rng.below(6_000)
            } else {
                rng.below(300)
            };
            index += 1;
            format!(
                r#"{{"commit":{number},"index":{index},"fill":"{}"}}"#,
                "x".repeat(size as usize)
            )
        });
        let payloads = payloads.collect();
        writes.push((StreamId::new("torture", "thing", &name).unwrap(), payloads));
    }
    writes
}

/// The append that asks for a commit. Where `versions` knows a stream, its version is expected.
pub(crate) fn append(
    seed: u64,
    number: u64,
    versions: impl Fn(&StreamId) -> Option<Version>,
) -> Append {
    let mut append = Append::new().with_commit_id(commit_id(seed, number));
    for (stream, payloads) in content(seed, number) {
        let expected = versions(&stream).map_or(ExpectedVersion::Any, ExpectedVersion::Exact);
        let events = payloads.into_iter().map(|payload| {
            let value: serde_json::Value = serde_json::from_str(&payload).unwrap();
            NewEvent::json("tortured", &value).unwrap()
        });
        let events = events.collect();
        append = append.write(stream, expected, events);
    }
    append
}

/// What is known of a commit that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) position: u64,
    pub(crate) heads: Vec<(StreamId, u64)>,
}

impl From<&Appended> for Stored {
    fn from(appended: &Appended) -> Self {
        let heads = appended.heads.iter();
        Self {
            position: appended.position.get(),
            heads: heads
                .map(|head| (head.stream.clone(), head.version.get()))
                .collect(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    version: u64,
    position: u64,
    cid: EventCid,
}

/// What was asked and promised so far, and what was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) seed: u64,
    /// Asked, and nothing is known of the outcome.
    open: BTreeSet<u64>,
    /// Promised, or found.
    stored: BTreeMap<u64, Stored>,
    /// Not found after a crash, or refused: must never appear.
    absent: BTreeSet<u64>,
    heads: HashMap<StreamId, Known>,
    /// The heads before everything is checked anew.
    before: HashMap<StreamId, Known>,
    /// Everything up to here was checked before.
    checked: u64,
    truncated: u64,
    /// Truncations that were asked for.
    truncating: BTreeSet<u64>,
}

/// What a check found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    pub(crate) events: u64,
    pub(crate) settled_as_stored: u64,
    pub(crate) settled_as_absent: u64,
}

macro_rules! ensure {
    ($right:expr, $($what:tt)*) => {
        if !$right {
            return Err(format!($($what)*));
        }
    };
}

impl Ledger {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// A number that no commit had yet, of a writer.
    pub(crate) fn first_number(&self, writer: u64) -> u64 {
        let last = |numbers: Option<&u64>| numbers.copied().unwrap_or(0);
        let last = last(self.open.last())
            .max(last(self.absent.last()))
            .max(self.stored.keys().next_back().copied().unwrap_or(0));
        (last / WRITERS + 1) * WRITERS + writer
    }

    pub(crate) fn begin(&mut self, number: u64) {
        // A repetition of a commit that is known changes nothing.
        if !self.stored.contains_key(&number) {
            self.absent.remove(&number);
            self.open.insert(number);
        }
    }

    pub(crate) fn acknowledge(&mut self, number: u64, stored: Stored) -> Result<(), String> {
        let was_open = self.open.remove(&number);
        match self.stored.insert(number, stored.clone()) {
            Some(first) => ensure!(
                first == stored,
                "commit {number}: first {first:?}, repeated {stored:?}"
            ),
            None => ensure!(
                was_open,
                "commit {number} was acknowledged and never asked for"
            ),
        }
        Ok(())
    }

    /// The store said that nothing of it was stored.
    pub(crate) fn refuse(&mut self, number: u64) {
        if self.open.remove(&number) {
            self.absent.insert(number);
        }
    }

    pub(crate) fn begin_truncation(&mut self, through: u64) {
        self.truncating.insert(through);
    }

    pub(crate) fn acknowledge_truncation(&mut self, through: u64) {
        self.truncated = self.truncated.max(through);
    }

    /// Whether a truncation was asked for.
    pub(crate) fn has_truncated(&self) -> bool {
        self.truncated > 0 || !self.truncating.is_empty()
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.stored.len()
    }

    /// Checks everything anew, also what was checked before.
    pub(crate) async fn check_all(&mut self, log: &dyn EventLog) -> Result<Found, String> {
        self.checked = 0;
        self.before = self.heads.clone();
        let left = |known: &Known| known.position <= self.truncated;
        self.heads.retain(|_, known| left(known));
        let found = self.check(log).await?;
        for (stream, before) in std::mem::take(&mut self.before) {
            let now = self.heads.get(&stream).map_or(0, |known| known.version);
            ensure!(
                now >= before.version,
                "{stream} went back from {} to {now}",
                before.version
            );
        }
        let numbers: Vec<u64> = self.stored.keys().copied().collect();
        for number in numbers {
            self.check_resolution(log, number).await?;
        }
        let streams: Vec<StreamId> = self.heads.keys().cloned().collect();
        for stream in streams {
            self.check_stream(log, &stream).await?;
        }
        let listed: Vec<_> = log
            .streams(&Context::new(), &StreamPattern::all())
            .await
            .map_err(|error| format!("streams: {error}"))?
            .try_collect()
            .await
            .map_err(|error| format!("streams: {error}"))?;
        ensure!(
            listed.len() == self.heads.len(),
            "{} streams are listed of {}",
            listed.len(),
            self.heads.len()
        );
        for head in listed {
            let known = self.heads.get(&head.stream);
            ensure!(
                known.is_some_and(|known| known.cid == head.cid),
                "{} is listed with a wrong head",
                head.stream
            );
        }
        Ok(found)
    }

    /// Checks what has been added since the last check: everything acknowledged is there once and
    /// as it was promised, what was not is there whole or not at all, there is nothing else, the
    /// streams' chains hold, and the index agrees with the log.
    pub(crate) async fn check(&mut self, log: &dyn EventLog) -> Result<Found, String> {
        let ctx = Context::new();
        let stats = log
            .stats(&ctx)
            .await
            .map_err(|error| format!("stats: {error}"))?;
        let truncated = stats.truncated_through.get();
        ensure!(
            truncated == self.truncated
                || truncated > self.truncated && self.truncating.contains(&truncated),
            "truncated through {truncated}, not {} or one of {:?}",
            self.truncated,
            self.truncating
        );
        self.truncated = truncated;
        self.truncating.clear();
        let after = self.checked.max(truncated);
        if truncated > self.checked {
            // Commits that are known only from their promise or from `resolve` went unseen.
            self.learn_unseen(log, truncated).await?;
        }
        let query = LogQuery::all().after(Position::new(after));
        let mut events = log
            .read_log(&ctx, query)
            .await
            .map_err(|error| format!("read: {error}"))?;
        let mut found = Found::default();
        let mut commit: Vec<RecordedEvent> = Vec::new();
        let mut position = after;
        let mut seen = BTreeSet::new();
        while let Some(event) = events
            .try_next()
            .await
            .map_err(|error| format!("read: {error}"))?
        {
            ensure!(
                event.position.get() == position + 1,
                "position {} follows {position}",
                event.position
            );
            ensure!(
                event.has_its_cid(),
                "the event at {} has another CID",
                event.position
            );
            position += 1;
            found.events += 1;
            self.follow(&event)?;
            let last = event.commit_index + 1 == event.commit_count;
            commit.push(event);
            if last {
                let number = self.check_commit(&commit)?;
                ensure!(seen.insert(number), "commit {number} is there twice");
                found.settled_as_stored += u64::from(self.open.remove(&number));
                commit.clear();
            }
        }
        ensure!(commit.is_empty(), "the log ends within a commit");
        ensure!(
            position == stats.last.get(),
            "the log ends at {position}, not {}",
            stats.last
        );
        for (number, stored) in &self.stored {
            ensure!(
                stored.position <= after || seen.contains(number),
                "commit {number}, acknowledged at {}, is missing",
                stored.position
            );
        }
        self.checked = position;
        for (stream, known) in &self.heads {
            let head = log
                .head(&ctx, stream)
                .await
                .map_err(|error| format!("head: {error}"))?;
            let right = head.as_ref().is_some_and(|head| {
                head.version.get() == known.version
                    && head.position.get() == known.position
                    && head.cid == known.cid
            });
            ensure!(right, "the head of {stream} is {head:?}, not {known:?}");
        }
        ensure!(
            stats.streams == self.heads.len() as u64,
            "{} streams are counted of {}",
            stats.streams,
            self.heads.len()
        );
        // What is not in the log was not stored, and `resolve` says so.
        for number in std::mem::take(&mut self.open) {
            let resolved = log.resolve(&ctx, commit_id(self.seed, number)).await;
            let resolved = resolved.map_err(|error| format!("resolve: {error}"))?;
            ensure!(
                resolved == Resolution::NotCommitted,
                "commit {number} is not in the log but resolves to {resolved:?}"
            );
            self.absent.insert(number);
            found.settled_as_absent += 1;
        }
        let last: Vec<u64> = self.stored.keys().rev().take(20).copied().collect();
        for number in last {
            self.check_resolution(log, number).await?;
        }
        Ok(found)
    }

    async fn learn_unseen(&mut self, log: &dyn EventLog, truncated: u64) -> Result<(), String> {
        let ctx = Context::new();
        for number in self.open.clone() {
            let resolved = log.resolve(&ctx, commit_id(self.seed, number)).await;
            if let Resolution::Committed(appended) =
                resolved.map_err(|error| format!("resolve: {error}"))?
                && appended.position.get() <= truncated
            {
                self.open.remove(&number);
                self.stored.insert(number, Stored::from(&appended));
            }
        }
        let unseen = self
            .stored
            .values()
            .filter(|stored| stored.position > self.checked && stored.position <= truncated);
        let streams: BTreeSet<StreamId> = unseen
            .flat_map(|stored| stored.heads.iter().map(|(stream, _)| stream.clone()))
            .collect();
        for stream in streams {
            // Its last unseen event is the one that its first visible event must follow.
            let version = self
                .stored
                .values()
                .filter(|stored| stored.position <= truncated)
                .flat_map(|stored| &stored.heads)
                .filter(|(other, _)| *other == stream)
                .map(|(_, version)| *version)
                .max();
            let head = log
                .head(&ctx, &stream)
                .await
                .map_err(|error| format!("head: {error}"))?;
            let Some(head) = head else {
                return Err(format!("{stream} lost its head"));
            };
            let version = version.unwrap_or_default();
            let known = if head.version.get() == version {
                Known {
                    version,
                    position: head.position.get(),
                    cid: head.cid,
                }
            } else {
                let range = StreamRange::from(Version::new(version + 1)).limit(1);
                let next = log
                    .read_stream(&ctx, &stream, range)
                    .await
                    .map_err(|error| format!("{stream}: {error}"))?
                    .try_next()
                    .await
                    .map_err(|error| format!("{stream}: {error}"))?;
                let Some(cid) = next.and_then(|event| event.previous) else {
                    return Err(format!("{stream} has no event {}", version + 1));
                };
                Known {
                    version,
                    position: truncated,
                    cid,
                }
            };
            self.heads.insert(stream, known);
        }
        Ok(())
    }

    fn follow(&mut self, event: &RecordedEvent) -> Result<(), String> {
        let known = self.heads.get(&event.stream);
        let cut = self
            .before
            .get(&event.stream)
            .filter(|before| self.truncated > 0 && before.version >= event.version.get());
        let known = match (known, cut, event.previous) {
            // The first that is left of a stream whose older events were given up.
            (None, Some(_), Some(cid)) => Some(Known {
                version: event.version.get() - 1,
                position: 0,
                cid,
            }),
            (known, ..) => known.copied(),
        };
        let version = known.map_or(0, |known| known.version);
        ensure!(
            event.version.get() == version + 1,
            "{} {} follows version {version}",
            event.stream,
            event.version
        );
        ensure!(
            event.previous == known.map(|known| known.cid),
            "the chain of {} breaks at {}",
            event.stream,
            event.version
        );
        let known = Known {
            version: version + 1,
            position: event.position.get(),
            cid: event.cid,
        };
        self.heads.insert(event.stream.clone(), known);
        Ok(())
    }

    /// Compares the events of one commit with what was asked; returns its number.
    fn check_commit(&mut self, events: &[RecordedEvent]) -> Result<u64, String> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return Err("a commit without events".into());
        };
        let number = number_of(first.commit_id);
        ensure!(
            first.commit_id == commit_id(self.seed, number),
            "a foreign event stands at {}",
            first.position
        );
        ensure!(
            self.open.contains(&number) || self.stored.contains_key(&number),
            "commit {number} at {} was never asked for, refused, or not found before",
            first.position
        );
        let asked = content(self.seed, number);
        let count: usize = asked.iter().map(|(_, payloads)| payloads.len()).sum();
        ensure!(
            count == events.len(),
            "commit {number} has {} events of {count}",
            events.len()
        );
        let mut stored = Stored {
            position: last.position.get(),
            heads: Vec::new(),
        };
        let asked = asked
            .iter()
            .flat_map(|(stream, payloads)| payloads.iter().map(move |payload| (stream, payload)));
        for (index, ((stream, payload), event)) in asked.zip(events).enumerate() {
            let payload: serde_json::Value = serde_json::from_str(payload).unwrap();
            let right = event.commit_id == first.commit_id
                && event.commit_index as usize == index
                && event.commit_count as usize == count
                && event.stream == *stream
                && event
                    .json::<serde_json::Value>()
                    .is_ok_and(|found| found == payload);
            ensure!(right, "event {index} of commit {number} is another one");
            let head = (event.stream.clone(), event.version.get());
            match stored.heads.last_mut() {
                Some(last) if last.0 == head.0 => *last = head,
                _ => stored.heads.push(head),
            }
        }
        if let Some(promised) = self.stored.insert(number, stored.clone()) {
            ensure!(
                promised == stored,
                "commit {number}: promised {promised:?}, found {stored:?}"
            );
        }
        Ok(number)
    }

    async fn check_resolution(&self, log: &dyn EventLog, number: u64) -> Result<(), String> {
        let resolved = log
            .resolve(&Context::new(), commit_id(self.seed, number))
            .await;
        let resolved = resolved.map_err(|error| format!("resolve: {error}"))?;
        let right = matches!(&resolved, Resolution::Committed(appended) if self.stored.get(&number) == Some(&Stored::from(appended)));
        ensure!(
            right,
            "commit {number} resolves to {resolved:?}, not {:?}",
            self.stored.get(&number)
        );
        Ok(())
    }

    /// Reads a stream, as far as it was not given up, in both directions.
    async fn check_stream(&self, log: &dyn EventLog, stream: &StreamId) -> Result<(), String> {
        let Some(known) = self.heads.get(stream) else {
            return Ok(());
        };
        if known.position <= self.truncated {
            return Ok(());
        }
        let ctx = Context::new();
        let fail = |error| format!("{stream}: {error}");
        let mut range = StreamRange::all().backwards();
        if self.truncated > 0 {
            range = StreamRange::from(Version::new(known.version)).backwards();
        }
        let backwards: Vec<RecordedEvent> = log
            .read_stream(&ctx, stream, range)
            .await
            .map_err(fail)?
            .try_collect()
            .await
            .map_err(fail)?;
        let first = backwards.last().map_or(1, |event| event.version.get());
        let range = StreamRange::from(Version::new(first));
        let mut forwards: Vec<RecordedEvent> = log
            .read_stream(&ctx, stream, range)
            .await
            .map_err(fail)?
            .try_collect()
            .await
            .map_err(fail)?;
        forwards.reverse();
        ensure!(
            forwards == backwards,
            "{stream} reads differently forwards and backwards"
        );
        ensure!(
            backwards.len() as u64 == known.version + 1 - first,
            "{stream} reads short"
        );
        ensure!(
            backwards
                .first()
                .is_some_and(|event| event.cid == known.cid),
            "{stream} does not end with its head"
        );
        Ok(())
    }
}

/// Opens a store that has just been given up by this process: its threads end by themselves.
pub(crate) async fn reopen(
    directory: &Path,
    settings: &EmbeddedSettings,
) -> Result<EmbeddedStore, EventLogError> {
    for _ in 0..5_000 {
        match EmbeddedStore::open(directory, settings.clone()).await {
            Err(error) if error.to_string().contains("is held by") => {
                SystemClock.sleep(Duration::from_millis(1)).await;
            }
            result => return result,
        }
    }
    EmbeddedStore::open(directory, settings.clone()).await
}

/// Waits for a minute at most.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    let future = std::pin::pin!(future);
    let late = SystemClock.sleep(Duration::from_secs(60));
    match futures_util::future::select(future, late).await {
        futures_util::future::Either::Left((value, _)) => value,
        futures_util::future::Either::Right(_) => panic!("it hangs"),
    }
}

/// A truncation up to the last commit that ends at or before a position, with its archive's digest.
pub(crate) async fn truncation(log: &dyn EventLog, at: u64) -> Option<Truncation> {
    let ctx = Context::new();
    let from = log.stats(&ctx).await.ok()?.truncated_through;
    let mut digester = ArchiveDigester::new();
    let mut truncation = None;
    let mut events = log.read_log(&ctx, LogQuery::all().after(from)).await.ok()?;
    while let Some(event) = events.try_next().await.ok()? {
        if event.position.get() > at {
            break;
        }
        digester.push(&event);
        if event.commit_index + 1 == event.commit_count {
            truncation = Some(Truncation {
                through: event.position,
                archived: digester.clone().finish(),
            });
        }
    }
    truncation
}
