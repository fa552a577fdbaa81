//! Who may open what: one process at a time, and only the directory of a store.

use crate::ledger;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::disks::{FaultyDisk, Request};
use cim_store::{
    Context, EventLogError, EventLogExt, ExpectedVersion, Fault, NewEvent, Store, StreamId, Version,
};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};

const CHILD: &str = "CIM_LOCKING_CHILD";

async fn open(directory: &Path) -> Result<EmbeddedStore, EventLogError> {
    EmbeddedStore::open(directory, EmbeddedSettings::default()).await
}

fn stream() -> StreamId {
    StreamId::new("torture", "thing", "1").unwrap()
}

async fn append(store: &EmbeddedStore, expected: ExpectedVersion) {
    let event = NewEvent::json("kept", "event").unwrap();
    store
        .log()
        .append_to(&Context::new(), &stream(), expected, vec![event])
        .await
        .unwrap();
}

fn assert_held(error: &EventLogError, holder: u32) {
    assert_eq!(error.fault(), Some(Fault::Unavailable), "{error}");
    let named = error.to_string().contains(&format!("process {holder} "));
    assert!(named, "the holder {holder} is not named: {error}");
}

#[tokio::test]
async fn the_same_process_can_not_open_a_store_twice() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path()).await.unwrap();
    assert_held(&open(place.path()).await.unwrap_err(), std::process::id());
    append(&store, ExpectedVersion::NEW).await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_closed_store_can_be_opened_although_its_ports_are_still_held() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path()).await.unwrap();
    let log = store.log();
    append(&store, ExpectedVersion::NEW).await;
    store.close().await.unwrap();
    let again = open(place.path()).await.expect("closing released it");
    assert_eq!(
        again
            .log()
            .version(&Context::new(), &stream())
            .await
            .unwrap(),
        Version::new(1)
    );
    let error = log.version(&Context::new(), &stream()).await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Closed), "{error}");
}

#[tokio::test]
async fn a_store_that_was_dropped_closes_by_itself() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path()).await.unwrap();
    append(&store, ExpectedVersion::NEW).await;
    drop(store);
    let store = ledger::reopen(place.path(), &EmbeddedSettings::default())
        .await
        .unwrap();
    assert!(store.open_report().is_quiet());
    assert_eq!(
        store
            .log()
            .version(&Context::new(), &stream())
            .await
            .unwrap(),
        Version::new(1)
    );
}

/// Runs the named test of this file in a process of its own, until it says so.
fn holder(test: &str, directory: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap() == "@open"),
        "it does not open"
    );
    child
}

#[tokio::test]
async fn another_process_is_kept_out_until_the_holder_is_gone_even_by_a_kill() {
    const TEST: &str =
        "locking::another_process_is_kept_out_until_the_holder_is_gone_even_by_a_kill";
    if let Some(directory) = std::env::var_os(CHILD) {
        let store = open(Path::new(&directory)).await.unwrap();
        append(&store, ExpectedVersion::Any).await;
        println!("\n@open");
        std::io::stdout().flush().unwrap();
        // Until it is killed, or its parent is gone.
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    }
    let place = tempfile::tempdir().unwrap();
    for kill in 1..=3 {
        let mut child = holder(TEST, place.path());
        assert_held(&open(place.path()).await.unwrap_err(), child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open(place.path()).await.expect("the kill released it");
        assert_eq!(
            store
                .log()
                .version(&Context::new(), &stream())
                .await
                .unwrap(),
            Version::new(kill)
        );
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_directory_that_holds_something_else_is_refused_and_left_as_it_is() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("letter.txt"), "dear").unwrap();
    let error = open(place.path()).await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Invalid), "{error}");
    assert!(error.to_string().contains("letter.txt"), "{error}");
    let names: Vec<_> = std::fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["letter.txt"]);
}

