//! Opening buckets, reopening and closing the store, and deadlines.

use std::time::Duration;

use cim_store::{
    BucketName, BucketSettings, Context, Fault, Revision, SubjectPattern, WatchFrom, WriteOptions,
};

use super::history::kept;
use super::listing::keys;
use crate::suite::CaseResult;
use crate::trial::{Trial, key, refused, take_changes, value};

pub(crate) const CONTRACT: &str = "Bucket: opening and closing";

const PLAIN: WriteOptions = WriteOptions { ttl: None };

pub(crate) async fn a_bucket_opened_twice_is_the_same_bucket(t: Trial) -> CaseResult {
    let settings = BucketSettings::default().with_history(3);
    let one = t.bucket("b", settings).await?;
    let other = t.bucket("b", settings).await?;
    assert_eq!(other.settings(), settings);
    let put = one.put(&t.ctx, &key("k"), value("x"), PLAIN).await?;
    let entry = other.get(&t.ctx, &key("k")).await?;
    assert_eq!(entry.ok_or("nothing there")?.revision, put);
    Ok(())
}

pub(crate) async fn a_bucket_with_other_settings_is_invalid(t: Trial) -> CaseResult {
    let settings = BucketSettings::default().with_history(3);
    let bucket = t.bucket("b", settings).await?;
    bucket.put(&t.ctx, &key("k"), value("x"), PLAIN).await?;
    let name = BucketName::new("b")?;
    for other in [
        BucketSettings::default(),
        settings.with_history(4),
        settings.with_ttl(Duration::from_secs(60)),
    ] {
        let refusal = t.store.bucket(&t.ctx, &name, other).await;
        refused(refusal, Fault::Invalid);
    }
    assert!(bucket.get(&t.ctx, &key("k")).await?.is_some());
    Ok(())
}

pub(crate) async fn settings_out_of_range_are_invalid(t: Trial) -> CaseResult {
    let name = BucketName::new("b")?;
    for settings in [
        BucketSettings::default().with_history(0),
        BucketSettings::default().with_history(BucketSettings::MAX_HISTORY + 1),
        BucketSettings::default().with_ttl(Duration::from_millis(1)),
    ] {
        refused(
            t.store.bucket(&t.ctx, &name, settings).await,
            Fault::Invalid,
        );
    }
    assert_eq!(t.store.buckets(&t.ctx).await?, []);
    Ok(())
}

pub(crate) async fn buckets_are_listed_by_name(t: Trial) -> CaseResult {
    let deep = BucketSettings::default().with_history(7);
    for (name, settings) in [
        ("b", BucketSettings::default()),
        ("c", BucketSettings::default()),
        ("a", deep),
    ] {
        t.bucket(name, settings).await?;
    }
    let listed = t.store.buckets(&t.ctx).await?;
    let names: Vec<_> = listed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(listed[0].1, deep);
    Ok(())
}

pub(crate) async fn a_bucket_keeps_everything_when_reopened(t: Trial) -> CaseResult {
    let settings = BucketSettings::default().with_history(3);
    let bucket = t.bucket("b", settings).await?;
    let k = key("k");
    for n in 0..5 {
        let value = value(&n.to_string());
        bucket.put(&t.ctx, &k, value, PLAIN).await?;
    }
    bucket.put(&t.ctx, &key("gone"), value("x"), PLAIN).await?;
    bucket.delete(&t.ctx, &key("gone"), None).await?;
    bucket
        .put(&t.ctx, &key("purged"), value("x"), PLAIN)
        .await?;
    let last = bucket.purge(&t.ctx, &key("purged"), None).await?;
    let before = (
        bucket.get(&t.ctx, &k).await?,
        kept(&*bucket, &t.ctx, &k).await?,
        kept(&*bucket, &t.ctx, &key("gone")).await?,
        kept(&*bucket, &t.ctx, &key("purged")).await?,
    );
    drop(bucket);
    let Some(t) = t.reopen().await? else {
        return Ok(());
    };
    let name = BucketName::new("b")?;
    assert_eq!(t.store.buckets(&t.ctx).await?, [(name.clone(), settings)]);
    let other = settings.with_history(9);
    refused(t.store.bucket(&t.ctx, &name, other).await, Fault::Invalid);
    let bucket = t.bucket("b", settings).await?;
    let after = (
        bucket.get(&t.ctx, &k).await?,
        kept(&*bucket, &t.ctx, &k).await?,
        kept(&*bucket, &t.ctx, &key("gone")).await?,
        kept(&*bucket, &t.ctx, &key("purged")).await?,
    );
    assert_eq!(after, before);
    assert_eq!(keys(&t, &bucket, ">").await?, ["k"]);
    let next = bucket.put(&t.ctx, &k, value("5"), PLAIN).await?;
    assert!(next > last, "{next} after {last}");
    Ok(())
}

