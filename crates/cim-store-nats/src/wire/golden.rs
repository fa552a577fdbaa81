//! Version 1 of the messages, as bytes that must never change.
//!
//! Each file in `golden/` has the messages of one commit: the subject, the headers in the order of
//! their names, an empty line, the body; `---` stands between messages. If a test here fails, the
//! format was changed: give it a new version (`cim.format`) and files of its own instead, and go on
//! reading the old one. A new file is written by running the tests once with `CIM_WRITE_GOLDEN=1`.

use std::fmt::Write as _;
use std::path::Path;

use async_nats::HeaderMap;
use bytes::Bytes;
use cim_store::{
    Append, CausationId, CommitId, ContentType, Context, CorrelationId, EventCid, EventId,
    EventType, Head, Metadata, NewEvent, Position, Principal, RecordedEvent, SchemaVersion,
    StreamId, Timestamp, TraceParent, Version,
};

use super::*;
use crate::events::messages::{Known, Outgoing, messages};

/// A commit, and the file with its messages.
struct Golden {
    file: &'static str,
    text: &'static str,
    append: Append,
    ctx: Context,
    marked: bool,
}

fn commit_id() -> CommitId {
    "01890a5d-ac96-7ab2-80e2-4536629c90de".parse().unwrap()
}

fn event_id(last: u8) -> EventId {
    let mut bytes = *b"\x01\x89\x0a\x5d\xac\x96\x77\x4b\xbc\xce\xb3\x02\x09\x9a\x80\x57";
    bytes[15] = last;
    EventId::from_bytes(bytes)
}

fn order() -> StreamId {
    StreamId::new("sales", "order", "0193").unwrap()
}

fn placed(last: u8) -> NewEvent {
    NewEvent::json("order_placed", &serde_json::json!({ "total": 12 }))
        .unwrap()
        .with_id(event_id(last))
        .with_time(Timestamp::from_seconds(1_700_000_000))
}

/// The head of a stream that has events already.
fn head(stream: &StreamId, version: Version) -> Head {
    Head {
        stream: stream.clone(),
        version,
        position: Position::new(1),
        cid: EventCid::from_digest([7; 32]),
    }
}

