//! Putting, getting, creating, updating, deleting and purging values.

use std::sync::Arc;

use cim_store::{
    Bucket, BucketSettings, Fault, LimitName, Limits, Operation, Revision, WriteOptions,
};

use crate::suite::{CaseFailure, CaseResult};
use crate::trial::{START, Trial, key, revision_conflicts, too_large, value};

pub(crate) const CONTRACT: &str = "Bucket: values and revisions";

const PLAIN: WriteOptions = WriteOptions { ttl: None };

async fn plain(t: &Trial) -> Result<Arc<dyn Bucket>, CaseFailure> {
    t.bucket("things", BucketSettings::default()).await
}

pub(crate) async fn a_value_that_was_put_can_be_got(t: Trial) -> CaseResult {
    let bucket = plain(&t).await?;
    let k = key("a.b/c=x-y_z");
    assert_eq!(bucket.get(&t.ctx, &k).await?, None);
    let revision = bucket.put(&t.ctx, &k, value("one"), PLAIN).await?;
    let entry = bucket.get(&t.ctx, &k).await?.ok_or("nothing there")?;
    assert_eq!(entry.key, k);
    assert_eq!(entry.value, value("one"));
    assert_eq!(entry.revision, revision);
    assert_eq!(entry.operation, Operation::Put);
    assert!(entry.stored_at >= START);
    assert_eq!(entry.expires_at, None);
    Ok(())
}

pub(crate) async fn a_value_can_be_put_over_another(t: Trial) -> CaseResult {
    let bucket = plain(&t).await?;
    let k = key("k");
    bucket.put(&t.ctx, &k, value("one"), PLAIN).await?;
    let second = bucket.put(&t.ctx, &k, value("two"), PLAIN).await?;
    let entry = bucket.get(&t.ctx, &k).await?.ok_or("nothing there")?;
    assert_eq!((entry.value, entry.revision), (value("two"), second));
    Ok(())
}

pub(crate) async fn an_empty_value_is_a_value(t: Trial) -> CaseResult {
    let bucket = plain(&t).await?;
    bucket.put(&t.ctx, &key("k"), value(""), PLAIN).await?;
    let entry = bucket.get(&t.ctx, &key("k")).await?;
    let entry = entry.ok_or("nothing there")?;
    assert_eq!(entry.operation, Operation::Put);
    assert!(entry.value.is_empty());
    Ok(())
}

pub(crate) async fn every_change_increases_the_revision(t: Trial) -> CaseResult {
    let bucket = plain(&t).await?;
    let (a, b) = (key("a"), key("b"));
    let mut revisions = vec![
        bucket.put(&t.ctx, &a, value("1"), PLAIN).await?,
        bucket.create(&t.ctx, &b, value("2"), PLAIN).await?,
        bucket.put(&t.ctx, &a, value("3"), PLAIN).await?,
    ];
    let last = revisions[2];
    revisions.push(bucket.update(&t.ctx, &a, value("4"), last, PLAIN).await?);
    revisions.push(bucket.delete(&t.ctx, &b, None).await?);
    revisions.push(bucket.purge(&t.ctx, &a, None).await?);
    revisions.push(bucket.create(&t.ctx, &a, value("5"), PLAIN).await?);
    assert!(revisions[0] > Revision::NONE);
    assert!(revisions.windows(2).all(|w| w[0] < w[1]), "{revisions:?}");
    Ok(())
}

pub(crate) async fn a_key_that_has_a_value_can_not_be_created(t: Trial) -> CaseResult {
    let bucket = plain(&t).await?;
    let k = key("k");
    let first = bucket.create(&t.ctx, &k, value("one"), PLAIN).await?;
    let again = bucket.create(&t.ctx, &k, value("two"), PLAIN).await;
    revision_conflicts(again, &k, Revision::NONE, first);
    let entry = bucket.get(&t.ctx, &k).await?.ok_or("nothing there")?;
    assert_eq!((entry.value, entry.revision), (value("one"), first));
    Ok(())
}

