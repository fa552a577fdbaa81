//! Somebody who knows the format removes or rewrites events and makes everything else fit: places,
//! checksums, links, positions, the mark. The store opens. What is left to find it is what an
//! examination hands out: blocks, and the CIDs and versions that they are filed under.

use std::collections::BTreeMap;
use std::path::Path;

use cim_ipld::{ChainFaultKind, ChainVerifier, EventBlock, EventCid};
use cim_store::{ExaminedEvent, Store};
use cim_store_embedded::EmbeddedSettings;

use super::{Closed, Report, closed, open, report};

/// A record, as a forger changes it.
#[derive(Clone)]
struct Forged {
    /// The 72 bytes of the header; place, length and checksums are made anew.
    header: Vec<u8>,
    body: Vec<u8>,
    /// The place that it had.
    place: u64,
}

impl Forged {
    fn number(&self) -> u64 {
        u64::from_le_bytes(self.header[56..64].try_into().unwrap())
    }

    fn set_number(&mut self, number: u64) {
        self.header[56..64].copy_from_slice(&number.to_le_bytes());
    }

    fn stream(&self) -> String {
        let block = EventBlock::decode(&self.body[32..]).unwrap();
        block.stream.to_owned()
    }

    /// Puts another block into its place, with its right CID.
    fn replace(&mut self, change: impl FnOnce(&mut EventBlock<'_>)) {
        let old = self.body[32..].to_vec();
        let mut block = EventBlock::decode(&old).unwrap();
        change(&mut block);
        self.body.truncate(32);
        block.encode_into(&mut self.body);
        let cid = EventCid::of(&self.body[32..]);
        self.body[..32].copy_from_slice(cid.digest());
    }
}

/// The checksum of bytes, continued from the store's salt.
fn crc(salt: u32, bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c_append(salt, bytes).to_le_bytes()
}

/// Rewrites the one segment of a store whose index is forgotten.
fn forge(store: &Closed, change: impl FnOnce(&mut Vec<Forged>)) {
    let bytes = std::fs::read(store.segment(1)).unwrap();
    let salt = crc32c::crc32c(&bytes[16..32]);
    let mut records: Vec<Forged> = store
        .records(1)
        .into_iter()
        .map(|record| Forged {
            header: bytes[record.start..record.start + 72].to_vec(),
            body: bytes[record.start + 72..record.end].to_vec(),
            place: 1 << 32 | record.start as u64,
        })
        .collect();
    change(&mut records);
    let mut forged = bytes[..128].to_vec();
    let mut last_of_stream = BTreeMap::new();
    let (mut position, mut group) = (0_u64, 0_u64);
    for record in &mut records {
        let place = 1 << 32 | forged.len() as u64;
        let previous = last_of_stream.insert(record.stream(), place).unwrap_or(0);
        (position, group) = (position + 1, group + 1);
        let len = record.body.len() as u32;
        let header = &mut record.header;
        header[8..12].copy_from_slice(&len.to_le_bytes());
        header[12..16].copy_from_slice(&crc32c::crc32c(&record.body).to_le_bytes());
        header[16..24].copy_from_slice(&place.to_le_bytes());
        header[24..32].copy_from_slice(&group.to_le_bytes());
        header[32..40].copy_from_slice(&position.to_le_bytes());
        header[48..56].copy_from_slice(&previous.to_le_bytes());
        header[65] = 7; // a commit and a flush of its own
        let sum = crc(salt, &header[8..]);
        header[4..8].copy_from_slice(&sum);
        forged.extend_from_slice(header);
        forged.extend_from_slice(&record.body);
        forged.resize(forged.len().next_multiple_of(8), 0);
    }
    std::fs::write(store.segment(1), &forged).unwrap();
    forge_mark(store.path(), salt, forged.len() as u64, position);
    std::fs::remove_dir_all(store.path().join("events/index")).unwrap();
}

fn forge_mark(directory: &Path, salt: u32, end: u64, position: u64) {
    let path = directory.join("events/mark");
    let mut mark = std::fs::read(&path).unwrap();
    for page in [0, 4096] {
        let page = &mut mark[page..page + 64];
        page[16..24].copy_from_slice(&(1 << 32 | end).to_le_bytes());
        page[24..32].copy_from_slice(&position.to_le_bytes());
        page[32..40].copy_from_slice(&position.to_le_bytes());
        let sum = crc(salt, &page[..60]);
        page[60..64].copy_from_slice(&sum);
    }
    std::fs::write(&path, mark).unwrap();
}

/// What a verifier of chains finds first in each stream.
fn faults(events: &[ExaminedEvent]) -> BTreeMap<String, ChainFaultKind> {
    let mut chains = BTreeMap::new();
    let mut faults = BTreeMap::new();
    for event in events {
        let id = event.stream.id().to_owned();
        let chain = chains
            .entry(id.clone())
            .or_insert_with(|| ChainVerifier::start(event.stream.as_str()));
        if let Err(fault) = chain.push(&event.block, &event.cid) {
            faults.entry(id).or_insert(fault.kind);
        }
    }
    faults
}

async fn twelve() -> Closed {
    closed(12, &["a", "b", "c"], EmbeddedSettings::default()).await
}

/// The store opens as if nothing were wrong; both ways of looking at it hand out the same.
async fn examined(store: &Closed) -> Report {
    let inspected = report(store.path()).await;
    assert_eq!(inspected.damage, [], "the forger made everything fit");
    let opened = open(store.path()).await;
    let found = Report::of(&*opened.log(), 0).await;
    assert_eq!(found.damage, []);
    assert_eq!(found.events, inspected.events);
    opened.close().await.unwrap();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forger_who_changes_nothing_makes_the_same_store() {
    let store = twelve().await;
    forge(&store, |_| {});
    assert_eq!(examined(&store).await.events, store.events);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_removed_leaves_a_gap_in_its_stream() {
    let store = twelve().await;
    forge(&store, |records| drop(records.remove(4))); // `b`, version 2
    let found = examined(&store).await;
    let versions: Vec<u64> = of(&found, "b").map(|event| event.version.get()).collect();
    assert_eq!(versions, [1, 3, 4]);
    let faults = faults(&found.events);
    assert_eq!(faults.keys().collect::<Vec<_>>(), ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_were_filed_under_other_versions_say_so_themselves() {
    let store = twelve().await;
    forge(&store, |records| {
        records.remove(4);
        for record in records.iter_mut().skip(4) {
            if record.stream().ends_with(".b") {
                record.set_number(record.number() - 1);
            }
        }
    });
    // A read takes an event's version from its header and its block, which must agree.
    let found = report(store.path()).await;
    assert_eq!(found.damage, []);
    let filed: Vec<(u64, u64)> = of(&found, "b")
        .map(|event| {
            let block = EventBlock::decode(&event.block).unwrap();
            (event.version.get(), block.version)
        })
        .collect();
    assert_eq!(filed, [(1, 1), (2, 3), (3, 4)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_rewritten_with_its_cid_does_not_fit_the_next_one() {
    let store = twelve().await;
    forge(&store, |records| {
        records[4].replace(|block| block.data = b"\"number 99999\"");
    });
    let found = examined(&store).await;
    assert_eq!(found.altered(), [], "every CID is that of its block");
    let faults = faults(&found.events);
    assert_eq!(faults.keys().collect::<Vec<_>>(), ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_events_that_changed_places_are_handed_out_as_they_stand() {
    let store = twelve().await;
    forge(&store, |records| records.swap(4, 7)); // versions 2 and 3 of `b`
    let found = report(store.path()).await;
    assert_eq!(found.damage, []);
    let versions: Vec<u64> = of(&found, "b").map(|event| event.version.get()).collect();
    assert_eq!(versions, [1, 3, 2, 4]);
    assert!(faults(&found.events).contains_key("b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_hands_out_both_events_of_one_version() {
    let store = twelve().await;
    forge(&store, |records| {
        let mut other = records[4].clone();
        other.replace(|block| block.data = b"\"number 99999\"");
        assert!(other.place > 0);
        records.insert(5, other);
    });
    let found = report(store.path()).await;
    assert_eq!(found.damage, []);
    let versions: Vec<u64> = of(&found, "b").map(|event| event.version.get()).collect();
    assert_eq!(versions, [1, 2, 2, 3, 4]);
    assert!(faults(&found.events).contains_key("b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_put_into_another_stream_says_where_it_belongs() {
    let store = twelve().await;
    forge(&store, |records| {
        // Version 2 of `a` takes the place of version 2 of `b`.
        let other = records[3].clone();
        records[4] = other;
    });
    let found = report(store.path()).await;
    let versions: Vec<u64> = of(&found, "a").map(|event| event.version.get()).collect();
    assert_eq!(versions, [1, 2, 2, 3, 4]);
    let faults = faults(&found.events);
    assert_eq!(faults.keys().collect::<Vec<_>>(), ["a", "b"]);
}

fn of<'a>(report: &'a Report, id: &'a str) -> impl Iterator<Item = &'a ExaminedEvent> {
    report
        .events
        .iter()
        .filter(move |event| event.stream.id() == id)
}
