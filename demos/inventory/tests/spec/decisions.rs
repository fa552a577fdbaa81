//! What a resource decides. No store, no runtime.

use std::collections::{BTreeMap, BTreeSet};

use cim_demo_inventory::prelude::*;
use cim_domain::testing::{given_events_no_runtime, given_no_events};

use crate::samples::{
    ACCOUNT, LOCATION, ORGANIZATION, OWNER, POLICY, RESOURCE, active, hardware_set, host_name,
    name, registered, status_changed, tag, value,
};
use ComputeCommand as Command;
use ComputeEvent as Event;

fn given(events: impl IntoIterator<Item = Event>) -> cim_domain::testing::Given<ComputeResource> {
    given_events_no_runtime(events)
}

fn register() -> Command {
    Command::Register {
        host_name: host_name(),
        kind: ResourceKind::VirtualMachine,
    }
}

fn change_status(to: Status) -> Command {
    Command::ChangeStatus { to, reason: None }
}

fn update(set: &[(&str, &str)], remove: &[&str]) -> Command {
    Command::UpdateMetadata {
        set: set.iter().map(|(n, v)| (name(n), value(v))).collect(),
        remove: remove.iter().map(|n| name(n)).collect(),
    }
}

#[test]
fn a_resource_is_registered_once() {
    given_no_events::<ComputeResource>()
        .when(register())
        .then([registered()]);
    given([registered()]).when(register()).then_nothing();
    let other = Command::Register {
        host_name: "web-2.example.org".parse().unwrap(),
        kind: ResourceKind::VirtualMachine,
    };
    given([registered()])
        .when(other)
        .then_error_is(ComputeError::RegisteredAlready {
            host_name: host_name(),
        });
}

#[test]
fn nothing_is_known_of_a_resource_that_is_not_registered() {
    for command in [
        Command::AssignOwner { owner: OWNER },
        change_status(Status::Active),
        Command::ClearAccountConcept,
    ] {
        given([])
            .when(command)
            .then_error_is(ComputeError::NotRegistered);
    }
}

#[test]
fn what_is_asked_for_happens_and_what_is_so_already_does_not_happen_again() {
    let details = HardwareDetails {
        manufacturer: Some("Acme".to_owned()),
        ..HardwareDetails::new(8, 32_768)
    };
    for (command, event) in [
        (
            Command::AssignOrganization {
                organization: ORGANIZATION,
            },
            Event::OrganizationAssigned {
                organization: ORGANIZATION,
            },
        ),
        (
            Command::AssignLocation { location: LOCATION },
            Event::LocationAssigned { location: LOCATION },
        ),
        (
            Command::AssignOwner { owner: OWNER },
            Event::OwnerAssigned { owner: OWNER },
        ),
        (
            Command::AddPolicy { policy: POLICY },
            Event::PolicyAdded { policy: POLICY },
        ),
        (
            Command::AssignAccountConcept {
                account_concept: ACCOUNT,
            },
            Event::AccountConceptAssigned {
                account_concept: ACCOUNT,
            },
        ),
        (Command::SetHardwareDetails(details), hardware_set()),
        (
            Command::AssignAssetTag { tag: tag("A-1") },
            Event::AssetTagAssigned { tag: tag("A-1") },
        ),
    ] {
        given([registered()])
            .when(command.clone())
            .then([event.clone()]);
        given([registered(), event]).when(command).then_nothing();
    }
}

#[test]
fn a_policy_is_removed_and_an_account_cleared_only_where_there_is_one() {
    let remove = Command::RemovePolicy { policy: POLICY };
    given([registered()]).when(remove.clone()).then_nothing();
    given([registered(), Event::PolicyAdded { policy: POLICY }])
        .when(remove)
        .then([Event::PolicyRemoved { policy: POLICY }]);

    given([registered()])
        .when(Command::ClearAccountConcept)
        .then_nothing();
    given([
        registered(),
        Event::AccountConceptAssigned {
            account_concept: ACCOUNT,
        },
    ])
    .when(Command::ClearAccountConcept)
    .then([Event::AccountConceptCleared]);
}

#[test]
fn metadata_events_hold_what_really_changes() {
    let before = Event::MetadataUpdated {
        set: [(name("rack"), value("B 7")), (name("shelf"), value("2"))].into(),
        removed: BTreeSet::new(),
    };
    given([registered(), before.clone()])
        .when(update(
            &[("rack", "B 7"), ("room", "14")],
            &["shelf", "cost_center"],
        ))
        .then([Event::MetadataUpdated {
            set: [(name("room"), value("14"))].into(),
            removed: [name("shelf")].into(),
        }]);
    given([registered(), before])
        .when(update(&[("rack", "B 7")], &["cost_center"]))
        .then_nothing();
}

