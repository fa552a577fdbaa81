//! Reading a tree: hashes of any part of it, its events, and where they stand in the log.
//!
//! Every tile that is read is compared with the hash of it that the tile above has, up to the
//! edge, whose own root is checked where it is read. So what comes from here belongs to one tree.

use std::collections::HashMap;
use std::sync::Arc;

use cim_store::{Context, EventCid, Position};

use super::edge::{decode_bundle, decode_hashes, decode_places, root_of_tile};
use super::{Edge, PLACES_WIDTH, TILE_HEIGHT, TILE_WIDTH, Tile, TilePiece, TileStore};
use crate::persistence::checkpoint::CheckpointError;
use crate::persistence::checkpoint::tree::{Node, Subtree, TreeHash};

/// How many tiles are kept in memory.
const CACHED_TILES: usize = 256;

/// Reads one tree as it was when its edge was loaded.
#[derive(Debug)]
pub(crate) struct TileReader {
    store: Option<TileStore>,
    edge: Edge,
    hashes: HashMap<(u32, u64), Arc<[TreeHash]>>,
    bundle: Option<(u64, Arc<[EventCid]>)>,
    places: Option<(u64, Arc<[Position]>)>,
}

impl TileReader {
    /// Reads the tree in this store; without one there are no events in it.
    pub(crate) async fn open(
        ctx: &Context,
        store: Option<TileStore>,
    ) -> Result<Self, CheckpointError> {
        let edge = match &store {
            Some(store) => store.load(ctx).await?.0,
            None => Edge::default(),
        };
        Ok(Self::of(store, edge))
    }

    /// Reads the tree with this edge.
    pub(crate) fn of(store: Option<TileStore>, edge: Edge) -> Self {
        Self {
            store,
            edge,
            hashes: HashMap::new(),
            bundle: None,
            places: None,
        }
    }

    pub(crate) fn edge(&self) -> &Edge {
        &self.edge
    }

    /// Fails unless the tree has so many events.
    pub(crate) fn check_covers(&self, needed: u64) -> Result<(), CheckpointError> {
        let covered = self.edge.size();
        if covered < needed {
            return Err(CheckpointError::NotCovered { covered, needed });
        }
        Ok(())
    }

    /// The root of the tree's first `size` events.
    pub(crate) async fn root(
        &mut self,
        ctx: &Context,
        size: u64,
    ) -> Result<TreeHash, CheckpointError> {
        self.subtree(ctx, Subtree::new(0, size)).await
    }

    /// The hash of a part of the tree.
    pub(crate) async fn subtree(
        &mut self,
        ctx: &Context,
        part: Subtree,
    ) -> Result<TreeHash, CheckpointError> {
        Ok(Subtree::root(&self.peaks(ctx, part).await?))
    }

    /// The hashes of the perfect subtrees that make a part of the tree.
    pub(crate) async fn peaks(
        &mut self,
        ctx: &Context,
        part: Subtree,
    ) -> Result<Vec<TreeHash>, CheckpointError> {
        let mut peaks = Vec::new();
        for node in part.nodes() {
            peaks.push(self.node(ctx, node).await?);
        }
        Ok(peaks)
    }

    /// The hash of a perfect subtree.
    pub(crate) async fn node(
        &mut self,
        ctx: &Context,
        node: Node,
    ) -> Result<TreeHash, CheckpointError> {
        // It spans `count` hashes of the highest tile that has not higher ones.
        let (level, above) = (node.height / TILE_HEIGHT, node.height % TILE_HEIGHT);
        let (first, count) = (node.index << above, 1 << above);
        let tile = first / TILE_WIDTH as u64;
        let offset = (first % TILE_WIDTH as u64) as usize;
        let hashes = self.tile(ctx, level, tile).await?;
        match hashes.get(offset..offset + count) {
            Some(hashes) => Ok(root_of_tile(hashes.iter().copied())),
            None => {
                let end = (node.index + 1) << node.height;
                Err(CheckpointError::NotCovered {
                    covered: self.edge.size(),
                    needed: end,
                })
            }
        }
    }

