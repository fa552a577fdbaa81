//! The chains of all streams, side by side: each event in the order of the log against the one
//! before it in its stream.

use std::collections::{HashMap, HashSet};

use cim_ipld::{ChainHead, ChainLink, ChainVerifier};
use cim_store::{Damage, EventCid, Examined, Head, Position, StreamId, Version};

use super::fault::{VerificationFault, VerificationFaultKind};
use super::hashing::{BlockFinding, Hashed, HashedEvent, SoundBlock};
use super::heads::{VerifiedHead, VerifiedHeads};
use super::log_order::LogOrder;

/// Damaged places that are remembered at most, to be compared with what streams miss.
const MOST_DAMAGES: usize = 10_000;

/// Every chain that is being verified.
#[derive(Debug)]
pub(super) struct Chains {
    chains: HashMap<StreamId, Chain>,
    /// What was verified before: where a chain goes on that has no events in front of this.
    known: VerifiedHeads,
    /// The heads that the store lists.
    listed: HashMap<StreamId, Head>,
    /// The streams that are looked at; `None`: all.
    only: Option<HashSet<StreamId>>,
    /// Events at positions up to here are truncated.
    truncated_through: Position,
    pub(super) order: LogOrder,
    /// Places of which nobody knows whose event stood there.
    damages: Vec<Damage>,
    pub(super) events: u64,
}

/// The chain of one stream.
#[derive(Debug)]
struct Chain {
    verifier: ChainVerifier,
    /// What was verified before.
    known: Option<VerifiedHead>,
    /// The position of the last event that was verified.
    last: Position,
    /// Whether an event was linked now.
    grew: bool,
    /// Where the store says that the stream ends.
    listed: Option<(Version, EventCid)>,
    fault: Option<Fault>,
}

#[derive(Debug)]
struct Fault {
    fault: VerificationFault,
    /// Where an event is missing: which one, and between which positions it must have been.
    missing: Option<Missing>,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    version: u64,
    after: Position,
    before: Position,
}

impl Missing {
    fn can_be_at(&self, position: Position) -> bool {
        self.after < position && position < self.before
    }
}

impl Chains {
    pub(super) fn new(
        known: VerifiedHeads,
        listed: HashMap<StreamId, Head>,
        only: Option<HashSet<StreamId>>,
        (after, truncated_through): (Position, Position),
    ) -> Self {
        Self {
            chains: HashMap::new(),
            known,
            listed,
            only,
            truncated_through,
            order: LogOrder::after(after),
            damages: Vec::new(),
            events: 0,
        }
    }

    /// Whether this is to be looked at.
    pub(super) fn mean(&self, found: &Examined) -> bool {
        match found {
            Examined::Event(event) => self.means(&event.stream),
            Examined::Damage(_) => true,
        }
    }

    /// What was found next in the log.
    pub(super) fn push_all(&mut self, found: Vec<Hashed>) {
        for found in found {
            self.push(found);
        }
    }

