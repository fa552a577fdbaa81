//! Blocks in their bucket: kept once, checked when read, and never lost to a sweep that runs at the
//! same time.
//!
//! # Puts and sweeps
//! A sweep removes a block of a certain revision, the one that its mark names. Whoever relies on a
//! block that is there already (by putting the same content, or by naming it) looks for a mark
//! *first*, then at the block. Where the mark names the block's revision, the block is written again
//! as it is, which gives it another revision. So of a sweep and a put that meet one wins: either the
//! sweep finds another revision and leaves the block, or the put finds no block and stores it anew.
//! Where there was no mark, one that is made later is younger than the put, and its grace begins
//! after it.

use bytes::Bytes;
use cim_ipld::{Block, Cid, RegistryError};
use cim_store::{Context, Revision, WriteOptions};

use super::error::ContentError;
use super::names;
use super::records::{MarkRecord, is_unknown};
use super::{ContentStore, Shape};

/// How often a block is tried where a sweep, or somebody else's put of it, comes in between.
const ATTEMPTS: u32 = 100;

/// What was found where a block was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Nothing: it was stored.
    New,
    /// The same block.
    There,
    /// Other bytes under its CID, which were overwritten.
    Repaired,
}

impl ContentStore {
    /// Stores a block whose bytes are known to hash to its CID, unless it is there.
    pub(super) async fn keep(
        &self,
        ctx: &Context,
        block: &Block,
    ) -> Result<Presence, ContentError> {
        let key = names::block(&block.cid)?;
        let mut attempts = 1;
        loop {
            let value = block.bytes.clone();
            let options = WriteOptions::default();
            let error = match self.blocks.create(ctx, &key, value, options).await {
                Ok(_) => return Ok(Presence::New),
                Err(error) => error,
            };
            if !(error.is_conflict() || is_unknown(&error)) || attempts == ATTEMPTS {
                return Err(error.into());
            }
            attempts += 1;
            let mark = self.mark_of(ctx, &block.cid).await?;
            let Some(entry) = self.blocks.get(ctx, &key).await? else {
                continue;
            };
            let presence = match entry.value == block.bytes {
                true => Presence::There,
                false => Presence::Repaired,
            };
            if presence == Presence::There && mark != Some(entry.revision) {
                return Ok(presence);
            }
            if self
                .rewrite(ctx, &block.cid, block.bytes.clone(), entry.revision)
                .await?
            {
                return Ok(presence);
            }
        }
    }

    /// A block, kept from any sweep under way; `None` where there is none.
    pub(super) async fn hold(
        &self,
        ctx: &Context,
        cid: &Cid,
    ) -> Result<Option<Block>, ContentError> {
        let key = names::block(cid)?;
        for _ in 0..ATTEMPTS {
            let mark = self.mark_of(ctx, cid).await?;
            let Some(entry) = self.blocks.get(ctx, &key).await? else {
                return Ok(None);
            };
            let block = checked(cid, entry.value)?;
            if mark != Some(entry.revision)
                || self
                    .rewrite(ctx, cid, block.bytes.clone(), entry.revision)
                    .await?
            {
                return Ok(Some(block));
            }
        }
        Err(super::records::contended(&key))
    }

    /// A block as it is read: checked, and with its revision.
    pub(super) async fn find(
        &self,
        ctx: &Context,
        cid: &Cid,
    ) -> Result<Option<(Block, Revision)>, ContentError> {
        let Some(entry) = self.blocks.get(ctx, &names::block(cid)?).await? else {
            return Ok(None);
        };
        Ok(Some((checked(cid, entry.value)?, entry.revision)))
    }

    /// The links of a block.
    pub(super) fn links(&self, block: &Block) -> Result<Vec<Cid>, ContentError> {
        self.codecs.links(block).map_err(|error| match error {
            RegistryError::UnknownCodec { code } => ContentError::UnknownCodec {
                cid: Box::new(block.cid),
                code,
            },
            error => ContentError::malformed(&block.cid, Shape::Undecodable(error.into())),
        })
    }

    /// Gives a block another revision. Says no where it is not the one of this revision any more,
    /// or may not be.
    async fn rewrite(
        &self,
        ctx: &Context,
        cid: &Cid,
        bytes: Bytes,
        revision: Revision,
    ) -> Result<bool, ContentError> {
        let (key, options) = (names::block(cid)?, WriteOptions::default());
        match self
            .blocks
            .update(ctx, &key, bytes, revision, options)
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if error.is_conflict() || is_unknown(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The revision that a block's mark means, where it has one.
    async fn mark_of(&self, ctx: &Context, cid: &Cid) -> Result<Option<Revision>, ContentError> {
        let mark = self.record::<MarkRecord>(ctx, &names::mark(cid)?).await?;
        Ok(mark.map(|kept| Revision::new(kept.record.rev)))
    }
}

/// The block of these bytes, if they are what the CID says.
pub(super) fn checked(cid: &Cid, bytes: Bytes) -> Result<Block, ContentError> {
    let block = Block { cid: *cid, bytes };
    match block.verify() {
        Ok(()) => Ok(block),
        Err(source) => Err(ContentError::Altered {
            cid: Box::new(*cid),
            source,
        }),
    }
}
