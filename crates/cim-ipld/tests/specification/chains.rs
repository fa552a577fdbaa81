//! Verifying a stream's chain: sound ones pass, every single break is found where it is.

use std::error::Error;

use cim_ipld::{ChainFaultKind, ChainHead, ChainVerifier, EventBlock, EventCid, MetadataRef};
use proptest::prelude::*;

const STREAM: &str = "sales.order.0193";

type Stored = (Vec<u8>, EventCid);

/// An event's block and CID.
fn event(stream: &str, version: u64, previous: Option<EventCid>, data: &[u8]) -> Stored {
    let mut block = Vec::new();
    EventBlock {
        id: [1; 16],
        event_type: "noted",
        schema_version: 1,
        stream,
        version,
        time: 0,
        content_type: "text/plain",
        data,
        commit: [2; 16],
        index: 0,
        count: 1,
        correlation: None,
        causation: None,
        principal: None,
        trace: None,
        metadata: MetadataRef::EMPTY,
        previous,
    }
    .encode_into(&mut block);
    let cid = EventCid::of(&block);
    (block, cid)
}

/// A sound chain of `len` events.
fn chain(len: u64) -> Vec<Stored> {
    let mut events: Vec<Stored> = Vec::new();
    for version in 1..=len {
        let previous = events.last().map(|stored| stored.1);
        events.push(event(STREAM, version, previous, b"x"));
    }
    events
}

/// Pushes everything; the version at which it broke, and how.
fn broken<'a>(events: impl IntoIterator<Item = &'a Stored>) -> Option<(u64, ChainFaultKind)> {
    let mut verifier = ChainVerifier::start(STREAM);
    for (block, cid) in events {
        let before = verifier.head();
        match verifier.push(block, cid) {
            Ok(head) => assert_eq!(verifier.head(), Some(head)),
            Err(fault) => {
                assert_eq!(
                    verifier.head(),
                    before,
                    "a fault leaves the verifier where it stood"
                );
                assert_eq!(fault.stream, STREAM);
                return Some((fault.version, fault.kind));
            }
        }
    }
    None
}

proptest! {
    #[test]
    fn a_sound_chain_verifies_whole_and_in_parts(len in 0..20_u64, cut in 0..20_usize) {
        let events = chain(len);
        let cut = cut.min(events.len());
        let mut whole = ChainVerifier::start(STREAM);
        for (block, cid) in &events {
            whole.push(block, cid).unwrap();
        }
        let (first, second) = events.split_at(cut);
        let mut part = ChainVerifier::start(STREAM);
        for (block, cid) in first {
            part.push(block, cid).unwrap();
        }
        let mut rest = match part.head() {
            Some(head) => ChainVerifier::resume(STREAM, head),
            None => ChainVerifier::start(STREAM),
        };
        for (block, cid) in second {
            rest.push(block, cid).unwrap();
        }
        prop_assert_eq!(rest.head(), whole.head());
        let last = events.last().map(|stored| ChainHead { version: len, cid: stored.1 });
        prop_assert_eq!(whole.head(), last);
    }

    #[test]
    fn removing_events_leaves_a_gap(len in 2..20_u64, at in 0..18_usize, count in 1..4_usize) {
        let mut events = chain(len);
        // Removing the last events cannot be seen in the chain alone; that needs a kept head.
        let at = at.min(events.len() - 2);
        let end = (at + count).min(events.len() - 1);
        events.drain(at..end);
        let expected = (at as u64 + 1, ChainFaultKind::Gap { found: end as u64 + 1 });
        prop_assert_eq!(broken(&events), Some(expected));
    }

    #[test]
    fn swapping_two_events_is_found(len in 2..20_u64, at in 0..18_usize) {
        let mut events = chain(len);
        let at = at.min(events.len() - 2);
        events.swap(at, at + 1);
        let found = at as u64 + 2;
        prop_assert_eq!(broken(&events), Some((found - 1, ChainFaultKind::Gap { found })));
    }

    #[test]
    fn repeating_an_event_is_found(len in 1..20_u64, at in 0..19_usize) {
        let mut events = chain(len);
        let at = at.min(events.len() - 1);
        events.insert(at, events[at].clone());
        let found = at as u64 + 1;
        prop_assert_eq!(broken(&events), Some((found + 1, ChainFaultKind::Repeated { found })));
    }

    #[test]
    fn an_earlier_event_after_a_later_one_is_found(len in 2..20_u64, from in 0..18_usize) {
        let mut events = chain(len);
        let from = from.min(events.len() - 2);
        events.push(events[from].clone());
        let found = from as u64 + 1;
        prop_assert_eq!(broken(&events), Some((len + 1, ChainFaultKind::Reordered { found })));
    }

    #[test]
    fn changing_any_byte_of_any_event_is_found(
        len in 1..8_u64,
        at in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let mut events = chain(len);
        let at = at.index(events.len());
        let claimed = events[at].1;
        let block = &mut events[at].0;
        let byte = byte.index(block.len());
        block[byte] ^= 1 << bit;
        let actual = EventCid::of(block);
        let expected = (at as u64 + 1, ChainFaultKind::Altered { claimed, actual });
        prop_assert_eq!(broken(&events), Some(expected));
    }

    #[test]
    fn rewriting_an_event_and_its_cid_breaks_the_link_of_the_next(
        len in 2..20_u64,
        at in 0..18_usize,
    ) {
        let mut events = chain(len);
        let at = at.min(events.len() - 2);
        let previous = at.checked_sub(1).map(|before| events[before].1);
        let genuine = events[at].1;
        events[at] = event(STREAM, at as u64 + 1, previous, b"forged");
        let expected = ChainFaultKind::Forked {
            expected_previous: events[at].1,
            found_previous: genuine,
        };
        prop_assert_eq!(broken(&events), Some((at as u64 + 2, expected)));
    }

    #[test]
    fn replacing_everything_changes_the_head(len in 1..20_u64) {
        let genuine = chain(len);
        let mut forged = vec![event(STREAM, 1, None, b"forged")];
        for version in 2..=len {
            forged.push(event(STREAM, version, forged.last().map(|stored| stored.1), b"x"));
        }
        prop_assert_eq!(broken(&forged), None);
        prop_assert_ne!(genuine.last().map(|stored| stored.1), forged.last().map(|stored| stored.1));
    }
}

