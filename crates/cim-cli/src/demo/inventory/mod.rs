//! `cim demo inventory`: the lives of a few hundred resources, and the proof that they are what was
//! stored.
//!
//! ```text
//! lives    what becomes of each resource          fold     the same from the stored bytes alone
//! clerks   two who change one resource at once    checks   both sides compared
//! report   what is printed                       conversations  found by an index, and by a scan
//! ```
//!
//! The domain itself is the crate `cim-demo-inventory`.

mod checks;
mod clerks;
mod conversations;
mod fold;
mod lives;
mod report;

use std::sync::Arc;
use std::time::Duration;

use cim_demo_inventory::prelude::*;
use cim_demo_inventory::reaction::Reactions;
use cim_domain::RepositoryError;
use cim_domain::persistence::event_index::{EventIndex, IndexError, IndexSettings};
use cim_domain::persistence::snapshot::{
    SnapshotCodec, SnapshotError, SnapshotPolicy, SnapshotSettings, SnapshotStore,
};
use cim_domain::persistence::{AggregateCache, CacheSettings};
use cim_store::{Context, EventLogError, Position};
use cim_subject::SubjectError;
use clap::Args;
use futures_util::{StreamExt, TryStreamExt};

use self::lives::{Life, LifeError};
use self::report::{Lives, Report};
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::session::{Session, StoreMode};

/// How many resources live at the same time.
const AT_ONCE: usize = 32;

/// After how many events a resource gets a snapshot.
const EVENTS_A_SNAPSHOT: u64 = 10;

/// Where the index over the log is: in a bucket of the demo's own.
const INDEX: &str = "inventory-index";

/// Where snapshots are: in a bucket of the demo's own.
const SNAPSHOTS: SnapshotSettings<'static> = SnapshotSettings {
    bucket: "inventory-snapshots",
    keep: 2,
    ttl: None,
    codec: SnapshotCodec::Json,
    queue: 256,
    time_limit: Duration::from_secs(60),
};

/// Run an inventory of compute resources and prove what it says
///
/// Registers resources and moves them through their lives: each is a stream
/// (`infrastructure.compute.{id}`) with up to twelve kinds of events. Some were registered by an
/// earlier release, whose events are read in the shape of today. A policy mutes the alerts of what is
/// being maintained, no host name is given twice, and two clerks change the same resource at the
/// same moment.
///
/// Then it compares what the domain says with the stored bytes: the state of every resource, states at
/// earlier versions, the reactions, the host names, the chains, and who of the two clerks won. Ends
/// with code 6 at a difference. A second run goes on where the first one ended; after Ctrl-C, too.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim demo inventory
  cim demo inventory --resources 50 --store memory:
  cim demo inventory --store nats://localhost:4222
  cim log infrastructure.compute --limit 3")]
pub struct InventoryArgs {
    /// How many resources are in service
    #[arg(long, value_name = "COUNT", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    resources: u64,
    /// How many commands each of them gets in this run
    #[arg(long, value_name = "COUNT", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    commands: u32,
}

