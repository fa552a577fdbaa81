//! An event that is encoded and decoded is the same event; a message that was changed is refused.

use bytes::Bytes;
use cim_store::staging::Placement;
use cim_store::{
    CausationId, CommitId, ContentType, Context, CorrelationId, Damage, EventCid, EventId,
    EventLogError, EventType, ExaminedEvent, Metadata, NewEvent, Principal, RecordedEvent,
    StreamId, Timestamp, TraceParent, Version,
};
use proptest::prelude::*;

use super::*;
use crate::subjects;

/// A message: subject, headers, payload.
type Sent = (String, Vec<(String, String)>, Bytes);

fn send(event: &NewEvent, stream: &StreamId, ctx: &Context) -> Sent {
    let place = Placement {
        stream,
        version: Version::new(7),
        previous: Some(EventCid::from_digest([9; 32])),
        commit_id: CommitId::from_bytes([3; 16]),
        index: 1,
        count: 4,
    };
    let encoded = encode_event(event, &place, ctx, &mut Vec::new());
    let headers = encoded
        .headers
        .iter()
        .map(|(name, values)| (name.to_string(), values[0].to_string()))
        .collect();
    let subject = subjects::event(stream, &event.event_type, place.version);
    (subject, headers, encoded.body)
}

fn receive((subject, headers, payload): &Sent) -> Result<RecordedEvent, EventLogError> {
    let message = Arrived {
        subject,
        sequence: 12,
        stored_at: Timestamp::EPOCH,
        headers: headers.iter().map(|(name, value)| (&name[..], &value[..])),
        payload: payload.clone(),
    };
    decode_event(message, &mut Vec::new())
}

fn examine((subject, headers, payload): &Sent) -> Result<ExaminedEvent, Damage> {
    examine_event(Arrived {
        subject,
        sequence: 12,
        stored_at: Timestamp::EPOCH,
        headers: headers.iter().map(|(name, value)| (&name[..], &value[..])),
        payload: payload.clone(),
    })
}

fn event() -> NewEvent {
    NewEvent::json("order placed", &serde_json::json!({ "total": 12 }))
        .unwrap()
        .with_id(EventId::from_bytes([1; 16]))
        .with_time(Timestamp::from_seconds(1_767_225_600))
}

fn order() -> StreamId {
    StreamId::new("sales", "order", "0193").unwrap()
}

proptest! {
    #[test]
    fn any_event_comes_back(
        id: [u8; 16],
        micros: i64,
        event_type in "\\PC{1,20}",
        content_type in "[ -~]{1,20}/[ -~]{1,20}",
        payload: Vec<u8>,
        metadata in prop::collection::btree_map(any::<String>(), any::<String>(), 0..4),
        correlation: Option<[u8; 16]>,
        causation: Option<[u8; 16]>,
        principal in prop::option::of("\\PC{1,20}"),
        stream_id in "\\PC{1,20}",
    ) {
        let mut event = NewEvent::new(
            EventType::new(event_type).unwrap(),
            ContentType::new(content_type).unwrap(),
            payload,
        )
        .with_id(EventId::from_bytes(id))
        .with_time(Timestamp::from_micros(micros))
        .with_metadata(Metadata::from_pairs(&metadata).unwrap());
        event.correlation_id = correlation.map(CorrelationId::from_bytes);
        event.causation_id = causation.map(CausationId::from_bytes);
        let mut ctx = Context::new().with_trace(TraceParent::new("00-ab-cd-01").unwrap());
        if let Some(principal) = principal {
            ctx = ctx.with_principal(Principal::new(principal).unwrap());
        }
        let stream = StreamId::new("ctx", "agg", &stream_id).unwrap();
        let read = receive(&send(&event, &stream, &ctx)).unwrap();
        prop_assert!(read.has_its_cid());
        let examined = examine(&send(&event, &stream, &ctx)).unwrap();
        prop_assert_eq!(examined, ExaminedEvent::from(&read));
        prop_assert_eq!(Some(read.id), event.id);
        prop_assert_eq!(Some(read.time), event.time);
        prop_assert_eq!(read.event_type, event.event_type);
        prop_assert_eq!(read.content_type, event.content_type);
        prop_assert_eq!(read.payload, event.payload);
        prop_assert_eq!(read.metadata, event.metadata);
        prop_assert_eq!(read.correlation_id, event.correlation_id);
        prop_assert_eq!(read.causation_id, event.causation_id);
        prop_assert_eq!(read.principal.as_ref(), ctx.principal());
        prop_assert_eq!(read.trace.as_ref(), ctx.trace());
        prop_assert_eq!(read.stream, stream);
        prop_assert_eq!((read.commit_index, read.commit_count), (1, 4));
        prop_assert_eq!(read.version, Version::new(7));
        prop_assert_eq!(read.position.get(), 12);
    }
}

