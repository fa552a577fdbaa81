//! When snapshots are taken, and that nobody waits for them.

use std::sync::Arc;
use std::time::Duration;

use cim_domain::persistence::RepositoryError;
use cim_domain::persistence::snapshot::SnapshotPolicy::{
    AllOf, AnyOf, EveryEvents, Never, OlderThan, OnDemand, ReplayedBytes,
};
use cim_domain::persistence::snapshot::{SnapshotError, SnapshotSettings, SnapshotStore, Written};
use cim_domain::store::{EventLogExt as _, Version};
use cim_domain::{Aggregate, DomainEvent, Repository, SaveOptions};
use serde::{Deserialize, Serialize, Serializer};

use super::{Tally, TallyEvent, add, anna, id, open, sum_to, watched};
use crate::account::ctx;
use crate::held_bucket::HeldBucket;
use crate::stores::{on_every_store, on_every_store_with_our_clock, open_at_noon};

fn added(number: u64) -> Vec<TallyEvent> {
    vec![TallyEvent::Added { number }]
}

fn demanded() -> SaveOptions {
    SaveOptions {
        create_snapshot: true,
        ..SaveOptions::default()
    }
}

on_every_store! {
    async fn commands_lead_to_one_every_so_many_events(store, clock) {
        let watched = watched(&*store, &clock, EveryEvents(3)).await;
        let mut taken = Vec::new();
        for number in 1..=10 {
            add(&watched.tallies, number..=number).await;
            taken.push(watched.versions().await.last().copied().unwrap_or(0));
        }
        assert_eq!(taken, [0, 0, 3, 3, 3, 6, 6, 6, 9, 9]);
        assert_eq!(watched.snapshots.stats().written, 3);
        let newest = watched.snapshots.newest::<Tally>(&ctx(), &anna(), Default::default()).await;
        let newest = newest.unwrap().found().unwrap();
        assert_eq!(newest.state, sum_to(9));
        // It says when the store took the event that it stands on.
        let events = store.log().read_all(&ctx(), &anna()).await.unwrap();
        assert_eq!((newest.stored_at, newest.head.cid), (events[8].stored_at, events[8].cid));
    }

    async fn saved_events_lead_to_one_every_so_many_events(store, clock) {
        let watched = watched(&*store, &clock, EveryEvents(3)).await;
        let mut taken = Vec::new();
        for number in 1..=7 {
            watched.tallies.save(&ctx(), &id(), added(number), SaveOptions::default()).await.unwrap();
            taken.push(watched.versions().await.last().copied().unwrap_or(0));
        }
        assert_eq!(taken, [0, 0, 3, 3, 3, 6, 6]);
        assert_eq!(watched.tallies.load(&ctx(), &id()).await.unwrap().state, sum_to(7));
    }

    async fn a_repository_that_is_opened_anew_goes_on_counting_where_the_last_was_taken(store, clock) {
        let first = watched(&*store, &clock, EveryEvents(3)).await;
        add(&first.tallies, 1..=4).await;
        assert_eq!(first.versions().await, [3]);
        let second = watched(&*store, &clock, EveryEvents(3)).await;
        second.tallies.save(&ctx(), &id(), added(5), SaveOptions::default()).await.unwrap();
        assert_eq!(second.versions().await, [3]);
        let third = watched(&*store, &clock, EveryEvents(3)).await;
        third.tallies.save(&ctx(), &id(), added(6), SaveOptions::default()).await.unwrap();
        assert_eq!(third.versions().await, [3, 6]);
    }

    async fn one_that_was_asked_for_is_taken_whatever_the_policy_says(store, clock) {
        let watched = watched(&*store, &clock, OnDemand).await;
        add(&watched.tallies, 1..=3).await;
        assert_eq!(watched.versions().await, [0; 0]);
        watched.tallies.save(&ctx(), &id(), added(4), demanded()).await.unwrap();
        assert_eq!(watched.versions().await, [4]);
        // Also where there is nothing else to save.
        add(&watched.tallies, 5..=5).await;
        watched.tallies.save(&ctx(), &id(), vec![], demanded()).await.unwrap();
        assert_eq!(watched.versions().await, [4, 5]);
        add(&watched.tallies, 6..=6).await;
        let written = watched.tallies.take_snapshot(&ctx(), &id()).await.unwrap();
        assert!(matches!(written, Written::Stored(_)));
        let again = watched.tallies.take_snapshot(&ctx(), &id()).await.unwrap();
        assert_eq!((again, watched.versions().await), (Written::Superseded, vec![5, 6]));
    }

    async fn one_that_was_asked_for_of_an_aggregate_without_events_is_none(store, clock) {
        let watched = watched(&*store, &clock, OnDemand).await;
        let saved = watched.tallies.save(&ctx(), &id(), vec![], demanded()).await.unwrap();
        assert_eq!((saved.version, watched.versions().await), (Version::NONE, vec![]));
        assert_eq!(watched.snapshots.stats().failed, 0);
    }

    async fn to_ask_where_none_can_be_taken_is_an_error_that_says_what_to_do(store, clock) {
        let never = watched(&*store, &clock, Never).await.tallies;
        for tallies in [never, Repository::<Tally>::new(store.log())] {
            let error = tallies.save(&ctx(), &id(), added(1), demanded()).await.unwrap_err();
            assert!(matches!(error, RepositoryError::NoSnapshots));
            assert!(error.to_string().contains("Repository::with_snapshots"), "{error}");
            let error = tallies.take_snapshot(&ctx(), &id()).await.unwrap_err();
            assert!(matches!(error, RepositoryError::NoSnapshots));
            assert!(!tallies.exists(&ctx(), &id()).await.unwrap(), "nothing was saved");
        }
    }

    async fn never_uses_what_is_there_and_takes_none(store, clock) {
        let first = watched(&*store, &clock, OnDemand).await;
        add(&first.tallies, 1..=3).await;
        first.tallies.take_snapshot(&ctx(), &id()).await.unwrap();
        let second = watched(&*store, &clock, Never).await;
        add(&second.tallies, 4..=9).await;
        assert_eq!(second.versions().await, [3]);
        assert_eq!(second.snapshots.stats().loads_with, 6);
    }

    async fn the_bytes_that_a_load_reads_lead_to_one(store, clock) {
        // {"number":1} has 12 bytes.
        let watched = watched(&*store, &clock, ReplayedBytes(36)).await;
        let mut taken = Vec::new();
        for number in 1..=7 {
            add(&watched.tallies, number..=number).await;
            taken.push(watched.versions().await.last().copied().unwrap_or(0));
        }
        assert_eq!(taken, [0, 0, 3, 3, 3, 6, 6]);
    }
}

