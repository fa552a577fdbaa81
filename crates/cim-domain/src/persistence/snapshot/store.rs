//! Snapshots in a bucket: what repositories and operators call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cim_store::{
    Bucket, BucketError, BucketName, BucketSettings, Clock, ContentType, Context, Entry, Fault,
    Head, Key, Limits, Operation, Revision, Store, StreamId, StreamPattern, Subject, SystemClock,
    Timestamp, Version, WriteOptions,
};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec;
use super::envelope::Envelope;
use super::stats::{Counters, count};
use super::{IgnoredSnapshot, SnapshotCodec, SnapshotError, SnapshotStats};
use crate::persistence::error::excerpt;
use crate::persistence::write_behind::WriteBehind;

/// How often a snapshot is tried to be written where others write one of the same aggregate.
const ATTEMPTS: u32 = 20;

/// Keeps snapshots of aggregates: a state, and the event that it stands on.
///
/// It stands on one bucket of a store, so it works on every adapter. A repository uses it by
/// [`with_snapshots`](crate::Repository::with_snapshots); the methods here are for operators, and for
/// those who have states but no repository. Clones are the same store and count together.
///
/// There is one key for each aggregate, whose history keeps the last snapshots. One of an older
/// version never takes the place of a newer one, whoever comes first.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_domain::persistence::snapshot::*;
/// use cim_domain::store::{Context, EventLogExt, ExpectedVersion, NewEvent, StreamId};
///
/// let store = cim_domain::open("memory:").await?;
/// let (ctx, anna) = (Context::new(), StreamId::new("bank", "account", "anna")?);
/// let paid = vec![NewEvent::json("deposited", &500)?];
/// let log = store.log();
/// log.append_to(&ctx, &anna, ExpectedVersion::NEW, paid).await?;
///
/// let snapshots = SnapshotStore::open(&*store, SnapshotSettings::default()).await?;
/// let head = log.head(&ctx, &anna).await?.ok_or("it has an event")?;
/// let event = log.read_all(&ctx, &anna).await?.remove(0);
/// snapshots.write(&ctx, &NewSnapshot::new(&500_u64, head, event.stored_at)).await?;
///
/// let newest = snapshots.newest::<u64>(&ctx, &anna, SnapshotQuery::default()).await?;
/// let snapshot = newest.found().ok_or("it was written")?;
/// assert_eq!((snapshot.state, snapshot.head.version.get()), (500, 1));
/// assert_eq!(snapshot.subject()?, "cim.snapshots.account.anna.1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SnapshotStore {
    bucket: Arc<dyn Bucket>,
    pub(in crate::persistence) clock: Arc<dyn Clock>,
    codec: SnapshotCodec,
    pub(in crate::persistence) counters: Arc<Counters>,
    pub(in crate::persistence) queue: WriteBehind,
}

/// How snapshots are kept.
///
/// ```
/// use cim_domain::persistence::snapshot::SnapshotSettings;
///
/// let settings = SnapshotSettings { keep: 5, ..SnapshotSettings::default() };
/// assert_eq!((settings.bucket, settings.ttl), ("snapshots", None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotSettings<'a> {
    /// The bucket: 1 to 64 ASCII letters, digits, `-` and `_`.
    pub bucket: &'a str,
    /// How many snapshots of each aggregate are kept: 1 to [`BucketSettings::MAX_HISTORY`]. Fixed
    /// when the bucket is made. With more than one, loads of earlier versions have snapshots to
    /// begin with, and there is another one where the last can't be used.
    pub keep: u8,
    /// How long a snapshot is kept: at least a second; `None`: until newer ones take its place.
    /// Fixed when the bucket is made.
    pub ttl: Option<Duration>,
    /// How states are written.
    pub codec: SnapshotCodec,
    /// Of how many aggregates a snapshot may wait to be written. Of others it is skipped.
    pub queue: usize,
    /// How long one may take that is taken in the background, by the clock of the repository, before
    /// it is given up: to read the events, where that is needed, and to write. Zero gives
    /// up whatever has to wait.
    pub time_limit: Duration,
}

