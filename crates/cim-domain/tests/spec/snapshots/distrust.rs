//! Snapshots that don't deserve trust: loads give what the events say, and the next append replaces
//! them.

use std::sync::Arc;

use bytes::Bytes;
use cim_conformance::{FaultLayer, FaultPlan};
use cim_domain::persistence::snapshot::SnapshotPolicy::{EveryEvents, OnDemand};
use cim_domain::persistence::snapshot::{
    IgnoredSnapshot, NewSnapshot, SnapshotSettings, SnapshotStore,
};
use cim_domain::store::{BucketExt as _, EventLogExt as _, Store, SystemIds, Version};
use cim_domain::{Repository, persistence::LoadVerification};

use super::{Tally, Watched, add, anna, id, key, open, sum_to, watched};
use crate::account::ctx;
use crate::stores::{on_every_store, open_at_noon};

/// The value of anna's snapshot after `events` events of another history.
pub(super) async fn of_another_history(events: u64) -> Bytes {
    let (store, clock) = open_at_noon("memory:").await;
    let other = watched(&*store, &clock, OnDemand).await;
    for number in 0..events {
        other
            .tallies
            .execute(&ctx(), &id(), 1000 + number)
            .await
            .unwrap();
    }
    other.tallies.take_snapshot(&ctx(), &id()).await.unwrap();
    present(&other).await
}

async fn present(watched: &Watched) -> Bytes {
    watched
        .snapshots
        .bucket()
        .get(&ctx(), &key())
        .await
        .unwrap()
        .unwrap()
        .value
}

async fn place(watched: &Watched, value: Bytes) {
    // Twice, so that there is no sound one before it.
    for _ in 0..2 {
        watched
            .snapshots
            .bucket()
            .set(&ctx(), &key(), value.clone())
            .await
            .unwrap();
    }
}

/// With this in the bucket: a load gives what the events say and counts the reason, and the next
/// append replaces it.
async fn is_ignored_and_replaced(
    store: &dyn Store,
    value: Bytes,
    events: u64,
    reason: IgnoredSnapshot,
) {
    let clock = cim_domain::store::ManualClock::at(crate::stores::NOON);
    let watched = watched(store, &clock, EveryEvents(1_000)).await;
    add(&watched.tallies, 1..=events).await;
    place(&watched, value).await;
    let before = watched.snapshots.stats().ignored(reason);
    let loaded = watched.tallies.load(&ctx(), &id()).await.unwrap();
    assert_eq!(
        (loaded.state, loaded.version),
        (sum_to(events), Version::new(events))
    );
    let stats = watched.snapshots.stats();
    assert_eq!((stats.ignored(reason) - before, stats.written), (1, 0));

    add(&watched.tallies, events + 1..=events + 1).await;
    assert_eq!(watched.versions().await.last(), Some(&(events + 1)));
    let stats = watched.snapshots.stats();
    assert_eq!((stats.written, stats.failed), (1, 0));
    watched.reads();
    let loaded = watched.tallies.load(&ctx(), &id()).await.unwrap();
    assert_eq!(loaded.state, sum_to(events + 1));
    assert_eq!(watched.reads(), [(events + 2, None)]);
}