on_every_store_with_our_clock! {
    async fn time_leads_to_one_at_the_next_event(store, clock) {
        let (hour, second) = (Duration::from_secs(3600), Duration::from_secs(1));
        let watched = watched(&*store, &clock, OlderThan(hour)).await;
        add(&watched.tallies, 1..=1).await;
        assert_eq!(watched.versions().await, [1], "there was none before");
        add(&watched.tallies, 2..=3).await;
        clock.advance(hour - second);
        add(&watched.tallies, 4..=4).await;
        assert_eq!(watched.versions().await, [1]);
        clock.advance(second);
        assert_eq!(watched.versions().await, [1], "there is no new event");
        add(&watched.tallies, 5..=6).await;
        assert_eq!(watched.versions().await, [1, 5]);
    }

    async fn combined_policies_are_asked_together(store, clock) {
        let hour = Duration::from_secs(3600);
        let often = AllOf(vec![EveryEvents(2), OlderThan(hour)]);
        let watched = watched(&*store, &clock, AnyOf(vec![EveryEvents(10), often])).await;
        add(&watched.tallies, 1..=2).await;
        assert_eq!(watched.versions().await, [2]);
        add(&watched.tallies, 3..=6).await;
        assert_eq!(watched.versions().await, [2]);
        clock.advance(hour);
        add(&watched.tallies, 7..=7).await;
        assert_eq!(watched.versions().await, [2, 7]);
        add(&watched.tallies, 8..=17).await;
        assert_eq!(watched.versions().await, [7, 17]);
    }
}

