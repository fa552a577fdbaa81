//! An index that is damaged, foreign, ahead of the log, or gone never gives a wrong answer: it is
//! built anew.

use std::sync::Arc;

use cim_domain::persistence::event_index::EventIndex;
use cim_domain::store::{Bucket, BucketExt as _, Key, Position, Store};
use sha2::{Digest as _, Sha256};

use super::counting::counting;
use super::{
    all, append, bucket, check_everything, conversation, ctx, event, in_memory, open, same, small,
};
use crate::stores::on_every_store;

/// Appends events of conversations 0 to 4, some in commits of two.
async fn fill(store: &Arc<dyn Store>, from: u8, to: u8) {
    for number in from..to {
        let mut commit = vec![event(number % 7, number % 5)];
        if number.is_multiple_of(3) {
            commit.push(event(number % 4, number % 3));
        }
        append(&store.log(), &commit).await;
    }
}

/// A store with an index that has runs of several blocks.
async fn with_index(store: &Arc<dyn Store>) -> Arc<dyn Bucket> {
    fill(store, 0, 70).await;
    open(store).await.persist(&ctx()).await.unwrap();
    bucket(store).await
}

async fn keys(bucket: &Arc<dyn Bucket>) -> Vec<Key> {
    let mut keys = Vec::new();
    for key in bucket.all_keys(&ctx()).await.unwrap() {
        let entry = bucket.get(&ctx(), &key).await.unwrap();
        if entry.is_some_and(|entry| !entry.value.is_empty()) {
            keys.push(key);
        }
    }
    keys.sort();
    keys
}

async fn alter(bucket: &Arc<dyn Bucket>, key: &Key, alter: impl FnOnce(&mut Vec<u8>)) {
    let value = bucket.get(&ctx(), key).await.unwrap().unwrap().value;
    let mut bytes = value.to_vec();
    alter(&mut bytes);
    bucket.set(&ctx(), key, bytes.into()).await.unwrap();
}

on_every_store! {
    async fn whichever_value_is_altered_answers_stay_right(store, _clock) {
        let bucket = with_index(&store).await;
        for number in 0..keys(&bucket).await.len() {
            let keys = keys(&bucket).await;
            let Some(key) = keys.get(number) else { break };
            alter(&bucket, key, |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            })
            .await;
            let index = open(&store).await;
            check_everything(&index, &store.log()).await;
            assert_eq!(index.status().rebuilt, 1, "{key}");
            index.persist(&ctx()).await.unwrap();
        }
    }

    async fn a_block_that_is_gone_and_one_in_the_place_of_another_are_found(store, _clock) {
        let bucket = with_index(&store).await;
        let first = keys(&bucket).await;
        let block = first.iter().find(|key| key.as_str().starts_with("block.")).unwrap();
        bucket.purge(&ctx(), block, None).await.unwrap();
        let index = open(&store).await;
        check_everything(&index, &store.log()).await;
        index.persist(&ctx()).await.unwrap();

        let blocks = keys(&bucket).await;
        let blocks: Vec<_> = blocks.iter().filter(|key| key.as_str().starts_with("block.")).collect();
        let other = bucket.get(&ctx(), blocks[1]).await.unwrap().unwrap().value;
        bucket.set(&ctx(), blocks[0], other).await.unwrap();
        let index = open(&store).await;
        check_everything(&index, &store.log()).await;
        assert_eq!(index.status().rebuilt, 1);
    }

    async fn an_index_of_another_version_of_the_format_is_built_anew(store, _clock) {
        let bucket = with_index(&store).await;
        alter(&bucket, &Key::new("manifest").unwrap(), |bytes| bytes[7] = 2).await;
        let index = open(&store).await;
        assert_eq!((index.status().rebuilt, index.status().entries), (1, 0));
        check_everything(&index, &store.log()).await;
        // Nobody needs what the other version had written.
        index.persist(&ctx()).await.unwrap();
        let blocks = keys(&bucket).await.len() as u64 - 1;
        assert_eq!(blocks, index.status().blocks);
    }

    async fn an_open_index_notices_that_the_bucket_was_emptied(store, _clock) {
        let bucket = with_index(&store).await;
        let index = open(&store).await;
        check_everything(&index, &store.log()).await;
        for key in bucket.all_keys(&ctx()).await.unwrap() {
            bucket.purge(&ctx(), &key, None).await.unwrap();
        }
        fill(&store, 0, 9).await;
        check_everything(&index, &store.log()).await;
        index.persist(&ctx()).await.unwrap();
        check_everything(&index, &store.log()).await;
        check_everything(&open(&store).await, &store.log()).await;
    }
}

