//! What all clones of an index share: what it has taken in, and which manifest it stands on.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cim_store::{
    Context, EventLog, Fault as PortFault, IdGenerator, Position, Revision, SystemIds,
};

use super::error::{Fault, IndexError};
use super::manifest::{Anchor, Manifest};
use super::newest::{Batch, Newest};
use super::settings::IndexSettings;
use super::shelf::{Shelf, Stored};
use super::taking::{Done, wait_for};

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) settings: IndexSettings,
    pub(super) ids: Arc<dyn IdGenerator>,
    state: Mutex<State>,
    /// Held by whoever takes in events.
    pub(super) taking: tokio::sync::Mutex<Done>,
    /// How often it was begun to take in events.
    pub(super) begun: AtomicU64,
    /// Held by whoever merges runs.
    pub(super) merging: tokio::sync::Mutex<()>,
    pub(super) merge_wanted: AtomicBool,
    /// Held from changing or reading the manifest until the state says the same.
    publishing: tokio::sync::Mutex<()>,
    rebuilt: AtomicU64,
    /// With so many entries in memory they are written.
    pub(super) write_at: AtomicUsize,
    pub(super) failed_writes: AtomicU64,
}

/// What the index has at a moment.
#[derive(Debug)]
pub(super) struct State {
    pub(super) manifest: Arc<Manifest>,
    /// [`Revision::NONE`]: there is no manifest yet.
    pub(super) revision: Revision,
    /// The entries of the events behind the manifest, up to `taken`.
    pub(super) newest: Newest,
    /// The last event that was taken in.
    pub(super) taken: Option<Anchor>,
    /// Changes when something that was taken in is taken in once more.
    pub(super) epoch: u64,
}

impl State {
    /// Everything up to here was taken in.
    pub(super) fn reached(&self) -> Position {
        self.taken
            .map_or(self.manifest.begins_after, |anchor| anchor.position)
    }

    /// Takes back what is not written.
    fn take_back(&mut self) {
        self.newest = Newest::default();
        self.taken = self.manifest.anchor;
        self.epoch += 1;
    }

    /// Stands on another manifest from now on.
    fn adopt(&mut self, manifest: Manifest, revision: Revision) {
        let (before, now) = (self.manifest.reached(), manifest.reached());
        let goes_back = now < before || manifest.begins_after != self.manifest.begins_after;
        if goes_back {
            // What is in memory does not join what is written.
            self.newest = Newest::default();
            self.taken = manifest.anchor;
            self.epoch += 1;
        } else {
            self.newest.forget_through(now.get());
            if self.reached() < now {
                self.taken = manifest.anchor;
            }
        }
        self.manifest = Arc::new(manifest);
        self.revision = revision;
    }

    /// Adds entries of the events up to an anchor, if nothing was taken back meanwhile.
    pub(super) fn absorb(&mut self, batch: Batch, last: Anchor, epoch: u64) -> bool {
        if self.epoch != epoch || last.position <= self.reached() {
            return false;
        }
        self.newest.absorb(batch);
        self.taken = Some(last);
        true
    }
}

