//! The inventory as the rest of an application uses it.

use std::sync::Arc;
use std::time::Duration;

use cim_demo_inventory::prelude::*;
use cim_demo_inventory::reaction::{ALERTS_MUTED, CaughtUp, Reactions};
use cim_domain::prelude::*;
use cim_domain::store::{CorrelationId, ExpectedVersion, Position};
use cim_domain::testing::{ManualClock, SequentialIds, given_events};
use uuid::Uuid;

use crate::samples::{LOCATION, OWNER, RESOURCE, active, registered, status_changed, tag};

async fn inventory() -> Inventory {
    Inventory::new(open("memory:").await.unwrap().log())
}

fn ctx() -> Context {
    Context::new()
}

fn name(number: u32) -> HostName {
    format!("host-{number}").parse().unwrap()
}

fn change_status(to: Status) -> ComputeCommand {
    ComputeCommand::ChangeStatus { to, reason: None }
}

#[tokio::test]
async fn no_two_resources_have_the_same_host_name() {
    let inventory = inventory().await;
    let context = ctx();
    let register = || inventory.register(&context, name(1), ResourceKind::VirtualMachine);
    let (one, other) = tokio::join!(register(), register());
    let (won, lost) = match (one, other) {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
        both => panic!("one of them has the name: {both:?}"),
    };
    let taken = HostNameTaken { holder: won };
    assert_eq!(lost.rejection(), Some(&ComputeError::HostName(taken)));
    let log = inventory.resources().log();
    assert_eq!(
        log.stats(&context).await.unwrap().streams,
        2,
        "nothing is left of the other"
    );
}

#[tokio::test]
async fn a_host_name_is_free_again_when_its_resource_is_decommissioned() {
    let inventory = inventory().await;
    let old = inventory
        .register(&ctx(), name(1), ResourceKind::VirtualMachine)
        .await
        .unwrap();
    let gone = change_status(Status::Decommissioned);
    let late = inventory
        .execute_as_seen(&ctx(), old, Version::new(7), gone.clone())
        .await;
    assert!(late.unwrap_err().is_conflict());
    let changed = inventory
        .execute_as_seen(&ctx(), old, Version::new(1), gone)
        .await
        .unwrap();
    assert_eq!(changed.version, Version::new(2));

    let new = inventory
        .register(&ctx(), name(1), ResourceKind::VirtualMachine)
        .await
        .unwrap();
    let claim = inventory.host_names().load(&ctx(), &name(1)).await.unwrap();
    assert_eq!(
        (claim.state.holder(), claim.version),
        (Some(new), Version::new(3))
    );
}

#[tokio::test]
async fn what_was_never_registered_is_not_decommissioned() {
    let gone = inventory()
        .await
        .execute(&ctx(), RESOURCE, change_status(Status::Decommissioned))
        .await;
    assert_eq!(
        gone.unwrap_err().rejection(),
        Some(&ComputeError::NotRegistered)
    );
}

#[tokio::test]
async fn a_resource_is_registered_under_a_fresh_id_at_the_time_that_the_clock_shows() {
    let clock = ManualClock::at("2026-11-20T12:00:00Z".parse().unwrap());
    let inventory = inventory()
        .await
        .with_clock(Arc::new(clock.clone()))
        .with_ids(Arc::new(SequentialIds::new(7)));
    let one = inventory
        .register(&ctx(), name(1), ResourceKind::NetworkDevice)
        .await
        .unwrap();
    clock.advance(Duration::from_secs(60));
    let other = inventory
        .register(&ctx(), name(2), ResourceKind::NetworkDevice)
        .await
        .unwrap();
    assert_ne!(one, other);

    let history = inventory
        .resources()
        .history(&ctx(), &other, StreamRange::all())
        .await
        .unwrap();
    let history = history.all().await.unwrap();
    assert_eq!(
        history[0].recorded.time,
        "2026-11-20T12:01:00Z".parse().unwrap()
    );
}

#[tokio::test]
async fn of_two_who_looked_at_the_same_version_one_is_told_that_it_has_changed() {
    let inventory = inventory().await;
    let seen = given_events(inventory.resources(), &ctx(), &RESOURCE, [registered()]).await;
    let context = ctx();
    let change = |command| inventory.execute_as_seen(&context, RESOURCE, seen, command);
    let (one, other) = tokio::join!(
        change(ComputeCommand::AssignOwner { owner: OWNER }),
        change(ComputeCommand::AssignLocation { location: LOCATION }),
    );
    let (won, lost) = match (one, other) {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won.version, lost),
        both => panic!("one of them wins: {both:?}"),
    };
    assert_eq!(won, Version::new(2));
    assert!(
        matches!(
            lost,
            RepositoryError::VersionConflict { expected: ExpectedVersion::Exact(expected), actual }
                if expected == seen && actual == won
        ),
        "{lost:?}"
    );
}

