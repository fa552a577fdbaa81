//! How copies of states are compared with the events, and put right.

use std::collections::BTreeMap;

use cim_store::{Context, Entry, Fault, StreamId, StreamPattern, Version};
use cim_subject::{SubjectPattern, encode_token};
use futures_util::TryStreamExt as _;

use super::Repository;
use super::state_copies::CopyFault;
use crate::Aggregate;
use crate::persistence::RepositoryError;
use crate::persistence::replay::Until;
use crate::persistence::state_copies::StateCopyError;
use crate::persistence::state_copies::keeping::{Copies, is_readable, says_deleted, says_the_same};

/// How often an aggregate is compared anew that goes on meanwhile. Its own writers copy it then.
const ROUNDS: u32 = 5;

/// How the copy of an aggregate's state was found. Whatever it was, it is sound now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CopyCondition {
    /// It says what the events say.
    Sound,
    /// There was none.
    Missing,
    /// It was of an earlier version.
    Lagging,
    /// It was of a version that the log does not have.
    Ahead,
    /// It could not be read, or said something else than the events.
    Damaged,
    /// It was there though there is no aggregate: it was deleted, or the log never had it.
    LeftBehind,
    /// It was as of the right version; others were there that should have ended.
    Untidy,
    /// The aggregate has events of unknown types, so that this program can't say what the copy
    /// should be. It was left as it is.
    Unknown,
}

/// What a repair of all copies has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyRepairs {
    /// How many aggregates were looked at.
    pub seen: u64,
    /// Of how many the copy was sound.
    pub sound: u64,
    /// Of how many there was none.
    pub missing: u64,
    /// Of how many it lagged.
    pub lagging: u64,
    /// Of how many it was ahead of the log.
    pub ahead: u64,
    /// Of how many it was damaged.
    pub damaged: u64,
    /// How many were of no aggregate.
    pub left_behind: u64,
    /// Of how many there were others that should have ended.
    pub untidy: u64,
    /// Of how many this program can't say what the copy should be.
    pub unknown: u64,
}

impl CopyRepairs {
    /// How many copies were put right.
    pub fn repaired(&self) -> u64 {
        self.seen - self.sound - self.unknown
    }

    fn add(&mut self, condition: CopyCondition) {
        self.seen += 1;
        *match condition {
            CopyCondition::Sound => &mut self.sound,
            CopyCondition::Missing => &mut self.missing,
            CopyCondition::Lagging => &mut self.lagging,
            CopyCondition::Ahead => &mut self.ahead,
            CopyCondition::Damaged => &mut self.damaged,
            CopyCondition::LeftBehind => &mut self.left_behind,
            CopyCondition::Untidy => &mut self.untidy,
            CopyCondition::Unknown => &mut self.unknown,
        } += 1;
    }
}

/// How far a copy is behind its aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyLag {
    /// The version that the aggregate is at; 0: it has no events.
    pub aggregate: Version,
    /// The version of the newest copy; 0: there is none.
    pub copy: Version,
}

impl CopyLag {
    /// How many events the copy misses. A copy that is ahead of the log misses none, and is wrong.
    pub fn events(&self) -> u64 {
        self.aggregate.get().saturating_sub(self.copy.get())
    }
}

impl<A: Aggregate> Repository<A> {
    /// How far the copy of an aggregate's state is behind. It reads no events: whether the copy says
    /// what it should is what [`repair_state_copy`](Self::repair_state_copy) sees.
    ///
    /// # Errors
    /// `NoStateCopies` where the repository writes none; `StateCopy`, `InvalidId`, `Store`.
    pub async fn state_copy_lag(
        &self,
        ctx: &Context,
        id: &A::Id,
    ) -> Result<CopyLag, RepositoryError<A::Error>> {
        let (copies, stream) = (self.copies()?, Self::stream(id)?);
        let present = copies.store.present(ctx, &stream).await;
        let present = present.map_err(RepositoryError::StateCopy)?;
        let head = self.log().head(ctx, &stream).await?;
        Ok(CopyLag {
            aggregate: head.map_or(Version::NONE, |head| head.version),
            copy: present.into_keys().next_back().unwrap_or_default(),
        })
    }

