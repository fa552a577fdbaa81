//! Tiles in a bucket.

use std::sync::Arc;

use bytes::Bytes;
use cim_store::{
    Bucket, BucketError, BucketErrorKind, Context, Entry, Fault, Key, Revision, WriteOptions,
};

use super::{EDGE_KEY, Edge, FullTile, Tile};
use crate::persistence::checkpoint::CheckpointError;

/// How often a write is tried whose answer was lost.
const TRIES: u32 = 4;

/// What became of a full tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is stored.
    Stored,
    /// There is another one under its key, of this revision.
    Other(Revision),
}

/// Where the tiles of a tree are kept.
#[derive(Clone, Debug)]
pub(crate) struct TileStore {
    bucket: Arc<dyn Bucket>,
}

impl TileStore {
    pub(crate) fn new(bucket: Arc<dyn Bucket>) -> Self {
        Self { bucket }
    }

    /// The tree's right edge, and the revision to change it from.
    pub(crate) async fn load(&self, ctx: &Context) -> Result<(Edge, Revision), CheckpointError> {
        match self.entry(ctx, EDGE_KEY).await? {
            Some(entry) => {
                let edge = Edge::decode(&entry.value).map_err(CheckpointError::Edge)?;
                Ok((edge, entry.revision))
            }
            None => Ok((Edge::default(), Revision::NONE)),
        }
    }

    /// Makes `edge` the tree's, if its edge is still the one of this revision. `None`: it is not.
    /// Every full tile below the edge has to be stored before.
    pub(crate) async fn save(
        &self,
        ctx: &Context,
        edge: &Edge,
        expected: Revision,
    ) -> Result<Option<Revision>, CheckpointError> {
        let Some(value) = edge.encode().map(Bytes::from) else {
            return Ok(Some(expected));
        };
        let key = key(EDGE_KEY)?;
        let mut tries = 1;
        loop {
            let error = match self.set(ctx, &key, value.clone(), expected).await {
                Ok(revision) => return Ok(Some(revision)),
                Err(error) => error,
            };
            let lost = matches!(error.kind(), BucketErrorKind::Unknown);
            if !lost && !error.is_conflict() {
                return Err(error.into());
            }
            // After a lost answer a conflict may be with our own value.
            match self.entry(ctx, EDGE_KEY).await? {
                Some(entry) if entry.value == value => return Ok(Some(entry.revision)),
                Some(entry) if entry.revision != expected => return Ok(None),
                None if expected != Revision::NONE => return Ok(None),
                _ if tries == TRIES => return Err(error.into()),
                _ => tries += 1,
            }
        }
    }

    /// Takes the edge away. The tiles are left over then, belong to no tree, and are replaced.
    pub(crate) async fn forget(&self, ctx: &Context) -> Result<(), CheckpointError> {
        self.bucket.delete(ctx, &key(EDGE_KEY)?, None).await?;
        Ok(())
    }

    /// Stores a full tile, unless another one is there.
    pub(crate) async fn put(&self, ctx: &Context, tile: &FullTile) -> Result<Put, CheckpointError> {
        self.write(ctx, tile, Revision::NONE).await
    }

    /// Stores a full tile in place of what is left, under its key, of a run that broke off.
    pub(crate) async fn replace(
        &self,
        ctx: &Context,
        tile: &FullTile,
        expected: Revision,
    ) -> Result<Put, CheckpointError> {
        self.write(ctx, tile, expected).await
    }

    async fn write(
        &self,
        ctx: &Context,
        tile: &FullTile,
        expected: Revision,
    ) -> Result<Put, CheckpointError> {
        let name = tile.tile.to_string();
        let key = key(&name)?;
        let mut tries = 1;
        loop {
            let error = match self.set(ctx, &key, tile.bytes.clone(), expected).await {
                Ok(_) => return Ok(Put::Stored),
                Err(error) => error,
            };
            let lost = matches!(error.kind(), BucketErrorKind::Unknown);
            if !lost && !error.is_conflict() {
                return Err(error.into());
            }
            match self.entry(ctx, &name).await? {
                Some(entry) if entry.value == tile.bytes => return Ok(Put::Stored),
                Some(entry) if entry.revision != expected => {
                    return Ok(Put::Other(entry.revision));
                }
                _ if tries == TRIES => return Err(error.into()),
                _ => tries += 1,
            }
        }
    }

    async fn set(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        expected: Revision,
    ) -> Result<Revision, BucketError> {
        let options = WriteOptions::default();
        if expected == Revision::NONE {
            self.bucket.create(ctx, key, value, options).await
        } else {
            self.bucket.update(ctx, key, value, expected, options).await
        }
    }

    /// A full tile, as it is stored.
    pub(crate) async fn get(&self, ctx: &Context, tile: Tile) -> Result<Bytes, CheckpointError> {
        let key = tile.to_string();
        match self.entry(ctx, &key).await? {
            Some(entry) => Ok(entry.value),
            None => Err(CheckpointError::Damaged {
                key,
                reason: "is missing",
            }),
        }
    }

    async fn entry(&self, ctx: &Context, name: &str) -> Result<Option<Entry>, CheckpointError> {
        Ok(self.bucket.get(ctx, &key(name)?).await?)
    }
}

fn key(name: &str) -> Result<Key, CheckpointError> {
    Key::new(name.to_owned()).map_err(|error| {
        let message = "a tile has a name that can't be a key";
        BucketError::new(Fault::Invalid, message)
            .with_source(error)
            .into()
    })
}
