//! `cim checkpoint`: what it prints, and how it ends.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cim_cli::ExitCode;
use cim_domain::persistence::checkpoint::note::{SigningKey, write_signing_key};
use cim_store::RecordedEvent;
use expect_test::expect;
use serde_json::Value;
use tempfile::TempDir;

use crate::tampered_log::TamperedLog;
use crate::workbench::{Ended, Workbench};

/// A store, a directory and a key that is always the same.
struct Desk {
    bench: Workbench,
    directory: TempDir,
    /// Whether readers are told another history.
    lies: Arc<AtomicBool>,
}

impl Desk {
    /// Of five events; `lie` says what a reader gets instead of one while it lies.
    async fn telling(
        lie: impl Fn(RecordedEvent) -> Option<RecordedEvent> + Send + Sync + 'static,
    ) -> Self {
        let lies = Arc::new(AtomicBool::new(false));
        let now = Arc::clone(&lies);
        let on_read = move |event| match now.load(Ordering::Relaxed) {
            true => lie(event),
            false => Some(event),
        };
        let bench = Workbench::with_log(|log, _| TamperedLog::reading(log, on_read));
        let directory = tempfile::tempdir().unwrap();
        let key = SigningKey::from_seed("example.com/shop", &[1; 32]).unwrap();
        write_signing_key(&directory.path().join("key"), &key).unwrap();
        let desk = Self {
            bench,
            directory,
            lies,
        };
        for number in 1..=5 {
            desk.append(number).await;
        }
        desk
    }

    async fn new() -> Self {
        Self::telling(Some).await
    }