fn golden() -> Vec<Golden> {
    let first = |event: NewEvent| Append::new().write(order(), Version::NONE, vec![event]);
    let rich = NewEvent::new(
        EventType::new("Bestellung ausgelöst").unwrap(),
        ContentType::JSON,
        r#"{"kundin":"Zoë"}"#,
    )
    .with_id(event_id(2))
    .with_time(Timestamp::from_micros(1_700_000_000_000_001))
    .with_schema_version(SchemaVersion::new(3).unwrap())
    .with_correlation_id(CorrelationId::from_bytes([0xc0; 16]))
    .with_causation_id(CausationId::from_bytes([0xca; 16]))
    .with_metadata(Metadata::from_pairs([("kundin", "Zoë \"Z\" 100%"), ("app", "shop")]).unwrap());
    let binary = NewEvent::new(
        EventType::new("receipt").unwrap(),
        ContentType::BYTES,
        Bytes::from_static(b"\x00\xff\r\n"),
    )
    .with_id(event_id(3))
    .with_time(Timestamp::from_seconds(1_700_000_000));
    let several = Append::new()
        .write(order(), Version::new(4), vec![rich, binary])
        .write(
            StreamId::new("sales", "invoice", "2023/1.a").unwrap(),
            Version::NONE,
            vec![placed(4)],
        )
        .check(
            StreamId::new("sales", "customer", "zoë").unwrap(),
            Version::new(9),
        )
        .check(
            StreamId::new("stock", "item", "tea").unwrap(),
            Version::NONE,
        );
    let ctx = Context::new()
        .with_principal(Principal::new("user:zoë").unwrap())
        .with_trace(
            TraceParent::new("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap(),
        );
    let far = placed(5).with_time(Timestamp::from_micros(-62_167_219_200_000_001));
    let large = Metadata::from_pairs([("note", "é".repeat(6_000))]).unwrap();
    let large = placed(6).with_metadata(large);
    let case = |file, text, append| Golden {
        file,
        text,
        append,
        ctx: Context::new(),
        marked: false,
    };
    vec![
        case(
            "v1-one-event.txt",
            include_str!("golden/v1-one-event.txt"),
            first(placed(1)),
        ),
        case(
            "v1-two-events.txt",
            include_str!("golden/v1-two-events.txt"),
            Append::new().write(order(), Version::NONE, vec![placed(7), placed(8)]),
        ),
        Golden {
            ctx,
            marked: true,
            ..case(
                "v1-several-events.txt",
                include_str!("golden/v1-several-events.txt"),
                several,
            )
        },
        case(
            "v1-time-before-year-0.txt",
            include_str!("golden/v1-time-before-year-0.txt"),
            first(far),
        ),
        case(
            "v1-large-metadata.txt",
            include_str!("golden/v1-large-metadata.txt"),
            first(large),
        ),
    ]
}

/// The messages of a commit, as they are published.
fn published(golden: &Golden) -> Vec<Outgoing> {
    let heads: Vec<Option<Head>> = golden
        .append
        .expectations()
        .map(|(stream, expected)| match expected {
            cim_store::ExpectedVersion::Exact(version) if version > Version::NONE => {
                Some(head(stream, version))
            }
            _ => None,
        })
        .collect();
    let known: Vec<Known<'_>> = golden
        .append
        .expectations()
        .zip(&heads)
        .map(|((stream, expected), head)| Known {
            stream,
            expected,
            head: head.as_ref(),
        })
        .collect();
    let made = messages(
        &golden.append,
        commit_id(),
        &golden.ctx,
        &known,
        golden.marked,
    );
    let mut made = made.unwrap().messages;
    let count = made.len();
    let id = format!("{}-1", commit_id().as_uuid().simple());
    if count > 1 {
        for (at, message) in made.iter_mut().enumerate() {
            let place = BatchPlace {
                id: &id,
                number: at + 1,
                last: at + 1 == count,
            };
            place.mark(&mut message.headers);
        }
    }
    made
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<String> = headers
        .iter()
        .flat_map(|(name, values)| {
            values
                .iter()
                .map(move |value| format!("{name}: {}", value.as_str()))
        })
        .collect();
    lines.sort_unstable();
    lines
}

/// A body as text, as hexadecimal digits where it is none, and as its CID where it is a block.
fn shown_body(message: &Outgoing) -> String {
    let body = &message.payload;
    if message.headers.get(header::BODY).is_some() {
        return format!("the block with the CID {}", EventCid::of(body));
    }
    match std::str::from_utf8(body) {
        Ok(text) => text.to_owned(),
        Err(_) => body.iter().fold("hex".to_owned(), |mut text, byte| {
            let _ = write!(text, " {byte:02x}");
            text
        }),
    }
}

fn shown(messages: &[Outgoing]) -> String {
    let shown: Vec<String> = messages
        .iter()
        .map(|message| {
            let headers = lines(&message.headers).join("\n");
            let body = shown_body(message);
            format!("{}\n{headers}\n\n{body}\n", message.subject)
        })
        .collect();
    shown.join("---\n")
}

#[test]
fn every_commit_is_published_with_exactly_these_bytes() {
    for golden in golden() {
        let shown = shown(&published(&golden));
        if std::env::var_os("CIM_WRITE_GOLDEN").is_some() && golden.text.is_empty() {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wire/golden");
            std::fs::write(directory.join(golden.file), &shown).unwrap();
            continue;
        }
        assert_eq!(shown, golden.text, "{}", golden.file);
    }
}

/// What a file's message says: its subject, its headers and its body.
fn parse(
    message: &'static str,
) -> (
    &'static str,
    Vec<(&'static str, &'static str)>,
    &'static str,
) {
    let (head, body) = message.split_once("\n\n").unwrap();
    let mut lines = head.lines();
    let subject = lines.next().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap()).collect();
    (subject, headers, body.strip_suffix('\n').unwrap())
}

#[test]
fn these_bytes_are_the_events_for_ever() {
    for golden in golden() {
        let sent = published(&golden);
        let mut events = golden
            .append
            .writes
            .iter()
            .flat_map(|write| write.events.iter().map(|event| (&write.stream, event)));
        for (message, sent) in golden.text.split("---\n").zip(&sent) {
            let (subject, headers, body) = parse(message);
            if !subject.starts_with("cim.events.") {
                assert_eq!(body, "", "{subject}: marks and checks have no body");
                continue;
            }
            let payload = match body {
                text if text.starts_with('{') => Bytes::from_static(text.as_bytes()),
                // Hexadecimal, or too long to stand there: the test above compared it.
                _ => sent.payload.clone(),
            };
            let arrived = Arrived {
                subject,
                sequence: 12,
                stored_at: Timestamp::from_seconds(1_700_000_001),
                headers: headers.into_iter(),
                payload,
            };
            let read = decode_event(arrived, &mut Vec::new()).unwrap();
            let (stream, event) = events.next().unwrap();
            check(&read, stream, event, &golden.ctx);
        }
        assert_eq!(events.next(), None, "{}", golden.file);
    }
}

/// That what was read is what was appended.
fn check(read: &RecordedEvent, stream: &StreamId, event: &NewEvent, ctx: &Context) {
    assert_eq!(&read.stream, stream);
    assert_eq!(Some(read.id), event.id);
    assert_eq!(read.event_type, event.event_type);
    assert_eq!(read.schema_version, event.schema_version);
    assert_eq!(Some(read.time), event.time);
    assert_eq!(read.content_type, event.content_type);
    assert_eq!(read.payload, event.payload);
    assert_eq!(read.metadata, event.metadata);
    assert_eq!(read.correlation_id, event.correlation_id);
    assert_eq!(read.causation_id, event.causation_id);
    assert_eq!(read.principal.as_ref(), ctx.principal());
    assert_eq!(read.trace.as_ref(), ctx.trace());
    assert_eq!(read.commit_id, commit_id());
    assert_eq!(read.position, Position::new(12));
    assert!(read.has_its_cid());
}
