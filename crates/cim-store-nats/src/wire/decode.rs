//! From a message back to its event. What can't have been written by this adapter, or was changed
//! since, is damage that names the message, never skipped. Whoever examines the log gets what is
//! there, as long as it can be read at all.

use std::str::FromStr;

use bytes::Bytes;
use bytestring::ByteString;
use cim_store::staging;
use cim_store::{
    CausationId, CommitId, ContentType, CorrelationId, Damage, EventCid, EventId, EventLogError,
    EventType, ExaminedEvent, Metadata, Position, Principal, RecordedEvent, SchemaVersion,
    StreamId, Timestamp, TraceParent, Version,
};

use super::encode::BLOCK;
use super::{header, percent};
use crate::subjects::{self, EventSubject};

/// More than what most events say besides their payload.
const SMALL_BLOCK: usize = 640;

/// A message as it came from a JetStream stream.
#[derive(Clone, Debug)]
pub(crate) struct Arrived<'a, H> {
    pub(crate) subject: &'a str,
    pub(crate) sequence: u64,
    pub(crate) stored_at: Timestamp,
    /// Names and values.
    pub(crate) headers: H,
    pub(crate) payload: Bytes,
}

/// Why a message is not an event.
#[derive(Debug)]
struct Wrong(&'static str);

fn read<T: FromStr>(name: &'static str, value: Option<&str>) -> Result<T, Wrong> {
    value
        .and_then(|value| value.parse().ok())
        .ok_or(Wrong(name))
}

fn optional<T: FromStr>(name: &'static str, value: Option<&str>) -> Result<Option<T>, Wrong> {
    value
        .map(|value| value.parse().map_err(|_| Wrong(name)))
        .transpose()
}

/// A value that is percent-encoded.
fn text(name: &'static str, value: Option<&str>) -> Result<ByteString, Wrong> {
    let decoded = value.and_then(percent::decode).ok_or(Wrong(name))?;
    Ok(decoded.into_owned().into())
}

/// The headers of an event, each as it stands in the message.
#[derive(Default)]
struct Found<'a> {
    spec_version: Option<&'a str>,
    id: Option<&'a str>,
    source: Option<&'a str>,
    subject: Option<&'a str>,
    event_type: Option<&'a str>,
    time: Option<&'a str>,
    time_micros: Option<&'a str>,
    content_type: Option<&'a str>,
    version: Option<&'a str>,
    schema_version: Option<&'a str>,
    commit: Option<&'a str>,
    index: Option<&'a str>,
    count: Option<&'a str>,
    correlation: Option<&'a str>,
    causation: Option<&'a str>,
    principal: Option<&'a str>,
    trace: Option<&'a str>,
    cid: Option<&'a str>,
    previous: Option<&'a str>,
    metadata: Option<&'a str>,
    body: Option<&'a str>,
}

impl<'a> Found<'a> {
    /// Refuses a header that stands twice: whoever reads the other one of them reads another event.
    fn collect(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, Wrong> {
        let mut found = Self::default();
        for (name, value) in headers {
            let place = match name {
                header::SPEC_VERSION => &mut found.spec_version,
                header::ID => &mut found.id,
                header::SOURCE => &mut found.source,
                header::SUBJECT => &mut found.subject,
                header::TYPE => &mut found.event_type,
                header::TIME => &mut found.time,
                header::TIME_MICROS => &mut found.time_micros,
                header::CONTENT_TYPE => &mut found.content_type,
                header::STREAM_VERSION => &mut found.version,
                header::SCHEMA_VERSION => &mut found.schema_version,
                header::COMMIT => &mut found.commit,
                header::COMMIT_INDEX => &mut found.index,
                header::COMMIT_COUNT => &mut found.count,
                header::CORRELATION => &mut found.correlation,
                header::CAUSATION => &mut found.causation,
                header::PRINCIPAL => &mut found.principal,
                header::TRACE => &mut found.trace,
                header::CID => &mut found.cid,
                header::PREVIOUS => &mut found.previous,
                header::METADATA => &mut found.metadata,
                header::BODY => &mut found.body,
                _ => continue, // the server's own, or somebody's addition
            };
            if place.replace(value).is_some() {
                return Err(Wrong("a header that stands there twice"));
            }
        }
        Ok(found)
    }

    fn time(&self) -> Result<Timestamp, Wrong> {
        match (self.time, self.time_micros) {
            (Some(_), None) => read(header::TIME, self.time),
            (None, Some(_)) => {
                read(header::TIME_MICROS, self.time_micros).map(Timestamp::from_micros)
            }
            _ => Err(Wrong(header::TIME)),
        }
    }

    fn metadata(&self) -> Result<Metadata, Wrong> {
        let wrong = || Wrong(header::METADATA);
        let Some(value) = self.metadata else {
            return Ok(Metadata::EMPTY);
        };
        let pairs = percent::decode(value).ok_or_else(wrong)?;
        let pairs: std::collections::BTreeMap<String, String> =
            serde_json::from_str(&pairs).map_err(|_| wrong())?;
        Metadata::from_pairs(&pairs).map_err(|_| wrong())
    }
}

/// The commit that a message belongs to, from its headers.
pub(crate) fn commit_of<'a>(
    mut headers: impl Iterator<Item = (&'a str, &'a str)>,
) -> Option<CommitId> {
    let (_, value) = headers.find(|(name, _)| *name == header::COMMIT)?;
    value.parse().ok()
}

