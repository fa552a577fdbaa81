//! What keeps content: pins, descriptions and links beside it.
//!
//! Whatever names content first goes through everything below it, which holds each block against
//! sweeps under way, and then writes its record. A sweep that begins after the record was written
//! sees it. One that began before knows the marks of that time only, and a held block has none of
//! them any more. That needs the record to follow soon, so where half the grace of garbage is over
//! by then, everything is gone through once more, and where that finds a part gone the record is
//! taken back.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use bytes::Bytes;
use cim_ipld::Cid;
use cim_store::{BucketError, Context, Key, Revision, Timestamp, WriteOptions};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::error::ContentError;
use super::names::{self, Kind};
use super::records::{AboutRecord, PinRecord, V1};
use super::settings::{Description, PutOptions};
use super::store::{ContentStore, Stored};

/// How many blocks are looked at at the same time.
const LOOKS: usize = 16;

/// What lies below content, it included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reach {
    /// How many different blocks are in the store.
    pub blocks: u64,
    /// How many bytes these have.
    pub bytes: u64,
    /// How many links lead to blocks that are not in the store.
    pub outside: u64,
    /// The first of these.
    pub first_outside: Option<Cid>,
}

impl Reach {
    /// Whether no link leads out of the store.
    pub fn is_whole(&self) -> bool {
        self.outside == 0
    }

    fn count_outside(&mut self, cid: Cid) {
        self.outside += 1;
        self.first_outside.get_or_insert(cid);
    }
}

/// A record that was written.
#[derive(Debug)]
pub(super) struct Written {
    key: Key,
    revision: Revision,
    /// What stood there before.
    before: Option<Bytes>,
}

impl Written {
    /// The record of a description, if it is new. Changes of one that is there are not taken back:
    /// others may have changed it, too.
    fn new_record(key: Key, revision: Option<Revision>) -> Vec<Self> {
        let record = revision.map(|revision| Self {
            key,
            revision,
            before: None,
        });
        record.into_iter().collect()
    }
}

/// A name that keeps content.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pin {
    /// The name.
    pub name: String,
    /// What it keeps, with everything below.
    pub root: Cid,
}

/// What stands beside content.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContentMetadata {
    /// What was said about it.
    pub description: Description,
    /// How many bytes it has: content that is bytes these, anything else its block's.
    pub size: u64,
    /// When it was first described or linked here.
    pub created_at: Timestamp,
    /// The content that it was linked to, by label.
    pub links: BTreeMap<String, Cid>,
}

/// Names that keep content.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # use cim_domain::persistence::content::{ContentSettings, ContentStore};
/// # use cim_domain::store::Context;
/// # let (store, ctx) = (cim_domain::open("memory:").await?, Context::new());
/// # let content = ContentStore::open(&*store, &ctx, "content", ContentSettings::default()).await?;
/// # use cim_domain::persistence::content::PutOptions;
/// let draft = content.put_bytes(&ctx, "a draft", PutOptions::pinned("contracts/anna")).await?.cid;
/// let signed = content.put_bytes(&ctx, "signed", PutOptions::default()).await?.cid;
///
/// // The name moves on. The draft is garbage now, unless something else names it.
/// let reach = content.pin(&ctx, "contracts/anna", &signed).await?;
/// assert!(reach.is_whole());
/// let pins = content.pins(&ctx).await?;
/// assert_eq!((pins[0].name.as_str(), pins[0].root), ("contracts/anna", signed));
/// assert!(content.unpin(&ctx, "contracts/anna").await?);
/// # let _ = draft;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl ContentStore {
    /// Keeps content, and everything below it, under a name, in the place of what had that name
    /// before. All of it is read and checked on the way. A name has at most 250 bytes, where every one
    /// but ASCII letters, digits, `-` and `_` counts three times.
    ///
    /// # Errors
    /// `NotFound`; `Missing` for the first part that is not there, unless the store was opened
    /// [for such links](Self::with_links_outside); `Altered` or `Malformed` for what is damaged below
    /// it; `UnknownCodec`, `InvalidName`, `InvalidCid`, `Unknown`, `Store`. What had the name before has it then.
    pub async fn pin(&self, ctx: &Context, name: &str, root: &Cid) -> Result<Reach, ContentError> {
        names::pin(name)?;
        let began = self.clock.monotonic();
        let reach = self.hold_all(ctx, root).await?;
        let partial = !reach.is_whole();
        let written = self.write_pin(ctx, name, root, partial).await?;
        self.confirm(ctx, &[*root], partial, began, vec![written])
            .await?;
        Ok(reach)
    }

    /// Takes a name away; whether there was one. What nothing else keeps is garbage from then on.
    ///
    /// # Errors
    /// `InvalidName`, `Unknown`, `Store`.
    pub async fn unpin(&self, ctx: &Context, name: &str) -> Result<bool, ContentError> {
        let key = names::pin(name)?;
        let there = self.records.get(ctx, &key).await?.is_some();
        if there {
            self.records.delete(ctx, &key, None).await?;
        }
        Ok(there)
    }

    /// All pins, by name.
    ///
    /// # Errors
    /// `Record`, `Store`.
    pub async fn pins(&self, ctx: &Context) -> Result<Vec<Pin>, ContentError> {
        let mut pins = Vec::new();
        for (key, kept) in self.records_of::<PinRecord>(ctx, Kind::Pin).await? {
            pins.push(Pin {
                name: Kind::Pin.name_of(&key)?,
                root: kept.record.root,
            });
        }
        pins.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(pins)
    }

    async fn write_pin(
        &self,
        ctx: &Context,
        name: &str,
        root: &Cid,
        partial: bool,
    ) -> Result<Written, ContentError> {
        let record = PinRecord {
            v: V1,
            root: *root,
            partial,
        };
        let key = names::pin(name)?;
        let before = self.records.get(ctx, &key).await?;
        let revision = self.put_record(ctx, &key, &record).await?;
        Ok(Written {
            key,
            revision,
            before: before.map(|entry| entry.value),
        })
    }
}

