//! Disks that fill up and fail, and what a store makes of it.

use crate::ledger;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::disks::{FaultyDisk, Request};
use crate::ledger::keys::{self, KeyLedger};
use crate::ledger::{Ledger, Stored, WRITERS};
use cim_conformance::model::Rng;
use cim_store::{
    Append, Context, EventLog, EventLogErrorKind, EventLogExt, ExpectedVersion, Fault, LogQuery,
    NewEvent, RecordedEvent, Store, StreamId, Version,
};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};
use futures_util::TryStreamExt;

pub(crate) fn small() -> EmbeddedSettings {
    EmbeddedSettings::default()
        .with_segment_bytes(16 << 10)
        .with_fresh_entries(32)
}

fn faulty() -> (FaultyDisk, EmbeddedSettings) {
    let disk = FaultyDisk::new();
    let settings = small().with_disk(Arc::new(disk.clone()));
    (disk, settings)
}

/// Appends a commit of the ledger and tells the ledger what came of it. Returns whether it is
/// stored, or why not.
pub(crate) async fn append(
    log: &dyn EventLog,
    ledger: &Mutex<Ledger>,
    number: u64,
) -> Result<(), Fault> {
    let seed = {
        let mut ledger = ledger.lock().unwrap();
        ledger.begin(number);
        ledger.seed
    };
    let append = ledger::append(seed, number, |_| None);
    let result = log.append(&Context::new(), append).await;
    let mut ledger = ledger.lock().unwrap();
    match result {
        Ok(appended) => {
            ledger.acknowledge(number, Stored::from(&appended)).unwrap();
            Ok(())
        }
        Err(error) => {
            assert!(!error.is_conflict(), "{error}");
            let fault = error.fault();
            if error.unknown_commit().is_none() {
                ledger.refuse(number);
            }
            Err(fault.unwrap_or(Fault::Unavailable))
        }
    }
}

pub(crate) fn is_segment(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.contains("events/") && (name.ends_with(".seg") || name.ends_with(".seg.new"))
}

/// A full disk from the n-th request on, of these kinds and for these files.
fn full_from(disk: &FaultyDisk, nth: u64, files: fn(&Path) -> bool) {
    let mut count = 0;
    disk.refuse(move |request, path| {
        let asks = matches!(request, Request::Write | Request::Reserve | Request::Create);
        count += u64::from(asks && files(path));
        (asks && files(path) && count >= nth).then_some(ErrorKind::StorageFull)
    });
}

