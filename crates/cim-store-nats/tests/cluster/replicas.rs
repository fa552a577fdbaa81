//! Reads a JetStream stream through every replica of a cluster, each leading in turn, and compares
//! what they have byte for byte.

use std::time::Duration;

use cim_conformance::nats_server::TestCluster;
use cim_store::{Clock, SystemClock};
use serde_json::{Value, json};

/// One message: its position, subject, headers and body, as the server has them.
pub(crate) type Raw = (u64, String, String, String);

async fn call(client: &async_nats::Client, subject: &str, body: &Value) -> Option<Value> {
    let body = serde_json::to_vec(body).unwrap();
    let answer = client.request(subject.to_owned(), body.into()).await.ok()?;
    serde_json::from_slice(&answer.payload).ok()
}

/// All messages, as the leader has them.
async fn read_through_leader(client: &async_nats::Client, stream: &str) -> Vec<Raw> {
    let subject = format!("$JS.API.STREAM.MSG.GET.{stream}");
    let mut messages = Vec::new();
    let mut next = 1;
    loop {
        let mut answer = None;
        for _ in 0..100 {
            answer = call(
                client,
                &subject,
                &json!({ "seq": next, "next_by_subj": ">" }),
            )
            .await;
            let retry = answer
                .as_ref()
                .is_none_or(|answer| answer["error"]["code"] == 503);
            if !retry {
                break;
            }
            SystemClock.sleep(Duration::from_millis(100)).await;
        }
        let answer = answer.expect("the leader answers");
        if answer["error"]["err_code"] == 10_037 {
            return messages;
        }
        let message = &answer["message"];
        let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        let sequence = message["seq"]
            .as_u64()
            .unwrap_or_else(|| panic!("{answer}"));
        messages.push((sequence, text("subject"), text("hdrs"), text("data")));
        next = sequence + 1;
    }
}

/// What each replica has, each read while it leads.
pub(crate) async fn read_through_each(cluster: &TestCluster, stream: &str) -> Vec<Vec<Raw>> {
    let client = async_nats::connect(cluster.urls()).await.unwrap();
    let mut all = Vec::new();
    for (number, node) in cluster.nodes().iter().enumerate() {
        let deadline = SystemClock.monotonic() + Duration::from_secs(60);
        while cluster.leader_of("$G", stream) != Some(number) {
            assert!(
                SystemClock.monotonic() < deadline,
                "{} does not lead",
                node.name()
            );
            let subject = format!("$JS.API.STREAM.LEADER.STEPDOWN.{stream}");
            let body = json!({ "placement": { "preferred": node.name() } });
            // Where it is refused, it is asked again.
            let _ = call(&client, &subject, &body).await;
            SystemClock.sleep(Duration::from_millis(300)).await;
        }
        all.push(read_through_leader(&client, stream).await);
    }
    all
}
