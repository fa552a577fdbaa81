//! What is kept of a key's changes.

use cim_store::{Bucket, BucketSettings, Context, Entry, Key, Operation, WriteOptions};

use crate::suite::{CaseFailure, CaseResult};
use crate::trial::{Trial, key, value};

pub(crate) const CONTRACT: &str = "Bucket: history";

const PLAIN: WriteOptions = WriteOptions { ttl: None };

/// The values and deletions in the key's history. What an adapter keeps to remember that a key was
/// purged is not part of it.
pub(crate) async fn kept(
    bucket: &dyn Bucket,
    ctx: &Context,
    key: &Key,
) -> Result<Vec<Entry>, CaseFailure> {
    let mut history = bucket.history(ctx, key).await?;
    assert!(history.windows(2).all(|w| w[0].revision < w[1].revision));
    assert!(history.iter().all(|entry| entry.key == *key));
    assert!(history.len() <= usize::from(bucket.settings().history));
    history.retain(|entry| entry.operation != Operation::Purge);
    Ok(history)
}

fn texts(entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .map(|entry| match entry.operation {
            Operation::Put => String::from_utf8_lossy(&entry.value).into_owned(),
            other => format!("{other:?}"),
        })
        .collect()
}

pub(crate) async fn history_is_kept_as_deep_as_the_settings_say(t: Trial) -> CaseResult {
    for depth in [1_u8, 2, 5, 64] {
        let settings = BucketSettings::default().with_history(depth);
        let bucket = t.bucket(&format!("depth-{depth}"), settings).await?;
        let k = key("k");
        let mut revisions = Vec::new();
        for n in 0..70 {
            let value = value(&n.to_string());
            revisions.push(bucket.put(&t.ctx, &k, value, PLAIN).await?);
            bucket
                .put(&t.ctx, &key("other"), crate::trial::value("x"), PLAIN)
                .await?;
        }
        let history = kept(&*bucket, &t.ctx, &k).await?;
        let first = 70 - usize::from(depth);
        let found: Vec<_> = history.iter().map(|entry| entry.revision).collect();
        assert_eq!(found, revisions[first..]);
        let expected: Vec<_> = (first..70).map(|n| n.to_string()).collect();
        assert_eq!(texts(&history), expected);
    }
    Ok(())
}

pub(crate) async fn a_key_that_never_was_has_no_history(t: Trial) -> CaseResult {
    let bucket = t.bucket("b", BucketSettings::default()).await?;
    assert_eq!(bucket.history(&t.ctx, &key("k")).await?, []);
    Ok(())
}

pub(crate) async fn delete_keeps_the_history(t: Trial) -> CaseResult {
    let settings = BucketSettings::default().with_history(5);
    let bucket = t.bucket("b", settings).await?;
    let k = key("k");
    bucket.put(&t.ctx, &k, value("one"), PLAIN).await?;
    bucket.put(&t.ctx, &k, value("two"), PLAIN).await?;
    let deleted = bucket.delete(&t.ctx, &k, None).await?;
    let history = kept(&*bucket, &t.ctx, &k).await?;
    assert_eq!(texts(&history), ["one", "two", "Delete"]);
    assert_eq!(history[2].revision, deleted);
    assert!(history[2].value.is_empty());
    bucket.create(&t.ctx, &k, value("three"), PLAIN).await?;
    let history = kept(&*bucket, &t.ctx, &k).await?;
    assert_eq!(texts(&history), ["one", "two", "Delete", "three"]);
    Ok(())
}

pub(crate) async fn purge_takes_the_history_away(t: Trial) -> CaseResult {
    let settings = BucketSettings::default().with_history(5);
    let bucket = t.bucket("b", settings).await?;
    let (k, other) = (key("k"), key("other"));
    bucket.put(&t.ctx, &k, value("one"), PLAIN).await?;
    bucket.put(&t.ctx, &k, value("two"), PLAIN).await?;
    bucket.put(&t.ctx, &other, value("mine"), PLAIN).await?;
    bucket.purge(&t.ctx, &k, None).await?;
    assert_eq!(kept(&*bucket, &t.ctx, &k).await?, []);
    assert_eq!(bucket.get(&t.ctx, &k).await?, None);
    bucket.put(&t.ctx, &k, value("three"), PLAIN).await?;
    assert_eq!(texts(&kept(&*bucket, &t.ctx, &k).await?), ["three"]);
    assert_eq!(texts(&kept(&*bucket, &t.ctx, &other).await?), ["mine"]);
    Ok(())
}

pub(crate) async fn purge_after_delete_takes_the_history_away(t: Trial) -> CaseResult {
    let settings = BucketSettings::default().with_history(5);
    let bucket = t.bucket("b", settings).await?;
    let k = key("k");
    bucket.put(&t.ctx, &k, value("one"), PLAIN).await?;
    bucket.delete(&t.ctx, &k, None).await?;
    bucket.purge(&t.ctx, &k, None).await?;
    assert_eq!(kept(&*bucket, &t.ctx, &k).await?, []);
    Ok(())
}

pub(crate) async fn a_change_that_conflicts_is_not_in_the_history(t: Trial) -> CaseResult {
    let settings = BucketSettings::default().with_history(5);
    let bucket = t.bucket("b", settings).await?;
    let k = key("k");
    let first = bucket.put(&t.ctx, &k, value("one"), PLAIN).await?;
    bucket.put(&t.ctx, &k, value("two"), PLAIN).await?;
    for lost in [
        bucket.create(&t.ctx, &k, value("x"), PLAIN).await,
        bucket.update(&t.ctx, &k, value("x"), first, PLAIN).await,
        bucket.delete(&t.ctx, &k, Some(first)).await,
        bucket.purge(&t.ctx, &k, Some(first)).await,
    ] {
        assert!(matches!(&lost, Err(error) if error.is_conflict()));
    }
    assert_eq!(texts(&kept(&*bucket, &t.ctx, &k).await?), ["one", "two"]);
    Ok(())
}
