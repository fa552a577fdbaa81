//! The content store: what applications call.

use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use cim_ipld::{Block, Cid, CodecRegistry, TypedContent, TypedContentError};
use cim_store::{Bucket, BucketSettings, Clock, Context, Store, SystemClock};
use futures_core::Stream;
use futures_util::{TryStreamExt, stream};

use super::error::{Cause, ContentError};
use super::large::ContentStream;
use super::names;
use super::records::{Replaced, StoreRecord, V1};
use super::settings::{ContentSettings, PutOptions};

/// Content by its address: blocks, values and bytes of any size, each stored once, checked whenever
/// they are read, and kept as long as something names them.
///
/// It stands on two buckets of a store, so it works on every adapter. Clones are the same store.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_domain::persistence::content::{ContentSettings, ContentStore, PutOptions};
/// use cim_domain::store::Context;
///
/// let store = cim_domain::open("memory:").await?;
/// let ctx = Context::new();
/// let content = ContentStore::open(&*store, &ctx, "content", ContentSettings::default()).await?;
///
/// let first = content.put_bytes(&ctx, "a poem", PutOptions::pinned("poems/1")).await?;
/// let again = content.put_bytes(&ctx, "a poem", PutOptions::default()).await?;
/// assert!(first.is_new() && !again.is_new());
/// assert_eq!(again.cid, first.cid);
/// assert_eq!(&content.get_bytes(&ctx, &first.cid).await?[..], b"a poem");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ContentStore {
    pub(super) blocks: Arc<dyn Bucket>,
    pub(super) records: Arc<dyn Bucket>,
    pub(super) codecs: Arc<CodecRegistry>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: ContentSettings,
    /// Whether links below what is named may lead out of the store.
    pub(super) links_outside: bool,
}

/// What came of putting content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// Its address.
    pub cid: Cid,
    /// How many bytes it has: of content that was put as bytes these, else its block's.
    pub size: u64,
    /// Of how many blocks it consists.
    pub blocks: u64,
    /// How many of them were not there before.
    pub new_blocks: u64,
    /// How many of them were there with other bytes than their CID says, and were put right.
    pub repaired: u64,
}

impl Stored {
    /// Whether anything of it had to be stored.
    pub fn is_new(&self) -> bool {
        self.new_blocks > 0
    }
}

impl ContentStore {
    /// The most bytes that [`get_bytes`](Self::get_bytes) gives: 64 MiB.
    pub const IN_MEMORY: u64 = 64 << 20;

    /// Opens the content store of this name, and makes it where there is none: the buckets `{name}`
    /// of blocks and `{name}-records` of what stands beside them. It uses the machine's clock and
    /// the codecs of [`CodecRegistry::default`].
    ///
    /// # Errors
    /// `InvalidName`: a name has 1 to 56 letters, digits, `-` and `_`; `InvalidSettings`, also where
    /// the store was made with another grace; `Store`, `Unknown`.
    pub async fn open(
        store: &dyn Store,
        ctx: &Context,
        name: &str,
        settings: ContentSettings,
    ) -> Result<Self, ContentError> {
        settings.check()?;
        let (blocks, records) = names::buckets(name)?;
        let content = Self {
            blocks: store
                .bucket(ctx, &blocks, BucketSettings::default())
                .await?,
            records: store
                .bucket(ctx, &records, BucketSettings::default())
                .await?,
            codecs: Arc::default(),
            clock: Arc::new(SystemClock),
            settings,
            links_outside: false,
        };
        content.agree(ctx).await?;
        Ok(content)
    }

