//! Repositories that keep states and no events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cim_domain::Entity;
use cim_domain::persistence::{KvRepository, KvRepositoryBuilder, SimpleRepository, StateError};
use cim_domain::store::{
    BucketError, BucketExt as _, BucketName, BucketSettings, Clock as _, ExpectedVersion, Fault,
    Key, Store, Version,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::account::ctx;
use crate::stores::{on_every_store, on_every_store_with_our_clock};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Product {
    number: String,
    price: f64,
}

impl Entity for Product {
    type Id = String;

    fn id(&self) -> &String {
        &self.number
    }
}

fn product(number: &str, price: u32) -> Product {
    Product {
        number: number.into(),
        price: price.into(),
    }
}

fn id(text: &str) -> String {
    text.to_owned()
}

async fn products(store: &dyn Store) -> SimpleRepository<Product> {
    SimpleRepository::open(store, "products", "Product")
        .await
        .unwrap()
}

fn builder(store: &Arc<dyn Store>) -> KvRepositoryBuilder {
    KvRepositoryBuilder::new()
        .store(Arc::clone(store))
        .bucket_name("products")
        .aggregate_type("Product")
}

async fn kv(store: &Arc<dyn Store>) -> KvRepository<Product> {
    builder(store).history(8).build().await.unwrap()
}

on_every_store! {
    async fn a_state_is_there_from_saving_to_deleting(store, _clock) {
        let products = products(&*store).await;
        assert_eq!(products.load(&id("a")).await.unwrap(), None);
        assert!(!products.exists(&id("a")).await.unwrap());

        products.save(&product("a", 1)).await.unwrap();
        assert_eq!(products.load(&id("a")).await.unwrap(), Some(product("a", 1)));
        assert!(products.exists(&id("a")).await.unwrap());

        products.delete(&id("a")).await.unwrap();
        assert_eq!(products.load(&id("a")).await.unwrap(), None);
        assert!(!products.exists(&id("a")).await.unwrap());
        products.delete(&id("a")).await.unwrap();
    }

    async fn the_state_that_was_saved_last_is_the_one_there_is(store, _clock) {
        let products = products(&*store).await;
        let first = products.save(&product("a", 1)).await.unwrap();
        let second = products.save(&product("a", 2)).await.unwrap();
        assert!(second.version > first.version);
        assert_eq!((first.aggregate_id.as_str(), first.aggregate_type.as_str()), ("a", "Product"));
        assert_eq!(products.load(&id("a")).await.unwrap(), Some(product("a", 2)));
    }

    async fn a_list_has_every_id_once_in_order(store, _clock) {
        let products = products(&*store).await;
        assert!(products.list().await.unwrap().is_empty());
        for number in ["b", "ü/1", "a.b *>", "c", "b"] {
            products.save(&product(number, 1)).await.unwrap();
        }
        products.delete(&id("c")).await.unwrap();
        assert_eq!(products.list().await.unwrap(), ["a.b *>", "b", "ü/1"]);
        assert_eq!(products.load(&id("ü/1")).await.unwrap(), Some(product("ü/1", 1)));
    }

    async fn several_types_share_a_bucket_without_meeting(store, _clock) {
        let products = products(&*store).await;
        let spares = SimpleRepository::<Product>::open(&*store, "products", "Product.Spare");
        let spares = spares.await.unwrap();
        products.save(&product("a", 1)).await.unwrap();
        spares.save(&product("a", 2)).await.unwrap();
        spares.save(&product("b", 3)).await.unwrap();
        assert_eq!(products.load(&id("a")).await.unwrap(), Some(product("a", 1)));
        assert_eq!(products.list().await.unwrap(), ["a"]);
        assert_eq!(spares.list().await.unwrap(), ["a", "b"]);
    }

    async fn a_state_is_stored_as_json_that_anyone_can_read(store, _clock) {
        let products = products(&*store).await;
        products.save(&product("L-1/é", 12)).await.unwrap();
        let bucket = products.bucket();
        assert_eq!(bucket.name().as_str(), "products");
        let keys = bucket.all_keys(&ctx()).await.unwrap();
        assert_eq!(keys, [Key::new("Product.L-1=2F=C3=A9").unwrap()]);
        let entry = bucket.get(&ctx(), &keys[0]).await.unwrap().unwrap();
        assert_eq!(entry.value, r#"{"number":"L-1/é","price":12.0}"#);
    }

    async fn a_state_that_json_would_alter_is_refused(store, _clock) {
        let products = products(&*store).await;
        let odd = Product { number: id("a"), price: f64::NAN };
        let error = products.save(&odd).await.unwrap_err();
        assert!(matches!(&error, StateError::Encode { id, .. } if id == "a"), "{error:?}");
        assert!(!products.exists(&id("a")).await.unwrap());
    }

    async fn ids_that_make_no_key_are_refused(store, _clock) {
        let products = products(&*store).await;
        for number in [String::new(), "x".repeat(300)] {
            let error = products.load(&number).await.unwrap_err();
            assert!(matches!(error, StateError::InvalidId { .. }), "{error:?}");
            let error = products.save(&product(&number, 1)).await.unwrap_err();
            assert!(matches!(error, StateError::InvalidId { .. }), "{error:?}");
        }
    }

    async fn taking_away_what_is_not_there_takes_nothing_from_its_history(store, _clock) {
        let products = builder(&store).history(3).build::<Product>().await.unwrap();
        let first = products.save(&product("a", 1), ExpectedVersion::NEW).await.unwrap();
        products.save(&product("a", 2), first.version).await.unwrap();
        for _ in 0..4 {
            products.delete(&id("a"), ExpectedVersion::Any).await.unwrap();
        }
        let history = products.history(&id("a")).await.unwrap();
        let states: Vec<_> = history.into_iter().map(|saved| saved.state).collect();
        assert_eq!(states, [Some(product("a", 1)), Some(product("a", 2)), None]);

        products.delete(&id("never"), ExpectedVersion::Any).await.unwrap();
        assert_eq!(products.history(&id("never")).await.unwrap(), []);
        let simple = SimpleRepository::<Product>::open(&*store, "simple", "Product").await.unwrap();
        simple.delete(&id("never")).await.unwrap();
        let key = Key::new("Product.never").unwrap();
        assert_eq!(simple.bucket().history(&ctx(), &key).await.unwrap(), []);
    }

    async fn a_conflict_speaks_of_states(store, _clock) {
        let products = kv(&store).await;
        let error = products.save(&product("a", 1), ExpectedVersion::Exists).await.unwrap_err();
        assert_eq!(error.to_string(), "the state is at version 0, expected was any state");
        let error = products.delete(&id("a"), ExpectedVersion::Exists).await.unwrap_err();
        assert!(error.is_conflict());
        products.save(&product("a", 1), ExpectedVersion::NEW).await.unwrap();
        let error = products.save(&product("a", 1), ExpectedVersion::NEW).await.unwrap_err();
        assert_eq!(error.to_string(), "the state is at version 1, expected was no state");
    }

    async fn types_that_make_no_key_are_refused(store, _clock) {
        for aggregate_type in [String::new(), "x".repeat(254), "ü".repeat(100)] {
            let opened = SimpleRepository::<Product>::open(&*store, "products", &aggregate_type).await;
            assert!(matches!(opened, Err(StateError::InvalidType { .. })), "{opened:?}");
        }
        let longest = "x".repeat(253);
        let products = SimpleRepository::open(&*store, "products", &longest).await.unwrap();
        products.save(&product("a", 1)).await.unwrap();
        assert_eq!(products.list().await.unwrap(), ["a"]);
    }

    async fn a_value_of_another_shape_is_an_error_that_names_it(store, _clock) {
        let products = products(&*store).await;
        let key = Key::new("Product.a").unwrap();
        let revision = products.bucket().set(&ctx(), &key, "{}".into()).await.unwrap();
        let error = products.load(&id("a")).await.unwrap_err();
        assert_eq!(error.to_string(), format!("the state of a at version {revision} can't be read"));
        assert!(matches!(error, StateError::Decode { .. }));
    }

    async fn a_key_that_no_repository_wrote_is_found_when_listing(store, _clock) {
        let products = products(&*store).await;
        let key = Key::new("Product.a/b").unwrap();
        products.bucket().set(&ctx(), &key, "{}".into()).await.unwrap();
        let error = products.list().await.unwrap_err();
        assert_eq!(error.to_string(), "the key Product.a/b does not name a state");
    }

    async fn names_that_can_not_name_a_bucket_or_a_type_are_refused(store, _clock) {
        for (bucket, aggregate) in [("", "Product"), ("my bucket", "Product")] {
            let opened = SimpleRepository::<Product>::open(&*store, bucket, aggregate).await;
            assert!(matches!(opened.unwrap_err(), StateError::InvalidBucket { .. }));
        }
        let opened = SimpleRepository::<Product>::open(&*store, "products", "").await;
        assert!(matches!(opened.unwrap_err(), StateError::InvalidType { .. }));
    }

    async fn of_two_that_create_a_state_one_wins(store, _clock) {
        let products = kv(&store).await;
        let (one, other) = (product("a", 1), product("a", 2));
        let (one, other) = tokio::join!(
            products.save(&one, ExpectedVersion::NEW),
            products.save(&other, ExpectedVersion::NEW),
        );
        assert!(one.is_ok() != other.is_ok());
        let error = one.and(other).unwrap_err();
        assert!(matches!(
            error,
            StateError::VersionConflict { expected: ExpectedVersion::NEW, actual }
                if actual > Version::NONE
        ));
    }

    async fn a_state_is_saved_over_the_one_that_was_read_and_no_other(store, _clock) {
        let products = kv(&store).await;
        let first = products.save(&product("a", 1), ExpectedVersion::NEW).await.unwrap();
        let second = products.save(&product("a", 2), first.version).await.unwrap();
        let error = products.save(&product("a", 3), first.version).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "the state is at version {}, expected was version {}",
                second.version, first.version
            )
        );
        let (state, metadata) = products.load(&id("a")).await.unwrap().unwrap();
        assert_eq!((state, metadata.version), (product("a", 2), second.version));
    }

    async fn a_state_that_was_deleted_and_saved_anew_is_another_one(store, _clock) {
        let products = kv(&store).await;
        let old = products.save(&product("a", 1), ExpectedVersion::NEW).await.unwrap();
        products.delete(&id("a"), old.version).await.unwrap();
        let new = products.save(&product("a", 1), ExpectedVersion::NEW).await.unwrap();
        assert!(new.version > old.version);
        for error in [
            products.save(&product("a", 2), old.version).await.unwrap_err(),
            products.delete(&id("a"), old.version).await.unwrap_err(),
        ] {
            assert!(error.is_conflict());
        }
    }

    async fn changes_that_are_decided_upon_what_was_read_are_never_lost(store, _clock) {
        let products = kv(&store).await;
        products.save(&product("a", 0), ExpectedVersion::NEW).await.unwrap();
        let increments = (0..8).map(|_| async {
            for _ in 0..5 {
                loop {
                    let (mut state, metadata) = products.load(&id("a")).await.unwrap().unwrap();
                    state.price += 1.0;
                    match products.save(&state, metadata.version).await {
                        Ok(_) => break,
                        Err(error) => assert!(error.is_conflict(), "{error:?}"),
                    }
                    tokio::task::yield_now().await;
                }
            }
        });
        futures_util::future::join_all(increments).await;
        let (state, _) = products.load(&id("a")).await.unwrap().unwrap();
        assert_eq!(state, product("a", 40));
    }

    async fn a_bucket_that_exists_with_other_settings_is_refused(store, _clock) {
        kv(&store).await;
        let error = builder(&store).history(9).build::<Product>().await.unwrap_err();
        assert!(matches!(error, StateError::Store(_)), "{error:?}");
        let opened = SimpleRepository::<Product>::open(&*store, "products", "Product").await;
        assert!(matches!(opened.unwrap_err(), StateError::Store(_)));

        let name = BucketName::new("products").unwrap();
        let settings = BucketSettings::default().with_history(8);
        let bucket = store.bucket(&ctx(), &name, settings).await.unwrap();
        let products = KvRepository::<Product>::new(bucket, "Product").unwrap();
        assert!(!products.exists(&id("a")).await.unwrap());
    }

    async fn a_builder_says_what_it_was_not_given(store, _clock) {
        for (builder, missing) in [
            (KvRepositoryBuilder::new().bucket_name("b").aggregate_type("T"), "store"),
            (KvRepositoryBuilder::new().store(Arc::clone(&store)).aggregate_type("T"), "bucket_name"),
            (KvRepositoryBuilder::new().store(Arc::clone(&store)).bucket_name("b"), "aggregate_type"),
        ] {
            let error = builder.build::<Product>().await.unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("the repository can't be built without `{missing}`")
            );
        }
    }

    async fn a_builder_refuses_settings_out_of_range(store, _clock) {
        for builder in [
            builder(&store).ttl_seconds(0),
            builder(&store).ttl_seconds(u64::MAX),
            builder(&store).history(0),
            builder(&store).history(65),
        ] {
            let error = builder.build::<Product>().await.unwrap_err();
            assert!(matches!(error, StateError::Store(_)), "{error:?}");
        }
    }
}

