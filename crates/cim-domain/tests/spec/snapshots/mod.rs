//! Snapshots: kept beside the log, used only where they stand on it.

mod format;
mod store;

use std::sync::Arc;

use cim_domain::persistence::snapshot::{NewSnapshot, SnapshotSettings, SnapshotStore};
use cim_domain::store::{EventCid, Head, ManualClock, Position, Store, StreamId, Version};

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
fn at<'a>(state: &'a u64, version: u64) -> NewSnapshot<'a, u64> {
    let stored_at = cim_domain::store::Timestamp::from_seconds(version as i64);
    NewSnapshot::new(state, head(version), stored_at)
}
