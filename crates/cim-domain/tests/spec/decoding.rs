//! Streams that hold what this program does not understand, and stores that misbehave.

use cim_domain::store::{Append, NewEvent, SchemaVersion, StreamRange, Version};
use cim_domain::{Aggregate, DecodeError, Repository, RepositoryError};
use serde_json::json;

use crate::account::{Account, AccountCommand, ID, accounts, ctx};
use crate::rewritten_store::RewrittenLog;

#[tokio::test]
async fn each_way_of_not_understanding_an_event_has_an_error_of_its_own() {
    let two = SchemaVersion::new(2).unwrap();
    let unknown = NewEvent::json("opened", &json!({})).unwrap();
    let newer = NewEvent::json("deposited", &json!({ "cents": 1 }))
        .unwrap()
        .with_schema_version(two);
    let malformed = NewEvent::json("deposited", &json!({ "cents": "1" })).unwrap();

    for event in [unknown, newer, malformed] {
        let accounts = accounts().await;
        let stream = Account::stream(&ID).unwrap();
        let append = Append::new().write(stream, Version::NONE, vec![event.clone()]);
        accounts.log().append(&ctx(), append).await.unwrap();

        let RepositoryError::Decode {
            version, source, ..
        } = accounts.load(&ctx(), &ID).await.unwrap_err()
        else {
            panic!("{event:?} was loaded");
        };
        assert_eq!(version, Version::new(1));
        match (event.event_type.as_str(), event.schema_version.get()) {
            ("opened", _) => assert!(matches!(*source, DecodeError::UnknownType { .. })),
            (_, 2) => assert!(matches!(*source, DecodeError::NewerSchema { .. })),
            _ => assert!(matches!(*source, DecodeError::Malformed { .. })),
        }
    }
}

#[tokio::test]
async fn a_history_goes_on_after_an_event_that_is_not_understood() {
    let accounts = accounts().await;
    let deposit = AccountCommand::Deposit(1);
    accounts.execute(&ctx(), &ID, deposit).await.unwrap();
    let stream = Account::stream(&ID).unwrap();
    let known = NewEvent::json("closed", &json!({})).unwrap();
    let unknown = NewEvent::json("opened", &json!({})).unwrap();
    let append = Append::new().write(stream, Version::new(1), vec![unknown, known]);
    accounts.log().append(&ctx(), append).await.unwrap();

    let mut history = accounts
        .history(&ctx(), &ID, StreamRange::all())
        .await
        .unwrap();
    let mut understood = Vec::new();
    while let Some(entry) = history.next().await {
        understood.push(entry.is_ok());
    }
    assert_eq!(understood, [true, false, true]);
}

#[tokio::test]
async fn nothing_is_decided_upon_a_state_from_which_an_event_is_missing() {
    let accounts = accounts().await;
    for _ in 0..3 {
        let deposit = AccountCommand::Deposit(1);
        accounts.execute(&ctx(), &ID, deposit).await.unwrap();
    }
    for version in [1, 2] {
        let log = RewrittenLog::leaving_out(accounts.log().clone(), Version::new(version));
        let broken = Repository::<Account>::new(log);
        let withdraw = AccountCommand::Withdraw(1);
        let error = broken.execute(&ctx(), &ID, withdraw).await.unwrap_err();
        assert!(
            matches!(&error, RepositoryError::Store(error) if error.is_integrity()),
            "{error:?}"
        );
        assert!(broken.load(&ctx(), &ID).await.is_err());
    }
}
