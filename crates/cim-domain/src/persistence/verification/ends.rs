//! Where a verification ends: every stream must end where the store says, and not before what was
//! verified of it.

use std::collections::{BTreeSet, HashMap, HashSet};

use cim_store::{Damage, Head, Position, StreamId, Version};

use super::chains::{Chains, Fault, Missing};
use super::fault::{VerificationFault, VerificationFaultKind};
use super::heads::{VerifiedHead, VerifiedHeads};

/// What a store says of its streams, after the examination began.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) heads: HashMap<StreamId, Head>,
    /// The position of the last event that was stored by then; `None` where the listing is not
    /// whole.
    pub(super) last: Option<Position>,
}

impl Chains {
    /// The log ends here: compares with the heads that the store lists and with those that were
    /// verified before. Returns what is wrong, and the heads that are verified now.
    pub(super) fn finish(
        mut self,
        Listing {
            heads: listed,
            last,
        }: &Listing,
    ) -> (Vec<VerificationFault>, VerifiedHeads) {
        self.order.finish();
        let mut faults = Vec::new();
        let known = self.known.iter().map(|(stream, _)| stream);
        let mut streams: BTreeSet<StreamId> = known.chain(listed.keys()).cloned().collect();
        streams.retain(|stream| self.means(stream));
        for stream in &streams {
            faults.extend(self.compare_end(stream, listed.get(stream), *last));
        }
        drop(streams);
        let mut heads = std::mem::take(&mut self.known);
        for (stream, mut chain) in std::mem::take(&mut self.chains) {
            if let Some(found) = chain.fault.take() {
                let Fault { mut fault, missing } = *found;
                if let Some(missing) = missing {
                    self.explain(&mut fault, missing);
                }
                faults.push(fault);
                continue;
            }
            let Some(head) = chain.head.filter(|_| chain.grew) else {
                continue;
            };
            if last.is_some() && !listed.contains_key(&stream) {
                let message = "the log holds the stream, but the store does not list it";
                let (version, at) = (Version::new(head.version), Some(chain.last));
                let kind = VerificationFaultKind::Index;
                faults.push(VerificationFault::of(&stream, version, at, kind, message));
                continue;
            }
            let head = VerifiedHead {
                version: head.version,
                position: chain.last,
                cid: head.cid,
            };
            heads.put(stream, head);
        }
        faults.sort_by(|one, other| one.stream.cmp(&other.stream));
        let named = faults.iter().filter_map(|fault| fault.stream.clone());
        let named: HashSet<StreamId> = named.collect();
        // A commit is not whole where an event of it is missing, which is said already.
        let is_new = |fault: &VerificationFault| {
            let named = fault
                .stream
                .as_ref()
                .is_some_and(|stream| named.contains(stream));
            fault.kind != VerificationFaultKind::Commit || !named
        };
        let order = std::mem::take(&mut self.order.faults);
        faults.extend(order.into_iter().filter(is_new));
        faults.extend(std::mem::take(&mut self.damages).into_iter().map(of_damage));
        (faults, heads)
    }

