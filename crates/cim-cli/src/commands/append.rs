//! `cim append`: one event into one stream.

use std::io::{self, Read};
use std::str::FromStr;

use cim_store::{
    Append, CausationId, CommitId, ContentType, Context, CorrelationId, EventId, EventType,
    ExpectedVersion, Limits, Metadata, NewEvent, SchemaVersion, StreamId, Timestamp, Version,
};
use clap::Args;
use serde::Serialize;

use crate::commands::{parse_stream, parse_uuid};
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::output::Ui;
use crate::session::{Session, StoreMode};

/// Append an event to a stream
///
/// The payload is taken from the command line, from a file (`@FILE`) or from standard input
/// (`-`). A JSON payload is checked before anything is stored. When the command has ended with
/// code 0 the event is stored at the durability of the store: `embedded:` has flushed it to disk.
/// The store is created where it does not exist.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim append sales.order.7 order_placed '{\"total\": 12}'
  cim append sales.order.7 order_paid @payment.json --expected 1 --metadata tenant=acme
  jq -c .order dump.json | cim append sales.order.8 order_placed - --expected new
  cim append media.photo.3 uploaded @photo.jpg --content-type image/jpeg")]
pub struct AppendArgs {
    /// The stream: context.aggregate.id
    #[arg(value_parser = parse_stream)]
    stream: StreamId,
    /// What kind of fact it is, such as order_placed
    #[arg(value_name = "TYPE")]
    event_type: EventType,
    /// The payload, `@FILE` or `-`; without one `{}` where it is JSON, otherwise nothing
    payload: Option<String>,
    /// Where the stream must be: `any`, `new` (no events yet), `exists`, or a version
    #[arg(long, value_name = "VERSION", default_value = "any")]
    expected: Expected,
    /// What to say beside the payload; can be given several times
    #[arg(long, value_name = "NAME=TEXT")]
    metadata: Vec<Pair>,
    /// How the payload is encoded
    #[arg(long, value_name = "MEDIA TYPE", default_value = "application/json")]
    content_type: ContentType,
    /// Which shape the payloads of this type have, from 1
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = parse_schema_version)]
    schema_version: SchemaVersion,
    /// The commit's id: repeating a command with the same one never stores it twice
    #[arg(long, value_name = "UUID", value_parser = parse_uuid::<CommitId>)]
    commit_id: Option<CommitId>,
    /// The event's id
    #[arg(long, value_name = "UUID", value_parser = parse_uuid::<EventId>)]
    event_id: Option<EventId>,
    /// When it happened, such as 2026-11-20T10:15:00Z; without it now
    #[arg(long, value_name = "TIME")]
    time: Option<Timestamp>,
    /// The conversation it belongs to
    #[arg(long, value_name = "UUID", value_parser = parse_uuid::<CorrelationId>)]
    correlation_id: Option<CorrelationId>,
    /// The event or command that caused it
    #[arg(long, value_name = "UUID", value_parser = parse_uuid::<CausationId>)]
    causation_id: Option<CausationId>,
}

/// `--expected`.
#[derive(Clone, Copy, Debug)]
struct Expected(ExpectedVersion);

/// A text that says no expected version.
#[derive(Debug, thiserror::Error)]
#[error("it is `any`, `new`, `exists` or a version such as 3")]
struct ExpectedError;

impl FromStr for Expected {
    type Err = ExpectedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(match text {
            "any" => ExpectedVersion::Any,
            "new" => ExpectedVersion::NEW,
            "exists" => ExpectedVersion::Exists,
            number => Version::new(number.parse().map_err(|_| ExpectedError)?).into(),
        }))
    }
}

/// One `--metadata`.
#[derive(Clone, Debug)]
struct Pair(String, String);

/// A text that is no name with a text.
#[derive(Debug, thiserror::Error)]
#[error("it has the form NAME=TEXT, such as tenant=acme")]
struct PairError;

impl FromStr for Pair {
    type Err = PairError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, text)) if !name.is_empty() => Ok(Self(name.to_owned(), text.to_owned())),
            _ => Err(PairError),
        }
    }
}

fn parse_schema_version(text: &str) -> Result<SchemaVersion, String> {
    let number = text.parse().ok().and_then(SchemaVersion::new);
    number.ok_or_else(|| format!("it is a number from 1 to {}", u32::MAX))
}

/// A payload that can't be taken.
#[derive(Debug, thiserror::Error)]
enum PayloadError {
    /// It can't be read.
    #[error("the payload can't be read from {origin}")]
    Read { origin: String, source: io::Error },
    /// It is larger than a store takes.
    #[error("the payload from {origin} has more than {max} bytes")]
    TooLarge { origin: String, max: usize },
    /// It is not UTF-8, so not JSON.
    #[error("the payload from {origin} is not JSON: byte {offset} is not UTF-8")]
    Encoding { origin: String, offset: usize },
    /// It is not JSON.
    #[error("the payload from {origin} is not JSON: line {line}, column {column}: {reason}")]
    Json {
        origin: String,
        line: usize,
        column: usize,
        reason: String,
    },
}

impl From<PayloadError> for Failure {
    fn from(error: PayloadError) -> Self {
        let (code, hint) = match &error {
            PayloadError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                (ExitCode::NotFound, "name a file that can be read")
            }
            PayloadError::Read { .. } => (ExitCode::Failure, "name a file that can be read"),
            PayloadError::TooLarge { .. } => {
                (ExitCode::Invalid, "keep it elsewhere and store its address")
            }
            PayloadError::Encoding { .. } | PayloadError::Json { .. } => (
                ExitCode::Invalid,
                "correct it, or say what it is with `--content-type`; nothing was stored",
            ),
        };
        Self::new(code, error).with_hint(hint)
    }
}

