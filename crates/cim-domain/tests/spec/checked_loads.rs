//! When what is loaded is compared with the CIDs and links of its chain, and what comes of it.

use std::error::Error as _;
use std::num::NonZeroU32;
use std::sync::Arc;

use cim_domain::persistence::{EventStore, EventStoreError, LoadVerification, TypedEventStore};
use cim_domain::store::{
    Context, CorrelationId, EventLog, RecordedEvent, StreamRange, Timestamp, Version,
};
use cim_domain::{Repository, RepositoryError};
use uuid::Uuid;

use crate::account::{Account, AccountCommand, AccountError, AccountEvent, ID, ctx, empty_log};
use crate::rewritten_store::RewrittenLog;
use crate::stores::on_every_store;
use AccountCommand::{Deposit, Withdraw};

const CONVERSATION: Uuid = Uuid::from_u128(0xc0);

/// A log with the deposits 1, 2, 3 and 4, which hands them out altered.
async fn deposits(alter: fn(&mut RecordedEvent)) -> Arc<dyn EventLog> {
    let log = empty_log().await;
    let accounts = Repository::<Account>::new(Arc::clone(&log));
    let ctx = ctx().with_correlation_id(CorrelationId::from_uuid(CONVERSATION));
    for cents in 1..=4 {
        accounts.execute(&ctx, &ID, Deposit(cents)).await.unwrap();
    }
    RewrittenLog::altering(log, alter)
}

/// The second deposit becomes one of 9 cents.
fn richer(event: &mut RecordedEvent) {
    if event.version == Version::new(2) {
        let deposit = AccountEvent::Deposited { cents: 9 };
        event.payload = cim_domain::DomainEvent::encode(&deposit).unwrap().into();
    }
}

/// The same by somebody who computes the altered event's CID anew.
fn richer_with_its_cid(event: &mut RecordedEvent) {
    richer(event);
    let mut block = Vec::new();
    event.block().encode_into(&mut block);
    event.cid = cim_domain::store::EventCid::of(&block);
}

fn verifying(log: &Arc<dyn EventLog>, verification: LoadVerification) -> Repository<Account> {
    Repository::new(Arc::clone(log)).with_verification(verification)
}

