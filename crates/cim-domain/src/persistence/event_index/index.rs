//! The index, as applications see it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cim_store::{
    Bucket, BucketSettings, Context, CorrelationId, EventLog, Position, RecordedEvent, Store,
    StreamId, TimeBasis, TimeRange,
};
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::entry::Sought;
use super::error::IndexError;
use super::follower::Follower;
use super::inner::Inner;
use super::query::{Answer, IndexQuery, IndexedEvents, by_stored_at, into_stream};
use super::settings::IndexSettings;
use super::shelf::Shelf;

/// Leads from a correlation id, a tag or a time to the events of the log, without a scan.
///
/// Clones share what is in memory.
///
/// ```
/// use cim_domain::persistence::event_index::{EventIndex, IndexSettings};
/// use cim_domain::prelude::*;
/// use cim_domain::store::{CorrelationId, EventLogExt as _, ExpectedVersion, NewEvent, StreamId};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let store = cim_domain::open("memory:").await?;
/// let index = EventIndex::open(&*store, IndexSettings::default()).await?;
///
/// let conversation = CorrelationId::from_uuid(uuid::Uuid::from_u128(7));
/// let ctx = Context::new().with_correlation_id(conversation);
/// for (aggregate, happened) in [("order", "order_placed"), ("invoice", "invoice_sent")] {
///     let stream = StreamId::new("sales", aggregate, "1")?;
///     let event = NewEvent::json(happened, &())?;
///     store.log().append_to(&ctx, &stream, ExpectedVersion::NEW, vec![event]).await?;
/// }
///
/// let events = index.read_by_correlation(&ctx, conversation).await?;
/// let types: Vec<_> = events.iter().map(|event| event.event_type.as_str()).collect();
/// assert_eq!(types, ["order_placed", "invoice_sent"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What an answer has
/// Everything that was acknowledged before it was asked for, in the order of the log, each event
/// once, commits whole. Events that a truncation gave up are in no answer: an archive holds them.
///
/// # Where the bucket refuses to be written to
/// Answers go on to have everything: what is taken in stays in memory, up to eight times
/// `newest_entries`, and is written once the bucket allows it, which is tried now and then as more
/// comes. Where there is no room for more, questions that have something new to take in fail with
/// `Bucket` until then. [`IndexStatus::failed_writes`] counts.
///
/// # Cost
/// An answer asks the log once for what is new, and meanwhile reads the events that entries lead to.
/// On a cluster the questions for both leave together where the blocks are in memory, so that they
/// take one round trip; each level of blocks that is not takes one more before, and what is new
/// a read of the log after. Only what is new is read from the log:
/// the first answer after opening reads what no process wrote yet, and the very first one reads the
/// whole log, unless [`catch_up`](Self::catch_up) was called before.
#[derive(Clone)]
pub struct EventIndex {
    inner: Arc<Inner>,
}

/// How an index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexStatus {
    /// Events up to here were taken in.
    pub position: Position,
    /// Events up to here are written in the bucket; those behind it are in memory.
    pub written: Position,
    /// Events up to here are not in it, because the log gave them up.
    pub begins_after: Position,
    /// Entries in the bucket.
    pub entries: u64,
    /// Entries in memory.
    pub newest_entries: u64,
    /// Sorted parts that a look into it touches.
    pub runs: usize,
    /// Blocks in the bucket.
    pub blocks: u64,
    /// Bytes of blocks in memory.
    pub cached_bytes: u64,
    /// How often this process threw away what there was and began anew.
    pub rebuilt: u64,
    /// How often the newest entries could not be written into the bucket. They stay in memory.
    pub failed_writes: u64,
}

impl EventIndex {
    /// Opens the index of a store, in the bucket that the settings name, and makes it where there is
    /// none. It reads a little: what stands in the bucket is compared with the log. What there is to
    /// take in is taken in with the first question, or by [`catch_up`](Self::catch_up).
    ///
    /// # Errors
    /// `InvalidSettings`; `Bucket` and `Log` where they can't be read.
    pub async fn open(store: &dyn Store, settings: IndexSettings) -> Result<Self, IndexError> {
        let name = settings.check()?;
        let ctx = Context::new();
        let bucket = store.bucket(&ctx, &name, BucketSettings::default()).await?;
        Self::over(store.log(), bucket, settings).await
    }

