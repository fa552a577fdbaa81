//! What happens when somebody else was first.

use std::sync::Arc;
use std::time::Duration;

use cim_domain::store::{
    Context, EventLog, ExpectedVersion, ManualClock, NewEvent, Timestamp, Version,
};
use cim_domain::{Repository, RepositoryError, RetryPolicy};
use serde_json::json;

use crate::account::{Account, AccountCommand, AccountError, ID, ctx, empty_log};
use crate::scripted_log::{Fate, ImpatientClock, ScriptedLog};
use AccountCommand::{Deposit, Withdraw};

fn somebody(event_type: &'static str, cents: u64) -> Fate {
    Fate::SomebodyFirst(NewEvent::json(event_type, &json!({ "cents": cents })).unwrap())
}

/// Accounts over a log where somebody deposits one cent before each of the first appends.
async fn contested(times: usize) -> (Repository<Account>, Arc<ScriptedLog>) {
    let script = (0..times).map(|_| somebody("deposited", 1));
    let log = ScriptedLog::new(empty_log().await, script);
    let accounts = Repository::new(log.clone()).with_clock(Arc::new(ImpatientClock::new()));
    (accounts, log)
}

#[tokio::test]
async fn the_aggregate_decides_again_upon_what_is_newer() {
    let (accounts, log) = contested(3).await;
    let done = accounts.execute(&ctx(), &ID, Deposit(100)).await.unwrap();
    assert_eq!(done.attempts, 4);
    assert_eq!((done.state.balance, done.version), (103, Version::new(4)));

    let from: Vec<u64> = log.reads().iter().map(|range| range.from.get()).collect();
    assert_eq!(from, [1, 1, 2, 3], "what was read is not read again");
}

#[tokio::test]
async fn each_decision_is_a_commit_of_its_own() {
    let (accounts, log) = contested(2).await;
    accounts.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
    let commits: Vec<_> = log
        .appends()
        .iter()
        .map(|append| append.commit_id)
        .collect();
    assert_eq!(commits.len(), 3);
    assert!(commits[0] != commits[1] && commits[1] != commits[2] && commits[0] != commits[2]);
}

#[tokio::test]
async fn a_command_that_the_newer_state_rejects_is_rejected() {
    let inner = empty_log().await;
    let accounts = Repository::<Account>::new(inner.clone());
    accounts.execute(&ctx(), &ID, Deposit(10)).await.unwrap();

    let log = ScriptedLog::new(inner, [somebody("withdrawn", 8)]);
    let accounts = Repository::<Account>::new(log);
    let error = accounts
        .execute(&ctx(), &ID, Withdraw(5))
        .await
        .unwrap_err();
    assert_eq!(
        error.rejection(),
        Some(&AccountError::NotEnough { balance: 2 })
    );
}

#[tokio::test]
async fn when_the_attempts_are_used_up_the_conflict_is_reported() {
    let (accounts, log) = contested(usize::from(u8::MAX)).await;
    let error = accounts.execute(&ctx(), &ID, Deposit(1)).await.unwrap_err();
    assert!(matches!(
        error,
        RepositoryError::VersionConflict { expected: ExpectedVersion::Exact(expected), actual }
            if expected == Version::new(9) && actual == Version::new(10)
    ));
    assert_eq!(
        log.appends().len(),
        10,
        "the default policy has 10 attempts"
    );
}

#[tokio::test]
async fn never_means_one_attempt() {
    let (accounts, log) = contested(1).await;
    let accounts = accounts.with_retry(RetryPolicy::never());
    let error = accounts.execute(&ctx(), &ID, Deposit(1)).await.unwrap_err();
    assert!(error.is_conflict());
    assert_eq!(log.appends().len(), 1);
}

#[tokio::test]
async fn pauses_are_waits_of_the_clock() {
    let clock = ManualClock::at(Timestamp::EPOCH);
    let (accounts, log) = contested(1).await;
    let accounts = accounts
        .with_clock(Arc::new(clock.clone()))
        .with_retry(RetryPolicy {
            attempts: 2,
            first_delay: Duration::from_secs(3600),
            longest_delay: Duration::from_secs(3600),
        });
    let ctx = ctx();
    let mut execution = Box::pin(accounts.execute(&ctx, &ID, Deposit(1)));
    // Everything but the clock answers at once, so the first poll leads into the pause.
    assert!(futures_util::poll!(&mut execution).is_pending());
    assert_eq!(log.appends().len(), 1);

    clock.advance(Duration::from_secs(3600));
    assert_eq!(execution.await.unwrap().attempts, 2);
}

#[tokio::test]
async fn a_pause_that_would_outlast_the_deadline_is_not_begun() {
    let clock = ImpatientClock::new();
    let (accounts, log) = contested(1000).await;
    let accounts = accounts
        .with_clock(Arc::new(clock.clone()))
        .with_retry(RetryPolicy {
            attempts: 1000,
            first_delay: Duration::from_secs(1),
            longest_delay: Duration::from_secs(1),
        });
    let ctx = Context::new().with_timeout(&clock, Duration::from_secs(20));
    let error = accounts.execute(&ctx, &ID, Deposit(1)).await.unwrap_err();
    assert!(error.is_conflict());
    assert!(!ctx.is_expired(&clock));
    let attempts = log.appends().len();
    assert!((20..100).contains(&attempts), "{attempts} attempts");
}

#[tokio::test]
async fn other_failures_are_not_retried() {
    let log = ScriptedLog::new(empty_log().await, [Fate::Unavailable]);
    let accounts = Repository::<Account>::new(log.clone());
    let error = accounts.execute(&ctx(), &ID, Deposit(1)).await.unwrap_err();
    assert!(matches!(error, RepositoryError::Store(_)));
    assert_eq!(log.appends().len(), 1);
    assert_eq!(log.stats(&ctx()).await.unwrap().events, 0);
}
