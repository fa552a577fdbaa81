//! What a snapshot may hold that a program does not understand, and states that miss something.

use cim_domain::persistence::snapshot::SnapshotPolicy::{EveryEvents, OnDemand};
use cim_domain::persistence::snapshot::{
    IgnoredSnapshot, SnapshotCodec, SnapshotError, SnapshotSettings, SnapshotStore,
};
use cim_domain::persistence::{RepositoryError, UnknownEvents};
use cim_domain::store::{
    BucketExt as _, EventLog, EventLogExt as _, ExpectedVersion, NewEvent, Version,
};
use cim_domain::{Aggregate, DomainEvent, Repository};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::{Tally, add, anna, id, key, open, sum_to, watched};
use crate::account::ctx;
use crate::scripted_log::ScriptedLog;
use crate::stores::on_every_store;

/// The tally of a newer program, which knows one more kind of event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct NewerTally {
    sum: u64,
    count: u64,
    #[serde(default)]
    frozen: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
enum NewerEvent {
    Added { number: u64 },
    Frozen,
}

impl Aggregate for NewerTally {
    const CONTEXT: &'static str = "bank";
    const TYPE: &'static str = "account";
    type Id = String;
    type Event = NewerEvent;
    type Command = NewerEvent;
    type Error = std::convert::Infallible;

    fn apply(&mut self, event: &NewerEvent) {
        match event {
            NewerEvent::Added { number } => {
                self.sum += number;
                self.count += 1;
            }
            NewerEvent::Frozen => self.frozen = true,
        }
    }

    fn handle(&self, event: NewerEvent) -> Result<Vec<NewerEvent>, Self::Error> {
        Ok(vec![event])
    }
}

on_every_store! {
    async fn an_older_program_ignores_what_a_newer_one_knew(store, clock) {
        let snapshots = open(&*store, &clock, 2).await;
        let newer = Repository::<NewerTally>::new(store.log()).with_snapshots(snapshots.clone(), OnDemand);
        newer.execute(&ctx(), &id(), NewerEvent::Added { number: 1 }).await.unwrap();
        newer.execute(&ctx(), &id(), NewerEvent::Frozen).await.unwrap();
        newer.take_snapshot(&ctx(), &id()).await.unwrap();

        // Its state could be read: serde passes over `frozen`. But then the program would go on as
        // if nothing were frozen. So it reads the events, and says what it does not know.
        let older = watched(&*store, &clock, OnDemand).await;
        let error = older.tallies.load(&ctx(), &id()).await.unwrap_err();
        assert!(matches!(error, RepositoryError::Decode { version, .. } if version == Version::new(2)));
        assert_eq!(older.snapshots.stats().ignored(IgnoredSnapshot::UnknownEvents), 1);
    }

    async fn a_newer_program_uses_what_an_older_one_knew(store, clock) {
        let older = watched(&*store, &clock, OnDemand).await;
        add(&older.tallies, 1..=3).await;
        older.tallies.take_snapshot(&ctx(), &id()).await.unwrap();
        let snapshots = open(&*store, &clock, 2).await;
        let newer = Repository::<NewerTally>::new(store.log()).with_snapshots(snapshots.clone(), OnDemand);
        let loaded = newer.load(&ctx(), &id()).await.unwrap();
        assert_eq!(loaded.state, NewerTally { sum: 6, count: 3, frozen: false });
        assert_eq!(snapshots.stats().loads_with, 1);
    }

    async fn a_state_that_misses_events_never_becomes_a_snapshot(store, clock) {
        let watched = watched(&*store, &clock, EveryEvents(1)).await;
        let unknown = vec![NewEvent::json("frozen", &()).unwrap()];
        store.log().append_to(&ctx(), &anna(), ExpectedVersion::NEW, unknown).await.unwrap();
        let tallies = watched.tallies.clone().with_unknown_events(UnknownEvents::Skip);
        add(&tallies, 1..=3).await;
        tallies.save(&ctx(), &id(), vec![], cim_domain::SaveOptions {
            create_snapshot: true,
            ..Default::default()
        }).await.unwrap();
        assert_eq!(watched.versions().await, [0; 0]);
        match tallies.take_snapshot(&ctx(), &id()).await.unwrap_err() {
            RepositoryError::Snapshot(SnapshotError::Incomplete { skipped, .. }) => assert_eq!(skipped, 1),
            other => panic!("{other:?}"),
        }
        assert_eq!(watched.snapshots.stats().written, 0);
    }

    async fn states_are_written_as_cbor_where_that_is_set_and_read_as_they_are(store, clock) {
        let settings = SnapshotSettings { codec: SnapshotCodec::Cbor, ..SnapshotSettings::default() };
        let cbor = SnapshotStore::open(&*store, settings).await.unwrap();
        let tallies = Repository::<Tally>::new(store.log()).with_snapshots(cbor.clone(), OnDemand);
        add(&tallies, 1..=4).await;
        tallies.take_snapshot(&ctx(), &id()).await.unwrap();
        let stored = cbor.history(&ctx(), &anna()).await.unwrap().remove(0).snapshot.unwrap();
        assert_eq!(stored.content_type.as_str(), "application/cbor");
        assert_eq!(&stored.state[..], b"\xa2\x63sum\x0a\x65count\x04");
        assert_eq!(stored.events, [("added".to_owned(), 1)]);

        let json = watched(&*store, &clock, OnDemand).await;
        assert_eq!(json.tallies.load(&ctx(), &id()).await.unwrap().state, sum_to(4));
        assert_eq!(json.snapshots.stats().loads_with, 1);
        add(&json.tallies, 5..=5).await;
        json.tallies.take_snapshot(&ctx(), &id()).await.unwrap();
        assert_eq!(tallies.load(&ctx(), &id()).await.unwrap().state, sum_to(5));
        assert_eq!(cbor.stats().ignored_in_all(), 0);
    }

    async fn decisions_over_several_aggregates_begin_with_snapshots_and_lead_to_them(store, clock) {
        let snapshots = open(&*store, &clock, 2).await;
        let log = ScriptedLog::new(store.log(), []);
        let tallies = Repository::<Tally>::new(Arc::clone(&log) as Arc<dyn EventLog>)
            .with_snapshots(snapshots.clone(), EveryEvents(3));
        let bert = "bert".to_owned();
        add(&tallies, 1..=3).await;
        snapshots.settled().await;
        log.take_reads();
        for _ in 0..3 {
            let both = (tallies.participant(&id()), tallies.participant(&bert));
            tallies.execute_many(&ctx(), both, |(anna, bert)| {
                anna.handle(1)?;
                bert.handle(1)
            }).await.unwrap();
            snapshots.settled().await;
        }
        let mut from: Vec<u64> = log.take_reads().iter().map(|range| range.from.get()).collect();
        from.retain(|from| *from > 1);
        // One for each decision, and one for the snapshot: that is of what was stored.
        assert_eq!(from.iter().filter(|from| **from == 4).count(), 4, "{from:?}");
        assert_eq!(snapshots.stats().written, 3);
        let of_bert = cim_domain::store::Key::new("bank.account.bert").unwrap();
        for key in [key(), of_bert] {
            assert!(snapshots.bucket().get(&ctx(), &key).await.unwrap().is_some());
        }
        assert!(snapshots.bucket().all_keys(&ctx()).await.unwrap().len() == 2);
        assert_eq!(tallies.load(&ctx(), &bert).await.unwrap().state.count, 3);
    }
}
