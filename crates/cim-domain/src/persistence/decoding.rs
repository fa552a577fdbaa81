//! Reads stored events as domain events. Every read of every service goes through here.

use cim_store::RecordedEvent;

use super::error::ReadFault;
use super::tombstone::is_tombstone;
use crate::DomainEvent;
use crate::event::Decoded;

/// Reads a stored event as what it is today.
pub(super) fn decode<D: DomainEvent>(recorded: &RecordedEvent) -> Result<Decoded<D>, ReadFault> {
    if is_tombstone(recorded) {
        return Ok(Decoded::Nothing);
    }
    D::decode(recorded.into()).map_err(|source| ReadFault {
        stream: recorded.stream.clone(),
        version: recorded.version,
        source,
    })
}
