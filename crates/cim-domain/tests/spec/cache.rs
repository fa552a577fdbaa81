//! Repositories with a cache: what they ask of the log, and that nothing comes of an old state.

use std::sync::Arc;
use std::time::Duration;

use cim_domain::persistence::{
    AggregateCache, CacheSettings, DeleteOptions, LoadVerification, Recreation,
};
use cim_domain::store::{
    CommitId, Context, EventLog, EventLogExt as _, ExpectedVersion, Fault, NewEvent, Store, Version,
};
use cim_domain::{Aggregate, DomainEvent, Repository, RepositoryError, RetryPolicy, SaveOptions};
use futures_util::FutureExt as _;
use futures_util::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::account::{Account, AccountCommand, AccountError, AccountEvent, ID, ctx, empty_log};
use crate::rewritten_store::RewrittenLog;
use crate::scripted_log::{Fate, ScriptedLog};
use crate::stores::on_every_store;
use crate::watched_log::{Asked, WatchedLog};
use AccountCommand::{Close, Deposit, Withdraw};
use AccountEvent::{Closed, Deposited};

/// A repository with a cache of its own over a log that counts, and one without over the same store.
/// The first never tries twice.
pub(crate) struct Two {
    pub(crate) cache: AggregateCache,
    pub(crate) log: Arc<WatchedLog>,
    pub(crate) cached: Repository<Account>,
    pub(crate) other: Repository<Account>,
}

impl Two {
    pub(crate) fn over(store: &dyn Store) -> Self {
        Self::of(WatchedLog::new(store.log()), store.log())
    }

    fn of(log: Arc<WatchedLog>, other: Arc<dyn EventLog>) -> Self {
        let cache = AggregateCache::default();
        let cached = Repository::new(log.clone()).with_cache(&cache);
        Self {
            cached: cached.with_retry(RetryPolicy::never()),
            other: Repository::new(other),
            cache,
            log,
        }
    }

    pub(crate) async fn slow() -> Self {
        let log = empty_log().await;
        Self::of(WatchedLog::slow(log.clone()), log)
    }
}

pub(crate) const ONE_APPEND: Asked = Asked {
    appends: 1,
    reads: 0,
    log_reads: 0,
    events: 0,
    positions: 0,
    heads: 0,
};

