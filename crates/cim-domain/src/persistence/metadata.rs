//! What a repository knows about an aggregate beside its state.

use cim_store::{Head, RecordedEvent, Timestamp, Version};

/// What a repository knows about an aggregate beside its state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AggregateMetadata {
    /// The text of its id.
    pub aggregate_id: String,
    /// What kind of aggregate it is.
    pub aggregate_type: String,
    /// Where it stands, as the next save may expect it.
    ///
    /// Kept as events: the version of its last event, 1, 2, 3 … Kept as a state: the revision of
    /// its key, which every change in the bucket increases, so that there are gaps.
    pub version: Version,
    /// When the store took its last change; `None` where the store has not said: after saving a
    /// state, say.
    pub last_modified: Option<Timestamp>,
    /// When its state ends; `None`: never, or the store has not said.
    pub expires_at: Option<Timestamp>,
    /// Its last event with position and CID; `None` where it is kept as a state, or nothing was
    /// saved.
    pub head: Option<Head>,
    /// The events that it was rebuilt from, where
    /// [`LoadOptions::include_events`](super::LoadOptions::include_events) asked for them.
    pub events: Vec<RecordedEvent>,
    /// How many events its state misses, because their types are unknown and the repository
    /// [passes over them](super::UnknownEvents); 0 if it fails at them.
    pub skipped: u64,
    /// Those events, where the repository [keeps](super::UnknownEvents::KeepRaw) them.
    pub unknown: Vec<RecordedEvent>,
}
