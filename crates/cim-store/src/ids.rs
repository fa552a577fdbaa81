//! Ids enter here and nowhere else, so that a test decides them.
//!
//! Fresh ids are UUIDs of version 7 (RFC 9562): they begin with the time in milliseconds, so they
//! sort roughly in the order they were made.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Takes any UUID as it is.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }

            /// From its 16 bytes, most significant first.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// Its 16 bytes, most significant first.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

id! {
    /// The id of one event, unique in all stores.
    EventId
}
id! {
    /// The id of one commit. Appending the same commit id again never stores it twice.
    ///
    /// ```
    /// use cim_store::CommitId;
    /// use uuid::Uuid;
    ///
    /// // A request that comes twice, under the id that its sender gave it, is one commit.
    /// let request: Uuid = "0198a6b2-7c31-7d5e-9f04-3b8f5f6d2a10".parse()?;
    /// let commit = CommitId::from_uuid(request);
    /// assert_eq!(commit.as_uuid(), &request);
    /// assert_eq!(CommitId::from_bytes(*commit.as_bytes()), commit);
    /// # Ok::<(), uuid::Error>(())
    /// ```
    CommitId
}
id! {
    /// What belongs to one conversation carries the same correlation id.
    CorrelationId
}
id! {
    /// The id of the event or command that caused something.
    CausationId
}

impl From<EventId> for CausationId {
    fn from(id: EventId) -> Self {
        Self(id.0)
    }
}

/// The conversation that begins with this event.
impl From<EventId> for CorrelationId {
    fn from(id: EventId) -> Self {
        Self(id.0)
    }
}

/// The conversation that begins with this commit.
impl From<CommitId> for CorrelationId {
    fn from(id: CommitId) -> Self {
        Self(id.0)
    }
}

/// Where a store takes fresh ids from.
pub trait IdGenerator: Send + Sync + fmt::Debug + 'static {
    /// A UUID that was never handed out before.
    fn next_uuid(&self) -> Uuid;
}

/// UUIDs of version 7 from the machine's clock and random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemIds;

#[allow(clippy::disallowed_methods)] // this is the one place that may ask the machine
impl IdGenerator for SystemIds {
    fn next_uuid(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// Ids that count up from a seed: the same in every run. For tests.
///
/// ```
/// use cim_store::{IdGenerator, SequentialIds};
///
/// let (one, other) = (SequentialIds::new(7), SequentialIds::new(7));
/// assert_eq!(one.next_uuid(), other.next_uuid());
/// assert_ne!(one.next_uuid(), one.next_uuid());
/// ```
#[derive(Debug)]
pub struct SequentialIds {
    seed: u64,
    count: AtomicU64,
}

impl SequentialIds {
    /// Two generators with the same seed hand out the same ids.
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            count: AtomicU64::new(0),
        }
    }
}

impl IdGenerator for SequentialIds {
    fn next_uuid(&self) -> Uuid {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        // Version 8 (RFC 9562) is free for any content; the builder sets its version bits.
        let number = (u128::from(self.seed) << 64) | u128::from(count);
        uuid::Builder::from_custom_bytes(number.to_be_bytes()).into_uuid()
    }
}
