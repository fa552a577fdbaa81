//! Events to test with: one with every field, and arbitrary ones.

use std::collections::BTreeMap;

use cim_ipld::dag_cbor::Ipld;
use cim_ipld::{Cid, EventBlock, EventCid, MetadataRef, encode_metadata};
use proptest::option;
use proptest::prelude::*;

/// An event that owns its parts, so that a strategy can produce it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: [u8; 16],
    pub(crate) event_type: String,
    pub(crate) schema_version: u32,
    pub(crate) stream: String,
    pub(crate) version: u64,
    pub(crate) time: i64,
    pub(crate) content_type: String,
    pub(crate) data: Vec<u8>,
    pub(crate) commit: [u8; 16],
    pub(crate) index: u32,
    pub(crate) count: u32,
    pub(crate) correlation: Option<[u8; 16]>,
    pub(crate) causation: Option<[u8; 16]>,
    pub(crate) principal: Option<String>,
    pub(crate) trace: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) previous: Option<EventCid>,
}

impl Event {
    /// An event with every field there is.
    pub(crate) fn full() -> Self {
        Self {
            id: [0x11; 16],
            event_type: "order_placed".into(),
            schema_version: 2,
            stream: "sales.order.0193".into(),
            version: 7,
            time: 1_700_000_000_123_456,
            content_type: "application/json".into(),
            data: br#"{"total":12}"#.to_vec(),
            commit: [0x22; 16],
            index: 1,
            count: 3,
            correlation: Some([0x33; 16]),
            causation: Some([0x44; 16]),
            principal: Some("alice".into()),
            trace: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            metadata: [("region", "eu"), ("app", "shop")]
                .map(|(key, value)| (key.into(), value.into()))
                .into(),
            previous: Some(EventCid::of(b"the event before")),
        }
    }

    /// The canonical bytes of the metadata map.
    pub(crate) fn metadata_map(&self) -> Vec<u8> {
        let pairs: Vec<_> = self.metadata.iter().collect();
        let mut map = Vec::new();
        encode_metadata(&pairs, &mut map).expect("a map has each key once");
        map
    }

    /// The borrowed form; `map` is [`Event::metadata_map`].
    pub(crate) fn borrowed<'a>(&'a self, map: &'a [u8]) -> EventBlock<'a> {
        EventBlock {
            id: self.id,
            event_type: &self.event_type,
            schema_version: self.schema_version,
            stream: &self.stream,
            version: self.version,
            time: self.time,
            content_type: &self.content_type,
            data: &self.data,
            commit: self.commit,
            index: self.index,
            count: self.count,
            correlation: self.correlation,
            causation: self.causation,
            principal: self.principal.as_deref(),
            trace: self.trace.as_deref(),
            metadata: MetadataRef::from_canonical(map).expect("the map was just encoded"),
            previous: self.previous,
        }
    }

    /// The event's block.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut block = Vec::new();
        self.borrowed(&self.metadata_map()).encode_into(&mut block);
        block
    }

    /// The same as a general value, written from the format's description and not by the encoder.
    pub(crate) fn to_ipld(&self) -> Ipld {
        let text = |text: &String| Ipld::String(text.clone());
        let id = |id: &[u8; 16]| Ipld::Bytes(id.to_vec());
        let mut map = BTreeMap::from([
            ("v", Ipld::Integer(1)),
            ("id", id(&self.id)),
            ("data", Ipld::Bytes(self.data.clone())),
            ("time", Ipld::Integer(self.time.into())),
            ("type", text(&self.event_type)),
            ("count", Ipld::Integer(self.count.into())),
            ("index", Ipld::Integer(self.index.into())),
            ("commit", id(&self.commit)),
            ("schema", Ipld::Integer(self.schema_version.into())),
            ("stream", text(&self.stream)),
            ("version", Ipld::Integer(self.version.into())),
            ("datatype", text(&self.content_type)),
        ]);
        if !self.metadata.is_empty() {
            let pairs = self
                .metadata
                .iter()
                .map(|(key, value)| (key.clone(), text(value)));
            map.insert("meta", Ipld::Map(pairs.collect()));
        }
        if let Some(previous) = self.previous {
            map.insert("prev", Ipld::Link(Cid::from(previous)));
        }
        if let Some(trace) = &self.trace {
            map.insert("trace", text(trace));
        }
        if let Some(causation) = &self.causation {
            map.insert("causation", id(causation));
        }
        if let Some(principal) = &self.principal {
            map.insert("principal", text(principal));
        }
        if let Some(correlation) = &self.correlation {
            map.insert("correlation", id(correlation));
        }
        Ipld::Map(
            map.into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    }
}

/// Texts around the lengths at which CBOR's length changes its form.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "\\PC{0,30}",
        1 => "[a-z]{22,26}",
        1 => "[a-z]{250,260}",
    ]
}

fn number(least: u64) -> impl Strategy<Value = u64> {
    let edges = [
        0,
        1,
        22,
        23,
        24,
        255,
        256,
        65_535,
        65_536,
        u32::MAX.into(),
        1 << 32,
        u64::MAX,
    ];
    prop_oneof![
        any::<u64>(),
        0..300_u64,
        prop::sample::select(edges.to_vec())
    ]
    .prop_map(move |number| number.max(least))
}

fn number32(least: u32) -> impl Strategy<Value = u32> {
    number(0).prop_map(move |number| u32::try_from(number).unwrap_or(u32::MAX).max(least))
}

/// Any event that the format can hold.
pub(crate) fn event() -> impl Strategy<Value = Event> {
    let required = (
        (any::<[u8; 16]>(), text(), number32(1), text(), number(1)),
        (
            prop_oneof![
                any::<i64>(),
                -300..300_i64,
                prop::sample::select(vec![i64::MIN, i64::MAX])
            ],
            text(),
            prop::collection::vec(any::<u8>(), 0..300),
        ),
        (any::<[u8; 16]>(), number32(0), number32(1)),
    );
    let optional = (
        option::of(any::<[u8; 16]>()),
        option::of(any::<[u8; 16]>()),
        option::of(text()),
        option::of(text()),
        prop_oneof![
            4 => prop::collection::btree_map(text(), text(), 0..5),
            1 => prop::collection::btree_map("[a-z]{0,4}", "[a-z]{0,2}", 0..40),
        ],
        option::of(any::<[u8; 32]>()),
    );
    (required, optional).prop_map(|(required, optional)| {
        let ((id, event_type, schema_version, stream, version), middle, last) = required;
        let (time, content_type, data) = middle;
        let (commit, index, count) = last;
        let (correlation, causation, principal, trace, metadata, previous) = optional;
        Event {
            id,
            event_type,
            schema_version,
            stream,
            version,
            time,
            content_type,
            data,
            commit,
            index: index.min(count - 1),
            count,
            correlation,
            causation,
            principal,
            trace,
            metadata,
            previous: previous.map(EventCid::from_digest),
        }
    })
}