on_every_store! {
    async fn a_command_on_a_kept_aggregate_takes_one_append_and_no_read(store, _clock) {
        let Two { cache, log, cached, other } = Two::over(&*store);
        other.execute(&ctx(), &ID, Deposit(5)).await.unwrap();
        cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
        let first = log.asked();
        assert_eq!((first.appends, first.reads, first.events), (1, 1, 1));
        for count in 1..=20 {
            let done = cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
            assert_eq!((done.state.balance, done.version.get()), (6 + count, 2 + count));
            assert_eq!(log.asked(), ONE_APPEND);
        }
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.conflicts, stats.entries), (20, 1, 0, 1));
        assert_eq!(other.load(&ctx(), &ID).await.unwrap().state.balance, 26);
    }

    async fn an_aggregate_that_is_made_is_kept_from_its_first_event_on(store, _clock) {
        let Two { log, cached, .. } = Two::over(&*store);
        cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
        log.asked();
        cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
        assert_eq!(log.asked(), ONE_APPEND);

        let saved = Uuid::from_u128(8);
        let new = SaveOptions { expected_version: Some(Version::NONE), ..Default::default() };
        cached.save(&ctx(), &saved, vec![Deposited { cents: 3 }], new).await.unwrap();
        log.asked();
        let done = cached.execute(&ctx(), &saved, Withdraw(2)).await.unwrap();
        assert_eq!(log.asked(), ONE_APPEND);
        assert_eq!(done.state.balance, 1);
    }

    async fn a_load_reads_only_what_is_newer(store, _clock) {
        let Two { cache, log, cached, other } = Two::over(&*store);
        for _ in 0..10 {
            cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
        }
        let own = cached.load(&ctx(), &ID).await.unwrap();
        assert_eq!(own, other.load(&ctx(), &ID).await.unwrap());
        log.asked();
        assert_eq!(cached.load(&ctx(), &ID).await.unwrap(), own);
        let asked = log.asked();
        assert_eq!((asked.reads, asked.events, asked.heads), (0, 0, 1), "nothing is newer");

        other.execute(&ctx(), &ID, Deposit(5)).await.unwrap();
        other.execute(&ctx(), &ID, Deposit(7)).await.unwrap();
        let loaded = cached.load(&ctx(), &ID).await.unwrap();
        assert_eq!(loaded, other.load(&ctx(), &ID).await.unwrap());
        assert_eq!((loaded.state.balance, loaded.version.get()), (22, 12));
        assert_eq!(log.asked().events, 2);
        assert_eq!(cache.stats().conflicts, 1);
    }

    async fn nothing_is_written_from_an_old_state(store, _clock) {
        let Two { cache, log, cached, other } = Two::over(&*store);
        cached.execute(&ctx(), &ID, Deposit(10)).await.unwrap();
        other.execute(&ctx(), &ID, Withdraw(7)).await.unwrap();
        log.asked();

        // By what is kept there are 10 left.
        let refused = cached.execute(&ctx(), &ID, Withdraw(9)).await.unwrap_err();
        assert_eq!(refused.rejection(), Some(&AccountError::NotEnough { balance: 3 }));
        let asked = log.asked();
        assert_eq!((asked.appends, asked.reads, asked.events), (1, 1, 1));
        assert_eq!(cache.stats().conflicts, 1);

        other.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
        let done = cached.execute(&ctx(), &ID, Withdraw(2)).await.unwrap();
        assert_eq!((done.state.balance, done.version.get(), done.attempts), (2, 4, 2));
        assert_eq!(cached.load(&ctx(), &ID).await.unwrap(), other.load(&ctx(), &ID).await.unwrap());
    }

    async fn a_refusal_that_comes_of_an_old_state_is_not_believed(store, _clock) {
        let Two { log, cached, other, .. } = Two::over(&*store);
        cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
        other.execute(&ctx(), &ID, Deposit(10)).await.unwrap();

        let done = cached.execute(&ctx(), &ID, Withdraw(11)).await.unwrap();
        assert_eq!((done.state.balance, done.attempts), (0, 2));

        // One that holds costs a look at the head, and no event.
        cached.load(&ctx(), &ID).await.unwrap();
        log.asked();
        let refused = cached.execute(&ctx(), &ID, Withdraw(1)).await.unwrap_err();
        assert_eq!(refused.rejection(), Some(&AccountError::NotEnough { balance: 0 }));
        assert_eq!(log.asked(), Asked { heads: 1, ..Asked::default() });
    }

    async fn a_decision_for_nothing_that_comes_of_an_old_state_is_not_believed(store, _clock) {
        let Two { cached, other, .. } = Two::over(&*store);
        let cached = cached.with_recreation(Recreation::Allow);
        cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
        cached.execute(&ctx(), &ID, Close).await.unwrap();
        let nothing = cached.execute(&ctx(), &ID, Close).await.unwrap();
        assert_eq!((nothing.appended, nothing.version.get()), (None, 3));

        other.delete(&ctx(), &ID, DeleteOptions::default()).await.unwrap();
        let done = cached.execute(&ctx(), &ID, Close).await.unwrap();
        assert_eq!((done.events, done.version.get(), done.attempts), (vec![Closed], 5, 2));
    }

    async fn an_aggregate_is_remembered_as_deleted_until_somebody_makes_it_anew(store, _clock) {
        let Two { log, cached, other, .. } = Two::over(&*store);
        cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
        cached.delete(&ctx(), &ID, DeleteOptions::default()).await.unwrap();
        let told = |error: RepositoryError<AccountError>| match error {
            RepositoryError::Deleted { version, at, .. } => (version.get(), at),
            other => panic!("{other:?}"),
        };
        let by_other = told(other.load(&ctx(), &ID).await.unwrap_err());
        assert_eq!(told(cached.load(&ctx(), &ID).await.unwrap_err()), by_other);
        log.asked();
        let by_execute = cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap_err();
        assert_eq!(told(by_execute), by_other);
        assert_eq!(log.asked(), Asked { heads: 1, ..Asked::default() });

        let other = other.with_recreation(Recreation::Allow);
        other.execute(&ctx(), &ID, Deposit(4)).await.unwrap();
        let done = cached.execute(&ctx(), &ID, Withdraw(3)).await.unwrap();
        assert_eq!((done.state.balance, done.version.get()), (1, 4));
    }

    async fn what_is_saved_is_taken_into_what_is_kept(store, _clock) {
        let Two { log, cached, other, .. } = Two::over(&*store);
        cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
        let two = SaveOptions {
            commit_id: Some(CommitId::from_uuid(Uuid::from_u128(99))),
            ..Default::default()
        };
        let events = vec![Deposited { cents: 2 }, Deposited { cents: 3 }];
        cached.save(&ctx(), &ID, events.clone(), two.clone()).await.unwrap();
        log.asked();
        let done = cached.execute(&ctx(), &ID, Deposit(4)).await.unwrap();
        assert_eq!((done.state.balance, done.version.get()), (10, 4));
        assert_eq!(log.asked(), ONE_APPEND);

        // What was stored before is not taken in again.
        other.execute(&ctx(), &ID, Deposit(5)).await.unwrap();
        let again = cached.save(&ctx(), &ID, events, two).await;
        assert!(again.is_ok() || again.unwrap_err().is_conflict());
        let done = cached.execute(&ctx(), &ID, Withdraw(15)).await.unwrap();
        assert_eq!((done.state.balance, done.version.get()), (0, 6));
    }

    async fn what_others_save_in_between_is_not_skipped(store, _clock) {
        let Two { cached, other, .. } = Two::over(&*store);
        cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
        other.execute(&ctx(), &ID, Deposit(2)).await.unwrap();
        let anyhow = cached.clone().with_recreation(Recreation::Allow);
        anyhow.save(&ctx(), &ID, vec![Deposited { cents: 4 }], SaveOptions::default()).await.unwrap();
        let done = cached.execute(&ctx(), &ID, Deposit(8)).await.unwrap();
        assert_eq!((done.state.balance, done.version.get()), (15, 4));
    }

    async fn many_commands_on_one_aggregate_take_turns_and_never_conflict(store, _clock) {
        let Two { cache, log, cached, other } = Two::over(&*store);
        for _ in 0..10 {
            other.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
        }
        let tasks = (0..64).map(|_| {
            let cached = cached.clone();
            tokio::spawn(async move { cached.execute(&ctx(), &ID, Deposit(1)).await })
        });
        let mut versions = Vec::new();
        for task in join_all(tasks).await {
            let done = task.unwrap().unwrap();
            assert_eq!((done.state.balance, done.attempts), (done.version.get(), 1));
            versions.push(done.version.get());
        }
        versions.sort_unstable();
        assert_eq!(versions, (11..=74).collect::<Vec<_>>());
        let asked = log.asked();
        assert_eq!((asked.appends, asked.reads, asked.events), (64, 1, 10));
        assert_eq!(cache.stats().conflicts, 0);
    }

    async fn repositories_of_one_type_share_what_is_kept(store, _clock) {
        let Two { cache, log, cached, .. } = Two::over(&*store);
        let second = Repository::<Account>::new(log.clone()).with_cache(&cache.clone());
        cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
        log.asked();
        second.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
        assert_eq!(log.asked(), ONE_APPEND);
        // Every handle on a store is the same log.
        let by_store = Repository::<Account>::new(store.log()).with_cache(&cache);
        by_store.execute(&ctx(), &Uuid::from_u128(8), Deposit(1)).await.unwrap();
        let again = Repository::<Account>::new(store.log()).with_cache(&cache);
        again.execute(&ctx(), &Uuid::from_u128(8), Deposit(1)).await.unwrap();
        assert_eq!(cache.stats().hits, 2);
    }
}