/// Makes an event of a message. `block` is scratch room for the check of its CID.
///
/// # Errors
/// `Integrity`, naming the message and what is wrong with it.
pub(crate) fn decode_event<'a>(
    message: Arrived<'a, impl Iterator<Item = (&'a str, &'a str)>>,
    block: &mut Vec<u8>,
) -> Result<RecordedEvent, EventLogError> {
    let (subject, sequence) = (message.subject, message.sequence);
    let event = decode(message).map_err(|Wrong(what)| {
        EventLogError::integrity("a message of the log is not an event as it was stored")
            .with("position", sequence)
            .with("subject", subject)
            .with("wrong", what)
            .with_hint(
                "somebody else published to the log's subjects, or the message was changed; let \
                 only programs that use this library publish there",
            )
    })?;
    block.clear();
    event.block().encode_into(block);
    if EventCid::of(block) != event.cid {
        return Err(
            EventLogError::integrity("an event's content does not have its CID")
                .with("stream", &event.stream)
                .with("version", event.version)
                .with("position", sequence)
                .with("cid", event.cid),
        );
    }
    Ok(event)
}

/// What a message holds, as it stands there: filed under what its subject says, with the block that
/// its headers and its body make. Nothing is compared with a CID, and what the headers say of stream
/// and version is not compared with the subject.
///
/// # Errors
/// Where it is no event: the damage, which names the message and what is wrong.
pub(crate) fn examine_event<'a>(
    message: Arrived<'a, impl Iterator<Item = (&'a str, &'a str)>>,
) -> Result<ExaminedEvent, Damage> {
    let (subject, sequence) = (message.subject, message.sequence);
    let position = Position::new(sequence);
    let place = subjects::parse_event(subject);
    let stream = place
        .as_ref()
        .and_then(|place| StreamId::parse(place.stream.to_owned()).ok());
    let version = place.as_ref().map(|place| place.version);
    let damage = |what: &str| Damage {
        position: Some(position),
        stream: stream.clone(),
        version: version.filter(|_| stream.is_some()),
        missing: false,
        message: format!(
            "the message at position {sequence} is not an event as it was stored: wrong is {what} \
             (subject {subject})"
        ),
    };
    let (Some(place), Some(filed)) = (&place, &stream) else {
        return Err(damage("the subject"));
    };
    let stored_at = message.stored_at;
    let (cid, block) = block_of(message, place, filed).map_err(|Wrong(what)| damage(what))?;
    Ok(ExaminedEvent {
        position,
        stored_at,
        stream: filed.clone(),
        version: place.version,
        cid,
        block,
    })
}

