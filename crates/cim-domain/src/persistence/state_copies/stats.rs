//! What became of copies of states: counted, so that operators see whether they lag.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of copies since the [`StateCopies`](super::StateCopies) were opened; clones count
/// together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateCopyStats {
    /// Were written, also as a repair.
    pub written: u64,
    /// Were not written, because one of a later version was waiting.
    pub superseded: u64,
    /// Were not written, because too many were waiting to be. Their copies lag until the next event,
    /// or a repair.
    pub skipped_busy: u64,
    /// Were not written, because the state can't be written as JSON or is too large.
    pub not_encodable: u64,
    /// Were not written, or perhaps were, because something failed: the bucket, the log, a panic in
    /// the application's own encoding, the end of the runtime.
    pub failed: u64,
    /// Were not written, or perhaps were, because it took longer than
    /// [`time_limit`](super::StateCopySettings::time_limit), or they had waited as long behind others
    /// that did.
    pub given_up: u64,
}

impl StateCopyStats {
    /// How many were not written though nothing newer was: each of them lags until its aggregate's
    /// next event, or a repair.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use cim_domain::persistence::state_copies::{StateCopies, StateCopySettings};
    ///
    /// let store = cim_domain::open("memory:").await?;
    /// let copies = StateCopies::open(&*store, StateCopySettings::default()).await?;
    /// // For an alarm: `Repository::repair_state_copies` puts right what lags.
    /// assert_eq!(copies.stats().left_behind(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn left_behind(&self) -> u64 {
        self.skipped_busy + self.not_encodable + self.failed + self.given_up
    }
}

/// The numbers of [`StateCopyStats`] while they are counted.
#[derive(Debug, Default)]
pub(in crate::persistence) struct Counters {
    pub(in crate::persistence) written: AtomicU64,
    pub(in crate::persistence) superseded: AtomicU64,
    pub(in crate::persistence) skipped_busy: AtomicU64,
    pub(in crate::persistence) not_encodable: AtomicU64,
    pub(in crate::persistence) failed: AtomicU64,
}

impl Counters {
    pub(super) fn stats(&self) -> StateCopyStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StateCopyStats {
            written: of(&self.written),
            superseded: of(&self.superseded),
            skipped_busy: of(&self.skipped_busy),
            not_encodable: of(&self.not_encodable),
            failed: of(&self.failed),
            given_up: 0, // counted by whoever does the work
        }
    }
}
