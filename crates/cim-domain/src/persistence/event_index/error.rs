//! What goes wrong with an index, by what its caller does about it.

use cim_store::{BucketError, EventLogError};

use crate::persistence::TagsError;

/// What goes wrong with an [`EventIndex`](super::EventIndex).
///
/// That an index is missing, damaged, of another log or of another version of the format is no
/// error: it is built anew.
///
/// | variant | what to do |
/// |---|---|
/// | `Log` | see [its kind](EventLogError::kind); `Integrity`: stop, run `cim verify` |
/// | `Bucket` | see [its kind](BucketError::kind); the log itself can still be read |
/// | `InvalidSettings`, `InvalidTag` | correct what was given |
/// | `Stopped` | the runtime was shut down: open the index again |
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The event log failed or refused.
    #[error("the event log could not do it")]
    Log(#[from] EventLogError),
    /// The bucket that the index is kept in failed or refused.
    #[error("the bucket of the index could not do it")]
    Bucket(#[from] BucketError),
    /// A setting is out of its range.
    #[error("{setting} can't be {asked}: {why}")]
    InvalidSettings {
        /// Which one.
        setting: &'static str,
        /// What was given.
        asked: String,
        /// What it has to be.
        why: String,
    },
    /// A text that no event can have as a tag.
    #[error("no event can have such a tag")]
    InvalidTag(#[from] TagsError),
    /// The task that keeps the index fresh ended without an answer.
    #[error("the task that keeps the index fresh was ended with its runtime")]
    Stopped(#[source] tokio::task::JoinError),
}

/// Why a look into the index did not succeed.
#[derive(Debug)]
pub(super) enum Fault {
    /// What stands in the bucket is not what was written there, or not of this log.
    Damaged(&'static str),
    /// The log is another one than it was when it was read before: restored, or replaced.
    Replaced,
    /// What had been taken in was taken back meanwhile, because the index was begun anew.
    TakenBack,
    /// Anything else.
    Failed(IndexError),
}

impl<E: Into<IndexError>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}