/// The CID that a message says, and the block that it makes.
fn block_of<'a>(
    message: Arrived<'a, impl Iterator<Item = (&'a str, &'a str)>>,
    place: &EventSubject<'_>,
    filed: &StreamId,
) -> Result<(EventCid, Bytes), Wrong> {
    let found = Found::collect(message.headers)?;
    let stream = match found.is_about(filed) {
        Ok(()) => filed.clone(),
        Err(_) => found.stream()?,
    };
    let version = Version::new(read(header::STREAM_VERSION, found.version)?);
    // Another event than the one that is filed here is handed out, whatever its type: it says itself
    // where it belongs.
    let place = Some(place).filter(|place| stream == *filed && version == place.version);
    let cid: EventCid = read(header::CID, found.cid)?;
    let (sequence, stored_at) = (message.sequence, message.stored_at);
    if found.body == Some(BLOCK) {
        found.is_cloud_event()?;
        let position = Position::new(sequence);
        // One that can't be read is handed out as well: it can't have the CID.
        if let Ok(event) = staging::decode_event(&message.payload, cid, position, stored_at) {
            found.event_type(place)?;
            found.agrees(&event, &stream)?;
        }
        return Ok((cid, message.payload));
    }
    let mut block = Vec::with_capacity(message.payload.len() + SMALL_BLOCK);
    let event = found.event(
        (place, stream, version),
        message.payload,
        (sequence, stored_at),
    )?;
    event.block().encode_into(&mut block);
    Ok((cid, block.into()))
}

fn decode<'a>(
    message: Arrived<'a, impl Iterator<Item = (&'a str, &'a str)>>,
) -> Result<RecordedEvent, Wrong> {
    let place = subjects::parse_event(message.subject).ok_or(Wrong("subject"))?;
    let found = Found::collect(message.headers)?;
    let stream = StreamId::parse(place.stream.to_owned()).map_err(|_| Wrong("subject"))?;
    found.is_about(&stream)?;
    let version: u64 = read(header::STREAM_VERSION, found.version)?;
    if version != place.version.get() {
        return Err(Wrong(header::STREAM_VERSION));
    }
    found.event(
        (Some(&place), stream, place.version),
        message.payload,
        (message.sequence, message.stored_at),
    )
}