    /// Opens an index over a log in a bucket, which must be used for nothing else and keep its values
    /// for ever. The name in the settings is not looked at.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use cim_domain::persistence::event_index::{EventIndex, IndexSettings};
    /// use cim_domain::store::{BucketName, BucketSettings, Context, Position};
    ///
    /// // The log of one store, the index in another: beside a log that may only be read, say.
    /// let logs = cim_domain::open("memory:").await?;
    /// let own = cim_domain::open("memory:").await?;
    /// let name = BucketName::new("index-of-sales")?;
    /// let bucket = own.bucket(&Context::new(), &name, BucketSettings::default()).await?;
    /// let index = EventIndex::over(logs.log(), bucket, IndexSettings::default()).await?;
    /// assert_eq!(index.status().position, Position::NONE);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn over(
        log: Arc<dyn EventLog>,
        bucket: Arc<dyn Bucket>,
        settings: IndexSettings,
    ) -> Result<Self, IndexError> {
        settings.check()?;
        let shelf = Shelf::new(bucket, settings.cache_bytes);
        let inner = Arc::new(Inner::new(log, shelf, settings));
        inner.load(&Context::new()).await?;
        Ok(Self { inner })
    }

    #[cfg(test)]
    pub(super) fn of(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// All events of a conversation, whichever aggregates they are of.
    ///
    /// # Errors
    /// `Log`, `Bucket`.
    pub async fn read_by_correlation(
        &self,
        ctx: &Context,
        correlation_id: CorrelationId,
    ) -> Result<Vec<RecordedEvent>, IndexError> {
        self.read_all(ctx, IndexQuery::correlation(correlation_id))
            .await
    }

    /// All events that have a tag.
    ///
    /// # Errors
    /// `InvalidTag` where no event can have it; `Log`, `Bucket`.
    pub async fn read_by_tag(
        &self,
        ctx: &Context,
        tag: &str,
    ) -> Result<Vec<RecordedEvent>, IndexError> {
        self.read_all(ctx, IndexQuery::tag(tag)?).await
    }

    /// The streams that have an event with a tag, in the order of the first of these events.
    ///
    /// # Errors
    /// As [`read_by_tag`](Self::read_by_tag).
    pub async fn streams_by_tag(
        &self,
        ctx: &Context,
        tag: &str,
    ) -> Result<Vec<StreamId>, IndexError> {
        let mut events = self.read(ctx, IndexQuery::tag(tag)?).await?;
        let (mut seen, mut streams) = (std::collections::HashSet::new(), Vec::new());
        while let Some(event) = events.try_next().await? {
            if seen.insert(event.stream.clone()) {
                streams.push(event.stream);
            }
        }
        Ok(streams)
    }

    /// The events from one time, inclusive, to another, exclusive, in the order of the log: by the
    /// time at which they happened, through the index; by the one at which they were stored, through
    /// the log, which seeks.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_by_time_range(
        &self,
        ctx: &Context,
        range: TimeRange,
    ) -> Result<IndexedEvents, IndexError> {
        self.read(ctx, IndexQuery::time(range)).await
    }

    /// All events that a query means. For answers that fit into memory.
    ///
    /// # Errors
    /// `Log`, `Bucket`.
    pub async fn read_all(
        &self,
        ctx: &Context,
        query: IndexQuery,
    ) -> Result<Vec<RecordedEvent>, IndexError> {
        if is_by_stored_at(&query).is_some() {
            return self.read(ctx, query).await?.try_collect().await;
        }
        let (mut events, rest) = Answer::begin(Arc::clone(&self.inner), ctx.clone(), query).await?;
        rest.append_rest(&mut events).await?;
        self.inner.merge_if_wanted();
        Ok(events)
    }

    /// The events that a query means, read page by page as they are asked for. What is stored after
    /// this call is not among them.
    ///
    /// # Errors
    /// `Log`, `Bucket`; also as the last item of the stream.
    pub async fn read(
        &self,
        ctx: &Context,
        query: IndexQuery,
    ) -> Result<IndexedEvents, IndexError> {
        if let Some(range) = is_by_stored_at(&query) {
            return by_stored_at(&self.inner, ctx, query, range).await;
        }
        let (first, rest) = Answer::begin(Arc::clone(&self.inner), ctx.clone(), query).await?;
        self.inner.merge_if_wanted();
        Ok(into_stream(first, rest).boxed())
    }

    /// Takes in everything that was acknowledged before, and merges what is to be merged. What is
    /// left in memory is not written; [`persist`](Self::persist) does that.
    ///
    /// # Errors
    /// `Log`, `Bucket`.
    pub async fn catch_up(&self, ctx: &Context) -> Result<(), IndexError> {
        self.inner.freshen(ctx).await?;
        self.inner.merge(ctx).await
    }

    /// Takes in everything that was acknowledged before, and writes it into the bucket, so that
    /// whoever opens the index next has to read nothing of it from the log.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use cim_domain::persistence::event_index::{EventIndex, IndexSettings};
    /// use cim_domain::store::{Context, EventLogExt as _, ExpectedVersion, NewEvent, Position, StreamId};
    ///
    /// let (store, ctx) = (cim_domain::open("memory:").await?, Context::new());
    /// let index = EventIndex::open(&*store, IndexSettings::default()).await?;
    /// let order = StreamId::new("sales", "order", "7")?;
    /// let placed = NewEvent::json("order_placed", &())?;
    /// store.log().append_to(&ctx, &order, ExpectedVersion::NEW, vec![placed]).await?;
    /// assert_eq!(index.lag(&ctx).await?, 1);
    ///
    /// index.catch_up(&ctx).await?; // taken in, and in memory
    /// assert_eq!(index.lag(&ctx).await?, 0);
    /// assert_eq!(index.status().written, Position::NONE);
    ///
    /// index.persist(&ctx).await?; // and in the bucket
    /// assert_eq!(index.status().written, Position::new(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `Log`, `Bucket`.
    pub async fn persist(&self, ctx: &Context) -> Result<(), IndexError> {
        self.inner.freshen(ctx).await?;
        self.inner.persist(ctx).await?;
        self.inner.merge(ctx).await
    }

    /// Starts a task that takes in events as they are stored, so that questions find nothing new to
    /// take in. It needs a tokio runtime.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn follow(&self) -> Follower {
        Follower::begin(Arc::clone(&self.inner))
    }

    /// How the index is in this process. It asks nobody.
    pub fn status(&self) -> IndexStatus {
        let state = self.inner.state();
        let runs = &state.manifest.runs;
        IndexStatus {
            position: state.reached(),
            written: state.manifest.reached(),
            begins_after: state.manifest.begins_after,
            entries: runs.iter().map(|run| run.entries).sum(),
            newest_entries: state.newest.len() as u64,
            runs: runs.len(),
            blocks: runs.iter().map(|run| u64::from(run.blocks)).sum(),
            cached_bytes: self.inner.shelf.cached_bytes() as u64,
            rebuilt: self.inner.rebuilt(),
            failed_writes: self.inner.failed_writes.load(Ordering::Relaxed),
        }
    }

    /// How far the log's end is ahead of what was taken in, in positions. On NATS this takes the
    /// longer the more streams there are.
    ///
    /// # Errors
    /// `Log`.
    pub async fn lag(&self, ctx: &Context) -> Result<u64, IndexError> {
        let last = self.inner.log.stats(ctx).await?.last;
        Ok(last.get().saturating_sub(self.status().position.get()))
    }
}

