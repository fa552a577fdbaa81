//! Chains of content with their heads, which two writers can't fork.
//!
//! A chain's links and values are blocks; its head is a record that is changed only from what was
//! read. So whoever appends to a head that is not the last one any more is told, before anything
//! depends on it, and what it stored by then is garbage.

use std::fmt;
use std::marker::PhantomData;
use std::time::Instant;

use bytes::Bytes;
use cim_ipld::{
    AppendedContent, ContentChain, ContentChainFault, ContentHead, ContentLink, ContentWalk, Since,
    TypedContent,
};
use cim_store::{Context, Key};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::error::ContentError;
use super::names::{self, Kind};
use super::records::{ATTEMPTS, ChainRecord, Kept, Replaced, V1, contended};
use super::store::ContentStore;

/// How many values are read at the same time.
const READS: usize = 8;

/// Values of a chain in their order, each with its link, or the error that ends them.
pub type ChainStream<T> = BoxStream<'static, Result<(ContentLink, T), ContentError>>;

/// A chain of values of one type in a [`ContentStore`], by its name.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_domain::persistence::content::{ContentSettings, ContentStore};
/// use cim_domain::store::Context;
/// use cim_ipld::{Since, TypedContent};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Price(u64);
/// impl TypedContent for Price {
///     const NAME: &'static str = "shop.price";
/// }
///
/// let store = cim_domain::open("memory:").await?;
/// let ctx = Context::new();
/// let content = ContentStore::open(&*store, &ctx, "content", ContentSettings::default()).await?;
/// let prices = content.chain::<Price>("lamp")?;
///
/// let first = prices.append(&ctx, &Price(300)).await?;
/// prices.append(&ctx, &Price(320)).await?;
/// let later = prices.append_at(&ctx, Some(first), &Price(1)).await;
/// assert!(later.unwrap_err().is_conflict());
///
/// let verified = prices.verify(&ctx, Since::Beginning).await?;
/// assert_eq!(verified.map(|head| head.seq), Some(2));
/// let last = prices.head(&ctx).await?.ok_or("it has two")?;
/// assert_eq!(content.chains(&ctx).await?, [("lamp".to_owned(), last)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Chain<T> {
    store: ContentStore,
    name: String,
    key: Key,
    content: PhantomData<fn() -> T>,
}

impl ContentStore {
    /// The chain of this name. It begins with its first value, and keeps all of them.
    ///
    /// # Errors
    /// `InvalidName`.
    pub fn chain<T: TypedContent>(&self, name: &str) -> Result<Chain<T>, ContentError> {
        Ok(Chain {
            store: self.clone(),
            name: name.to_owned(),
            key: names::chain(name)?,
            content: PhantomData,
        })
    }

    /// All chains and their heads, by name.
    ///
    /// # Errors
    /// `Record`, `Store`.
    pub async fn chains(&self, ctx: &Context) -> Result<Vec<(String, ContentHead)>, ContentError> {
        let mut chains = Vec::new();
        for (key, kept) in self.records_of::<ChainRecord>(ctx, Kind::Chain).await? {
            chains.push((Kind::Chain.name_of(&key)?, kept.record.head()));
        }
        chains.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(chains)
    }
}

impl ChainRecord {
    fn head(&self) -> ContentHead {
        ContentHead {
            seq: self.seq,
            cid: self.head,
        }
    }
}

