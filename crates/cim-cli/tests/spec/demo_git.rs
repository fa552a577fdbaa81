//! `cim demo git` on whole histories.

use std::os::unix::fs::{PermissionsExt, symlink};

use cim_cli::ExitCode;
use expect_test::expect;
use serde_json::Value;

use crate::repository::Repository;
use crate::tampered_log::TamperedLog;
use crate::workbench::{Ended, Workbench};

impl Workbench {
    pub(crate) async fn import(&self, repository: &Repository) -> Ended {
        self.run(&["demo", "git", "--repo", repository.path_text()])
            .await
    }

    /// The report as JSON, of a run that found everything equal.
    pub(crate) async fn import_equal(&self, repository: &Repository) -> Value {
        let args = ["demo", "git", "--json", "--repo", repository.path_text()];
        let report = self.run(&args).await.ok();
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["all_equal"], true);
        report
    }

    pub(crate) async fn events(&self, args: &[&str]) -> Vec<Value> {
        let args = [&["log", "--json"], args].concat();
        let lines = self.run(&args).await.ok();
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub(crate) async fn event_count(&self) -> usize {
        self.events(&[]).await.len()
    }
}

/// `{"a": 1}` and `["a"]`: the counts of a report.
fn counts(report: &Value) -> [u64; 5] {
    [
        "commits",
        "commits_imported",
        "events",
        "events_imported",
        "files",
    ]
    .map(|name| report[name].as_u64().unwrap())
}

