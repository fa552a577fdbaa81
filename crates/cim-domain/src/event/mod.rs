//! Events: plain serde types that know their names and schema versions.
//!
//! An application writes its events as an enum and derives [`DomainEvent`] for it. From then on
//! the Rust names are free to change: what is stored is the event type, the schema version and a
//! payload that holds the fields alone, as JSON that anyone can read or in another
//! [codec](codec::Codec). What was stored by earlier programs is lifted to today's shapes as it is
//! read; the guide `docs/guide/schema_evolution.md` says how.

pub mod codec;
mod decoded;
#[doc(hidden)]
pub mod derive;
mod dynamic;
mod encoded;
mod error;
mod lift;
mod lossless;
mod payload;
mod upcast;
mod versions;

pub use cim_domain_derive::DomainEvent;
pub use codec::{Cbor, Codec, CodecError, Json};
pub use decoded::{Decoded, DecodedEvents};
pub use encoded::Encoded;
pub use error::{DecodeError, EncodeError, UpcastError};
pub use upcast::PastEvent;
pub use versions::{EventVersion, SplitType};

use serde::{Deserializer, Serialize, Serializer};

/// Facts that an aggregate's stream can hold.
///
/// Derived with `#[derive(DomainEvent)]`: each variant of an enum is an event type, a struct is
/// one. The event type is the variant's name in `snake_case` unless it is given one; the payload
/// is JSON and holds the variant's fields alone.
///
/// ```
/// use cim_domain::DomainEvent;
/// use cim_domain::event::{Decoded, Encoded};
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
/// assert_eq!((placed.event_type(), placed.schema_version()), ("order_placed", 1));
/// assert_eq!(placed.encode()?, br#"{"customer":"anna","total":12}"#);
/// assert_eq!(OrderEvent::Shipped("P-1".into()).event_type(), "parcel_handed_over");
/// assert_eq!(OrderEvent::Shipped("P-1".into()).encode()?, br#""P-1""#);
/// assert_eq!(OrderEvent::Cancelled.encode()?, b"{}");
///
/// let stored = Encoded::json("order_placed", 1, br#"{"customer":"anna","total":12}"#);
/// assert_eq!(OrderEvent::decode(stored)?, Decoded::One(placed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Evolution
/// What serde can bridge needs nothing: a new field with `#[serde(default)]`, a field that is no
/// longer read. Any other change of shape gets the next version, and an upcast for each step:
///
/// ```
/// use cim_domain::event::{Decoded, Encoded};
/// use cim_domain::{DomainEvent, UpcastError};
/// use serde::{Deserialize, Serialize};
/// use serde_json::{Value, json};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
/// enum AccountEvent {
///     #[event(version = 3, upcast(1 = to_cents, 2 = with_currency))]
///     Deposited { cents: u64, currency: String },
/// }
///
/// /// Version 1 counted whole euros.
/// fn to_cents(payload: Value) -> Result<Value, UpcastError> {
///     let euros = payload["euros"]
///         .as_u64()
///         .ok_or_else(|| UpcastError::new("`euros` is no whole number"))?;
///     Ok(json!({ "cents": euros * 100 }))
/// }
///
/// fn with_currency(mut payload: Value) -> Result<Value, UpcastError> {
///     payload["currency"] = "EUR".into();
///     Ok(payload)
/// }
///
/// let read = AccountEvent::decode(Encoded::json("deposited", 1, br#"{"euros":7}"#))?;
/// let today = AccountEvent::Deposited { cents: 700, currency: "EUR".into() };
/// assert_eq!(read, Decoded::One(today));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Stored events are never rewritten; they are lifted whenever they are read. Renames, types that
/// were split or given up, and other codecs are in the guide to schema evolution
/// (`docs/guide/schema_evolution.md`); the table of all attributes is at
/// [the derive](macro@DomainEvent).
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
/// A chain of upcasts with a step missing; here it is the one from version 2 to 3:
/// ```compile_fail
/// # use cim_domain::{DomainEvent, UpcastError}; use serde::{Deserialize, Serialize}; use serde_json::Value;
/// # fn lift(payload: Value) -> Result<Value, UpcastError> { Ok(payload) }
/// #[derive(Serialize, Deserialize, DomainEvent)]
/// enum OrderEvent {
///     #[event(version = 3, upcast(1 = lift))]
///     Placed,
/// }
/// ```
/// A name that stands for two things, such as an old name that another variant has today:
/// ```compile_fail
/// # use cim_domain::DomainEvent; use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize, DomainEvent)]
/// enum OrderEvent {
///     #[event(alias = "cancelled")]
///     Placed,
///     Cancelled,
/// }
/// ```
/// or a retired one that is alive:
/// ```compile_fail
/// # use cim_domain::DomainEvent; use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize, DomainEvent)]
/// #[event(retired("placed"))]
/// enum OrderEvent {
///     Placed,
/// }
/// ```
/// Splits that go round in a circle:
/// ```compile_fail
/// # use cim_domain::{DomainEvent, UpcastError, event::PastEvent}; use serde::{Deserialize, Serialize};
/// # fn turn(old: PastEvent) -> Result<Vec<PastEvent>, UpcastError> { Ok(vec![old]) }
/// #[derive(Serialize, Deserialize, DomainEvent)]
/// #[event(split(name = "made", into("created"), by = turn))]
/// #[event(split(name = "created", into("made"), by = turn))]
/// enum OrderEvent {
///     Placed,
/// }
/// ```
/// The name under which repositories store that an aggregate was deleted:
/// ```compile_fail
/// # use cim_domain::DomainEvent; use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize, DomainEvent)]
/// struct AggregateDeleted;
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
    /// How payloads are written.
    type Codec: Codec;

    /// Every event type that a value can have, with its schema version of today.
    const EVENT_TYPES: &'static [EventVersion];

    /// Event types whose stored events are read as events of other types.
    const SPLIT_TYPES: &'static [SplitType] = &[];

    /// Event types whose stored events are read as none: the facts no longer matter.
    const RETIRED_TYPES: &'static [&'static str] = &[];

    /// What kind of fact this is: one of [`EVENT_TYPES`](Self::EVENT_TYPES).
    fn event_type(&self) -> &'static str;

    /// Which shape the payload has that [`encode`](Self::encode) writes, from 1.
    fn schema_version(&self) -> u32;

    /// The payload: the event's fields alone, as the [`Codec`](Self::Codec) writes them.
    ///
    /// # Errors
    /// When the codec has no form for a field, such as a map whose keys are no texts, or would
    /// alter it: infinity and NaN, and an option that holds nothing in another option.
    fn encode(&self) -> Result<Vec<u8>, EncodeError>;

    /// Reads a stored event as what it is today: one event, or none or several where its type was
    /// retired or split. A [tombstone](crate::persistence::TOMBSTONE) is none.
    ///
    /// # Errors
    /// An unknown event type or content type, a schema version that is newer or has no upcast, a
    /// payload of another shape.
    fn decode(stored: Encoded<'_>) -> Result<Decoded<Self>, DecodeError>;

    /// Writes the event's fields alone, to any serializer: for a form that is not the stored one.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// use cim_domain::DomainEvent;
    ///
    /// #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// enum OrderEvent {
    ///     Placed { total: u32 },
    /// }
    ///
    /// let placed = OrderEvent::Placed { total: 12 };
    /// let mut page = serde_json::Serializer::pretty(Vec::new());
    /// placed.serialize_payload(&mut page)?;
    /// let page = page.into_inner();
    /// assert_eq!(page, b"{\n  \"total\": 12\n}");
    ///
    /// let mut page = serde_json::Deserializer::from_slice(&page);
    /// assert_eq!(OrderEvent::deserialize_payload(0, &mut page)?, placed);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the serializer.
    fn serialize_payload<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// Reads the fields of an event of the type `EVENT_TYPES[index]`, in today's shape, from any
    /// deserializer.
    ///
    /// # Errors
    /// Those of the deserializer, and for an index that is not in the table.
    fn deserialize_payload<'de, D: Deserializer<'de>>(
        index: usize,
        deserializer: D,
    ) -> Result<Self, D::Error>;
}

/// Writes a value as JSON, unless JSON would alter it.
pub(crate) fn to_lossless_json(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut written = Vec::with_capacity(256);
    lossless::Whole::<Json, _>::new(value)
        .serialize(&mut serde_json::Serializer::new(&mut written))?;
    Ok(written)
}
