//! The built program, as a shell runs it, against a store in a directory.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use cim_cli::ExitCode;
use serde_json::Value;

use crate::repository::Repository;
use crate::shell::{Shell, code, flip, said};

#[test]
fn what_one_process_stored_the_next_one_reads() {
    let shell = Shell::new();
    shell.ok(&["append", "sales.order.7", "order_placed", r#"{"total":12}"#]);
    shell.ok(&["append", "sales.order.7", "order_paid", "--expected", "1"]);
    let events = shell.ok(&["events", "sales.order.7", "--json"]);
    let types: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].clone())
        .collect();
    assert_eq!(types, ["order_placed", "order_paid"]);
    assert!(shell.ok(&["verify", "-q"]).contains("faults   0\n"));
    assert!(
        shell
            .ok(&["stats"])
            .contains("durability         flushed to disk\n")
    );
}

#[test]
fn the_environment_names_the_store_unless_the_command_line_does() {
    let shell = Shell::new();
    let named = |args: &[&str]| {
        shell
            .command(args)
            .env("CIM_STORE", "embedded:./other")
            .output()
            .unwrap()
    };
    assert_eq!(code(&named(&["append", "a.b.c", "d"])), 0);
    assert!(shell.path().join("other").is_dir());
    assert_eq!(
        code(&named(&[
            "append",
            "a.b.c",
            "d",
            "--store",
            "embedded:./third"
        ])),
        0
    );
    assert!(shell.path().join("third").is_dir());
    assert!(!shell.path().join("cim-data").exists());
}

#[test]
fn reading_does_not_create_a_store() {
    let shell = Shell::new();
    for args in [
        &["streams"][..],
        &["events", "a.b.c"],
        &["log"],
        &["stats"],
        &["health"],
        &["doctor"],
        &["verify"],
    ] {
        let output = shell.run(args);
        assert_eq!(code(&output), ExitCode::NotFound.number(), "{args:?}");
        assert!(
            said(&output).starts_with("error: there is no store at `embedded:./cim-data`\nhint: ")
        );
    }
    assert!(!shell.path().join("cim-data").exists());
}

#[test]
fn health_of_a_directory_says_where_it_is_and_how_it_is() {
    let shell = Shell::new();
    shell.ok(&["append", "sales.order.7", "order_placed"]);
    let health = shell.ok(&["health", "-q"]);
    let line = |name: &str| {
        let found = health.lines().find(|line| line.starts_with(name));
        found.unwrap_or_default()[name.len()..].trim().to_owned()
    };
    assert!(line("directory").ends_with("/cim-data"), "{health}");
    assert_eq!(line("durability"), "flushed to disk");
    assert_eq!(line("events"), "1");
    assert!(
        line("bytes free on the disk").parse::<u64>().is_ok(),
        "{health}"
    );
    assert_eq!(line("healthy"), "yes");
    assert_eq!(code(&shell.run(&["doctor"])), ExitCode::Ok.number());
}

#[test]
fn the_environment_says_how_a_store_on_nats_is_opened() {
    let shell = Shell::new();
    for (variable, value, says) in [
        ("CIM_NATS_CREDS", "missing.creds", "missing.creds"),
        ("CIM_NATS_TLS_CA", "missing.pem", "missing.pem"),
        ("CIM_NATS_REPLICAS", "2", "replicas: 2"),
    ] {
        let output = shell
            .command(&["stats", "--store", "nats://127.0.0.1:9"])
            .env(variable, value)
            .output()
            .unwrap();
        assert_eq!(
            code(&output),
            ExitCode::Invalid.number(),
            "{}",
            said(&output)
        );
        assert!(said(&output).contains(says), "{}", said(&output));
    }
}

