//! A watch delivers every change after its start exactly once, in order.

use std::sync::Arc;

use cim_store::{
    Bucket, BucketError, BucketSettings, Entry, Fault, Operation, Revision, SubjectPattern,
    WatchFrom, WriteOptions,
};
use futures_util::StreamExt;

use crate::suite::{CaseFailure, CaseResult};
use crate::trial::{Trial, key, refused, take_changes, value};

pub(crate) const CONTRACT: &str = "Bucket: watching";

const PLAIN: WriteOptions = WriteOptions { ttl: None };

async fn deep(t: &Trial) -> Result<Arc<dyn Bucket>, CaseFailure> {
    let settings = BucketSettings::default().with_history(BucketSettings::MAX_HISTORY);
    t.bucket("watched", settings).await
}

fn shown(entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .map(|e| match e.operation {
            Operation::Put => format!("{}={}", e.key, String::from_utf8_lossy(&e.value)),
            other => format!("{} {other:?}", e.key),
        })
        .collect()
}

pub(crate) async fn a_watch_from_now_delivers_what_changes(t: Trial) -> CaseResult {
    let bucket = deep(&t).await?;
    let (a, b) = (key("a"), key("b"));
    bucket.put(&t.ctx, &a, value("0"), PLAIN).await?;
    let all = SubjectPattern::all();
    let mut watch = bucket.watch(&t.ctx, &all, WatchFrom::Now).await?;
    bucket.put(&t.ctx, &a, value("1"), PLAIN).await?;
    bucket.create(&t.ctx, &b, value("2"), PLAIN).await?;
    bucket.delete(&t.ctx, &a, None).await?;
    bucket.put(&t.ctx, &a, value("3"), PLAIN).await?;
    let seen = take_changes(&mut watch, 4).await?;
    assert_eq!(shown(&seen), ["a=1", "b=2", "a Delete", "a=3"]);
    bucket.purge(&t.ctx, &a, None).await?;
    let purge = take_changes(&mut watch, 1).await?;
    assert_eq!(shown(&purge), ["a Purge"]);
    Ok(())
}

pub(crate) async fn a_watch_from_the_present_begins_with_the_values(t: Trial) -> CaseResult {
    let bucket = deep(&t).await?;
    for name in ["a", "b", "c", "d", "e"] {
        bucket.put(&t.ctx, &key(name), value("0"), PLAIN).await?;
    }
    bucket.put(&t.ctx, &key("a"), value("1"), PLAIN).await?;
    bucket.delete(&t.ctx, &key("b"), None).await?;
    bucket.purge(&t.ctx, &key("d"), None).await?;
    let all = SubjectPattern::all();
    let mut watch = bucket.watch(&t.ctx, &all, WatchFrom::Current).await?;
    bucket.put(&t.ctx, &key("b"), value("2"), PLAIN).await?;
    let seen = take_changes(&mut watch, 4).await?;
    assert_eq!(shown(&seen), ["c=0", "e=0", "a=1", "b=2"]);
    Ok(())
}

pub(crate) async fn a_watch_after_a_revision_begins_with_what_is_kept(t: Trial) -> CaseResult {
    let bucket = deep(&t).await?;
    let mut revisions = Vec::new();
    for n in 0..6 {
        let name = key(["a", "b"][n % 2]);
        let value = value(&n.to_string());
        revisions.push(bucket.put(&t.ctx, &name, value, PLAIN).await?);
    }
    let all = SubjectPattern::all();
    for n in 0..6 {
        let from = WatchFrom::After(revisions[n]);
        let mut watch = bucket.watch(&t.ctx, &all, from).await?;
        let seen = take_changes(&mut watch, 5 - n).await?;
        let found: Vec<_> = seen.iter().map(|e| e.revision).collect();
        assert_eq!(found, revisions[n + 1..]);
    }
    let from = WatchFrom::After(Revision::NONE);
    let mut watch = bucket.watch(&t.ctx, &all, from).await?;
    bucket.put(&t.ctx, &key("c"), value("6"), PLAIN).await?;
    let seen = take_changes(&mut watch, 7).await?;
    assert_eq!(
        shown(&seen),
        ["a=0", "b=1", "a=2", "b=3", "a=4", "b=5", "c=6"]
    );
    Ok(())
}

pub(crate) async fn a_watch_delivers_only_keys_that_match(t: Trial) -> CaseResult {
    let bucket = deep(&t).await?;
    let pattern = SubjectPattern::new("eu.*")?;
    bucket.put(&t.ctx, &key("eu.a"), value("0"), PLAIN).await?;
    bucket.put(&t.ctx, &key("us.a"), value("0"), PLAIN).await?;
    let mut watch = bucket.watch(&t.ctx, &pattern, WatchFrom::Current).await?;
    for name in ["us.b", "eu.b", "eu.b.c", "eu", "eu.c"] {
        bucket.put(&t.ctx, &key(name), value("1"), PLAIN).await?;
    }
    let seen = take_changes(&mut watch, 3).await?;
    assert_eq!(shown(&seen), ["eu.a=0", "eu.b=1", "eu.c=1"]);
    Ok(())
}

