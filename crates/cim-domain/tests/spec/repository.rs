//! Executing, saving, loading and looking back.

use std::error::Error as _;
use std::sync::Arc;

use cim_domain::store::{
    Append, CausationId, CommitId, Context, CorrelationId, ExpectedVersion, ManualClock, Metadata,
    NewEvent, Principal, SequentialIds, StreamRange, Timestamp, Version,
};
use cim_domain::{Aggregate, DecodeError, Repository, RepositoryError, SaveOptions};
use uuid::Uuid;

use crate::account::{
    Account, AccountCommand, AccountError, AccountEvent, ID, accounts, ctx, empty_log,
};
use AccountCommand::{Close, Deposit, Withdraw};
use AccountEvent::{Closed, Deposited, Withdrawn};

fn v(number: u64) -> Version {
    Version::new(number)
}

#[tokio::test]
async fn a_command_is_decided_upon_the_events_before_it() {
    let accounts = accounts().await;
    accounts.execute(&ctx(), &ID, Deposit(100)).await.unwrap();
    let done = accounts.execute(&ctx(), &ID, Withdraw(30)).await.unwrap();

    assert_eq!(done.state.balance, 70);
    assert_eq!(done.version, v(2));
    assert_eq!(done.events, [Withdrawn { cents: 30 }]);
    assert_eq!(done.attempts, 1);
    let loaded = accounts.load(&ctx(), &ID).await.unwrap();
    assert_eq!(loaded.state, done.state);
    assert_eq!(Some(&loaded.head), done.appended.unwrap().heads.first());
}

#[tokio::test]
async fn a_rejected_command_stores_nothing_and_says_why() {
    let accounts = accounts().await;
    let error = accounts
        .execute(&ctx(), &ID, Withdraw(1))
        .await
        .unwrap_err();
    assert_eq!(
        error.rejection(),
        Some(&AccountError::NotEnough { balance: 0 })
    );
    assert_eq!(error.to_string(), "the command was rejected");
    assert_eq!(error.source().unwrap().to_string(), "only 0 cents are left");
    assert!(!accounts.exists(&ctx(), &ID).await.unwrap());
}

#[tokio::test]
async fn a_command_without_events_stores_nothing() {
    let accounts = accounts().await;
    accounts.execute(&ctx(), &ID, Close).await.unwrap();
    let before = accounts.log().stats(&ctx()).await.unwrap();
    let done = accounts.execute(&ctx(), &ID, Close).await.unwrap();
    assert_eq!((done.version, done.events), (v(1), vec![]));
    assert_eq!(done.appended, None);
    assert_eq!(accounts.log().stats(&ctx()).await.unwrap(), before);
}

#[tokio::test]
async fn the_events_of_a_command_are_one_commit_under_the_contexts_correlation() {
    let accounts = accounts().await;
    accounts.execute(&ctx(), &ID, Deposit(5)).await.unwrap();
    let (correlation, causation) = (
        CorrelationId::from_uuid(Uuid::from_u128(1)),
        CausationId::from_uuid(Uuid::from_u128(2)),
    );
    let ctx = Context::new()
        .with_correlation_id(correlation)
        .with_causation_id(causation)
        .with_principal(Principal::new("anna").unwrap());
    accounts.execute(&ctx, &ID, Close).await.unwrap();

    let range = StreamRange::from(v(2));
    let history = accounts.history(&ctx, &ID, range).await.unwrap();
    let history = history.all().await.unwrap();
    let events: Vec<&AccountEvent> = history.iter().map(|entry| &entry.event).collect();
    assert_eq!(events, [&Withdrawn { cents: 5 }, &Closed]);
    for (index, entry) in (0..).zip(&history) {
        let recorded = &entry.recorded;
        assert_eq!((recorded.commit_index, recorded.commit_count), (index, 2));
        assert_eq!(recorded.commit_id, history[0].recorded.commit_id);
        assert_eq!(recorded.correlation_id, Some(correlation));
        assert_eq!(recorded.causation_id, Some(causation));
        assert_eq!(recorded.principal, ctx.principal().cloned());
    }
}