/// The version at which the history breaks, and how, in the words of the fault.
fn break_of(error: &RepositoryError<AccountError>) -> (Version, String) {
    let RepositoryError::Integrity {
        stream,
        version,
        source,
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(stream.as_str(), format!("bank.account.{ID}"));
    assert_eq!(source.version, version.get());
    (*version, source.to_string())
}

#[tokio::test]
async fn without_verification_what_the_log_says_is_believed() {
    let log = deposits(richer).await;
    let loaded = Repository::<Account>::new(log).load(&ctx(), &ID).await;
    assert_eq!(loaded.unwrap().state.balance, 1 + 9 + 3 + 4);
}

#[tokio::test]
async fn an_altered_event_never_becomes_state() {
    let log = deposits(richer).await;
    let accounts = verifying(&log, LoadVerification::EveryRead);
    let before = log.stats(&ctx()).await.unwrap();

    let (two, three) = (Version::new(2), Version::new(3));
    let mut history = accounts
        .history(&ctx(), &ID, StreamRange::from(two))
        .await
        .unwrap();
    let errors = [
        accounts.load(&ctx(), &ID).await.unwrap_err(),
        accounts
            .load_at_version(&ctx(), &ID, three)
            .await
            .unwrap_err(),
        accounts
            .execute(&ctx(), &ID, Withdraw(17))
            .await
            .unwrap_err(),
        history.next().await.unwrap().unwrap_err(),
    ];
    for error in &errors {
        let (version, fault) = break_of(error);
        assert_eq!(version, two);
        assert!(fault.contains("the event was altered"), "{fault}");
        let shown = format!("the history of bank.account.{ID} breaks at version 2");
        assert_eq!(error.to_string(), shown);
        assert!(error.source().is_some());
    }
    assert_eq!(
        log.stats(&ctx()).await.unwrap(),
        before,
        "the command stored nothing"
    );
    let first = accounts
        .load_at_version(&ctx(), &ID, Version::new(1))
        .await
        .unwrap();
    assert_eq!(first.state.balance, 1);
}

#[tokio::test]
async fn an_event_that_was_replaced_with_a_cid_of_its_own_breaks_the_link_of_the_next() {
    let log = deposits(richer_with_its_cid).await;
    let accounts = verifying(&log, LoadVerification::EveryRead);
    let (version, fault) = break_of(&accounts.load(&ctx(), &ID).await.unwrap_err());
    assert_eq!(version, Version::new(3));
    assert!(fault.contains("continues another history"), "{fault}");
}

#[tokio::test]
async fn what_was_altered_is_found_by_whoever_reads_backwards() {
    let without_the_third = RewrittenLog::leaving_out(deposits(|_| {}).await, Version::new(3));
    for (log, said) in [
        (deposits(richer).await, "the event was altered"),
        (
            deposits(richer_with_its_cid).await,
            "continues another history",
        ),
        (without_the_third as Arc<dyn EventLog>, "missing"),
    ] {
        let accounts = verifying(&log, LoadVerification::EveryRead);
        let range = StreamRange::all().backwards();
        let mut history = accounts.history(&ctx(), &ID, range).await.unwrap();
        let error = loop {
            if let Err(error) = history.next().await.unwrap() {
                break error;
            }
        };
        let RepositoryError::Integrity {
            version, source, ..
        } = error
        else {
            panic!("{error:?}");
        };
        assert_eq!(version, Version::new(2));
        assert!(source.to_string().contains(said), "{source}");
    }
}

#[tokio::test]
async fn of_the_reads_of_a_repository_and_its_clones_one_in_so_many_is_verified() {
    let log = deposits(richer).await;
    let one_in = NonZeroU32::new(5).unwrap();
    let run = async || {
        let accounts = verifying(&log, LoadVerification::Sampled { one_in });
        let mut found = Vec::new();
        for read in 0..50_u32 {
            let loaded = accounts.clone().load(&ctx(), &ID).await;
            if let Err(error) = loaded {
                break_of(&error);
                found.push(read);
            }
        }
        found
    };
    let found = run().await;
    let rows: Vec<u32> = found.iter().map(|read| read / 5).collect();
    assert_eq!(
        rows,
        (0..10).collect::<Vec<_>>(),
        "one of every five: {found:?}"
    );
    assert_eq!(run().await, found, "the same reads in every run");
}

#[tokio::test]
async fn an_event_store_verifies_what_it_reads() {
    let log = deposits(richer).await;
    let events = |verification| {
        TypedEventStore::<AccountEvent>::new(Arc::clone(&log), "bank", "account")
            .unwrap()
            .with_verification(verification)
    };
    let trusting = events(LoadVerification::Off);
    assert_eq!(trusting.read_events(ID).await.unwrap().len(), 4);

    let store = events(LoadVerification::EveryRead);
    assert_eq!(store.verification(), LoadVerification::EveryRead);
    let ever = (Timestamp::EPOCH, Timestamp::from_seconds(1 << 40));
    let errors = [
        store.read_events(ID).await.unwrap_err(),
        store.read_events_from(ID, 2).await.unwrap_err(),
        store.read_by_correlation(CONVERSATION).await.unwrap_err(),
        store
            .read_events_by_time_range(ID, ever.0, ever.1)
            .await
            .unwrap_err(),
    ];
    for error in errors {
        let EventStoreError::Integrity { version, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(*version, Version::new(2));
    }
    assert_eq!(store.read_events_from(ID, 3).await.unwrap().len(), 2);
}

on_every_store! {
    async fn what_is_sound_is_loaded_as_without_verification(store, _clock) {
        let accounts = verifying(&store.log(), LoadVerification::EveryRead);
        for cents in 1..=4 {
            accounts.execute(&Context::new(), &ID, Deposit(cents)).await.unwrap();
        }
        assert_eq!(accounts.load(&ctx(), &ID).await.unwrap().state.balance, 10);
        for from in 1..=5 {
            let range = StreamRange::from(Version::new(from));
            let history = accounts.history(&ctx(), &ID, range).await.unwrap();
            assert_eq!(history.all().await.unwrap().len() as u64, 5 - from);
        }
    }

    async fn what_is_sound_is_read_backwards_as_without_verification(store, _clock) {
        let accounts = verifying(&store.log(), LoadVerification::EveryRead);
        for cents in 1..=4 {
            accounts.execute(&Context::new(), &ID, Deposit(cents)).await.unwrap();
        }
        let events = TypedEventStore::<AccountEvent>::new(store.log(), "bank", "account")
            .unwrap()
            .with_verification(LoadVerification::EveryRead);
        for to in 1..=5 {
            let range = StreamRange::all().to(Version::new(to)).backwards();
            let history = accounts.history(&ctx(), &ID, range).await.unwrap();
            let history = history.all().await.unwrap().into_iter();
            let versions: Vec<u64> = history.map(|it| it.recorded.version.get()).collect();
            assert_eq!(versions, (1..=to.min(4)).rev().collect::<Vec<_>>());
            let read = events.read(ID, range).await.unwrap();
            assert_eq!(read.events.len(), versions.len());
        }
    }
}
