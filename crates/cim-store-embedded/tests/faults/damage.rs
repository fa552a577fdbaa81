//! Files of a store that are damaged while it is closed: a flipped bit, a zeroed page, a cut end, a
//! missing file, bytes behind the end, ranges in each other's place, a file from before.
//!
//! Whatever is damaged, the store says so, by an error that is typed and names the file, or it
//! gives exactly what was stored. An index is made anew. `CIM_SEED` repeats the choices,
//! `CIM_DAMAGES` says how many there are.
//!
//! What no single store can find: files of before that fit together, as when the whole directory
//! is put back; and a `state.json` of before a truncation that removed no file, which only lets
//! events reappear that had been given up.

use crate::ledger;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cim_conformance::model::Rng;
use cim_store::{
    Append, Appended, Bucket, BucketName, BucketSettings, CommitId, Context, Entry, EventLog,
    Fault, Head, Key, LogQuery, NewEvent, PortError, PortErrorKind, Position, RecordedEvent,
    Resolution, Store, StreamId, StreamPattern, StreamRange, WriteOptions,
};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};
use cim_subject::SubjectPattern;
use futures_util::{StreamExt, TryStreamExt};
use tempfile::TempDir;

const COMMITS: u64 = 150;

pub(crate) fn settings() -> EmbeddedSettings {
    EmbeddedSettings::default()
        .with_segment_bytes(12 << 10)
        .with_fresh_entries(24)
}

/// Everything that a store holds.
#[derive(Clone, Debug, Default)]
struct Truth {
    truncated: u64,
    events: Vec<RecordedEvent>,
    heads: BTreeMap<StreamId, Head>,
    commits: BTreeMap<CommitId, Appended>,
    keys: BTreeMap<Key, Vec<Entry>>,
}

/// Notes the first error that was met; what is not an error must be right.
#[derive(Debug, Default)]
struct Verdict {
    found: Option<Finding>,
}

#[derive(Clone, Debug)]
struct Finding {
    fault: Option<Fault>,
    text: String,
}

impl<K: PortErrorKind> From<&PortError<K>> for Finding {
    fn from(error: &PortError<K>) -> Self {
        Self {
            fault: error.fault(),
            text: error.to_string(),
        }
    }
}

impl Verdict {
    /// The value, unless there was an error.
    fn take<T, K: PortErrorKind>(&mut self, result: Result<T, PortError<K>>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.found.get_or_insert(Finding::from(&error));
                None
            }
        }
    }

    /// Compares what comes with what must come, up to the first error.
    async fn follow<T: PartialEq + Debug, K: PortErrorKind>(
        &mut self,
        what: &str,
        opened: Result<
            futures_util::stream::BoxStream<'static, Result<T, PortError<K>>>,
            PortError<K>,
        >,
        truth: impl IntoIterator<Item = T>,
    ) {
        let Some(mut items) = self.take(opened) else {
            return;
        };
        let mut truth = truth.into_iter();
        while let Some(item) = items.next().await {
            let Some(item) = self.take(item) else {
                let rest = items.next().await;
                assert!(rest.is_none(), "{what} goes on behind an error");
                return;
            };
            assert_eq!(Some(item), truth.next(), "{what}");
        }
        assert!(truth.next().is_none(), "{what} ends early without an error");
    }

    fn same<T: PartialEq + Debug, K: PortErrorKind>(
        &mut self,
        what: &str,
        result: Result<T, PortError<K>>,
        truth: T,
    ) {
        if let Some(value) = self.take(result) {
            assert_eq!(value, truth, "{what}");
        }
    }
}

impl Truth {
    fn streams(&self) -> BTreeMap<StreamId, Vec<RecordedEvent>> {
        let mut streams: BTreeMap<StreamId, Vec<RecordedEvent>> = BTreeMap::new();
        for event in &self.events {
            streams
                .entry(event.stream.clone())
                .or_default()
                .push(event.clone());
        }
        streams
    }

