//! Reads events that are not stored as they would be today: of older schema versions, and of types
//! that were split or retired.
//!
//! Both only go forward: a step raises the version, and a split gives events of other types or of
//! later versions. The derive refuses splits that go round in a circle, so this comes to an end.

use serde_json::Value;

use super::codec::Form;
use super::derive::{Found, Living, Payload, Split, Upcasts};
use super::{DecodeError, Decoded, DomainEvent, Encoded, PastEvent, UpcastError, dynamic};
use crate::persistence::TOMBSTONE;

/// Reads a stored event whose type was found to be `found`.
#[cold]
pub(super) fn decode<E: DomainEvent>(
    stored: Encoded<'_>,
    found: Found<E>,
    find: &dyn Fn(&str) -> Found<E>,
) -> Result<Decoded<E>, DecodeError> {
    let version = stored.schema_version;
    let name = match &found {
        // What repositories store beside the events of an application is none of them.
        Found::Unknown if stored.event_type == TOMBSTONE => return Ok(Decoded::Nothing),
        Found::Unknown => return Err(DecodeError::unknown_type::<E>(stored.event_type)),
        Found::Retired => return Ok(Decoded::Nothing),
        Found::Living(living) => {
            check_version(living, version)?;
            living.version.name
        }
        Found::Split(split) => {
            check_split(split, version)?;
            split.info.name
        }
    };
    let Some(form) = Form::of::<E::Codec>(stored.content_type) else {
        return Err(DecodeError::unknown_content_type::<E>(
            name,
            stored.content_type,
        ));
    };
    let payload = dynamic::read::<E::Codec>(form, stored.payload)
        .map_err(|source| DecodeError::malformed(name, &stored, source))?;
    let mut lifting = Lifting {
        form,
        find,
        events: Vec::new(),
    };
    match found {
        Found::Living(living) => match split_of(living, version) {
            None => return one(lift(living, version, payload, form)?),
            Some(split) => lifting.split(split, version, payload)?,
        },
        Found::Split(split) => lifting.split(split, version, payload)?,
        Found::Retired | Found::Unknown => {}
    }
    let mut events = lifting.events;
    match events.len() {
        0 | 1 => one(events.pop()),
        _ => Ok(Decoded::Several(events)),
    }
}

fn one<E>(event: Option<E>) -> Result<Decoded<E>, DecodeError> {
    Ok(event.map_or(Decoded::Nothing, Decoded::One))
}

/// What makes other events of those of this version, if that is what they become.
fn split_of<E>(living: &Living<E>, version: u32) -> Option<&'static Split> {
    living.split.filter(|split| split.info.takes(version))
}

/// Whether something can be done with this version.
fn check_version<E>(living: &Living<E>, found: u32) -> Result<(), DecodeError> {
    let known = living.version;
    if found > known.version {
        return Err(DecodeError::NewerSchema {
            event_type: known.name,
            found,
            known: known.version,
        });
    }
    if found < known.upcast_from && split_of(living, found).is_none() || found == 0 {
        return Err(DecodeError::NoUpcaster {
            event_type: known.name,
            from: found,
            to: known.version,
        });
    }
    Ok(())
}

fn check_split(split: &Split, found: u32) -> Result<(), DecodeError> {
    match split.info.until {
        Some(known) if found > known => Err(DecodeError::NewerSchema {
            event_type: split.info.name,
            found,
            known,
        }),
        _ => Ok(()),
    }
}

/// Lifts a payload to today's version and reads it; nothing where an upcast gave it up.
fn lift<E: DomainEvent>(
    living: &Living<E>,
    from: u32,
    payload: Value,
    form: Form,
) -> Result<Option<E>, DecodeError> {
    let (event_type, to) = (living.version.name, living.version.version);
    let failed = |from, to, source| DecodeError::Upcast {
        event_type,
        from,
        to,
        source,
    };
    let lifted = match living.upcasts {
        Upcasts::All(upcast) if from < to => {
            upcast(from, payload).map_err(|source| failed(from, to, source))?
        }
        Upcasts::Steps(steps) => {
            let skipped = from.saturating_sub(living.version.upcast_from);
            let steps = steps
                .iter()
                .skip(usize::try_from(skipped).unwrap_or(usize::MAX));
            let mut payload = Some(payload);
            for (step, from) in steps.zip(from..) {
                let Some(old) = payload else { break };
                payload = step(old).map_err(|source| failed(from, from + 1, source))?;
            }
            payload
        }
        Upcasts::All(_) | Upcasts::None => Some(payload),
    };
    let Some(lifted) = lifted else {
        return Ok(None);
    };
    // What does not fit now is the upcast's doing, not the payload's.
    (living.read)(Payload::Lifted(form, lifted))
        .map(Some)
        .map_err(|source| {
            let source = UpcastError::new("what came of it has another shape than the event")
                .with_source(source);
            failed(from, to, source)
        })
}

/// The way of one stored event through splits.
struct Lifting<'a, E: 'static> {
    form: Form,
    find: &'a dyn Fn(&str) -> Found<E>,
    events: Vec<E>,
}

impl<E: DomainEvent> Lifting<'_, E> {
    fn split(&mut self, split: &Split, from: u32, payload: Value) -> Result<(), DecodeError> {
        let info = split.info;
        let failed = |source| DecodeError::Split {
            event_type: info.name,
            schema_version: from,
            source,
        };
        let old = PastEvent::new(info.name, from, payload);
        for part in (split.by)(old).map_err(failed)? {
            let PastEvent {
                event_type,
                schema_version,
                payload,
            } = part;
            let refused = |why: String| {
                failed(UpcastError::new(format!(
                    "it gave an event `{event_type}` of schema version {schema_version}, {why}"
                )))
            };
            if !info.into.contains(&event_type) {
                let into = info.into.join("`, `");
                return Err(refused(format!("and is said to give `{into}`")));
            }
            let unreadable = |error: DecodeError| refused(format!("which can't be read: {error}"));
            match (self.find)(event_type) {
                Found::Living(living) => {
                    check_version(living, schema_version).map_err(unreadable)?;
                    match split_of(living, schema_version) {
                        None => {
                            let event = lift(living, schema_version, payload, self.form)?;
                            self.events.extend(event);
                        }
                        Some(next) if next.info.name == info.name => {
                            return Err(refused("which is to be split again".to_owned()));
                        }
                        Some(next) => self.split(next, schema_version, payload)?,
                    }
                }
                Found::Split(next) => {
                    check_split(next, schema_version).map_err(unreadable)?;
                    self.split(next, schema_version, payload)?;
                }
                Found::Retired | Found::Unknown => {
                    return Err(refused("which is none of the known event types".to_owned()));
                }
            }
        }
        Ok(())
    }
}
