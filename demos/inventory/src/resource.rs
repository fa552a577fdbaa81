//! The aggregate: a compute resource.

use std::collections::{BTreeMap, BTreeSet};

use cim_domain::Aggregate;
use serde::{Deserialize, Serialize};

use crate::command::{ComputeCommand, ComputeError};
use crate::event::{ComputeEvent, ResourceKind};
use crate::hardware::HardwareDetails;
use crate::host_name::HostName;
use crate::ids::{AccountConceptId, LocationId, OrganizationId, OwnerId, PolicyId, ResourceId};
use crate::labels::{AssetTag, LabelName, LabelValue};
use crate::status::Status;

/// A compute resource as its events say it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComputeResource {
    registered: Option<Registered>,
    organization: Option<OrganizationId>,
    location: Option<LocationId>,
    owner: Option<OwnerId>,
    policies: BTreeSet<PolicyId>,
    account_concept: Option<AccountConceptId>,
    hardware: Option<HardwareDetails>,
    asset_tag: Option<AssetTag>,
    metadata: BTreeMap<LabelName, LabelValue>,
}

/// What is there as soon as a resource is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Registered {
    host_name: HostName,
    kind: ResourceKind,
    status: Status,
}

impl ComputeResource {
    /// The most labels that a resource has.
    pub const MAX_LABELS: usize = 100;

    /// Its status; `None` before it is registered.
    pub fn status(&self) -> Option<Status> {
        self.registered.as_ref().map(|registered| registered.status)
    }

    /// How it is called; `None` before it is registered.
    pub fn host_name(&self) -> Option<&HostName> {
        self.registered
            .as_ref()
            .map(|registered| &registered.host_name)
    }

    /// What kind of resource it is; `None` before it is registered.
    pub fn kind(&self) -> Option<ResourceKind> {
        self.registered.as_ref().map(|registered| registered.kind)
    }

    /// Who it belongs to.
    pub fn organization(&self) -> Option<OrganizationId> {
        self.organization
    }

    /// Where it stands.
    pub fn location(&self) -> Option<LocationId> {
        self.location
    }

    /// Who answers for it.
    pub fn owner(&self) -> Option<OwnerId> {
        self.owner
    }

    /// The policies that hold for it.
    pub fn policies(&self) -> &BTreeSet<PolicyId> {
        &self.policies
    }

    /// What it is charged to.
    pub fn account_concept(&self) -> Option<AccountConceptId> {
        self.account_concept
    }

    /// What it is made of.
    pub fn hardware(&self) -> Option<&HardwareDetails> {
        self.hardware.as_ref()
    }

    /// What its sticker says.
    pub fn asset_tag(&self) -> Option<&AssetTag> {
        self.asset_tag.as_ref()
    }

    /// What else is said about it.
    pub fn metadata(&self) -> &BTreeMap<LabelName, LabelValue> {
        &self.metadata
    }

    /// Decides about a command to a resource that is there and not gone.
    fn change(
        &self,
        registered: &Registered,
        command: ComputeCommand,
    ) -> Result<Option<ComputeEvent>, ComputeError> {
        use ComputeCommand as Command;
        use ComputeEvent as Event;
        Ok(match command {
            Command::Register { host_name, kind } => {
                if (&host_name, kind) != (&registered.host_name, registered.kind) {
                    let host_name = registered.host_name.clone();
                    return Err(ComputeError::RegisteredAlready { host_name });
                }
                None
            }
            Command::AssignOrganization { organization } => (self.organization
                != Some(organization))
            .then_some(Event::OrganizationAssigned { organization }),
            Command::AssignLocation { location } => {
                (self.location != Some(location)).then_some(Event::LocationAssigned { location })
            }
            Command::AssignOwner { owner } => {
                (self.owner != Some(owner)).then_some(Event::OwnerAssigned { owner })
            }
            Command::AddPolicy { policy } => {
                (!self.policies.contains(&policy)).then_some(Event::PolicyAdded { policy })
            }
            Command::RemovePolicy { policy } => self
                .policies
                .contains(&policy)
                .then_some(Event::PolicyRemoved { policy }),
            Command::AssignAccountConcept { account_concept } => (self.account_concept
                != Some(account_concept))
            .then_some(Event::AccountConceptAssigned { account_concept }),
            Command::ClearAccountConcept => {
                self.account_concept.map(|_| Event::AccountConceptCleared)
            }
            Command::SetHardwareDetails(details) => {
                if !details.is_possible() {
                    return Err(ComputeError::ImpossibleHardware);
                }
                (self.hardware.as_ref() != Some(&details))
                    .then_some(Event::HardwareDetailsSet(details))
            }
            Command::AssignAssetTag { tag } => {
                (self.asset_tag.as_ref() != Some(&tag)).then_some(Event::AssetTagAssigned { tag })
            }
            Command::UpdateMetadata { set, remove } => self.update_metadata(set, remove)?,
            Command::ChangeStatus { to, reason } => {
                if to == registered.status {
                    return Ok(None);
                }
                let transition = registered.status.to(to)?;
                if to == Status::Active {
                    self.check_ready()?;
                }
                Some(Event::StatusChanged {
                    from: transition.from(),
                    to: transition.to(),
                    reason,
                })
            }
        })
    }