#[test]
fn metadata_is_not_set_and_removed_at_once_and_not_without_end() {
    given([registered()])
        .when(update(&[("rack", "B 7")], &["rack"]))
        .then_error_is(ComputeError::ContradictingMetadata { name: name("rack") });

    let many = |range: std::ops::Range<usize>| -> BTreeMap<LabelName, LabelValue> {
        range
            .map(|n| (name(&format!("n{n}")), value("1")))
            .collect()
    };
    let full = Event::MetadataUpdated {
        set: many(0..ComputeResource::MAX_LABELS),
        removed: BTreeSet::new(),
    };
    given([registered(), full.clone()])
        .when(update(&[("another", "1")], &[]))
        .then_error_is(ComputeError::TooMuchMetadata);
    given([registered(), full])
        .when(update(&[("another", "1")], &["n0"]))
        .then_state(|resource| resource.metadata().len() == ComputeResource::MAX_LABELS);
}

#[test]
fn a_machine_without_cores_or_memory_is_refused() {
    for details in [HardwareDetails::new(0, 1), HardwareDetails::new(1, 0)] {
        given([registered()])
            .when(Command::SetHardwareDetails(details))
            .then_error_is(ComputeError::ImpossibleHardware);
    }
}

#[test]
fn nothing_goes_into_work_that_lacks_an_owner_a_location_or_hardware() {
    let owner = Event::OwnerAssigned { owner: OWNER };
    let location = Event::LocationAssigned { location: LOCATION };
    for (events, missing) in [
        (vec![registered()], "an owner"),
        (vec![registered(), owner.clone()], "a location"),
        (
            vec![registered(), owner.clone(), location.clone()],
            "its hardware details",
        ),
    ] {
        given(events)
            .when(change_status(Status::Active))
            .then_error_is(ComputeError::NotReady { missing });
    }
    given([registered(), owner, location, hardware_set()])
        .when(change_status(Status::Active))
        .then([status_changed(Status::Provisioning, Status::Active)]);
}

#[test]
fn a_status_is_changed_along_the_ways_there_are() {
    given(active())
        .when(change_status(Status::Active))
        .then_nothing();
    given(active())
        .when(Command::ChangeStatus {
            to: Status::Maintenance,
            reason: Some(value("new disks")),
        })
        .then([Event::StatusChanged {
            from: Status::Active,
            to: Status::Maintenance,
            reason: Some(value("new disks")),
        }]);
    given(active())
        .when(change_status(Status::Decommissioned))
        .then_error_is(TransitionRefused::StillWorks.into());
}

#[test]
fn a_decommissioned_resource_does_not_change_any_more() {
    let gone = || {
        [
            registered(),
            status_changed(Status::Provisioning, Status::Decommissioned),
        ]
    };
    given(gone())
        .when(register())
        .then_error_is(ComputeError::Decommissioned);
    given(gone())
        .when(Command::AssignOwner { owner: OWNER })
        .then_error_is(ComputeError::Decommissioned);
    given(gone())
        .when(change_status(Status::Active))
        .then_error_is(TransitionRefused::GoneForGood.into());
    given(gone())
        .when(change_status(Status::Decommissioned))
        .then_nothing();
}

#[test]
fn a_host_name_belongs_to_one_resource_until_that_releases_it() {
    use HostNameCommand::{Claim, Release};
    use HostNameEvent::{HostNameClaimed, HostNameReleased};
    let other = ResourceId::from_uuid(uuid::Uuid::from_u128(8));
    let (mine, theirs) = (Claim { resource: RESOURCE }, Claim { resource: other });
    let claimed = HostNameClaimed { resource: RESOURCE };
    let released = HostNameReleased { resource: RESOURCE };

    given_no_events::<HostNameClaim>()
        .when(mine)
        .then([claimed.clone()]);
    let given = given_events_no_runtime::<HostNameClaim>([claimed.clone()]);
    given.clone().when(mine).then_nothing();
    given
        .clone()
        .when(theirs)
        .then_error_is(HostNameTaken { holder: RESOURCE });
    given
        .clone()
        .when(Release { resource: other })
        .then_nothing();
    given
        .when(Release { resource: RESOURCE })
        .then([released.clone()]);
    given_events_no_runtime::<HostNameClaim>([claimed, released])
        .when(theirs)
        .then([HostNameClaimed { resource: other }]);
}
