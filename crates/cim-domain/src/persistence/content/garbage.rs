//! What nothing keeps: found, marked with the time, and taken away when it stayed so.
//!
//! Content is kept by pins, by chains, by what stands beside it, and by content that is kept and
//! links to it. Nothing is taken away on the word of one look: a block goes when it was garbage at
//! one time, has been marked for the whole grace since, is garbage again at a second look that began
//! after that, and was not put meanwhile.

use std::collections::HashSet;

use cim_ipld::{Cid, RAW_CODE};
use cim_store::{Context, Key, Revision, SubjectPattern, Timestamp};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::error::ContentError;
use super::names::{self, Kind};
use super::records::{AboutRecord, ChainRecord, MarkRecord, PinRecord, V1, is_unknown};
use super::store::ContentStore;

/// How many blocks are looked at at the same time.
const LOOKS: usize = 16;

/// What a look for garbage found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Marked {
    /// Blocks that something keeps.
    pub kept: u64,
    /// Garbage that was marked now.
    pub marked: u64,
    /// Garbage that was marked before.
    pub waiting: u64,
    /// Blocks that are not in the store, though kept content links to them, which was
    /// [allowed](ContentStore::with_links_outside). Raw blocks have no links, are not looked for and
    /// don't count.
    pub outside: u64,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// Blocks that were taken away.
    pub removed: u64,
    /// Marks that were, because something keeps the block again, or it was put again.
    pub spared: u64,
    /// Marks that are younger than the grace.
    pub waiting: u64,
}

/// What something keeps.
#[derive(Debug, Default)]
struct Live {
    blocks: HashSet<BlockId>,
    outside: u64,
}

/// A CID in 48 bytes instead of 96: codec, hash function and digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct BlockId(u64, u64, [u8; 32]);

impl BlockId {
    /// `None` for a CID that no block of a store has.
    fn of(cid: &Cid) -> Option<Self> {
        if !names::is_storable(cid) {
            return None;
        }
        let digest = cid.hash().digest().try_into().ok()?;
        Some(Self(cid.codec(), cid.hash().code(), digest))
    }
}

/// Garbage.
impl ContentStore {
    /// Looks for blocks that nothing keeps, and marks them with the time. Nothing is taken away.
    ///
    /// It reads the nodes of everything that is kept, and goes over all blocks. It needs some 100
    /// bytes of memory for each block that is kept.
    ///
    /// # Errors
    /// `Missing` and `Altered` where something that is kept is damaged, because what is below it
    /// can't be seen then; `UnknownCodec`, `Malformed`, `Record` for the same reason; `Unknown`,
    /// `Store`. What was marked by then stays marked.
    pub async fn mark(&self, ctx: &Context) -> Result<Marked, ContentError> {
        let live = self.live(ctx).await?;
        let mut marked = Marked {
            outside: live.outside,
            ..Marked::default()
        };
        let blocks = self.blocks.entries(ctx, &SubjectPattern::all()).await?;
        let mut blocks = blocks.map_err(ContentError::from);
        while let Some(block) = blocks.try_next().await? {
            // What is no block of this store's is nothing that it takes away.
            let Some((cid, id)) = block_of(&block.key) else {
                continue;
            };
            if live.blocks.contains(&id) {
                marked.kept += 1;
            } else if self.mark_block(ctx, &cid, block.revision).await? {
                marked.marked += 1;
            } else {
                marked.waiting += 1;
            }
        }
        Ok(marked)
    }

