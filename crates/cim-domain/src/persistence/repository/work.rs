//! Work on one aggregate: what a call knows of it, from the cache or from the log, and what becomes
//! of that knowledge in the end.
//!
//! Everything that decides about an aggregate or loads it as it is now goes through here, so that
//! the rules of the cache are in one place:
//!
//! - Where there is a cache, a call works when it is its turn.
//! - What is kept rests in the turn and is taken out only to be changed, by the events that are read
//!   or were stored. A call that fails or is dropped anywhere else leaves it untouched; one that
//!   fails or is dropped in the middle of a change leaves nothing.
//! - What was kept may be behind the log, until the log was asked.

use cim_store::{Append, Appended, Context, EventLogError, NewEvent, StreamId, Timestamp, Version};

use super::{Loaded, Repository};
use crate::event::Decoded;
use crate::persistence::cache::{AggregateCache, Moment, Space, Turn};
use crate::persistence::decoding::decode_written;
use crate::persistence::error::ReplayFault;
use crate::persistence::replay::{Doubt, Last, Remembered, Replay, Until};
use crate::persistence::tombstone::{Tombstone, is_tombstone};
use crate::persistence::{LoadVerification, RepositoryError};
use crate::{Aggregate, DecodeError, DomainEvent};

/// The cache that a repository uses.
pub(in crate::persistence) struct Caching<A> {
    cache: AggregateCache,
    space: Space,
    /// What is kept stays in the cache, and callers get copies.
    copy: fn(&A) -> A,
}

impl<A> Clone for Caching<A> {
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            ..*self
        }
    }
}

/// Work on one aggregate.
pub(in crate::persistence) struct Work<A: Aggregate> {
    stream: StreamId,
    /// What was read, where there is no cache; otherwise only on the way through events. A command
    /// on a kept aggregate needs none.
    replay: Option<Box<Replay<A>>>,
    /// Whether the log was asked by this call.
    was_read: bool,
    cached: Option<Cached<A>>,
}

/// What is kept of the aggregate, and who may use it.
struct Cached<A> {
    turn: Turn<Remembered<A>>,
    copy: fn(&A) -> A,
    /// Whether the log may have something newer than what is kept.
    may_be_behind: bool,
    /// Whether the log was seen to have something newer.
    is_behind: bool,
    /// When the append began that is under way.
    asked: Moment,
}

impl<A: Aggregate + Clone> Repository<A> {
    /// With a cache of the aggregates that were touched lately, which several repositories can
    /// share. A command on one of them then takes one append and no read; see [`AggregateCache`]
    /// for what it promises.
    ///
    /// Repositories share what is kept where they are of the same type and over the same log, as
    /// [`Store::log`](cim_store::Store::log) gives it.
    #[must_use]
    pub fn with_cache(mut self, cache: &AggregateCache) -> Self {
        self.caching = Some(Caching {
            space: cache.space::<Remembered<A>>(self.log()),
            cache: cache.clone(),
            copy: A::clone,
        });
        self
    }
}

impl<A: Aggregate> Repository<A> {
    /// The cache that it was given.
    pub fn cache(&self) -> Option<&AggregateCache> {
        self.caching.as_ref().map(|caching| &caching.cache)
    }

    /// Begins to work on an aggregate, when it is this call's turn where there is a cache. Who
    /// works on several at once begins in the order of their streams, so that no two wait for each
    /// other.
    ///
    /// # Errors
    /// `Unavailable` where the deadline comes before the turn.
    pub(in crate::persistence) async fn begin(
        &self,
        ctx: &Context,
        stream: StreamId,
    ) -> Result<Work<A>, EventLogError> {
        let cached = match &self.caching {
            None => None,
            Some(caching) => {
                // Who verifies every read does not use what somebody read without.
                let is_verified = self.verification() == LoadVerification::EveryRead;
                let space = caching.space.verified(is_verified);
                let clock = &*self.writer.clock;
                let turn = caching.cache.turn(space, &stream, ctx, clock).await?;
                Some(Cached {
                    may_be_behind: !turn.is_current(),
                    is_behind: false,
                    asked: Moment::NEVER,
                    copy: caching.copy,
                    turn,
                })
            }
        };
        Ok(Work {
            stream,
            replay: None,
            was_read: false,
            cached,
        })
    }
}

