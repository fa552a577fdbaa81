//! Disks that lose their power: what was not flushed is lost, torn or there, in any order.

use crate::ledger;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

use crate::disk_faults::{append, is_segment, small, stream};
use crate::disks::{FaultyDisk, PowerDisk, Request};
use crate::ledger::keys::{self, KEY_WRITERS, KeyLedger};
use crate::ledger::{Ledger, Stored, WRITERS};
use cim_conformance::model::Rng;
use cim_store::{Append, Context, ExpectedVersion, NewEvent, Resolution, Store};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};

/// Writes until the power is cut.
async fn write_until_cut(
    store: &EmbeddedStore,
    disk: &PowerDisk,
    ledger: &Arc<Mutex<Ledger>>,
    keys: &Arc<Mutex<KeyLedger>>,
    truncates: bool,
) {
    let first = ledger.lock().unwrap().first_number(0);
    let tasks = (0..WRITERS).map(|writer| {
        let (log, ledger, disk) = (store.log(), Arc::clone(ledger), disk.clone());
        tokio::spawn(async move {
            for number in (first + writer..first + 400).step_by(WRITERS as usize) {
                let seed = {
                    let mut ledger = ledger.lock().unwrap();
                    ledger.begin(number);
                    ledger.seed
                };
                let append = ledger::append(seed, number, |_| None);
                match log.append(&Context::new(), append).await {
                    Ok(appended) => {
                        let stored = Stored::from(&appended);
                        ledger.lock().unwrap().acknowledge(number, stored).unwrap();
                    }
                    // What was refused may have left traces only if the store did not say so.
                    Err(error) if error.unknown_commit().is_none() => {
                        ledger.lock().unwrap().refuse(number);
                        if disk.is_cut() {
                            break;
                        }
                    }
                    Err(_) => break,
                }
            }
        })
    });
    let mut tasks: Vec<_> = tasks.collect();
    let settled = !keys.lock().unwrap().is_open();
    if let (true, Ok(bucket)) = (settled, keys::bucket(store).await) {
        let first = keys.lock().unwrap().first_number(0);
        for writer in 0..KEY_WRITERS {
            let (bucket, keys) = (Arc::clone(&bucket), Arc::clone(keys));
            tasks.push(tokio::spawn(async move {
                let seed = keys.lock().unwrap().seed;
                for number in (first + writer..first + 400).step_by(KEY_WRITERS as usize) {
                    let Ok(change) = keys::next(&*bucket, seed, number).await else {
                        break;
                    };
                    keys.lock().unwrap().begin(change.clone());
                    match keys::apply(&*bucket, seed, &change).await {
                        Ok(revision) => keys.lock().unwrap().acknowledge(number, revision.get()),
                        Err(error) => {
                            if error.fault().is_some() {
                                keys.lock().unwrap().refuse(number);
                            }
                            break;
                        }
                    }
                }
            }));
        }
    }
    if truncates {
        let (log, ledger) = (store.log(), Arc::clone(ledger));
        tasks.push(tokio::spawn(async move {
            let last = log.stats(&Context::new()).await.unwrap().last;
            if let Some(truncation) = ledger::truncation(&*log, last.get() / 2).await {
                let through = truncation.through.get();
                ledger.lock().unwrap().begin_truncation(through);
                if log.truncate(&Context::new(), truncation).await.is_ok() {
                    ledger.lock().unwrap().acknowledge_truncation(through);
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

async fn check_keys(store: &EmbeddedStore, keys: &Mutex<KeyLedger>) -> Result<(), String> {
    let bucket = keys::bucket(store)
        .await
        .map_err(|error| error.to_string())?;
    let mut checked = keys.lock().unwrap().clone();
    checked.check(&*bucket).await?;
    *keys.lock().unwrap() = checked;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_takes_nothing_that_was_acknowledged_and_leaves_nothing_half() {
    let seed = ledger::seed("power cuts");
    let cuts = ledger::setting("CIM_CUTS", 220);
    let mut rng = Rng::new(seed);
    let mut totals: HashMap<&str, u64> = HashMap::new();
    let mut count = |what, by: u64| *totals.entry(what).or_default() += by;
    let mut place = tempfile::tempdir().unwrap();
    let mut ledger = Arc::new(Mutex::new(Ledger::new(rng.next())));
    let mut keys = Arc::new(Mutex::new(KeyLedger::new(rng.next())));
    for cut in 0..cuts {
        if cut % 20 == 0 {
            count(
                "commits acknowledged or found",
                ledger.lock().unwrap().acknowledged() as u64,
            );
            place = tempfile::tempdir().unwrap();
            ledger = Arc::new(Mutex::new(Ledger::new(rng.next())));
            count("changes of keys acknowledged", keys.lock().unwrap().changes);
            keys = Arc::new(Mutex::new(KeyLedger::new(rng.next())));
        }
        // Some cuts strike while the store opens, again and again.
        let changes = if rng.one_in(3) {
            1 + rng.below(30)
        } else {
            1 + rng.below(400)
        };
        let root = std::path::absolute(place.path()).unwrap();
        let disk = PowerDisk::new(&root, rng.next(), changes);
        let settings = small().with_disk(Arc::new(disk.clone()));
        match EmbeddedStore::open(&root, settings).await {
            Ok(store) => {
                count("torn ends", store.open_report().torn_tails.len() as u64);
                count(
                    "rebuilt indexes",
                    store.open_report().rebuilt_indexes.len() as u64,
                );
                let mut checked = ledger.lock().unwrap().clone();
                if let Err(what) = checked.check(&*store.log()).await {
                    // The power may go while it is checked, since the index works on.
                    assert!(disk.is_cut(), "cut {cut}: {what}");
                } else {
                    *ledger.lock().unwrap() = checked;
                }
                let checked = check_keys(&store, &keys).await;
                assert!(checked.is_ok() || disk.is_cut(), "cut {cut}: {checked:?}");
                write_until_cut(&store, &disk, &ledger, &keys, rng.one_in(4)).await;
                count("cuts while writing", u64::from(disk.is_cut()));
                let next = tempfile::tempdir().unwrap();
                disk.image(&root, next.path());
                let _ = store.close().await;
                place = next;
            }
            Err(error) => {
                assert!(disk.is_cut(), "cut {cut}: does not open: {error}");
                count("cuts while opening", 1);
                let next = tempfile::tempdir().unwrap();
                disk.image(&root, next.path());
                place = next;
            }
        }
        if cut % 5 == 4 {
            let store = EmbeddedStore::open(place.path(), small()).await;
            let store = store.unwrap_or_else(|error| panic!("cut {cut}: does not open: {error}"));
            let mut checked = ledger.lock().unwrap().clone();
            let found = checked.check_all(&*store.log()).await;
            let found = found.unwrap_or_else(|what| panic!("cut {cut}: {what}"));
            count("unanswered and stored", found.settled_as_stored);
            count("unanswered and not stored", found.settled_as_absent);
            *ledger.lock().unwrap() = checked;
            check_keys(&store, &keys)
                .await
                .unwrap_or_else(|what| panic!("cut {cut}: {what}"));
            store.close().await.unwrap();
        }
    }
    println!("{cuts} power cuts: {totals:?}");
    for what in [
        "cuts while opening",
        "cuts while writing",
        "torn ends",
        "unanswered and not stored",
    ] {
        assert!(
            totals.get(what).is_some_and(|count| *count > 0),
            "no {what}: {totals:?}"
        );
    }
}

/// What an opening found behind the mark counts from then on, so it must be durable, whatever became
/// of the flush that was under way: it may not have begun, or have failed, and then the system may
/// think that there is nothing to write any more.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_opening_found_survives_a_power_cut_right_after_it() {
    let mut rng = Rng::new(ledger::seed("found by an opening"));
    let mut kept = 0;
    for round in 0..60 {
        let place = tempfile::tempdir().unwrap();
        let root = std::path::absolute(place.path()).unwrap();
        let power = PowerDisk::new(&root, rng.next(), u64::MAX);
        let dying = FaultyDisk::over(power.clone());
        // Also where nothing is reserved behind the records.
        let bytes = *rng.pick(&[4 << 10, 1 << 20]).unwrap();
        let settings = EmbeddedSettings::default().with_segment_bytes(bytes);
        let with = |disk: Arc<dyn cim_store_embedded::disk::Disk>| settings.clone().with_disk(disk);
        let store = EmbeddedStore::open(&root, with(Arc::new(dying.clone())))
            .await
            .unwrap();
        let ledger = Mutex::new(Ledger::new(rng.next()));
        for number in 4..4 + rng.below(8) {
            append(&*store.log(), &ledger, number).await.unwrap();
        }
        // The process dies in its flush: nothing of what it would do afterwards is done.
        power.forget(round % 2 == 0);
        let dies = if round % 2 == 0 {
            Request::SetLen
        } else {
            Request::Sync
        };
        dying.refuse(move |request, path| {
            let dead = request == Request::SetLen || request == dies;
            let made = path.extension().is_some_and(|end| end == "seg");
            (dead && made && is_segment(path)).then_some(ErrorKind::Other)
        });
        let event = NewEvent::json("large", &"x".repeat(6_000)).unwrap();
        let ctx = Context::new();
        let id = ledger::commit_id(1, 1);
        let large = Append::new().with_commit_id(id).write(
            stream("large"),
            ExpectedVersion::NEW,
            vec![event],
        );
        let error = store.log().append(&ctx, large).await.unwrap_err();
        assert_eq!(error.unknown_commit(), Some(id), "{error}");
        let _ = store.close().await;
        power.forget(false);
        let store = EmbeddedStore::open(&root, with(Arc::new(power.clone())))
            .await
            .unwrap();
        let resolved = store.log().resolve(&ctx, id).await.unwrap();
        let next = tempfile::tempdir().unwrap();
        power.image(&root, next.path());
        let _ = store.close().await;
        let store = EmbeddedStore::open(next.path(), settings).await.unwrap();
        let again = store.log().resolve(&ctx, id).await.unwrap();
        assert_eq!(again, resolved, "round {round}: an answer was taken back");
        kept += u64::from(matches!(again, Resolution::Committed(_)));
    }
    assert!(kept > 30, "the commit was there after {kept} deaths only");
}

/// A torn end that an opening cut off must not come back: what stands there next has its number.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_an_opening_cut_off_does_not_come_back() {
    let mut rng = Rng::new(ledger::seed("a torn end"));
    let ctx = Context::new();
    for round in 0..40 {
        let place = tempfile::tempdir().unwrap();
        let root = std::path::absolute(place.path()).unwrap();
        let power = PowerDisk::new(&root, rng.next(), u64::MAX);
        let dying = FaultyDisk::over(power.clone());
        let settings = EmbeddedSettings::default();
        let with = |disk: Arc<dyn cim_store_embedded::disk::Disk>| settings.clone().with_disk(disk);
        let store = EmbeddedStore::open(&root, with(Arc::new(dying.clone())))
            .await
            .unwrap();
        let ledger = Mutex::new(Ledger::new(rng.next()));
        for number in 4..8 {
            append(&*store.log(), &ledger, number).await.unwrap();
        }
        // The process dies in the middle of a write.
        dying.refuse(|request, path| {
            let dead = matches!(request, Request::Write | Request::SetLen);
            (dead && is_segment(path)).then_some(ErrorKind::Other)
        });
        let event = NewEvent::json("large", &"x".repeat(6_000)).unwrap();
        let large = Append::new().write(stream("large"), ExpectedVersion::NEW, vec![event]);
        let error = store.log().append(&ctx, large).await.unwrap_err();
        assert!(error.unknown_commit().is_some(), "{error}");
        let _ = store.close().await;
        let store = EmbeddedStore::open(&root, with(Arc::new(power.clone())))
            .await
            .unwrap();
        assert_eq!(store.open_report().torn_tails.len(), 1);
        let next = tempfile::tempdir().unwrap();
        power.image(&root, next.path());
        let _ = store.close().await;
        let store = EmbeddedStore::open(next.path(), settings).await.unwrap();
        let torn = &store.open_report().torn_tails;
        assert!(torn.is_empty(), "round {round}: {torn:?}");
        let mut ledger = ledger.into_inner().unwrap();
        ledger.check_all(&*store.log()).await.unwrap();
    }
}
