//! Opening and closing a store.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use cim_store::{
    Bucket, BucketError, BucketName, BucketSettings, Context, EventLog, EventLogError, Finding,
    Health, Severity, SharedSubscriptions, Store,
};
use tokio::sync::{mpsc, oneshot};

use crate::EmbeddedSettings;
use crate::buckets::BUCKETS;
use crate::buckets::catalog::Catalog;
use crate::buckets::expiry::{Expiries, Watchers};
use crate::buckets::port::EmbeddedBucket;
use crate::buckets::reader::Reader;
use crate::buckets::writer::{self, BucketWriter};
use crate::directory::{Directory, FORMAT};
use crate::error::EngineError;
use crate::events::EVENTS;
use crate::events::catch_up::{catch_up, index_carried};
use crate::events::head_cache::HeadCache;
use crate::events::log::EmbeddedLog;
use crate::events::truncate::open_carried;
use crate::events::writer::EventWriter;
use crate::index::Index;
use crate::index::manifest::IndexSetting;
use crate::inspection::Inspection;
use crate::journal::mark::Reached;
use crate::journal::recovery::{self, TornTail};
use crate::journal::writer::JournalWriter;
use crate::journal::{Family, Journal, Setting, State};
use crate::keeper::Keeper;
use crate::writer_thread::{Asked, serve};

/// Requests that wait for the writer. Whoever comes later waits for a place.
const QUEUE: usize = 1_024;

/// A store in one directory, without a server. Clones are the same store.
///
/// One process at a time has it open. When the last clone and port of it is dropped, it closes by
/// itself; [`close`](Store::close) also waits for the end and reports what went wrong.
///
/// ```
/// use cim_store::{Context, EventLogExt, ExpectedVersion, NewEvent, Store, StreamId};
/// use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("data");
/// let store = EmbeddedStore::open(&path, EmbeddedSettings::default()).await?;
/// let stream = StreamId::new("sales", "order", "7")?;
/// let placed = NewEvent::json("order_placed", &serde_json::json!({ "total": 12 }))?;
/// store.log().append_to(&Context::new(), &stream, ExpectedVersion::NEW, vec![placed]).await?;
/// store.close().await?;
///
/// // A service says where its data is, and what a crash left to be done when it was opened.
/// let store = EmbeddedStore::open(&path, EmbeddedSettings::default().must_exist()).await?;
/// let report = store.open_report();
/// if !report.is_quiet() {
///     eprintln!("{}: {report}", store.directory().display());
/// }
/// # assert!(report.is_quiet());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
}

struct Shared {
    log: Arc<EmbeddedLog>,
    buckets: Arc<writer::Shared>,
    bucket_requests: mpsc::Sender<Asked<writer::Request>>,
    report: OpenReport,
    directory: PathBuf,
}

/// What opening a store had to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenReport {
    /// Ends of writes that were never acknowledged, which were cut off.
    pub torn_tails: Vec<TornTail>,
    /// Why indexes were made anew from the log, if they were.
    pub rebuilt_indexes: Vec<String>,
    /// Records that had to be read because an index did not reach them.
    pub caught_up: u64,
}

impl OpenReport {
    /// Whether there is nothing to tell.
    pub fn is_quiet(&self) -> bool {
        self.torn_tails.is_empty() && self.rebuilt_indexes.is_empty()
    }
}

impl fmt::Display for OpenReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for torn in &self.torn_tails {
            writeln!(f, "{torn}")?;
        }
        for reason in &self.rebuilt_indexes {
            writeln!(f, "made an index anew: {reason}")?;
        }
        Ok(())
    }
}

impl EmbeddedStore {
    /// Opens the store in a directory; makes it where there is none.
    ///
    /// # Errors
    /// `Unavailable` where another process has it open, or the system refuses something;
    /// `Invalid` where the directory is something else; `Unsupported` where its format is newer;
    /// `NotFound` where there is no store and none is to be made; `Integrity` where it is damaged.
    pub async fn open(
        directory: impl AsRef<Path>,
        settings: EmbeddedSettings,
    ) -> Result<Self, EventLogError> {
        let directory = directory.as_ref().to_owned();
        on_a_thread("cim-open", move || {
            Self::open_blocking(&directory, settings)
        })
        .await
    }

