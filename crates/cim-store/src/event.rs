//! Events: as an application hands them over, and as the store gives them back.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use bytestring::ByteString;
use cim_ipld::{EventBlock, EventCid};
use cim_subject::token::encode_token;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{
    CausationId, CommitId, CorrelationId, EventId, Metadata, Position, Principal, StreamId,
    Subject, Timestamp, TraceParent, Version,
};

/// What kind of fact an event is: `order_placed`.
///
/// 1 to [`EventType::MAX_BYTES`] bytes without control characters. Lower case with underscores is
/// the custom; other characters are possible and are escaped in the event's subject.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(ByteString);

/// A text that can't be the type of an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` can't be the type of an event; it has 1 to {max} bytes and no control characters", max = EventType::MAX_BYTES)]
pub struct EventTypeError {
    /// What was given, shortened to 100 characters.
    pub text: String,
}

impl EventType {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Takes a name.
    ///
    /// # Errors
    /// When it is empty, too long or has control characters.
    pub fn new(name: impl Into<ByteString>) -> Result<Self, EventTypeError> {
        let name = name.into();
        if name.is_empty() || name.len() > Self::MAX_BYTES || crate::limits::has_control(&name) {
            return Err(EventTypeError {
                text: name.chars().take(100).collect(),
            });
        }
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventType {
    type Err = EventTypeError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventType({self})")
    }
}

/// Which shape the payloads of an event type have: 1, 2, 3 … A new number says that older
/// payloads need an upcast.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchemaVersion(std::num::NonZeroU32);

impl SchemaVersion {
    /// The first shape.
    pub const FIRST: Self = Self(std::num::NonZeroU32::MIN);

    /// The number, unless it is 0.
    pub const fn new(number: u32) -> Option<Self> {
        match std::num::NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl Default for SchemaVersion {
    fn default() -> Self {
        Self::FIRST
    }
}

impl fmt::Display for SchemaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a payload is encoded: a media type such as `application/json`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentType(ByteString);

/// A text that can't be a content type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a content type such as application/json of at most {max} bytes", max = ContentType::MAX_BYTES)]
pub struct ContentTypeError {
    /// What was given, shortened to 100 characters.
    pub text: String,
}

impl ContentType {
    /// The longest one, in bytes.
    pub const MAX_BYTES: usize = 128;
    /// `application/json`, the default.
    pub const JSON: Self = Self(ByteString::from_static("application/json"));
    /// `application/cbor`.
    pub const CBOR: Self = Self(ByteString::from_static("application/cbor"));
    /// `application/octet-stream`: bytes of which nothing is known.
    pub const BYTES: Self = Self(ByteString::from_static("application/octet-stream"));

    /// Takes a media type: printable ASCII with a `/` in it.
    ///
    /// # Errors
    /// For any other text, and for a longer one.
    pub fn new(text: impl Into<ByteString>) -> Result<Self, ContentTypeError> {
        let text = text.into();
        let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if !printable || !text.contains('/') || text.len() > Self::MAX_BYTES {
            return Err(ContentTypeError {
                text: text.chars().take(100).collect(),
            });
        }
        Ok(Self(text))
    }

    /// The media type.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether payloads are JSON: `application/json`, or a type that ends in `+json`.
    ///
    /// ```
    /// use cim_store::ContentType;
    ///
    /// assert!(ContentType::new("application/json; charset=utf-8")?.is_json());
    /// assert!(ContentType::new("application/ld+json")?.is_json());
    /// assert!(!ContentType::CBOR.is_json());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_json(&self) -> bool {
        let essence = self.0.split(';').next().unwrap_or_default().trim_end();
        essence.eq_ignore_ascii_case("application/json") || essence.ends_with("+json")
    }
}

impl Default for ContentType {
    fn default() -> Self {
        Self::JSON
    }
}

impl FromStr for ContentType {
    type Err = ContentTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentType({self})")
    }
}

/// An event that is yet to be stored.
///
/// What is `None` is filled in by the store before its first attempt: a fresh id, the time from
/// its clock, correlation and causation from the [`Context`](crate::Context).
///
/// ```
/// use cim_store::{CausationId, EventId, Metadata, NewEvent, SchemaVersion};
///
/// // An event that another system told of, under the ids that it has there.
/// # let (message, command) = ([1; 16], [2; 16]);
/// let placed = NewEvent::json("order_placed", &serde_json::json!({ "total": 12 }))?
///     .with_id(EventId::from_bytes(message))
///     .with_time("2026-11-20T10:15:00Z".parse()?)
///     .with_schema_version(SchemaVersion::new(2).ok_or("versions begin with 1")?)
///     .with_causation_id(CausationId::from_bytes(command))
///     .with_metadata(Metadata::from_pairs([("shop", "berlin")])?);
/// assert_eq!(&placed.payload[..], br#"{"total":12}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Its id.
    pub id: Option<EventId>,
    /// What kind of fact it is.
    pub event_type: EventType,
    /// Which shape its payload has.
    pub schema_version: SchemaVersion,
    /// When it happened, as the application says.
    pub time: Option<Timestamp>,
    /// How its payload is encoded.
    pub content_type: ContentType,
    /// What happened, encoded.
    pub payload: Bytes,
    /// What the application says beside it.
    pub metadata: Metadata,
    /// The conversation it belongs to.
    pub correlation_id: Option<CorrelationId>,
    /// What caused it.
    pub causation_id: Option<CausationId>,
}

