//! What became of snapshots: counted, so that operators see whether they are worth their bytes.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a snapshot that is there was not used. The events were read instead, and the next snapshot
/// takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IgnoredSnapshot {
    /// Its bytes are not those that were written.
    Damaged,
    /// It is in a format that this program does not know.
    OtherFormat,
    /// It was taken with another [`SNAPSHOT_VERSION`](crate::Aggregate::SNAPSHOT_VERSION).
    OtherSchema,
    /// It was taken by a program that knew event types which this one does not, so that its state
    /// may hold more than this one understands.
    UnknownEvents,
    /// It is of another aggregate than its key says.
    OtherAggregate,
    /// Its state can't be read: another codec, or another shape without another
    /// [`SNAPSHOT_VERSION`](crate::Aggregate::SNAPSHOT_VERSION).
    Unreadable,
    /// It is at a version that the log does not have.
    AheadOfLog,
    /// The log has another event at its version.
    OtherHistory,
}

impl IgnoredSnapshot {
    const ALL: [Self; 8] = [
        Self::Damaged,
        Self::OtherFormat,
        Self::OtherSchema,
        Self::UnknownEvents,
        Self::OtherAggregate,
        Self::Unreadable,
        Self::AheadOfLog,
        Self::OtherHistory,
    ];
}

impl fmt::Display for IgnoredSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Damaged => "it is damaged",
            Self::OtherFormat => "its format is not known",
            Self::OtherSchema => "it was taken with another snapshot version",
            Self::UnknownEvents => "its program knew event types that this one does not",
            Self::OtherAggregate => "it is of another aggregate",
            Self::Unreadable => "its state can't be read",
            Self::AheadOfLog => "it is ahead of the log",
            Self::OtherHistory => "the log has another history",
        })
    }
}

/// What became of snapshots since the [`SnapshotStore`](super::SnapshotStore) was opened; clones
/// count together.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_domain::persistence::snapshot::*;
/// # use cim_domain::store::*;
///
/// # let (store, ctx) = (cim_domain::open("memory:").await?, Context::new());
/// # let (log, anna) = (store.log(), StreamId::new("bank", "account", "anna")?);
/// # log.append_to(&ctx, &anna, ExpectedVersion::NEW, vec![NewEvent::json("deposited", &500)?]).await?;
/// # let head = log.head(&ctx, &anna).await?.ok_or("it has an event")?;
/// # let stored_at = log.read_all(&ctx, &anna).await?.remove(0).stored_at;
/// let snapshots = SnapshotStore::open(&*store, SnapshotSettings::default()).await?;
/// let old = NewSnapshot::new(&500_u64, head, stored_at);
/// snapshots.write(&ctx, &old).await?;
///
/// // A program whose states have another shape by now.
/// let today = SnapshotQuery { schema_version: 2, ..SnapshotQuery::default() };
/// let newest = snapshots.newest::<u64>(&ctx, &anna, today).await?;
/// assert_eq!(newest, Newest::Ignored(IgnoredSnapshot::OtherSchema));
///
/// let stats = snapshots.stats();
/// assert_eq!((stats.written, stats.ignored_in_all()), (1, 1));
/// assert_eq!(stats.ignored(IgnoredSnapshot::Damaged), 0); // one that is worth an alarm
/// for (reason, count) in stats.ignored_by_reason().filter(|(_, count)| *count > 0) {
///     assert_eq!(format!("{count}: {reason}"), "1: it was taken with another snapshot version");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotStats {
    /// Were written.
    pub written: u64,
    /// Were not written, because one of the same or a later version was there or was waiting.
    pub superseded: u64,
    /// Were not written, because too many were waiting to be.
    pub skipped_busy: u64,
    /// Were not written, because they are larger than a value of a bucket.
    pub too_large: u64,
    /// Were not written, because the aggregate's state can't be encoded.
    pub not_encodable: u64,
    /// Were not written, or perhaps were, because something failed: the bucket, the log, a panic in
    /// the application's own encoding, the end of the runtime.
    pub failed: u64,
    /// Were not written, or perhaps were, because it took longer than
    /// [`time_limit`](super::SnapshotSettings::time_limit), or they had waited as long behind others
    /// that did.
    pub given_up: u64,
    /// Loads that began with a snapshot.
    pub loads_with: u64,
    /// Loads that found none that they could use.
    pub loads_without: u64,
    /// Loads that could not ask for one, because the bucket failed. They read all events.
    pub unavailable: u64,
    ignored: Ignored,
}

