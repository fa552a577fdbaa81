//! The snapshot store by itself.

use std::time::Duration;

use cim_domain::persistence::snapshot::{
    IgnoredSnapshot, NewSnapshot, Newest, Prune, Snapshot, SnapshotError, SnapshotQuery,
    SnapshotSettings, SnapshotStore, Written,
};
use cim_domain::store::{
    BucketExt as _, Clock as _, Key, StreamId, StreamPattern, Timestamp, Version,
};
use futures_util::TryStreamExt as _;
use proptest::prelude::*;

use super::{anna, at, head, key, open};
use crate::account::ctx;
use crate::stores::{on_every_store, on_every_store_with_our_clock, open_at_noon};

async fn newest(snapshots: &SnapshotStore, query: SnapshotQuery) -> Newest<u64> {
    snapshots.newest(&ctx(), &anna(), query).await.unwrap()
}

/// State and version of the newest one.
async fn found(snapshots: &SnapshotStore, query: SnapshotQuery) -> Option<(u64, u64)> {
    let found = newest(snapshots, query).await.found();
    found.map(|snapshot| (snapshot.state, snapshot.head.version.get()))
}

async fn write(snapshots: &SnapshotStore, state: u64, version: u64) -> Written {
    snapshots.write(&ctx(), &at(&state, version)).await.unwrap()
}

fn any() -> SnapshotQuery {
    SnapshotQuery::default()
}