impl Default for SnapshotSettings<'_> {
    /// The last two of each aggregate in the bucket `snapshots`, as JSON, for ever; room for 256,
    /// and a minute for each.
    fn default() -> Self {
        Self {
            bucket: "snapshots",
            keep: 2,
            ttl: None,
            codec: SnapshotCodec::Json,
            queue: 256,
            time_limit: Duration::from_secs(60),
        }
    }
}

/// A snapshot: the state of an aggregate as of an event. `S` is what the state was read as;
/// [`Bytes`]: it was not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot<S = Bytes> {
    /// The state.
    pub state: S,
    /// The last event in it.
    pub head: Head,
    /// When the store took that event.
    pub stored_at: Timestamp,
    /// When the snapshot was taken.
    pub taken_at: Timestamp,
    /// The [`SNAPSHOT_VERSION`](crate::Aggregate::SNAPSHOT_VERSION) it was taken with.
    pub schema_version: u32,
    /// The event types that the program knew which took it, each with its schema version.
    pub events: Vec<(String, u32)>,
    /// How the state is encoded.
    pub content_type: ContentType,
    /// How many bytes it has in the bucket.
    pub bytes: u64,
    /// Its revision in the bucket.
    pub revision: Revision,
}

/// A snapshot that is yet to be written.
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
/// let new = NewSnapshot::new(&500_u64, head.clone(), stored_at)
///     .with_schema_version(2)
///     .with_events(vec![("deposited".to_owned(), 1)]);
/// let Written::Stored(revision) = snapshots.write(&ctx, &new).await? else { panic!("there was none") };
///
/// let reads_none = SnapshotQuery { schema_version: 2, reads: Some(|_, _| false), ..Default::default() };
/// let newest = snapshots.newest::<u64>(&ctx, &anna, reads_none).await?;
/// assert_eq!(newest, Newest::Ignored(IgnoredSnapshot::UnknownEvents));
///
/// // One of the same version stays, unless it was found not to stand on the log.
/// let another = NewSnapshot::new(&501_u64, head, stored_at).with_schema_version(2);
/// assert_eq!(snapshots.write(&ctx, &another).await?, Written::Superseded);
/// assert_ne!(snapshots.write(&ctx, &another.in_place_of(revision)).await?, Written::Superseded);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewSnapshot<'a, S: ?Sized> {
    /// The state.
    pub state: &'a S,
    /// The last event in it.
    pub head: Head,
    /// When the store took that event.
    pub stored_at: Timestamp,
    /// What counts the shapes of the state, from 1: 1 unless it is set.
    pub schema_version: u32,
    /// The event types that the state may come from, each with its schema version. Empty unless it
    /// is set: nothing is said about them.
    pub events: Vec<(String, u32)>,
    /// A snapshot that was found not to stand on the log: it is replaced whatever its version says.
    pub in_place_of: Option<Revision>,
}

/// Which snapshot is looked for. The default: the newest, with schema version 1.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotQuery {
    /// The schema version that it must have.
    pub schema_version: u32,
    /// Whether the program reads events of this type and schema version. It has to read all those
    /// that the snapshot names; `None`: whatever they are.
    pub reads: Option<fn(&str, u32) -> bool>,
    /// It must not be of a later version than this.
    pub up_to_version: Option<Version>,
    /// The last event in it must not have been stored after this moment.
    pub up_to_time: Option<Timestamp>,
}

/// What a search for the newest snapshot came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Newest<S> {
    /// This one.
    Found(Box<Snapshot<S>>),
    /// There is none.
    None,
    /// There is one that can't be used, and none before it that can.
    Ignored(IgnoredSnapshot),
}

/// What came of writing a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is stored under this revision.
    Stored(Revision),
    /// One of the same or a later version is there, and stays.
    Superseded,
}

/// What stands in the bucket at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredSnapshot {
    /// Its key: the aggregate's stream.
    pub key: Key,
    /// Its revision in the bucket.
    pub revision: Revision,
    /// How many bytes it has.
    pub bytes: u64,
    /// When the bucket took it.
    pub written_at: Timestamp,
    /// The snapshot, or why it can't be used.
    pub snapshot: Result<Snapshot, IgnoredSnapshot>,
}

/// Snapshots in the bucket, or the error that ends them.
pub type SnapshotStream = BoxStream<'static, Result<StoredSnapshot, SnapshotError>>;

