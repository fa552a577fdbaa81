//! The tree of a checkpoint, kept in tiles: broken off, damaged, long, and written as files.

use std::sync::Arc;

use cim_conformance::{FaultLayer, FaultPlan};
use cim_domain::persistence::checkpoint::tree::TreeHasher;
use cim_domain::persistence::checkpoint::{CheckpointError, Checkpoints, EventAddress, Verdict};
use cim_domain::store::memory::MemoryStore;
use cim_domain::store::{
    BucketExt, Context, EventLogExt, ExpectedVersion, Key, Position, Store, SystemIds,
};

use crate::checkpoints::{
    append, bucket, create, event, expected, history_of, stream, telling, verdict, with_events,
};
use crate::rewritten_store::{RewrittenStore, rewritten};

/// At each of its calls to the store, a run breaks off or does not learn what became of it; the
/// next one goes on to the same tree.
#[tokio::test]
async fn a_run_that_breaks_off_anywhere_is_gone_on_with() {
    let (first, more) = (600, 4_400);
    let layer = FaultLayer::new(FaultPlan::none(), Arc::new(SystemIds));
    let counted = layer.store(with_events(first).await);
    create(&counted).await.unwrap();
    let before = layer.calls();
    append(&counted, more).await;
    let appended = layer.calls();
    create(&counted).await.unwrap();
    let calls = layer.calls() - appended;
    assert!(before > 3 && calls > 20, "{before} {calls}");

    let store = with_events(first).await;
    create(&store).await.unwrap();
    append(&store, more).await;
    let whole = expected(&store).await;
    let ctx = Context::new();
    let bucket = bucket(&store).await;
    let edge = Key::new("edge").unwrap();
    let first_edge = bucket.get(&ctx, &edge).await.unwrap().unwrap().value;
    let faults = [FaultPlan::before, FaultPlan::after];
    for (fault, number) in faults.iter().flat_map(|f| (1..=calls).map(move |n| (f, n))) {
        // Back to where the tree was; half of the time with what the last run left behind.
        bucket.set(&ctx, &edge, first_edge.clone()).await.unwrap();
        if number % 2 == 0 {
            for key in bucket.all_keys(&ctx).await.unwrap() {
                let is_new =
                    !["edge", "tile/entries/000", "tile/entries/001"].contains(&key.as_str());
                if is_new {
                    bucket.delete(&ctx, &key, None).await.unwrap();
                }
            }
        }
        let layer = FaultLayer::new(fault(number), Arc::new(SystemIds));
        match create(&layer.store(Arc::clone(&store))).await {
            Ok(checkpoint) => assert_eq!(checkpoint, whole, "fault at call {number}"),
            Err(error) => assert!(!error.is_integrity(), "fault at call {number}: {error}"),
        }
        assert_eq!(
            create(&store).await.unwrap(),
            whole,
            "fault at call {number}"
        );
        let cid = history_of(&store, 4_000).await.cid;
        let checkpoints = Checkpoints::new(Arc::clone(&store));
        checkpoints
            .prove(&ctx, &EventAddress::Cid(cid), &whole)
            .await
            .unwrap();
    }
}

