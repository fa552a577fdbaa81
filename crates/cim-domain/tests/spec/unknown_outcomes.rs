//! What happens when the answer to an append is lost.

use std::sync::Arc;
use std::time::Duration;

use cim_domain::persistence::Recreation;
use cim_domain::store::{
    Append, CommitId, Context, EventLog, EventLogExt, ExpectedVersion, NewEvent, Resolution,
};
use cim_domain::{Aggregate, Repository, RepositoryError, RetryPolicy, SaveOptions};
use serde_json::json;

use crate::account::{Account, AccountCommand, AccountError, AccountEvent, ID, ctx, empty_log};
use crate::scripted_log::{Fate, ImpatientClock, ScriptedLog};
use AccountCommand::{Deposit, Withdraw};
use Fate::{Closed, LostAnswerLost, StoredAnswerLost, Unavailable};

async fn accounts(
    script: impl IntoIterator<Item = Fate>,
) -> (Repository<Account>, Arc<ScriptedLog>, ImpatientClock) {
    let clock = ImpatientClock::new();
    let log = ScriptedLog::new(empty_log().await, script);
    let accounts = Repository::new(log.clone()).with_clock(Arc::new(clock.clone()));
    (accounts, log, clock)
}

fn unknown_commit<E: std::error::Error>(error: &RepositoryError<E>) -> CommitId {
    match error {
        RepositoryError::Unknown { commit_id, .. } => *commit_id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_stored_once() {
    for fate in [StoredAnswerLost, LostAnswerLost] {
        let (accounts, log, _) = accounts([fate.clone(), fate.clone(), fate.clone()]).await;
        let done = accounts.execute(&ctx(), &ID, Deposit(5)).await.unwrap();
        assert_eq!(done.attempts, 1, "{fate:?}: it was decided once");
        assert_eq!(done.state.balance, 5);
        assert_eq!(log.stats(&ctx()).await.unwrap().events, 1, "{fate:?}");
    }
}

#[tokio::test]
async fn what_is_appended_again_is_the_very_same_commit() {
    let (accounts, log, _) = accounts([LostAnswerLost, Unavailable, LostAnswerLost]).await;
    accounts.execute(&ctx(), &ID, Deposit(5)).await.unwrap();
    let mut appends: Vec<Append> = log.appends();
    // Only the first try may be taken for one that nobody made before.
    let fresh: Vec<bool> = appends.iter().map(|append| append.fresh).collect();
    assert_eq!(fresh, [true, false, false, false]);
    appends[0].fresh = false;
    assert!(appends.iter().all(|append| *append == appends[0]));
    let event = &appends[0].writes[0].events[0];
    assert!(event.id.is_some() && event.time.is_some());
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_until_the_deadline_is_reported_with_the_commit() {
    for (fate, stored) in [(StoredAnswerLost, true), (LostAnswerLost, false)] {
        let (accounts, log, clock) = accounts(vec![fate; 100_000]).await;
        let ctx = Context::new().with_timeout(&clock, Duration::from_secs(30));
        let error = accounts.execute(&ctx, &ID, Deposit(5)).await.unwrap_err();
        let commit = unknown_commit(&error);
        assert!(
            log.appends().len() > 100,
            "the deadline counts, not the policy"
        );
        match log.resolve(&Context::new(), commit).await.unwrap() {
            Resolution::Committed(appended) => assert!(stored && appended.commit_id == commit),
            Resolution::NotCommitted => assert!(!stored),
        }
    }
}

#[tokio::test]
async fn without_a_deadline_the_policy_says_how_often_it_is_appended() {
    let (accounts, log, _) = accounts(vec![StoredAnswerLost; 100]).await;
    let error = accounts.execute(&ctx(), &ID, Deposit(5)).await.unwrap_err();
    unknown_commit(&error);
    assert_eq!(log.appends().len(), 10);
}

#[tokio::test]
async fn without_pauses_the_policy_says_how_often_it_is_appended() {
    let (accounts, log, clock) = accounts(vec![StoredAnswerLost; 1_000]).await;
    let accounts = accounts.with_retry(RetryPolicy {
        attempts: 5,
        ..RetryPolicy::never()
    });
    let ctx = Context::new().with_timeout(&clock, Duration::from_secs(30));
    let error = accounts.execute(&ctx, &ID, Deposit(5)).await.unwrap_err();
    unknown_commit(&error);
    assert_eq!(log.appends().len(), 5);
}

#[tokio::test]
async fn never_means_one_append() {
    let (accounts, log, clock) = accounts([StoredAnswerLost, StoredAnswerLost]).await;
    let ctx = Context::new().with_timeout(&clock, Duration::from_secs(30));
    let once = RetryPolicy {
        attempts: 1,
        ..RetryPolicy::default()
    };
    for (policy, id) in [(RetryPolicy::never(), 1), (once, 2)] {
        let accounts = accounts.clone().with_retry(policy);
        let id = uuid::Uuid::from_u128(id);
        let error = accounts.execute(&ctx, &id, Deposit(5)).await.unwrap_err();
        unknown_commit(&error);
    }
    assert_eq!(log.appends().len(), 2);
}

#[tokio::test]
async fn after_a_lost_answer_another_failure_leaves_the_outcome_unknown() {
    let (accounts, log, _) = accounts([StoredAnswerLost, Closed]).await;
    let error = accounts.execute(&ctx(), &ID, Deposit(5)).await.unwrap_err();
    let commit = unknown_commit(&error);
    assert!(matches!(
        log.resolve(&ctx(), commit).await.unwrap(),
        Resolution::Committed(_)
    ));

    let mut script = vec![StoredAnswerLost];
    script.resize(100, Unavailable);
    let (accounts, ..) = self::accounts(script).await;
    let error = accounts.execute(&ctx(), &ID, Deposit(5)).await.unwrap_err();
    unknown_commit(&error);
}

#[tokio::test]
async fn a_commit_that_was_not_stored_and_came_too_late_is_decided_again() {
    let withdrawn = NewEvent::json("withdrawn", &json!({ "cents": 8 })).unwrap();
    let script = [LostAnswerLost, Fate::SomebodyFirst(withdrawn)];
    let inner = empty_log().await;
    Repository::<Account>::new(inner.clone())
        .execute(&ctx(), &ID, Deposit(10))
        .await
        .unwrap();
    let log = ScriptedLog::new(inner, script);
    let accounts = Repository::<Account>::new(log.clone());

    let error = accounts
        .execute(&ctx(), &ID, Withdraw(5))
        .await
        .unwrap_err();
    assert_eq!(
        error.rejection(),
        Some(&AccountError::NotEnough { balance: 2 })
    );
    assert_eq!(log.stats(&ctx()).await.unwrap().events, 2);
}

#[tokio::test]
async fn a_stored_commit_that_others_followed_is_found_and_not_decided_again() {
    let deposited = NewEvent::json("deposited", &json!({ "cents": 1 })).unwrap();
    let script = [StoredAnswerLost, Fate::SomebodyFirst(deposited)];
    let (accounts, log, _) = accounts(script).await;
    let done = accounts.execute(&ctx(), &ID, Deposit(5)).await.unwrap();
    assert_eq!((done.version.get(), done.attempts), (1, 1));
    assert_eq!(log.stats(&ctx()).await.unwrap().events, 2);
    assert_eq!(accounts.load(&ctx(), &ID).await.unwrap().state.balance, 6);
}

#[tokio::test]
async fn a_conflict_that_a_commit_under_way_could_still_overcome_leaves_it_unknown() {
    // Expected is a version that the stream has not reached yet: the first try, if it is still
    // under way, could be stored when it gets there.
    let (accounts, ..) = accounts([LostAnswerLost]).await;
    let options = SaveOptions {
        expected_version: Some(3.into()),
        ..SaveOptions::default()
    };
    let events = vec![AccountEvent::Deposited { cents: 1 }];
    let error = accounts
        .save(&ctx(), &ID, events, options)
        .await
        .unwrap_err();
    unknown_commit(&error);
}

#[tokio::test]
async fn a_save_whose_answer_was_lost_is_stored_once_whatever_it_expects() {
    for (recreation, expected) in [
        (Recreation::Allow, ExpectedVersion::Any),
        (Recreation::Refuse, ExpectedVersion::NEW),
    ] {
        let (accounts, log, _) = accounts([StoredAnswerLost, StoredAnswerLost]).await;
        let events = vec![AccountEvent::Deposited { cents: 1 }];
        accounts
            .with_recreation(recreation)
            .save(&ctx(), &ID, events, SaveOptions::default())
            .await
            .unwrap();
        let stream = Account::stream(&ID).unwrap();
        assert_eq!(log.read_all(&ctx(), &stream).await.unwrap().len(), 1);
        assert_eq!(log.appends()[0].writes[0].expected, expected);
    }
}