    fn is_full(&self, level: u32, index: u64) -> bool {
        let shift = TILE_HEIGHT * (level + 1);
        index < self.edge.size().checked_shr(shift).unwrap_or(0)
    }

    /// The hashes of a tile, full or not.
    async fn tile(
        &mut self,
        ctx: &Context,
        level: u32,
        index: u64,
    ) -> Result<Arc<[TreeHash]>, CheckpointError> {
        // Up to a tile that was checked, or to the edge, and down again.
        let (mut level, mut index) = (level, index);
        let mut unread = Vec::new();
        let mut above = loop {
            if let Some(hashes) = self.hashes.get(&(level, index)) {
                break Arc::clone(hashes);
            }
            if !self.is_full(level, index) {
                break self.edge.hashes(level).into();
            }
            unread.push((level, index));
            level += 1;
            index /= TILE_WIDTH as u64;
        };
        while let Some((level, index)) = unread.pop() {
            let (name, hashes) = match level {
                0 => {
                    let tile = Tile::Entries { index };
                    let cids = decode_bundle(&self.get(ctx, tile).await?).unwrap_or_default();
                    let hashes = cids.iter().map(TreeHash::of_event).collect();
                    self.bundle = Some((index, cids.into()));
                    (tile, Some(hashes))
                }
                _ => {
                    let tile = Tile::Hashes { level, index };
                    (tile, decode_hashes(&self.get(ctx, tile).await?))
                }
            };
            let expected = above.get((index % TILE_WIDTH as u64) as usize).copied();
            let hashes: Vec<TreeHash> = hashes.unwrap_or_default();
            let found = root_of_tile(hashes.iter().copied());
            if hashes.len() != TILE_WIDTH || Some(found) != expected {
                self.bundle = None;
                return Err(CheckpointError::Damaged {
                    key: name.to_string(),
                    reason: "does not have the hash that the tile above it has",
                });
            }
            if self.hashes.len() >= CACHED_TILES {
                self.hashes.clear();
            }
            above = hashes.into();
            self.hashes.insert((level, index), Arc::clone(&above));
        }
        Ok(above)
    }

    async fn get(&self, ctx: &Context, tile: Tile) -> Result<bytes::Bytes, CheckpointError> {
        match &self.store {
            Some(store) => store.get(ctx, tile).await,
            None => Err(CheckpointError::NotCovered {
                covered: 0,
                needed: 1,
            }),
        }
    }

    /// The events of a bundle, full or not, from the one with the index `256 * index` on.
    pub(crate) async fn bundle(
        &mut self,
        ctx: &Context,
        index: u64,
    ) -> Result<Arc<[EventCid]>, CheckpointError> {
        if !self.is_full(0, index) {
            return Ok(self.edge.entries.as_slice().into());
        }
        // What is cached was checked; reading its hashes checks it, too, and mostly caches it.
        for _ in 0..2 {
            match &self.bundle {
                Some((cached, cids)) if *cached == index => return Ok(Arc::clone(cids)),
                _ => {
                    self.hashes.remove(&(0, index));
                    self.tile(ctx, 0, index).await?;
                }
            }
        }
        Err(CheckpointError::NotCovered {
            covered: self.edge.size(),
            needed: (index + 1) * TILE_WIDTH as u64,
        })
    }

    /// The CID of the event at an index.
    pub(crate) async fn cid(
        &mut self,
        ctx: &Context,
        index: u64,
    ) -> Result<EventCid, CheckpointError> {
        self.check_covers(index.saturating_add(1))?;
        let bundle = self.bundle(ctx, index / TILE_WIDTH as u64).await?;
        let offset = (index % TILE_WIDTH as u64) as usize;
        bundle
            .get(offset)
            .copied()
            .ok_or(CheckpointError::NotCovered {
                covered: self.edge.size(),
                needed: index.saturating_add(1),
            })
    }