on_every_store_with_our_clock! {
    async fn a_history_has_the_last_changes_and_what_was_taken_away(store, clock) {
        let products = builder(&store).history(3).build().await.unwrap();
        let mut saved = Vec::new();
        for price in 1..=3 {
            saved.push(products.save(&product("a", price), ExpectedVersion::Any).await.unwrap());
            clock.advance(Duration::from_secs(1));
        }
        products.delete(&id("a"), ExpectedVersion::Exists).await.unwrap();

        let history = products.history(&id("a")).await.unwrap();
        let states: Vec<_> = history.iter().map(|change| change.state.clone()).collect();
        assert_eq!(states, [Some(product("a", 2)), Some(product("a", 3)), None]);
        assert_eq!(history[1].metadata.version, saved[2].version);
        assert!(history[1].metadata.last_modified < history[2].metadata.last_modified);
        assert!(products.history(&id("b")).await.unwrap().is_empty());
    }

    async fn a_state_ends_with_its_time_to_live(store, clock) {
        let products = builder(&store).ttl_seconds(60).build::<Product>().await.unwrap();
        let saved = products.save(&product("a", 1), ExpectedVersion::NEW).await.unwrap();
        let end = clock.now().saturating_add(Duration::from_secs(60));
        clock.advance(Duration::from_secs(59));
        let (_, metadata) = products.load(&id("a")).await.unwrap().unwrap();
        assert_eq!(metadata.expires_at, Some(end));

        clock.advance(Duration::from_secs(1));
        assert_eq!(products.load(&id("a")).await.unwrap(), None);
        assert!(products.list().await.unwrap().is_empty());
        let error = products.save(&product("a", 2), saved.version).await.unwrap_err();
        assert!(matches!(error, StateError::VersionConflict { actual: Version::NONE, .. }));
        products.save(&product("a", 2), ExpectedVersion::NEW).await.unwrap();
    }
}