#[tokio::test]
async fn a_history_is_imported_and_equal_to_gits() {
    let repository = Repository::empty();
    repository.write("README", "hello");
    repository.write("src/lib.rs", "// one");
    repository.commit("first\n\nwith a body\n");
    repository.write("src/lib.rs", "// two");
    repository.remove("README");
    repository.commit("second");
    let bench = Workbench::new();
    let ended = bench.import(&repository).await;
    let shown = ended.show().replace(repository.path_text(), "/REPOSITORY");
    expect![[r#"
        repository  /REPOSITORY/.git
        HEAD        3c4525989d0896c283772895867b7bbd9bc3c421
        commits     2, 2 of them new
        events      6, 6 of them new
        files       1 at HEAD
        import      0.00 s
        rebuild     0.00 s

        ANSWER                                        COMPARED       TIME  RESULT
        tree at HEAD                                 1 files       0.00 s  equal
        tree at 1 earlier commit                     2 files       0.00 s  equal
        changes of the 2 most changed files          4 changes     0.00 s  equal
        chain of every stream                        4 streams     0.00 s  equal

        CHANGES  MOST CHANGED FILES
              2  README
              2  src/lib.rs
        --- standard error
        imported git commits: 2 of 2
    "#]]
    .assert_eq(&shown);

    let log = bench.run(&["log"]).await.ok();
    expect![[r#"
        POSITION  STORED AT                    TYPE                  VERSION  STREAM                                         PAYLOAD
               1  2026-11-20T10:15:00Z         file_added                  1  git.file.2422102c-b096-57c0-8c6f-7ba978c6d4b4  {"path":"README","mode":"100644","blob":"b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"}
               2  2026-11-20T10:15:00Z         file_added                  1  git.file.b550b8b3-64cf-51be-b680-c1131551d2f6  {"path":"src/lib.rs","mode":"100644","blob":"7ba49949c62c371ac2bc94bc39c4937ab2bea77b"}
               3  2026-11-20T10:15:00Z         commit_recorded             1  git.commit.bcd9e7169115df6d69902007746ca18b5bff8b2f  {"hash":"bcd9e7169115df6d69902007746ca18b5bff8b2f","parents":[],"author":{"name":"Ann","email":"ann@example.org","time":"2001-09-09T01:46:43Z","offset":"+0200"}…
               4  2026-11-20T10:15:00Z         file_deleted                2  git.file.2422102c-b096-57c0-8c6f-7ba978c6d4b4  {"path":"README","mode":"100644","blob":"b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"}
               5  2026-11-20T10:15:00Z         file_modified               2  git.file.b550b8b3-64cf-51be-b680-c1131551d2f6  {"path":"src/lib.rs","mode":"100644","blob":"68632917cc98aa8ac50ef39c7293ce10e3070c86"}
               6  2026-11-20T10:15:00Z         commit_recorded             1  git.commit.3c4525989d0896c283772895867b7bbd9bc3c421  {"hash":"3c4525989d0896c283772895867b7bbd9bc3c421","parents":["bcd9e7169115df6d69902007746ca18b5bff8b2f"],"author":{"name":"Ann","email":"ann@example.org","time…
    "#]].assert_eq(&log);
}

#[tokio::test]
async fn everything_of_a_git_commit_is_one_commit_of_the_store_and_names_it() {
    let repository = Repository::with_commits(1);
    let hash = repository.git(&["rev-parse", "HEAD"]);
    let bench = Workbench::new();
    bench.import_equal(&repository).await;
    let events = bench.events(&[]).await;
    let recorded = events.last().unwrap();
    assert_eq!(recorded["type"], "commit_recorded");
    assert_eq!(recorded["stream"], format!("git.commit.{hash}"));
    assert_eq!(recorded["payload"]["author"]["name"], "Ann");
    assert_eq!(recorded["payload"]["committer"]["email"], "ben@example.org");
    assert_eq!(recorded["payload"]["committer"]["offset"], "+0200");
    assert_eq!(recorded["payload"]["message"], "commit 1\n");
    assert_eq!(events.len(), 3);
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event["metadata"]["git_commit"], hash);
        assert_eq!(event["commit_id"], recorded["commit_id"]);
        assert_eq!(
            (&event["commit_index"], &event["commit_count"]),
            (&index.into(), &3.into())
        );
        assert_eq!(event["correlation_id"], recorded["correlation_id"]);
        assert_eq!(event["time"], recorded["payload"]["committer"]["time"]);
        let is_recorded = index == 2;
        let cause = if is_recorded {
            &Value::Null
        } else {
            &recorded["id"]
        };
        assert_eq!(&event["causation_id"], cause);
    }
}

#[tokio::test]
async fn merges_count_by_what_they_change_for_the_first_parent() {
    let repository = Repository::with_commits(2);
    repository.git(&["checkout", "--quiet", "-b", "side", "HEAD~1"]);
    repository.write("side", "1");
    repository.commit("side 1");
    repository.write("side", "2");
    repository.commit("side 2");
    repository.git(&["checkout", "--quiet", "main"]);
    repository.git(&["merge", "--quiet", "--no-ff", "-m", "merge", "side"]);
    let bench = Workbench::new();
    let report = bench.import_equal(&repository).await;
    assert_eq!(report["commits"], 3);
    let events = bench.events(&[]).await;
    let merge = &events[events.len() - 2..];
    assert_eq!(
        (&merge[0]["type"], &merge[0]["payload"]["path"]),
        (&"file_added".into(), &"side".into())
    );
    assert_eq!(merge[1]["payload"]["parents"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn deleting_adding_again_renaming_and_changing_case_are_changes_of_paths() {
    let repository = Repository::empty();
    repository.write("a", "same");
    repository.commit("add");
    repository.remove("a");
    repository.commit("delete");
    repository.write("a", "same");
    repository.commit("add again");
    repository.git(&["mv", "a", "b"]);
    repository.commit("rename");
    repository.git(&["mv", "b", "B"]);
    repository.commit("case");
    let bench = Workbench::new();
    bench.import_equal(&repository).await;
    let events = bench.events(&["git.file"]).await;
    let shown: Vec<String> = events
        .iter()
        .map(|event| {
            format!(
                "{} {} {}",
                event["payload"]["path"], event["type"], event["version"]
            )
        })
        .collect();
    expect![[r#"
        "a" "file_added" 1
        "a" "file_deleted" 2
        "a" "file_added" 3
        "a" "file_deleted" 4
        "b" "file_added" 1
        "B" "file_added" 1
        "b" "file_deleted" 2"#]]
    .assert_eq(&shown.join("\n"));
}

#[tokio::test]
async fn modes_links_and_submodules_are_kept_and_another_type_is_a_modification() {
    let other = Repository::with_commits(1);
    let repository = Repository::empty();
    repository.write("script", "echo");
    repository.write("target", "target");
    repository.write("module", "a file at first");
    repository.commit("files");
    let mut permissions = std::fs::metadata(repository.file("script"))
        .unwrap()
        .permissions();
    permissions.set_mode(0o755);
    std::fs::set_permissions(repository.file("script"), permissions).unwrap();
    repository.remove("target");
    symlink("script", repository.file("target")).unwrap();
    repository.commit("mode and link");
    repository.remove("module");
    repository.git(&["add", "--all"]);
    repository.git(&[
        "submodule",
        "--quiet",
        "add",
        "--force",
        other.path_text(),
        "module",
    ]);
    repository.commit_index("submodule");
    let bench = Workbench::new();
    bench.import_equal(&repository).await;
    let changes = bench.events(&["--type", "file_modified"]).await;
    let shown: Vec<String> = changes
        .iter()
        .map(|event| format!("{} {}", event["payload"]["path"], event["payload"]["mode"]))
        .collect();
    expect![[r#"
        "script" "100755"
        "target" "120000"
        "module" "160000""#]]
    .assert_eq(&shown.join("\n"));
}

#[tokio::test]
async fn any_file_name_comes_back_byte_by_byte() {
    let names: [&[u8]; 10] = [
        b"with space",
        b"new\nline",
        b"tab\there",
        b"\"quoted\"",
        b"back\\slash",
        b":colon",
        b"*star? [x]",
        "süß/日本".as_bytes(),
        b"not utf-8 \xff\xfe",
        b"-dash",
    ];
    let repository = Repository::empty();
    for name in names {
        repository.write(name, "1");
    }
    repository.commit("");
    for name in names {
        repository.write(name, "2");
    }
    repository.commit("all changed");
    let bench = Workbench::new();
    let report = bench.import_equal(&repository).await;
    assert_eq!(counts(&report), [2, 2, 22, 22, 10]);
    let events = bench.events(&["--type", "file_added"]).await;
    let odd = events
        .iter()
        .find(|event| event["payload"]["path"].is_object())
        .unwrap();
    assert_eq!(odd["payload"]["path"]["base64"], "bm90IHV0Zi04IP/+");
    assert_eq!(odd["payload"]["path"]["text"], "not utf-8 \u{fffd}\u{fffd}");
}

#[tokio::test]
async fn a_path_that_was_a_file_and_a_directory_counts_as_itself_only() {
    let repository = Repository::empty();
    repository.write("x", "file");
    repository.commit("file");
    repository.remove("x");
    for number in 0..3 {
        repository.write("x/inside", &number.to_string());
        repository.commit("directory");
    }
    let bench = Workbench::new();
    let report = bench.import_equal(&repository).await;
    let most = report["most_changed"].as_array().unwrap();
    let shown: Vec<String> = most.iter().map(Value::to_string).collect();
    assert_eq!(
        shown,
        [
            r#"{"changes":3,"path":"x/inside"}"#,
            r#"{"changes":2,"path":"x"}"#
        ]
    );
}

#[tokio::test]
async fn a_second_run_imports_only_what_is_new() {
    let repository = Repository::with_commits(3);
    let bench = Workbench::new();
    let report = bench.import_equal(&repository).await;
    assert_eq!(counts(&report), [3, 3, 9, 9, 4]);
    let report = bench.import_equal(&repository).await;
    assert_eq!(counts(&report), [3, 0, 9, 0, 4]);
    repository.write("counter", "more");
    repository.commit("more");
    let report = bench.import_equal(&repository).await;
    assert_eq!(counts(&report), [4, 1, 11, 2, 4]);
}

#[tokio::test]
async fn a_git_commit_above_the_limits_is_split_and_its_own_event_comes_last() {
    let repository = Repository::empty();
    for number in 0..2500 {
        repository.write(format!("{}/{number}", number % 7), "x");
    }
    repository.commit("many");
    repository.write("0/0", "y");
    repository.commit("one");
    let bench = Workbench::new();
    let report = bench.import_equal(&repository).await;
    assert_eq!(counts(&report), [2, 2, 2503, 2503, 2500]);
    let events = bench.events(&[]).await;
    let sizes: Vec<u64> = events
        .iter()
        .filter(|event| event["commit_index"] == 0)
        .map(|event| event["commit_count"].as_u64().unwrap())
        .collect();
    assert_eq!(sizes, [998, 998, 505, 2]);
    assert_eq!(events[2500]["type"], "commit_recorded");
}

#[tokio::test]
async fn a_repository_without_commits_has_nothing_to_import() {
    let repository = Repository::empty();
    let bench = Workbench::new();
    let ended = bench.import(&repository).await;
    let shown = ended.show().replace(repository.path_text(), "/REPOSITORY");
    assert_eq!(
        shown,
        "/REPOSITORY/.git has no commits yet: nothing to import\n"
    );
    assert_eq!(bench.event_count().await, 0);
}

#[tokio::test]
async fn a_path_that_is_no_repository_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let bench = Workbench::new();
    let ended = bench.run(&["demo", "git", "--repo", path]).await;
    let shown = ended.show().replace(path, "/DIRECTORY");
    expect![[r#"
        --- standard error
        error: /DIRECTORY is not a git repository that can be read
          because: git said: fatal: not a git repository (or any of the parent directories): .git
        hint: name a git repository with `--repo`
        --- code 5
    "#]]
    .assert_eq(&shown);
    let ended = bench
        .run(&["demo", "git", "--repo", "/no/such/directory"])
        .await;
    expect![[r#"
        --- standard error
        error: there is no directory /no/such/directory
        hint: name a git repository with `--repo`
        --- code 4
    "#]]
    .assert_eq(&ended.show());
    assert_eq!(bench.event_count().await, 0);
}

#[tokio::test]
async fn a_shallow_clone_is_imported_from_its_boundary_and_says_so() {
    let repository = Repository::with_commits(5);
    let shallow = repository.cloned(&["--depth=2"]);
    let boundary = shallow.git(&["rev-parse", "HEAD~1"]);
    let bench = Workbench::new();
    let ended = bench.import(&shallow).await;
    assert_eq!(
        ended.err.lines().next().unwrap(),
        format!("this is a shallow clone: its history begins with the whole tree at {boundary}")
    );
    let out = ended.ok();
    assert!(
        out.contains(&format!("shallow     begins at {boundary}\n")),
        "{out}"
    );

    // The history before the boundary can't be added any more.
    let ended = bench.import(&repository).await;
    assert_eq!(ended.code, ExitCode::Invalid);
    assert!(
        ended
            .err
            .contains("the repository has 3 git commits before it"),
        "{}",
        ended.err
    );
}

#[tokio::test]
async fn a_shallow_clone_that_lacks_what_the_store_has_is_refused() {
    let repository = Repository::with_commits(4);
    let bench = Workbench::new();
    bench.import_equal(&repository).await;
    let shallow = repository.cloned(&["--depth=3"]);
    let ended = bench.import(&shallow).await;
    expect![[r#"
        --- standard error
        this is a shallow clone: its history begins with the whole tree at 130a90a3ddc86a1088ac826d34b27904e80ab4e8
        error: the repository is a shallow clone that lacks 809d657f5ea094da7b37b931dda88c98ebdee46f, with which the store's history begins
        hint: fetch the rest with `git fetch --unshallow`, or import into another store with `--store`; nothing was stored
        --- code 5
    "#]].assert_eq(&ended.show());
}

#[tokio::test]
async fn a_shallow_clone_continues_what_it_began() {
    let repository = Repository::with_commits(4);
    let shallow = repository.cloned(&["--depth=2"]);
    let bench = Workbench::new();
    bench.import_equal(&shallow).await;
    shallow.write("counter", "five");
    shallow.commit("five");
    let report = bench.import_equal(&shallow).await;
    assert_eq!(counts(&report), [3, 1, 10, 2, 5]);
}

#[tokio::test]
async fn a_rewritten_history_is_refused_and_nothing_stored() {
    let repository = Repository::with_commits(3);
    let bench = Workbench::new();
    bench.import_equal(&repository).await;
    let before = bench.event_count().await;
    repository.git(&["commit", "--quiet", "--amend", "-m", "rewritten"]);
    let ended = bench.import(&repository).await;
    expect![[r#"
        --- standard error
        error: the store holds another history: git commit number 3 is 16f2b9d5f59943b7f3023a3185228749155f59cc there and 8a2bc3c9eaec4132c1c048478ff02615ecec6db2 in the repository
        hint: events can't be taken back: import into another store, such as `--store embedded:./cim-data-2`; nothing was stored
        --- code 5
    "#]].assert_eq(&ended.show());
    repository.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let ended = bench.import(&repository).await;
    expect![[r#"
        --- standard error
        error: the store holds git commits after HEAD; the first of them is 16f2b9d5f59943b7f3023a3185228749155f59cc
        hint: check out a commit that is not behind, or import into another store, such as `--store embedded:./cim-data-2`; nothing was stored
        --- code 5
    "#]].assert_eq(&ended.show());
    assert_eq!(bench.event_count().await, before);
}

#[tokio::test]
async fn another_repository_is_refused() {
    let bench = Workbench::new();
    bench.import_equal(&Repository::with_commits(2)).await;
    let other = Repository::empty();
    other.write("other", "other");
    other.commit("other");
    let ended = bench.import(&other).await;
    assert_eq!(ended.code, ExitCode::Invalid);
    assert!(
        ended
            .err
            .contains("the store holds another history: git commit number 1 is")
    );
}

#[tokio::test]
async fn bare_detached_and_nested_repositories_are_found() {
    let repository = Repository::with_commits(3);
    let bare = repository.cloned(&["--bare"]);
    Workbench::new().import_equal(&bare).await;
    repository.git(&["checkout", "--quiet", "--detach", "HEAD~1"]);
    let report = Workbench::new().import_equal(&repository).await;
    assert_eq!(report["commits"], 2);
    repository.git(&["checkout", "--quiet", "main"]);
    repository.write("sub/directory/file", "x");
    repository.commit("nested");
    let nested = repository.file("sub/directory");
    let bench = Workbench::new();
    let args = ["demo", "git", "--json", "--repo", nested.to_str().unwrap()];
    let report: Value = serde_json::from_str(&bench.run(&args).await.ok()).unwrap();
    assert_eq!(counts(&report), [4, 4, 11, 11, 5]);
}

#[tokio::test]
async fn the_repositorys_configuration_does_not_change_what_is_read() {
    let repository = Repository::with_commits(4);
    repository.git(&["mv", "counter", "renamed"]);
    repository.commit("rename");
    let module = Repository::with_commits(1);
    repository.git(&["submodule", "--quiet", "add", module.path_text(), "module"]);
    repository.commit_index("submodule");
    repository.write("order", "*renamed\n");
    let order = repository.file("order");
    let settings = [
        ("log.showRoot", "false"),
        ("log.showSignature", "true"),
        ("log.follow", "true"),
        ("log.date", "relative"),
        ("log.decorate", "full"),
        ("log.diffMerges", "combined"),
        ("diff.renames", "copies"),
        ("diff.orderFile", order.to_str().unwrap()),
        ("diff.relative", "true"),
        ("diff.ignoreSubmodules", "all"),
        ("diff.mnemonicPrefix", "true"),
        ("format.pretty", "oneline"),
        ("core.quotePath", "true"),
        ("core.abbrev", "5"),
        ("color.ui", "always"),
        ("i18n.logOutputEncoding", "ISO-8859-1"),
    ];
    for (name, value) in settings {
        repository.git(&["config", name, value]);
    }
    let bench = Workbench::new();
    let report = bench.import_equal(&repository).await;
    assert_eq!(counts(&report), [6, 6, 18, 18, 7]);
}

#[tokio::test]
async fn a_replaced_object_is_not_followed() {
    let repository = Repository::with_commits(3);
    let (replaced, by) = (
        repository.git(&["rev-parse", "HEAD~1"]),
        repository.git(&["commit-tree", "-m", "no parent", "HEAD~1^{tree}"]),
    );
    repository.git(&["replace", &replaced, &by]);
    let report = Workbench::new().import_equal(&repository).await;
    assert_eq!(report["commits"], 3);
}

#[tokio::test]
async fn an_event_that_is_missing_makes_the_answers_differ() {
    let repository = Repository::with_commits(30);
    let honest = Workbench::new();
    honest.import_equal(&repository).await;
    let bench = honest.rewrapped(|log| {
        TamperedLog::reading(log, |event| {
            let is_lost = event.event_type.as_str() == "file_added" && event.position.get() < 40;
            (!is_lost || !String::from_utf8_lossy(&event.payload).contains("file 7\""))
                .then_some(event)
        })
    });
    let ended = bench.import(&repository).await;
    assert_eq!(ended.code, ExitCode::Integrity, "{}", ended.show());
    let result = |name: &str| {
        let line = ended
            .out
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap();
        line.split_once(" s  ").unwrap().1.to_owned()
    };
    assert!(result("tree at HEAD").contains(": file 7: rebuilt is nothing, git has 100644 "));
    assert!(
        result("trees at 20 earlier").starts_with("different: at "),
        "{}",
        ended.out
    );
    assert_eq!(result("changes of the 5"), "equal");
    assert!(result("chain of every").contains("ends with version 0, but its head says version 1"));
}

#[tokio::test]
async fn an_event_that_was_changed_makes_the_answers_differ() {
    let repository = Repository::with_commits(6);
    let honest = Workbench::new();
    honest.import_equal(&repository).await;
    let bench = honest.rewrapped(|log| {
        TamperedLog::reading(log, |mut event| {
            let text = String::from_utf8_lossy(&event.payload).into_owned();
            event.payload = text.replace("100644", "100755").into();
            Some(event)
        })
    });
    let ended = bench.import(&repository).await;
    assert_eq!(ended.code, ExitCode::Integrity);
    assert!(ended.out.contains("rebuilt is 100755 "), "{}", ended.out);
    assert!(ended.out.contains("the event was altered"), "{}", ended.out);
}

#[tokio::test]
async fn a_change_that_is_counted_twice_makes_the_counts_differ() {
    let repository = Repository::with_commits(6);
    let honest = Workbench::new();
    honest.import_equal(&repository).await;
    let bench = honest.rewrapped(|log| {
        TamperedLog::reading(log, |event| {
            let is_third = event.event_type.as_str() == "file_modified" && event.version.get() == 3;
            (!is_third).then_some(event)
        })
    });
    let ended = bench.import(&repository).await;
    assert!(
        ended
            .out
            .contains("different: counter: the events say 5, git says 6"),
        "{}",
        ended.out
    );
}