impl<A: Aggregate> Work<A> {
    pub(in crate::persistence) fn stream(&self) -> &StreamId {
        &self.stream
    }

    fn kept(&self) -> Option<&Remembered<A>> {
        self.cached.as_ref()?.turn.kept()
    }

    /// Whether something is known of the aggregate without having asked the log.
    pub(in crate::persistence) fn is_kept(&self) -> bool {
        self.kept().is_some()
    }

    /// Whether what is known was kept by an earlier call, and the log may have something newer.
    pub(in crate::persistence) fn may_be_behind(&self) -> bool {
        let cached = self.cached.as_ref();
        cached.is_some_and(|cached| cached.may_be_behind && cached.turn.kept().is_some())
    }

    /// The state that is known; `None` before the log was asked.
    pub(in crate::persistence) fn state(&self) -> Option<&A> {
        match self.kept() {
            Some(kept) => Some(&kept.state),
            None => self.replay.as_ref().map(|replay| &replay.state),
        }
    }

    /// The version of that state.
    pub(in crate::persistence) fn version(&self) -> Version {
        match (self.kept(), &self.replay) {
            (Some(kept), _) => kept.last.head.version,
            (None, Some(replay)) => replay.version(),
            (None, None) => Version::NONE,
        }
    }

    /// How many events the state misses, because their types are unknown.
    pub(in crate::persistence) fn skipped(&self) -> u64 {
        self.replay.as_ref().map_or(0, |replay| replay.skipped())
    }

    /// The tombstone, if the last event is one. Its time is right once the log was asked.
    pub(in crate::persistence) fn tombstone(&self) -> Option<Tombstone> {
        match self.kept() {
            None => self.replay.as_ref()?.tombstone(),
            Some(kept) => kept.last.tombstone(),
        }
    }

    /// The state, for somebody who changes it. Unless it is kept, it is [taken back](Self::take_back)
    /// unchanged, or it is [started over](Self::start_over).
    pub(in crate::persistence) fn lend(&mut self) -> A {
        if let Some((kept, cached)) = self.kept().zip(self.cached.as_ref()) {
            return (cached.copy)(&kept.state);
        }
        let replay = self.replay.as_mut();
        replay.map_or_else(A::default, |replay| std::mem::take(&mut replay.state))
    }

    /// Takes back what was lent and is as it was.
    pub(in crate::persistence) fn take_back(&mut self, state: A) {
        if !self.is_kept()
            && let Some(replay) = &mut self.replay
        {
            replay.state = state;
        }
    }

    /// Begins before the first event, unless something is kept.
    pub(in crate::persistence) fn start_over(&mut self) {
        if !self.is_kept() {
            (self.replay, self.was_read) = (None, false);
        }
    }

    /// Says that an append showed that what is known is not the newest.
    pub(in crate::persistence) fn is_behind(&mut self) {
        if let Some(cached) = &mut self.cached {
            cached.is_behind = true;
        }
    }

