//! Events are found by their positions wherever they stand: in flushes of many records, in files
//! that are sealed and in the one that is not, beside damage, and while old ones are given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cim_conformance::model::Rng;
use cim_store::{
    Append, ContentType, Context, EventLog, EventType, ExpectedVersion, Fault, LogQuery, NewEvent,
    OrderedAppend, Position, RecordedEvent, Store,
};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};
use futures_util::TryStreamExt;

use crate::disk_faults::stream;
use crate::ledger;

/// Commits of one to three events of about as many bytes each.
fn commits(count: u64, bytes: usize) -> Vec<OrderedAppend> {
    let commit = |number: u64| {
        let event = || {
            let payload = format!("{number} {}", "x".repeat(bytes));
            let event_type = EventType::new("came").unwrap();
            NewEvent::new(event_type, ContentType::BYTES, payload.into_bytes())
        };
        let events = (0..=number % 3).map(|_| event()).collect();
        let stream = stream(&format!("s{}", number % 7));
        OrderedAppend::new(
            Context::new(),
            Append::new().write(stream, ExpectedVersion::Any, events),
        )
    };
    (0..count).map(commit).collect()
}

async fn whole(log: &dyn EventLog) -> Vec<RecordedEvent> {
    let read = log.read_log(&Context::new(), LogQuery::all()).await;
    read.unwrap().try_collect().await.unwrap()
}

async fn at(log: &dyn EventLog, positions: &[u64]) -> Vec<RecordedEvent> {
    let positions: Vec<_> = positions.iter().copied().map(Position::new).collect();
    log.read_at(&Context::new(), &positions).await.unwrap()
}

/// That every event is found: alone, in order, backwards and at random.
async fn all_are_found(log: &dyn EventLog, all: &[RecordedEvent], rng: &mut Rng) {
    let count = all.len() as u64;
    for n in (1..=count).rev().step_by(17) {
        assert_eq!(at(log, &[n]).await, [all[n as usize - 1].clone()]);
    }
    for some in (1..=count).collect::<Vec<_>>().chunks(1_000) {
        let found = at(log, some).await;
        assert_eq!(found, all[some[0] as usize - 1..][..some.len()]);
    }
    for _ in 0..200 {
        let some: Vec<_> = (0..5).map(|_| 1 + rng.below(count)).collect();
        let wanted: Vec<_> = some.iter().map(|n| all[*n as usize - 1].clone()).collect();
        assert_eq!(at(log, &some).await, wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_in_long_flushes_are_found_by_their_positions() {
    let seed = ledger::seed("positions in long flushes");
    let mut rng = Rng::new(seed);
    // Files that end in the middle of a call, and one that takes all.
    for segment_bytes in [700 << 10, EmbeddedSettings::SEGMENT_BYTES] {
        let place = tempfile::tempdir().unwrap();
        let settings = EmbeddedSettings::default().with_segment_bytes(segment_bytes);
        let store = EmbeddedStore::open(place.path(), settings.clone())
            .await
            .unwrap();
        let log = store.log();
        for round in 0..3 {
            let commits = commits(2_000, 50 + 150 * round);
            let done = log.append_in_order(&Context::new(), commits).await;
            assert!(done.error.is_none(), "{:?}", done.error);
        }
        let all = whole(&*log).await;
        all_are_found(&*log, &all, &mut rng).await;
        store.close().await.unwrap();
        drop((log, store));
        let store = EmbeddedStore::open(place.path(), settings).await.unwrap();
        all_are_found(&*store.log(), &all, &mut rng).await;
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_said_of_the_event_that_is_damaged() {
    let place = tempfile::tempdir().unwrap();
    let settings = EmbeddedSettings::default().with_segment_bytes(64 << 10);
    let store = EmbeddedStore::open(place.path(), settings.clone())
        .await
        .unwrap();
    for commit in commits(400, 300) {
        store
            .log()
            .append(&commit.ctx, commit.append)
            .await
            .unwrap();
    }
    let all = whole(&*store.log()).await;
    store.close().await.unwrap();
    drop(store);
    // The payload of one event in the first file.
    let path = place.path().join("events/0000000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    let hit = all[20].payload.slice(..).to_vec();
    let offset = bytes.windows(hit.len()).position(|part| part == hit);
    bytes[offset.unwrap() + 4] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let store = EmbeddedStore::open(place.path(), settings).await.unwrap();
    let log = store.log();
    let ctx = Context::new();
    let same: Vec<_> = all.iter().filter(|event| event.payload == hit).collect();
    let hit = same[0].position;
    let refused = log.read_at(&ctx, &[all[300].position, hit]).await;
    let error = refused.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Integrity), "{error}");
    assert!(error.to_string().contains("0000000001.seg"), "{error}");
    for event in all.iter().filter(|event| event.position != hit) {
        let found = log.read_at(&ctx, &[event.position]).await.unwrap();
        assert_eq!(found, std::slice::from_ref(event));
    }
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncation_never_makes_a_reader_of_positions_see_damage() {
    let place = tempfile::tempdir().unwrap();
    let settings = EmbeddedSettings::default().with_segment_bytes(8 << 10);
    let store = EmbeddedStore::open(place.path(), settings).await.unwrap();
    let log = store.log();
    for some in commits(600, 40).chunks(20) {
        let done = log.append_in_order(&Context::new(), some.to_vec()).await;
        assert!(done.error.is_none(), "{:?}", done.error);
    }
    let all = Arc::new(whole(&*log).await);
    let ended = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|reader| {
            let (log, all, ended) = (store.log(), Arc::clone(&all), Arc::clone(&ended));
            tokio::spawn(async move {
                let ctx = Context::new();
                loop {
                    let last_round = ended.load(Ordering::Relaxed);
                    for event in all.iter().skip(reader).step_by(3) {
                        match log.read_at(&ctx, &[event.position]).await {
                            Ok(read) => assert_eq!(read, std::slice::from_ref(event)),
                            Err(error) => {
                                assert_eq!(error.fault(), Some(Fault::NotFound), "{error}");
                            }
                        }
                    }
                    if last_round {
                        break;
                    }
                }
            })
        })
        .collect();
    let last = log.stats(&Context::new()).await.unwrap().last.get();
    for part in 1..=12 {
        let truncation = ledger::truncation(&*log, last * part / 13).await.unwrap();
        log.truncate(&Context::new(), truncation).await.unwrap();
    }
    ended.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    store.close().await.unwrap();
}
