//! What could make a repository lose, bend or make up something: each is tried here.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use cim_conformance::{FaultLayer, FaultPlan};
use cim_domain::persistence::snapshot::{SnapshotPolicy, SnapshotSettings, SnapshotStore};
use cim_domain::persistence::state_copies::{StateCopies, StateCopy, StateCopySettings};
use cim_domain::persistence::{AggregateCache, CacheSettings, DeleteOptions, Draft, Recreation};
use cim_domain::store::{
    Clock as _, CommitId, Context, EventLogExt as _, SequentialIds, SystemClock, Version,
};
use cim_domain::{Aggregate, DomainEvent, LoadOptions, Repository, SaveOptions};
use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::account::{Account, AccountCommand, AccountEvent, ID, ctx};
use crate::stores::{NOON, on_every_store};
use AccountCommand::Deposit;
use AccountEvent::Deposited;

const COMMIT: CommitId = CommitId::from_uuid(Uuid::from_u128(99));

fn delete_as(commit_id: CommitId) -> DeleteOptions {
    DeleteOptions {
        commit_id: Some(commit_id),
        ..Default::default()
    }
}

fn save_as(commit_id: CommitId) -> SaveOptions {
    SaveOptions {
        commit_id: Some(commit_id),
        ..Default::default()
    }
}

on_every_store! {
    async fn a_commit_id_of_other_events_deletes_nothing_and_does_not_say_so(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        accounts.save(&ctx(), &ID, vec![Deposited { cents: 5 }], save_as(COMMIT)).await.unwrap();
        accounts.delete(&ctx(), &ID, delete_as(COMMIT)).await.unwrap_err();
        assert!(accounts.exists(&ctx(), &ID).await.unwrap());
    }

    async fn a_commit_id_of_other_events_does_not_say_that_events_are_stored(store, _clock) {
        let accounts = Repository::<Account>::new(store.log());
        accounts.save(&ctx(), &ID, vec![Deposited { cents: 5 }], save_as(COMMIT)).await.unwrap();
        let tombstone = accounts.delete(&ctx(), &ID, DeleteOptions::default()).await.unwrap();
        accounts.save(&ctx(), &ID, vec![Deposited { cents: 7 }], save_as(COMMIT)).await.unwrap_err();
        accounts.save(&ctx(), &ID, vec![Deposited { cents: 7 }], save_as(tombstone.appended.commit_id)).await.unwrap_err();
        // The same again is the same.
        let again = accounts.save(&ctx(), &ID, vec![Deposited { cents: 5 }], save_as(COMMIT)).await.unwrap();
        assert_eq!(again.version, Version::new(1));
        let stream = Account::stream(&ID).unwrap();
        assert_eq!(store.log().version(&ctx(), &stream).await.unwrap(), Version::new(2));
    }
}

/// Times in milliseconds are written as seconds, as many applications do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
enum MeterEvent {
    Read {
        #[serde(with = "seconds")]
        millis: u64,
    },
}

