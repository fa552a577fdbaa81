//! Version 1 of the block format, as bytes that must never change.
//!
//! `tests/golden/event-block-v1.txt` describes events field by field and gives each one's block and
//! CID. If a test here fails, the format was changed: give it a new version instead. The worked
//! example of `docs/format/event-block.md` is the first of these blocks.

use std::collections::BTreeMap;

use cim_ipld::dag_cbor::{self, Ipld};
use cim_ipld::{ChainVerifier, EventBlock, EventCid};

use crate::hex::{from_hex, to_hex};
use crate::sample::Event;

const GOLDEN: &str = include_str!("../golden/event-block-v1.txt");

struct Golden {
    title: &'static str,
    event: Event,
    block: Vec<u8>,
    cid: EventCid,
}

fn golden() -> Vec<Golden> {
    GOLDEN.split("\n## ").skip(1).map(parse).collect()
}

/// Reads one section: a title, then lines of `key = value`.
fn parse(section: &'static str) -> Golden {
    let (title, lines) = section.split_once('\n').expect("a title");
    let mut fields: BTreeMap<&str, &str> = lines
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.split_once(" =").expect("key = value"))
        .map(|(key, value)| (key, value.strip_prefix(' ').unwrap_or(value)))
        .collect();
    let mut optional = |key: &str| fields.remove(key);
    let data = match optional("data-hex") {
        Some(hex) => from_hex(hex),
        None => optional("data").expect("data").into(),
    };
    let (correlation, causation) = (optional("correlation"), optional("causation"));
    let (principal, trace) = (optional("principal"), optional("trace"));
    let previous = optional("prev");
    let mut required = |key: &str| fields.remove(key).expect(key);
    let block = from_hex(required("block"));
    let cid = required("cid").parse().expect("a CID");
    let event = Event {
        id: uuid(required("id")),
        event_type: required("type").into(),
        schema_version: required("schema").parse().unwrap(),
        stream: required("stream").into(),
        version: required("version").parse().unwrap(),
        time: required("time").parse().unwrap(),
        content_type: required("datatype").into(),
        data,
        commit: uuid(required("commit")),
        index: required("index").parse().unwrap(),
        count: required("count").parse().unwrap(),
        correlation: correlation.map(uuid),
        causation: causation.map(uuid),
        principal: principal.map(str::to_owned),
        trace: trace.map(str::to_owned),
        previous: previous.map(|cid| cid.parse().expect("a CID")),
        metadata: fields
            .into_iter()
            .map(|(key, value)| (key.strip_prefix("meta.").expect("a known key"), value))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    };
    Golden {
        title,
        event,
        block,
        cid,
    }
}

fn uuid(text: &str) -> [u8; 16] {
    from_hex(&text.replace('-', ""))
        .try_into()
        .expect("16 bytes")
}

#[test]
fn the_file_holds_the_events_it_is_known_to_hold() {
    let versions: Vec<_> = golden().iter().map(|golden| golden.event.version).collect();
    assert_eq!(versions, [1, 2, 3, u64::MAX]);
}

#[test]
fn described_events_encode_to_the_golden_bytes() {
    for golden in golden() {
        assert_eq!(
            to_hex(&golden.event.encode()),
            to_hex(&golden.block),
            "{}",
            golden.title
        );
    }
}

#[test]
fn golden_bytes_decode_to_the_described_events() {
    for golden in golden() {
        let map = golden.event.metadata_map();
        let decoded = EventBlock::decode(&golden.block).expect(golden.title);
        assert_eq!(decoded, golden.event.borrowed(&map), "{}", golden.title);
        let general: Ipld = dag_cbor::from_slice(&golden.block).expect(golden.title);
        assert_eq!(general, golden.event.to_ipld(), "{}", golden.title);
    }
}

#[test]
fn golden_bytes_have_the_golden_cids() {
    for golden in golden() {
        assert_eq!(EventCid::of(&golden.block), golden.cid, "{}", golden.title);
    }
}

#[test]
fn the_first_three_golden_blocks_are_a_chain() {
    let mut chain = ChainVerifier::start("sales.order.0193");
    for golden in &golden()[..3] {
        let head = chain.push(&golden.block, &golden.cid).expect(golden.title);
        assert_eq!((head.version, head.cid), (golden.event.version, golden.cid));
    }
}

#[test]
fn the_worked_example_of_the_documentation_is_the_first_golden_block() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/format/event-block.md"
    );
    let text = std::fs::read_to_string(path).expect("docs/format/event-block.md");
    let (_, example) = text.split_once("```hex\n").expect("a block of hex");
    let (example, _) = example.split_once("```").expect("the end of the block");
    let hex: String = example
        .lines()
        .map(|line| line.split_once('#').map_or(line, |(bytes, _)| bytes))
        .flat_map(str::split_whitespace)
        .collect();
    let first = &golden()[0];
    assert_eq!(hex, to_hex(&first.block));
    assert!(text.contains(&format!("These are {} bytes.", first.block.len())));
    assert!(text.contains(&to_hex(first.cid.digest())));
    assert!(text.contains(&first.cid.to_string()));
}
