//! What every adapter does with an append before it stores it, and with a block it has read:
//! written once, so that all adapters store the same bytes.
//!
//! ```
//! use bytes::Bytes;
//! use cim_store::staging::{
//!     ContentDigest, Placement, check_append, check_repetition, complete, decode_event,
//!     decode_event_in, encode_event,
//! };
//! use cim_store::*;
//!
//! # let (clock, ids) = (ManualClock::at(Timestamp::EPOCH), SequentialIds::new(1));
//! # let ctx = Context::new();
//! let stream = StreamId::new("sales", "order", "7")?;
//! let placed = NewEvent::json("order_placed", &12)?;
//! let mut append = Append::new().write(stream.clone(), ExpectedVersion::NEW, vec![placed]);
//!
//! // Before anything is stored: what can't be, and what the caller left open.
//! check_append(&append, &Limits::CONTRACT)?;
//! let commit_id = complete(&mut append, &ctx, &clock, &ids);
//!
//! // Each event's block.
//! let version = Version::new(1);
//! let place = Placement { stream: &stream, version, previous: None, commit_id, index: 0, count: 1 };
//! let mut blocks = Vec::new();
//! let cid = encode_event(&append.writes[0].events[0], &place, &ctx, &mut blocks);
//!
//! // And back, when it is read: alone, or as a part of more that was read at once.
//! let (blocks, position) = (Bytes::from(blocks), Position::new(1));
//! let event = decode_event(&blocks, cid, position, clock.now())?;
//! assert_eq!(event, decode_event_in(&blocks, &blocks[..], cid, position, clock.now())?);
//! assert!(event.has_its_cid());
//!
//! // The same commit id again: what was stored under it tells a repetition from a mistake.
//! let kept = *ContentDigest::of_recorded([&event]).as_bytes();
//! let stored = ContentDigest::from_bytes(kept);
//! assert_eq!(stored, ContentDigest::of_append(&append));
//! check_repetition(&append, commit_id, stored)?;
//! append.writes[0].events[0].payload = "13".into();
//! assert!(check_repetition(&append, commit_id, stored).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use bytes::Bytes;
use bytestring::ByteString;
use cim_ipld::{BlockError, EventBlock, EventCid, MetadataRef};
use sha2::{Digest, Sha256};

use crate::event::write_event_subject;
use crate::limits::json_nesting;
use crate::{
    Append, BucketError, Clock, CommitId, ContentType, Context, EventId, EventLogError, EventType,
    IdGenerator, Key, LimitName, Limits, Metadata, NewEvent, Position, Principal, RecordedEvent,
    SchemaVersion, StreamId, Timestamp, TraceParent, Version,
};

/// Checks an append against the limits and for contradictions, before anything is looked up or
/// sent.
///
/// # Errors
/// `TooLarge` with the limit; `Invalid` where a stream is named twice.
pub fn check_append(append: &Append, limits: &Limits) -> Result<(), EventLogError> {
    let too_large = |limit, size, max| Err(EventLogError::too_large(limit, size, max));
    let events = append.event_count();
    if events > limits.commit_events {
        return too_large(LimitName::CommitEvents, events, limits.commit_events);
    }
    let streams = append.writes.len() + append.checks.len();
    if streams > limits.commit_streams {
        return too_large(LimitName::CommitStreams, streams, limits.commit_streams);
    }
    check_streams_differ(append)?;
    let mut bytes = 0_usize;
    for write in &append.writes {
        for event in &write.events {
            check_event(&write.stream, event, limits)?;
            bytes += event.payload.len() + event.metadata.encoded_len();
        }
    }
    if bytes > limits.commit_bytes {
        return too_large(LimitName::CommitBytes, bytes, limits.commit_bytes);
    }
    Ok(())
}

fn check_streams_differ(append: &Append) -> Result<(), EventLogError> {
    let twice = |stream: &StreamId| {
        Err(EventLogError::invalid("a commit names a stream twice")
            .with("stream", stream)
            .with_hint(
                "put all events of a stream into one write, and don't check what is written",
            ))
    };
    let streams = append.writes.len() + append.checks.len();
    if streams <= 8 {
        // The usual few are compared without allocating.
        for (index, (stream, _)) in append.expectations().enumerate() {
            if append
                .expectations()
                .take(index)
                .any(|(other, _)| other == stream)
            {
                return twice(stream);
            }
        }
        return Ok(());
    }
    let mut seen = std::collections::HashSet::with_capacity(streams);
    match append
        .expectations()
        .find(|(stream, _)| !seen.insert(*stream))
    {
        Some((stream, _)) => twice(stream),
        None => Ok(()),
    }
}

