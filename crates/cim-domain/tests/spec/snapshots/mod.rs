//! Snapshots: kept beside the log, used only where they stand on it.

mod distrust;
mod format;
mod histories;
mod impossible;
mod repository;
mod store;
mod taking;
mod understanding;

use std::sync::Arc;

use cim_domain::persistence::snapshot::{
    NewSnapshot, SnapshotPolicy, SnapshotSettings, SnapshotStore,
};
use cim_domain::store::{
    EventCid, EventLog, Head, Key, ManualClock, Position, Store, StreamId, StreamRange, Timestamp,
    Version,
};
use cim_domain::{Aggregate, DomainEvent, Repository};
use serde::{Deserialize, Serialize};

use crate::scripted_log::ScriptedLog;

/// A snapshot store that runs on the clock of the test.
async fn open(store: &dyn Store, clock: &ManualClock, keep: u8) -> SnapshotStore {
    let settings = SnapshotSettings {
        keep,
        ..SnapshotSettings::default()
    };
    let snapshots = SnapshotStore::open(store, settings).await.unwrap();
    snapshots.with_clock(Arc::new(clock.clone()))
}

fn anna() -> StreamId {
    StreamId::new("bank", "account", "anna").unwrap()
}

/// The head of anna's stream at a version, as if it were.
fn head(version: u64) -> Head {
    Head {
        stream: anna(),
        version: Version::new(version),
        position: Position::new(10 * version),
        cid: EventCid::of(&version.to_le_bytes()),
    }
}

/// A snapshot of a number as of a version, whose event was stored as many seconds after 1970.
fn at(state: &u64, version: u64) -> NewSnapshot<'_, u64> {
    let stored_at = Timestamp::from_seconds(version as i64);
    NewSnapshot::new(state, head(version), stored_at)
}

/// A sum, and how many numbers it is of: whoever misses one, or takes one in twice, shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Tally {
    sum: u64,
    count: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
enum TallyEvent {
    Added { number: u64 },
}

impl Aggregate for Tally {
    const CONTEXT: &'static str = "bank";
    const TYPE: &'static str = "account";
    type Id = String;
    type Event = TallyEvent;
    type Command = u64;
    type Error = std::convert::Infallible;

    fn apply(&mut self, TallyEvent::Added { number }: &TallyEvent) {
        self.sum += number;
        self.count += 1;
    }

    fn handle(&self, number: u64) -> Result<Vec<TallyEvent>, Self::Error> {
        Ok(vec![TallyEvent::Added { number }])
    }
}

/// The id of anna's account.
fn id() -> String {
    "anna".to_owned()
}

/// The sum of the numbers from 1 to `count`.
fn sum_to(count: u64) -> Tally {
    Tally {
        sum: count * (count + 1) / 2,
        count,
    }
}

/// Adds the numbers `from` to `to`, one event each.
async fn add(tallies: &Repository<Tally>, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let done = tallies.execute(&crate::account::ctx(), &id(), number).await;
        assert_eq!(done.unwrap().state, sum_to(number));
    }
}

/// A repository, its snapshots, and the log that notes what it reads.
struct Watched {
    tallies: Repository<Tally>,
    snapshots: SnapshotStore,
    log: Arc<ScriptedLog>,
}

async fn watched(store: &dyn Store, clock: &ManualClock, policy: SnapshotPolicy) -> Watched {
    let snapshots = open(store, clock, 2).await;
    let log = ScriptedLog::new(store.log(), []);
    let tallies = Repository::new(Arc::clone(&log) as Arc<dyn EventLog>)
        .with_clock(Arc::new(clock.clone()))
        .with_snapshots(snapshots.clone(), policy);
    Watched {
        tallies,
        snapshots,
        log,
    }
}

impl Watched {
    /// The versions from which streams were read since the last time that somebody asked.
    fn reads(&self) -> Vec<(u64, Option<u64>)> {
        let shown = |range: &StreamRange| (range.from.get(), range.to.map(Version::get));
        self.log.take_reads().iter().map(shown).collect()
    }

    /// The versions of the sound snapshots that are there.
    async fn versions(&self) -> Vec<u64> {
        self.snapshots.settled().await;
        let kept = self
            .snapshots
            .history(&crate::account::ctx(), &anna())
            .await;
        let usable = kept.unwrap().into_iter().flat_map(|kept| kept.snapshot);
        usable.map(|snapshot| snapshot.head.version.get()).collect()
    }
}

fn key() -> Key {
    Key::new(anna().as_str().to_owned()).unwrap()
}
