//! What is stored of each event, for ever.

use cim_demo_inventory::prelude::*;
use cim_domain::prelude::*;
use cim_domain::testing::{assert_survives_storage, given_events};
use expect_test::expect;

use crate::samples::{RESOURCE, one_of_each};

#[test]
fn the_stored_form_of_all_twelve_stays_as_it_is() {
    let stored: Vec<String> = one_of_each()
        .iter()
        .map(|event| {
            let payload = String::from_utf8(event.encode().unwrap()).unwrap();
            format!(
                "{} {} {payload}\n",
                event.event_type(),
                event.schema_version()
            )
        })
        .collect();
    assert_eq!(stored.len(), 12);
    // What changes here needs a new schema version and an upcast: these bytes are in stores.
    expect![[r#"
        resource_registered 1 {"host_name":"web-1.example.org","kind":"virtual_machine"}
        organization_assigned 1 {"organization":"00000000-0000-0000-0000-000000000002"}
        location_assigned 1 {"location":"00000000-0000-0000-0000-000000000003"}
        owner_assigned 1 {"owner":"00000000-0000-0000-0000-000000000004"}
        policy_added 1 {"policy":"00000000-0000-0000-0000-000000000005"}
        policy_removed 1 {"policy":"00000000-0000-0000-0000-000000000005"}
        account_concept_assigned 1 {"account_concept":"00000000-0000-0000-0000-000000000006"}
        account_concept_cleared 1 {}
        hardware_details_set 2 {"cpu_cores":8,"memory_mib":32768,"manufacturer":"Acme"}
        asset_tag_assigned 1 {"tag":"A-0001"}
        metadata_updated 1 {"set":{"rack":"B 7"},"removed":["shelf"]}
        status_changed 1 {"from":"active","to":"maintenance","reason":"new disks"}
    "#]]
    .assert_eq(&stored.concat());
}

#[test]
fn the_stored_form_of_the_events_of_host_names_stays_as_it_is() {
    let resource = RESOURCE;
    for (event, stored) in [
        (
            HostNameEvent::HostNameClaimed { resource },
            r#"host_name_claimed 1 {"resource":"00000000-0000-0000-0000-000000000001"}"#,
        ),
        (
            HostNameEvent::HostNameReleased { resource },
            r#"host_name_released 1 {"resource":"00000000-0000-0000-0000-000000000001"}"#,
        ),
    ] {
        assert_survives_storage(&event);
        let payload = String::from_utf8(event.encode().unwrap()).unwrap();
        let (event_type, version) = (event.event_type(), event.schema_version());
        assert_eq!(format!("{event_type} {version} {payload}"), stored);
    }
}

#[test]
fn the_samples_are_one_of_each_event_type() {
    let samples: Vec<&str> = one_of_each().iter().map(DomainEvent::event_type).collect();
    let known: Vec<&str> = ComputeEvent::EVENT_TYPES
        .iter()
        .map(|known| known.name)
        .collect();
    assert_eq!(samples, known);
}

#[test]
fn all_twelve_survive_storage() {
    one_of_each().iter().for_each(assert_survives_storage);
}

async fn subjects_in(url: &str) -> String {
    let store = open(url).await.unwrap();
    let resources = Repository::<ComputeResource>::new(store.log());
    let ctx = Context::new();
    given_events(&resources, &ctx, &RESOURCE, one_of_each()).await;

    let history = resources.history(&ctx, &RESOURCE, StreamRange::all());
    let history = history.await.unwrap().all().await.unwrap();
    let subjects = history
        .iter()
        .map(|entry| format!("{}\n", entry.recorded.subject().unwrap()))
        .collect();
    let events: Vec<ComputeEvent> = history.into_iter().map(|entry| entry.event).collect();
    assert_eq!(events, one_of_each());
    subjects
}

#[tokio::test]
async fn all_twelve_come_back_from_a_store_and_have_subjects_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let embedded = format!("embedded:{}", directory.path().display());
    let subjects = subjects_in("memory:").await;
    expect![[r#"
        cim.events.infrastructure.compute.00000000-0000-0000-0000-000000000001.resource_registered.1
        cim.events.infrastructure.compute.00000000-0000-0000-0000-000000000001.organization_assigned.2
        cim.events.infrastructure.compute.00000000-0000-0000-0000-000000000001.location_assigned.3
        cim.events.infrastructure.compute.00000000-0000-0000-0000-000000000001.owner_assigned.4
        cim.events.infrastructure.compute.00000000-0000-0000-0000-000000000001.policy_added.5
        cim.events.infrastructure.compute.00000000-0000-0000-0000-000000000001.policy_removed.6
        cim.events.infrastructure.compute.00000000-0000-0000-0000-000000000001.account_concept_assigned.7
        cim.events.infrastructure.compute.00000000-0000-0000-0000-000000000001.account_concept_cleared.8
        cim.events.infrastructure.compute.00000000-0000-0000-0000-000000000001.hardware_details_set.9
        cim.events.infrastructure.compute.00000000-0000-0000-0000-000000000001.asset_tag_assigned.10
        cim.events.infrastructure.compute.00000000-0000-0000-0000-000000000001.metadata_updated.11
        cim.events.infrastructure.compute.00000000-0000-0000-0000-000000000001.status_changed.12
    "#]].assert_eq(&subjects);
    assert_eq!(subjects, subjects_in(&embedded).await);
}
