//! An event's block: what is hashed, chained and kept.
//!
//! A block is one DAG-CBOR map with a fixed set of keys (`docs/format/event-block.md` says each
//! byte). Events are encoded and decoded all the time, so both directions are written for exactly
//! this map: the encoder appends to a buffer of the caller's, the decoder compares expected keys in
//! canonical order and borrows everything else. Tests hold both against the field's general codec.

mod decode;
mod encode;
mod error;
mod fields;
mod metadata;

pub use self::error::{BlockError, BlockErrorKind};
pub use self::metadata::{MetadataIter, MetadataRef, encode_metadata};

use crate::EventCid;

/// Version of the block format that this release writes and reads.
pub const BLOCK_FORMAT_VERSION: u64 = 1;

/// An event's block, borrowed: from the caller's parts to encode it, or from a block's bytes after
/// decoding.
///
/// Ids are the 16 bytes of a UUID in network order.
///
/// ```
/// use cim_ipld::{EventBlock, EventCid, MetadataRef};
///
/// let event = EventBlock {
///     id: [1; 16],
///     event_type: "order_placed",
///     schema_version: 1,
///     stream: "sales.order.0193",
///     version: 1,
///     time: 1_700_000_000_000_000,
///     content_type: "application/json",
///     data: br#"{"total":12}"#,
///     commit: [2; 16],
///     index: 0,
///     count: 1,
///     correlation: None,
///     causation: None,
///     principal: Some("alice"),
///     trace: None,
///     metadata: MetadataRef::EMPTY,
///     previous: None,
/// };
/// event.validate()?;
/// let mut block = Vec::with_capacity(event.encoded_len_upper_bound());
/// event.encode_into(&mut block);
/// let cid = EventCid::of(&block);
///
/// assert_eq!(EventBlock::decode(&block)?, event);
/// # assert!(cid.to_string().starts_with("bafyrei"));
/// # Ok::<(), cim_ipld::BlockError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventBlock<'a> {
    /// The event's id.
    pub id: [u8; 16],
    /// The event's type, such as `order_placed`.
    pub event_type: &'a str,
    /// The version of the event type's schema, from 1.
    pub schema_version: u32,
    /// The stream, written `context.aggregate.id`.
    pub stream: &'a str,
    /// The event's place in its stream, from 1.
    pub version: u64,
    /// When the application says it happened: microseconds since 1970-01-01T00:00:00 UTC, negative
    /// before.
    pub time: i64,
    /// The media type of `data`, such as `application/json`.
    pub content_type: &'a str,
    /// The payload as it is stored: ciphertext where it is encrypted.
    pub data: &'a [u8],
    /// The id of the commit that stored the event.
    pub commit: [u8; 16],
    /// The event's place in its commit, from 0 and below `count`.
    pub index: u32,
    /// How many events the commit has, from 1.
    pub count: u32,
    /// What larger matter the event belongs to.
    pub correlation: Option<[u8; 16]>,
    /// What brought the event about.
    pub causation: Option<[u8; 16]>,
    /// Who caused the event.
    pub principal: Option<&'a str>,
    /// The trace it belongs to, as a W3C `traceparent`.
    pub trace: Option<&'a str>,
    /// The application's own metadata.
    pub metadata: MetadataRef<'a>,
    /// The CID of the event before this one in its stream; `None` for version 1.
    pub previous: Option<EventCid>,
}

impl EventBlock<'_> {
    /// Checks the numbers: schema version, version and count from 1, index below count.
    ///
    /// [`EventBlock::decode`] refuses a block that breaks these rules, so check before encoding
    /// numbers that come from elsewhere.
    ///
    /// # Errors
    /// [`BlockErrorKind::OutOfRange`] or [`BlockErrorKind::IndexNotBelowCount`], with the field.
    pub fn validate(&self) -> Result<(), BlockError> {
        for (field, number) in [
            (&fields::COUNT, u64::from(self.count)),
            (&fields::SCHEMA, u64::from(self.schema_version)),
            (&fields::VERSION, self.version),
        ] {
            if number == 0 {
                let kind = BlockErrorKind::OutOfRange {
                    found: 0,
                    allowed: "1 and above",
                };
                return Err(BlockError::of_value(field.name, kind));
            }
        }
        if self.index >= self.count {
            let kind = BlockErrorKind::IndexNotBelowCount {
                index: self.index,
                count: self.count,
            };
            return Err(BlockError::of_value(fields::INDEX.name, kind));
        }
        Ok(())
    }
}
