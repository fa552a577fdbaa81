//! From an append to the messages that store it.
//!
//! The first event that a commit writes to a stream expects its place to be empty. Places are filled
//! without gaps, so those of the stream's other events are empty then, too. A message has room for
//! one expectation. A check of a stream that is not written is the expectation that the place behind
//! its version is empty, carried by an event that is not its stream's first; where there are more
//! checks than such events, messages of their own carry them. They stand before the events, as the commit's mark
//! does, so that a commit's events stand next to each other and its last message is its last event.

use async_nats::HeaderMap;
use async_nats::header::HeaderName;
use bytes::Bytes;
use cim_store::staging::Placement;
use cim_store::{
    Append, CommitId, Context, EventCid, EventLogError, ExpectedVersion, Head, Position, StreamId,
    Version,
};

use crate::subjects;
use crate::wire;

/// The header of a mark that says how many messages behind it the commit's first event stands.
/// Absent where the mark stands alone, and the commit comes later, if it comes.
pub(crate) const MARK_DISTANCE: &str = "Cim-Commit-Distance";

/// One message to publish.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

/// All messages of a commit.
#[derive(Debug)]
pub(crate) struct Messages {
    pub(crate) messages: Vec<Outgoing>,
    /// How many of them come before the first event.
    pub(crate) before_events: usize,
    /// The new heads; their positions count from the first event, from 0.
    pub(crate) heads: Vec<Head>,
    /// The place of the first event.
    pub(crate) first_slot: Option<(StreamId, Version)>,
}

impl Messages {
    /// One message that is no event.
    pub(crate) fn alone(message: Outgoing) -> Self {
        Self {
            messages: vec![message],
            before_events: 0,
            heads: Vec::new(),
            first_slot: None,
        }
    }
}

/// A stream that an append names, and where it is known to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) stream: &'a StreamId,
    pub(crate) expected: ExpectedVersion,
    pub(crate) head: Option<&'a Head>,
}

impl Known<'_> {
    fn version(&self) -> Version {
        self.head.map_or(Version::NONE, |head| head.version)
    }
}