/// What stands beside content.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # use cim_domain::persistence::content::{ContentSettings, ContentStore};
/// # use cim_domain::store::Context;
/// # let (store, ctx) = (cim_domain::open("memory:").await?, Context::new());
/// # let content = ContentStore::open(&*store, &ctx, "content", ContentSettings::default()).await?;
/// # use cim_domain::persistence::content::PutOptions;
/// use cim_domain::persistence::content::Description;
///
/// let photo = content.put_bytes(&ctx, "a photo", PutOptions::default()).await?.cid;
/// let small = content.put_bytes(&ctx, "a small one", PutOptions::default()).await?.cid;
///
/// let lamp = Description { name: Some("lamp.jpg".into()), ..Description::default() };
/// content.describe(&ctx, &photo, lamp.clone()).await?;
/// content.link(&ctx, &photo, "thumbnail", &small).await?;
/// let beside = content.metadata(&ctx, &photo).await?.ok_or("it was described")?;
/// assert_eq!((beside.description, beside.size), (lamp, 7));
/// assert_eq!(beside.links["thumbnail"], small);
/// assert_eq!(content.described(&ctx).await?, [photo]);
///
/// assert!(content.unlink(&ctx, &photo, "thumbnail").await?); // `small` is garbage now
/// assert!(content.forget(&ctx, &photo).await?); // and so is `photo`
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl ContentStore {
    /// Says something about content, in the place of what was said before. It keeps the content, and
    /// everything below it, until it is [forgotten](Self::forget).
    ///
    /// # Errors
    /// As [`pin`](Self::pin).
    pub async fn describe(
        &self,
        ctx: &Context,
        cid: &Cid,
        description: Description,
    ) -> Result<(), ContentError> {
        description.check()?;
        let began = self.clock.monotonic();
        let reach = self.hold_all(ctx, cid).await?;
        let size = self.size_of(ctx, cid).await?;
        let partial = !reach.is_whole();
        let written = self
            .write_description(ctx, (*cid, size), &description, partial)
            .await?;
        self.confirm(ctx, &[*cid], partial, began, written).await
    }

    /// What stands beside content; `None` where it was never described or linked, or was forgotten.
    ///
    /// # Errors
    /// `InvalidCid`, `Record`, `Store`.
    pub async fn metadata(
        &self,
        ctx: &Context,
        cid: &Cid,
    ) -> Result<Option<ContentMetadata>, ContentError> {
        let key = names::about(cid)?;
        let Some(kept) = self.record::<AboutRecord>(ctx, &key).await? else {
            return Ok(None);
        };
        let record = kept.record;
        Ok(Some(ContentMetadata {
            description: Description {
                media_type: record.media_type(&key)?,
                name: record.name,
            },
            size: record.size,
            created_at: Timestamp::from_micros(record.created),
            links: record.links,
        }))
    }

    /// Takes everything away that stands beside content; whether there was anything. What nothing
    /// else keeps is garbage from then on.
    ///
    /// # Errors
    /// `InvalidCid`, `Unknown`, `Store`.
    pub async fn forget(&self, ctx: &Context, cid: &Cid) -> Result<bool, ContentError> {
        let key = names::about(cid)?;
        let there = self.records.get(ctx, &key).await?.is_some();
        if there {
            self.records.delete(ctx, &key, None).await?;
        }
        Ok(there)
    }

    /// All content that is described or linked to other content, in the order of CIDs.
    ///
    /// # Errors
    /// `Record`, `Store`.
    pub async fn described(&self, ctx: &Context) -> Result<Vec<Cid>, ContentError> {
        let keys = self.records.keys(ctx, &Kind::About.pattern()?).await?;
        let mut keys = keys.map_err(ContentError::from);
        let mut cids = Vec::new();
        while let Some(key) = keys.try_next().await? {
            cids.push(Kind::About.cid_of(&key)?);
        }
        cids.sort();
        Ok(cids)
    }

    /// Links content to other content under a label, beside both: neither CID changes. It keeps
    /// both, and everything below them, until the first is [forgotten](Self::forget) or
    /// [unlinked](Self::unlink).
    ///
    /// A label has 1 to 255 bytes without control characters and names one content; content has at
    /// most [`LINKS`](Self::LINKS) labels.
    ///
    /// # Errors
    /// `TooLarge`, and as [`pin`](Self::pin), for either of them.
    pub async fn link(
        &self,
        ctx: &Context,
        from: &Cid,
        label: &str,
        to: &Cid,
    ) -> Result<(), ContentError> {
        names::text("link", label)?;
        let began = self.clock.monotonic();
        let ends = [
            self.hold_all(ctx, from).await?,
            self.hold_all(ctx, to).await?,
        ];
        let size = self.size_of(ctx, from).await?;
        let partial = !ends.iter().all(Reach::is_whole);
        let now = self.clock.now();
        let change = |before: Option<AboutRecord>| {
            let mut record = before.unwrap_or_else(|| AboutRecord::new(size, now));
            record.links.insert(label.to_owned(), *to);
            record.partial |= partial;
            match record.links.len() as u64 {
                labels if labels > Self::LINKS => Err(ContentError::TooLarge {
                    what: "links of one content",
                    size: labels,
                    max: Self::LINKS,
                }),
                _ => Ok(Some(record)),
            }
        };
        let written = self.change_about(ctx, from, change).await?;
        let written = Written::new_record(names::about(from)?, written);
        self.confirm(ctx, &[*from, *to], partial, began, written)
            .await
    }

    /// How many labels one content may have: 1000.
    pub const LINKS: u64 = 1_000;

    /// Takes a link away; whether there was one. The content that it came from stays described.
    ///
    /// # Errors
    /// `InvalidCid`, `Record`, `Unknown`, `Store`.
    pub async fn unlink(
        &self,
        ctx: &Context,
        from: &Cid,
        label: &str,
    ) -> Result<bool, ContentError> {
        let there = self.metadata(ctx, from).await?;
        if !there.is_some_and(|metadata| metadata.links.contains_key(label)) {
            return Ok(false);
        }
        let without = |mut record: AboutRecord| {
            record.links.remove(label);
            record
        };
        self.change_about(ctx, from, |before| Ok(before.map(without)))
            .await?;
        Ok(true)
    }

    async fn write_description(
        &self,
        ctx: &Context,
        (cid, size): (Cid, u64),
        description: &Description,
        partial: bool,
    ) -> Result<Vec<Written>, ContentError> {
        let now = self.clock.now();
        let change = |before: Option<AboutRecord>| {
            let mut record = before.unwrap_or_else(|| AboutRecord::new(size, now));
            record.describe(description);
            record.partial |= partial;
            Ok(Some(record))
        };
        let written = self.change_about(ctx, &cid, change).await?;
        Ok(Written::new_record(names::about(&cid)?, written))
    }

    /// How many bytes content has, or else its block.
    async fn size_of(&self, ctx: &Context, cid: &Cid) -> Result<u64, ContentError> {
        let root = self.get(ctx, cid).await?;
        Ok(Self::length_of(&root).unwrap_or(root.bytes.len() as u64))
    }
}

