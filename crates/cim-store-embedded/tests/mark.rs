//! A store whose mark is gone opens only when its owner says so.

#![allow(clippy::unwrap_used)] // a failure here is a failed test

use std::path::Path;

use cim_store::{
    Context, EventLogError, EventLogExt, ExpectedVersion, NewEvent, Store, StreamId, Version,
};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};

fn stream() -> StreamId {
    StreamId::new("sales", "order", "7").unwrap()
}

async fn store_of_three(path: &Path) {
    let store = EmbeddedStore::open(path, EmbeddedSettings::default())
        .await
        .unwrap();
    let (log, ctx) = (store.log(), Context::new());
    for _ in 0..3 {
        let event = NewEvent::json("order_changed", &1).unwrap();
        log.append_to(&ctx, &stream(), ExpectedVersion::Any, vec![event])
            .await
            .unwrap();
    }
    store.close().await.unwrap();
}

async fn open(path: &Path, settings: EmbeddedSettings) -> Result<Version, EventLogError> {
    let store = EmbeddedStore::open(path, settings).await?;
    let version = store.log().version(&Context::new(), &stream()).await?;
    store.close().await?;
    Ok(version)
}

#[tokio::test]
async fn a_store_without_its_mark_is_refused_until_its_owner_accepts_its_end() {
    for damage in ["removed", "emptied", "overwritten"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        store_of_three(&path).await;
        let mark = path.join("events/mark");
        match damage {
            "removed" => std::fs::remove_file(&mark).unwrap(),
            "emptied" => std::fs::write(&mark, b"").unwrap(),
            _ => std::fs::write(&mark, [7; 8192]).unwrap(),
        }
        let refused = open(&path, EmbeddedSettings::default()).await.unwrap_err();
        assert!(refused.is_integrity(), "{damage}: {refused}");
        assert!(refused.to_string().contains("mark"), "{damage}: {refused}");
        assert!(
            format!("{refused:#}").contains("accept_end_without_mark"),
            "{refused:#}"
        );

        let accepted = EmbeddedSettings::default().accept_end_without_mark();
        assert_eq!(
            open(&path, accepted).await.unwrap(),
            Version::new(3),
            "{damage}"
        );
        // The mark is there again.
        assert_eq!(
            open(&path, EmbeddedSettings::default()).await.unwrap(),
            Version::new(3)
        );
    }
}
