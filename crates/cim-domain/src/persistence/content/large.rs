//! Content of any size: taken from a stream and given back as one, with memory for a few blocks.

use std::ops::{Bound, RangeBounds};
use std::vec;

use bytes::Bytes;
use cim_ipld::{Block, Cid, RAW_CODE};
use cim_store::Context;
use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::blocks::Presence;
use super::error::{Cause, ContentError, Shape};
use super::layout::{self, Linked, MAX_DEPTH, Piece, TreeBuilder};
use super::store::{ContentStore, Stored};

/// Bytes of content in their order, or the error that ends them.
pub type ContentStream = BoxStream<'static, Result<Bytes, ContentError>>;

/// How many leaves are written at the same time.
const WRITES: usize = 8;

/// How many leaves are read at the same time.
const READS: usize = 4;

impl ContentStore {
    /// Stores the leaves and nodes of a stream's bytes.
    pub(super) async fn keep_stream<S, E>(
        &self,
        ctx: &Context,
        content: S,
    ) -> Result<Stored, ContentError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Cause>,
    {
        let settings = self.settings;
        let mut tree = TreeBuilder::new(settings.hash, settings.fan_out);
        let (mut nodes, mut stored) = (Vec::new(), None::<Stored>);
        let leaves = chunks(content, settings.chunk_bytes).map(|chunk| {
            let (store, ctx) = (self.clone(), ctx.clone());
            async move {
                let leaf = Block::new(RAW_CODE, settings.hash, chunk?);
                let presence = store.keep(&ctx, &leaf).await?;
                let length = leaf.bytes.len() as u64;
                Ok::<_, ContentError>((leaf.cid, length, presence))
            }
        });
        let mut leaves = std::pin::pin!(leaves.buffered(WRITES));
        while let Some((cid, length, presence)) = leaves.try_next().await? {
            let tally = stored.get_or_insert_with(|| Stored::nothing(cid));
            tally.count(length, presence);
            let leaf = Linked { length, cid };
            tree.push(leaf, &mut nodes)
                .map_err(|shape| ContentError::malformed(&cid, shape))?;
            self.keep_nodes(ctx, &mut nodes, tally).await?;
        }
        let Some(mut stored) = stored else {
            let empty = Block::new(RAW_CODE, settings.hash, Bytes::new());
            let presence = self.keep(ctx, &empty).await?;
            let mut stored = Stored::nothing(empty.cid);
            stored.count(0, presence);
            return Ok(stored);
        };
        let root = tree
            .finish(&mut nodes)
            .map_err(|shape| ContentError::malformed(&stored.cid, shape))?;
        self.keep_nodes(ctx, &mut nodes, &mut stored).await?;
        if let Some(root) = root {
            stored.cid = root.cid;
        }
        Ok(stored)
    }

    async fn keep_nodes(
        &self,
        ctx: &Context,
        nodes: &mut Vec<Block>,
        stored: &mut Stored,
    ) -> Result<(), ContentError> {
        for node in nodes.drain(..) {
            let presence = self.keep(ctx, &node).await?;
            stored.count(0, presence);
        }
        Ok(())
    }

    /// Reads a part of the content of a root.
    pub(super) fn stream_of(
        &self,
        ctx: &Context,
        root: &Block,
        range: impl RangeBounds<u64>,
    ) -> Result<ContentStream, ContentError> {
        let (start, end) = limits(range);
        let pieces = pieces(root)?;
        let walk = Walk {
            store: self.clone(),
            ctx: ctx.clone(),
            root: root.cid,
            levels: vec![pieces.into_iter()],
            at: 0,
            start,
            end,
        };
        let segments = stream::try_unfold(walk, |mut walk| async move {
            let segment = walk.next().await?;
            Ok::<_, ContentError>(segment.map(|segment| (segment, walk)))
        });
        let (store, ctx, root) = (self.clone(), ctx.clone(), root.cid);
        let bytes = segments.map_ok(move |segment| {
            let (store, ctx) = (store.clone(), ctx.clone());
            async move { store.fetch(&ctx, &root, segment).await }
        });
        Ok(bytes.try_buffered(READS).boxed())
    }

    async fn fetch(
        &self,
        ctx: &Context,
        root: &Cid,
        segment: Segment,
    ) -> Result<Bytes, ContentError> {
        let Segment { piece, from, to } = segment;
        let bytes = match piece {
            Piece::Inline(bytes) => bytes,
            Piece::Linked(Linked { length, cid }) => {
                let leaf = self.part(ctx, &cid, root).await?;
                layout::check_length(length, leaf.bytes.len() as u64)
                    .map_err(|shape| ContentError::malformed(&cid, shape))?;
                leaf.bytes
            }
        };
        // Both lie within the piece, whose length was just compared.
        Ok(bytes.slice(from..to))
    }

    /// A block that content leads to.
    async fn part(&self, ctx: &Context, cid: &Cid, root: &Cid) -> Result<Block, ContentError> {
        match self.find(ctx, cid).await? {
            Some((block, _)) => Ok(block),
            None => Err(ContentError::missing(cid, root)),
        }
    }

