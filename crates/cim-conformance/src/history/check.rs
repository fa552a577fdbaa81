//! Whether a log can be what a history left.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use cim_ipld::ChainVerifier;
use cim_store::{CommitId, EventId, Position, RecordedEvent, StreamId, Version};

use super::FinalState;
use super::operation::{AppendCall, Call, History, Outcome, Seen, Written};
use super::sighting::{Length, Sighting, What, sightings};
use super::timeline::Timeline;
use super::violation::{PhantomOrigin, Violation};

/// What a history that checks consisted of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Commits that were acknowledged; all are there.
    pub acknowledged: usize,
    /// Commits whose outcome was not known and that are there.
    pub unknown_stored: usize,
    /// Commits whose outcome was not known and that are not there.
    pub unknown_not_stored: usize,
    /// Commits that were refused; none is there.
    pub refused: usize,
    /// Reads of streams and heads.
    pub reads: usize,
    /// Events in the log.
    pub events: usize,
    /// Streams in the log.
    pub streams: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged, {} unknown (stored {}), {} refused, {} reads; {} events in {} streams",
            self.acknowledged,
            self.unknown_stored + self.unknown_not_stored,
            self.unknown_stored,
            self.refused,
            self.reads,
            self.events,
            self.streams
        )
    }
}

/// Checks a history against the log that it left, which must have been empty before and not be
/// truncated:
///
/// 1. Acknowledged events are there exactly once, together, at the versions that were
///    acknowledged; refused ones never; those of an unknown outcome all or not at all; nothing
///    else is there.
/// 2. Versions of a stream are 1, 2, 3 …; positions increase; commits stand together.
/// 3. What was acknowledged before something else was called comes before it.
/// 4. Conflicts and checks tell of versions that the stream had at a moment of the call, and
///    expectations of acknowledged commits held.
/// 5. Reads give the beginning of what is there in the end, at least as long as what was
///    acknowledged or seen before they were called, and never a part of a commit.
/// 6. Chains verify, and all readers see the same log.
///
/// # Errors
/// Everything that does not hold.
pub fn check(history: &History, left: &FinalState) -> Result<Report, Vec<Violation>> {
    let mut checker = Checker::new(history, left);
    checker.check_log();
    checker.check_replicas(left);
    let commits = attempts_by_commit(history);
    checker.check_commits(&commits);
    checker.check_phantoms(&commits);
    checker.check_order_of_log(&commits);
    checker.check_streams(history, &commits);
    if checker.violations.is_empty() {
        Ok(checker.report)
    } else {
        Err(checker.violations)
    }
}

/// A commit, with every call that tried to store it.
struct Attempts<'a> {
    calls: Vec<(usize, &'a AppendCall, &'a Outcome)>,
    /// When it was first called.
    invoked: u64,
    /// When it was first acknowledged.
    acknowledged: Option<u64>,
    /// Whether all calls were answered with: not stored.
    refused: bool,
}

fn attempts_by_commit(history: &History) -> BTreeMap<CommitId, Attempts<'_>> {
    let mut commits: BTreeMap<CommitId, Attempts<'_>> = BTreeMap::new();
    for (index, operation) in history.operations.iter().enumerate() {
        let Call::Append(call) = &operation.call else {
            continue;
        };
        if call.writes.iter().all(|write| write.events.is_empty()) {
            continue; // it only checks, and is judged as who saw those streams
        }
        let commit = commits.entry(call.commit).or_insert_with(|| Attempts {
            calls: Vec::new(),
            invoked: operation.invoked,
            acknowledged: None,
            refused: true,
        });
        match &operation.outcome {
            Outcome::Appended(_) => {
                commit.refused = false;
                let at = operation.completed.unwrap_or(u64::MAX);
                commit.acknowledged = Some(commit.acknowledged.map_or(at, |before| before.min(at)));
            }
            Outcome::Unknown => commit.refused = false,
            _ => {}
        }
        commit.invoked = commit.invoked.min(operation.invoked);
        commit.calls.push((index, call, &operation.outcome));
    }
    commits
}

