//! `cim schema`: the lock file by itself, against its past, and against a store.

use std::process::{Command, Output};

use cim_cli::ExitCode;
use expect_test::expect;
use serde_json::Value;

use crate::shell::{Shell, code, said};

const FILE: &str = "cim-schemas.lock";

const LOCKED: &str = "\
event opened of bank.account
  version 1
    {
      owner: text
    }

event deposited of bank.account
  version 1
    {
      euros: u64
    }
  version 2
    {
      cents: u64
    }
    also {
      cents: u64
      note?: option text
    }
";

/// The file in the spelling of the test that writes it.
fn spelled(entries: &str) -> String {
    let file = cim_domain::schema::LockFile::parse(&format!("cim-schemas 1\n{entries}"));
    file.unwrap().to_string()
}

fn bench(entries: &str) -> Shell {
    let shell = Shell::new();
    write(&shell, entries);
    shell
}

fn write(shell: &Shell, entries: &str) {
    std::fs::write(shell.path().join(FILE), spelled(entries)).unwrap();
}

fn git(shell: &Shell, args: &[&str]) {
    let output = Command::new("git")
        .current_dir(shell.path())
        .args(["-c", "user.name=Anna", "-c", "user.email=anna@example.com"])
        .args([
            "-c",
            "init.defaultBranch=main",
            "-c",
            "commit.gpgSign=false",
        ])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

fn commit(shell: &Shell) {
    git(shell, &["add", FILE]);
    git(shell, &["commit", "--quiet", "--message", "Lock shapes"]);
}

/// Everything that a command said, without hashes of commits.
fn show(output: &Output) -> String {
    let mut text = String::from_utf8(output.stdout.clone()).unwrap();
    let err = said(output);
    if !err.is_empty() {
        text.push_str("--- standard error\n");
        text.push_str(&err);
    }
    if code(output) != 0 {
        text.push_str(&format!("--- code {}\n", code(output)));
    }
    without_hashes(&text)
}

fn without_hashes(text: &str) -> String {
    let is_hash = |part: &str| part.len() == 10 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let mut parts = text.split('(');
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push('(');
        match part.split_once(')') {
            Some((hash, rest)) if is_hash(hash) => {
                shown.push_str("HASH)");
                shown.push_str(rest);
            }
            _ => shown.push_str(part),
        }
    }
    shown
}

#[test]
fn a_file_that_obeys_the_rules_is_counted() {
    let shell = bench(LOCKED);
    expect![[r#"
        file      cim-schemas.lock
        entries   2, with 3 versions
        --- standard error
        not compared with its past: it is in no git work tree
    "#]]
    .assert_eq(&show(&shell.run(&["schema", "check"])));
    expect![[r#"
        {"file":"cim-schemas.lock","entries":2,"versions":3,"since":null,"rewrites":[],"stored":null}
    "#]].assert_eq(&show(&shell.run(&[
        "schema",
        "check",
        "--no-since",
        "--json",
    ])));
}