    /// Whether events of this stream are to be looked at.
    fn means(&self, stream: &StreamId) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(stream))
    }

    /// The next thing that was found in the log.
    pub(super) fn push(&mut self, found: Hashed) {
        match found {
            Hashed::Event(event) => self.event(&event),
            Hashed::Damage(damage) => self.damage(damage),
        }
    }

    fn event(&mut self, event: &HashedEvent) {
        if self.only.is_none() {
            self.order.push(event);
        }
        self.events += 1;
        // Nearly every event belongs to a stream that was seen before.
        if let Some(chain) = self.chains.get_mut(&event.stream) {
            chain.push(event);
            return;
        }
        let mut chain = self.begin(&event.stream, event);
        chain.push(event);
        self.chains.insert(event.stream.clone(), chain);
    }

    /// A chain whose first event is at hand.
    fn begin(&self, stream: &StreamId, first: &HashedEvent) -> Chain {
        let mut chain = self.resume(stream);
        // What is truncated can't be verified any more: the chain begins with what is left.
        if self.truncated_through > chain.last
            && let BlockFinding::Sound(SoundBlock {
                version,
                previous: Some(previous),
                ..
            }) = &first.block
            && *version > chain.next().get()
        {
            let before = ChainHead {
                version: version - 1,
                cid: *previous,
            };
            chain.verifier = ChainVerifier::resume(stream.as_str(), before);
        }
        chain
    }

    /// A chain that goes on from what is known of it.
    fn resume(&self, stream: &StreamId) -> Chain {
        let known = self.known.head(stream);
        Chain {
            verifier: match known {
                Some(head) => ChainVerifier::resume(stream.as_str(), head.chain()),
                None => ChainVerifier::start(stream.as_str()),
            },
            known,
            last: known.map_or(Position::NONE, |head| head.position),
            grew: false,
            listed: self.listed.get(stream).map(|head| (head.version, head.cid)),
            fault: None,
        }
    }

    fn damage(&mut self, damage: Damage) {
        self.order.lost();
        let Some(stream) = damage.stream.clone() else {
            if self.damages.len() < MOST_DAMAGES {
                self.damages.push(damage);
            }
            return;
        };
        if !self.means(&stream) {
            return;
        }
        let begun = self.resume(&stream);
        let chain = self.chains.entry(stream.clone()).or_insert(begun);
        if chain.fault.is_none() {
            let kind = if damage.missing {
                VerificationFaultKind::Removed
            } else {
                VerificationFaultKind::Altered
            };
            let version = damage.version.unwrap_or_else(|| chain.next());
            chain.fault = Some(Fault {
                fault: VerificationFault::of(
                    &stream,
                    version,
                    damage.position,
                    kind,
                    damage.message,
                ),
                missing: None,
            });
        }
    }

    /// The log ends here: compares with the heads that the store lists and with those that were
    /// verified before. Returns what is wrong, and the heads that are verified now.
    pub(super) fn finish(
        mut self,
        listed_through: Position,
    ) -> (Vec<VerificationFault>, VerifiedHeads) {
        self.order.finish();
        let mut faults = Vec::new();
        let listed = std::mem::take(&mut self.listed);
        for (stream, head) in &listed {
            if self.means(stream) {
                self.compare_listed(stream, head, &mut faults);
            }
        }
        for (stream, known) in self.known.iter() {
            if self.means(stream)
                && !listed.contains_key(stream)
                && !self.chains.contains_key(stream)
            {
                let message = format!(
                    "the stream was verified up to version {}, and is not there any more",
                    known.version
                );
                let kind = VerificationFaultKind::Cut;
                faults.push(VerificationFault::of(
                    stream,
                    Version::new(1),
                    None,
                    kind,
                    message,
                ));
            }
        }
        let mut chains: Vec<(StreamId, Chain)> =
            std::mem::take(&mut self.chains).into_iter().collect();
        chains.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut heads = std::mem::take(&mut self.known);
        for (stream, mut chain) in chains {
            if chain.fault.is_none()
                && !listed.contains_key(&stream)
                && chain.grew
                && chain.last <= listed_through
                && let Some(head) = chain.verifier.head()
            {
                let message = "the log holds the stream, but the store does not list it";
                let version = Version::new(head.version);
                let kind = VerificationFaultKind::Index;
                faults.push(VerificationFault::of(
                    &stream,
                    version,
                    Some(chain.last),
                    kind,
                    message,
                ));
            }
            if let Some(Fault { mut fault, missing }) = chain.fault.take() {
                if let Some(missing) = missing {
                    self.explain(&mut fault, missing);
                }
                faults.push(fault);
            } else if let Some(head) = chain.verifier.head().filter(|_| chain.grew) {
                let head = VerifiedHead {
                    version: head.version,
                    position: chain.last,
                    cid: head.cid,
                };
                heads.put(stream, head);
            }
        }
        faults.sort_by(|one, other| one.stream.cmp(&other.stream));
        // Only the first fault of a stream: what follows from it says nothing new.
        faults.dedup_by(|later, first| later.stream.is_some() && later.stream == first.stream);
        let named: HashSet<StreamId> = faults
            .iter()
            .filter_map(|fault| fault.stream.clone())
            .collect();
        let order = std::mem::take(&mut self.order.faults);
        // A commit is not whole where an event of it is missing, which is said already.
        let is_new = |fault: &VerificationFault| {
            let named = fault
                .stream
                .as_ref()
                .is_some_and(|stream| named.contains(stream));
            fault.kind != VerificationFaultKind::Commit || !named
        };
        faults.extend(order.into_iter().filter(is_new));
        self.report_damages(&mut faults);
        (faults, heads)
    }

    /// A stream must end where the store says that it ends.
    fn compare_listed(
        &mut self,
        stream: &StreamId,
        listed: &Head,
        faults: &mut Vec<VerificationFault>,
    ) {
        let known = self.known.head(stream);
        let chain = self.chains.get_mut(stream);
        if chain.as_ref().is_some_and(|chain| chain.fault.is_some()) {
            return;
        }
        let read = chain.as_ref().is_some_and(|chain| chain.grew);
        let reached = match &chain {
            Some(chain) => chain.verifier.head(),
            None => known.map(|known| known.chain()),
        };
        let version = reached.map_or(0, |head| head.version);
        let mut fault = |version: u64, kind, message: String| {
            let position = (kind != VerificationFaultKind::Cut).then_some(listed.position);
            faults.push(VerificationFault::of(
                stream,
                Version::new(version),
                position,
                kind,
                message,
            ));
        };
        if reached.is_none() && listed.position <= self.truncated_through {
            return; // every event of it is truncated
        }
        if version < listed.version.get() {
            let message = format!(
                "the stream ends with version {version}, but its head says version {} at position {}",
                listed.version, listed.position
            );
            let missing = Missing {
                version: version + 1,
                after: chain.map_or(known.map_or(Position::NONE, |known| known.position), |c| {
                    c.last
                }),
                before: listed.position.next(),
            };
            let kind = VerificationFaultKind::Cut;
            let mut cut =
                VerificationFault::of(stream, Version::new(version + 1), None, kind, message);
            self.explain(&mut cut, missing);
            faults.push(cut);
        } else if version > listed.version.get() && !read {
            let message = format!(
                "the stream was verified up to version {version}, and ends with version {} now",
                listed.version
            );
            fault(
                listed.version.get() + 1,
                VerificationFaultKind::Cut,
                message,
            );
        } else if let Some(reached) = reached
            .filter(|reached| reached.version == listed.version.get() && reached.cid != listed.cid)
        {
            let (kind, whose) = if read {
                (VerificationFaultKind::Index, "the event itself is")
            } else {
                (
                    VerificationFaultKind::Forked,
                    "what was verified before was",
                )
            };
            let message = format!("the head names {}, but {whose} {}", listed.cid, reached.cid);
            fault(version, kind, message);
        }
    }

    /// An event that is missing where something unreadable stands was altered beyond recognition.
    fn explain(&mut self, fault: &mut VerificationFault, missing: Missing) {
        let found = self.damages.iter().position(|damage| {
            let here = damage.position.is_some_and(|at| missing.can_be_at(at));
            here && !damage.missing
        });
        let gap = |damage: &Damage| {
            damage.missing && damage.position.is_some_and(|at| missing.can_be_at(at))
        };
        if let Some(found) = found {
            let damage = self.damages.remove(found);
            fault.kind = VerificationFaultKind::Altered;
            fault.position = damage.position;
            fault.message = format!(
                "version {} can't be read: {}",
                missing.version, damage.message
            );
        } else if let Some(found) = self.damages.iter().position(gap) {
            // What is missing in the log is what is missing in the stream.
            self.damages.remove(found);
        }
    }

    /// What no stream accounts for.
    fn report_damages(&mut self, faults: &mut Vec<VerificationFault>) {
        for damage in std::mem::take(&mut self.damages) {
            let kind = if damage.missing {
                VerificationFaultKind::Removed
            } else {
                VerificationFaultKind::Damaged
            };
            faults.push(VerificationFault::of_log(
                damage.position,
                kind,
                damage.message,
            ));
        }
    }
}

