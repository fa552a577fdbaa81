//! Typed events of aggregates that have UUIDs, without a repository.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use cim_domain::persistence::{
    EventStore, EventStoreError, InfrastructureError, InfrastructureResult, StoredEvent,
    TypedEventStore,
};
use cim_domain::store::{
    Append, CausationId, Clock as _, Context, CorrelationId, EventLog, ExpectedVersion,
    ManualClock, NewEvent, Position, Principal, SequentialIds, StreamId, Version,
};
use cim_domain::{DecodeError, DomainEvent, Repository, RetryPolicy};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::account::{Account, AccountCommand, AccountEvent, ID, ctx, empty_log};
use crate::scripted_log::{Fate, ImpatientClock, ScriptedLog};
use crate::stores::{NOON, on_every_store, on_every_store_with_our_clock};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
enum ComputeEvent {
    ResourceRegistered { hostname: String },
    LoadMeasured { percent: f64 },
    Retired,
}
use ComputeEvent::{LoadMeasured, ResourceRegistered, Retired};

const OTHER: Uuid = Uuid::from_u128(8);
const TALK: Uuid = Uuid::from_u128(99);

fn registered() -> ComputeEvent {
    ResourceRegistered {
        hostname: "web-1".into(),
    }
}

fn computers(log: Arc<dyn EventLog>, clock: &ManualClock) -> TypedEventStore<ComputeEvent> {
    TypedEventStore::new(log, "infrastructure", "compute")
        .unwrap()
        .with_clock(Arc::new(clock.clone()))
        .with_ids(Arc::new(SequentialIds::new(2)))
}

fn talking() -> Context {
    ctx().with_correlation_id(TALK.into())
}

fn versions(events: &[StoredEvent<ComputeEvent>]) -> Vec<u64> {
    let version = |event: &StoredEvent<_>| event.metadata.version.get();
    events.iter().map(version).collect()
}

