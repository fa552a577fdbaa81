//! A commit that is asked for again is found, wherever the index has it by then: among what is
//! gathered, in memory, or in a file.

use std::sync::Arc;

use crate::disks::{FaultyDisk, Request};
use crate::ledger;
use cim_store::{
    Append, CommitId, Context, EventLogExt, ExpectedVersion, NewEvent, Resolution, Store, StreamId,
    Version,
};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};

fn commit(number: u8, bytes: usize) -> Append {
    let stream = StreamId::new("torture", "thing", &number.to_string()).unwrap();
    let events = (0..bytes.div_ceil(1_000_000)).map(|part| {
        let size = (bytes - part * 1_000_000).min(1_000_000);
        NewEvent::json("asked", &"x".repeat(size)).unwrap()
    });
    Append::new()
        .with_commit_id(CommitId::from_bytes([number; 16]))
        .write(stream, ExpectedVersion::Any, events.collect())
}

async fn version(store: &EmbeddedStore, number: u8) -> Version {
    let stream = StreamId::new("torture", "thing", &number.to_string()).unwrap();
    store.log().version(&Context::new(), &stream).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn long_after_and_in_another_opening() {
    let place = tempfile::tempdir().unwrap();
    let settings = EmbeddedSettings::default().with_fresh_entries(2);
    let ctx = Context::new();
    let mut first = Vec::new();
    for opening in 0..3 {
        let store = EmbeddedStore::open(place.path(), settings.clone())
            .await
            .unwrap();
        for number in 0..30 {
            let appended = store.log().append(&ctx, commit(number, 10)).await.unwrap();
            if opening == 0 {
                first.push(appended);
            } else {
                assert_eq!(appended, first[usize::from(number)]);
            }
            assert_eq!(version(&store, number).await, Version::new(1));
        }
        store.close().await.unwrap();
    }
}

/// The repetition looked the commit up before it was stored, and is decided when the index has
/// written it to a file and forgotten it.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_index_is_written() {
    let place = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let settings = EmbeddedSettings::default()
        .with_fresh_entries(1)
        .with_disk(Arc::new(disk.clone()));
    let store = EmbeddedStore::open(place.path(), settings).await.unwrap();
    let (log, ctx) = (store.log(), Context::new());
    let (begins, begun) = tokio::sync::oneshot::channel();
    let (goes_on, wait) = std::sync::mpsc::channel::<()>();
    let mut begins = Some(begins);
    disk.refuse(move |request, path| {
        if request == Request::Sync
            && path.ends_with("events/0000000001.seg")
            && let Some(begins) = begins.take()
        {
            begins.send(()).unwrap();
            let _ = wait.recv();
        }
        None
    });
    // The writer is busy with the first commit while the others queue up behind it. The large
    // ones fill a group each; the index is written after every group, and the next group's
    // entries wait for that.
    let first = tokio::spawn({
        let log = store.log();
        async move { log.append(&Context::new(), commit(1, 10)).await }
    });
    ledger::in_time(begun).await.unwrap();
    let (stored, between, repeated, ()) = futures_util::future::join4(
        log.append(&ctx, commit(2, 5_000_000)),
        log.append(&ctx, commit(3, 5_000_000)),
        log.append(&ctx, commit(2, 5_000_000)),
        async { drop(goes_on) },
    )
    .await;
    first.await.unwrap().unwrap();
    between.unwrap();
    let stored = stored.unwrap();
    assert_eq!(repeated.unwrap(), stored, "it was stored twice");
    assert_eq!(version(&store, 2).await, Version::new(5));
    let resolved = log.resolve(&ctx, stored.commit_id).await.unwrap();
    assert_eq!(resolved, Resolution::Committed(stored));
    store.close().await.unwrap();
}
