//! Somebody edits the file of a store crudely: cuts a record out, exchanges two, copies one. What
//! follows stands elsewhere than it was written; a verification nevertheless names the stream and the
//! version where it begins, and hardly anything else.

#![cfg(feature = "embedded")]

use std::ops::Range;
use std::path::PathBuf;

use cim_domain::persistence::verification::{
    Verification, VerificationFault, VerificationFaultKind, Verifier,
};
use cim_domain::store::{Context, EventLogExt as _, ExpectedVersion, NewEvent, StreamId};
use cim_domain::{inspect, open};
use tempfile::TempDir;

use crate::account::ctx;

const STREAMS: usize = 20;
const EVENTS: usize = 400;

/// A store that was closed.
struct Edited {
    directory: TempDir,
}

impl Edited {
    /// Of twenty streams in turn; the records have several lengths.
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&url(&directory)).await.unwrap();
        for number in 0..EVENTS {
            let text = format!("{number} {}", "x".repeat(number * 37 % 101));
            let event = NewEvent::json("noted", &text).unwrap();
            let any = ExpectedVersion::Any;
            let log = store.log();
            log.append_to(&ctx(), &stream(number), any, vec![event])
                .await
                .unwrap();
        }
        store.close().await.unwrap();
        Self { directory }
    }

    fn segment(&self) -> PathBuf {
        self.directory.path().join("store/events/0000000001.seg")
    }

    /// Changes the bytes of the file; says where its records are, with their padding.
    fn edit(&self, change: impl FnOnce(&mut Vec<u8>, &[Range<usize>])) {
        let mut bytes = std::fs::read(self.segment()).unwrap();
        let mut records = Vec::new();
        let mut at = 128;
        while bytes[at..].starts_with(b"CIMr") {
            let body = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
            let end = (at + 72 + body).next_multiple_of(8);
            records.push(at..end);
            at = end.min(bytes.len());
        }
        assert_eq!(records.len(), EVENTS);
        change(&mut bytes, &records);
        std::fs::write(self.segment(), bytes).unwrap();
    }

    /// What a verification of its inspection finds.
    async fn verify(&self) -> Verification {
        let store = inspect(&url(&self.directory)).await.unwrap();
        let verifier = Verifier::new(store.log()).with_workers(1);
        verifier.verify(&Context::new(), |_| ()).await.unwrap()
    }
}

fn url(directory: &TempDir) -> String {
    format!("embedded:{}", directory.path().join("store").display())
}

/// The stream of the event with this index.
fn stream(index: usize) -> StreamId {
    StreamId::new("sales", "order", &format!("n{}", index % STREAMS)).unwrap()
}

/// The version of the event with this index.
fn version(index: usize) -> u64 {
    (index / STREAMS) as u64 + 1
}

/// The faults of streams that are no consequence of the order in the log; and all others.
fn split(found: &Verification) -> (Vec<&VerificationFault>, Vec<&VerificationFault>) {
    use VerificationFaultKind::{Commit, Order};
    let faults = found.faults.iter();
    faults.partition(|fault| fault.stream.is_some() && !matches!(fault.kind, Order | Commit))
}

fn assert_one(found: &Verification, kind: VerificationFaultKind, index: usize, at: u64) {
    let (of_streams, others) = split(found);
    let [fault] = of_streams[..] else {
        panic!("{:?}", found.faults);
    };
    assert_eq!(fault.kind, kind, "{fault}");
    assert_eq!(fault.stream, Some(stream(index)), "{fault}");
    assert_eq!(
        fault.version.map(|version| version.get()),
        Some(at),
        "{fault}"
    );
    assert!((1..=7).contains(&others.len()), "{:?}", found.faults);
    let moved = others
        .iter()
        .find(|fault| fault.message.contains("written for"));
    assert_eq!(moved.unwrap().kind, VerificationFaultKind::Damaged);
}

#[tokio::test]
async fn an_event_that_was_cut_out_is_removed_from_its_stream_and_the_others_are_sound() {
    for cut in [0, 1, 105, 250, 379] {
        let store = Edited::new().await;
        store.edit(|bytes, records| drop(bytes.drain(records[cut].clone())));
        assert!(open(&url(&store.directory)).await.is_err());
        let found = store.verify().await;
        assert_one(&found, VerificationFaultKind::Removed, cut, version(cut));
        assert_eq!(found.faults.len(), 2, "{:?}", found.faults);
        assert_eq!(found.events, EVENTS as u64 - 1);
    }
}

#[tokio::test]
async fn the_last_event_of_a_stream_that_was_cut_out_is_cut_off() {
    let store = Edited::new().await;
    store.edit(|bytes, records| drop(bytes.drain(records[385].clone())));
    let found = store.verify().await;
    assert_one(&found, VerificationFaultKind::Cut, 385, version(385));
    assert_eq!(found.faults.len(), 2, "{:?}", found.faults);
}

#[tokio::test]
async fn two_neighbours_of_different_streams_that_were_swapped_harm_no_chain() {
    let store = Edited::new().await;
    store.edit(|bytes, records| {
        bytes[records[100].start..records[101].end].rotate_left(records[100].len());
    });
    let found = store.verify().await;
    let (of_streams, others) = split(&found);
    assert_eq!(of_streams, Vec::<&VerificationFault>::new());
    let order = |fault: &&&VerificationFault| fault.kind == VerificationFaultKind::Order;
    assert!(others.iter().any(|fault| order(&fault)), "{others:?}");
    assert!((3..=6).contains(&others.len()), "{others:?}");
    assert_eq!(found.events, EVENTS as u64);
}

#[tokio::test]
async fn two_events_of_a_stream_that_were_swapped_are_reordered() {
    let store = Edited::new().await;
    let (one, other) = (107, 267);
    store.edit(|bytes, records| {
        let (one, other) = (records[one].clone(), records[other].clone());
        assert_ne!(one.len(), other.len());
        let mut all = bytes[..one.start].to_vec();
        all.extend_from_slice(&bytes[other.clone()]);
        all.extend_from_slice(&bytes[one.end..other.start]);
        all.extend_from_slice(&bytes[one]);
        all.extend_from_slice(&bytes[other.end..]);
        *bytes = all;
    });
    let found = store.verify().await;
    // Where version 6 should be stands version 14.
    assert_one(&found, VerificationFaultKind::Reordered, one, version(one));
    assert_eq!(found.events, EVENTS as u64);
}

#[tokio::test]
async fn an_event_that_was_copied_to_the_end_comes_twice() {
    use VerificationFaultKind::{Reordered, Repeated};
    for (copied, kind) in [(EVENTS - 1, Repeated), (107, Reordered)] {
        let store = Edited::new().await;
        store.edit(|bytes, records| {
            bytes.truncate(records[EVENTS - 1].end);
            bytes.extend_from_within(records[copied].clone());
        });
        let found = store.verify().await;
        assert_one(&found, kind, copied, version(copied));
        assert_eq!(found.events, EVENTS as u64 + 1);
    }
}

#[tokio::test]
async fn an_event_that_was_put_in_twice_is_repeated() {
    let store = Edited::new().await;
    store.edit(|bytes, records| {
        let copies = bytes[records[107].clone()].repeat(2);
        let at = records[107].end;
        drop(bytes.splice(at..at, copies));
    });
    assert!(open(&url(&store.directory)).await.is_err());
    let found = store.verify().await;
    assert_one(&found, VerificationFaultKind::Repeated, 107, version(107));
    assert_eq!(found.events, EVENTS as u64 + 2);
}