    /// Reads everything and compares it.
    async fn compare(
        &self,
        log: &dyn EventLog,
        bucket: Option<&dyn Bucket>,
        verdict: &mut Verdict,
    ) {
        let ctx = Context::new();
        let query = LogQuery::all().after(Position::new(self.truncated));
        verdict
            .follow(
                "the log",
                log.read_log(&ctx, query).await,
                self.events.iter().cloned(),
            )
            .await;
        let middle = self.truncated + self.events.len() as u64 / 2;
        let query = LogQuery::all().after(Position::new(middle));
        let later = self
            .events
            .iter()
            .filter(|event| event.position.get() > middle)
            .cloned();
        verdict
            .follow("the later log", log.read_log(&ctx, query).await, later)
            .await;
        for (stream, events) in self.streams() {
            let range = StreamRange::from(events[0].version);
            let forwards = log.read_stream(&ctx, &stream, range).await;
            verdict.follow("a stream", forwards, events.clone()).await;
            let backwards = log.read_stream(&ctx, &stream, range.backwards()).await;
            verdict
                .follow("a stream backwards", backwards, events.into_iter().rev())
                .await;
        }
        for event in &self.events {
            let found = log.read_at(&ctx, &[event.position]).await;
            verdict.same("an event at its position", found, vec![event.clone()]);
        }
        for (stream, head) in &self.heads {
            verdict.same("a head", log.head(&ctx, stream).await, Some(head.clone()));
        }
        for (id, appended) in &self.commits {
            verdict.same(
                "a commit",
                log.resolve(&ctx, *id).await,
                Resolution::Committed(appended.clone()),
            );
        }
        for number in 1..20 {
            let never = ledger::commit_id(!0, number);
            verdict.same(
                "a commit that never was",
                log.resolve(&ctx, never).await,
                Resolution::NotCommitted,
            );
            let never = StreamId::new("torture", "never", &number.to_string()).unwrap();
            verdict.same(
                "a stream that never was",
                log.head(&ctx, &never).await,
                None,
            );
        }
        if let Some(listed) = verdict.take(log.streams(&ctx, &StreamPattern::all()).await)
            && let Some(listed) = verdict.take(listed.try_collect::<Vec<_>>().await)
        {
            let listed: BTreeMap<_, _> = listed
                .into_iter()
                .map(|head| (head.stream.clone(), head))
                .collect();
            assert_eq!(listed, self.heads, "the list of streams");
        }
        if let Some(stats) = verdict.take(log.stats(&ctx).await) {
            let found = (stats.events, stats.streams, stats.truncated_through.get());
            let truth = (
                self.events.len() as u64,
                self.heads.len() as u64,
                self.truncated,
            );
            assert_eq!(found, truth, "the counts");
        }
        if let Some(bucket) = bucket {
            self.compare_bucket(bucket, verdict).await;
        }
    }

    async fn compare_bucket(&self, bucket: &dyn Bucket, verdict: &mut Verdict) {
        let ctx = Context::new();
        let all = SubjectPattern::all();
        let live = |changes: &Vec<Entry>| {
            changes
                .iter()
                .max_by_key(|entry| entry.revision)
                .filter(|entry| entry.operation == cim_store::Operation::Put)
                .cloned()
        };
        for (key, changes) in &self.keys {
            verdict.same("a key", bucket.get(&ctx, key).await, live(changes));
            verdict.same(
                "a key's history",
                bucket.history(&ctx, key).await,
                changes.clone(),
            );
        }
        let never = Key::new("never").unwrap();
        verdict.same("a key that never was", bucket.get(&ctx, &never).await, None);
        if let Some(entries) = verdict.take(bucket.entries(&ctx, &all).await)
            && let Some(entries) = verdict.take(entries.try_collect::<Vec<_>>().await)
        {
            let found: BTreeMap<_, _> = entries
                .into_iter()
                .map(|entry| (entry.key.clone(), entry))
                .collect();
            let truth: BTreeMap<_, _> = self
                .keys
                .iter()
                .filter_map(|(key, changes)| Some((key.clone(), live(changes)?)))
                .collect();
            assert_eq!(found, truth, "the entries");
        }
    }

