//! The tree in pieces: tiles of 256 hashes, bundles of 256 events, and where the events stand in the
//! log (c2sp.org/tlog-tiles).
//!
//! What is full never changes and has a key of its own. Everything that is not full yet, the tree's
//! right [`Edge`], is one value under one key, and a tree grows by comparing and setting that value:
//! so two processes that extend it at once can't mix, and a crash leaves the tree as it was before.
//! Leaf hashes are not kept, because they are the hashes of the bundles' CIDs.

mod edge;
mod path;
mod reader;
mod state;
mod store;

pub use edge::{Edge, FullTile};
pub use path::{Tile, TilePiece, pieces_of};
pub use state::{EDGE_KEY, StateError};

pub(super) use reader::TileReader;
pub(super) use store::{Put, TileStore};

/// How many hashes a tile has, and how many events a bundle.
pub const TILE_WIDTH: usize = 256;
/// How many levels of a tree one tile spans: 256 is two to the power of this.
pub const TILE_HEIGHT: u32 = 8;
/// How many positions are kept under one key.
pub const PLACES_WIDTH: usize = 4096;

#[cfg(test)]
mod tests;
