//! Files that were altered: what checks them must find it, or it proves nothing about those that
//! were not.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cim_ipld::dag_cbor::Ipld;
use cim_ipld::{Block, Cid, DAG_CBOR_CODE, EventBlock, HashFunction, dag_cbor};

use crate::car_file::CarFile;
use crate::history::{History, stream};
use crate::read_by_others::Fault;
use crate::software::{JavaScript, Python};

/// An exported history, to be altered.
struct Exported {
    history: History,
    file: PathBuf,
    car: CarFile,
}

impl Exported {
    async fn new() -> Self {
        let history = History::small().await;
        let (_, file) = history.export().await;
        let car = CarFile::read(&file);
        Self { history, file, car }
    }

    /// The block of an event, as its place in the file.
    fn event(&self, stream: &str, version: u64) -> usize {
        let is_it = |block: &Block| {
            EventBlock::decode(&block.bytes)
                .is_ok_and(|event| event.stream == stream && event.version == version)
        };
        self.car.blocks.iter().position(is_it).unwrap()
    }

    /// The root with some of its fields altered, and the header that names it.
    fn alter_root(&mut self, alter: impl FnOnce(&mut BTreeMap<String, Ipld>)) {
        let root = self.car.blocks.last_mut().unwrap();
        let mut fields = dag_cbor::from_slice(&root.bytes).unwrap();
        alter(&mut fields);
        *root = block(dag_cbor::to_vec(&fields).unwrap());
        self.car.roots = vec![root.cid];
    }

    fn write(&self) -> PathBuf {
        let file = self.history.file("altered.car");
        self.car.write(&file);
        file
    }

    /// What JavaScript finds, as `kind: place`.
    fn faults(&self) -> Vec<String> {
        faults_in(&self.write())
    }
}

fn block(bytes: Vec<u8>) -> Block {
    Block::new(DAG_CBOR_CODE, HashFunction::Sha2_256, bytes)
}

fn faults_in(file: &Path) -> Vec<String> {
    let faults = JavaScript::new().read_history(file, None).faults();
    faults.into_iter().map(show).collect()
}

fn show(fault: Fault) -> String {
    format!("{}: {}", fault.kind, fault.place)
}

#[track_caller]
fn assert_has(faults: &[String], expected: &str) {
    assert!(
        faults.iter().any(|fault| fault == expected),
        "{expected} is not in {faults:#?}"
    );
}

#[tokio::test]
async fn a_byte_that_was_flipped_is_found() {
    let exported = Exported::new().await;
    let mut bytes = fs::read(&exported.file).unwrap();
    let payload = br#"{"total":13}"#;
    let at = bytes
        .windows(payload.len())
        .position(|part| part == payload)
        .unwrap();
    bytes[at + 9] ^= 1;
    let altered = exported.history.file("altered.car");
    fs::write(&altered, bytes).unwrap();

    let place = exported.event("verkauf.bestellung.0194", 1);
    let cid = exported.car.blocks[place].cid;
    let number = place + 1;
    assert_eq!(
        faults_in(&altered),
        [format!(
            "the block is not what its CID says: block {number}, {cid}"
        )]
    );
    let faults = Python::new()
        .run("check_blocks.py", &[altered.as_os_str()])
        .faults();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].kind, "the block is not what its CID says");
    assert_eq!(faults[0].place, cid.to_string());
}

#[tokio::test]
async fn an_event_that_was_left_out_is_found_with_its_stream_and_version() {
    let mut exported = Exported::new().await;
    let place = exported.event("verkauf.bestellung.0193", 2);
    let left_out = exported.car.blocks.remove(place).cid;
    let faults = exported.faults();
    assert_has(
        &faults,
        &format!("missing: verkauf.bestellung.0193@2, {left_out}"),
    );
}

#[tokio::test]
async fn events_that_changed_places_are_found() {
    let mut exported = Exported::new().await;
    exported.car.blocks.swap(0, 3);
    assert_eq!(
        exported.faults(),
        ["the events are not in the order of the log: the file"]
    );
}

#[tokio::test]
async fn an_event_that_was_replaced_under_a_cid_of_its_own_is_found() {
    let mut exported = Exported::new().await;
    let stream = stream("kundin", "Zoë/7.a");
    let place = exported.event(stream.as_str(), 2);
    let replaced = exported.car.blocks[place].clone();
    let event = EventBlock {
        event_type: "filled",
        ..EventBlock::decode(&replaced.bytes).unwrap()
    };
    let mut bytes = Vec::new();
    event.encode_into(&mut bytes);
    let forged = block(bytes);
    exported.car.blocks[place] = forged.clone();
    let faults = exported.faults();
    assert_has(&faults, &format!("missing: {stream}@2, {}", replaced.cid));
    assert_has(
        &faults,
        &format!("nothing leads to this block: {}", forged.cid),
    );
}