/// How many snapshots were ignored for each reason, in the order of these.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Ignored([u64; IgnoredSnapshot::ALL.len()]);

impl fmt::Debug for Ignored {
    /// The reasons that there were, by their names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = IgnoredSnapshot::ALL.iter().zip(&self.0);
        let occurred = counts.filter(|(_, count)| **count > 0);
        f.debug_map().entries(occurred).finish()
    }
}

impl SnapshotStats {
    /// How many were ignored for this reason.
    pub fn ignored(&self, reason: IgnoredSnapshot) -> u64 {
        self.ignored.0[reason as usize]
    }

    /// How many were ignored for each reason.
    pub fn ignored_by_reason(&self) -> impl Iterator<Item = (IgnoredSnapshot, u64)> + '_ {
        IgnoredSnapshot::ALL
            .into_iter()
            .map(|reason| (reason, self.ignored(reason)))
    }

    /// How many were ignored.
    pub fn ignored_in_all(&self) -> u64 {
        self.ignored.0.iter().sum()
    }
}

/// The numbers of [`SnapshotStats`] while they are counted.
#[derive(Debug, Default)]
pub(in crate::persistence) struct Counters {
    pub(in crate::persistence) written: AtomicU64,
    pub(in crate::persistence) superseded: AtomicU64,
    pub(in crate::persistence) skipped_busy: AtomicU64,
    pub(in crate::persistence) too_large: AtomicU64,
    pub(in crate::persistence) not_encodable: AtomicU64,
    pub(in crate::persistence) failed: AtomicU64,
    pub(in crate::persistence) loads_with: AtomicU64,
    pub(in crate::persistence) loads_without: AtomicU64,
    pub(in crate::persistence) unavailable: AtomicU64,
    ignored: [AtomicU64; IgnoredSnapshot::ALL.len()],
}

/// Counts one.
pub(in crate::persistence) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(in crate::persistence) fn ignored(&self, reason: IgnoredSnapshot) {
        count(&self.ignored[reason as usize]);
    }

    pub(super) fn stats(&self) -> SnapshotStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SnapshotStats {
            written: of(&self.written),
            superseded: of(&self.superseded),
            skipped_busy: of(&self.skipped_busy),
            too_large: of(&self.too_large),
            not_encodable: of(&self.not_encodable),
            failed: of(&self.failed),
            given_up: 0, // counted by whoever does the work
            loads_with: of(&self.loads_with),
            loads_without: of(&self.loads_without),
            unavailable: of(&self.unavailable),
            ignored: Ignored(std::array::from_fn(|reason| of(&self.ignored[reason]))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_counted_by_itself() {
        let counters = Counters::default();
        for (times, reason) in IgnoredSnapshot::ALL.into_iter().enumerate() {
            (0..=times).for_each(|_| counters.ignored(reason));
        }
        let stats = counters.stats();
        let counts: Vec<_> = stats.ignored_by_reason().collect();
        for (times, reason) in IgnoredSnapshot::ALL.into_iter().enumerate() {
            assert_eq!(counts[times], (reason, times as u64 + 1));
        }
        assert_eq!(stats.ignored_in_all(), 36);
    }

    #[test]
    fn what_is_printed_names_the_reasons() {
        let counters = Counters::default();
        counters.ignored(IgnoredSnapshot::Damaged);
        counters.ignored(IgnoredSnapshot::OtherSchema);
        counters.ignored(IgnoredSnapshot::OtherSchema);
        let printed = format!("{:?}", counters.stats());
        assert!(
            printed.ends_with("unavailable: 0, ignored: {Damaged: 1, OtherSchema: 2} }"),
            "{printed}"
        );
    }
}