#[tokio::test]
async fn time_and_ids_come_from_the_clock_and_the_generator_it_was_given() {
    let noon = Timestamp::from_seconds(12 * 3600);
    let accounts = accounts()
        .await
        .with_clock(Arc::new(ManualClock::at(noon)))
        .with_ids(Arc::new(SequentialIds::new(3)));
    let done = accounts.execute(&ctx(), &ID, Deposit(1)).await.unwrap();

    let mut history = accounts
        .history(&ctx(), &ID, StreamRange::all())
        .await
        .unwrap();
    let recorded = history.next().await.unwrap().unwrap().recorded;
    assert!(history.next().await.is_none());
    assert_eq!(recorded.time, noon);
    let expected = SequentialIds::new(3);
    let first = cim_domain::store::IdGenerator::next_uuid(&expected);
    assert_eq!(done.appended.unwrap().commit_id, CommitId::from_uuid(first));
}

#[tokio::test]
async fn an_aggregate_without_events_is_not_found() {
    let accounts = accounts().await;
    let error = accounts.load(&ctx(), &ID).await.unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(error.to_string(), format!("there is no bank.account.{ID}"));
    let error = accounts
        .load_at_version(&ctx(), &ID, v(1))
        .await
        .unwrap_err();
    assert!(error.is_not_found());
    let history = accounts
        .history(&ctx(), &ID, StreamRange::all())
        .await
        .unwrap();
    assert_eq!(history.all().await.unwrap(), []);
}

#[tokio::test]
async fn an_aggregate_can_be_loaded_at_each_of_its_versions_and_no_other() {
    let accounts = accounts().await;
    for cents in [1, 10, 100] {
        accounts.execute(&ctx(), &ID, Deposit(cents)).await.unwrap();
    }
    for (version, balance) in [(1, 1), (2, 11), (3, 111)] {
        let loaded = accounts
            .load_at_version(&ctx(), &ID, v(version))
            .await
            .unwrap();
        assert_eq!(
            (loaded.state.balance, loaded.version),
            (balance, v(version))
        );
        assert_eq!(loaded.head.version, v(version));
    }
    for version in [0, 4, u64::MAX] {
        let error = accounts
            .load_at_version(&ctx(), &ID, v(version))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, RepositoryError::VersionNotFound { requested, actual, .. }
                if *requested == v(version) && *actual == v(3)),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_history_follows_the_range_in_its_direction() {
    let accounts = accounts().await;
    for cents in 1..=5 {
        accounts.execute(&ctx(), &ID, Deposit(cents)).await.unwrap();
    }
    let range = StreamRange::all().backwards().limit(2);
    let history = accounts.history(&ctx(), &ID, range).await.unwrap();
    let history = history.all().await.unwrap();
    let versions: Vec<u64> = history
        .iter()
        .map(|entry| entry.recorded.version.get())
        .collect();
    assert_eq!(versions, [5, 4]);
    assert_eq!(history[0].event, Deposited { cents: 5 });
}

#[tokio::test]
async fn events_are_saved_where_the_aggregate_is_at_the_expected_version() {
    let accounts = accounts().await;
    let at = |version| SaveOptions {
        expected_version: Some(v(version)),
        ..SaveOptions::default()
    };
    let two = vec![Deposited { cents: 1 }, Deposited { cents: 2 }];
    let saved = accounts
        .save(&ctx(), &ID, two.clone(), at(0))
        .await
        .unwrap();
    assert_eq!(saved.version, v(2));

    let error = accounts
        .save(&ctx(), &ID, two.clone(), at(0))
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        RepositoryError::VersionConflict { expected: ExpectedVersion::NEW, actual } if actual == v(2)
    ));
    assert_eq!(
        error.to_string(),
        "the aggregate is at version 2, expected was no events yet"
    );

    let anywhere = SaveOptions::default();
    let saved = accounts.save(&ctx(), &ID, two, anywhere).await.unwrap();
    assert_eq!(saved.version, v(4));
}

#[tokio::test]
async fn saving_no_events_stores_nothing_and_checks_the_version() {
    let accounts = accounts().await;
    accounts.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
    let at = |version: Option<u64>| SaveOptions {
        expected_version: version.map(v),
        ..SaveOptions::default()
    };
    for version in [Some(1), None] {
        let saved = accounts
            .save(&ctx(), &ID, vec![], at(version))
            .await
            .unwrap();
        assert_eq!(saved.version, v(1));
    }
    let error = accounts
        .save(&ctx(), &ID, vec![], at(Some(2)))
        .await
        .unwrap_err();
    assert!(error.is_conflict());
    assert_eq!(accounts.load(&ctx(), &ID).await.unwrap().version, v(1));
}

