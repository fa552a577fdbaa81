//! Events: plain serde types that know their names and schema versions.
//!
//! An application writes its events as an enum and derives [`DomainEvent`] for it. From then on
//! the Rust names are free to change: what is stored is the event type, the schema version and a
//! JSON payload that holds the fields alone, readable by anyone.

mod decoded;
#[doc(hidden)]
pub mod derive;
mod error;
mod lossless;
mod payload;

pub use cim_domain_derive::DomainEvent;
pub use decoded::{Decoded, DecodedEvents};
pub use error::{DecodeError, EncodeError, UpcastError};

/// Facts that an aggregate's stream can hold.
///
/// Derived with `#[derive(DomainEvent)]`: each variant of an enum is an event type, a struct is
/// one. The event type is the variant's name in `snake_case` unless it is given one; the payload
/// is JSON and holds the variant's fields alone.
///
/// ```
/// use cim_domain::DomainEvent;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
/// #[event(prefix = "order_")]
/// enum OrderEvent {
///     Placed { customer: String, total: u32 },
///     #[event(name = "parcel_handed_over")]
///     Shipped(String),
///     Cancelled,
/// }
///
/// let placed = OrderEvent::Placed { customer: "anna".into(), total: 12 };
/// assert_eq!(placed.event_type(), "order_placed");
/// assert_eq!(placed.encode()?, br#"{"customer":"anna","total":12}"#);
/// assert_eq!(OrderEvent::Shipped("P-1".into()).event_type(), "parcel_handed_over");
/// assert_eq!(OrderEvent::Shipped("P-1".into()).encode()?, br#""P-1""#);
/// assert_eq!(OrderEvent::Cancelled.encode()?, b"{}");
///
/// let read = OrderEvent::decode("order_placed", 1, br#"{"customer":"anna","total":12}"#)?;
/// assert_eq!(read, placed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Schema versions
/// What serde can bridge needs no new version: a new field with `#[serde(default)]`, a field that
/// is no longer read. Any other change of shape gets the next version and an upcast, which lifts
/// payloads of every older version to the new one. Stored events are never rewritten.
///
/// ```
/// use cim_domain::{DomainEvent, UpcastError};
/// use serde::{Deserialize, Serialize};
/// use serde_json::{Value, json};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
/// enum AccountEvent {
///     #[event(version = 2, upcast = lift_deposited)]
///     Deposited { cents: u64 },
/// }
///
/// /// Version 1 counted whole euros.
/// fn lift_deposited(_from: u32, payload: Value) -> Result<Value, UpcastError> {
///     let euros = payload["euros"]
///         .as_u64()
///         .ok_or_else(|| UpcastError::new("`euros` is no whole number"))?;
///     Ok(json!({ "cents": euros * 100 }))
/// }
///
/// let read = AccountEvent::decode("deposited", 1, br#"{"euros":7}"#)?;
/// assert_eq!(read, AccountEvent::Deposited { cents: 700 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What the derive refuses
/// The same name twice:
/// ```compile_fail
/// # use cim_domain::DomainEvent; use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize, DomainEvent)]
/// enum OrderEvent {
///     Placed,
///     #[event(name = "placed")]
///     Ordered,
/// }
/// ```
/// Schema version 0:
/// ```compile_fail
/// # use cim_domain::DomainEvent; use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize, DomainEvent)]
/// enum OrderEvent {
///     #[event(version = 0)]
///     Placed,
/// }
/// ```
/// Borrowed data, because an event outlives the bytes it is read from:
/// ```compile_fail
/// # use cim_domain::DomainEvent; use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize, DomainEvent)]
/// enum OrderEvent<'a> {
///     Placed(&'a str),
/// }
/// ```
/// serde attributes under which a payload would not be the variant's fields alone:
/// ```compile_fail
/// # use cim_domain::DomainEvent; use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize, DomainEvent)]
/// #[serde(tag = "type")]
/// enum OrderEvent {
///     Placed { total: u32 },
/// }
/// ```
/// Types that serde can't write and read:
/// ```compile_fail
/// # use cim_domain::DomainEvent;
/// #[derive(DomainEvent)]
/// enum OrderEvent {
///     Placed,
/// }
/// ```
pub trait DomainEvent: Sized + Send + Sync + 'static {
    /// Every event type that a value can have, with its schema version of today.
    const EVENT_TYPES: &'static [EventTypeInfo];

    /// What kind of fact this is: one of [`EVENT_TYPES`](Self::EVENT_TYPES).
    fn event_type(&self) -> &'static str;

    /// Which shape the payload has that [`encode`](Self::encode) writes, from 1.
    fn schema_version(&self) -> u32;

    /// The payload: JSON that holds the event's fields alone.
    ///
    /// # Errors
    /// When a field can't be written as JSON, such as a map whose keys are no texts, or would be
    /// altered by it: infinity and NaN, and an option that holds nothing in another option.
    fn encode(&self) -> Result<Vec<u8>, EncodeError>;

    /// Reads a stored payload; lifts it first if its schema version is older.
    ///
    /// # Errors
    /// An unknown event type, a schema version that is newer or has no upcast, a payload of
    /// another shape.
    fn decode(event_type: &str, schema_version: u32, payload: &[u8]) -> Result<Self, DecodeError>;
}

/// Writes a value as JSON, unless JSON would alter it.
pub(crate) fn to_lossless_json(value: &impl serde::Serialize) -> serde_json::Result<Vec<u8>> {
    let mut written = Vec::with_capacity(128);
    let mut json = serde_json::Serializer::new(&mut written);
    value.serialize(lossless::Lossless::new(&mut json))?;
    Ok(written)
}

/// An event type and its schema version of today.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventTypeInfo {
    /// The name it is stored under.
    pub name: &'static str,
    /// The version of its payload's shape, from 1.
    pub version: u32,
}
