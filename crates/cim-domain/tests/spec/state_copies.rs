//! Copies of states: what other services read, and how it is put right.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cim_conformance::{FaultLayer, FaultPlan};
use cim_domain::persistence::state_copies::{
    StateChange, StateCopies, StateCopy, StateCopyError, StateCopySettings,
};
use cim_domain::persistence::{
    CopyCondition, DeleteOptions, Recreation, RepositoryError, UnknownEvents,
};
use cim_domain::store::{
    Append, BucketExt as _, BucketName, BucketSettings, EventLogExt as _, ExpectedVersion, Key,
    NewEvent, Store, StreamId, StreamPattern, SubjectPattern, SystemIds, Version, WatchFrom,
};
use cim_domain::{Aggregate, DomainEvent, Repository, SaveOptions};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::account::ctx;
use crate::held_bucket::HeldBucket;
use crate::stores::{on_every_store, on_every_store_with_our_clock, open_at_noon};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Cart {
    articles: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
enum CartEvent {
    ArticleAdded { article: String },
}

impl Aggregate for Cart {
    const CONTEXT: &'static str = "shop";
    const TYPE: &'static str = "cart";
    const SNAPSHOT_VERSION: u32 = 3;
    type Id = String;
    type Event = CartEvent;
    type Command = String;
    type Error = std::convert::Infallible;

    fn apply(&mut self, CartEvent::ArticleAdded { article }: &CartEvent) {
        self.articles.push(article.clone());
    }

    fn handle(&self, article: String) -> Result<Vec<CartEvent>, Self::Error> {
        Ok(vec![CartEvent::ArticleAdded { article }])
    }
}

fn anna() -> String {
    "anna@example.com".to_owned()
}

fn stream() -> StreamId {
    Cart::stream(&anna()).unwrap()
}

fn all() -> StreamPattern {
    "shop.cart.*".parse().unwrap()
}

fn v(number: u64) -> Version {
    Version::new(number)
}

async fn open(store: &dyn Store) -> (Repository<Cart>, StateCopies) {
    let settings = StateCopySettings::default();
    let copies = StateCopies::open(store, settings).await.unwrap();
    let carts = Repository::new(store.log()).with_state_copies(copies.clone());
    (carts, copies)
}

/// Adds an article and waits until it is copied.
async fn add(carts: &Repository<Cart>, article: &str) {
    carts
        .execute(&ctx(), &anna(), article.to_owned())
        .await
        .unwrap();
    carts.state_copies().unwrap().settled().await;
}

async fn copy(copies: &StateCopies) -> Option<StateCopy<Cart>> {
    copies.get(&ctx(), &stream()).await.unwrap()
}

/// Version and number of articles of the copy.
async fn copied(copies: &StateCopies) -> Option<(u64, usize)> {
    let copy = copy(copies).await?;
    Some((copy.version.get(), copy.state.articles.len()))
}

fn key(version: u64) -> Key {
    Key::new(format!("cim.aggregates.{}.state.{version}", stream())).unwrap()
}

/// The versions whose keys will stay.
async fn staying(copies: &StateCopies) -> Vec<u64> {
    let entries = copies
        .bucket()
        .entries(&ctx(), &SubjectPattern::all())
        .await
        .unwrap();
    let entries: Vec<_> = entries.map(Result::unwrap).collect().await;
    let mut versions: Vec<u64> = entries
        .iter()
        .filter(|entry| entry.expires_at.is_none())
        .map(|entry| {
            entry
                .key
                .as_str()
                .rsplit('.')
                .next()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    versions.sort_unstable();
    versions
}

on_every_store! {
    async fn after_each_save_the_state_can_be_read_as_json(store, _clock) {
        let (carts, copies) = open(&*store).await;
        assert_eq!(copy(&copies).await, None);
        add(&carts, "lamp").await;
        let events = ["table", "chair"].map(|article| CartEvent::ArticleAdded { article: article.into() });
        carts.save(&ctx(), &anna(), events.into(), SaveOptions::default()).await.unwrap();
        copies.settled().await;

        let head = store.log().head(&ctx(), &stream()).await.unwrap().unwrap();
        let last = store.log().read_all(&ctx(), &stream()).await.unwrap().pop().unwrap();
        let found = copy(&copies).await.unwrap();
        assert_eq!(found.state.articles, ["lamp", "table", "chair"]);
        assert_eq!((&found.stream, found.version, found.position, found.cid), (&stream(), v(3), head.position, head.cid));
        assert_eq!((found.stored_at, found.state_version), (last.stored_at, 3));

        // As any client sees it.
        let value = copies.bucket().get(&ctx(), &key(3)).await.unwrap().unwrap().value;
        let value: Value = serde_json::from_slice(&value).unwrap();
        assert_eq!(value, json!({
            "format": 1,
            "stream": "shop.cart.anna=40example=2Ecom",
            "version": 3,
            "position": head.position.get(),
            "cid": head.cid.to_string(),
            "stored_at": last.stored_at.to_string(),
            "state_version": 3,
            "state": { "articles": ["lamp", "table", "chair"] },
        }));
        let any: StateCopy = copies.get(&ctx(), &stream()).await.unwrap().unwrap();
        assert_eq!(any.state["articles"][1], "table");
    }

    async fn only_the_newest_stays(store, _clock) {
        let (carts, copies) = open(&*store).await;
        for article in ["lamp", "table", "chair", "vase"] {
            add(&carts, article).await;
        }
        assert_eq!(staying(&copies).await, [4]);
        assert_eq!(copied(&copies).await, Some((4, 4)));
    }

    async fn as_many_stay_as_are_to_be_kept(store, _clock) {
        let settings = StateCopySettings { keep: 3, ..StateCopySettings::default() };
        let copies = StateCopies::open(&*store, settings).await.unwrap();
        let carts = Repository::<Cart>::new(store.log()).with_state_copies(copies.clone());
        for article in ["lamp", "table", "chair", "vase", "rug"] {
            add(&carts, article).await;
        }
        assert_eq!(staying(&copies).await, [3, 4, 5]);
        assert_eq!(carts.repair_state_copy(&ctx(), &anna()).await.unwrap(), CopyCondition::Sound);
    }

    async fn what_is_read_never_goes_back(store, _clock) {
        let (carts, copies) = open(&*store).await;
        let (other, _) = open(&*store).await;
        let mut last = 0;
        for round in 0..10 {
            let (one, two) = (carts.clone(), other.clone());
            let tasks = [
                tokio::spawn(async move { one.execute(&ctx(), &anna(), "a".into()).await }),
                tokio::spawn(async move { two.execute(&ctx(), &anna(), "b".into()).await }),
            ];
            for task in tasks {
                task.await.unwrap().unwrap();
                let (version, articles) = copied(&copies).await.unwrap_or_default();
                assert!(version >= last, "round {round}: {version} after {last}");
                assert_eq!(version, articles as u64);
                last = version;
            }
        }
        carts.state_copies().unwrap().settled().await;
        other.state_copies().unwrap().settled().await;
        assert_eq!(copied(&copies).await, Some((20, 20)));
        assert_eq!(staying(&copies).await, [20]);
    }

    async fn the_copy_of_a_deleted_aggregate_goes_away(store, _clock) {
        let (carts, copies) = open(&*store).await;
        let carts = carts.with_recreation(Recreation::Allow);
        add(&carts, "lamp").await;
        carts.delete(&ctx(), &anna(), DeleteOptions::default()).await.unwrap();
        copies.settled().await;
        assert_eq!((copy(&copies).await, staying(&copies).await), (None, vec![]));
        assert_eq!(carts.repair_state_copy(&ctx(), &anna()).await.unwrap(), CopyCondition::Sound);

        add(&carts, "table").await;
        assert_eq!(copied(&copies).await, Some((3, 1)));
        assert_eq!(staying(&copies).await, [3]);
    }

    async fn whoever_was_slow_does_not_bring_back_what_was_deleted(store, _clock) {
        let (carts, copies) = open(&*store).await;
        let held = HeldBucket::new(copies.bucket().clone());
        let slow = StateCopies::new(held.clone(), StateCopySettings::default()).unwrap();
        let slow_carts = Repository::<Cart>::new(store.log()).with_state_copies(slow.clone());
        slow_carts.execute(&ctx(), &anna(), "lamp".into()).await.unwrap();
        carts.delete(&ctx(), &anna(), DeleteOptions::default()).await.unwrap();
        copies.settled().await;
        held.let_go();
        slow.settled().await;
        assert_eq!((copy(&copies).await, staying(&copies).await), (None, vec![]));
    }

    async fn whoever_was_slow_catches_up_by_itself(store, _clock) {
        let (_, copies) = open(&*store).await;
        let held = HeldBucket::new(copies.bucket().clone());
        let slow = StateCopies::new(held.clone(), StateCopySettings::default()).unwrap();
        let slow_carts = Repository::<Cart>::new(store.log()).with_state_copies(slow.clone());
        slow_carts.execute(&ctx(), &anna(), "lamp".into()).await.unwrap();
        // Somebody who copies nothing.
        let others = Repository::<Cart>::new(store.log());
        others.execute(&ctx(), &anna(), "table".into()).await.unwrap();
        held.let_go();
        slow.settled().await;
        assert_eq!(copied(&copies).await, Some((2, 2)));
        assert_eq!(staying(&copies).await, [2]);
    }

    async fn a_process_that_died_before_the_copy_leaves_lag_and_a_repair_heals_it(store, _clock) {
        let (carts, copies) = open(&*store).await;
        add(&carts, "lamp").await;
        // What a process that dies between append and copy leaves: the events alone.
        let dies = Repository::<Cart>::new(store.log());
        dies.execute(&ctx(), &anna(), "table".into()).await.unwrap();
        dies.execute(&ctx(), &anna(), "chair".into()).await.unwrap();
        let lag = carts.state_copy_lag(&ctx(), &anna()).await.unwrap();
        assert_eq!((lag.aggregate, lag.copy, lag.events()), (v(3), v(1), 2));
        assert_eq!(copied(&copies).await, Some((1, 1)));

        assert_eq!(carts.repair_state_copy(&ctx(), &anna()).await.unwrap(), CopyCondition::Lagging);
        assert_eq!(copied(&copies).await, Some((3, 3)));
        assert_eq!(carts.state_copy_lag(&ctx(), &anna()).await.unwrap().events(), 0);
        assert_eq!(carts.repair_state_copy(&ctx(), &anna()).await.unwrap(), CopyCondition::Sound);
        assert_eq!(staying(&copies).await, [3]);
    }

    async fn a_process_that_died_after_an_append_is_made_up_for_by_the_next_one(store, _clock) {
        let (carts, copies) = open(&*store).await;
        let dies = Repository::<Cart>::new(store.log());
        dies.execute(&ctx(), &anna(), "lamp".into()).await.unwrap();
        add(&carts, "table").await;
        assert_eq!(copied(&copies).await, Some((2, 2)));
    }

    async fn damage_is_an_error_that_names_the_key_and_is_repaired(store, _clock) {
        let (carts, copies) = open(&*store).await;
        add(&carts, "lamp").await;
        for value in [
            "no json",
            "{}",
            r#"{"format":2,"stream":"shop.cart.anna=40example=2Ecom","version":1,"position":1,"cid":"bafyreictu6cehkr2w6bqsadmclnliebkuqyqxq5zrpuvdi4sx6dyqfs22u","stored_at":"2026-11-20T12:00:00Z","state_version":3,"state":{}}"#,
        ] {
            copies.bucket().set(&ctx(), &key(1), value.into()).await.unwrap();
            let error = copies.get::<Cart>(&ctx(), &stream()).await.unwrap_err();
            assert!(matches!(&error, StateCopyError::Unreadable { key: named, .. } if named == key(1).as_str()));
            let condition = carts.repair_state_copy(&ctx(), &anna()).await.unwrap();
            assert_eq!(condition, CopyCondition::Damaged);
            assert_eq!(copied(&copies).await, Some((1, 1)));
        }
        // Whole, but not what the events say.
        let sound = copies.bucket().get(&ctx(), &key(1)).await.unwrap().unwrap().value;
        let forged = std::str::from_utf8(&sound).unwrap().replace("lamp", "gold");
        copies.bucket().set(&ctx(), &key(1), forged.into()).await.unwrap();
        assert_eq!(copy(&copies).await.unwrap().state.articles, ["gold"]);
        assert_eq!(carts.repair_state_copy(&ctx(), &anna()).await.unwrap(), CopyCondition::Damaged);
        assert_eq!(copy(&copies).await.unwrap().state.articles, ["lamp"]);
    }

    async fn a_copy_ahead_of_the_log_is_repaired_and_does_not_outlive_the_next_event(store, _clock) {
        let (carts, copies) = open(&*store).await;
        add(&carts, "lamp").await;
        for repairs in [true, false] {
            let sound = copies.bucket().entries(&ctx(), &SubjectPattern::all()).await.unwrap();
            let sound = sound.map(Result::unwrap).next().await.unwrap().value;
            copies.bucket().set(&ctx(), &key(9), sound).await.unwrap();
            if repairs {
                let condition = carts.repair_state_copy(&ctx(), &anna()).await.unwrap();
                assert_eq!(condition, CopyCondition::Ahead);
                assert_eq!(copied(&copies).await, Some((1, 1)));
            } else {
                add(&carts, "table").await;
                assert_eq!(copied(&copies).await, Some((2, 2)));
            }
        }
    }

    async fn a_repair_of_all_tells_what_it_found(store, _clock) {
        let (carts, copies) = open(&*store).await;
        let silent = Repository::<Cart>::new(store.log());
        for id in ["sound", "missing", "lagging", "deleted"] {
            let carts = if id == "missing" { &silent } else { &carts };
            carts.execute(&ctx(), &id.to_owned(), "lamp".into()).await.unwrap();
        }
        copies.settled().await;
        silent.execute(&ctx(), &"lagging".to_owned(), "table".into()).await.unwrap();
        silent.delete(&ctx(), &"deleted".to_owned(), DeleteOptions::default()).await.unwrap();
        // A copy whose aggregate the log never had, and one of another type that is no concern.
        let stray = Key::new("cim.aggregates.shop.cart.stray.state.4").unwrap();
        let foreign = Key::new("cim.aggregates.shop.order.7.state.1").unwrap();
        for key in [&stray, &foreign] {
            copies.bucket().set(&ctx(), key, "{}".into()).await.unwrap();
        }

        let mut told = Vec::new();
        let repairs = carts.repair_state_copies(&ctx(), |so_far| told.push(so_far.seen)).await.unwrap();
        assert_eq!(told, [1, 2, 3, 4, 5]);
        assert_eq!((repairs.seen, repairs.repaired(), repairs.sound), (5, 4, 1));
        assert_eq!((repairs.missing, repairs.lagging, repairs.left_behind), (1, 1, 2));
        assert!(copies.bucket().get(&ctx(), &foreign).await.unwrap().is_some());
        let listed = copies.list(&ctx(), &all()).await.unwrap();
        let listed: Vec<_> = listed.iter().map(|copy| (copy.stream.id(), copy.version.get())).collect();
        assert_eq!(listed, [("deleted", 2), ("lagging", 2), ("missing", 1), ("sound", 1)]);

        let again = carts.repair_state_copies(&ctx(), |_| {}).await.unwrap();
        assert_eq!((again.seen, again.sound), (4, 4));
    }

    async fn copies_are_listed_by_pattern(store, _clock) {
        let (carts, copies) = open(&*store).await;
        for (id, events) in [("a", 1), ("b", 3)] {
            for _ in 0..events {
                carts.execute(&ctx(), &id.to_owned(), "lamp".into()).await.unwrap();
            }
        }
        copies.settled().await;
        for (pattern, expected) in [
            ("shop.cart.*", vec![("a", 1), ("b", 3)]),
            ("shop.>", vec![("a", 1), ("b", 3)]),
            ("*.*.b", vec![("b", 3)]),
            ("shop.order.*", vec![]),
        ] {
            let listed = copies.list(&ctx(), &pattern.parse().unwrap()).await.unwrap();
            let listed: Vec<_> = listed.iter().map(|copy| (copy.stream.id(), copy.version.get())).collect();
            assert_eq!(listed, expected, "{pattern}");
        }
    }

    async fn services_follow_changes_and_deletions(store, _clock) {
        let (carts, copies) = open(&*store).await;
        add(&carts, "lamp").await;
        let changes = copies.watch::<Cart>(&ctx(), &all(), WatchFrom::Current).await.unwrap();
        let mut changes = changes.map(Result::unwrap);
        let mut next = async || match changes.next().await.unwrap() {
            StateChange::Changed(copy) => (copy.version.get(), Some(copy.state.articles.len())),
            StateChange::Deleted { stream: named, version } => {
                assert_eq!(named, stream());
                (version.get(), None)
            }
        };
        assert_eq!(next().await, (1, Some(1)));
        add(&carts, "table").await;
        assert_eq!(next().await, (2, Some(2)));
        add(&carts, "chair").await;
        assert_eq!(next().await, (3, Some(3)));
        carts.delete(&ctx(), &anna(), DeleteOptions::default()).await.unwrap();
        assert_eq!(next().await, (4, None));
    }

    async fn without_copies_there_is_nothing_to_repair(store, _clock) {
        let carts = Repository::<Cart>::new(store.log());
        let error = carts.repair_state_copy(&ctx(), &anna()).await.unwrap_err();
        assert!(matches!(error, RepositoryError::NoStateCopies));
        let error = carts.state_copy_lag(&ctx(), &anna()).await.unwrap_err();
        assert!(error.to_string().contains("Repository::with_state_copies"));
    }

    async fn a_bucket_that_fails_fails_no_command(store, _clock) {
        let (sound, copies) = open(&*store).await;
        let faults = FaultLayer::new(FaultPlan::random(1, 1), Arc::new(SystemIds));
        let failing = StateCopies::new(faults.bucket(copies.bucket().clone()), StateCopySettings::default());
        let failing = failing.unwrap();
        let carts = Repository::<Cart>::new(store.log()).with_state_copies(failing.clone());
        add(&carts, "lamp").await;
        add(&carts, "table").await;
        let stats = failing.stats();
        assert_eq!((stats.failed, stats.left_behind()), (2, 2));
        sound.repair_state_copy(&ctx(), &anna()).await.unwrap();
        assert_eq!(copied(&copies).await, Some((2, 2)));
    }

    async fn a_state_that_misses_events_is_not_copied(store, _clock) {
        let (carts, copies) = open(&*store).await;
        add(&carts, "lamp").await;
        let unknown = vec![NewEvent::json("coupon_used", &json!({})).unwrap()];
        store.log().append_to(&ctx(), &stream(), ExpectedVersion::Any, unknown).await.unwrap();
        let carts = carts.with_unknown_events(UnknownEvents::Skip);
        add(&carts, "table").await;
        assert_eq!(copied(&copies).await, Some((1, 1)));
        assert_eq!(carts.repair_state_copy(&ctx(), &anna()).await.unwrap(), CopyCondition::Unknown);
        assert_eq!(copied(&copies).await, Some((1, 1)));
    }

    async fn decisions_over_several_aggregates_are_copied_too(store, _clock) {
        let (carts, copies) = open(&*store).await;
        let (one, two) = ("one".to_owned(), "two".to_owned());
        carts.execute(&ctx(), &one, "lamp".into()).await.unwrap();
        let both = (carts.participant(&one), carts.participant(&two));
        carts.execute_many(&ctx(), both, |(one, two)| {
            two.handle("table".into())?;
            one.handle("chair".into())
        }).await.unwrap();
        copies.settled().await;
        let listed = copies.list(&ctx(), &all()).await.unwrap();
        let listed: Vec<_> = listed.iter().map(|copy| (copy.stream.id(), copy.version.get())).collect();
        assert_eq!(listed, [("one", 2), ("two", 1)]);
    }

    async fn settings_that_can_not_be_are_refused(store, _clock) {
        let none = StateCopySettings { keep: 0, ..StateCopySettings::default() };
        let error = StateCopies::open(&*store, none).await.unwrap_err();
        assert_eq!(error.to_string(), "copies of states can't be kept like this: `keep` is at least 1");
        let name = BucketName::new("histories").unwrap();
        let bucket = store.bucket(&ctx(), &name, BucketSettings::default().with_history(3)).await.unwrap();
        assert!(StateCopies::new(bucket, StateCopySettings::default()).is_err());
    }
}

on_every_store_with_our_clock! {
    async fn copies_that_are_over_leave_nothing_behind(store, clock) {
        let (carts, copies) = open(&*store).await;
        for article in ["lamp", "table", "chair"] {
            add(&carts, article).await;
        }
        clock.advance(Duration::from_secs(1));
        let keys = copies.bucket().all_keys(&ctx()).await.unwrap();
        assert_eq!(keys, [key(3)]);
        carts.delete(&ctx(), &anna(), DeleteOptions::default()).await.unwrap();
        copies.settled().await;
        clock.advance(Duration::from_secs(3_600));
        assert!(copies.bucket().all_keys(&ctx()).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn nobody_waits_for_a_copy_and_what_finds_no_room_lags() {
    let (store, _) = open_at_noon("memory:").await;
    let (_, copies) = open(&*store).await;
    let held = HeldBucket::new(copies.bucket().clone());
    let settings = StateCopySettings {
        queue: 2,
        ..StateCopySettings::default()
    };
    let slow = StateCopies::new(held.clone(), settings).unwrap();
    let carts = Repository::<Cart>::new(store.log()).with_state_copies(slow.clone());
    for number in 0..10 {
        let id = format!("cart-{number}");
        carts.execute(&ctx(), &id, "lamp".into()).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(slow.stats().skipped_busy, 4);
    held.let_go();
    slow.settled().await;
    assert_eq!(copies.list(&ctx(), &all()).await.unwrap().len(), 6);
    let repairs = carts.repair_state_copies(&ctx(), |_| {}).await.unwrap();
    assert_eq!((repairs.sound, repairs.missing), (6, 4));
}

#[tokio::test]
async fn what_can_not_be_copied_keeps_no_other_from_its_repair() {
    let (store, _) = open_at_noon("memory:").await;
    let (carts, copies) = open(&*store).await;
    let plain = Repository::<Cart>::new(store.log());
    for number in 1..=5 {
        plain
            .execute(&ctx(), &format!("cart-{number}"), "lamp".into())
            .await
            .unwrap();
    }
    // One has grown too large, and one has an event that this program does not know.
    let half = "x".repeat(1 << 19);
    for _ in 0..2 {
        plain
            .execute(&ctx(), &"cart-2".to_owned(), half.clone())
            .await
            .unwrap();
    }
    let stream = Cart::stream(&"cart-4".to_owned()).unwrap();
    let unknown = NewEvent::json("article_blessed", &json!({})).unwrap();
    let append = Append::new().write(stream, v(1), vec![unknown]);
    store.log().append(&ctx(), append).await.unwrap();

    let mut missing = 0;
    let repaired = carts
        .repair_state_copies(&ctx(), |so_far| missing = so_far.missing)
        .await;
    let error = repaired.unwrap_err();
    assert!(
        matches!(
            error,
            RepositoryError::StateCopy(StateCopyError::TooLarge { .. })
                | RepositoryError::Decode { .. }
        ),
        "{error:?}"
    );
    assert_eq!(missing, 3);
    let listed = copies.list(&ctx(), &all()).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|copy| copy.stream.id()).collect();
    assert_eq!(listed, ["cart-1", "cart-3", "cart-5"]);
}

#[tokio::test]
async fn a_bucket_that_never_answers_is_given_up_and_copies_lag_until_the_next_event_or_a_repair() {
    let (store, clock) = open_at_noon("memory:").await;
    let (_, copies) = open(&*store).await;
    let held = HeldBucket::new(copies.bucket().clone());
    let settings = StateCopySettings {
        time_limit: Duration::from_secs(10),
        ..StateCopySettings::default()
    };
    let slow = StateCopies::new(held.clone(), settings).unwrap();
    let carts = Repository::<Cart>::new(store.log())
        .with_clock(Arc::new(clock.clone()))
        .with_state_copies(slow.clone());
    for number in 0..10 {
        let id = format!("cart-{number}");
        carts.execute(&ctx(), &id, "lamp".into()).await.unwrap();
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(10));
    slow.settled().await;
    let stats = slow.stats();
    assert_eq!(
        (stats.given_up, stats.left_behind(), stats.written),
        (10, 10, 0)
    );
    held.let_go();
    let first = "cart-0".to_owned();
    carts.execute(&ctx(), &first, "table".into()).await.unwrap();
    slow.settled().await;
    let lag = carts.state_copy_lag(&ctx(), &first).await.unwrap();
    assert_eq!((lag.events(), slow.stats().written), (0, 1));
    let repairs = carts.repair_state_copies(&ctx(), |_| {}).await.unwrap();
    assert_eq!((repairs.sound, repairs.missing), (1, 9));
}

/// On NATS, other clients see the keys by which the copies are documented, and an old copy's
/// message is gone, not only marked.
#[cfg(feature = "nats")]
#[tokio::test]
async fn on_nats_old_copies_leave_no_message_behind() {
    let (store, _) = crate::stores::open_on_nats().await;
    let (carts, copies) = open(&*store).await;
    let gone = copies
        .bucket()
        .watch(&ctx(), &SubjectPattern::all(), WatchFrom::Now)
        .await
        .unwrap();
    let gone = gone
        .map(Result::unwrap)
        .filter(|entry| std::future::ready(entry.operation == cim_domain::store::Operation::Purge));
    for article in ["lamp", "table"] {
        add(&carts, article).await;
    }
    // The server ends the first copy after a second and says so.
    let purged = std::pin::pin!(gone).next().await.unwrap();
    assert_eq!(purged.key, key(1));
    assert_eq!(copies.bucket().all_keys(&ctx()).await.unwrap(), [key(2)]);
}

/// Bytes are law: what format version 1 writes is written like that for ever, and can be read.
///
/// `tests/golden/state-copies-v1.txt` has a key and its value in each line. It is never changed; a
/// new version gets a file of its own, written by running this test once with `CIM_WRITE_GOLDEN=1`.
#[tokio::test]
async fn format_version_1_is_what_it_was() {
    let (store, _) = open_at_noon("memory:").await;
    let (carts, copies) = open(&*store).await;
    let gone = Cart::stream(&"bert".to_owned()).unwrap();
    // Everything that goes into an event's CID is said here.
    for (number, stream, event_type, payload) in [
        (1, stream(), "article_added", json!({ "article": "lamp" })),
        (
            2,
            gone.clone(),
            "article_added",
            json!({ "article": "vase" }),
        ),
        (3, gone.clone(), "aggregate_deleted", json!({})),
    ] {
        let id = Uuid::from_u128(number);
        let event = NewEvent::json(event_type, &payload)
            .unwrap()
            .with_id(id.into())
            .with_time(crate::stores::NOON)
            .with_correlation_id(id.into());
        let append = Append::new().with_commit_id(id.into()).write(
            stream,
            ExpectedVersion::Any,
            vec![event],
        );
        store.log().append(&ctx(), append).await.unwrap();
    }
    // What a repair finds of the deleted one, it says that it was deleted.
    let left_behind = Key::new(format!("cim.aggregates.{gone}.state.1")).unwrap();
    copies
        .bucket()
        .set(&ctx(), &left_behind, "{}".into())
        .await
        .unwrap();
    let repairs = carts.repair_state_copies(&ctx(), |_| {}).await.unwrap();
    assert_eq!((repairs.missing, repairs.left_behind), (1, 1));
    let entries = copies
        .bucket()
        .entries(&ctx(), &SubjectPattern::all())
        .await
        .unwrap();
    let mut lines: Vec<String> = entries
        .map(Result::unwrap)
        .map(|entry| {
            format!(
                "{} {}\n",
                entry.key,
                std::str::from_utf8(&entry.value).unwrap()
            )
        })
        .collect()
        .await;
    lines.sort();

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/state-copies-v1.txt");
    if std::env::var_os("CIM_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, lines.concat()).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert_eq!(lines.concat(), golden);

    // What stands in the file is read, whatever this program writes.
    let (store, _) = open_at_noon("memory:").await;
    let (_, copies) = open(&*store).await;
    for line in golden.lines() {
        let (key, value) = line.split_once(' ').unwrap();
        let key = Key::new(key.to_owned()).unwrap();
        copies
            .bucket()
            .set(&ctx(), &key, value.to_owned().into())
            .await
            .unwrap();
    }
    assert_eq!(copy(&copies).await.unwrap().state.articles, ["lamp"]);
    assert_eq!(copies.get::<Cart>(&ctx(), &gone).await.unwrap(), None);
}