    /// What really changes; nothing where all is so already.
    fn update_metadata(
        &self,
        mut set: BTreeMap<LabelName, LabelValue>,
        mut remove: BTreeSet<LabelName>,
    ) -> Result<Option<ComputeEvent>, ComputeError> {
        if let Some(name) = remove.iter().find(|name| set.contains_key(*name)) {
            let name = name.clone();
            return Err(ComputeError::ContradictingMetadata { name });
        }
        set.retain(|name, value| self.metadata.get(name) != Some(value));
        remove.retain(|name| self.metadata.contains_key(name));
        let new = set.keys().filter(|name| !self.metadata.contains_key(*name));
        if self.metadata.len() + new.count() > Self::MAX_LABELS + remove.len() {
            return Err(ComputeError::TooMuchMetadata);
        }
        let changes = !set.is_empty() || !remove.is_empty();
        Ok(changes.then_some(ComputeEvent::MetadataUpdated {
            set,
            removed: remove,
        }))
    }

    /// Nothing goes into work that nobody answers for, or nobody can find.
    fn check_ready(&self) -> Result<(), ComputeError> {
        let missing = match (self.owner, self.location, &self.hardware) {
            (None, _, _) => "an owner",
            (_, None, _) => "a location",
            (_, _, None) => "its hardware details",
            _ => return Ok(()),
        };
        Err(ComputeError::NotReady { missing })
    }
}

impl Aggregate for ComputeResource {
    const CONTEXT: &'static str = "infrastructure";
    const TYPE: &'static str = "compute";
    type Id = ResourceId;
    type Event = ComputeEvent;
    type Command = ComputeCommand;
    type Error = ComputeError;

    fn apply(&mut self, event: &ComputeEvent) {
        use ComputeEvent as Event;
        match event {
            Event::ResourceRegistered { host_name, kind } => {
                self.registered = Some(Registered {
                    host_name: host_name.clone(),
                    kind: *kind,
                    status: Status::Provisioning,
                });
            }
            Event::OrganizationAssigned { organization } => {
                self.organization = Some(*organization);
            }
            Event::LocationAssigned { location } => self.location = Some(*location),
            Event::OwnerAssigned { owner } => self.owner = Some(*owner),
            Event::PolicyAdded { policy } => {
                self.policies.insert(*policy);
            }
            Event::PolicyRemoved { policy } => {
                self.policies.remove(policy);
            }
            Event::AccountConceptAssigned { account_concept } => {
                self.account_concept = Some(*account_concept);
            }
            Event::AccountConceptCleared => self.account_concept = None,
            Event::HardwareDetailsSet(details) => self.hardware = Some(details.clone()),
            Event::AssetTagAssigned { tag } => self.asset_tag = Some(tag.clone()),
            Event::MetadataUpdated { set, removed } => {
                let set = set
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone()));
                self.metadata.extend(set);
                self.metadata.retain(|name, _| !removed.contains(name));
            }
            Event::StatusChanged { to, .. } => {
                if let Some(registered) = &mut self.registered {
                    registered.status = *to;
                }
            }
        }
    }

    fn handle(&self, command: ComputeCommand) -> Result<Vec<ComputeEvent>, ComputeError> {
        let Some(registered) = &self.registered else {
            return match command {
                ComputeCommand::Register { host_name, kind } => {
                    Ok(vec![ComputeEvent::ResourceRegistered { host_name, kind }])
                }
                _ => Err(ComputeError::NotRegistered),
            };
        };
        // The way to another status says by itself that there is none.
        let asks_for_status = matches!(command, ComputeCommand::ChangeStatus { .. });
        if registered.status == Status::Decommissioned && !asks_for_status {
            return Err(ComputeError::Decommissioned);
        }
        Ok(self.change(registered, command)?.into_iter().collect())
    }
}