    async fn append(&self, number: u64) {
        let stream = format!("sales.order.{}", number % 3);
        let payload = number.to_string();
        let args = ["append", &stream, "noted", &payload];
        self.bench.run(&args).await.ok();
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn lie(&self) {
        self.lies.store(true, Ordering::Relaxed);
    }

    /// Runs `cim checkpoint`; `@name` is a file in the directory.
    async fn run(&self, args: &[&str]) -> Ended {
        let files: Vec<String> = args
            .iter()
            .map(|arg| match arg.strip_prefix('@') {
                Some(name) => self.path(name),
                None => (*arg).to_owned(),
            })
            .collect();
        let mut all = vec!["checkpoint"];
        all.extend(files.iter().map(String::as_str));
        self.bench.run(&all).await
    }

    /// The same, as a snapshot without the directory's name.
    async fn show(&self, args: &[&str]) -> String {
        let directory = format!("{}/", self.directory.path().display());
        self.run(args).await.show().replace(&directory, "")
    }

    /// Makes a checkpoint into this file.
    async fn create(&self, name: &str) {
        let file = format!("@{name}");
        self.run(&["create", "--key", "@key", "--out", &file, "-q"])
            .await
            .ok();
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }
}

#[tokio::test]
async fn create_writes_a_signed_checkpoint() {
    let desk = Desk::new().await;
    expect![[r#"
        example.com/shop
        5
        VCirLUTmQl92ee/O1RgXLsoOa0gcSwa5r+iwCMFkAc8=

        — example.com/shop NwwyMpnMJ6yM+sm7AfRAovkN1SG2cvPwLzLif4xDEyBXmdcvpGpxZwKYWIVjd8GjXwyF53k8oM9FTCrWxtEhr3MNNwM=
        --- standard error
        covered events: 5 of 5
    "#]].assert_eq(&desk.show(&["create", "--key", "@key"]).await);
    expect![[r#"
        log       example.com/shop
        events    5
        root      VCirLUTmQl92ee/O1RgXLsoOa0gcSwa5r+iwCMFkAc8=
    "#]]
    .assert_eq(
        &desk
            .show(&["create", "--key", "@key", "--out", "@made", "-q"])
            .await,
    );
    expect![[r#"
        {"origin":"example.com/shop","size":5,"root":"VCirLUTmQl92ee/O1RgXLsoOa0gcSwa5r+iwCMFkAc8=","checkpoint":"example.com/shop\n5\nVCirLUTmQl92ee/O1RgXLsoOa0gcSwa5r+iwCMFkAc8=\n\n— example.com/shop NwwyMpnMJ6yM+sm7AfRAovkN1SG2cvPwLzLif4xDEyBXmdcvpGpxZwKYWIVjd8GjXwyF53k8oM9FTCrWxtEhr3MNNwM=\n"}
    "#]].assert_eq(&desk.show(&["create", "--key", "@key", "--json"]).await);
    let printed = desk.run(&["create", "--key", "@key", "-q"]).await.ok();
    assert_eq!(printed, desk.text("made"));
}

#[tokio::test]
async fn key_makes_a_key_and_prints_what_verifies() {
    let desk = Desk::new().await;
    let ended = desk.run(&["key", "example.com/new", "--out", "@new"]).await;
    let err = ended.err.clone();
    let verifier = ended.ok();
    assert!(verifier.starts_with("example.com/new+"), "{verifier}");
    assert!(err.contains("can sign as example.com/new"), "{err}");
    // What it made works.
    let args = ["create", "--key", "@new", "--out", "@made", "-q"];
    desk.run(&args).await.ok();
    let args = ["verify", "@made", "--key", verifier.trim_end(), "-q"];
    desk.run(&args).await.ok();
    expect![[r#"
        --- standard error
        error: new is there already; a key is never overwritten
        hint: name another file
        --- code 5
    "#]]
    .assert_eq(
        &desk
            .show(&["key", "example.com/new", "--out", "@new"])
            .await,
    );
    expect![[r#"
        --- standard error
        error: `two words` can't name a key: a name has 1 to 255 bytes, no spaces, no `+` and no control characters, such as example.com/log
        --- code 5
    "#]].assert_eq(&desk.show(&["key", "two words", "--out", "@other"]).await);
    let url = ["key", "https://example.com/new", "--out", "@other"];
    expect![[r#"
        --- standard error
        error: `https://example.com/new` begins with a URL's scheme
        hint: leave out `https://`: `example.com/new`
        --- code 5
    "#]]
    .assert_eq(&desk.show(&url).await);
}

#[tokio::test]
async fn a_log_that_grew_is_unchanged() {
    let desk = Desk::new().await;
    desk.create("made").await;
    desk.append(6).await;
    expect![[r#"
        log       example.com/shop
        events    5
        root      VCirLUTmQl92ee/O1RgXLsoOa0gcSwa5r+iwCMFkAc8=
        verdict   unchanged: the log begins with exactly these events
        --- standard error
        verified events: 5 of 5
    "#]]
    .assert_eq(&desk.show(&["verify", "@made", "--key", "@key"]).await);
    expect![[r#"
        {"origin":"example.com/shop","size":5,"root":"VCirLUTmQl92ee/O1RgXLsoOa0gcSwa5r+iwCMFkAc8=","verdict":"unchanged","from_tree":0}
    "#]].assert_eq(
        &desk
            .show(&["verify", "@made", "--key", "@key", "--json", "-q"])
            .await,
    );
}

#[tokio::test]
async fn a_rewritten_event_is_named_and_ends_with_code_6() {
    let desk = Desk::telling(|mut event| {
        if event.position.get() == 3 {
            event.payload = b"30".as_slice().into();
        }
        Some(event)
    })
    .await;
    desk.create("made").await;
    desk.lie();
    expect![[r#"
        log       example.com/shop
        events    5
        root      VCirLUTmQl92ee/O1RgXLsoOa0gcSwa5r+iwCMFkAc8=
        verdict   rewritten: event number 3 of the log is another one
        was       bafyreifztbyqd5yjb5kfpk7jmgwu5jky24pnrgq46jlcidgu63pky2i6hi at position 3
        is        bafyreibmw7ibqmovtrelxubjtdcijltnavyhkveyitj5ne6ulwuq4ljunu at position 3, sales.order.0@1, filed under bafyreifztbyqd5yjb5kfpk7jmgwu5jky24pnrgq46jlcidgu63pky2i6hi
        --- code 6
    "#]].assert_eq(&desk.show(&["verify", "@made", "--key", "@key", "-q"]).await);
    expect![[r#"
        {"origin":"example.com/shop","size":5,"root":"VCirLUTmQl92ee/O1RgXLsoOa0gcSwa5r+iwCMFkAc8=","verdict":"rewritten","from_tree":0,"first":{"index":2,"position":3,"expected":"bafyreifztbyqd5yjb5kfpk7jmgwu5jky24pnrgq46jlcidgu63pky2i6hi","stream":"sales.order.0","version":1,"found_position":3,"found":"bafyreibmw7ibqmovtrelxubjtdcijltnavyhkveyitj5ne6ulwuq4ljunu","damage":null}}
        --- code 6
    "#]].assert_eq(
        &desk
            .show(&["verify", "@made", "--key", "@key", "--json", "-q"])
            .await,
    );
}

#[tokio::test]
async fn a_cut_log_is_told_and_ends_with_code_6() {
    let desk = Desk::telling(|event| (event.position.get() <= 3).then_some(event)).await;
    desk.create("made").await;
    desk.lie();
    expect![[r#"
        log       example.com/shop
        events    5
        root      VCirLUTmQl92ee/O1RgXLsoOa0gcSwa5r+iwCMFkAc8=
        verdict   cut: the log has 3 events now; they are unchanged
        --- code 6
    "#]]
    .assert_eq(&desk.show(&["verify", "@made", "--key", "@key", "-q"]).await);
    // Nor does a new one cover it.
    expect![[r#"
        --- standard error
        error: the log is not the one that was covered: event number 5 of the log was bafyreigvevsrecpgwork7f5wkn3e2xyicusj3en7m7ovgzgxnvujvl5lj4 at position 5, and nothing is there now
        hint: `cim checkpoint verify` compares the log with a checkpoint that was kept elsewhere: where it is unchanged, the log was only moved, and `cim checkpoint create --anew` makes its tree again; otherwise restore what is damaged from a copy
        --- code 6
    "#]].assert_eq(&desk.show(&["create", "--key", "@key", "-q"]).await);
}

#[tokio::test]
async fn what_is_not_signed_with_the_key_is_not_believed() {
    let desk = Desk::new().await;
    desk.create("made").await;
    desk.write("altered", &desk.text("made").replacen("\n5\n", "\n4\n", 1));
    desk.write("nothing", "hello\n");
    let other = SigningKey::from_seed("example.com/shop", &[2; 32]).unwrap();
    let other = other.verifier().to_string();
    expect![[r#"
        --- standard error
        error: the signature by example.com/shop is wrong: the note was altered, or another key made it
        hint: don't trust it: take the checkpoint from where it was kept, and name the log's own key with `--key`
        --- code 6
    "#]].assert_eq(&desk.show(&["verify", "@altered", "--key", "@key"]).await);
    expect![[r#"
        --- standard error
        error: the note is not signed by example.com/shop+47c62511; it is signed by example.com/shop+370c3232
        hint: don't trust it: take the checkpoint from where it was kept, and name the log's own key with `--key`
        --- code 6
    "#]].assert_eq(&desk.show(&["verify", "@made", "--key", &other]).await);
    expect![[r#"
        --- standard error
        error: the note has no signatures: a blank line, and then lines that begin with an em dash
        hint: name a file that `cim checkpoint create` wrote
        --- code 5
    "#]]
    .assert_eq(&desk.show(&["verify", "@nothing", "--key", "@key"]).await);
    expect![[r#"
        --- standard error
        error: missing can't be read
          because: No such file or directory (os error 2)
        hint: name a file that can be read
        --- code 4
    "#]]
    .assert_eq(&desk.show(&["verify", "@missing", "--key", "@key"]).await);
    expect![[r#"
        --- standard error
        error: it is not the text of a verifier key: NAME+ID+BASE64
        hint: ask whoever signs for the verifier key; it looks like example.com/sales+0f3a1b2c+AZ… (NAME+ID+BASE64)
        --- code 5
    "#]]
    .assert_eq(&desk.show(&["verify", "@made", "--key", "a+b+c"]).await);
}

#[tokio::test]
async fn a_proof_is_checked_without_the_store() {
    let desk = Desk::new().await;
    desk.create("made").await;
    let args = ["prove", "sales.order.1@2", "--checkpoint", "@made"];
    let proof = desk.run(&args).await.ok();
    expect![[r#"
        c2sp.org/tlog-proof@v1
        extra AXESIJSmKKX2pOkdCHdCVGKoqCbtmdB7PV7DNjTNK33U+srI
        index 3
        TS7Bk8roXZ2xKL8ZWAdysxYyw8NhTY8TYlE0+XkNqio=
        vCLvN1kB8HwOeD+vX45YupuT4ziijY7gS1HqpbtQ6s8=
        hCxGy0H6mhDaCBANDsiwp6hYwndo5ESmgsM1IiIn2f4=

        example.com/shop
        5
        VCirLUTmQl92ee/O1RgXLsoOa0gcSwa5r+iwCMFkAc8=

        — example.com/shop NwwyMpnMJ6yM+sm7AfRAovkN1SG2cvPwLzLif4xDEyBXmdcvpGpxZwKYWIVjd8GjXwyF53k8oM9FTCrWxtEhr3MNNwM=
    "#]].assert_eq(&proof);
    desk.write("proof", &proof);
    // No store is opened.
    let elsewhere = ["--store", "embedded:./nowhere"];
    let verify = [&["verify", "@proof", "--key", "@key"], &elsewhere[..]].concat();
    expect![[r#"
        event     bafyreieuuyukl5ve5eoqq52ckrrkrkbg5wm5a6z5l3btmngnfn65j6wkza
        number    4
        log       example.com/shop
        events    5
        root      VCirLUTmQl92ee/O1RgXLsoOa0gcSwa5r+iwCMFkAc8=
        verdict   the event is in the log of this checkpoint
    "#]]
    .assert_eq(&desk.show(&verify).await);
    let cid = proof_of(&desk, "@proof").await["cid"]
        .as_str()
        .unwrap()
        .to_owned();
    let named = [&verify[..], &["--cid", &cid]].concat();
    desk.run(&named).await.ok();
    let by_cid = ["prove", &cid, "--checkpoint", "@made", "--out", "@same"];
    desk.run(&by_cid).await.ok();
    assert_eq!(desk.text("same"), proof);

    let other = "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua";
    let named = [&verify[..], &["--cid", other]].concat();
    expect![[r#"
        --- standard error
        error: the proof is about the event bafyreieuuyukl5ve5eoqq52ckrrkrkbg5wm5a6z5l3btmngnfn65j6wkza, not about bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua
        --- code 6
    "#]].assert_eq(&desk.show(&named).await);
    desk.write("altered", &proof.replacen("index 3", "index 2", 1));
    expect![[r#"
        --- standard error
        error: the proof leads to the root AU2cX8YmeyyukAe/bFhBisp1/BIJCohkO0J7YnzoeOQ=, not to VCirLUTmQl92ee/O1RgXLsoOa0gcSwa5r+iwCMFkAc8=
        hint: don't trust it: it was altered, or it belongs to another checkpoint
        --- code 6
    "#]].assert_eq(&desk.show(&["verify", "@altered", "--key", "@key"]).await);
}

async fn proof_of(desk: &Desk, file: &str) -> Value {
    let out = desk.run(&["verify", file, "--key", "@key", "--json"]).await;
    serde_json::from_str(&out.ok()).unwrap()
}

#[tokio::test]
async fn what_can_not_be_proven_says_why() {
    let desk = Desk::new().await;
    desk.create("made").await;
    desk.append(6).await;
    let prove = |event| ["prove", event, "--checkpoint", "@made"];
    expect![[r#"
        --- standard error
        error: event number 6 of the log is not in the checkpoint, which has 5 events
        hint: make a newer checkpoint with `cim checkpoint create`, and name that one
        --- code 4
    "#]]
    .assert_eq(&desk.show(&prove("sales.order.0@2")).await);
    expect![[r#"
        --- standard error
        error: the tree has no event sales.order.9@1
        hint: `cim events STREAM --json` shows versions and CIDs
        --- code 4
    "#]]
    .assert_eq(&desk.show(&prove("sales.order.9@1")).await);
    assert_eq!(
        desk.run(&prove("sales.order.9")).await.code,
        ExitCode::Usage
    );
    assert_eq!(
        desk.run(&prove("sales.order.9@0")).await.code,
        ExitCode::Usage
    );
    let other = Desk::new().await;
    other.append(7).await;
    other.create("made").await;
    desk.write("other", &other.text("made"));
    let args = ["prove", "sales.order.1@1", "--checkpoint", "@other"];
    expect![[r#"
        --- standard error
        error: the tree covers 5 events, and 6 are needed
        hint: `cim checkpoint create` makes the tree cover the whole log; where the log itself has fewer events, `cim checkpoint verify` tells what is missing
        --- code 4
    "#]]
    .assert_eq(&desk.show(&args).await);
    desk.append(8).await;
    desk.create("newer").await;
    assert_eq!(desk.run(&args).await.code, ExitCode::Integrity);
}

#[tokio::test]
async fn growth_between_checkpoints_is_proven() {
    let desk = Desk::new().await;
    desk.create("old").await;
    desk.append(6).await;
    desk.append(7).await;
    desk.create("new").await;
    let args = [
        "consistency",
        "@old",
        "@new",
        "--key",
        "@key",
        "--out",
        "@growth",
    ];
    expect![[r#"
        log       example.com/shop
        old       5 VCirLUTmQl92ee/O1RgXLsoOa0gcSwa5r+iwCMFkAc8=
        new       7 b1KFxZXVmbfef6t/4zvmxyABJFYIm9FuTXX6TQemqs8=
        verdict   consistent: history only grew
    "#]]
    .assert_eq(&desk.show(&args).await);
    expect![[r#"
        old 5
        hCxGy0H6mhDaCBANDsiwp6hYwndo5ESmgsM1IiIn2f4=
        B+njBib3d4SNYXXQRHhddPb0oDkwRfyDWvtMmYRxM20=
        UjqACCFs/8AGR/+xBfWa5CL9DqbkIFnqiQIEvwilj9Q=
        eX3kLv19jm47BoaQiQ0TTzLqfhIp9K1RK6E4HlfSspk=

        example.com/shop
        7
        b1KFxZXVmbfef6t/4zvmxyABJFYIm9FuTXX6TQemqs8=

        — example.com/shop NwwyMj9Rk/Sh1BuYHBYlIayjwxhqxpe/B7uzm8QvgBS3Hgp1eo73sJRa4YtsIVv+43uRa/9zlthXFH4TtZ7qe/L+8Qc=
    "#]].assert_eq(&desk.text("growth"));
    let json = ["consistency", "@old", "@new", "--key", "@key", "--json"];
    expect![[r#"
        {"old":{"origin":"example.com/shop","size":5,"root":"VCirLUTmQl92ee/O1RgXLsoOa0gcSwa5r+iwCMFkAc8="},"new":{"origin":"example.com/shop","size":7,"root":"b1KFxZXVmbfef6t/4zvmxyABJFYIm9FuTXX6TQemqs8="},"hashes":["hCxGy0H6mhDaCBANDsiwp6hYwndo5ESmgsM1IiIn2f4=","B+njBib3d4SNYXXQRHhddPb0oDkwRfyDWvtMmYRxM20=","UjqACCFs/8AGR/+xBfWa5CL9DqbkIFnqiQIEvwilj9Q=","eX3kLv19jm47BoaQiQ0TTzLqfhIp9K1RK6E4HlfSspk="],"verdict":"consistent"}
    "#]].assert_eq(&desk.show(&json).await);
    let args = ["consistency", "@new", "@old", "--key", "@key"];
    expect![[r#"
        --- standard error
        error: OLD has 7 events and NEW only 5
        hint: name the checkpoint with fewer events first
        --- code 5
    "#]]
    .assert_eq(&desk.show(&args).await);
}

#[tokio::test]
async fn tiles_are_written_once() {
    let desk = Desk::new().await;
    let args = ["tiles", "@site", "--key", "@key", "-q"];
    expect![[r#"
        log       example.com/shop
        events    5
        root      VCirLUTmQl92ee/O1RgXLsoOa0gcSwa5r+iwCMFkAc8=
        files     3
        written   3
    "#]]
    .assert_eq(&desk.show(&args).await);
    desk.append(6).await;
    expect![[r#"
        log       example.com/shop
        events    6
        root      iNE7GJEiUfRHwbQRGMAvc7Fb2PeGrTh+UxJ7pGD0mg8=
        files     3
        written   3
    "#]]
    .assert_eq(&desk.show(&args).await);
    let again = desk.run(&args).await.ok();
    assert!(again.ends_with("files     3\nwritten   0\n"), "{again}");
    let site = desk.directory.path().join("site");
    let mut files = Vec::new();
    list(&site, &site, &mut files);
    files.sort();
    // Those of the older checkpoint stay: it still may be asked for.
    let expected = [
        "checkpoint",
        "tile/0/000.p/5",
        "tile/0/000.p/6",
        "tile/entries/000.p/5",
        "tile/entries/000.p/6",
    ];
    assert_eq!(files, expected);
    desk.run(&["verify", "@site/checkpoint", "--key", "@key"])
        .await
        .ok();
}

fn list(base: &Path, directory: &Path, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(base, &path, files);
        } else {
            let name = path.strip_prefix(base).unwrap();
            files.push(name.display().to_string());
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_that_others_can_read_signs_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new().await;
    let mode = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(desk.path("key"), mode).unwrap();
    expect![[r#"
        --- standard error
        error: others than its owner can get at the signing key in key (mode 0644)
        hint: if nobody has read it, `chmod 600` the file; otherwise make another key and tell those who keep checkpoints
        --- code 5
    "#]].assert_eq(&desk.show(&["create", "--key", "@key"]).await);
}

#[tokio::test]
async fn the_log_verifies_without_the_tree() {
    let desk = Desk::new().await;
    desk.create("made").await;
    // The same events in a store that has no tree.
    let other = Desk {
        bench: desk.bench.rewrapped(|log| log),
        ..Desk::new().await
    };
    other.write("made", &desk.text("made"));
    other.run(&["verify", "@made", "--key", "@key"]).await.ok();
    let args = ["prove", "sales.order.1@1", "--checkpoint", "@made"];
    expect![[r#"
        --- standard error
        error: the tree covers 0 events, and 5 are needed
        hint: `cim checkpoint create` makes the tree cover the whole log; where the log itself has fewer events, `cim checkpoint verify` tells what is missing
        --- code 4
    "#]]
    .assert_eq(&other.show(&args).await);
}

#[tokio::test]
async fn what_is_there_is_overwritten_only_when_asked_for() {
    let desk = Desk::new().await;
    desk.create("old").await;
    desk.append(6).await;
    desk.create("new").await;
    for args in [
        &["create", "--key", "@key"][..],
        &["prove", "sales.order.1@1", "--checkpoint", "@new"],
        &["consistency", "@old", "@new", "--key", "@key"],
    ] {
        desk.write("kept", "precious");
        let out = [args, &["--out", "@kept", "-q"]].concat();
        expect![[r#"
            --- standard error
            error: kept exists already
            hint: name another file, or overwrite it with `--force`
            --- code 5
        "#]]
        .assert_eq(&desk.show(&out).await);
        assert_eq!(desk.text("kept"), "precious");
        let forced = [&out[..], &["--force"]].concat();
        desk.run(&forced).await.ok();
        assert!(desk.text("kept").contains("example.com/shop\n"));
        assert!(!Path::new(&desk.path("kept.part")).exists());
    }
}

#[tokio::test]
async fn a_proof_of_growth_is_checked_without_the_store() {
    let desk = Desk::new().await;
    desk.create("old").await;
    desk.append(6).await;
    desk.create("new").await;
    let out = [
        "consistency",
        "@old",
        "@new",
        "--key",
        "@key",
        "--out",
        "@growth",
    ];
    desk.run(&out).await.ok();
    let verify = |more: &[&'static str]| {
        let elsewhere = ["--store", "embedded:./nowhere"];
        [
            &["verify", "@growth", "--key", "@key"],
            &elsewhere[..],
            more,
        ]
        .concat()
    };
    expect![[r#"
        log       example.com/shop
        old       5 VCirLUTmQl92ee/O1RgXLsoOa0gcSwa5r+iwCMFkAc8=
        new       6 iNE7GJEiUfRHwbQRGMAvc7Fb2PeGrTh+UxJ7pGD0mg8=
        verdict   consistent: history only grew
    "#]]
    .assert_eq(&desk.show(&verify(&["--old", "@old"])).await);
    let json = |args: Vec<&'static str>| [&args[..], &["--json"]].concat();
    let made = ["consistency", "@old", "@new", "--key", "@key"];
    assert_eq!(
        desk.show(&json(verify(&["--old", "@old"]))).await,
        desk.show(&json(made.to_vec())).await
    );
    expect![[r#"
        --- standard error
        error: growth is a proof of growth, and does not hold the old checkpoint
        hint: name the checkpoint that it begins from with `--old FILE`
        --- code 5
    "#]]
    .assert_eq(&desk.show(&verify(&[])).await);
    expect![[r#"
        --- standard error
        error: the proof begins at a checkpoint of 5 events, and the old checkpoint has 6
        hint: name the checkpoint that the proof was made from with `--old`
        --- code 5
    "#]]
    .assert_eq(&desk.show(&verify(&["--old", "@new"])).await);
    let cid = "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua";
    expect![[r#"
        --- standard error
        error: `--cid` is for proofs of an event, and the file holds none
        hint: `cim checkpoint prove` makes the proof of an event
        --- code 5
    "#]]
    .assert_eq(&desk.show(&verify(&["--cid", cid])).await);
    let other = ["verify", "@new", "--old", "@old", "--key", "@key"];
    expect![[r#"
        --- standard error
        error: `--old` is for proofs of growth, and the file holds none
        hint: `cim checkpoint consistency OLD NEW --out FILE` makes one
        --- code 5
    "#]]
    .assert_eq(&desk.show(&other).await);

    let altered = desk.text("growth").replacen("\n6\n", "\n7\n", 1);
    desk.write("growth", &altered);
    let ended = desk.run(&verify(&["--old", "@old"])).await;
    assert_eq!(ended.code, ExitCode::Integrity);
}

#[tokio::test]
async fn what_mail_did_to_a_file_is_told() {
    let desk = Desk::new().await;
    desk.create("made").await;
    let args = ["prove", "sales.order.1@2", "--checkpoint", "@made"];
    let proof = desk.run(&args).await.ok();
    let made = desk.text("made");
    for text in [&made, &proof] {
        desk.write("mailed", &text.replace('\n', "\r\n"));
        let returned = desk
            .show(&["verify", "@mailed", "--key", "@key", "-q"])
            .await;
        assert!(
            returned.contains("error: line 1 ends with a carriage return (CRLF), "),
            "{returned}"
        );
        assert!(
            returned.contains("`tr -d '\\r' < FILE > NEW`"),
            "{returned}"
        );
        assert!(returned.ends_with("--- code 5\n"), "{returned}");
        desk.write("mailed", &format!("{text}\n"));
        let longer = desk
            .show(&["verify", "@mailed", "--key", "@key", "-q"])
            .await;
        assert_eq!(
            longer,
            "--- standard error\nerror: the last signature is followed by an empty line, which does \
             not belong to the note\nhint: it went through mail or an editor; take out the empty \
             lines at the end of the file\n--- code 5\n"
        );
    }
}

#[tokio::test]
async fn a_key_that_can_not_be_had_is_asked_for() {
    let desk = Desk::new().await;
    desk.create("made").await;
    desk.write("text", "hello");
    let verify = |key| ["verify", "@made", "--key", key];
    expect![[r#"
        --- standard error
        error: the key can't be read from none
          because: No such file or directory (os error 2)
        hint: ask whoever signs for the verifier key; it looks like example.com/sales+0f3a1b2c+AZ… (NAME+ID+BASE64)
        --- code 4
    "#]].assert_eq(&desk.show(&verify("@none")).await);
    expect![[r#"
        --- standard error
        error: text holds no key that can be used
          because: it is not the text of a verifier key: NAME+ID+BASE64
        hint: ask whoever signs for the verifier key; it looks like example.com/sales+0f3a1b2c+AZ… (NAME+ID+BASE64)
        --- code 5
    "#]].assert_eq(&desk.show(&verify("@text")).await);
    let secret = desk.text("key");
    let shown = desk.show(&verify(secret.trim_end())).await;
    assert!(!shown.contains(secret.trim_end()), "{shown}");
    expect![[r#"
        --- standard error
        error: it is a signing key, which is secret, and not a verifier key: NAME+ID+BASE64
        hint: a key that stood on a command line may have been seen: name the file that has it, or the verifier key, which `cim checkpoint key` printed
        --- code 5
    "#]].assert_eq(&shown);
    std::fs::create_dir(desk.path("directory")).unwrap();
    expect![[r#"
        --- standard error
        error: the key can't be read from directory
          because: Is a directory (os error 21)
        hint: ask whoever signs for the verifier key; it looks like example.com/sales+0f3a1b2c+AZ… (NAME+ID+BASE64)
        --- code 5
    "#]].assert_eq(&desk.show(&verify("@directory")).await);
    expect![[r#"
        --- standard error
        error: directory can't be read
          because: Is a directory (os error 21)
        hint: name a file that can be read
        --- code 5
    "#]]
    .assert_eq(&desk.show(&["verify", "@directory", "--key", "@key"]).await);
    expect![[r#"
        --- standard error
        error: the key can't be read from directory
          because: Is a directory (os error 21)
        hint: `cim checkpoint key NAME --out FILE` makes a key
        --- code 5
    "#]]
    .assert_eq(&desk.show(&["create", "--key", "@directory"]).await);
}
