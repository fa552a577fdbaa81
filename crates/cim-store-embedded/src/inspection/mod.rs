//! A store that is looked at and not opened: for finding out what is left of a damaged one.
//!
//! Opening a store brings it to rest after a crash, and refuses it where it is damaged. An
//! inspection does neither. It changes nothing on the disk, and hands out whatever is there.

mod files;
mod heads;
mod log;
mod read_only;
mod report;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use cim_store::{
    Bucket, BucketError, BucketName, BucketSettings, Clock, Context, EventLog, EventLogError,
    Fault, Finding, Health, PortError, PortErrorKind, Severity, SharedSubscriptions, Store,
};

use crate::EmbeddedSettings;
use crate::directory::{Directory, FORMAT};
use crate::error::EngineError;
use crate::events::EVENTS;
use crate::index::Index;
use crate::index::manifest::IndexSetting;
use crate::inspection::files::Files;
use crate::inspection::log::InspectedLog;
use crate::inspection::read_only::ReadOnlyDisk;
use crate::store::{journal_setting, on_a_thread};

/// A store that was not opened but is looked at: its log can be examined, its streams be listed.
/// Made by [`EmbeddedStore::inspect`](crate::EmbeddedStore::inspect). Clones are the same one.
///
/// Of the [log](Store::log) these work: `examine`, `streams`, `stats` and `capabilities`. Everything
/// else, and buckets, is refused as `Unsupported`. As long as the inspection lasts, no process can
/// open the store.
///
/// # What is handed out
/// What opening the store would keep: a write that was under way when the process or the machine
/// stopped, and was never acknowledged, is passed over.
///
/// `streams` gives what the index and the log say together. Where the index leads to an event that
/// is not in the log any more, because the file was cut off or it was overwritten, the head has the
/// version that the index says, no [position](cim_store::Position::NONE), and a CID whose digest is
/// all zeros: nobody knows them. So a stream was cut where its head has a higher version than its
/// last event in the examination. The index knows this as of when the store was closed; after a
/// kill it may be behind, and then only positions that are missing tell of the cut.
///
/// An examination hands out as [`Damage`](cim_store::Damage), after all events and what is wrong with
/// their records: what is wrong with other parts of the files, and heads of the index of which no
/// event is left that would tell the stream's name. Positions that are missing next to each other are one
/// damage, with the first of them and a message that names the last; they are told after all events,
/// because an event whose record was moved may come late. Records that stand elsewhere than they were
/// written, because somebody cut bytes out of a file, put some in, or copied some, are events as any
/// others; where those that were moved alike begin is one damage without a position.
///
/// ```
/// use cim_store::{Context, Examined, Position, Store};
/// use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};
/// use futures_util::TryStreamExt;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("data");
/// # EmbeddedStore::open(&path, EmbeddedSettings::default()).await?.close().await?;
/// let store = EmbeddedStore::inspect(&path, EmbeddedSettings::default()).await?;
/// let mut found = store.log().examine(&Context::new(), Position::NONE).await?;
/// while let Some(found) = found.try_next().await? {
///     match found {
///         Examined::Event(event) => println!("{} {}", event.stream, event.version),
///         Examined::Damage(damage) => println!("{}", damage.message),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Inspection {
    inspected: Arc<Inspected>,
}

/// What an inspection looks at.
#[derive(Debug)]
struct Inspected {
    files: Files,
    /// The index, or why there is none.
    index: Result<Index, EngineError>,
    clock: Arc<dyn Clock>,
    closed: AtomicBool,
    /// Keeps writers out.
    directory: Mutex<Option<Directory>>,
}

impl Inspection {
    pub(crate) async fn open(
        directory: &Path,
        settings: EmbeddedSettings,
    ) -> Result<Self, EventLogError> {
        let directory = directory.to_owned();
        on_a_thread("cim-inspect", move || {
            Self::open_blocking(&directory, settings)
        })
        .await
    }

