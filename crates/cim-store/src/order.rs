//! Versions, positions and revisions: the three ways in which the store counts.
//!
//! ```text
//! log        position   1     2     3     4     5     6   …   (adapters may leave gaps)
//! stream a   version    1           2           3
//! stream b   version          1           2           3
//! bucket k   revision   7     9     12                        (per bucket, strictly increasing)
//! ```
//!
//! *After* position p is always exclusive; *from* version v is always inclusive.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Zero: before the first one.
            pub const NONE: Self = Self(0);
            /// The largest value.
            pub const MAX: Self = Self(u64::MAX);

            /// Takes the number as it is.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one that follows, or the largest one when there is none.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl From<u64> for $name {
            fn from(number: u64) -> Self {
                Self(number)
            }
        }

        impl From<$name> for u64 {
            fn from(counter: $name) -> Self {
                counter.0
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

counter! {
    /// An event's place in its stream: 1, 2, 3 …, without gaps. A stream without events has
    /// version 0 ([`Version::NONE`]).
    Version
}

counter! {
    /// An event's place in the whole log: strictly increasing, gaps allowed. The first event's
    /// position is at least 1, so *after* [`Position::NONE`] means from the beginning.
    Position
}

counter! {
    /// A number that every change of a bucket increases. A key that never was has revision 0.
    Revision
}

/// What a writer requires of a stream at the moment of its append.
///
/// ```
/// use cim_store::{ExpectedVersion, Version};
///
/// assert!(ExpectedVersion::NEW.is_met_by(Version::NONE));
/// assert!(ExpectedVersion::Exact(Version::new(3)).is_met_by(Version::new(3)));
/// assert!(!ExpectedVersion::Exists.is_met_by(Version::NONE));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExpectedVersion {
    /// Nothing: append to whatever is there.
    Any,
    /// The stream is at exactly this version. `Exact(Version::NONE)`: it must not exist yet.
    Exact(Version),
    /// The stream has at least one event.
    Exists,
}

impl ExpectedVersion {
    /// The stream must not exist yet.
    pub const NEW: Self = Self::Exact(Version::NONE);

    /// Whether a stream at version `actual` meets the expectation.
    pub fn is_met_by(self, actual: Version) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(expected) => expected == actual,
            Self::Exists => actual > Version::NONE,
        }
    }
}

impl From<Version> for ExpectedVersion {
    fn from(version: Version) -> Self {
        Self::Exact(version)
    }
}

impl fmt::Display for ExpectedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any version"),
            Self::Exact(Version::NONE) => f.write_str("no events yet"),
            Self::Exact(version) => write!(f, "version {version}"),
            Self::Exists => f.write_str("at least one event"),
        }
    }
}