#[tokio::test]
async fn nobody_waits_for_a_snapshot_and_what_finds_no_room_is_skipped() {
    let (store, clock) = open_at_noon("memory:").await;
    let bucket = open(&*store, &clock, 2).await.bucket().clone();
    let held = HeldBucket::new(bucket);
    let settings = SnapshotSettings {
        queue: 2,
        ..SnapshotSettings::default()
    };
    let snapshots = SnapshotStore::new(held.clone(), settings);
    let tallies =
        Repository::<Tally>::new(store.log()).with_snapshots(snapshots.clone(), EveryEvents(1));
    // Those that are under way, those that wait, and then there is no room.
    for number in 0..10 {
        let id = format!("tally-{number}");
        tallies.execute(&ctx(), &id, 1).await.unwrap();
        tokio::task::yield_now().await;
    }
    let stats = snapshots.stats();
    assert_eq!((stats.written, stats.skipped_busy), (0, 4));
    held.let_go();
    snapshots.settled().await;
    assert_eq!(snapshots.stats().written, 6);
    // What was skipped is taken after the next event.
    for number in 0..10 {
        let id = format!("tally-{number}");
        assert_eq!(
            tallies.execute(&ctx(), &id, 1).await.unwrap().state.count,
            2
        );
        snapshots.settled().await;
    }
    assert_eq!(snapshots.stats().written, 16);
}

#[tokio::test]
async fn a_bucket_that_never_answers_is_given_up_and_the_next_event_leads_to_what_is_missing() {
    let (store, clock) = open_at_noon("memory:").await;
    let held = HeldBucket::new(open(&*store, &clock, 2).await.bucket().clone());
    let settings = SnapshotSettings {
        time_limit: Duration::from_secs(10),
        ..SnapshotSettings::default()
    };
    let snapshots = SnapshotStore::new(held.clone(), settings);
    let tallies = Repository::<Tally>::new(store.log())
        .with_clock(Arc::new(clock.clone()))
        .with_snapshots(snapshots.clone(), EveryEvents(1));
    for number in 0..10 {
        let id = format!("tally-{number}");
        tallies.execute(&ctx(), &id, 1).await.unwrap();
        tokio::task::yield_now().await;
    }
    // One that was asked for is missed as the others are.
    tallies
        .save(&ctx(), &id(), added(1), demanded())
        .await
        .unwrap();
    clock.advance(Duration::from_secs(9));
    tokio::task::yield_now().await;
    assert_eq!(snapshots.stats().given_up, 0);
    clock.advance(Duration::from_secs(1));
    snapshots.settled().await;
    let stats = snapshots.stats();
    assert_eq!((stats.given_up, stats.written, stats.failed), (11, 0, 0));
    held.let_go();
    for number in 0..10 {
        let id = format!("tally-{number}");
        tallies.execute(&ctx(), &id, 1).await.unwrap();
    }
    snapshots.settled().await;
    let stats = snapshots.stats();
    assert_eq!((stats.given_up, stats.written), (11, 10));
    tallies.load(&ctx(), &"tally-3".to_owned()).await.unwrap();
    assert_eq!(snapshots.stats().loads_with, stats.loads_with + 1);
}

#[tokio::test]
async fn of_one_aggregate_the_latest_that_waits_is_written() {
    let (store, clock) = open_at_noon("memory:").await;
    let bucket = open(&*store, &clock, 10).await.bucket().clone();
    let held = HeldBucket::new(bucket);
    let snapshots = SnapshotStore::new(held.clone(), SnapshotSettings::default());
    let tallies =
        Repository::<Tally>::new(store.log()).with_snapshots(snapshots.clone(), EveryEvents(1));
    for number in 1..=5 {
        tallies.execute(&ctx(), &id(), number).await.unwrap();
        tokio::task::yield_now().await;
    }
    held.let_go();
    snapshots.settled().await;
    let kept = snapshots.history(&ctx(), &anna()).await.unwrap();
    let states: Vec<_> = kept
        .into_iter()
        .map(|kept| kept.snapshot.unwrap().head.version.get())
        .collect();
    assert_eq!(states, [1, 5]);
    assert_eq!(snapshots.stats().superseded, 3);
}

