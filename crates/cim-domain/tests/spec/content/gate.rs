//! A store whose buckets stop before an operation until the test lets it go on: races, one step at
//! a time.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use cim_domain::store::{
    Bucket, BucketCapabilities, BucketError, BucketName, BucketSettings, Context, Entry,
    EntryStream, EventLog, EventLogError, Health, Key, KeyStream, Revision, SharedSubscriptions,
    Store, SubjectPattern, WatchFrom, WriteOptions,
};
use tokio::sync::oneshot;

/// An operation on a key of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Get,
    Put,
    Create,
    Update,
    Purge,
    Entries,
}

/// Where an operation stops: the step, and what its bucket and key (or pattern) begin with.
#[derive(Debug)]
struct Stop {
    step: Step,
    at: String,
    reached: oneshot::Sender<()>,
    go: oneshot::Receiver<()>,
}

/// What a test holds in its hand.
#[derive(Debug)]
pub(crate) struct Stopped {
    reached: oneshot::Receiver<()>,
    go: oneshot::Sender<()>,
}

impl Stopped {
    /// Waits until the operation is there.
    pub(crate) async fn reached(&mut self) {
        (&mut self.reached).await.unwrap();
    }

    /// Lets it go on.
    pub(crate) fn go(self) {
        self.go.send(()).unwrap();
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    stops: Arc<Mutex<Vec<Stop>>>,
}

impl Gate {
    /// The next operation of this kind on `bucket/key…` stops before it does anything.
    pub(crate) fn stop(&self, step: Step, at: impl Into<String>) -> Stopped {
        let (reached, has_reached) = oneshot::channel();
        let (let_go, go) = oneshot::channel();
        self.stops.lock().unwrap().push(Stop {
            step,
            at: at.into(),
            reached,
            go,
        });
        Stopped {
            reached: has_reached,
            go: let_go,
        }
    }

    async fn pass(&self, step: Step, bucket: &BucketName, key: &str) {
        let place = format!("{bucket}/{key}");
        let stop = {
            let mut stops = self.stops.lock().unwrap();
            let here = stops
                .iter()
                .position(|stop| stop.step == step && place.starts_with(&stop.at));
            here.map(|index| stops.remove(index))
        };
        if let Some(stop) = stop {
            stop.reached.send(()).unwrap();
            stop.go.await.unwrap();
        }
    }
}

/// A store behind a gate.
#[derive(Debug)]
pub(crate) struct Gated {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) gate: Gate,
}

#[async_trait]
impl Store for Gated {
    fn log(&self) -> Arc<dyn EventLog> {
        self.inner.log()
    }

    fn shared_subscriptions(&self) -> Option<Arc<dyn SharedSubscriptions>> {
        self.inner.shared_subscriptions()
    }

    async fn bucket(
        &self,
        ctx: &Context,
        name: &BucketName,
        settings: BucketSettings,
    ) -> Result<Arc<dyn Bucket>, BucketError> {
        Ok(Arc::new(GatedBucket {
            inner: self.inner.bucket(ctx, name, settings).await?,
            gate: self.gate.clone(),
        }))
    }

    async fn buckets(
        &self,
        ctx: &Context,
    ) -> Result<Vec<(BucketName, BucketSettings)>, BucketError> {
        self.inner.buckets(ctx).await
    }

    async fn health(&self, ctx: &Context) -> Result<Health, EventLogError> {
        self.inner.health(ctx).await
    }

    async fn close(&self) -> Result<(), EventLogError> {
        self.inner.close().await
    }
}

#[derive(Debug)]
struct GatedBucket {
    inner: Arc<dyn Bucket>,
    gate: Gate,
}

impl GatedBucket {
    async fn pass(&self, step: Step, key: &Key) {
        self.gate.pass(step, self.inner.name(), key.as_str()).await;
    }
}

#[async_trait]
impl Bucket for GatedBucket {
    fn name(&self) -> &BucketName {
        self.inner.name()
    }

    fn settings(&self) -> BucketSettings {
        self.inner.settings()
    }

    async fn get(&self, ctx: &Context, key: &Key) -> Result<Option<Entry>, BucketError> {
        self.pass(Step::Get, key).await;
        self.inner.get(ctx, key).await
    }

    async fn put(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        self.pass(Step::Put, key).await;
        self.inner.put(ctx, key, value, options).await
    }

    async fn create(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        self.pass(Step::Create, key).await;
        self.inner.create(ctx, key, value, options).await
    }

    async fn update(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        expected: Revision,
        options: WriteOptions,
    ) -> Result<Revision, BucketError> {
        self.pass(Step::Update, key).await;
        self.inner.update(ctx, key, value, expected, options).await
    }

    async fn delete(
        &self,
        ctx: &Context,
        key: &Key,
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError> {
        self.inner.delete(ctx, key, expected).await
    }

    async fn purge(
        &self,
        ctx: &Context,
        key: &Key,
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError> {
        self.pass(Step::Purge, key).await;
        self.inner.purge(ctx, key, expected).await
    }

    async fn keys(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
    ) -> Result<KeyStream, BucketError> {
        self.inner.keys(ctx, pattern).await
    }

    async fn entries(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
    ) -> Result<EntryStream, BucketError> {
        let name = self.inner.name();
        self.gate.pass(Step::Entries, name, pattern.as_str()).await;
        self.inner.entries(ctx, pattern).await
    }

    async fn history(&self, ctx: &Context, key: &Key) -> Result<Vec<Entry>, BucketError> {
        self.inner.history(ctx, key).await
    }

    async fn watch(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
        from: WatchFrom,
    ) -> Result<EntryStream, BucketError> {
        self.inner.watch(ctx, pattern, from).await
    }

    fn capabilities(&self) -> BucketCapabilities {
        self.inner.capabilities()
    }
}