#[test]
fn every_header_counts() {
    let ctx = Context::new()
        .with_principal(Principal::new("anna").unwrap())
        .with_correlation_id(CorrelationId::from_bytes([4; 16]));
    let event = event().with_metadata(Metadata::from_pairs([("tenant", "acme")]).unwrap());
    let sent = send(&event, &order(), &ctx);
    assert!(receive(&sent).is_ok());
    for at in 0..sent.1.len() {
        let name = &sent.1[at].0;
        let mut without = sent.clone();
        without.1.remove(at);
        let error = receive(&without).expect_err(name);
        assert!(error.is_integrity(), "without {name}: {error}");

        let mut changed = sent.clone();
        changed.1[at].1.push('0');
        let error = receive(&changed).expect_err(name);
        assert!(error.is_integrity(), "changed {name}: {error}");
    }
}

#[test]
fn no_header_of_an_event_stands_twice() {
    for sent in both_forms() {
        let (_, headers, _) = &sent;
        for (name, value) in headers
            .iter()
            .filter(|(name, _)| !name.starts_with("Nats-"))
        {
            // Others may read the first one, or the last one.
            for at in [0, headers.len()] {
                for value in [value, "forged"] {
                    let mut twice = sent.clone();
                    twice.1.insert(at, (name.clone(), value.to_owned()));
                    assert!(receive(&twice).unwrap_err().is_integrity(), "{name}");
                    let damage = examine(&twice).unwrap_err();
                    assert!(damage.message.contains("stands there twice"), "{name}");
                }
            }
        }
    }
}

#[test]
fn the_payload_and_the_subject_count() {
    let sent = send(&event(), &order(), &Context::new());
    let mut other = sent.clone();
    other.2 = Bytes::from_static(b"{\"total\":13}");
    let error = receive(&other).unwrap_err();
    assert_eq!(
        error.to_string().split(" (").next(),
        Some("an event's content does not have its CID")
    );
    for subject in [
        "cim.events.sales.order.0194.order=20placed.7",
        "cim.events.sales.order.0193.order=20paid.7",
        "cim.events.sales.order.0193.order=20placed.8",
        "cim.events.sales.order.0193.7",
    ] {
        let mut other = sent.clone();
        other.0 = subject.to_owned();
        assert!(receive(&other).unwrap_err().is_integrity(), "{subject}");
    }
}

#[test]
fn headers_that_are_not_an_events_are_left_alone() {
    let mut sent = send(&event(), &order(), &Context::new());
    sent.1.push(("Nats-Msg-Id".to_owned(), "x".to_owned()));
    sent.1.push(("ce-sampledrate".to_owned(), "5".to_owned()));
    assert!(receive(&sent).is_ok());
}

#[test]
fn an_event_with_metadata_too_large_for_headers_comes_back() {
    let metadata = Metadata::from_pairs([("k", "é".repeat(30_000))]).unwrap();
    let event = event().with_metadata(metadata.clone());
    let sent = send(&event, &order(), &Context::new());
    let headers: usize = sent
        .1
        .iter()
        .map(|(name, value)| name.len() + value.len() + 4)
        .sum();
    assert!(headers < 64 << 10, "{headers}");
    let read = receive(&sent).unwrap();
    assert_eq!(read.metadata, metadata);
    assert_eq!(read.payload, event.payload);
    assert_eq!(read.content_type, ContentType::JSON);
    for at in 0..sent.1.len() {
        let name = &sent.1[at].0;
        let mut changed = sent.clone();
        changed.1[at].1.push('0');
        // That the body is a block is said twice.
        assert!(
            receive(&changed).is_err() || name == "content-type",
            "{name}"
        );
    }
}