    /// Compares the copy of an aggregate's state with its events, all of which are read, and puts it
    /// right.
    ///
    /// ```
    /// # use cim_domain::{Aggregate, DomainEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # enum CounterEvent { Increased { by: u64 } }
    /// # #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    /// # struct Counter(u64);
    /// # impl Aggregate for Counter {
    /// #     const CONTEXT: &'static str = "docs";
    /// #     const TYPE: &'static str = "counter";
    /// #     type Id = String;
    /// #     type Event = CounterEvent;
    /// #     type Command = u64;
    /// #     type Error = std::convert::Infallible;
    /// #     fn apply(&mut self, event: &CounterEvent) { let CounterEvent::Increased { by } = event; self.0 += by; }
    /// #     fn handle(&self, by: u64) -> Result<Vec<CounterEvent>, Self::Error> { Ok(vec![CounterEvent::Increased { by }]) }
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # use cim_domain::{Repository, open, store::{Context, StreamId}};
    /// use cim_domain::persistence::CopyCondition;
    /// use cim_domain::persistence::state_copies::{StateCopies, StateCopySettings};
    ///
    /// let store = open("memory:").await?;
    /// let copies = StateCopies::open(&*store, StateCopySettings::default()).await?;
    /// let counters = Repository::<Counter>::new(store.log());
    ///
    /// // Events that were there before the copies, or that somebody else appended.
    /// let (ctx, id) = (Context::new(), "visits".to_owned());
    /// counters.execute(&ctx, &id, 2).await?;
    ///
    /// let counters = counters.with_state_copies(copies);
    /// assert_eq!(counters.state_copy_lag(&ctx, &id).await?.events(), 1);
    /// assert_eq!(counters.repair_state_copy(&ctx, &id).await?, CopyCondition::Missing);
    /// assert_eq!(counters.state_copy_lag(&ctx, &id).await?.events(), 0);
    /// assert_eq!(counters.repair_state_copy(&ctx, &id).await?, CopyCondition::Sound);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `NoStateCopies` where the repository writes none; `StateCopy` where the copy could not be
    /// read or written; `InvalidId`, `Decode`, `Integrity`, `Store`.
    pub async fn repair_state_copy(
        &self,
        ctx: &Context,
        id: &A::Id,
    ) -> Result<CopyCondition, RepositoryError<A::Error>> {
        let stream = Self::stream(id)?;
        self.repair_copy(ctx, &stream).await
    }