/// A state that can't always be encoded.
#[derive(Clone, Debug, Default, Deserialize)]
struct Moody {
    mood: String,
}

impl Serialize for Moody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.mood.as_str() {
            "broken" => panic!("on purpose"),
            "stubborn" => Err(serde::ser::Error::custom("on purpose")),
            mood => [("mood", mood)]
                .into_iter()
                .collect::<std::collections::BTreeMap<_, _>>()
                .serialize(serializer),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
struct MoodChanged {
    mood: String,
}

impl Aggregate for Moody {
    const CONTEXT: &'static str = "test";
    const TYPE: &'static str = "moody";
    type Id = u32;
    type Event = MoodChanged;
    type Command = String;
    type Error = std::convert::Infallible;

    fn apply(&mut self, event: &MoodChanged) {
        self.mood.clone_from(&event.mood);
    }

    fn handle(&self, mood: String) -> Result<Vec<MoodChanged>, Self::Error> {
        Ok(vec![MoodChanged { mood }])
    }
}

#[tokio::test]
async fn a_state_that_can_not_be_written_is_counted_and_its_events_are_not_concerned() {
    let (store, clock) = open_at_noon("memory:").await;
    let snapshots = open(&*store, &clock, 2).await;
    let moodies =
        Repository::<Moody>::new(store.log()).with_snapshots(snapshots.clone(), EveryEvents(1));
    let large = "x".repeat(1 << 20);
    for (id, mood) in ["fine", "stubborn", "broken"].into_iter().enumerate() {
        moodies
            .execute(&ctx(), &(id as u32), mood.to_owned())
            .await
            .unwrap();
        snapshots.settled().await;
    }
    let stats = snapshots.stats();
    assert_eq!(
        (stats.written, stats.not_encodable, stats.failed),
        (1, 1, 1)
    );
    for (id, mood) in ["fine", "stubborn", "broken"].into_iter().enumerate() {
        let loaded = moodies.load(&ctx(), &(id as u32)).await.unwrap();
        assert_eq!(loaded.state.mood, mood);
    }

    // An event of this size is none that a store takes; two of half the size make the state.
    let half = large[..large.len() / 2].to_owned();
    let error = snapshots
        .write(
            &ctx(),
            &cim_domain::persistence::snapshot::NewSnapshot::new(
                &[&half, &half],
                super::head(1),
                cim_domain::store::Timestamp::EPOCH,
            ),
        )
        .await
        .unwrap_err();
    assert!(matches!(error, SnapshotError::TooLarge { .. }));
    let on_demand = moodies.take_snapshot(&ctx(), &1).await.unwrap_err();
    match on_demand {
        RepositoryError::Snapshot(SnapshotError::Encode { stream, .. }) => {
            assert_eq!(stream.as_str(), "test.moody.1");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_a_runtime_it_is_written_before_the_command_returns() {
    use futures_util::FutureExt as _;
    let work = async {
        let store = cim_domain::store::memory::MemoryStore::new();
        let snapshots = SnapshotStore::open(&store, SnapshotSettings::default())
            .await
            .unwrap();
        let log = cim_domain::store::Store::log(&store);
        let tallies =
            Repository::<Tally>::new(log).with_snapshots(snapshots.clone(), EveryEvents(1));
        tallies.execute(&ctx(), &id(), 1).await.unwrap();
        snapshots.stats().written
    };
    assert_eq!(work.now_or_never(), Some(1));
}

#[tokio::test]
async fn a_demand_is_not_lost_to_an_event_that_comes_right_after() {
    let (store, clock) = open_at_noon("memory:").await;
    let watched = watched(&*store, &clock, EveryEvents(100)).await;
    watched
        .tallies
        .save(&ctx(), &id(), added(1), demanded())
        .await
        .unwrap();
    watched
        .tallies
        .save(&ctx(), &id(), added(2), SaveOptions::default())
        .await
        .unwrap();
    let taken = watched.versions().await;
    assert!(taken == [1] || taken == [2], "{taken:?}");
    assert!(Arc::strong_count(&watched.log) > 1);
}
