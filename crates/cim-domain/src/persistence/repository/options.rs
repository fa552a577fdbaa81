//! How aggregates are saved, loaded and deleted: plain data, one structure each.

use cim_store::{CommitId, Metadata, Timestamp, Version};

use crate::persistence::Tags;

/// How events are saved.
///
/// ```
/// use cim_domain::persistence::Tags;
/// use cim_domain::{SaveOptions, store::Version};
///
/// let options = SaveOptions {
///     expected_version: Some(Version::new(3)),
///     tags: Tags::new(["region:eu"])?,
///     ..Default::default()
/// };
/// # let _ = options;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaveOptions {
    /// The version at which the aggregate must be; [`Version::NONE`]: it must not exist yet;
    /// `None`: it may be at any, because the events are facts that hold anyhow.
    pub expected_version: Option<Version>,
    /// What is said about each of the events beside its payload.
    pub metadata: Metadata,
    /// What each of the events can be found by, whatever its stream.
    pub tags: Tags,
    /// Whether a [snapshot](crate::Repository::with_snapshots) is taken after it, whatever the policy
    /// says. It is not waited for.
    pub create_snapshot: bool,
    /// The commit's id, for a caller who may have to save the same events again: what has been
    /// stored is not stored twice. `None`: a fresh one.
    pub commit_id: Option<CommitId>,
}

/// What is said about the events of a command beside their payloads.
///
/// ```
/// use cim_domain::persistence::{ExecuteOptions, Tags};
///
/// let options = ExecuteOptions { tags: Tags::new(["campaign:spring"])?, ..Default::default() };
/// # let _ = options;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecuteOptions {
    /// What is said about each of the events.
    pub metadata: Metadata,
    /// What each of the events can be found by, whatever its stream.
    pub tags: Tags,
}

/// How an aggregate is loaded. By default as it is now.
///
/// ```
/// use cim_domain::{LoadOptions, store::Version};
///
/// let then = LoadOptions { version: Some(Version::new(3)), ..Default::default() };
/// # let _ = then;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// As it was at this version; `None`: at the last one.
    pub version: Option<Version>,
    /// As it was at this time by the clock of the store: with the events that the store had taken
    /// until then, this moment included. `None`: with all. Together with `version`: as it was at
    /// the earlier of both.
    pub as_of: Option<Timestamp>,
    /// Whether the load may begin with a [snapshot](crate::Repository::with_snapshots) and read only
    /// the events after it, or be answered from a [cache](crate::Repository::with_cache) and the
    /// events that are newer. `false`: all of them are read. Without effect with `include_events`.
    pub use_snapshot: bool,
    /// Whether the result has the events, too, from the first to the last that was taken in.
    pub include_events: bool,
    /// An error, `TooManyEvents`, instead of an answer that takes more events than this; a bound on
    /// the time and memory that a load takes. `None`: however many there are.
    pub max_events: Option<u64>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            version: None,
            as_of: None,
            use_snapshot: true,
            include_events: false,
            max_events: None,
        }
    }
}

/// How an aggregate is deleted.
///
/// ```
/// use cim_domain::persistence::DeleteOptions;
/// use cim_domain::store::Version;
///
/// let options = DeleteOptions { expected_version: Some(Version::new(3)), ..Default::default() };
/// # let _ = options;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// The version at which the aggregate must be; `None`: it may be at any.
    pub expected_version: Option<Version>,
    /// What is said about the deletion: its reason, say.
    pub metadata: Metadata,
    /// What the deletion can be found by.
    pub tags: Tags,
    /// The commit's id, for a caller who may have to delete again. `None`: a fresh one.
    pub commit_id: Option<CommitId>,
}

/// What becomes of new events for an aggregate that was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recreation {
    /// They are refused with `Deleted`.
    #[default]
    Refuse,
    /// The aggregate begins anew: it decides in its default state, and its events follow the
    /// tombstone in the same stream, so that versions go on.
    Allow,
}