    /// Compares the copies of all aggregates with their events and puts them right, one after the
    /// other, while the aggregates go on. `progress` hears of each.
    ///
    /// Copies of this type of aggregate whose streams the log does not know are taken away.
    ///
    /// # Errors
    /// As [`repair_state_copy`](Self::repair_state_copy). Where one aggregate can't be rebuilt, or its
    /// state can't be copied because it is too large, say, the others are put right all the same, and
    /// the first such error comes at the end. Any other error ends the call, which can be repeated.
    pub async fn repair_state_copies(
        &self,
        ctx: &Context,
        mut progress: impl FnMut(&CopyRepairs) + Send,
    ) -> Result<CopyRepairs, RepositoryError<A::Error>> {
        let copies = self.copies()?;
        let all = all_of::<A>()?;
        let mut repairs = CopyRepairs::default();
        let mut failed = None;
        let mut count = |repaired: Result<CopyCondition, RepositoryError<A::Error>>| {
            match repaired {
                Ok(condition) => {
                    repairs.add(condition);
                    progress(&repairs);
                }
                Err(error) if is_of_one(&error) => {
                    failed.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
            Ok(())
        };
        let mut heads = self.log().streams(ctx, &all).await?;
        while let Some(head) = heads.try_next().await? {
            count(self.repair_copy(ctx, &head.stream).await)?;
        }
        let listed = copies.store.list(ctx, &all).await;
        for copy in listed.map_err(RepositoryError::StateCopy)? {
            if self.log().head(ctx, &copy.stream).await?.is_none() {
                count(self.repair_copy(ctx, &copy.stream).await)?;
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(repairs),
        }
    }

    async fn repair_copy(
        &self,
        ctx: &Context,
        stream: &StreamId,
    ) -> Result<CopyCondition, RepositoryError<A::Error>> {
        let copies = self.copies()?;
        let mut rounds = 0;
        loop {
            rounds += 1;
            match self.compare_and_repair(ctx, copies, stream).await {
                Ok(Some(condition)) => return Ok(condition),
                // It went on meanwhile, and whoever saw to that copies it.
                Ok(None) if rounds >= ROUNDS => return Ok(CopyCondition::Sound),
                Ok(None) => {}
                Err(CopyFault::Replay(fault)) => return Err(fault.into()),
                Err(CopyFault::Copy(error)) => return Err(RepositoryError::StateCopy(error)),
            }
        }
    }

    /// One comparison; `None` where the aggregate went on meanwhile.
    async fn compare_and_repair(
        &self,
        ctx: &Context,
        copies: &Copies<A>,
        stream: &StreamId,
    ) -> Result<Option<CopyCondition>, CopyFault> {
        let present = copies.store.present(ctx, stream).await?;
        let mut replay = self.replay(stream.clone());
        let until = Until::default();
        replay.advance(self.log().as_ref(), ctx, &until).await?;
        let Some((head, stored_at)) = replay.last().filter(|_| !replay.is_deleted()) else {
            let version = replay.version();
            let is_over = |(at, entry): (&Version, &Entry)| *at == version && says_deleted(entry);
            if present.iter().all(is_over) {
                return Ok(Some(CopyCondition::Sound));
            }
            if let Some((head, stored_at)) = replay.last() {
                copies.store.put_deleted(ctx, head, stored_at).await?;
            }
            copies.store.leave_only(ctx, &present, version).await?;
            return Ok(Some(CopyCondition::LeftBehind));
        };
        if replay.skipped() > 0 {
            return Ok(Some(CopyCondition::Unknown));
        }
        let value = copies.value(&replay.state, head, stored_at)?;
        let condition = condition(&present, head.version, &value, copies.store.keep);
        if !matches!(condition, CopyCondition::Sound | CopyCondition::Untidy) {
            copies.write(ctx, head, value).await?;
        }
        if condition != CopyCondition::Sound {
            let present = copies.store.present(ctx, stream).await?;
            let now = self.log().head(ctx, stream).await?;
            if now.is_some_and(|now| now.version > head.version) {
                return Ok(None);
            }
            copies.store.tidy(ctx, &present, head.version).await?;
        }
        Ok(Some(condition))
    }

    fn copies(&self) -> Result<&Copies<A>, RepositoryError<A::Error>> {
        self.copies.as_ref().ok_or(RepositoryError::NoStateCopies)
    }
}

/// Whether it is an aggregate by itself that can't be rebuilt or copied, whatever is done with the
/// others.
fn is_of_one<E: std::error::Error>(error: &RepositoryError<E>) -> bool {
    match error {
        RepositoryError::Decode { .. } | RepositoryError::Integrity { .. } => true,
        RepositoryError::StateCopy(error) => matches!(
            error,
            StateCopyError::Encode { .. } | StateCopyError::TooLarge { .. }
        ),
        // Its first events were truncated, or its chain is broken.
        RepositoryError::Store(error) => {
            matches!(error.fault(), Some(Fault::NotFound | Fault::Integrity))
        }
        _ => false,
    }
}

/// How the copy of an aggregate is that is at a version, where it should say this and so many are
/// kept.
fn condition(
    present: &BTreeMap<Version, Entry>,
    version: Version,
    value: &[u8],
    keep: usize,
) -> CopyCondition {
    // Those that have an end are on their way out.
    let staying = |(_, entry): &(&Version, &Entry)| entry.expires_at.is_none();
    let mut staying = present.iter().filter(staying).rev();
    let Some((newest, entry)) = staying.next() else {
        return CopyCondition::Missing;
    };
    match newest.cmp(&version) {
        std::cmp::Ordering::Greater => CopyCondition::Ahead,
        std::cmp::Ordering::Less => CopyCondition::Lagging,
        std::cmp::Ordering::Equal if !is_readable(entry) => CopyCondition::Damaged,
        std::cmp::Ordering::Equal if !says_the_same(entry, value) => CopyCondition::Damaged,
        std::cmp::Ordering::Equal if staying.count() >= keep => CopyCondition::Untidy,
        std::cmp::Ordering::Equal => CopyCondition::Sound,
    }
}

/// All streams of a type of aggregates.
fn all_of<A: Aggregate>() -> Result<StreamPattern, RepositoryError<A::Error>> {
    let tokens = encode_token(A::CONTEXT).and_then(|context| {
        let aggregate = encode_token(A::TYPE)?;
        Ok(format!("{context}.{aggregate}.*"))
    });
    let invalid = |why: String| RepositoryError::StateCopy(StateCopyError::InvalidSettings { why });
    let text = tokens.map_err(|error| invalid(error.to_string()))?;
    let pattern = SubjectPattern::new(text).map_err(|error| invalid(error.to_string()))?;
    Ok(StreamPattern::new(pattern))
}
