//! `cim export` and `cim import`: what they print, how they end, and what stops them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use cim_cli::ExitCode;
use cim_ipld::EventCid;
use cim_ipld::car::{CarReader, CarWriter};
use cim_store::{
    Append, CommitId, ContentType, Context, EventLog, EventLogError, EventType, ExpectedVersion,
    Fault, LimitName, NewEvent, StreamId,
};
use expect_test::expect;
use serde_json::Value;

use crate::shell::{Shell, code, said};
use crate::tampered_log::{Fate, TamperedLog};
use crate::workbench::{Ended, Workbench};

/// Three streams, four events.
async fn shop() -> Workbench {
    let bench = Workbench::new();
    for args in [
        &["sales.order.7", "order_placed", r#"{"total":12}"#][..],
        &["sales.order.10", "order_placed"],
        &[
            "media.photo.3",
            "uploaded",
            "GIF",
            "--content-type",
            "image/gif",
        ],
        &["sales.order.7", "order_paid"],
    ] {
        bench.run(&[&["append"], args].concat()).await.ok();
    }
    bench
}

/// A directory for files, and what was printed without its name.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// The names of all files.
    fn names(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn shown(&self, ended: &Ended) -> String {
        ended
            .show()
            .replace(self.0.path().to_str().unwrap(), "/FILES")
    }
}

#[tokio::test]
async fn a_history_that_is_exported_and_imported_is_the_same() {
    let (shop, files) = (shop().await, Files::new());
    let file = files.path("history.car");
    expect![[r#"
        file     /FILES/history.car
        root     bafyreiakvvucnnwoxnefsss4ykdi4zdammu64kpv4s5itu6my7zsutpif4
        events   4
        streams  3
        tree     3SE1tN6lOuAB5Nvv1GS+I2RHiS2Uc5TYkXBe5bhtMRU=
        bytes    1539
    "#]]
    .assert_eq(&files.shown(&shop.run(&["export", "--car", &file, "-q"]).await));
    assert_eq!(files.names(), ["history.car"]);

    let elsewhere = Workbench::new();
    expect![[r#"
        file     /FILES/history.car
        root     bafyreiakvvucnnwoxnefsss4ykdi4zdammu64kpv4s5itu6my7zsutpif4
        events   4
        streams  3
        tree     3SE1tN6lOuAB5Nvv1GS+I2RHiS2Uc5TYkXBe5bhtMRU=
        bytes    1539
        found    0
        stored   4
    "#]]
    .assert_eq(&files.shown(&elsewhere.run(&["import", "--car", &file, "-q"]).await));
    let again = elsewhere
        .run(&["import", "--car", &file, "-q", "--json"])
        .await
        .ok();
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!((&again["found"], &again["stored"]), (&4.into(), &0.into()));

    let second = files.path("second.car");
    let exported = elsewhere
        .run(&["export", "--car", &second, "-q", "--json"])
        .await
        .ok();
    let exported: Value = serde_json::from_str(&exported).unwrap();
    assert_eq!(exported["root"], again["root"]);
    assert_eq!(files.bytes("history.car"), files.bytes("second.car"));
    let log = ["log", "sales.order.7", "--json"];
    assert_eq!(shop.run(&log).await.ok().lines().count(), 2);
}

#[tokio::test]
async fn a_file_that_exists_is_overwritten_only_when_asked_for() {
    let (shop, files) = (shop().await, Files::new());
    let file = files.path("history.car");
    std::fs::write(&file, "precious").unwrap();
    let export = ["export", "--car", &file, "-q"];
    expect![[r#"
        --- standard error
        error: /FILES/history.car exists already
        hint: name another file, or overwrite it with `--force`
        --- code 5
    "#]]
    .assert_eq(&files.shown(&shop.run(&export).await));
    assert_eq!(files.bytes("history.car"), b"precious");
    shop.run(&[&export[..], &["--force"]].concat()).await.ok();
    assert_ne!(files.bytes("history.car"), b"precious");
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_no_regular_file_is_never_overwritten() {
    let (shop, files) = (shop().await, Files::new());
    std::fs::create_dir(files.path("directory")).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(files.path("socket")).unwrap();
    std::os::unix::fs::symlink("target", files.path("link")).unwrap();
    for (name, what) in [
        ("directory", "a directory"),
        ("socket", "a device, a pipe or a socket"),
        ("link", "a symbolic link"),
    ] {
        let file = files.path(name);
        for force in [&[][..], &["--force"]] {
            let args = [&["export", "--car", &file, "-q"], force].concat();
            let expected = format!(
                "--- standard error\nerror: /FILES/{name} is {what}, and no file to write over\nhint: \
                 name another file; `--force` overwrites regular files alone\n--- code 5\n"
            );
            assert_eq!(files.shown(&shop.run(&args).await), expected);
        }
    }
    assert_eq!(files.names(), ["directory", "link", "socket"]);
    let socket = std::fs::symlink_metadata(files.path("socket")).unwrap();
    assert!(!socket.is_file());
}

#[tokio::test]
async fn what_another_export_is_writing_is_not_touched() {
    let (shop, files) = (shop().await, Files::new());
    let file = files.path("history.car");
    std::fs::write(files.path("history.car.part"), "under way").unwrap();
    expect![[r#"
        --- standard error
        error: /FILES/history.car.part exists: another command is writing it, or one was killed
        hint: remove it if nothing is writing it any more
        --- code 7
    "#]]
    .assert_eq(&files.shown(&shop.run(&["export", "--car", &file, "-q"]).await));
    assert_eq!(files.bytes("history.car.part"), b"under way");
}

#[tokio::test]
async fn a_damaged_store_is_refused_with_the_place_and_leaves_no_file() {
    let (shop, files) = (shop().await, Files::new());
    let file = files.path("history.car");
    let export = ["export", "--car", &file, "-q"];
    let altered = shop.rewrapped(|log| {
        TamperedLog::reading_log(log, |mut event| {
            if event.position.get() == 3 {
                event.payload = "JPG".into();
            }
            Some(event)
        })
    });
    let ended = altered.run(&export).await;
    assert_eq!(ended.code, ExitCode::Integrity);
    let said = "error: the event at position 3, version 1 of stream media.photo.3, was altered: ";
    assert!(ended.err.starts_with(said), "{}", ended.show());
    assert!(files.names().is_empty());

    let shortened = shop.rewrapped(|log| {
        TamperedLog::reading_log(log, |event| (event.position.get() != 1).then_some(event))
    });
    expect![[r#"
        --- standard error
        error: the event at position 4 breaks its stream's chain
          because: stream sales.order.7, version 1: the next event has version 2, so version 1 is missing; restore from a replica or backup, or read the range again if only part of it was read
        hint: `cim verify` names every damaged place
        --- code 6
    "#]]
    .assert_eq(&files.shown(&shortened.run(&export).await));
    let cut = shop.rewrapped(|log| {
        TamperedLog::reading_log(log, |event| (event.position.get() < 4).then_some(event))
    });
    expect![[r#"
        --- standard error
        error: the log says it holds 4 events, but gave 3
        hint: `cim verify` names every damaged place
        --- code 6
    "#]]
    .assert_eq(&files.shown(&cut.run(&export).await));
    assert!(files.names().is_empty());
}

#[tokio::test]
async fn a_pattern_exports_some_streams_and_one_that_matches_none_no_file() {
    let (shop, files) = (shop().await, Files::new());
    let file = files.path("orders.car");
    let exported = shop
        .run(&["export", "--car", &file, "sales", "-q", "--json"])
        .await
        .ok();
    let exported: Value = serde_json::from_str(&exported).unwrap();
    assert_eq!(exported["pattern"], "sales.>");
    assert_eq!(
        (&exported["events"], &exported["streams"]),
        (&3.into(), &2.into())
    );
    let checked = shop.run(&["import", "--car", &file, "--check", "-q"]).await;
    expect![[r#"
        file     /FILES/orders.car
        root     bafyreifd5ykammrsn777zwtupt5ybxhdtrgyf7gr6kl65hqoll6pl5dq5e
        events   3
        streams  2
        tree     zBoLJBxb6y9ll5ebDM1BY6521N7dl7vUNqOv6oel5S4=
        pattern  sales.>
        bytes    1263
    "#]]
    .assert_eq(&files.shown(&checked));
    let elsewhere = Workbench::new();
    let imported = elsewhere.run(&["import", "--car", &file]).await.ok();
    assert!(
        imported.contains("\npattern  sales.>\nbytes "),
        "{imported}"
    );
    assert_eq!(
        elsewhere.run(&["log", "--json"]).await.ok().lines().count(),
        3
    );

    let nothing = files.path("nothing.car");
    let ended = shop
        .run(&["export", "--car", &nothing, "bakery", "-q"])
        .await;
    expect![[r#"
        --- standard error
        error: no stream matches `bakery.>`
        hint: `cim streams` lists the streams of the store
        --- code 4
    "#]]
    .assert_eq(&ended.show());
    assert_eq!(files.names(), ["orders.car"]);
}

#[tokio::test]
async fn a_file_with_a_split_commit_can_be_checked_but_not_imported() {
    let (bench, files) = (Workbench::new(), Files::new());
    let write = |append: Append, name| {
        let stream = StreamId::parse(name).unwrap();
        let event = NewEvent::json("moved", &1).unwrap();
        append.write(stream, ExpectedVersion::NEW, vec![event])
    };
    let both = write(write(Append::new(), "bank.account.1"), "bank.account.2");
    bench.log.append(&Context::new(), both).await.unwrap();
    let file = files.path("one.car");
    let export = ["export", "--car", &file, "bank.account.1"];
    expect![[r#"
        file     /FILES/one.car
        root     bafyreiebmjnbunjw6lu32p4x4mlxdizjgr7sdwbtdlmk3o233qn7xede3i
        events   1
        streams  1
        tree     9EdwJ/rB1XOvtRgl63TsvSe8+ELyTAYYDEesf5PpXmY=
        pattern  bank.account.1
        bytes    659
        --- standard error
        exported up to position: 1 of 2
        1 commit also wrote to streams that are not exported, first 00000000-0000-8001-8000-000000000000: the file can be read and checked, but not imported
    "#]]
    .assert_eq(&files.shown(&bench.run(&export).await));
    let elsewhere = Workbench::new();
    expect![[r#"
        --- standard error
        error: commit 00000000-0000-8001-8000-000000000000 is not whole in the file: event 2 of 2 is not there; it belongs to another stream than bank.account.1
        hint: export without a PATTERN, or with one that matches all streams of each commit; `--check` only checks the file
        --- code 5
    "#]]
    .assert_eq(&elsewhere.run(&["import", "--car", &file, "-q"]).await.show());
    let checked = elsewhere
        .run(&["import", "--car", &file, "--check", "--json"])
        .await
        .ok();
    let checked: Value = serde_json::from_str(&checked).unwrap();
    assert_eq!(checked["split_commits"], 1);
    assert_eq!(elsewhere.run(&["log", "--json"]).await.ok(), "");
}

#[tokio::test]
async fn a_store_that_holds_something_else_is_refused_with_a_conflict() {
    let (shop, files) = (shop().await, Files::new());
    let file = files.path("history.car");
    shop.run(&["export", "--car", &file]).await.ok();
    let other = Workbench::new();
    other.run(&["append", "a.b.c", "d"]).await.ok();
    expect![[r#"
        --- standard error
        error: the store holds another history: its event 1, at position 1, is version 1 of stream a.b.c, and not the file's
        hint: import into an empty store, or into one that holds a beginning of this history
        --- code 3
    "#]]
    .assert_eq(&other.run(&["import", "--car", &file, "-q"]).await.show());
    shop.run(&["append", "a.b.c", "d"]).await.ok();
    let ended = shop.run(&["import", "--car", &file, "-q"]).await;
    assert_eq!(ended.code, ExitCode::Conflict);
    assert_eq!(shop.run(&["log", "--json"]).await.ok().lines().count(), 5);
}

/// What is said when the store fails at its third append with this error.
async fn import_that_fails(fail: fn() -> EventLogError) -> String {
    let (shop, files) = (shop().await, Files::new());
    let file = files.path("history.car");
    shop.run(&["export", "--car", &file]).await.ok();
    let there = Workbench::with_log(|log, _| {
        TamperedLog::appending(log, move |append| match append {
            3 => Fate::Fails(fail()),
            _ => Fate::Stored,
        })
    });
    there.run(&["import", "--car", &file, "-q"]).await.show()
}

#[tokio::test]
async fn an_import_that_the_store_refuses_says_what_to_change() {
    let too_large = || {
        EventLogError::too_large(LimitName::PayloadBytes, 2_000_000, 966_656)
            .with_hint("set `max_payload: 4MB` in the server's configuration")
    };
    expect![[r#"
        --- standard error
        error: event 3 of the file, the first of commit 00000000-0000-8001-8000-000000000004, is not stored
          because: 2000000 bytes of payload are too many; at most 966656 are possible
        hint: set `max_payload: 4MB` in the server's configuration; before that the same command ends here again; the store holds the first 2 events of the file
        --- code 5
    "#]].assert_eq(&import_that_fails(too_large).await);
    let too_large = || EventLogError::too_large(LimitName::PayloadBytes, 2_000_000, 1_048_576);
    expect![[r#"
        --- standard error
        error: event 3 of the file, the first of commit 00000000-0000-8001-8000-000000000004, is not stored
          because: 2000000 bytes of payload are too many; at most 1048576 are possible
        hint: import into a store that takes events of that size; before that the same command ends here again; the store holds the first 2 events of the file
        --- code 5
    "#]].assert_eq(&import_that_fails(too_large).await);
    let denied = || EventLogError::new(Fault::Denied, "no permission to publish");
    expect![[r#"
        --- standard error
        error: event 3 of the file, the first of commit 00000000-0000-8001-8000-000000000004, is not stored
          because: no permission to publish
        hint: get the right to read and to append there; before that the same command ends here again; the store holds the first 2 events of the file
        --- code 9
    "#]].assert_eq(&import_that_fails(denied).await);
}

#[tokio::test]
async fn an_import_that_the_store_may_take_later_says_that_it_goes_on() {
    let unavailable = || EventLogError::unavailable("no server answers");
    expect![[r#"
        --- standard error
        error: event 3 of the file, the first of commit 00000000-0000-8001-8000-000000000004, is not stored
          because: no server answers
        hint: what was imported so far is stored; the same command goes on after it
        --- code 7
    "#]].assert_eq(&import_that_fails(unavailable).await);
    let full = || EventLogError::unavailable("the disk is full").with_hint("make room on the disk");
    expect![[r#"
        --- standard error
        error: event 3 of the file, the first of commit 00000000-0000-8001-8000-000000000004, is not stored
          because: the disk is full
        hint: make room on the disk; what was imported so far is stored; the same command goes on after it
        --- code 7
    "#]].assert_eq(&import_that_fails(full).await);
    let unknown = || EventLogError::unknown(CommitId::from_bytes([3; 16]), "the answer was lost");
    expect![[r#"
        --- standard error
        error: event 3 of the file, the first of commit 00000000-0000-8001-8000-000000000004, is not stored
          because: the answer was lost (commit: 03030303-0303-0303-0303-030303030303)
        hint: what was imported so far is stored; the same command goes on after it
        --- code 8
    "#]].assert_eq(&import_that_fails(unknown).await);
}

#[tokio::test]
async fn an_event_of_a_newer_format_is_no_damage() {
    let (shop, files) = (shop().await, Files::new());
    let file = files.path("history.car");
    shop.run(&["export", "--car", &file]).await.ok();
    let bytes = files.bytes("history.car");
    let mut events = CarReader::new(&bytes[..]).unwrap();
    let mut event = events.next_block().unwrap().unwrap().bytes.to_vec();
    event[3] = 2;
    let cid = EventCid::of(&event).to_cid();
    let mut newer = CarWriter::new(Vec::new(), &[cid]).unwrap();
    newer.write_block(&cid, &event).unwrap();
    std::fs::write(&file, newer.finish().unwrap()).unwrap();
    for args in [&["--check"][..], &[]] {
        let args = [&["import", "--car", &file, "-q"], args].concat();
        expect![[r#"
            --- standard error
            error: byte 59: event 1 of the file has a block of format version 2; this release reads version 1, a newer one may read it
            hint: read it with the release of cim that wrote it, or a newer one
            --- code 5
        "#]].assert_eq(&Workbench::new().run(&args).await.show());
    }
}

#[tokio::test]
async fn a_damaged_file_ends_with_code_6_and_a_missing_one_with_4() {
    let (shop, files) = (shop().await, Files::new());
    let file = files.path("history.car");
    shop.run(&["export", "--car", &file]).await.ok();
    let mut bytes = files.bytes("history.car");
    let place = bytes.windows(3).position(|three| three == b"GIF").unwrap();
    bytes[place] = b'J';
    let damaged = files.path("damaged.car");
    std::fs::write(&damaged, &bytes).unwrap();
    let elsewhere = Workbench::new();
    for args in [&["--check"][..], &[]] {
        let ended = elsewhere
            .run(&[&["import", "--car", &damaged, "-q"], args].concat())
            .await;
        assert_eq!(ended.code, ExitCode::Integrity);
        assert!(
            ended.err.contains(": the block was altered: "),
            "{}",
            ended.show()
        );
    }
    std::fs::write(&damaged, &bytes[..place]).unwrap();
    let ended = elsewhere.run(&["import", "--car", &damaged, "-q"]).await;
    assert_eq!(ended.code, ExitCode::Integrity, "{}", ended.show());
    assert_eq!(elsewhere.run(&["log", "--json"]).await.ok(), "");
    let ended = elsewhere
        .run(&["import", "--car", &files.path("none.car")])
        .await;
    expect![[r#"
        --- standard error
        error: /FILES/none.car can't be read
          because: No such file or directory (os error 2)
        hint: name a file that can be read
        --- code 4
    "#]]
    .assert_eq(&files.shown(&ended));
}

/// 25 000 events in commits of 100.
async fn fill(log: &Arc<dyn EventLog>) {
    for commit in 0..250 {
        let stream = StreamId::new("sales", "order", &(commit % 50).to_string()).unwrap();
        let events = (0..100).map(|number| {
            let kind = EventType::new("order_changed").unwrap();
            NewEvent::new(kind, ContentType::JSON, format!("{{\"number\":{number}}}"))
        });
        let append = Append::new().write(stream, ExpectedVersion::Any, events.collect());
        log.append(&Context::new(), append).await.unwrap();
    }
}

#[tokio::test]
async fn after_ctrl_c_the_same_command_goes_on() {
    let files = Files::new();
    let here = Workbench::new();
    fill(&here.log).await;
    let file = files.path("history.car");
    here.run(&["export", "--car", &file]).await.ok();
    let there = Workbench::with_log(|log, interrupt| {
        TamperedLog::appending(log, move |append| {
            if append == 50 {
                interrupt.send(true).unwrap();
            }
            Fate::Stored
        })
    });
    let ended = there.run(&["import", "--car", &file]).await;
    expect![[r#"
        --- standard error
        imported bytes: 2506911 of 7674215
        stopped after event 8100; the same command goes on there
        --- code 130
    "#]]
    .assert_eq(&ended.show());
    there.interrupt.send(false).unwrap();
    let again = there.run(&["import", "--car", &file, "-q"]).await.ok();
    assert!(
        again.ends_with("found    8100\nstored   16900\n"),
        "{again}"
    );
    let second = files.path("second.car");
    there.run(&["export", "--car", &second]).await.ok();
    assert_eq!(files.bytes("history.car"), files.bytes("second.car"));
}

/// Starts an import, and kills it when it has said so many lines about its progress.
fn kill_import_after(shell: &Shell, store: &str, lines: usize) {
    let mut import = shell
        .command(&["--store", store, "import", "--car", "history.car"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let said = BufReader::new(import.stderr.take().unwrap());
    let said = said.lines().take(lines).map(Result::unwrap);
    assert!(said.last().unwrap().starts_with("imported bytes: "));
    import.kill().unwrap();
    import.wait().unwrap();
}

#[tokio::test]
async fn an_import_that_was_killed_goes_on_where_it_ended() {
    let shell = Shell::new();
    let here = shell.path().join("cim-data");
    let store = cim_domain::open(&format!("embedded:{}", here.display()))
        .await
        .unwrap();
    fill(&store.log()).await;
    store.close().await.unwrap();
    shell.ok(&["export", "--car", "history.car"]);
    kill_import_after(&shell, "embedded:two", 1);
    kill_import_after(&shell, "embedded:two", 2);
    let imported = shell.ok(&[
        "--store",
        "embedded:two",
        "import",
        "--car",
        "history.car",
        "--json",
    ]);
    let imported: Value = serde_json::from_str(&imported).unwrap();
    let count = |name: &str| imported[name].as_u64().unwrap();
    assert_eq!(count("found") + count("stored"), 25_000);
    assert!(count("found") >= 8_000, "{imported}");
    assert!(
        shell
            .ok(&["--store", "embedded:two", "verify", "-q"])
            .contains("faults   0\n")
    );
    shell.ok(&["--store", "embedded:two", "export", "--car", "second.car"]);
    let bytes = |name: &str| std::fs::read(shell.path().join(name)).unwrap();
    assert!(bytes("history.car") == bytes("second.car"));
}

#[test]
fn a_file_that_is_refused_at_its_beginning_makes_no_store() {
    let shell = Shell::new();
    shell.ok(&["append", "a.b.c", "d"]);
    shell.ok(&["export", "--car", "history.car"]);
    let other = "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua";
    let import = |file: &str, args: &[&str]| {
        let output =
            shell.run(&[&["--store", "embedded:two", "import", "--car", file], args].concat());
        assert!(!Path::new(&shell.path().join("two")).exists());
        output
    };
    let output = import("history.car", &["--root", other]);
    assert_eq!(code(&output), ExitCode::Integrity.number());
    assert!(
        said(&output).contains(&format!(", not {other}\n")),
        "{}",
        said(&output)
    );
    let output = import("none.car", &[]);
    assert_eq!(code(&output), ExitCode::NotFound.number());
    std::fs::write(shell.path().join("text.car"), "no CAR").unwrap();
    assert_eq!(code(&import("text.car", &[])), ExitCode::Integrity.number());
    let mut damaged = std::fs::read(shell.path().join("history.car")).unwrap();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    std::fs::write(shell.path().join("damaged.car"), damaged).unwrap();
    let output = import("damaged.car", &[]);
    assert_eq!(code(&output), ExitCode::Integrity.number());
    std::fs::create_dir(shell.path().join("directory.car")).unwrap();
    let output = import("directory.car", &[]);
    assert_eq!(code(&output), ExitCode::Invalid.number());
    assert!(
        said(&output).starts_with("error: directory.car is a directory\n"),
        "{}",
        said(&output)
    );
    let output = import("history.car", &["--root", "oops"]);
    assert_eq!(code(&output), ExitCode::Usage.number());
    assert!(
        said(&output).contains("it is no CID; "),
        "{}",
        said(&output)
    );
}
