//! What `#[derive(DomainEvent)]` generates calls to. Not for use by hand: it may change at any
//! time together with the macro.

pub use std::vec::Vec;

pub use serde::de::DeserializeOwned;
pub use serde::{Deserialize, Deserializer, Serialize, Serializer};
pub use serde_json::Value;

use super::codec::{Codec, CodecError, Form};
use super::payload::{FieldsOnly, UnitStructOf, VariantOf};
use super::{
    DecodeError, Decoded, DomainEvent, EncodeError, Encoded, EventVersion, PastEvent, SplitType,
    UpcastError, dynamic, lift,
};

/// What an event type's name stands for.
#[derive(Debug)]
pub enum Found<E: 'static> {
    /// A type of today.
    Living(&'static Living<E>),
    /// A type whose events all became other events.
    Split(&'static Split),
    /// A type whose events are given up.
    Retired,
    /// Nothing that is known.
    Unknown,
}

/// A type of today.
#[derive(Debug)]
pub struct Living<E> {
    /// Its name and versions.
    pub version: &'static EventVersion,
    /// Reads a payload of today's shape.
    pub read: fn(Payload<'_>) -> Result<E, CodecError>,
    /// Lifts payloads of older shapes.
    pub upcasts: Upcasts,
    /// What becomes of its first versions.
    pub split: Option<&'static Split>,
}

/// A payload of today's shape.
#[derive(Debug)]
pub enum Payload<'a> {
    /// As it was stored.
    Stored(Form, &'a [u8]),
    /// As upcasts made it of one that was stored in this form.
    Lifted(Form, Value),
}

/// Lifts the payload of any older schema version to the one of today.
pub type UpcastAll = fn(u32, Value) -> Result<Option<Value>, UpcastError>;

/// Lifts a payload to the next schema version.
pub type UpcastStep = fn(Value) -> Result<Option<Value>, UpcastError>;

/// How payloads of older schema versions are lifted.
#[derive(Clone, Copy, Debug)]
pub enum Upcasts {
    /// Not at all.
    None,
    /// All by one function.
    All(UpcastAll),
    /// Step by step, from `upcast_from` on.
    Steps(&'static [UpcastStep]),
}

/// How events become other events.
#[derive(Debug)]
pub struct Split {
    /// Of which type and versions, and what they become.
    pub info: &'static SplitType,
    /// Makes the other events.
    pub by: fn(PastEvent) -> Result<Vec<PastEvent>, UpcastError>,
}

/// Writes the event's fields alone.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<E: Serialize, S: Serializer>(event: &E, serializer: S) -> Result<S::Ok, S::Error> {
    event.serialize(FieldsOnly(serializer))
}

/// Reads the enum's variant of this index, from 0.
///
/// # Errors
/// Those of the deserializer, and for a variant that there is not.
pub fn deserialize_variant<'de, E: Deserialize<'de>, D: Deserializer<'de>>(
    index: usize,
    payload: D,
) -> Result<E, D::Error> {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    E::deserialize(VariantOf { index, payload })
}

/// Reads the struct, which is the only event type.
///
/// # Errors
/// Those of the deserializer, and for another index than 0.
pub fn deserialize_struct<'de, E: Deserialize<'de>, D: Deserializer<'de>>(
    index: usize,
    payload: D,
) -> Result<E, D::Error> {
    check_only(index)?;
    E::deserialize(payload)
}

/// Reads the struct without fields, which is the only event type.
///
/// # Errors
/// Those of the deserializer, and for another index than 0.
pub fn deserialize_unit_struct<'de, E: Deserialize<'de>, D: Deserializer<'de>>(
    index: usize,
    payload: D,
) -> Result<E, D::Error> {
    check_only(index)?;
    E::deserialize(UnitStructOf(payload))
}

fn check_only<E: serde::de::Error>(index: usize) -> Result<(), E> {
    match index {
        0 => Ok(()),
        _ => Err(E::custom("a struct is one event type")),
    }
}

/// Writes the event's fields by the codec of its type.
///
/// # Errors
/// When the codec has no form for one of them, or not without altering it.
pub fn encode<E: DomainEvent>(event: &E) -> Result<Vec<u8>, EncodeError> {
    E::Codec::encode_whole(&FieldsOf(event))
        .map_err(|source| EncodeError::new(E::Codec::CONTENT_TYPE, source))
}

/// Reads a payload as the event type of this index.
///
/// # Errors
/// When it is of another shape.
pub fn read<E: DomainEvent, const INDEX: usize>(payload: Payload<'_>) -> Result<E, CodecError> {
    let PayloadOf::<E, INDEX>(event) = match payload {
        Payload::Stored(form, bytes) => form.decode::<E::Codec, _>(bytes)?,
        Payload::Lifted(form, value) => dynamic::into_typed::<E::Codec, _>(form, value)?,
    };
    Ok(event)
}

/// Reads a stored event.
///
/// # Errors
/// As `DomainEvent::decode`.
#[inline]
pub fn decode<E: DomainEvent>(
    stored: Encoded<'_>,
    find: impl Fn(&str) -> Found<E>,
) -> Result<Decoded<E>, DecodeError> {
    let found = find(stored.event_type);
    if let Found::Living(living) = found
        && living.version.version == stored.schema_version
        && let Some(form) = Form::of::<E::Codec>(stored.content_type)
    {
        let payload = Payload::Stored(form, stored.payload);
        return match (living.read)(payload) {
            Ok(event) => Ok(Decoded::One(event)),
            Err(source) => Err(DecodeError::malformed(living.version.name, &stored, source)),
        };
    }
    lift::decode(stored, found, &find)
}

/// The fields of an event, as they are written.
struct FieldsOf<'a, E>(&'a E);

impl<E: DomainEvent> Serialize for FieldsOf<'_, E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_payload(serializer)
    }
}

/// An event of the type of this index, as it is read from its fields.
struct PayloadOf<E, const INDEX: usize>(E);

impl<'de, E: DomainEvent, const INDEX: usize> Deserialize<'de> for PayloadOf<E, INDEX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        E::deserialize_payload(INDEX, deserializer).map(Self)
    }
}