#[test]
fn a_directory_that_is_no_store_is_left_alone() {
    let shell = Shell::new();
    std::fs::create_dir(shell.path().join("cim-data")).unwrap();
    std::fs::write(shell.path().join("cim-data/thesis.txt"), "mine").unwrap();
    let output = shell.run(&["append", "a.b.c", "d"]);
    assert_eq!(
        code(&output),
        ExitCode::Invalid.number(),
        "{}",
        said(&output)
    );
    let left: Vec<_> = std::fs::read_dir(shell.path().join("cim-data"))
        .unwrap()
        .collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn a_store_that_another_process_holds_is_unavailable() {
    let shell = Shell::new();
    shell.ok(&["append", "a.b.c", "d"]);
    let mut follower = shell
        .command(&["log", "--follow", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(follower.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.contains("a.b.c"), "{line}");
    let output = shell.run(&["append", "a.b.c", "d"]);
    follower.kill().unwrap();
    follower.wait().unwrap();
    assert_eq!(
        code(&output),
        ExitCode::Unavailable.number(),
        "{}",
        said(&output)
    );
    assert!(said(&output).contains("hint: "), "{}", said(&output));
    shell.ok(&["append", "a.b.c", "d", "--expected", "1"]);
}

#[test]
fn a_payload_can_come_from_standard_input() {
    let shell = Shell::new();
    let mut append = shell
        .command(&["append", "a.b.c", "d", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    append.stdin.take().unwrap().write_all(b"[1, 2]").unwrap();
    assert!(append.wait().unwrap().success());
    assert!(shell.ok(&["events", "a.b.c"]).ends_with("  [1,2]\n"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let shell = Shell::new();
    let large = format!("\"{}\"", "x".repeat(100_000));
    for _ in 0..5 {
        shell.ok(&["append", "a.b.c", "d", &large]);
    }
    let mut log = shell
        .command(&["log", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // More than a pipe holds is still to come when the reader goes.
    log.stdout.take().unwrap().read_exact(&mut [0; 10]).unwrap();
    let output = log.wait_with_output().unwrap();
    assert_eq!((code(&output), said(&output).as_str()), (0, ""));
}

#[test]
fn results_that_can_not_be_written_are_an_error() {
    let shell = Shell::new();
    shell.ok(&["append", "a.b.c", "d"]);
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = shell
        .command(&["log"])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(code(&output), ExitCode::Failure.number());
    assert!(
        said(&output).starts_with("error: the output can't be written\n"),
        "{}",
        said(&output)
    );
}

#[test]
fn an_append_that_can_not_say_so_says_that_it_is_stored() {
    let shell = Shell::new();
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = shell
        .command(&["append", "a.b.c", "d"])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(code(&output), ExitCode::Failure.number());
    assert!(
        said(&output).contains("hint: the event is stored, as version 1 of a.b.c, commit "),
        "{}",
        said(&output)
    );
}

#[test]
fn a_flipped_byte_is_found_and_named() {
    let shell = Shell::new();
    shell.ok(&[
        "append",
        "sales.order.1",
        "order_placed",
        r#"{"note":"before"}"#,
    ]);
    shell.ok(&[
        "append",
        "sales.order.2",
        "order_placed",
        r#"{"note":"marker"}"#,
    ]);
    shell.ok(&[
        "append",
        "sales.order.3",
        "order_placed",
        r#"{"note":"after"}"#,
    ]);
    let flipped = flip(&shell.path().join("cim-data"), b"marker");
    assert_eq!(flipped, 1);
    let output = shell.run(&["verify"]);
    assert_eq!(
        code(&output),
        ExitCode::Integrity.number(),
        "{}",
        said(&output)
    );
}

#[test]
fn colour_and_progress_bars_are_for_terminals() {
    let shell = Shell::new();
    let repository = Repository::with_commits(2);
    let output = shell.run(&["demo", "git", "--repo", repository.path_text()]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert_eq!(said(&output), "imported git commits: 2 of 2\n");
    assert!(!output.stdout.contains(&0x1b));
    assert!(
        shell
            .ok(&["streams", "--color", "always"])
            .contains("\x1b[")
    );
}

#[test]
fn demo_git_takes_the_repository_it_stands_in_whatever_the_environment_names() {
    let repository = Repository::with_commits(2);
    let other = Repository::with_commits(1);
    let shell = Shell::new();
    let store = format!("embedded:{}", shell.path().join("data").display());
    let args = ["demo", "git", "--json", "--store", &store];
    let output = shell
        .command(&args)
        .current_dir(repository.path())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["commits"], &report["all_equal"]),
        (&2.into(), &true.into())
    );

    // With --repo, variables that name another repository don't count.
    let store = format!("embedded:{}", shell.path().join("data2").display());
    let args = [
        "demo",
        "git",
        "--json",
        "--store",
        &store,
        "--repo",
        repository.path_text(),
    ];
    let output = shell
        .command(&args)
        .env("GIT_DIR", other.path().join(".git"))
        .env("GIT_WORK_TREE", other.path())
        .env("GIT_INDEX_FILE", "/no/such/file")
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["commits"], &report["all_equal"]),
        (&2.into(), &true.into())
    );
}

#[test]
fn without_git_demo_git_says_so_and_creates_no_store() {
    let shell = Shell::new();
    let output = shell
        .command(&["demo", "git"])
        .env("PATH", "/no/such/directory")
        .output()
        .unwrap();
    assert_eq!(code(&output), ExitCode::Failure.number());
    assert!(
        said(&output).contains("hint: install git"),
        "{}",
        said(&output)
    );
    assert!(!shell.path().join("cim-data").exists());
}

#[test]
fn ctrl_c_leaves_a_store_that_the_next_run_completes() {
    let repository = Repository::with_commits(200);
    let shell = Shell::new();
    let args = ["demo", "git", "--repo", repository.path_text()];
    let path = format!(
        "{}:{}",
        shell.stalling_git(60_000).display(),
        std::env::var("PATH").unwrap()
    );
    let mut import = shell
        .command(&args)
        .env("PATH", path)
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Git stalls; what came before is being stored. Only then the user loses patience.
    let mut said_first = String::new();
    let mut stderr = BufReader::new(import.stderr.take().unwrap());
    stderr.read_line(&mut said_first).unwrap();
    assert!(
        said_first.starts_with("imported git commits: "),
        "{said_first}"
    );
    let pid = rustix::process::Pid::from_child(&import);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    let output = import.wait_with_output().unwrap();
    assert_eq!(code(&output), ExitCode::Interrupted.number(), "{rest}");
    assert!(rest.contains("the next run continues there"), "{rest}");
    assert!(output.stdout.is_empty());

    let before: Value = serde_json::from_str(&shell.ok(&["stats", "--json"])).unwrap();
    let report = shell.ok(&[&args[..], &["--json", "-q"]].concat());
    let report: Value = serde_json::from_str(&report).unwrap();
    let stored = before["events"].as_u64().unwrap();
    assert!(stored > 0 && stored < 600, "{stored}");
    assert_eq!(report["events"], 600);
    assert_eq!(report["events_imported"], 600 - stored);
    assert_eq!(report["all_equal"], true);
}

impl Shell {
    /// A directory with a `git` that stalls after so many bytes of the history.
    fn stalling_git(&self, bytes: usize) -> std::path::PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let found = Command::new("sh")
            .args(["-c", "command -v git"])
            .output()
            .unwrap();
        let real = String::from_utf8(found.stdout).unwrap();
        let directory = self.path().join("bin");
        std::fs::create_dir(&directory).unwrap();
        let stall = directory.join("stall");
        assert!(
            Command::new("mkfifo")
                .arg(&stall)
                .status()
                .unwrap()
                .success()
        );
        let script = format!(
            "#!/bin/sh\n\
             case \" $* \" in\n\
             *' --raw '*) {real} \"$@\" | head -c {bytes}; exec cat '{stall}' ;;\n\
             *) exec {real} \"$@\" ;;\n\
             esac\n",
            real = real.trim(),
            stall = stall.display(),
        );
        let program = directory.join("git");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        directory
    }
}
