//! The chain of one stream: proof that its history is whole and unchanged.
//!
//! Each event names the CID of the event before it, and a CID is a hash of the whole block. So the
//! CID of a stream's last event fixes every byte of every event before it. A [`ChainVerifier`]
//! walks a stream event by event and finds the first place where that does not hold. It keeps one
//! [`ChainHead`] only, so a long stream can be verified in parts, each resumed from the head that
//! the last one ended with. A verified head that matches one kept *elsewhere* proves that nobody
//! replaced the whole stream; the chain alone cannot.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{BlockError, EventBlock, EventCid};

/// The last event of a stream, or of a verified part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChainHead {
    /// The event's version, from 1.
    pub version: u64,
    /// The event's CID.
    pub cid: EventCid,
}

/// What an event's block says about its place in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainLink<'a> {
    /// The stream that the block names.
    pub stream: &'a str,
    /// The version that the block names.
    pub version: u64,
    /// The CID that the block names as that of the event before it.
    pub previous: Option<EventCid>,
    /// The CID that the block hashes to.
    pub cid: EventCid,
}

/// Verifies the chain of one stream, event by event.
///
/// ```
/// use cim_ipld::{ChainFaultKind, ChainVerifier, EventBlock, EventCid};
/// # let first = EventBlock {
/// #     id: [1; 16], event_type: "opened", schema_version: 1, stream: "bank.account.7",
/// #     version: 1, time: 0, content_type: "application/json", data: b"{}", commit: [2; 16],
/// #     index: 0, count: 1, correlation: None, causation: None, principal: None, trace: None,
/// #     metadata: cim_ipld::MetadataRef::EMPTY, previous: None,
/// # };
/// # let (mut one, mut two) = (Vec::new(), Vec::new());
/// # first.encode_into(&mut one);
/// # EventBlock { version: 2, previous: Some(EventCid::of(&one)), ..first }.encode_into(&mut two);
///
/// let mut chain = ChainVerifier::start("bank.account.7");
/// let kept = chain.push(&one, &EventCid::of(&one))?;
/// let head = chain.push(&two, &EventCid::of(&two))?;
/// assert_eq!((head.version, head.cid), (2, EventCid::of(&two)));
///
/// // Another day, from the head that was kept.
/// let mut rest = ChainVerifier::resume("bank.account.7", kept);
/// assert_eq!(rest.push(&two, &EventCid::of(&two))?, head);
///
/// let mut without_the_first = ChainVerifier::start("bank.account.7");
/// let fault = without_the_first.push(&two, &EventCid::of(&two)).unwrap_err();
/// assert_eq!(fault.kind, ChainFaultKind::Gap { found: 2 });
/// # Ok::<(), cim_ipld::ChainFault>(())
/// ```
#[derive(Clone, Debug)]
pub struct ChainVerifier {
    stream: String,
    head: Option<ChainHead>,
}

impl ChainVerifier {
    /// Starts at the beginning of a stream: the next event must have version 1.
    #[must_use]
    pub fn start(stream: &str) -> Self {
        Self {
            stream: stream.to_owned(),
            head: None,
        }
    }

    /// Continues after an event that is already verified. A head of version 0, which no event has,
    /// is the beginning.
    #[must_use]
    pub fn resume(stream: &str, head: ChainHead) -> Self {
        Self {
            stream: stream.to_owned(),
            head: (head.version > 0).then_some(head),
        }
    }

    /// The last event that was verified; `None` at the beginning of the stream.
    #[must_use]
    pub fn head(&self) -> Option<ChainHead> {
        self.head
    }

    /// Verifies the next event: its block's bytes against the CID it is stored under, and against
    /// the event before it.
    ///
    /// # Errors
    /// A [`ChainFault`], after which the verifier stands where it stood.
    pub fn push(&mut self, block: &[u8], claimed: &EventCid) -> Result<ChainHead, ChainFault> {
        let actual = EventCid::of(block);
        if actual != *claimed {
            let kind = ChainFaultKind::Altered {
                claimed: *claimed,
                actual,
            };
            return Err(self.fault(kind));
        }
        let event = match EventBlock::decode(block) {
            Ok(event) => event,
            Err(error) => return Err(self.fault(ChainFaultKind::Malformed(error))),
        };
        self.link(&ChainLink {
            stream: event.stream,
            version: event.version,
            previous: event.previous,
            cid: actual,
        })
    }