/// What ends the demo early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stopped {
    #[error(transparent)]
    Life(#[from] LifeError),
    #[error("the inventory could not be asked")]
    Inventory(#[from] InventoryError),
    #[error("a host name could not be asked for")]
    HostName(#[from] RepositoryError<HostNameTaken>),
    #[error("the snapshots can't be opened")]
    Snapshots(#[from] SnapshotError),
    #[error("the index could not be asked")]
    Index(#[from] IndexError),
    #[error(transparent)]
    Store(#[from] EventLogError),
    #[error(transparent)]
    Pattern(#[from] SubjectError),
    #[error("stopped; the next run continues there")]
    Interrupted,
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        let code = match &stopped {
            Stopped::Store(error) => ExitCode::of(error),
            Stopped::Interrupted => ExitCode::Interrupted,
            Stopped::Life(LifeError::Inventory { source, .. }) => code_of(&**source),
            Stopped::Inventory(source) => code_of(source),
            Stopped::HostName(source) => code_of(source),
            Stopped::Snapshots(SnapshotError::Store(error)) => ExitCode::of_bucket(error),
            Stopped::Index(IndexError::Log(error)) => ExitCode::of(error),
            Stopped::Index(IndexError::Bucket(error)) => ExitCode::of_bucket(error),
            Stopped::Index(_) | Stopped::Life(_) | Stopped::Pattern(_) | Stopped::Snapshots(_) => {
                ExitCode::Failure
            }
        };
        Self::new(code, stopped)
    }
}

fn code_of<E: std::error::Error>(error: &RepositoryError<E>) -> ExitCode {
    match error {
        RepositoryError::Store(error) => ExitCode::of(error),
        RepositoryError::VersionConflict { .. } => ExitCode::Conflict,
        RepositoryError::NotFound { .. } => ExitCode::NotFound,
        RepositoryError::Unknown { .. } => ExitCode::Unknown,
        RepositoryError::Integrity { .. } => ExitCode::Integrity,
        RepositoryError::Decode { .. } | RepositoryError::Rejected(_) => ExitCode::Invalid,
        _ => ExitCode::Failure,
    }
}

impl InventoryArgs {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        let clock = Arc::clone(&session.environment.clock);
        let store = session.open(StoreMode::Create).await?;
        let log = store.log();
        let snapshots = SnapshotStore::open(&*store, SNAPSHOTS).await;
        let snapshots = snapshots
            .map_err(Stopped::from)?
            .with_clock(Arc::clone(&clock));
        let inventory = Inventory::new(Arc::clone(&log))
            .with_clock(Arc::clone(&clock))
            .with_cache(&AggregateCache::new(CacheSettings::default()))
            .with_snapshots(
                snapshots.clone(),
                SnapshotPolicy::EveryEvents(EVENTS_A_SNAPSHOT),
            );
        let ctx = Context::new();

        let started = clock.monotonic();
        let mut lives = self.live(session, &inventory, &ctx).await?;
        let reactions = Reactions::new(inventory.clone()).map_err(Stopped::from)?;
        let rest = async {
            lives.reactions = reactions.catch_up(&ctx, Position::NONE).await?.commands;
            snapshots.settled().await;
            lives.snapshots = snapshots.stats().written;
            lives.elapsed = clock.monotonic().saturating_duration_since(started);
            let contest = clerks::contest(&inventory, &ctx, &lives.in_service).await?;
            let histories = fold::read(&*log, &ctx).await?;
            let index = IndexSettings::default().in_bucket(INDEX);
            let index = EventIndex::open(&*store, index).await?;
            let shown = report::History::read(&inventory, &ctx, &histories).await?;
            let checks = checks::run(&inventory, &ctx, &histories, &index, &contest).await?;
            Ok(Report::new(&lives, &histories, contest, shown, checks))
        };
        let report = tokio::select! {
            report = rest => report,
            () = session.environment.interrupt.wait() => Err(Stopped::Interrupted),
        }?;
        report.print(&mut *session.ui)?;
        if report.all_equal() {
            Ok(())
        } else {
            Err(Failure::reported(ExitCode::Integrity))
        }
    }

    /// Lets resources live, as many as are to be in service.
    async fn live(
        &self,
        session: &mut Session<'_>,
        inventory: &Inventory,
        ctx: &Context,
    ) -> Result<Lives, Stopped> {
        let interrupt = session.environment.interrupt.clone();
        let ui = &mut *session.ui;
        let mut progress = ui.progress("resources", self.resources);
        let (mut lives, mut next) = (Lives::default(), 0);
        // For each that is gone another one comes.
        while lives.in_service.len() as u64 + lives.gone_just_now < self.resources {
            let missing = self.resources - lives.in_service.len() as u64 - lives.gone_just_now;
            let batch = next..next + missing;
            next = batch.end;
            let lived = batch.map(|number| {
                let (life, interrupt) = (Life::new(number), interrupt.clone());
                async move {
                    let stop = || interrupt.is_set();
                    let lived = life.live(inventory, ctx, self.commands, stop).await;
                    lived.map(|lived| (life, lived))
                }
            });
            let mut lived = futures_util::stream::iter(lived).buffered(AT_ONCE);
            while let Some((life, lived)) = lived.try_next().await? {
                lives.count(life, lived);
                progress.set(ui, lives.in_service.len() as u64);
            }
            if interrupt.is_set() {
                return Err(Stopped::Interrupted);
            }
        }
        Ok(lives)
    }
}
