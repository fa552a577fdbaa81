//! What goes wrong with snapshots, by what its caller does about it.

use cim_store::{BucketError, BucketErrorKind, Fault};

/// What goes wrong in a [`SnapshotStore`](super::SnapshotStore).
///
/// A repository never fails because of it: it reads the events instead.
///
/// | variant | what to do |
/// |---|---|
/// | `InvalidBucket` | correct what was given |
/// | `Encode` | see why the state has no such encoding |
/// | `Incomplete` | run the newer program |
/// | `TooLarge` | keep the aggregate small, or split it |
/// | `Unknown` | nothing: the next snapshot finds out |
/// | `Store` | see [its kind](BucketError::kind) |
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The text can't be the name of a bucket.
    #[error("`{name}` can't be the name of a bucket")]
    InvalidBucket {
        /// What was given, shortened to 100 characters.
        name: String,
        /// What is wrong with it.
        source: cim_store::bucket::KeyError,
    },
    /// The state can't be written.
    #[error("the state of {stream} can't be encoded as a snapshot")]
    Encode {
        /// The aggregate's stream.
        stream: cim_store::StreamId,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The state misses events, because their types are unknown to this program.
    #[error("the state of {stream} misses {skipped} events of unknown types")]
    Incomplete {
        /// The aggregate's stream.
        stream: cim_store::StreamId,
        /// How many events it misses.
        skipped: u64,
    },
    /// The snapshot is larger than a value of a bucket.
    #[error("the snapshot of {stream} has {size} bytes; at most {max} are possible")]
    TooLarge {
        /// The aggregate's stream.
        stream: cim_store::StreamId,
        /// How many bytes it has.
        size: u64,
        /// How many are possible.
        max: u64,
    },
    /// The answer was lost: the change may or may not have been stored.
    #[error("whether the snapshot was changed is not known")]
    Unknown {
        /// What was heard last.
        source: BucketError,
    },
    /// The bucket failed or refused.
    #[error("the bucket of the snapshots could not do it")]
    Store(#[source] BucketError),
}

impl SnapshotError {
    /// Whether trying again later may succeed.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use cim_domain::persistence::snapshot::{SnapshotError, SnapshotSettings, SnapshotStore};
    /// use cim_domain::store::BucketError;
    ///
    /// let store = cim_domain::open("memory:").await?;
    /// let settings = SnapshotSettings { bucket: "no name", ..SnapshotSettings::default() };
    /// let error = SnapshotStore::open(&*store, settings).await.unwrap_err();
    /// assert!(!error.is_temporary()); // it never will be one
    ///
    /// let error = SnapshotError::from(BucketError::unavailable("there is no connection"));
    /// assert!(error.is_temporary());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unknown { .. } => true,
            Self::Store(error) => error.fault() == Some(Fault::Unavailable),
            _ => false,
        }
    }
}

impl From<BucketError> for SnapshotError {
    fn from(error: BucketError) -> Self {
        match error.kind() {
            BucketErrorKind::Unknown => Self::Unknown { source: error },
            _ => Self::Store(error),
        }
    }
}