/// Which aggregates lose their snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prune {
    /// Those whose newest was taken before this moment.
    pub taken_before: Option<Timestamp>,
    /// Those whose newest has a schema version below this.
    pub schema_below: Option<u32>,
    /// Those whose newest can't be used, whatever the reason.
    pub unusable: bool,
}

/// What [`SnapshotStore::prune`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// Of how many aggregates there were snapshots.
    pub seen: u64,
    /// How many of them lost theirs.
    pub removed: u64,
    /// How many would have, but got a new one meanwhile.
    pub kept: u64,
}

impl SnapshotStore {
    /// Opens the bucket of the snapshots, and makes it where it does not exist.
    ///
    /// # Errors
    /// `InvalidBucket`; `Store`, also where the bucket exists with another `keep` or `ttl`.
    pub async fn open(
        store: &dyn Store,
        settings: SnapshotSettings<'_>,
    ) -> Result<Self, SnapshotError> {
        let invalid = |source| SnapshotError::InvalidBucket {
            name: excerpt(settings.bucket),
            source,
        };
        let name = BucketName::new(settings.bucket.to_owned()).map_err(invalid)?;
        let bucket = BucketSettings {
            history: settings.keep,
            ttl: settings.ttl,
        };
        let bucket = store.bucket(&Context::new(), &name, bucket).await?;
        Ok(Self::new(bucket, settings))
    }

    /// Snapshots in a bucket that is open already, with its name, history and time to live. The
    /// other settings apply.
    pub fn new(bucket: Arc<dyn Bucket>, settings: SnapshotSettings<'_>) -> Self {
        Self {
            bucket,
            clock: Arc::new(SystemClock),
            codec: settings.codec,
            counters: Arc::default(),
            queue: WriteBehind::new(settings.queue, settings.time_limit),
        }
    }

    /// With the clock that says when snapshots are taken.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The bucket that the snapshots are in.
    pub fn bucket(&self) -> &Arc<dyn Bucket> {
        &self.bucket
    }

    /// What became of snapshots so far.
    pub fn stats(&self) -> SnapshotStats {
        let mut stats = self.counters.stats();
        stats.failed += self.queue.lost();
        stats.given_up = self.queue.given_up();
        stats
    }

    /// Waits until nothing waits to be written and nothing is being written. Where the bucket does
    /// not answer that takes [`time_limit`](SnapshotSettings::time_limit) twice at most, from the
    /// last one that was to be taken.
    pub async fn settled(&self) {
        self.queue.settled().await;
    }

    /// The newest snapshot of an aggregate that can be used. Whether it stands on the log is not
    /// looked at here: whoever uses it reads the events after it, and compares.
    ///
    /// # Errors
    /// `Store`.
    pub async fn newest<S: DeserializeOwned>(
        &self,
        ctx: &Context,
        stream: &StreamId,
        query: SnapshotQuery,
    ) -> Result<Newest<S>, SnapshotError> {
        let key = key_of(stream)?;
        let Some(entry) = self.bucket.get(ctx, &key).await? else {
            return Ok(Newest::None);
        };
        let reason = match query.read(&entry, stream) {
            Ok(Some(snapshot)) => return Ok(Newest::Found(Box::new(snapshot))),
            Ok(None) => None,
            Err(reason) => {
                self.counters.ignored(reason);
                Some(reason)
            }
        };
        if self.bucket.settings().history > 1 {
            let kept = self.bucket.history(ctx, &key).await?;
            let before = |kept: &&Entry| kept.revision < entry.revision;
            for earlier in kept.iter().rev().filter(before) {
                if let Ok(Some(snapshot)) = query.read(earlier, stream) {
                    return Ok(Newest::Found(Box::new(snapshot)));
                }
            }
        }
        Ok(reason.map_or(Newest::None, Newest::Ignored))
    }

    /// Writes a snapshot, unless one of the same or a later version is there.
    ///
    /// # Errors
    /// `Encode`, `TooLarge`, `Unknown`, `Store`.
    pub async fn write<S: Serialize + ?Sized>(
        &self,
        ctx: &Context,
        new: &NewSnapshot<'_, S>,
    ) -> Result<Written, SnapshotError> {
        let written = self.try_write(ctx, new).await;
        let counters = &self.counters;
        count(match &written {
            Ok(Written::Stored(_)) => &counters.written,
            Ok(Written::Superseded) => &counters.superseded,
            Err(SnapshotError::Encode { .. }) => &counters.not_encodable,
            Err(SnapshotError::TooLarge { .. }) => &counters.too_large,
            Err(_) => &counters.failed,
        });
        written
    }