on_every_store! {
    async fn an_append_returns_the_version_of_its_last_event(store, clock) {
        let store = computers(store.log(), &clock);
        assert_eq!(store.append(ID, vec![registered()], Some(0)).await.unwrap(), 1);
        let two = vec![LoadMeasured { percent: 12.5 }, Retired];
        assert_eq!(store.append(ID, two, Some(1)).await.unwrap(), 3);

        let events = store.read_events(ID).await.unwrap();
        assert_eq!(versions(&events), [1, 2, 3]);
        let events: Vec<_> = events.into_iter().map(|stored| stored.event).collect();
        assert_eq!(events, [registered(), LoadMeasured { percent: 12.5 }, Retired]);
        assert_eq!(store.get_version(ID).await.unwrap(), Some(3));
    }

    async fn of_two_that_expect_the_same_version_one_wins(store, clock) {
        let store = computers(store.log(), &clock);
        let append = || store.append(ID, vec![registered()], Some(0));
        let (one, other) = tokio::join!(append(), append());
        let (won, lost): (Vec<_>, Vec<_>) = [one, other].into_iter().partition(Result::is_ok);
        assert_eq!(won.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [1]);
        let [Err(error)] = lost.as_slice() else {
            panic!("{lost:?}");
        };
        assert!(error.is_conflict());
        assert_eq!(
            error.to_string(),
            format!("infrastructure.compute.{ID} is at version 1, expected was no events yet")
        );
        assert_eq!(store.read_events(ID).await.unwrap().len(), 1);
    }

    async fn an_expectation_beyond_the_last_version_is_a_conflict_too(store, clock) {
        let store = computers(store.log(), &clock);
        store.append(ID, vec![registered()], None).await.unwrap();
        let error = store.append(ID, vec![Retired], Some(2)).await.unwrap_err();
        assert!(matches!(
            error,
            InfrastructureError::ConcurrencyError { expected, actual, .. }
                if expected == ExpectedVersion::Exact(Version::new(2)) && actual == Version::new(1)
        ));
    }

    async fn without_an_expectation_events_are_appended_to_whatever_is_there(store, clock) {
        let store = computers(store.log(), &clock);
        for version in 1..=3 {
            let appended = store.append(ID, vec![registered()], None).await.unwrap();
            assert_eq!(appended, version);
        }
    }

    async fn events_are_stored_all_or_none(store, clock) {
        let store = computers(store.log(), &clock);
        let batch = vec![registered(), LoadMeasured { percent: f64::NAN }];
        let error = store.append(ID, batch, Some(0)).await.unwrap_err();
        assert!(matches!(
            &error,
            EventStoreError::Encode { event_type, .. } if event_type == "load_measured"
        ));
        assert_eq!(store.get_version(ID).await.unwrap(), None);
    }

    async fn an_append_without_events_stores_nothing_and_checks_what_it_expects(store, clock) {
        let store = computers(store.log(), &clock);
        assert_eq!(store.append(ID, vec![], None).await.unwrap(), 0);
        store.append(ID, vec![registered()], Some(0)).await.unwrap();
        assert_eq!(store.append(ID, vec![], Some(1)).await.unwrap(), 1);
        assert_eq!(store.append(ID, vec![], None).await.unwrap(), 1);
        assert!(store.append(ID, vec![], Some(0)).await.unwrap_err().is_conflict());
        assert_eq!(store.get_version(ID).await.unwrap(), Some(1));
    }

    async fn an_aggregate_without_events_has_no_version_and_no_events(store, clock) {
        let store = computers(store.log(), &clock);
        store.append(OTHER, vec![registered()], None).await.unwrap();
        assert_eq!(store.get_version(ID).await.unwrap(), None);
        assert!(store.read_events(ID).await.unwrap().is_empty());
        assert!(store.read_events_from(ID, 1).await.unwrap().is_empty());
    }

    async fn reading_from_a_version_includes_it(store, clock) {
        let store = computers(store.log(), &clock);
        store.append(ID, vec![Retired; 4], None).await.unwrap();
        for (from, expected) in [
            (0, vec![1, 2, 3, 4]),
            (1, vec![1, 2, 3, 4]),
            (3, vec![3, 4]),
            (4, vec![4]),
            (5, vec![]),
            (u64::MAX, vec![]),
        ] {
            let events = store.read_events_from(ID, from).await.unwrap();
            assert_eq!(versions(&events), expected, "from {from}");
        }
    }

    async fn a_conversation_is_read_over_all_aggregates_in_the_order_it_was_stored(store, clock) {
        let log = store.log();
        let store = computers(Arc::clone(&log), &clock);
        let talk = store.under(talking());
        talk.append(OTHER, vec![registered()], None).await.unwrap();
        store.append(ID, vec![registered()], None).await.unwrap();
        talk.append(ID, vec![LoadMeasured { percent: 1.0 }, Retired], None).await.unwrap();
        talk.append(OTHER, vec![Retired], None).await.unwrap();
        // The same conversation, but events of another kind of aggregate.
        let accounts = Repository::<Account>::new(log);
        accounts.execute(&talking(), &ID, AccountCommand::Deposit(1)).await.unwrap();

        let events = store.read_by_correlation(TALK).await.unwrap();
        let told: Vec<_> = events
            .iter()
            .map(|event| (event.metadata.aggregate_uuid().unwrap(), event.metadata.version.get()))
            .collect();
        assert_eq!(told, [(OTHER, 1), (ID, 2), (ID, 3), (OTHER, 2)]);
        assert!(events.is_sorted_by_key(|event| event.metadata.position));
        assert!(store.read_by_correlation(OTHER).await.unwrap().is_empty());
    }

    async fn a_time_range_includes_its_start_and_excludes_its_end(store, clock) {
        let store = computers(store.log(), &clock);
        for _ in 0..4 {
            store.append(ID, vec![registered()], None).await.unwrap();
            clock.advance(Duration::from_secs(60));
        }
        let minute = |number: u64| NOON.saturating_add(Duration::from_secs(60 * number));
        for (from, to, expected) in [
            (0, 4, vec![1, 2, 3, 4]),
            (1, 3, vec![2, 3]),
            (1, 1, vec![]),
            (3, 1, vec![]),
            (4, 9, vec![]),
        ] {
            let read = store.read_events_by_time_range(ID, minute(from), minute(to));
            assert_eq!(versions(&read.await.unwrap()), expected, "{from} to {to}");
        }
    }

    async fn a_repository_of_the_same_context_and_type_has_the_same_events(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        let events = TypedEventStore::<AccountEvent>::new(store.log(), "bank", "account").unwrap();
        let deposited = vec![AccountEvent::Deposited { cents: 5 }];
        events.append(ID, deposited, Some(0)).await.unwrap();
        let done = accounts.execute(&ctx(), &ID, AccountCommand::Withdraw(2)).await.unwrap();
        assert_eq!(done.state.balance, 3);
        assert_eq!(events.get_version(ID).await.unwrap(), Some(2));
    }

    async fn an_event_that_is_not_understood_is_named_by_stream_and_version(store, clock) {
        let log = store.log();
        let store = computers(Arc::clone(&log), &clock);
        store.under(talking()).append(ID, vec![registered()], None).await.unwrap();
        let stream = StreamId::new("infrastructure", "compute", &ID.to_string()).unwrap();
        let foreign = NewEvent::json("exploded", &()).unwrap();
        let append = Append::new().write(stream.clone(), Version::new(1), vec![foreign]);
        log.append(&ctx(), append).await.unwrap();

        let error = store.read_events(ID).await.unwrap_err();
        assert!(matches!(
            &error,
            EventStoreError::Decode { stream: named, version, source }
                if matches!(**source, DecodeError::UnknownType { .. }) && *named == stream && version.get() == 2
        ));
        // What does not belong to the conversation need not be understood.
        assert_eq!(store.read_by_correlation(TALK).await.unwrap().len(), 1);
    }

    async fn a_store_that_is_closed_is_an_error_of_the_store(store, clock) {
        let computers = computers(store.log(), &clock);
        store.close().await.unwrap();
        let error = computers.append(ID, vec![Retired], None).await.unwrap_err();
        assert!(matches!(error, EventStoreError::Store(_)), "{error:?}");
        assert!(error.source().is_some());
    }
}

