//! What happens in between: a group of changes that is refused while something else goes on, a
//! caller that leaves before the answer, a clock that goes back.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::disks::{FaultyDisk, Request};
use bytes::Bytes;
use cim_store::{
    Append, ArchiveDigester, Bucket, BucketExt, BucketName, BucketSettings, Clock, CommitId,
    Context, EventLogExt, ExpectedVersion, Key, LogQuery, ManualClock, NewEvent, Operation,
    Resolution, Revision, Store, StreamId, SubjectPattern, Timestamp, Truncation, WatchFrom,
    WriteOptions,
};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt, TryStreamExt};

const SEGMENT: u64 = 16 << 10;

fn settings(disk: &FaultyDisk, clock: impl Clock) -> EmbeddedSettings {
    EmbeddedSettings::default()
        .with_segment_bytes(SEGMENT)
        .with_fresh_entries(64)
        .with_disk(Arc::new(disk.clone()))
        .with_clock(Arc::new(clock))
}

fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_seconds(1))
}

async fn bucket(store: &EmbeddedStore) -> Arc<dyn Bucket> {
    let name = BucketName::new("one").unwrap();
    store
        .bucket(&Context::new(), &name, BucketSettings::default())
        .await
        .unwrap()
}

fn key(number: usize) -> Key {
    Key::new(format!("key.{number}")).unwrap()
}

fn value(number: usize) -> Bytes {
    Bytes::from(format!("{number:0200}"))
}

fn is_segment_of(path: &Path, family: &str) -> bool {
    let parent = path.parent().and_then(Path::file_name);
    parent.is_some_and(|parent| parent == family)
        && path.extension().is_some_and(|end| end == "seg")
}

/// The name of the segment after this one.
fn next_to(path: &Path) -> String {
    let number = path.file_stem().and_then(|stem| stem.to_str());
    let number: u32 = number.unwrap().parse().unwrap();
    format!("{:010}.seg", number + 1)
}

