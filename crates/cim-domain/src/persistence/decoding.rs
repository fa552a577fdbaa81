//! Reads stored events as domain events. Every read of every service goes through here.

use cim_store::{Direction, NewEvent, RecordedEvent};

use super::error::ReadFault;
use super::tombstone::is_tombstone;
use crate::event::{Decoded, Encoded};
use crate::{DecodeError, DomainEvent};

/// What a read does with events whose type is none of the known ones.
///
/// **A state that misses events may decide wrongly.** If a newer program stored that an account was
/// frozen, an older one that passes over it goes on to pay out. So a repository fails by default,
/// and reading events of an unknown type has to be asked for: to look at what is there, to copy it,
/// or where the types that are passed over are known to mean nothing to the decision.
///
/// What is passed over is said: [`Loaded::skipped`](super::Loaded::skipped),
/// [`Executed::skipped`](super::Executed::skipped), [`History::skipped`](super::History::skipped). A
/// state that misses events is never kept: not as a snapshot, not in a cache.
///
/// Unknown is an event whose type is not in [`EVENT_TYPES`](crate::DomainEvent::EVENT_TYPES), is no
/// alias, not split and not retired. An event of a known type that can't be read is an error under
/// every policy: a newer schema version, a missing upcast, a payload of another shape. Types that are
/// known to matter no more are better [retired](crate::DomainEvent::RETIRED_TYPES) than skipped.
///
/// ```
/// use cim_domain::persistence::UnknownEvents;
///
/// assert_eq!(UnknownEvents::default(), UnknownEvents::Fail);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UnknownEvents {
    /// The read fails with [`DecodeError::UnknownType`].
    #[default]
    Fail,
    /// They are passed over and counted.
    Skip,
    /// They are passed over, counted, and handed over as they are stored.
    KeepRaw,
}

/// Reads an event that was written a moment ago, as a later read of it will.
pub(super) fn decode_written<D: DomainEvent>(
    written: &NewEvent,
) -> Result<Decoded<D>, DecodeError> {
    D::decode(Encoded {
        event_type: written.event_type.as_str(),
        schema_version: written.schema_version.get(),
        content_type: written.content_type.as_str(),
        payload: &written.payload,
    })
}

/// What one read has met so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Reader {
    policy: UnknownEvents,
    direction: Direction,
    skipped: u64,
    unknown: Vec<RecordedEvent>,
}

impl Reader {
    pub(super) fn new(policy: UnknownEvents) -> Self {
        Self {
            policy,
            ..Self::default()
        }
    }

    /// A reader of events that come in this direction.
    pub(super) fn in_direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// Reads a stored event as what it is today; as nothing if the policy passes over it.
    pub(super) fn read<D: DomainEvent>(
        &mut self,
        recorded: &RecordedEvent,
    ) -> Result<Decoded<D>, ReadFault> {
        if is_tombstone(&recorded.event_type) {
            return Ok(Decoded::Nothing);
        }
        let source = match D::decode(recorded.into()) {
            // Read backwards, the parts of an event that was split come backwards as well.
            Ok(Decoded::Several(mut events)) if self.direction == Direction::Backwards => {
                events.reverse();
                return Ok(Decoded::Several(events));
            }
            Ok(decoded) => return Ok(decoded),
            Err(source) => source,
        };
        if self.policy == UnknownEvents::Fail || !source.is_unknown_type() {
            return Err(ReadFault {
                stream: recorded.stream.clone(),
                version: recorded.version,
                source,
            });
        }
        self.skipped += 1;
        if self.policy == UnknownEvents::KeepRaw {
            self.unknown.push(recorded.clone());
        }
        Ok(Decoded::Nothing)
    }

    /// How many events were passed over.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Those of them that are kept.
    pub(super) fn unknown(&self) -> &[RecordedEvent] {
        &self.unknown
    }

    /// How many events were passed over, and those of them that are kept.
    pub(super) fn into_parts(self) -> (u64, Vec<RecordedEvent>) {
        (self.skipped, self.unknown)
    }

    /// Forgets what was passed over, as it has no meaning for what comes.
    pub(super) fn forget(&mut self) {
        self.skipped = 0;
        self.unknown.clear();
    }
}
