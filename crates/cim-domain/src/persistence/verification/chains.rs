//! The chains of all streams, side by side: each event in the order of the log against the one
//! before it in its stream.

use std::collections::{HashMap, HashSet};

use cim_ipld::{ChainHead, ChainLink, verify_link};
use cim_store::{Damage, Examined, LogStats, Position, StreamId, Version};

use super::fault::{VerificationFault, VerificationFaultKind};
use super::hashing::{BlockFinding, Hashed, HashedEvent, SoundBlock};
use super::heads::{VerifiedHead, VerifiedHeads};
use super::log_order::LogOrder;

/// Damaged places that are remembered at most, to be compared with what streams miss.
const MOST_DAMAGES: usize = 10_000;

/// Every chain that is being verified.
#[derive(Debug)]
pub(super) struct Chains {
    pub(super) chains: HashMap<StreamId, Chain>,
    /// What was verified before: where a chain goes on that has no events in front of this.
    pub(super) known: VerifiedHeads,
    /// The streams that are looked at; `None`: all.
    only: Option<HashSet<StreamId>>,
    /// Whether every event is linked, also those that were verified before.
    pub(super) links_all: bool,
    /// Whether what was verified before must stand at the positions that it had then.
    pub(super) same_places: bool,
    /// Events at positions up to here are truncated.
    pub(super) truncated_through: Position,
    /// The last position that was stored before the examination began.
    pub(super) end: Position,
    pub(super) order: LogOrder,
    /// Places of which nobody knows whose event stood there.
    pub(super) damages: Vec<Damage>,
    pub(super) events: u64,
}

/// The chain of one stream. There may be very many of them, so what is rare has a place of its own.
#[derive(Debug)]
pub(super) struct Chain {
    /// The last event that is verified.
    pub(super) head: Option<ChainHead>,
    /// What was verified before.
    known: Option<Box<VerifiedHead>>,
    /// Whether that must stand at the position that it had then.
    same_places: bool,
    /// Events up to this position were verified before and are not linked again.
    passed_through: Position,
    /// The position of the last event that was verified.
    pub(super) last: Position,
    /// Whether an event was linked now.
    pub(super) grew: bool,
    pub(super) fault: Option<Box<Fault>>,
}

#[derive(Debug)]
pub(super) struct Fault {
    pub(super) fault: VerificationFault,
    /// Where an event is missing: which one, and between which positions it must have been.
    pub(super) missing: Option<Missing>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Missing {
    pub(super) version: u64,
    pub(super) after: Position,
    pub(super) before: Position,
}

impl Missing {
    pub(super) fn can_be_at(&self, position: Position) -> bool {
        self.after < position && position < self.before
    }
}

impl Chains {
    pub(super) fn new(
        known: VerifiedHeads,
        only: Option<HashSet<StreamId>>,
        after: Position,
        stats: &LogStats,
    ) -> Self {
        Self {
            chains: HashMap::new(),
            known,
            only,
            links_all: false,
            same_places: false,
            truncated_through: stats.truncated_through,
            end: stats.last,
            order: LogOrder::after(after),
            damages: Vec::new(),
            events: 0,
        }
    }

    /// Links every event from the beginning, and compares it with what was verified before.
    pub(super) fn link_all(&mut self) {
        self.links_all = true;
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
    pub(super) fn means(&self, stream: &StreamId) -> bool {
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
        if chain.fault.is_none() {
            chain.push(event);
        }
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
            chain.fault = self.compare_truncated(&chain, first, before).map(Box::new);
            chain.head = Some(before);
        }
        chain
    }

    /// What is wrong where a chain begins after `before`, which was truncated: what was verified
    /// before must be truncated as well, and be what the first event that is left follows.
    fn compare_truncated(
        &self,
        chain: &Chain,
        first: &HashedEvent,
        before: ChainHead,
    ) -> Option<Fault> {
        let known = chain.known.as_deref()?;
        if known.version > before.version {
            return None;
        }
        let (kind, version, message) = if known.position > self.truncated_through {
            let message = format!(
                "version {} comes first, but {} at position {} was verified before and is behind \
                 everything that was truncated",
                first.version, known.cid, known.position
            );
            let version = Version::new(known.version);
            (VerificationFaultKind::Removed, version, message)
        } else if known.version == before.version && known.cid != before.cid {
            let message = format!(
                "it follows {}, but {} was verified before",
                before.cid, known.cid
            );
            (VerificationFaultKind::Forked, first.version, message)
        } else {
            return None;
        };
        let at = Some(first.position);
        let fault = VerificationFault::of(&first.stream, version, at, kind, message);
        let missing = None;
        Some(Fault { fault, missing })
    }

    /// A chain that goes on from what is known of it.
    fn resume(&self, stream: &StreamId) -> Chain {
        let known = self.known.head(stream);
        let from = known.filter(|_| !self.links_all);
        Chain {
            head: from.map(|head| head.chain()),
            known: known.map(Box::new),
            same_places: self.same_places,
            passed_through: from.map_or(Position::NONE, |head| head.position),
            last: from.map_or(Position::NONE, |head| head.position),
            grew: false,
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
            chain.fault = Some(Box::new(Fault {
                fault: VerificationFault::of(
                    &stream,
                    version,
                    damage.position,
                    kind,
                    damage.message,
                ),
                missing: None,
            }));
        }
    }
}

impl Chain {
    /// The version that comes next.
    fn next(&self) -> Version {
        Version::new(self.head.map_or(0, |head| head.version)).next()
    }

    fn push(&mut self, event: &HashedEvent) {
        if let Some(found) = &mut self.fault {
            let Fault { fault, missing } = &mut **found;
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
        let passed = event.position <= self.passed_through;
        let fault = match &event.block {
            BlockFinding::Sound(_) if passed => self.compare_known(event),
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
            fault => self.fault = fault.map(Box::new),
        }
    }

    /// Where an event stands in the place of the one that was verified before.
    fn compare_known(&self, event: &HashedEvent) -> Option<Fault> {
        let known = self.known.as_deref()?;
        if known.version != event.version.get() {
            return None;
        }
        let (stream, at) = (&event.stream, event.position);
        let fault = if known.cid != event.cid {
            VerificationFault::of_replaced(stream, at, known, event.cid)
        } else if self.same_places && known.position != at {
            VerificationFault::of_moved(stream, at, known)
        } else {
            return None;
        };
        let missing = None;
        Some(Fault { fault, missing })
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
        match verify_link(event.stream.as_str(), self.head, &link) {
            Ok(head) => {
                self.head = Some(head);
                self.grew = true;
                self.compare_known(event)
            }
            Err(fault) => {
                let fault = VerificationFault::of_chain(&event.stream, event.position, &fault);
                let gap = fault.kind == VerificationFaultKind::Removed;
                let missing = gap.then(|| Missing {
                    version: self.next().get(),
                    after: self.last,
                    before: event.position,
                });
                Some(Fault { fault, missing })
            }
        }
    }

    fn fault_at(&self, event: &HashedEvent, kind: VerificationFaultKind, message: String) -> Fault {
        let (stream, position) = (&event.stream, Some(event.position));
        Fault {
            fault: VerificationFault::of(stream, event.version, position, kind, message),
            missing: None,
        }
    }
}
