//! A log that is restored to an earlier state, or replaced, while an index of it is open.

use std::sync::Arc;

use cim_domain::persistence::event_index::{EventIndex, IndexQuery};
use cim_domain::store::Store;
use futures_util::StreamExt as _;

use super::{append, bucket, check_everything, conversation, ctx, event, in_memory, small};
use crate::watched_log::WatchedLog;

/// Two stores whose first events are the same, as far as `common`; then each goes its own way.
async fn histories(common: u8, first: u8, second: u8) -> [Arc<dyn Store>; 2] {
    let [(one, _), (other, clock)] = [in_memory().await, in_memory().await];
    for store in [&one, &other] {
        for number in 0..common {
            append(&store.log(), &[event(number % 7, number % 5)]).await;
        }
    }
    for number in 0..first {
        append(&one.log(), &[event(number % 3, number % 5)]).await;
    }
    clock.advance(std::time::Duration::from_secs(60));
    for number in 0..second {
        append(&other.log(), &[event(number % 4, (number + 2) % 5)]).await;
    }
    [one, other]
}

/// An index that took in all of a log, which is then replaced.
async fn after_replacement(stores: &[Arc<dyn Store>; 2], written: bool) -> EventIndex {
    let [one, other] = stores;
    let log = WatchedLog::new(one.log());
    let index = EventIndex::over(log.clone(), bucket(one).await, small())
        .await
        .unwrap();
    if written {
        index.persist(&ctx()).await.unwrap();
    }
    check_everything(&index, &one.log()).await;
    log.replace(other.log());
    index
}

#[tokio::test]
async fn an_open_index_of_a_log_that_was_restored_answers_from_what_is_there_now() {
    for written in [false, true] {
        // Before what was written, after it, and without anything in common.
        for common in [0, 4, 20, 40] {
            // Now shorter than it was, as long, and longer.
            for second in [0, 7, 10, 30] {
                let stores = histories(common, 10, second).await;
                let index = after_replacement(&stores, written).await;
                check_everything(&index, &stores[1].log()).await;
                // What it writes from now on is right for others, too.
                index.persist(&ctx()).await.unwrap();
                let bucket = bucket(&stores[0]).await;
                let reopened = EventIndex::over(stores[1].log(), bucket, small()).await;
                check_everything(&reopened.unwrap(), &stores[1].log()).await;
            }
        }
    }
}

#[tokio::test]
async fn an_answer_whose_log_is_replaced_by_a_shorter_one_ends_with_an_error() {
    let [(one, _), (other, _)] = [in_memory().await, in_memory().await];
    for store in [&one, &other] {
        for _ in 0..20 {
            append(&store.log(), &[event(1, 1)]).await;
        }
    }
    for _ in 0..80 {
        append(&one.log(), &[event(1, 1)]).await;
    }
    let log = WatchedLog::new(one.log());
    let index = EventIndex::over(log.clone(), bucket(&one).await, small())
        .await
        .unwrap();
    index.catch_up(&ctx()).await.unwrap();
    let query = IndexQuery::correlation(conversation(1));
    let mut events = index.read(&ctx(), query).await.unwrap();
    events.next().await.unwrap().unwrap();
    log.replace(other.log());
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event);
    }
    let error = last.unwrap().unwrap_err();
    assert!(format!("{error:?}").contains("replaced"), "{error:?}");
}
