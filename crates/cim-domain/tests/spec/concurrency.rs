//! Many that work on one aggregate at the same time.

use cim_domain::store::{StreamRange, Version};
use cim_domain::{Repository, RepositoryError, RetryPolicy};

use crate::account::{Account, AccountCommand, AccountEvent, ID, accounts, ctx};
use AccountCommand::{Deposit, Withdraw};

const TASKS: u64 = 24;
const EACH: u64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_command_is_lost_and_none_counts_twice() {
    deposit_from_many_tasks(&accounts().await).await;
}

#[cfg(feature = "embedded")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_command_is_lost_and_none_counts_twice_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("embedded:{}", directory.path().display());
    let store = cim_domain::open(&url).await.unwrap();
    deposit_from_many_tasks(&Repository::new(store.log())).await;
    store.close().await.unwrap();

    let store = cim_domain::open(&url).await.unwrap();
    let accounts = Repository::<Account>::new(store.log());
    let loaded = accounts.load(&ctx(), &ID).await.unwrap();
    assert_eq!(loaded.state.balance, TASKS * EACH);
}

/// Each deposit is one cent, so the balance after it is the version it was stored under.
async fn deposit_from_many_tasks(accounts: &Repository<Account>) {
    let accounts = accounts.clone().with_retry(RetryPolicy {
        attempts: u32::MAX,
        ..RetryPolicy::default()
    });
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let accounts = accounts.clone();
            tokio::spawn(async move {
                let mut versions = Vec::new();
                for _ in 0..EACH {
                    let done = accounts.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
                    assert_eq!(done.state.balance, done.version.get());
                    versions.push(done.version);
                }
                versions
            })
        })
        .collect();
    let mut versions = Vec::new();
    for task in tasks {
        versions.extend(task.await.unwrap());
    }

    versions.sort();
    let expected: Vec<Version> = (1..=TASKS * EACH).map(Version::new).collect();
    assert_eq!(versions, expected, "every version has one winner");
    let loaded = accounts.load(&ctx(), &ID).await.unwrap();
    assert_eq!(loaded.state.balance, TASKS * EACH);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_retries_what_succeeded_is_exactly_what_is_stored() {
    let accounts = accounts().await.with_retry(RetryPolicy::never());
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let accounts = accounts.clone();
            tokio::spawn(async move {
                let mut succeeded = 0;
                for _ in 0..EACH {
                    match accounts.execute(&ctx(), &ID, Deposit(1)).await {
                        Ok(_) => succeeded += 1,
                        Err(RepositoryError::VersionConflict { .. }) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
                succeeded
            })
        })
        .collect();
    let mut succeeded = 0;
    for task in tasks {
        succeeded += task.await.unwrap();
    }
    assert!(succeeded > 0);
    let loaded = accounts.load(&ctx(), &ID).await.unwrap();
    assert_eq!(loaded.state.balance, succeeded);
    assert_eq!(loaded.version.get(), succeeded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rule_over_the_state_holds_whoever_comes_first() {
    let accounts = accounts().await.with_retry(RetryPolicy {
        attempts: u32::MAX,
        ..RetryPolicy::default()
    });
    accounts.execute(&ctx(), &ID, Deposit(10)).await.unwrap();
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let accounts = accounts.clone();
            tokio::spawn(async move {
                match accounts.execute(&ctx(), &ID, Withdraw(1)).await {
                    Ok(_) => true,
                    Err(RepositoryError::Rejected(_)) => false,
                    Err(other) => panic!("{other:?}"),
                }
            })
        })
        .collect();
    let mut withdrawn = 0;
    for task in tasks {
        withdrawn += u64::from(task.await.unwrap());
    }
    assert_eq!(withdrawn, 10, "the account never goes below nothing");

    let history = accounts.history(&ctx(), &ID, StreamRange::all()).await;
    let events = history.unwrap().all().await.unwrap();
    let stored = events
        .iter()
        .filter(|entry| entry.event == AccountEvent::Withdrawn { cents: 1 });
    assert_eq!(stored.count(), 10);
}
