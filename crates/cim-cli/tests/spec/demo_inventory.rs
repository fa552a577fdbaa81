//! `cim demo inventory`: what a user sees, a second run, and what is found where something is wrong.

use cim_cli::ExitCode;
use expect_test::expect;
use serde_json::Value;

use crate::tampered_log::{Fate, TamperedLog};
use crate::workbench::{Ended, Workbench};

const SMALL: [&str; 7] = [
    "-q",
    "demo",
    "inventory",
    "--resources",
    "14",
    "--commands",
    "14",
];

fn json(ended: Ended) -> Value {
    serde_json::from_str(&ended.ok()).unwrap()
}

async fn small(bench: &Workbench) -> Value {
    json(bench.run(&[&SMALL[..], &["--json"]].concat()).await)
}

#[tokio::test]
async fn a_run_tells_what_happened_and_that_it_is_equal_to_what_is_stored() {
    let shown = Workbench::new().run(&SMALL).await.ok();
    expect![[r#"
        resources   14, 14 registered and 1 decommissioned in this run
        events     205, 196 by commands and 7 by the policy in this run

        STATUS          RESOURCES
        active                  6
        maintenance             7
        decommissioned          1

        HISTORY OF runner-13.fra.example.org
              1  resource_registered      v1  {"host_name":"runner-13.fra.example.org","kind":"container_host"}
              2  hardware_details_set     v1  {"cpu_cores":4,"memory_gb":32}
              3  organization_assigned    v1  {"organization":"f7cae6f8-5873-51b4-8cc8-6dccaccce1a5"}
              4  location_assigned        v1  {"location":"7a4c1ea5-38f5-5907-8297-22520e76e2a3"}
              5  owner_assigned           v1  {"owner":"868d6c9f-7e1f-5835-9a1d-4a94aa9bc0a9"}
              6  asset_tag_assigned       v1  {"tag":"A-00013"}
              7  status_changed           v1  {"from":"provisioning","to":"active","reason":"set up"}
              8  account_concept_assigned v1  {"account_concept":"b5027034-aca6-585d-8116-58a603c5c4ab"}
              9  policy_added             v1  {"policy":"8a4e398b-1c07-504e-824a-3e82a5920708"}
             10  owner_assigned           v1  {"owner":"28eeb767-392b-5709-97f2-7c49fbfe59f9"}
             11  account_concept_cleared  v1  {}
             12  status_changed           v1  {"from":"active","to":"maintenance","reason":"regular maintenance"}
             13  hardware_details_set     v2  {"cpu_cores":4,"memory_mib":49152}
             14  status_changed           v1  {"from":"maintenance","to":"active","reason":"as good as new"}
             15  policy_added             v1  {"policy":"183877b8-c69b-5cc1-aff9-aed6bdd41b35"}

        VERSION  ITS STATE THEN
              2  provisioning, 4 cores, 32768 MiB
              7  active, 4 cores, 32768 MiB, tag A-00013
             15  active, 4 cores, 49152 MiB, tag A-00013, 2 policies

        TWO CLERKS, ONE RESOURCE
        both       look at version 15 of web-0.ams.example.org
        one        stores version 16
        the other  is told: the aggregate is at version 16, expected was version 15
        the other  looks again and stores version 17

        CHECK                                      COMPARED  RESULT
        state of every resource                14 resources  equal
        states at earlier versions             14 resources  equal
        states with and without snapshot       14 resources  equal
        events of an earlier schema             2 events     equal
        reactions and their causes              7 events     equal
        conversations by the index              7 found      equal
        alerts muted by the policy             13 resources  equal
        host names and who has them            12 names      equal
        one of two clerks won                   1 contest    equal
        chain of every stream                  26 streams    equal
    "#]].assert_eq(&shown);
}

#[tokio::test]
async fn every_run_of_the_same_size_tells_the_same_story() {
    let run = async || Workbench::new().run(&SMALL).await.ok();
    assert_eq!(run().await, run().await);
}

#[tokio::test]
async fn a_second_run_goes_on_where_the_first_one_ended() {
    let bench = Workbench::new();
    let first = small(&bench).await;
    let second = small(&bench).await;
    assert_eq!(first["resources_registered"], 14);
    assert_eq!(
        second["resources_registered"],
        first["resources_decommissioned"]
    );
    assert!(
        second["events"].as_u64() > first["events"].as_u64(),
        "{second:#}"
    );
    assert!(first["snapshots"].as_u64() > Some(0), "{first:#}");
    for run in [&first, &second] {
        assert_eq!(run["all_equal"], true, "{run:#}");
    }
    // Until all of those are gone with which it began.
    let mut last = second;
    for _ in 0..8 {
        last = small(&bench).await;
        assert_eq!(last["all_equal"], true, "{last:#}");
    }
    assert!(
        last["statuses"]["decommissioned"].as_u64() > Some(14),
        "{last:#}"
    );
}

#[tokio::test]
async fn after_ctrl_c_the_next_run_goes_on() {
    for number in [1, 20, 100] {
        let bench = Workbench::with_log(|log, interrupt| {
            TamperedLog::appending(log, move |append| {
                if append == number {
                    interrupt.send(true).unwrap();
                }
                Fate::Stored
            })
        });
        let ended = bench.run(&SMALL).await;
        assert_eq!(ended.code, ExitCode::Interrupted, "{}", ended.show());
        assert_eq!(ended.out, "");
        bench.interrupt.send(false).unwrap();
        let report = small(&bench).await;
        assert_eq!(report["all_equal"], true, "{report:#}");
        assert!(report["resources"].as_u64() >= Some(14), "{report:#}");
    }
}

#[tokio::test]
async fn a_store_that_fails_ends_it_with_the_stores_code_and_the_next_run_goes_on() {
    let bench = Workbench::with_log(|log, _| {
        TamperedLog::appending(log, |append| match append {
            30 => Fate::Refused,
            _ => Fate::Stored,
        })
    });
    let ended = bench.run(&SMALL).await;
    assert_eq!(ended.code, ExitCode::Unavailable, "{}", ended.show());
    assert!(
        ended.err.contains(".example.org could not go on\n"),
        "{}",
        ended.err
    );
    assert_eq!(small(&bench).await["all_equal"], true);
}

/// The line of one check.
fn check<'a>(ended: &'a Ended, name: &str) -> &'a str {
    let mut lines = ended.out.lines();
    lines
        .find(|line| line.starts_with(name))
        .unwrap_or_else(|| panic!("{}", ended.show()))
}

