//! Takes in what the log has and the index has not, and writes it into the bucket when it is much.

use std::pin::pin;
use std::sync::atomic::Ordering;

use cim_store::{
    Clock as _, Context, EventLogError, EventStream, Fault as PortFault, LogQuery, Position,
    RecordedEvent, SystemClock,
};
use futures_util::TryStreamExt as _;
use futures_util::future::{Either, select};
use tokio::sync::{Mutex, MutexGuard};

use super::error::{Fault, IndexError};
use super::inner::Inner;
use super::manifest::{Anchor, RunInfo};
use super::newest::Batch;
use super::run::RunWriter;

/// While a long log is taken in, up to so many times as many entries are kept in memory: fewer
/// runs have to be merged then. So they are while the bucket refuses to be written to.
const LARGEST_STEP: usize = 8;
/// Where entries could not be written it is tried again when there is this part of
/// `newest_entries` more of them.
const AGAIN_AFTER: usize = 4;

impl Inner {
    /// Takes in everything that was acknowledged before this was called, and says how far that is.
    /// By the time somebody looks the index may have been begun anew; what it says then is no answer.
    ///
    /// Of those who wait at the same time one does it for all: whoever comes while somebody is at
    /// it waits for the next one to begin, because the present one may have looked at the log's end
    /// already.
    pub(super) async fn freshen(&self, ctx: &Context) -> Result<Position, IndexError> {
        let needed = self.begun.load(Ordering::SeqCst) + 1;
        let mut done = self.turn(ctx).await?;
        if done.number >= needed {
            return Ok(done.through);
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let mut tries = 0;
        loop {
            let seen = self.state().revision;
            match self.take(ctx).await {
                Ok(through) => {
                    *done = Done { number, through };
                    return Ok(through);
                }
                Err(fault) => self.recover(ctx, fault, seen, &mut tries).await?,
            }
        }
    }

    /// Waits for its turn to take in events, as long as the deadline allows.
    async fn turn(&self, ctx: &Context) -> Result<MutexGuard<'_, Done>, IndexError> {
        let what = "taking in what is new into the index";
        wait_for(ctx, &self.taking, what).await
    }

