//! Whether the log still is what a checkpoint says: its first events are read and hashed anew.
//!
//! What comes from the log is examined as it stands and not believed: an event counts with the hash
//! of its own bytes. Where the result differs, the tiles, which are proven by the checkpoint, tell
//! where.

use cim_store::{
    Context, EventCid, EventLog, Examined, ExaminedEvent, Position, StreamId, Version,
};
use futures_util::TryStreamExt;

use super::text::Checkpoint;
use super::tiles::TileReader;
use super::tree::{Node, Subtree, TreeHash, TreeHasher, root_of_peaks};
use super::{CheckpointError, Progress};

/// How many leaves a mark stands for, as a height in the tree.
const MARK_HEIGHT: u32 = 16;
/// How many that are.
const MARK_LEAVES: u64 = 1 << MARK_HEIGHT;

/// What the comparison of a log with a checkpoint found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// How many events the checkpoint has.
    pub size: u64,
    /// How many of them were truncated, so that their hashes come from the tree and not from the
    /// log. The checkpoint proves these hashes, too.
    pub from_tree: u64,
    /// What was found.
    pub verdict: Verdict,
    /// What the log could not hand out as an event, so that the comparison ended there; a sentence
    /// without a full stop.
    pub damage: Option<String>,
}

/// How a log compares with a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The log begins with exactly the events that the checkpoint has.
    Unchanged,
    /// Events are missing at the end.
    Cut {
        /// How many events there are.
        events: u64,
        /// Whether those are known to be unchanged. Without the tree it can't be told.
        rest_is_unchanged: bool,
    },
    /// An event is another one than it was.
    Rewritten {
        /// The first one; `None` where the tree does not tell.
        first: Option<Difference>,
    },
}

/// The first event that is another one than it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its place in the order of the log, from 0.
    pub index: u64,
    /// The CID of the event that was there.
    pub expected: EventCid,
    /// Where that event stood.
    pub position: Option<Position>,
    /// What stands there now.
    pub found: Found,
}

/// What stands where another event was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// An event, or what is left of one.
    Event {
        /// The stream that it is filed under.
        stream: StreamId,
        /// The version that it is filed under.
        version: Version,
        /// Its position.
        position: Position,
        /// The CID of its bytes.
        cid: EventCid,
        /// The CID that it is filed under.
        filed: EventCid,
    },
    /// Something that the log can't hand out as an event; a sentence without a full stop.
    Damage(String),
}