    /// Appends something and adds it to the truth.
    async fn extend(
        &mut self,
        log: &dyn EventLog,
        bucket: Option<&dyn Bucket>,
        number: u64,
        verdict: &mut Verdict,
    ) {
        let ctx = Context::new();
        let streams: Vec<StreamId> = self.heads.keys().step_by(5).cloned().collect();
        for (index, stream) in streams.into_iter().enumerate() {
            let id = ledger::commit_id(!1, number * 100 + index as u64);
            let expected = self.heads[&stream].version;
            let event = NewEvent::json("appended", "behind the damage").unwrap();
            let append =
                Append::new()
                    .with_commit_id(id)
                    .write(stream.clone(), expected, vec![event]);
            let Some(appended) = verdict.take(log.append(&ctx, append).await) else {
                return;
            };
            let position = self
                .events
                .last()
                .map_or(self.truncated, |event| event.position.get());
            assert_eq!(appended.position, Position::new(position + 1));
            let head = appended.heads[0].clone();
            assert_eq!(
                (head.stream.clone(), head.version),
                (stream.clone(), expected.next())
            );
            let range = StreamRange::from(head.version);
            let read: Result<Vec<RecordedEvent>, _> =
                match log.read_stream(&ctx, &stream, range).await {
                    Ok(events) => events.try_collect().await,
                    Err(error) => Err(error),
                };
            // What was just appended stands behind every damage.
            let event = read.unwrap().remove(0);
            assert_eq!(
                (event.cid, event.commit_id, event.position),
                (head.cid, id, appended.position)
            );
            self.events.push(event);
            self.heads.insert(stream, head);
            self.commits.insert(id, appended);
        }
        if let Some(bucket) = bucket {
            let key = Key::new(format!("appended.{number}")).unwrap();
            let value = bytes::Bytes::from_static(b"behind the damage");
            if verdict
                .take(bucket.put(&ctx, &key, value, WriteOptions::default()).await)
                .is_some()
            {
                let entry = bucket.get(&ctx, &key).await.unwrap().unwrap();
                self.keys.insert(key, vec![entry]);
            }
        }
    }
}

async fn open_bucket(store: &EmbeddedStore) -> Result<Arc<dyn Bucket>, cim_store::BucketError> {
    let name = BucketName::new("torture").unwrap();
    let settings = BucketSettings::default().with_history(4);
    store.bucket(&Context::new(), &name, settings).await
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else if std::fs::copy(&path, &to).is_err() {
            // The index may have removed it meanwhile; then the copy is not taken.
            std::fs::write(&to, b"gone").unwrap();
        }
    }
}

pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A copy of the directory of an open store that a process leaves when it is killed now.
async fn image(directory: &Path) -> TempDir {
    loop {
        let (taken, probe) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        copy(directory, taken.path());
        copy(taken.path(), probe.path());
        // The index is written in the background: not every moment is one to copy it.
        if let Ok(store) = EmbeddedStore::open(probe.path(), settings()).await
            && store.open_report().is_quiet()
        {
            store.close().await.unwrap();
            return taken;
        }
    }
}

/// A store with every kind of file, as a killed process leaves it; earlier images of it; and what
/// it holds.
async fn build(seed: u64) -> (TempDir, Vec<TempDir>, Truth) {
    let place = tempfile::tempdir().unwrap();
    let ctx = Context::new();
    let store = EmbeddedStore::open(place.path(), settings()).await.unwrap();
    let (log, bucket) = (store.log(), open_bucket(&store).await.unwrap());
    let mut rng = Rng::new(seed);
    let mut earlier = Vec::new();
    let mut commits = BTreeMap::new();
    for number in 4..4 + COMMITS {
        let appended = log
            .append(&ctx, ledger::append(seed, number, |_| None))
            .await
            .unwrap();
        commits.insert(appended.commit_id, appended);
        let key = Key::new(format!("key.{}", rng.below(30))).unwrap();
        let value = vec![b'v'; rng.below(900) as usize];
        if rng.one_in(6) {
            bucket.delete(&ctx, &key, None).await.unwrap();
        } else {
            bucket
                .put(&ctx, &key, value.into(), WriteOptions::default())
                .await
                .unwrap();
        }
        if number == 4 + COMMITS / 3 {
            let last = log.stats(&ctx).await.unwrap().last;
            let truncation = ledger::truncation(&*log, last.get() / 3).await.unwrap();
            log.truncate(&ctx, truncation).await.unwrap();
        }
        if number == 4 + COMMITS / 2 {
            earlier.push(image(place.path()).await);
            let last = log.stats(&ctx).await.unwrap().last;
            let truncation = ledger::truncation(&*log, last.get() * 2 / 3).await.unwrap();
            log.truncate(&ctx, truncation).await.unwrap();
        }
        if [20, 4, 1].contains(&(4 + COMMITS - number)) {
            earlier.push(image(place.path()).await);
        }
    }
    let stats = log.stats(&ctx).await.unwrap();
    let truncated = stats.truncated_through;
    let query = LogQuery::all().after(truncated);
    let events = log
        .read_log(&ctx, query)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let heads: Vec<Head> = log
        .streams(&ctx, &StreamPattern::all())
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let mut keys = BTreeMap::new();
    for number in 0..30 {
        let key = Key::new(format!("key.{number}")).unwrap();
        let changes = bucket.history(&ctx, &key).await.unwrap();
        if !changes.is_empty() {
            keys.insert(key, changes);
        }
    }
    let truth = Truth {
        truncated: truncated.get(),
        events,
        heads: heads
            .into_iter()
            .map(|head| (head.stream.clone(), head))
            .collect(),
        commits,
        keys,
    };
    let taken = image(place.path()).await;
    drop((log, bucket));
    store.close().await.unwrap();
    unfinished_format(earlier[0].path());
    (taken, earlier, truth)
}

