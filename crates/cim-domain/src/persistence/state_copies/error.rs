//! What goes wrong with copies of states, by what its caller does about it.

use cim_store::{BucketError, BucketErrorKind, StreamId};

/// What goes wrong in [`StateCopies`](super::StateCopies).
///
/// | variant | what to do |
/// |---|---|
/// | `InvalidSettings` | correct what was given |
/// | `Unreadable` | [repair](crate::Repository::repair_state_copy) it, or see whether the state has another shape by now |
/// | `Encode`, `TooLarge` | the state can't be copied as it is |
/// | `Unknown` | nothing: the next copy finds out |
/// | `Store` | see [its kind](BucketError::kind) |
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateCopyError {
    /// Something that was given can't be.
    #[error("copies of states can't be kept like this: {why}")]
    InvalidSettings {
        /// What is wrong with it.
        why: String,
    },
    /// What stands under a key is no copy, or not of that key, or of another shape.
    #[error("the copy under {key} can't be read")]
    Unreadable {
        /// The key.
        key: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The state can't be written as JSON.
    #[error("the state of {stream} can't be written as JSON")]
    Encode {
        /// The aggregate's stream.
        stream: StreamId,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The state is larger than a value of a bucket.
    #[error("the copy of {stream} has {size} bytes; at most {max} are possible")]
    TooLarge {
        /// The aggregate's stream.
        stream: StreamId,
        /// How many bytes it has.
        size: u64,
        /// How many are possible.
        max: u64,
    },
    /// The answer was lost: the change may or may not have been stored.
    #[error("whether the copy was changed is not known")]
    Unknown {
        /// What was heard last.
        source: BucketError,
    },
    /// The bucket failed or refused.
    #[error("the bucket of the copies could not do it")]
    Store(#[source] BucketError),
}

impl From<BucketError> for StateCopyError {
    fn from(error: BucketError) -> Self {
        match error.kind() {
            BucketErrorKind::Unknown => Self::Unknown { source: error },
            _ => Self::Store(error),
        }
    }
}