    /// With the clock that descriptions, marks and the grace of garbage go by.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// With the codecs whose blocks may be put. Every program that marks and sweeps needs those of
    /// all blocks that are kept, or it can't follow their links.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # use cim_domain::persistence::content::{ContentSettings, ContentStore};
    /// # use cim_domain::store::Context;
    /// # let (store, ctx) = (cim_domain::open("memory:").await?, Context::new());
    /// use std::sync::Arc;
    /// use cim_domain::persistence::content::PutOptions;
    /// use cim_ipld::dag_cbor::Ipld;
    /// use cim_ipld::{Block, Codec, CodecFailure, CodecRegistry, HashFunction};
    ///
    /// /// Text, under a code that the multicodec table leaves for private use.
    /// #[derive(Debug)]
    /// struct Text;
    ///
    /// impl Codec for Text {
    ///     fn code(&self) -> u64 {
    ///         0x30_0001
    ///     }
    ///     fn name(&self) -> &str {
    ///         "shop-text"
    ///     }
    ///     fn decode(&self, block: &[u8]) -> Result<Ipld, CodecFailure> {
    ///         Ok(Ipld::String(std::str::from_utf8(block)?.to_owned()))
    ///     }
    ///     fn encode(&self, value: &Ipld) -> Result<Vec<u8>, CodecFailure> {
    ///         match value {
    ///             Ipld::String(text) => Ok(text.clone().into_bytes()),
    ///             _ => Err("only a text can be written as text".into()),
    ///         }
    ///     }
    /// }
    ///
    /// let content = ContentStore::open(&*store, &ctx, "content", ContentSettings::default()).await?;
    /// let label = Block::new(0x30_0001, HashFunction::Sha2_256, "fragile");
    /// let refused = content.put(&ctx, &label, PutOptions::default()).await;
    /// assert!(refused.is_err()); // nobody could find its links
    ///
    /// let mut codecs = CodecRegistry::default();
    /// codecs.register(Arc::new(Text))?;
    /// let content = content.with_codecs(codecs);
    /// assert!(content.put(&ctx, &label, PutOptions::default()).await?.is_new());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_codecs(mut self, codecs: CodecRegistry) -> Self {
        self.codecs = Arc::new(codecs);
        self
    }

    /// A store that names content also where links below it lead to what is not here, such as events
    /// or content of other stores. Otherwise that is an error: content is whole when it is named, and
    /// anything of it that is missing later is known to be lost.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # use cim_domain::persistence::content::{ContentSettings, ContentStore};
    /// # use cim_domain::store::Context;
    /// # let (store, ctx) = (cim_domain::open("memory:").await?, Context::new());
    /// # let content = ContentStore::open(&*store, &ctx, "content", ContentSettings::default()).await?;
    /// use cim_domain::persistence::content::PutOptions;
    /// use cim_ipld::{Cid, TypedContent};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Receipt {
    ///     order: Cid, // of an event, which is in the log and not here
    /// }
    ///
    /// impl TypedContent for Receipt {
    ///     const NAME: &'static str = "sales.receipt";
    /// }
    ///
    /// # let order: Cid = "bafyreigdmqpykrgxyaxtlafqpqhzrb7qy2rh75nldvfd4tucqmqqme5yje".parse()?;
    /// let receipt = content.put_value(&ctx, &Receipt { order }, PutOptions::default()).await?.cid;
    /// let error = content.pin(&ctx, "receipts/7", &receipt).await.unwrap_err();
    /// assert!(error.is_integrity()); // a part of it is missing
    ///
    /// let content = content.with_links_outside();
    /// let reach = content.pin(&ctx, "receipts/7", &receipt).await?;
    /// assert!(!reach.is_whole());
    /// assert_eq!((reach.outside, reach.first_outside), (1, Some(order)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_links_outside(mut self) -> Self {
        self.links_outside = true;
        self
    }

    /// How content is stored.
    pub fn settings(&self) -> ContentSettings {
        self.settings
    }

    /// The buckets of the blocks and of the records.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # use cim_domain::persistence::content::{ContentSettings, ContentStore};
    /// # use cim_domain::store::Context;
    /// # let (store, ctx) = (cim_domain::open("memory:").await?, Context::new());
    /// # let content = ContentStore::open(&*store, &ctx, "content", ContentSettings::default()).await?;
    /// let [blocks, records] = content.buckets();
    /// assert_eq!(blocks.name().as_str(), "content");
    /// assert_eq!(records.name().as_str(), "content-records");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn buckets(&self) -> [&Arc<dyn Bucket>; 2] {
        [&self.blocks, &self.records]
    }

    /// Compares the grace with the one that the store was made with.
    async fn agree(&self, ctx: &Context) -> Result<(), ContentError> {
        let key = names::store()?;
        let grace = self.settings.grace.as_micros();
        let ours = StoreRecord {
            v: V1,
            grace: u64::try_from(grace).unwrap_or(u64::MAX),
        };
        let there = match self.record::<StoreRecord>(ctx, &key).await? {
            Some(there) => there.record,
            None => {
                let made = self.replace_record(ctx, &key, &ours, None).await?;
                if matches!(made, Replaced::Done(_)) {
                    return Ok(());
                }
                // Somebody else made it at the same time, or this did and the answer was lost.
                match self.record::<StoreRecord>(ctx, &key).await? {
                    Some(there) => there.record,
                    None => return Err(super::records::contended(&key)),
                }
            }
        };
        if there == ours {
            return Ok(());
        }
        Err(ContentError::InvalidSettings {
            setting: "grace",
            asked: format!("{:?}", self.settings.grace),
            why: format!(
                "the store was made with {:?}",
                Duration::from_micros(there.grace)
            ),
        })
    }
}

