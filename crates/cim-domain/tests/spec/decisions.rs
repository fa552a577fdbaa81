//! Decisions over several aggregates.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use cim_domain::persistence::{DeleteOptions, Recreation};
use cim_domain::store::{Context, EventLog, Fault, Limits, Store, StreamRange, Version};
use cim_domain::{Aggregate, DomainEvent, Repository, RepositoryError, RetryPolicy};
use futures_util::FutureExt as _;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::account::{Account, AccountCommand, AccountError, ctx, empty_log};
use crate::stores::on_every_store;
use AccountCommand::{Close, Deposit, Withdraw};

/// A branch that is open or closed.
#[derive(Default)]
struct Branch {
    closed: bool,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
enum BranchEvent {
    BranchClosed,
    BranchOpened,
}

impl Aggregate for Branch {
    const CONTEXT: &'static str = "bank";
    const TYPE: &'static str = "branch";
    type Id = String;
    type Event = BranchEvent;
    type Command = bool;
    type Error = std::convert::Infallible;

    fn apply(&mut self, event: &BranchEvent) {
        self.closed = *event == BranchEvent::BranchClosed;
    }

    fn handle(&self, closed: bool) -> Result<Vec<BranchEvent>, Self::Error> {
        Ok(match (self.closed, closed) {
            (false, true) => vec![BranchEvent::BranchClosed],
            (true, false) => vec![BranchEvent::BranchOpened],
            _ => vec![],
        })
    }
}

#[derive(Debug, PartialEq, thiserror::Error)]
enum TransferError {
    #[error("the branch is closed")]
    BranchClosed,
    #[error("the account refused")]
    Account(#[from] AccountError),
}

static HERE: LazyLock<Context> = LazyLock::new(ctx);

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

struct Bank {
    accounts: Repository<Account>,
    branches: Repository<Branch>,
    main: String,
}

impl Bank {
    fn over(log: &Arc<dyn EventLog>) -> Self {
        let patient = RetryPolicy {
            attempts: 1000,
            ..RetryPolicy::default()
        };
        Self {
            accounts: Repository::new(Arc::clone(log)).with_retry(patient),
            branches: Repository::new(Arc::clone(log)).with_retry(patient),
            main: "main".to_owned(),
        }
    }

    async fn with_balances(store: &dyn Store, balances: &[u64]) -> Self {
        let bank = Self::over(&store.log());
        for (number, cents) in (1..).zip(balances) {
            let deposit = Deposit(*cents);
            bank.accounts
                .execute(&ctx(), &id(number), deposit)
                .await
                .unwrap();
        }
        bank
    }

    async fn transfer(
        &self,
        from: Uuid,
        to: Uuid,
        cents: u64,
    ) -> Result<u32, RepositoryError<TransferError>> {
        let all = (
            self.accounts.participant(&from),
            self.accounts.participant(&to),
            self.branches.participant(&self.main),
        );
        let done = self
            .accounts
            .execute_many(&HERE, all, |(from, to, branch)| {
                if branch.state().closed {
                    return Err(TransferError::BranchClosed);
                }
                from.handle(Withdraw(cents))?;
                to.handle(Deposit(cents))?;
                Ok(())
            });
        Ok(done.await?.attempts)
    }