/// A server has a clock of its own, so here the time really passes: the shortest there is.
#[cfg(feature = "nats")]
async fn wait_for_the_end_of_a_state(store: Arc<dyn Store>) {
    use cim_domain::store::{Operation, SubjectPattern, WatchFrom};
    use futures_util::TryStreamExt as _;

    let products = builder(&store)
        .ttl_seconds(1)
        .build::<Product>()
        .await
        .unwrap();
    let all = SubjectPattern::all();
    let mut changes = products
        .bucket()
        .watch(&ctx(), &all, WatchFrom::Now)
        .await
        .unwrap();
    products
        .save(&product("a", 1), ExpectedVersion::NEW)
        .await
        .unwrap();
    while changes.try_next().await.unwrap().unwrap().operation != Operation::Purge {}

    assert_eq!(products.load(&id("a")).await.unwrap(), None);
    assert!(products.list().await.unwrap().is_empty());
    products
        .save(&product("a", 2), ExpectedVersion::NEW)
        .await
        .unwrap();
}

#[cfg(feature = "nats")]
#[tokio::test]
async fn a_state_on_a_server_ends_with_its_time_to_live() {
    let (store, _) = crate::stores::open_on_nats().await;
    wait_for_the_end_of_a_state(store).await;
}

#[cfg(feature = "nats")]
#[tokio::test]
async fn a_state_on_a_cluster_ends_with_its_time_to_live() {
    let (store, _) = crate::stores::open_on_cluster().await;
    wait_for_the_end_of_a_state(store).await;
}