    /// Takes in what the log has. Says whether there was anything that was not known.
    ///
    /// # Cancellation
    /// Dropping the future drops what was kept.
    pub(in crate::persistence) async fn advance(
        &mut self,
        repository: &Repository<A>,
        ctx: &Context,
        until: &Until,
    ) -> Result<bool, ReplayFault> {
        let log = repository.log().as_ref();
        let stream = &self.stream;
        let new = || Box::new(repository.replay(stream.clone()));
        let replay = &mut **self.replay.get_or_insert_with(new);
        let Some(cached) = &mut self.cached else {
            let before = replay.version();
            match self.was_read {
                true => replay.advance(log, ctx, until).await?,
                false => repository.rebuild(ctx, replay, until, true).await?,
            }
            self.was_read = true;
            return Ok(replay.version() != before);
        };
        let moment = cached.turn.begin();
        let before = match cached.turn.take() {
            Some(kept) => {
                let head = kept.last.head.clone();
                cached
                    .bring_up_to_date(repository, replay, *kept, ctx, until)
                    .await?;
                Some(head)
            }
            // A state that misses events is here and not in the cache.
            None if self.was_read => {
                let head = replay.last().map(|(head, _)| head.clone());
                replay.advance(log, ctx, until).await?;
                head
            }
            None => {
                repository.rebuild(ctx, replay, until, true).await?;
                None
            }
        };
        self.was_read = true;
        let has_changed = replay.last().map(|(head, _)| head) != before.as_ref();
        if before.is_some() && has_changed && cached.may_be_behind {
            cached.turn.was_behind();
        }
        (cached.may_be_behind, cached.is_behind) = (false, false);
        if let Some(remembered) = replay.remember() {
            cached.keep(Box::new(remembered), moment);
        }
        Ok(has_changed)
    }

    /// The aggregate as it is known, if there is one.
    pub(in crate::persistence) fn into_loaded(
        self,
    ) -> Result<Loaded<A>, RepositoryError<A::Error>> {
        let Some((kept, cached)) = self.kept().zip(self.cached.as_ref()) else {
            return match self.replay {
                Some(replay) => replay.into_loaded(),
                None => Err(RepositoryError::NotFound {
                    stream: self.stream,
                }),
            };
        };
        if let Some(tombstone) = self.tombstone() {
            return Err(tombstone.into());
        }
        Ok(Loaded {
            state: (cached.copy)(&kept.state),
            version: kept.last.head.version,
            head: kept.last.head.clone(),
            stored_at: kept.last.stored_at,
            events: Vec::new(),
            skipped: 0,
            unknown: Vec::new(),
        })
    }

    /// To be called before an append is sent. What is kept stays as it is until it is known what
    /// became of it.
    pub(in crate::persistence) fn appends(&mut self) {
        if let Some(cached) = &mut self.cached {
            cached.asked = cached.turn.begin();
        }
    }

    /// Takes in what an append stored for this aggregate, as a replay would: from what was encoded,
    /// and not from the events that the application holds. `is_repeated` where the commit may have
    /// been stored before this call.
    pub(in crate::persistence) fn stored(
        &mut self,
        append: &Append,
        appended: &Appended,
        is_repeated: bool,
    ) {
        let Some(cached) = &mut self.cached else {
            return;
        };
        let stream = &self.stream;
        let write = append.writes.iter().find(|write| write.stream == *stream);
        let (Some(write), Some(head)) = (write, appended.head(stream)) else {
            return;
        };
        let before = head.version.get().checked_sub(write.events.len() as u64);
        let known = cached.turn.kept();
        let known = known.map_or(0, |known| known.last.head.version.get());
        if write.events.is_empty() || before != Some(known) {
            return; // something else came in between: what is kept is behind, and stays as it is
        }
        // What can't be read back is an error for whoever loads it, and it is not kept.
        let Ok(decoded) = read_back(&write.events) else {
            return;
        };
        let mut remembered = cached.turn.take().unwrap_or_else(|| {
            Box::new(Remembered {
                state: A::default(),
                last: Last {
                    head: head.clone(),
                    stored_at: Timestamp::EPOCH,
                    is_tombstone: false,
                },
                has_time: false,
                bytes: 0,
            })
        });
        for (written, event) in write.events.iter().zip(decoded) {
            remembered.last.is_tombstone = event.is_none();
            remembered.bytes += written.payload.len() as u64;
            match event {
                None => remembered.state = A::default(),
                Some(events) => events
                    .into_iter()
                    .for_each(|it| remembered.state.apply(&it)),
            }
        }
        remembered.last.head = head.clone();
        remembered.last.stored_at = appended.stored_at.unwrap_or(Timestamp::EPOCH);
        remembered.has_time = appended.stored_at.is_some();
        let is_newest = remembered.has_time && !is_repeated;
        let moment = if is_newest {
            cached.asked
        } else {
            Moment::NEVER
        };
        cached.keep(remembered, moment);
    }

