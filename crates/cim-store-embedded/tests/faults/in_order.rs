//! Commits that are appended in order, on disks that fill up, fail and lose their power, and by
//! processes that are killed: what is there afterwards is a beginning of them, with all that was
//! acknowledged.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use cim_conformance::model::Rng;
use cim_store::{
    Append, AppendedInOrder, CommitId, ContentType, Context, EventLog, EventLogExt, EventType,
    ExpectedVersion, Fault, LogQuery, NewEvent, OrderedAppend, Resolution, Store, StreamId,
    Version,
};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};
use futures_util::TryStreamExt;

use crate::disk_faults::{is_segment, small, stream};
use crate::disks::{FaultyDisk, PowerDisk, Request};
use crate::ledger;

fn id(number: u64) -> CommitId {
    CommitId::from_bytes((u128::from(number) | 1 << 120).to_be_bytes())
}

/// A commit of this number, of as many bytes at least: one event for a stream of its own kind and
/// one for `all`, whose versions count the commits.
fn commit(number: u64, bytes: usize) -> OrderedAppend {
    let event = || {
        let payload = format!("{number} {}", "x".repeat(bytes / 2));
        NewEvent::new(
            EventType::new("came").unwrap(),
            ContentType::BYTES,
            payload.into_bytes(),
        )
    };
    let append = Append::new()
        .with_commit_id(id(number))
        .write(
            stream(&format!("s{}", number % 5)),
            ExpectedVersion::Any,
            vec![event()],
        )
        .write(stream("all"), Version::new(number), vec![event()]);
    OrderedAppend::new(Context::new(), append)
}

fn commits(numbers: std::ops::Range<u64>, bytes: usize) -> Vec<OrderedAppend> {
    numbers.map(|number| commit(number, bytes)).collect()
}

async fn append(log: &dyn EventLog, commits: Vec<OrderedAppend>) -> AppendedInOrder {
    log.append_in_order(&Context::new(), commits).await
}

/// That a log holds the first so many commits, whole and in order, and nothing else.
async fn holds(log: &dyn EventLog) -> u64 {
    let read = log.read_log(&Context::new(), LogQuery::all()).await;
    let events: Vec<_> = read.unwrap().try_collect().await.unwrap();
    for (pair, number) in events.chunks(2).zip(0_u64..) {
        let [one, other] = pair else {
            panic!("half of commit {number}");
        };
        let said = |payload: &[u8]| {
            let text = String::from_utf8_lossy(payload);
            text.split(' ').next().unwrap().parse::<u64>().unwrap()
        };
        assert_eq!((said(&one.payload), said(&other.payload)), (number, number));
        assert_eq!((one.commit_id, other.commit_id), (id(number), id(number)));
        assert_eq!(other.version.get(), number + 1);
    }
    events.len() as u64 / 2
}

fn faulty() -> (FaultyDisk, EmbeddedSettings) {
    let disk = FaultyDisk::new();
    let settings = EmbeddedSettings::default().with_disk(Arc::new(disk.clone()));
    (disk, settings)
}

/// More than one group: each commit has about a megabyte.
const LARGE: usize = 1 << 20;

