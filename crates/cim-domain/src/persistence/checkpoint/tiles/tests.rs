//! Tiles: their names, their bytes, and that a tree can be had from them again.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use cim_store::memory::MemoryStore;
use cim_store::{
    Bucket, BucketExt, BucketName, BucketSettings, Context, EventCid, Key, Position, Revision,
    Store,
};
use data_encoding::HEXLOWER;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::persistence::checkpoint::CheckpointError;
use crate::persistence::checkpoint::tree::{Subtree, TreeHash, TreeHasher};

/// The bytes of version 1 of the edge, and hashes of full tiles.
const GOLDEN: &str = include_str!("../../../../tests/golden/checkpoint-tiles-v1.txt");

fn cid(index: u64) -> EventCid {
    EventCid::of(&index.to_le_bytes())
}

/// With a gap after every hundred events.
fn position(index: u64) -> Position {
    Position::new(index + 1 + index / 100 * 1000)
}

/// A tree of so many events, and its full tiles.
fn tree(size: u64) -> (Edge, Vec<FullTile>) {
    let (mut edge, mut full) = (Edge::default(), Vec::new());
    (0..size).for_each(|index| edge.push(position(index), cid(index), &mut full));
    (edge, full)
}

fn root(size: u64) -> TreeHash {
    part(Subtree::new(0, size))
}

fn part(part: Subtree) -> TreeHash {
    let mut tree = TreeHasher::new();
    (part.start..part.end).for_each(|index| tree.push_event(&cid(index)));
    tree.root()
}

/// A bucket with the tree of so many events, as a run leaves it.
async fn stored(size: u64) -> (Arc<dyn Bucket>, TileStore) {
    let (ctx, store) = (Context::new(), MemoryStore::new());
    let name = BucketName::new("tree").unwrap();
    let settings = BucketSettings::default();
    let bucket = store.bucket(&ctx, &name, settings).await.unwrap();
    let tiles = TileStore::new(Arc::clone(&bucket));
    let (edge, full) = tree(size);
    for tile in &full {
        assert_eq!(tiles.put(&ctx, tile).await.unwrap(), Put::Stored);
    }
    let saved = tiles.save(&ctx, &edge, Revision::NONE).await.unwrap();
    assert!(saved.is_some());
    (bucket, tiles)
}

async fn reader(size: u64) -> TileReader {
    let (_, tiles) = stored(size).await;
    TileReader::open(&Context::new(), Some(tiles))
        .await
        .unwrap()
}

#[test]
fn paths_are_those_of_the_specification() {
    let hashes = |level, index| Tile::Hashes { level, index }.to_string();
    assert_eq!(hashes(0, 1_234_067), "tile/0/x001/x234/067");
    assert_eq!(hashes(2, 0), "tile/2/000");
    assert_eq!(hashes(1, 1000), "tile/1/x001/000");
    let entries = Tile::Entries { index: 999 };
    assert_eq!(entries.to_string(), "tile/entries/999");
    let piece = |width| TilePiece {
        tile: entries,
        width,
    };
    assert_eq!(piece(17).to_string(), "tile/entries/999.p/17");
    assert_eq!(piece(256).to_string(), "tile/entries/999");
    assert_eq!(Tile::Places { index: 12 }.to_string(), "places/012");
}

