//! What can have happened to a resource.
//!
//! Names and payloads are stored for ever: the tests hold the JSON of each. A change of shape raises
//! the version and brings an upcast, as `HardwareDetailsSet` did.

use std::collections::{BTreeMap, BTreeSet};

use cim_domain::{DomainEvent, UpcastError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::hardware::HardwareDetails;
use crate::host_name::HostName;
use crate::ids::{AccountConceptId, LocationId, OrganizationId, OwnerId, PolicyId};
use crate::labels::{AssetTag, LabelName, LabelValue};
use crate::status::Status;

/// What happened to a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, DomainEvent)]
pub enum ComputeEvent {
    /// It was taken into the inventory, and is being set up.
    ResourceRegistered {
        /// How it is called.
        host_name: HostName,
        /// What kind of resource it is.
        kind: ResourceKind,
    },
    /// It belongs to an organization from now on.
    OrganizationAssigned {
        /// Which one.
        organization: OrganizationId,
    },
    /// It stands somewhere from now on.
    LocationAssigned {
        /// Where.
        location: LocationId,
    },
    /// Somebody answers for it from now on.
    OwnerAssigned {
        /// Who.
        owner: OwnerId,
    },
    /// A policy holds for it from now on.
    PolicyAdded {
        /// Which one.
        policy: PolicyId,
    },
    /// A policy holds for it no longer.
    PolicyRemoved {
        /// Which one.
        policy: PolicyId,
    },
    /// It is charged to an account from now on.
    AccountConceptAssigned {
        /// Which one.
        account_concept: AccountConceptId,
    },
    /// It is charged to nobody any more.
    AccountConceptCleared,
    /// It was looked at what it is made of.
    ///
    /// Version 1 counted memory in units of 2^30 bytes: `{"cpu_cores":8,"memory_gb":32}`. Machines
    /// with half a unit came, so version 2 counts in units of 2^20.
    #[event(version = 2, upcast(1 = memory_in_mib))]
    HardwareDetailsSet(HardwareDetails),
    /// A sticker was put on it.
    AssetTagAssigned {
        /// What is printed on it.
        tag: AssetTag,
    },
    /// What is said about it changed.
    MetadataUpdated {
        /// Names that are new or have another value, with the value.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        set: BTreeMap<LabelName, LabelValue>,
        /// Names that are gone.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        removed: BTreeSet<LabelName>,
    },
    /// It went from one status to another.
    StatusChanged {
        /// The one before.
        from: Status,
        /// The one from now on.
        to: Status,
        /// Why, where somebody said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<LabelValue>,
    },
}

/// What kind of resource it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    /// A machine that one can touch.
    PhysicalServer,
    /// A machine on another one.
    VirtualMachine,
    /// Runs containers.
    ContainerHost,
    /// Forwards packets.
    NetworkDevice,
}

/// Lifts hardware details from version 1 to version 2.
fn memory_in_mib(mut payload: Value) -> Result<Value, UpcastError> {
    let fields = payload
        .as_object_mut()
        .ok_or_else(|| UpcastError::new("the details are no object"))?;
    let memory_gb = fields
        .remove("memory_gb")
        .and_then(|memory| memory.as_u64())
        .ok_or_else(|| UpcastError::new("`memory_gb` is no whole number"))?;
    let memory_mib = memory_gb
        .checked_mul(1024)
        .ok_or_else(|| UpcastError::new("no machine has so much memory"))?;
    fields.insert("memory_mib".to_owned(), memory_mib.into());
    Ok(payload)
}