    async fn places(
        &mut self,
        ctx: &Context,
        index: u64,
    ) -> Result<Arc<[Position]>, CheckpointError> {
        if index >= self.edge.size() / PLACES_WIDTH as u64 {
            return Ok(self.edge.places.as_slice().into());
        }
        match &self.places {
            Some((cached, places)) if *cached == index => return Ok(Arc::clone(places)),
            _ => {}
        }
        let tile = Tile::Places { index };
        let bytes = self.get(ctx, tile).await?;
        let places: Arc<[Position]> = match decode_places(&bytes, PLACES_WIDTH) {
            Some((places, [])) => places.into(),
            _ => {
                return Err(CheckpointError::Damaged {
                    key: tile.to_string(),
                    reason: "does not hold increasing positions",
                });
            }
        };
        self.places = Some((index, Arc::clone(&places)));
        Ok(places)
    }

    /// How many events of the tree stand at this position or before it.
    pub(crate) async fn count_through(
        &mut self,
        ctx: &Context,
        position: Position,
    ) -> Result<u64, CheckpointError> {
        // The last piece that begins at the position or before it.
        let (mut low, mut high) = (0, self.edge.size() / PLACES_WIDTH as u64 + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let places = self.places(ctx, middle).await?;
            match places.first() {
                Some(first) if *first <= position => low = middle + 1,
                _ => high = middle,
            }
        }
        let Some(piece) = low.checked_sub(1) else {
            return Ok(0);
        };
        let places = self.places(ctx, piece).await?;
        let within = places.partition_point(|place| *place <= position);
        Ok(piece * PLACES_WIDTH as u64 + within as u64)
    }

    /// The index of the event at a position; `None` where the tree has none there.
    pub(crate) async fn index_of(
        &mut self,
        ctx: &Context,
        position: Position,
    ) -> Result<Option<u64>, CheckpointError> {
        let Some(index) = self.count_through(ctx, position).await?.checked_sub(1) else {
            return Ok(None);
        };
        let found = self.position(ctx, index).await?;
        Ok((found == Some(position)).then_some(index))
    }

    /// Where the event with an index stands in the log.
    pub(crate) async fn position(
        &mut self,
        ctx: &Context,
        index: u64,
    ) -> Result<Option<Position>, CheckpointError> {
        let places = self.places(ctx, index / PLACES_WIDTH as u64).await?;
        let offset = (index % PLACES_WIDTH as u64) as usize;
        Ok(places.get(offset).copied())
    }

    /// The index of the event with a CID, found by looking at every bundle.
    pub(crate) async fn find(
        &mut self,
        ctx: &Context,
        cid: EventCid,
    ) -> Result<Option<u64>, CheckpointError> {
        for index in 0..self.edge.size().div_ceil(TILE_WIDTH as u64) {
            let bundle = self.bundle(ctx, index).await?;
            if let Some(offset) = bundle.iter().position(|found| *found == cid) {
                return Ok(Some(index * TILE_WIDTH as u64 + offset as u64));
            }
        }
        Ok(None)
    }

    /// The bytes of a piece, as C2SP's format has them.
    pub(crate) async fn piece(
        &mut self,
        ctx: &Context,
        piece: TilePiece,
    ) -> Result<Vec<u8>, CheckpointError> {
        use super::edge::{encode_bundle, encode_hashes, encode_places};
        let bytes = match piece.tile {
            Tile::Entries { index } => {
                let cids = self.bundle(ctx, index).await?;
                cids.get(..piece.width).map(encode_bundle)
            }
            Tile::Hashes { level, index } => {
                let hashes = self.tile(ctx, level, index).await?;
                hashes.get(..piece.width).map(encode_hashes)
            }
            Tile::Places { index } => {
                let places = self.places(ctx, index).await?;
                places.get(..piece.width).map(encode_places)
            }
        };
        bytes.ok_or(CheckpointError::NotCovered {
            covered: self.edge.size(),
            needed: self.edge.size().saturating_add(1),
        })
    }
}
