//! [`Checkpoints`]: the tree over a store's log, and what it is good for.

use std::sync::Arc;

use cim_store::{
    BucketError, BucketName, BucketSettings, Context, EventCid, Fault, Position, Store, StreamId,
    StreamRange, Version,
};
use futures_util::TryStreamExt;

use super::extend::{computed_cid, extend};
use super::history::{Verification, verify};
use super::note::SigningKey;
use super::proof_text::{ConsistencyProof, InclusionProof};
use super::text::Checkpoint;
use super::tiles::{TilePiece, TileReader, TileStore, pieces_of};
use super::tree::{Subtree, TreeHash, consistency_path, inclusion_path};
use super::{CheckpointError, Progress};

/// How often the tree is extended anew because others were faster.
const ATTEMPTS: u32 = 16;

/// Makes checkpoints of a log, and compares the log with them.
///
/// The tree over the log is kept in the store's bucket [`Checkpoints::BUCKET`]. It can be deleted:
/// the next [`create`](Self::create) makes it again from the log. What proves anything is a
/// checkpoint that is kept where whoever can write to the store can't.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # use cim_domain::open;
/// # use cim_domain::persistence::checkpoint::note::SigningKey;
/// # use cim_domain::store::{Context, EventLogExt, ExpectedVersion, NewEvent, StreamId};
/// # let (store, ctx) = (open("memory:").await?, Context::new());
/// # let order = StreamId::new("sales", "order", "7")?;
/// # let placed = NewEvent::json("order_placed", &12)?;
/// # store.log().append_to(&ctx, &order, ExpectedVersion::NEW, vec![placed.clone()]).await?;
/// # let key = SigningKey::generate("example.com/sales")?;
/// use cim_domain::persistence::checkpoint::Checkpoints;
///
/// let checkpoints = Checkpoints::new(store.clone());
/// let monday = checkpoints.create(&ctx, &key, |_| {}).await?;
/// assert_eq!((monday.origin(), monday.size()), ("example.com/sales", 1));
/// assert_eq!(checkpoints.covered(&ctx).await?, (monday.size(), monday.root()));
///
/// store.log().append_to(&ctx, &order, ExpectedVersion::Exists, vec![placed]).await?;
/// let tuesday = checkpoints.create(&ctx, &key, |_| {}).await?;
/// let growth = checkpoints.consistency(&ctx, &monday, &tuesday).await?;
/// assert!(growth.to_string().starts_with("old 1\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Checkpoints {
    store: Arc<dyn Store>,
}

/// Which event is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventAddress {
    /// The event of a stream at a version.
    Version(StreamId, Version),
    /// The event with a CID. Looking for it reads every bundle of the tree: 38 bytes an event.
    Cid(EventCid),
}

impl Checkpoints {
    /// The bucket that the tree is kept in.
    pub const BUCKET: &str = "cim-checkpoints";

    /// Those of this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Covers the log to its end and signs what it is then. The key's name is the log's.
    ///
    /// Only events that are not covered yet are read. Several processes may do this at the same
    /// time; a call that is cancelled leaves a tree that the next one goes on with.
    ///
    /// # Errors
    /// [`CheckpointError::Rewritten`] where the last event that was covered is not there any more,
    /// [`CheckpointError::Altered`] where an event does not have its CID,
    /// [`CheckpointError::Truncated`] where events went that were never covered; what the ports say.
    pub async fn create(
        &self,
        ctx: &Context,
        key: &SigningKey,
        mut on_progress: impl FnMut(Progress) + Send,
    ) -> Result<Checkpoint, CheckpointError> {
        let tiles = self.tiles(ctx).await?;
        let log = self.store.log();
        for _ in 0..ATTEMPTS {
            if let Some(edge) = extend(&*log, &tiles, ctx, &mut on_progress).await? {
                return Ok(Checkpoint::sign(edge.size(), edge.root(), key)?);
            }
        }
        Err(CheckpointError::Contended { times: ATTEMPTS })
    }

    /// Forgets the tree, so that the next [`create`](Self::create) makes it again from the log: where
    /// it is damaged, or the log was imported again and its events have other positions. Checkpoints
    /// that were kept are not touched by it, and say what the log was: [`verify`](Self::verify) with
    /// one of them says whether it still is.
    ///
    /// # Errors
    /// [`CheckpointError::Truncated`] where nothing but the tree knows events that were truncated;
    /// what the ports say.
    pub async fn forget(&self, ctx: &Context) -> Result<(), CheckpointError> {
        let through = self.store.log().stats(ctx).await?.truncated_through;
        if through > Position::NONE {
            let covered = Position::NONE;
            return Err(CheckpointError::Truncated { through, covered });
        }
        self.tiles(ctx).await?.forget(ctx).await
    }

