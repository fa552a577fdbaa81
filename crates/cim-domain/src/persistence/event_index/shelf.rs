//! The bucket that an index is kept in: its keys, and how they are read and written.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cim_store::{
    Bucket, BucketError, BucketErrorKind, Context, Entry, Fault as PortFault, Key, Revision,
    SubjectPattern, WriteOptions,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use uuid::Uuid;

use super::block::{Block, Child, digest};
use super::cache::BlockCache;
use super::error::Fault;
use super::manifest::{Manifest, RunInfo};

/// How often a write is tried whose answer was lost.
const TRIES: u32 = 4;
/// How many blocks are written, or given up, at the same time: stores flush them together.
pub(super) const WRITES: usize = 64;
/// What is given up is written over with nothing, to live this long: so it leaves no mark behind,
/// as a purge does.
const LAST_BREATH: Duration = Duration::from_secs(1);

/// Nobody writes or merges a run as long as this.
pub(super) const LONG: Duration = Duration::from_secs(3_600);

/// The value of a mark.
const MARK: Bytes = Bytes::from_static(b"loose");

const MANIFEST: &str = "manifest";
const BLOCKS: &str = "block.>";
const LOOSE: &str = "loose.*";

/// The manifest as it stands in the bucket.
#[derive(Debug)]
pub(super) enum Stored {
    /// There is none.
    Nothing,
    /// It can't be read: damaged, or of another version of the format.
    Unreadable(Revision),
    Sound(Manifest, Revision),
}

/// Where an index is kept. A bucket, with blocks that were read lately in memory.
#[derive(Debug)]
pub(super) struct Shelf {
    bucket: Arc<dyn Bucket>,
    cache: Mutex<BlockCache>,
}

impl Shelf {
    pub(super) fn new(bucket: Arc<dyn Bucket>, cache_bytes: usize) -> Self {
        Self {
            bucket,
            cache: Mutex::new(BlockCache::new(cache_bytes)),
        }
    }

    pub(super) fn bucket(&self) -> &Arc<dyn Bucket> {
        &self.bucket
    }

    pub(super) async fn manifest(&self, ctx: &Context) -> Result<Stored, BucketError> {
        let Some(entry) = self.bucket.get(ctx, &key(MANIFEST.to_owned())?).await? else {
            return Ok(Stored::Nothing);
        };
        Ok(match Manifest::decode(&entry.value) {
            Some(manifest) => Stored::Sound(manifest, entry.revision),
            None => Stored::Unreadable(entry.revision),
        })
    }

    /// Makes this the manifest if it is still the one of this revision. `None`: it is not.
    pub(super) async fn replace_manifest(
        &self,
        ctx: &Context,
        manifest: &Manifest,
        expected: Revision,
    ) -> Result<Option<Revision>, BucketError> {
        let key = key(MANIFEST.to_owned())?;
        let value = Bytes::from(manifest.encode());
        let mut tries = 1;
        loop {
            let options = WriteOptions::default();
            let written = if expected == Revision::NONE {
                self.bucket.create(ctx, &key, value.clone(), options).await
            } else {
                let update = self
                    .bucket
                    .update(ctx, &key, value.clone(), expected, options);
                update.await
            };
            let error = match written {
                Ok(revision) => return Ok(Some(revision)),
                Err(error) => error,
            };
            let lost = matches!(error.kind(), BucketErrorKind::Unknown);
            if !lost && !error.is_conflict() {
                return Err(error);
            }
            // After a lost answer a conflict may be with our own value.
            match self.bucket.get(ctx, &key).await? {
                Some(entry) if entry.value == value => return Ok(Some(entry.revision)),
                Some(entry) if entry.revision != expected => return Ok(None),
                None if expected != Revision::NONE => return Ok(None),
                _ if tries == TRIES => return Err(error),
                _ => tries += 1,
            }
        }
    }