impl NewEvent {
    /// An event with an encoded payload.
    pub fn new(
        event_type: EventType,
        content_type: ContentType,
        payload: impl Into<Bytes>,
    ) -> Self {
        Self {
            id: None,
            event_type,
            schema_version: SchemaVersion::FIRST,
            time: None,
            content_type,
            payload: payload.into(),
            metadata: Metadata::EMPTY,
            correlation_id: None,
            causation_id: None,
        }
    }

    /// An event whose payload is encoded as JSON here.
    ///
    /// # Errors
    /// When the name can't be an event type, or the payload can't be written as JSON.
    pub fn json(
        event_type: impl Into<ByteString>,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<Self, NewEventError> {
        let event_type = EventType::new(event_type)?;
        let payload = serde_json::to_vec(payload)?;
        Ok(Self::new(event_type, ContentType::JSON, payload))
    }

    /// With this id instead of a fresh one.
    #[must_use]
    pub fn with_id(mut self, id: EventId) -> Self {
        self.id = Some(id);
        self
    }

    /// With the time at which it happened.
    #[must_use]
    pub fn with_time(mut self, time: Timestamp) -> Self {
        self.time = Some(time);
        self
    }

    /// With the version of its payload's shape.
    #[must_use]
    pub fn with_schema_version(mut self, version: SchemaVersion) -> Self {
        self.schema_version = version;
        self
    }

    /// With metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// With the conversation it belongs to, instead of the context's.
    #[must_use]
    pub fn with_correlation_id(mut self, id: CorrelationId) -> Self {
        self.correlation_id = Some(id);
        self
    }

    /// With what caused it, instead of the context's.
    #[must_use]
    pub fn with_causation_id(mut self, id: CausationId) -> Self {
        self.causation_id = Some(id);
        self
    }
}

/// An event that can't be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NewEventError {
    /// Its type has no valid name.
    #[error("the event's type has no valid name")]
    EventType(#[from] EventTypeError),
    /// Its payload can't be written as JSON.
    #[error("the event's payload can't be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// An event as the store holds it.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_store::{memory::MemoryStore, *};
/// # let (store, ctx) = (MemoryStore::new(), Context::new());
/// # let log = store.log();
/// # let order = StreamId::new("sales", "order", "7")?;
/// # let placed = NewEvent::json("order_placed", &12)?;
/// # log.append_to(&ctx, &order, ExpectedVersion::NEW, vec![placed.clone()]).await?;
/// let mut event = log.read_all(&ctx, &order).await?.remove(0);
/// assert_eq!(event.json::<u32>()?, 12);
///
/// // Its CID is the hash of its block, so nothing of it can be altered unnoticed.
/// let mut block = Vec::new();
/// event.block().encode_into(&mut block);
/// assert_eq!(EventCid::of(&block), event.cid);
/// assert!(event.has_its_cid());
/// event.payload = "13".into();
/// assert!(!event.has_its_cid());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Its id.
    pub id: EventId,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Its place in the stream, from 1.
    pub version: Version,
    /// Its place in the whole log. Not part of the CID.
    pub position: Position,
    /// What kind of fact it is.
    pub event_type: EventType,
    /// Which shape its payload has.
    pub schema_version: SchemaVersion,
    /// When it happened, as the application said.
    pub time: Timestamp,
    /// When the store took it. Never decreases along the log. Not part of the CID.
    pub stored_at: Timestamp,
    /// How its payload is encoded.
    pub content_type: ContentType,
    /// What happened, encoded.
    pub payload: Bytes,
    /// What the application said beside it.
    pub metadata: Metadata,
    /// The commit it was stored with.
    pub commit_id: CommitId,
    /// Its place in the commit, from 0.
    pub commit_index: u32,
    /// How many events the commit has.
    pub commit_count: u32,
    /// The conversation it belongs to.
    pub correlation_id: Option<CorrelationId>,
    /// What caused it.
    pub causation_id: Option<CausationId>,
    /// On whose behalf it was stored.
    pub principal: Option<Principal>,
    /// The trace it was stored in.
    pub trace: Option<TraceParent>,
    /// The address of its block's content.
    pub cid: EventCid,
    /// The address of the event before it in its stream; `None` at version 1.
    pub previous: Option<EventCid>,
}

impl RecordedEvent {
    /// Its subject: `cim.events.{context}.{aggregate}.{id}.{event}.{version}`.
    ///
    /// # Errors
    /// Never for an event that a store gave back: the limits were checked when it was taken.
    pub fn subject(&self) -> Result<Subject, cim_subject::SubjectError> {
        let mut subject = String::new();
        write_event_subject(&mut subject, &self.stream, &self.event_type, self.version);
        Subject::new(subject)
    }