impl<T: TypedContent + Sync> Chain<T> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its last link; `None` where there is none.
    ///
    /// # Errors
    /// `Record`, `Store`.
    pub async fn head(&self, ctx: &Context) -> Result<Option<ContentHead>, ContentError> {
        Ok(self.record(ctx).await?.map(|kept| kept.record.head()))
    }

    /// Appends a value behind whatever is the last one then; the new head.
    ///
    /// # Errors
    /// `Encode`; `TooLarge` for more than 1 MiB; `Missing` for a link in the value to what is not
    /// here, unless the store was opened [for such links](ContentStore::with_links_outside);
    /// `Unknown` where it may have been appended; `Record`, `Store`.
    pub async fn append(&self, ctx: &Context, value: &T) -> Result<ContentHead, ContentError> {
        self.append_behind(ctx, None, value).await
    }

    /// Appends a value if the last link is the one that is expected; the new head. `None` expects
    /// that there is none.
    ///
    /// # Errors
    /// `Conflict` where it is another; otherwise as [`append`](Self::append).
    pub async fn append_at(
        &self,
        ctx: &Context,
        expected: Option<ContentHead>,
        value: &T,
    ) -> Result<ContentHead, ContentError> {
        self.append_behind(ctx, Some(expected), value).await
    }

    /// The links after `since`, oldest first, each proven by the head. All of them are kept in
    /// memory, some 400 bytes each, because a chain is read from its end.
    ///
    /// # Errors
    /// `Chain` with the first fault on the way back from the head; `Record`, `Store`.
    pub async fn links(
        &self,
        ctx: &Context,
        since: Since,
    ) -> Result<Vec<ContentLink>, ContentError> {
        self.links_of(ctx, self.head(ctx).await?, since).await
    }

    /// The values after `since`, oldest first, each with its link and proven by the head.
    ///
    /// # Errors
    /// As [`links`](Self::links); from the stream `Chain` for a value that is missing, altered or
    /// something else, and `Store`.
    pub async fn since(&self, ctx: &Context, since: Since) -> Result<ChainStream<T>, ContentError>
    where
        T: Send + 'static,
    {
        let links = self.links(ctx, since).await?;
        let (chain, ctx) = (self.clone(), ctx.clone());
        let values = stream::iter(links).map(move |link| {
            let (chain, ctx) = (chain.clone(), ctx.clone());
            async move {
                let value = chain.value(&ctx, &link).await?;
                Ok((link, value))
            }
        });
        Ok(values.buffered(READS).boxed())
    }

    /// Verifies every link and value after `since`, and returns the head, to go on from next time
    /// with [`Since::Head`], which also proves that the chain still contains that head.
    ///
    /// # Errors
    /// `Chain` with place and kind of the fault: the latest one among the links, and where there is
    /// none the first one among the values; `Record`, `Store`.
    pub async fn verify(
        &self,
        ctx: &Context,
        since: Since,
    ) -> Result<Option<ContentHead>, ContentError> {
        let head = self.head(ctx).await?;
        let links = self.links_of(ctx, head, since).await?;
        let values = stream::iter(links).map(|link| {
            let (chain, ctx) = (self.clone(), ctx.clone());
            async move { chain.value(&ctx, &link).await.map(|_| ()) }
        });
        values.buffered(READS).try_collect::<()>().await?;
        Ok(head)
    }

    /// Takes the chain's head away; whether there was one. Its links and values are garbage then,
    /// where nothing else keeps them, and a chain of this name begins anew.
    ///
    /// # Errors
    /// `Unknown`, `Store`.
    pub async fn delete(&self, ctx: &Context) -> Result<bool, ContentError> {
        let there = self.store.records.get(ctx, &self.key).await?.is_some();
        if there {
            self.store.records.delete(ctx, &self.key, None).await?;
        }
        Ok(there)
    }

    async fn record(&self, ctx: &Context) -> Result<Option<Kept<ChainRecord>>, ContentError> {
        self.store.record(ctx, &self.key).await
    }

    /// Appends behind the last link, which has to be the one that is expected, if any is.
    async fn append_behind(
        &self,
        ctx: &Context,
        expected: Option<Option<ContentHead>>,
        value: &T,
    ) -> Result<ContentHead, ContentError> {
        let began = self.store.clock.monotonic();
        // What may have been appended although the answer was lost.
        let mut doubtful: Option<AppendedContent> = None;
        for _ in 0..ATTEMPTS {
            if let Some(appended) = &doubtful
                && self.contains(ctx, appended).await?
            {
                return self.settled(ctx, appended, began).await;
            }
            let before = self.record(ctx).await?;
            let head = before.as_ref().map(|kept| kept.record.head());
            if let Some(expected) = expected
                && expected != head
            {
                return Err(ContentError::Conflict {
                    chain: self.name.clone(),
                    expected: expected.map_or(0, |head| head.seq),
                    actual: head.map_or(0, |head| head.seq),
                });
            }
            let (appended, replaced) = self.try_append(ctx, before, value).await?;
            match replaced {
                Replaced::Done(_) => return self.settled(ctx, &appended, began).await,
                Replaced::Conflict => {}
                Replaced::Unknown => doubtful = Some(appended),
            }
        }
        Err(contended(&self.key))
    }

    /// Appends behind a head that was read.
    async fn try_append(
        &self,
        ctx: &Context,
        before: Option<Kept<ChainRecord>>,
        value: &T,
    ) -> Result<(AppendedContent, Replaced), ContentError> {
        let store = &self.store;
        let head = before.as_ref().map(|kept| kept.record.head());
        let mut chain = ContentChain::<T>::at(head).with_hash(store.settings.hash);
        let appended = chain.append(value).map_err(Box::new)?;
        let (_, has_links) = store.keep_block(ctx, &appended.content).await?;
        let partial = has_links && !store.hold_all(ctx, &appended.content.cid).await?.is_whole();
        store.keep(ctx, &appended.link).await?;
        let record = ChainRecord {
            v: V1,
            seq: appended.head.seq,
            head: appended.head.cid,
            partial: partial || before.as_ref().is_some_and(|kept| kept.record.partial),
        };
        let revision = before.map(|kept| kept.revision);
        let replaced = store
            .replace_record(ctx, &self.key, &record, revision)
            .await?;
        Ok((appended, replaced))
    }

    /// After an append: where that took long, a sweep that did not see the new head may have taken
    /// what was put for it.
    async fn settled(
        &self,
        ctx: &Context,
        appended: &AppendedContent,
        began: Instant,
    ) -> Result<ContentHead, ContentError> {
        let store = &self.store;
        if store.is_late(began) {
            store.keep(ctx, &appended.content).await?;
            store.keep(ctx, &appended.link).await?;
            store.hold_all(ctx, &appended.content.cid).await?;
        }
        Ok(appended.head)
    }

    /// After the answer to an append was lost: whether its link is in the chain.
    async fn contains(
        &self,
        ctx: &Context,
        appended: &AppendedContent,
    ) -> Result<bool, ContentError> {
        let head = self.head(ctx).await?;
        if head.is_none_or(|head| head.seq < appended.head.seq) {
            return Ok(false);
        }
        // From the present head back to the link before that number.
        let since = Since::Seq(appended.head.seq - 1);
        let links = self.links_of(ctx, head, since).await?;
        Ok(links
            .first()
            .is_some_and(|link| link.cid == appended.head.cid))
    }

    async fn links_of(
        &self,
        ctx: &Context,
        head: Option<ContentHead>,
        since: Since,
    ) -> Result<Vec<ContentLink>, ContentError> {
        let chain = ContentChain::<T>::at(head);
        let mut walk: ContentWalk = chain.walk(since).map_err(|fault| self.broken(fault))?;
        while let Some(cid) = walk.wanted() {
            let bytes = self.bytes(ctx, cid).await?;
            walk.supply(bytes.as_deref())
                .map_err(|fault| self.broken(fault))?;
        }
        walk.finish().map_err(|fault| self.broken(fault))
    }

    async fn value(&self, ctx: &Context, link: &ContentLink) -> Result<T, ContentError> {
        let bytes = self.bytes(ctx, &link.content).await?;
        link.content_from(bytes.as_deref())
            .map_err(|fault| self.broken(fault))
    }

    /// What is kept under a CID; who asks verifies it.
    async fn bytes(
        &self,
        ctx: &Context,
        cid: &cim_ipld::Cid,
    ) -> Result<Option<Bytes>, ContentError> {
        if !names::is_storable(cid) {
            return Ok(None);
        }
        let entry = self.store.blocks.get(ctx, &names::block(cid)?).await?;
        Ok(entry.map(|entry| entry.value))
    }

    fn broken(&self, fault: ContentChainFault) -> ContentError {
        ContentError::Chain {
            chain: self.name.clone(),
            source: Box::new(fault),
        }
    }
}

impl<T> Clone for Chain<T> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            name: self.name.clone(),
            key: self.key.clone(),
            content: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Chain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain")
            .field("name", &self.name)
            .field("store", &self.store)
            .finish()
    }
}
