//! Events as rows of text and as lines of JSON.
//!
//! Text is for people: aligned, payloads shortened, nothing that could steer a terminal. JSON is
//! for programs: every field, payloads whole. `docs/cli.md` lists the fields.

use std::collections::BTreeMap;

use cim_store::{RecordedEvent, Timestamp};
use data_encoding::BASE64;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::output::{Style, Ui};

/// Characters of a payload that a row shows.
const PAYLOAD_CHARS: usize = 160;

/// One event, as JSON.
#[derive(Serialize)]
pub(crate) struct EventLine<'a> {
    position: u64,
    stream: &'a str,
    version: u64,
    #[serde(rename = "type")]
    event_type: &'a str,
    schema_version: u32,
    id: String,
    time: Timestamp,
    stored_at: Timestamp,
    content_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    metadata: BTreeMap<&'a str, &'a str>,
    commit_id: String,
    commit_index: u32,
    commit_count: u32,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    principal: Option<&'a str>,
    trace: Option<&'a str>,
    cid: String,
    previous: Option<String>,
}

impl<'a> EventLine<'a> {
    pub(crate) fn of(event: &'a RecordedEvent) -> Self {
        let payload = compact_json(event).and_then(|text| RawValue::from_string(text).ok());
        let payload_base64 = payload.is_none().then(|| BASE64.encode(&event.payload));
        Self {
            position: event.position.get(),
            stream: event.stream.as_str(),
            version: event.version.get(),
            event_type: event.event_type.as_str(),
            schema_version: event.schema_version.get(),
            id: event.id.to_string(),
            time: event.time,
            stored_at: event.stored_at,
            content_type: event.content_type.as_str(),
            payload,
            payload_base64,
            metadata: event.metadata.iter().collect(),
            commit_id: event.commit_id.to_string(),
            commit_index: event.commit_index,
            commit_count: event.commit_count,
            correlation_id: event.correlation_id.map(|id| id.to_string()),
            causation_id: event.causation_id.map(|id| id.to_string()),
            principal: event.principal.as_ref().map(|principal| principal.as_str()),
            trace: event.trace.as_ref().map(|trace| trace.as_str()),
            cid: event.cid.to_string(),
            previous: event.previous.map(|cid| cid.to_string()),
        }
    }
}

/// A row of `cim events`.
pub(crate) struct StreamRow;

impl StreamRow {
    pub(crate) fn title(ui: &Ui) -> String {
        let title = format!("{:>7}  {:27}  {:20}  PAYLOAD", "VERSION", "TIME", "TYPE");
        ui.paint(Style::Bold, title)
    }

    pub(crate) fn of(ui: &Ui, event: &RecordedEvent) -> String {
        format!(
            "{:>7}  {}  {}  {}",
            event.version.get(),
            ui.paint(Style::Dim, format_args!("{:27}", event.time)),
            ui.paint(Style::Name, format_args!("{:20}", event.event_type)),
            payload_text(event)
        )
    }
}

/// A row of `cim log`.
pub(crate) struct LogRow;

impl LogRow {
    pub(crate) fn title(ui: &Ui) -> String {
        let title = format!(
            "{:>8}  {:27}  {:20}  {:>7}  {:45}  PAYLOAD",
            "POSITION", "STORED AT", "TYPE", "VERSION", "STREAM"
        );
        ui.paint(Style::Bold, title)
    }

    pub(crate) fn of(ui: &Ui, event: &RecordedEvent) -> String {
        format!(
            "{:>8}  {}  {}  {:>7}  {:45}  {}",
            event.position.get(),
            ui.paint(Style::Dim, format_args!("{:27}", event.stored_at)),
            ui.paint(Style::Name, format_args!("{:20}", event.event_type)),
            event.version.get(),
            event.stream,
            payload_text(event)
        )
    }
}

/// The payload, short enough for a row.
fn payload_text(event: &RecordedEvent) -> String {
    let Some(json) = compact_json(event) else {
        return match event.payload.len() {
            1 => format!("<1 byte of {}>", event.content_type),
            bytes => format!("<{bytes} bytes of {}>", event.content_type),
        };
    };
    let mut shown = String::new();
    for (count, character) in json.chars().enumerate() {
        if count == PAYLOAD_CHARS {
            shown.push('…');
            break;
        }
        if steers_terminal(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Control characters, and those that change the direction of writing (Unicode TR9, explicit
/// formatting characters): shown raw they could forge a row.
fn steers_terminal(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A JSON payload without white space between its tokens, otherwise as it was stored: numbers
/// keep their digits and objects their order. `None` where it is not JSON.
fn compact_json(event: &RecordedEvent) -> Option<String> {
    if !event.content_type.is_json() {
        return None;
    }
    let text = std::str::from_utf8(&event.payload).ok()?;
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    let mut compact = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for character in text.chars() {
        if in_string {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
        } else if character == '"' {
            in_string = true;
        } else if character.is_ascii_whitespace() {
            continue;
        }
        compact.push(character);
    }
    Some(compact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cim_store::memory::MemoryStore;
    use cim_store::{
        ContentType, Context, EventLogExt, EventType, ExpectedVersion, NewEvent, Store, StreamId,
    };

    async fn recorded(content_type: ContentType, payload: &[u8]) -> RecordedEvent {
        let store = MemoryStore::new();
        let stream = StreamId::new("sales", "order", "1").unwrap();
        let kind = EventType::new("order_placed").unwrap();
        let event = NewEvent::new(kind, content_type, payload.to_vec());
        let ctx = Context::new();
        let any = ExpectedVersion::Any;
        store
            .log()
            .append_to(&ctx, &stream, any, vec![event])
            .await
            .unwrap();
        store.log().read_all(&ctx, &stream).await.unwrap().remove(0)
    }

    #[tokio::test]
    async fn json_keeps_digits_and_order_and_loses_white_space() {
        let payload = b"{ \"b\" : 1.10,\n\t\"a b\" : \"x \\\" y\" }";
        let event = recorded(ContentType::JSON, payload).await;
        assert_eq!(payload_text(&event), r#"{"b":1.10,"a b":"x \" y"}"#);
        let line = serde_json::to_string(&EventLine::of(&event)).unwrap();
        assert!(
            line.contains(r#""payload":{"b":1.10,"a b":"x \" y"},"metadata""#),
            "{line}"
        );
    }

    #[tokio::test]
    async fn what_could_steer_a_terminal_is_escaped_in_rows() {
        let event = recorded(ContentType::JSON, "\"a\u{9b}31m\u{202e}b\"".as_bytes()).await;
        assert_eq!(payload_text(&event), "\"a\\u{9b}31m\\u{202e}b\"");
    }

    #[tokio::test]
    async fn a_long_payload_is_shortened_in_rows_only() {
        let payload = format!("\"{}\"", "x".repeat(500));
        let event = recorded(ContentType::JSON, payload.as_bytes()).await;
        assert_eq!(payload_text(&event).chars().count(), PAYLOAD_CHARS + 1);
        assert_eq!(EventLine::of(&event).payload.unwrap().get(), payload);
    }

    #[tokio::test]
    async fn other_payloads_are_base64_in_json_and_a_size_in_rows() {
        let event = recorded(ContentType::BYTES, &[0, 255]).await;
        assert_eq!(
            payload_text(&event),
            "<2 bytes of application/octet-stream>"
        );
        let line = EventLine::of(&event);
        assert_eq!(
            (line.payload.is_none(), line.payload_base64),
            (true, Some("AP8=".to_owned()))
        );
    }
}
