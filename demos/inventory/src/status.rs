//! The states of a resource, and the ways between them.
//!
//! ```text
//! provisioning ──► active ◄──► maintenance ──► decommissioned
//!       └───────────────────────────────────────────▲
//! ```
//!
//! A machine that works is not switched off for good: it goes through maintenance, where somebody
//! looks at what still runs on it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a resource is there for at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is being set up. Every resource begins with it.
    Provisioning,
    /// It does its work.
    Active,
    /// It is out of work, to be looked after.
    Maintenance,
    /// It is gone for good.
    Decommissioned,
}
use Status::{Active, Decommissioned, Maintenance, Provisioning};

impl Status {
    /// All of them.
    pub const ALL: [Self; 4] = [Provisioning, Active, Maintenance, Decommissioned];

    /// The way from here to another status, if there is one.
    ///
    /// ```
    /// use cim_demo_inventory::status::Status;
    ///
    /// assert!(Status::Provisioning.to(Status::Active).is_ok());
    /// assert_eq!(
    ///     Status::Active.to(Status::Decommissioned).unwrap_err().to_string(),
    ///     "an active resource does its work; take it into maintenance before it is decommissioned"
    /// );
    /// ```
    ///
    /// # Errors
    /// Why there is none.
    pub const fn to(self, to: Self) -> Result<Transition, TransitionRefused> {
        use TransitionRefused as Refused;
        match (self, to) {
            (Provisioning, Active | Decommissioned)
            | (Active, Maintenance)
            | (Maintenance, Active | Decommissioned) => Ok(Transition { from: self, to }),
            (Provisioning, Provisioning)
            | (Active, Active)
            | (Maintenance, Maintenance)
            | (Decommissioned, Decommissioned) => Err(Refused::IsThere(self)),
            (Decommissioned, _) => Err(Refused::GoneForGood),
            (_, Provisioning) => Err(Refused::BeginsOnce),
            (Provisioning, Maintenance) => Err(Refused::NeverWorked),
            (Active, Decommissioned) => Err(Refused::StillWorks),
        }
    }

    /// The word for it, as it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            Provisioning => "provisioning",
            Active => "active",
            Maintenance => "maintenance",
            Decommissioned => "decommissioned",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A way from one status to another that may be gone: [`Status::to`] alone makes it.
///
/// It is for decisions. Events hold the two states instead, because a way that is closed one day
/// must not make the past unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    from: Status,
    to: Status,
}

impl Transition {
    /// Where it begins.
    pub const fn from(self) -> Status {
        self.from
    }

    /// Where it leads.
    pub const fn to(self) -> Status {
        self.to
    }
}

/// Why there is no way from one status to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransitionRefused {
    /// It was decommissioned.
    #[error("a decommissioned resource is gone for good; register a new one")]
    GoneForGood,
    /// Provisioning comes first and never again.
    #[error("a resource is provisioned once; take an active one into maintenance instead")]
    BeginsOnce,
    /// From provisioning to maintenance.
    #[error("a resource that never worked has nothing to maintain; activate it first")]
    NeverWorked,
    /// From active to decommissioned.
    #[error(
        "an active resource does its work; take it into maintenance before it is decommissioned"
    )]
    StillWorks,
    /// It has this status already.
    #[error("the resource is in this state already: {0}")]
    IsThere(Status),
}