/// Putting and getting.
impl ContentStore {
    /// Stores a block under its CID, unless it is there.
    ///
    /// # Errors
    /// `Altered` where its bytes do not hash to its CID; `InvalidCid`, `UnknownCodec`, `Malformed`
    /// where its codec can't read it; `TooLarge` for more than 1 MiB; and as
    /// [`pin`](Self::pin) and [`describe`](Self::describe), where options ask for these.
    pub async fn put(
        &self,
        ctx: &Context,
        block: &Block,
        options: PutOptions,
    ) -> Result<Stored, ContentError> {
        options.check()?;
        let began = self.clock.monotonic();
        super::blocks::checked(&block.cid, block.bytes.clone())?;
        let (stored, has_links) = self.keep_block(ctx, block).await?;
        self.settle(ctx, (&stored, has_links), began, options)
            .await?;
        Ok(stored)
    }

    /// Stores bytes as content: one block, or a tree of blocks where they are more than
    /// [`chunk_bytes`](ContentSettings::chunk_bytes).
    ///
    /// # Errors
    /// As [`put_stream`](Self::put_stream).
    pub async fn put_bytes(
        &self,
        ctx: &Context,
        content: impl Into<Bytes>,
        options: PutOptions,
    ) -> Result<Stored, ContentError> {
        let content: Result<Bytes, ContentError> = Ok(content.into());
        self.put_stream(ctx, stream::iter([content]), options).await
    }

    /// Stores the bytes of a stream as content, whatever their number, with memory for a few blocks.
    ///
    /// What was read of a stream that fails, or whose put is dropped, is garbage, and goes with the
    /// next [`mark`](Self::mark) and [`sweep`](Self::sweep).
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # use cim_domain::persistence::content::{ContentSettings, ContentStore};
    /// # use cim_domain::store::Context;
    /// # let (store, ctx) = (cim_domain::open("memory:").await?, Context::new());
    /// # let content = ContentStore::open(&*store, &ctx, "content", ContentSettings::default()).await?;
    /// use bytes::Bytes;
    /// use cim_domain::persistence::content::PutOptions;
    /// use futures_util::stream;
    ///
    /// // What comes from a file or a network, in pieces as they come.
    /// let pieces = ["a poem, ", "in two pieces"].map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
    /// let poem = content.put_stream(&ctx, stream::iter(pieces), PutOptions::pinned("poems/1")).await?;
    /// assert_eq!(content.length(&ctx, &poem.cid).await?, 21);
    ///
    /// // How it came makes no difference.
    /// let whole = content.put_bytes(&ctx, "a poem, in two pieces", PutOptions::default()).await?;
    /// assert_eq!(whole.cid, poem.cid);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `Source` where the stream fails; `Unknown`, `Store`; and as [`pin`](Self::pin) and
    /// [`describe`](Self::describe), where options ask for these.
    pub async fn put_stream<S, E>(
        &self,
        ctx: &Context,
        content: S,
        options: PutOptions,
    ) -> Result<Stored, ContentError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Cause>,
    {
        options.check()?;
        let began = self.clock.monotonic();
        let stored = self.keep_stream(ctx, content).await?;
        // Every block of it was just put, so there is nothing to look for below it.
        self.name(ctx, &stored, false, began, options).await?;
        Ok(stored)
    }

    /// Stores a value as one block of its type's codec. A description that options ask for without a
    /// name gets the type's [`NAME`](TypedContent::NAME).
    ///
    /// # Errors
    /// `Encode`; otherwise as [`put`](Self::put).
    pub async fn put_value<T: TypedContent>(
        &self,
        ctx: &Context,
        value: &T,
        options: PutOptions,
    ) -> Result<Stored, ContentError> {
        options.check()?;
        let began = self.clock.monotonic();
        let mut options = options;
        if let Some(description) = &mut options.describe {
            description.name.get_or_insert_with(|| T::NAME.to_owned());
        }
        let (stored, has_links) = self.keep_block(ctx, &self.block_of(value)?).await?;
        self.settle(ctx, (&stored, has_links), began, options)
            .await?;
        Ok(stored)
    }

    /// The block that [`put_value`](Self::put_value) stores of a value, without storing it.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # use cim_domain::persistence::content::{ContentSettings, ContentStore};
    /// # use cim_domain::store::Context;
    /// # let (store, ctx) = (cim_domain::open("memory:").await?, Context::new());
    /// # let content = ContentStore::open(&*store, &ctx, "content", ContentSettings::default()).await?;
    /// use cim_domain::persistence::content::PutOptions;
    /// use cim_ipld::TypedContent;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Price(u64);
    ///
    /// impl TypedContent for Price {
    ///     const NAME: &'static str = "shop.price";
    /// }
    ///
    /// let block = content.block_of(&Price(300))?;
    /// assert!(!content.has(&ctx, &block.cid).await?);
    /// let put = content.put_value(&ctx, &Price(300), PutOptions::default()).await?;
    /// assert_eq!(put.cid, block.cid);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `Encode`.
    pub fn block_of<T: TypedContent>(&self, value: &T) -> Result<Block, ContentError> {
        Ok(value.to_block(self.settings.hash).map_err(Box::new)?)
    }