/// Puts the format file in the form that it has until a new store is complete.
pub(crate) fn unfinished_format(directory: &Path) {
    let path = directory.join("cim-store.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let json = text
        .lines()
        .next()
        .unwrap()
        .replace("\"ready\":true", "\"ready\":false");
    assert!(json.contains("false"));
    let crc = crc32c::crc32c(json.as_bytes());
    std::fs::write(&path, format!("{json}\n{crc:08x}\n")).unwrap();
}

/// What kind of file it is.
fn kind(directory: &Path, path: &Path) -> &'static str {
    let name = path.strip_prefix(directory).unwrap().to_str().unwrap();
    let is_last = || {
        let next: u32 = name
            .trim_end_matches(".seg")
            .rsplit('/')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let next = path.with_file_name(format!("{:010}.seg", next + 1));
        !next.exists()
    };
    match name {
        "cim-store.json" => "format",
        "lock" => "lock",
        "buckets/buckets.json" => "catalog",
        _ if name.contains("/index/") && name.ends_with(".run") => "run",
        _ if name.ends_with("/index/manifest.json") => "manifest",
        _ if name.ends_with("/mark") => "mark",
        _ if name.ends_with("/state.json") => "state",
        _ if name.contains("/carried-") => "carried",
        _ if name.ends_with(".seg") && is_last() => "active segment",
        _ if name.ends_with(".seg") => "sealed segment",
        _ => panic!("an unknown file: {name}"),
    }
}

const DAMAGES: [&str; 8] = [
    "flipped bit",
    "zeroed page",
    "cut end",
    "deleted",
    "garbage behind",
    "range twice",
    "ranges swapped",
    "file of before",
];

/// Damages a file; returns whether there was something to damage.
fn damage(path: &Path, earlier: &Path, how: &str, rng: &mut Rng) -> bool {
    let good = std::fs::read(path).unwrap();
    let mut bad = good.clone();
    // Most of the damage goes where something stands, not into reserved space.
    let used = good
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let len = if rng.one_in(6) { good.len() } else { used } as u64;
    let mut range = || {
        let size = 1 + rng.below(2_048.min(len / 2));
        let mut start = rng.below(len + 1 - size);
        if rng.one_in(2) {
            start -= start % 8;
        }
        (start as usize, size as usize)
    };
    match how {
        "deleted" => {
            std::fs::remove_file(path).unwrap();
            return true;
        }
        "file of before" => {
            let Ok(before) = std::fs::read(earlier) else {
                return false;
            };
            bad = before;
        }
        "garbage behind" => {
            let count = 1 + rng.below(5_000);
            bad.extend((0..count).map(|_| rng.next() as u8));
        }
        _ if len < 4 => return false,
        "flipped bit" => {
            let bit = rng.below(len * 8);
            bad[(bit / 8) as usize] ^= 1 << (bit % 8);
        }
        "zeroed page" => {
            let start = rng.below(len) as usize / 4_096 * 4_096;
            let end = bad.len().min(start + 4_096);
            bad[start..end].fill(0);
        }
        "cut end" => bad.truncate(rng.below(len) as usize),
        "range twice" => {
            let ((from, size), (to, other)) = (range(), range());
            let size = size.min(other);
            bad.copy_within(from..from + size, to);
        }
        "ranges swapped" => {
            let ((one, size), (two, other)) = (range(), range());
            let size = size.min(other);
            let (first, second) = (
                good[one..one + size].to_vec(),
                good[two..two + size].to_vec(),
            );
            bad[one..one + size].copy_from_slice(&second);
            bad[two..two + size].copy_from_slice(&first);
        }
        _ => unreachable!("{how}"),
    }
    std::fs::write(path, &bad).unwrap();
    bad != good
}

