//! What one request of an answer asks for is bounded by bytes as well: events may be large.

use std::sync::Arc;

use cim_domain::persistence::event_index::{EventIndex, IndexQuery, IndexSettings};
use cim_domain::store::{Append, ExpectedVersion, NewEvent, RecordedEvent, Store, StreamId};
use futures_util::TryStreamExt as _;

use super::counting::{Counts, counting};
use super::{conversation, ctx, in_memory, same};

/// Appends events of one conversation, whose payloads have so many bytes.
async fn append(store: &Arc<dyn Store>, sizes: impl IntoIterator<Item = usize>) {
    let stream = StreamId::new("shop", "picture", "1").unwrap();
    for size in sizes {
        let payload = "x".repeat(size);
        let event = NewEvent::json("was_taken", &payload).unwrap();
        let event = event.with_correlation_id(conversation(1));
        let commit = Append::new().write(stream.clone(), ExpectedVersion::Any, vec![event]);
        store.log().append(&ctx(), commit).await.unwrap();
    }
}

async fn counted(store: &Arc<dyn Store>) -> (EventIndex, Counts) {
    let (log, bucket, counts) = counting(store).await;
    let settings = IndexSettings::default().with_page_events(1_000);
    let index = EventIndex::over(log, bucket, settings).await.unwrap();
    index.catch_up(&ctx()).await.unwrap();
    (index, counts)
}

async fn whole(store: &Arc<dyn Store>, index: &EventIndex) -> Vec<RecordedEvent> {
    let found = index.read_by_correlation(&ctx(), conversation(1)).await;
    let found = found.unwrap();
    same(&found, &super::all(&store.log()).await);
    let query = IndexQuery::correlation(conversation(1));
    let paged = index.read(&ctx(), query).await.unwrap();
    same(&paged.try_collect::<Vec<_>>().await.unwrap(), &found);
    found
}

#[tokio::test]
async fn of_large_events_a_request_asks_for_few() {
    let (store, _) = in_memory().await;
    append(&store, std::iter::repeat_n(256 << 10, 120)).await;
    let (index, counts) = counted(&store).await;
    assert_eq!(whole(&store, &index).await.len(), 120);
    let (_, largest) = counts.log.pages();
    assert!(largest < 9 << 20, "{largest}");
}

#[tokio::test]
async fn of_small_events_it_asks_for_ever_more_until_large_ones_come() {
    let (store, _) = in_memory().await;
    let small = std::iter::repeat_n(10, 3_000);
    append(&store, small.chain(std::iter::repeat_n(1 << 19, 20))).await;
    let (index, counts) = counted(&store).await;
    let found = index.read_by_correlation(&ctx(), conversation(1)).await;
    assert_eq!(found.unwrap().len(), 3_020);
    let (pages, _) = counts.log.pages();
    assert!((4..=10).contains(&pages), "{pages}");
    whole(&store, &index).await;
}