impl ContentStore {
    /// Gives a block that was just put the names that options ask for, once everything below it is
    /// held.
    pub(super) async fn settle(
        &self,
        ctx: &Context,
        (stored, has_links): (&Stored, bool),
        began: Instant,
        options: PutOptions,
    ) -> Result<(), ContentError> {
        if options == PutOptions::default() {
            return Ok(());
        }
        let partial = has_links && !self.hold_all(ctx, &stored.cid).await?.is_whole();
        self.name(ctx, stored, partial, began, options).await
    }

    /// Gives content, all of which was held since `began`, the names that options ask for.
    pub(super) async fn name(
        &self,
        ctx: &Context,
        stored: &Stored,
        partial: bool,
        began: Instant,
        options: PutOptions,
    ) -> Result<(), ContentError> {
        if options == PutOptions::default() {
            return Ok(());
        }
        let cid = stored.cid;
        let began = self.renew(ctx, &cid, partial, began).await?;
        let mut written = Vec::new();
        if let Some(description) = &options.describe {
            written = self
                .write_description(ctx, (cid, stored.size), description, partial)
                .await?;
        }
        if let Some(name) = &options.pin {
            written.push(self.write_pin(ctx, name, &cid, partial).await?);
        }
        self.confirm(ctx, &[cid], partial, began, written).await
    }

