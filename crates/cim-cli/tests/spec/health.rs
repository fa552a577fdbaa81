//! `health` and `doctor`: what they print of what a store says of itself, and how they end.

use cim_cli::ExitCode;
use cim_store::{Finding, Health, Severity};
use expect_test::expect;

use crate::workbench::Workbench;

/// A store in a cluster that lost a server.
fn ill() -> Workbench {
    Workbench::with_health(
        Health::new()
            .with_fact("leader", "n0")
            .with_fact("replica n2", "offline, 7 operations to copy")
            .with_finding(Finding::new(
                Severity::Warning,
                "a power cut may lose what was acknowledged",
                "set `sync_interval: always`",
            ))
            .with_finding(Finding::new(
                Severity::Problem,
                "replica n2 of the log is offline",
                "start the server n2 again",
            ))
            .with_finding(Finding::new(
                Severity::Warning,
                "the log has 90 of the 100 bytes that it may have",
                "give it more room",
            )),
    )
}

#[tokio::test]
async fn health_shows_facts_and_findings_and_ends_with_a_code_of_its_own() {
    expect![[r#"
        store       embedded:./cim-data
        leader      n0
        replica n2  offline, 7 operations to copy
        problem     replica n2 of the log is offline
        warning     a power cut may lose what was acknowledged
        warning     the log has 90 of the 100 bytes that it may have
        healthy     no
        --- standard error
        `cim doctor` says what to do
        --- code 10
    "#]]
    .assert_eq(&ill().run(&["health"]).await.show());
}

#[tokio::test]
async fn health_as_json_is_one_object() {
    let ended = ill().run(&["health", "--json"]).await;
    assert_eq!(ended.code, ExitCode::Unhealthy);
    expect![[r#"
        {"store":"embedded:./cim-data","healthy":false,"facts":[{"name":"leader","value":"n0"},{"name":"replica n2","value":"offline, 7 operations to copy"}],"findings":[{"severity":"problem","what":"replica n2 of the log is offline","advice":"start the server n2 again"},{"severity":"warning","what":"a power cut may lose what was acknowledged","advice":"set `sync_interval: always`"},{"severity":"warning","what":"the log has 90 of the 100 bytes that it may have","advice":"give it more room"}]}
    "#]]
    .assert_eq(&ended.out);
}

#[tokio::test]
async fn doctor_says_what_to_do_about_each_finding() {
    expect![[r#"
        embedded:./cim-data: 1 problem, 2 warnings

        problem  Replica n2 of the log is offline.
        to do    Start the server n2 again.

        warning  A power cut may lose what was acknowledged.
        to do    Set `sync_interval: always`.

        warning  The log has 90 of the 100 bytes that it may have.
        to do    Give it more room.
        --- code 10
    "#]]
    .assert_eq(&ill().run(&["doctor"]).await.show());
}

#[tokio::test]
async fn doctor_as_json_is_a_line_for_each_finding() {
    let ended = ill().run(&["doctor", "--json"]).await;
    assert_eq!(ended.code, ExitCode::Unhealthy);
    let severities: Vec<String> = ended
        .out
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["severity"].to_string()
        })
        .collect();
    assert_eq!(severities, [r#""problem""#, r#""warning""#, r#""warning""#]);
}

#[tokio::test]
async fn warnings_and_notes_end_well() {
    let warned = Workbench::with_health(Health::new().with_finding(Finding::new(
        Severity::Warning,
        "clocks differ",
        "synchronize them",
    )));
    assert_eq!(warned.run(&["health"]).await.code, ExitCode::Ok);
    assert_eq!(warned.run(&["doctor"]).await.code, ExitCode::Ok);
}

#[tokio::test]
async fn a_store_without_a_finding_has_nothing_to_do() {
    let well = Workbench::with_health(Health::new().with_fact("replicas", 3));
    expect![[r#"
        embedded:./cim-data: nothing is wrong
    "#]]
    .assert_eq(&well.run(&["doctor"]).await.show());
    assert_eq!(well.run(&["doctor", "--json"]).await.show(), "");
}

#[tokio::test]
async fn a_store_in_memory_says_that_it_forgets() {
    let bench = Workbench::new();
    bench
        .run(&["append", "sales.order.7", "order_placed"])
        .await
        .ok();
    expect![[r#"
        store       embedded:./cim-data
        durability  until the process ends
        events      1
        streams     1
        bytes       166
        buckets     0
        note        everything is gone when the process ends
        healthy     yes
        --- standard error
        `cim doctor` says what to do
    "#]]
    .assert_eq(&bench.run(&["health"]).await.show());
}
