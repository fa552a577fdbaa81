//! The lives of resources: what becomes of each is decided by its number and its version alone.
//!
//! So every run of the demo tells the same story, and one that was stopped is continued by the next.

use std::collections::{BTreeMap, BTreeSet};

use cim_demo_inventory::labels::LabelError;
use cim_demo_inventory::prelude::*;
use cim_domain::prelude::*;
use cim_domain::store::{ExpectedVersion, NewEvent};
use serde_json::json;
use uuid::Uuid;

/// The namespace of all ids in this demo (RFC 9562, version 5); made up once.
const NAMESPACE: Uuid = Uuid::from_u128(0x3b6e_0a9f_54c1_4d7a_8e25_91f7_c40d_6b18);
const SITES: [&str; 5] = ["ams", "fra", "lis", "osl", "vie"];
const ROLES: [(&str, ResourceKind); 5] = [
    ("web", ResourceKind::VirtualMachine),
    ("db", ResourceKind::PhysicalServer),
    ("queue", ResourceKind::VirtualMachine),
    ("runner", ResourceKind::ContainerHost),
    ("switch", ResourceKind::NetworkDevice),
];

/// A resource of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) number: u64,
    pub(crate) id: ResourceId,
}

/// What ends a life early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LifeError {
    #[error("{host_name} could not go on")]
    Inventory {
        host_name: String,
        source: Box<InventoryError>,
    },
    #[error("the demo made up a name that is none")]
    Name(#[from] cim_demo_inventory::host_name::HostNameError),
    #[error("the demo made up a label that is none")]
    Label(#[from] LabelError),
    #[error("the demo made up an event that is none")]
    Event(#[from] cim_domain::store::event::NewEventError),
}

/// How far a life came in one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lived {
    /// Whether it began.
    pub(crate) is_new: bool,
    /// Events that were stored.
    pub(crate) events: u64,
    /// Whether it is over.
    pub(crate) is_gone: bool,
}

impl Life {
    pub(crate) fn new(number: u64) -> Self {
        Self {
            number,
            id: ResourceId::from_uuid(made_up("resource", number)),
        }
    }

    /// Whether it was registered by an earlier release of the inventory.
    pub(crate) const fn is_of_the_old_era(self) -> bool {
        self.number % 10 == 3
    }

    fn name(self) -> String {
        let (role, _) = ROLES[index(self.number, ROLES.len())];
        let site = SITES[index(self.number / 7, SITES.len())];
        format!("{role}-{}.{site}.example.org", self.number)
    }

    fn failed(self, error: InventoryError) -> LifeError {
        LifeError::Inventory {
            host_name: self.name(),
            source: Box::new(error),
        }
    }

    /// Lets it live on, for so many commands.
    pub(crate) async fn live(
        self,
        inventory: &Inventory,
        ctx: &Context,
        steps: u32,
        stop: impl Fn() -> bool,
    ) -> Result<Lived, LifeError> {
        let failed = |error| self.failed(error);
        let mut lived = Lived::default();
        let (mut state, mut version) = match inventory.resources().load(ctx, &self.id).await {
            Ok(loaded) => (loaded.state, loaded.version),
            Err(error) if error.is_not_found() => {
                lived.is_new = true;
                (ComputeResource::default(), Version::NONE)
            }
            Err(error) => return Err(failed(error)),
        };
        for step in 0..steps {
            if stop() {
                break;
            }
            if version == Version::NONE && self.is_of_the_old_era() {
                lived.events += self.begin_in_the_old_era(inventory, ctx).await?;
                let loaded = inventory
                    .resources()
                    .load(ctx, &self.id)
                    .await
                    .map_err(failed)?;
                (state, version) = (loaded.state, loaded.version);
                continue;
            }
            let Some(command) = self.next(&state, version, step)? else {
                break;
            };
            let done = inventory
                .execute(ctx, self.id, command)
                .await
                .map_err(failed)?;
            lived.events += done.events.len() as u64;
            (state, version) = (done.resource, done.version);
        }
        lived.is_gone = state.status() == Some(Status::Decommissioned);
        Ok(lived)
    }

    /// Stores what the release stored that counted memory in units of 2^30 bytes.
    async fn begin_in_the_old_era(
        self,
        inventory: &Inventory,
        ctx: &Context,
    ) -> Result<u64, LifeError> {
        let failed = |error| self.failed(error);
        let stream = ComputeResource::stream(&self.id).map_err(|source| {
            failed(InventoryError::InvalidId {
                id: self.id.to_string(),
                source,
            })
        })?;
        let (_, kind) = ROLES[index(self.number, ROLES.len())];
        let memory_gb = 4_u64 << (self.number % 5);
        let events = vec![
            NewEvent::json(
                "resource_registered",
                &json!({ "host_name": self.name(), "kind": kind }),
            )?,
            NewEvent::json(
                "hardware_details_set",
                &json!({ "cpu_cores": 4, "memory_gb": memory_gb }),
            )?,
        ];
        let count = events.len() as u64;
        let log = inventory.resources().log();
        log.append_to(ctx, &stream, ExpectedVersion::NEW, events)
            .await
            .map_err(|error| failed(error.into()))?;
        Ok(count)
    }

    /// What happens next to a resource in this state; nothing after its end.
    fn next(
        self,
        state: &ComputeResource,
        version: Version,
        step: u32,
    ) -> Result<Option<ComputeCommand>, LifeError> {
        use ComputeCommand as Command;
        let dice = made_up("dice", self.number ^ (version.get() << 32))
            .as_u64_pair()
            .0;
        let change_status = |to, reason: &str| -> Result<Command, LabelError> {
            let reason = Some(LabelValue::new(reason)?);
            Ok(Command::ChangeStatus { to, reason })
        };
        let Some(status) = state.status() else {
            let (_, kind) = ROLES[index(self.number, ROLES.len())];
            let host_name = self.name().parse()?;
            return Ok(Some(Command::Register { host_name, kind }));
        };
        Ok(Some(match status {
            Status::Provisioning => match self.lacks(state, dice)? {
                Some(command) => command,
                None => change_status(Status::Active, "set up")?,
            },
            Status::Active => match dice % 8 {
                0 | 1 => change_status(Status::Maintenance, "regular maintenance")?,
                _ => self.change(state, dice, version, step)?,
            },
            // What is old gets more memory before anything else.
            Status::Maintenance if self.is_of_the_old_era() && has_its_first_memory(state) => {
                more_memory(state)
            }
            Status::Maintenance => match dice % 6 {
                0 => change_status(Status::Decommissioned, "too old")?,
                1 => more_memory(state),
                _ => change_status(Status::Active, "as good as new")?,
            },
            Status::Decommissioned => return Ok(None),
        }))
    }

    /// What a resource that is being set up does not have yet.
    fn lacks(
        self,
        state: &ComputeResource,
        dice: u64,
    ) -> Result<Option<ComputeCommand>, LifeError> {
        use ComputeCommand as Command;
        let organization = OrganizationId::from_uuid(made_up("organization", self.number % 4));
        let location = LocationId::from_uuid(made_up("location", self.number / 7 % 5));
        Ok(if state.organization().is_none() {
            Some(Command::AssignOrganization { organization })
        } else if state.location().is_none() {
            Some(Command::AssignLocation { location })
        } else if state.owner().is_none() {
            Some(Command::AssignOwner { owner: owner(dice) })
        } else if state.hardware().is_none() {
            let memory_mib = 2_048 << (dice % 6);
            let details = HardwareDetails::new(2 << (dice % 4), memory_mib);
            Some(Command::SetHardwareDetails(details))
        } else if state.asset_tag().is_none() {
            let tag = AssetTag::new(format!("A-{:05}", self.number))?;
            Some(Command::AssignAssetTag { tag })
        } else {
            None
        })
    }

    /// Something that changes a resource while it works.
    fn change(
        self,
        state: &ComputeResource,
        dice: u64,
        version: Version,
        step: u32,
    ) -> Result<ComputeCommand, LifeError> {
        use ComputeCommand as Command;
        let policy = PolicyId::from_uuid(made_up("policy", dice >> 8 & 3));
        Ok(match (dice >> 16) % 5 {
            0 if state.policies().contains(&policy) => Command::RemovePolicy { policy },
            0 => Command::AddPolicy { policy },
            1 if state.account_concept().is_some() => Command::ClearAccountConcept,
            1 => Command::AssignAccountConcept {
                account_concept: AccountConceptId::from_uuid(made_up("account", dice >> 8 & 7)),
            },
            2 if state.owner() != Some(owner(dice)) => Command::AssignOwner { owner: owner(dice) },
            3 if state.metadata().contains_key(&LabelName::new("ticket")?) => {
                Command::UpdateMetadata {
                    set: BTreeMap::new(),
                    remove: BTreeSet::from([LabelName::new("ticket")?]),
                }
            }
            _ => Command::UpdateMetadata {
                set: BTreeMap::from([(
                    LabelName::new("ticket")?,
                    LabelValue::new(format!("T-{version}-{step}"))?,
                )]),
                remove: BTreeSet::new(),
            },
        })
    }
}

fn owner(dice: u64) -> OwnerId {
    OwnerId::from_uuid(made_up("owner", dice >> 8 & 15))
}

/// Whether it has the memory that it came with: a power of two, which half as much again is not.
fn has_its_first_memory(state: &ComputeResource) -> bool {
    let hardware = state.hardware();
    hardware.is_some_and(|details| details.memory_mib.is_power_of_two())
}

/// Half as much again, which not every multiple of 2^30 bytes is.
fn more_memory(state: &ComputeResource) -> ComputeCommand {
    let mut details = state
        .hardware()
        .cloned()
        .unwrap_or(HardwareDetails::new(2, 1_024));
    // A multiple of 2 at least, so that something changes; not without end.
    details.memory_mib = (details.memory_mib / 2 * 3).clamp(2, 1 << 30);
    ComputeCommand::SetHardwareDetails(details)
}

fn made_up(what: &str, number: u64) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{what} {number}").as_bytes())
}

fn index(number: u64, length: usize) -> usize {
    usize::try_from(number).unwrap_or(0) % length
}
