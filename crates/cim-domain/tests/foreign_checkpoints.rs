//! Software that has never seen this library accepts our checkpoints, proofs and tiles, and we
//! accept its checkpoints: the Python package `aics-tlog`, an implementation of C2SP's `signed-note`,
//! `tlog-checkpoint` and `tlog-tiles` of its own. It is pinned in `tests/foreign/requirements.txt`
//! and lives in a folder of its own under the target directory. Its wheels are for CPython 3.11 to
//! 3.14; it asks for 3.12, and needs nothing of it.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use cim_conformance::foreign_tools::ForeignTools;
use cim_domain::persistence::checkpoint::note::{SignedNote, SigningKey};
use cim_domain::persistence::checkpoint::{Checkpoint, Checkpoints, EventAddress};
use cim_domain::store::memory::MemoryStore;
use cim_domain::store::{
    Context, EventLogExt, ExpectedVersion, LogQuery, NewEvent, RecordedEvent, Store, StreamId,
};
use data_encoding::HEXLOWER;
use futures_util::TryStreamExt;
use serde_json::{Value, json};

const REQUIREMENTS: &str = include_str!("foreign/requirements.txt");

/// What the foreign implementation makes of it all.
fn checked_by_others(given: &Value) -> Value {
    let tools = ForeignTools::of_target(env!("CARGO_TARGET_TMPDIR"));
    let python = tools
        .python_packages("foreign-checkpoints", REQUIREMENTS)
        .unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/check_checkpoints.py");
    let mut child = python
        .command(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    // Where it has ended early, its own words are told below.
    let _ = input.write_all(given.to_string().as_bytes());
    drop(input);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "checking: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_seed("example.com/orders", &[3; 32]).unwrap()
}

/// Appends events, and signs what the log is then.
async fn grow(store: &Arc<dyn Store>, events: u64) -> Checkpoint {
    let (ctx, log) = (Context::new(), store.log());
    for number in 0..events {
        let stream = StreamId::new("sales", "order", &(number % 9).to_string()).unwrap();
        let event = NewEvent::json("noted", &number).unwrap();
        let commit = vec![event];
        log.append_to(&ctx, &stream, ExpectedVersion::Any, commit)
            .await
            .unwrap();
    }
    let checkpoints = Checkpoints::new(Arc::clone(store));
    checkpoints.create(&ctx, &key(), |_| {}).await.unwrap()
}

async fn history(store: &Arc<dyn Store>) -> Vec<RecordedEvent> {
    let events = store.log().read_log(&Context::new(), LogQuery::all()).await;
    events.unwrap().try_collect().await.unwrap()
}

/// Writes the tree's files as a server would serve them.
async fn write_tiles(checkpoints: &Checkpoints, checkpoint: &Checkpoint, directory: &Path) {
    let ctx = Context::new();
    let mut files = checkpoints.tile_files(&ctx, checkpoint).await.unwrap();
    for piece in files.pieces() {
        let path = directory.join(piece.to_string());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, files.bytes(&ctx, piece).await.unwrap()).unwrap();
    }
    fs::write(directory.join("checkpoint"), checkpoint.to_string()).unwrap();
}

#[tokio::test]
async fn somebody_elses_verifier_accepts_our_checkpoints_proofs_and_tiles() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (ctx, checkpoints) = (Context::new(), Checkpoints::new(Arc::clone(&store)));
    let mut made = Vec::new();
    for events in [1, 2, 253, 1, 300, 143] {
        made.push(grow(&store, events).await);
    }
    let (first, last) = (&made[1], &made[5]);
    let directory = tempfile::tempdir().unwrap();
    write_tiles(&checkpoints, last, directory.path()).await;

    let history = history(&store).await;
    let mut inclusion = Vec::new();
    for index in [0, 1, 2, 255, 256, 511, 512, 555, 699] {
        let event = EventAddress::Cid(history[index].cid);
        let proof = checkpoints.prove(&ctx, &event, last).await.unwrap();
        inclusion.push(proof.to_string());
    }
    let mut consistency = Vec::new();
    for (old, new) in [(0, 1), (1, 2), (2, 3), (1, 5), (3, 5), (4, 5)] {
        let (old, new) = (&made[old], &made[new]);
        let proof = checkpoints.consistency(&ctx, old, new).await.unwrap();
        consistency.push(json!({ "old": old.to_string(), "proof": proof.to_string() }));
    }
    // With a second signature, of a witness that they don't know.
    let witness = SigningKey::from_seed("witness.example/w", &[9; 32]).unwrap();
    let text = last.note().text();
    let witnessed = SignedNote::sign(text, &[&witness, &key()]).unwrap();
    let mut checked: Vec<String> = made.iter().map(ToString::to_string).collect();
    checked.push(witnessed.to_string());

    let good = first.to_string();
    let found = checked_by_others(&json!({
        "vkey": key().verifier().to_string(),
        "checkpoints": checked,
        "altered": [
            good.replacen("\n3\n", "\n4\n", 1),
            good.replacen("example.com", "example.org", 1),
            good.replacen("orders ", "others ", 1),
            SignedNote::sign(first.note().text(), &[&witness]).unwrap().to_string(),
        ],
        "directory": directory.path(),
        "inclusion": inclusion,
        "consistency": consistency,
    }));

    let heads = made.iter().chain([last]).map(|checkpoint| {
        let root = HEXLOWER.encode(checkpoint.root().as_bytes());
        json!([checkpoint.origin(), checkpoint.size(), root])
    });
    assert_eq!(found["checkpoints"], Value::Array(heads.collect()));
    assert_eq!(found["bundles"], 3);
    // Every entry is the binary CID of its event.
    let cids = history.iter().map(|event| {
        let cid = event.cid.to_cid().to_bytes();
        Value::from(HEXLOWER.encode(&cid))
    });
    let cids: Vec<Value> = cids.collect();
    assert_eq!(found["entries"], Value::Array(cids.clone()));
    for (index, proven) in [0, 1, 2, 255, 256, 511, 512, 555, 699]
        .into_iter()
        .zip(found["inclusion"].as_array().unwrap())
    {
        assert_eq!(*proven, json!({ "leaf": cids[index], "index": index }));
    }

    let theirs = found["their_note"].as_str().unwrap();
    let their_key = found["their_vkey"].as_str().unwrap().parse().unwrap();
    let theirs = Checkpoint::open(theirs.as_bytes(), &[their_key]).unwrap();
    assert_eq!((theirs.size(), theirs.root()), (last.size(), last.root()));
    assert_eq!(theirs.origin(), "example.com/theirs");
}
