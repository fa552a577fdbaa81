//! Chains of content: proof of which values there were, and in which order.
//!
//! Each value has a *link*, a small DAG-CBOR block that names the value's CID, its number and the
//! link before it (`docs/format/content-chain.md`). So the CID of the last link, together with its
//! number the chain's [`ContentHead`], fixes every byte of every value and link before it. Nothing
//! here stores anything: [`ContentChain::append`] returns the blocks to store, and reading asks for
//! blocks one by one.
//!
//! Two readers: a [`ContentWalk`] goes from a head that is known back to where one wants to begin, and
//! everything it returns is proven by that head; a [`ContentChainVerifier`] takes links in order, as a
//! file or a feed has them, and finds the first place where they do not follow one another.

mod fault;
mod link;
mod verifier;
mod walk;

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use cid::Cid;

pub use self::fault::{ContentChainFault, ContentChainFaultKind};
pub use self::link::{CHAIN_FORMAT_VERSION, ContentHead, ContentLink, LinkError};
pub use self::verifier::ContentChainVerifier;
pub use self::walk::{ContentWalk, Since};

use super::address::HashFunction;
use super::block::Block;
use super::typed::{TypedContent, TypedContentError};

/// A chain of values of one type, known by its head.
///
/// ```
/// use std::collections::HashMap;
///
/// use cim_ipld::{ContentChain, Since, TypedContent};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Price(u64);
/// impl TypedContent for Price {
///     const NAME: &'static str = "shop.price";
/// }
///
/// let mut blocks = HashMap::new();
/// let mut chain = ContentChain::<Price>::new();
/// for price in [300, 320, 290] {
///     let appended = chain.append(&Price(price))?;
///     for block in [appended.content, appended.link] {
///         blocks.insert(block.cid, block.bytes);
///     }
/// }
///
/// let links = chain.since(Since::Seq(1), |cid| Ok::<_, ()>(blocks.get(cid).cloned())).unwrap();
/// let latest = links[1].content_from::<Price>(blocks.get(&links[1].content).map(|b| &b[..]))?;
/// assert_eq!((links.len(), latest), (2, Price(290)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ContentChain<T> {
    head: Option<ContentHead>,
    hash: HashFunction,
    content: PhantomData<fn() -> T>,
}

impl<T: TypedContent> ContentChain<T> {
    /// A chain without links.
    #[must_use]
    pub fn new() -> Self {
        Self::at(None)
    }

    /// A chain that was written before, from its head; `None` is a chain without links.
    #[must_use]
    pub fn at(head: Option<ContentHead>) -> Self {
        Self {
            head,
            hash: HashFunction::default(),
            content: PhantomData,
        }
    }

    /// Chooses the hash function of what is appended from here on. One chain may have links of
    /// several.
    ///
    /// ```
    /// # use cim_ipld::{ContentChain, HashFunction, TypedContent};
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct Price(u64);
    /// # impl TypedContent for Price {
    /// #     const NAME: &'static str = "shop.price";
    /// # }
    /// let mut chain = ContentChain::<Price>::new();
    /// let first = chain.append(&Price(300))?;
    /// let mut chain = chain.with_hash(HashFunction::Blake3);
    /// let second = chain.append(&Price(320))?;
    /// assert_ne!(first.link.cid.hash().code(), second.link.cid.hash().code());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_hash(mut self, hash: HashFunction) -> Self {
        self.hash = hash;
        self
    }

    /// The last link; `None` if there is none.
    #[must_use]
    pub fn head(&self) -> Option<ContentHead> {
        self.head
    }

    /// Adds a value at the end, and returns what has to be stored: the value, then its link, then
    /// the head, in this order, so that a crash in between leaves a chain that is whole.
    ///
    /// Whoever could not store all of it continues from the head before with [`ContentChain::at`].
    ///
    /// # Errors
    /// [`TypedContentError::Encode`]; the chain is then as before.
    pub fn append(&mut self, content: &T) -> Result<AppendedContent, TypedContentError> {
        let content = content.to_block(self.hash)?;
        let link = link::encode(self.head, T::NAME, &content.cid, self.hash).map_err(|source| {
            TypedContentError::Encode {
                name: T::NAME,
                source: source.into(),
            }
        })?;
        let head = ContentHead {
            seq: self.head.map_or(0, |head| head.seq).saturating_add(1),
            cid: link.cid,
        };
        self.head = Some(head);
        Ok(AppendedContent {
            content,
            link,
            head,
        })
    }

    /// Begins a walk from the head back to `since`; see [`ContentWalk`].
    ///
    /// # Errors
    /// If the head shows already that `since` is not in this chain: [`ContentChainFaultKind::Cut`] or
    /// [`ContentChainFaultKind::Forked`].
    pub fn walk(&self, since: Since) -> Result<ContentWalk, ContentChainFault> {
        ContentWalk::start(T::NAME, self.head, since)
    }

    /// The links after `since`, oldest first, every one proven by the head. `block` looks a block up.
    ///
    /// # Errors
    /// What `block` returns, or the first fault on the way back.
    pub fn since<E>(
        &self,
        since: Since,
        mut block: impl FnMut(&Cid) -> Result<Option<Bytes>, E>,
    ) -> Result<Vec<ContentLink>, ContentChainError<E>> {
        let mut walk = self.walk(since).map_err(ContentChainError::Fault)?;
        while let Some(cid) = walk.wanted() {
            let bytes = block(cid).map_err(ContentChainError::Lookup)?;
            walk.supply(bytes.as_deref())
                .map_err(ContentChainError::Fault)?;
        }
        walk.finish().map_err(ContentChainError::Fault)
    }

    /// Verifies every link and every value after `since`, and returns the head, to continue from
    /// next time with [`Since::Head`].
    ///
    /// # Errors
    /// What `block` returns, or a fault: the latest one among the links, and if there is none, the
    /// first one among the values.
    pub fn verify<E>(
        &self,
        since: Since,
        mut block: impl FnMut(&Cid) -> Result<Option<Bytes>, E>,
    ) -> Result<Option<ContentHead>, ContentChainError<E>> {
        for link in self.since(since, &mut block)? {
            let content = block(&link.content).map_err(ContentChainError::Lookup)?;
            link.content_from::<T>(content.as_deref())
                .map_err(ContentChainError::Fault)?;
        }
        Ok(self.head)
    }
}

impl<T: TypedContent> Default for ContentChain<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for ContentChain<T> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<T> fmt::Debug for ContentChain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentChain")
            .field("head", &self.head)
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

/// What [`ContentChain::append`] made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendedContent {
    /// The value's block.
    pub content: Block,
    /// The block of its link.
    pub link: Block,
    /// The chain's head from now on.
    pub head: ContentHead,
}

/// Why a chain was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContentChainError<E> {
    /// A block could not be looked up.
    #[error("a block of the chain could not be looked up")]
    Lookup(E),
    /// The chain is not whole.
    #[error("the chain is not whole")]
    Fault(#[source] ContentChainFault),
}
