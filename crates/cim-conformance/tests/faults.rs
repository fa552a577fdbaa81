//! Faults on purpose, and that who handles them stores everything exactly once.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use cim_conformance::{FaultLayer, FaultPlan};
use cim_store::memory::MemoryStore;
use cim_store::{
    Append, Bucket, BucketErrorKind, BucketName, BucketSettings, CommitId, Context, EventLog,
    EventLogExt, ExpectedVersion, Fault, IdGenerator, Key, NewEvent, Resolution, SequentialIds,
    Store, StreamId, SystemIds, Version, WriteOptions,
};

fn stream() -> StreamId {
    StreamId::new("test", "thing", "a").unwrap()
}

fn event(n: u64) -> Vec<NewEvent> {
    vec![NewEvent::json("happened", &n).unwrap()]
}

fn with_faults(plan: FaultPlan) -> (Arc<dyn EventLog>, Arc<dyn EventLog>) {
    let sound = MemoryStore::new().log();
    let layer = FaultLayer::new(plan, Arc::new(SystemIds));
    (layer.log(sound.clone()), sound)
}

#[tokio::test]
async fn a_fault_before_an_append_stores_nothing() {
    let (faulty, sound) = with_faults(FaultPlan::before(2));
    let ctx = Context::new();
    let new = ExpectedVersion::Any;
    faulty
        .append_to(&ctx, &stream(), new, event(1))
        .await
        .unwrap();
    let error = faulty.append_to(&ctx, &stream(), new, event(2)).await;
    assert_eq!(error.unwrap_err().fault(), Some(Fault::Unavailable));
    assert_eq!(sound.read_all(&ctx, &stream()).await.unwrap().len(), 1);
    faulty
        .append_to(&ctx, &stream(), new, event(3))
        .await
        .unwrap();
    assert_eq!(sound.read_all(&ctx, &stream()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_fault_after_an_append_stores_it_and_names_the_commit() {
    let (faulty, sound) = with_faults(FaultPlan::after(1));
    let ctx = Context::new();
    let lost = faulty
        .append_to(&ctx, &stream(), ExpectedVersion::NEW, event(1))
        .await;
    let commit = lost.unwrap_err().unknown_commit().unwrap();
    let stored = sound.read_all(&ctx, &stream()).await.unwrap();
    assert_eq!(stored[0].commit_id, commit);
    let resolution = faulty.resolve(&ctx, commit).await.unwrap();
    assert!(matches!(resolution, Resolution::Committed(_)));
}

#[tokio::test]
async fn a_fault_after_an_append_that_conflicts_is_unknown_too() {
    let (faulty, _) = with_faults(FaultPlan::after(1));
    let ctx = Context::new();
    let lost = faulty
        .append_to(&ctx, &stream(), ExpectedVersion::Exists, event(1))
        .await;
    let commit = lost.unwrap_err().unknown_commit().unwrap();
    let resolution = faulty.resolve(&ctx, commit).await.unwrap();
    assert_eq!(resolution, Resolution::NotCommitted);
}

#[tokio::test]
async fn a_fault_of_a_read_is_unavailable() {
    for plan in [FaultPlan::before(1), FaultPlan::after(1)] {
        let (faulty, _) = with_faults(plan);
        let error = faulty.head(&Context::new(), &stream()).await.unwrap_err();
        assert_eq!(error.fault(), Some(Fault::Unavailable));
        assert_eq!(faulty.head(&Context::new(), &stream()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn repeating_until_it_is_known_stores_everything_once() {
    for seed in 0..20 {
        let (faulty, sound) = with_faults(FaultPlan::random(seed, 3));
        let ids = SequentialIds::new(seed);
        let ctx = Context::new();
        for n in 0..30 {
            let append = Append::new()
                .with_commit_id(CommitId::from_uuid(ids.next_uuid()))
                .write(stream(), Version::new(n), event(n));
            let stored = loop {
                match faulty.append(&ctx, append.clone()).await {
                    Ok(stored) => break stored,
                    Err(error) if error.unknown_commit().is_some() => {}
                    Err(error) if error.fault() == Some(Fault::Unavailable) => {}
                    Err(error) => panic!("seed {seed}: {error:?}"),
                }
            };
            assert_eq!(stored.heads[0].version, Version::new(n + 1));
        }
        let events = sound.read_all(&ctx, &stream()).await.unwrap();
        let numbers: Vec<u64> = events.iter().map(|e| e.json().unwrap()).collect();
        assert_eq!(numbers, (0..30).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[tokio::test]
async fn resolving_until_it_is_known_stores_everything_once() {
    for seed in 100..120 {
        let (faulty, sound) = with_faults(FaultPlan::random(seed, 3));
        let ctx = Context::new();
        for n in 0..30 {
            let mut commit = None;
            loop {
                if let Some(commit) = commit {
                    match faulty.resolve(&ctx, commit).await {
                        Ok(Resolution::Committed(_)) => break,
                        Ok(Resolution::NotCommitted) => {}
                        Err(_) => continue,
                    }
                }
                // A fresh commit, once it is known that the last one was not stored.
                let append = Append::new().write(stream(), Version::new(n), event(n));
                match faulty.append(&ctx, append).await {
                    Ok(_) => break,
                    Err(error) => commit = error.unknown_commit(),
                }
            }
        }
        let events = sound.read_all(&ctx, &stream()).await.unwrap();
        let numbers: Vec<u64> = events.iter().map(|e| e.json().unwrap()).collect();
        assert_eq!(numbers, (0..30).collect::<Vec<_>>(), "seed {seed}");
    }
}

async fn buckets(plan: FaultPlan) -> (Arc<dyn Bucket>, Arc<dyn Bucket>) {
    let store = MemoryStore::new();
    let name = BucketName::new("b").unwrap();
    let sound = store
        .bucket(&Context::new(), &name, BucketSettings::default())
        .await
        .unwrap();
    let layer = FaultLayer::new(plan, Arc::new(SystemIds));
    (layer.bucket(sound.clone()), sound)
}

#[tokio::test]
async fn a_fault_before_a_put_stores_nothing() {
    let (faulty, sound) = buckets(FaultPlan::before(1)).await;
    let (ctx, key) = (Context::new(), Key::new("k").unwrap());
    let options = WriteOptions::default();
    let error = faulty.put(&ctx, &key, "x".into(), options).await;
    assert_eq!(error.unwrap_err().fault(), Some(Fault::Unavailable));
    assert_eq!(sound.get(&ctx, &key).await.unwrap(), None);
}

#[tokio::test]
async fn a_fault_after_a_put_stores_it() {
    let (faulty, sound) = buckets(FaultPlan::after(1)).await;
    let (ctx, key) = (Context::new(), Key::new("k").unwrap());
    let options = WriteOptions::default();
    let error = faulty.put(&ctx, &key, "x".into(), options).await;
    assert_eq!(*error.unwrap_err().kind(), BucketErrorKind::Unknown);
    assert_eq!(sound.get(&ctx, &key).await.unwrap().unwrap().value, "x");
}

#[tokio::test]
async fn updating_until_it_is_known_counts_right() {
    for seed in 0..20 {
        let (faulty, sound) = buckets(FaultPlan::random(seed, 3)).await;
        let (ctx, key) = (Context::new(), Key::new("k").unwrap());
        let options = WriteOptions::default();
        let mut revision = sound.put(&ctx, &key, "0".into(), options).await.unwrap();
        for n in 1..=30 {
            loop {
                let next = n.to_string();
                let updated = faulty.update(&ctx, &key, next.into(), revision, options);
                if let Ok(updated) = updated.await {
                    revision = updated;
                    break;
                }
                // Whether it was stored can be seen.
                let entry = sound.get(&ctx, &key).await.unwrap().unwrap();
                if entry.revision > revision {
                    revision = entry.revision;
                    break;
                }
            }
        }
        let entry = sound.get(&ctx, &key).await.unwrap().unwrap();
        assert_eq!(entry.value, "30", "seed {seed}");
        assert_eq!(entry.revision, revision);
    }
}

#[tokio::test]
async fn all_ports_of_a_layer_count_together() {
    let layer = FaultLayer::new(FaultPlan::before(3), Arc::new(SystemIds));
    let store = layer.store(Arc::new(MemoryStore::new()));
    let ctx = Context::new();
    store.log().head(&ctx, &stream()).await.unwrap();
    let name = BucketName::new("b").unwrap();
    let settings = BucketSettings::default();
    let bucket = store.bucket(&ctx, &name, settings).await.unwrap();
    let error = bucket.get(&ctx, &Key::new("k").unwrap()).await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Unavailable));
    assert_eq!(layer.calls(), 3);
    store.close().await.unwrap();
}