pub(crate) async fn a_watch_goes_on_after_reopening(t: Trial) -> CaseResult {
    let settings = BucketSettings::default().with_history(9);
    let bucket = t.bucket("b", settings).await?;
    let mut revisions = Vec::new();
    for n in 0..5 {
        let value = value(&n.to_string());
        revisions.push(bucket.put(&t.ctx, &key("k"), value, PLAIN).await?);
    }
    drop(bucket);
    let Some(t) = t.reopen().await? else {
        return Ok(());
    };
    let bucket = t.bucket("b", settings).await?;
    let from = WatchFrom::After(revisions[1]);
    let all = SubjectPattern::all();
    let mut watch = bucket.watch(&t.ctx, &all, from).await?;
    revisions.push(bucket.put(&t.ctx, &key("k"), value("5"), PLAIN).await?);
    let seen = take_changes(&mut watch, 4).await?;
    let found: Vec<_> = seen.iter().map(|e| e.revision).collect();
    assert_eq!(found, revisions[2..]);
    Ok(())
}

pub(crate) async fn every_operation_of_a_closed_bucket_is_refused(t: Trial) -> CaseResult {
    let bucket = t.bucket("b", BucketSettings::default()).await?;
    let (k, all) = (key("k"), SubjectPattern::all());
    let put = bucket.put(&t.ctx, &k, value("x"), PLAIN).await?;
    t.store.close().await?;
    let fault = Fault::Closed;
    let ctx = &t.ctx;
    refused(bucket.get(ctx, &k).await, fault);
    refused(bucket.put(ctx, &k, value("y"), PLAIN).await, fault);
    refused(bucket.create(ctx, &k, value("y"), PLAIN).await, fault);
    refused(bucket.update(ctx, &k, value("y"), put, PLAIN).await, fault);
    refused(bucket.delete(ctx, &k, None).await, fault);
    refused(bucket.purge(ctx, &k, None).await, fault);
    refused(bucket.keys(ctx, &all).await.map(|_| ()), fault);
    refused(bucket.entries(ctx, &all).await.map(|_| ()), fault);
    refused(bucket.history(ctx, &k).await, fault);
    let watch = bucket.watch(ctx, &all, WatchFrom::Now).await;
    refused(watch.map(|_| ()), fault);
    let name = BucketName::new("c")?;
    let opened = t.store.bucket(ctx, &name, BucketSettings::default()).await;
    refused(opened, fault);
    refused(t.store.buckets(ctx).await, fault);
    Ok(())
}

pub(crate) async fn every_operation_of_a_bucket_after_its_deadline_is_unavailable(
    t: Trial,
) -> CaseResult {
    let bucket = t.bucket("b", BucketSettings::default()).await?;
    let (k, all) = (key("k"), SubjectPattern::all());
    let put = bucket.put(&t.ctx, &k, value("x"), PLAIN).await?;
    let late = Context::new().with_deadline(cim_store::Clock::monotonic(&t.clock));
    let (fault, ctx) = (Fault::Unavailable, &late);
    refused(bucket.get(ctx, &k).await, fault);
    refused(bucket.put(ctx, &k, value("y"), PLAIN).await, fault);
    let created = bucket.create(ctx, &key("new"), value("y"), PLAIN).await;
    refused(created, fault);
    refused(bucket.update(ctx, &k, value("y"), put, PLAIN).await, fault);
    refused(bucket.delete(ctx, &k, None).await, fault);
    refused(bucket.purge(ctx, &k, None).await, fault);
    refused(bucket.keys(ctx, &all).await.map(|_| ()), fault);
    refused(bucket.entries(ctx, &all).await.map(|_| ()), fault);
    refused(bucket.history(ctx, &k).await, fault);
    let watch = bucket.watch(ctx, &all, WatchFrom::Now).await;
    refused(watch.map(|_| ()), fault);
    // Nothing of it was stored.
    let entry = bucket.get(&t.ctx, &k).await?.ok_or("nothing there")?;
    assert_eq!((entry.value, entry.revision), (value("x"), put));
    assert_eq!(bucket.get(&t.ctx, &key("new")).await?, None);
    assert!(put > Revision::NONE);
    Ok(())
}