#[tokio::test]
async fn stores_that_share_a_cache_never_mix() {
    let (cache, here, there) = (
        AggregateCache::default(),
        empty_log().await,
        empty_log().await,
    );
    let here = Repository::<Account>::new(here).with_cache(&cache);
    let there = Repository::<Account>::new(there).with_cache(&cache);
    here.execute(&ctx(), &ID, Deposit(10)).await.unwrap();
    assert!(there.load(&ctx(), &ID).await.unwrap_err().is_not_found());
    let refused = there.execute(&ctx(), &ID, Withdraw(1)).await.unwrap_err();
    assert_eq!(
        refused.rejection(),
        Some(&AccountError::NotEnough { balance: 0 })
    );
    assert_eq!(cache.stats().entries, 1);
}

#[tokio::test]
async fn other_types_on_the_same_stream_have_entries_of_their_own() {
    /// Sees every movement of an account.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Statement(Vec<AccountEvent>);

    impl Aggregate for Statement {
        const CONTEXT: &'static str = Account::CONTEXT;
        const TYPE: &'static str = Account::TYPE;
        type Id = Uuid;
        type Event = AccountEvent;
        type Command = ();
        type Error = std::convert::Infallible;

        fn apply(&mut self, event: &AccountEvent) {
            self.0.push(event.clone());
        }

        fn handle(&self, (): ()) -> Result<Vec<AccountEvent>, Self::Error> {
            Ok(vec![])
        }
    }

    let (cache, log) = (AggregateCache::default(), empty_log().await);
    let accounts = Repository::<Account>::new(log.clone()).with_cache(&cache);
    let statements = Repository::<Statement>::new(log).with_cache(&cache);
    accounts.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
    assert_eq!(statements.load(&ctx(), &ID).await.unwrap().state.0.len(), 1);
    accounts.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
    assert_eq!(statements.load(&ctx(), &ID).await.unwrap().state.0.len(), 2);
    assert_eq!(cache.stats().entries, 2);
}