#[test]
fn a_file_that_is_missing_misunderstood_or_spelled_another_way_is_named() {
    let shell = Shell::new();
    expect![[r#"
        --- standard error
        error: cim-schemas.lock can't be read
          because: No such file or directory (os error 2)
        hint: name the file that the application's test of shapes writes; docs/guide/schema_lock.md says how
        --- code 4
    "#]].assert_eq(&show(&shell.run(&["schema", "check"])));
    std::fs::write(shell.path().join(FILE), "cim-schemas 1\nevent a\n").unwrap();
    expect![[r#"
        --- standard error
        error: cim-schemas.lock is no lock file of shapes
          because: line 3: the file ends where `version` is expected
        hint: take it back from version control; entries can be removed, not edited
        --- code 5
    "#]]
    .assert_eq(&show(&shell.run(&["schema", "check"])));
    let text = spelled(LOCKED).replace("cents: u64", "cents:  u64");
    std::fs::write(shell.path().join(FILE), text).unwrap();
    expect![[r#"
        --- standard error
        error: cim-schemas.lock is not as the test writes it, from line 12 on
        hint: run the test with CIM_SCHEMAS=update: it puts everything in its place
        --- code 5
    "#]]
    .assert_eq(&show(&shell.run(&["schema", "check"])));
}

#[test]
fn how_lines_end_is_up_to_the_system() {
    let shell = bench(LOCKED);
    let path = shell.path().join(FILE);
    let text = spelled(LOCKED);
    std::fs::write(&path, text.replace('\n', "\r\n")).unwrap();
    let output = shell.run(&["schema", "check", "--no-since"]);
    assert_eq!(code(&output), ExitCode::Ok.number(), "{}", said(&output));
    // That the last one ends is not.
    std::fs::write(&path, text.trim_end()).unwrap();
    let output = shell.run(&["schema", "check", "--no-since"]);
    assert_eq!(code(&output), ExitCode::Invalid.number());
    let last = format!("from line {} on", text.lines().count());
    assert!(said(&output).contains(&last), "{}", said(&output));
}

#[test]
fn a_file_that_is_larger_than_any_lock_file_is_not_read_to_its_end() {
    let shell = Shell::new();
    let file = std::fs::File::create(shell.path().join(FILE)).unwrap();
    // It takes no room on the disk.
    file.set_len(8 << 30).unwrap();
    for arguments in [["schema", "check"], ["schema", "show"]] {
        expect![[r#"
            --- standard error
            error: cim-schemas.lock is larger than any lock file: more than 67108864 bytes
            hint: name the file that the application's test of shapes writes; docs/guide/schema_lock.md says how
            --- code 5
        "#]]
        .assert_eq(&show(&shell.run(&arguments)));
    }
}

#[test]
fn what_was_committed_stays_locked() {
    let shell = bench(LOCKED);
    git(&shell, &["init", "--quiet"]);
    expect![[r#"
        file      cim-schemas.lock
        entries   2, with 3 versions
        --- standard error
        not compared with its past: nothing is committed yet
    "#]]
    .assert_eq(&show(&shell.run(&["schema", "check"])));
    std::fs::write(shell.path().join("other"), "").unwrap();
    git(&shell, &["add", "other"]);
    git(&shell, &["commit", "--quiet", "--message", "Begin"]);
    expect![[r#"
        file      cim-schemas.lock
        entries   2, with 3 versions
        --- standard error
        not compared with its past: HEAD (HASH) does not have it
    "#]]
    .assert_eq(&show(&shell.run(&["schema", "check"])));
    commit(&shell);
    expect![[r#"
        file      cim-schemas.lock
        entries   2, with 3 versions
        since     HEAD (HASH)
        rewritten 0
    "#]]
    .assert_eq(&show(&shell.run(&["schema", "check"])));

    let grown =
        format!("{LOCKED}  version 3\n    any\nevent closed of bank.account version 1 {{}}");
    write(&shell, &grown);
    assert_eq!(code(&shell.run(&["schema", "check"])), 0);

    write(&shell, &LOCKED.replace("euros: u64", "euros: f64"));
    expect![[r#"
        event deposited of bank.account, version 1: a locked shape is another one (- was, + is)
         {
        -  euros: u64
        +  euros: f64
         }

        file      cim-schemas.lock
        entries   2, with 3 versions
        since     HEAD (HASH)
        rewritten 1
        --- standard error
        what is locked stays: take the change back, and give the type its next version and an upcast; only what was never released may go
        --- code 5
    "#]].assert_eq(&show(&shell.run(&["schema", "check"])));
    assert_eq!(code(&shell.run(&["schema", "check", "--no-since"])), 0);

    // It was rewritten and committed: only an older revision tells.
    commit(&shell);
    assert_eq!(code(&shell.run(&["schema", "check"])), 0);
    let output = shell.run(&["schema", "check", "--since", "HEAD~1", "--json", "-q"]);
    assert_eq!(code(&output), ExitCode::Invalid.number());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    expect![[r#"
        [
          {
            "aggregate": "bank.account",
            "is": "{\n  euros: f64\n}",
            "kind": "event",
            "name": "deposited",
            "version": 1,
            "was": "{\n  euros: u64\n}"
          }
        ]
    "#]]
    .assert_eq(&format!("{:#}\n", report["rewrites"]));
}

#[test]
fn the_file_is_found_in_a_folder_of_the_repository() {
    let shell = Shell::new();
    git(&shell, &["init", "--quiet"]);
    let folder = shell.path().join("crates/bank");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(FILE), spelled(LOCKED)).unwrap();
    git(&shell, &["add", "."]);
    git(&shell, &["commit", "--quiet", "--message", "Lock shapes"]);
    std::fs::write(folder.join(FILE), spelled("event a version 1 any")).unwrap();
    let output = shell.run(&[
        "schema",
        "check",
        "crates/bank/cim-schemas.lock",
        "--json",
        "-q",
    ]);
    assert_eq!(code(&output), ExitCode::Invalid.number());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["rewrites"].as_array().unwrap().len(), 4);
}

#[test]
fn a_revision_that_is_none_is_named() {
    let shell = bench(LOCKED);
    expect![[r#"
        --- standard error
        error: cim-schemas.lock is in no git work tree
        hint: leave out `--since`, or name a file that is under version control
        --- code 5
    "#]]
    .assert_eq(&show(&shell.run(&["schema", "check", "--since", "main"])));
    git(&shell, &["init", "--quiet"]);
    commit(&shell);
    expect![[r#"
        --- standard error
        error: unexpected argument '--all' found

          tip: to pass '--all' as a value, use '-- --all'

        Usage: cim schema check [OPTIONS] [FILE]

        For more information, try '--help'.
        --- code 2
    "#]]
    .assert_eq(&show(&shell.run(&["schema", "check", "--since", "--all"])));
    expect![[r#"
        --- standard error
        error: `--all` is no revision of the git repository
        hint: name a commit, a branch or a tag, such as `origin/main`; where the clone is shallow, fetch it first
        --- code 4
    "#]].assert_eq(&show(&shell.run(&["schema", "check", "--since=--all"])));
}

/// A store with events that are locked, and with others.
fn stored() -> Shell {
    let shell = bench(LOCKED);
    for (event_type, version, payload) in [
        ("opened", "1", r#"{"owner":"anna"}"#),
        ("deposited", "1", r#"{"euros":7}"#),
        ("deposited", "2", r#"{"cents":700}"#),
        ("deposited", "2", r#"{"cents":700,"note":null}"#),
    ] {
        append(&shell, event_type, version, payload);
    }
    shell
}

fn append(shell: &Shell, event_type: &str, version: &str, payload: &str) {
    let stream = "bank.account.7";
    shell.ok(&[
        "append",
        stream,
        event_type,
        payload,
        "--schema-version",
        version,
    ]);
}

#[test]
fn a_store_that_holds_what_is_locked_is_counted() {
    let shell = stored();
    expect![[r#"
            events  type                       version  verdict
                 1  deposited of bank.account        1  fits
                 2  deposited of bank.account        2  fits
                 1  opened of bank.account           1  fits

        file      cim-schemas.lock
        entries   2, with 3 versions
        events    4
        misfits   0
        --- standard error
        not compared with its past: it is in no git work tree
        compared up to position: 1 of 4
        compared up to position: 2 of 4
        compared up to position: 3 of 4
        compared up to position: 4 of 4
    "#]]
    .assert_eq(&show(&shell.run(&["schema", "check", "--stored"])));
}

#[test]
fn what_a_store_holds_beside_it_is_named_with_the_first_event() {
    let shell = stored();
    append(&shell, "deposited", "2", r#"{"cents":-1}"#);
    append(&shell, "deposited", "2", r#"{"cents":1,"tip":2}"#);
    append(&shell, "deposited", "3", r#"{"cents":1}"#);
    append(&shell, "frozen", "1", "{}");
    expect![[r#"
            events  type                       version  verdict
                 1  deposited of bank.account        1  fits
                 4  deposited of bank.account        2  2 do not fit
                    first bank.account.7@5: at `cents`: -1 is not u64
                 1  deposited of bank.account        3  not in the file
                    first bank.account.7@7: the file has no such version
                 1  frozen of bank.account           1  not in the file
                    first bank.account.7@8: the file has no such version
                 1  opened of bank.account           1  fits

        file      cim-schemas.lock
        entries   2, with 3 versions
        events    8
        misfits   4
        --- code 6
    "#]]
    .assert_eq(&show(&shell.run(&["schema", "check", "--stored", "-q"])));
    let output = shell.run(&["schema", "check", "--stored", "--json", "-q"]);
    assert_eq!(code(&output), ExitCode::Integrity.number());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    expect![[r#"
        {"aggregate":"bank.account","events":4,"first":{"message":"at `cents`: -1 is not u64","stream":"bank.account.7","version":5},"kind":"event","locked":true,"misfits":2,"name":"deposited","not_compared":0,"version":2}
        {"aggregate":"bank.account","events":1,"first":{"message":"the file has no such version","stream":"bank.account.7","version":8},"kind":"event","locked":false,"misfits":1,"name":"frozen","not_compared":0,"version":1}
    "#]].assert_eq(&format!(
        "{}\n{}\n",
        report["stored"][1], report["stored"][3]
    ));
}

#[test]
fn a_store_that_does_not_exist_is_not_created() {
    let shell = bench(LOCKED);
    let output = shell.run(&["schema", "check", "--stored"]);
    assert_eq!(code(&output), ExitCode::NotFound.number());
    assert!(!shell.path().join("cim-data").exists());
}

#[test]
fn what_is_locked_is_shown_by_type_and_by_aggregate() {
    let shell = bench(&format!("{LOCKED}event beat version 1 null"));
    expect![[r#"
        event deposited of bank.account
          version 1
            {
              euros: u64
            }
          version 2
            {
              cents: u64
            }
            also {
              cents: u64
              note?: option text
            }
    "#]]
    .assert_eq(&show(&shell.run(&["schema", "show", "deposited"])));
    let all = shell.ok(&["schema", "show"]);
    assert_eq!(all.matches("\n  version").count(), 4);
    let of_account = shell.ok(&["schema", "show", "bank.account"]);
    assert_eq!(of_account.matches("event ").count(), 2);
    expect![[r#"
        {"kind":"event","name":"opened","aggregate":"bank.account","versions":{"1":["{\n  owner: text\n}"]}}
    "#]].assert_eq(&shell.ok(&["schema", "show", "opened", "--json"]));
    expect![[r#"
        --- standard error
        error: cim-schemas.lock has nothing named `closed`
        hint: `cim schema show` without a name shows all of it
        --- code 4
    "#]]
    .assert_eq(&show(&shell.run(&["schema", "show", "closed"])));
}

#[test]
fn a_repository_that_can_not_be_read_is_an_error_and_not_the_same_as_none() {
    let shell = bench(LOCKED);
    git(&shell, &["init", "--quiet"]);
    commit(&shell);
    assert_eq!(code(&shell.run(&["schema", "check"])), 0);
    // As where the commit was lost, or a shallow copy ends before it.
    let head = shell.path().join(".git/HEAD");
    std::fs::write(&head, "0123456789012345678901234567890123456789\n").unwrap();
    let output = shell.run(&["schema", "check"]);
    assert_eq!(code(&output), ExitCode::Failure.number());
    // As where it belongs to another user, which git refuses.
    std::fs::write(shell.path().join(".git/config"), "[core\n").unwrap();
    let output = shell.run(&["schema", "check"]);
    assert_eq!(code(&output), ExitCode::Failure.number());
    assert_eq!(code(&shell.run(&["schema", "check", "--no-since"])), 0);
}
