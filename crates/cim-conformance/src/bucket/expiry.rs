//! Values whose time to live is over are not there.

use std::time::Duration;

use cim_store::{
    BucketSettings, Fault, Operation, Revision, SubjectPattern, WatchFrom, WriteOptions,
};

use super::history::kept;
use super::listing::keys;
use crate::suite::CaseResult;
use crate::trial::{Trial, key, refused, revision_conflicts, take_changes, value};

pub(crate) const CONTRACT: &str = "Bucket: time to live";

const PLAIN: WriteOptions = WriteOptions { ttl: None };
const SHORT: Duration = Duration::from_secs(2);

/// Longer than [`SHORT`], so that adapters whose server has a clock of its own are past it too.
const PAST: Duration = Duration::from_secs(3);

fn short_lived() -> BucketSettings {
    BucketSettings::default().with_history(4).with_ttl(SHORT)
}

pub(crate) async fn a_value_is_gone_after_the_buckets_time_to_live(t: Trial) -> CaseResult {
    let bucket = t.bucket("b", short_lived()).await?;
    let k = key("k");
    bucket.put(&t.ctx, &k, value("one"), PLAIN).await?;
    let entry = bucket.get(&t.ctx, &k).await?.ok_or("nothing there")?;
    assert_eq!(
        entry.expires_at,
        Some(entry.stored_at.saturating_add(SHORT))
    );
    t.pass(PAST).await;
    assert_eq!(bucket.get(&t.ctx, &k).await?, None);
    assert_eq!(keys(&t, &bucket, ">").await?, [""; 0]);
    assert_eq!(kept(&*bucket, &t.ctx, &k).await?, []);
    Ok(())
}

pub(crate) async fn a_value_is_there_until_its_time_to_live_is_over(t: Trial) -> CaseResult {
    let bucket = t
        .bucket("b", BucketSettings::default().with_ttl(60 * SHORT))
        .await?;
    let k = key("k");
    bucket.put(&t.ctx, &k, value("one"), PLAIN).await?;
    t.pass(SHORT).await;
    assert!(bucket.get(&t.ctx, &k).await?.is_some());
    assert_eq!(keys(&t, &bucket, ">").await?, ["k"]);
    Ok(())
}

pub(crate) async fn a_key_can_have_a_time_to_live_of_its_own(t: Trial) -> CaseResult {
    let bucket = t.bucket("b", BucketSettings::default()).await?;
    let (short, long) = (key("short"), key("long"));
    let options = WriteOptions::ttl(SHORT);
    let put = bucket.put(&t.ctx, &short, value("x"), options).await;
    if !bucket.capabilities().key_ttl {
        refused(put, Fault::Unsupported);
        return Ok(());
    }
    put?;
    bucket.put(&t.ctx, &long, value("y"), PLAIN).await?;
    t.pass(PAST).await;
    assert_eq!(bucket.get(&t.ctx, &short).await?, None);
    assert_eq!(keys(&t, &bucket, ">").await?, ["long"]);
    Ok(())
}

pub(crate) async fn a_keys_own_time_to_live_overrides_the_buckets(t: Trial) -> CaseResult {
    let bucket = t.bucket("b", short_lived()).await?;
    if !bucket.capabilities().key_ttl {
        return Ok(());
    }
    let k = key("k");
    let longer = WriteOptions::ttl(60 * SHORT);
    bucket.put(&t.ctx, &k, value("x"), longer).await?;
    t.pass(PAST).await;
    let entry = bucket.get(&t.ctx, &k).await?.ok_or("nothing there")?;
    let end = entry.stored_at.saturating_add(60 * SHORT);
    assert_eq!(entry.expires_at, Some(end));
    Ok(())
}

pub(crate) async fn a_new_value_has_a_new_time_to_live(t: Trial) -> CaseResult {
    let bucket = t.bucket("b", short_lived()).await?;
    let k = key("k");
    let mut revision = bucket.put(&t.ctx, &k, value("0"), PLAIN).await?;
    for n in 1..4 {
        t.pass(SHORT / 2).await;
        let next = value(&n.to_string());
        revision = bucket.update(&t.ctx, &k, next, revision, PLAIN).await?;
    }
    assert!(bucket.get(&t.ctx, &k).await?.is_some());
    t.pass(PAST).await;
    assert_eq!(bucket.get(&t.ctx, &k).await?, None);
    Ok(())
}

pub(crate) async fn a_key_can_be_created_after_its_value_expired(t: Trial) -> CaseResult {
    let bucket = t.bucket("b", short_lived()).await?;
    let k = key("k");
    let first = bucket.create(&t.ctx, &k, value("one"), PLAIN).await?;
    let again = bucket.create(&t.ctx, &k, value("two"), PLAIN).await;
    revision_conflicts(again, &k, Revision::NONE, first);
    t.pass(PAST).await;
    let second = bucket.create(&t.ctx, &k, value("two"), PLAIN).await?;
    assert!(second > first);
    let history = kept(&*bucket, &t.ctx, &k).await?;
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].value, value("two"));
    Ok(())
}