impl Found<'_> {
    /// Checks that the headers are about this stream.
    fn is_about(&self, stream: &StreamId) -> Result<(), Wrong> {
        if self.aggregate() != Some((stream.context(), stream.aggregate())) {
            return Err(Wrong(header::SOURCE));
        }
        if self.subject != Some(stream.id()) {
            return Err(Wrong(header::SUBJECT));
        }
        Ok(())
    }

    fn aggregate(&self) -> Option<(&str, &str)> {
        self.source?.strip_prefix('/')?.split_once('/')
    }

    /// The stream that the headers are about.
    fn stream(&self) -> Result<StreamId, Wrong> {
        let (context, aggregate) = self.aggregate().ok_or(Wrong(header::SOURCE))?;
        let id = self.subject.ok_or(Wrong(header::SUBJECT))?;
        let name = [context, aggregate, id].join(".");
        StreamId::parse(name).map_err(|_| Wrong(header::SUBJECT))
    }

    fn is_cloud_event(&self) -> Result<(), Wrong> {
        if self.spec_version == Some("1.0") {
            return Ok(());
        }
        Err(Wrong(header::SPEC_VERSION))
    }

    /// The type, which the subject says, too.
    fn event_type(&self, place: Option<&EventSubject<'_>>) -> Result<EventType, Wrong> {
        let wrong = || Wrong(header::TYPE);
        let event_type =
            EventType::new(text(header::TYPE, self.event_type)?).map_err(|_| wrong())?;
        let is_type =
            |place: &EventSubject<'_>| subjects::is_type(place.event_type, event_type.as_str());
        if place.is_none_or(is_type) {
            Ok(event_type)
        } else {
            Err(wrong())
        }
    }

    /// The event of this stream and version that the headers and the body make.
    fn event(
        &self,
        (place, stream, version): (Option<&EventSubject<'_>>, StreamId, Version),
        payload: Bytes,
        (sequence, stored_at): (u64, Timestamp),
    ) -> Result<RecordedEvent, Wrong> {
        self.is_cloud_event()?;
        let event_type = self.event_type(place)?;
        if let Some(body) = self.body {
            return match body {
                BLOCK => self.event_of_block(payload, sequence, stored_at, &stream),
                _ => Err(Wrong(header::BODY)),
            };
        }
        let commit_index: u32 = read(header::COMMIT_INDEX, self.index)?;
        let commit_count: u32 = read(header::COMMIT_COUNT, self.count)?;
        if commit_index >= commit_count {
            return Err(Wrong(header::COMMIT_INDEX));
        }
        let schema_version: u32 = read(header::SCHEMA_VERSION, self.schema_version)?;
        let principal = self.principal.map(|value| {
            Principal::new(text(header::PRINCIPAL, Some(value))?)
                .map_err(|_| Wrong(header::PRINCIPAL))
        });
        let trace = self.trace.map(|value| {
            TraceParent::new(text(header::TRACE, Some(value))?).map_err(|_| Wrong(header::TRACE))
        });
        Ok(RecordedEvent {
            id: read::<EventId>(header::ID, self.id)?,
            stream,
            version,
            position: Position::new(sequence),
            event_type,
            schema_version: SchemaVersion::new(schema_version)
                .ok_or(Wrong(header::SCHEMA_VERSION))?,
            time: self.time()?,
            stored_at,
            content_type: match self.content_type {
                Some("application/json") => ContentType::JSON,
                Some(other) => {
                    ContentType::new(other.to_owned()).map_err(|_| Wrong(header::CONTENT_TYPE))?
                }
                None => return Err(Wrong(header::CONTENT_TYPE)),
            },
            payload,
            metadata: self.metadata()?,
            commit_id: read(header::COMMIT, self.commit)?,
            commit_index,
            commit_count,
            correlation_id: optional::<CorrelationId>(header::CORRELATION, self.correlation)?,
            causation_id: optional::<CausationId>(header::CAUSATION, self.causation)?,
            principal: principal.transpose()?,
            trace: trace.transpose()?,
            cid: read(header::CID, self.cid)?,
            previous: optional::<EventCid>(header::PREVIOUS, self.previous)?,
        })
    }

    /// An event whose body is its block. What the headers say of it must be what the block says.
    fn event_of_block(
        &self,
        block: Bytes,
        sequence: u64,
        stored_at: Timestamp,
        stream: &StreamId,
    ) -> Result<RecordedEvent, Wrong> {
        let cid: EventCid = read(header::CID, self.cid)?;
        let position = Position::new(sequence);
        let event = staging::decode_event(&block, cid, position, stored_at)
            .map_err(|_| Wrong("the block in its body"))?;
        self.agrees(&event, stream)?;
        Ok(event)
    }

    /// Checks that the headers say what the event's block says.
    fn agrees(&self, event: &RecordedEvent, stream: &StreamId) -> Result<(), Wrong> {
        let is = |said: Option<&str>, value: &dyn ToString| said == Some(&value.to_string());
        let same = |said: Option<&str>, value: Option<String>| said == value.as_deref();
        let text = |said: Option<&str>, value: Option<&str>| {
            said.and_then(percent::decode).as_deref() == value
        };
        let said: [(&'static str, bool); 14] = [
            ("subject", event.stream == *stream),
            (header::STREAM_VERSION, is(self.version, &event.version)),
            (header::ID, is(self.id, &event.id)),
            (
                header::TYPE,
                text(self.event_type, Some(event.event_type.as_str())),
            ),
            (header::COMMIT, is(self.commit, &event.commit_id)),
            (header::COMMIT_INDEX, is(self.index, &event.commit_index)),
            (header::COMMIT_COUNT, is(self.count, &event.commit_count)),
            (
                header::SCHEMA_VERSION,
                is(self.schema_version, &event.schema_version),
            ),
            (header::TIME, self.time()? == event.time),
            (
                header::PREVIOUS,
                same(self.previous, event.previous.map(|cid| cid.to_string())),
            ),
            (
                header::CORRELATION,
                same(
                    self.correlation,
                    event.correlation_id.map(|id| id.to_string()),
                ),
            ),
            (
                header::CAUSATION,
                same(self.causation, event.causation_id.map(|id| id.to_string())),
            ),
            (
                header::PRINCIPAL,
                text(
                    self.principal,
                    event.principal.as_ref().map(Principal::as_str),
                ),
            ),
            (
                header::TRACE,
                text(self.trace, event.trace.as_ref().map(TraceParent::as_str)),
            ),
        ];
        match said.into_iter().find(|(_, same)| !same) {
            Some((name, _)) => Err(Wrong(name)),
            None => Ok(()),
        }
    }
}
