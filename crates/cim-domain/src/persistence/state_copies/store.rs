//! Copies of states in a bucket: what other services call, and what repositories write with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cim_store::{
    Bucket, BucketError, BucketName, BucketSettings, Context, Entry, Fault, Head, Key, LimitName,
    Limits, Operation, Store, StreamId, StreamPattern, SubjectPattern, Timestamp, Version,
    WatchFrom, WriteOptions,
};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::de::DeserializeOwned;

use super::copy::{self, Told, key_text, parse_key};
use super::stats::Counters;
use super::{StateCopy, StateCopyError, StateCopyStats};
use crate::persistence::write_behind::WriteBehind;

/// How long a copy of an earlier version stays after a later one is there: the shortest time to live.
/// What goes by its time leaves nothing behind in any store.
const SUPERSEDED_LIFE: Duration = Duration::from_secs(1);
/// How long it can be read that an aggregate was deleted.
const DELETED_LIFE: Duration = Duration::from_secs(3600);

/// Copies of the states of aggregates, in a bucket.
///
/// Repositories write them, by [`with_state_copies`](crate::Repository::with_state_copies). Other
/// services read them here, or with any client of the store: the values are JSON. Clones are the same
/// copies and count together.
///
/// ```
/// # use cim_domain::{Aggregate, DomainEvent};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
/// # enum CounterEvent { Increased { by: u64 } }
/// #[derive(Clone, Default, Serialize)]
/// struct Counter { sum: u64 }
///
/// # impl Aggregate for Counter {
/// #     const CONTEXT: &'static str = "docs";
/// #     const TYPE: &'static str = "counter";
/// #     type Id = String;
/// #     type Event = CounterEvent;
/// #     type Command = u64;
/// #     type Error = std::convert::Infallible;
/// #     fn apply(&mut self, event: &CounterEvent) { let CounterEvent::Increased { by } = event; self.sum += by; }
/// #     fn handle(&self, by: u64) -> Result<Vec<CounterEvent>, Self::Error> { Ok(vec![CounterEvent::Increased { by }]) }
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_domain::persistence::state_copies::{StateCopies, StateCopy, StateCopySettings};
/// use cim_domain::{Repository, store::{Context, StreamId}};
///
/// let store = cim_domain::open("memory:").await?;
/// let copies = StateCopies::open(&*store, StateCopySettings::default()).await?;
/// let counters = Repository::<Counter>::new(store.log()).with_state_copies(copies.clone());
///
/// let ctx = Context::new();
/// counters.execute(&ctx, &"visits".to_owned(), 5).await?;
/// copies.settled().await;
///
/// // In another service, which knows nothing of events:
/// let visits = StreamId::new("docs", "counter", "visits")?;
/// let copy: StateCopy = copies.get(&ctx, &visits).await?.ok_or("it is there")?;
/// assert_eq!((copy.state["sum"].as_u64(), copy.version.get()), (Some(5), 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct StateCopies {
    bucket: Arc<dyn Bucket>,
    pub(in crate::persistence) keep: usize,
    pub(in crate::persistence) counters: Arc<Counters>,
    pub(in crate::persistence) queue: WriteBehind,
}

/// How copies of states are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateCopySettings<'a> {
    /// The bucket: 1 to 64 ASCII letters, digits, `-` and `_`.
    pub bucket: &'a str,
    /// How many copies of each aggregate stay, each under its version: at least 1.
    pub keep: usize,
    /// Of how many aggregates a copy may wait to be written. Those of others lag.
    pub queue: usize,
    /// How long it may take in the background to bring the copy of an aggregate up to date, by the
    /// clock of the repository, before it is given up: to read the events, where that is needed, and
    /// to write. Zero gives up whatever has to wait.
    pub time_limit: Duration,
}

