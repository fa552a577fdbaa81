//! Conversations: what is done because of an event belongs to the conversation of that event and
//! names it as its cause, through as many aggregates as it takes.

use std::sync::Arc;
use std::time::Duration;

use cim_domain::persistence::{EventStore, TypedEventStore};
use cim_domain::store::{
    Append, CausationId, Cause, Clock, CommitId, Context, CorrelationId, EventLog, EventLogExt,
    ExpectedVersion, LogQuery, NewEvent, Principal, RecordedEvent, StreamId, StreamRange,
    SystemClock, TraceParent,
};
use cim_domain::{Aggregate, Recorded, Repository, SaveOptions};
use futures_util::TryStreamExt as _;
use uuid::Uuid;

use crate::account::{Account, AccountCommand, AccountEvent, ID, ctx, empty_log};
use crate::scripted_log::{Fate, ScriptedLog};
use crate::stores::on_every_store;
use AccountCommand::{Close, Deposit};

const TALK: CorrelationId = CorrelationId::from_uuid(Uuid::from_u128(99));
const SECOND: Uuid = Uuid::from_u128(8);
const THIRD: Uuid = Uuid::from_u128(9);

/// The last event of an account.
async fn last(accounts: &Repository<Account>, id: &Uuid) -> Recorded<AccountEvent> {
    let range = StreamRange::all().backwards().limit(1);
    let history = accounts.history(&ctx(), id, range).await.unwrap();
    history.all().await.unwrap().remove(0)
}

/// All events, in the order in which they were stored.
async fn whole(log: &dyn EventLog) -> Vec<RecordedEvent> {
    let read = log.read_log(&ctx(), LogQuery::all()).await.unwrap();
    read.try_collect().await.unwrap()
}

fn own(commit: CommitId) -> Option<CorrelationId> {
    Some(CorrelationId::from_uuid(*commit.as_uuid()))
}