/// A message whose body is the payload, and one whose body is the block.
fn both_forms() -> [Sent; 2] {
    let ctx = Context::new()
        .with_principal(Principal::new("anna").unwrap())
        .with_correlation_id(CorrelationId::from_bytes([4; 16]));
    ["acme".to_owned(), "é".repeat(30_000)].map(|tenant| {
        let metadata = Metadata::from_pairs([("tenant", tenant)]).unwrap();
        send(&event().with_metadata(metadata), &order(), &ctx)
    })
}

#[test]
fn whatever_a_read_refuses_an_examination_notices() {
    for sent in both_forms() {
        let noticed = |changed: &Sent, what: &str| {
            let examined = examine(changed);
            assert!(
                receive(changed).is_ok()
                    || examined.is_err()
                    || examined.is_ok_and(|event| {
                        event.cid != EventCid::of(&event.block)
                            || event.stream != order()
                            || event.version != Version::new(7)
                    }),
                "{what}"
            );
        };
        for at in 0..sent.1.len() {
            let name = sent.1[at].0.clone();
            let mut without = sent.clone();
            without.1.remove(at);
            noticed(&without, &name);
            for end in ["0", " x", "%"] {
                let mut changed = sent.clone();
                changed.1[at].1.push_str(end);
                noticed(&changed, &name);
            }
        }
        for at in [0, sent.2.len() / 2, sent.2.len() - 1] {
            let mut changed = sent.clone();
            let mut body = changed.2.to_vec();
            body[at] ^= 1;
            changed.2 = body.into();
            noticed(&changed, "the body");
        }
    }
}

#[test]
fn an_altered_body_is_handed_out_as_it_is() {
    let [sent, block] = both_forms();
    let cid = receive(&sent).unwrap().cid;
    let mut changed = sent.clone();
    changed.2 = Bytes::from_static(b"{\"total\":13}");
    let examined = examine(&changed).unwrap();
    assert_eq!(examined.cid, cid);
    assert_ne!(EventCid::of(&examined.block), cid);
    assert_eq!((examined.stream, examined.version.get()), (order(), 7));

    let mut cut = block;
    cut.2.truncate(100);
    let examined = examine(&cut).unwrap();
    assert_eq!(examined.block, cut.2);
}

#[test]
fn an_event_is_filed_under_its_subject_whatever_it_says_itself() {
    for sent in both_forms() {
        let own = examine(&sent).unwrap();
        for (subject, stream, version) in [
            ("cim.events.sales.order.0193.paid.8", "sales.order.0193", 8),
            ("cim.events.sales.offer.1.placed.7", "sales.offer.1", 7),
        ] {
            let mut moved = sent.clone();
            moved.0 = subject.to_owned();
            let examined = examine(&moved).unwrap();
            assert_eq!(examined.stream.as_str(), stream);
            assert_eq!(examined.version, Version::new(version));
            assert_eq!(examined.cid, own.cid);
            assert_eq!(examined.block, own.block);
        }
    }
}

#[test]
fn what_is_no_event_is_damage_where_its_subject_says() {
    let mut sent = both_forms()[0].clone();
    sent.1.retain(|(name, _)| name != header::TIME);
    let damage = examine(&sent).unwrap_err();
    assert_eq!(damage.position.map(|position| position.get()), Some(12));
    assert_eq!(damage.stream, Some(order()));
    assert_eq!(damage.version, Some(Version::new(7)));
    assert!(!damage.missing);
    assert_eq!(
        damage.message,
        "the message at position 12 is not an event as it was stored: wrong is ce-time \
         (subject cim.events.sales.order.0193.order=20placed.7)"
    );
    sent.0 = "cim.events.hello".to_owned();
    let damage = examine(&sent).unwrap_err();
    assert_eq!((damage.stream, damage.version), (None, None));

    let mut renamed = both_forms()[1].clone();
    renamed.0 = "cim.events.sales.order.0193.paid.7".to_owned();
    let damage = examine(&renamed).unwrap_err();
    assert_eq!(damage.version, Some(Version::new(7)));
}