pub(crate) async fn a_key_can_be_created_after_it_was_deleted(t: Trial) -> CaseResult {
    let bucket = plain(&t).await?;
    let k = key("k");
    bucket.create(&t.ctx, &k, value("one"), PLAIN).await?;
    let deleted = bucket.delete(&t.ctx, &k, None).await?;
    let created = bucket.create(&t.ctx, &k, value("two"), PLAIN).await?;
    assert!(created > deleted);
    let entry = bucket.get(&t.ctx, &k).await?.ok_or("nothing there")?;
    assert_eq!(entry.value, value("two"));
    Ok(())
}

pub(crate) async fn a_key_can_be_created_after_it_was_purged(t: Trial) -> CaseResult {
    let bucket = plain(&t).await?;
    let k = key("k");
    bucket.create(&t.ctx, &k, value("one"), PLAIN).await?;
    let purged = bucket.purge(&t.ctx, &k, None).await?;
    let created = bucket.create(&t.ctx, &k, value("two"), PLAIN).await?;
    assert!(created > purged);
    let entry = bucket.get(&t.ctx, &k).await?.ok_or("nothing there")?;
    assert_eq!(entry.value, value("two"));
    Ok(())
}

pub(crate) async fn update_from_the_right_revision_succeeds(t: Trial) -> CaseResult {
    let bucket = plain(&t).await?;
    let k = key("k");
    let mut revision = bucket.put(&t.ctx, &k, value("0"), PLAIN).await?;
    for n in 1..5 {
        let next = value(&n.to_string());
        revision = bucket.update(&t.ctx, &k, next, revision, PLAIN).await?;
    }
    let entry = bucket.get(&t.ctx, &k).await?.ok_or("nothing there")?;
    assert_eq!((entry.value, entry.revision), (value("4"), revision));
    Ok(())
}

pub(crate) async fn update_from_a_stale_revision_conflicts(t: Trial) -> CaseResult {
    let bucket = plain(&t).await?;
    let k = key("k");
    let first = bucket.put(&t.ctx, &k, value("one"), PLAIN).await?;
    let second = bucket.put(&t.ctx, &k, value("two"), PLAIN).await?;
    let stale = bucket.update(&t.ctx, &k, value("x"), first, PLAIN).await;
    revision_conflicts(stale, &k, first, second);
    let future = Revision::new(second.get() + 1);
    let early = bucket.update(&t.ctx, &k, value("x"), future, PLAIN).await;
    revision_conflicts(early, &k, future, second);
    let entry = bucket.get(&t.ctx, &k).await?.ok_or("nothing there")?;
    assert_eq!((entry.value, entry.revision), (value("two"), second));
    Ok(())
}

pub(crate) async fn update_of_a_key_without_a_value_conflicts(t: Trial) -> CaseResult {
    let bucket = plain(&t).await?;
    let k = key("k");
    let one = Revision::new(1);
    let missing = bucket.update(&t.ctx, &k, value("x"), one, PLAIN).await;
    revision_conflicts(missing, &k, one, Revision::NONE);
    let put = bucket.put(&t.ctx, &k, value("one"), PLAIN).await?;
    bucket.delete(&t.ctx, &k, None).await?;
    let deleted = bucket.update(&t.ctx, &k, value("x"), put, PLAIN).await;
    revision_conflicts(deleted, &k, put, Revision::NONE);
    assert_eq!(bucket.get(&t.ctx, &k).await?, None);
    Ok(())
}

pub(crate) async fn delete_takes_the_value_away(t: Trial) -> CaseResult {
    let bucket = plain(&t).await?;
    let k = key("k");
    bucket.put(&t.ctx, &k, value("one"), PLAIN).await?;
    bucket.delete(&t.ctx, &k, None).await?;
    assert_eq!(bucket.get(&t.ctx, &k).await?, None);
    Ok(())
}