#[test]
fn a_tree_of_70_000_has_the_pieces_of_the_specifications_example() {
    let mut rows: HashMap<Option<u32>, Vec<usize>> = HashMap::new();
    for piece in pieces_of(70_000) {
        let level = match piece.tile {
            Tile::Hashes { level, .. } => Some(level),
            _ => None,
        };
        rows.entry(level).or_default().push(piece.width);
    }
    let mut leaves = vec![256; 273];
    leaves.push(112);
    assert_eq!(rows[&Some(0)], leaves);
    assert_eq!(rows[&None], leaves);
    assert_eq!(rows[&Some(1)], [256, 17]);
    assert_eq!(rows[&Some(2)], [1]);
    assert_eq!(rows.len(), 4);
    let paths: Vec<String> = pieces_of(256).map(|piece| piece.to_string()).collect();
    assert_eq!(paths, ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(pieces_of(0).count(), 0);
}

#[test]
fn the_edge_has_the_root_of_the_tree() {
    assert_eq!(Edge::default().root(), TreeHash::of_nothing());
    let mut whole = TreeHasher::new();
    let (mut edge, mut full) = (Edge::default(), Vec::new());
    for index in 0..66_000 {
        whole.push_event(&cid(index));
        edge.push(position(index), cid(index), &mut full);
        if index % 97 == 0 || index % 256 < 2 || index > 65_530 && index < 65_540 {
            assert_eq!(edge.root(), whole.root(), "{} events", index + 1);
        }
    }
    assert_eq!(edge.last(), Some((position(65_999), cid(65_999))));
    // Every full piece above the leaves was handed out once.
    let mut names: Vec<Tile> = full.iter().map(|tile| tile.tile).collect();
    let is_kept = |piece: &TilePiece| {
        piece.width == TILE_WIDTH && !matches!(piece.tile, Tile::Hashes { level: 0, .. })
    };
    let mut expected: Vec<Tile> = pieces_of(66_000).filter(is_kept).map(|p| p.tile).collect();
    expected.extend((0..66_000 / PLACES_WIDTH as u64).map(|index| Tile::Places { index }));
    names.sort_by_key(Tile::to_string);
    expected.sort_by_key(Tile::to_string);
    assert_eq!(names, expected);
}

#[test]
fn an_edge_is_read_as_it_is_written() {
    assert_eq!(Edge::default().encode(), None);
    for size in [
        1, 2, 255, 256, 257, 4095, 4096, 4097, 65_535, 65_536, 65_793,
    ] {
        let (edge, _) = tree(size);
        let bytes = edge.encode().unwrap();
        assert_eq!(Edge::decode(&bytes), Ok(edge), "{size} events");
        let cut = Edge::decode(&bytes[..bytes.len() - 1]);
        assert_eq!(cut, Err(StateError::Malformed), "{size} events");
        let longer = [&bytes[..], &[1]].concat();
        assert_eq!(Edge::decode(&longer), Err(StateError::Malformed));
    }
}

#[test]
fn other_bytes_are_no_edge() {
    let bytes = tree(300).0.encode().unwrap();
    assert_eq!(Edge::decode(b""), Err(StateError::NotATree));
    assert_eq!(
        Edge::decode(b"cimtrees-and-more"),
        Err(StateError::Version { version: b's' })
    );
    assert_eq!(Edge::decode(&bytes[1..]), Err(StateError::NotATree));
    let mut other = bytes.clone();
    other[16] ^= 1; // the root
    assert_eq!(Edge::decode(&other), Err(StateError::OtherRoot));
    let mut other = bytes.clone();
    other[8..16].copy_from_slice(&0_u64.to_le_bytes());
    assert_eq!(Edge::decode(&other), Err(StateError::Malformed));
    let mut other = bytes;
    other[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(Edge::decode(&other), Err(StateError::Malformed));
}

#[test]
fn the_stored_bytes_are_those_of_version_1() {
    let mut lines = Vec::new();
    for size in [1, 3, 259] {
        let bytes = tree(size).0.encode().unwrap();
        lines.push(format!("edge {size} {}", HEXLOWER.encode(&bytes)));
    }
    let (edge, full) = tree(70_000);
    let digest = |bytes: &[u8]| HEXLOWER.encode(&Sha256::digest(bytes));
    lines.push(format!(
        "sha256 edge 70000 {}",
        digest(&edge.encode().unwrap())
    ));
    for tile in full {
        let name = tile.tile.to_string();
        if name.ends_with("/000") || name.ends_with("/272") {
            lines.push(format!("sha256 {name} {}", digest(&tile.bytes)));
        }
    }
    assert_eq!(
        lines.join("\n"),
        GOLDEN.trim_end(),
        "the format has changed"
    );
}

#[tokio::test]
async fn every_part_of_a_tree_has_its_hash() {
    let (ctx, size) = (Context::new(), 66_305);
    let mut reader = reader(size).await;
    assert_eq!(reader.edge().size(), size);
    for (start, end) in [
        (0, size),
        (0, 1),
        (0, 256),
        (0, 65_536),
        (256, 512),
        (65_536, size),
        (66_304, size),
        (66_048, size),
        (66_048, 66_304),
        (4, 8),
        (65_536, 66_048),
    ] {
        let range = Subtree::new(start, end);
        assert_eq!(
            reader.subtree(&ctx, range).await.unwrap(),
            part(range),
            "{range:?}"
        );
    }
    let beyond = reader.root(&ctx, size + 1).await.unwrap_err();
    assert!(
        matches!(beyond, CheckpointError::NotCovered { .. }),
        "{beyond}"
    );
}

#[tokio::test]
async fn every_event_is_found_by_its_position_and_its_cid() {
    let (ctx, size) = (Context::new(), 9_000);
    let mut reader = reader(size).await;
    for index in [0, 1, 99, 100, 255, 256, 4095, 4096, 8191, 8192, 8500, 8999] {
        let place = position(index);
        assert_eq!(reader.cid(&ctx, index).await.unwrap(), cid(index));
        assert_eq!(reader.find(&ctx, cid(index)).await.unwrap(), Some(index));
        assert_eq!(reader.index_of(&ctx, place).await.unwrap(), Some(index));
        assert_eq!(reader.position(&ctx, index).await.unwrap(), Some(place));
        assert_eq!(reader.count_through(&ctx, place).await.unwrap(), index + 1);
    }
    // In a gap, before the first, after the last.
    let gap = Position::new(position(99).get() + 7);
    assert_eq!(reader.index_of(&ctx, gap).await.unwrap(), None);
    assert_eq!(reader.count_through(&ctx, gap).await.unwrap(), 100);
    assert_eq!(reader.count_through(&ctx, Position::NONE).await.unwrap(), 0);
    assert_eq!(
        reader.count_through(&ctx, Position::MAX).await.unwrap(),
        size
    );
    assert_eq!(reader.index_of(&ctx, Position::MAX).await.unwrap(), None);
    assert_eq!(reader.find(&ctx, cid(size)).await.unwrap(), None);
    assert!(reader.cid(&ctx, size).await.is_err());
}

#[tokio::test]
async fn a_tree_without_events_has_none() {
    let ctx = Context::new();
    let mut reader = TileReader::open(&ctx, None).await.unwrap();
    assert_eq!(reader.root(&ctx, 0).await.unwrap(), TreeHash::of_nothing());
    assert_eq!(reader.count_through(&ctx, Position::MAX).await.unwrap(), 0);
    assert_eq!(reader.find(&ctx, cid(0)).await.unwrap(), None);
}

/// Every single full tile, altered or taken away, is noticed where it is read.
#[tokio::test]
async fn a_damaged_tile_is_never_believed() {
    let (ctx, size) = (Context::new(), 65_536 + 300);
    let (bucket, tiles) = stored(size).await;
    for (name, byte) in [
        ("tile/entries/000", 7),
        ("tile/entries/255", 9_000),
        ("tile/entries/256", 1),
        ("tile/1/000", 8_191),
    ] {
        let key = Key::new(name).unwrap();
        let good = bucket.get(&ctx, &key).await.unwrap().unwrap().value;
        let mut altered = good.to_vec();
        altered[byte] ^= 0x10;
        let shorter = good.slice(..good.len() - 32);
        for bad in [
            Some(altered.into()),
            Some(shorter),
            Some(Bytes::new()),
            None,
        ] {
            match bad {
                Some(bytes) => bucket.set(&ctx, &key, bytes).await.unwrap(),
                None => bucket.delete(&ctx, &key, None).await.unwrap(),
            };
            let mut reader = TileReader::open(&ctx, Some(tiles.clone())).await.unwrap();
            let damaged = async {
                for index in [0, 255, 256] {
                    reader.bundle(&ctx, index).await?;
                }
                Ok(())
            };
            match damaged.await {
                Err(CheckpointError::Damaged { key, .. }) => assert_eq!(key, name),
                other => panic!("{name}: {other:?}"),
            }
            bucket.set(&ctx, &key, good.clone()).await.unwrap();
        }
    }
    let key = Key::new("places/003").unwrap();
    bucket
        .set(&ctx, &key, Bytes::from_static(b"\0"))
        .await
        .unwrap();
    let mut reader = TileReader::open(&ctx, Some(tiles)).await.unwrap();
    assert!(reader.position(&ctx, 4 * 4096 - 1).await.is_err());
}

#[tokio::test]
async fn of_two_that_change_the_edge_one_wins() {
    let (ctx, (_, tiles)) = (Context::new(), stored(10).await);
    let (_, revision) = tiles.load(&ctx).await.unwrap();
    let next = tiles.save(&ctx, &tree(11).0, revision).await.unwrap();
    assert!(next.is_some());
    assert_eq!(tiles.save(&ctx, &tree(12).0, revision).await.unwrap(), None);
    let first = tiles.save(&ctx, &tree(12).0, Revision::NONE).await.unwrap();
    assert_eq!(first, None);
    assert_eq!(tiles.load(&ctx).await.unwrap().0, tree(11).0);
}

#[tokio::test]
async fn a_full_tile_is_written_once() {
    let (ctx, (_, tiles)) = (Context::new(), stored(256).await);
    let mut full = tree(256).1.remove(0);
    assert_eq!(tiles.put(&ctx, &full).await.unwrap(), Put::Stored);
    full.bytes = Bytes::from_static(b"other");
    let Put::Other(revision) = tiles.put(&ctx, &full).await.unwrap() else {
        panic!("it was overwritten");
    };
    let other = Revision::new(revision.get() + 9);
    assert_eq!(
        tiles.replace(&ctx, &full, other).await.unwrap(),
        Put::Other(revision)
    );
    assert_eq!(
        tiles.replace(&ctx, &full, revision).await.unwrap(),
        Put::Stored
    );
    assert_eq!(tiles.get(&ctx, full.tile).await.unwrap(), full.bytes);
}

proptest! {
    #[test]
    fn positions_are_read_as_they_are_written(steps in proptest::collection::vec(1..u64::MAX / 64, 0..60)) {
        let mut last = 0;
        let places: Vec<Position> = steps.iter().map(|step| {
            last += step;
            Position::new(last)
        }).collect();
        let bytes = edge::encode_places(&places);
        let read = edge::decode_places(&bytes, places.len());
        prop_assert_eq!(read, Some((places, &[][..])));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in any::<u64>()) {
        let _ = edge::decode_places(&bytes, 10);
        let _ = edge::decode_bundle(&bytes);
        let _ = edge::decode_hashes(&bytes);
        let _ = Edge::decode(&bytes);
        let start = [b"cimtree\x01", &size.to_le_bytes()[..], &bytes].concat();
        let _ = Edge::decode(&start);
    }

    #[test]
    fn an_altered_edge_is_never_the_same_tree(place in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let (good, _) = tree(700);
        let mut bytes = good.encode().unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        // Its hashes are proven by its root; its positions are the bucket's to keep.
        if let Ok(read) = Edge::decode(&bytes) {
            prop_assert_eq!(read.root(), root(700));
            prop_assert!(read != good);
        }
    }
}
