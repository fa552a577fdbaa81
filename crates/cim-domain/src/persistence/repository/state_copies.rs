//! How a repository copies the states of its aggregates for other services.

use cim_store::{Context, Head, StreamId, Timestamp, Version};
use serde::Serialize;

use super::Repository;
use super::after_append::Stored;
use crate::Aggregate;
use crate::persistence::error::ReplayFault;
use crate::persistence::replay::Until;
use crate::persistence::snapshot::stats::count;
use crate::persistence::state_copies::keeping::Copies;
use crate::persistence::state_copies::{StateCopies, StateCopyError};
use crate::persistence::write_behind::Offered;

/// How often a copy is brought up to date where others append to the same aggregate all the time.
/// Whoever appended last begins again.
const ROUNDS: u32 = 5;

/// A state that the caller had.
pub(super) struct StateAtHand<A> {
    state: A,
    head: Head,
    /// When the store took its last event, where that was said.
    stored_at: Option<Timestamp>,
}

/// Why a copy is not up to date.
pub(super) enum CopyFault {
    Replay(ReplayFault),
    Copy(StateCopyError),
}

impl From<ReplayFault> for CopyFault {
    fn from(fault: ReplayFault) -> Self {
        Self::Replay(fault)
    }
}

impl From<StateCopyError> for CopyFault {
    fn from(error: StateCopyError) -> Self {
        Self::Copy(error)
    }
}

impl From<cim_store::EventLogError> for CopyFault {
    fn from(error: cim_store::EventLogError) -> Self {
        Self::Replay(error.into())
    }
}

impl<A: Aggregate> Repository<A> {
    /// With copies of states: after each append the aggregate's state is written as JSON, for other
    /// services to read without replay. [`StateCopies`] shows how.
    ///
    /// # Behavior
    /// - Copies are encoded and written after the append was acknowledged, on the runtime of the
    ///   caller, whose operation does not wait for it. So a copy lags behind the events for a moment;
    ///   after the death of a process, or where too many wait or one takes longer than
    ///   [`time_limit`](crate::persistence::state_copies::StateCopySettings::time_limit), until the
    ///   aggregate's next event or a [repair](Self::repair_state_copies). [`StateCopies::settled`]
    ///   waits for what is under way.
    /// - A copy of an earlier version never takes the place of one of a later version.
    /// - The copies of an aggregate that is deleted go away.
    /// - No load reads a copy.
    #[must_use]
    pub fn with_state_copies(mut self, copies: StateCopies) -> Self
    where
        A: Clone + Serialize,
    {
        self.copies = Some(Copies::new(copies));
        self
    }

    /// The copies of its aggregates' states, where it writes some.
    pub fn state_copies(&self) -> Option<&StateCopies> {
        self.copies.as_ref().map(|copies| &copies.store)
    }

    /// Copies a state, off the caller's path.
    pub(super) async fn copy_after(&self, ctx: &Context, stored: &Stored<'_, A>) {
        let Some(copies) = &self.copies else {
            return;
        };
        let at_hand = stored.state.map(|state| StateAtHand {
            state: (copies.clone)(state),
            head: stored.head.clone(),
            stored_at: stored.stored_at,
        });
        self.offer_copy(ctx, &stored.head.stream, at_hand).await;
    }

    /// Brings the copy of an aggregate up to date, off the caller's path.
    pub(super) async fn offer_copy(
        &self,
        ctx: &Context,
        stream: &StreamId,
        at_hand: Option<StateAtHand<A>>,
    ) {
        let Some(copies) = &self.copies else {
            return;
        };
        let ctx = ctx.clone().with_deadline_of(&Context::new());
        let work = self.clone().copy_behind(ctx, stream.clone(), at_hand);
        let (queue, clock) = (&copies.store.queue, &self.writer.clock);
        match queue.offer(clock, stream, Box::pin(work)).await {
            Offered::Taken => {}
            Offered::InsteadOfAnother => count(&copies.store.counters.superseded),
            Offered::Full => count(&copies.store.counters.skipped_busy),
        }
    }

    async fn copy_behind(self, ctx: Context, stream: StreamId, at_hand: Option<StateAtHand<A>>) {
        let Some(copies) = &self.copies else {
            return;
        };
        match self.bring_up_to_date(&ctx, copies, &stream, at_hand).await {
            Ok(()) => {}
            Err(CopyFault::Copy(error)) => copies.count_failure(&error),
            Err(CopyFault::Replay(_)) => count(&copies.store.counters.failed),
        }
    }

    /// Writes the copy of an aggregate, sees whether it has gone on meanwhile, and takes away the
    /// copies that are over.
    async fn bring_up_to_date(
        &self,
        ctx: &Context,
        copies: &Copies<A>,
        stream: &StreamId,
        mut at_hand: Option<StateAtHand<A>>,
    ) -> Result<(), CopyFault> {
        for _ in 0..ROUNDS {
            let (version, exists) = match at_hand.take() {
                Some(it) => (self.copy_at_hand(ctx, copies, it).await?, true),
                None => self.copy_by_loading(ctx, copies, stream).await?,
            };
            // What is written is written after its event, so what is listed before the head was
            // asked for is not ahead of it.
            let present = copies.store.present(ctx, stream).await?;
            let head = self.log().head(ctx, stream).await?;
            let last = head.map_or(Version::NONE, |head| head.version);
            if last > version {
                continue;
            }
            match exists {
                true => copies.store.tidy(ctx, &present, last).await?,
                false => copies.store.leave_only(ctx, &present, last).await?,
            }
            return Ok(());
        }
        Ok(())
    }

    /// Writes the copy of a state that the caller had.
    async fn copy_at_hand(
        &self,
        ctx: &Context,
        copies: &Copies<A>,
        at_hand: StateAtHand<A>,
    ) -> Result<Version, CopyFault> {
        let stored_at = match at_hand.stored_at {
            Some(stored_at) => stored_at,
            None => self.stored_at(ctx, &at_hand.head).await?,
        };
        let value = copies.value(&at_hand.state, &at_hand.head, stored_at)?;
        copies.write(ctx, &at_hand.head, value).await?;
        Ok(at_hand.head.version)
    }

    /// Writes the copy of an aggregate as it is by now; the version, and whether there is an
    /// aggregate.
    async fn copy_by_loading(
        &self,
        ctx: &Context,
        copies: &Copies<A>,
        stream: &StreamId,
    ) -> Result<(Version, bool), CopyFault> {
        let until = Until::default();
        let replay = self.replayed(ctx, stream.clone(), &until, true).await?;
        let Some((head, stored_at)) = replay.last() else {
            return Ok((Version::NONE, false));
        };
        if replay.is_deleted() {
            copies.store.put_deleted(ctx, head, stored_at).await?;
            return Ok((head.version, false));
        }
        // A state that misses events is kept nowhere; what is there stays, and lags.
        if replay.skipped() == 0 {
            let value = copies.value(&replay.state, head, stored_at)?;
            copies.write(ctx, head, value).await?;
        }
        Ok((head.version, true))
    }
}