impl fmt::Debug for EventIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventIndex")
            .field("bucket", self.inner.shelf.bucket().name())
            .field("log", &self.inner.log)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

fn is_by_stored_at(query: &IndexQuery) -> Option<TimeRange> {
    match &query.sought {
        Sought::Time(range) if range.basis == TimeBasis::StoredAt => Some(*range),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cim_store::SystemClock;
    use std::time::Duration;

    #[tokio::test]
    async fn waiting_for_somebody_who_takes_in_events_ends_at_the_deadline() {
        let store = crate::open("memory:").await.unwrap();
        let index = EventIndex::open(&*store, IndexSettings::default())
            .await
            .unwrap();
        let somebody = index.inner.taking.lock().await;
        let ctx = Context::new().with_timeout(&SystemClock, Duration::from_millis(20));
        for error in [
            index.catch_up(&ctx).await.unwrap_err(),
            index.persist(&ctx).await.unwrap_err(),
        ] {
            let IndexError::Log(error) = error else {
                panic!("{error}")
            };
            assert_eq!(error.fault(), Some(cim_store::Fault::Unavailable));
        }
        drop(somebody);
        let ctx = Context::new();
        index.catch_up(&ctx).await.unwrap();
    }

    #[tokio::test]
    async fn waiting_for_somebody_who_merges_or_is_at_the_manifest_ends_at_the_deadline() {
        let store = crate::open("memory:").await.unwrap();
        let index = EventIndex::open(&*store, IndexSettings::default())
            .await
            .unwrap();
        let ctx = || Context::new().with_timeout(&SystemClock, Duration::from_millis(20));
        let is_over = |error| {
            let IndexError::Log(error) = error else {
                panic!("{error}")
            };
            assert_eq!(error.fault(), Some(cim_store::Fault::Unavailable));
        };
        let somebody = index.inner.merging.lock().await;
        is_over(index.catch_up(&ctx()).await.unwrap_err());
        drop(somebody);
        let somebody = index.inner.publishing(&Context::new()).await.unwrap();
        is_over(index.inner.load(&ctx()).await.unwrap_err());
        drop(somebody);
        index.catch_up(&ctx()).await.unwrap();
    }
}
