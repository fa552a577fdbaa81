//! Loads that begin with a snapshot.

use std::time::Duration;

use cim_domain::LoadOptions;
use cim_domain::persistence::snapshot::SnapshotPolicy::{EveryEvents, OnDemand};
use cim_domain::persistence::{DeleteOptions, Recreation, RepositoryError};
use cim_domain::store::{Clock as _, Version};

use super::{add, anna, id, sum_to, watched};
use crate::account::ctx;
use crate::stores::{on_every_store, on_every_store_with_our_clock};

on_every_store! {
    async fn a_load_reads_only_the_events_after_the_snapshot(store, clock) {
        let watched = watched(&*store, &clock, OnDemand).await;
        add(&watched.tallies, 1..=10).await;
        watched.tallies.take_snapshot(&ctx(), &id()).await.unwrap();
        watched.reads();
        let loaded = watched.tallies.load(&ctx(), &id()).await.unwrap();
        assert_eq!((loaded.state, loaded.version), (sum_to(10), Version::new(10)));
        assert_eq!(watched.reads(), [(11, None)]);

        add(&watched.tallies, 11..=13).await;
        watched.reads();
        let loaded = watched.tallies.load(&ctx(), &id()).await.unwrap();
        assert_eq!((loaded.state, loaded.version), (sum_to(13), Version::new(13)));
        assert_eq!(watched.reads(), [(11, None)]);
        let head = watched.log_head().await;
        assert_eq!(loaded.head, head.unwrap());
    }

    async fn a_command_is_decided_on_a_snapshot_and_what_is_newer(store, clock) {
        let watched = watched(&*store, &clock, OnDemand).await;
        add(&watched.tallies, 1..=5).await;
        watched.tallies.take_snapshot(&ctx(), &id()).await.unwrap();
        watched.reads();
        add(&watched.tallies, 6..=7).await;
        assert_eq!(watched.reads(), [(6, None), (6, None)]);
        assert_eq!(watched.snapshots.stats().loads_with, 2);
    }

    async fn a_load_at_a_version_begins_with_the_newest_snapshot_below(store, clock) {
        let watched = watched(&*store, &clock, EveryEvents(4)).await;
        for to in 1..=10 {
            add(&watched.tallies, to..=to).await;
            watched.snapshots.settled().await;
        }
        assert_eq!(watched.versions().await, [4, 8]);
        watched.reads();
        for (version, read) in [
            (10, (9, Some(10))),
            (9, (9, Some(9))),
            (7, (5, Some(7))),
            (5, (5, Some(5))),
            (3, (1, Some(3))),
        ] {
            let loaded = watched.tallies.load_at_version(&ctx(), &id(), Version::new(version)).await;
            assert_eq!(loaded.unwrap().state, sum_to(version));
            assert_eq!(watched.reads(), [read], "version {version}");
        }
        // At the version of a snapshot itself, the event that it stands on is looked at.
        let loaded = watched.tallies.load_at_version(&ctx(), &id(), Version::new(8)).await;
        assert_eq!(loaded.unwrap().state, sum_to(8));
        assert_eq!(watched.reads(), [(9, Some(8)), (8, Some(8))]);

        let error = watched.tallies.load_at_version(&ctx(), &id(), Version::new(11)).await;
        match error.unwrap_err() {
            RepositoryError::VersionNotFound { actual, .. } => assert_eq!(actual, Version::new(10)),
            other => panic!("{other:?}"),
        }
    }

    async fn whoever_does_not_want_a_snapshot_reads_all_events(store, clock) {
        let watched = watched(&*store, &clock, OnDemand).await;
        add(&watched.tallies, 1..=5).await;
        watched.tallies.take_snapshot(&ctx(), &id()).await.unwrap();
        watched.reads();
        let without = LoadOptions { use_snapshot: false, ..LoadOptions::default() };
        let with_events = LoadOptions { include_events: true, ..LoadOptions::default() };
        for (options, events) in [(without, 0), (with_events, 5)] {
            let loaded = watched.tallies.load_with(&ctx(), &id(), options).await.unwrap();
            assert_eq!((loaded.state, loaded.events.len()), (sum_to(5), events));
            let reads = watched.reads();
            assert!(reads.len() == 1 && reads[0].0 <= 1, "{reads:?}");
        }
    }

    async fn a_bound_on_events_counts_those_that_are_read(store, clock) {
        let watched = watched(&*store, &clock, OnDemand).await;
        add(&watched.tallies, 1..=5).await;
        let bounded = LoadOptions { max_events: Some(2), ..LoadOptions::default() };
        let error = watched.tallies.load_with(&ctx(), &id(), bounded).await.unwrap_err();
        assert!(matches!(error, RepositoryError::TooManyEvents { .. }), "{error:?}");
        watched.tallies.take_snapshot(&ctx(), &id()).await.unwrap();
        add(&watched.tallies, 6..=7).await;
        let loaded = watched.tallies.load_with(&ctx(), &id(), bounded).await.unwrap();
        assert_eq!(loaded.state, sum_to(7));
        add(&watched.tallies, 8..=8).await;
        assert!(watched.tallies.load_with(&ctx(), &id(), bounded).await.is_err());
    }

    async fn a_deleted_aggregate_loses_its_snapshots_and_begins_anew(store, clock) {
        let watched = watched(&*store, &clock, OnDemand).await;
        let tallies = watched.tallies.clone().with_recreation(Recreation::Allow);
        add(&tallies, 1..=3).await;
        tallies.take_snapshot(&ctx(), &id()).await.unwrap();
        assert_eq!(watched.versions().await, [3]);
        tallies.delete(&ctx(), &id(), DeleteOptions::default()).await.unwrap();
        assert_eq!(watched.versions().await, [0; 0]);
        let error = tallies.load(&ctx(), &id()).await.unwrap_err();
        assert!(matches!(error, RepositoryError::Deleted { .. }), "{error:?}");
        let error = tallies.take_snapshot(&ctx(), &id()).await.unwrap_err();
        assert!(matches!(error, RepositoryError::Deleted { .. }), "{error:?}");

        add(&tallies, 1..=2).await;
        tallies.take_snapshot(&ctx(), &id()).await.unwrap();
        watched.reads();
        assert_eq!(tallies.load(&ctx(), &id()).await.unwrap().state, sum_to(2));
        assert_eq!(watched.reads(), [(7, None)]);
        // Before it was deleted it was what it was.
        let before = tallies.load_at_version(&ctx(), &id(), Version::new(3)).await.unwrap();
        assert_eq!(before.state, sum_to(3));
    }

    async fn a_snapshot_that_outlived_its_aggregate_goes_when_somebody_meets_it(store, clock) {
        let watched = watched(&*store, &clock, OnDemand).await;
        add(&watched.tallies, 1..=3).await;
        watched.tallies.take_snapshot(&ctx(), &id()).await.unwrap();
        let elsewhere = cim_domain::Repository::<crate::snapshots::Tally>::new(store.log());
        elsewhere.delete(&ctx(), &id(), DeleteOptions::default()).await.unwrap();
        assert_eq!(watched.versions().await, [3]);
        assert!(watched.tallies.load(&ctx(), &id()).await.is_err());
        assert_eq!(watched.versions().await, [0; 0]);
    }

    async fn an_aggregate_that_does_not_exist_has_no_snapshot(store, clock) {
        let watched = watched(&*store, &clock, EveryEvents(1)).await;
        assert!(watched.tallies.load(&ctx(), &id()).await.unwrap_err().is_not_found());
        assert!(watched.tallies.take_snapshot(&ctx(), &id()).await.unwrap_err().is_not_found());
        assert_eq!(watched.versions().await, [0; 0]);
        assert!(watched.snapshots.history(&ctx(), &anna()).await.unwrap().is_empty());
    }
}

on_every_store_with_our_clock! {
    async fn a_load_as_of_a_time_begins_with_the_newest_snapshot_from_before(store, clock) {
        let watched = watched(&*store, &clock, EveryEvents(3)).await;
        let begin = clock.now();
        for number in 1..=7 {
            clock.advance(Duration::from_secs(1));
            add(&watched.tallies, number..=number).await;
            watched.snapshots.settled().await;
        }
        assert_eq!(watched.versions().await, [3, 6]);
        for (second, from) in [(7, 7), (6, 7), (5, 4), (3, 4), (2, 1)] {
            watched.reads();
            let moment = begin.saturating_add(Duration::from_secs(second));
            let loaded = watched.tallies.load_as_of(&ctx(), &id(), moment).await.unwrap();
            assert_eq!((loaded.state, loaded.stored_at), (sum_to(second), moment));
            assert_eq!(watched.reads(), [(from, None)], "after {second} s");
        }
        let error = watched.tallies.load_as_of(&ctx(), &id(), begin).await.unwrap_err();
        assert!(error.is_not_found());
    }
}