fn number_of_oldest(path: &Path) -> u32 {
    let files = std::fs::read_dir(path.join("buckets")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let numbers = names.filter_map(|name| name.strip_suffix(".seg")?.parse().ok());
    numbers.min().unwrap()
}

async fn holds(bucket: &dyn Bucket, truth: &BTreeMap<usize, Bytes>) {
    for (number, expected) in truth {
        let entry = bucket.get(&Context::new(), &key(*number)).await.unwrap();
        let found = entry.map(|entry| entry.value);
        assert_eq!(found.as_ref(), Some(expected), "key {number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_moved_is_not_given_up() {
    let place = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let store = EmbeddedStore::open(place.path(), settings(&disk, clock()))
        .await
        .unwrap();
    let one = bucket(&store).await;
    let ctx = Context::new();
    let mut truth = BTreeMap::new();
    for number in 100..140 {
        one.set(&ctx, &key(number), value(number)).await.unwrap();
        truth.insert(number, value(number));
    }
    let mut writes = 0;
    disk.refuse(move |request, path| {
        // Segments are sealed as always: only what is written at the end of the journal is refused.
        let asks = request == Request::Write
            && is_segment_of(path, "buckets")
            && !path.with_file_name(next_to(path)).exists();
        writes += u64::from(asks);
        (asks && writes % 2 == 0).then_some(ErrorKind::StorageFull)
    });
    let mut refused = 0;
    for round in 0..6_000 {
        let number = round % 7;
        match one.set(&ctx, &key(number), value(round)).await {
            Ok(_) => drop(truth.insert(number, value(round))),
            Err(_) => refused += 1,
        }
    }
    disk.heal();
    assert!(refused > 0);
    for round in 0..2_000 {
        let number = round % 7;
        one.set(&ctx, &key(number), value(round)).await.unwrap();
        truth.insert(number, value(round));
    }
    assert!(number_of_oldest(place.path()) > 1, "nothing was given up");
    holds(&*one, &truth).await;
    drop(one);
    store.close().await.unwrap();
    let store = EmbeddedStore::open(place.path(), settings(&disk, clock()))
        .await
        .unwrap();
    holds(&*bucket(&store).await, &truth).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_that_is_recorded_while_others_are_moved_keeps_its_revision_for_itself() {
    let place = tempfile::tempdir().unwrap();
    let (disk, time) = (FaultyDisk::new(), clock());
    let store = EmbeddedStore::open(place.path(), settings(&disk, time.clone()))
        .await
        .unwrap();
    let one = bucket(&store).await;
    let ctx = Context::new();
    let mut truth = BTreeMap::new();
    let short = WriteOptions::ttl(Duration::from_secs(5));
    for number in 100..120 {
        let ends = key(number + 1_000);
        one.put(&ctx, &ends, value(number), short).await.unwrap();
        one.set(&ctx, &key(number), value(number)).await.unwrap();
        truth.insert(number, value(number));
    }
    time.advance(Duration::from_secs(10));
    // Until the oldest segment was given up, and not much further.
    let mut round = 0;
    while number_of_oldest(place.path()) == 1 {
        assert!(round < 4_000, "nothing was given up");
        let number = round % 7;
        one.set(&ctx, &key(number), value(round)).await.unwrap();
        truth.insert(number, value(round));
        round += 1;
    }
    for number in 0..7 {
        one.set(&ctx, &key(number), value(round)).await.unwrap();
        truth.insert(number, value(round));
    }
    let purges = {
        let all = SubjectPattern::all();
        let from = WatchFrom::After(Revision::NONE);
        let watch = one.watch(&ctx, &all, from).await.unwrap();
        let kept: Vec<_> = watch.take(truth.len() + 20).try_collect().await.unwrap();
        let mut revisions: Vec<_> = kept.iter().map(|entry| entry.revision).collect();
        revisions.sort_unstable();
        revisions.dedup();
        assert_eq!(revisions.len(), kept.len(), "a revision stands twice");
        let purges = kept
            .iter()
            .filter(|entry| entry.operation == Operation::Purge);
        purges.count()
    };
    assert_eq!(purges, 20);
    drop(one);
    store.close().await.unwrap();
    let store = EmbeddedStore::open(place.path(), settings(&disk, time))
        .await
        .unwrap();
    holds(&*bucket(&store).await, &truth).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_learn_of_an_end_although_its_replacement_was_refused() {
    let place = tempfile::tempdir().unwrap();
    let (disk, time) = (FaultyDisk::new(), clock());
    let store = EmbeddedStore::open(place.path(), settings(&disk, time.clone()))
        .await
        .unwrap();
    let one = bucket(&store).await;
    let ctx = Context::new();
    let all = SubjectPattern::all();
    let mut watch = one.watch(&ctx, &all, WatchFrom::Now).await.unwrap();
    let short = WriteOptions::ttl(Duration::from_secs(5));
    one.put(&ctx, &key(1), value(1), short).await.unwrap();
    let first = watch.next().await.unwrap().unwrap();
    assert_eq!(first.operation, Operation::Put);
    disk.refuse(|request, path| {
        let asks = request == Request::Write && is_segment_of(path, "buckets");
        asks.then_some(ErrorKind::StorageFull)
    });
    one.set(&ctx, &key(1), value(2)).await.unwrap_err();
    disk.heal();
    time.advance(Duration::from_secs(6));
    let end = watch.next().await.unwrap().unwrap();
    assert_eq!((end.operation, end.key), (Operation::Purge, key(1)));
}

fn stream(number: usize) -> StreamId {
    StreamId::new("sales", "order", &number.to_string()).unwrap()
}

fn event() -> NewEvent {
    NewEvent::json("order_placed", &serde_json::json!({ "total": 12 })).unwrap()
}

fn append(stream: &StreamId, id: CommitId) -> Append {
    Append::new()
        .write(stream.clone(), ExpectedVersion::Any, vec![event()])
        .with_commit_id(id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_on_its_way_is_not_said_to_be_missing() {
    let place = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let store = EmbeddedStore::open(place.path(), settings(&disk, clock()))
        .await
        .unwrap();
    let log = store.log();
    let (stands, stood) = mpsc::channel::<()>();
    let (go, goes) = mpsc::channel::<()>();
    let mut once = true;
    disk.refuse(move |request, path| {
        if request == Request::Sync && is_segment_of(path, "events") && std::mem::take(&mut once) {
            stands.send(()).unwrap();
            goes.recv().unwrap();
        }
        None
    });
    let id = CommitId::from_bytes([7; 16]);
    let writer = Arc::clone(&log);
    let task = tokio::spawn(async move {
        let _ = writer.append(&Context::new(), append(&stream(1), id)).await;
    });
    tokio::task::block_in_place(|| stood.recv().unwrap());
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    let ctx = Context::new();
    let mut resolving = log.resolve(&ctx, id);
    let early = (&mut resolving).now_or_never();
    go.send(()).unwrap();
    let resolved = match early {
        Some(resolved) => resolved,
        None => resolving.await,
    };
    assert!(matches!(resolved.unwrap(), Resolution::Committed(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_flush_that_failed_nothing_is_said_of_the_commit_until_the_store_is_opened_again() {
    let place = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let store = EmbeddedStore::open(place.path(), settings(&disk, clock()))
        .await
        .unwrap();
    let log = store.log();
    let ctx = Context::new();
    // The flush succeeds and the mark can't be written: the commit will be there.
    disk.refuse(|request, path| {
        (request == Request::Write && path.ends_with("mark")).then_some(ErrorKind::Other)
    });
    let id = CommitId::from_bytes([7; 16]);
    let error = log.append(&ctx, append(&stream(1), id)).await.unwrap_err();
    assert_eq!(error.unknown_commit(), Some(id));
    disk.heal();
    let resolved = log.resolve(&ctx, id).await;
    assert!(resolved.is_err(), "{resolved:?}");
    drop(log);
    store.close().await.unwrap();
    let store = EmbeddedStore::open(place.path(), settings(&disk, clock()))
        .await
        .unwrap();
    let resolved = store.log().resolve(&ctx, id).await.unwrap();
    assert!(matches!(resolved, Resolution::Committed(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncation_whose_caller_left_is_still_known_to_readers() {
    let place = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let store = EmbeddedStore::open(place.path(), settings(&disk, clock()))
        .await
        .unwrap();
    let log = store.log();
    let ctx = Context::new();
    for number in 0..400 {
        let id = CommitId::from_bytes((number as u128 + 1).to_be_bytes());
        log.append(&ctx, append(&stream(number), id)).await.unwrap();
    }
    let mut digester = ArchiveDigester::new();
    let query = LogQuery::all().limit(300);
    let old: Vec<_> = log
        .read_log(&ctx, query)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    old.iter().for_each(|event| digester.push(event));
    let truncation = Truncation {
        through: old.last().unwrap().position,
        archived: digester.finish(),
    };
    let (stands, stood) = mpsc::channel::<()>();
    let (go, goes) = mpsc::channel::<()>();
    let mut once = true;
    disk.refuse(move |request, path| {
        let asks = request == Request::Rename && path.ends_with("state.json");
        if asks && std::mem::take(&mut once) {
            stands.send(()).unwrap();
            goes.recv().unwrap();
        }
        None
    });
    let writer = Arc::clone(&log);
    let task = tokio::spawn(async move { writer.truncate(&Context::new(), truncation).await });
    tokio::task::block_in_place(|| stood.recv().unwrap());
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    go.send(()).unwrap();
    // The writer is done with it when it is done with this.
    let id = CommitId::from_bytes([7; 16]);
    log.append(&ctx, append(&stream(1), id)).await.unwrap();
    let read = log.read_log(&ctx, LogQuery::all()).await;
    assert!(read.is_err(), "what is left was taken for all there is");
    let stats = log.stats(&ctx).await.unwrap();
    assert_eq!(stats.truncated_through.get(), 300);
}

/// A clock that goes back a little whenever it is asked.
#[derive(Debug)]
struct Backwards(AtomicI64);

impl Clock for Backwards {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.fetch_sub(1_000, Ordering::Relaxed))
    }

    fn monotonic(&self) -> Instant {
        clock().monotonic()
    }

    fn sleep(&self, duration: Duration) -> cim_store::clock::Sleep {
        clock().sleep(duration)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_of_storing_never_goes_back_along_the_log() {
    let place = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let backwards = Backwards(AtomicI64::new(1_700_000_000_000_000));
    let store = EmbeddedStore::open(place.path(), settings(&disk, backwards))
        .await
        .unwrap();
    let log = store.log();
    let ctx = Context::new();
    for round in 0..5 {
        let appends = (0..64).map(|number| {
            let stream = stream(round * 64 + number);
            let (log, ctx) = (&log, &ctx);
            async move {
                let events = vec![event()];
                let appended = log.append_to(ctx, &stream, ExpectedVersion::NEW, events);
                appended.await.map(drop)
            }
        });
        join_all(appends).await.into_iter().for_each(Result::unwrap);
    }
    let read = log.read_log(&ctx, LogQuery::all()).await.unwrap();
    let events: Vec<_> = read.try_collect().await.unwrap();
    assert_eq!(events.len(), 320);
    let times: Vec<_> = events.iter().map(|event| event.stored_at).collect();
    assert!(times.is_sorted(), "the time goes back");
}
