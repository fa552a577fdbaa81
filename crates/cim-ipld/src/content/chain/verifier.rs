//! Verifying links that come in order.

use cid::Cid;

use super::super::address::verify;
use super::super::typed::TypedContent;
use super::fault::{ContentChainFault, ContentChainFaultKind as Kind};
use super::link::{ContentHead, ContentLink};

/// Verifies the links of a chain one after the other, oldest first, as a file or a feed has them.
///
/// It keeps one [`ContentHead`] only, so a long chain can be verified in parts, each resumed from the
/// head that the last one ended with. The chain alone cannot show that it was cut off at its end or
/// replaced as a whole; a head that was kept elsewhere can, given to
/// [`expecting`](ContentChainVerifier::expecting).
///
/// ```
/// # use cim_ipld::TypedContent;
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Price(u64);
/// # impl TypedContent for Price {
/// #     const NAME: &'static str = "shop.price";
/// # }
/// use cim_ipld::{ContentChain, ContentChainVerifier};
///
/// let mut chain = ContentChain::<Price>::new();
/// let first = chain.append(&Price(300))?;
/// let second = chain.append(&Price(320))?;
///
/// // A file that should have both links.
/// let mut verifier = ContentChainVerifier::start::<Price>().expecting(second.head);
/// verifier.push(&first.link.cid, &first.link.bytes)?;
/// let part = verifier.head().ok_or("one was pushed")?;
/// assert!(verifier.finish().is_err()); // it was cut off
///
/// // The rest of it, from where the first part ended.
/// let mut verifier = ContentChainVerifier::resume::<Price>(part).expecting(second.head);
/// verifier.push(&second.link.cid, &second.link.bytes)?;
/// assert_eq!(verifier.finish()?, Some(second.head));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ContentChainVerifier {
    name: &'static str,
    head: Option<ContentHead>,
    expected: Option<ContentHead>,
}

impl ContentChainVerifier {
    /// Starts at the beginning of a chain of `T`: the next link must have number 1.
    #[must_use]
    pub fn start<T: TypedContent>() -> Self {
        Self {
            name: T::NAME,
            head: None,
            expected: None,
        }
    }

    /// Continues after a link of a chain of `T` that is already verified.
    #[must_use]
    pub fn resume<T: TypedContent>(head: ContentHead) -> Self {
        Self {
            head: Some(head),
            ..Self::start::<T>()
        }
    }

    /// Demands that the chain contains a head that is known from elsewhere. One before the place
    /// where verifying resumes is not looked for.
    #[must_use]
    pub fn expecting(mut self, head: ContentHead) -> Self {
        self.expected = Some(head);
        self
    }

    /// The last link that was verified; `None` at the beginning of the chain.
    #[must_use]
    pub fn head(&self) -> Option<ContentHead> {
        self.head
    }

    /// Verifies the next link: its block's bytes against the CID it is kept under, and against the
    /// link before it. Its content is another matter: [`ContentLink::content_from`].
    ///
    /// # Errors
    /// The fault, after which the verifier stands where it stood.
    pub fn push(&mut self, claimed: &Cid, block: &[u8]) -> Result<ContentLink, ContentChainFault> {
        match self.check(claimed, block) {
            Ok(link) => {
                self.head = Some(link.head());
                Ok(link)
            }
            Err(kind) => Err(self.fault(kind)),
        }
    }

    /// Ends: the chain must have come as far as the head that was expected.
    ///
    /// # Errors
    /// [`ContentChainFaultKind::Cut`](Kind::Cut), or [`ContentChainFaultKind::Forked`](Kind::Forked) if
    /// verifying was resumed from another link in its place.
    pub fn finish(self) -> Result<Option<ContentHead>, ContentChainFault> {
        let Some(expected) = self.expected else {
            return Ok(self.head);
        };
        match self.head {
            Some(head) if head.seq == expected.seq && head.cid != expected.cid => {
                let kind = forked(&expected.cid, &head.cid);
                Err(ContentChainFault {
                    seq: head.seq,
                    kind,
                })
            }
            Some(head) if head.seq >= expected.seq => Ok(Some(head)),
            _ => Err(self.fault(Kind::Cut {
                expected: Box::new(expected),
            })),
        }
    }

    fn check(&self, claimed: &Cid, block: &[u8]) -> Result<ContentLink, Kind> {
        verify(claimed, block).map_err(Kind::Altered)?;
        let link = ContentLink::decode(claimed, block).map_err(Kind::Malformed)?;
        if link.name != self.name {
            return Err(Kind::WrongType {
                expected: self.name,
                found: link.name,
            });
        }
        let (found, verified) = (link.seq, self.head.map_or(0, |head| head.seq));
        if found <= verified {
            return Err(match self.head {
                Some(head) if found == verified && link.cid == head.cid => Kind::Repeated { found },
                Some(head) if found == verified => Kind::Rival {
                    first: Box::new(head.cid),
                    second: Box::new(link.cid),
                },
                _ => Kind::Reordered { found },
            });
        }
        // `found` is above `verified`, so this cannot overflow.
        if found > verified + 1 {
            return Err(Kind::Gap { found });
        }
        match (self.head, link.previous) {
            (None, None) => {}
            (None, Some(found)) => {
                return Err(Kind::UnexpectedPrevious {
                    found: Box::new(found),
                });
            }
            (Some(_), None) => return Err(Kind::MissingPrevious),
            (Some(head), Some(found)) if found == head.cid => {}
            (Some(head), Some(found)) => return Err(forked(&head.cid, &found)),
        }
        match self.expected {
            Some(expected) if expected.seq == found && expected.cid != link.cid => {
                Err(forked(&expected.cid, &link.cid))
            }
            _ => Ok(link),
        }
    }

    fn fault(&self, kind: Kind) -> ContentChainFault {
        ContentChainFault {
            seq: self.head.map_or(0, |head| head.seq).saturating_add(1),
            kind,
        }
    }
}

fn forked(expected: &Cid, found: &Cid) -> Kind {
    Kind::Forked {
        expected: Box::new(*expected),
        found: Box::new(*found),
    }
}