impl Chain {
    /// The version that comes next.
    fn next(&self) -> Version {
        Version::new(self.verifier.head().map_or(0, |head| head.version)).next()
    }

    fn push(&mut self, event: &HashedEvent) {
        if let Some(Fault { fault, missing }) = &mut self.fault {
            // A missing event that comes later is not missing.
            if missing.is_some_and(|missing| event.version.get() == missing.version) {
                *missing = None;
                fault.kind = VerificationFaultKind::Reordered;
                fault.message = format!(
                    "version {} comes after later ones, at position {}",
                    event.version, event.position
                );
            }
            return;
        }
        let before = self.known.filter(|known| event.position <= known.position);
        let fault = match &event.block {
            BlockFinding::Sound(_) if before.is_some() => self.compare_known(event, before),
            BlockFinding::Altered { actual } => {
                let message = format!(
                    "the bytes hash to {actual}, but were stored as {}",
                    event.cid
                );
                Some(self.fault_at(event, VerificationFaultKind::Altered, message))
            }
            BlockFinding::Malformed(error) => {
                Some(self.fault_at(event, VerificationFaultKind::Malformed, error.to_string()))
            }
            BlockFinding::Sound(block) => self.link(event, block),
        };
        match fault {
            None => self.last = self.last.max(event.position),
            fault => self.fault = fault,
        }
    }

