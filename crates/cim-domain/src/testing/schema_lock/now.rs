//! What the code says about what is stored.

use std::error::Error;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Hinted;
use crate::event::Encoded;
use crate::event::codec::{Codec as _, is_json_content};
use crate::schema::Shape;
use crate::schema::rules::{EventsNow, SnapshotNow, TypeNow};
use crate::schema::tracer::{self, Traced};
use crate::{Aggregate, DomainEvent};

/// The event types of an enum or a struct.
pub(super) fn events<E: DomainEvent>(aggregate: Option<String>, hinted: &Hinted<'_>) -> EventsNow {
    let types = E::EVENT_TYPES.iter().enumerate();
    let former = E::RETIRED_TYPES.iter().copied();
    let split = E::SPLIT_TYPES.iter();
    let wholly_split = split.clone().filter(|split| split.until.is_none());
    EventsNow {
        aggregate,
        types: types
            .map(|(index, _)| type_now::<E>(index, hinted))
            .collect(),
        former: former
            .chain(wholly_split.map(|split| split.name))
            .map(str::to_owned)
            .collect(),
        split: split
            .filter_map(|split| Some((split.name.to_owned(), split.until?)))
            .collect(),
        is_binary: !is_json_content(E::Codec::CONTENT_TYPE),
        read: Box::new(|event_type, version, payload| {
            let payload = payload.to_string();
            let stored = Encoded::json(event_type, version, payload.as_bytes());
            let events = E::decode(stored).map_err(|error| chain(&error))?;
            let again = events.into_iter().map(|event| {
                let written = json_of(&event).map_err(|error| chain(&error))?;
                Ok((event.event_type().to_owned(), written))
            });
            again.collect()
        }),
    }
}

fn type_now<E: DomainEvent>(index: usize, hinted: &Hinted<'_>) -> TypeNow {
    // The index comes from the table.
    let version = E::EVENT_TYPES[index];
    let traced = tracer::trace_event::<E>(index, &hinted.of::<E>(Some(version.name)));
    let mut unreadable = None;
    let shape = traced.map_err(|error| error.to_string()).map(|traced| {
        let Traced { shape, values } = traced;
        values.iter().fold(shape, |shape, event| {
            // What can't be written can't be stored either.
            let Ok(written) = json_of(event) else {
                return shape;
            };
            let payload = written.to_string();
            let stored = Encoded::json(version.name, version.version, payload.as_bytes());
            match E::decode(stored) {
                Ok(_) => shape.with_written(&written),
                Err(error) => {
                    unreadable.get_or_insert((written, chain(&error)));
                    shape
                }
            }
        })
    });
    TypeNow {
        name: version.name.to_owned(),
        version: version.version,
        aliases: version
            .aliases
            .iter()
            .map(|&name| name.to_owned())
            .collect(),
        upcast_from: version.upcast_from,
        shape,
        unreadable,
    }
}

/// The state of an aggregate.
pub(super) fn snapshot<A: Aggregate + Serialize + DeserializeOwned>(
    aggregate: String,
    hinted: &Hinted<'_>,
) -> SnapshotNow {
    let traced = tracer::trace_value::<A>(&hinted.of::<A>(None));
    let shape = traced.map_err(|error| error.to_string()).map(|traced| {
        let Traced { shape, values } = traced;
        let written = values
            .iter()
            .filter_map(|state| serde_json::to_value(state).ok());
        written.fold(shape, |shape: Shape, written| shape.with_written(&written))
    });
    SnapshotNow {
        aggregate,
        version: A::SNAPSHOT_VERSION,
        shape,
    }
}

/// An event's fields as JSON, whatever its codec is.
pub(super) fn json_of(event: &impl DomainEvent) -> serde_json::Result<Value> {
    // By way of the text, in which a float is the shortest that stands for it.
    let mut text = Vec::new();
    event.serialize_payload(&mut serde_json::Serializer::new(&mut text))?;
    serde_json::from_slice(&text)
}

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}
