//! What is appended: events with 256 bytes of JSON, and the streams that the reads use.

use bytes::Bytes;
use cim_store::{ContentType, EventType, NewEvent, StreamId};

use crate::measure::Result;
use crate::random::Random;

/// Bytes of every payload.
pub(crate) const PAYLOAD_BYTES: usize = 256;
/// The contexts and types that events are spread over evenly.
pub(crate) const CONTEXTS: [&str; 4] = ["sales", "stock", "billing", "support"];
const TYPES: [&str; 4] = ["order_placed", "order_changed", "order_paid", "order_sent"];

/// Makes events without encoding their payload each time, which is not the store's work.
#[derive(Clone)]
pub(crate) struct Events {
    types: Vec<EventType>,
    payload: Bytes,
}

impl Events {
    pub(crate) fn new() -> Result<Self> {
        let frame = r#"{"note":""}"#.len();
        let note = "The quick brown fox jumps over the lazy dog. ".repeat(6);
        let note = note
            .get(..PAYLOAD_BYTES - frame)
            .ok_or("the note is too short")?;
        let types: std::result::Result<_, _> =
            TYPES.iter().map(|name| EventType::new(*name)).collect();
        Ok(Self {
            types: types?,
            payload: Bytes::from(format!(r#"{{"note":"{note}"}}"#)),
        })
    }

    /// An event; `number` decides its type.
    pub(crate) fn event(&self, number: usize) -> NewEvent {
        let event_type = self.types[number % self.types.len()].clone();
        NewEvent::new(event_type, ContentType::JSON, self.payload.clone())
    }

    pub(crate) fn events(&self, count: usize) -> Vec<NewEvent> {
        (0..count).map(|number| self.event(number)).collect()
    }

    pub(crate) fn first_type(&self) -> EventType {
        self.types[0].clone()
    }
}

/// A stream whose id looks like the ones in use: a UUID.
pub(crate) fn stream(group: &str, number: usize) -> Result<StreamId> {
    let mut random = Random::new(number as u64 ^ (group.len() as u64) << 56);
    let bits = u128::from(random.next()) << 64 | u128::from(random.next());
    let id = uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid();
    let context = CONTEXTS[number % CONTEXTS.len()];
    Ok(StreamId::new(context, group, &id.to_string())?)
}

/// Streams of one length.
#[derive(Clone, Copy)]
pub(crate) struct Lengths {
    pub(crate) events: usize,
    pub(crate) streams: usize,
    pub(crate) name: &'static str,
}

/// The streams of the store that is read: 1 M events.
pub(crate) const READ_STREAMS: [Lengths; 3] = [
    Lengths {
        events: 10,
        streams: 20_000,
        name: "short",
    },
    Lengths {
        events: 100,
        streams: 3_000,
        name: "mid",
    },
    Lengths {
        events: 1_000,
        streams: 500,
        name: "long",
    },
];

/// How many events those are.
pub(crate) fn read_events() -> usize {
    READ_STREAMS
        .iter()
        .map(|lengths| lengths.events * lengths.streams)
        .sum()
}