pub(crate) async fn a_watch_sees_each_change_of_concurrent_writers_once(t: Trial) -> CaseResult {
    const WRITERS: usize = 4;
    const CHANGES: usize = 60;
    let bucket = deep(&t).await?;
    let all = SubjectPattern::all();
    let mut watchers = Vec::new();
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        // Begun at different moments; whatever was before is kept, so all see the same.
        let from = WatchFrom::After(Revision::NONE);
        let mut watch = bucket.watch(&t.ctx, &all, from).await?;
        watchers.push(tokio::spawn(async move {
            take_changes(&mut watch, WRITERS * CHANGES).await
        }));
        let (bucket, ctx) = (bucket.clone(), t.ctx.clone());
        writers.push(tokio::spawn(async move {
            let mut revisions = Vec::new();
            for n in 0..CHANGES {
                let value = value(&n.to_string());
                let name = key(&format!("w{writer}"));
                revisions.push(bucket.put(&ctx, &name, value, PLAIN).await?);
            }
            Ok::<_, BucketError>(revisions)
        }));
        tokio::task::yield_now().await;
    }
    let mut written = Vec::new();
    for writer in writers {
        written.extend(writer.await??);
    }
    written.sort_unstable();
    assert!(written.windows(2).all(|w| w[0] < w[1]));
    for watcher in watchers {
        let seen = watcher.await??;
        let found: Vec<_> = seen.iter().map(|e| e.revision).collect();
        assert_eq!(found, written);
    }
    Ok(())
}

pub(crate) async fn a_watch_goes_on_from_the_last_revision_seen(t: Trial) -> CaseResult {
    let bucket = deep(&t).await?;
    let all = SubjectPattern::all();
    let (mut seen, mut after) = (Vec::new(), Revision::NONE);
    for n in 0..50_usize {
        let value = value(&n.to_string());
        bucket.put(&t.ctx, &key("k"), value, PLAIN).await?;
        if n % 7 == 6 {
            let from = WatchFrom::After(after);
            let mut watch = bucket.watch(&t.ctx, &all, from).await?;
            seen.extend(take_changes(&mut watch, 7).await?);
            after = seen.last().map_or(after, |e| e.revision);
        }
    }
    let expected: Vec<_> = (0..49).map(|n| format!("k={n}")).collect();
    assert_eq!(shown(&seen), expected);
    Ok(())
}

pub(crate) async fn a_waiting_watch_is_woken(t: Trial) -> CaseResult {
    let bucket = deep(&t).await?;
    let all = SubjectPattern::all();
    let mut watch = bucket.watch(&t.ctx, &all, WatchFrom::Current).await?;
    let waiting = tokio::spawn(async move { take_changes(&mut watch, 1).await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    bucket.put(&t.ctx, &key("k"), value("1"), PLAIN).await?;
    assert_eq!(shown(&waiting.await??), ["k=1"]);
    Ok(())
}

pub(crate) async fn a_watch_skips_only_what_history_no_longer_keeps(t: Trial) -> CaseResult {
    // One value of each key is kept, so an idle watcher may miss values that were overwritten;
    // but it sees the last one of each key, and never goes back.
    let bucket = t.bucket("shallow", BucketSettings::default()).await?;
    let all = SubjectPattern::all();
    let mut watch = bucket.watch(&t.ctx, &all, WatchFrom::Now).await?;
    let mut last = Revision::NONE;
    for n in 0..100 {
        for name in ["a", "b"] {
            let value = value(&n.to_string());
            last = bucket.put(&t.ctx, &key(name), value, PLAIN).await?;
        }
    }
    let mut seen: Vec<Entry> = Vec::new();
    while seen.last().is_none_or(|e| e.revision < last) {
        seen.extend(take_changes(&mut watch, 1).await?);
    }
    assert!(seen.windows(2).all(|w| w[0].revision < w[1].revision));
    let shown = shown(&seen);
    assert_eq!(shown[shown.len() - 2..], ["a=99", "b=99"]);
    Ok(())
}

pub(crate) async fn a_change_that_conflicts_is_not_seen(t: Trial) -> CaseResult {
    let bucket = deep(&t).await?;
    let all = SubjectPattern::all();
    let mut watch = bucket.watch(&t.ctx, &all, WatchFrom::Now).await?;
    let k = key("k");
    bucket.create(&t.ctx, &k, value("1"), PLAIN).await?;
    let lost = bucket.create(&t.ctx, &k, value("2"), PLAIN).await;
    assert!(lost.is_err());
    bucket.put(&t.ctx, &k, value("3"), PLAIN).await?;
    assert_eq!(shown(&take_changes(&mut watch, 2).await?), ["k=1", "k=3"]);
    Ok(())
}

pub(crate) async fn a_watch_ends_with_closed_when_the_store_is_closed(t: Trial) -> CaseResult {
    let bucket = deep(&t).await?;
    let all = SubjectPattern::all();
    let mut watch = bucket.watch(&t.ctx, &all, WatchFrom::Now).await?;
    let waiting = tokio::spawn(async move {
        let end = watch.next().await;
        (end, watch.next().await.is_none())
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    t.store.close().await?;
    let (end, nothing_follows) = waiting.await?;
    refused(end.ok_or("it ended without an error")?, Fault::Closed);
    assert!(nothing_follows);
    Ok(())
}