/// Writes numbers into the manifest, each at an offset, and makes the manifest's own digest right.
async fn forge(bucket: &Arc<dyn Bucket>, numbers: &[(usize, &[u8])]) {
    let manifest = Key::new("manifest").unwrap();
    alter(bucket, &manifest, |bytes| {
        bytes.truncate(bytes.len() - 32);
        for (offset, number) in numbers {
            bytes[*offset..*offset + number.len()].copy_from_slice(number);
        }
        let digest = Sha256::digest(&*bytes);
        bytes.extend_from_slice(&digest);
    })
    .await;
}

/// An index over a bucket that notices when there is no end to what is written.
async fn watched(store: &Arc<dyn Store>) -> EventIndex {
    let (log, bucket, _) = counting(store).await;
    EventIndex::over(log, bucket, small()).await.unwrap()
}

/// The bucket has the blocks of the manifest's runs, and no others.
async fn nothing_is_left_behind(index: &EventIndex, bucket: &Arc<dyn Bucket>) {
    index.persist(&ctx()).await.unwrap();
    let keys = keys(bucket).await;
    assert_eq!(keys.len() as u64, index.status().blocks + 1, "{keys:?}");
}

/// Offsets of numbers in a manifest: of the runs; and in the first run of the entries, the blocks
/// and the root.
const RUNS: usize = 56;
const ENTRIES: usize = 60 + 16;
const BLOCKS: usize = 60 + 32;
const ROOT: usize = 60 + 36;

#[tokio::test]
async fn a_manifest_with_numbers_that_can_not_be_is_damaged_however_right_its_digest_is() {
    let most = u32::MAX.to_le_bytes();
    let cases: [&[(usize, &[u8])]; 6] = [
        &[(RUNS, &most)],
        &[(BLOCKS, &most)],
        &[(ROOT, &most)],
        &[(BLOCKS, &most), (ROOT, &(u32::MAX - 1).to_le_bytes())],
        &[(ENTRIES, &[0; 8])],
        &[(ENTRIES, &[0xFF; 8])],
    ];
    for numbers in cases {
        let (store, _) = in_memory().await;
        let bucket = with_index(&store).await;
        forge(&bucket, numbers).await;
        let index = watched(&store).await;
        assert_eq!(index.status().rebuilt, 1, "{numbers:?}");
        check_everything(&index, &store.log()).await;
        nothing_is_left_behind(&index, &bucket).await;
    }
}

#[tokio::test]
async fn nobody_gives_up_as_many_blocks_as_a_forged_manifest_says() {
    let (store, _) = in_memory().await;
    let bucket = with_index(&store).await;
    let forged: [(usize, &[u8]); 3] = [
        (ENTRIES, &(u64::MAX / 8).to_le_bytes()),
        (BLOCKS, &u32::MAX.to_le_bytes()),
        (ROOT, &(u32::MAX - 1).to_le_bytes()),
    ];
    forge(&bucket, &forged).await;
    let index = watched(&store).await;
    check_everything(&index, &store.log()).await;
    assert_eq!(index.status().rebuilt, 1);
    nothing_is_left_behind(&index, &bucket).await;
}

#[tokio::test]
async fn a_run_with_fewer_blocks_than_the_manifest_says_is_found_by_whoever_merges_it() {
    let (store, _) = in_memory().await;
    let bucket = with_index(&store).await;
    let manifest = Key::new("manifest").unwrap();
    let manifest = bucket.get(&ctx(), &manifest).await.unwrap().unwrap().value;
    let root = u32::from_le_bytes(manifest[ROOT..ROOT + 4].try_into().unwrap());
    let run = uuid::Uuid::from_slice(&manifest[60..76]).unwrap();
    let key = |number| Key::new(format!("block.{}.{number}", run.simple())).unwrap();
    let block = bucket.get(&ctx(), &key(root)).await.unwrap().unwrap().value;
    bucket.set(&ctx(), &key(root + 50), block).await.unwrap();
    let forged: [(usize, &[u8]); 2] = [
        (BLOCKS, &(root + 51).to_le_bytes()),
        (ROOT, &(root + 50).to_le_bytes()),
    ];
    forge(&bucket, &forged).await;
    let index = watched(&store).await;
    // Whoever only looks into it finds what is there.
    check_everything(&index, &store.log()).await;
    assert_eq!(index.status().rebuilt, 0);
    for round in 0..30 {
        fill(&store, round, round + 20).await;
        index.persist(&ctx()).await.unwrap();
    }
    assert_eq!(index.status().rebuilt, 1);
    check_everything(&index, &store.log()).await;
}

/// An index of one store over the log of another.
async fn over(log_of: &Arc<dyn Store>, bucket_of: &Arc<dyn Store>) -> EventIndex {
    let bucket = bucket(bucket_of).await;
    EventIndex::over(log_of.log(), bucket, small())
        .await
        .unwrap()
}

