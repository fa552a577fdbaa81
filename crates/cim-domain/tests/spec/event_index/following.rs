//! The task that keeps an index fresh.

use std::sync::Arc;

use cim_domain::persistence::event_index::{EventIndex, IndexError};
use cim_domain::store::{Clock as _, Fault, Position, Store, SystemClock};
use futures_util::future::join;

use super::counting::{ANCHOR, counting};
use super::{append, check_everything, conversation, ctx, event, in_memory, open, small};
use crate::stores::on_every_store;

/// Waits until the index has taken in everything that the log has now.
pub(crate) async fn caught_up(index: &EventIndex, store: &Arc<dyn Store>) {
    let last = super::all(&store.log())
        .await
        .last()
        .map(|event| event.position);
    while index.status().position < last.unwrap_or(Position::NONE) {
        SystemClock.sleep(std::time::Duration::from_millis(1)).await;
    }
}

on_every_store! {
    async fn what_is_stored_is_taken_in_before_anybody_asks(store, _clock) {
        for number in 0..20 {
            append(&store.log(), &[event(number, number % 5)]).await;
        }
        let (log, bucket, counts) = counting(&store).await;
        let index = EventIndex::over(log, bucket, small()).await.unwrap();
        let follower = index.follow();
        for number in 0..50 {
            append(&store.log(), &[event(number, number % 5), event(number, number % 3)]).await;
        }
        caught_up(&index, &store).await;
        counts.take();
        index.read_by_correlation(&ctx(), conversation(2)).await.unwrap();
        let [reads, events, ..] = counts.take();
        assert_eq!((reads, events), (1, ANCHOR));
        check_everything(&index, &store.log()).await;
        assert!(!follower.has_ended());
        follower.stop().await.unwrap();
        assert_eq!(index.status().written, index.status().position);
        let reopened = open(&store).await;
        assert_eq!(reopened.status().position, index.status().position);
        check_everything(&reopened, &store.log()).await;
    }

    async fn two_processes_may_follow_and_be_asked_at_once(store, _clock) {
        let (one, other) = (open(&store).await, open(&store).await);
        let followers = [one.follow(), other.follow()];
        for number in 0..60 {
            append(&store.log(), &[event(number, number % 5), event(number, number % 3)]).await;
            if number.is_multiple_of(10) {
                let log = store.log();
                join(check_everything(&one, &log), check_everything(&other, &log)).await;
            }
        }
        for follower in followers {
            follower.stop().await.unwrap();
        }
        let log = store.log();
        join(check_everything(&one, &log), check_everything(&other, &log)).await;
        check_everything(&open(&store).await, &log).await;
    }
}

#[tokio::test]
async fn it_goes_on_after_the_index_was_begun_anew() {
    let (store, _) = in_memory().await;
    let index = open(&store).await;
    let follower = index.follow();
    let bucket = super::bucket(&store).await;
    for number in 0..40 {
        append(&store.log(), &[event(number, number % 5)]).await;
        if number == 20 {
            caught_up(&index, &store).await;
            let key = cim_domain::store::Key::new("manifest").unwrap();
            bucket.purge(&ctx(), &key, None).await.unwrap();
        }
    }
    caught_up(&index, &store).await;
    assert!(!follower.has_ended());
    follower.stop().await.unwrap();
    check_everything(&index, &store.log()).await;
    check_everything(&open(&store).await, &store.log()).await;
}

#[tokio::test]
async fn it_ends_with_the_store_and_says_so() {
    let (store, _) = in_memory().await;
    let index = open(&store).await;
    let follower = index.follow();
    append(&store.log(), &[event(1, 1)]).await;
    caught_up(&index, &store).await;
    store.close().await.unwrap();
    while !follower.has_ended() {
        tokio::task::yield_now().await;
    }
    let Err(IndexError::Log(error)) = follower.stop().await else {
        panic!("it ended without a word");
    };
    assert_eq!(error.fault(), Some(Fault::Closed));
}

#[tokio::test]
async fn dropping_it_ends_the_task_and_leaves_the_index_as_it_is() {
    let (store, _) = in_memory().await;
    let index = open(&store).await;
    let follower = index.follow();
    append(&store.log(), &[event(1, 1)]).await;
    caught_up(&index, &store).await;
    drop(follower);
    tokio::task::yield_now().await;
    append(&store.log(), &[event(2, 1)]).await;
    check_everything(&index, &store.log()).await;
    assert_eq!(index.status().written, Position::NONE);
}