    /// Takes away what has been marked for longer than the [grace](super::ContentSettings::grace)
    /// and is still kept by nothing.
    ///
    /// # Errors
    /// As [`mark`](Self::mark). What was taken away by then is gone.
    pub async fn sweep(&self, ctx: &Context) -> Result<Swept, ContentError> {
        let began = self.clock.now();
        let marks = self.records_of::<MarkRecord>(ctx, Kind::Mark).await?;
        let is_due = |mark: &MarkRecord| {
            Timestamp::from_micros(mark.at).saturating_add(self.settings.grace) <= began
        };
        let (due, young): (Vec<_>, Vec<_>) = marks
            .into_iter()
            .partition(|(_, kept)| is_due(&kept.record));
        let mut swept = Swept {
            waiting: young.len() as u64,
            ..Swept::default()
        };
        if due.is_empty() {
            return Ok(swept);
        }
        // Only what is seen from here on counts: the look must begin after the marks were due.
        let live = self.live(ctx).await?;
        for (key, mark) in due {
            let cid = Kind::Mark.cid_of(&key)?;
            let kept = BlockId::of(&cid).is_none_or(|id| live.blocks.contains(&id));
            let revision = Revision::new(mark.record.rev);
            if !kept && self.remove(ctx, &cid, revision).await? {
                swept.removed += 1;
            } else {
                swept.spared += 1;
            }
            // After the block: a mark that is not there says that the block may be relied on.
            match self.records.delete(ctx, &key, Some(mark.revision)).await {
                Err(error) if !error.is_conflict() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(swept)
    }

    /// Gives content up: forgets what stands beside it and marks its block, which goes with a later
    /// sweep if nothing keeps it then. Until then it can be read, and be put again, which takes the
    /// mark away. What is below it is marked by the next [`mark`](Self::mark). Whether there was a
    /// block.
    ///
    /// # Errors
    /// `InvalidCid`, `Unknown`, `Store`.
    pub async fn delete(&self, ctx: &Context, cid: &Cid) -> Result<bool, ContentError> {
        self.forget(ctx, cid).await?;
        let Some(entry) = self.blocks.get(ctx, &names::block(cid)?).await? else {
            return Ok(false);
        };
        self.mark_block(ctx, cid, entry.revision).await?;
        Ok(true)
    }

    /// Marks a block of this revision; whether it was not marked yet.
    async fn mark_block(
        &self,
        ctx: &Context,
        cid: &Cid,
        revision: Revision,
    ) -> Result<bool, ContentError> {
        let key = names::mark(cid)?;
        let there = self.record::<MarkRecord>(ctx, &key).await?;
        if there.is_some_and(|kept| kept.record.rev == revision.get()) {
            return Ok(false);
        }
        let mark = MarkRecord {
            v: V1,
            // Only now: whoever saw no mark before this has the whole grace from here on.
            at: self.clock.now().as_micros(),
            rev: revision.get(),
        };
        self.put_record(ctx, &key, &mark).await?;
        Ok(true)
    }

    /// Takes a block of this revision away; whether it was there.
    async fn remove(
        &self,
        ctx: &Context,
        cid: &Cid,
        revision: Revision,
    ) -> Result<bool, ContentError> {
        let key = names::block(cid)?;
        match self.blocks.purge(ctx, &key, Some(revision)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) if is_unknown(&error) => Err(ContentError::Unknown { source: error }),
            Err(error) => Err(error.into()),
        }
    }

    /// Everything that something keeps.
    async fn live(&self, ctx: &Context) -> Result<Live, ContentError> {
        let mut roots: Vec<(Cid, bool)> = Vec::new();
        for (_, kept) in self.records_of::<PinRecord>(ctx, Kind::Pin).await? {
            roots.push((kept.record.root, kept.record.partial));
        }
        for (_, kept) in self.records_of::<ChainRecord>(ctx, Kind::Chain).await? {
            roots.push((kept.record.head, kept.record.partial));
        }
        for (key, kept) in self.records_of::<AboutRecord>(ctx, Kind::About).await? {
            let partial = kept.record.partial;
            roots.push((Kind::About.cid_of(&key)?, partial));
            roots.extend(kept.record.links.into_values().map(|to| (to, partial)));
        }
        // What is missing below both is an error because of the whole one.
        roots.sort_by_key(|(_, partial)| *partial);
        let mut live = Live::default();
        for (root, partial) in roots {
            self.follow(ctx, root, partial, &mut live).await?;
        }
        Ok(live)
    }

    /// Adds everything below a root. Leaves have no links, so they are not read.
    async fn follow(
        &self,
        ctx: &Context,
        root: Cid,
        partial: bool,
        live: &mut Live,
    ) -> Result<(), ContentError> {
        let mut next = vec![root];
        while !next.is_empty() {
            let mut batch = next.split_off(next.len().saturating_sub(LOOKS));
            batch.retain(|cid| {
                let new = BlockId::of(cid).is_some_and(|id| live.blocks.insert(id));
                new && cid.codec() != RAW_CODE
            });
            let looks = stream::iter(batch).map(|cid| {
                let (store, ctx) = (self.clone(), ctx.clone());
                async move {
                    let found = store.find(&ctx, &cid).await?;
                    Ok::<_, ContentError>((cid, found))
                }
            });
            let mut looks = looks.buffer_unordered(LOOKS);
            while let Some((cid, found)) = looks.try_next().await? {
                match found {
                    Some((block, _)) => next.extend(self.links(&block)?),
                    None if partial => live.outside += 1,
                    None => return Err(ContentError::missing(&cid, &root)),
                }
            }
        }
        Ok(())
    }
}

/// The CID of a block's key.
fn block_of(key: &Key) -> Option<(Cid, BlockId)> {
    let cid: Cid = key.as_str().parse().ok()?;
    Some((cid, BlockId::of(&cid)?))
}