#[tokio::test]
async fn saved_events_carry_the_metadata_they_were_given() {
    let accounts = accounts().await;
    let options = SaveOptions {
        metadata: Metadata::from_pairs([("branch", "main")]).unwrap(),
        ..SaveOptions::default()
    };
    accounts
        .save(&ctx(), &ID, vec![Deposited { cents: 1 }], options)
        .await
        .unwrap();
    let history = accounts
        .history(&ctx(), &ID, StreamRange::all())
        .await
        .unwrap();
    let recorded = &history.all().await.unwrap()[0].recorded;
    assert_eq!(recorded.metadata.get("branch"), Some("main"));
}

#[tokio::test]
async fn saving_the_same_commit_again_returns_the_first_result() {
    let accounts = accounts().await;
    let options = || SaveOptions {
        commit_id: Some(CommitId::from_uuid(Uuid::from_u128(9))),
        ..SaveOptions::default()
    };
    let event = || vec![Deposited { cents: 1 }];
    let first = accounts
        .save(&ctx(), &ID, event(), options())
        .await
        .unwrap();
    accounts.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
    let again = accounts
        .save(&ctx(), &ID, event(), options())
        .await
        .unwrap();
    assert_eq!(again, first);
    assert_eq!(accounts.load(&ctx(), &ID).await.unwrap().version, v(2));
}

#[derive(Debug, Default)]
struct Named;

impl Aggregate for Named {
    const CONTEXT: &'static str = "docs";
    const TYPE: &'static str = "named";
    type Id = String;
    type Event = AccountEvent;
    type Command = ();
    type Error = std::convert::Infallible;

    fn apply(&mut self, _: &AccountEvent) {}

    fn handle(&self, (): ()) -> Result<Vec<AccountEvent>, Self::Error> {
        Ok(vec![Closed])
    }
}

#[tokio::test]
async fn any_text_is_an_id_unless_it_is_empty_or_too_long() {
    let repository = Repository::<Named>::new(empty_log().await);
    let odd = "a.b/ü *>".to_owned();
    repository.execute(&ctx(), &odd, ()).await.unwrap();
    assert!(repository.exists(&ctx(), &odd).await.unwrap());
    assert!(!repository.exists(&ctx(), &"a".to_owned()).await.unwrap());

    for id in [String::new(), "x".repeat(300)] {
        let error = repository.execute(&ctx(), &id, ()).await.unwrap_err();
        assert!(matches!(error, RepositoryError::InvalidId { .. }), "{id}");
    }
}

#[tokio::test]
async fn an_event_that_is_not_understood_is_named_by_stream_and_version() {
    let accounts = accounts().await;
    accounts.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
    let stream = Account::stream(&ID).unwrap();
    let foreign = NewEvent::json("opened", &()).unwrap();
    let append = Append::new().write(stream.clone(), v(1), vec![foreign]);
    accounts.log().append(&ctx(), append).await.unwrap();

    let error = accounts.load(&ctx(), &ID).await.unwrap_err();
    assert!(matches!(
        &error,
        RepositoryError::Decode { stream: named, version, source }
            if matches!(**source, DecodeError::UnknownType { .. }) && *named == stream && *version == v(2)
    ));
    assert_eq!(
        error.to_string(),
        format!("the event at version 2 of bank.account.{ID} can't be read")
    );

    let error = accounts.execute(&ctx(), &ID, Deposit(1)).await.unwrap_err();
    assert!(matches!(error, RepositoryError::Decode { .. }));
    assert_eq!(accounts.log().stats(&ctx()).await.unwrap().events, 2);
    let before = accounts.load_at_version(&ctx(), &ID, v(1)).await.unwrap();
    assert_eq!(before.state.balance, 1);
}

#[tokio::test]
async fn a_store_that_is_closed_is_an_error_of_the_store() {
    let store = cim_domain::open("memory:").await.unwrap();
    let accounts = Repository::<Account>::new(store.log());
    store.close().await.unwrap();
    let error = accounts.execute(&ctx(), &ID, Deposit(1)).await.unwrap_err();
    assert!(matches!(error, RepositoryError::Store(_)), "{error:?}");
    assert_eq!(error.to_string(), "the event log could not do it");
}
