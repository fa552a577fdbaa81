//! One of everything, for the tests.

use cim_demo_inventory::prelude::*;
use uuid::Uuid;

pub(crate) const RESOURCE: ResourceId = ResourceId::from_uuid(Uuid::from_u128(1));
pub(crate) const ORGANIZATION: OrganizationId = OrganizationId::from_uuid(Uuid::from_u128(2));
pub(crate) const LOCATION: LocationId = LocationId::from_uuid(Uuid::from_u128(3));
pub(crate) const OWNER: OwnerId = OwnerId::from_uuid(Uuid::from_u128(4));
pub(crate) const POLICY: PolicyId = PolicyId::from_uuid(Uuid::from_u128(5));
pub(crate) const ACCOUNT: AccountConceptId = AccountConceptId::from_uuid(Uuid::from_u128(6));

pub(crate) fn host_name() -> HostName {
    "web-1.example.org".parse().unwrap()
}

pub(crate) fn tag(text: &str) -> AssetTag {
    AssetTag::new(text).unwrap()
}

pub(crate) fn name(text: &str) -> LabelName {
    LabelName::new(text).unwrap()
}

pub(crate) fn value(text: &str) -> LabelValue {
    LabelValue::new(text).unwrap()
}

pub(crate) fn registered() -> ComputeEvent {
    ComputeEvent::ResourceRegistered {
        host_name: host_name(),
        kind: ResourceKind::VirtualMachine,
    }
}

pub(crate) fn hardware_set() -> ComputeEvent {
    ComputeEvent::HardwareDetailsSet(HardwareDetails {
        manufacturer: Some("Acme".to_owned()),
        ..HardwareDetails::new(8, 32_768)
    })
}

pub(crate) fn status_changed(from: Status, to: Status) -> ComputeEvent {
    ComputeEvent::StatusChanged {
        from,
        to,
        reason: None,
    }
}

/// A resource that does its work.
pub(crate) fn active() -> Vec<ComputeEvent> {
    vec![
        registered(),
        ComputeEvent::OwnerAssigned { owner: OWNER },
        ComputeEvent::LocationAssigned { location: LOCATION },
        hardware_set(),
        status_changed(Status::Provisioning, Status::Active),
    ]
}

/// One event of each type, in the order of the type's definition.
pub(crate) fn one_of_each() -> Vec<ComputeEvent> {
    vec![
        registered(),
        ComputeEvent::OrganizationAssigned {
            organization: ORGANIZATION,
        },
        ComputeEvent::LocationAssigned { location: LOCATION },
        ComputeEvent::OwnerAssigned { owner: OWNER },
        ComputeEvent::PolicyAdded { policy: POLICY },
        ComputeEvent::PolicyRemoved { policy: POLICY },
        ComputeEvent::AccountConceptAssigned {
            account_concept: ACCOUNT,
        },
        ComputeEvent::AccountConceptCleared,
        hardware_set(),
        ComputeEvent::AssetTagAssigned { tag: tag("A-0001") },
        ComputeEvent::MetadataUpdated {
            set: [(name("rack"), value("B 7"))].into(),
            removed: [name("shelf")].into(),
        },
        ComputeEvent::StatusChanged {
            from: Status::Active,
            to: Status::Maintenance,
            reason: Some(value("new disks")),
        },
    ]
}
