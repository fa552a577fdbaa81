//! Old events are given up while others read, write and fail.

use crate::ledger;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::disks::{FaultyDisk, Request};
use crate::ledger::{Ledger, Stored};
use cim_store::{
    Append, Context, EventLog, ExpectedVersion, Fault, NewEvent, Resolution, Store, StreamId,
    StreamPattern,
};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};
use futures_util::TryStreamExt;

const COMMITS: u64 = 400;

fn settings() -> EmbeddedSettings {
    EmbeddedSettings::default()
        .with_segment_bytes(8 << 10)
        .with_fresh_entries(64)
}

/// A store with so many commits that are never read again, and one that the ledger knows.
async fn fill(log: &dyn EventLog, ledger: &mut Ledger) {
    for number in 4..4 + COMMITS {
        ledger.begin(number);
        let append = ledger::append(ledger.seed, number, |_| None);
        let appended = log.append(&Context::new(), append).await.unwrap();
        ledger.acknowledge(number, Stored::from(&appended)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_commits_and_lists_are_answered_all_the_time() {
    let place = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(place.path(), settings()).await.unwrap();
    let log = store.log();
    let mut ledger = Ledger::new(ledger::seed("reading while truncating"));
    fill(&*log, &mut ledger).await;
    let seed = ledger.seed;
    let done = Arc::new(AtomicBool::new(false));
    let heads: Vec<_> = log
        .streams(&Context::new(), &StreamPattern::all())
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let heads = Arc::new(heads);
    let readers = (0..2).map(|reader| {
        let (log, done, heads) = (store.log(), Arc::clone(&done), Arc::clone(&heads));
        tokio::spawn(async move {
            let ctx = Context::new();
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                rounds += 1;
                if reader == 0 {
                    for head in heads.iter() {
                        let found = log.head(&ctx, &head.stream).await.unwrap().unwrap();
                        assert_eq!(found, *head);
                    }
                    let listed = log.streams(&ctx, &StreamPattern::all()).await.unwrap();
                    let listed: Vec<_> = listed.try_collect().await.unwrap();
                    assert_eq!(listed.len(), heads.len());
                }
                for number in (4..4 + COMMITS).step_by(3) {
                    let resolved = log.resolve(&ctx, ledger::commit_id(seed, number)).await;
                    assert!(matches!(resolved.unwrap(), Resolution::Committed(_)));
                }
            }
            rounds
        })
    });
    let readers: Vec<_> = readers.collect();
    let last = log.stats(&Context::new()).await.unwrap().last.get();
    for part in 1..=12 {
        let truncation = ledger::truncation(&*log, last * part / 13).await.unwrap();
        ledger.begin_truncation(truncation.through.get());
        log.truncate(&Context::new(), truncation).await.unwrap();
        ledger.acknowledge_truncation(truncation.through.get());
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    ledger.check_all(&*log).await.unwrap();
    store.close().await.unwrap();
}

/// An index that is made anew after a truncation says the same as the one before.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_made_anew_knows_what_was_given_up() {
    let place = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(place.path(), settings()).await.unwrap();
    let mut ledger = Ledger::new(ledger::seed("made anew"));
    fill(&*store.log(), &mut ledger).await;
    let last = store.log().stats(&Context::new()).await.unwrap().last.get();
    for part in [1, 3] {
        let truncation = ledger::truncation(&*store.log(), last * part / 4)
            .await
            .unwrap();
        ledger.begin_truncation(truncation.through.get());
        store
            .log()
            .truncate(&Context::new(), truncation)
            .await
            .unwrap();
    }
    ledger.check_all(&*store.log()).await.unwrap();
    store.close().await.unwrap();
    std::fs::remove_dir_all(place.path().join("events/index")).unwrap();
    let store = EmbeddedStore::open(place.path(), settings()).await.unwrap();
    assert_eq!(store.open_report().rebuilt_indexes.len(), 1);
    ledger.check_all(&*store.log()).await.unwrap();
    // Once is enough.
    store.close().await.unwrap();
    let store = EmbeddedStore::open(place.path(), settings()).await.unwrap();
    assert!(store.open_report().is_quiet(), "{}", store.open_report());
    // What was given up is also known to the writer.
    let (ctx, mut again) = (Context::new(), 0);
    for number in (4..4 + COMMITS).step_by(7) {
        let append = ledger::append(ledger.seed, number, |_| None);
        let appended = store.log().append(&ctx, append).await.unwrap();
        ledger.acknowledge(number, Stored::from(&appended)).unwrap();
        again += 1;
    }
    assert!(again > 50);
    ledger.check_all(&*store.log()).await.unwrap();
    let (stream, known) = known_stream(&*store.log()).await;
    let event = NewEvent::json("late", "event").unwrap();
    let append = Append::new().write(stream, ExpectedVersion::NEW, vec![event]);
    let error = store.log().append(&ctx, append).await.unwrap_err();
    assert!(
        error.is_conflict(),
        "a stream at {known} began again: {error}"
    );
}

async fn known_stream(log: &dyn EventLog) -> (StreamId, u64) {
    let mut heads = log
        .streams(&Context::new(), &StreamPattern::all())
        .await
        .unwrap();
    let truncated = log.stats(&Context::new()).await.unwrap().truncated_through;
    while let Some(head) = heads.try_next().await.unwrap() {
        if head.position <= truncated {
            return (head.stream, head.version.get());
        }
    }
    panic!("no stream was given up whole")
}

/// Whatever fails, the truncation is carried out or not, and nothing else is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_truncation_that_fails_halfway_loses_nothing() {
    let seed = ledger::seed("failing truncations");
    let requests = [
        Request::Create,
        Request::Write,
        Request::Sync,
        Request::Rename,
        Request::SyncDir,
        Request::Remove,
        Request::Open,
        Request::Read,
    ];
    let (mut failed, mut succeeded) = (0, 0);
    for (turn, request) in requests.into_iter().cycle().take(48).enumerate() {
        let nth = turn / requests.len();
        let place = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new();
        let faulty = settings().with_disk(Arc::new(disk.clone()));
        let store = EmbeddedStore::open(place.path(), faulty).await.unwrap();
        let log = store.log();
        let mut ledger = Ledger::new(seed + turn as u64);
        for number in 4..60 {
            ledger.begin(number);
            let append = ledger::append(ledger.seed, number, |_| None);
            let appended = log.append(&Context::new(), append).await.unwrap();
            ledger.acknowledge(number, Stored::from(&appended)).unwrap();
        }
        let last = log.stats(&Context::new()).await.unwrap().last.get();
        let truncation = ledger::truncation(&*log, last / 2).await.unwrap();
        ledger.begin_truncation(truncation.through.get());
        let mut count = 0;
        disk.refuse(move |asked, path| {
            let path = path.to_string_lossy();
            let concerns = path.contains("events") && !path.contains("index");
            count += usize::from(asked == request && concerns);
            (asked == request && concerns && count > nth).then_some(ErrorKind::Other)
        });
        match log.truncate(&Context::new(), truncation).await {
            Ok(()) => {
                succeeded += 1;
                ledger.acknowledge_truncation(truncation.through.get());
            }
            Err(error) => {
                failed += 1;
                assert_eq!(error.fault(), Some(Fault::Unavailable), "{error}");
            }
        }
        disk.heal();
        // The log goes on, or it is closed for writing and says so.
        let asked = truncation.through.get();
        let mut checked = ledger.clone();
        let found = checked.check_all(&*log).await;
        found.unwrap_or_else(|what| panic!("{request:?} {nth}: {what}"));
        checked.begin_truncation(asked);
        ledger = checked;
        for number in 60..70 {
            ledger.begin(number);
            let append = ledger::append(ledger.seed, number, |_| None);
            match log.append(&Context::new(), append).await {
                Ok(appended) => ledger.acknowledge(number, Stored::from(&appended)).unwrap(),
                Err(error) => {
                    assert_eq!(error.fault(), Some(Fault::Closed), "{error}");
                    ledger.refuse(number);
                }
            }
        }
        if let Some(truncation) = ledger::truncation(&*log, last * 3 / 4).await {
            ledger.begin_truncation(truncation.through.get());
            if log.truncate(&Context::new(), truncation).await.is_ok() {
                ledger.acknowledge_truncation(truncation.through.get());
                ledger.check(&*log).await.unwrap();
            }
        }
        drop(log);
        let _ = store.close().await;
        let store = EmbeddedStore::open(place.path(), settings()).await.unwrap();
        let checked = ledger.check_all(&*store.log()).await;
        checked.unwrap_or_else(|what| panic!("{request:?} {nth}: {what}"));
    }
    assert!(
        failed > 5 && succeeded > 5,
        "{failed} failed, {succeeded} did not"
    );
}
