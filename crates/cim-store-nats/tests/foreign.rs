//! A client that has never seen this library reads our events: `nats-py` gets the messages, and the
//! Python package `cloudevents` understands them. Both are pinned in `tests/foreign/requirements.txt`
//! and live in a folder of their own under the target directory.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::path::Path;

use bytes::Bytes;
use cim_conformance::foreign_tools::ForeignTools;
use cim_conformance::nats_server::{ServerSettings, TestServer};
use cim_store::{
    Append, CausationId, ContentType, Context, CorrelationId, EventCid, EventLog, EventLogExt,
    EventType, Metadata, NewEvent, Principal, RecordedEvent, SchemaVersion, Store, StreamId,
    Timestamp, TraceParent, Version,
};
use cim_store_nats::{Credentials, NatsSettings, NatsStore};
use data_encoding::BASE64;
use serde_json::{Map, Value, json};

const REQUIREMENTS: &str = include_str!("foreign/requirements.txt");

/// What the foreign client makes of the log.
fn read_by_others(server: &TestServer, account: &str) -> Vec<Value> {
    let tools = ForeignTools::of_target(env!("CARGO_TARGET_TMPDIR"));
    let python = tools
        .python_packages("foreign-client", REQUIREMENTS)
        .unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/read_events.py");
    let mut command = python.command(script);
    command.args([&server.url(), account, account, NatsSettings::STREAM]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "reading the log: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn stream(aggregate: &str, id: &str) -> StreamId {
    StreamId::new("verkauf", aggregate, id).unwrap()
}

fn json_event(event_type: &str, payload: &Value) -> NewEvent {
    NewEvent::json(event_type, payload)
        .unwrap()
        .with_time(Timestamp::from_micros(1_767_225_600_000_001))
}

async fn append(log: &dyn EventLog, ctx: &Context) {
    let placed =
        json!({ "total": 12, "note": "Grüße, 你好, \"quoted\" 100 %", "lines": [1, null] });
    let rich = json_event("Bestellung ausgelöst", &placed)
        .with_schema_version(SchemaVersion::new(3).unwrap())
        .with_metadata(
            Metadata::from_pairs([("mandant", "Zoë \"Z\" 100%"), ("app", "shop")]).unwrap(),
        );
    let text = NewEvent::new(
        EventType::new("note_added").unwrap(),
        ContentType::new("text/plain; charset=utf-8").unwrap(),
        "Grüße".to_owned(),
    )
    .with_time(Timestamp::from_seconds(1_767_225_600));
    let binary = NewEvent::new(
        EventType::new("photo_added").unwrap(),
        ContentType::BYTES,
        Bytes::from_static(b"\x00\xff\xfe\r\n"),
    )
    .with_time(Timestamp::from_seconds(-1));
    let large = Metadata::from_pairs([("note", "é".repeat(20_000))]).unwrap();
    let appends = [
        Append::new().write(
            stream("bestellung", "0193"),
            Version::NONE,
            vec![json_event("order_placed", &json!({ "total": 12 }))],
        ),
        // A batch: several events, several streams, and a check that one of them carries.
        Append::new()
            .write(
                stream("bestellung", "0193"),
                Version::new(1),
                vec![rich, text],
            )
            .write(stream("kundin", "Zoë/7.a"), Version::NONE, vec![binary])
            .check(stream("kundin", "niemand"), Version::NONE),
        Append::new().write(
            stream("bestellung", "0194"),
            Version::NONE,
            vec![json_event("order_placed", &json!({ "total": 13 })).with_metadata(large)],
        ),
    ];
    for append in appends {
        log.append(ctx, append).await.unwrap();
    }
}

/// What CloudEvents' attributes are to say, as `docs/format/nats-message.md` has it.
fn attributes(event: &RecordedEvent) -> Map<String, Value> {
    let mut attributes = Map::new();
    let mut put = |name: &str, value: String| {
        attributes.insert(name.to_owned(), value.into());
    };
    let stream = &event.stream;
    put("specversion", "1.0".to_owned());
    put("id", event.id.to_string());
    put(
        "source",
        format!("/{}/{}", stream.context(), stream.aggregate()),
    );
    put("subject", stream.id().to_owned());
    put("type", event.event_type.to_string());
    put("time", event.time.to_string().replace('Z', "+00:00"));
    put("datacontenttype", event.content_type.to_string());
    put("streamversion", event.version.to_string());
    put("schemaversion", event.schema_version.to_string());
    put("commitid", event.commit_id.to_string());
    put("commitindex", event.commit_index.to_string());
    put("commitcount", event.commit_count.to_string());
    put("correlationid", event.correlation_id.unwrap().to_string());
    put("causationid", event.causation_id.unwrap().to_string());
    put("principal", event.principal.as_ref().unwrap().to_string());
    put("traceparent", event.trace.as_ref().unwrap().to_string());
    put("cid", event.cid.to_string());
    if let Some(previous) = event.previous {
        put("previouscid", previous.to_string());
    }
    attributes
}

/// What its data is to be.
fn data(event: &RecordedEvent) -> Value {
    if event.content_type.is_json() {
        return event.json().unwrap();
    }
    match std::str::from_utf8(&event.payload) {
        Ok(text) => text.into(),
        Err(_) => json!({ "base64": BASE64.encode(&event.payload) }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_client_understands_every_attribute_and_the_data() {
    let server = TestServer::start(ServerSettings::new().accounts(1)).unwrap();
    let account = format!("a{}", server.next_account().unwrap());
    let settings = NatsSettings::default().with_credentials(Credentials::UserPassword {
        user: account.clone(),
        password: account.clone(),
    });
    let store = NatsStore::open(&server.url(), settings).await.unwrap();
    let log = store.log();
    let ctx = Context::new()
        .with_principal(Principal::new("user:zoë müller").unwrap())
        .with_correlation_id(CorrelationId::from_bytes([0xc0; 16]))
        .with_causation_id(CausationId::from_bytes([0xca; 16]))
        .with_trace(
            TraceParent::new("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap(),
        );
    append(&*log, &ctx).await;

    let mut stored = Vec::new();
    for (aggregate, id) in [
        ("bestellung", "0193"),
        ("kundin", "Zoë/7.a"),
        ("bestellung", "0194"),
    ] {
        stored.extend(log.read_all(&ctx, &stream(aggregate, id)).await.unwrap());
    }
    stored.sort_by_key(|event| event.position);

    let found = read_by_others(&server, &account);
    assert_eq!(found.len(), stored.len());
    for (found, event) in found.iter().zip(&stored) {
        assert_eq!(found["subject"], event.subject().unwrap().as_str());
        assert_eq!(found["sequence"], event.position.get());
        let mut expected = attributes(event);
        if event.stream == stream("bestellung", "0194") {
            // Its metadata is too large for headers, so its data is the event's whole block.
            expected["datacontenttype"] = "application/vnd.ipld.dag-cbor".into();
            expected.insert("body".to_owned(), "block".into());
            assert_eq!(found["attributes"], Value::Object(expected));
            let block = found["data"]["base64"].as_str().unwrap();
            let block = BASE64.decode(block.as_bytes()).unwrap();
            assert_eq!(EventCid::of(&block), event.cid);
            continue;
        }
        if !event.metadata.is_empty() {
            let metadata = found["attributes"]["metadata"].as_str().unwrap();
            let metadata: Value = serde_json::from_str(metadata).unwrap();
            let pairs: Map<String, Value> = event
                .metadata
                .iter()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect();
            assert_eq!(metadata, Value::Object(pairs));
            expected.insert(
                "metadata".to_owned(),
                found["attributes"]["metadata"].clone(),
            );
        }
        assert_eq!(found["attributes"], Value::Object(expected));
        assert_eq!(found["data"], data(event));
    }
    store.close().await.unwrap();
}
