//! Every command but `demo`: what it prints, and how it ends.

use cim_cli::{Environment, ExitCode, Interrupt};
use cim_domain::persistence::event_index::{EventIndex, IndexSettings};
use cim_store::{ArchiveDigester, Context, LogQuery, Position, Truncation};
use expect_test::expect;
use futures_util::TryStreamExt;
use serde_json::Value;

use crate::tampered_log::TamperedLog;
use crate::workbench::{Workbench, run_in};

/// Three streams, five events.
async fn shop() -> Workbench {
    let bench = Workbench::new();
    for args in [
        &[
            "sales.order.7",
            "order_placed",
            r#"{"total": 12, "lines": ["a", "b"]}"#,
        ][..],
        &[
            "sales.order.7",
            "order_paid",
            "--expected",
            "1",
            "--metadata",
            "tenant=acme",
        ],
        &[
            "sales.order.10",
            "order_placed",
            r#"{ "total": 1.50 }"#,
            "--expected",
            "new",
        ],
        &[
            "media.photo.3",
            "uploaded",
            "GIF",
            "--content-type",
            "image/gif",
        ],
        &[
            "sales.order.7",
            "order_sent",
            "null",
            "--time",
            "2026-01-02T03:04:05Z",
        ],
    ] {
        bench.run(&[&["append"], args].concat()).await.ok();
    }
    bench
}

