//! Saving and loading aggregates as values.

use std::sync::Arc;
use std::time::Duration;

use cim_domain::persistence::{AggregateRepository, LoadOptions, RepositoryError, SaveOptions};
use cim_domain::store::{Clock as _, CorrelationId, ExpectedVersion, ManualClock, Store, Version};
use cim_domain::{Aggregate, DomainEvent, Entity, Repository};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::account::ctx;
use crate::stores::{on_every_store, on_every_store_with_our_clock};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
enum OrderEvent {
    Placed { id: Uuid },
    ItemAdded { cents: u64 },
}
use OrderEvent::{ItemAdded, Placed};

#[derive(Debug, Default, PartialEq)]
struct Order {
    id: Uuid,
    cents: u64,
}

impl Aggregate for Order {
    const CONTEXT: &'static str = "sales";
    const TYPE: &'static str = "order";
    type Id = Uuid;
    type Event = OrderEvent;
    type Command = u64;
    type Error = std::convert::Infallible;

    fn apply(&mut self, event: &OrderEvent) {
        match event {
            Placed { id } => self.id = *id,
            ItemAdded { cents } => self.cents += cents,
        }
    }

    fn handle(&self, cents: u64) -> Result<Vec<OrderEvent>, Self::Error> {
        Ok(vec![ItemAdded { cents }])
    }
}

impl Entity for Order {
    type Id = Uuid;

    fn id(&self) -> &Uuid {
        &self.id
    }
}

const ID: Uuid = Uuid::from_u128(7);

fn order() -> Order {
    Order { id: ID, cents: 0 }
}

fn v(number: u64) -> Version {
    Version::new(number)
}

fn at(version: u64) -> SaveOptions {
    SaveOptions {
        expected_version: Some(v(version)),
        ..Default::default()
    }
}

fn orders(store: &dyn Store, clock: &ManualClock) -> AggregateRepository<Order> {
    Repository::new(store.log())
        .with_clock(Arc::new(clock.clone()))
        .into()
}

on_every_store! {
    async fn an_aggregate_is_loaded_as_it_was_at_a_version(store, clock) {
        let orders = orders(&*store, &clock);
        let items = (1..=3).map(|cents| ItemAdded { cents });
        orders.save(&order(), items.collect(), at(0)).await.unwrap();
        for (version, cents) in [(1, 1), (2, 3), (3, 6)] {
            let options = LoadOptions { version: Some(v(version)), ..Default::default() };
            let (loaded, metadata) = orders.load(&ID, options).await.unwrap();
            assert_eq!((loaded.cents, metadata.version), (cents, v(version)));
        }
        let options = LoadOptions { version: Some(v(4)), ..Default::default() };
        let error = orders.load(&ID, options).await.unwrap_err();
        assert!(matches!(error, RepositoryError::VersionNotFound { actual, .. } if actual == v(3)));
    }

    async fn a_history_has_the_versions_that_were_asked_for(store, clock) {
        let orders = orders(&*store, &clock);
        let items = (1..=4).map(|cents| ItemAdded { cents });
        orders.save(&order(), items.collect(), at(0)).await.unwrap();
        for (from, to, expected) in [
            (None, None, vec![1, 2, 3, 4]),
            (Some(2), Some(3), vec![2, 3]),
            (Some(3), None, vec![3, 4]),
            (None, Some(1), vec![1]),
            (Some(3), Some(2), vec![]),
            (Some(5), None, vec![]),
        ] {
            let history = orders.get_history(&ID, from.map(v), to.map(v)).await.unwrap();
            let versions: Vec<_> = history.iter().map(|event| event.metadata.version.get()).collect();
            assert_eq!(versions, expected, "{from:?} to {to:?}");
            assert!(history.iter().all(|stored| {
                stored.event == ItemAdded { cents: stored.metadata.version.get() }
            }));
        }
        assert!(orders.get_history(&Uuid::nil(), None, None).await.unwrap().is_empty());
    }

    async fn who_comes_second_gets_a_version_conflict(store, clock) {
        let orders = orders(&*store, &clock);
        orders.save(&order(), vec![Placed { id: ID }], at(0)).await.unwrap();
        match orders.save(&order(), vec![Placed { id: ID }], at(0)).await {
            Err(RepositoryError::VersionConflict { expected, actual }) => {
                assert_eq!((expected, actual), (ExpectedVersion::NEW, v(1)));
            }
            other => panic!("{other:?}"),
        }
    }

    async fn saving_no_events_stores_nothing(store, clock) {
        let orders = orders(&*store, &clock);
        let saved = orders.save(&order(), vec![], SaveOptions::default()).await.unwrap();
        assert_eq!((saved.version, saved.head, saved.last_modified), (v(0), None, None));
        assert!(!orders.exists(&ID).await.unwrap());
        let error = orders.load(&ID, LoadOptions::default()).await.unwrap_err();
        assert!(error.is_not_found());
    }

    async fn a_command_is_executed_under_the_context_of_the_handle(store, clock) {
        let talk = CorrelationId::from_uuid(Uuid::from_u128(99));
        let orders = orders(&*store, &clock).under(ctx().with_correlation_id(talk));
        let done = orders.execute(&ID, 5).await.unwrap();
        assert_eq!((done.state.cents, done.version), (5, v(1)));
        let history = orders.get_history(&ID, None, None).await.unwrap();
        assert_eq!(history[0].metadata.correlation_id, Some(talk));
        assert!(orders.exists(&ID).await.unwrap());
    }
}

on_every_store_with_our_clock! {
    async fn what_was_saved_is_loaded_with_what_is_known_about_it(store, clock) {
        let orders = orders(&*store, &clock);
        let events = vec![Placed { id: ID }, ItemAdded { cents: 5 }];
        let saved = orders.save(&order(), events, at(0)).await.unwrap();
        assert_eq!((saved.version, saved.aggregate_type.as_str()), (v(2), "order"));
        let now = clock.now();
        clock.advance(Duration::from_secs(1));

        let (loaded, metadata) = orders.load(&ID, LoadOptions::default()).await.unwrap();
        assert_eq!(loaded, Order { id: ID, cents: 5 });
        assert_eq!(metadata, saved);
        assert_eq!(metadata.aggregate_id, ID.to_string());
        assert_eq!(metadata.last_modified, Some(now));
        assert_eq!(metadata.expires_at, None);
        let head = store.log().head(&ctx(), &Order::stream(&ID).unwrap()).await.unwrap();
        assert_eq!(metadata.head, head);
    }
}
