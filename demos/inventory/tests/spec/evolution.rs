//! Events that were stored by an earlier release.

use std::error::Error as _;

use cim_demo_inventory::prelude::*;
use cim_domain::event::{Decoded, Encoded};
use cim_domain::prelude::*;
use cim_domain::store::{ExpectedVersion, NewEvent};
use serde_json::json;

use crate::samples::{RESOURCE, host_name};

/// As it was written when memory was counted in units of 2^30 bytes.
const V1: &[u8] = br#"{"cpu_cores":8,"memory_gb":32}"#;

fn decode(payload: &[u8]) -> Result<Decoded<ComputeEvent>, cim_domain::DecodeError> {
    ComputeEvent::decode(Encoded::json("hardware_details_set", 1, payload))
}

#[test]
fn hardware_details_of_version_1_are_read_in_the_units_of_today() {
    let details = HardwareDetails::new(8, 32 * 1024);
    assert_eq!(
        decode(V1).unwrap(),
        Decoded::One(ComputeEvent::HardwareDetailsSet(details))
    );
}

#[test]
fn what_version_1_said_beside_the_memory_is_kept() {
    let payload = br#"{"cpu_cores":2,"memory_gb":1,"manufacturer":"Acme","model":"T-7"}"#;
    let details = HardwareDetails {
        manufacturer: Some("Acme".to_owned()),
        model: Some("T-7".to_owned()),
        ..HardwareDetails::new(2, 1024)
    };
    assert_eq!(
        decode(payload).unwrap(),
        Decoded::One(ComputeEvent::HardwareDetailsSet(details))
    );
}

#[test]
fn what_can_not_have_been_version_1_is_refused_and_not_guessed() {
    for (payload, sentence) in [
        (r#"{"cpu_cores":8}"#, "`memory_gb` is no whole number"),
        (
            r#"{"cpu_cores":8,"memory_gb":1.5}"#,
            "`memory_gb` is no whole number",
        ),
        (
            r#"{"memory_gb":18446744073709551615}"#,
            "no machine has so much memory",
        ),
        ("[]", "the details are no object"),
    ] {
        let error = decode(payload.as_bytes()).unwrap_err();
        assert_eq!(error.source().unwrap().to_string(), sentence, "{payload}");
    }
}

#[tokio::test]
async fn a_resource_of_two_eras_is_one_history_and_keeps_the_bytes_of_both() {
    let store = open("memory:").await.unwrap();
    let (log, ctx) = (store.log(), Context::new());
    let registered = json!({ "host_name": host_name(), "kind": "physical_server" });
    let old = vec![
        NewEvent::json("resource_registered", &registered).unwrap(),
        NewEvent::json(
            "hardware_details_set",
            &json!({ "cpu_cores": 8, "memory_gb": 32 }),
        )
        .unwrap(),
    ];
    let stream = ComputeResource::stream(&RESOURCE).unwrap();
    log.append_to(&ctx, &stream, ExpectedVersion::NEW, old)
        .await
        .unwrap();

    let inventory = Inventory::new(log);
    let same = ComputeCommand::SetHardwareDetails(HardwareDetails::new(8, 32_768));
    let done = inventory.execute(&ctx, RESOURCE, same).await.unwrap();
    assert_eq!(done.events, [], "it is what the old event says");
    let more = ComputeCommand::SetHardwareDetails(HardwareDetails::new(8, 32_768 + 512));
    inventory.execute(&ctx, RESOURCE, more).await.unwrap();

    let history =
        inventory
            .resources()
            .history(&ctx, &RESOURCE, StreamRange::from(Version::new(2)));
    let history = history.await.unwrap().all().await.unwrap();
    let stored: Vec<(u32, &[u8])> = history
        .iter()
        .map(|entry| {
            (
                entry.recorded.schema_version.get(),
                &entry.recorded.payload[..],
            )
        })
        .collect();
    assert_eq!(
        stored,
        [(1, V1), (2, &br#"{"cpu_cores":8,"memory_mib":33280}"#[..])]
    );
}