#[tokio::test]
async fn an_opening_that_failed_holds_nothing() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path()).await.unwrap();
    append(&store, ExpectedVersion::NEW).await;
    store.close().await.unwrap();
    let state = place.path().join("buckets/state.json");
    let right = std::fs::read(&state).unwrap();
    std::fs::write(&state, b"wrong").unwrap();
    for _ in 0..20 {
        let error = open(place.path()).await.unwrap_err();
        assert!(error.is_integrity(), "{error}");
    }
    std::fs::write(&state, right).unwrap();
    open(place.path()).await.unwrap();
}

#[tokio::test]
async fn a_file_is_not_a_store() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("file");
    std::fs::write(&path, "text").unwrap();
    for path in [path.clone(), path.join("below")] {
        let error = open(&path).await.unwrap_err();
        assert_eq!(error.fault(), Some(Fault::Invalid), "{error}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), b"text");
}

#[tokio::test]
async fn a_format_that_is_newer_is_refused_and_left_as_it_is() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path()).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let path = place.path().join("cim-store.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let newer = text
        .lines()
        .next()
        .unwrap()
        .replace("\"format\":1", "\"format\":2,\"more\":true");
    let crc = crc32c::crc32c(newer.as_bytes());
    let newer = format!("{newer}\n{crc:08x}\n");
    std::fs::write(&path, &newer).unwrap();
    let error = open(place.path()).await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Unsupported), "{error}");
    assert!(error.to_string().contains("format 2"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), newer);
}

#[tokio::test]
async fn a_store_that_must_exist_and_does_not_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("not").join("there");
    for path in [path.as_path(), place.path()] {
        let settings = EmbeddedSettings::default().must_exist();
        let error = EmbeddedStore::open(path, settings).await.unwrap_err();
        assert_eq!(error.fault(), Some(Fault::NotFound), "{error}");
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

/// The administrator may write everywhere, so the disk itself refuses here.
#[tokio::test]
async fn a_directory_that_can_not_be_written_is_denied_and_left_as_it_is() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path()).await.unwrap();
    append(&store, ExpectedVersion::NEW).await;
    store.close().await.unwrap();
    drop(store);
    let disk = FaultyDisk::new();
    disk.refuse(|request, _| {
        let writes = !matches!(
            request,
            Request::Read | Request::Map | Request::List | Request::Open
        );
        writes.then_some(ErrorKind::ReadOnlyFilesystem)
    });
    let settings = EmbeddedSettings::default().with_disk(Arc::new(disk));
    for path in [place.path().to_owned(), place.path().join("new")] {
        let error = EmbeddedStore::open(path, settings.clone())
            .await
            .unwrap_err();
        assert_eq!(error.fault(), Some(Fault::Denied), "{error}");
    }
    let store = ledger::reopen(place.path(), &EmbeddedSettings::default())
        .await
        .unwrap();
    assert_eq!(
        store
            .log()
            .version(&Context::new(), &stream())
            .await
            .unwrap(),
        Version::new(1)
    );
}

/// Two that make the same store: the second one must see what the first one made, although it
/// looked before there was anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_made_by_another_meanwhile_is_opened_and_not_made_anew() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("store");
    let disk = FaultyDisk::new();
    let first = Arc::new(AtomicBool::new(true));
    let (other, handle) = (directory.clone(), tokio::runtime::Handle::current());
    disk.refuse(move |request, path| {
        // Once it has looked and before it takes the lock.
        if request == Request::SyncDir && path != other && first.swap(false, Ordering::Relaxed) {
            handle.block_on(async {
                let store = open(&other).await.unwrap();
                append(&store, ExpectedVersion::NEW).await;
                store.close().await.unwrap();
            });
        }
        None
    });
    let settings = EmbeddedSettings::default().with_disk(Arc::new(disk));
    let store = EmbeddedStore::open(&directory, settings).await.unwrap();
    let version = store
        .log()
        .version(&Context::new(), &stream())
        .await
        .unwrap();
    assert_eq!(
        version,
        Version::new(1),
        "what the other one stored is gone"
    );
}