#[tokio::test]
async fn a_root_that_does_not_fit_its_events_is_found() {
    let mut exported = Exported::new().await;
    let events = 10;
    exported.alter_root(|root| {
        assert_eq!(root["events"], Ipld::Integer(events));
        root.insert("events".to_owned(), Ipld::Integer(events + 1));
    });
    assert_eq!(exported.faults(), ["events: the root says 11: found 10"]);

    let mut exported = Exported::new().await;
    exported.alter_root(|root| {
        root.insert("tree".to_owned(), Ipld::Bytes(vec![0xab; 32]));
    });
    let faults = exported.faults();
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].starts_with("tree: the root says q6urq6ur"),
        "{faults:?}"
    );
}

#[tokio::test]
async fn a_stream_whose_end_was_cut_off_is_found() {
    let mut exported = Exported::new().await;
    // The heads say that the stream ends one event earlier than it does.
    let last = exported.event("verkauf.bestellung.0193", 4);
    let earlier = exported.event("verkauf.bestellung.0193", 3);
    let [last, earlier] = [last, earlier].map(|place| exported.car.blocks[place].cid);
    let heads = exported.car.blocks.len() - 2;
    let mut fields: BTreeMap<String, Ipld> =
        dag_cbor::from_slice(&exported.car.blocks[heads].bytes).unwrap();
    let Some(Ipld::List(entries)) = fields.get_mut("heads") else {
        panic!("no heads in {fields:?}");
    };
    let entry = |version: i128, cid: Cid| {
        let stream = Ipld::String("verkauf.bestellung.0193".to_owned());
        Ipld::List(vec![stream, Ipld::Integer(version), Ipld::Link(cid)])
    };
    let place = entries
        .iter()
        .position(|found| *found == entry(4, last))
        .unwrap();
    entries[place] = entry(3, earlier);
    let forged = block(dag_cbor::to_vec(&fields).unwrap());
    exported.car.blocks[heads] = forged.clone();
    exported.alter_root(|root| {
        root.insert("heads".to_owned(), Ipld::Link(forged.cid));
    });
    let faults = exported.faults();
    let head = format!("the log ends it with version 4, {last}: verkauf.bestellung.0193@3");
    assert_has(&faults, &head);
    assert_has(&faults, &format!("nothing leads to this block: {last}"));
}

#[tokio::test]
async fn a_file_that_was_cut_is_found() {
    let exported = Exported::new().await;
    let bytes = fs::read(&exported.file).unwrap();
    let altered = exported.history.file("altered.car");
    // In the middle of a block, and before the last one, the root.
    let root = exported.car.blocks.last().unwrap();
    let root_starts = bytes.len() - root.bytes.len() - root.cid.encoded_len() - 2;
    for (len, fault) in [
        (bytes.len() / 2, "not readable: "),
        (root_starts, "missing: the root, "),
    ] {
        fs::write(&altered, &bytes[..len]).unwrap();
        let faults = faults_in(&altered);
        assert!(
            faults.iter().any(|found| found.starts_with(fault)),
            "{faults:?}"
        );
    }
}

#[tokio::test]
async fn a_block_in_another_encoding_is_found_even_where_its_cid_is_right() {
    let mut exported = Exported::new().await;
    // 1 in two bytes where one would do, and keys in another order.
    let others = [vec![0x18, 0x01], b"\xa2\x61b\x01\x61a\x01".to_vec()].map(block);
    exported.car.blocks.extend(others.clone());
    let file = exported.write();
    let found = [
        faults_in(&file),
        Python::new()
            .run("check_blocks.py", &[file.as_os_str()])
            .faults()
            .into_iter()
            .map(show)
            .collect(),
    ];
    for faults in found {
        for other in &others {
            let is_refused = |fault: &String| {
                let encoding = ["no DAG-CBOR", "another encoding"];
                encoding.iter().any(|start| fault.starts_with(start))
                    && fault.ends_with(&other.cid.to_string())
            };
            assert!(faults.iter().any(is_refused), "{}: {faults:#?}", other.cid);
        }
    }
}