on_every_store! {
    async fn a_command_because_of_an_event_belongs_to_its_conversation(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        let asked = ctx().with_correlation_id(TALK);
        accounts.execute(&asked, &ID, Deposit(5)).await.unwrap();
        let deposited = last(&accounts, &ID).await;

        // The policy has a principal of its own.
        let policy = ctx().with_principal(Principal::new("bonus").unwrap());
        let because = policy.caused_by(&deposited);
        accounts.execute(&because, &SECOND, Deposit(1)).await.unwrap();
        let event = last(&accounts, &SECOND).await.recorded;
        assert_eq!(event.correlation_id, Some(TALK));
        assert_eq!(event.causation_id, Some(deposited.recorded.id.into()));
        assert_eq!(event.principal.as_ref(), policy.principal());
    }

    async fn a_chain_of_three_aggregates_is_one_conversation(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        let first = accounts.execute(&ctx(), &ID, Deposit(3)).await.unwrap();
        for (from, to) in [(ID, SECOND), (SECOND, THIRD)] {
            let because = ctx().caused_by(&last(&accounts, &from).await);
            accounts.execute(&because, &to, Deposit(2)).await.unwrap();
        }
        let because = ctx().caused_by(&last(&accounts, &THIRD).await);
        accounts.execute(&because, &ID, Close).await.unwrap();
        // Somebody else's conversation.
        accounts.execute(&ctx(), &SECOND, Deposit(1)).await.unwrap();

        let events = whole(&*store.log()).await;
        let conversation = own(first.appended.unwrap().commit_id);
        let in_it: Vec<_> = events
            .iter()
            .filter(|event| event.correlation_id == conversation)
            .collect();
        assert_eq!(in_it.len(), 5);
        assert_eq!(events.len(), 6);
        assert_eq!(in_it[0].causation_id, None);
        for (event, cause) in [(1, 0), (2, 1), (3, 2), (4, 2)] {
            let cause = CausationId::from(in_it[cause].id);
            assert_eq!(in_it[event].causation_id, Some(cause), "event {event}");
        }
    }

    async fn a_command_without_a_conversation_begins_one(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        accounts.execute(&ctx(), &ID, Deposit(3)).await.unwrap();
        accounts.execute(&ctx(), &ID, Close).await.unwrap();
        let events = whole(&*store.log()).await;
        assert_eq!(events.len(), 3);
        for event in &events {
            assert_eq!(event.correlation_id, own(event.commit_id));
            assert_eq!(event.causation_id, None);
        }
        assert_ne!(events[0].correlation_id, events[1].correlation_id);
        assert_eq!(events[1].correlation_id, events[2].correlation_id);
    }

    async fn a_commit_that_is_saved_again_keeps_its_conversation(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        let commit = CommitId::from_uuid(Uuid::from_u128(77));
        for _ in 0..2 {
            let options = SaveOptions { commit_id: Some(commit), ..Default::default() };
            let events = vec![AccountEvent::Deposited { cents: 1 }];
            accounts.save(&ctx(), &ID, events, options).await.unwrap();
        }
        let events = whole(&*store.log()).await;
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].correlation_id, own(commit));
    }

    async fn an_event_without_a_conversation_is_the_begin_of_one(store, _clock) {
        let log = store.log();
        let stream = StreamId::new("elsewhere", "thing", "1").unwrap();
        let event = NewEvent::json("happened", &1).unwrap();
        log.append_to(&ctx(), &stream, ExpectedVersion::NEW, vec![event]).await.unwrap();
        let happened = log.read_all(&ctx(), &stream).await.unwrap().remove(0);
        assert_eq!(happened.correlation_id, None, "the log stores what it is given");

        let accounts = Repository::<Account>::new(log);
        let because = ctx().caused_by(&happened);
        accounts.execute(&because, &ID, Deposit(1)).await.unwrap();
        let event = last(&accounts, &ID).await.recorded;
        assert_eq!(event.correlation_id, Some(happened.id.into()));
        assert_eq!(event.causation_id, Some(happened.id.into()));
    }

    async fn events_of_an_event_store_are_causes_too(store, _clock) {
        let events = TypedEventStore::<AccountEvent>::new(
            store.log(),
            Account::CONTEXT,
            Account::TYPE,
        )
        .unwrap();
        events.append(ID, vec![AccountEvent::Deposited { cents: 1 }], Some(0)).await.unwrap();
        let stored = events.read_events(ID).await.unwrap().remove(0);
        let begun = stored.metadata.correlation_id;
        assert_eq!(begun, own(stored.metadata.commit_id));

        for because in [ctx().caused_by(&stored), ctx().caused_by(&stored.metadata)] {
            let closed = vec![AccountEvent::Closed];
            events.under(because).append(SECOND, closed, None).await.unwrap();
        }
        for closed in events.read_events(SECOND).await.unwrap() {
            assert_eq!(closed.metadata.correlation_id, begun);
            assert_eq!(closed.metadata.causation_id, Some(stored.metadata.event_id.into()));
        }
    }
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_stays_in_the_conversation_it_began() {
    for fate in [Fate::StoredAnswerLost, Fate::LostAnswerLost] {
        let log = ScriptedLog::new(empty_log().await, [fate]);
        let accounts = Repository::<Account>::new(log.clone());
        let done = accounts.execute(&ctx(), &ID, Deposit(5)).await.unwrap();
        let conversation = own(done.appended.unwrap().commit_id);
        let appends: Vec<Append> = log.appends();
        assert_eq!(appends.len(), 2);
        for append in &appends {
            let event = &append.writes[0].events[0];
            assert_eq!(event.correlation_id, conversation);
        }
        assert_eq!(whole(&*log).await[0].correlation_id, conversation);
    }
}

#[tokio::test]
async fn whoever_asks_how_long_and_in_which_trace_stays() {
    let log: Arc<dyn EventLog> = empty_log().await;
    let accounts = Repository::<Account>::new(log);
    accounts.execute(&ctx(), &ID, Deposit(5)).await.unwrap();
    let deposited = last(&accounts, &ID).await;
    let before = Context::new()
        .with_principal(Principal::new("anna").unwrap())
        .with_trace(TraceParent::new("00-1-2-01").unwrap())
        .with_timeout(&SystemClock, Duration::from_secs(9))
        .with_correlation_id(TALK)
        .with_causation_id(CausationId::from_uuid(Uuid::nil()));
    let because = before.caused_by(&deposited);
    assert_eq!(because.principal(), before.principal());
    assert_eq!(because.trace(), before.trace());
    assert_eq!(because.deadline(), before.deadline());
    assert!(because.deadline() > Some(SystemClock.monotonic()));
    // The event's, and not those of whatever was done before.
    assert_eq!(because.correlation_id(), deposited.recorded.correlation_id);
    assert_eq!(because.causation_id(), Some(deposited.recorded.id.into()));
    // What comes from elsewhere has no more than its ids.
    let told = Cause {
        event_id: deposited.recorded.id,
        correlation_id: Some(TALK),
    };
    assert_eq!(ctx().caused_by(told).correlation_id(), Some(TALK));
}