    async fn try_write<S: Serialize + ?Sized>(
        &self,
        ctx: &Context,
        new: &NewSnapshot<'_, S>,
    ) -> Result<Written, SnapshotError> {
        let stream = &new.head.stream;
        let (key, value) = (key_of(stream)?, self.encode(new)?);
        let options = WriteOptions::default();
        let mut attempts = 0;
        loop {
            let present = self.bucket.get(ctx, &key).await?;
            let written = match present {
                None => {
                    let value = value.clone();
                    self.bucket.create(ctx, &key, value, options).await
                }
                Some(entry) if new.is_no_newer_than(&entry) => return Ok(Written::Superseded),
                Some(entry) => {
                    let value = value.clone();
                    let update = self
                        .bucket
                        .update(ctx, &key, value, entry.revision, options);
                    update.await
                }
            };
            attempts += 1;
            match written {
                Ok(revision) => return Ok(Written::Stored(revision)),
                Err(error) if error.is_conflict() && attempts < ATTEMPTS => {}
                Err(error) => return Err(too_large(stream, error)),
            }
        }
    }

    fn encode<S: Serialize + ?Sized>(
        &self,
        new: &NewSnapshot<'_, S>,
    ) -> Result<Bytes, SnapshotError> {
        let stream = &new.head.stream;
        let unencodable = |source: Box<dyn std::error::Error + Send + Sync>| {
            let stream = stream.clone();
            SnapshotError::Encode { stream, source }
        };
        let content_type = self.codec.content_type();
        let content_type = content_type.map_err(|error| unencodable(error.into()))?;
        let state = self.codec.encode(new.state);
        let state = state.map_err(|error| unencodable(error.into()))?;
        let envelope = Envelope {
            head: new.head.clone(),
            stored_at: new.stored_at,
            taken_at: self.clock.now(),
            schema_version: new.schema_version,
            events: new.events.clone(),
            content_type,
            state: state.into(),
        };
        let max = Limits::CONTRACT.payload_bytes;
        let beyond = |size: usize| SnapshotError::TooLarge {
            stream: stream.clone(),
            size: size as u64,
            max: max as u64,
        };
        if envelope.state.len() > max {
            return Err(beyond(envelope.state.len()));
        }
        let value = envelope
            .encode()
            .map_err(|error| unencodable(error.into()))?;
        match value.len() {
            size if size > max => Err(beyond(size)),
            _ => Ok(value.into()),
        }
    }

    /// What is kept of an aggregate's snapshots, oldest first.
    ///
    /// # Errors
    /// `Store`.
    pub async fn history(
        &self,
        ctx: &Context,
        stream: &StreamId,
    ) -> Result<Vec<StoredSnapshot>, SnapshotError> {
        let kept = self.bucket.history(ctx, &key_of(stream)?).await?;
        let values = kept
            .iter()
            .filter(|entry| entry.operation == Operation::Put);
        Ok(values.map(StoredSnapshot::of).collect())
    }

    /// The newest snapshot of each aggregate whose stream matches, in an order of the adapter's own.
    ///
    /// # Errors
    /// `Store`.
    pub async fn list(
        &self,
        ctx: &Context,
        streams: &StreamPattern,
    ) -> Result<SnapshotStream, SnapshotError> {
        let entries = self.bucket.entries(ctx, streams.as_pattern()).await?;
        let snapshots = entries.map(|entry| match entry {
            Ok(entry) => Ok(StoredSnapshot::of(&entry)),
            Err(error) => Err(error.into()),
        });
        Ok(snapshots.boxed())
    }

    /// Takes away all snapshots of an aggregate. The next load reads all events.
    ///
    /// # Errors
    /// `Unknown`, `Store`.
    pub async fn delete(&self, ctx: &Context, stream: &StreamId) -> Result<(), SnapshotError> {
        let key = key_of(stream)?;
        let kept = self.bucket.history(ctx, &key).await?;
        if kept.iter().any(|entry| entry.operation == Operation::Put) {
            self.bucket.purge(ctx, &key, None).await?;
        }
        Ok(())
    }