/// Compares a log with a checkpoint.
pub(super) async fn verify(
    log: &dyn EventLog,
    reader: Option<TileReader>,
    ctx: &Context,
    checkpoint: &Checkpoint,
    on_progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Verification, CheckpointError> {
    let size = checkpoint.size();
    let through = log.stats(ctx).await?.truncated_through;
    let mut reader = reader;
    let (mut scan, from_tree) = match through {
        Position::NONE => (Scan::default(), 0),
        _ => after_truncation(reader.as_mut(), ctx, through, size).await?,
    };
    let mut progress = Progress {
        done: 0,
        total: size - from_tree,
    };
    let mut damage = None;
    let mut ended = false;
    let mut examined = log.examine(ctx, through).await?;
    while scan.size() < size && damage.is_none() && !ended {
        match examined.try_next().await? {
            Some(Examined::Event(event)) => {
                scan.push(EventCid::of(&event.block), event.position);
                progress.done += 1;
                on_progress(progress);
            }
            Some(Examined::Damage(found)) => damage = Some(found.message),
            None => ended = true,
        }
    }
    drop(examined);
    let found = (scan.size() == size).then(|| scan.root());
    if found == Some(checkpoint.root()) {
        return Ok(Verification {
            size,
            from_tree,
            verdict: Verdict::Unchanged,
            damage: None,
        });
    }
    let located = match &mut reader {
        Some(reader) => scan.locate(log, reader, ctx, checkpoint, from_tree).await?,
        None => None,
    };
    let verdict = match located {
        Some(Located::Difference(first)) => Verdict::Rewritten { first: Some(first) },
        Some(Located::End(events)) => Verdict::Cut {
            events,
            rest_is_unchanged: true,
        },
        None if ended => Verdict::Cut {
            events: scan.size(),
            rest_is_unchanged: false,
        },
        None => Verdict::Rewritten { first: None },
    };
    Ok(Verification {
        size,
        from_tree,
        verdict,
        damage,
    })
}

/// A scan that begins after events that were truncated, with the hashes that the tree has of them.
async fn after_truncation(
    reader: Option<&mut TileReader>,
    ctx: &Context,
    through: Position,
    size: u64,
) -> Result<(Scan, u64), CheckpointError> {
    let Some(reader) = reader else {
        let covered = Position::NONE;
        return Err(CheckpointError::Truncated { through, covered });
    };
    let covered = reader.edge().last();
    let covered = covered.map_or(Position::NONE, |(position, _)| position);
    if covered < through {
        return Err(CheckpointError::Truncated { through, covered });
    }
    let truncated = reader.count_through(ctx, through).await?.min(size);
    let mut scan = Scan {
        begin: through,
        ..Scan::default()
    };
    for index in 0..truncated >> MARK_HEIGHT {
        let node = Node {
            height: MARK_HEIGHT,
            index,
        };
        scan.mark(reader.node(ctx, node).await?);
    }
    let rest = Subtree::new(truncated & !(MARK_LEAVES - 1), truncated);
    let peaks = reader.peaks(ctx, rest).await?;
    scan.block = TreeHasher::from_peaks(rest.end - rest.start, peaks).unwrap_or_default();
    Ok((scan, truncated))
}

/// Where a log differs from a tree.
enum Located {
    Difference(Difference),
    /// It ends after so many events, all of which are unchanged.
    End(u64),
}

/// The hashes of a log as it is read.
#[derive(Debug, Default)]
struct Scan {
    /// The hashes of whole blocks, each with the position after which it began.
    marks: Vec<(TreeHash, Position)>,
    /// The tree over them.
    blocks: TreeHasher,
    /// The block that is not whole.
    block: TreeHasher,
    /// The position after which that block begins.
    begin: Position,
}

impl Scan {
    fn size(&self) -> u64 {
        (self.blocks.size() << MARK_HEIGHT) + self.block.size()
    }

    fn push(&mut self, cid: EventCid, position: Position) {
        self.block.push_event(&cid);
        if self.block.size() == MARK_LEAVES {
            self.mark(self.block.root());
            self.block = TreeHasher::new();
            self.begin = position;
        }
    }

    fn mark(&mut self, hash: TreeHash) {
        self.marks.push((hash, self.begin));
        self.blocks.push_hash(hash);
    }

    fn root(&self) -> TreeHash {
        let peaks = self.blocks.peaks().iter().chain(self.block.peaks());
        root_of_peaks(peaks.copied()).unwrap_or_else(TreeHash::of_nothing)
    }

    /// Finds the first event that differs; `None` where the tree is not the checkpoint's, or is
    /// damaged itself.
    async fn locate(
        &self,
        log: &dyn EventLog,
        reader: &mut TileReader,
        ctx: &Context,
        checkpoint: &Checkpoint,
        from_tree: u64,
    ) -> Result<Option<Located>, CheckpointError> {
        match self.search(log, reader, ctx, checkpoint, from_tree).await {
            Err(CheckpointError::Log(error)) => Err(error.into()),
            // That something is wrong with the log is known already, only not where.
            Err(_) => Ok(None),
            located => located,
        }
    }

    async fn search(
        &self,
        log: &dyn EventLog,
        reader: &mut TileReader,
        ctx: &Context,
        checkpoint: &Checkpoint,
        from_tree: u64,
    ) -> Result<Option<Located>, CheckpointError> {
        let size = checkpoint.size();
        reader.check_covers(size)?;
        if reader.root(ctx, size).await? != checkpoint.root() {
            return Ok(None);
        }
        let (mut index, mut begin) = (self.blocks.size() << MARK_HEIGHT, self.begin);
        for (number, (hash, block_begin)) in (0..).zip(&self.marks) {
            let node = Node {
                height: MARK_HEIGHT,
                index: number,
            };
            if reader.node(ctx, node).await? != *hash {
                (index, begin) = (number << MARK_HEIGHT, *block_begin);
                break;
            }
        }
        index = index.max(from_tree);
        let mut examined = log.examine(ctx, begin).await?;
        while index < size {
            let expected = reader.cid(ctx, index).await?;
            let found = match examined.try_next().await? {
                Some(Examined::Event(event)) => match EventCid::of(&event.block) {
                    cid if cid == expected => {
                        index += 1;
                        continue;
                    }
                    cid => found(event, cid),
                },
                Some(Examined::Damage(damage)) => Found::Damage(damage.message),
                None => return Ok(Some(Located::End(index))),
            };
            return Ok(Some(Located::Difference(Difference {
                index,
                expected,
                position: reader.position(ctx, index).await?,
                found,
            })));
        }
        Ok(None)
    }
}

fn found(event: ExaminedEvent, cid: EventCid) -> Found {
    Found::Event {
        stream: event.stream,
        version: event.version,
        position: event.position,
        cid,
        filed: event.cid,
    }
}