struct Checker<'a> {
    history: &'a History,
    log: &'a [RecordedEvent],
    streams: BTreeMap<&'a StreamId, Vec<&'a RecordedEvent>>,
    places: HashMap<EventId, &'a RecordedEvent>,
    violations: Vec<Violation>,
    report: Report,
}

impl<'a> Checker<'a> {
    fn new(history: &'a History, left: &'a FinalState) -> Self {
        let mut checker = Self {
            history,
            log: &left.events,
            streams: BTreeMap::new(),
            places: HashMap::new(),
            violations: Vec::new(),
            report: Report::default(),
        };
        for event in checker.log {
            let stream = checker.streams.entry(&event.stream).or_default();
            stream.push(event);
            if let Some(first) = checker.places.insert(event.id, event) {
                checker.violations.push(Violation::Duplicate {
                    event: event.id,
                    first: first.position,
                    second: event.position,
                });
            }
        }
        checker.report.events = checker.log.len();
        checker.report.streams = checker.streams.len();
        checker
    }

    /// Rules 2 and 6: the log by itself.
    fn check_log(&mut self) {
        let mut after = Position::NONE;
        for event in self.log {
            if event.position <= after {
                self.violations.push(Violation::PositionGoesBack {
                    after,
                    position: event.position,
                });
            }
            after = event.position;
        }
        self.check_commits_stand_together();
        for (stream, events) in &self.streams {
            if let Some((index, event)) = events
                .iter()
                .enumerate()
                .find(|(index, event)| event.version.get() != *index as u64 + 1)
            {
                self.violations.push(Violation::VersionGap {
                    stream: (*stream).clone(),
                    expected: Version::new(index as u64 + 1),
                    found: event.version,
                });
            }
            let mut chain = ChainVerifier::start(stream.as_str());
            let mut block = Vec::new();
            for event in events {
                block.clear();
                event.block().encode_into(&mut block);
                if let Err(fault) = chain.push(&block, &event.cid) {
                    self.violations.push(Violation::Chain(fault));
                    break;
                }
            }
        }
    }

    fn check_commits_stand_together(&mut self) {
        let mut rest = self.log;
        while let Some(first) = rest.first() {
            let together = rest
                .iter()
                .zip(0_u32..)
                .take_while(|(event, index)| {
                    event.commit_id == first.commit_id
                        && event.commit_index == *index
                        && event.commit_count == first.commit_count
                })
                .count();
            if together != first.commit_count as usize {
                self.violations.push(Violation::Torn {
                    commit: first.commit_id,
                    found: together,
                    count: first.commit_count as usize,
                });
            }
            rest = &rest[together.max(1)..];
        }
    }

    /// Rule 6.
    fn check_replicas(&mut self, left: &FinalState) {
        for (number, replica) in left.replicas.iter().enumerate() {
            if *replica == left.events {
                continue;
            }
            let equal = replica.iter().zip(&left.events).take_while(|(a, b)| a == b);
            self.violations.push(Violation::ReplicasDiffer {
                replica: number + 1,
                index: equal.count(),
            });
        }
    }

    /// Rule 1, and the expectations of rule 4.
    fn check_commits(&mut self, commits: &BTreeMap<CommitId, Attempts<'a>>) {
        for (id, commit) in commits {
            let Some((_, call, _)) = commit.calls.first() else {
                continue;
            };
            let events = call.writes.iter().flat_map(|write| &write.events);
            let count = events.clone().count();
            let found = events
                .filter(|event| self.places.contains_key(event))
                .count();
            if commit.refused {
                self.report.refused += 1;
                self.refused_is_not_there(call);
            } else if commit.acknowledged.is_some() {
                self.report.acknowledged += 1;
                for (_, call, outcome) in &commit.calls {
                    if let Outcome::Appended(written) = outcome {
                        self.acknowledged_is_there(call, written);
                    }
                }
            } else if found == 0 {
                self.report.unknown_not_stored += 1;
            } else if found == count {
                self.report.unknown_stored += 1;
                self.unknown_is_in_order(call);
            } else {
                self.violations.push(Violation::Torn {
                    commit: *id,
                    found,
                    count,
                });
            }
            if let [(_, call, Outcome::Appended(written))] = commit.calls[..] {
                self.expectations_held(call, written);
            }
        }
    }

