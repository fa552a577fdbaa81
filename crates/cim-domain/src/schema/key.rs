//! What a lock file's entry is about.

use std::fmt;

/// Something that is stored: an event type, or the snapshots of an aggregate.
///
/// The order is that of the file: first what stands alone, then aggregate by aggregate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Persisted {
    /// An event type.
    Event {
        /// The aggregate whose event it is, `context.type`; `None` where its name alone says which
        /// event is meant.
        aggregate: Option<String>,
        /// The name it is stored under.
        event_type: String,
    },
    /// The state of an aggregate in a snapshot.
    Snapshot {
        /// The aggregate, `context.type`.
        aggregate: String,
    },
}

impl Persisted {
    pub(crate) fn event(aggregate: Option<&str>, event_type: &str) -> Self {
        Self::Event {
            aggregate: aggregate.map(str::to_owned),
            event_type: event_type.to_owned(),
        }
    }

    /// The name: of the event type, or of the aggregate.
    pub fn name(&self) -> &str {
        match self {
            Self::Event { event_type, .. } => event_type,
            Self::Snapshot { aggregate } => aggregate,
        }
    }
}

impl fmt::Display for Persisted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event {
                aggregate: None,
                event_type,
            } => write!(f, "event {event_type}"),
            Self::Event {
                aggregate: Some(aggregate),
                event_type,
            } => write!(f, "event {event_type} of {aggregate}"),
            Self::Snapshot { aggregate } => write!(f, "snapshot {aggregate}"),
        }
    }
}