/// From the n-th write to a segment on, nothing can be written, or flushed.
fn refuse(disk: &FaultyDisk, request: Request, nth: u64, kind: ErrorKind) {
    let mut count = 0;
    disk.refuse(move |asked, path| {
        let meant = asked == request && is_segment(path);
        count += u64::from(meant);
        (meant && count >= nth).then_some(kind)
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_ends_them_and_they_go_on_when_there_is_space() {
    for nth in 1..=4 {
        let place = tempfile::tempdir().unwrap();
        let (disk, settings) = faulty();
        let store = EmbeddedStore::open(place.path(), settings).await.unwrap();
        let log = store.log();
        refuse(&disk, Request::Write, nth, ErrorKind::StorageFull);
        let done = append(&*log, commits(0..16, LARGE)).await;
        let stored = done.appended.len() as u64;
        assert!(stored < 16 && (stored > 0) == (nth > 1), "{stored}");
        let error = done.error.unwrap();
        assert_eq!(error.fault(), Some(Fault::Unavailable), "{error}");
        // What is in the answer is stored, and nothing else.
        assert_eq!(holds(&*log).await, stored);
        disk.heal();
        let done = append(&*log, commits(0..16, LARGE)).await;
        assert!(done.error.is_none(), "{:?}", done.error);
        assert_eq!(done.appended.len(), 16);
        assert_eq!(holds(&*log).await, 16);
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_that_fails_leaves_those_from_there_on_unknown() {
    for nth in 1..=4 {
        let place = tempfile::tempdir().unwrap();
        let (disk, settings) = faulty();
        let store = EmbeddedStore::open(place.path(), settings).await.unwrap();
        let log = store.log();
        refuse(&disk, Request::Sync, nth, ErrorKind::Other);
        let done = append(&*log, commits(0..16, LARGE)).await;
        let stored = done.appended.len() as u64;
        let error = done.error.unwrap();
        assert_eq!(error.unknown_commit(), Some(id(stored)), "{error}");
        assert_eq!(holds(&*log).await, stored);
        let again = append(&*log, commits(stored..16, LARGE)).await;
        assert_eq!(again.appended, []);
        assert_eq!(again.error.unwrap().fault(), Some(Fault::Closed));
        disk.heal();
        drop(log);
        store.close().await.unwrap();
        drop(store);

        let settings = EmbeddedSettings::default();
        let store = EmbeddedStore::open(place.path(), settings).await.unwrap();
        let log = store.log();
        let found = holds(&*log).await;
        assert!(found >= stored, "{found} of {stored}");
        for (number, result) in (0..).zip(&done.appended) {
            let resolution = log.resolve(&Context::new(), id(number)).await.unwrap();
            assert_eq!(resolution, Resolution::Committed(result.clone()));
        }
        let done = append(&*log, commits(0..16, LARGE)).await;
        assert_eq!((done.appended.len(), holds(&*log).await), (16, 16));
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_before_is_sure_although_the_flush_fails() {
    let place = tempfile::tempdir().unwrap();
    let (disk, settings) = faulty();
    let store = EmbeddedStore::open(place.path(), settings).await.unwrap();
    let log = store.log();
    let first = append(&*log, commits(0..5, 100)).await.appended;
    refuse(&disk, Request::Sync, 1, ErrorKind::Other);
    // Also where one of the repeated stands behind a new one: that one is not in the answer.
    let mut mixed = commits(0..6, 100);
    mixed.push(commit(0, 100));
    let done = append(&*log, mixed).await;
    assert_eq!(done.appended, first);
    assert_eq!(done.error.unwrap().unknown_commit(), Some(id(5)));
    disk.heal();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_within_a_call_whose_flush_fails_is_not_stored_instead() {
    let place = tempfile::tempdir().unwrap();
    let (disk, settings) = faulty();
    let store = EmbeddedStore::open(place.path(), settings).await.unwrap();
    let log = store.log();
    // Reading the first of the two back takes a flush in between, which the disk refuses.
    let mut asked = false;
    disk.refuse(move |request, path| {
        let first = request == Request::Write && is_segment(path) && !asked;
        asked |= first;
        first.then_some(ErrorKind::StorageFull)
    });
    let mut twice = commits(0..3, 100);
    twice.insert(1, commit(0, 100));
    let done = append(&*log, twice.clone()).await;
    assert_eq!(done.appended, []);
    let error = done.error.unwrap();
    assert_eq!(error.fault(), Some(Fault::Unavailable), "{error}");
    assert_eq!(holds(&*log).await, 0, "nothing of it is stored");
    let done = append(&*log, twice).await;
    assert_eq!((done.appended.len(), holds(&*log).await), (4, 3));
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_leaves_a_beginning() {
    let seed = ledger::seed("power cuts in order");
    let mut rng = Rng::new(seed);
    let (mut acknowledged, mut beyond) = (0, 0);
    let mut place = tempfile::tempdir().unwrap();
    for cut in 0..ledger::setting("CIM_CUTS", 80) {
        if cut % 20 == 0 {
            place = tempfile::tempdir().unwrap();
        }
        let path = place.path().to_owned();
        let disk = PowerDisk::new(&path, rng.next(), 3 + rng.below(60));
        let settings = small().with_disk(Arc::new(disk.clone()));
        let mut known = None;
        if let Ok(store) = EmbeddedStore::open(&path, settings).await {
            let log = store.log();
            let version = log.version(&Context::new(), &stream("all")).await;
            let mut next = version.map_or(0, Version::get);
            while !disk.is_cut() {
                let count = 1 + rng.below(40);
                let bytes = 1 << rng.below(11);
                let done = append(&*log, commits(next..next + count, bytes)).await;
                next += done.appended.len() as u64;
                if done.error.is_some() {
                    break;
                }
            }
            known = Some(next);
            drop(log);
            drop(store);
        }
        let left = tempfile::tempdir().unwrap();
        disk.image(&path, left.path());
        let store = EmbeddedStore::open(left.path(), small())
            .await
            .unwrap_or_else(|error| panic!("seed {seed}, cut {cut}: {error}"));
        let found = holds(&*store.log()).await;
        if let Some(known) = known {
            assert!(found >= known, "seed {seed}, cut {cut}: {found} of {known}");
            acknowledged += known;
            beyond += u64::from(found > known);
        }
        store.close().await.unwrap();
        place = left;
    }
    println!("{acknowledged} acknowledged, {beyond} times more was there");
    assert!(acknowledged > 0);
}

const TEST: &str = "in_order::a_kill_leaves_a_beginning";
const CHILD: &str = "CIM_IN_ORDER_CHILD";

#[test]
fn a_kill_leaves_a_beginning() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    match std::env::var(CHILD) {
        Ok(directory) => runtime.block_on(append_until_killed(Path::new(&directory))),
        Err(_) => runtime.block_on(kill_again_and_again()),
    }
}

async fn append_until_killed(directory: &Path) {
    let store = EmbeddedStore::open(directory, small()).await.unwrap();
    let log = store.log();
    let all: StreamId = stream("all");
    let mut next = log.version(&Context::new(), &all).await.unwrap().get();
    for count in (1..60).cycle() {
        // Some calls take more than one group.
        let bytes = if count % 20 == 7 { LARGE / 2 } else { 300 };
        let done = append(&*log, commits(next..next + count, bytes)).await;
        assert!(done.error.is_none(), "{:?}", done.error);
        next += count;
        let mut out = std::io::stdout().lock();
        out.write_all(format!("\n@{next}\n").as_bytes()).unwrap();
        out.flush().unwrap();
    }
}

async fn kill_again_and_again() {
    let seed = ledger::seed(TEST);
    let mut rng = Rng::new(seed);
    let mut place = tempfile::tempdir().unwrap();
    for kill in 0..ledger::setting("CIM_KILLS", 30) {
        if kill % 5 == 0 {
            place = tempfile::tempdir().unwrap();
        }
        let directory = place.path().join("store");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([TEST, "--exact", "--nocapture"])
            .env(CHILD, &directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = told.map_while(Result::ok);
        let mut told = told.filter_map(|line| line.strip_prefix('@')?.parse::<u64>().ok());
        // The kill comes while the call after so many is under way.
        let calls = 1 + rng.below(25) as usize;
        let mut acknowledged = told.by_ref().take(calls).last().unwrap_or_default();
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged = told.last().unwrap_or(acknowledged);
        let store = EmbeddedStore::open(&directory, small())
            .await
            .unwrap_or_else(|error| panic!("seed {seed}, kill {kill}: {error}"));
        let found = holds(&*store.log()).await;
        assert!(
            found >= acknowledged && acknowledged > 0,
            "seed {seed}, kill {kill}: {found} of {acknowledged}"
        );
        store.close().await.unwrap();
    }
}