    /// How many events the tree covers, and its root.
    ///
    /// # Errors
    /// Where the tree is damaged; what the ports say.
    pub async fn covered(&self, ctx: &Context) -> Result<(u64, TreeHash), CheckpointError> {
        let reader = self.reader(ctx).await?;
        Ok((reader.edge().size(), reader.edge().root()))
    }

    /// Compares the log, as it is now, with a checkpoint: hashes its first events anew, as many as
    /// the checkpoint has. Memory is some bytes per 65 536 events.
    ///
    /// Nothing is believed but the checkpoint, whose signature the caller has verified. The tree is
    /// needed only to say *where* a log differs, and to vouch for events that were truncated.
    ///
    /// # Errors
    /// [`CheckpointError::Truncated`] where events went that the tree does not cover; what the ports
    /// say. A log that differs is no error but a [`Verdict`](super::Verdict).
    pub async fn verify(
        &self,
        ctx: &Context,
        checkpoint: &Checkpoint,
        mut on_progress: impl FnMut(Progress) + Send,
    ) -> Result<Verification, CheckpointError> {
        let reader = match self.reader(ctx).await {
            Ok(reader) => Some(reader),
            // Without the tree the log can be compared all the same.
            Err(CheckpointError::Edge(_)) => None,
            Err(CheckpointError::Bucket(error)) if error.is_integrity() => None,
            Err(error) => return Err(error),
        };
        let log = self.store.log();
        verify(&*log, reader, ctx, checkpoint, &mut on_progress).await
    }

    /// Proves that an event is in the log that a checkpoint speaks of.
    ///
    /// # Errors
    /// [`CheckpointError::NoSuchEvent`]; [`CheckpointError::AfterCheckpoint`];
    /// [`CheckpointError::NotCovered`] where the tree does not reach as far as the checkpoint;
    /// [`CheckpointError::OtherTree`] where the checkpoint is of another history;
    /// [`CheckpointError::OtherEvent`] where the log has another event than it had; what the ports
    /// say.
    pub async fn prove(
        &self,
        ctx: &Context,
        event: &EventAddress,
        checkpoint: &Checkpoint,
    ) -> Result<InclusionProof, CheckpointError> {
        let mut reader = self.reader(ctx).await?;
        check_tree(&mut reader, ctx, checkpoint).await?;
        let no_such = |event: String| CheckpointError::NoSuchEvent { event };
        let (index, cid) = match event {
            EventAddress::Cid(cid) => match reader.find(ctx, *cid).await? {
                Some(index) => (index, *cid),
                None => return Err(no_such(cid.to_string())),
            },
            EventAddress::Version(stream, version) => {
                let name = format!("{stream}@{version}");
                let range = StreamRange::from(*version).to(*version);
                let log = self.store.log();
                let mut events = log.read_stream(ctx, stream, range).await?;
                let Some(event) = events.try_next().await? else {
                    return Err(no_such(name));
                };
                let position = event.position;
                let Some(index) = reader.index_of(ctx, position).await? else {
                    // Later than everything that is covered, or never there.
                    let covered = reader.edge().last();
                    return Err(match covered {
                        Some((last, _)) if position < last => no_such(name),
                        _ => CheckpointError::AfterCheckpoint {
                            index: reader.edge().size(),
                            size: checkpoint.size(),
                        },
                    });
                };
                let found = computed_cid(&event, &mut Vec::new());
                let expected = reader.cid(ctx, index).await?;
                if found != expected {
                    return Err(CheckpointError::OtherEvent {
                        position,
                        expected,
                        found,
                    });
                }
                (index, expected)
            }
        };
        let size = checkpoint.size();
        if index >= size {
            return Err(CheckpointError::AfterCheckpoint { index, size });
        }
        let hashes = hashes(&mut reader, ctx, inclusion_path(index, size)?).await?;
        Ok(InclusionProof::new(cid, index, hashes, checkpoint.clone())?)
    }

    /// Proves that the log of one checkpoint is the beginning of the log of another: that between
    /// them history only grew.
    ///
    /// # Errors
    /// [`CheckpointError::OtherTree`] where one of them is of another history than the tree;
    /// [`CheckpointError::NotCovered`] where the tree does not reach as far;
    /// [`CheckpointError::Proof`] where the old one is larger; what the ports say.
    pub async fn consistency(
        &self,
        ctx: &Context,
        old: &Checkpoint,
        new: &Checkpoint,
    ) -> Result<ConsistencyProof, CheckpointError> {
        let path = consistency_path(old.size(), new.size())?;
        let mut reader = self.reader(ctx).await?;
        check_tree(&mut reader, ctx, old).await?;
        check_tree(&mut reader, ctx, new).await?;
        let hashes = hashes(&mut reader, ctx, path).await?;
        Ok(ConsistencyProof::new(old, new.clone(), hashes)?)
    }