on_every_store_with_our_clock! {
    async fn what_is_known_about_an_event_comes_with_it(store, clock) {
        let store = computers(store.log(), &clock);
        store.append(ID, vec![registered()], None).await.unwrap();
        clock.advance(Duration::from_secs(1));
        let first = store.read_events(ID).await.unwrap().remove(0).metadata;
        let because = talking()
            .with_causation_id(first.event_id.into())
            .with_principal(Principal::new("anna").unwrap());
        store.under(because).append(ID, vec![Retired], Some(1)).await.unwrap();

        let second = store.read_events_from(ID, 2).await.unwrap().remove(0).metadata;
        assert_eq!(second.aggregate_uuid(), Some(ID));
        assert_eq!(second.aggregate_id(), ID.to_string());
        assert_eq!(second.event_type.as_str(), "retired");
        assert_eq!(second.schema_version.get(), 1);
        assert_eq!((second.time, second.stored_at), (clock.now(), clock.now()));
        assert_eq!(second.correlation_id, Some(CorrelationId::from_uuid(TALK)));
        assert_eq!(second.causation_id, Some(CausationId::from(first.event_id)));
        assert_eq!(second.principal, Some(Principal::new("anna").unwrap()));
        assert_eq!((first.previous, second.previous), (None, Some(first.cid)));
        assert!(first.position > Position::NONE && second.position > first.position);
        assert_ne!(first.event_id, second.event_id);
        assert_ne!(first.commit_id, second.commit_id);
    }
}

#[tokio::test]
async fn it_can_be_used_without_knowing_what_is_behind_it() {
    async fn register(
        store: &dyn EventStore<ComputeEvent>,
        id: Uuid,
    ) -> InfrastructureResult<Option<u64>> {
        store.append(id, vec![registered()], Some(0)).await?;
        store.get_version(id).await
    }
    let log = empty_log().await;
    let store: Arc<dyn EventStore<ComputeEvent>> =
        Arc::new(TypedEventStore::new(log, "infrastructure", "compute").unwrap());
    assert_eq!(register(&*store, ID).await.unwrap(), Some(1));
}

#[tokio::test]
async fn an_append_whose_answer_was_lost_is_stored_once_and_answered() {
    for fate in [Fate::StoredAnswerLost, Fate::LostAnswerLost] {
        let log = ScriptedLog::new(empty_log().await, [fate]);
        let store = TypedEventStore::<ComputeEvent>::new(log.clone(), "infrastructure", "compute")
            .unwrap()
            .with_clock(Arc::new(ImpatientClock::new()));
        assert_eq!(store.append(ID, vec![Retired], Some(0)).await.unwrap(), 1);
        assert_eq!(log.appends().len(), 2);
        assert_eq!(versions(&store.read_events(ID).await.unwrap()), [1]);
    }
}

#[tokio::test]
async fn an_answer_that_stays_lost_is_unknown_and_names_the_commit() {
    let log = ScriptedLog::new(empty_log().await, [Fate::StoredAnswerLost]);
    let store = TypedEventStore::<ComputeEvent>::new(log.clone(), "infrastructure", "compute")
        .unwrap()
        .with_retry(RetryPolicy::never());
    let error = store.append(ID, vec![Retired], Some(0)).await.unwrap_err();
    let EventStoreError::Unknown { commit_id, .. } = error else {
        panic!("{error:?}");
    };
    let stored = &store.read_events(ID).await.unwrap()[0];
    assert_eq!(stored.metadata.commit_id, commit_id);
}

#[tokio::test]
async fn names_that_can_not_name_streams_are_refused_at_once() {
    let log = empty_log().await;
    for (context, aggregate) in [
        ("", "compute"),
        ("infrastructure", ""),
        (&*"x".repeat(200), "y"),
    ] {
        let store = TypedEventStore::<ComputeEvent>::new(Arc::clone(&log), context, aggregate);
        let error = store.unwrap_err();
        assert!(
            matches!(error, EventStoreError::InvalidName { .. }),
            "{error:?}"
        );
    }
    let odd = TypedEventStore::<ComputeEvent>::new(log, "a.b", "c *").unwrap();
    odd.under(talking())
        .append(ID, vec![Retired], Some(0))
        .await
        .unwrap();
    assert_eq!((odd.context(), odd.aggregate_type()), ("a.b", "c *"));
    assert_eq!(odd.read_by_correlation(TALK).await.unwrap().len(), 1);
}
