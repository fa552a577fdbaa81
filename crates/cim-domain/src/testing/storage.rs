//! Whether an event that is stored comes back as the same event.

use std::fmt;

use super::difference;
use crate::DomainEvent;
use crate::event::{Codec as _, Decoded, Encoded};

/// Writes an event as its payload and reads it again: what comes back must be the same event.
///
/// ```
/// # use cim_domain::DomainEvent;
/// # use serde::{Deserialize, Serialize};
/// #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
/// enum OrderEvent {
///     Placed { customer: String },
/// }
///
/// cim_domain::testing::assert_survives_storage(&OrderEvent::Placed { customer: "anna".into() });
/// ```
///
/// # Panics
/// With the difference if it is another event, or with the error if it can't be written or read.
#[track_caller]
pub fn assert_survives_storage<E: DomainEvent + fmt::Debug + PartialEq>(event: &E) {
    if let Err(loss) = stored_and_read(event) {
        panic!("{loss}");
    }
}

/// The event as it comes back from a store, or a text that says why it is not the same.
pub(super) fn stored_and_read<E: DomainEvent + fmt::Debug + PartialEq>(
    event: &E,
) -> Result<E, String> {
    let payload = event
        .encode()
        .map_err(|error| format!("the event can't be written: {error}\n{error:#?}\n{event:#?}"))?;
    let shown = String::from_utf8_lossy(&payload);
    let stored = Encoded {
        event_type: event.event_type(),
        schema_version: event.schema_version(),
        content_type: E::Codec::CONTENT_TYPE,
        payload: &payload,
    };
    match E::decode(stored) {
        Ok(Decoded::One(read)) if read == *event => Ok(read),
        Ok(Decoded::One(read)) => Err(format!(
            "another event comes back than was written as {shown} (- written, + came back):\n{}",
            difference::of(event, &read)
        )),
        Ok(read) => Err(format!(
            "what was written as {shown} is read as {} events",
            read.len()
        )),
        Err(error) => Err(format!(
            "what was written can't be read: {shown}\n{error}\n{error:#?}"
        )),
    }
}
