//! Loads: an aggregate as it is, as it was at a version, or at a time.

use cim_store::{
    Context, EventLogExt as _, Head, RecordedEvent, StreamId, StreamRange, Timestamp, Version,
};
use futures_util::TryStreamExt as _;

use super::{LoadOptions, Repository};
use crate::Aggregate;
use crate::persistence::decoding::Reader;
use crate::persistence::replay::Until;
use crate::persistence::tombstone::is_tombstone;
use crate::persistence::{History, RepositoryError};

/// An aggregate as it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded<A> {
    /// The aggregate.
    pub state: A,
    /// The version it is at.
    pub version: Version,
    /// The last event that it was rebuilt from.
    pub head: Head,
    /// When the store took that event.
    pub stored_at: Timestamp,
    /// The events that it was rebuilt from, where [`LoadOptions::include_events`] asked for them.
    pub events: Vec<RecordedEvent>,
    /// How many events the state misses, because their types are unknown and the repository
    /// [passes over them](crate::persistence::UnknownEvents); 0 if it fails at them.
    pub skipped: u64,
    /// Those events, where the repository [keeps](crate::persistence::UnknownEvents::KeepRaw) them.
    pub unknown: Vec<RecordedEvent>,
}

impl<A: Aggregate> Repository<A> {
    /// Loads an aggregate as it is now.
    ///
    /// # Errors
    /// `NotFound` when it has no events; `Deleted` when it was deleted; `InvalidId`, `Decode`,
    /// `Integrity`, `Store`.
    pub async fn load(
        &self,
        ctx: &Context,
        id: &A::Id,
    ) -> Result<Loaded<A>, RepositoryError<A::Error>> {
        self.load_with(ctx, id, LoadOptions::default()).await
    }

    /// Loads an aggregate as it was at a version.
    ///
    /// # Errors
    /// As [`load_with`](Self::load_with).
    pub async fn load_at_version(
        &self,
        ctx: &Context,
        id: &A::Id,
        version: Version,
    ) -> Result<Loaded<A>, RepositoryError<A::Error>> {
        let options = LoadOptions {
            version: Some(version),
            ..LoadOptions::default()
        };
        self.load_with(ctx, id, options).await
    }

    /// Loads an aggregate as it was at a time by the clock of the store, this moment included.
    ///
    /// # Errors
    /// As [`load_with`](Self::load_with).
    pub async fn load_as_of(
        &self,
        ctx: &Context,
        id: &A::Id,
        moment: Timestamp,
    ) -> Result<Loaded<A>, RepositoryError<A::Error>> {
        let options = LoadOptions {
            as_of: Some(moment),
            ..LoadOptions::default()
        };
        self.load_with(ctx, id, options).await
    }

    /// Loads an aggregate as the options say.
    ///
    /// With a [cache](Self::with_cache) an aggregate that was touched lately is brought up to date
    /// with the events that are newer, instead of being rebuilt. A load at a version or a time is
    /// rebuilt, from a snapshot where there is one from before. With events, or without snapshots, all
    /// of them are read.
    ///
    /// # Errors
    /// `NotFound` when it has no events, or had none at the time that was asked for; `Deleted` when
    /// it was deleted there; `VersionNotFound` when it never was at the version that was asked for;
    /// `TooManyEvents`; `InvalidId`, `Decode`, `Integrity`, `Store`.
    pub async fn load_with(
        &self,
        ctx: &Context,
        id: &A::Id,
        options: LoadOptions,
    ) -> Result<Loaded<A>, RepositoryError<A::Error>> {
        self.load_stream(ctx, Self::stream(id)?, options).await
    }

    pub(super) async fn load_stream(
        &self,
        ctx: &Context,
        stream: StreamId,
        options: LoadOptions,
    ) -> Result<Loaded<A>, RepositoryError<A::Error>> {
        if options.version == Some(Version::NONE) {
            return Err(self.never_at_version_none(ctx, stream).await?);
        }
        let until = Until {
            version: options.version,
            as_of: options.as_of,
            max_events: options.max_events,
        };
        let is_now = options.version.is_none() && options.as_of.is_none();
        let can_be_kept = is_now && options.use_snapshot && !options.include_events;
        if can_be_kept && self.cache().is_some() {
            let mut work = self.begin(ctx, stream).await?;
            if !work.is_kept() || work.may_be_behind() {
                work.advance(self, ctx, &until).await?;
            }
            return work.into_loaded();
        }
        let replay = if options.include_events {
            let mut replay = self.replay(stream.clone());
            replay.keep_events();
            replay.advance(self.log().as_ref(), ctx, &until).await?;
            replay
        } else {
            self.replayed(ctx, stream.clone(), &until, options.use_snapshot)
                .await?
        };
        match (options.version, options.as_of) {
            // The read ended at the head as it was then, so that is what there is.
            (Some(requested), None) if (Version::new(1)..requested).contains(&replay.version()) => {
                Err(RepositoryError::VersionNotFound {
                    stream,
                    requested,
                    actual: replay.version(),
                })
            }
            _ => replay.into_loaded(),
        }
    }

    /// Whether there is an aggregate: it has events and was not deleted.
    ///
    /// # Errors
    /// `InvalidId`, `Store`.
    pub async fn exists(
        &self,
        ctx: &Context,
        id: &A::Id,
    ) -> Result<bool, RepositoryError<A::Error>> {
        let last = self.last_event(ctx, &Self::stream(id)?).await?;
        Ok(last.is_some_and(|event| !is_tombstone(&event.event_type)))
    }

    /// The events of an aggregate with everything that is known about them. An aggregate that
    /// does not exist has none. One that was deleted still has all it had; the tombstone itself is
    /// no domain event and is passed over.
    ///
    /// # Errors
    /// `InvalidId`, `Store`.
    pub async fn history(
        &self,
        ctx: &Context,
        id: &A::Id,
        range: StreamRange,
    ) -> Result<History<A>, RepositoryError<A::Error>> {
        let stream = Self::stream(id)?;
        let direction = range.direction;
        let events = self.log().read_stream(ctx, &stream, range).await?;
        let reader = Reader::new(self.unknown_events).in_direction(direction);
        let check = self.verifier.stream().in_direction(direction);
        Ok(History::new(events, check, reader))
    }

    /// The last event of a stream, whatever it is.
    pub(super) async fn last_event(
        &self,
        ctx: &Context,
        stream: &StreamId,
    ) -> Result<Option<RecordedEvent>, RepositoryError<A::Error>> {
        let range = StreamRange::all().backwards().limit(1);
        let mut events = self.log().read_stream(ctx, stream, range).await?;
        Ok(events.try_next().await?)
    }

    async fn never_at_version_none(
        &self,
        ctx: &Context,
        stream: StreamId,
    ) -> Result<RepositoryError<A::Error>, RepositoryError<A::Error>> {
        Ok(match self.log().version(ctx, &stream).await? {
            Version::NONE => RepositoryError::NotFound { stream },
            actual => RepositoryError::VersionNotFound {
                stream,
                requested: Version::NONE,
                actual,
            },
        })
    }
}
