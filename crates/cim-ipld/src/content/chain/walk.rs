//! Reading a chain from its head backwards.

use cid::Cid;

use super::super::address::verify;
use super::fault::{ContentChainFault, ContentChainFaultKind as Kind};
use super::link::{ContentHead, ContentLink};

/// Where reading a chain begins; what is named here is not read itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Since {
    /// At the first link.
    #[default]
    Beginning,
    /// After the link with this number; nothing comes if the chain is not longer.
    Seq(u64),
    /// After the link with this CID.
    Cid(Cid),
    /// After a link that was verified before. A chain that does not contain it is faulty: cut off,
    /// or replaced by another one.
    Head(ContentHead),
}

/// A walk along a chain from its head backwards, without any input or output of its own: it says
/// which block it wants, and is given it.
///
/// Every block is checked against the CID that the link after it names, so all that it returns is
/// proven by the head. It keeps the links, not their contents.
///
/// ```
/// # use std::collections::HashMap;
/// # use cim_ipld::TypedContent;
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Price(u64);
/// # impl TypedContent for Price {
/// #     const NAME: &'static str = "shop.price";
/// # }
/// use cim_ipld::{ContentChain, Since};
///
/// # let mut blocks = HashMap::new();
/// # let mut chain = ContentChain::<Price>::new();
/// # for price in [300, 320, 290] {
/// #     let link = chain.append(&Price(price))?.link;
/// #     blocks.insert(link.cid, link.bytes);
/// # }
/// let mut walk = chain.walk(Since::Seq(1))?;
/// while let Some(cid) = walk.wanted() {
///     // However it comes: from a network, in a future, on another thread.
///     let bytes = blocks.get(cid).cloned();
///     walk.supply(bytes.as_deref())?;
/// }
/// let links = walk.finish()?;
/// assert_eq!(links.iter().map(|link| link.seq).collect::<Vec<_>>(), [2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ContentWalk {
    name: &'static str,
    since: Since,
    wanted: Option<ContentHead>,
    /// Latest first.
    links: Vec<ContentLink>,
}

impl ContentWalk {
    /// Begins at a head, in a chain of the content with a
    /// [`NAME`](crate::TypedContent::NAME).
    pub(super) fn start(
        name: &'static str,
        head: Option<ContentHead>,
        since: Since,
    ) -> Result<Self, ContentChainFault> {
        let mut walk = Self {
            name,
            since,
            wanted: None,
            links: Vec::new(),
        };
        let last = head.map_or(0, |head| head.seq);
        walk.want(head).map_err(|kind| ContentChainFault {
            seq: match kind {
                Kind::Forked { .. } => last,
                _ => last.saturating_add(1),
            },
            kind,
        })?;
        Ok(walk)
    }

    /// The CID of the link whose block is wanted next; `None` when the walk is at its end.
    #[must_use]
    pub fn wanted(&self) -> Option<&Cid> {
        self.wanted.as_ref().map(|wanted| &wanted.cid)
    }

    /// Takes the bytes of the block that was wanted; `None` says that there is no such block. Does
    /// nothing when the walk is at its end.
    ///
    /// # Errors
    /// The fault at the wanted link, after which it is still wanted.
    pub fn supply(&mut self, bytes: Option<&[u8]>) -> Result<(), ContentChainFault> {
        let Some(wanted) = self.wanted else {
            return Ok(());
        };
        self.take(wanted, bytes).map_err(|kind| ContentChainFault {
            seq: wanted.seq,
            kind,
        })
    }

    fn take(&mut self, wanted: ContentHead, bytes: Option<&[u8]>) -> Result<(), Kind> {
        let bytes = bytes.ok_or_else(|| missing(&wanted))?;
        verify(&wanted.cid, bytes).map_err(Kind::Altered)?;
        let link = ContentLink::decode(&wanted.cid, bytes).map_err(Kind::Malformed)?;
        if link.name != self.name {
            return Err(Kind::WrongType {
                expected: self.name,
                found: link.name,
            });
        }
        if link.seq != wanted.seq {
            return Err(Kind::WrongNumber { found: link.seq });
        }
        let before = match link.previous {
            Some(cid) if link.seq > 1 => Some(ContentHead {
                seq: link.seq - 1,
                cid,
            }),
            None if link.seq == 1 => None,
            None => return Err(Kind::MissingPrevious),
            Some(found) => {
                return Err(Kind::UnexpectedPrevious {
                    found: Box::new(found),
                });
            }
        };
        self.want(before)?;
        self.links.push(link);
        Ok(())
    }

    /// Decides whether the link before is wanted, or the end is reached.
    fn want(&mut self, next: Option<ContentHead>) -> Result<(), Kind> {
        let seq = next.map_or(0, |next| next.seq);
        let at_the_end = match self.since {
            Since::Beginning => seq == 0,
            Since::Seq(since) => seq <= since,
            Since::Cid(since) => match next {
                Some(next) => next.cid == since,
                None => {
                    return Err(Kind::NotInChain {
                        cid: Box::new(since),
                    });
                }
            },
            Since::Head(since) if seq < since.seq => {
                return Err(Kind::Cut {
                    expected: Box::new(since),
                });
            }
            Since::Head(since) => match next {
                Some(next) if seq == since.seq && next.cid != since.cid => {
                    return Err(Kind::Forked {
                        expected: Box::new(since.cid),
                        found: Box::new(next.cid),
                    });
                }
                _ => seq == since.seq,
            },
        };
        self.wanted = next.filter(|_| !at_the_end);
        Ok(())
    }

    /// The links that were walked over, oldest first.
    ///
    /// # Errors
    /// [`ContentChainFaultKind::Missing`](Kind::Missing) if a block is still wanted.
    pub fn finish(mut self) -> Result<Vec<ContentLink>, ContentChainFault> {
        if let Some(wanted) = self.wanted {
            return Err(ContentChainFault {
                seq: wanted.seq,
                kind: missing(&wanted),
            });
        }
        self.links.reverse();
        Ok(self.links)
    }
}

fn missing(wanted: &ContentHead) -> Kind {
    Kind::Missing {
        cid: Box::new(wanted.cid),
    }
}
