//! Of two writers one wins.

use std::sync::Arc;

use cim_store::{Bucket, BucketError, BucketSettings, Revision, WriteOptions};
use tokio::sync::Barrier;

use crate::suite::{CaseFailure, CaseResult};
use crate::trial::{Trial, key, revision_conflicts, value};

pub(crate) const CONTRACT: &str = "Bucket: one winner";

const PLAIN: WriteOptions = WriteOptions { ttl: None };

/// Lets so many writers try at once, `expected` as they all see it (0: create). Gives the revision
/// of the one that won.
async fn race(
    t: &Trial,
    bucket: &Arc<dyn Bucket>,
    name: &str,
    expected: Revision,
    writers: usize,
) -> Result<Revision, CaseFailure> {
    let start = Arc::new(Barrier::new(writers));
    let mut running = Vec::new();
    for writer in 0..writers {
        let (bucket, ctx, start) = (bucket.clone(), t.ctx.clone(), start.clone());
        let (k, value) = (key(name), value(&writer.to_string()));
        running.push(tokio::spawn(async move {
            start.wait().await;
            if expected == Revision::NONE {
                bucket.create(&ctx, &k, value, PLAIN).await
            } else {
                bucket.update(&ctx, &k, value, expected, PLAIN).await
            }
        }));
    }
    let (mut won, mut lost) = (Vec::new(), Vec::new());
    for (writer, task) in running.into_iter().enumerate() {
        match task.await? {
            Ok(revision) => won.push((writer, revision)),
            Err(error) => lost.push(error),
        }
    }
    let [(winner, revision)] = won[..] else {
        return Err(format!("winners: {won:?}").into());
    };
    for error in lost {
        revision_conflicts::<()>(Err(error), &key(name), expected, revision);
    }
    let entry = bucket.get(&t.ctx, &key(name)).await?;
    let entry = entry.ok_or("nothing there")?;
    assert_eq!(entry.revision, revision);
    assert_eq!(entry.value, value(&winner.to_string()));
    Ok(revision)
}

pub(crate) async fn of_two_creators_of_a_key_one_wins(t: Trial) -> CaseResult {
    let bucket = t.bucket("b", BucketSettings::default()).await?;
    for round in 0..100 {
        race(&t, &bucket, &format!("k{round}"), Revision::NONE, 2).await?;
    }
    Ok(())
}

pub(crate) async fn of_two_updates_from_a_revision_one_wins(t: Trial) -> CaseResult {
    let bucket = t.bucket("b", BucketSettings::default()).await?;
    let mut revision = bucket.put(&t.ctx, &key("k"), value("x"), PLAIN).await?;
    for _ in 0..100 {
        revision = race(&t, &bucket, "k", revision, 2).await?;
    }
    Ok(())
}

pub(crate) async fn of_many_updates_from_a_revision_one_wins(t: Trial) -> CaseResult {
    let bucket = t.bucket("b", BucketSettings::default()).await?;
    let mut revision = bucket.put(&t.ctx, &key("k"), value("x"), PLAIN).await?;
    for _ in 0..10 {
        revision = race(&t, &bucket, "k", revision, 16).await?;
    }
    Ok(())
}

pub(crate) async fn counting_up_by_updates_loses_no_count(t: Trial) -> CaseResult {
    let bucket = t.bucket("b", BucketSettings::default()).await?;
    bucket.put(&t.ctx, &key("k"), value("0"), PLAIN).await?;
    let mut running = Vec::new();
    for _ in 0..8 {
        let (bucket, ctx) = (bucket.clone(), t.ctx.clone());
        running.push(tokio::spawn(async move {
            for _ in 0..10 {
                loop {
                    let Some(entry) = bucket.get(&ctx, &key("k")).await? else {
                        return Err(BucketError::not_found("the counter"));
                    };
                    let count: u64 = String::from_utf8_lossy(&entry.value)
                        .parse()
                        .map_err(|_| BucketError::integrity("the count"))?;
                    let next = value(&(count + 1).to_string());
                    let revision = entry.revision;
                    tokio::task::yield_now().await; // so that others write in between
                    match bucket.update(&ctx, &key("k"), next, revision, PLAIN).await {
                        Ok(_) => break,
                        Err(error) if error.is_conflict() => tokio::task::yield_now().await,
                        Err(error) => return Err(error),
                    }
                }
            }
            Ok(())
        }));
    }
    for task in running {
        task.await??;
    }
    let entry = bucket.get(&t.ctx, &key("k")).await?;
    assert_eq!(entry.ok_or("nothing there")?.value, value("80"));
    Ok(())
}
