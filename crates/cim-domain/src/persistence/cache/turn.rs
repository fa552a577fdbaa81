//! The right to work on one aggregate alone, and what is kept of it meanwhile.
//!
//! It is handed from call to call like the baton of a relay: whoever is done gives it to the one
//! who has waited longest, with what is kept; or back to the cache where nobody waits. That happens
//! on dropping, so a call that fails, panics or is dropped at any await hands it on, too.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::shard::{Kept, Tally};
use super::{ENTRY_BYTES, Shared};

/// When something began, among the calls on the same part of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::persistence) struct Moment(pub(super) u64);

impl Moment {
    /// Before all calls.
    pub(in crate::persistence) const NEVER: Self = Self(0);
}

/// The right to work on an aggregate, whatever its type.
pub(super) struct Baton {
    shared: Arc<Shared>,
    shard: usize,
    node: usize,
    kept: Option<Kept>,
    /// The weight under which it is counted; `None` where it is not counted among the entries.
    counted: Option<u64>,
    tally: Tally,
    is_handed_on: bool,
}

impl Baton {
    pub(super) fn new(shared: Arc<Shared>, shard: usize, node: usize, kept: Option<Kept>) -> Self {
        Self {
            shared,
            shard,
            node,
            counted: kept.as_ref().map(|kept| kept.weight),
            kept,
            tally: Tally::default(),
            is_handed_on: false,
        }
    }

    /// Counts what is kept now, and makes room for it. What has no room is not kept. Returns what
    /// goes.
    fn settle(&mut self) -> Vec<Kept> {
        let shared = &*self.shared;
        let settings = &shared.settings;
        let has_no_room =
            |kept: &mut Kept| kept.weight > settings.max_bytes || settings.max_entries == 0;
        let refused = self.kept.take_if(has_no_room);
        count(shared, &mut self.counted, &self.kept);
        let mut gone = Vec::new();
        if self.kept.is_some() && shared.is_over_its_bounds() {
            gone = shared.make_room(self.shard);
            if shared.is_over_its_bounds() {
                // All others are in use.
                gone.extend(self.kept.take());
                count(shared, &mut self.counted, &self.kept);
            }
        }
        gone.extend(refused);
        gone
    }
}

/// Brings the cache's sums up to date with what is kept.
fn count(shared: &Shared, counted: &mut Option<u64>, kept: &Option<Kept>) {
    let now = kept.as_ref().map(|kept| kept.weight);
    let before = std::mem::replace(counted, now);
    match (before, now) {
        (None, Some(_)) => shared.entries.fetch_add(1, Ordering::Relaxed),
        (Some(_), None) => shared.entries.fetch_sub(1, Ordering::Relaxed),
        _ => 0,
    };
    let (before, now) = (before.unwrap_or(0), now.unwrap_or(0));
    if now > before {
        shared.bytes.fetch_add(now - before, Ordering::Relaxed);
    } else if now < before {
        shared.bytes.fetch_sub(before - now, Ordering::Relaxed);
    }
}

impl Drop for Baton {
    fn drop(&mut self) {
        if self.is_handed_on {
            return;
        }
        self.is_handed_on = true;
        // Whatever panicked may have changed the state by half.
        let spoilt = self.kept.take_if(|_| std::thread::panicking());
        let gone = self.settle();
        let shared = &*self.shared;
        let mut shard = shared.shard(self.shard);
        shard.tally.add(self.tally);
        loop {
            let Some(next) = shard.next_waiting(self.node) else {
                shard.put_back(self.node, self.kept.take());
                drop(shard);
                break;
            };
            // Waking somebody is not done under the lock.
            drop(shard);
            let baton = Self {
                shared: Arc::clone(&self.shared),
                shard: self.shard,
                node: self.node,
                kept: self.kept.take(),
                counted: self.counted,
                tally: Tally::default(),
                is_handed_on: false,
            };
            let Err(mut returned) = next.send(baton) else {
                break;
            };
            // It does not wait any more.
            returned.is_handed_on = true;
            self.kept = returned.kept.take();
            shard = shared.shard(self.shard);
        }
        // States are dropped last: that is the application's code, which may panic.
        drop((spoilt, gone));
    }
}

/// The right to work on an aggregate whose state is a `T`. Others who want it wait until this is
/// dropped.
pub(in crate::persistence) struct Turn<T> {
    baton: Baton,
    arrived: Moment,
    state: PhantomData<fn() -> T>,
}

impl<T: Send + Sync + 'static> Turn<T> {
    pub(super) fn new(mut baton: Baton, arrived: Moment) -> Self {
        match baton.kept {
            Some(_) => baton.tally.hits += 1,
            None => baton.tally.misses += 1,
        }
        Self {
            baton,
            arrived,
            state: PhantomData,
        }
    }

    /// What is kept of the aggregate. It may be behind the log.
    pub(in crate::persistence) fn kept(&self) -> Option<&T> {
        self.baton.kept.as_ref()?.value.downcast_ref()
    }

    /// Whether the log had nothing newer than what is kept at some moment after this call came: as
    /// another one found that was before it in the line.
    pub(in crate::persistence) fn is_current(&self) -> bool {
        let kept = self.baton.kept.as_ref();
        kept.is_some_and(|kept| kept.confirmed > self.arrived)
    }

    /// Takes out what is kept. Unless it is [given back](Self::keep), nothing is kept any more: so
    /// it is taken out for whatever could leave it changed by half.
    pub(in crate::persistence) fn take(&mut self) -> Option<Box<T>> {
        let kept = self.baton.kept.take()?;
        kept.value.downcast().ok()
    }

    /// To be called before the log is asked for something that shows what is newest there.
    pub(in crate::persistence) fn begin(&self) -> Moment {
        self.baton.shared.moment(self.baton.shard)
    }

    /// Keeps a state of so many bytes, whose version was the newest after the moment given.
    pub(in crate::persistence) fn keep(&mut self, value: Box<T>, bytes: u64, confirmed: Moment) {
        self.baton.kept = Some(Kept {
            value,
            weight: bytes.saturating_add(ENTRY_BYTES),
            confirmed,
        });
    }

    /// Keeps nothing.
    pub(in crate::persistence) fn forget(&mut self) {
        self.baton.kept = None;
    }

    /// Counts that what was kept was behind the log.
    pub(in crate::persistence) fn was_behind(&mut self) {
        self.baton.tally.conflicts += 1;
    }
}

/// A place in the line for an aggregate.
pub(super) struct Waiting<T> {
    shared: Arc<Shared>,
    /// Its shard, and its place there.
    place: (usize, usize),
    arrived: Moment,
    baton: oneshot::Receiver<Baton>,
    state: PhantomData<fn() -> T>,
}

impl<T: Send + Sync + 'static> Waiting<T> {
    pub(super) fn new(
        shared: Arc<Shared>,
        place: (usize, usize),
        arrived: Moment,
        baton: oneshot::Receiver<Baton>,
    ) -> Self {
        Self {
            shared,
            place,
            arrived,
            baton,
            state: PhantomData,
        }
    }

    /// Waits for the turn. `None` where the line broke up, so that another place is needed.
    pub(super) async fn turn(mut self) -> Option<Turn<T>> {
        let baton = (&mut self.baton).await.ok()?;
        Some(Turn::new(baton, self.arrived))
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        // Where the baton was sent already, it is dropped with the channel, and so handed on.
        let (shard, node) = self.place;
        self.shared.shard(shard).stop_waiting(node, self.arrived);
    }
}