/// What was stored, as JSON.
#[derive(Serialize)]
struct Stored<'a> {
    stream: &'a StreamId,
    version: u64,
    position: u64,
    cid: String,
    commit_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_at: Option<Timestamp>,
}

impl AppendArgs {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        let payload = read_payload(self.payload.as_deref(), &self.content_type)?;
        let pairs = self.metadata.iter().map(|Pair(name, text)| (name, text));
        let metadata = Metadata::from_pairs(pairs).map_err(|error| {
            Failure::new(ExitCode::Invalid, error).with_hint("give each `--metadata` name once")
        })?;
        let mut event = NewEvent::new(self.event_type, self.content_type, payload)
            .with_schema_version(self.schema_version)
            .with_metadata(metadata);
        event.id = self.event_id;
        event.time = self.time;
        event.correlation_id = self.correlation_id;
        event.causation_id = self.causation_id;
        let append = Append {
            commit_id: self.commit_id,
            ..Append::new().write(self.stream.clone(), self.expected.0, vec![event])
        };
        let store = session.open(StoreMode::Create).await?;
        let appended = store.log().append(&Context::new(), append).await?;
        let Some(head) = appended.head(&self.stream) else {
            let error = "the store acknowledged the commit but named no event of it";
            return Err(Failure::new(ExitCode::Integrity, error));
        };
        let stored = Stored {
            stream: &self.stream,
            version: head.version.get(),
            position: head.position.get(),
            cid: head.cid.to_string(),
            commit_id: appended.commit_id.to_string(),
            stored_at: appended.stored_at,
        };
        // Whoever can't be told would append it again.
        stored
            .show(session.ui)
            .map_err(|failure| match failure.code() {
                ExitCode::Ok => failure,
                _ => failure.with_hint(format!(
                    "the event is stored, as version {} of {}, commit {}; don't append it again",
                    stored.version, stored.stream, stored.commit_id
                )),
            })
    }
}

impl Stored<'_> {
    /// Writes it all the way to the reader.
    fn show(&self, ui: &mut Ui) -> Result<(), Failure> {
        if ui.is_json() {
            ui.json(self)?;
        } else {
            ui.line(format_args!("stream    {}", self.stream))?;
            ui.line(format_args!("version   {}", self.version))?;
            ui.line(format_args!("position  {}", self.position))?;
            ui.line(format_args!("cid       {}", self.cid))?;
            ui.line(format_args!("commit    {}", self.commit_id))?;
        }
        ui.flush()
    }
}

fn read_payload(
    payload: Option<&str>,
    content_type: &ContentType,
) -> Result<Vec<u8>, PayloadError> {
    let (bytes, origin) = match payload {
        None if content_type.is_json() => return Ok(b"{}".to_vec()),
        None => return Ok(Vec::new()),
        Some("-") => {
            let origin = "standard input".to_owned();
            (read_limited(io::stdin().lock(), &origin)?, origin)
        }
        Some(text) => match text.strip_prefix('@') {
            Some(file) => {
                let origin = format!("file {file}");
                let opened = std::fs::File::open(file).map_err(|source| PayloadError::Read {
                    origin: origin.clone(),
                    source,
                })?;
                (read_limited(opened, &origin)?, origin)
            }
            None => (text.as_bytes().to_vec(), "the command line".to_owned()),
        },
    };
    if content_type.is_json() {
        check_json(&bytes, origin)?;
    }
    Ok(bytes)
}

/// Reads to the end, but not more than a store takes.
fn read_limited(reader: impl Read, origin: &str) -> Result<Vec<u8>, PayloadError> {
    let max = Limits::CONTRACT.payload_bytes;
    let mut bytes = Vec::new();
    let limited = reader.take(max as u64 + 1).read_to_end(&mut bytes);
    limited.map_err(|source| PayloadError::Read {
        origin: origin.to_owned(),
        source,
    })?;
    if bytes.len() > max {
        return Err(PayloadError::TooLarge {
            origin: origin.to_owned(),
            max,
        });
    }
    Ok(bytes)
}

fn check_json(bytes: &[u8], origin: String) -> Result<(), PayloadError> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let offset = error.valid_up_to();
            return Err(PayloadError::Encoding { origin, offset });
        }
    };
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map(|_| ())
        .map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let said = error.to_string();
            let place = format!(" at line {line} column {column}");
            PayloadError::Json {
                origin,
                line,
                column,
                reason: said.strip_suffix(&place).unwrap_or(&said).to_owned(),
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_json_is_refused_by_line_and_column() {
        let error = read_payload(Some("{\"total\":\n 1 2}"), &ContentType::JSON).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the payload from the command line is not JSON: line 2, column 4: \
             expected `,` or `}`"
        );
        assert!(read_payload(Some("not json"), &ContentType::BYTES).is_ok());
    }

    #[test]
    fn text_that_is_not_utf_8_is_not_json_even_inside_a_string() {
        let error = check_json(b"\"\xff\"", "file x".to_owned()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the payload from file x is not JSON: byte 1 is not UTF-8"
        );
    }

    #[test]
    fn no_more_is_read_than_a_store_takes() {
        let error = read_limited(io::repeat(b' '), "standard input").unwrap_err();
        assert!(matches!(
            error,
            PayloadError::TooLarge { max: 1_048_576, .. }
        ));
    }

    #[test]
    fn without_a_payload_json_is_an_empty_object() {
        assert_eq!(read_payload(None, &ContentType::JSON).unwrap(), b"{}");
        assert_eq!(read_payload(None, &ContentType::BYTES).unwrap(), b"");
    }
}
