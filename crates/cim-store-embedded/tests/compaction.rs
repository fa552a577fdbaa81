//! Buckets give the space of superseded changes back, and lose nothing by it.

#![allow(clippy::unwrap_used)] // a failure here is a failed test

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cim_store::{
    Bucket, BucketExt, BucketName, BucketSettings, Clock, Context, Key, ManualClock, Operation,
    Revision, Store, SubjectPattern, Timestamp, WatchFrom, WriteOptions,
};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};
use futures_util::StreamExt;

const SEGMENT: u64 = 16 << 10;

async fn open(path: &Path, clock: &ManualClock) -> EmbeddedStore {
    let settings = EmbeddedSettings::default()
        .with_segment_bytes(SEGMENT)
        .with_fresh_entries(64)
        .with_clock(Arc::new(clock.clone()));
    EmbeddedStore::open(path, settings).await.unwrap()
}

async fn bucket(store: &EmbeddedStore, name: &str, settings: BucketSettings) -> Arc<dyn Bucket> {
    store
        .bucket(&Context::new(), &BucketName::new(name).unwrap(), settings)
        .await
        .unwrap()
}

fn key(number: usize) -> Key {
    Key::new(format!("key.{number}")).unwrap()
}

fn value(number: usize) -> Bytes {
    Bytes::from(format!("{number:0200}"))
}

/// Bytes of the segments of buckets.
fn size(path: &Path) -> u64 {
    let files = std::fs::read_dir(path.join("buckets"))
        .unwrap()
        .map(Result::unwrap);
    let segments = files.filter(|file| file.path().extension().is_some_and(|end| end == "seg"));
    segments.map(|file| file.metadata().unwrap().len()).sum()
}

/// The first segment that is there.
fn oldest(path: &Path) -> String {
    let files = std::fs::read_dir(path.join("buckets"))
        .unwrap()
        .map(Result::unwrap);
    let names = files.map(|file| file.file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".seg")).min().unwrap()
}

/// Overwrites a few keys until the journal has grown by `rounds` segments' worth of changes.
async fn overwrite(bucket: &dyn Bucket, truth: &mut BTreeMap<usize, Bytes>, rounds: usize) {
    let ctx = Context::new();
    for round in 0..rounds * 60 {
        let number = round % 7;
        bucket.set(&ctx, &key(number), value(round)).await.unwrap();
        truth.insert(number, value(round));
    }
}

/// Compaction goes on between changes, so a few more changes let it end.
async fn becomes_small(path: &Path, bucket: &dyn Bucket) {
    for _ in 0..2_000 {
        if size(path) < 8 * SEGMENT {
            return;
        }
        let (ctx, key) = (Context::new(), Key::new("other").unwrap());
        bucket.set(&ctx, &key, Bytes::new()).await.unwrap();
        bucket.purge(&ctx, &key, None).await.unwrap();
    }
    panic!("{} bytes are left", size(path));
}

async fn holds(bucket: &dyn Bucket, truth: &BTreeMap<usize, Bytes>) {
    let ctx = Context::new();
    for (number, expected) in truth {
        let entry = bucket.get(&ctx, &key(*number)).await.unwrap();
        assert_eq!(
            entry.map(|entry| entry.value).as_ref(),
            Some(expected),
            "key {number}"
        );
    }
    let mut keys = bucket.all_keys(&ctx).await.unwrap();
    keys.sort();
    let mut expected: Vec<Key> = truth.keys().map(|number| key(*number)).collect();
    expected.sort();
    assert_eq!(keys, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overwritten_values_give_their_space_back_and_others_stay() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let clock = ManualClock::at(Timestamp::from_seconds(1));
    let store = open(&path, &clock).await;
    let one = bucket(&store, "one", BucketSettings::default()).await;
    let other = bucket(&store, "other", BucketSettings::default().with_history(3)).await;
    let ctx = Context::new();
    // Values that nobody touches again: they have to survive many moves.
    let mut truth = BTreeMap::new();
    for number in 100..140 {
        one.set(&ctx, &key(number), value(number)).await.unwrap();
        truth.insert(number, value(number));
    }
    for change in 0..5 {
        other.set(&ctx, &key(1), value(change)).await.unwrap();
    }
    other.set(&ctx, &key(2), value(2)).await.unwrap();
    other.delete(&ctx, &key(2), None).await.unwrap();
    let history = other.history(&ctx, &key(1)).await.unwrap();
    assert_eq!(history.len(), 3);

    overwrite(&*one, &mut truth, 40).await;
    // Written: 40 segments and more. What counts: less than one.
    becomes_small(&path, &*one).await;
    assert!(
        oldest(&path).as_str() > "0000000020.seg",
        "{} is still there",
        oldest(&path)
    );
    holds(&*one, &truth).await;
    assert_eq!(other.history(&ctx, &key(1)).await.unwrap(), history);
    assert_eq!(other.get(&ctx, &key(2)).await.unwrap(), None);

    store.close().await.unwrap();
    let store = open(&path, &clock).await;
    assert!(store.open_report().is_quiet(), "{}", store.open_report());
    let one = bucket(&store, "one", BucketSettings::default()).await;
    let other = bucket(&store, "other", BucketSettings::default().with_history(3)).await;
    holds(&*one, &truth).await;
    assert_eq!(other.history(&ctx, &key(1)).await.unwrap(), history);
    assert_eq!(other.get(&ctx, &key(2)).await.unwrap(), None);
    store.close().await.unwrap();

    // The same from the journal alone.
    std::fs::remove_dir_all(path.join("buckets/index")).unwrap();
    let store = open(&path, &clock).await;
    let one = bucket(&store, "one", BucketSettings::default()).await;
    let other = bucket(&store, "other", BucketSettings::default().with_history(3)).await;
    holds(&*one, &truth).await;
    assert_eq!(other.history(&ctx, &key(1)).await.unwrap(), history);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_watcher_has_not_seen_is_not_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let clock = ManualClock::at(Timestamp::from_seconds(1));
    let store = open(&path, &clock).await;
    let one = bucket(&store, "one", BucketSettings::default()).await;
    let all = SubjectPattern::all();
    let mut watch = one
        .watch(&Context::new(), &all, WatchFrom::Now)
        .await
        .unwrap();
    let mut truth = BTreeMap::new();
    overwrite(&*one, &mut truth, 12).await;
    for expected in 1..=12 * 60 {
        let entry = watch.next().await.unwrap().unwrap();
        assert_eq!(entry.revision, Revision::new(expected));
    }
    drop(watch);
    overwrite(&*one, &mut truth, 12).await;
    becomes_small(&path, &*one).await;
    holds(&*one, &truth).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_ended_does_not_come_back_and_its_watchers_learn_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let clock = ManualClock::at(Timestamp::from_seconds(1));
    let store = open(&path, &clock).await;
    let one = bucket(&store, "one", BucketSettings::default()).await;
    let ctx = Context::new();
    let short = WriteOptions::ttl(Duration::from_secs(5));
    let put = one.put(&ctx, &key(900), value(900), short).await.unwrap();
    clock.advance(Duration::from_secs(6));
    let mut truth = BTreeMap::new();
    overwrite(&*one, &mut truth, 20).await;
    holds(&*one, &truth).await;
    let pattern = SubjectPattern::new("key.900").unwrap();
    let mut watch = one
        .watch(&ctx, &pattern, WatchFrom::After(put))
        .await
        .unwrap();
    let end = watch.next().await.unwrap().unwrap();
    assert_eq!((end.operation, end.key), (Operation::Purge, key(900)));
    assert!(clock.now() > end.stored_at || clock.now() == end.stored_at);
}