    fn open_blocking(path: &Path, settings: EmbeddedSettings) -> Result<Self, EngineError> {
        let settings = EmbeddedSettings {
            disk: Arc::new(ReadOnlyDisk(settings.disk)),
            ..settings
        };
        let directory = Directory::inspect(&*settings.disk, path)?;
        let mut files = Files::find(journal_setting(&directory, &settings, EVENTS))?;
        if directory.fresh {
            files.damage.clear(); // it never was complete, so nothing is missing
        }
        let setting = IndexSetting {
            disk: Arc::clone(&settings.disk),
            directory: files.setting.path("index"),
            salt: files.setting.salt,
            fresh_entries: settings.fresh_entries,
        };
        let index = Index::look_at(setting).and_then(|index| match &files.state {
            Some(state) if state.carried != index.carried() => Err(EngineError::index(
                "it does not fit the log",
                &files.setting.path("index"),
            )),
            _ => Ok(index),
        });
        Ok(Self {
            inspected: Arc::new(Inspected {
                files,
                index,
                clock: settings.clock,
                closed: AtomicBool::new(false),
                directory: Mutex::new(Some(directory)),
            }),
        })
    }
}

impl Inspected {
    /// Refuses an operation whose time is over, or that comes after the end.
    fn check<K: PortErrorKind>(&self, ctx: &Context, operation: &str) -> Result<(), PortError<K>> {
        if self.closed.load(Ordering::Acquire) {
            return Err(PortError::closed("the inspection has ended"));
        }
        if ctx.is_expired(&*self.clock) {
            return Err(PortError::deadline_passed(operation));
        }
        Ok(())
    }

    /// Refuses what an inspection does not do.
    fn refuse<K: PortErrorKind>(&self, ctx: &Context, operation: &str) -> PortError<K> {
        let Err(error) = self.check::<K>(ctx, operation) else {
            let what = format!("{operation} is not possible while a store is only inspected");
            return PortError::new(Fault::Unsupported, what).with_hint(
                "examine its log and list its streams; for anything else open the store, or where \
                 it is damaged, restore it from a backup",
            );
        };
        error
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for Inspection {
    fn log(&self) -> Arc<dyn EventLog> {
        Arc::new(InspectedLog(Arc::clone(&self.inspected)))
    }

    fn shared_subscriptions(&self) -> Option<Arc<dyn SharedSubscriptions>> {
        None
    }

    async fn bucket(
        &self,
        ctx: &Context,
        name: &BucketName,
        _: BucketSettings,
    ) -> Result<Arc<dyn Bucket>, BucketError> {
        let error: BucketError = self.inspected.refuse(ctx, "opening a bucket");
        Err(error.with("bucket", name))
    }

    async fn buckets(
        &self,
        ctx: &Context,
    ) -> Result<Vec<(BucketName, BucketSettings)>, BucketError> {
        Err(self.inspected.refuse(ctx, "listing the buckets"))
    }

    async fn health(&self, ctx: &Context) -> Result<Health, EventLogError> {
        let stats = self.log().stats(ctx).await?;
        let files = &self.inspected.files;
        let directory = files.setting.directory.parent();
        let directory = directory.unwrap_or(&files.setting.directory);
        let mut health = Health::new()
            .with_fact("directory", directory.display())
            .with_fact("format", FORMAT)
            .with_fact("opened", "to be inspected")
            .with_fact("last position", stats.last)
            .with_fact("bytes of events", stats.bytes);
        let damage = files.damage.iter().map(|damage| damage.message.clone());
        let index = self.inspected.index.as_ref().err();
        for what in damage.chain(index.map(ToString::to_string)) {
            health = health.with_finding(Finding::new(
                Severity::Problem,
                what,
                "examine the log to see which events are hit",
            ));
        }
        Ok(health)
    }

    async fn close(&self) -> Result<(), EventLogError> {
        self.inspected.closed.store(true, Ordering::Release);
        let directory = &self.inspected.directory;
        drop(
            directory
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        Ok(())
    }
}

impl fmt::Debug for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspection")
            .field("directory", &self.inspected.files.setting.directory)
            .finish_non_exhaustive()
    }
}
