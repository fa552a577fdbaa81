//! Commands against stores on real NATS servers.

use std::sync::OnceLock;
use std::time::Duration;

use cim_cli::{Environment, ExitCode, Interrupt};
use cim_conformance::nats_server::{Node, ServerSettings, TestCluster, TestServer};
use cim_store::{Clock, SystemClock};
use serde_json::Value;
use tokio::sync::watch;

use crate::workbench::{Ended, run_in};

fn start(settings: ServerSettings) -> TestServer {
    TestServer::start(settings).unwrap_or_else(|error| panic!("{error}"))
}

/// A server that flushes first. Each test takes accounts of its own.
fn shared() -> &'static TestServer {
    static SERVER: OnceLock<TestServer> = OnceLock::new();
    SERVER.get_or_init(|| start(ServerSettings::new().accounts(20).sync_always(true)))
}

fn fresh() -> String {
    shared().url_of(shared().next_account().unwrap())
}

fn page(node: &Node) -> String {
    format!("http://127.0.0.1:{}", node.monitor_port())
}

/// Runs `cim` on the store at a URL.
async fn cim(url: &str, args: &[&str]) -> Ended {
    let (_never, interrupt) = watch::channel(false);
    let environment = Environment {
        state_directory: None,
        ..Environment::system(Interrupt::from_channel(interrupt))
    };
    run_in(&environment, &[&["--store", url], args].concat()).await
}

async fn health(url: &str, args: &[&str]) -> (ExitCode, Value) {
    let ended = cim(url, &[&["health", "--json"], args].concat()).await;
    let report = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{}", ended.show()));
    (ended.code, report)
}

fn fact<'a>(report: &'a Value, name: &str) -> &'a str {
    let mut facts = report["facts"].as_array().unwrap().iter();
    let fact = facts.find(|fact| fact["name"] == name);
    fact.unwrap_or_else(|| panic!("{name}: {report:#}"))["value"]
        .as_str()
        .unwrap()
}

fn says(report: &Value, what: &str) -> bool {
    let mut findings = report["findings"].as_array().unwrap().iter();
    findings.any(|found| found["what"].as_str().unwrap().contains(what))
}

