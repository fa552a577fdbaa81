//! Runs commands in this process, against one memory store.

use std::sync::Arc;

use async_trait::async_trait;
use cim_cli::{Environment, ExitCode, Failure, Interrupt, OpenStore, StoreAddress, StoreMode, Ui};
use cim_store::memory::MemoryStore;
use cim_store::{
    Bucket, BucketError, BucketName, BucketSettings, Context, EventLog, EventLogError, Health,
    ManualClock, SequentialIds, SharedSubscriptions, Store,
};
use tokio::sync::watch;

/// One store, and commands that run against it.
#[derive(Debug)]
pub(crate) struct Workbench {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) store: Arc<dyn Store>,
    environment: Environment,
    pub(crate) interrupt: Arc<watch::Sender<bool>>,
}

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: ExitCode,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Everything, for a snapshot.
    pub(crate) fn show(&self) -> String {
        let mut text = self.out.clone();
        if !self.err.is_empty() {
            text.push_str("--- standard error\n");
            text.push_str(&self.err);
        }
        if self.code != ExitCode::Ok {
            text.push_str(&format!("--- code {}\n", self.code.number()));
        }
        text
    }

    /// Fails unless it ended well; gives the results.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, ExitCode::Ok, "{}", self.show());
        self.out
    }
}

impl Workbench {
    pub(crate) fn new() -> Self {
        Self::with_log(|log, _| log)
    }

    /// The commands' log is what `wrap` makes of the memory store's.
    pub(crate) fn with_log(
        wrap: impl FnOnce(Arc<dyn EventLog>, Arc<watch::Sender<bool>>) -> Arc<dyn EventLog>,
    ) -> Self {
        Self::of(None, wrap)
    }

    /// A store that says this of its health.
    pub(crate) fn with_health(health: Health) -> Self {
        Self::of(Some(health), |log, _| log)
    }

    fn of(
        health: Option<Health>,
        wrap: impl FnOnce(Arc<dyn EventLog>, Arc<watch::Sender<bool>>) -> Arc<dyn EventLog>,
    ) -> Self {
        let clock = Arc::new(ManualClock::at("2026-11-20T10:15:00Z".parse().unwrap()));
        let store = MemoryStore::with(clock.clone(), Arc::new(SequentialIds::new(1)));
        let (sender, receiver) = watch::channel(false);
        let interrupt = Arc::new(sender);
        let log = wrap(store.log(), Arc::clone(&interrupt));
        let store = StaysOpen {
            store,
            log: Arc::clone(&log),
            health,
        };
        let store = Arc::new(store);
        let opener = Arc::new(OneStore(Arc::clone(&store)));
        Self {
            log,
            store,
            environment: Environment {
                opener,
                clock,
                interrupt: Interrupt::from_channel(receiver),
                state_directory: None,
            },
            interrupt,
        }
    }

    /// The same store behind another log.
    pub(crate) fn rewrapped(
        &self,
        wrap: impl FnOnce(Arc<dyn EventLog>) -> Arc<dyn EventLog>,
    ) -> Self {
        let log = wrap(Arc::clone(&self.log));
        Self::with_log(|_, _| log)
    }

    /// Runs `cim` with these arguments.
    pub(crate) async fn run(&self, args: &[&str]) -> Ended {
        run_in(&self.environment, args).await
    }
}

/// Runs `cim` with these arguments.
pub(crate) async fn run_in(environment: &Environment, args: &[&str]) -> Ended {
    let (mut ui, captured) = Ui::captured();
    let args = std::iter::once(&"cim").chain(args);
    let code = cim_cli::run(args, &mut ui, environment).await;
    Ended {
        code,
        out: captured.out(),
        err: captured.err(),
    }
}

/// Opens the same store every time.
#[derive(Debug)]
struct OneStore(Arc<StaysOpen>);

#[async_trait]
impl OpenStore for OneStore {
    async fn open(&self, _: &StoreAddress, _: StoreMode) -> Result<Arc<dyn Store>, Failure> {
        Ok(Arc::<StaysOpen>::clone(&self.0))
    }
}

/// A store that a command can't close, so that the next one finds what is in it.
#[derive(Debug)]
struct StaysOpen {
    store: MemoryStore,
    log: Arc<dyn EventLog>,
    /// What it says of its health, where the memory store's own is not wanted.
    health: Option<Health>,
}

#[async_trait]
impl Store for StaysOpen {
    fn log(&self) -> Arc<dyn EventLog> {
        Arc::clone(&self.log)
    }

    fn shared_subscriptions(&self) -> Option<Arc<dyn SharedSubscriptions>> {
        self.store.shared_subscriptions()
    }

    async fn bucket(
        &self,
        ctx: &Context,
        name: &BucketName,
        settings: BucketSettings,
    ) -> Result<Arc<dyn Bucket>, BucketError> {
        self.store.bucket(ctx, name, settings).await
    }

    async fn buckets(
        &self,
        ctx: &Context,
    ) -> Result<Vec<(BucketName, BucketSettings)>, BucketError> {
        self.store.buckets(ctx).await
    }

    async fn health(&self, ctx: &Context) -> Result<Health, EventLogError> {
        match &self.health {
            Some(health) => Ok(health.clone()),
            None => self.store.health(ctx).await,
        }
    }

    async fn close(&self) -> Result<(), EventLogError> {
        Ok(())
    }
}
