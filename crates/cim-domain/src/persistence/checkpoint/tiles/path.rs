//! The names of tiles, which are keys in a bucket, files below a directory and paths on a server.

use std::fmt;

use super::{PLACES_WIDTH, TILE_HEIGHT, TILE_WIDTH};
use crate::persistence::checkpoint::tree::{LEAF_BYTES, TreeHash};

/// One piece of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tile {
    /// Hashes: at level 0 those of leaves, at level 1 those of full tiles at level 0, and so on.
    Hashes {
        /// The level, 0 to 7.
        level: u32,
        /// The tile's place in its level, from 0.
        index: u64,
    },
    /// Events: their binary CIDs.
    Entries {
        /// The bundle's place, from 0.
        index: u64,
    },
    /// Positions of events in the log. No part of C2SP's format.
    Places {
        /// Its place, from 0.
        index: u64,
    },
}

impl Tile {
    /// How many events a tree has where this is its last full piece of its kind.
    #[must_use]
    pub fn end(self) -> u64 {
        match self {
            Self::Hashes { level, index } => (index + 1) << (TILE_HEIGHT * (level + 1)),
            Self::Entries { index } => (index + 1) * TILE_WIDTH as u64,
            Self::Places { index } => (index + 1) * PLACES_WIDTH as u64,
        }
    }
}

impl fmt::Display for Tile {
    /// The path of the whole piece: `tile/1/x001/234`, `tile/entries/000`, `places/000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = match self {
            Self::Hashes { level, index } => {
                write!(f, "tile/{level}/")?;
                *index
            }
            Self::Entries { index } => {
                f.write_str("tile/entries/")?;
                *index
            }
            Self::Places { index } => {
                f.write_str("places/")?;
                *index
            }
        };
        // In elements of three digits, of which all but the last begin with an `x`.
        let mut elements = vec![index % 1000];
        let mut rest = index / 1000;
        while rest > 0 {
            elements.push(rest % 1000);
            rest /= 1000;
        }
        while let Some(element) = elements.pop() {
            let (mark, slash) = if elements.is_empty() {
                ("", "")
            } else {
                ("x", "/")
            };
            write!(f, "{mark}{element:03}{slash}")?;
        }
        Ok(())
    }
}

/// A tile as a tree of some size has it: whole, or only its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TilePiece {
    /// The tile.
    pub tile: Tile,
    /// How much of it there is: 1 to 256 hashes or events.
    pub width: usize,
}

impl TilePiece {
    /// How many bytes it has, where it is one of C2SP's.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self.tile {
            Tile::Entries { .. } => self.width * (2 + LEAF_BYTES),
            _ => self.width * TreeHash::BYTES,
        }
    }
}

impl fmt::Display for TilePiece {
    /// Its path: `tile/1/x001/234`, or `tile/1/x001/234.p/17` where it is not whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tile.fmt(f)?;
        if self.width < TILE_WIDTH {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

/// Everything that C2SP's format has for a tree of this size: first the bundles, then the tiles
/// level by level.
///
/// ```
/// use cim_domain::persistence::checkpoint::tiles::pieces_of;
///
/// let pieces: Vec<_> = pieces_of(300).map(|piece| (piece.to_string(), piece.bytes())).collect();
/// assert_eq!(
///     pieces,
///     [
///         ("tile/entries/000".to_owned(), 256 * 38), // 256 events of 38 bytes
///         ("tile/entries/001.p/44".to_owned(), 44 * 38),
///         ("tile/0/000".to_owned(), 256 * 32), // the hashes of the events
///         ("tile/0/001.p/44".to_owned(), 44 * 32),
///         ("tile/1/000.p/1".to_owned(), 32), // the hash above the first 256
///     ]
/// );
/// ```
pub fn pieces_of(size: u64) -> impl Iterator<Item = TilePiece> {
    let bundles = row(size).map(|(index, width)| TilePiece {
        tile: Tile::Entries { index },
        width,
    });
    let levels = (0..u64::BITS / TILE_HEIGHT).flat_map(move |level| {
        row(size >> (TILE_HEIGHT * level)).map(move |(index, width)| TilePiece {
            tile: Tile::Hashes { level, index },
            width,
        })
    });
    bundles.chain(levels)
}

/// The index and width of each piece of a row of this many.
fn row(count: u64) -> impl Iterator<Item = (u64, usize)> {
    let full = count / TILE_WIDTH as u64;
    let rest = (count % TILE_WIDTH as u64) as usize;
    let last = (rest > 0).then_some((full, rest));
    (0..full).map(|index| (index, TILE_WIDTH)).chain(last)
}