fn check_event(stream: &StreamId, event: &NewEvent, limits: &Limits) -> Result<(), EventLogError> {
    let too_large = |limit, size, max| {
        Err(EventLogError::too_large(limit, size, max)
            .with("stream", stream)
            .with("type", &event.event_type))
    };
    if event.payload.len() > limits.payload_bytes {
        return too_large(
            LimitName::PayloadBytes,
            event.payload.len(),
            limits.payload_bytes,
        );
    }
    let metadata = event.metadata.encoded_len();
    if metadata > limits.metadata_bytes {
        return too_large(LimitName::MetadataBytes, metadata, limits.metadata_bytes);
    }
    // Three letters stand for every byte that is escaped, so most subjects need no exact count.
    let longest = "cim.events...".len()
        + stream.as_str().len()
        + event.event_type.as_str().len() * 3
        + LONGEST_VERSION;
    if longest > limits.subject_bytes {
        let mut subject = String::new();
        write_event_subject(&mut subject, stream, &event.event_type, Version::MAX);
        if subject.len() > limits.subject_bytes {
            return too_large(LimitName::SubjectBytes, subject.len(), limits.subject_bytes);
        }
    }
    if event.content_type.is_json() {
        let nesting = json_nesting(&event.payload, limits.nesting);
        if nesting > limits.nesting {
            return too_large(LimitName::Nesting, nesting, limits.nesting);
        }
    }
    Ok(())
}

/// Digits of the largest version.
const LONGEST_VERSION: usize = 20;

/// Gives the append and each of its events what they lack: a commit id, event ids, times. After
/// this, repeating the append repeats the very same events.
pub fn complete(
    append: &mut Append,
    ctx: &Context,
    clock: &dyn Clock,
    ids: &dyn IdGenerator,
) -> CommitId {
    let commit_id = append.commit_id.unwrap_or_else(|| {
        append.fresh = true;
        CommitId::from_uuid(ids.next_uuid())
    });
    append.commit_id = Some(commit_id);
    let mut now = None;
    for event in append.writes.iter_mut().flat_map(|write| &mut write.events) {
        event
            .id
            .get_or_insert_with(|| EventId::from_uuid(ids.next_uuid()));
        event
            .time
            .get_or_insert_with(|| *now.get_or_insert_with(|| clock.now()));
        event.correlation_id = event.correlation_id.or(ctx.correlation_id());
        event.causation_id = event.causation_id.or(ctx.causation_id());
    }
    commit_id
}

/// Where an event will stand: what the store decides about it.
#[derive(Clone, Copy, Debug)]
pub struct Placement<'a> {
    /// Its stream.
    pub stream: &'a StreamId,
    /// Its version there.
    pub version: Version,
    /// The CID of the event before it there.
    pub previous: Option<EventCid>,
    /// The commit.
    pub commit_id: CommitId,
    /// Its place in the commit, from 0.
    pub index: u32,
    /// How many events the commit has.
    pub count: u32,
}

/// Appends the event's canonical block to `buffer` and returns its CID. The event must have been
/// [completed](complete); what it still lacks is taken as zero.
pub fn encode_event(
    event: &NewEvent,
    place: &Placement<'_>,
    ctx: &Context,
    buffer: &mut Vec<u8>,
) -> EventCid {
    let start = buffer.len();
    let block = EventBlock {
        id: event.id.map_or([0; 16], |id| *id.as_bytes()),
        event_type: event.event_type.as_str(),
        schema_version: event.schema_version.get(),
        stream: place.stream.as_str(),
        version: place.version.get(),
        time: event.time.unwrap_or_default().as_micros(),
        content_type: event.content_type.as_str(),
        data: &event.payload,
        commit: *place.commit_id.as_bytes(),
        index: place.index,
        count: place.count,
        correlation: event.correlation_id.map(|id| *id.as_bytes()),
        causation: event.causation_id.map(|id| *id.as_bytes()),
        principal: ctx.principal().map(Principal::as_str),
        trace: ctx.trace().map(TraceParent::as_str),
        metadata: event.metadata.as_ref(),
        previous: place.previous,
    };
    block.encode_into(buffer);
    EventCid::of(&buffer[start..])
}

/// A block that was read but can't be an event of this store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is not a canonical event block.
    #[error("the event's block is not canonical")]
    Block(#[from] BlockError),
    /// A field has a value that no store would have taken.
    #[error("the event's {field} has a value that can't have been stored")]
    Field {
        /// Which field.
        field: &'static str,
    },
}

/// Makes an event of the block that `block` holds. All its parts share `block`'s memory.
///
/// # Errors
/// When the block is not canonical, or holds what can't have been stored.
pub fn decode_event(
    block: &Bytes,
    cid: EventCid,
    position: Position,
    stored_at: Timestamp,
) -> Result<RecordedEvent, DecodeError> {
    decode_event_in(block, block, cid, position, stored_at)
}