pub(crate) async fn update_of_an_expired_value_conflicts(t: Trial) -> CaseResult {
    let bucket = t.bucket("b", short_lived()).await?;
    let k = key("k");
    let put = bucket.put(&t.ctx, &k, value("one"), PLAIN).await?;
    t.pass(PAST).await;
    let late = bucket.update(&t.ctx, &k, value("two"), put, PLAIN).await;
    revision_conflicts(late, &k, put, Revision::NONE);
    let late = bucket.delete(&t.ctx, &k, Some(put)).await;
    revision_conflicts(late, &k, put, Revision::NONE);
    Ok(())
}

pub(crate) async fn an_older_value_does_not_come_back_when_a_newer_one_expires(
    t: Trial,
) -> CaseResult {
    let settings = BucketSettings::default().with_history(4);
    let bucket = t.bucket("b", settings).await?;
    if !bucket.capabilities().key_ttl {
        return Ok(());
    }
    let k = key("k");
    bucket.put(&t.ctx, &k, value("for ever"), PLAIN).await?;
    let options = WriteOptions::ttl(SHORT);
    bucket.put(&t.ctx, &k, value("short"), options).await?;
    t.pass(PAST).await;
    assert_eq!(bucket.get(&t.ctx, &k).await?, None);
    assert_eq!(keys(&t, &bucket, ">").await?, [""; 0]);
    Ok(())
}

pub(crate) async fn watchers_see_the_end_of_a_time_to_live_as_a_purge(t: Trial) -> CaseResult {
    let bucket = t.bucket("b", short_lived()).await?;
    let k = key("k");
    let all = SubjectPattern::all();
    let mut watch = bucket.watch(&t.ctx, &all, WatchFrom::Now).await?;
    let put = bucket.put(&t.ctx, &k, value("one"), PLAIN).await?;
    assert_eq!(take_changes(&mut watch, 1).await?[0].revision, put);
    t.pass(PAST).await;
    let end = take_changes(&mut watch, 1).await?;
    assert_eq!(end[0].operation, Operation::Purge);
    assert_eq!(end[0].key, k);
    assert!(end[0].value.is_empty());
    assert!(end[0].revision > put);
    // Once, and then what comes after it.
    let next = bucket.put(&t.ctx, &k, value("two"), PLAIN).await?;
    assert!(next > end[0].revision);
    assert_eq!(take_changes(&mut watch, 1).await?[0].revision, next);
    Ok(())
}

pub(crate) async fn a_watcher_that_waits_is_woken_by_the_end_of_a_time_to_live(
    t: Trial,
) -> CaseResult {
    let bucket = t.bucket("b", short_lived()).await?;
    let k = key("k");
    bucket.put(&t.ctx, &k, value("one"), PLAIN).await?;
    let all = SubjectPattern::all();
    let mut watch = bucket.watch(&t.ctx, &all, WatchFrom::Current).await?;
    let waiting = tokio::spawn(async move { take_changes(&mut watch, 2).await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    t.pass(PAST).await;
    let seen = waiting.await??;
    assert_eq!(seen[0].operation, Operation::Put);
    assert_eq!(seen[1].operation, Operation::Purge);
    Ok(())
}

pub(crate) async fn times_to_live_hold_after_reopening(t: Trial) -> CaseResult {
    let k = key("k");
    let bucket = t.bucket("b", short_lived()).await?;
    bucket.put(&t.ctx, &k, value("one"), PLAIN).await?;
    let before = bucket.get(&t.ctx, &k).await?;
    drop(bucket);
    let Some(t) = t.reopen().await? else {
        return Ok(());
    };
    let bucket = t.bucket("b", short_lived()).await?;
    assert_eq!(bucket.get(&t.ctx, &k).await?, before);
    t.pass(PAST).await;
    assert_eq!(bucket.get(&t.ctx, &k).await?, None);
    drop(bucket);
    let Some(t) = t.reopen().await? else {
        return Ok(());
    };
    let bucket = t.bucket("b", short_lived()).await?;
    assert_eq!(bucket.get(&t.ctx, &k).await?, None);
    assert_eq!(keys(&t, &bucket, ">").await?, [""; 0]);
    Ok(())
}

pub(crate) async fn a_time_to_live_that_ended_while_closed_has_ended(t: Trial) -> CaseResult {
    let k = key("k");
    let bucket = t.bucket("b", short_lived()).await?;
    let put = bucket.put(&t.ctx, &k, value("one"), PLAIN).await?;
    drop(bucket);
    t.store.close().await?;
    t.pass(PAST).await;
    let Some(t) = t.reopen().await? else {
        return Ok(());
    };
    let bucket = t.bucket("b", short_lived()).await?;
    assert_eq!(bucket.get(&t.ctx, &k).await?, None);
    let created = bucket.create(&t.ctx, &k, value("two"), PLAIN).await?;
    assert!(created > put);
    Ok(())
}
