//! The content store: what is put is there as it was put, once, as long as something names it.

mod bytes;
mod chains;
mod damage;
mod format;
mod garbage;
mod gate;
mod naming;
mod races;
mod values;

use std::sync::Arc;
use std::time::Duration;

use cim_domain::persistence::content::{
    ContentError, ContentSettings, ContentStore, PutOptions, Stored,
};
use cim_domain::store::{Bucket, BucketExt as _, Context, Key, ManualClock, Store};
use cim_ipld::Cid;

/// Small parts, so that a few bytes are a tree.
pub(crate) const SMALL: ContentSettings = ContentSettings {
    chunk_bytes: 4,
    fan_out: 3,
    hash: cim_ipld::HashFunction::Sha2_256,
    grace: HOUR,
};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn ctx() -> Context {
    Context::new()
}

pub(crate) async fn small(store: &Arc<dyn Store>, clock: &ManualClock) -> ContentStore {
    ContentStore::open(&**store, &ctx(), "content", SMALL)
        .await
        .unwrap()
        .with_clock(Arc::new(clock.clone()))
}

/// A content store in memory, and its clock.
pub(crate) async fn in_memory() -> (ContentStore, ManualClock) {
    let (store, clock) = crate::stores::open_at_noon("memory:").await;
    (small(&store, &clock).await, clock)
}

/// Puts bytes that nothing names.
pub(crate) async fn put(content: &ContentStore, bytes: &[u8]) -> Stored {
    content
        .put_bytes(&ctx(), bytes.to_vec(), PutOptions::default())
        .await
        .unwrap()
}

pub(crate) async fn get(content: &ContentStore, cid: &Cid) -> Result<Vec<u8>, ContentError> {
    content
        .get_bytes(&ctx(), cid)
        .await
        .map(|bytes| bytes.to_vec())
}

/// The blocks that are stored, in the order of their keys.
pub(crate) async fn blocks(content: &ContentStore) -> Vec<String> {
    let [blocks, _] = content.buckets();
    let keys = blocks.all_keys(&ctx()).await.unwrap();
    let mut keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    keys.sort();
    keys
}

/// Writes into the bucket of blocks past the content store.
pub(crate) async fn tamper(content: &ContentStore, cid: &Cid, bytes: Option<&[u8]>) {
    let [blocks, _]: [&Arc<dyn Bucket>; 2] = content.buckets();
    let key = Key::new(cid.to_string()).unwrap();
    match bytes {
        Some(bytes) => {
            let bytes = bytes.to_vec().into();
            blocks.set(&ctx(), &key, bytes).await.unwrap();
        }
        None => {
            blocks.purge(&ctx(), &key, None).await.unwrap();
        }
    }
}

/// A leaf with the given bytes.
pub(crate) fn leaf(bytes: &[u8]) -> Cid {
    cim_ipld::cid_of(0x55, cim_ipld::HashFunction::Sha2_256, bytes)
}
