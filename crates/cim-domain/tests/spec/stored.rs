//! Events as an earlier program stored them.

use cim_domain::event::{Decoded, Encoded};
use cim_domain::{DecodeError, DomainEvent};

/// Reads a payload of JSON that is one event today.
pub(crate) fn read<E: DomainEvent>(
    event_type: &str,
    schema_version: u32,
    payload: &[u8],
) -> Result<E, DecodeError> {
    match E::decode(Encoded::json(event_type, schema_version, payload))? {
        Decoded::One(event) => Ok(event),
        other => panic!("{event_type} became {} events", other.len()),
    }
}