    fn refused_is_not_there(&mut self, call: &AppendCall) {
        for event in call.writes.iter().flat_map(|write| &write.events) {
            if let Some(found) = self.places.get(event) {
                self.violations.push(Violation::Phantom {
                    event: *event,
                    stream: found.stream.clone(),
                    version: found.version,
                    origin: PhantomOrigin::Failed,
                });
            }
        }
    }

    fn acknowledged_is_there(&mut self, call: &AppendCall, written: &[Written]) {
        for write in call.writes.iter().filter(|write| !write.events.is_empty()) {
            let claimed = written.iter().find(|claim| claim.stream == write.stream);
            let first = claimed.map_or(Version::NONE, |claim| claim.first);
            self.is_at(call, &write.stream, &write.events, first);
        }
    }

    /// The events of a commit whose outcome was not known stand one after the other.
    fn unknown_is_in_order(&mut self, call: &AppendCall) {
        for write in &call.writes {
            let first = write
                .events
                .first()
                .and_then(|event| self.places.get(event));
            if let Some(first) = first {
                let first = first.version;
                self.is_at(call, &write.stream, &write.events, first);
            }
        }
    }

    fn is_at(&mut self, call: &AppendCall, stream: &StreamId, events: &[EventId], first: Version) {
        for (index, event) in (0..).zip(events) {
            let version = Version::new(first.get() + index);
            match self.places.get(event) {
                None => self.violations.push(Violation::Lost {
                    commit: call.commit,
                    event: *event,
                    stream: stream.clone(),
                    version,
                }),
                Some(found) if found.stream != *stream || found.version != version => {
                    self.violations.push(Violation::Misplaced {
                        commit: call.commit,
                        event: *event,
                        stream: stream.clone(),
                        version,
                        found_stream: found.stream.clone(),
                        found_version: found.version,
                    });
                }
                Some(_) => {}
            }
        }
    }

    fn expectations_held(&mut self, call: &AppendCall, written: &[Written]) {
        for claim in written {
            let before = Version::new(claim.first.get().saturating_sub(1));
            let broken = call
                .writes
                .iter()
                .find(|write| write.stream == claim.stream && !write.expected.is_met_by(before));
            if let Some(write) = broken {
                self.violations.push(Violation::BrokenExpectation {
                    commit: call.commit,
                    stream: write.stream.clone(),
                    expected: write.expected,
                    actual: before,
                });
            }
        }
    }

    /// Rule 1: nothing is there that nobody appended.
    fn check_phantoms(&mut self, commits: &BTreeMap<CommitId, Attempts<'a>>) {
        let appended: HashSet<EventId> = commits
            .values()
            .flat_map(|commit| &commit.calls)
            .flat_map(|(_, call, _)| &call.writes)
            .flat_map(|write| write.events.iter().copied())
            .collect();
        for event in self.log {
            if !appended.contains(&event.id) {
                self.violations.push(Violation::Phantom {
                    event: event.id,
                    stream: event.stream.clone(),
                    version: event.version,
                    origin: PhantomOrigin::NeverAppended,
                });
            }
        }
    }

    /// Rule 3 for the whole log.
    fn check_order_of_log(&mut self, commits: &BTreeMap<CommitId, Attempts<'a>>) {
        let stored = self.log.iter().filter(|event| event.commit_index == 0);
        let stored: Vec<&RecordedEvent> = stored.collect();
        let mut timeline = Timeline::default();
        for (number, first) in stored.iter().enumerate() {
            let commit = commits.get(&first.commit_id);
            let invoked = commit.map_or(0, |commit| commit.invoked);
            let acknowledged = commit.and_then(|commit| commit.acknowledged);
            timeline.push(invoked, acknowledged, number);
        }
        for contradiction in timeline.contradictions() {
            self.violations.push(Violation::OutOfOrder {
                stream: None,
                earlier: stored[contradiction.before].commit_id,
                later: stored[contradiction.after].commit_id,
            });
        }
    }