#[tokio::test]
async fn append_says_what_was_stored() {
    let bench = Workbench::new();
    let args = ["append", "sales.order.7", "order_placed", r#"{"total":12}"#];
    expect![[r#"
        stream    sales.order.7
        version   1
        position  1
        cid       bafyreiers2gn2wpqmo6uai3mvmbsght6afu76p5k27ywpl4yv5vqmj3df4
        commit    00000000-0000-8001-8000-000000000000
    "#]]
    .assert_eq(&bench.run(&args).await.ok());
    expect![[r#"
        {"stream":"sales.order.7","version":2,"position":2,"cid":"bafyreieocspoliasuga7lftk4ftvys4kjiippwn56n4nefc7be5buj2d34","commit_id":"00000000-0000-8001-8000-000000000002","stored_at":"2026-11-20T10:15:00Z"}
    "#]].assert_eq(&bench.run(&[&args[..], &["--json"]].concat()).await.ok());
}

#[tokio::test]
async fn append_takes_everything_an_event_can_say() {
    let bench = Workbench::new();
    let id = |digit: u8| format!("00000000-0000-7000-8000-00000000000{digit}");
    let (commit, event, conversation, cause) = (id(1), id(2), id(3), id(4));
    let args = [
        "append",
        "a.b.c",
        "d",
        "{}",
        "--commit-id",
        &commit,
        "--event-id",
        &event,
        "--correlation-id",
        &conversation,
        "--causation-id",
        &cause,
        "--schema-version",
        "3",
        "--time",
        "2026-01-02T03:04:05Z",
        "--metadata",
        "k=v=w",
        "--metadata",
        "empty=",
        "--content-type",
        "application/vnd.x+json",
    ];
    bench.run(&args).await.ok();
    expect![[r#"
        {"position":1,"stream":"a.b.c","version":1,"type":"d","schema_version":3,"id":"00000000-0000-7000-8000-000000000002","time":"2026-01-02T03:04:05Z","stored_at":"2026-11-20T10:15:00Z","content_type":"application/vnd.x+json","payload":{},"metadata":{"empty":"","k":"v=w"},"commit_id":"00000000-0000-7000-8000-000000000001","commit_index":0,"commit_count":1,"correlation_id":"00000000-0000-7000-8000-000000000003","causation_id":"00000000-0000-7000-8000-000000000004","principal":null,"trace":null,"cid":"bafyreign3t7yatwgvergfg7zl2fxiagtsvavq4ijy47oduizu627mc4k54","previous":null}
    "#]].assert_eq(&bench.run(&["events", "a.b.c", "--json"]).await.ok());
}

#[tokio::test]
async fn append_under_the_same_commit_id_stores_once_and_gives_the_first_result() {
    let bench = Workbench::new();
    let id = "00000000-0000-7000-8000-000000000001";
    let args = [
        "append",
        "a.b.c",
        "d",
        "--expected",
        "new",
        "--commit-id",
        id,
    ];
    let first = bench.run(&args).await.ok();
    assert_eq!(bench.run(&args).await.ok(), first);
    let other = ["append", "a.b.c", "another_type", "--commit-id", id];
    assert_eq!(bench.run(&other).await.code, ExitCode::Invalid);
    assert_eq!(bench.run(&["log", "--json"]).await.ok().lines().count(), 1);
}

#[tokio::test]
async fn append_at_another_version_is_a_conflict() {
    let bench = shop().await;
    let args = ["append", "sales.order.7", "order_paid", "--expected", "1"];
    expect![[r#"
        --- standard error
        error: stream sales.order.7 is at version 3, expected was version 1
        hint: load the stream again and decide again
        --- code 3
    "#]]
    .assert_eq(&bench.run(&args).await.show());
    let missing = [
        "append",
        "sales.order.8",
        "order_paid",
        "--expected",
        "exists",
    ];
    assert_eq!(bench.run(&missing).await.code, ExitCode::Conflict);
}

#[tokio::test]
async fn append_refuses_what_is_not_json_and_stores_nothing() {
    let bench = Workbench::new();
    let ended = bench
        .run(&["append", "a.b.c", "d", "{\"total\": 12,}"])
        .await;
    expect![[r#"
        --- standard error
        error: the payload from the command line is not JSON: line 1, column 14: key must be a string
        hint: correct it, or say what it is with `--content-type`; nothing was stored
        --- code 5
    "#]].assert_eq(&ended.show());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("payload.json");
    std::fs::write(&file, "[1,\n 2,\n oops]").unwrap();
    let at_file = format!("@{}", file.display());
    let ended = bench.run(&["append", "a.b.c", "d", &at_file]).await;
    let shown = ended
        .show()
        .replace(directory.path().to_str().unwrap(), "/DIRECTORY");
    expect![[r#"
        --- standard error
        error: the payload from file /DIRECTORY/payload.json is not JSON: line 3, column 2: expected value
        hint: correct it, or say what it is with `--content-type`; nothing was stored
        --- code 5
    "#]].assert_eq(&shown);
    assert_eq!(bench.run(&["log", "--json"]).await.ok(), "");
}

#[tokio::test]
async fn append_takes_a_payload_from_a_file_byte_by_byte() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("payload");
    std::fs::write(&file, [0, 159, 146, 150]).unwrap();
    let at_file = format!("@{}", file.display());
    let bench = Workbench::new();
    let kind = "application/octet-stream";
    bench
        .run(&["append", "a.b.c", "d", &at_file, "--content-type", kind])
        .await
        .ok();
    let event: Value =
        serde_json::from_str(&bench.run(&["events", "a.b.c", "--json"]).await.ok()).unwrap();
    assert_eq!(event["payload_base64"], "AJ+Slg==");
    let ended = bench.run(&["append", "a.b.c", "d", "@/no/such/file"]).await;
    expect![[r#"
        --- standard error
        error: the payload can't be read from file /no/such/file
          because: No such file or directory (os error 2)
        hint: name a file that can be read
        --- code 4
    "#]]
    .assert_eq(&ended.show());
}

#[tokio::test]
async fn append_refuses_metadata_that_says_two_things_under_one_name() {
    let args = [
        "append",
        "a.b.c",
        "d",
        "--metadata",
        "k=1",
        "--metadata",
        "k=2",
    ];
    expect![[r#"
        --- standard error
        error: the metadata can't be encoded
          because: event block, field "meta": key "k" appears twice; keep one of the two
        hint: give each `--metadata` name once
        --- code 5
    "#]]
    .assert_eq(&Workbench::new().run(&args).await.show());
}

#[tokio::test]
async fn append_refuses_what_is_too_deep_or_too_large() {
    let bench = Workbench::new();
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    expect![[r#"
        --- standard error
        error: 65 levels of nesting are too many; at most 64 are possible (stream: a.b.c, type: d)
        --- code 5
    "#]]
    .assert_eq(&bench.run(&["append", "a.b.c", "d", &deep]).await.show());
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    expect![[r#"
        --- standard error
        error: 1048578 bytes of payload are too many; at most 1048576 are possible (stream: a.b.c, type: d)
        --- code 5
    "#]].assert_eq(&bench.run(&["append", "a.b.c", "d", &large]).await.show());
}

#[tokio::test]
async fn streams_are_listed_by_name() {
    let bench = shop().await;
    expect![[r#"
        STREAM          VERSION  POSITION  CID
        media.photo.3         1         4  bafyreiduozm2lrfasr6ukn5xqip63fhqkgaxpxiqvys2osau4o32sgxmti
        sales.order.10        1         3  bafyreicqzi3dyq2c7q65mqlxp4ka3a2teiserblnecbnyupwtwo3xtb5oi
        sales.order.7         3         5  bafyreigusv7wzehk3mizispydvltcx33pdrek2zyxbyok2m2fmizua6rqa
    "#]].assert_eq(&bench.run(&["streams"]).await.ok());
    expect![[r#"
        {"stream":"sales.order.10","version":1,"position":3,"cid":"bafyreicqzi3dyq2c7q65mqlxp4ka3a2teiserblnecbnyupwtwo3xtb5oi"}
        {"stream":"sales.order.7","version":3,"position":5,"cid":"bafyreigusv7wzehk3mizispydvltcx33pdrek2zyxbyok2m2fmizua6rqa"}
    "#]].assert_eq(&bench.run(&["streams", "sales", "--json"]).await.ok());
    expect![[r#"
        STREAM  VERSION  POSITION  CID
    "#]]
    .assert_eq(&bench.run(&["streams", "nobody"]).await.ok());
}

#[tokio::test]
async fn events_of_a_stream_are_shown_in_order() {
    let bench = shop().await;
    expect![[r#"
        VERSION  TIME                         TYPE                  PAYLOAD
              1  2026-11-20T10:15:00Z         order_placed          {"total":12,"lines":["a","b"]}
              2  2026-11-20T10:15:00Z         order_paid            {}
              3  2026-01-02T03:04:05Z         order_sent            null
    "#]]
    .assert_eq(&bench.run(&["events", "sales.order.7"]).await.ok());
    expect![[r#"
        VERSION  TIME                         TYPE                  PAYLOAD
              1  2026-11-20T10:15:00Z         uploaded              <3 bytes of image/gif>
    "#]]
    .assert_eq(&bench.run(&["events", "media.photo.3"]).await.ok());
    expect![[r#"
        {"position":2,"stream":"sales.order.7","version":2,"type":"order_paid","schema_version":1,"id":"00000000-0000-8001-8000-000000000003","time":"2026-11-20T10:15:00Z","stored_at":"2026-11-20T10:15:00Z","content_type":"application/json","payload":{},"metadata":{"tenant":"acme"},"commit_id":"00000000-0000-8001-8000-000000000002","commit_index":0,"commit_count":1,"correlation_id":null,"causation_id":null,"principal":null,"trace":null,"cid":"bafyreihgqkmfxlyhwlqdcnskq2ujpmc6hzinmioekg6eluhueiji7jvstu","previous":"bafyreibwzhykwyz2sfp5c6ijj4vzsgovxgjfu57voohzirx6w57kty2xnq"}
    "#]].assert_eq(
        &bench
            .run(&[
                "events",
                "sales.order.7",
                "--json",
                "--from",
                "2",
                "--to",
                "2",
            ])
            .await
            .ok(),
    );
}

#[tokio::test]
async fn events_can_be_limited_at_either_end() {
    let bench = shop().await;
    let cases = [
        (&["--from", "2"][..], "2 3"),
        (&["--to", "2"], "1 2"),
        (&["--backwards"], "3 2 1"),
        (&["--backwards", "--limit", "1"], "3"),
        (&["--from", "2", "--to", "3", "--backwards"], "3 2"),
        (&["--limit", "0"], ""),
        (&["--from", "9"], ""),
    ];
    for (options, versions) in cases {
        let args = [&["events", "sales.order.7", "--json"], options].concat();
        let lines = bench.run(&args).await.ok();
        let found: Vec<String> = lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["version"].to_string())
            .collect();
        assert_eq!(found.join(" "), versions, "{options:?}");
    }
}

#[tokio::test]
async fn a_stream_without_events_is_not_found() {
    expect![[r#"
        --- standard error
        error: stream sales.order.99 has no events
        hint: `cim streams` lists the streams of the store
        --- code 4
    "#]]
    .assert_eq(&shop().await.run(&["events", "sales.order.99"]).await.show());
}

#[tokio::test]
async fn the_log_is_shown_in_the_order_it_was_stored() {
    expect![[r#"
        POSITION  STORED AT                    TYPE                  VERSION  STREAM                                         PAYLOAD
               1  2026-11-20T10:15:00Z         order_placed                1  sales.order.7                                  {"total":12,"lines":["a","b"]}
               2  2026-11-20T10:15:00Z         order_paid                  2  sales.order.7                                  {}
               3  2026-11-20T10:15:00Z         order_placed                1  sales.order.10                                 {"total":1.50}
               4  2026-11-20T10:15:00Z         uploaded                    1  media.photo.3                                  <3 bytes of image/gif>
               5  2026-11-20T10:15:00Z         order_sent                  3  sales.order.7                                  null
    "#]].assert_eq(&shop().await.run(&["log"]).await.ok());
}

#[tokio::test]
async fn the_log_can_be_narrowed() {
    let bench = shop().await;
    let cases = [
        (&["sales"][..], "1 2 3 5"),
        (&["sales.order.7"], "1 2 5"),
        (&["sales.order.*.order_placed"], "1 3"),
        (&["cim.events.sales.order.*.*.2"], "2"),
        (&["--type", "uploaded", "--type", "order_paid"], "2 4"),
        (&["--after", "3"], "4 5"),
        (&["--after", "1", "--limit", "2"], "2 3"),
        (&["--limit", "0"], ""),
        (&["--follow", "--limit", "2", "sales.order.7"], "1 2"),
    ];
    for (options, positions) in cases {
        let lines = bench
            .run(&[&["log", "--json"], options].concat())
            .await
            .ok();
        let found: Vec<String> = lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["position"].to_string())
            .collect();
        assert_eq!(found.join(" "), positions, "{options:?}");
    }
}

#[tokio::test]
async fn one_conversation_is_shown_with_an_index_or_without() {
    let bench = Workbench::new();
    let id = "0193f2a4-7c1e-7d52-9a3b-5f0c8e21d6b7";
    for (stream, correlation) in [
        ("a.b.1", id),
        ("a.c.1", id),
        ("a.b.2", OTHER),
        ("a.b.3", id),
    ] {
        let append = [
            "append",
            stream,
            "happened",
            "--correlation-id",
            correlation,
        ];
        bench.run(&append).await.ok();
    }
    let positions = async |options: &[&str]| {
        let options = [&["log", "--json", "--correlation", id], options].concat();
        let lines = bench.run(&options).await.ok();
        let line = |line| serde_json::from_str::<Value>(line).unwrap()["position"].to_string();
        lines.lines().map(line).collect::<Vec<_>>().join(" ")
    };
    for indexed in [false, true] {
        if indexed {
            let settings = IndexSettings::default();
            let index = EventIndex::open(&*bench.store, settings).await.unwrap();
            index.persist(&Context::new()).await.unwrap();
            bench
                .run(&["append", "a.b.4", "happened", "--correlation-id", id])
                .await
                .ok();
        }
        let all = if indexed { "1 2 4 5" } else { "1 2 4" };
        assert_eq!(positions(&[]).await, all);
        assert_eq!(positions(&["--limit", "2"]).await, "1 2");
        assert_eq!(positions(&["--after", "1", "--limit", "2"]).await, "2 4");
        assert_eq!(positions(&["a.c"]).await, "2");
        assert_eq!(positions(&["--follow", "--limit", "3"]).await, "1 2 4");
        assert_eq!(
            bench.store.buckets(&Context::new()).await.unwrap().len(),
            usize::from(indexed)
        );
    }
}

const OTHER: &str = "0193f2a4-7c1e-7d52-9a3b-000000000000";

#[tokio::test]
async fn following_the_log_shows_what_comes_until_ctrl_c() {
    let bench = shop().await;
    let follow = bench.run(&["log", "--json", "--follow", "--after", "5", "--limit", "1"]);
    let append = bench.run(&["append", "sales.order.11", "order_placed"]);
    let (followed, appended) = tokio::join!(follow, append);
    appended.ok();
    assert!(followed.ok().contains("sales.order.11"));

    let follow = bench.run(&["log", "--follow", "--after", "6"]);
    let stop = async { bench.interrupt.send(true).unwrap() };
    let (followed, ()) = tokio::join!(follow, stop);
    assert_eq!(followed.code, ExitCode::Interrupted);
}

#[tokio::test]
async fn stats_count() {
    let bench = shop().await;
    let shown = bench.run(&["stats", "--store", "memory:"]).await.ok();
    expect![[r#"
        store              memory:
        durability         until the process ends
        events             5
        streams            3
        first position     1
        last position      5
        truncated through  0
        bytes              977
    "#]]
    .assert_eq(&shown);
    let json: Value = serde_json::from_str(&bench.run(&["stats", "--json"]).await.ok()).unwrap();
    assert_eq!((&json["events"], &json["streams"]), (&5.into(), &3.into()));
}

#[tokio::test]
async fn a_sound_store_verifies() {
    let bench = shop().await;
    expect![[r#"
        streams  3
        events   5
        faults   0
    "#]]
    .assert_eq(&bench.run(&["verify", "--quiet"]).await.show());
    expect![[r#"
        {"streams":2,"events":4,"events_before":0,"other_log":false,"faults":[],"heads":null}
    "#]]
    .assert_eq(&bench.run(&["verify", "sales", "--json", "-q"]).await.show());
}

#[tokio::test]
async fn what_a_truncation_left_verifies_and_is_shown() {
    let bench = shop().await;
    let ctx = Context::new();
    let mut digester = ArchiveDigester::new();
    let mut events = bench
        .log
        .read_log(&ctx, LogQuery::all().limit(3))
        .await
        .unwrap();
    while let Some(event) = events.try_next().await.unwrap() {
        digester.push(&event);
    }
    let truncation = Truncation {
        through: Position::new(3),
        archived: digester.finish(),
    };
    bench.log.truncate(&ctx, truncation).await.unwrap();
    expect![[r#"
        streams  3
        events   2
        faults   0
    "#]]
    .assert_eq(&bench.run(&["verify", "--quiet"]).await.show());
    expect![[r#"
        POSITION  STORED AT                    TYPE                  VERSION  STREAM                                         PAYLOAD
               4  2026-11-20T10:15:00Z         uploaded                    1  media.photo.3                                  <3 bytes of image/gif>
               5  2026-11-20T10:15:00Z         order_sent                  3  sales.order.7                                  null
        --- standard error
        events up to position 3 were truncated; an archive holds them
    "#]]
    .assert_eq(&bench.run(&["log"]).await.show());
    expect![[r#"
        --- standard error
        error: the events after this position were truncated (after: 1, first position: 4)
        hint: begin at the first position, and take older events from the archive
        --- code 4
    "#]]
    .assert_eq(&bench.run(&["log", "--after", "1"]).await.show());
}

#[tokio::test]
async fn an_altered_event_is_named_once() {
    let bench = shop().await.rewrapped(|log| {
        TamperedLog::reading(log, |mut event| {
            if event.position.get() == 2 {
                event.payload = b"{\"forged\":true}".as_slice().into();
            }
            Some(event)
        })
    });
    let ended = bench.run(&["verify", "--quiet"]).await;
    assert_eq!(ended.code, ExitCode::Integrity);
    let json: Value =
        serde_json::from_str(&bench.run(&["verify", "--json", "-q"]).await.out).unwrap();
    let places: Vec<String> = json["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| format!("{} {} {}", fault["kind"], fault["stream"], fault["version"]))
        .collect();
    assert_eq!(places, [r#""altered" "sales.order.7" 2"#]);
}

#[tokio::test]
async fn events_that_are_missing_are_named() {
    let lose = |position: u64| {
        move |log| {
            TamperedLog::reading(log, move |event| {
                (event.position.get() != position).then_some(event)
            })
        }
    };
    let bench = shop().await;
    expect![[r#"
        removed  stream sales.order.7, version 2, position 5: the next event has version 3, so version 2 is missing; restore from a replica or backup, or read the range again if only part of it was read
        streams  3
        events   4
        faults   1
        --- code 6
    "#]].assert_eq(&bench.rewrapped(lose(2)).run(&["verify", "-q"]).await.show());
    expect![[r#"
        cut  stream sales.order.7, version 3: the stream ends with version 2, but its head says version 3 at position 5
        streams  3
        events   4
        faults   1
        --- code 6
    "#]].assert_eq(&bench.rewrapped(lose(5)).run(&["verify", "-q"]).await.show());
}

#[tokio::test]
async fn a_log_that_holds_other_events_than_the_streams_is_named() {
    let bench = shop().await.rewrapped(|log| {
        TamperedLog::reading_log(log, |event| (event.position.get() != 5).then_some(event))
    });
    expect![[r#"
        cut  stream sales.order.7, version 3: the stream ends with version 2, but its head says version 3 at position 5
        streams  3
        events   4
        faults   1
        --- code 6
    "#]]
    .assert_eq(&bench.run(&["verify", "-q"]).await.show());
}

#[tokio::test]
async fn positions_and_times_that_go_astray_are_named() {
    let bench = shop().await.rewrapped(|log| {
        TamperedLog::reading_log(log, |mut event| {
            match event.position.get() {
                2 => event.position = Position::new(1),
                3 => event.stored_at = cim_store::Timestamp::EPOCH,
                _ => {}
            }
            Some(event)
        })
    });
    let json: Value =
        serde_json::from_str(&bench.run(&["verify", "--json", "-q"]).await.out).unwrap();
    let kinds: Vec<&str> = json["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["order", "order"]);
}

#[tokio::test]
async fn a_store_that_is_not_there_is_not_created_by_reading() {
    let (_keeps_silent, receiver) = tokio::sync::watch::channel(false);
    let environment = Environment::system(Interrupt::from_channel(receiver));
    let shown = run_in(&environment, &["streams", "--store", "memory:"])
        .await
        .show();
    expect![[r#"
        --- standard error
        error: there is no store at `memory:`
        hint: reading never creates a store; `cim append`, `cim import` and `cim demo` do, or name another one with `--store` or CIM_STORE
        --- code 4
    "#]].assert_eq(&shown);
    for command in [
        &["streams"][..],
        &["events", "a.b.c"],
        &["log"],
        &["stats"],
        &["verify"],
    ] {
        let args = [command, &["--store", "memory:"]].concat();
        assert_eq!(
            run_in(&environment, &args).await.code,
            ExitCode::NotFound,
            "{command:?}"
        );
    }
}

#[tokio::test]
async fn verifying_streams_that_are_not_there_is_not_found() {
    let bench = shop().await;
    expect![[r#"
        --- standard error
        error: no stream matches `slaes.>`
        hint: `cim streams` lists the streams of the store
        --- code 4
    "#]]
    .assert_eq(&bench.run(&["verify", "slaes"]).await.show());
    // A store without streams has nothing that could be wrong.
    let empty = Workbench::new();
    assert_eq!(empty.run(&["verify"]).await.code, ExitCode::Ok);
}

#[tokio::test]
async fn a_url_that_names_no_store_is_refused_with_the_way_out() {
    let (_keeps_silent, receiver) = tokio::sync::watch::channel(false);
    let environment = Environment::system(Interrupt::from_channel(receiver));
    let mut shown = String::new();
    for url in ["./data", "postgres://host", "memory:x"] {
        shown += &run_in(&environment, &["append", "a.b.c", "d", "--store", url])
            .await
            .show();
    }
    expect![[r#"
        --- standard error
        error: `./data` does not say which kind of store it is; did you mean `embedded:./data`?
        hint: name a store with `--store` or CIM_STORE, such as `embedded:./cim-data`
        --- code 5
        --- standard error
        error: there are no stores of kind `postgres:`; known are `memory:`, `embedded:PATH`, `nats://HOST` and `tls://HOST`
        hint: name a store with `--store` or CIM_STORE, such as `embedded:./cim-data`
        --- code 5
        --- standard error
        error: `memory:x` can't be opened: nothing follows `memory:`, because every memory store is a new one
        hint: name a store with `--store` or CIM_STORE, such as `embedded:./cim-data`
        --- code 5
    "#]].assert_eq(&shown);
}
