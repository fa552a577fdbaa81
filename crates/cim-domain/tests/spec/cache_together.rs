//! A cache together with what else repositories have: decisions over several aggregates, snapshots,
//! and events of unknown types.

use std::collections::BTreeSet;

use cim_domain::persistence::snapshot::{SnapshotPolicy, SnapshotSettings, SnapshotStore};
use cim_domain::persistence::{DeleteOptions, Draft, ExecutedMany, UnknownEvents};
use cim_domain::store::{EventLogExt as _, ExpectedVersion, NewEvent};
use cim_domain::{Aggregate as _, LoadOptions, Repository, RepositoryError};
use futures_util::future::join_all;
use uuid::Uuid;

use crate::account::{Account, AccountCommand, AccountError, ID, ctx};
use crate::cache::{ONE_APPEND, Two};
use crate::stores::on_every_store;
use AccountCommand::{Deposit, Withdraw};

const ANNA: Uuid = Uuid::from_u128(1);
const BERT: Uuid = Uuid::from_u128(2);

async fn transfer(
    accounts: &Repository<Account>,
    from: Uuid,
    to: Uuid,
    cents: u64,
) -> Result<ExecutedMany<u64>, RepositoryError<AccountError>> {
    let both = (accounts.participant(&from), accounts.participant(&to));
    let decide = |(from, to): (&mut Draft<Account>, &mut Draft<Account>)| {
        from.handle(Withdraw(cents))?;
        to.handle(Deposit(cents))?;
        Ok(from.state().balance)
    };
    accounts.execute_many(&ctx(), both, decide).await
}

