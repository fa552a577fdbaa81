//! Exported histories, read by others.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::car_file::CarFile;
use crate::history::{Head, History};
use crate::software::{JavaScript, Python, Ran};

/// What is wrong, and where.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct Fault {
    pub(crate) kind: String,
    pub(crate) place: String,
}

/// What `read_history.mjs` finds.
#[derive(Debug, Deserialize)]
struct Found {
    root: String,
    events: u64,
    commits: u64,
    streams: usize,
    tree: String,
    blocks: usize,
    heads: BTreeMap<String, Head>,
}

#[derive(Deserialize)]
struct Faults {
    faults: Vec<Fault>,
}

impl JavaScript {
    pub(crate) fn read_history(&self, file: &Path, order: Option<&Path>) -> Ran {
        let args: Vec<&OsStr> = [Some(file), order]
            .into_iter()
            .flatten()
            .map(Path::as_os_str)
            .collect();
        self.run("read_history.mjs", &args)
    }
}

impl Ran {
    /// The faults that a script found; whether it did is also how it ended.
    #[track_caller]
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let faults = self.json::<Faults>().faults;
        assert_eq!(self.ended_well(), faults.is_empty());
        faults
    }
}

#[tokio::test]
async fn javascript_recomputes_every_cid_walks_every_chain_and_finds_the_heads_order_and_tree() {
    let history = History::large().await;
    let (said, file) = history.export().await;
    let order = history.file("order");
    let ran = JavaScript::new().read_history(&file, Some(&order));
    assert_eq!(ran.faults(), []);

    let found: Found = ran.json();
    let heads = history.heads().await;
    assert_eq!(found.heads, heads);
    let log = history.order().await;
    let order = fs::read_to_string(order).unwrap();
    assert!(order.lines().eq(log.iter()), "another order");
    assert_eq!(found.events, log.len() as u64);
    assert_eq!(found.streams, heads.len());
    assert_eq!(found.commits, 42 + 5);
    // Two pages, two blocks of heads, the root.
    assert_eq!(found.blocks, log.len() + 5);
    assert_eq!(said["root"], found.root);
    assert_eq!(said["tree"], found.tree);
}

#[tokio::test]
async fn javascript_walks_the_chains_of_the_streams_that_a_pattern_chose() {
    let history = History::small().await;
    let file = history.file("part.car");
    let args = [
        "export",
        "--car",
        file.to_str().unwrap(),
        "verkauf.bestellung",
    ];
    history.cim(&args.map(OsStr::new)).await;
    let ran = JavaScript::new().read_history(&file, None);
    assert_eq!(ran.faults(), []);
    let found: serde_json::Value = ran.json();
    assert_eq!(found["streams"], 2);
    let of_the_store = history.heads().await;
    for (stream, head) in found["heads"].as_object().unwrap() {
        assert_eq!(head["cid"], of_the_store[stream].cid);
    }
}

#[tokio::test]
async fn python_decodes_every_block_to_one_value_and_encodes_it_to_the_same_bytes() {
    let history = History::large().await;
    let (_, file) = history.export().await;
    let ran = Python::new().run("check_blocks.py", &[file.as_os_str()]);
    assert_eq!(ran.faults(), []);
    let found: serde_json::Value = ran.json();
    let cids = CarFile::read(&file).cids();
    assert_eq!(found["cids"], serde_json::json!(cids));
}

#[tokio::test]
async fn what_javascript_wrote_again_is_the_same_file_and_is_imported() {
    let history = History::large().await;
    let (_, file) = history.export().await;
    let copy = history.file("copy.car");
    JavaScript::new()
        .run("copy_blocks.mjs", &[file.as_os_str(), copy.as_os_str()])
        .well();
    assert!(
        fs::read(&copy).unwrap() == fs::read(&file).unwrap(),
        "other bytes"
    );

    let imported = History::none();
    let args = ["import", "--car"].map(OsStr::new);
    imported.cim(&[args[0], args[1], copy.as_os_str()]).await;
    assert_eq!(imported.heads().await, history.heads().await);
    assert_eq!(imported.order().await, history.order().await);
    let (_, again) = imported.export().await;
    assert!(
        fs::read(again).unwrap() == fs::read(file).unwrap(),
        "another history"
    );
}
