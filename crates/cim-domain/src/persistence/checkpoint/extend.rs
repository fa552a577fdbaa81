//! Makes the tree cover what was appended since the last time.
//!
//! Only new events are read. Each one's CID is computed anew from its content, and the last event
//! that was covered has to be where it was. Full tiles are written while the log is read; the edge
//! follows every so often, and that is how far the tree reaches.

use cim_store::{
    Context, EventCid, EventLog, EventLogError, LogQuery, Position, RecordedEvent, Revision,
};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, TryStreamExt};

use super::tiles::{Edge, FullTile, Put, TileReader, TileStore};
use super::{CheckpointError, Progress};

/// How many tiles are on their way to the store at once: a store that flushes groups of writes needs
/// many. They take up to 2.5 MiB.
const WRITES: usize = 256;
/// After how many events the edge is saved, so that what was done is not done again.
const SAVED_EVENTS: u64 = 1 << 17;

/// Covers the log to its end. `None`: another process was faster, and its tree is the one to go on
/// from.
pub(super) async fn extend(
    log: &dyn EventLog,
    store: &TileStore,
    ctx: &Context,
    on_progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Option<Edge>, CheckpointError> {
    let (edge, revision) = store.load(ctx).await?;
    let stats = log.stats(ctx).await?;
    let covered = edge.last().map_or(Position::NONE, |(position, _)| position);
    let through = stats.truncated_through;
    if through > covered {
        return Err(CheckpointError::Truncated { through, covered });
    }
    let mut readable = edge.size();
    if through > Position::NONE {
        let mut reader = TileReader::of(Some(store.clone()), edge.clone());
        readable -= reader.count_through(ctx, through).await?;
    }
    let mut progress = Progress {
        done: 0,
        total: stats.events.saturating_sub(readable),
    };

    // The read begins with the last event that is covered, where that was not truncated.
    let join = edge.last().filter(|(position, _)| *position > through);
    let after = match join {
        Some((position, _)) => Position::new(position.get().saturating_sub(1)),
        None => covered,
    };
    let mut events = log.read_log(ctx, LogQuery::all().after(after)).await?;
    let mut block = Vec::new();
    if let Some(expected) = join {
        let found = events.try_next().await?;
        check_join(edge.size() - 1, expected, found, &mut block)?;
    }

    let mut growth = Growth::new(ctx, store, edge, revision);
    while let Some(event) = events.try_next().await? {
        let cid = computed_cid(&event, &mut block);
        if cid != event.cid {
            return Err(CheckpointError::Altered {
                stream: event.stream,
                version: event.version,
                computed: cid,
            });
        }
        if !growth.add(event.position, cid).await? {
            return Ok(None);
        }
        progress.done += 1;
        on_progress(progress);
    }
    growth.finish().await
}

/// The CID of an event's content. `block` is used for its bytes.
pub(super) fn computed_cid(event: &RecordedEvent, block: &mut Vec<u8>) -> EventCid {
    block.clear();
    event.block().encode_into(block);
    EventCid::of(block)
}

/// Fails unless the event that was the last one is still there.
fn check_join(
    index: u64,
    (position, expected): (Position, EventCid),
    found: Option<RecordedEvent>,
    block: &mut Vec<u8>,
) -> Result<(), CheckpointError> {
    let found = match found {
        Some(event) => {
            let cid = computed_cid(&event, block);
            if event.position == position && cid == expected {
                return Ok(());
            }
            format!("{}@{} with {cid}", event.stream, event.version)
        }
        None => "nothing".to_owned(),
    };
    Err(CheckpointError::Rewritten {
        index,
        position,
        expected,
        found,
    })
}

type Write<'a> = BoxFuture<'a, Result<(FullTile, Put), CheckpointError>>;

/// A tree that grows.
struct Growth<'a> {
    ctx: &'a Context,
    store: &'a TileStore,
    edge: Edge,
    /// The revision of the edge that is saved, and how many events it has.
    saved: (Revision, u64),
    writes: FuturesUnordered<Write<'a>>,
    full: Vec<FullTile>,
}

impl<'a> Growth<'a> {
    fn new(ctx: &'a Context, store: &'a TileStore, edge: Edge, revision: Revision) -> Self {
        Self {
            ctx,
            store,
            saved: (revision, edge.size()),
            edge,
            writes: FuturesUnordered::new(),
            full: Vec::new(),
        }
    }

    /// Adds an event. `false`: another process was faster.
    async fn add(&mut self, position: Position, cid: EventCid) -> Result<bool, CheckpointError> {
        if self.edge.last().is_some_and(|(last, _)| position <= last) {
            let error = EventLogError::integrity("the positions of the log don't increase");
            return Err(error.with("position", position).into());
        }
        let mut full = std::mem::take(&mut self.full);
        self.edge.push(position, cid, &mut full);
        let (ctx, store) = (self.ctx, self.store);
        for tile in full.drain(..) {
            let write = async move {
                let put = store.put(ctx, &tile).await?;
                Ok((tile, put))
            };
            self.writes.push(write.boxed());
            // Starts it, and takes what is done meanwhile.
            while let Some(Some(done)) = self.writes.next().now_or_never() {
                if !self.settle(done?).await? {
                    return Ok(false);
                }
            }
        }
        self.full = full;
        if self.writes.len() > WRITES && !self.settle_all(WRITES).await? {
            return Ok(false);
        }
        if self.edge.size().is_multiple_of(SAVED_EVENTS) {
            return self.save().await;
        }
        Ok(true)
    }

    /// Waits until at most so many writes are under way. `false`: another process was faster.
    async fn settle_all(&mut self, left: usize) -> Result<bool, CheckpointError> {
        while self.writes.len() > left {
            let Some(done) = self.writes.next().await else {
                break;
            };
            if !self.settle(done?).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sees to a tile under whose key there is another one.
    async fn settle(&mut self, (tile, put): (FullTile, Put)) -> Result<bool, CheckpointError> {
        let Put::Other(revision) = put else {
            return Ok(true);
        };
        let (now, _) = self.store.load(self.ctx).await?;
        if now.size() >= tile.tile.end() {
            return Ok(false);
        }
        // No tree has it: it is left of a run that broke off, over a log that has changed since.
        let replaced = self.store.replace(self.ctx, &tile, revision).await?;
        Ok(replaced == Put::Stored)
    }

    /// Makes what was added the tree's. `false`: another process was faster.
    async fn save(&mut self) -> Result<bool, CheckpointError> {
        if !self.settle_all(0).await? {
            return Ok(false);
        }
        let (revision, size) = self.saved;
        if size == self.edge.size() {
            return Ok(true);
        }
        match self.store.save(self.ctx, &self.edge, revision).await? {
            Some(revision) => {
                self.saved = (revision, self.edge.size());
                Ok(true)
            }
            None => Ok(false),
        }
    }

    async fn finish(mut self) -> Result<Option<Edge>, CheckpointError> {
        Ok(self.save().await?.then_some(self.edge))
    }
}