    /// Takes away the snapshots of aggregates whose stream matches, where what is asked for is true
    /// of the newest. One that is written meanwhile stays.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use cim_domain::persistence::snapshot::*;
    /// use cim_domain::store::StreamPattern;
    /// # use cim_domain::store::*;
    ///
    /// # let (store, ctx) = (cim_domain::open("memory:").await?, Context::new());
    /// # let (log, anna) = (store.log(), StreamId::new("bank", "account", "anna")?);
    /// # log.append_to(&ctx, &anna, ExpectedVersion::NEW, vec![NewEvent::json("deposited", &500)?]).await?;
    /// # let head = log.head(&ctx, &anna).await?.ok_or("it has an event")?;
    /// # let stored_at = log.read_all(&ctx, &anna).await?.remove(0).stored_at;
    /// let snapshots = SnapshotStore::open(&*store, SnapshotSettings::default()).await?;
    /// snapshots.write(&ctx, &NewSnapshot::new(&500_u64, head, stored_at)).await?;
    ///
    /// // After an update, when no program of the old version runs any more.
    /// let accounts: StreamPattern = "bank.account.*".parse()?;
    /// let outdated = Prune { schema_below: Some(2), unusable: true, ..Prune::default() };
    /// let pruned = snapshots.prune(&ctx, &accounts, outdated).await?;
    /// assert_eq!((pruned.seen, pruned.removed), (1, 1));
    /// assert!(snapshots.history(&ctx, &anna).await?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `Unknown`, `Store`.
    pub async fn prune(
        &self,
        ctx: &Context,
        streams: &StreamPattern,
        prune: Prune,
    ) -> Result<Pruned, SnapshotError> {
        let mut pruned = Pruned::default();
        let mut all = self.list(ctx, streams).await?;
        while let Some(stored) = all.try_next().await? {
            pruned.seen += 1;
            if !prune.means(&stored) {
                continue;
            }
            let revision = Some(stored.revision);
            match self.bucket.purge(ctx, &stored.key, revision).await {
                Ok(_) => pruned.removed += 1,
                Err(error) if error.is_conflict() => pruned.kept += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(pruned)
    }
}

impl<S> Snapshot<S> {
    /// How the outside addresses it: `cim.snapshots.{aggregate}.{id}.{version}`.
    ///
    /// # Errors
    /// Never for a snapshot that was written: the name of its stream leaves room for the rest.
    pub fn subject(&self) -> Result<Subject, cim_subject::SubjectError> {
        let Head {
            stream, version, ..
        } = &self.head;
        let (aggregate, id) = (stream.aggregate(), stream.id());
        Subject::new(format!("cim.snapshots.{aggregate}.{id}.{version}"))
    }

    fn with_state<T>(self, state: T) -> Snapshot<T> {
        Snapshot {
            state,
            head: self.head,
            stored_at: self.stored_at,
            taken_at: self.taken_at,
            schema_version: self.schema_version,
            events: self.events,
            content_type: self.content_type,
            bytes: self.bytes,
            revision: self.revision,
        }
    }
}

impl Snapshot {
    /// Reads an entry; the aggregate is the one that its key names.
    fn of(entry: &Entry) -> Result<Self, IgnoredSnapshot> {
        let envelope = Envelope::decode(&entry.value)?;
        if envelope.head.stream.as_str() != entry.key.as_str() {
            return Err(IgnoredSnapshot::OtherAggregate);
        }
        Ok(Self {
            state: envelope.state,
            head: envelope.head,
            stored_at: envelope.stored_at,
            taken_at: envelope.taken_at,
            schema_version: envelope.schema_version,
            events: envelope.events,
            content_type: envelope.content_type,
            bytes: entry.value.len() as u64,
            revision: entry.revision,
        })
    }
}

impl<'a, S: ?Sized> NewSnapshot<'a, S> {
    /// A snapshot of a state as of an event.
    pub fn new(state: &'a S, head: Head, stored_at: Timestamp) -> Self {
        Self {
            state,
            head,
            stored_at,
            schema_version: 1,
            events: Vec::new(),
            in_place_of: None,
        }
    }

    /// With this schema version.
    #[must_use]
    pub fn with_schema_version(mut self, version: u32) -> Self {
        self.schema_version = version;
        self
    }

    /// As made of events of these types.
    #[must_use]
    pub fn with_events(mut self, events: Vec<(String, u32)>) -> Self {
        self.events = events;
        self
    }

    /// In the place of a snapshot that does not stand on the log, whatever its version says.
    #[must_use]
    pub fn in_place_of(mut self, revision: Revision) -> Self {
        self.in_place_of = Some(revision);
        self
    }

    /// Whether what is there is to stay. What can't be used, or is of another schema, is not.
    fn is_no_newer_than(&self, entry: &Entry) -> bool {
        if self.in_place_of == Some(entry.revision) {
            return false;
        }
        Snapshot::of(entry).is_ok_and(|present| {
            let same = present.schema_version == self.schema_version;
            same && present.head.version >= self.head.version
        })
    }
}

impl Default for SnapshotQuery {
    fn default() -> Self {
        Self {
            schema_version: 1,
            reads: None,
            up_to_version: None,
            up_to_time: None,
        }
    }
}

impl SnapshotQuery {
    /// Reads an entry; `None` where it is of a later version or time than is asked for.
    fn read<S: DeserializeOwned>(
        &self,
        entry: &Entry,
        stream: &StreamId,
    ) -> Result<Option<Snapshot<S>>, IgnoredSnapshot> {
        let snapshot = Snapshot::of(entry)?;
        if snapshot.head.stream != *stream {
            return Err(IgnoredSnapshot::OtherAggregate);
        }
        if snapshot.schema_version != self.schema_version {
            return Err(IgnoredSnapshot::OtherSchema);
        }
        let is_read =
            |(name, version): &(String, u32)| self.reads.is_none_or(|reads| reads(name, *version));
        if !snapshot.events.iter().all(is_read) {
            return Err(IgnoredSnapshot::UnknownEvents);
        }
        let too_new = self
            .up_to_version
            .is_some_and(|version| snapshot.head.version > version);
        let too_late = self
            .up_to_time
            .is_some_and(|time| snapshot.stored_at > time);
        if too_new || too_late {
            return Ok(None);
        }
        let state = codec::decode(&snapshot.content_type, &snapshot.state)?;
        Ok(Some(snapshot.with_state(state)))
    }
}

impl<S> Newest<S> {
    /// The snapshot, where there is one that can be used.
    pub fn found(self) -> Option<Snapshot<S>> {
        match self {
            Self::Found(snapshot) => Some(*snapshot),
            Self::None | Self::Ignored(_) => None,
        }
    }
}

impl StoredSnapshot {
    fn of(entry: &Entry) -> Self {
        Self {
            key: entry.key.clone(),
            revision: entry.revision,
            bytes: entry.value.len() as u64,
            written_at: entry.stored_at,
            snapshot: Snapshot::of(entry),
        }
    }
}

impl Prune {
    fn means(&self, stored: &StoredSnapshot) -> bool {
        match &stored.snapshot {
            Err(_) => self.unusable,
            Ok(snapshot) => {
                self.taken_before
                    .is_some_and(|moment| snapshot.taken_at < moment)
                    || self
                        .schema_below
                        .is_some_and(|version| snapshot.schema_version < version)
            }
        }
    }
}

/// The key of an aggregate's snapshots: its stream's name, which is always one.
fn key_of(stream: &StreamId) -> Result<Key, SnapshotError> {
    Key::new(stream.to_shared())
        .map_err(|error| SnapshotError::Store(BucketError::invalid("no key").with_source(error)))
}

/// What a bucket says of a value that is larger than it takes.
fn too_large(stream: &StreamId, error: BucketError) -> SnapshotError {
    match error.fault() {
        Some(Fault::TooLarge { size, max, .. }) => SnapshotError::TooLarge {
            stream: stream.clone(),
            size,
            max,
        },
        _ => error.into(),
    }
}

impl fmt::Debug for SnapshotStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotStore")
            .field("bucket", &self.bucket)
            .field("codec", &self.codec)
            .finish_non_exhaustive()
    }
}