    /// Keeps nothing: it is not known what became of an append. After any other error what is kept
    /// is as good as before.
    pub(in crate::persistence) fn forget(&mut self) {
        if let Some(cached) = &mut self.cached {
            cached.turn.forget();
        }
    }

    /// The stream; the aggregate is free for the next call.
    pub(super) fn into_stream(self) -> StreamId {
        self.stream
    }

    /// The state that is known.
    pub(super) fn into_state(self) -> A {
        if let Some((kept, cached)) = self.kept().zip(self.cached.as_ref()) {
            return (cached.copy)(&kept.state);
        }
        self.replay.map_or_else(A::default, |replay| replay.state)
    }

    /// The state at the version that an append of these events led to, and whether it is what a
    /// replay gives: it is taken from what was encoded, and only where that can't be read from the
    /// events that the application holds.
    pub(super) fn into_state_after(
        self,
        version: Version,
        append: &Append,
        events: &[A::Event],
    ) -> (A, bool) {
        if self.version() == version {
            return (self.into_state(), true);
        }
        let stream = self.stream();
        let write = append.writes.iter().find(|write| write.stream == *stream);
        let decoded = write.map(|write| read_back::<A::Event>(&write.events));
        let mut state = self.into_state();
        let Some(Ok(decoded)) = decoded else {
            events.iter().for_each(|event| state.apply(event));
            return (state, false);
        };
        for event in decoded.into_iter().flatten().flatten() {
            state.apply(&event);
        }
        (state, true)
    }

    /// A copy of the state at this version as a replay gives it, where it is kept.
    pub(in crate::persistence) fn copy_at(&self, version: Version) -> Option<A> {
        let (kept, cached) = self.kept().zip(self.cached.as_ref())?;
        let is_it = kept.last.head.version == version;
        is_it.then(|| (cached.copy)(&kept.state))
    }
}

impl<A: Aggregate> Cached<A> {
    /// Brings what was kept up to date. Where that fails before anything was changed, it is kept as
    /// it was.
    async fn bring_up_to_date(
        &mut self,
        repository: &Repository<A>,
        replay: &mut Replay<A>,
        kept: Remembered<A>,
        ctx: &Context,
        until: &Until,
    ) -> Result<(), ReplayFault> {
        let (log, version, has_time) = (repository.log(), kept.last.head.version, kept.has_time);
        let doubt = match (self.is_behind, has_time) {
            (true, _) => Doubt::IsBehind,
            (false, true) => Doubt::MayBeBehind,
            (false, false) => Doubt::HasNoTime,
        };
        replay.go_on(kept);
        match replay.advance_remembered(&**log, ctx, until, doubt).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                *replay = repository.replay(replay.stream().clone());
                repository.rebuild(ctx, replay, until, true).await
            }
            Err(fault) => {
                if replay.version() == version
                    && let Some(untouched) = replay.remember()
                {
                    let untouched = Remembered {
                        has_time,
                        ..untouched
                    };
                    self.keep(Box::new(untouched), Moment::NEVER);
                }
                Err(fault)
            }
        }
    }

    fn keep(&mut self, remembered: Box<Remembered<A>>, confirmed: Moment) {
        let bytes = remembered.state.cached_bytes(remembered.bytes);
        self.turn.keep(remembered, bytes, confirmed);
    }
}

/// What a later read of these events will give; of a tombstone nothing.
fn read_back<D: DomainEvent>(written: &[NewEvent]) -> Result<Vec<Option<Decoded<D>>>, DecodeError> {
    let read = written.iter().map(|event| {
        let is_tombstone = is_tombstone(&event.event_type);
        (!is_tombstone).then(|| decode_written(event)).transpose()
    });
    read.collect()
}