mod seconds {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(millis: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(millis / 1_000)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        Ok(u64::deserialize(from)? * 1_000)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Meter {
    millis: u64,
}

impl Aggregate for Meter {
    const CONTEXT: &'static str = "house";
    const TYPE: &'static str = "meter";
    type Id = String;
    type Event = MeterEvent;
    type Command = u64;
    type Error = std::convert::Infallible;

    fn apply(&mut self, MeterEvent::Read { millis }: &MeterEvent) {
        self.millis += millis;
    }

    fn handle(&self, millis: u64) -> Result<Vec<MeterEvent>, Self::Error> {
        Ok(vec![MeterEvent::Read { millis }])
    }
}

fn all_events() -> LoadOptions {
    LoadOptions {
        use_snapshot: false,
        ..Default::default()
    }
}

on_every_store! {
    async fn snapshots_and_copies_are_of_what_was_stored_and_not_of_what_was_meant(store, _clock) {
        let snapshots = SnapshotStore::open(&*store, SnapshotSettings::default()).await.unwrap();
        let copies = StateCopies::open(&*store, StateCopySettings::default()).await.unwrap();
        let meters = Repository::<Meter>::new(store.log())
            .with_snapshots(snapshots.clone(), SnapshotPolicy::EveryEvents(1))
            .with_state_copies(copies.clone());
        let (one, two) = ("one".to_owned(), "two".to_owned());
        let done = meters.execute(&ctx(), &one, 1_700).await.unwrap();
        meters.execute_many(&ctx(), (meters.participant(&two),), |(meter,): (&mut Draft<Meter>,)| meter.handle(1_700)).await.unwrap();
        snapshots.settled().await;
        copies.settled().await;
        for id in [one, two] {
            let fold = meters.load_with(&ctx(), &id, all_events()).await.unwrap().state;
            assert_eq!(fold.millis, 1_000);
            assert_eq!(meters.load(&ctx(), &id).await.unwrap().state, fold, "{id}");
            let copy: StateCopy<Meter> = copies.get(&ctx(), &Meter::stream(&id).unwrap()).await.unwrap().unwrap();
            assert_eq!(copy.state, fold, "{id}");
        }
        assert_eq!(done.state.millis, 1_000);
        // One was taken of each by now, and can be used.
        assert!(snapshots.stats().written >= 2);
        assert!(snapshots.stats().loads_with >= 2);
    }
}

on_every_store! {
    async fn ids_of_any_kind_and_of_every_length_work_with_all_that_is_kept(store, _clock) {
        let snapshots = SnapshotStore::open(&*store, SnapshotSettings::default()).await.unwrap();
        let copies = StateCopies::open(&*store, StateCopySettings::default()).await.unwrap();
        let cache = cim_domain::persistence::AggregateCache::default();
        let meters = Repository::<Meter>::new(store.log())
            .with_snapshots(snapshots.clone(), SnapshotPolicy::EveryEvents(1))
            .with_state_copies(copies.clone())
            .with_cache(&cache);
        let longest = 200 - "house.meter.".len();
        for id in ["a.state.7", "*", ">", "a b", "ü", "=41", "state", "..", "\u{0}", "a/b\\c", &"x".repeat(longest)] {
            let id = id.to_owned();
            for _ in 0..3 {
                meters.execute(&ctx(), &id, 1_000).await.unwrap_or_else(|error| panic!("{id:?}: {error:?}"));
                snapshots.settled().await;
                copies.settled().await;
            }
            cache.clear();
            let loaded = meters.load(&ctx(), &id).await.unwrap();
            assert_eq!(loaded.state.millis, 3_000);
            let copy: StateCopy<Meter> = copies.get(&ctx(), &Meter::stream(&id).unwrap()).await.unwrap().unwrap();
            assert_eq!((copy.state.millis, copy.version), (3_000, loaded.version));
        }
        assert_eq!((snapshots.stats().failed, copies.stats().failed), (0, 0));
        for id in ["", &"x".repeat(longest + 1), &"x".repeat(255), &"ü".repeat(100), &"x".repeat(1 << 20)] {
            let error = meters.execute(&ctx(), &id.to_owned(), 1).await.unwrap_err();
            assert!(matches!(error, cim_domain::RepositoryError::InvalidId { .. }), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_load_with_a_deadline_does_not_wait_for_a_bucket_that_hangs() {
    let (store, _) = crate::stores::open_at_noon("memory:").await;
    let snapshots = SnapshotStore::open(&*store, SnapshotSettings::default())
        .await
        .unwrap();
    let hanging = crate::held_bucket::HeldBucket::reads_too(Arc::clone(snapshots.bucket()));
    let snapshots = SnapshotStore::new(hanging, SnapshotSettings::default());
    let accounts =
        Repository::<Account>::new(store.log()).with_snapshots(snapshots, SnapshotPolicy::OnDemand);
    accounts
        .save(
            &ctx(),
            &ID,
            vec![Deposited { cents: 5 }],
            SaveOptions::default(),
        )
        .await
        .unwrap();
    let soon = || Context::new().with_timeout(&SystemClock, Duration::from_millis(600));
    let loaded = in_time(accounts.load(&soon(), &ID)).await.unwrap();
    assert_eq!(loaded.state.balance, 5);
    let done = in_time(accounts.execute(&soon(), &ID, Deposit(1))).await;
    assert_eq!(done.unwrap().state.balance, 6);
    let loaded = in_time(accounts.load(&ctx(), &ID)).await.unwrap();
    assert_eq!(loaded.state.balance, 6);
}

/// What comes before ten seconds are over.
async fn in_time<T>(future: impl Future<Output = T>) -> T {
    let late = SystemClock.sleep(Duration::from_secs(10));
    match select(pin!(future), late).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => panic!("it hangs"),
    }
}

/// Whatever two programs do to a few aggregates, each with a cache and snapshots in a bucket that
/// fails now and then: every load gives what all events give.
#[tokio::test]
async fn every_load_gives_what_all_events_give_whatever_happens() {
    for seed in 0..30 {
        let (store, clock) = crate::stores::open_at_noon("memory:").await;
        let mut programs = Vec::new();
        for program in 0..2 {
            let opened = SnapshotStore::open(&*store, SnapshotSettings::default())
                .await
                .unwrap();
            let faults = FaultLayer::new(
                FaultPlan::random(seed * 2 + program, 6),
                Arc::new(SequentialIds::new(50)),
            );
            let bucket = faults.bucket(Arc::clone(opened.bucket()));
            let snapshots = SnapshotStore::new(bucket, SnapshotSettings::default())
                .with_clock(Arc::new(clock.clone()));
            let recreation = [Recreation::Refuse, Recreation::Allow][program as usize];
            let settings = CacheSettings {
                max_entries: 2,
                ..CacheSettings::default()
            };
            programs.push(
                Repository::<Account>::new(store.log())
                    .with_clock(Arc::new(clock.clone()))
                    .with_recreation(recreation)
                    .with_snapshots(snapshots, SnapshotPolicy::EveryEvents(2))
                    .with_cache(&AggregateCache::new(settings)),
            );
        }
        let plain = Repository::<Account>::new(store.log());
        let mut state = seed + 1;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for step in 0..250 {
            let accounts = &programs[random(2) as usize];
            let (id, other) = (
                Uuid::from_u128(random(3).into()),
                Uuid::from_u128((3 + random(2)).into()),
            );
            // What is refused is refused: only what is loaded counts here.
            match random(12) {
                0..=3 => drop(accounts.execute(&ctx(), &id, Deposit(random(5))).await),
                4 => drop(
                    accounts
                        .execute(&ctx(), &id, AccountCommand::Withdraw(random(9)))
                        .await,
                ),
                5 => drop(
                    accounts
                        .save(
                            &ctx(),
                            &id,
                            vec![Deposited { cents: 3 }; random(3) as usize],
                            SaveOptions::default(),
                        )
                        .await,
                ),
                6 => drop(accounts.delete(&ctx(), &id, DeleteOptions::default()).await),
                7 | 8 => {
                    let both = (accounts.participant(&id), accounts.participant(&other));
                    let move_one = |(from, to): (&mut Draft<Account>, &mut Draft<Account>)| {
                        from.handle(AccountCommand::Withdraw(1))?;
                        to.handle(Deposit(1))
                    };
                    drop(accounts.execute_many(&ctx(), both, move_one).await);
                }
                9 => accounts.cache().unwrap().clear(),
                10 => {
                    // It is dropped after some polls.
                    let ctx = ctx();
                    let mut call = Box::pin(accounts.execute(&ctx, &id, Deposit(1)));
                    for _ in 0..random(6) {
                        if call.as_mut().now_or_never().is_some() {
                            break;
                        }
                    }
                }
                _ => clock.advance(Duration::from_secs(random(3))),
            }
            if random(3) == 0 {
                accounts.snapshots().unwrap().settled().await;
            }
            for id in [id, other] {
                let version = random(8);
                let moment = NOON.saturating_add(Duration::from_secs(random(30)));
                for options in [
                    LoadOptions::default(),
                    LoadOptions {
                        version: Some(Version::new(version)),
                        ..Default::default()
                    },
                    LoadOptions {
                        as_of: Some(moment),
                        ..Default::default()
                    },
                    LoadOptions {
                        as_of: Some(moment),
                        version: Some(Version::new(version)),
                        ..Default::default()
                    },
                ] {
                    let all = LoadOptions {
                        use_snapshot: false,
                        ..options
                    };
                    let expected = format!("{:?}", plain.load_with(&ctx(), &id, all).await);
                    for accounts in &programs {
                        let loaded =
                            format!("{:?}", accounts.load_with(&ctx(), &id, options).await);
                        assert_eq!(loaded, expected, "seed {seed}, step {step}, {options:?}");
                    }
                }
            }
        }
        let used: u64 = programs
            .iter()
            .map(|it| it.snapshots().unwrap().stats().loads_with)
            .sum();
        assert!(used > 50, "{used}");
    }
}

#[tokio::test]
async fn a_decision_never_goes_on_from_another_history() {
    let (store, _) = crate::stores::open_at_noon("memory:").await;
    let turned = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_turned = Arc::clone(&turned);
    // The log is put back to an older state, and written anew, while a decision is under way.
    let restored =
        crate::rewritten_store::RewrittenStore::new(Arc::clone(&store), move |mut event| {
            if is_turned.load(std::sync::atomic::Ordering::SeqCst)
                && event.version > Version::new(1)
            {
                event.previous = Some(cim_domain::store::EventCid::of(b"another history"));
            }
            vec![event]
        });
    let accounts = Repository::<Account>::new(cim_domain::store::Store::log(&*restored));
    let plain = Repository::<Account>::new(store.log());
    plain.execute(&ctx(), &ID, Deposit(5)).await.unwrap();
    let decide = |(account,): (&mut Draft<Account>,)| {
        if !turned.swap(true, std::sync::atomic::Ordering::SeqCst) {
            plain
                .execute(&ctx(), &ID, Deposit(1))
                .now_or_never()
                .unwrap()
                .unwrap();
        }
        account.handle(Deposit(1))
    };
    let one = (accounts.participant(&ID),);
    let error = accounts
        .execute_many(&ctx(), one, decide)
        .await
        .unwrap_err();
    assert!(
        matches!(error, cim_domain::RepositoryError::Store(_)),
        "{error:?}"
    );
    assert_eq!(
        plain.load(&ctx(), &ID).await.unwrap().version,
        Version::new(2)
    );
}