impl Inner {
    pub(super) fn new(log: Arc<dyn EventLog>, shelf: Shelf, settings: IndexSettings) -> Self {
        Self {
            log,
            shelf: Arc::new(shelf),
            write_at: AtomicUsize::new(settings.newest_entries),
            settings,
            ids: Arc::new(SystemIds),
            state: Mutex::new(State {
                manifest: Arc::new(Manifest::default()),
                revision: Revision::NONE,
                newest: Newest::default(),
                taken: None,
                epoch: 0,
            }),
            taking: tokio::sync::Mutex::default(),
            begun: AtomicU64::new(0),
            merging: tokio::sync::Mutex::new(()),
            merge_wanted: AtomicBool::new(false),
            publishing: tokio::sync::Mutex::new(()),
            rebuilt: AtomicU64::new(0),
            failed_writes: AtomicU64::new(0),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often the index was begun anew because what there was could not be used.
    pub(super) fn rebuilt(&self) -> u64 {
        self.rebuilt.load(Ordering::Relaxed)
    }

    /// Waits until nobody else is at the manifest.
    pub(super) async fn publishing(
        &self,
        ctx: &Context,
    ) -> Result<tokio::sync::MutexGuard<'_, ()>, IndexError> {
        wait_for(
            ctx,
            &self.publishing,
            "reading or changing the index's manifest",
        )
        .await
    }

    /// Stands on the manifest that is in the bucket now; begins anew where that can't be used.
    pub(super) async fn load(&self, ctx: &Context) -> Result<(), IndexError> {
        let _publishing = self.publishing(ctx).await?;
        loop {
            let (unusable, revision) = match self.shelf.manifest(ctx).await? {
                Stored::Nothing => {
                    let begins_after = self.truncated_through(ctx).await?;
                    let manifest = Manifest {
                        begins_after,
                        ..Manifest::default()
                    };
                    self.adopt(manifest, Revision::NONE);
                    return Ok(());
                }
                Stored::Sound(manifest, revision) => {
                    if self.is_of_this_log(ctx, &manifest).await? {
                        self.adopt(manifest, revision);
                        return Ok(());
                    }
                    (Some(manifest), revision)
                }
                Stored::Unreadable(revision) => (None, revision),
            };
            if self.begin_anew(ctx, unusable, revision).await? {
                return Ok(());
            }
        }
    }

    /// What is in the bucket led to something wrong, as it was at this revision. Stands on what is
    /// there now, or begins anew where that is the same.
    pub(super) async fn heal(&self, ctx: &Context, seen: Revision) -> Result<(), IndexError> {
        if self.state().revision != seen {
            return Ok(());
        }
        let publishing = self.publishing(ctx).await?;
        let anew = match self.shelf.manifest(ctx).await? {
            Stored::Sound(manifest, revision) if revision == seen => {
                !self.begin_anew(ctx, Some(manifest), revision).await?
            }
            _ => true,
        };
        drop(publishing);
        if anew {
            self.load(ctx).await?;
        }
        Ok(())
    }

    /// Replaces a manifest by an empty one. `false`: somebody else replaced it first.
    async fn begin_anew(
        &self,
        ctx: &Context,
        unusable: Option<Manifest>,
        revision: Revision,
    ) -> Result<bool, IndexError> {
        let manifest = Manifest {
            begins_after: self.truncated_through(ctx).await?,
            ..Manifest::default()
        };
        let runs = unusable.map(|manifest| manifest.runs);
        let ids: Vec<_> = runs.iter().flatten().map(|run| run.id).collect();
        self.shelf.mark_loose(ctx, &ids).await?;
        let replaced = self.shelf.replace_manifest(ctx, &manifest, revision);
        let Some(revision) = replaced.await? else {
            return Ok(false);
        };
        self.rebuilt.fetch_add(1, Ordering::Relaxed);
        self.adopt(manifest, revision);
        if runs.is_none() {
            self.shelf.sweep(ctx).await?;
        }
        // What the manifest says about them is not to be believed.
        for id in ids {
            self.shelf.give_up_found(ctx, id).await?;
        }
        Ok(true)
    }

    /// Changes the manifest to what `change` makes of it, unless that is nothing any more. `change`
    /// is asked again where somebody else was first.
    pub(super) async fn publish(
        &self,
        ctx: &Context,
        mut change: impl FnMut(&Manifest) -> Option<Manifest> + Send,
    ) -> Result<bool, IndexError> {
        loop {
            let publishing = self.publishing(ctx).await?;
            let (manifest, revision) = {
                let state = self.state();
                (Arc::clone(&state.manifest), state.revision)
            };
            let Some(next) = change(&manifest) else {
                return Ok(false);
            };
            let is_first = revision == Revision::NONE;
            if let Some(revision) = self.shelf.replace_manifest(ctx, &next, revision).await? {
                self.adopt(next, revision);
                if is_first {
                    // Whoever emptied the bucket may have missed what was written meanwhile.
                    self.shelf.sweep(ctx).await?;
                }
                return Ok(true);
            }
            drop(publishing);
            self.load(ctx).await?;
        }
    }

    fn adopt(&self, manifest: Manifest, revision: Revision) {
        self.shelf.keep_only(&manifest.runs);
        self.state().adopt(manifest, revision);
    }

    /// Whether the last event that an index took in stands where it stood.
    async fn is_of_this_log(&self, ctx: &Context, manifest: &Manifest) -> Result<bool, IndexError> {
        let Some(Anchor { position, cid }) = manifest.anchor else {
            let truncated = self.truncated_through(ctx).await?;
            return Ok(manifest.begins_after == truncated && manifest.runs.is_empty());
        };
        match self.log.read_at(ctx, &[position]).await {
            Ok(events) => Ok(events.first().is_some_and(|event| event.cid == cid)),
            Err(error) if error.fault() == Some(PortFault::NotFound) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the last event that was taken in stands where it stood: a log that was restored, or
    /// replaced, while this index was open has another one there, or none. Everything before is the
    /// same then, too.
    pub(super) async fn check_taken(
        &self,
        ctx: &Context,
        taken: Option<Anchor>,
    ) -> Result<(), Fault> {
        let Some(Anchor { position, cid }) = taken else {
            return Ok(());
        };
        match self.log.read_at(ctx, &[position]).await {
            Ok(events) if events.first().is_some_and(|event| event.cid == cid) => Ok(()),
            Ok(_) => Err(Fault::Replaced),
            Err(error) if error.fault() == Some(PortFault::NotFound) => {
                match self.truncated_through(ctx).await? >= position {
                    true => Ok(()),
                    false => Err(Fault::Replaced),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Events up to here were given up.
    pub(super) async fn truncated_through(&self, ctx: &Context) -> Result<Position, IndexError> {
        if !self.log.capabilities().truncate {
            return Ok(Position::NONE);
        }
        Ok(self.log.stats(ctx).await?.truncated_through)
    }

    /// Turns "nothing but a change of the index helps" into that change; `tries` counts how often it
    /// was needed.
    pub(super) async fn recover(
        &self,
        ctx: &Context,
        fault: Fault,
        seen: Revision,
        tries: &mut u32,
    ) -> Result<(), IndexError> {
        /// Damage that comes back as often as this is not the index's.
        const MOST: u32 = 5;
        match fault {
            Fault::Failed(error) => Err(error),
            Fault::TakenBack => Ok(()),
            Fault::Replaced if *tries < MOST => {
                *tries += 1;
                self.state().take_back();
                self.load(ctx).await
            }
            Fault::Replaced => {
                let message = "the log has other events again and again where it was read before";
                Err(cim_store::EventLogError::integrity(message).into())
            }
            Fault::Damaged(reason) if *tries >= MOST => {
                let message = "the index was built anew again and again, and is still wrong";
                let error = cim_store::BucketError::integrity(message)
                    .with("last found", reason)
                    .with("bucket", self.shelf.bucket().name())
                    .with_hint("check the log with `cim verify`, and the disk or server it is on");
                Err(error.into())
            }
            Fault::Damaged(_) => {
                *tries += 1;
                self.heal(ctx, seen).await
            }
        }
    }
}