/// Makes the messages of an append that was completed. `known` has the streams that the append
/// names, in its order: writes, then checks. `marked` asks for the commit's mark.
pub(crate) fn messages(
    append: &Append,
    commit_id: CommitId,
    ctx: &Context,
    known: &[Known<'_>],
    marked: bool,
) -> Result<Messages, EventLogError> {
    // What must stay empty besides the places of the events: those of checks, and of writes that
    // have no events and so only check.
    let mut checks = known.iter().enumerate().filter_map(|(at, known)| {
        let writes = append
            .writes
            .get(at)
            .is_some_and(|write| !write.events.is_empty());
        let exact = matches!(known.expected, ExpectedVersion::Exact(_));
        (!writes && exact).then(|| subjects::slot(known.stream, known.version().next()))
    });
    let count = append.event_count();
    let mut events = Vec::with_capacity(count);
    let mut heads = Vec::with_capacity(append.writes.len());
    let mut first_slot = None;
    let mut block = Vec::new();
    for (write, known) in append.writes.iter().zip(known) {
        let mut head: Option<(Version, EventCid)> = known.head.map(|head| (head.version, head.cid));
        for (number, event) in write.events.iter().enumerate() {
            let version = head.map_or(Version::NONE, |(version, _)| version);
            if version == Version::MAX {
                return Err(
                    EventLogError::invalid("the stream is at the largest version")
                        .with("stream", &write.stream),
                );
            }
            let place = Placement {
                stream: &write.stream,
                version: version.next(),
                previous: head.map(|(_, cid)| cid),
                commit_id,
                // The limits keep both far below what 32 bits hold.
                index: events.len() as u32,
                count: count as u32,
            };
            let wire::Encoded {
                mut headers,
                body,
                cid,
            } = wire::encode_event(event, &place, ctx, &mut block);
            let guard = match number {
                0 => Some(subjects::slot(&write.stream, place.version)),
                _ => checks.next(),
            };
            if let Some(guard) = guard {
                wire::guard(&mut headers, &guard);
            }
            if first_slot.is_none() {
                first_slot = Some((write.stream.clone(), place.version));
            }
            events.push(Outgoing {
                subject: subjects::event(&write.stream, &event.event_type, place.version),
                headers,
                payload: body,
            });
            head = Some((place.version, cid));
        }
        if let (Some((version, cid)), false) = (head, write.events.is_empty()) {
            heads.push(Head {
                stream: write.stream.clone(),
                version,
                position: Position::new(events.len() as u64 - 1),
                cid,
            });
        }
    }
    let carriers: Vec<Outgoing> = checks
        .enumerate()
        .map(|(number, slot)| carrier(commit_id, number, &slot))
        .collect();
    let mut messages = Vec::with_capacity(events.len() + carriers.len() + 1);
    if marked {
        messages.push(mark(commit_id, Some(carriers.len() + 1)));
    }
    messages.extend(carriers);
    let before_events = messages.len();
    messages.append(&mut events);
    Ok(Messages {
        messages,
        before_events,
        heads,
        first_slot,
    })
}

/// A message that only carries a check.
fn carrier(commit_id: CommitId, number: usize, slot: &str) -> Outgoing {
    let mut headers = HeaderMap::new();
    wire::guard(&mut headers, slot);
    Outgoing {
        subject: subjects::check(commit_id, number),
        headers,
        payload: Bytes::new(),
    }
}

/// The mark of a commit, of which there is one for ever.
pub(crate) fn mark(commit_id: CommitId, distance: Option<usize>) -> Outgoing {
    let subject = subjects::commit(commit_id);
    let mut headers = HeaderMap::new();
    wire::guard(&mut headers, &subject);
    if let Some(distance) = distance {
        let distance = distance.to_string();
        headers.insert(HeaderName::from_static(MARK_DISTANCE), distance.as_str());
    }
    Outgoing {
        subject,
        headers,
        payload: Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::header;
    use cim_store::{NewEvent, SequentialIds, SystemClock, staging};

    fn stream(id: &str) -> StreamId {
        StreamId::new("a", "b", id).unwrap()
    }

    fn events(count: usize) -> Vec<NewEvent> {
        vec![NewEvent::json("happened", &1).unwrap(); count]
    }

    /// The messages as `subject <- what must be empty`.
    fn shown(append: Append, marked: bool) -> Vec<String> {
        let mut append = append;
        let ctx = Context::new();
        let id = staging::complete(&mut append, &ctx, &SystemClock, &SequentialIds::new(1));
        let heads: Vec<_> = append
            .expectations()
            .map(|(stream, expected)| match expected {
                ExpectedVersion::Exact(version) if version > Version::NONE => Some(Head {
                    stream: stream.clone(),
                    version,
                    position: Position::new(1),
                    cid: EventCid::from_digest([0; 32]),
                }),
                _ => None,
            })
            .collect();
        let known: Vec<_> = append
            .expectations()
            .zip(&heads)
            .map(|((stream, expected), head)| Known {
                stream,
                expected,
                head: head.as_ref(),
            })
            .collect();
        let made = messages(&append, id, &ctx, &known, marked).unwrap();
        let text = id.as_uuid().simple().to_string();
        made.messages
            .iter()
            .map(|message| {
                let subject = message.subject.replace(&text, "ID");
                match message.headers.get(header::EXPECTED_SUBJECT) {
                    Some(guard) => format!("{subject} <- {guard}").replace(&text, "ID"),
                    None => subject,
                }
            })
            .collect()
    }

    #[test]
    fn the_first_event_of_a_stream_expects_its_place_to_be_empty() {
        let append = Append::new().write(stream("x"), Version::new(4), events(2));
        assert_eq!(
            shown(append, false),
            [
                "cim.events.a.b.x.happened.5 <- cim.events.a.b.x.*.5",
                "cim.events.a.b.x.happened.6",
            ]
        );
    }

    #[test]
    fn later_events_carry_checks_and_what_is_left_has_carriers_in_front() {
        let append = Append::new()
            .write(stream("x"), Version::NONE, events(2))
            .write(stream("y"), Version::new(3), events(1))
            .write(stream("z"), Version::new(8), Vec::new())
            .check(stream("c"), Version::new(9))
            .check(stream("d"), Version::NONE);
        assert_eq!(
            shown(append, true),
            [
                "cim.commits.ID <- cim.commits.ID",
                "cim.checks.ID.0 <- cim.events.a.b.c.*.10",
                "cim.checks.ID.1 <- cim.events.a.b.d.*.1",
                "cim.events.a.b.x.happened.1 <- cim.events.a.b.x.*.1",
                "cim.events.a.b.x.happened.2 <- cim.events.a.b.z.*.9",
                "cim.events.a.b.y.happened.4 <- cim.events.a.b.y.*.4",
            ]
        );
    }

    #[test]
    fn what_expects_nothing_is_not_guarded() {
        let append = Append::new()
            .write(stream("x"), ExpectedVersion::Any, events(1))
            .write(stream("y"), ExpectedVersion::Any, Vec::new());
        assert_eq!(
            shown(append, false),
            ["cim.events.a.b.x.happened.1 <- cim.events.a.b.x.*.1"]
        );
    }
}