#[test]
fn a_second_event_with_the_version_of_the_last_one_is_a_rival() {
    let mut events = chain(2);
    let rival = event(STREAM, 2, Some(events[0].1), b"other");
    events.push(rival.clone());
    let kind = ChainFaultKind::Rival {
        first: events[1].1,
        second: rival.1,
    };
    assert_eq!(broken(&events), Some((3, kind)));
}

#[test]
fn an_event_of_another_stream_is_found() {
    let mut events = chain(1);
    events.push(event("sales.order.0194", 2, Some(events[0].1), b"x"));
    let kind = ChainFaultKind::WrongStream {
        found: "sales.order.0194".into(),
    };
    assert_eq!(broken(&events), Some((2, kind)));
}

#[test]
fn an_event_after_the_first_names_the_one_before() {
    let mut events = chain(2);
    events.push(event(STREAM, 3, None, b"x"));
    let kind = ChainFaultKind::MissingPrevious {
        expected: events[1].1,
    };
    assert_eq!(broken(&events), Some((3, kind)));
}

#[test]
fn the_first_event_names_none_before() {
    let found = EventCid::of(b"removed");
    let events = [event(STREAM, 1, Some(found), b"x")];
    assert_eq!(
        broken(&events),
        Some((1, ChainFaultKind::UnexpectedPrevious { found }))
    );
}

#[test]
fn bytes_that_hash_right_but_are_no_block_are_malformed_and_say_why() {
    let block = b"\xa0".to_vec();
    let cid = EventCid::of(&block);
    let fault = ChainVerifier::start(STREAM).push(&block, &cid).unwrap_err();
    assert!(matches!(fault.kind, ChainFaultKind::Malformed(_)));
    let source = fault
        .source()
        .expect("the block's error is the source")
        .to_string();
    assert!(source.contains("\"v\""), "{source}");
    assert!(
        !fault.to_string().contains(&source),
        "Display does not repeat the source"
    );
}

#[test]
fn a_head_of_version_zero_is_the_beginning() {
    let nothing = ChainHead {
        version: 0,
        cid: EventCid::of(b""),
    };
    let mut verifier = ChainVerifier::resume(STREAM, nothing);
    let (block, cid) = chain(1).remove(0);
    assert_eq!(
        verifier.push(&block, &cid),
        Ok(ChainHead { version: 1, cid })
    );
}

#[test]
fn the_last_version_there_can_be_does_not_overflow() {
    let head = ChainHead {
        version: u64::MAX,
        cid: EventCid::of(b"last"),
    };
    let (block, cid) = event(STREAM, u64::MAX, Some(head.cid), b"x");
    let fault = ChainVerifier::resume(STREAM, head)
        .push(&block, &cid)
        .unwrap_err();
    assert_eq!(
        fault.kind,
        ChainFaultKind::Rival {
            first: head.cid,
            second: cid
        }
    );
}

#[test]
fn a_fault_says_stream_version_and_what_to_do() {
    let events = chain(5);
    let mut verifier = ChainVerifier::start(STREAM);
    verifier.push(&events[0].0, &events[0].1).unwrap();
    let fault = verifier.push(&events[4].0, &events[4].1).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "stream sales.order.0193, version 2: the next event has version 5, so versions 2 to 4 are \
         missing; restore from a replica or backup, or read the range again if only part of it was \
         read"
    );
}
