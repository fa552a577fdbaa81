//! A store whose buckets stop before an operation until the test lets it go on: races, one step at
//! a time.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cim_domain::store::{
    Bucket, BucketError, BucketName, BucketSettings, Context, EventLog, EventLogError, Health,
    SharedSubscriptions, Store,
};
use tokio::sync::oneshot;

use crate::hooked_bucket::{Hook, HookedBucket, Step};

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
}

#[async_trait]
impl Hook for Gate {
    async fn before(&self, step: Step, bucket: &BucketName, key: &str) {
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
        let bucket = self.inner.bucket(ctx, name, settings).await?;
        Ok(HookedBucket::over(bucket, self.gate.clone()))
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