on_every_store! {
    async fn one_that_is_ahead_of_the_log(store, _clock) {
        let value = of_another_history(6).await;
        is_ignored_and_replaced(&*store, value, 3, IgnoredSnapshot::AheadOfLog).await;
    }

    async fn one_of_another_history_at_the_same_version(store, _clock) {
        let value = of_another_history(4).await;
        is_ignored_and_replaced(&*store, value, 4, IgnoredSnapshot::OtherHistory).await;
    }

    async fn one_of_another_history_with_events_after_it(store, _clock) {
        let value = of_another_history(2).await;
        is_ignored_and_replaced(&*store, value, 5, IgnoredSnapshot::OtherHistory).await;
    }

    async fn one_that_is_damaged(store, _clock) {
        let mut value = of_another_history(2).await.to_vec();
        let middle = value.len() / 2;
        value[middle] ^= 0x10;
        is_ignored_and_replaced(&*store, value.into(), 5, IgnoredSnapshot::Damaged).await;
    }

    async fn one_that_is_no_snapshot(store, _clock) {
        let value = "{}".into();
        is_ignored_and_replaced(&*store, value, 5, IgnoredSnapshot::Damaged).await;
    }

    async fn one_of_another_schema_and_one_of_another_shape(store, clock) {
        let watched = watched(&*store, &clock, EveryEvents(1_000)).await;
        add(&watched.tallies, 1..=4).await;
        let head = watched.log_head().await.unwrap();
        let sound = sum_to(4);
        let other_schema = NewSnapshot::new(&sound, head.clone(), crate::stores::NOON).with_schema_version(2);
        let other_shape = NewSnapshot::new("no tally", head, crate::stores::NOON);
        watched.snapshots.write(&ctx(), &other_schema).await.unwrap();
        assert_eq!(watched.tallies.load(&ctx(), &id()).await.unwrap().state, sum_to(4));
        assert_eq!(watched.snapshots.stats().ignored(IgnoredSnapshot::OtherSchema), 1);
        watched.snapshots.write(&ctx(), &other_shape).await.unwrap();
        assert_eq!(watched.tallies.load(&ctx(), &id()).await.unwrap().state, sum_to(4));
        assert_eq!(watched.snapshots.stats().ignored(IgnoredSnapshot::Unreadable), 1);
        add(&watched.tallies, 5..=5).await;
        assert_eq!(watched.versions().await.last(), Some(&5));
    }

    async fn one_before_it_that_is_sound_is_used(store, clock) {
        let watched = watched(&*store, &clock, OnDemand).await;
        add(&watched.tallies, 1..=4).await;
        watched.tallies.take_snapshot(&ctx(), &id()).await.unwrap();
        watched.snapshots.bucket().set(&ctx(), &key(), "damaged".into()).await.unwrap();
        watched.reads();
        assert_eq!(watched.tallies.load(&ctx(), &id()).await.unwrap().state, sum_to(4));
        assert_eq!(watched.reads(), [(5, None)]);
    }

    async fn a_bucket_that_fails_fails_no_load_and_no_command(store, clock) {
        let sound = watched(&*store, &clock, OnDemand).await;
        add(&sound.tallies, 1..=3).await;
        sound.tallies.take_snapshot(&ctx(), &id()).await.unwrap();
        let faults = FaultLayer::new(FaultPlan::random(1, 1), Arc::new(SystemIds));
        let bucket = faults.bucket(sound.snapshots.bucket().clone());
        let failing = SnapshotStore::new(bucket, SnapshotSettings::default());
        let tallies = Repository::<Tally>::new(store.log()).with_snapshots(failing.clone(), EveryEvents(1));
        for number in 4..=6 {
            add(&tallies, number..=number).await;
            failing.settled().await;
        }
        assert_eq!(tallies.load(&ctx(), &id()).await.unwrap().state, sum_to(6));
        let stats = failing.stats();
        assert_eq!((stats.unavailable, stats.loads_with, stats.written), (4, 0, 0));
        assert_eq!(stats.failed, 3);
        assert!(tallies.take_snapshot(&ctx(), &id()).await.is_err());
    }

    async fn a_snapshot_is_part_of_the_chain_that_is_verified(store, clock) {
        let watched = watched(&*store, &clock, OnDemand).await;
        let tallies = watched.tallies.clone().with_verification(LoadVerification::EveryRead);
        add(&tallies, 1..=4).await;
        tallies.take_snapshot(&ctx(), &id()).await.unwrap();
        add(&tallies, 5..=6).await;
        assert_eq!(tallies.load(&ctx(), &id()).await.unwrap().state, sum_to(6));
        assert!(watched.snapshots.stats().loads_with >= 3);
    }
}

#[tokio::test]
async fn a_snapshot_of_a_lost_event_is_not_used_when_the_version_comes_again() {
    // A store that was put back to an earlier copy: the snapshots went on, the log did not.
    let (store, clock) = open_at_noon("memory:").await;
    let before = watched(&*store, &clock, EveryEvents(1)).await;
    add(&before.tallies, 1..=6).await;
    before.snapshots.settled().await;
    let left_behind = present(&before).await;

    let (restored, clock) = open_at_noon("memory:").await;
    let after = watched(&*restored, &clock, EveryEvents(1_000)).await;
    add(&after.tallies, 1..=4).await;
    place(&after, left_behind).await;
    for number in 5..=9 {
        // From version 6 on the event after the snapshot names another one before it.
        let expected = sum_to(number - 1);
        assert_eq!(
            after.tallies.load(&ctx(), &id()).await.unwrap().state,
            expected
        );
        after.tallies.execute(&ctx(), &id(), number).await.unwrap();
    }
}

impl Watched {
    pub(super) async fn log_head(&self) -> Option<cim_domain::store::Head> {
        let log: Arc<dyn cim_domain::store::EventLog> = self.log.clone();
        log.head(&ctx(), &anna()).await.unwrap()
    }
}

#[tokio::test]
async fn whose_snapshot_is_forged_in_the_bucket_says_so_to_nobody_but_is_bound_to_its_event() {
    let (store, clock) = open_at_noon("memory:").await;
    let snapshots = open(&*store, &clock, 1).await;
    let tallies = Repository::<Tally>::new(store.log()).with_snapshots(snapshots.clone(), OnDemand);
    add(&tallies, 1..=3).await;
    let head = store.log().head(&ctx(), &anna()).await.unwrap().unwrap();
    let forged = Tally {
        sum: 1_000_000,
        count: 3,
    };
    let new = NewSnapshot::new(&forged, head, crate::stores::NOON);
    snapshots.write(&ctx(), &new).await.unwrap();
    // Who can write to the bucket decides what its snapshots say; the guide names the way out.
    assert_eq!(tallies.load(&ctx(), &id()).await.unwrap().state, forged);
    let without = cim_domain::LoadOptions {
        use_snapshot: false,
        ..Default::default()
    };
    assert_eq!(
        tallies
            .load_with(&ctx(), &id(), without)
            .await
            .unwrap()
            .state,
        sum_to(3)
    );
    assert_eq!(
        store.log().version(&ctx(), &anna()).await.unwrap(),
        Version::new(3)
    );
}