#[tokio::test]
async fn what_was_looked_at_too_long_ago_is_not_changed_even_where_nothing_would_change() {
    let inventory = inventory().await;
    let seen = given_events(inventory.resources(), &ctx(), &RESOURCE, [registered()]).await;
    let tag = ComputeCommand::AssignAssetTag { tag: tag("A-1") };
    inventory
        .execute(&ctx(), RESOURCE, tag.clone())
        .await
        .unwrap();
    let late = inventory.execute_as_seen(&ctx(), RESOURCE, seen, tag).await;
    assert!(late.unwrap_err().is_conflict());
}

#[tokio::test]
async fn alerts_are_mute_while_a_resource_is_maintained() {
    let inventory = inventory().await;
    let reactions = Reactions::new(inventory.clone()).unwrap();
    given_events(inventory.resources(), &ctx(), &RESOURCE, active()).await;
    let policies = async |to| {
        let change = ComputeCommand::ChangeStatus { to, reason: None };
        inventory.execute(&ctx(), RESOURCE, change).await.unwrap();
        reactions.catch_up(&ctx(), Position::NONE).await.unwrap();
        let loaded = inventory.resources().load(&ctx(), &RESOURCE).await.unwrap();
        loaded.state.policies().iter().copied().collect::<Vec<_>>()
    };
    assert_eq!(policies(Status::Maintenance).await, [ALERTS_MUTED]);
    assert_eq!(policies(Status::Active).await, []);
}

#[tokio::test]
async fn a_reaction_belongs_to_the_conversation_of_its_event_and_names_it_as_cause() {
    let inventory = inventory().await;
    given_events(inventory.resources(), &ctx(), &RESOURCE, active()).await;
    let conversation = CorrelationId::from_uuid(Uuid::from_u128(99));
    let maintain = ComputeCommand::ChangeStatus {
        to: Status::Maintenance,
        reason: None,
    };
    let asked = ctx().with_correlation_id(conversation);
    inventory.execute(&asked, RESOURCE, maintain).await.unwrap();
    Reactions::new(inventory.clone())
        .unwrap()
        .catch_up(&ctx(), Position::NONE)
        .await
        .unwrap();

    let last_two = StreamRange::all().backwards().limit(2);
    let history = inventory
        .resources()
        .history(&ctx(), &RESOURCE, last_two)
        .await
        .unwrap();
    let history = history.all().await.unwrap();
    let (reaction, cause) = (&history[0].recorded, &history[1].recorded);
    assert_eq!(
        history[0].event,
        ComputeEvent::PolicyAdded {
            policy: ALERTS_MUTED
        }
    );
    assert_eq!(reaction.correlation_id, Some(conversation));
    assert_eq!(reaction.causation_id, Some(cause.id.into()));
}

#[tokio::test]
async fn reacting_again_from_the_beginning_changes_nothing_and_from_the_end_does_nothing() {
    let inventory = inventory().await;
    let reactions = Reactions::new(inventory.clone()).unwrap();
    let there_and_back = active().into_iter().chain([
        status_changed(Status::Active, Status::Maintenance),
        status_changed(Status::Maintenance, Status::Active),
        status_changed(Status::Active, Status::Maintenance),
    ]);
    given_events(inventory.resources(), &ctx(), &RESOURCE, there_and_back).await;

    let first = reactions.catch_up(&ctx(), Position::NONE).await.unwrap();
    assert_eq!((first.events, first.commands), (4, 1));
    let again = reactions.catch_up(&ctx(), Position::NONE).await.unwrap();
    assert_eq!((again.events, again.commands), (4, 0));
    let on = reactions.catch_up(&ctx(), first.position).await.unwrap();
    let nothing = CaughtUp {
        position: first.position,
        events: 0,
        commands: 0,
    };
    assert_eq!(on, nothing);
}

#[tokio::test]
async fn a_reaction_that_comes_too_late_is_left_out_and_the_next_ones_happen() {
    let inventory = inventory().await;
    let gone = active().into_iter().chain([
        status_changed(Status::Active, Status::Maintenance),
        status_changed(Status::Maintenance, Status::Decommissioned),
    ]);
    given_events(inventory.resources(), &ctx(), &RESOURCE, gone).await;
    let other = ResourceId::from_uuid(Uuid::from_u128(77));
    let maintained = active()
        .into_iter()
        .chain([status_changed(Status::Active, Status::Maintenance)]);
    given_events(inventory.resources(), &ctx(), &other, maintained).await;

    let reactions = Reactions::new(inventory.clone()).unwrap();
    let done = reactions.catch_up(&ctx(), Position::NONE).await.unwrap();
    assert_eq!(done.commands, 1);
    let gone = inventory.resources().load(&ctx(), &RESOURCE).await.unwrap();
    assert!(gone.state.policies().is_empty());
}