#[tokio::test]
async fn stored_bytes_that_say_something_else_than_the_domain_are_a_difference() {
    let honest = Workbench::new();
    honest.run(&SMALL).await.ok();
    let bench = honest.rewrapped(|log| {
        TamperedLog::reading_log(log, |mut event| {
            if event.event_type.as_str() == "asset_tag_assigned" {
                event.payload = r#"{"tag":"B-1"}"#.into();
            }
            Some(event)
        })
    });
    let ended = bench.run(&SMALL).await;
    assert_eq!(ended.code, ExitCode::Integrity, "{}", ended.show());
    for name in ["state of every resource", "states at earlier versions"] {
        let line = check(&ended, name);
        assert!(
            line.contains("different: infrastructure.compute."),
            "{line}"
        );
        assert!(line.contains(": tag: loaded is A-000"), "{line}");
        assert!(line.ends_with(", the stored bytes say B-1"), "{line}");
    }
}

#[tokio::test]
async fn an_event_that_was_altered_breaks_a_chain() {
    let honest = Workbench::new();
    honest.run(&SMALL).await.ok();
    let bench = honest.rewrapped(|log| {
        TamperedLog::reading(log, |mut event| {
            let text = String::from_utf8_lossy(&event.payload).into_owned();
            event.payload = text.replace("set up", "SET UP").into();
            Some(event)
        })
    });
    let ended = bench.run(&SMALL).await;
    assert_eq!(ended.code, ExitCode::Integrity, "{}", ended.show());
    assert!(check(&ended, "chain of every stream").contains("the event was altered"));
    assert!(check(&ended, "state of every").ends_with("equal"));
}
