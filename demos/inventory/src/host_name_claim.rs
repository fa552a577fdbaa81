//! Who has a host name: an aggregate for each name, so that no two resources are called the same.
//!
//! A rule over many aggregates ("no name twice") is a decision on the one that stands for what must
//! be unique. It is claimed in the commit that registers the resource: both are stored, or nothing.

use cim_domain::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};

use crate::host_name::HostName;
use crate::ids::ResourceId;

/// Who has a host name at the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostNameClaim {
    holder: Option<ResourceId>,
}

/// What happened to a host name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, DomainEvent)]
pub enum HostNameEvent {
    /// A resource has it from now on.
    HostNameClaimed {
        /// Which one.
        resource: ResourceId,
    },
    /// The resource that had it has it no longer.
    HostNameReleased {
        /// Which one.
        resource: ResourceId,
    },
}

/// What can be asked of a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostNameCommand {
    /// Give it to a resource.
    Claim {
        /// Which one.
        resource: ResourceId,
    },
    /// Take it from a resource, if that has it.
    Release {
        /// Which one.
        resource: ResourceId,
    },
}

/// Another resource has the name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host name belongs to the resource {holder}")]
pub struct HostNameTaken {
    /// Which one.
    pub holder: ResourceId,
}

impl HostNameClaim {
    /// The resource that has the name.
    pub fn holder(&self) -> Option<ResourceId> {
        self.holder
    }
}

impl Aggregate for HostNameClaim {
    const CONTEXT: &'static str = "infrastructure";
    const TYPE: &'static str = "host_name";
    type Id = HostName;
    type Event = HostNameEvent;
    type Command = HostNameCommand;
    type Error = HostNameTaken;

    fn apply(&mut self, event: &HostNameEvent) {
        self.holder = match event {
            HostNameEvent::HostNameClaimed { resource } => Some(*resource),
            HostNameEvent::HostNameReleased { .. } => None,
        };
    }

    fn handle(&self, command: HostNameCommand) -> Result<Vec<HostNameEvent>, HostNameTaken> {
        match (command, self.holder) {
            (HostNameCommand::Claim { resource }, None) => {
                Ok(vec![HostNameEvent::HostNameClaimed { resource }])
            }
            (HostNameCommand::Claim { resource }, Some(holder)) if holder != resource => {
                Err(HostNameTaken { holder })
            }
            (HostNameCommand::Release { resource }, Some(holder)) if holder == resource => {
                Ok(vec![HostNameEvent::HostNameReleased { resource }])
            }
            _ => Ok(vec![]),
        }
    }
}
