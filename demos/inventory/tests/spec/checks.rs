//! The resource keeps the rules of aggregates, and its state is what its events say.

use std::collections::BTreeSet;

use cim_demo_inventory::prelude::*;
use cim_domain::testing::AggregateCheck;

use crate::samples::{
    ACCOUNT, LOCATION, ORGANIZATION, OWNER, POLICY, RESOURCE, active, host_name, name, one_of_each,
    tag, value,
};

#[test]
fn a_resource_keeps_the_rules_of_aggregates_whatever_it_is_asked() {
    let statuses = Status::ALL.map(|to| ComputeCommand::ChangeStatus { to, reason: None });
    let checked = AggregateCheck::<ComputeResource>::new()
        .with_snapshots()
        .history(one_of_each())
        .history(active())
        // Events without a beginning, as no command leads to.
        .history(one_of_each().into_iter().rev())
        .commands([
            ComputeCommand::Register {
                host_name: host_name(),
                kind: ResourceKind::ContainerHost,
            },
            ComputeCommand::AssignOrganization {
                organization: ORGANIZATION,
            },
            ComputeCommand::AssignLocation { location: LOCATION },
            ComputeCommand::AssignOwner { owner: OWNER },
            ComputeCommand::AddPolicy { policy: POLICY },
            ComputeCommand::RemovePolicy { policy: POLICY },
            ComputeCommand::AssignAccountConcept {
                account_concept: ACCOUNT,
            },
            ComputeCommand::ClearAccountConcept,
            ComputeCommand::SetHardwareDetails(HardwareDetails::new(4, 1)),
            ComputeCommand::SetHardwareDetails(HardwareDetails::new(0, u64::MAX)),
            ComputeCommand::AssignAssetTag { tag: tag("A-2") },
            ComputeCommand::UpdateMetadata {
                set: [(name("rack"), value("C 1"))].into(),
                remove: BTreeSet::new(),
            },
            ComputeCommand::UpdateMetadata {
                set: [].into(),
                remove: [name("rack")].into(),
            },
        ])
        .commands(statuses)
        .check();
    assert_eq!(checked.unseen_event_types(), [""; 0]);
}

#[test]
fn a_host_name_keeps_the_rules_of_aggregates() {
    let other = ResourceId::from_uuid(uuid::Uuid::from_u128(8));
    let checked = AggregateCheck::<HostNameClaim>::new()
        .with_snapshots()
        .commands([RESOURCE, other].map(|resource| HostNameCommand::Claim { resource }))
        .commands([RESOURCE, other].map(|resource| HostNameCommand::Release { resource }))
        .check();
    assert_eq!(checked.unseen_event_types(), [""; 0]);
}