    /// An event in front of what was verified before, or that event itself.
    fn compare_known(&self, event: &HashedEvent, known: Option<VerifiedHead>) -> Option<Fault> {
        let known = known.filter(|known| known.version == event.version.get())?;
        if known.cid == event.cid {
            return None;
        }
        let message = format!(
            "the event is {}, but {} was verified before",
            event.cid, known.cid
        );
        Some(self.fault_at(event, VerificationFaultKind::Forked, message))
    }

    fn link(&mut self, event: &HashedEvent, block: &SoundBlock) -> Option<Fault> {
        if block.other_stream.is_none() && block.version != event.version.get() {
            let message = format!("the event is version {} of its stream", block.version);
            return Some(self.fault_at(event, VerificationFaultKind::Misfiled, message));
        }
        let link = ChainLink {
            stream: block
                .other_stream
                .as_deref()
                .unwrap_or(event.stream.as_str()),
            version: block.version,
            previous: block.previous,
            cid: event.cid,
        };
        let expected = self.next().get();
        if let Err(fault) = self.verifier.link(&link) {
            let fault = VerificationFault::of_chain(&event.stream, event.position, &fault);
            let gap = fault.kind == VerificationFaultKind::Removed;
            return Some(Fault {
                missing: gap.then_some(Missing {
                    version: expected,
                    after: self.last,
                    before: event.position,
                }),
                fault,
            });
        }
        self.grew = true;
        let (_, listed) = self
            .listed
            .filter(|(version, _)| *version == event.version)?;
        if listed == event.cid {
            return None;
        }
        let message = format!(
            "the head names {listed}, but the event itself is {}",
            event.cid
        );
        Some(self.fault_at(event, VerificationFaultKind::Index, message))
    }

    fn fault_at(&self, event: &HashedEvent, kind: VerificationFaultKind, message: String) -> Fault {
        let (stream, position) = (&event.stream, Some(event.position));
        Fault {
            fault: VerificationFault::of(stream, event.version, position, kind, message),
            missing: None,
        }
    }
}
