//! What can be asked of a resource, and why it refuses.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::ResourceKind;
use crate::hardware::HardwareDetails;
use crate::host_name::HostName;
use crate::host_name_claim::HostNameTaken;
use crate::ids::{AccountConceptId, LocationId, OrganizationId, OwnerId, PolicyId};
use crate::labels::{AssetTag, LabelName, LabelValue};
use crate::status::{Status, TransitionRefused};

/// What can be asked of a resource. Asking for what is so already changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComputeCommand {
    /// Take it into the inventory.
    Register {
        /// How it is called.
        host_name: HostName,
        /// What kind of resource it is.
        kind: ResourceKind,
    },
    /// Let it belong to an organization.
    AssignOrganization {
        /// Which one.
        organization: OrganizationId,
    },
    /// Let it stand somewhere.
    AssignLocation {
        /// Where.
        location: LocationId,
    },
    /// Let somebody answer for it.
    AssignOwner {
        /// Who.
        owner: OwnerId,
    },
    /// Let a policy hold for it.
    AddPolicy {
        /// Which one.
        policy: PolicyId,
    },
    /// Let a policy hold for it no longer.
    RemovePolicy {
        /// Which one.
        policy: PolicyId,
    },
    /// Charge it to an account.
    AssignAccountConcept {
        /// Which one.
        account_concept: AccountConceptId,
    },
    /// Charge it to nobody.
    ClearAccountConcept,
    /// Write down what it is made of.
    SetHardwareDetails(HardwareDetails),
    /// Put a sticker on it.
    AssignAssetTag {
        /// What is printed on it.
        tag: AssetTag,
    },
    /// Change what is said about it.
    UpdateMetadata {
        /// Names with the values that they shall have.
        set: BTreeMap<LabelName, LabelValue>,
        /// Names that shall be gone.
        remove: BTreeSet<LabelName>,
    },
    /// Bring it into another status.
    ChangeStatus {
        /// Which one.
        to: Status,
        /// Why, if there is something to say.
        reason: Option<LabelValue>,
    },
}

/// Why a resource refuses a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComputeError {
    /// Nothing is known of it.
    #[error("there is no such resource; register it first")]
    NotRegistered,
    /// It is in the inventory under another name or as another kind.
    #[error("the resource was registered already, as {host_name}")]
    RegisteredAlready {
        /// How it is called.
        host_name: HostName,
    },
    /// Another resource has its name.
    #[error(transparent)]
    HostName(#[from] HostNameTaken),
    /// It is gone, so nothing can be said about it any more.
    #[error("a decommissioned resource does not change any more")]
    Decommissioned,
    /// There is no way to the status.
    #[error(transparent)]
    Transition(#[from] TransitionRefused),
    /// It can't do its work yet.
    #[error("a resource is not activated without {missing}")]
    NotReady {
        /// What it lacks.
        missing: &'static str,
    },
    /// The same name is to be set and removed.
    #[error("`{name}` can't be set and removed at the same time")]
    ContradictingMetadata {
        /// The name.
        name: LabelName,
    },
    /// It would have too many labels.
    #[error("a resource has at most {max} labels", max = crate::resource::ComputeResource::MAX_LABELS)]
    TooMuchMetadata,
    /// A machine without cores or memory.
    #[error("a machine has at least one core and some memory")]
    ImpossibleHardware,
}
