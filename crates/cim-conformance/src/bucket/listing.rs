//! Keys and entries by pattern, each once.

use std::sync::Arc;

use cim_store::{Bucket, BucketSettings, Operation, SubjectPattern, WriteOptions};
use futures_util::TryStreamExt;

use crate::suite::{CaseFailure, CaseResult};
use crate::trial::{Trial, key, value};

pub(crate) const CONTRACT: &str = "Bucket: keys and entries";

const PLAIN: WriteOptions = WriteOptions { ttl: None };

/// The keys that match, sorted; also checks that keys and entries agree, and that each is there
/// once.
pub(crate) async fn keys(
    t: &Trial,
    bucket: &Arc<dyn Bucket>,
    pattern: &str,
) -> Result<Vec<String>, CaseFailure> {
    let pattern = SubjectPattern::new(pattern.to_owned())?;
    let keys = bucket.keys(&t.ctx, &pattern).await?;
    let keys: Vec<_> = keys.try_collect().await?;
    let entries = bucket.entries(&t.ctx, &pattern).await?;
    let entries: Vec<_> = entries.try_collect().await?;
    for entry in &entries {
        assert_eq!(entry.operation, Operation::Put);
        assert_eq!(bucket.get(&t.ctx, &entry.key).await?.as_ref(), Some(entry));
    }
    let sorted = |mut texts: Vec<String>| {
        texts.sort_unstable();
        texts
    };
    let from_keys = sorted(keys.iter().map(ToString::to_string).collect());
    let from_entries = sorted(entries.iter().map(|e| e.key.to_string()).collect());
    assert_eq!(from_keys, from_entries);
    assert!(from_keys.windows(2).all(|w| w[0] != w[1]), "{from_keys:?}");
    Ok(from_keys)
}

pub(crate) async fn keys_and_entries_are_listed_by_pattern_each_once(t: Trial) -> CaseResult {
    let settings = BucketSettings::default().with_history(3);
    let bucket = t.bucket("b", settings).await?;
    assert_eq!(keys(&t, &bucket, ">").await?, [""; 0]);
    for round in 0..3 {
        for name in ["a.x", "a.y", "a.x.1", "b.x", "c"] {
            let value = value(&round.to_string());
            bucket.put(&t.ctx, &key(name), value, PLAIN).await?;
        }
    }
    for (pattern, expected) in [
        (">", &["a.x", "a.x.1", "a.y", "b.x", "c"][..]),
        ("a.>", &["a.x", "a.x.1", "a.y"]),
        ("a.*", &["a.x", "a.y"]),
        ("*.x", &["a.x", "b.x"]),
        ("*", &["c"]),
        ("a.x", &["a.x"]),
        ("d.>", &[]),
    ] {
        assert_eq!(keys(&t, &bucket, pattern).await?, expected, "{pattern}");
    }
    Ok(())
}

pub(crate) async fn keys_without_a_value_are_not_listed(t: Trial) -> CaseResult {
    let settings = BucketSettings::default().with_history(3);
    let bucket = t.bucket("b", settings).await?;
    for name in ["stays", "deleted", "purged", "back"] {
        bucket.put(&t.ctx, &key(name), value("x"), PLAIN).await?;
    }
    bucket.delete(&t.ctx, &key("deleted"), None).await?;
    bucket.purge(&t.ctx, &key("purged"), None).await?;
    bucket.delete(&t.ctx, &key("back"), None).await?;
    bucket.put(&t.ctx, &key("back"), value("y"), PLAIN).await?;
    bucket.delete(&t.ctx, &key("never-was"), None).await?;
    assert_eq!(keys(&t, &bucket, ">").await?, ["back", "stays"]);
    Ok(())
}

pub(crate) async fn many_keys_are_listed_whole(t: Trial) -> CaseResult {
    let bucket = t.bucket("b", BucketSettings::default()).await?;
    let mut expected = Vec::new();
    for n in 0..500 {
        let name = format!("k.{n:03}");
        bucket.put(&t.ctx, &key(&name), value(&name), PLAIN).await?;
        expected.push(name);
    }
    assert_eq!(keys(&t, &bucket, ">").await?, expected);
    Ok(())
}

pub(crate) async fn buckets_are_separate(t: Trial) -> CaseResult {
    let a = t.bucket("a", BucketSettings::default()).await?;
    let b = t.bucket("b", BucketSettings::default()).await?;
    assert_eq!((a.name().as_str(), b.name().as_str()), ("a", "b"));
    let k = key("k");
    a.put(&t.ctx, &k, value("of a"), PLAIN).await?;
    b.create(&t.ctx, &k, value("of b"), PLAIN).await?;
    b.put(&t.ctx, &key("only-b"), value("x"), PLAIN).await?;
    let found = a.get(&t.ctx, &k).await?.ok_or("nothing there")?;
    assert_eq!(found.value, value("of a"));
    b.purge(&t.ctx, &k, None).await?;
    assert_eq!(keys(&t, &a, ">").await?, ["k"]);
    assert_eq!(keys(&t, &b, ">").await?, ["only-b"]);
    assert!(t.all_events().await?.is_empty());
    Ok(())
}
