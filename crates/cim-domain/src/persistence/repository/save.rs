//! Saves events that were decided upon elsewhere, and tombstones.

use cim_store::{
    Append, Appended, CommitId, Context, ExpectedVersion, NewEvent, RecordedEvent, Resolution,
    Version,
};

use super::after_append::Stored;
use super::work::Work;
use super::{DeleteOptions, Recreation, Repository, SaveOptions};
use crate::Aggregate;
use crate::persistence::RepositoryError;
use crate::persistence::tombstone::{Tombstone, tombstone};

/// What was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Saved {
    /// The aggregate's version after it.
    pub version: Version,
    /// What the log says about the commit.
    pub appended: Appended,
}

impl<A: Aggregate> Repository<A> {
    /// Stores events that were decided upon elsewhere: all of them, or none. Without events it
    /// stores nothing and only checks the expected version.
    ///
    /// An aggregate that was deleted is not brought back by accident: without an expected version
    /// the events are refused, unless the [`Recreation`] says otherwise. To expect the version of
    /// the tombstone is to want it.
    ///
    /// # Cost
    /// One round trip with an expected version. Without one the last event is read first, to see
    /// that it is no tombstone, and an append that meets another one is repeated;
    /// [`Recreation::Allow`] saves both.
    ///
    /// # Errors
    /// `VersionConflict`; `Deleted`; `NoSnapshots` where one was asked for and none can be taken;
    /// `Unknown` with the commit's id; `InvalidId`, `InvalidTags`, `Encode`, `Store`.
    pub async fn save(
        &self,
        ctx: &Context,
        id: &A::Id,
        events: Vec<A::Event>,
        options: SaveOptions,
    ) -> Result<Saved, RepositoryError<A::Error>> {
        if options.create_snapshot {
            self.check_snapshots_on_demand()?;
        }
        let stream = Self::stream(id)?;
        let metadata = options.tags.add_to(&options.metadata)?;
        let events = self.writer.encode(&stream, &events, &metadata)?;
        let bytes = events.iter().map(|event| event.payload.len() as u64).sum();
        let mut work = self.begin(ctx, stream).await?;
        let saved = match options.expected_version {
            Some(version) => {
                let expected = ExpectedVersion::Exact(version);
                self.append(ctx, &mut work, expected, events, options.commit_id)
                    .await?
            }
            None if self.recreation == Recreation::Allow => {
                let expected = ExpectedVersion::Any;
                self.append(ctx, &mut work, expected, events, options.commit_id)
                    .await?
            }
            None => {
                self.append_unless_deleted(ctx, &mut work, events, options.commit_id)
                    .await?
            }
        };
        // The aggregate is free for the next call.
        let stream = work.into_stream();
        // Without events there is only something to do where a snapshot was asked for.
        if let Some(head) = saved.appended.head(&stream) {
            let stored = Stored {
                head,
                stored_at: saved.appended.stored_at,
                bytes,
                state: None,
                create_snapshot: options.create_snapshot,
            };
            self.after_append(ctx, stored).await;
        } else if options.create_snapshot {
            self.snapshot_on_demand(ctx, &stream, saved.version).await;
        }
        Ok(saved)
    }

