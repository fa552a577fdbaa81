//! Repositories with a cache whose calls are interrupted: dropped at any await, or by a panic.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use cim_domain::persistence::{AggregateCache, CacheSettings, DeleteOptions, Recreation};
use cim_domain::store::StreamRange;
use cim_domain::{Aggregate, DomainEvent, Repository, RetryPolicy, SaveOptions};
use futures_util::FutureExt as _;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::account::{Account, AccountCommand, AccountEvent, ID, ctx, empty_log};
use crate::watched_log::WatchedLog;
use AccountCommand::{Close, Deposit, Withdraw};

/// Polls a future so often, and drops it.
fn polled<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    (0..times).find_map(|_| future.as_mut().now_or_never())
}

#[tokio::test]
async fn a_call_that_is_dropped_at_any_await_leaves_a_right_state_or_none() {
    for polls in 0..30 {
        for step in 0..4 {
            let log = empty_log().await;
            let uncached = Repository::<Account>::new(log.clone());
            let cache = AggregateCache::default();
            let slow = Repository::<Account>::new(WatchedLog::slow(log)).with_cache(&cache);
            slow.execute(&ctx(), &ID, Deposit(10)).await.unwrap();
            if step > 1 {
                for _ in 0..3 {
                    uncached.execute(&ctx(), &ID, Deposit(10)).await.unwrap();
                }
            }
            let ctx = ctx();
            match step {
                0 | 2 => drop(polled(slow.execute(&ctx, &ID, Withdraw(1)), polls)),
                1 => drop(polled(slow.execute(&ctx, &ID, Withdraw(99)), polls)),
                _ => drop(polled(slow.load(&ctx, &ID), polls)),
            }
            let loaded = slow.load(&ctx, &ID).await.unwrap();
            assert_eq!(loaded, uncached.load(&ctx, &ID).await.unwrap());
            let done = slow.execute(&ctx, &ID, Deposit(1)).await.unwrap();
            assert_eq!(done.state.balance, loaded.state.balance + 1);
            assert_eq!(cache.stats().entries, 1, "nobody holds it any more");
        }
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_while_it_appends_leaves_what_is_kept() {
    let log = empty_log().await;
    let watched = WatchedLog::slow(log);
    let slow = Repository::<Account>::new(watched.clone()).with_cache(&AggregateCache::default());
    slow.execute(&ctx(), &ID, Deposit(10)).await.unwrap();
    watched.asked();
    let ctx = ctx();
    // Dropped before the store takes it, so what is kept is the newest.
    assert!(polled(slow.execute(&ctx, &ID, Deposit(1)), 1).is_none());
    let done = slow.execute(&ctx, &ID, Deposit(1)).await.unwrap();
    assert_eq!((done.version.get(), done.attempts), (2, 1));
    assert_eq!(watched.asked().reads, 0);
    // Dropped after: the next one finds that it is behind.
    assert!(polled(slow.execute(&ctx, &ID, Deposit(1)), 2).is_none());
    let done = slow.execute(&ctx, &ID, Deposit(1)).await.unwrap();
    assert_eq!((done.version.get(), done.attempts), (4, 2));
    assert_eq!(watched.asked().events, 1);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
enum FuseEvent {
    Loaded { amperes: u64 },
    Blown,
}

/// Blows, with a panic, where it is told to; before that it has changed.
#[derive(Clone, Debug, Default, PartialEq)]
struct Fuse {
    amperes: u64,
    touched: u64,
}

#[derive(Clone, Debug)]
enum FuseCommand {
    Load(u64),
    BlowInApply,
    BlowInHandle,
}

impl Aggregate for Fuse {
    const CONTEXT: &'static str = "house";
    const TYPE: &'static str = "fuse";
    type Id = Uuid;
    type Event = FuseEvent;
    type Command = FuseCommand;
    type Error = std::convert::Infallible;

    fn apply(&mut self, event: &FuseEvent) {
        self.touched += 1;
        match event {
            FuseEvent::Loaded { amperes } => self.amperes += amperes,
            FuseEvent::Blown => panic!("blown in apply"),
        }
    }

    fn handle(&self, command: FuseCommand) -> Result<Vec<FuseEvent>, Self::Error> {
        Ok(match command {
            FuseCommand::Load(amperes) => vec![FuseEvent::Loaded { amperes }],
            FuseCommand::BlowInApply => vec![FuseEvent::Loaded { amperes: 1 }, FuseEvent::Blown],
            FuseCommand::BlowInHandle => panic!("blown in handle"),
        })
    }
}

#[tokio::test]
async fn a_panic_in_handle_or_apply_drops_the_entry_and_frees_the_aggregate() {
    let log = empty_log().await;
    let cache = AggregateCache::default();
    let fuses = Repository::<Fuse>::new(log.clone()).with_cache(&cache);
    fuses
        .execute(&ctx(), &ID, FuseCommand::Load(3))
        .await
        .unwrap();
    let ctx = ctx();
    let panicked = AssertUnwindSafe(fuses.execute(&ctx, &ID, FuseCommand::BlowInHandle));
    assert!(panicked.catch_unwind().await.is_err());
    assert_eq!(cache.stats().entries, 0);
    let loaded = fuses.load(&ctx, &ID).await.unwrap();
    assert_eq!((loaded.state.touched, loaded.version.get()), (1, 1));

    // It is stored, and then it panics: whoever loads it meets the same.
    let panicked = AssertUnwindSafe(fuses.execute(&ctx, &ID, FuseCommand::BlowInApply));
    assert!(panicked.catch_unwind().await.is_err());
    assert_eq!(cache.stats().entries, 0);
    let panicked = AssertUnwindSafe(fuses.load(&ctx, &ID));
    assert!(panicked.catch_unwind().await.is_err());
    let before = fuses.load_at_version(&ctx, &ID, loaded.version).await;
    assert_eq!(before.unwrap().state, loaded.state);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_of_many_tasks_some_of_them_aborted_lose_and_double_nothing() {
    let log = empty_log().await;
    let cache = AggregateCache::new(CacheSettings {
        max_entries: 4,
        max_bytes: 64 << 20,
    });
    let uncached = Repository::<Account>::new(log.clone());
    let cached = Repository::<Account>::new(WatchedLog::slow(log)).with_cache(&cache);
    let tasks: Vec<_> = (0..24_u128)
        .map(|task| {
            let (cached, uncached) = (cached.clone(), uncached.clone());
            tokio::spawn(async move {
                for step in 0..40_u128 {
                    let id = Uuid::from_u128((task + step) % 6);
                    let accounts = if step % 9 == 0 { &uncached } else { &cached };
                    let ctx = ctx();
                    let call = accounts.execute(&ctx, &id, Deposit(1));
                    if step % 7 == 0 {
                        tokio::select! {
                            biased;
                            _ = tokio::task::yield_now() => {}
                            done = call => drop(done.unwrap()),
                        }
                        continue;
                    }
                    let done = call.await.unwrap();
                    // Every deposit is one cent, so the state tells its version.
                    assert_eq!(done.state.balance, done.version.get());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for number in 0..6 {
        let id = Uuid::from_u128(number);
        let loaded = cached.load(&ctx(), &id).await.unwrap();
        assert_eq!(loaded, uncached.load(&ctx(), &id).await.unwrap());
        assert_eq!(loaded.state.balance, loaded.version.get());
    }
    assert!(cache.stats().entries <= 4);
}

/// What somebody does with an account.
#[derive(Clone, Debug)]
enum Step {
    Execute(AccountCommand),
    Save(u64),
    Delete,
    Load,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u64..20).prop_map(|cents| Step::Execute(Deposit(cents))),
        3 => (1_u64..40).prop_map(|cents| Step::Execute(Withdraw(cents))),
        1 => Just(Step::Execute(Close)),
        1 => (1_u64..20).prop_map(Step::Save),
        1 => Just(Step::Delete),
        2 => Just(Step::Load),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// With and without a cache, whoever works and whenever somebody is interrupted, everybody sees
    /// what a full replay gives.
    #[test]
    fn a_cache_changes_nothing_but_the_cost(
        max_entries in 0_usize..3,
        allow in any::<bool>(),
        steps in prop::collection::vec((0_usize..3, 0_u128..3, step(), 0_usize..60), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let log = empty_log().await;
            let cache = AggregateCache::new(CacheSettings { max_entries, max_bytes: 64 << 20 });
            let recreation = if allow { Recreation::Allow } else { Recreation::Refuse };
            let plain = Repository::<Account>::new(log.clone())
                .with_recreation(recreation)
                .with_retry(RetryPolicy::never());
            let slow: Arc<WatchedLog> = WatchedLog::slow(log);
            let one = Repository::<Account>::new(slow.clone())
                .with_recreation(recreation)
                .with_retry(RetryPolicy::never())
                .with_cache(&cache);
            let who = [plain.clone(), one.clone(), one.clone()];
            for (number, id, step, polls) in steps {
                let (accounts, id) = (&who[number], Uuid::from_u128(id));
                let ctx = ctx();
                match step {
                    Step::Execute(command) => {
                        // What a full replay says about the command, before it.
                        let before = plain.load(&ctx, &id).await.ok();
                        let done = polled(accounts.execute(&ctx, &id, command.clone()), polls);
                        if let Some(Ok(done)) = done {
                            let state = before.map(|before| before.state).unwrap_or_default();
                            assert_eq!(Ok(&done.events), state.handle(command).as_ref());
                            if done.appended.is_some() {
                                let then = plain.load(&ctx, &id).await.unwrap();
                                assert_eq!((then.state, then.version), (done.state, done.version));
                            }
                        }
                    }
                    Step::Save(cents) => {
                        let events = vec![AccountEvent::Deposited { cents }; 2];
                        let _ = polled(accounts.save(&ctx, &id, events, SaveOptions::default()), polls);
                    }
                    Step::Delete => {
                        let _ = polled(accounts.delete(&ctx, &id, DeleteOptions::default()), polls);
                    }
                    Step::Load => {
                        let expected = plain.load(&ctx, &id).await;
                        if let Some(loaded) = polled(accounts.load(&ctx, &id), polls) {
                            assert_eq!(format!("{loaded:?}"), format!("{expected:?}"));
                        }
                    }
                }
                assert!(cache.stats().entries <= max_entries as u64);
            }
            for id in (0..3).map(Uuid::from_u128) {
                let (ctx, all) = (ctx(), StreamRange::all());
                let loaded = one.load(&ctx, &id).await;
                assert_eq!(format!("{loaded:?}"), format!("{:?}", plain.load(&ctx, &id).await));
                let history = plain.history(&ctx, &id, all).await.unwrap();
                assert!(history.all().await.is_ok());
            }
        });
    }
}
