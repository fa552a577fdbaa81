//! Bytes are law: a snapshot that format version 1 wrote is read like that for ever.
//!
//! `tests/golden/snapshot-v1.txt` has the value in hexadecimal, 32 bytes a line. It is never changed;
//! a new version gets a file of its own, written by running this test once with
//! `CIM_WRITE_GOLDEN=1`.

use std::path::Path;

use cim_domain::persistence::snapshot::SnapshotQuery;
use cim_domain::store::BucketExt as _;

use super::{anna, at, key, open};
use crate::account::ctx;
use crate::stores::open_at_noon;

#[tokio::test]
async fn format_version_1_is_what_it_was() {
    let (store, clock) = open_at_noon("memory:").await;
    let snapshots = open(&*store, &clock, 2).await;
    snapshots
        .write(&ctx(), &at(&700, 3).with_schema_version(4))
        .await
        .unwrap();
    let key = key();
    let value = snapshots
        .bucket()
        .get(&ctx(), &key)
        .await
        .unwrap()
        .unwrap()
        .value;
    let lines: Vec<String> = value
        .chunks(32)
        .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    let written = lines.join("\n") + "\n";

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/snapshot-v1.txt");
    if std::env::var_os("CIM_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert_eq!(written, golden);

    // What stands in the file is read, whatever this program writes.
    let digits: Vec<u8> = golden.bytes().filter(|byte| *byte != b'\n').collect();
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    snapshots
        .bucket()
        .set(&ctx(), &key, bytes.into())
        .await
        .unwrap();
    let query = SnapshotQuery {
        schema_version: 4,
        ..SnapshotQuery::default()
    };
    let read = snapshots
        .newest::<u64>(&ctx(), &anna(), query)
        .await
        .unwrap();
    let read = read.found().unwrap();
    assert_eq!((read.state, read.head), (700, super::head(3)));
}