    /// Deletes an aggregate: stores a tombstone, after which it is [`Deleted`](RepositoryError::Deleted)
    /// for whoever loads it. Its events stay, and so does every version before.
    ///
    /// # Errors
    /// `NotFound` when it has no events; `Deleted` when it was deleted already; `VersionConflict`
    /// when it is at another version than expected; `Unknown` with the commit's id; `InvalidId`,
    /// `InvalidTags`, `Encode`, `Store`.
    pub async fn delete(
        &self,
        ctx: &Context,
        id: &A::Id,
        options: DeleteOptions,
    ) -> Result<Saved, RepositoryError<A::Error>> {
        let stream = Self::stream(id)?;
        let metadata = options.tags.add_to(&options.metadata)?;
        let event = tombstone(metadata).map_err(|source| RepositoryError::Encode {
            stream: stream.clone(),
            event_type: crate::persistence::TOMBSTONE.to_owned(),
            source: source.into(),
        })?;
        let mut work = self.begin(ctx, stream.clone()).await?;
        let mut rounds = 0;
        loop {
            let last = self.last_event(ctx, &stream).await?;
            let Some(last) = last else {
                return Err(RepositoryError::NotFound { stream });
            };
            if self.is_stored(ctx, options.commit_id).await? {
                let events = vec![event.clone()];
                return self
                    .append_again(ctx, &mut work, &last, events, options.commit_id)
                    .await;
            }
            if let Some(tombstone) = Tombstone::of(&last) {
                return Err(tombstone.into());
            }
            let version = options.expected_version.unwrap_or(last.version);
            let expected = ExpectedVersion::Exact(version);
            let events = vec![event.clone()];
            let saved = self
                .append(ctx, &mut work, expected, events, options.commit_id)
                .await;
            match saved {
                Err(error) if error.is_conflict() && options.expected_version.is_none() => {
                    rounds += 1;
                    self.wait_to_repeat(ctx, rounds, error, last).await?;
                }
                Ok(saved) => {
                    drop(work);
                    self.after_delete(ctx, &stream).await;
                    return Ok(saved);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Appends against whatever version there is, unless that is a tombstone.
    ///
    /// Whoever comes in between has stored something, so there is progress in every round.
    async fn append_unless_deleted(
        &self,
        ctx: &Context,
        work: &mut Work<A>,
        events: Vec<NewEvent>,
        commit_id: Option<CommitId>,
    ) -> Result<Saved, RepositoryError<A::Error>> {
        let mut rounds = 0;
        loop {
            let last = self.last_event(ctx, work.stream()).await?;
            if let Some(last) = &last
                && let Some(tombstone) = Tombstone::of(last)
            {
                return match self.is_stored(ctx, commit_id).await? {
                    true => self.append_again(ctx, work, last, events, commit_id).await,
                    false => Err(tombstone.into()),
                };
            }
            let version = last.as_ref().map_or(Version::NONE, |last| last.version);
            let expected = ExpectedVersion::Exact(version);
            let saved = self
                .append(ctx, work, expected, events.clone(), commit_id)
                .await;
            match (saved, last) {
                (Err(error), Some(last)) if error.is_conflict() => {
                    rounds += 1;
                    self.wait_to_repeat(ctx, rounds, error, last).await?;
                }
                // Somebody made it at this moment: the next round has a last event.
                (Err(error), None) if error.is_conflict() => {}
                (settled, _) => return settled,
            }
        }
    }

    async fn append(
        &self,
        ctx: &Context,
        work: &mut Work<A>,
        expected: ExpectedVersion,
        events: Vec<NewEvent>,
        commit_id: Option<CommitId>,
    ) -> Result<Saved, RepositoryError<A::Error>> {
        let is_given = commit_id.is_some();
        let append = Append::new().write(work.stream().clone(), expected, events);
        let (append, commit_id) = self.writer.complete(ctx, append, commit_id);
        work.appends();
        let appended = match self.writer.append(ctx, &append, commit_id).await {
            Ok(appended) => appended,
            Err(fault) => {
                let error = RepositoryError::from(fault);
                if matches!(error, RepositoryError::Unknown { .. }) {
                    work.forget();
                }
                return Err(error);
            }
        };
        work.stored(&append, &appended, is_given);
        let version = self
            .writer
            .version_after(ctx, &append, &appended, work.stream())
            .await?;
        Ok(Saved { version, appended })
    }

    /// Whether something was stored under a commit id that somebody gave. What it was is not said.
    async fn is_stored(
        &self,
        ctx: &Context,
        commit_id: Option<CommitId>,
    ) -> Result<bool, RepositoryError<A::Error>> {
        let Some(commit_id) = commit_id else {
            return Ok(false);
        };
        let resolution = self.log().resolve(ctx, commit_id).await?;
        Ok(matches!(resolution, Resolution::Committed(_)))
    }

    /// The result of a commit that is stored already. The log compares: under an id that was used
    /// for other events this is `Invalid`. It expects a version that is past, so that nothing can be
    /// stored by it.
    async fn append_again(
        &self,
        ctx: &Context,
        work: &mut Work<A>,
        last: &RecordedEvent,
        events: Vec<NewEvent>,
        commit_id: Option<CommitId>,
    ) -> Result<Saved, RepositoryError<A::Error>> {
        let past = Version::new(last.version.get().saturating_sub(1));
        let expected = ExpectedVersion::Exact(past);
        self.append(ctx, work, expected, events, commit_id).await
    }

    /// Waits before another round, or gives the error back where the deadline comes first.
    async fn wait_to_repeat(
        &self,
        ctx: &Context,
        rounds: u32,
        error: RepositoryError<A::Error>,
        last: RecordedEvent,
    ) -> Result<(), RepositoryError<A::Error>> {
        match self.writer.pause(ctx, rounds, last.commit_id).await {
            true => Ok(()),
            false => Err(error),
        }
    }
}