pub(crate) async fn a_key_without_a_value_may_be_deleted(t: Trial) -> CaseResult {
    let bucket = plain(&t).await?;
    let k = key("k");
    let first = bucket.delete(&t.ctx, &k, None).await?;
    let second = bucket.delete(&t.ctx, &k, None).await?;
    assert!(second > first);
    assert_eq!(bucket.get(&t.ctx, &k).await?, None);
    Ok(())
}

pub(crate) async fn delete_from_a_stale_revision_conflicts(t: Trial) -> CaseResult {
    let bucket = plain(&t).await?;
    let k = key("k");
    let first = bucket.put(&t.ctx, &k, value("one"), PLAIN).await?;
    let second = bucket.put(&t.ctx, &k, value("two"), PLAIN).await?;
    let stale = bucket.delete(&t.ctx, &k, Some(first)).await;
    revision_conflicts(stale, &k, first, second);
    assert!(bucket.get(&t.ctx, &k).await?.is_some());
    bucket.delete(&t.ctx, &k, Some(second)).await?;
    assert_eq!(bucket.get(&t.ctx, &k).await?, None);
    let gone = bucket.delete(&t.ctx, &k, Some(second)).await;
    revision_conflicts(gone, &k, second, Revision::NONE);
    Ok(())
}

pub(crate) async fn purge_from_a_stale_revision_conflicts(t: Trial) -> CaseResult {
    let bucket = plain(&t).await?;
    let k = key("k");
    let first = bucket.put(&t.ctx, &k, value("one"), PLAIN).await?;
    let second = bucket.put(&t.ctx, &k, value("two"), PLAIN).await?;
    let stale = bucket.purge(&t.ctx, &k, Some(first)).await;
    revision_conflicts(stale, &k, first, second);
    assert!(bucket.get(&t.ctx, &k).await?.is_some());
    bucket.purge(&t.ctx, &k, Some(second)).await?;
    assert_eq!(bucket.get(&t.ctx, &k).await?, None);
    Ok(())
}

pub(crate) async fn the_largest_value_is_stored(t: Trial) -> CaseResult {
    let bucket = plain(&t).await?;
    let max = Limits::CONTRACT.payload_bytes;
    assert_eq!(bucket.capabilities().limits, Limits::CONTRACT);
    let largest = bytes::Bytes::from(vec![0xA5; max]);
    bucket
        .put(&t.ctx, &key("k"), largest.clone(), PLAIN)
        .await?;
    let entry = bucket.get(&t.ctx, &key("k")).await?;
    assert!(entry.ok_or("nothing there")?.value == largest);
    Ok(())
}

pub(crate) async fn a_value_of_one_byte_more_is_too_large(t: Trial) -> CaseResult {
    let bucket = plain(&t).await?;
    let k = key("k");
    let larger = bytes::Bytes::from(vec![0xA5; Limits::CONTRACT.payload_bytes + 1]);
    let limit = LimitName::PayloadBytes;
    too_large(bucket.put(&t.ctx, &k, larger.clone(), PLAIN).await, limit);
    let created = bucket.create(&t.ctx, &k, larger.clone(), PLAIN).await;
    too_large(created, limit);
    assert_eq!(bucket.get(&t.ctx, &k).await?, None);
    let put = bucket.put(&t.ctx, &k, value("small"), PLAIN).await?;
    let updated = bucket.update(&t.ctx, &k, larger, put, PLAIN).await;
    too_large(updated, limit);
    let entry = bucket.get(&t.ctx, &k).await?.ok_or("nothing there")?;
    assert_eq!((entry.value, entry.revision), (value("small"), put));
    Ok(())
}

pub(crate) async fn a_time_to_live_under_a_second_is_invalid(t: Trial) -> CaseResult {
    let bucket = plain(&t).await?;
    if !bucket.capabilities().key_ttl {
        return Ok(());
    }
    let short = WriteOptions::ttl(std::time::Duration::from_millis(999));
    let refused = bucket.put(&t.ctx, &key("k"), value("x"), short).await;
    crate::trial::refused(refused, Fault::Invalid);
    assert_eq!(bucket.get(&t.ctx, &key("k")).await?, None);
    Ok(())
}