    /// A stream must end where the store says, and not before what was verified of it.
    fn compare_end(
        &mut self,
        stream: &StreamId,
        listed: Option<&Head>,
        last_stored: Option<Position>,
    ) -> Option<VerificationFault> {
        let known = self.known.head(stream);
        let chain = self.chains.get(stream);
        if chain.is_some_and(|chain| chain.fault.is_some()) {
            return None;
        }
        let read = chain.is_some_and(|chain| chain.grew);
        let before = known.filter(|_| !self.links_all);
        let reached = match chain {
            Some(chain) => chain.head,
            None => before.map(|known| known.chain()),
        };
        let last = match chain {
            Some(chain) => chain.last,
            None => before.map_or(Position::NONE, |known| known.position),
        };
        let version = reached.map_or(0, |head| head.version);
        let end = listed
            .map(|head| head.position)
            .max(known.map(|known| known.position));
        if reached.is_none() && end.is_some_and(|end| end <= self.truncated_through) {
            // Every event of it is truncated: its head is what is left of it.
            return VerificationFault::of_truncated(stream, &known?, listed);
        }
        let missing = |end: Position| Missing {
            version: version + 1,
            after: last,
            // An index that outlived its record knows the version alone.
            before: match end {
                Position::NONE => Position::MAX,
                end => end.next(),
            },
        };
        if let Some(known) = known.filter(|known| known.version > version) {
            let mut fault = match version {
                0 if listed.is_none() => VerificationFault::of_gone(stream, &known),
                _ => VerificationFault::of_shorter(stream, &known, version),
            };
            self.explain(&mut fault, missing(known.position));
            return Some(fault);
        }
        let Some(listed) = listed else {
            // What is only in the log is looked at with the chains.
            let gone = known.filter(|_| chain.is_none())?;
            return Some(VerificationFault::of_gone(stream, &gone));
        };
        if version < listed.version.get() {
            if listed.position > self.end && last_stored.is_some_and(|last| listed.position <= last)
            {
                return None; // it was appended since the examination began
            }
            let at = match listed.position {
                Position::NONE => String::new(),
                position => format!(" at position {position}"),
            };
            let message = format!(
                "the stream ends with version {version}, but its head says version {}{at}",
                listed.version
            );
            let (next, kind) = (Version::new(version).next(), VerificationFaultKind::Cut);
            let mut fault = VerificationFault::of(stream, next, None, kind, message);
            self.explain(&mut fault, missing(listed.position));
            return Some(fault);
        }
        if version > listed.version.get() {
            if !read {
                let ends = listed.version.get();
                return Some(VerificationFault::of_shorter(stream, &known?, ends));
            }
            let message =
                format!("the head says that the stream ends here, but it has version {version}");
            let (at, kind) = (Some(listed.position), VerificationFaultKind::Index);
            return Some(VerificationFault::of(
                stream,
                listed.version,
                at,
                kind,
                message,
            ));
        }
        let reached = reached.filter(|reached| reached.version == listed.version.get())?;
        if reached.cid == listed.cid {
            let is_moved = |known: &VerifiedHead| {
                known.version == version
                    && ![known.position, Position::NONE].contains(&listed.position)
            };
            let moved = known.filter(|known| self.same_places && !read && is_moved(known))?;
            return Some(VerificationFault::of_moved(stream, listed.position, &moved));
        }
        let (kind, whose) = match read {
            true => (VerificationFaultKind::Index, "the event itself is"),
            false => (
                VerificationFaultKind::Forked,
                "what was verified before was",
            ),
        };
        let message = format!("the head names {}, but {whose} {}", listed.cid, reached.cid);
        let at = Some(listed.position);
        Some(VerificationFault::of(
            stream,
            listed.version,
            at,
            kind,
            message,
        ))
    }

    /// An event that is missing where something unreadable stands was altered beyond recognition.
    fn explain(&mut self, fault: &mut VerificationFault, missing: Missing) {
        let here = |damage: &Damage| {
            let version = Version::new(missing.version);
            damage.position.is_some_and(|at| missing.can_be_at(at))
                && damage.version.is_none_or(|found| found == version)
        };
        // Behind the last event that can be read the log is cut, whatever is left of the next one.
        let end = self.order.position;
        let is_torn = |damage: &Damage| damage.position.is_some_and(|at| at > end);
        let cut = fault.kind == VerificationFaultKind::Cut;
        let unreadable = |damage: &Damage| here(damage) && !damage.missing;
        if let Some(found) = self.damages.iter().position(unreadable) {
            if cut && self.damages.get(found).is_some_and(is_torn) {
                return;
            }
            let damage = self.damages.remove(found);
            fault.kind = VerificationFaultKind::Altered;
            fault.position = damage.position;
            fault.message = format!(
                "version {} can't be read: {}",
                missing.version, damage.message
            );
        } else if let Some(found) = self.damages.iter().position(here) {
            // What is missing in the log is what is missing in the stream.
            self.damages.remove(found);
        }
    }
}

/// A damage that no stream accounts for.
fn of_damage(damage: Damage) -> VerificationFault {
    let kind = match damage.missing {
        true => VerificationFaultKind::Removed,
        false => VerificationFaultKind::Damaged,
    };
    VerificationFault::of_log(damage.position, kind, damage.message)
}
