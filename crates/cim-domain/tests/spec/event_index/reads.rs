//! What a question reads: the events of its answer, and nothing of the log that was taken in before.

use std::sync::Arc;

use cim_domain::persistence::event_index::{EventIndex, IndexSettings};
use futures_util::future::join_all;

use super::counting::{ANCHOR, Counts, counting};
use super::{append, conversation, ctx, event, in_memory, small};
use crate::stores::on_every_store;

/// An index of a log with 60 events in 6 conversations, all of it taken in and written.
async fn taken_in(
    store: &Arc<dyn cim_domain::store::Store>,
    settings: IndexSettings,
) -> (EventIndex, Counts) {
    for number in 0..60 {
        append(&store.log(), &[event(number % 7, number % 6)]).await;
    }
    let (log, bucket, counts) = counting(store).await;
    let index = EventIndex::over(log, bucket, settings).await.unwrap();
    index.persist(&ctx()).await.unwrap();
    (index, counts)
}

on_every_store! {
    async fn a_second_question_reads_its_answer_and_nothing_else(store, _clock) {
        let (index, counts) = taken_in(&store, small().with_page_events(100)).await;
        let ask = || async {
            let found = index.read_by_correlation(&ctx(), conversation(3)).await.unwrap();
            assert_eq!(found.len(), 10);
        };
        ask().await;
        counts.take();
        ask().await;
        let [reads, events, positions, lookups] = counts.take();
        assert_eq!((reads, events, positions, lookups), (1, ANCHOR, 10, 0));

        // What is new is read once.
        append(&store.log(), &[event(1, 3), event(2, 4)]).await;
        let found = index.read_by_correlation(&ctx(), conversation(3)).await.unwrap();
        assert_eq!(found.len(), 11);
        let [reads, events, positions, lookups] = counts.take();
        assert_eq!((reads, events, positions, lookups), (1, ANCHOR + 2, 11, 0));
        index.read_by_correlation(&ctx(), conversation(4)).await.unwrap();
        assert_eq!(counts.take()[1], ANCHOR);
    }

    async fn whoever_opens_what_another_wrote_reads_none_of_it_from_the_log(store, _clock) {
        taken_in(&store, small()).await;
        let (log, bucket, counts) = counting(&store).await;
        let index = EventIndex::over(log, bucket, small()).await.unwrap();
        let [reads, events, positions, lookups] = counts.take();
        assert_eq!((reads, events, positions, lookups), (0, 0, 1, 1), "the manifest and its anchor");
        let found = index.read_by_correlation(&ctx(), conversation(5)).await.unwrap();
        assert_eq!(found.len(), 10);
        let [reads, events, positions, _] = counts.take();
        assert_eq!((reads, events, positions), (1, ANCHOR, 10));
    }
}

#[tokio::test]
async fn a_question_for_what_is_not_there_reads_no_event() {
    let (store, _) = in_memory().await;
    let (index, counts) = taken_in(&store, small()).await;
    let ask = || index.read_by_correlation(&CTX, conversation(99));
    assert!(ask().await.unwrap().is_empty());
    counts.take();
    assert!(ask().await.unwrap().is_empty());
    assert_eq!(counts.take(), [1, ANCHOR, 0, 0]);
}

static CTX: std::sync::LazyLock<cim_domain::store::Context> = std::sync::LazyLock::new(ctx);

#[tokio::test]
async fn many_who_ask_at_the_same_time_look_for_what_is_new_together() {
    let (store, _) = in_memory().await;
    let (index, counts) = taken_in(&store, small()).await;
    counts.take();
    let questions =
        (0..100).map(|number| index.read_by_correlation(&CTX, conversation(number % 6)));
    for found in join_all(questions).await {
        assert_eq!(found.unwrap().len(), 10);
    }
    let [reads, ..] = counts.take();
    assert!(reads <= 100, "{reads}");
}

#[tokio::test]
async fn memory_for_blocks_is_bounded_by_the_settings() {
    let (store, _) = in_memory().await;
    let settings = IndexSettings::default()
        .with_newest_entries(16)
        .with_block_bytes(512)
        .with_cache_bytes(64 << 10);
    let index = EventIndex::open(&*store, settings).await.unwrap();
    for number in 0..3_000_u32 {
        let number = number as u8;
        let commit = [event(number, number), event(number, number)];
        append(&store.log(), &commit).await;
    }
    index.persist(&ctx()).await.unwrap();
    assert!(index.status().blocks * 512 > 96 << 10);
    let mut largest = 0;
    for number in 0..=255 {
        let id = conversation(number);
        let found = index.read_by_correlation(&ctx(), id).await.unwrap();
        assert!(found.len() >= 22, "{}", found.len());
        let tag = super::tag(number as u8);
        assert_eq!(index.read_by_tag(&ctx(), &tag).await.unwrap(), found);
        largest = largest.max(index.status().cached_bytes);
    }
    assert!((48 << 10..=64 << 10).contains(&largest), "{largest}");
}

#[tokio::test]
async fn settings_out_of_their_range_are_refused_by_name() {
    let (store, _) = in_memory().await;
    for (settings, name) in [
        (
            IndexSettings::default().with_newest_entries(15),
            "newest_entries",
        ),
        (
            IndexSettings::default().with_block_bytes(1 << 20),
            "block_bytes",
        ),
        (IndexSettings::default().with_cache_bytes(0), "cache_bytes"),
        (
            IndexSettings::default().with_page_events(1_001),
            "page_events",
        ),
        (IndexSettings::default().in_bucket("a b"), "bucket"),
    ] {
        let error = EventIndex::open(&*store, settings).await.unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("{name} can't be ")),
            "{error}"
        );
    }
}