async fn a_full_disk(files: fn(&Path) -> bool, refuses_appends: bool) {
    let seed = ledger::seed("a full disk");
    let place = tempfile::tempdir().unwrap();
    let (disk, settings) = faulty();
    let store = EmbeddedStore::open(place.path(), settings).await.unwrap();
    let log = store.log();
    let ledger = Mutex::new(Ledger::new(seed));
    let mut rng = Rng::new(seed);
    let (mut number, mut refused) = (WRITERS, 0);
    for _ in 0..40 {
        full_from(&disk, 1 + rng.below(6), files);
        for _ in 0..12 {
            number += 1;
            match append(&*log, &ledger, number).await {
                Ok(()) => {}
                Err(fault) => {
                    assert_eq!(fault, Fault::Unavailable);
                    refused += 1;
                }
            }
        }
        let mut checked = ledger.lock().unwrap().clone();
        checked.check(&*log).await.unwrap();
        *ledger.lock().unwrap() = checked;
        disk.heal();
        for _ in 0..4 {
            number += 1;
            append(&*log, &ledger, number)
                .await
                .expect("there is space again");
        }
    }
    assert_eq!(refused > 0, refuses_appends, "{refused} were refused");
    let mut ledger = ledger.into_inner().unwrap();
    ledger.check_all(&*log).await.unwrap();
    drop(log);
    store.close().await.unwrap();
    let store = EmbeddedStore::open(place.path(), small()).await.unwrap();
    assert!(store.open_report().is_quiet(), "{}", store.open_report());
    ledger.check_all(&*store.log()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_disk_is_full_appends_are_refused_and_go_on_when_there_is_space() {
    a_full_disk(is_segment, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_space_for_the_index_appends_go_on() {
    a_full_disk(
        |path| path.to_string_lossy().contains("events/index"),
        false,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_write_left_in_the_file_never_comes_back() {
    let place = tempfile::tempdir().unwrap();
    let (disk, settings) = faulty();
    let store = EmbeddedStore::open(place.path(), settings.clone())
        .await
        .unwrap();
    let seed = ledger::seed("a failed write");
    let ledger = Mutex::new(Ledger::new(seed));
    for number in 4..8 {
        append(&*store.log(), &ledger, number).await.unwrap();
    }
    let before = segment_bytes(place.path());
    disk.refuse(|request, path| {
        (request == Request::Write && is_segment(path)).then_some(ErrorKind::StorageFull)
    });
    assert_eq!(
        append(&*store.log(), &ledger, 8).await,
        Err(Fault::Unavailable)
    );
    // Half of it was written; a crash now must not leave it there.
    let left = segment_bytes(place.path());
    let written = before.trim_ascii_end_zeros();
    assert_eq!(left.trim_ascii_end_zeros(), written);
    disk.heal();
    let mut ledger = ledger.into_inner().unwrap();
    ledger.check_all(&*store.log()).await.unwrap();
}

trait Trim {
    fn trim_ascii_end_zeros(&self) -> &[u8];
}

impl Trim for Vec<u8> {
    fn trim_ascii_end_zeros(&self) -> &[u8] {
        let end = self
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        &self[..end]
    }
}

fn segment_bytes(directory: &Path) -> Vec<u8> {
    std::fs::read(directory.join("events/0000000001.seg")).unwrap()
}

pub(crate) fn stream(name: &str) -> StreamId {
    StreamId::new("torture", "thing", name).unwrap()
}

fn event(text: &str) -> NewEvent {
    NewEvent::json("tortured", text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_flush_nothing_is_acknowledged_and_reading_goes_on() {
    let seed = ledger::seed("a failed flush");
    let mut rng = Rng::new(seed);
    for _ in 0..12 {
        let place = tempfile::tempdir().unwrap();
        let (disk, settings) = faulty();
        // One segment, so that no sealing meets the fault.
        let settings = settings.with_segment_bytes(1 << 20);
        let store = EmbeddedStore::open(place.path(), settings).await.unwrap();
        let log = store.log();
        let ledger = Arc::new(Mutex::new(Ledger::new(rng.next())));
        let mut left = 1 + rng.below(12);
        let fails_once = rng.one_in(2);
        disk.refuse(move |request, path| {
            let asks = request == Request::Sync && is_segment(path);
            left = left.saturating_sub(u64::from(asks));
            let fails = asks && left == 0;
            if fails && fails_once {
                left = u64::MAX;
            }
            fails.then_some(ErrorKind::Other)
        });
        let tasks = (0..WRITERS).map(|writer| {
            let (log, ledger) = (Arc::clone(&log), Arc::clone(&ledger));
            tokio::spawn(async move {
                let mut outcomes = Vec::new();
                for number in (4 + writer..100).step_by(WRITERS as usize) {
                    let id = ledger::commit_id(ledger.lock().unwrap().seed, number);
                    ledger.lock().unwrap().begin(number);
                    let append = ledger::append(ledger.lock().unwrap().seed, number, |_| None);
                    assert_eq!(append.commit_id, Some(id));
                    match log.append(&Context::new(), append).await {
                        Ok(appended) => {
                            assert!(outcomes.is_empty(), "acknowledged after a failed flush");
                            let stored = Stored::from(&appended);
                            ledger.lock().unwrap().acknowledge(number, stored).unwrap();
                        }
                        Err(error) => match error.kind() {
                            EventLogErrorKind::Unknown { commit_id } => {
                                assert_eq!(*commit_id, id);
                                outcomes.push("unknown");
                            }
                            EventLogErrorKind::Fault(Fault::Closed) => {
                                ledger.lock().unwrap().refuse(number);
                                outcomes.push("closed");
                            }
                            other => panic!("{other:?}"),
                        },
                    }
                }
                outcomes
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let mut unknown = 0;
        for task in tasks {
            let outcomes = task.await.unwrap();
            unknown += outcomes
                .iter()
                .filter(|outcome| **outcome == "unknown")
                .count();
            let first_closed = outcomes
                .iter()
                .position(|outcome| *outcome == "closed")
                .unwrap();
            assert!(
                outcomes[first_closed..]
                    .iter()
                    .all(|outcome| *outcome == "closed")
            );
        }
        assert!(unknown > 0, "nobody met the failed flush");
        // What had been acknowledged can still be read.
        let events: Vec<RecordedEvent> = log
            .read_log(&Context::new(), LogQuery::all())
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        let acknowledged = ledger.lock().unwrap().acknowledged();
        let commits: std::collections::HashSet<_> =
            events.iter().map(|event| event.commit_id).collect();
        assert_eq!(commits.len(), acknowledged);
        disk.heal();
        drop(log);
        let _ = store.close().await;
        let store = EmbeddedStore::open(place.path(), small()).await.unwrap();
        let mut ledger = ledger.lock().unwrap().clone();
        ledger.check_all(&*store.log()).await.unwrap();
    }
}

/// The retry of a commit may arrive in the group of its first attempt. When that group's flush
/// fails, the retry must not be written behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_in_the_group_of_a_failed_flush_is_not_acknowledged() {
    let mut met = 0;
    for _ in 0..5 {
        let place = tempfile::tempdir().unwrap();
        let (disk, settings) = faulty();
        let store = EmbeddedStore::open(place.path(), settings).await.unwrap();
        let log = store.log();
        let (begins, begun) = tokio::sync::oneshot::channel::<()>();
        let mut begins = Some(begins);
        let (started, wait) = std::sync::mpsc::channel::<()>();
        let mut flushes = 0;
        // The first flush waits until everything else has queued up; the second one fails, once.
        disk.refuse(move |request, path| {
            if request != Request::Sync || !path.to_string_lossy().ends_with("0000000001.seg") {
                return None;
            }
            flushes += 1;
            if let Some(begins) = begins.take() {
                begins.send(()).unwrap();
                let _ = wait.recv();
            }
            (flushes == 2).then_some(ErrorKind::Other)
        });
        let id = ledger::commit_id(1, 1);
        let asked = |name: &str| {
            Append::new().with_commit_id(id).write(
                stream(name),
                ExpectedVersion::Any,
                vec![event("a")],
            )
        };
        let first = tokio::spawn({
            let log = Arc::clone(&log);
            async move {
                log.append_to(
                    &Context::new(),
                    &stream("first"),
                    ExpectedVersion::NEW,
                    vec![event("b")],
                )
                .await
            }
        });
        ledger::in_time(begun).await.unwrap();
        let ctx = Context::new();
        let attempts = async {
            let attempts = futures_util::future::join3(
                log.append(&ctx, asked("x")),
                log.append(&ctx, asked("x")),
                async {
                    // Both attempts are in the queue by now.
                    drop(started);
                },
            );
            attempts.await
        };
        let (one, two, ()) = attempts.await;
        first.await.unwrap().unwrap();
        for result in [&one, &two] {
            let error = result
                .as_ref()
                .expect_err("acknowledged although a flush failed");
            met += u64::from(error.unknown_commit() == Some(id));
        }
        let later = log.append(&ctx, asked("x")).await.unwrap_err();
        assert_eq!(later.fault(), Some(Fault::Closed), "{later}");
        drop(log);
        disk.heal();
        let _ = store.close().await;
        let store = EmbeddedStore::open(place.path(), small()).await.unwrap();
        let stored = store.log().version(&ctx, &stream("x")).await.unwrap();
        assert!(stored <= Version::new(1));
    }
    assert_eq!(met, 5, "the first attempt meets the failed flush");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_fails_is_a_typed_error_and_the_next_one_succeeds() {
    let place = tempfile::tempdir().unwrap();
    let seed = ledger::seed("failed reads");
    let ledger = Mutex::new(Ledger::new(seed));
    let store = EmbeddedStore::open(place.path(), small()).await.unwrap();
    for number in 4..200 {
        append(&*store.log(), &ledger, number).await.unwrap();
    }
    store.close().await.unwrap();
    let mut ledger = ledger.into_inner().unwrap();

    // While it opens.
    let (disk, settings) = faulty();
    for nth in 1.. {
        let mut left = nth;
        let met = Arc::new(AtomicBool::new(false));
        let meets = Arc::clone(&met);
        disk.refuse(move |request, _| {
            let asks = matches!(
                request,
                Request::Read | Request::Open | Request::Map | Request::List
            );
            left -= i64::from(asks);
            meets.fetch_or(left == 0, Ordering::Relaxed);
            (asks && left == 0).then_some(ErrorKind::Other)
        });
        match EmbeddedStore::open(place.path(), settings.clone()).await {
            Ok(store) => {
                disk.heal();
                ledger.check(&*store.log()).await.unwrap();
                store.close().await.unwrap();
                if !met.load(Ordering::Relaxed) {
                    assert!(nth > 10, "only {nth} reads");
                    break;
                }
            }
            Err(error) => assert_eq!(error.fault(), Some(Fault::Unavailable), "{error}"),
        }
    }

    // While it is open.
    let store = EmbeddedStore::open(place.path(), settings).await.unwrap();
    let log = store.log();
    let ctx = Context::new();
    let streams = ["own-0-1", "own-1-1", "own-2-1", "own-3-1"];
    let mut failed = 0;
    for nth in 1..40 {
        let mut left = nth;
        disk.refuse(move |request, _| {
            let asks = matches!(request, Request::Read | Request::Map);
            left -= i64::from(asks);
            (asks && left == 0).then_some(ErrorKind::Other)
        });
        let mut results = Vec::new();
        results.push(match log.read_log(&ctx, LogQuery::all()).await {
            Ok(events) => events.try_collect::<Vec<_>>().await.map(drop),
            Err(error) => Err(error),
        });
        results.push(
            log.read_all(&ctx, &stream(streams[nth as usize % 4]))
                .await
                .map(drop),
        );
        results.push(
            log.resolve(&ctx, ledger::commit_id(seed, 4 + nth as u64))
                .await
                .map(drop),
        );
        for error in results.into_iter().filter_map(Result::err) {
            failed += 1;
            assert_eq!(error.fault(), Some(Fault::Unavailable), "{error}");
        }
        disk.heal();
        ledger.check(&*log).await.unwrap();
    }
    assert!(failed > 0, "no read met the fault");
    ledger.check_all(&*log).await.unwrap();
}

/// The file system may not know the new name, although it said that the file is there.
#[tokio::test(flavor = "multi_thread")]
async fn where_a_new_segment_is_not_made_the_append_is_refused_and_tried_again() {
    let seed = ledger::seed("rotation");
    for request in [
        Request::Create,
        Request::Sync,
        Request::Rename,
        Request::SyncDir,
        Request::Remove,
    ] {
        let place = tempfile::tempdir().unwrap();
        let (disk, settings) = faulty();
        let store = EmbeddedStore::open(place.path(), settings).await.unwrap();
        let log = store.log();
        let ledger = Mutex::new(Ledger::new(seed));
        let mut count = 0;
        disk.refuse(move |asked, path| {
            let path = path.to_string_lossy();
            let rotates = path.contains("events/0") && path.ends_with(".seg.new")
                || path.ends_with("/events")
                || asked == Request::Rename && path.ends_with(".seg");
            count += u64::from(asked == request && rotates);
            (asked == request && rotates && count % 2 == 1).then_some(ErrorKind::Other)
        });
        let mut refused = 0;
        for number in 4..300 {
            if let Err(fault) = append(&*log, &ledger, number).await {
                assert_eq!(fault, Fault::Unavailable);
                refused += 1;
            }
        }
        assert!(refused > 0, "{request:?} was never refused");
        disk.heal();
        let mut ledger = ledger.into_inner().unwrap();
        ledger.check_all(&*log).await.unwrap();
        drop(log);
        store.close().await.unwrap();
        let store = EmbeddedStore::open(place.path(), small()).await.unwrap();
        ledger.check_all(&*store.log()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_disk_is_full_a_bucket_refuses_changes_and_goes_on_when_there_is_space() {
    let seed = ledger::seed("a bucket on a full disk");
    let place = tempfile::tempdir().unwrap();
    let (disk, settings) = faulty();
    let store = EmbeddedStore::open(place.path(), settings).await.unwrap();
    let bucket = keys::bucket(&store).await.unwrap();
    let mut ledger = KeyLedger::new(seed);
    let mut rng = Rng::new(seed);
    let (mut number, mut refused) = (0, 0);
    for _ in 0..40 {
        full_from(&disk, 1 + rng.below(6), |path| {
            // The mark is written in place, so it needs no space.
            path.to_string_lossy().contains("buckets/") && !path.ends_with("mark")
        });
        for turn in 0..16 {
            if turn == 12 {
                disk.heal();
            }
            number += 1;
            let change = keys::next(&*bucket, seed, number).await.unwrap();
            ledger.begin(change.clone());
            match keys::apply(&*bucket, seed, &change).await {
                Ok(revision) => ledger.acknowledge(number, revision.get()),
                Err(error) => {
                    assert!(turn < 12, "there is space again: {error}");
                    assert_eq!(error.fault(), Some(Fault::Unavailable), "{error}");
                    ledger.refuse(number);
                    refused += 1;
                }
            }
        }
        ledger.check(&*bucket).await.unwrap();
    }
    assert!(refused > 20, "{refused} were refused");
    drop(bucket);
    store.close().await.unwrap();
    let store = EmbeddedStore::open(place.path(), small()).await.unwrap();
    assert!(store.open_report().is_quiet(), "{}", store.open_report());
    let bucket = keys::bucket(&store).await.unwrap();
    ledger.check(&*bucket).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_flush_a_bucket_acknowledges_nothing_and_reading_goes_on() {
    let seed = ledger::seed("a bucket's failed flush");
    let mut rng = Rng::new(seed);
    for _ in 0..12 {
        let place = tempfile::tempdir().unwrap();
        let (disk, settings) = faulty();
        let settings = settings.with_segment_bytes(1 << 20);
        let store = EmbeddedStore::open(place.path(), settings).await.unwrap();
        let bucket = keys::bucket(&store).await.unwrap();
        let mut ledger = KeyLedger::new(rng.next());
        let mut left = 1 + rng.below(12);
        disk.refuse(move |request, path| {
            let asks = request == Request::Sync && path.ends_with("buckets/0000000001.seg");
            left = left.saturating_sub(u64::from(asks));
            // It fails once: the next flush would succeed, but nothing may rely on it.
            let fails = asks && left == 0;
            left = if fails { u64::MAX } else { left };
            fails.then_some(ErrorKind::Other)
        });
        let mut failed = false;
        for number in 1..40 {
            let change = keys::next(&*bucket, ledger.seed, number).await.unwrap();
            if failed {
                let error = keys::apply(&*bucket, ledger.seed, &change).await;
                let error = error.expect_err("acknowledged after a failed flush");
                assert_eq!(error.fault(), Some(Fault::Closed), "{error}");
                continue;
            }
            ledger.begin(change.clone());
            match keys::apply(&*bucket, ledger.seed, &change).await {
                Ok(revision) => ledger.acknowledge(number, revision.get()),
                Err(error) => {
                    assert_eq!(error.fault(), None, "its outcome is unknown: {error}");
                    failed = true;
                    // What was acknowledged can still be read, and nothing else.
                    let mut without = ledger.clone();
                    without.refuse(number);
                    without.check(&*bucket).await.unwrap();
                }
            }
        }
        assert!(failed, "nobody met the failed flush");
        disk.heal();
        drop(bucket);
        let _ = store.close().await;
        let store = EmbeddedStore::open(place.path(), small()).await.unwrap();
        let bucket = keys::bucket(&store).await.unwrap();
        ledger.check(&*bucket).await.unwrap();
    }
}