impl Default for StateCopySettings<'_> {
    /// The last copy of each aggregate in the bucket `AGGREGATES`; room for 1024, and a minute
    /// for each.
    fn default() -> Self {
        Self {
            bucket: "AGGREGATES",
            keep: 1,
            queue: 1024,
            time_limit: Duration::from_secs(60),
        }
    }
}

/// A copy that is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct ListedCopy {
    /// The aggregate's stream.
    pub stream: StreamId,
    /// The version of the newest copy.
    pub version: Version,
}

/// What happened to an aggregate, as a service that follows copies hears of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateChange<S = serde_json::Value> {
    /// It has another state.
    Changed(StateCopy<S>),
    /// It was deleted.
    Deleted {
        /// Its stream.
        stream: StreamId,
        /// The version of the event that says so.
        version: Version,
    },
}

/// Changes of states, or the error that ends them.
pub type StateChangeStream<S> = BoxStream<'static, Result<StateChange<S>, StateCopyError>>;

impl StateCopies {
    /// Opens the bucket of the copies, and makes it where it does not exist.
    ///
    /// # Errors
    /// `InvalidSettings`; `Store`, also where the bucket exists with a history or a time to live.
    pub async fn open(
        store: &dyn Store,
        settings: StateCopySettings<'_>,
    ) -> Result<Self, StateCopyError> {
        let name = BucketName::new(settings.bucket.to_owned()).map_err(|error| {
            StateCopyError::InvalidSettings {
                why: error.to_string(),
            }
        })?;
        let bucket = BucketSettings::default();
        let bucket = store.bucket(&Context::new(), &name, bucket).await?;
        Self::new(bucket, settings)
    }

    /// Copies in a bucket that is open already, with its name. The other settings apply.
    ///
    /// # Errors
    /// `InvalidSettings` where none are to be kept, or the bucket keeps a history or lets values
    /// expire.
    pub fn new(
        bucket: Arc<dyn Bucket>,
        settings: StateCopySettings<'_>,
    ) -> Result<Self, StateCopyError> {
        let invalid = |why: &str| {
            Err(StateCopyError::InvalidSettings {
                why: why.to_owned(),
            })
        };
        if settings.keep == 0 {
            return invalid("`keep` is at least 1");
        }
        if bucket.settings() != BucketSettings::default() {
            return invalid("their bucket keeps one value of each key, for ever");
        }
        Ok(Self {
            bucket,
            keep: settings.keep,
            counters: Arc::default(),
            queue: WriteBehind::new(settings.queue, settings.time_limit),
        })
    }

    /// The bucket that the copies are in.
    pub fn bucket(&self) -> &Arc<dyn Bucket> {
        &self.bucket
    }

    /// What became of copies so far.
    pub fn stats(&self) -> StateCopyStats {
        let mut stats = self.counters.stats();
        stats.failed += self.queue.lost();
        stats.given_up = self.queue.given_up();
        stats
    }

    /// Waits until nothing waits to be written and nothing is being written. Where the bucket does
    /// not answer that takes [`time_limit`](StateCopySettings::time_limit) twice at most, from the
    /// last one that was to be written.
    pub async fn settled(&self) {
        self.queue.settled().await;
    }

    /// The newest copy of an aggregate's state; `None` where there is none, or the aggregate was
    /// deleted. It may lag behind the events.
    ///
    /// # Errors
    /// `Unreadable` where it is damaged or of another shape than `S`; `Store`.
    pub async fn get<S: DeserializeOwned>(
        &self,
        ctx: &Context,
        stream: &StreamId,
    ) -> Result<Option<StateCopy<S>>, StateCopyError> {
        let mut present = self.present(ctx, stream).await?;
        if present.is_empty() {
            // Those that were listed may have ended before they were read, and a later one be there.
            present = self.present(ctx, stream).await?;
        }
        let Some((_, newest)) = present.last_key_value() else {
            return Ok(None);
        };
        Ok(match read(newest)? {
            Told::State(copy) => Some(copy),
            Told::Deleted => None,
        })
    }