    /// Verifies that an event follows the one before it, where its block was hashed and decoded
    /// elsewhere, for example on another thread.
    ///
    /// # Errors
    /// A [`ChainFault`] of any kind but `Altered` and `Malformed`, after which the verifier stands
    /// where it stood.
    pub fn link(&mut self, event: &ChainLink<'_>) -> Result<ChainHead, ChainFault> {
        let head = verify_link(&self.stream, self.head, event)?;
        self.head = Some(head);
        Ok(head)
    }

    #[cold]
    fn fault(&self, kind: ChainFaultKind) -> ChainFault {
        fault(&self.stream, self.head, kind)
    }
}

/// Verifies that an event follows `head`, the last verified event of a stream, `None` at its
/// beginning, and gives the head with it. For whoever keeps the heads of many streams; a
/// [`ChainVerifier`] keeps one.
///
/// ```
/// use std::collections::HashMap;
/// use cim_ipld::{ChainFaultKind, ChainLink, EventCid, verify_link};
///
/// let [first, second] = [EventCid::from_digest([1; 32]), EventCid::from_digest([2; 32])];
/// let log = [
///     ChainLink { stream: "bank.account.7", version: 1, previous: None, cid: first },
///     ChainLink { stream: "bank.account.8", version: 1, previous: None, cid: second },
///     ChainLink { stream: "bank.account.7", version: 3, previous: Some(second), cid: first },
/// ];
///
/// let mut heads = HashMap::new();
/// let fault = log.iter().find_map(|link| {
///     let head = heads.get(link.stream).copied();
///     match verify_link(link.stream, head, link) {
///         Ok(head) => {
///             heads.insert(link.stream, head);
///             None
///         }
///         Err(fault) => Some(fault),
///     }
/// });
/// assert_eq!(fault.map(|fault| fault.kind), Some(ChainFaultKind::Gap { found: 3 }));
/// assert_eq!(heads["bank.account.7"].version, 1);
/// ```
///
/// # Errors
/// As [`ChainVerifier::link`].
pub fn verify_link(
    stream: &str,
    head: Option<ChainHead>,
    event: &ChainLink<'_>,
) -> Result<ChainHead, ChainFault> {
    match misfit(stream, head, event) {
        Some(kind) => Err(fault(stream, head, kind)),
        None => Ok(ChainHead {
            version: event.version,
            cid: event.cid,
        }),
    }
}

/// Why an event, sound in itself, is not the next one.
fn misfit(stream: &str, head: Option<ChainHead>, event: &ChainLink<'_>) -> Option<ChainFaultKind> {
    let cid = event.cid;
    if event.stream != stream {
        return Some(ChainFaultKind::WrongStream {
            found: event.stream.to_owned(),
        });
    }
    let found = event.version;
    let verified = head.map_or(0, |head| head.version);
    if found <= verified {
        return Some(match head {
            Some(head) if found == head.version && cid == head.cid => {
                ChainFaultKind::Repeated { found }
            }
            Some(head) if found == head.version => ChainFaultKind::Rival {
                first: head.cid,
                second: cid,
            },
            _ => ChainFaultKind::Reordered { found },
        });
    }
    // `found` is above `verified`, so this cannot overflow.
    if found > verified + 1 {
        return Some(ChainFaultKind::Gap { found });
    }
    match (head, event.previous) {
        (None, None) => None,
        (None, Some(found)) => Some(ChainFaultKind::UnexpectedPrevious { found }),
        (Some(head), None) => Some(ChainFaultKind::MissingPrevious { expected: head.cid }),
        (Some(head), Some(found)) if found == head.cid => None,
        (Some(head), Some(found)) => Some(ChainFaultKind::Forked {
            expected_previous: head.cid,
            found_previous: found,
        }),
    }
}

#[cold]
fn fault(stream: &str, head: Option<ChainHead>, kind: ChainFaultKind) -> ChainFault {
    ChainFault {
        stream: stream.to_owned(),
        version: head.map_or(1, |head| head.version.saturating_add(1)),
        kind,
    }
}