/// What a test asks for: of which of two ids, expecting what.
#[derive(Clone, Copy, Debug)]
enum Expect {
    Any,
    New,
    Exists,
    /// The version that this id had after the change of this number, modulo their count.
    Seen(usize),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Save(bool, Expect),
    Delete(bool, Expect),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let expect = prop_oneof![
        Just(Expect::Any),
        Just(Expect::New),
        Just(Expect::Exists),
        (0_usize..4).prop_map(Expect::Seen),
    ];
    let step = prop_oneof![
        3 => (any::<bool>(), expect.clone()).prop_map(|(id, expect)| Step::Save(id, expect)),
        1 => (any::<bool>(), expect).prop_map(|(id, expect)| Step::Delete(id, expect)),
    ];
    proptest::collection::vec(step, 1..40)
}

/// Runs the steps and compares every answer with a map from ids to prices and versions.
async fn compare_with_a_map(steps: Vec<Step>) {
    let products = kv(&cim_domain::open("memory:").await.unwrap()).await;
    let mut model: BTreeMap<String, (Product, Version)> = BTreeMap::new();
    let mut seen = vec![Version::new(1)];
    for (number, step) in (0..).zip(steps) {
        let (Step::Save(which, expect) | Step::Delete(which, expect)) = step;
        let id = if which { id("a") } else { id("b") };
        let expected = match expect {
            Expect::Any => ExpectedVersion::Any,
            Expect::New => ExpectedVersion::NEW,
            Expect::Exists => ExpectedVersion::Exists,
            Expect::Seen(index) => seen[seen.len() - 1 - index % seen.len()].into(),
        };
        let actual = model
            .get(&id)
            .map_or(Version::NONE, |(_, version)| *version);
        let done = match step {
            Step::Save(..) => {
                let state = product(&id, number);
                let saved = products.save(&state, expected).await;
                saved.map(|metadata| {
                    seen.push(metadata.version);
                    model.insert(id.clone(), (state, metadata.version));
                })
            }
            Step::Delete(..) => {
                let deleted = products.delete(&id, expected).await;
                deleted.map(|()| {
                    model.remove(&id);
                })
            }
        };
        match done {
            Ok(()) => assert!(expected.is_met_by(actual), "{step:?}"),
            Err(StateError::VersionConflict {
                expected: told,
                actual: found,
            }) => {
                assert!(!expected.is_met_by(actual), "{step:?}");
                assert_eq!((told, found), (expected, actual), "{step:?}");
            }
            Err(other) => panic!("{step:?}: {other:?}"),
        }
        let loaded = products.load(&id).await.unwrap();
        let loaded = loaded.map(|(state, metadata)| (state, metadata.version));
        assert_eq!(loaded.as_ref(), model.get(&id), "{step:?}");
    }
    let ids: Vec<String> = model.into_keys().collect();
    assert_eq!(products.list().await.unwrap(), ids);
}

proptest! {
    #[test]
    fn any_order_of_changes_equals_that_of_a_map(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(compare_with_a_map(steps));
    }
}

#[test]
fn a_change_whose_answer_was_lost_is_unknown_and_every_other_error_keeps_its_kind() {
    let lost = StateError::from(BucketError::unknown("the answer was lost"));
    assert!(matches!(lost, StateError::Unknown { .. }), "{lost:?}");
    assert_eq!(
        lost.to_string(),
        "whether the state was changed is not known"
    );
    let StateError::Store(closed) = StateError::from(BucketError::closed("it is closed")) else {
        panic!("an error of the bucket stays one");
    };
    assert_eq!(closed.fault(), Some(Fault::Closed));
}