/// Makes an event of a block that is a part of `owner`, whose memory all its parts share.
///
/// # Errors
/// When the block is not canonical, or holds what can't have been stored.
///
/// # Panics
/// When `block` is not a part of `owner`.
#[inline]
pub fn decode_event_in(
    owner: &Bytes,
    block: &[u8],
    cid: EventCid,
    position: Position,
    stored_at: Timestamp,
) -> Result<RecordedEvent, DecodeError> {
    let parts = EventBlock::decode(block)?;
    let refused = |field| DecodeError::Field { field };
    let text = |text: &str| -> Result<ByteString, DecodeError> {
        ByteString::try_from(owner.slice_ref(text.as_bytes())).map_err(|_| refused("text"))
    };
    let content_type = match parts.content_type {
        "application/json" => ContentType::JSON,
        "application/cbor" => ContentType::CBOR,
        other => ContentType::new(text(other)?).map_err(|_| refused("datatype"))?,
    };
    let principal = parts
        .principal
        .map(|principal| Principal::new(text(principal)?).map_err(|_| refused("principal")));
    let trace = parts
        .trace
        .map(|trace| TraceParent::new(text(trace)?).map_err(|_| refused("trace")));
    Ok(RecordedEvent {
        id: EventId::from_bytes(parts.id),
        stream: StreamId::parse(text(parts.stream)?).map_err(|_| refused("stream"))?,
        version: Version::new(parts.version),
        position,
        event_type: EventType::new(text(parts.event_type)?).map_err(|_| refused("type"))?,
        schema_version: SchemaVersion::new(parts.schema_version)
            .ok_or_else(|| refused("schema"))?,
        time: Timestamp::from_micros(parts.time),
        stored_at,
        content_type,
        payload: owner.slice_ref(parts.data),
        metadata: shared_metadata(owner, parts.metadata),
        commit_id: CommitId::from_bytes(parts.commit),
        commit_index: parts.index,
        commit_count: parts.count,
        correlation_id: parts.correlation.map(crate::CorrelationId::from_bytes),
        causation_id: parts.causation.map(crate::CausationId::from_bytes),
        principal: principal.transpose()?,
        trace: trace.transpose()?,
        cid,
        previous: parts.previous,
    })
}

fn shared_metadata(owner: &Bytes, metadata: MetadataRef<'_>) -> Metadata {
    if metadata.is_empty() {
        return Metadata::EMPTY;
    }
    Metadata::from_encoded(owner.slice_ref(metadata.as_bytes()))
}

/// What a commit says, without what the store decides about it: to tell a repetition of an append
/// from another one under the same commit id. Ids
/// and times of events are left out: the store may have filled them in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentDigest([u8; 32]);

impl ContentDigest {
    /// Of an append.
    pub fn of_append(append: &Append) -> Self {
        let mut digest = Sha256::new();
        for write in &append.writes {
            for event in &write.events {
                let parts = (&event.event_type, event.schema_version, &event.content_type);
                add(
                    &mut digest,
                    &write.stream,
                    parts,
                    &event.metadata,
                    &event.payload,
                );
            }
        }
        Self(digest.finalize().into())
    }

    /// Of the events of a commit that was stored, in their order.
    pub fn of_recorded<'a>(events: impl IntoIterator<Item = &'a RecordedEvent>) -> Self {
        let mut digest = Sha256::new();
        for event in events {
            let parts = (&event.event_type, event.schema_version, &event.content_type);
            add(
                &mut digest,
                &event.stream,
                parts,
                &event.metadata,
                &event.payload,
            );
        }
        Self(digest.finalize().into())
    }

    /// A digest that was kept.
    pub const fn from_bytes(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest, to be kept.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn add(
    digest: &mut Sha256,
    stream: &StreamId,
    (event_type, schema, content_type): (&EventType, SchemaVersion, &ContentType),
    metadata: &Metadata,
    payload: &[u8],
) {
    let texts = [stream.as_str(), event_type.as_str(), content_type.as_str()].map(str::as_bytes);
    for part in texts
        .into_iter()
        .chain([metadata.as_ref().as_bytes(), payload])
    {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.update(schema.get().to_be_bytes());
}

/// Checks that an append under a commit id that is stored already is a repetition of it: the same
/// events for the same streams, in the same order.
///
/// # Errors
/// `Invalid` where it is another one: acknowledging it would lose its events.
pub fn check_repetition(
    append: &Append,
    commit_id: CommitId,
    stored: ContentDigest,
) -> Result<(), EventLogError> {
    if ContentDigest::of_append(append) == stored {
        return Ok(());
    }
    Err(
        EventLogError::invalid("the commit id was used before for other events")
            .with("commit", commit_id)
            .with_hint("take a fresh commit id for every new decision"),
    )
}

/// Checks the size of a bucket's value.
///
/// ```
/// use cim_store::staging::check_value;
/// use cim_store::{Key, Limits};
///
/// let (key, limits) = (Key::new("lamp")?, Limits::CONTRACT);
/// check_value(&key, b"300", &limits)?;
/// assert!(check_value(&key, &vec![0; limits.payload_bytes + 1], &limits).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// `TooLarge`.
pub fn check_value(key: &Key, value: &[u8], limits: &Limits) -> Result<(), BucketError> {
    if value.len() <= limits.payload_bytes {
        return Ok(());
    }
    Err(
        BucketError::too_large(LimitName::PayloadBytes, value.len(), limits.payload_bytes)
            .with("key", key),
    )
}