    /// A block of a run, from memory where it was read before; its digest is checked.
    pub(super) async fn block(
        &self,
        ctx: &Context,
        run: Uuid,
        child: &Child,
        keep: bool,
    ) -> Result<Block, Fault> {
        if let Some(block) = self.cache().get(run, child.number) {
            return Ok(block);
        }
        let entry = self.bucket.get(ctx, &block_key(run, child.number)?).await?;
        let bytes = entry.ok_or(Fault::Damaged("a block is missing"))?.value;
        if digest(&bytes) != child.digest {
            return Err(Fault::Damaged("a block is not the one that was written"));
        }
        let block = Block::parse(bytes).ok_or(MALFORMED)?;
        if keep {
            self.cache().insert(run, child.number, block.clone());
        }
        Ok(block)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, BlockCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes the blocks in memory take.
    pub(super) fn cached_bytes(&self) -> usize {
        self.cache().bytes()
    }

    /// Gives up what is in memory of other runs than these.
    pub(super) fn keep_only(&self, runs: &[RunInfo]) {
        let is_kept = |id| runs.iter().any(|run| run.id == id);
        self.cache().keep_only(is_kept);
    }

    /// Stores blocks of a run.
    pub(super) async fn put_blocks(
        &self,
        ctx: &Context,
        run: Uuid,
        blocks: Vec<(u32, Bytes)>,
    ) -> Result<(), BucketError> {
        stream::iter(blocks)
            .map(|(number, bytes)| async move {
                let key = block_key(run, number)?;
                self.put(ctx, &key, bytes, WriteOptions::default()).await
            })
            .buffer_unordered(WRITES)
            .try_collect()
            .await
    }

    /// Says that blocks of these runs may be there without a manifest that names them, so that
    /// somebody gives them up if whoever says so is never done.
    pub(super) async fn mark_loose(&self, ctx: &Context, runs: &[Uuid]) -> Result<(), BucketError> {
        let marks = runs.iter().map(|run| async move {
            let key = loose_key(*run)?;
            self.put(ctx, &key, MARK, WriteOptions::default()).await
        });
        futures_util::future::try_join_all(marks).await.map(drop)
    }

    /// The run is named by the manifest, or all of it was given up.
    pub(super) async fn unmark(&self, ctx: &Context, run: Uuid) -> Result<(), BucketError> {
        self.give_up(ctx, &loose_key(run)?).await
    }

    /// Gives up all blocks of a run, and then its mark. How many there are was counted when they were
    /// written or read; [`give_up_found`](Self::give_up_found) believes no number.
    pub(super) async fn give_up_run(
        &self,
        ctx: &Context,
        run: &RunInfo,
    ) -> Result<(), BucketError> {
        stream::iter(0..run.blocks)
            .map(|number| async move { self.give_up(ctx, &block_key(run.id, number)?).await })
            .buffer_unordered(WRITES)
            .try_collect::<()>()
            .await?;
        self.unmark(ctx, run.id).await
    }

    /// Gives up those blocks of a run that are there, and then its mark.
    pub(super) async fn give_up_found(&self, ctx: &Context, run: Uuid) -> Result<(), BucketError> {
        let blocks = self.keys(ctx, &format!("block.{}.*", run.simple())).await?;
        self.give_up_all(ctx, blocks).await?;
        self.unmark(ctx, run).await
    }

    /// Gives up what was left behind by whoever was never done, long before the mark of this run
    /// was made.
    pub(super) async fn clean(&self, ctx: &Context, own: Uuid) -> Result<(), BucketError> {
        let marks = self.marks(ctx).await?;
        let made = |run| {
            let is_its = |mark: &&Entry| run_of(mark.key.as_str()) == Some(run);
            marks.iter().find(is_its).map(|mark| mark.stored_at)
        };
        // The bucket's own times are compared with each other, and with no other clock.
        let Some(now) = made(own) else {
            return Ok(());
        };
        let old = |mark: &&Entry| mark.stored_at.saturating_add(LONG) < now;
        let old = marks.iter().filter(old);
        let old: Vec<Uuid> = old.filter_map(|mark| run_of(mark.key.as_str())).collect();
        if old.is_empty() {
            return Ok(());
        }
        // Read after the marks: a run that is in use now is in here.
        let Stored::Sound(manifest, _) = self.manifest(ctx).await? else {
            return Ok(());
        };
        for id in old {
            match manifest.runs.iter().any(|run| run.id == id) {
                true => self.unmark(ctx, id).await?,
                false => self.give_up_found(ctx, id).await?,
            }
        }
        Ok(())
    }

    /// Gives up every block that no manifest names and nobody is writing: for an index whose
    /// manifest is lost, and with it what there is.
    pub(super) async fn sweep(&self, ctx: &Context) -> Result<(), BucketError> {
        // In this order: a run whose blocks are there has a mark, unless a manifest names it.
        let blocks = self.keys(ctx, BLOCKS).await?;
        let marks = self.marks(ctx).await?;
        let Stored::Sound(manifest, _) = self.manifest(ctx).await? else {
            return Ok(());
        };
        let marked = marks.iter().map(|mark| run_of(mark.key.as_str()));
        let marked: Vec<_> = marked.collect();
        let is_used = |key: &Key| {
            let run = run_of(key.as_str());
            let named = manifest.runs.iter().any(|own| Some(own.id) == run);
            named || (run.is_some() && marked.contains(&run))
        };
        let unused = blocks.into_iter().filter(|key| !is_used(key)).collect();
        self.give_up_all(ctx, unused).await
    }

    /// Which runs are marked as loose.
    async fn marks(&self, ctx: &Context) -> Result<Vec<Entry>, BucketError> {
        let entries = self.bucket.entries(ctx, &pattern(LOOSE)?).await?;
        let mut entries: Vec<Entry> = entries.try_collect().await?;
        entries.retain(|entry| entry.value == MARK); // others were taken back just now
        Ok(entries)
    }

    async fn keys(&self, ctx: &Context, meant: &str) -> Result<Vec<Key>, BucketError> {
        let keys = self.bucket.keys(ctx, &pattern(meant)?).await?;
        keys.try_collect().await
    }

    async fn give_up_all(&self, ctx: &Context, keys: Vec<Key>) -> Result<(), BucketError> {
        stream::iter(keys)
            .map(|key| async move { self.give_up(ctx, &key).await })
            .buffer_unordered(WRITES)
            .try_collect()
            .await
    }

    async fn give_up(&self, ctx: &Context, key: &Key) -> Result<(), BucketError> {
        self.put(ctx, key, Bytes::new(), WriteOptions::ttl(LAST_BREATH))
            .await
    }

    /// Writes the same again where the answer is lost: nobody else writes another value there.
    async fn put(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        options: WriteOptions,
    ) -> Result<(), BucketError> {
        let mut tries = 1;
        loop {
            match self.bucket.put(ctx, key, value.clone(), options).await {
                Ok(_) => return Ok(()),
                Err(error) => {
                    let lost = matches!(error.kind(), BucketErrorKind::Unknown);
                    if !lost || tries == TRIES {
                        return Err(error);
                    }
                    tries += 1;
                }
            }
        }
    }
}

/// A block whose digest is right has another form than this program writes.
pub(super) const MALFORMED: Fault = Fault::Damaged("a block has another form");

fn block_key(run: Uuid, number: u32) -> Result<Key, BucketError> {
    key(format!("block.{}.{number}", run.simple()))
}

fn loose_key(run: Uuid) -> Result<Key, BucketError> {
    key(format!("loose.{}", run.simple()))
}

/// The run in a key's second part.
fn run_of(key: &str) -> Option<Uuid> {
    Uuid::try_parse(key.split('.').nth(1)?).ok()
}

fn key(name: String) -> Result<Key, BucketError> {
    Key::new(name).map_err(|error| impossible().with_source(error))
}

fn pattern(text: &str) -> Result<SubjectPattern, BucketError> {
    SubjectPattern::new(text.to_owned()).map_err(|error| impossible().with_source(error))
}

fn impossible() -> BucketError {
    BucketError::new(
        PortFault::Invalid,
        "the index has a name that can't be a key",
    )
}
