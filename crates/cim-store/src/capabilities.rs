//! What an adapter can do, in plain data. An argument that an adapter does not support is an
//! error of kind `Unsupported`, never ignored.

use std::fmt;

use crate::Limits;

/// What an acknowledged change survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing: it is gone with the process.
    Process,
    /// The end of the process and of the machine: it was flushed to the disk before the
    /// acknowledgement.
    Disk,
    /// The loss of a minority of `replicas` machines.
    Replicated {
        /// How many machines hold it.
        replicas: u8,
        /// Whether each of them flushes before it acknowledges.
        flush: FlushPolicy,
    },
}

/// Whether a server is known to flush to its disk before it acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushPolicy {
    /// It said so itself.
    Verified,
    /// It could not be asked; a power cut may lose what it acknowledged.
    Unverified,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process => f.write_str("until the process ends"),
            Self::Disk => f.write_str("flushed to disk"),
            Self::Replicated { replicas, flush } => {
                let flush = match flush {
                    FlushPolicy::Verified => "verified",
                    FlushPolicy::Unverified => "unverified",
                };
                let replica = if *replicas == 1 {
                    "replica"
                } else {
                    "replicas"
                };
                write!(f, "{replicas} {replica}, flush {flush}")
            }
        }
    }
}

/// What an event log can do.
///
/// ```
/// use cim_store::{Durability, LogCapabilities};
///
/// // What an adapter says that flushes to its disk, and can't give up old events.
/// let mut disk = LogCapabilities::whole(Durability::Disk);
/// disk.truncate = false;
/// assert_eq!(disk.durability.to_string(), "flushed to disk");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogCapabilities {
    /// What an acknowledged commit survives.
    pub durability: Durability,
    /// Whether [`EventLog::truncate`](crate::EventLog::truncate) is supported.
    pub truncate: bool,
    /// Whether [`Store::shared_subscriptions`](crate::Store::shared_subscriptions) has some.
    pub shared_subscriptions: bool,
    /// The sizes it takes.
    pub limits: Limits,
}

impl LogCapabilities {
    /// Everything the contract asks for, at this durability, and nothing beyond it.
    pub const fn whole(durability: Durability) -> Self {
        Self {
            durability,
            truncate: true,
            shared_subscriptions: false,
            limits: Limits::CONTRACT,
        }
    }
}

/// What a bucket can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BucketCapabilities {
    /// What an acknowledged change survives.
    pub durability: Durability,
    /// Whether a key can have a time to live of its own.
    pub key_ttl: bool,
    /// The sizes it takes.
    pub limits: Limits,
}

impl BucketCapabilities {
    /// Everything the contract asks for, at this durability.
    pub const fn whole(durability: Durability) -> Self {
        Self {
            durability,
            key_ttl: true,
            limits: Limits::CONTRACT,
        }
    }
}
