//! What `#[derive(DomainEvent)]` generates calls to. Not for use by hand: it may change at any
//! time together with the macro.

pub use std::vec::Vec;

pub use serde::Serialize;
pub use serde::de::DeserializeOwned;

use serde::Deserializer;

use super::lossless::Lossless;
use super::payload::{FieldsOnly, UnitStructOf, VariantOf};
use super::{DecodeError, EncodeError, EventTypeInfo, UpcastError};

/// How the Rust type holds an event type.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// The enum's variant of this index, from 0.
    Variant(u32),
    /// The struct itself.
    Struct,
    /// The struct itself, which has no fields.
    UnitStruct,
}

/// Lifts a payload from an older schema version to the one of today.
pub type Upcast = fn(u32, serde_json::Value) -> Result<serde_json::Value, UpcastError>;

/// Writes the event's fields as JSON.
///
/// # Errors
/// When one of them can't be written as JSON, or not without being altered.
pub fn encode<E: Serialize>(event: &E) -> Result<Vec<u8>, EncodeError> {
    let mut payload = Vec::with_capacity(128);
    let mut json = serde_json::Serializer::new(&mut payload);
    event.serialize(FieldsOnly(Lossless::new(&mut json)))?;
    Ok(payload)
}

/// Reads an event of a known type.
///
/// # Errors
/// As `DomainEvent::decode`, except that the event type is known.
pub fn decode<E: DeserializeOwned>(
    shape: Shape,
    info: &'static EventTypeInfo,
    upcast: Option<Upcast>,
    schema_version: u32,
    payload: &[u8],
) -> Result<E, DecodeError> {
    let EventTypeInfo {
        name: event_type,
        version: known,
    } = *info;
    let malformed = |source| DecodeError::Malformed {
        event_type,
        schema_version,
        source,
    };
    if schema_version == known {
        let mut json = serde_json::Deserializer::from_slice(payload);
        let event = read(shape, &mut json).map_err(malformed)?;
        json.end().map_err(malformed)?;
        return Ok(event);
    }
    if schema_version > known {
        return Err(DecodeError::NewerSchema {
            event_type,
            found: schema_version,
            known,
        });
    }
    let (from, to) = (schema_version, known);
    let Some(upcast) = upcast else {
        return Err(DecodeError::NoUpcaster {
            event_type,
            from,
            to,
        });
    };
    let old = serde_json::from_slice(payload).map_err(malformed)?;
    let lifted = upcast(from, old).map_err(|source| DecodeError::Upcast {
        event_type,
        from,
        to,
        source,
    })?;
    // What does not fit now is the upcast's doing, not the payload's.
    read(shape, lifted).map_err(|source| DecodeError::Upcast {
        event_type,
        from,
        to,
        source: UpcastError::new("what the upcast returned has another shape than the event")
            .with_source(source),
    })
}

fn read<'de, E: DeserializeOwned, D: Deserializer<'de>>(
    shape: Shape,
    payload: D,
) -> Result<E, D::Error> {
    match shape {
        Shape::Variant(index) => E::deserialize(VariantOf { index, payload }),
        Shape::Struct => E::deserialize(payload),
        Shape::UnitStruct => E::deserialize(UnitStructOf(payload)),
    }
}
