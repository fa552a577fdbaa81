//! Whatever happens to snapshots, loads give what the events say: random histories with random
//! policies, damage, and reopening, against a full replay.

use std::time::Duration;

use cim_domain::persistence::snapshot::{SnapshotPolicy, SnapshotSettings, SnapshotStore};
use cim_domain::persistence::{DeleteOptions, Recreation};
use cim_domain::store::{Bucket, BucketExt as _, Entry, ManualClock, Operation, Store, Version};
use cim_domain::{LoadOptions, Repository, SaveOptions};
use proptest::prelude::*;

use super::{Tally, TallyEvent, id, key};
use crate::account::ctx;
use crate::stores::open_at_noon;

#[derive(Clone, Debug)]
enum Step {
    Execute(u64),
    Save {
        numbers: Vec<u64>,
        snapshot: bool,
    },
    Delete,
    Load,
    LoadAt(prop::sample::Index),
    TakeSnapshot,
    /// Waits for what is being written.
    Settle,
    /// Flips a bit of the value.
    Damage(prop::sample::Index, u8),
    /// Puts a snapshot that was there before in the place of the present one.
    PutBack(prop::sample::Index),
    /// Puts a snapshot of another history there, after so many events of it.
    Foreign(u64),
    Purge,
    Pass(u64),
    /// Opens repository and snapshots anew, with another policy.
    Reopen(SnapshotPolicy),
}

fn policies() -> impl Strategy<Value = SnapshotPolicy> {
    let leaf = prop_oneof![
        Just(SnapshotPolicy::Never),
        Just(SnapshotPolicy::OnDemand),
        (0..5_u64).prop_map(SnapshotPolicy::EveryEvents),
        (0..60_u64).prop_map(SnapshotPolicy::ReplayedBytes),
        (0..5_u64).prop_map(|seconds| SnapshotPolicy::OlderThan(Duration::from_secs(seconds))),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        let some = prop::collection::vec(inner, 0..3);
        prop_oneof![
            some.clone().prop_map(SnapshotPolicy::AnyOf),
            some.prop_map(SnapshotPolicy::AllOf),
        ]
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..100_u64).prop_map(Step::Execute),
        3 => (prop::collection::vec(0..100_u64, 0..4), any::<bool>())
            .prop_map(|(numbers, snapshot)| Step::Save { numbers, snapshot }),
        1 => Just(Step::Delete),
        2 => Just(Step::Load),
        2 => any::<prop::sample::Index>().prop_map(Step::LoadAt),
        1 => Just(Step::TakeSnapshot),
        3 => Just(Step::Settle),
        1 => (any::<prop::sample::Index>(), 0..8_u8).prop_map(|(at, bit)| Step::Damage(at, bit)),
        1 => any::<prop::sample::Index>().prop_map(Step::PutBack),
        1 => (1..9_u64).prop_map(Step::Foreign),
        1 => Just(Step::Purge),
        1 => (0..5_u64).prop_map(Step::Pass),
        1 => policies().prop_map(Step::Reopen),
    ];
    prop::collection::vec(step, 1..40)
}

struct World {
    store: std::sync::Arc<dyn Store>,
    clock: ManualClock,
    tallies: Repository<Tally>,
    snapshots: SnapshotStore,
    /// The state after each version; `None`: deleted.
    model: Vec<Option<Tally>>,
    /// Every value that was seen in the bucket.
    seen: Vec<Entry>,
}

impl World {
    async fn open(keep: u8, policy: SnapshotPolicy) -> Self {
        let (store, clock) = open_at_noon("memory:").await;
        let (tallies, snapshots) = opened(&*store, &clock, keep, policy).await;
        Self {
            store,
            clock,
            tallies,
            snapshots,
            model: vec![None],
            seen: Vec::new(),
        }
    }

    fn now(&self) -> Tally {
        self.model.last().cloned().flatten().unwrap_or_default()
    }

    fn exists(&self) -> bool {
        self.model.last().is_some_and(Option::is_some)
    }

    fn push(&mut self, number: u64) {
        let mut state = self.now();
        state.sum += number;
        state.count += 1;
        self.model.push(Some(state));
    }

    async fn see(&mut self) {
        let bucket = self.snapshots.bucket().clone();
        let kept = bucket.history(&ctx(), &key()).await.unwrap();
        let values = kept
            .into_iter()
            .filter(|entry| entry.operation == Operation::Put);
        self.seen.extend(values);
    }