on_every_store! {
    async fn a_decision_over_kept_aggregates_takes_one_append_and_no_read(store, _clock) {
        let Two { cache, log, cached, other } = Two::over(&*store);
        for id in [ANNA, BERT] {
            cached.execute(&ctx(), &id, Deposit(100)).await.unwrap();
        }
        log.asked();
        for count in 1..=10 {
            let done = transfer(&cached, ANNA, BERT, 1).await.unwrap();
            assert_eq!((done.value, done.attempts), (100 - count, 1));
            assert_eq!(log.asked(), ONE_APPEND);
        }
        // What was stored is kept, for commands on one of them, too.
        let done = cached.execute(&ctx(), &BERT, Withdraw(110)).await.unwrap();
        assert_eq!((log.asked(), done.state.balance), (ONE_APPEND, 0));
        for id in [ANNA, BERT] {
            assert_eq!(cached.load(&ctx(), &id).await.unwrap(), other.load(&ctx(), &id).await.unwrap());
        }
        assert_eq!(cache.stats().conflicts, 0);
    }

    async fn no_decision_stands_on_old_states(store, _clock) {
        let Two { cached, other, .. } = Two::over(&*store);
        for id in [ANNA, BERT] {
            cached.execute(&ctx(), &id, Deposit(100)).await.unwrap();
        }
        other.execute(&ctx(), &ANNA, Withdraw(95)).await.unwrap();
        let refused = transfer(&cached, ANNA, BERT, 10).await.unwrap_err();
        assert_eq!(refused.rejection(), Some(&AccountError::NotEnough { balance: 5 }));

        // By what is kept there are 5.
        other.execute(&ctx(), &ANNA, Deposit(5)).await.unwrap();
        let done = transfer(&cached, ANNA, BERT, 10).await.unwrap();
        assert_eq!((done.value, done.attempts), (0, 2));

        // One alone is not believed either.
        other.execute(&ctx(), &ANNA, Deposit(1)).await.unwrap();
        let anna = (cached.participant(&ANNA),);
        let seen = cached
            .execute_many(&ctx(), anna, |(anna,)| Ok::<_, AccountError>(anna.state().balance))
            .await
            .unwrap();
        assert_eq!(seen.value, 1);

        other.delete(&ctx(), &BERT, DeleteOptions::default()).await.unwrap();
        let refused = transfer(&cached, ANNA, BERT, 1).await.unwrap_err();
        assert!(matches!(refused, RepositoryError::Deleted { .. }), "{refused:?}");
        // It is remembered, and asked about.
        let refused = transfer(&cached, ANNA, BERT, 1).await.unwrap_err();
        assert!(matches!(refused, RepositoryError::Deleted { .. }), "{refused:?}");
    }

    async fn decisions_over_the_same_aggregates_take_turns_in_whatever_order_they_name_them(store, _clock) {
        let Two { cache, cached, other, .. } = Two::over(&*store);
        let ids: Vec<Uuid> = (1..=4).map(Uuid::from_u128).collect();
        for id in &ids {
            other.execute(&ctx(), id, Deposit(100)).await.unwrap();
        }
        let tasks = (0..48_usize).map(|task| {
            let (cached, ids) = (cached.clone(), ids.clone());
            tokio::spawn(async move {
                let (from, to) = (ids[task % 4], ids[(task + 1 + task / 4 % 3) % 4]);
                if task % 5 == 0 {
                    cached.execute(&ctx(), &from, Deposit(0)).await.unwrap();
                }
                // Never more than one attempt, and it is enough.
                transfer(&cached, from, to, 1).await.unwrap().attempts
            })
        });
        let attempts: BTreeSet<u32> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(attempts, [1].into());
        assert_eq!(cache.stats().conflicts, 0);
        let mut sum = 0;
        for id in &ids {
            sum += other.load(&ctx(), id).await.unwrap().state.balance;
        }
        assert_eq!(sum, 400);
    }

    async fn a_state_that_misses_events_is_not_kept(store, _clock) {
        let Two { cache, log, cached, other } = Two::over(&*store);
        cached.execute(&ctx(), &ID, Deposit(10)).await.unwrap();
        let unknown = NewEvent::json("account_painted", &serde_json::json!({})).unwrap();
        let stream = Account::stream(&ID).unwrap();
        store.log().append_to(&ctx(), &stream, ExpectedVersion::Any, vec![unknown]).await.unwrap();

        let skipping = cached.clone().with_unknown_events(UnknownEvents::KeepRaw);
        for count in 1..=2 {
            let done = skipping.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
            assert_eq!((done.state.balance, done.skipped), (10 + count, 1));
            let loaded = skipping.load(&ctx(), &ID).await.unwrap();
            assert_eq!((loaded.state.balance, loaded.skipped, loaded.unknown.len()), (10 + count, 1, 1));
            assert_eq!(cache.stats().entries, 0);
        }
        let refused = skipping.execute(&ctx(), &ID, Withdraw(100)).await.unwrap_err();
        assert_eq!(refused.rejection(), Some(&AccountError::NotEnough { balance: 12 }));
        other.execute(&ctx(), &ID, Deposit(1)).await.map(drop).unwrap_err();
        log.asked();
        // The same aggregate is no state for whoever wants to know all of it.
        let strict = cached.load(&ctx(), &ID).await.unwrap_err();
        assert!(matches!(strict, RepositoryError::Decode { .. }), "{strict:?}");
    }

    async fn what_is_not_kept_begins_with_a_snapshot(store, _clock) {
        let Two { cache, log, cached, .. } = Two::over(&*store);
        let snapshots = SnapshotStore::open(&*store, SnapshotSettings::default()).await.unwrap();
        let cached = cached.with_snapshots(snapshots.clone(), SnapshotPolicy::EveryEvents(10));
        for _ in 0..25 {
            cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
            snapshots.settled().await;
        }
        assert!(snapshots.stats().written >= 2);
        cache.clear();
        log.asked();
        let done = cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
        assert_eq!((done.state.balance, done.version.get()), (26, 26));
        let events = log.asked().events;
        assert!((1..10).contains(&events), "{events}");
        cached.execute(&ctx(), &ID, Deposit(1)).await.unwrap();
        assert_eq!(log.asked().appends, 1);
        snapshots.settled().await;
        log.asked();

        // To want it without snapshots is to want all events.
        let without = LoadOptions { use_snapshot: false, ..LoadOptions::default() };
        let loaded = cached.load_with(&ctx(), &ID, without).await.unwrap();
        assert_eq!((loaded.state.balance, log.asked().events), (27, 27));
    }
}

#[tokio::test]
async fn an_interrupted_decision_frees_all_its_aggregates() {
    for polls in 0..20 {
        let Two { cached, other, .. } = Two::slow().await;
        for id in [ANNA, BERT] {
            cached.execute(&ctx(), &id, Deposit(100)).await.unwrap();
        }
        let first = cached.clone();
        let mut call = Box::pin(transfer(&first, BERT, ANNA, 1));
        for _ in 0..polls {
            if futures_util::FutureExt::now_or_never(call.as_mut()).is_some() {
                break;
            }
        }
        drop(call);
        let before = other.load(&ctx(), &ANNA).await.unwrap().state.balance;
        let done = transfer(&cached, ANNA, BERT, 1).await.unwrap();
        assert_eq!(done.value, before - 1);
        for id in [ANNA, BERT] {
            let loaded = cached.load(&ctx(), &id).await.unwrap();
            assert_eq!(loaded, other.load(&ctx(), &id).await.unwrap());
        }
    }
}
