//! What the index does while its bucket refuses to be written to: what it takes in stays in memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cim_domain::persistence::event_index::{EventIndex, IndexError};
use cim_domain::store::{Fault, Store};

use super::counting::{Counts, counting};
use super::{append, check_everything, conversation, ctx, event, open, small};
use crate::stores::on_every_store;

/// As many entries are in memory at most, with the settings that tests have.
const MOST: u64 = 8 * 16;

/// An index with some runs, whose bucket refuses to be written to from now on.
async fn refused(store: &Arc<dyn Store>) -> (EventIndex, Counts) {
    fill(store, 0, 20).await;
    let (log, bucket, counts) = counting(store).await;
    let index = EventIndex::over(log, bucket, small()).await.unwrap();
    index.persist(&ctx()).await.unwrap();
    counts.bucket.refuses.store(true, Ordering::SeqCst);
    (index, counts)
}

/// Appends commits of one event, each of which has three entries.
async fn fill(store: &Arc<dyn Store>, from: u8, to: u8) {
    for number in from..to {
        append(&store.log(), &[event(number % 7, number % 5)]).await;
    }
}

fn is_refused<T>(answer: Result<T, IndexError>) -> bool {
    match answer {
        Err(IndexError::Bucket(error)) => error.fault() == Some(Fault::Denied),
        Err(other) => panic!("{other}"),
        Ok(_) => false,
    }
}

on_every_store! {
    async fn answers_are_whole_while_writes_are_refused_and_written_once_they_are_not(store, _clock) {
        let (index, counts) = refused(&store).await;
        let written = index.status().written;
        for number in (20..60).step_by(5) {
            fill(&store, number, number + 5).await;
            check_everything(&index, &store.log()).await;
        }
        let status = index.status();
        assert_eq!((status.written, status.newest_entries), (written, 3 * 40));
        assert!(status.failed_writes > 0);
        assert!(is_refused(index.persist(&ctx()).await));
        check_everything(&index, &store.log()).await;

        counts.bucket.refuses.store(false, Ordering::SeqCst);
        fill(&store, 60, 70).await;
        check_everything(&index, &store.log()).await;
        assert!(index.status().newest_entries < 3 * 20);
        index.persist(&ctx()).await.unwrap();
        assert_eq!(index.status().newest_entries, 0);
        let reopened = open(&store).await;
        assert_eq!(reopened.status().written, index.status().position);
        check_everything(&reopened, &store.log()).await;
    }

    async fn memory_stays_bounded_while_writes_are_refused_and_no_answer_misses_an_event(store, _clock) {
        let (index, counts) = refused(&store).await;
        let mut refusals = 0;
        for number in (20..110).step_by(5) {
            fill(&store, number, number + 5).await;
            let asked = index.read_by_correlation(&ctx(), conversation(1)).await;
            if let Ok(events) = &asked {
                assert_eq!(events.len() as u8, (number + 5) / 5);
            }
            refusals += u64::from(is_refused(asked));
            let kept = index.status().newest_entries;
            assert!(kept < MOST + 3, "{kept}");
        }
        assert!(refusals > 5, "{refusals}");
        // Whoever comes later has all of it to take in at once.
        let (log, bucket, others) = counting(&store).await;
        others.bucket.refuses.store(true, Ordering::SeqCst);
        let other = EventIndex::over(log, bucket, small()).await.unwrap();
        assert!(is_refused(other.catch_up(&ctx()).await));
        assert!(other.status().newest_entries < MOST + 3);

        for (index, counts) in [(index, counts), (other, others)] {
            counts.bucket.refuses.store(false, Ordering::SeqCst);
            check_everything(&index, &store.log()).await;
            assert!(index.status().newest_entries < MOST);
        }
        check_everything(&open(&store).await, &store.log()).await;
    }

    async fn whoever_follows_goes_on_while_writes_are_refused(store, _clock) {
        let (index, counts) = refused(&store).await;
        let follower = index.follow();
        for number in (20..60).step_by(5) {
            fill(&store, number, number + 5).await;
            crate::event_index::following::caught_up(&index, &store).await;
        }
        assert!(!follower.has_ended());
        counts.bucket.refuses.store(false, Ordering::SeqCst);
        follower.stop().await.unwrap();
        assert_eq!(index.status().newest_entries, 0);
        check_everything(&open(&store).await, &store.log()).await;
    }
}