    /// Looks at the store in a directory without opening it: also at one that is damaged, so that
    /// [`open`](Self::open) refuses it. Nothing on the disk is changed, and nothing is recovered.
    ///
    /// Of the settings the clock and the disk count. The directory must be readable; it need not be
    /// writable.
    ///
    /// # Errors
    /// `Unavailable` where a process has it open, or the system refuses something; `NotFound` where
    /// there is no store; `Invalid` where the directory is something else; `Unsupported` where its
    /// format is newer; `Integrity` where not even `cim-store.json` can be read.
    pub async fn inspect(
        directory: impl AsRef<Path>,
        settings: EmbeddedSettings,
    ) -> Result<Inspection, EventLogError> {
        Inspection::open(directory.as_ref(), settings).await
    }

    fn open_blocking(path: &Path, settings: EmbeddedSettings) -> Result<Self, EngineError> {
        let disk = &*settings.disk;
        let directory = Directory::open(disk, path, settings.must_exist, &*settings.ids)?;
        let mut report = OpenReport::default();
        let events = journal_setting(&directory, &settings, EVENTS);
        let buckets = journal_setting(&directory, &settings, BUCKETS);
        if directory.fresh {
            recovery::create(&events)?;
            recovery::create(&buckets)?;
            Catalog::create(&buckets)?;
            directory.mark_ready(disk)?;
        }
        let path = directory.path.clone();
        let directory = Arc::new(directory);
        let log = open_log(events, &settings, Arc::clone(&directory), &mut report)?;
        let opened = open_buckets(buckets, &settings, directory, &mut report);
        if opened.is_err() {
            // Also the lock must be free again when the error is known.
            let (answer, stopped) = oneshot::channel();
            if log.requests.blocking_send(Asked::Stop(answer)).is_ok() {
                let _ = stopped.blocking_recv();
            }
        }
        let (buckets, bucket_requests) = opened?;
        let shared = Shared {
            log,
            buckets,
            bucket_requests,
            report,
            directory: path,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    fn check(&self, ctx: &Context, operation: &str) -> Result<(), BucketError> {
        if self.shared.bucket_requests.is_closed() {
            let journal = &self.shared.buckets.reader.journal;
            return Err(journal.closed().unwrap_or_else(EngineError::closed).into());
        }
        if ctx.is_expired(&*self.shared.buckets.clock) {
            return Err(BucketError::deadline_passed(operation));
        }
        Ok(())
    }

    /// What opening had to do.
    pub fn open_report(&self) -> &OpenReport {
        &self.shared.report
    }

    /// The directory, as an absolute path.
    pub fn directory(&self) -> &Path {
        &self.shared.directory
    }
}

/// Does what reads files on a thread of its own, not one of the runtime's.
pub(crate) async fn on_a_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EventLogError> {
    let (sender, done) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || sender.send(work()).is_ok())
        .map_err(|error| EventLogError::unavailable("can't start a thread").with_source(error))?;
    match done.await {
        Ok(result) => result.map_err(EventLogError::from),
        Err(_) => Err(EventLogError::unavailable(
            "the thread that opens the store ended",
        )),
    }
}

pub(crate) fn journal_setting(
    directory: &Directory,
    settings: &EmbeddedSettings,
    family: Family,
) -> Setting {
    Setting {
        disk: Arc::clone(&settings.disk),
        directory: directory.path.join(family.name),
        family,
        store: *directory.store.as_bytes(),
        salt: directory.salt(),
        segment_bytes: settings.segment_bytes,
        accept_end: settings.accept_end,
    }
}

fn open_log(
    setting: Setting,
    settings: &EmbeddedSettings,
    directory: Arc<Directory>,
    report: &mut OpenReport,
) -> Result<Arc<EmbeddedLog>, EngineError> {
    let recovered = recovery::open(setting)?;
    let state = recovered.state.clone();
    open_carried(&recovered.journal, &state)?;
    report.torn_tails.extend(recovered.torn.clone());
    let (journal, writer) = JournalWriter::new(recovered)?;
    let index = open_index(&journal, &state, settings, report, |journal, index| {
        index_carried(journal, index, false)?;
        index.set_carried(state.carried.clone());
        Ok(())
    })?;
    report.caught_up += catch_up(&journal, &index)?;
    let index = Arc::new(index);
    let keeper = start_keeper(&journal, &index)?;
    let (requests, queue) = mpsc::channel(QUEUE);
    let truncated_through = Arc::new(AtomicU64::new(state.truncated_through));
    let clock = Arc::clone(&settings.clock);
    let heads = Arc::new(HeadCache::new());
    let shared = (
        Arc::clone(&index),
        Arc::clone(&heads),
        Arc::clone(&truncated_through),
    );
    let writer = EventWriter::new(writer, shared, keeper, Arc::clone(&clock), state, directory);
    std::thread::Builder::new()
        .name("cim-events".into())
        .spawn(move || serve(writer, queue))
        .map_err(EngineError::io(
            "start the writer of",
            &journal.setting.directory,
        ))?;
    let ids = Arc::clone(&settings.ids);
    Ok(Arc::new(EmbeddedLog {
        journal,
        index,
        heads,
        requests,
        truncated_through,
        clock,
        ids,
    }))
}

fn open_buckets(
    setting: Setting,
    settings: &EmbeddedSettings,
    directory: Arc<Directory>,
    report: &mut OpenReport,
) -> Result<(Arc<writer::Shared>, mpsc::Sender<Asked<writer::Request>>), EngineError> {
    let catalog = Catalog::open(&setting)?;
    let recovered = recovery::open(setting)?;
    let state = recovered.state.clone();
    report.torn_tails.extend(recovered.torn.clone());
    let (journal, writer) = JournalWriter::new(recovered)?;
    let index = open_index(&journal, &state, settings, report, |_, _| Ok(()))?;
    report.caught_up += crate::buckets::catch_up::catch_up(&journal, &index)?;
    let index = Arc::new(index);
    let keeper = start_keeper(&journal, &index)?;
    let (requests, queue) = mpsc::channel(QUEUE);
    let shared = Arc::new(writer::Shared {
        reader: Reader {
            journal: Arc::clone(&journal),
            index,
        },
        catalog,
        expiries: Expiries::default(),
        watchers: Watchers::default(),
        clock: Arc::clone(&settings.clock),
    });
    let writer = BucketWriter::new(Arc::clone(&shared), writer, keeper, state, directory);
    std::thread::Builder::new()
        .name("cim-buckets".into())
        .spawn(move || serve(writer, queue))
        .map_err(EngineError::io(
            "start the writer of",
            &journal.setting.directory,
        ))?;
    Ok((shared, requests))
}

fn start_keeper(journal: &Journal, index: &Arc<Index>) -> Result<Keeper, EngineError> {
    Keeper::start(journal.setting.family.name, Arc::clone(index)).map_err(EngineError::io(
        "start the keeper of",
        &journal.setting.directory,
    ))
}

/// Opens a journal's index; where it does not check or does not fit the journal, an empty one
/// takes its place and `begin` puts in what does not stand in the journal.
fn open_index(
    journal: &Journal,
    state: &State,
    settings: &EmbeddedSettings,
    report: &mut OpenReport,
    begin: impl FnOnce(&Journal, &Index) -> Result<(), EngineError>,
) -> Result<Index, EngineError> {
    let setting = IndexSetting {
        disk: Arc::clone(&settings.disk),
        directory: journal.setting.path("index"),
        salt: journal.setting.salt,
        fresh_entries: settings.fresh_entries,
    };
    let fits = |index: &Index| {
        let (reached, end) = (index.reached(), journal.reached());
        let number = reached.end.segment();
        // What counted of a segment of buckets was written again behind it, so an index that
        // reached only there goes on with the oldest segment.
        let moved = journal.setting.family == BUCKETS && number < journal.first_segment();
        let placed = journal.segment(number).map_or(moved, |segment| {
            u64::from(reached.end.offset()) <= segment.end()
        });
        placed && reached.end <= end.end && index.carried() == state.carried
    };
    let reason = match Index::open(setting.clone()) {
        Ok(index) if fits(&index) => return Ok(index),
        Ok(_) => "it does not fit the log".to_owned(),
        Err(error) => error.to_string(),
    };
    let segments = journal.segments();
    let start = segments.first().map_or_else(
        || journal.reached(),
        |first| Reached {
            end: first.place(crate::journal::segment::FIRST_OFFSET),
            group: first.header.first_group - 1,
            sequence: first.header.first_sequence - 1,
            stored_at: first.header.stored_at,
        },
    );
    if journal.reached().sequence > 0 {
        report.rebuilt_indexes.push(reason);
    }
    let index = Index::create(setting, start)?;
    begin(journal, &index)?;
    Ok(index)
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore")
            .field("directory", &self.directory())
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for EmbeddedStore {
    fn log(&self) -> Arc<dyn EventLog> {
        Arc::clone(&self.shared.log) as Arc<dyn EventLog>
    }

    fn shared_subscriptions(&self) -> Option<Arc<dyn SharedSubscriptions>> {
        None
    }

    async fn bucket(
        &self,
        ctx: &Context,
        name: &BucketName,
        settings: BucketSettings,
    ) -> Result<Arc<dyn Bucket>, BucketError> {
        self.check(ctx, "opening a bucket")?;
        let number = self.shared.buckets.catalog.open_bucket(name, settings)?;
        Ok(Arc::new(EmbeddedBucket {
            shared: Arc::clone(&self.shared.buckets),
            requests: self.shared.bucket_requests.clone(),
            number,
            name: name.clone(),
            settings,
        }))
    }

    async fn buckets(
        &self,
        ctx: &Context,
    ) -> Result<Vec<(BucketName, BucketSettings)>, BucketError> {
        self.check(ctx, "listing the buckets")?;
        self.shared.buckets.catalog.list()
    }

    async fn health(&self, ctx: &Context) -> Result<Health, EventLogError> {
        let log = self.log();
        let stats = log.stats(ctx).await?;
        let directory = self.directory();
        let mut health = Health::new()
            .with_fact("directory", directory.display())
            .with_fact("format", FORMAT)
            .with_fact("durability", log.capabilities().durability)
            .with_fact("events", stats.events)
            .with_fact("streams", stats.streams)
            .with_fact("last position", stats.last)
            .with_fact("bytes of events", stats.bytes);
        health = match self.shared.buckets.catalog.list() {
            Ok(buckets) => health.with_fact("buckets", buckets.len()),
            Err(error) => health.with_finding(Finding::new(
                Severity::Problem,
                error.to_string(),
                "restore the store from a backup",
            )),
        };
        if let Ok(disk) = rustix::fs::statvfs(directory) {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            health = health.with_fact("bytes free on the disk", free);
            if free < LITTLE_SPACE {
                health = health.with_finding(little_space(free));
            }
        }
        for journal in [
            &self.shared.log.journal,
            &self.shared.buckets.reader.journal,
        ] {
            if let Some(closed) = journal.closed() {
                health = health.with_finding(stopped_writing(journal.setting.family.name, &closed));
            }
        }
        for done in self.shared.report.to_string().lines() {
            health = health.with_finding(Finding::new(
                Severity::Note,
                format!("opening the store {done}"),
                "nothing: no acknowledged event was touched",
            ));
        }
        Ok(health)
    }

    async fn close(&self) -> Result<(), EventLogError> {
        let log = stop(&self.shared.log.requests).await;
        let buckets = stop(&self.shared.bucket_requests).await;
        log.and(buckets).map_err(EventLogError::from)
    }
}

/// Too little room for the segments that are made next.
const LITTLE_SPACE: u64 = 1 << 30;

fn little_space(free: u64) -> Finding {
    let what = format!("the disk has only {} MiB of room left", free >> 20);
    Finding::new(
        Severity::Warning,
        what,
        "make room: a full disk refuses appends, and nothing that is stored is given up for them",
    )
}

fn stopped_writing(family: &str, closed: &EngineError) -> Finding {
    Finding::new(
        Severity::Problem,
        format!("{family} can only be read, not written: {closed}"),
        "look for errors of the disk, then close the store and open it again; what was \
         acknowledged is stored",
    )
}

/// Has a writer stop after everything that was asked before, and waits for it.
async fn stop<R>(requests: &mpsc::Sender<Asked<R>>) -> Result<(), EngineError> {
    let (answer, stopped) = oneshot::channel();
    if requests.send(Asked::Stop(answer)).await.is_err() {
        return Ok(()); // it is closed already
    }
    stopped.await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(directory: &Path) -> EmbeddedStore {
        EmbeddedStore::open(directory, EmbeddedSettings::default())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn health_says_where_the_store_is_and_at_which_durability() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path()).await;
        let health = store.health(&Context::new()).await.unwrap();
        let path = directory.path().to_str();
        assert_eq!(health.fact("directory"), path);
        assert_eq!(health.fact("durability"), Some("flushed to disk"));
        assert_eq!(health.fact("events"), Some("0"));
        assert!(health.is_healthy());
    }

    #[tokio::test]
    async fn a_store_that_stopped_writing_is_unhealthy_and_says_why() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path()).await;
        let journal = &store.shared.log.journal;
        journal.close(Some("the disk failed".to_owned()));
        let health = store.health(&Context::new()).await.unwrap();
        assert!(!health.is_healthy());
        let what = &health.findings[0].what;
        assert!(what.starts_with("events can only be read"), "{what}");
        assert!(what.ends_with("because the disk failed"), "{what}");
    }

    #[tokio::test]
    async fn a_store_that_was_closed_says_nothing_of_its_health() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path()).await;
        store.close().await.unwrap();
        let error = store.health(&Context::new()).await.unwrap_err();
        assert_eq!(error.fault(), Some(cim_store::Fault::Closed));
    }
}