    /// Rules 3 to 5 for each stream.
    fn check_streams(&mut self, history: &'a History, commits: &BTreeMap<CommitId, Attempts<'a>>) {
        let repeated = |id| {
            commits
                .get(&id)
                .is_some_and(|commit| commit.calls.len() > 1)
        };
        let mut sightings = sightings(history, repeated);
        self.report.reads = history
            .operations
            .iter()
            .filter(|operation| matches!(operation.outcome, Outcome::Read(_) | Outcome::Head(_)))
            .count();
        let empty = Vec::new();
        let mut streams: Vec<&StreamId> = self.streams.keys().copied().collect();
        streams.extend(sightings.keys().copied());
        streams.sort_unstable();
        streams.dedup();
        for stream in streams {
            let events = self.streams.get(stream).unwrap_or(&empty).clone();
            let seen = sightings.remove(stream).unwrap_or_default();
            self.check_stream(stream, &events, &seen, commits);
        }
    }

    fn check_stream(
        &mut self,
        stream: &StreamId,
        events: &[&RecordedEvent],
        seen: &[Sighting<'a>],
        commits: &BTreeMap<CommitId, Attempts<'a>>,
    ) {
        // Where commits end, and which they are.
        let mut ends: Vec<(u64, CommitId)> = Vec::new();
        for (length, event) in (1..).zip(events) {
            match ends.last_mut() {
                Some((end, commit)) if *commit == event.commit_id => *end = length,
                _ => ends.push((length, event.commit_id)),
            }
        }
        let mut timeline = Timeline::default();
        for (number, (_, id)) in ends.iter().enumerate() {
            let commit = commits.get(id);
            let invoked = commit.map_or(0, |commit| commit.invoked);
            let acknowledged = commit.and_then(|commit| commit.acknowledged);
            timeline.push(invoked, acknowledged, number);
        }
        for (number, sighting) in seen.iter().enumerate() {
            if let What::Read { from, events: read } = sighting.what
                && let Some(version) = first_difference(from, read, events)
            {
                self.violations.push(Violation::DifferentRead {
                    client: self.history.operations[sighting.operation].client,
                    stream: stream.clone(),
                    version,
                });
                continue;
            }
            if sighting.contradicts_itself() {
                self.violations
                    .push(sighting.violation(stream, self.history));
                continue;
            }
            let source = ends.len() + number;
            let ends_before = |length: u64| ends.partition_point(|(end, _)| *end <= length);
            match sighting.length() {
                Length::Exactly(length) => {
                    let count = ends_before(length);
                    let end = count.checked_sub(1).map_or(0, |last| ends[last].0);
                    if end == length {
                        timeline.seen(count, sighting.invoked, sighting.completed, source);
                    } else {
                        self.violations
                            .push(sighting.at_no_end(stream, length, self.history));
                    }
                }
                Length::AtMost(length) => {
                    timeline.not_yet(ends_before(length), sighting.invoked, source);
                }
            }
        }
        for contradiction in timeline.contradictions() {
            let by = |source: usize| source.checked_sub(ends.len()).map(|number| &seen[number]);
            let violation = match (by(contradiction.after), by(contradiction.before)) {
                (Some(stale), _) => stale.violation(stream, self.history),
                (None, Some(early)) => early.of_the_future(stream, self.history),
                (None, None) => Violation::OutOfOrder {
                    stream: Some(stream.clone()),
                    earlier: ends[contradiction.before].1,
                    later: ends[contradiction.after].1,
                },
            };
            self.violations.push(violation);
        }
    }
}

/// The first version that a read gave differently from what is there.
fn first_difference(from: Version, read: &[Seen], events: &[&RecordedEvent]) -> Option<Version> {
    let first = from.get().max(1);
    (first..).zip(read).find_map(|(version, seen)| {
        let index = usize::try_from(version - 1).ok()?;
        let same = events
            .get(index)
            .is_some_and(|event| event.id == seen.id && seen.version.get() == version);
        (!same).then_some(Version::new(version))
    })
}