    /// How many bytes the content of a root has.
    pub(super) fn length_of(root: &Block) -> Result<u64, ContentError> {
        layout::length(&pieces(root)?).map_err(|shape| ContentError::malformed(&root.cid, shape))
    }
}

fn pieces(block: &Block) -> Result<Vec<Piece>, ContentError> {
    layout::pieces(block).map_err(|shape| ContentError::malformed(&block.cid, shape))
}

/// From the first byte that is wanted to the one behind the last.
fn limits(range: impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(first) => *first,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    if start < end { (start, end) } else { (0, 0) }
}

/// A piece of content without parts, and what is wanted of it.
#[derive(Debug)]
struct Segment {
    piece: Piece,
    from: usize,
    to: usize,
}

/// A walk over the pieces of content in their order, past those that are not wanted.
#[derive(Debug)]
struct Walk {
    store: ContentStore,
    ctx: Context,
    root: Cid,
    /// What is left of the root's pieces, of those of the node under way, and so on.
    levels: Vec<vec::IntoIter<Piece>>,
    /// How many bytes there are before the next piece.
    at: u64,
    start: u64,
    end: u64,
}

impl Walk {
    async fn next(&mut self) -> Result<Option<Segment>, ContentError> {
        while self.at < self.end
            && let Some(level) = self.levels.last_mut()
        {
            let Some(piece) = level.next() else {
                self.levels.pop();
                continue;
            };
            let length = piece.length();
            let after = self.at.saturating_add(length);
            match piece {
                _ if length == 0 || after <= self.start => self.at = after,
                Piece::Linked(linked) if linked.cid.codec() != RAW_CODE => {
                    self.descend(linked).await?
                }
                piece => {
                    let from = self.start.saturating_sub(self.at);
                    let to = length.min(self.end - self.at);
                    self.at = after;
                    return Ok(Some(Segment {
                        piece,
                        from: index(&self.root, from)?,
                        to: index(&self.root, to)?,
                    }));
                }
            }
        }
        Ok(None)
    }

    async fn descend(&mut self, linked: Linked) -> Result<(), ContentError> {
        let malformed = |shape| ContentError::malformed(&linked.cid, shape);
        if self.levels.len() == MAX_DEPTH {
            return Err(malformed(Shape::Depth { max: MAX_DEPTH }));
        }
        let node = self.store.part(&self.ctx, &linked.cid, &self.root).await?;
        let pieces = pieces(&node)?;
        let length = layout::length(&pieces).map_err(malformed)?;
        layout::check_length(linked.length, length).map_err(malformed)?;
        self.levels.push(pieces.into_iter());
        Ok(())
    }
}

/// A place within a piece. A piece that is said to be larger than memory is none of a block.
fn index(root: &Cid, place: u64) -> Result<usize, ContentError> {
    usize::try_from(place).map_err(|_| ContentError::malformed(root, Shape::Length))
}

/// Cuts a stream of bytes into pieces of this size; the last may be smaller.
fn chunks<S, E>(content: S, size: usize) -> impl Stream<Item = Result<Bytes, ContentError>> + Send
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: Into<Cause>,
{
    struct Cutter<S> {
        content: S,
        /// Given, and not yet looked at.
        given: Bytes,
        /// Looked at, less than a piece.
        begun: Vec<u8>,
    }
    let cutter = Cutter {
        content: Box::pin(content),
        given: Bytes::new(),
        begun: Vec::new(),
    };
    stream::try_unfold(cutter, move |mut cutter| async move {
        loop {
            if cutter.begun.is_empty() && cutter.given.len() >= size {
                let piece = cutter.given.split_to(size);
                return Ok(Some((piece, cutter)));
            }
            let taken = cutter.given.len().min(size - cutter.begun.len());
            cutter
                .begun
                .extend_from_slice(&cutter.given.split_to(taken));
            if cutter.begun.len() == size {
                let piece = std::mem::take(&mut cutter.begun).into_boxed_slice().into();
                return Ok(Some((piece, cutter)));
            }
            // All that was given is taken.
            match cutter.content.next().await {
                Some(Ok(given)) => cutter.given = given,
                Some(Err(error)) => return Err(ContentError::Source(error.into())),
                None if cutter.begun.is_empty() => return Ok(None),
                None => {
                    let last = std::mem::take(&mut cutter.begun).into_boxed_slice().into();
                    return Ok(Some((last, cutter)));
                }
            }
        }
    })
}

impl Stored {
    /// Nothing so far.
    pub(super) fn nothing(cid: Cid) -> Self {
        Self {
            cid,
            size: 0,
            blocks: 0,
            new_blocks: 0,
            repaired: 0,
        }
    }

    /// Counts a block, and how many bytes of content it has itself.
    pub(super) fn count(&mut self, size: u64, presence: Presence) {
        self.size += size;
        self.blocks += 1;
        match presence {
            Presence::New => self.new_blocks += 1,
            Presence::There => {}
            Presence::Repaired => self.repaired += 1,
        }
    }
}
