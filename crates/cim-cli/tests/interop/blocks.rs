//! Made-up values of every kind as blocks: ours read by others, and those of others by us.

use std::collections::HashSet;
use std::path::PathBuf;

use cim_ipld::dag_cbor::Ipld;
use cim_ipld::{Block, CodecRegistry, DAG_CBOR_CODE, DAG_JSON_CODE, HashFunction, RAW_CODE};
use cim_ipld::{dag_cbor, dag_json, verify};
use data_encoding::HEXLOWER;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::car_file::CarFile;
use crate::read_by_others::Fault;
use crate::software::{JavaScript, Python};
use crate::values::{not_kept_by_javascript, values};

/// How many values of ours others read.
const VALUES: usize = 400;

/// A CAR file as JavaScript sees it.
#[derive(Deserialize)]
struct Seen {
    roots: Vec<String>,
    blocks: Vec<SeenBlock>,
}

#[derive(Deserialize)]
struct SeenBlock {
    cid: String,
    codec: String,
    /// As DAG-JSON.
    value: String,
    #[serde(default)]
    faults: Vec<String>,
}

/// Encodes values, each into one block; equal ones once.
fn encode(codec: u64, values: &[Ipld]) -> Vec<Block> {
    let codecs = CodecRegistry::new();
    let mut seen = HashSet::new();
    let encode = |value| codecs.encode(codec, HashFunction::Sha2_256, value).unwrap();
    let mut blocks: Vec<Block> = values.iter().map(encode).collect();
    blocks.retain(|block| seen.insert(block.cid));
    blocks
}

/// The value of a block, which must encode to the same bytes again, as DAG-JSON.
fn as_json(block: &Block) -> String {
    let codecs = CodecRegistry::new();
    let value = codecs.decode(block).unwrap();
    let again = codecs.encode(block.cid.codec(), HashFunction::Sha2_256, &value);
    assert!(again.unwrap() == *block, "another encoding of {value:?}");
    String::from_utf8(dag_json::encode(&value).unwrap()).unwrap()
}

/// A value with a word for each kind, as `write_blocks.py` spells it.
fn spell(value: &Ipld) -> Value {
    match value {
        Ipld::Null => Value::Null,
        Ipld::Bool(bool) => json!(bool),
        Ipld::Integer(integer) => json!({ "integer": integer.to_string() }),
        Ipld::Float(float) => json!({ "float": format!("{:016x}", float.to_bits()) }),
        Ipld::String(text) => json!(text),
        Ipld::Bytes(bytes) => json!({ "bytes": HEXLOWER.encode(bytes) }),
        Ipld::List(items) => items.iter().map(spell).collect(),
        Ipld::Map(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| (key.clone(), spell(value)));
            json!({ "map": Value::Object(entries.collect()) })
        }
        Ipld::Link(cid) => json!({ "link": cid.to_string() }),
    }
}

/// Writes blocks into a CAR file whose root is the last one.
fn write(blocks: Vec<Block>, folder: &TempDir) -> PathBuf {
    let file = folder.path().join("blocks.car");
    let roots = blocks.last().map(|block| block.cid).into_iter().collect();
    let version = 1;
    CarFile {
        version,
        roots,
        blocks,
    }
    .write(&file);
    file
}

#[test]
fn a_car_that_javascript_wrote_is_read_with_the_same_cids_and_values() {
    let folder = tempfile::tempdir().unwrap();
    let [v1, v2] = ["v1.car", "v2.car"].map(|name| folder.path().join(name));
    let ran = JavaScript::new().run("write_blocks.mjs", &[v1.as_os_str(), v2.as_os_str()]);
    let written: Seen = ran.well().json();
    assert_eq!(written.roots.len(), 3);

    let read = CarFile::read(&v1);
    assert_eq!(read.version, 1);
    assert!(read.roots.iter().map(ToString::to_string).eq(written.roots));
    assert_eq!(read.blocks.len(), written.blocks.len());
    let mut codecs = HashSet::new();
    for (block, expected) in read.blocks.iter().zip(&written.blocks) {
        assert_eq!(block.cid.to_string(), expected.cid);
        assert_eq!(
            as_json(block),
            expected.value,
            "{} {}",
            expected.codec,
            expected.cid
        );
        codecs.insert(block.cid.codec());
    }
    assert_eq!(codecs, [DAG_CBOR_CODE, DAG_JSON_CODE, RAW_CODE].into());

    let wrapped = CarFile::read(&v2);
    assert_eq!(wrapped.version, 2);
    assert_eq!(wrapped.roots, read.roots);
    assert!(wrapped.blocks == read.blocks, "other blocks in the CARv2");
}

#[test]
fn javascript_reads_what_we_encode_and_encodes_it_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let values = values(VALUES);
    let raw = [&b""[..], b"\x00\xff", &[7; 100_000]].map(|bytes| Ipld::Bytes(bytes.to_vec()));
    let blocks = [
        encode(DAG_CBOR_CODE, &values),
        encode(DAG_JSON_CODE, &values),
        encode(RAW_CODE, &raw),
    ]
    .concat();
    let file = write(blocks.clone(), &folder);
    let seen: Seen = JavaScript::new()
        .run("read_blocks.mjs", &[file.as_os_str()])
        .well()
        .json();
    assert_eq!(seen.roots, [blocks.last().unwrap().cid.to_string()]);
    assert_eq!(seen.blocks.len(), blocks.len());
    for (seen, block) in seen.blocks.iter().zip(&blocks) {
        assert_eq!(seen.cid, block.cid.to_string());
        let none: [&str; 0] = [];
        assert_eq!(seen.faults, none, "{}", as_json(block));
        assert_eq!(seen.value, as_json(block));
    }
}

#[test]
fn python_reads_what_we_encode_and_encodes_it_to_the_same_bytes() {
    #[derive(Deserialize)]
    struct Checked {
        cids: Vec<String>,
        faults: Vec<Fault>,
    }
    let folder = tempfile::tempdir().unwrap();
    let values = [values(VALUES), not_kept_by_javascript()].concat();
    let blocks = encode(DAG_CBOR_CODE, &values);
    let file = write(blocks, &folder);
    let checked: Checked = Python::new()
        .run("check_blocks.py", &[file.as_os_str()])
        .json();
    assert_eq!(checked.faults, []);
    assert_eq!(checked.cids, CarFile::read(&file).cids());
}

#[test]
fn blocks_that_python_encoded_are_read_with_the_same_cids_and_values() {
    #[derive(Deserialize)]
    struct Encoded {
        cid: String,
        /// In hexadecimal.
        block: String,
        /// With a word for each kind.
        value: Value,
    }
    let encoded: Vec<Encoded> = Python::new().run("write_blocks.py", &[]).well().json();
    assert!(encoded.len() >= 300);
    for expected in encoded {
        let bytes = HEXLOWER.decode(expected.block.as_bytes()).unwrap();
        let block = Block {
            cid: expected.cid.parse().unwrap(),
            bytes: bytes.into(),
        };
        verify(&block.cid, &block.bytes).unwrap();
        let value = dag_cbor::from_slice(&block.bytes).unwrap();
        assert_eq!(spell(&value), expected.value);
        assert!(
            dag_cbor::to_vec(&value).unwrap() == block.bytes,
            "another encoding of {value:?}"
        );
    }
}