    /// The files of C2SP's `tlog-tiles` for a checkpoint's tree.
    ///
    /// # Errors
    /// As [`consistency`](Self::consistency).
    pub async fn tile_files(
        &self,
        ctx: &Context,
        checkpoint: &Checkpoint,
    ) -> Result<TileFiles, CheckpointError> {
        let mut reader = self.reader(ctx).await?;
        check_tree(&mut reader, ctx, checkpoint).await?;
        Ok(TileFiles {
            reader,
            size: checkpoint.size(),
        })
    }

    async fn reader(&self, ctx: &Context) -> Result<TileReader, CheckpointError> {
        let name = bucket_name()?;
        // Whoever only looks makes no bucket.
        let buckets = self.store.buckets(ctx).await?;
        let tiles = match buckets.iter().any(|(found, _)| *found == name) {
            true => Some(self.tiles(ctx).await?),
            false => None,
        };
        TileReader::open(ctx, tiles).await
    }

    async fn tiles(&self, ctx: &Context) -> Result<TileStore, CheckpointError> {
        let (name, settings) = (bucket_name()?, BucketSettings::default());
        Ok(TileStore::new(
            self.store.bucket(ctx, &name, settings).await?,
        ))
    }
}

/// The files of a tree, for a directory or a server that any client of C2SP's `tlog-tiles` reads.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # use cim_domain::open;
/// # use cim_domain::persistence::checkpoint::note::SigningKey;
/// # use cim_domain::store::{Context, EventLogExt, ExpectedVersion, NewEvent, StreamId};
/// # let (store, ctx) = (open("memory:").await?, Context::new());
/// # let order = StreamId::new("sales", "order", "7")?;
/// # let placed = NewEvent::json("order_placed", &12)?;
/// # store.log().append_to(&ctx, &order, ExpectedVersion::NEW, vec![placed.clone()]).await?;
/// # let key = SigningKey::generate("example.com/sales")?;
/// # use cim_domain::persistence::checkpoint::Checkpoints;
/// # let checkpoints = Checkpoints::new(store.clone());
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// let checkpoint = checkpoints.create(&ctx, &key, |_| {}).await?;
/// let mut files = checkpoints.tile_files(&ctx, &checkpoint).await?;
/// for piece in files.pieces() {
///     let path = directory.join(piece.to_string());
///     std::fs::create_dir_all(path.parent().ok_or("it is below the directory")?)?;
///     std::fs::write(path, files.bytes(&ctx, piece).await?)?;
/// }
/// std::fs::write(directory.join("checkpoint"), checkpoint.to_string())?;
/// assert!(directory.join("tile/entries/000.p/1").is_file());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TileFiles {
    reader: TileReader,
    size: u64,
}

impl TileFiles {
    /// Which files there are; each one's `Display` is its path.
    pub fn pieces(&self) -> impl Iterator<Item = TilePiece> + use<> {
        pieces_of(self.size)
    }

    /// What is in a file.
    ///
    /// # Errors
    /// Where the tree is damaged or has no such piece; what the port says.
    pub async fn bytes(
        &mut self,
        ctx: &Context,
        piece: TilePiece,
    ) -> Result<Vec<u8>, CheckpointError> {
        self.reader.piece(ctx, piece).await
    }
}

/// Fails unless the checkpoint is of this tree.
async fn check_tree(
    reader: &mut TileReader,
    ctx: &Context,
    checkpoint: &Checkpoint,
) -> Result<(), CheckpointError> {
    let size = checkpoint.size();
    reader.check_covers(size)?;
    let computed = reader.root(ctx, size).await?;
    if computed != checkpoint.root() {
        return Err(CheckpointError::OtherTree {
            size,
            roots: Box::new((checkpoint.root(), computed)),
        });
    }
    Ok(())
}

async fn hashes(
    reader: &mut TileReader,
    ctx: &Context,
    path: Vec<Subtree>,
) -> Result<Vec<TreeHash>, CheckpointError> {
    let mut hashes = Vec::with_capacity(path.len());
    for part in path {
        hashes.push(reader.subtree(ctx, part).await?);
    }
    Ok(hashes)
}

fn bucket_name() -> Result<BucketName, CheckpointError> {
    BucketName::new(Checkpoints::BUCKET).map_err(|error| {
        let message = "the bucket of the tree has no valid name";
        BucketError::new(Fault::Invalid, message)
            .with_source(error)
            .into()
    })
}