#[tokio::test]
async fn what_one_command_stored_the_next_one_reads() {
    let url = fresh();
    cim(
        &url,
        &["append", "sales.order.7", "order_placed", r#"{"total":12}"#],
    )
    .await
    .ok();
    cim(
        &url,
        &["append", "sales.order.7", "order_paid", "--expected", "1"],
    )
    .await
    .ok();
    let events = cim(&url, &["events", "sales.order.7", "--json"]).await.ok();
    assert_eq!(events.lines().count(), 2, "{events}");
    let verified = cim(&url, &["verify", "-q"]).await.ok();
    assert!(verified.contains("faults   0\n"), "{verified}");
}

#[tokio::test]
async fn reading_does_not_make_a_log() {
    let url = fresh();
    for command in ["streams", "stats", "health", "doctor"] {
        let ended = cim(&url, &[command]).await;
        assert_eq!(ended.code, ExitCode::NotFound, "{}", ended.show());
        assert!(
            ended
                .err
                .starts_with("error: there is no store at `nats://…@127")
        );
    }
}

#[tokio::test]
async fn no_output_has_the_password_of_the_url() {
    // Nobody listens there.
    let url = "nats://me:s3cret@127.0.0.1:9";
    for command in ["stats", "health", "doctor"] {
        let ended = cim(url, &[command]).await;
        assert_eq!(ended.code, ExitCode::Unavailable, "{}", ended.show());
        assert!(!ended.show().contains("s3cret"), "{}", ended.show());
    }
    let url = fresh();
    let password = url.split(['/', ':', '@']).nth(3).unwrap().to_owned();
    cim(&url, &["append", "a.b.c", "d"]).await.ok();
    for command in ["stats", "health", "doctor"] {
        let shown = cim(&url, &[command]).await.ok();
        assert!(shown.contains("nats://…@127.0.0.1:"), "{shown}");
        assert!(!shown.contains(&format!(":{password}@")), "{shown}");
    }
}

#[tokio::test]
async fn with_the_monitoring_page_flushing_is_verified_and_nothing_is_wrong() {
    let url = fresh();
    cim(&url, &["append", "a.b.c", "d"]).await.ok();
    let (code, report) = health(&url, &["--monitor", &page(shared().node())]).await;
    assert_eq!(code, ExitCode::Ok);
    assert_eq!(report["healthy"], true);
    assert_eq!(report["findings"], serde_json::json!([]), "{report:#}");
    assert_eq!(fact(&report, "connected"), "yes");
    assert_eq!(fact(&report, "server"), "n0");
    assert_eq!(fact(&report, "messages"), "1");
    assert!(
        fact(&report, "flush").starts_with("verified: "),
        "{report:#}"
    );
    let told = cim(&url, &["doctor", "--monitor", &page(shared().node())])
        .await
        .ok();
    assert!(told.ends_with(": nothing is wrong\n"), "{told}");
}

#[tokio::test]
async fn without_it_flushing_is_unverified_which_is_a_warning_with_the_way_out() {
    let url = fresh();
    cim(&url, &["append", "a.b.c", "d"]).await.ok();
    let (code, report) = health(&url, &[]).await;
    assert_eq!(code, ExitCode::Ok);
    assert!(
        fact(&report, "flush").starts_with("unverified: "),
        "{report:#}"
    );
    let told = cim(&url, &["doctor"]).await.ok();
    assert!(told.contains(": 1 warning\n"), "{told}");
    assert!(told.contains("`--monitor http://host:8222"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_lost_a_server_is_unhealthy_and_says_which() {
    let cluster = TestCluster::start(ServerSettings::new().sync_always(true)).unwrap();
    let pages: Vec<String> = cluster.nodes().iter().map(page).collect();
    let (url, pages) = (cluster.url(), pages.join(","));
    let args = ["--replicas", "3", "--monitor", &pages];
    cim(&url, &[&["append", "a.b.c", "d"], &args[..]].concat())
        .await
        .ok();
    let (code, report) = health(&url, &args).await;
    assert_eq!(
        (code, &report["findings"]),
        (ExitCode::Ok, &serde_json::json!([]))
    );
    assert_eq!(fact(&report, "replicas"), "3");

    // Without the number the log is taken as it is; another number is refused with both.
    let (code, report) = health(&url, &["--monitor", &pages]).await;
    assert_eq!((code, fact(&report, "replicas")), (ExitCode::Ok, "3"));
    let ended = cim(&url, &["health", "--replicas", "1"]).await;
    assert_eq!(ended.code, ExitCode::Invalid, "{}", ended.show());
    assert!(ended.err.contains("num_replicas: 3"), "{}", ended.show());

    let leader = fact(&report, "leader");
    let dead = cluster
        .nodes()
        .iter()
        .find(|node| node.name() != leader)
        .unwrap();
    dead.kill().unwrap();
    let missing = format!("replica {}", dead.name());
    let begun = SystemClock.monotonic();
    let report = loop {
        let (code, report) = health(&url, &args).await;
        if code == ExitCode::Unhealthy && says(&report, &missing) {
            break report;
        }
        let waited = SystemClock.monotonic().saturating_duration_since(begun);
        assert!(waited < Duration::from_secs(30), "{report:#}");
    };
    assert_eq!(report["healthy"], false);
    let told = cim(&url, &[&["doctor"], &args[..]].concat()).await;
    assert_eq!(told.code, ExitCode::Unhealthy);
    let told = told.show();
    assert!(told.contains(&format!("server {}", dead.name())), "{told}");
    // The two that are left go on.
    cim(&url, &[&["append", "a.b.c", "d"], &args[..]].concat())
        .await
        .ok();
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused_with_how_to_enable_it() {
    let server = start(ServerSettings::new().jetstream(false));
    for command in ["health", "doctor"] {
        let ended = cim(&server.url(), &[command]).await;
        assert_eq!(ended.code, ExitCode::Invalid, "{}", ended.show());
        assert!(
            ended.err.contains("JetStream is not enabled"),
            "{}",
            ended.show()
        );
        assert!(
            ended.err.contains("hint: start it with `-js`"),
            "{}",
            ended.show()
        );
    }
}

#[tokio::test]
async fn a_user_who_may_not_look_is_denied_and_told_the_subject() {
    let server = start(ServerSettings::new().server_config(
        "accounts { A { jetstream: enabled, users: [\
         { user: owner, password: owner }, \
         { user: guest, password: guest, permissions: { publish: [\"other\"] } }] } }",
    ));
    let url = |user: &str| server.url().replace("//", &format!("//{user}:{user}@"));
    cim(&url("owner"), &["append", "a.b.c", "d"]).await.ok();
    for command in ["health", "doctor"] {
        let ended = cim(&url("guest"), &[command]).await;
        assert_eq!(ended.code, ExitCode::Denied, "{}", ended.show());
        assert!(
            ended.err.contains("$JS.API.STREAM.INFO.EVENTS"),
            "{}",
            ended.show()
        );
    }
    let ended = cim(&url("nobody"), &["health"]).await;
    assert_eq!(ended.code, ExitCode::Denied, "{}", ended.show());
}

#[tokio::test]
async fn what_only_stores_on_nats_take_is_refused_by_others() {
    for (flag, value) in [
        ("--creds", "a.creds"),
        ("--tls-ca", "ca.pem"),
        ("--tls-cert", "a.pem"),
        ("--tls-key", "a.key"),
        ("--replicas", "3"),
        ("--monitor", "http://localhost:8222"),
    ] {
        let ended = cim("memory:", &["stats", flag, value]).await;
        assert_eq!(ended.code, ExitCode::Invalid, "{}", ended.show());
        assert!(
            ended.err.contains(&format!("hint: leave out `{flag}`")),
            "{}",
            ended.show()
        );
    }
}

#[tokio::test]
async fn options_that_do_not_go_together_or_are_not_there_are_refused() {
    let url = fresh();
    let ended = cim(&url, &["stats", "--tls-cert", "a.pem"]).await;
    assert_eq!(ended.code, ExitCode::Invalid, "{}", ended.show());
    assert!(ended.err.contains("go together"), "{}", ended.show());
    for flag in ["--creds", "--tls-ca"] {
        let ended = cim(&url, &["stats", flag, "/no/such/file"]).await;
        assert_eq!(ended.code, ExitCode::Invalid, "{}", ended.show());
        assert!(ended.err.contains("/no/such/file"), "{}", ended.show());
    }
    let ended = cim(&url, &["append", "a.b.c", "d", "--replicas", "2"]).await;
    assert_eq!(ended.code, ExitCode::Invalid, "{}", ended.show());
}

#[tokio::test]
async fn a_history_goes_from_a_directory_to_nats_and_back_byte_by_byte() {
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let embedded = |name: &str| format!("embedded:{}", path(name));
    let (one, on_nats, two) = (embedded("one"), fresh(), embedded("two"));
    for number in 0..30 {
        let stream = format!("sales.order.{}", number % 4);
        let total = format!(r#"{{"total":{number}}}"#);
        let append = [
            "append",
            &stream,
            "größer",
            &total,
            "--metadata",
            "tenant=acme",
        ];
        cim(&one, &append).await.ok();
    }
    let (first, second, third) = (path("1.car"), path("2.car"), path("3.car"));
    cim(&one, &["export", "--car", &first]).await.ok();
    cim(&on_nats, &["import", "--car", &first]).await.ok();
    cim(&on_nats, &["export", "--car", &second]).await.ok();
    cim(&two, &["import", "--car", &second]).await.ok();
    cim(&two, &["export", "--car", &third]).await.ok();
    let bytes = |file: &str| std::fs::read(file).unwrap();
    assert!(bytes(&first) == bytes(&second), "as exported from NATS");
    assert!(
        bytes(&first) == bytes(&third),
        "as exported from a directory again"
    );
    let verified = cim(&on_nats, &["verify", "-q"]).await.ok();
    assert!(verified.contains("faults   0\n"), "{verified}");
    let again = cim(&on_nats, &["import", "--car", &third, "-q"]).await.ok();
    assert!(again.ends_with("found    30\nstored   0\n"), "{again}");
}

#[tokio::test]
async fn the_inventory_lives_on_a_server_and_goes_on_there() {
    let url = fresh();
    let run = async || {
        let args = ["-q", "demo", "inventory", "--resources", "20", "--json"];
        let report: Value = serde_json::from_str(&cim(&url, &args).await.ok()).unwrap();
        assert_eq!(report["all_equal"], true, "{report:#}");
        report
    };
    assert_eq!(run().await["resources_registered"], 20);
    assert!(run().await["resources"].as_u64() > Some(20));
}