    async fn run(&mut self, step: Step) {
        let (ctx, id) = (ctx(), id());
        match step {
            Step::Execute(number) => {
                let done = self.tallies.execute(&ctx, &id, number).await.unwrap();
                self.push(number);
                assert_eq!(done.state, self.now());
                assert_eq!(done.version.get(), self.model.len() as u64 - 1);
            }
            Step::Save { numbers, snapshot } => {
                let events = numbers
                    .iter()
                    .map(|number| TallyEvent::Added { number: *number });
                let options = SaveOptions {
                    create_snapshot: snapshot,
                    ..SaveOptions::default()
                };
                if self
                    .tallies
                    .save(&ctx, &id, events.collect(), options)
                    .await
                    .is_ok()
                {
                    numbers.into_iter().for_each(|number| self.push(number));
                }
            }
            Step::Delete => {
                let deleted = self
                    .tallies
                    .delete(&ctx, &id, DeleteOptions::default())
                    .await;
                assert_eq!(deleted.is_ok(), self.exists());
                if deleted.is_ok() {
                    self.model.push(None);
                }
            }
            Step::Load => self.check(self.model.len() - 1).await,
            Step::LoadAt(at) => self.check(at.index(self.model.len())).await,
            Step::TakeSnapshot => drop(self.tallies.take_snapshot(&ctx, &id).await),
            Step::Settle => {
                self.snapshots.settled().await;
                self.see().await;
            }
            Step::Damage(at, bit) => {
                let bucket = self.snapshots.bucket().clone();
                if let Some(entry) = bucket.get(&ctx, &key()).await.unwrap() {
                    let mut value = entry.value.to_vec();
                    let at = at.index(value.len());
                    value[at] ^= 1 << bit;
                    bucket.set(&ctx, &key(), value.into()).await.unwrap();
                }
            }
            Step::PutBack(at) => {
                if !self.seen.is_empty() {
                    let value = at.get(&self.seen).value.clone();
                    self.snapshots
                        .bucket()
                        .set(&ctx, &key(), value)
                        .await
                        .unwrap();
                }
            }
            Step::Foreign(events) => {
                let value = super::distrust::of_another_history(events).await;
                self.snapshots
                    .bucket()
                    .set(&ctx, &key(), value)
                    .await
                    .unwrap();
            }
            Step::Purge => {
                let bucket: &dyn Bucket = &**self.snapshots.bucket();
                bucket.purge(&ctx, &key(), None).await.unwrap();
            }
            Step::Pass(seconds) => self.clock.advance(Duration::from_secs(seconds)),
            Step::Reopen(policy) => {
                let keep = self.snapshots.bucket().settings().history;
                let (tallies, snapshots) = opened(&*self.store, &self.clock, keep, policy).await;
                (self.tallies, self.snapshots) = (tallies, snapshots);
            }
        }
    }

    /// That a load at a version gives what the model says, with snapshots and without.
    async fn check(&self, version: usize) {
        let (ctx, id) = (ctx(), id());
        for use_snapshot in [true, false] {
            let options = LoadOptions {
                version: Some(Version::new(version as u64)),
                use_snapshot,
                ..LoadOptions::default()
            };
            let loaded = self.tallies.load_with(&ctx, &id, options).await;
            match &self.model[version] {
                None => assert!(loaded.is_err(), "{loaded:?}"),
                Some(state) => {
                    let loaded = loaded.unwrap();
                    assert_eq!(&loaded.state, state, "with snapshots: {use_snapshot}");
                    assert_eq!(loaded.version.get(), version as u64);
                }
            }
        }
        let now = self.tallies.load(&ctx, &id).await;
        match self.exists() {
            true => assert_eq!(now.unwrap().state, self.now()),
            false => assert!(now.is_err()),
        }
    }
}

async fn opened(
    store: &dyn Store,
    clock: &ManualClock,
    keep: u8,
    policy: SnapshotPolicy,
) -> (Repository<Tally>, SnapshotStore) {
    let settings = SnapshotSettings {
        keep,
        ..SnapshotSettings::default()
    };
    let snapshots = SnapshotStore::open(store, settings).await.unwrap();
    let snapshots = snapshots.with_clock(std::sync::Arc::new(clock.clone()));
    let tallies = Repository::new(store.log())
        .with_clock(std::sync::Arc::new(clock.clone()))
        .with_recreation(Recreation::Allow)
        .with_snapshots(snapshots.clone(), policy);
    (tallies, snapshots)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn loads_with_snapshots_give_what_a_full_replay_gives(
        keep in 1..4_u8,
        policy in policies(),
        steps in steps(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::open(keep, policy).await;
            for step in steps {
                world.run(step).await;
            }
            world.snapshots.settled().await;
            for version in 0..world.model.len() {
                world.check(version).await;
            }
        });
    }
}
