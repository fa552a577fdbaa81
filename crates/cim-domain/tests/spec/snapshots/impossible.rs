//! Snapshots that can't be written, because the state has grown too large: what that costs.

use std::sync::Arc;

use cim_domain::persistence::snapshot::SnapshotPolicy::EveryEvents;
use cim_domain::store::EventLog;
use cim_domain::{Aggregate, DomainEvent, Repository, SaveOptions};
use serde::{Deserialize, Serialize};

use super::open;
use crate::account::ctx;
use crate::stores::open_at_noon;
use crate::watched_log::WatchedLog;

/// An aggregate that keeps all that it was ever told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Diary {
    text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
struct EntryWritten {
    text: String,
}

impl Aggregate for Diary {
    const CONTEXT: &'static str = "test";
    const TYPE: &'static str = "diary";
    type Id = u32;
    type Event = EntryWritten;
    type Command = String;
    type Error = std::convert::Infallible;

    fn apply(&mut self, EntryWritten { text }: &EntryWritten) {
        self.text.push_str(text);
    }

    fn handle(&self, text: String) -> Result<Vec<EntryWritten>, Self::Error> {
        Ok(vec![EntryWritten { text }])
    }
}

/// A twentieth of what a snapshot has at most, and a little more.
fn page() -> String {
    "x".repeat((1 << 20) / 20)
}

#[tokio::test]
async fn a_state_that_is_too_large_is_not_rebuilt_after_each_event() {
    let (store, clock) = open_at_noon("memory:").await;
    let log = WatchedLog::new(store.log());
    let snapshots = open(&*store, &clock, 2).await;
    let diaries = Repository::<Diary>::new(Arc::clone(&log) as Arc<dyn EventLog>)
        .with_snapshots(snapshots.clone(), EveryEvents(10));
    let mut read = Vec::new();
    for _ in 0..40 {
        let entry = vec![EntryWritten { text: page() }];
        let options = SaveOptions::default();
        diaries.save(&ctx(), &1, entry, options).await.unwrap();
        snapshots.settled().await;
        read.push(log.asked().events);
    }
    // Each save looks at the last event; the aggregate is loaded when a snapshot is due.
    let loads: Vec<usize> = (1..)
        .zip(&read)
        .filter(|(_, it)| **it > 1)
        .map(|it| it.0)
        .collect();
    assert_eq!(loads, [10, 20, 30, 40], "{read:?}");
    let stats = snapshots.stats();
    assert_eq!((stats.written, stats.too_large), (1, 3));
}

#[tokio::test]
async fn a_state_that_is_too_large_is_not_encoded_after_each_command() {
    let (store, clock) = open_at_noon("memory:").await;
    let snapshots = open(&*store, &clock, 2).await;
    let diaries =
        Repository::<Diary>::new(store.log()).with_snapshots(snapshots.clone(), EveryEvents(10));
    for _ in 0..40 {
        diaries.execute(&ctx(), &1, page()).await.unwrap();
        snapshots.settled().await;
    }
    let stats = snapshots.stats();
    assert_eq!((stats.written, stats.too_large), (1, 3));
    let loaded = diaries.load(&ctx(), &1).await.unwrap();
    assert_eq!(loaded.state.text.len(), 40 * page().len());
}