on_every_store! {
    async fn what_was_written_is_found_with_the_event_that_it_stands_on(store, clock) {
        let snapshots = open(&*store, &clock, 2).await;
        assert_eq!(newest(&snapshots, any()).await, Newest::None);
        assert!(matches!(write(&snapshots, 700, 3).await, Written::Stored(_)));
        let found = newest(&snapshots, any()).await.found().unwrap();
        assert_eq!((found.state, &found.head), (700, &head(3)));
        assert_eq!((found.stored_at, found.taken_at), (Timestamp::from_seconds(3), clock.now()));
        assert_eq!(found.subject().unwrap(), "cim.snapshots.account.anna.3");
        assert_eq!(snapshots.stats().written, 1);
    }

    async fn an_older_one_never_takes_the_place_of_a_newer_one(store, clock) {
        let snapshots = open(&*store, &clock, 2).await;
        write(&snapshots, 5, 5).await;
        for older in [4, 5] {
            assert_eq!(write(&snapshots, 99, older).await, Written::Superseded);
        }
        assert_eq!(found(&snapshots, any()).await, Some((5, 5)));
        write(&snapshots, 6, 6).await;
        assert_eq!(found(&snapshots, any()).await, Some((6, 6)));
        assert_eq!((snapshots.stats().written, snapshots.stats().superseded), (2, 2));
    }

    async fn of_many_that_write_at_the_same_time_the_newest_is_there_in_the_end(store, clock) {
        let snapshots = open(&*store, &clock, 3).await;
        let writes = [3, 8, 1, 5, 8, 2, 7, 6].map(|version| {
            let snapshots = snapshots.clone();
            tokio::spawn(async move { write(&snapshots, version, version).await })
        });
        for write in writes {
            write.await.unwrap();
        }
        assert_eq!(found(&snapshots, any()).await, Some((8, 8)));
        let kept = snapshots.history(&ctx(), &anna()).await.unwrap();
        let versions: Vec<_> = kept.into_iter().map(|kept| kept.snapshot.unwrap().head.version).collect();
        assert!(versions.is_sorted() && versions.len() <= 3, "{versions:?}");
    }

    async fn the_last_ones_are_kept_and_found_by_version_and_time(store, clock) {
        let snapshots = open(&*store, &clock, 3).await;
        for version in [10, 20, 30, 40] {
            write(&snapshots, version, version).await;
        }
        for (up_to, expected) in [(45, Some(40)), (40, Some(40)), (39, Some(30)), (20, Some(20)), (19, None)] {
            let by_version = SnapshotQuery { up_to_version: Some(Version::new(up_to)), ..any() };
            let expected = expected.map(|version| (version, version));
            assert_eq!(found(&snapshots, by_version).await, expected, "version {up_to}");
            let moment = Some(Timestamp::from_seconds(up_to as i64));
            let by_time = SnapshotQuery { up_to_time: moment, ..any() };
            assert_eq!(found(&snapshots, by_time).await, expected, "time {up_to}");
        }
        assert_eq!(snapshots.history(&ctx(), &anna()).await.unwrap().len(), 3);
    }

    async fn a_damaged_one_is_ignored_for_the_one_before_it_and_replaced(store, clock) {
        let snapshots = open(&*store, &clock, 2).await;
        write(&snapshots, 1, 1).await;
        write(&snapshots, 2, 2).await;
        let bucket = snapshots.bucket();
        let mut value = bucket.get(&ctx(), &key()).await.unwrap().unwrap().value.to_vec();
        let last = value.len() - 1;
        value[last] ^= 1;
        // The damage takes the place of the first; the second stays.
        bucket.set(&ctx(), &key(), value.into()).await.unwrap();
        assert_eq!(found(&snapshots, any()).await, Some((2, 2)));
        assert_eq!(snapshots.stats().ignored(IgnoredSnapshot::Damaged), 1);
        assert!(matches!(write(&snapshots, 2, 2).await, Written::Stored(_)));
        assert_eq!(newest(&snapshots, any()).await.found().unwrap().state, 2);
        assert_eq!(snapshots.stats().ignored(IgnoredSnapshot::Damaged), 1);
    }

    async fn where_none_can_be_used_the_reason_is_told(store, clock) {
        let snapshots = open(&*store, &clock, 1).await;
        let bucket = snapshots.bucket().clone();
        let (ctx, key) = (ctx(), key());
        bucket.set(&ctx, &key, "no snapshot".into()).await.unwrap();
        assert_eq!(newest(&snapshots, any()).await, Newest::Ignored(IgnoredSnapshot::Damaged));

        write(&snapshots, 1, 1).await;
        let second = SnapshotQuery { schema_version: 2, ..any() };
        assert_eq!(newest(&snapshots, second).await, Newest::Ignored(IgnoredSnapshot::OtherSchema));

        let other_shape = snapshots.newest::<String>(&ctx, &anna(), any()).await.unwrap();
        assert_eq!(other_shape, Newest::Ignored(IgnoredSnapshot::Unreadable));

        let bert = StreamId::new("bank", "account", "bert").unwrap();
        let annas = bucket.get(&ctx, &key).await.unwrap().unwrap().value;
        let berts = Key::new(bert.as_str().to_owned()).unwrap();
        bucket.set(&ctx, &berts, annas.clone()).await.unwrap();
        let newest_of_bert = snapshots.newest::<u64>(&ctx, &bert, any()).await.unwrap();
        assert_eq!(newest_of_bert, Newest::Ignored(IgnoredSnapshot::OtherAggregate));

        let mut later = annas.to_vec();
        later[7] = 2; // the version of the format
        bucket.set(&ctx, &key, later.into()).await.unwrap();
        assert_eq!(newest(&snapshots, any()).await, Newest::Ignored(IgnoredSnapshot::OtherFormat));
    }

    async fn a_snapshot_of_another_schema_is_replaced_whatever_its_version(store, clock) {
        let snapshots = open(&*store, &clock, 2).await;
        write(&snapshots, 9, 9).await;
        let second = SnapshotQuery { schema_version: 2, ..any() };
        let written = snapshots.write(&ctx(), &at(&5, 5).with_schema_version(2)).await.unwrap();
        assert!(matches!(written, Written::Stored(_)));
        assert_eq!(found(&snapshots, second).await, Some((5, 5)));
        // Both versions of a program find their own while they run side by side.
        assert_eq!(found(&snapshots, any()).await, Some((9, 9)));
    }

    async fn one_that_does_not_stand_on_the_log_is_replaced_by_its_revision(store, clock) {
        let snapshots = open(&*store, &clock, 1).await;
        let Written::Stored(ahead) = write(&snapshots, 9, 9).await else { panic!() };
        let replacing = at(&2, 2).in_place_of(ahead);
        assert!(matches!(snapshots.write(&ctx(), &replacing).await.unwrap(), Written::Stored(_)));
        assert_eq!(found(&snapshots, any()).await, Some((2, 2)));
        // Meant was that one, and none that came later.
        write(&snapshots, 3, 3).await;
        assert_eq!(snapshots.write(&ctx(), &replacing).await.unwrap(), Written::Superseded);
    }

    async fn operators_list_delete_and_prune(store, clock) {
        let snapshots = open(&*store, &clock, 2).await;
        let (ctx, all) = (ctx(), "bank.account.*".parse::<StreamPattern>().unwrap());
        let of = |id: &str| StreamId::new("bank", "account", id).unwrap();
        for (id, schema) in [("a", 1), ("b", 2), ("c", 2)] {
            let head = cim_domain::store::Head { stream: of(id), ..head(1) };
            let new = NewSnapshot::new(&1_u64, head, Timestamp::EPOCH).with_schema_version(schema);
            snapshots.write(&ctx, &new).await.unwrap();
        }
        let broken = Key::new("bank.account.d").unwrap();
        snapshots.bucket().set(&ctx, &broken, "?".into()).await.unwrap();
        let list = async || {
            let listed = snapshots.list(&ctx, &all).await.unwrap();
            let mut listed: Vec<_> = listed.map_ok(|stored| stored.key.to_string()).try_collect().await.unwrap();
            listed.sort();
            listed.iter().map(|key| key.rsplit('.').next().unwrap().to_owned()).collect::<String>()
        };
        assert_eq!(list().await, "abcd");
        snapshots.delete(&ctx, &of("c")).await.unwrap();
        snapshots.delete(&ctx, &of("c")).await.unwrap();
        assert_eq!(list().await, "abd");
        assert!(snapshots.history(&ctx, &of("c")).await.unwrap().is_empty());

        let nothing = snapshots.prune(&ctx, &all, Prune::default()).await.unwrap();
        assert_eq!((nothing.seen, nothing.removed), (3, 0));
        let old_schema = Prune { schema_below: Some(2), ..Prune::default() };
        assert_eq!(snapshots.prune(&ctx, &all, old_schema).await.unwrap().removed, 1);
        assert_eq!(list().await, "bd");
        let unusable = Prune { unusable: true, ..Prune::default() };
        assert_eq!(snapshots.prune(&ctx, &all, unusable).await.unwrap().removed, 1);
        let later = Prune { taken_before: Some(Timestamp::from_seconds(1 << 40)), ..Prune::default() };
        assert_eq!(snapshots.prune(&ctx, &all, later).await.unwrap().removed, 1);
        assert_eq!(list().await, "");
    }

    async fn what_can_not_be_a_snapshot_is_refused_before_it_is_sent(store, clock) {
        let snapshots = open(&*store, &clock, 2).await;
        let large = "x".repeat(1 << 20);
        let new = NewSnapshot::new(&large, head(1), Timestamp::EPOCH);
        let error = snapshots.write(&ctx(), &new).await.unwrap_err();
        assert!(matches!(error, SnapshotError::TooLarge { max: 1_048_576, .. }), "{error}");
        let new = NewSnapshot::new(&f64::NAN, head(1), Timestamp::EPOCH);
        let error = snapshots.write(&ctx(), &new).await.unwrap_err();
        assert!(matches!(error, SnapshotError::Encode { .. }), "{error}");
        let stats = snapshots.stats();
        assert_eq!((stats.too_large, stats.not_encodable, stats.written), (1, 1, 0));
    }

    async fn a_bucket_that_was_made_with_other_settings_is_refused(store, clock) {
        open(&*store, &clock, 2).await;
        let settings = SnapshotSettings { keep: 3, ..SnapshotSettings::default() };
        let error = SnapshotStore::open(&*store, settings).await.unwrap_err();
        assert!(matches!(error, SnapshotError::Store(_)));
        let settings = SnapshotSettings { bucket: "no bucket", ..SnapshotSettings::default() };
        let error = SnapshotStore::open(&*store, settings).await.unwrap_err();
        assert_eq!(error.to_string(), "`no bucket` can't be the name of a bucket");
    }
}

on_every_store_with_our_clock! {
    async fn they_end_when_their_time_is_over(store, clock) {
        let ttl = Some(Duration::from_secs(60));
        let settings = SnapshotSettings { ttl, ..SnapshotSettings::default() };
        let snapshots = SnapshotStore::open(&*store, settings).await.unwrap();
        write(&snapshots, 1, 1).await;
        clock.advance(Duration::from_secs(59));
        assert_eq!(found(&snapshots, any()).await, Some((1, 1)));
        clock.advance(Duration::from_secs(1));
        assert_eq!(newest(&snapshots, any()).await, Newest::None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is written in whatever order: what is found is what the greatest version so far had.
    #[test]
    fn the_newest_is_the_greatest_version_that_was_written(versions in prop::collection::vec(1..20_u64, 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (store, clock) = open_at_noon("memory:").await;
            let snapshots = open(&*store, &clock, 2).await;
            let mut greatest = 0;
            for version in versions {
                write(&snapshots, version, version).await;
                greatest = greatest.max(version);
                let found: Option<Snapshot<u64>> = newest(&snapshots, any()).await.found();
                assert_eq!(found.unwrap().state, greatest);
            }
        });
    }
}