    /// Of which aggregates there are copies, and of which version the newest is, by stream. For as
    /// many as fit into memory.
    ///
    /// # Errors
    /// `Store`.
    pub async fn list(
        &self,
        ctx: &Context,
        streams: &StreamPattern,
    ) -> Result<Vec<ListedCopy>, StateCopyError> {
        let mut newest = BTreeMap::<StreamId, Version>::new();
        let mut keys = self.bucket.keys(ctx, &keys_of(streams)?).await?;
        while let Some(key) = keys.try_next().await? {
            let Some((stream, version)) = parse_key(&key) else {
                continue;
            };
            if streams.matches(&stream) {
                let known = newest.entry(stream).or_default();
                *known = version.max(*known);
            }
        }
        let listed = newest
            .into_iter()
            .map(|(stream, version)| ListedCopy { stream, version });
        Ok(listed.collect())
    }

    /// Delivers changes of states as they are copied.
    ///
    /// Of several changes of one aggregate in quick succession perhaps only the last is seen; where
    /// several programs write, an earlier one may come after a later one: versions tell. A deletion
    /// can be read for an hour, so whoever was away for longer compares with [`list`](Self::list).
    ///
    /// # Errors
    /// `Store`; `Unreadable` in the stream, which goes on after it.
    pub async fn watch<S: DeserializeOwned + Send + 'static>(
        &self,
        ctx: &Context,
        streams: &StreamPattern,
        from: WatchFrom,
    ) -> Result<StateChangeStream<S>, StateCopyError> {
        let changes = self.bucket.watch(ctx, &keys_of(streams)?, from).await?;
        let streams = streams.clone();
        let changes = changes.filter_map(move |entry| {
            std::future::ready(match entry {
                Ok(entry) => change(&entry, &streams).transpose(),
                Err(error) => Some(Err(error.into())),
            })
        });
        Ok(changes.boxed())
    }

    /// What there is of an aggregate, by version.
    pub(in crate::persistence) async fn present(
        &self,
        ctx: &Context,
        stream: &StreamId,
    ) -> Result<BTreeMap<Version, Entry>, StateCopyError> {
        let pattern = pattern(key_text(stream.as_str(), "*"))?;
        let entries = self.bucket.entries(ctx, &pattern).await?;
        let by_version = entries.try_filter_map(|entry| {
            let version = parse_key(&entry.key).map(|(_, version)| version);
            std::future::ready(Ok(version.map(|version| (version, entry))))
        });
        Ok(by_version.try_collect().await?)
    }

    /// Writes a copy.
    pub(in crate::persistence) async fn put(
        &self,
        ctx: &Context,
        head: &Head,
        value: Bytes,
    ) -> Result<(), StateCopyError> {
        self.put_for(ctx, head, value, WriteOptions::default())
            .await
    }

    /// Writes that an aggregate was deleted.
    pub(in crate::persistence) async fn put_deleted(
        &self,
        ctx: &Context,
        head: &Head,
        stored_at: Timestamp,
    ) -> Result<(), StateCopyError> {
        let value =
            copy::encode_deleted(head, stored_at).map_err(|source| StateCopyError::Encode {
                stream: head.stream.clone(),
                source,
            })?;
        let options = WriteOptions::ttl(DELETED_LIFE);
        self.put_for(ctx, head, value, options).await
    }

    async fn put_for(
        &self,
        ctx: &Context,
        head: &Head,
        value: Bytes,
        options: WriteOptions,
    ) -> Result<(), StateCopyError> {
        let max = Limits::CONTRACT.payload_bytes;
        let written = match value.len() {
            size if size > max => Err(BucketError::too_large(LimitName::PayloadBytes, size, max)),
            _ => {
                let key = key(key_text(head.stream.as_str(), head.version))?;
                self.bucket.put(ctx, &key, value, options).await
            }
        };
        match written {
            Ok(_) => Ok(()),
            Err(error) => Err(match error.fault() {
                Some(Fault::TooLarge { size, max, .. }) => StateCopyError::TooLarge {
                    stream: head.stream.clone(),
                    size,
                    max,
                },
                _ => error.into(),
            }),
        }
    }

    /// Ends copies of earlier versions than the last that are kept, and takes away those of later
    /// versions than the stream has.
    pub(in crate::persistence) async fn tidy(
        &self,
        ctx: &Context,
        present: &BTreeMap<Version, Entry>,
        last: Version,
    ) -> Result<(), StateCopyError> {
        let after = (std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded);
        for (_, entry) in present.range(after) {
            self.take_away(ctx, entry).await?;
        }
        for (_, entry) in present.range(..=last).rev().skip(self.keep) {
            if entry.expires_at.is_some() {
                continue;
            }
            let options = WriteOptions::ttl(SUPERSEDED_LIFE);
            let (value, revision) = (entry.value.clone(), entry.revision);
            let ended = self
                .bucket
                .update(ctx, &entry.key, value, revision, options);
            unless_changed(ended.await)?;
        }
        Ok(())
    }

    /// Takes away all copies of an aggregate but the one of this version.
    pub(in crate::persistence) async fn leave_only(
        &self,
        ctx: &Context,
        present: &BTreeMap<Version, Entry>,
        left: Version,
    ) -> Result<(), StateCopyError> {
        for (version, entry) in present {
            if *version != left {
                self.take_away(ctx, entry).await?;
            }
        }
        Ok(())
    }

    async fn take_away(&self, ctx: &Context, entry: &Entry) -> Result<(), StateCopyError> {
        let purged = self.bucket.purge(ctx, &entry.key, Some(entry.revision));
        unless_changed(purged.await)
    }
}

