//! What goes wrong in a repository of states, by what its caller does about it.

use cim_store::{BucketError, BucketErrorKind, EventLogError, ExpectedVersion, Revision, Version};

use crate::persistence::error::excerpt;

/// What goes wrong in a [`SimpleRepository`](super::SimpleRepository) or a
/// [`KvRepository`](super::KvRepository).
///
/// | variant | what to do |
/// |---|---|
/// | `VersionConflict` | load again and decide again |
/// | `InvalidId`, `InvalidType`, `InvalidBucket`, `Missing`, `Encode` | correct what was given |
/// | `Decode`, `ForeignKey` | see what else writes to the bucket, or give new fields a serde default |
/// | `Unknown` | load the state to see whether the change was stored |
/// | `Open`, `Store` | see [its kind](BucketError::kind) |
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Somebody else was first. Nothing was stored.
    #[error("the state is at version {actual}, expected was {}", wanted(*expected))]
    VersionConflict {
        /// Where the state had to be.
        expected: ExpectedVersion,
        /// Where it is; 0: there is none.
        actual: Version,
    },
    /// The id can't be part of a key.
    #[error("`{id}` can't be the id of a state")]
    InvalidId {
        /// The id's text, shortened to 100 characters.
        id: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The aggregate type can't be part of a key.
    #[error("`{aggregate_type}` can't be the type of states")]
    InvalidType {
        /// What was given, shortened to 100 characters.
        aggregate_type: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The text can't be the name of a bucket.
    #[error("`{name}` can't be the name of a bucket")]
    InvalidBucket {
        /// What was given, shortened to 100 characters.
        name: String,
        /// What is wrong with it.
        source: cim_store::bucket::KeyError,
    },
    /// A builder was not given all that it needs.
    #[error("the repository can't be built without `{what}`")]
    Missing {
        /// The builder's method that was not called.
        what: &'static str,
    },
    /// The state can't be written. Nothing was stored.
    #[error("the state of {id} can't be written as JSON")]
    Encode {
        /// The id's text, shortened to 100 characters.
        id: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A stored state has another shape.
    #[error("the state of {id} at version {version} can't be read")]
    Decode {
        /// The id's text, shortened to 100 characters.
        id: String,
        /// Which state it is.
        version: Version,
        /// Where it differs.
        source: serde_json::Error,
    },
    /// A key among those of the aggregate type is none that a repository of states has written.
    #[error("the key {key} does not name a state")]
    ForeignKey {
        /// The key.
        key: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer was lost: the change may or may not have been stored.
    #[error("whether the state was changed is not known")]
    Unknown {
        /// What was heard last.
        source: BucketError,
    },
    /// The store that the bucket is in can't be opened.
    #[error("the store of the states can't be opened")]
    Open(#[source] EventLogError),
    /// The bucket failed or refused.
    #[error("the bucket could not do it")]
    Store(#[source] BucketError),
}

impl StateError {
    /// Whether somebody else was first.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::VersionConflict { .. })
    }

    pub(super) fn invalid_id(
        id: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::InvalidId {
            id: excerpt(id),
            source: source.into(),
        }
    }

    pub(super) fn conflict(expected: ExpectedVersion, actual: Revision) -> Self {
        Self::VersionConflict {
            expected,
            actual: version_of(actual),
        }
    }

    /// What a bucket says about a change that expected this.
    pub(super) fn of_change(expected: ExpectedVersion, error: BucketError) -> Self {
        match error.kind() {
            BucketErrorKind::RevisionConflict { actual, .. } => Self::conflict(expected, *actual),
            _ => error.into(),
        }
    }
}

/// What was expected, in the words of states.
fn wanted(expected: ExpectedVersion) -> String {
    match expected {
        ExpectedVersion::Exists => "any state".to_owned(),
        ExpectedVersion::NEW => "no state".to_owned(),
        expected => expected.to_string(),
    }
}

/// A revision as the version of a state.
pub(super) fn version_of(revision: Revision) -> Version {
    Version::new(revision.get())
}

impl From<BucketError> for StateError {
    fn from(error: BucketError) -> Self {
        match error.kind() {
            BucketErrorKind::RevisionConflict {
                expected, actual, ..
            } => Self::conflict(version_of(*expected).into(), *actual),
            BucketErrorKind::Unknown => Self::Unknown { source: error },
            _ => Self::Store(error),
        }
    }
}