    /// The payload, read as JSON.
    ///
    /// # Errors
    /// When it is not JSON of that shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.payload)
    }

    /// Its block, whose canonical encoding has the CID.
    pub fn block(&self) -> EventBlock<'_> {
        EventBlock {
            id: *self.id.as_bytes(),
            event_type: self.event_type.as_str(),
            schema_version: self.schema_version.get(),
            stream: self.stream.as_str(),
            version: self.version.get(),
            time: self.time.as_micros(),
            content_type: self.content_type.as_str(),
            data: &self.payload,
            commit: *self.commit_id.as_bytes(),
            index: self.commit_index,
            count: self.commit_count,
            correlation: self.correlation_id.as_ref().map(|id| *id.as_bytes()),
            causation: self.causation_id.as_ref().map(|id| *id.as_bytes()),
            principal: self.principal.as_ref().map(Principal::as_str),
            trace: self.trace.as_ref().map(TraceParent::as_str),
            metadata: self.metadata.as_ref(),
            previous: self.previous,
        }
    }

    /// Computes the CID from the content and compares it with [`cid`](Self::cid).
    pub fn has_its_cid(&self) -> bool {
        let mut block = Vec::new();
        self.block().encode_into(&mut block);
        EventCid::of(&block) == self.cid
    }
}

/// Appends the subject of an event to `text`: `cim.events.{context}.{aggregate}.{id}.{event}.{version}`.
pub(crate) fn write_event_subject(
    text: &mut String,
    stream: &StreamId,
    event_type: &EventType,
    version: Version,
) {
    use fmt::Write as _;
    text.push_str("cim.events.");
    text.push_str(stream.as_str());
    text.push('.');
    // A type is never empty, so it always has an encoding.
    text.push_str(&encode_token(event_type.as_str()).unwrap_or_default());
    // Writing to a String can't fail.
    let _ = write!(text, ".{version}");
}