/// Somebody else who changed the same key has looked at what there is since.
fn unless_changed<T>(changed: Result<T, BucketError>) -> Result<(), StateCopyError> {
    match changed {
        Err(error) if !error.is_conflict() => Err(error.into()),
        _ => Ok(()),
    }
}

fn read<S: DeserializeOwned>(entry: &Entry) -> Result<Told<S>, StateCopyError> {
    copy::decode(entry).map_err(|source| StateCopyError::Unreadable {
        key: entry.key.to_string(),
        source,
    })
}

/// What a change of a key means for a service that follows states; nothing where it only tidies up.
fn change<S: DeserializeOwned>(
    entry: &Entry,
    streams: &StreamPattern,
) -> Result<Option<StateChange<S>>, StateCopyError> {
    let Some((stream, version)) = parse_key(&entry.key) else {
        return Ok(None);
    };
    if entry.operation != Operation::Put || !streams.matches(&stream) {
        return Ok(None);
    }
    Ok(match read(entry)? {
        Told::Deleted => Some(StateChange::Deleted { stream, version }),
        // One that ends is on its way out.
        Told::State(_) if entry.expires_at.is_some() => None,
        Told::State(copy) => Some(StateChange::Changed(copy)),
    })
}

/// The keys of the copies of streams that match, and perhaps some more.
fn keys_of(streams: &StreamPattern) -> Result<SubjectPattern, StateCopyError> {
    let streams = streams.as_pattern().as_str();
    if streams.ends_with('>') {
        return pattern("cim.aggregates.>".to_owned());
    }
    pattern(key_text(streams, "*"))
}

fn pattern(text: String) -> Result<SubjectPattern, StateCopyError> {
    SubjectPattern::new(text).map_err(|error| StateCopyError::InvalidSettings {
        why: error.to_string(),
    })
}

fn key(text: String) -> Result<Key, StateCopyError> {
    Key::new(text).map_err(|error| StateCopyError::InvalidSettings {
        why: error.to_string(),
    })
}

impl fmt::Debug for StateCopies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateCopies")
            .field("bucket", &self.bucket)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}