    async fn take(&self, ctx: &Context) -> Result<Position, Fault> {
        let mut step = 1;
        // Where nothing more can be kept, writing has to succeed before there is more.
        let mut refused = match self.write_where_full(ctx).await {
            Err(IndexError::Bucket(error)) => Some(error),
            written => {
                written?;
                None
            }
        };
        'from_where_it_is: loop {
            let (after, epoch, taken) = {
                let state = self.state();
                (state.reached(), state.epoch, state.taken)
            };
            let mut events = self.read_on(ctx, after, taken).await?;
            let (mut taken, mut left) = (Taken::default(), self.room_left());
            while let Some(event) = events.try_next().await? {
                if let Some(error) = refused.take() {
                    return Err(error.into());
                }
                taken.add(&event);
                let room = (self.settings.newest_entries * step).min(left);
                if taken.batch.len() < room || event.commit_index + 1 < event.commit_count {
                    continue;
                }
                if !self.absorb(&mut taken, epoch) {
                    continue 'from_where_it_is;
                }
                self.write_where_full(ctx).await?;
                left = self.room_left();
                step = (step * 2).min(LARGEST_STEP);
                let state = self.state();
                if state.epoch != epoch || state.reached() != event.position {
                    drop(state);
                    continue 'from_where_it_is; // it stands on what another process wrote
                }
            }
            if !self.absorb(&mut taken, epoch) {
                continue;
            }
            self.write_what_can_be(ctx).await?;
            // Where the index was begun anew meanwhile everything has to be taken in once more.
            let state = self.state();
            if state.epoch == epoch {
                return Ok(state.reached());
            }
        }
    }

    /// Reads what stands in the log behind what was taken in. The read begins with the last event
    /// that was, which says with the same question that the log is still the one it was: one that
    /// was restored, or replaced, while this index was open has another event there, or none.
    async fn read_on(
        &self,
        ctx: &Context,
        after: Position,
        mut taken: Option<Anchor>,
    ) -> Result<EventStream, Fault> {
        loop {
            let error = match self.read_from(ctx, after, taken).await {
                Ok(Some(events)) => return Ok(events),
                Ok(None) => return Err(Fault::Replaced),
                Err(error) => error,
            };
            if error.fault() != Some(PortFault::NotFound) {
                return Err(error.into());
            }
            let truncated = self.truncated_through(ctx).await?;
            if truncated > after {
                return Err(Fault::Damaged("the log was truncated beyond the index"));
            }
            if truncated < after || taken.take().is_none() {
                return Err(error.into());
            }
            // That event was given up, and nothing behind it.
        }
    }

    /// Reads from an event on, and hands out what stands behind it, after a position; `None` where
    /// it is another one.
    async fn read_from(
        &self,
        ctx: &Context,
        after: Position,
        taken: Option<Anchor>,
    ) -> Result<Option<EventStream>, EventLogError> {
        let before = taken.map_or(after, |taken| {
            Position::new(taken.position.get().saturating_sub(1))
        });
        let query = LogQuery::all().after(before);
        let mut events = self.log.read_log(ctx, query).await?;
        let Some(Anchor { position, cid }) = taken else {
            return Ok(Some(events));
        };
        let first = events.try_next().await?;
        let is_same = first.is_some_and(|first| first.position == position && first.cid == cid);
        Ok(is_same.then_some(events))
    }

    fn absorb(&self, taken: &mut Taken, epoch: u64) -> bool {
        let batch = std::mem::take(&mut taken.batch);
        match taken.last.take() {
            Some(last) => self.state().absorb(batch, last, epoch),
            None => true,
        }
    }

    /// Takes in events that a subscription brought, the first of which follows what was taken in in
    /// this epoch. `false`: the subscription has to begin anew.
    pub(super) async fn take_delivered(
        &self,
        ctx: &Context,
        events: &[RecordedEvent],
        epoch: u64,
    ) -> Result<bool, IndexError> {
        let _taking = self.turn(ctx).await?;
        if self.room_left() == 0 {
            self.write_where_full(ctx).await?;
        }
        let last = self.state().taken;
        match self.check_taken(ctx, last).await {
            Ok(()) => {}
            Err(fault) => {
                let seen = self.state().revision;
                self.recover(ctx, fault, seen, &mut 0).await?;
                return Ok(false);
            }
        }
        let mut taken = Taken::default();
        {
            let mut state = self.state();
            if state.epoch != epoch {
                return Ok(false);
            }
            // Somebody who asked may have taken in some of them.
            let reached = state.reached();
            for event in events.iter().filter(|event| event.position > reached) {
                taken.add(event);
            }
            if let Some(last) = taken.last {
                state.absorb(taken.batch, last, epoch);
            }
        }
        self.write_what_can_be(ctx).await?;
        Ok(self.state().epoch == epoch)
    }

    /// How many entries may be in memory, and a commit's more.
    fn most(&self) -> usize {
        self.settings.newest_entries * LARGEST_STEP
    }

    /// How many more may be.
    fn room_left(&self) -> usize {
        self.most().saturating_sub(self.state().newest.len())
    }

    /// Writes what is in memory where it is much. Where the bucket refuses it is kept, as long as
    /// there is room for more; what was taken in is in every answer, written or not.
    async fn write_where_full(&self, ctx: &Context) -> Result<(), IndexError> {
        let kept = self.state().newest.len();
        if kept < self.write_at.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.write_newest(ctx).await {
            Err(IndexError::Bucket(error)) if kept >= self.most() => Err(error.into()),
            Err(IndexError::Bucket(_)) => {
                let more = (self.settings.newest_entries / AGAIN_AFTER).max(1);
                self.write_at
                    .store((kept + more).min(self.most()), Ordering::Relaxed);
                Ok(())
            }
            written => written,
        }
    }

    /// Writes what is in memory into the bucket, for other processes and for the next start.
    pub(super) async fn persist(&self, ctx: &Context) -> Result<(), IndexError> {
        let _taking = self.turn(ctx).await?;
        self.write_newest(ctx).await
    }

    /// Writes what is in memory where it is much and the bucket allows it: all that is asked for is
    /// there already.
    async fn write_what_can_be(&self, ctx: &Context) -> Result<(), IndexError> {
        match self.write_where_full(ctx).await {
            Err(IndexError::Bucket(_)) => Ok(()),
            written => written,
        }
    }

    /// Writes the newest entries as a run. Where another process was first it is stood on what that
    /// one wrote. Needs [`taking`](Self::taking).
    async fn write_newest(&self, ctx: &Context) -> Result<(), IndexError> {
        let written = self.write_run(ctx).await;
        match &written {
            Ok(()) => {
                let at = self.settings.newest_entries;
                self.write_at.store(at, Ordering::Relaxed);
            }
            Err(_) => {
                self.failed_writes.fetch_add(1, Ordering::Relaxed);
            }
        }
        written
    }

    async fn write_run(&self, ctx: &Context) -> Result<(), IndexError> {
        let (base, tables, anchor) = {
            let mut state = self.state();
            let base = (state.manifest.reached(), state.manifest.begins_after);
            (base, state.newest.sorted(), state.taken)
        };
        if tables.iter().all(|table| table.is_empty()) {
            return Ok(());
        }
        let id = self.ids.next_uuid();
        self.shelf.mark_loose(ctx, &[id]).await?;
        let mut writer = RunWriter::new(&self.shelf, ctx, id, self.settings.block_bytes);
        for entry in tables.iter().flat_map(|table| table.iter()) {
            if writer.push(entry) {
                writer.store().await?;
            }
        }
        let Some(run) = writer.finish().await? else {
            return Ok(());
        };
        let published = self
            .publish(ctx, |manifest| {
                let joins = (manifest.reached(), manifest.begins_after) == base;
                joins.then(|| {
                    let mut next = manifest.clone();
                    next.anchor = anchor;
                    next.runs.push(run);
                    next
                })
            })
            .await?;
        if published {
            self.merge_wanted.store(true, Ordering::Relaxed);
            // Its own mark says what time it is, and goes last.
            self.shelf.clean(ctx, id).await?;
            self.shelf.unmark(ctx, id).await?;
        } else {
            self.give_up(ctx, &run).await?;
        }
        Ok(())
    }

    pub(super) async fn give_up(&self, ctx: &Context, run: &RunInfo) -> Result<(), IndexError> {
        Ok(self.shelf.give_up_run(ctx, run).await?)
    }
}

/// Waits for what somebody else is at, as long as the deadline allows.
pub(super) async fn wait_for<'a, T>(
    ctx: &Context,
    turns: &'a Mutex<T>,
    what: &str,
) -> Result<MutexGuard<'a, T>, IndexError> {
    let waiting = turns.lock();
    let Some(left) = ctx.remaining(&SystemClock) else {
        return Ok(waiting.await);
    };
    match select(pin!(waiting), SystemClock.sleep(left)).await {
        Either::Left((turn, _)) => Ok(turn),
        Either::Right(_) => {
            let error = EventLogError::deadline_passed(what)
                .with_hint("somebody else is at it: allow more time, or keep the index fresh");
            Err(error.into())
        }
    }
}

/// The last time that everything new was taken in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    number: u64,
    through: Position,
}

/// What was read of the log and is not absorbed yet.
#[derive(Debug, Default)]
struct Taken {
    batch: Batch,
    last: Option<Anchor>,
}

impl Taken {
    fn add(&mut self, event: &RecordedEvent) {
        self.batch.add(event);
        self.last = Some(Anchor {
            position: event.position,
            cid: event.cid,
        });
    }
}