#[tokio::test]
async fn an_index_that_is_ahead_of_its_log_is_built_anew() {
    let (store, _) = in_memory().await;
    with_index(&store).await;
    // The same history, as it was some events before.
    let (restored, _) = in_memory().await;
    fill(&restored, 0, 50).await;
    let index = over(&restored, &store).await;
    assert_eq!(index.status().rebuilt, 1);
    check_everything(&index, &restored.log()).await;
    index.persist(&ctx()).await.unwrap();
    // And again the other way round: what it took in meanwhile went on elsewhere.
    fill(&restored, 60, 69).await;
    index.persist(&ctx()).await.unwrap();
    let index = over(&store, &store).await;
    assert_eq!(index.status().rebuilt, 1);
    check_everything(&index, &store.log()).await;
}

#[tokio::test]
async fn an_index_of_another_log_is_built_anew_however_long_both_are() {
    let (store, _) = in_memory().await;
    with_index(&store).await;
    let (other, clock) = in_memory().await;
    clock.advance(std::time::Duration::from_secs(1));
    append(&other.log(), &[event(9, 4)]).await;
    fill(&other, 0, 100).await;
    let index = over(&other, &store).await;
    assert_eq!(index.status().rebuilt, 1);
    check_everything(&index, &other.log()).await;
}

#[tokio::test]
async fn an_index_that_ends_where_the_log_does_is_kept() {
    let (store, _) = in_memory().await;
    with_index(&store).await;
    let (same, _) = in_memory().await;
    fill(&same, 0, 70).await;
    let index = over(&same, &store).await;
    assert_eq!(index.status().rebuilt, 0);
    check_everything(&index, &same.log()).await;
}

#[tokio::test]
async fn a_block_is_found_to_be_altered_by_whoever_merges_it() {
    let (store, _) = in_memory().await;
    let bucket = with_index(&store).await;
    let keys = keys(&bucket).await;
    let block = keys
        .iter()
        .find(|key| key.as_str().starts_with("block."))
        .unwrap();
    alter(&bucket, block, |bytes| bytes.reverse()).await;
    let index = open(&store).await;
    for round in 0..30 {
        fill(&store, round, round + 20).await;
        index.persist(&ctx()).await.unwrap();
    }
    assert_eq!(index.status().rebuilt, 1);
    check_everything(&index, &store.log()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_the_bucket_is_emptied_again_and_again_answers_stay_right() {
    let (store, _) = in_memory().await;
    let bucket = with_index(&store).await;
    let expected = all(&store.log()).await;
    let expected = expected
        .iter()
        .filter(|event| event.correlation_id == Some(conversation(1)));
    let expected: Vec<_> = expected.cloned().collect();
    let index = open(&store).await;
    let asking = (0..4).map(|number| {
        let (index, store, expected) = (index.clone(), Arc::clone(&store), expected.clone());
        tokio::spawn(async move {
            let own = open(&store).await;
            for round in 0..150 {
                let index = if (round + number) % 3 == 0 {
                    &own
                } else {
                    &index
                };
                let asked = index.read_by_correlation(&ctx(), conversation(1)).await;
                same(&asked.unwrap(), &expected);
                if round % 5 == 0 {
                    index.persist(&ctx()).await.unwrap();
                }
            }
        })
    });
    let asking: Vec<_> = asking.collect();
    while !asking.iter().all(|task| task.is_finished()) {
        for key in bucket.all_keys(&ctx()).await.unwrap() {
            bucket.purge(&ctx(), &key, None).await.unwrap();
        }
        tokio::task::yield_now().await;
    }
    for task in asking {
        task.await.unwrap();
    }
}

on_every_store! {
    async fn an_answer_is_whole_where_the_index_is_begun_anew_in_the_middle_of_it(store, _clock) {
        with_index(&store).await;
        let (log, bucket, counts) = counting(&store).await;
        let index = EventIndex::over(log, Arc::clone(&bucket), small()).await.unwrap();
        let ask = || async {
            let id = conversation(1);
            index.read_by_correlation(&ctx(), id).await.unwrap()
        };
        let before = ask().await;
        assert!(before.len() > 3, "an answer of several pages");

        let (clone, store) = (index.clone(), Arc::clone(&store));
        counts.log.before_positions(async move {
            for key in bucket.all_keys(&ctx()).await.unwrap() {
                bucket.purge(&ctx(), &key, None).await.unwrap();
            }
            append(&store.log(), &[event(1, 2)]).await;
            clone.persist(&ctx()).await.unwrap();
            assert_eq!(clone.status().position, Position::NONE, "it was begun anew");
        });
        same(&ask().await, &before);
    }
}