    /// Since when everything below content is held: since `began`, or where that is too long ago,
    /// once more.
    async fn renew(
        &self,
        ctx: &Context,
        root: &Cid,
        partial: bool,
        began: Instant,
    ) -> Result<Instant, ContentError> {
        if !self.is_late(began) {
            return Ok(began);
        }
        let began = self.clock.monotonic();
        let reach = match self.reach(ctx, root).await {
            Err(error) if error.is_not_found() => return Err(ContentError::missing(root, root)),
            reached => reached?,
        };
        match reach.first_outside {
            Some(cid) if !partial => Err(ContentError::missing(&cid, root)),
            _ => Ok(began),
        }
    }

    /// After records were written: makes sure that no sweep that did not see them took anything away
    /// that they keep, or takes them back.
    pub(super) async fn confirm(
        &self,
        ctx: &Context,
        roots: &[Cid],
        partial: bool,
        began: Instant,
        written: Vec<Written>,
    ) -> Result<(), ContentError> {
        for root in roots {
            let Err(error) = self.renew(ctx, root, partial, began).await else {
                continue;
            };
            for record in written {
                // What somebody else wrote over it stays, and so does this error.
                let _ = self.take_back(ctx, record).await;
            }
            return Err(error);
        }
        Ok(())
    }

    async fn take_back(&self, ctx: &Context, record: Written) -> Result<Revision, BucketError> {
        let (key, revision) = (&record.key, record.revision);
        match record.before {
            None => self.records.delete(ctx, key, Some(revision)).await,
            Some(before) => {
                let options = WriteOptions::default();
                self.records
                    .update(ctx, key, before, revision, options)
                    .await
            }
        }
    }

    /// Goes through everything below content that is to be named, and finds it whole, unless links
    /// may lead outside.
    pub(super) async fn hold_all(&self, ctx: &Context, root: &Cid) -> Result<Reach, ContentError> {
        let reach = self.reach(ctx, root).await?;
        match reach.first_outside {
            Some(cid) if !self.links_outside => Err(ContentError::missing(&cid, root)),
            _ => Ok(reach),
        }
    }

    /// Goes through everything below content, reads and checks it, and holds it against sweeps.
    pub(super) async fn reach(&self, ctx: &Context, root: &Cid) -> Result<Reach, ContentError> {
        names::block(root)?;
        let mut reach = Reach::default();
        let (mut seen, mut next) = (HashSet::from([*root]), vec![*root]);
        while !next.is_empty() {
            let batch = next.split_off(next.len().saturating_sub(LOOKS));
            let looks = stream::iter(batch).map(|cid| {
                let (store, ctx) = (self.clone(), ctx.clone());
                async move {
                    let held = match names::is_storable(&cid) {
                        true => store.hold(&ctx, &cid).await?,
                        false => None,
                    };
                    Ok::<_, ContentError>((cid, held))
                }
            });
            let mut looks = looks.buffer_unordered(LOOKS);
            while let Some((cid, held)) = looks.try_next().await? {
                let Some(block) = held else {
                    if cid == *root {
                        return Err(ContentError::not_found(root));
                    }
                    reach.count_outside(cid);
                    continue;
                };
                reach.blocks += 1;
                reach.bytes += block.bytes.len() as u64;
                let links = self.links(&block)?;
                next.extend(links.into_iter().filter(|link| seen.insert(*link)));
            }
        }
        Ok(reach)
    }
}