/// A run over another history broke off before its tree was there. Its tiles are no part of any
/// tree.
#[tokio::test]
async fn tiles_of_a_run_that_broke_off_are_replaced() {
    let store = with_events(300).await;
    let ctx = Context::new();
    let bucket = bucket(&store).await;
    let key = Key::new("tile/entries/000").unwrap();
    bucket.set(&ctx, &key, "left over".into()).await.unwrap();
    let checkpoint = create(&store).await.unwrap();
    assert_eq!(checkpoint, expected(&store).await);
    let checkpoints = Checkpoints::new(Arc::clone(&store));
    let cid = history_of(&store, 7).await.cid;
    checkpoints
        .prove(&ctx, &EventAddress::Cid(cid), &checkpoint)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_damaged_tree_is_told_and_the_log_is_verified_all_the_same() {
    let store = with_events(300).await;
    let checkpoint = create(&store).await.unwrap();
    let ctx = Context::new();
    let bucket = bucket(&store).await;
    let (checkpoints, cid) = (
        Checkpoints::new(Arc::clone(&store)),
        history_of(&store, 7).await.cid,
    );
    let place = history_of(&store, 7).await.position;
    let rewritten = telling(&store, place, |event| vec![rewritten(event)]);
    for key in ["tile/entries/000", "edge"] {
        bucket
            .set(&ctx, &Key::new(key).unwrap(), "damaged".into())
            .await
            .unwrap();
        let error = checkpoints
            .prove(&ctx, &EventAddress::Cid(cid), &checkpoint)
            .await;
        assert!(error.unwrap_err().is_integrity(), "{key}");
        assert_eq!(
            verdict(&store, &checkpoint).await,
            Verdict::Unchanged,
            "{key}"
        );
        let found = verdict(&rewritten, &checkpoint).await;
        assert_eq!(found, Verdict::Rewritten { first: None }, "{key}");
    }
    // It can be made again.
    for key in bucket.all_keys(&ctx).await.unwrap() {
        bucket.delete(&ctx, &key, None).await.unwrap();
    }
    assert_eq!(create(&store).await.unwrap(), checkpoint);
}

/// Where a log differs is found by whole blocks of 65 536 events first; and a long run that breaks
/// off keeps what it has done.
#[tokio::test]
async fn a_long_log_is_searched_by_blocks_and_covered_in_steps() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let ctx = Context::new();
    for commit in 0..140 {
        let (log, to) = (store.log(), stream(commit % 3));
        let events = (0..1000).map(event).collect();
        let appended = log.append_to(&ctx, &to, ExpectedVersion::Any, events).await;
        appended.unwrap();
    }
    let layer = FaultLayer::new(FaultPlan::none(), Arc::new(SystemIds));
    let checkpoint = create(&layer.store(Arc::clone(&store))).await.unwrap();
    assert_eq!(checkpoint.size(), 140_000);
    for index in [65_535, 131_072] {
        let place = Position::new(index + 1);
        let counting = RewrittenStore::new(Arc::clone(&store), move |event| {
            let is_meant = event.position == place;
            vec![if is_meant { rewritten(event) } else { event }]
        });
        let rewritten: Arc<dyn Store> = Arc::<RewrittenStore>::clone(&counting);
        match verdict(&rewritten, &checkpoint).await {
            Verdict::Rewritten { first: Some(first) } => assert_eq!(first.index, index),
            other => panic!("{other:?}"),
        }
        assert!(counting.take_read() <= 140_000 + 65_536);
    }

    // The last call of all, which saves the edge, fails.
    let bucket = bucket(&store).await;
    for key in bucket.all_keys(&ctx).await.unwrap() {
        bucket.purge(&ctx, &key, None).await.unwrap();
    }
    let layer = FaultLayer::new(FaultPlan::before(layer.calls()), Arc::new(SystemIds));
    let broken_off = create(&layer.store(Arc::clone(&store))).await;
    assert!(matches!(broken_off, Err(CheckpointError::Bucket(_))));
    let checkpoints = Checkpoints::new(Arc::clone(&store));
    assert_eq!(checkpoints.covered(&ctx).await.unwrap().0, 131_072);
    assert_eq!(create(&store).await.unwrap(), checkpoint);
}

#[tokio::test]
async fn the_files_of_a_tree_hold_every_event_and_hash() {
    let store = with_events(1_000).await;
    let checkpoint = create(&store).await.unwrap();
    append(&store, 300).await;
    create(&store).await.unwrap(); // the tree has grown beyond it
    let (ctx, checkpoints) = (Context::new(), Checkpoints::new(Arc::clone(&store)));
    let mut files = checkpoints.tile_files(&ctx, &checkpoint).await.unwrap();
    let (mut paths, mut entries) = (Vec::new(), Vec::new());
    for piece in files.pieces() {
        let bytes = files.bytes(&ctx, piece).await.unwrap();
        let path = piece.to_string();
        if path.starts_with("tile/entries/") {
            assert_eq!(bytes.len(), piece.width * 38, "{path}");
            entries.extend_from_slice(&bytes);
        } else {
            assert_eq!(bytes.len(), piece.width * 32, "{path}");
        }
        paths.push(path);
    }
    assert_eq!(paths[3], "tile/entries/003.p/232");
    assert_eq!(paths[7], "tile/0/003.p/232");
    assert_eq!(paths[8..], ["tile/1/000.p/3"]);
    let mut tree = TreeHasher::new();
    let (bundled, rest) = entries.as_chunks::<38>();
    assert!(rest.is_empty());
    bundled.iter().for_each(|entry| tree.push(&entry[2..]));
    assert_eq!((tree.size(), tree.root()), (1_000, checkpoint.root()));
}