/// Where a stream's chain breaks, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChainFault {
    /// The stream that is verified.
    pub stream: String,
    /// The version that was to come next; every version before it is verified.
    pub version: u64,
    /// What is wrong.
    pub kind: ChainFaultKind,
}

/// The kinds of [`ChainFault`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChainFaultKind {
    /// The block does not hash to the CID it is stored under: its bytes, or the stored CID, were
    /// changed afterwards.
    Altered {
        /// The CID it is stored under.
        claimed: EventCid,
        /// The CID of the bytes.
        actual: EventCid,
    },
    /// The block hashes to its CID but is not an event's block.
    Malformed(BlockError),
    /// The event belongs to another stream.
    WrongStream {
        /// The stream it names.
        found: String,
    },
    /// One or more events are missing before this one.
    Gap {
        /// The version of the event that came.
        found: u64,
    },
    /// The last verified event came once more.
    Repeated {
        /// Its version.
        found: u64,
    },
    /// An event came after a later one.
    Reordered {
        /// The version of the event that came.
        found: u64,
    },
    /// A second, different event has the version of the last verified one.
    Rival {
        /// The CID of the verified event.
        first: EventCid,
        /// The CID of the event that came.
        second: EventCid,
    },
    /// The event continues another history than the verified one.
    Forked {
        /// The CID of the last verified event.
        expected_previous: EventCid,
        /// The CID that the event names as the one before it.
        found_previous: EventCid,
    },
    /// An event after the first names no event before it.
    MissingPrevious {
        /// The CID of the last verified event.
        expected: EventCid,
    },
    /// The first event names an event before it.
    UnexpectedPrevious {
        /// The CID it names.
        found: EventCid,
    },
}

impl fmt::Display for ChainFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = self.version;
        write!(f, "stream {}, version {next}: ", self.stream)?;
        match &self.kind {
            ChainFaultKind::Altered { claimed, actual } => write!(
                f,
                "the event was altered: it is stored as {claimed} but its bytes hash to {actual}; \
                 restore it from a replica or backup whose bytes hash to the stored CID"
            ),
            ChainFaultKind::Malformed(_) => f.write_str(
                "the bytes stored are not an event's block; find out what wrote them, and restore \
                 the event from a replica or backup",
            ),
            ChainFaultKind::WrongStream { found } => write!(
                f,
                "the event belongs to stream {found}; verify each stream on its own, and if the \
                 store listed it here, rebuild its index"
            ),
            ChainFaultKind::Gap { found } => write!(
                f,
                "the next event has version {found}, so {} missing; restore from a replica or \
                 backup, or read the range again if only part of it was read",
                Missing {
                    from: next,
                    to: found - 1
                }
            ),
            ChainFaultKind::Repeated { found } => write!(
                f,
                "the event of version {found} came again; remove the copy, the events themselves \
                 are sound up to here"
            ),
            ChainFaultKind::Reordered { found } => write!(
                f,
                "the event of version {found} came after version {}; read the stream in order of \
                 versions, and if the store itself has it so, rebuild its index",
                next.saturating_sub(1)
            ),
            ChainFaultKind::Rival { first, second } => write!(
                f,
                "version {} exists twice, as {first} and as {second}; keep the one that a \
                 checkpoint kept elsewhere confirms",
                next.saturating_sub(1)
            ),
            ChainFaultKind::Forked {
                expected_previous,
                found_previous,
            } => write!(
                f,
                "the event continues another history: it follows {found_previous}, but the event \
                 before it is {expected_previous}; keep the branch that a checkpoint kept \
                 elsewhere confirms"
            ),
            ChainFaultKind::MissingPrevious { expected } => write!(
                f,
                "the event does not say which event it follows, which is {expected}; it was not \
                 written through a store, restore it from a replica or backup"
            ),
            ChainFaultKind::UnexpectedPrevious { found } => write!(
                f,
                "the first event says that it follows {found}; events before it were removed or \
                 renumbered, restore the stream from a replica or backup"
            ),
        }
    }
}

impl Error for ChainFault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            ChainFaultKind::Malformed(error) => Some(error),
            _ => None,
        }
    }
}

/// "version 3 is" or "versions 3 to 5 are".
struct Missing {
    from: u64,
    to: u64,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to {
            write!(f, "version {} is", self.from)
        } else {
            write!(f, "versions {} to {} are", self.from, self.to)
        }
    }
}