/// Reads, appends, reads again, and reads once more after closing and opening. Returns what was
/// found; everything else was right.
async fn examine(directory: &Path, truth: &Truth) -> Option<Finding> {
    let mut truth = truth.clone();
    let mut findings = Vec::new();
    for round in 1.. {
        assert!(
            round < 6,
            "the index is damaged again and again: {findings:?}"
        );
        let mut verdict = Verdict::default();
        let store = ledger::reopen(directory, &settings()).await;
        if let Some(store) = verdict.take(store) {
            let (log, bucket) = (store.log(), verdict.take(open_bucket(&store).await));
            truth.compare(&*log, bucket.as_deref(), &mut verdict).await;
            truth
                .extend(&*log, bucket.as_deref(), round, &mut verdict)
                .await;
            truth.compare(&*log, bucket.as_deref(), &mut verdict).await;
            drop((log, bucket));
            verdict.take(store.close().await);
        }
        let done = match &verdict.found {
            // An index that was found damaged is made anew by the next opening.
            Some(finding) if finding.text.contains("index") => false,
            Some(_) => findings
                .iter()
                .any(|finding: &Finding| !finding.text.contains("index")),
            None => round > 1,
        };
        findings.extend(verdict.found);
        if done {
            break;
        }
    }
    for finding in &findings {
        let expected = matches!(
            finding.fault,
            Some(Fault::Integrity | Fault::Invalid | Fault::Unsupported)
        );
        assert!(expected, "{finding:?}");
        let named = finding.text.contains(directory.to_str().unwrap());
        assert!(named, "no file is named: {finding:?}");
    }
    findings.into_iter().next()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_damage_is_found_and_named_or_harmless() {
    let seed = ledger::seed("damage");
    let damages = ledger::setting("CIM_DAMAGES", 400);
    let mut rng = Rng::new(seed);
    let (base, earlier, truth) = build(seed).await;
    let found = files(base.path());
    let mut kinds: BTreeMap<&str, Vec<&PathBuf>> = BTreeMap::new();
    for path in &found {
        kinds.entry(kind(base.path(), path)).or_default().push(path);
    }
    assert_eq!(
        kinds.len(),
        10,
        "not every kind of file is there: {kinds:?}"
    );
    assert!(
        kinds["run"].len() > 2 && kinds["sealed segment"].len() > 2,
        "{kinds:?}"
    );
    let pristine = tempfile::tempdir().unwrap();
    copy(base.path(), pristine.path());
    assert!(
        examine(pristine.path(), &truth).await.is_none(),
        "it is not damaged"
    );

    let names: Vec<&str> = kinds.keys().copied().collect();
    let mut table: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    let mut done = 0;
    for turn in 0.. {
        if done == damages {
            break;
        }
        // Every kind of file meets every kind of damage.
        let (kind, how) = (
            names[turn % names.len()],
            DAMAGES[turn / names.len() % DAMAGES.len()],
        );
        let path = kinds[kind][rng.below(kinds[kind].len() as u64) as usize];
        let name = path.strip_prefix(base.path()).unwrap();
        let place = tempfile::tempdir().unwrap();
        copy(base.path(), place.path());
        let before = rng.clone();
        let now = std::fs::read(base.path().join(name)).ok();
        let paths = earlier.iter().map(|image| image.path().join(name));
        let other: Vec<PathBuf> = paths
            .filter(|path| std::fs::read(path).is_ok_and(|before| Some(before) != now))
            .collect();
        let earlier = rng.pick(&other).cloned().unwrap_or_default();
        if !damage(&place.path().join(name), &earlier, how, &mut rng) {
            continue;
        }
        done += 1;
        let what = format!(
            "CIM_SEED={seed} turn {turn}: {} {how}, {before:?}",
            name.display()
        );
        let examined = std::panic::AssertUnwindSafe(examine(place.path(), &truth));
        let examined = ledger::in_time(futures_util::FutureExt::catch_unwind(examined)).await;
        let finding = examined.unwrap_or_else(|_| panic!("{what}"));
        let counts = table.entry((kind, how)).or_default();
        match finding {
            Some(_) => counts.0 += 1,
            None => counts.1 += 1,
        }
    }
    println!("found/harmless, of {done} damages:");
    println!(
        "{:>16} {}",
        "",
        DAMAGES.map(|how| format!("{how:>15}")).concat()
    );
    for kind in &names {
        let cells = DAMAGES.map(|how| match table.get(&(*kind, how)) {
            Some((found, harmless)) => format!("{:>15}", format!("{found}/{harmless}")),
            None => format!("{:>15}", "-"),
        });
        println!("{kind:>16} {}", cells.concat());
    }
    // Where there is no second copy, nothing is harmless.
    for kind in ["format", "state", "catalog"] {
        for how in ["flipped bit", "cut end", "deleted", "garbage behind"] {
            let counts = table.get(&(kind, how)).copied().unwrap_or_default();
            assert_eq!(counts.1, 0, "{kind} {how}");
        }
    }
}