#[tokio::test]
async fn who_verifies_every_read_does_not_use_what_was_read_without() {
    let cache = AggregateCache::default();
    let honest = empty_log().await;
    let honestly = Repository::<Account>::new(honest.clone());
    honestly.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
    let altering = RewrittenLog::altering(honest, |event| event.payload = r#"{"cents":9}"#.into());
    let careless = Repository::<Account>::new(altering.clone()).with_cache(&cache);
    assert_eq!(careless.load(&ctx(), &ID).await.unwrap().state.balance, 9);
    let careful = careless.with_verification(LoadVerification::EveryRead);
    let found = careful.load(&ctx(), &ID).await.unwrap_err();
    assert!(
        matches!(found, RepositoryError::Integrity { .. }),
        "{found:?}"
    );
    let found = careful.execute(&ctx(), &ID, Deposit(1)).await.unwrap_err();
    assert!(
        matches!(found, RepositoryError::Integrity { .. }),
        "{found:?}"
    );
}

#[tokio::test]
async fn many_loads_at_the_same_time_share_one_look_at_the_log() {
    let Two {
        log, cached, other, ..
    } = Two::slow().await;
    for _ in 0..10 {
        other.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
    }
    let ctx = ctx();
    let loads = (0..64).map(|_| cached.load(&ctx, &ID));
    for loaded in try_join_all(loads).await.unwrap() {
        assert_eq!(loaded.version.get(), 10);
    }
    // The second one came when the first had begun to read, so it looks for itself; all others
    // came before that.
    let expected = Asked {
        reads: 1,
        events: 10,
        heads: 1,
        ..Asked::default()
    };
    assert_eq!(log.asked(), expected);

    let refusals = (0..64).map(|_| cached.execute(&ctx, &ID, Withdraw(11)));
    for refused in join_all(refusals).await {
        assert!(refused.unwrap_err().rejection().is_some());
    }
    assert_eq!(log.asked().heads, 2);
}

#[tokio::test]
async fn a_load_that_waited_sees_what_was_stored_before_it_came() {
    let Two { cached, other, .. } = Two::slow().await;
    other.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
    let ctx = ctx();
    let mut first = Box::pin(cached.load(&ctx, &ID));
    for _ in 0..2 {
        assert!(
            first.as_mut().now_or_never().is_none(),
            "it has begun to read"
        );
    }
    other.execute(&ctx, &ID, Deposit(2)).await.unwrap();
    let (first, second) = tokio::join!(first, cached.load(&ctx, &ID));
    assert_eq!(first.unwrap().state.balance, 1);
    assert_eq!(second.unwrap().state.balance, 3);
}

#[tokio::test]
async fn waiting_for_a_turn_ends_at_the_deadline() {
    let clock = cim_domain::store::ManualClock::at(crate::stores::NOON);
    let Two { cached, .. } = Two::slow().await;
    let cached = cached.with_clock(Arc::new(clock.clone()));
    let (patient, second) = (ctx(), Duration::from_secs(1));
    let in_a_second = Context::new().with_timeout(&clock, second);
    let mut first = Box::pin(cached.execute(&patient, &ID, Deposit(1)));
    assert!(first.as_mut().now_or_never().is_none());
    let mut load = Box::pin(cached.load(&in_a_second, &ID));
    let mut execute = Box::pin(cached.execute(&in_a_second, &ID, Deposit(1)));
    assert!(load.as_mut().now_or_never().is_none());
    assert!(execute.as_mut().now_or_never().is_none());
    clock.advance(second);
    for error in [
        load.await.map(drop).unwrap_err(),
        execute.await.map(drop).unwrap_err(),
    ] {
        match error {
            RepositoryError::Store(error) => assert_eq!(error.fault(), Some(Fault::Unavailable)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(first.await.unwrap().version.get(), 1);
}

#[tokio::test]
async fn an_append_of_which_nobody_knows_whether_it_was_stored_is_forgotten() {
    for fate in [Fate::StoredAnswerLost, Fate::LostAnswerLost] {
        let stored = u64::from(matches!(fate, Fate::StoredAnswerLost));
        let log = ScriptedLog::new(empty_log().await, [fate]);
        let cache = AggregateCache::default();
        let accounts = Repository::<Account>::new(log.clone()).with_retry(RetryPolicy::never());
        let cached = accounts.clone().with_cache(&cache);
        let lost = cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap_err();
        assert!(
            matches!(lost, RepositoryError::Unknown { .. }),
            "{stored}: {lost:?}"
        );
        assert_eq!(cache.stats().entries, 0);
        let done = cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
        assert_eq!(
            (done.state.balance, done.version.get()),
            (stored + 1, stored + 1)
        );
    }
}

#[tokio::test]
async fn an_append_that_was_refused_leaves_what_is_kept() {
    let log = ScriptedLog::new(empty_log().await, [Fate::Unavailable]);
    let cache = AggregateCache::default();
    let uncached = Repository::<Account>::new(log.clone()).with_retry(RetryPolicy::never());
    let cached = uncached.with_cache(&cache);
    cached
        .execute(&ctx(), &ID, Deposit(1))
        .await
        .map(drop)
        .unwrap_err();
    cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
    let reads = log.reads().len();
    let closed = ScriptedLog::new(log.clone(), [Fate::Closed]);
    drop(closed);
    cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
    assert_eq!(log.reads().len(), reads);
}

/// A log that was restored from a copy is shorter, or has another history.
#[tokio::test]
async fn what_the_log_does_not_hold_any_more_is_not_believed() {
    for (balances, expected) in [(vec![1, 2], 3), (vec![5, 5, 5], 15), (vec![7, 7, 7, 7], 28)] {
        for by_command in [false, true] {
            let restored = empty_log().await;
            let there = Repository::<Account>::new(restored.clone());
            for cents in &balances {
                there.execute(&ctx(), &ID, Deposit(*cents)).await.unwrap();
            }
            let Two { log, cached, .. } = Two::slow().await;
            for cents in [1, 2, 3] {
                cached.execute(&ctx(), &ID, Deposit(cents)).await.unwrap();
            }
            log.replace(restored);
            if by_command {
                let refused = cached
                    .execute(&ctx(), &ID, Withdraw(1000))
                    .await
                    .unwrap_err();
                let balance = expected;
                assert_eq!(
                    refused.rejection(),
                    Some(&AccountError::NotEnough { balance })
                );
            }
            let loaded = cached.load(&ctx(), &ID).await.unwrap();
            assert_eq!(loaded, there.load(&ctx(), &ID).await.unwrap());
            assert_eq!(loaded.state.balance, expected);
        }
    }
}

#[tokio::test]
async fn a_command_does_not_fail_for_ever_where_the_log_became_shorter() {
    let Two { log, cached, .. } = Two::slow().await;
    for cents in [1, 2, 3] {
        cached.execute(&ctx(), &ID, Deposit(cents)).await.unwrap();
    }
    let restored = empty_log().await;
    let there = Repository::<Account>::new(restored.clone());
    there.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
    log.replace(restored);
    let done = cached.execute(&ctx(), &ID, Deposit(10)).await.unwrap();
    assert_eq!((done.state.balance, done.version.get()), (11, 2));
    log.replace(empty_log().await);
    let done = cached.execute(&ctx(), &ID, Deposit(10)).await.unwrap();
    assert_eq!((done.state.balance, done.version.get()), (10, 1));
    log.replace(empty_log().await);
    assert!(cached.load(&ctx(), &ID).await.unwrap_err().is_not_found());
}

/// An event that does not come back as it was written: nobody should, but serde allows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
struct Guessed {
    number: u64,
    #[serde(skip)]
    whispered: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Guesses {
    numbers: u64,
    whispered: u64,
}

impl Aggregate for Guesses {
    const CONTEXT: &'static str = "game";
    const TYPE: &'static str = "guesses";
    type Id = Uuid;
    type Event = Guessed;
    type Command = (u64, u64);
    type Error = std::convert::Infallible;

    fn apply(&mut self, event: &Guessed) {
        self.numbers += event.number;
        self.whispered += event.whispered;
    }

    fn handle(&self, (number, whispered): (u64, u64)) -> Result<Vec<Guessed>, Self::Error> {
        Ok(vec![Guessed { number, whispered }])
    }
}

#[tokio::test]
async fn what_is_kept_is_what_a_replay_gives_also_where_an_event_is_not_stored_whole() {
    let log = empty_log().await;
    let cached = Repository::<Guesses>::new(log.clone()).with_cache(&AggregateCache::default());
    for _ in 0..3 {
        cached.execute(&ctx(), &ID, (1, 7)).await.unwrap();
    }
    let done = cached.execute(&ctx(), &ID, (1, 7)).await.unwrap();
    let replayed = Repository::<Guesses>::new(log).load(&ctx(), &ID).await;
    assert_eq!(done.state, replayed.unwrap().state);
}

#[tokio::test]
async fn an_event_that_cannot_be_read_back_is_no_state() {
    let log = empty_log().await;
    let cache = AggregateCache::default();
    let cached = Repository::<Account>::new(log.clone()).with_cache(&cache);
    cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
    let unknown = NewEvent::json("account_painted", &serde_json::json!({})).unwrap();
    let stream = Account::stream(&ID).unwrap();
    log.append_to(&ctx(), &stream, ExpectedVersion::Any, vec![unknown])
        .await
        .unwrap();
    for _ in 0..2 {
        let found = cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap_err();
        assert!(matches!(found, RepositoryError::Decode { .. }), "{found:?}");
        let found = cached.load(&ctx(), &ID).await.unwrap_err();
        assert!(matches!(found, RepositoryError::Decode { .. }), "{found:?}");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_rebuilt_and_still_right() {
    let cache = AggregateCache::new(CacheSettings {
        max_entries: 3,
        max_bytes: 64 << 20,
    });
    let log = empty_log().await;
    let cached = Repository::<Account>::new(log.clone()).with_cache(&cache);
    for round in 1..=5 {
        for number in 0..10 {
            let id = Uuid::from_u128(number);
            let done = cached.execute(&ctx(), &id, Deposit(1)).await.unwrap();
            assert_eq!(done.state.balance, round);
            assert!(cache.stats().entries <= 3);
        }
    }
    assert!(cache.stats().evictions > 0);
}

#[test]
fn the_estimate_of_a_state_is_its_own_size_and_all_payloads_unless_it_says_otherwise() {
    let account = Account::default();
    assert_eq!(account.cached_bytes(100), 100 + size_of::<Account>() as u64);
    assert_eq!(account.cached_bytes(u64::MAX), u64::MAX);
}