    async fn balance(&self, id: Uuid) -> u64 {
        self.accounts.load(&ctx(), &id).await.unwrap().state.balance
    }
}

on_every_store! {
    async fn what_is_decided_over_several_is_one_commit(store, _clock) {
        let bank = Bank::with_balances(&*store, &[100, 0]).await;
        bank.transfer(id(1), id(2), 30).await.unwrap();
        assert_eq!((bank.balance(id(1)).await, bank.balance(id(2)).await), (70, 30));

        let mut commits = Vec::new();
        for account in [id(1), id(2)] {
            let history = bank.accounts.history(&HERE, &account, StreamRange::from(Version::new(2)));
            let last = history.await.unwrap().all().await.unwrap().pop().unwrap().recorded;
            assert_eq!(last.commit_count, 2);
            commits.push(last.commit_id);
        }
        assert_eq!(commits[0], commits[1]);
    }

    async fn a_refused_decision_stores_nothing_of_what_it_recorded(store, _clock) {
        let bank = Bank::with_balances(&*store, &[10, 5]).await;
        bank.accounts.execute(&ctx(), &id(2), Close).await.unwrap();
        // The first account would give, the second one does not take.
        let error = bank.transfer(id(1), id(2), 10).await.unwrap_err();
        assert_eq!(error.rejection(), Some(&TransferError::Account(AccountError::Closed)));
        assert_eq!(bank.balance(id(1)).await, 10);
    }

    async fn a_decision_for_nothing_stores_nothing(store, _clock) {
        let bank = Bank::with_balances(&*store, &[7, 8]).await;
        let before = store.log().stats(&ctx()).await.unwrap();
        let all = vec![bank.accounts.participant(&id(1)), bank.accounts.participant(&id(2))];
        let done = bank.accounts.execute_many(&HERE, all, |accounts| {
            Ok::<_, TransferError>(accounts.iter().map(|account| account.state().balance).sum::<u64>())
        });
        let done = done.await.unwrap();
        assert_eq!((done.value, done.appended, done.attempts), (15, None, 1));
        assert_eq!(store.log().stats(&ctx()).await.unwrap().events, before.events);
    }

    async fn aggregates_that_do_not_exist_are_made_by_a_decision(store, _clock) {
        let bank = Bank::over(&store.log());
        let all = vec![bank.accounts.participant(&id(1)), bank.accounts.participant(&id(2))];
        let done = bank.accounts.execute_many(&HERE, all, |accounts| {
            for account in accounts {
                assert_eq!(account.version(), Version::NONE);
                account.handle(Deposit(5))?;
                account.handle(Withdraw(2))?;
            }
            Ok::<_, AccountError>(())
        });
        let heads = done.await.unwrap().appended.unwrap().heads;
        assert!(heads.iter().all(|head| head.version == Version::new(2)));
        assert_eq!((bank.balance(id(1)).await, bank.balance(id(2)).await), (3, 3));
    }

    async fn a_deleted_aggregate_takes_no_part_unless_that_is_wanted(store, _clock) {
        let bank = Bank::with_balances(&*store, &[100, 9]).await;
        bank.accounts.delete(&ctx(), &id(2), DeleteOptions::default()).await.unwrap();
        assert!(bank.transfer(id(1), id(2), 1).await.unwrap_err().is_deleted());

        let lenient = bank.accounts.clone().with_recreation(Recreation::Allow);
        let all = (bank.accounts.participant(&id(1)), lenient.participant(&id(2)));
        let done = bank.accounts.execute_many(&HERE, all, |(from, to)| {
            from.handle(Withdraw(1))?;
            to.handle(Deposit(1))
        });
        done.await.unwrap();
        assert_eq!((bank.balance(id(1)).await, bank.balance(id(2)).await), (99, 1));
    }

    // Money is only moved, so its sum is the same whenever it is looked at.
    async fn transfers_at_the_same_time_neither_lose_nor_make_money(store, _clock) {
        let bank = Arc::new(Bank::with_balances(&*store, &[50, 50, 50, 50]).await);
        let tasks = (0..4_u128).map(|task| {
            let bank = Arc::clone(&bank);
            tokio::spawn(async move {
                for round in 0..6_u128 {
                    let (from, to) = (1 + (task + round) % 4, 1 + (task + 2 * round + 1) % 4);
                    if from == to {
                        continue;
                    }
                    match bank.transfer(id(from), id(to), 1 + u64::try_from(round).unwrap()).await {
                        Ok(_) => {}
                        Err(error) => assert!(error.rejection().is_some(), "{error:?}"),
                    }
                    let all = (1..=4).map(|number| bank.accounts.participant(&id(number))).collect::<Vec<_>>();
                    let sum = bank.accounts.execute_many(&HERE, all, |accounts| {
                        Ok::<_, AccountError>(accounts.iter().map(|account| account.state().balance).sum::<u64>())
                    });
                    assert_eq!(sum.await.unwrap().value, 200);
                }
            })
        });
        let tasks: Vec<_> = tasks.collect();
        for task in tasks {
            task.await.unwrap();
        }
    }

    // Two that look at both and write one each: of those that see the same only one may write.
    async fn two_decisions_never_both_write_upon_what_the_other_changed(store, _clock) {
        let bank = Arc::new(Bank::with_balances(&*store, &[1, 1]).await);
        let tasks = [(1, 2), (2, 1)].map(|(own, other)| {
            let bank = Arc::clone(&bank);
            // Withdraws only while both together have two.
            tokio::spawn(async move {
                let all = (bank.accounts.participant(&id(own)), bank.accounts.participant(&id(other)));
                let done = bank.accounts.execute_many(&HERE, all, |(own, other)| {
                    match own.state().balance + other.state().balance {
                        2 => own.handle(Withdraw(1)),
                        _ => Ok(()),
                    }
                });
                done.await.unwrap().appended.is_some()
            })
        });
        let mut wrote = 0;
        for task in tasks {
            wrote += u32::from(task.await.unwrap());
        }
        assert_eq!(wrote, 1);
        assert_eq!(bank.balance(id(1)).await + bank.balance(id(2)).await, 1);
    }
}

#[tokio::test]
async fn what_was_only_looked_at_must_not_have_changed() {
    let log = empty_log().await;
    let bank = Bank::over(&log);
    bank.accounts
        .execute(&HERE, &id(1), Deposit(100))
        .await
        .unwrap();
    let asked = AtomicU64::new(0);
    let all = (
        bank.accounts.participant(&id(1)),
        bank.branches.participant(&bank.main),
    );
    let done = bank.accounts.execute_many(&HERE, all, |(account, branch)| {
        if asked.fetch_add(1, Ordering::SeqCst) == 0 {
            // Somebody closes the branch in the middle of the first attempt.
            let close = bank.branches.execute(&HERE, &bank.main, true);
            close.now_or_never().unwrap().unwrap();
        }
        if branch.state().closed {
            return Err(TransferError::BranchClosed);
        }
        Ok(account.handle(Withdraw(1))?)
    });
    let error = done.await.unwrap_err();
    assert_eq!(error.rejection(), Some(&TransferError::BranchClosed));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(bank.balance(id(1)).await, 100);
}

#[tokio::test]
async fn a_refusal_is_believed_only_if_all_that_it_saw_is_still_so() {
    let bank = Bank::over(&empty_log().await);
    let asked = AtomicU64::new(0);
    let all = vec![
        bank.accounts.participant(&id(1)),
        bank.accounts.participant(&id(2)),
    ];
    let done = bank.accounts.execute_many(&HERE, all, |mut accounts| {
        if asked.fetch_add(1, Ordering::SeqCst) == 0 {
            let second = id(2);
            let deposit = bank.accounts.execute(&HERE, &second, Deposit(5));
            deposit.now_or_never().unwrap().unwrap();
        }
        accounts[1].handle(Withdraw(5))
    });
    done.await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_aggregate_that_takes_part_twice_or_is_elsewhere_is_refused() {
    let (bank, other) = (
        Bank::over(&empty_log().await),
        Bank::over(&empty_log().await),
    );
    for all in [
        (
            bank.accounts.participant(&id(1)),
            bank.accounts.participant(&id(1)),
        ),
        (
            bank.accounts.participant(&id(1)),
            other.accounts.participant(&id(2)),
        ),
    ] {
        let nothing = bank
            .accounts
            .execute_many(&HERE, all, |_| Ok::<_, AccountError>(()));
        let Err(RepositoryError::Store(error)) = nothing.await else {
            panic!("it was taken");
        };
        assert!(error.fault() == Some(Fault::Invalid), "{error:?}");
    }
}

#[tokio::test]
async fn an_id_that_makes_no_stream_is_refused_before_anything_is_decided() {
    let bank = Bank::over(&empty_log().await);
    let all = (bank.branches.participant(&String::new()),);
    let nothing = bank
        .branches
        .execute_many(&HERE, all, |_| Err::<(), _>(TransferError::BranchClosed));
    let error = nothing.await.unwrap_err();
    assert!(
        matches!(error, RepositoryError::InvalidId { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn as_many_take_part_as_a_commit_has_streams() {
    let bank = Bank::over(&empty_log().await);
    let most = Limits::CONTRACT.commit_streams as u128;
    let decide = |count: u128| {
        let all: Vec<_> = (1..=count)
            .map(|n| bank.accounts.participant(&id(n)))
            .collect();
        bank.accounts.execute_many(&HERE, all, |accounts| {
            accounts
                .into_iter()
                .try_for_each(|account| account.handle(Deposit(1)))
        })
    };
    decide(most).await.unwrap();
    assert!(matches!(
        decide(most + 1).await.unwrap_err(),
        RepositoryError::Store(_)
    ));
}

fn transfers() -> impl Strategy<Value = Vec<(u128, u128, u64)>> {
    let transfer = (1..=3_u128, 1..=3_u128, 0..=60_u64);
    let distinct = transfer.prop_filter("two accounts", |(from, to, _)| from != to);
    prop::collection::vec(distinct, 0..20)
}

async fn compare_with_a_map(transfers: Vec<(u128, u128, u64)>) {
    let bank = Bank::over(&empty_log().await);
    let mut model = BTreeMap::from([(1, 50_u64), (2, 50), (3, 50)]);
    for number in model.keys() {
        bank.accounts
            .execute(&ctx(), &id(*number), Deposit(50))
            .await
            .unwrap();
    }
    for (from, to, cents) in transfers {
        let done = bank.transfer(id(from), id(to), cents).await;
        let is_possible = model[&from] >= cents;
        assert_eq!(done.is_ok(), is_possible);
        if is_possible {
            *model.entry(from).or_default() -= cents;
            *model.entry(to).or_default() += cents;
        }
    }
    for (number, balance) in model {
        assert_eq!(bank.balance(id(number)).await, balance);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_transfers_equal_those_of_a_map(transfers in transfers()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(compare_with_a_map(transfers));
    }
}