    /// The block under a CID.
    ///
    /// # Errors
    /// `NotFound`, `Altered`, `InvalidCid`, `Store`.
    pub async fn get(&self, ctx: &Context, cid: &Cid) -> Result<Block, ContentError> {
        match self.find(ctx, cid).await? {
            Some((block, _)) => Ok(block),
            None => Err(ContentError::not_found(cid)),
        }
    }

    /// The bytes of content, if they are at most [`IN_MEMORY`](Self::IN_MEMORY).
    ///
    /// # Errors
    /// `TooLarge`; otherwise as [`get_stream`](Self::get_stream).
    pub async fn get_bytes(&self, ctx: &Context, cid: &Cid) -> Result<Bytes, ContentError> {
        let root = self.get(ctx, cid).await?;
        let size = Self::length_of(&root)?;
        if size > Self::IN_MEMORY {
            return Err(ContentError::TooLarge {
                what: "bytes in memory",
                size,
                max: Self::IN_MEMORY,
            });
        }
        let mut pieces = self.stream_of(ctx, &root, ..)?;
        let first = pieces.try_next().await?.unwrap_or_default();
        let Some(second) = pieces.try_next().await? else {
            return Ok(first);
        };
        let mut whole = BytesMut::from(&first[..]);
        whole.extend_from_slice(&second);
        while let Some(piece) = pieces.try_next().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// The bytes of content within a range, as a stream that checks each block before it gives
    /// anything of it. What of the range lies behind the end is left out.
    ///
    /// # Errors
    /// `NotFound`; `Malformed` where the CID does not name content; and from the stream `Altered`,
    /// `Missing` with the CID of the block, `Malformed`, `Store`.
    pub async fn get_stream(
        &self,
        ctx: &Context,
        cid: &Cid,
        range: impl RangeBounds<u64>,
    ) -> Result<ContentStream, ContentError> {
        self.stream_of(ctx, &self.get(ctx, cid).await?, range)
    }

    /// The value of a block.
    ///
    /// # Errors
    /// `NotFound`, `Altered`; `Decode` where it is another value; `InvalidCid`, `Store`.
    pub async fn get_value<T: TypedContent>(
        &self,
        ctx: &Context,
        cid: &Cid,
    ) -> Result<T, ContentError> {
        let block = self.get(ctx, cid).await?;
        T::from_block(&block).map_err(|error| match error {
            // It was verified as it was read.
            TypedContentError::Unverified { source, .. } => ContentError::Altered {
                cid: Box::new(*cid),
                source,
            },
            error => ContentError::Decode {
                cid: Box::new(*cid),
                source: Box::new(error),
            },
        })
    }

    /// Whether there is a block under a CID, of which nothing is read.
    ///
    /// # Errors
    /// `InvalidCid`, `Store`.
    pub async fn has(&self, ctx: &Context, cid: &Cid) -> Result<bool, ContentError> {
        Ok(self.blocks.get(ctx, &names::block(cid)?).await?.is_some())
    }

    /// How many bytes content has, from its root alone.
    ///
    /// # Errors
    /// `NotFound`; `Malformed` where the CID does not name content; `Altered`, `InvalidCid`, `Store`.
    pub async fn length(&self, ctx: &Context, cid: &Cid) -> Result<u64, ContentError> {
        Self::length_of(&self.get(ctx, cid).await?)
    }

    /// Stores a block whose bytes are known to hash to its CID; whether it has links.
    pub(super) async fn keep_block(
        &self,
        ctx: &Context,
        block: &Block,
    ) -> Result<(Stored, bool), ContentError> {
        let (size, max) = (block.bytes.len() as u64, self.largest_block());
        if size > max {
            return Err(ContentError::TooLarge {
                what: "bytes in a block",
                size,
                max,
            });
        }
        // What could not be followed later is not taken.
        let has_links = !self.links(block)?.is_empty();
        let presence = self.keep(ctx, block).await?;
        let mut stored = Stored::nothing(block.cid);
        stored.count(size, presence);
        Ok((stored, has_links))
    }

    fn largest_block(&self) -> u64 {
        self.blocks.capabilities().limits.payload_bytes as u64
    }

    /// Whether so much of the grace is over since then that a sweep may have missed what was named
    /// meanwhile.
    pub(super) fn is_late(&self, began: Instant) -> bool {
        let elapsed = self.clock.monotonic().saturating_duration_since(began);
        elapsed >= self.settings.grace / 2
    }
}

impl fmt::Debug for ContentStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentStore")
            .field("blocks", &self.blocks)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
