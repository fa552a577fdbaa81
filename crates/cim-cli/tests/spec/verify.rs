//! `cim verify` on a directory: what it remembers, and what it then finds.

use std::path::Path;

use cim_cli::ExitCode;
use cim_store::{Append, Context, ExpectedVersion, NewEvent, StreamId};
use serde_json::Value;

use crate::shell::{Shell, code, said};

/// A store with two streams of three and two events.
fn shop() -> Shell {
    let shell = Shell::new();
    for (stream, payload) in [
        ("7", "one"),
        ("8", "two"),
        ("7", "three"),
        ("8", "four"),
        ("7", "five"),
    ] {
        let stream = format!("sales.order.{stream}");
        shell.ok(&[
            "append",
            &stream,
            "counted",
            &format!("{{\"n\":\"{payload}\"}}"),
        ]);
    }
    shell
}

/// What `cim verify` finds: events read now, events verified before, faults.
fn verify(shell: &Shell, args: &[&str]) -> (u64, u64, Vec<String>) {
    let mut all = vec!["verify", "--json", "-q"];
    all.extend(args);
    let output = shell.run(&all);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no report: {}", said(&output)));
    let faults: Vec<String> = report["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(show)
        .collect();
    let expected = if faults.is_empty() {
        ExitCode::Ok
    } else {
        ExitCode::Integrity
    };
    assert_eq!(code(&output), expected.number(), "{}", said(&output));
    let number = |name: &str| report[name].as_u64().unwrap();
    (number("events"), number("events_before"), faults)
}

fn show(fault: &Value) -> String {
    let kind = fault["kind"].as_str().unwrap();
    match fault["stream"].as_str() {
        Some(stream) => format!("{kind} {stream} {}", fault["version"]),
        None => format!("{kind} log"),
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_second_verification_reads_only_what_is_new() {
    let shell = shop();
    assert_eq!(verify(&shell, &[]), (5, 0, vec![]));
    assert_eq!(verify(&shell, &[]), (0, 5, vec![]));
    shell.ok(&["append", "sales.order.9", "counted"]);
    assert_eq!(verify(&shell, &[]), (1, 5, vec![]));
    assert_eq!(verify(&shell, &["--full"]), (6, 0, vec![]));
    assert_eq!(verify(&shell, &[]), (0, 6, vec![]));
    let text = shell.ok(&["verify", "-q"]);
    assert_eq!(
        text,
        "streams  3\nevents   0\nbefore   6 (verified earlier, not read again)\nfaults   0\n"
    );
}

#[test]
fn each_store_is_remembered_by_itself_and_a_copy_is_another_one() {
    let shell = shop();
    assert_eq!(verify(&shell, &[]), (5, 0, vec![]));
    copy(&shell.path().join("cim-data"), &shell.path().join("copy"));
    assert_eq!(
        verify(&shell, &["--store", "embedded:copy"]),
        (5, 0, vec![])
    );
    assert_eq!(
        verify(&shell, &["--store", "embedded:./copy/../copy"]),
        (0, 5, vec![])
    );
}

#[test]
fn heads_that_are_kept_in_a_named_file_show_what_was_cut_since() {
    let shell = shop();
    let before = shell.path().join("before");
    copy(&shell.path().join("cim-data"), &before);
    shell.ok(&["append", "sales.order.7", "counted"]);
    shell.ok(&["append", "sales.order.9", "counted"]);
    assert_eq!(verify(&shell, &["--heads", "kept.heads"]), (7, 0, vec![]));
    // An older copy takes the place of the store: sound in itself, and too short.
    std::fs::rename(shell.path().join("cim-data"), shell.path().join("newer")).unwrap();
    std::fs::rename(before, shell.path().join("cim-data")).unwrap();
    let faults = ["cut sales.order.7 4", "cut sales.order.9 1"].map(str::to_owned);
    let found = verify(&shell, &["--heads", "kept.heads"]);
    // Another event stands where the last verified one stood, so everything is compared.
    assert_eq!(found, (5, 0, faults.to_vec()));
    // It is not forgotten by having been said once.
    assert_eq!(verify(&shell, &["--heads", "kept.heads"]), found);
    assert_eq!(verify(&shell, &["--heads", "other.heads"]), (5, 0, vec![]));
}

#[test]
fn another_store_in_the_same_place_is_a_fault_until_it_is_said_to_be_anew() {
    let shell = shop();
    verify(&shell, &[]);
    std::fs::remove_dir_all(shell.path().join("cim-data")).unwrap();
    shell.ok(&["append", "sales.order.1", "counted"]);
    for _ in 0..2 {
        assert_eq!(verify(&shell, &[]), (1, 0, vec!["forked log".to_owned()]));
        assert_eq!(
            verify(&shell, &["--full"]),
            (1, 0, vec!["forked log".to_owned()])
        );
    }
    let said = said(&shell.run(&["verify"]));
    assert!(
        said.ends_with("if the store was made anew on purpose: `cim verify --anew`\n"),
        "{said}"
    );
    assert_eq!(verify(&shell, &["--anew"]), (1, 0, vec![]));
    assert_eq!(verify(&shell, &[]), (0, 1, vec![]));
}

#[test]
fn a_history_that_was_moved_to_another_store_is_compared_with_the_heads_of_the_old_one() {
    let shell = shop();
    verify(&shell, &["--heads", "kept.heads"]);
    shell.ok(&["export", "--car", "shop.car"]);
    shell.ok(&["import", "--car", "shop.car", "--store", "embedded:moved"]);
    let moved = ["--heads", "kept.heads", "--store", "embedded:moved"];
    assert_eq!(verify(&shell, &moved), (0, 5, vec![]));
    shell.ok(&[
        "append",
        "sales.order.7",
        "counted",
        "--store",
        "embedded:moved",
    ]);
    assert_eq!(verify(&shell, &moved), (1, 5, vec![]));
}

#[test]
fn a_file_that_holds_something_else_is_never_written() {
    let shell = shop();
    let path = shell.path().join("sales.key");
    std::fs::write(&path, "PRIVATE+KEY+sales+…").unwrap();
    for args in [
        &["--heads", "sales.key"][..],
        &["--heads", "sales.key", "--anew"],
    ] {
        let mut all = vec!["verify", "-q"];
        all.extend(args);
        let output = shell.run(&all);
        assert_eq!(
            code(&output),
            ExitCode::Invalid.number(),
            "{}",
            said(&output)
        );
    }
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "PRIVATE+KEY+sales+…"
    );
}

#[test]
fn where_something_else_than_the_log_is_damaged_the_log_is_verified_all_the_same() {
    let shell = shop();
    std::fs::write(shell.path().join("cim-data/buckets/mark"), "damaged").unwrap();
    let output = shell.run(&["verify"]);
    assert_eq!(code(&output), ExitCode::Integrity.number());
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(shown, "streams  2\nevents   5\nfaults   0\n");
    assert!(
        said(&output).contains("can't be opened"),
        "{}",
        said(&output)
    );
}

#[test]
fn verified_heads_that_were_changed_are_refused_until_they_are_begun_anew() {
    let shell = shop();
    verify(&shell, &["--heads", "kept.heads"]);
    let path = shell.path().join("kept.heads");
    let kept = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, kept.replace("events 5", "events 6")).unwrap();
    let output = shell.run(&["verify", "--heads", "kept.heads"]);
    assert_eq!(code(&output), ExitCode::Invalid.number());
    expect_test::expect![[r#"
        error: the verified heads can't be used (kept.heads)
          because: the verified heads were changed or cut: their last line does not fit the others
        hint: restore it from a copy of yours, or begin a new one with `cim verify --anew`
    "#]]
    .assert_eq(&said(&output));
    assert_eq!(
        verify(&shell, &["--heads", "kept.heads", "--anew"]),
        (5, 0, vec![])
    );
    assert_eq!(verify(&shell, &["--heads", "kept.heads"]), (0, 5, vec![]));
}

#[test]
fn heads_that_cant_be_kept_are_an_error() {
    let shell = shop();
    // A file that stands where a directory should, and a directory where a file should.
    for heads in ["cim-data/cim-store.json/x", "cim-data"] {
        let output = shell.run(&["verify", "-q", "--heads", heads]);
        assert_eq!(code(&output), ExitCode::Invalid.number(), "{heads}");
        assert!(
            said(&output).contains("hint: name a file that can be "),
            "{}",
            said(&output)
        );
    }
}

#[test]
fn a_pattern_goes_on_from_what_was_verified() {
    let shell = shop();
    assert_eq!(verify(&shell, &["sales.order.7"]), (3, 0, vec![]));
    assert_eq!(verify(&shell, &["sales.order.7"]), (0, 3, vec![]));
    shell.ok(&["append", "sales.order.7", "counted"]);
    assert_eq!(verify(&shell, &["sales.order.7"]), (1, 3, vec![]));
    assert_eq!(verify(&shell, &["--streams"]), (6, 0, vec![]));
}

/// A store with so many streams of one event; somebody altered all of them.
async fn altered(streams: usize) -> Shell {
    let shell = Shell::new();
    let directory = shell.path().join("cim-data");
    let url = format!("embedded:{}", directory.display());
    let store = cim_domain::open(&url).await.unwrap();
    let mut append = Append::new();
    for number in 0..streams {
        let stream = StreamId::new("sales", "order", &format!("n{number}")).unwrap();
        let event = NewEvent::json("counted", "payload").unwrap();
        append = append.write(stream, ExpectedVersion::NEW, vec![event]);
    }
    store.log().append(&Context::new(), append).await.unwrap();
    store.close().await.unwrap();
    let segment = directory.join("events/0000000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(7).position(|bytes| bytes == b"payload") {
        bytes[at + found] = b'P';
        at += found + 7;
    }
    std::fs::write(segment, bytes).unwrap();
    shell
}

#[tokio::test]
async fn very_many_faults_are_not_all_printed_but_json_has_them_all() {
    for (streams, more) in [
        (100, None),
        (101, Some("… and 1 more; --json lists all")),
        (103, Some("… and 3 more; --json lists all")),
    ] {
        let shell = altered(streams).await;
        let output = shell.run(&["verify", "-q"]);
        assert_eq!(code(&output), ExitCode::Integrity.number());
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let faults = lines
            .iter()
            .take_while(|line| line.starts_with("altered  "));
        assert_eq!(faults.count(), 100, "{text}");
        let rest = lines[100..].iter().map(|line| (*line).to_owned());
        let end = [
            format!("streams  {streams}"),
            format!("events   {streams}"),
            format!("faults   {streams}"),
        ];
        let expected: Vec<String> = more.map(str::to_owned).into_iter().chain(end).collect();
        assert_eq!(rest.collect::<Vec<_>>(), expected);
        let (_, _, faults) = verify(&shell, &[]);
        assert_eq!(faults.len(), streams);
    }
}
