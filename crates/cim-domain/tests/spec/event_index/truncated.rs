//! What a truncation gave up is in no answer, whether the index was there before or not.

use std::sync::Arc;

use cim_domain::store::{ArchiveDigester, Store, Truncation};

use super::{all, append, check_everything, ctx, event, open};
use crate::stores::on_every_store_with_our_clock;

async fn truncate(store: &Arc<dyn Store>, events: usize) {
    let all = all(&store.log()).await;
    let mut digester = ArchiveDigester::new();
    all[..events].iter().for_each(|event| digester.push(event));
    let truncation = Truncation {
        through: all[events - 1].position,
        archived: digester.finish(),
    };
    store.log().truncate(&ctx(), truncation).await.unwrap();
}

on_every_store_with_our_clock! {
    async fn an_index_from_before_and_one_from_after_a_truncation_answer_alike(store, _clock) {
        let (before, idle) = (open(&store).await, open(&store).await);
        for number in 0..30 {
            append(&store.log(), &[event(number, number % 5)]).await;
        }
        idle.catch_up(&ctx()).await.unwrap();
        for number in 0..30 {
            append(&store.log(), &[event(number, number % 4)]).await;
        }
        check_everything(&before, &store.log()).await;
        truncate(&store, 25).await;
        check_everything(&before, &store.log()).await;
        assert_eq!(before.status().rebuilt, 0);
        check_everything(&open(&store).await, &store.log()).await;

        // Beyond what one of them took in, and beyond what was written.
        truncate(&store, 20).await;
        check_everything(&idle, &store.log()).await;
        for number in 0..10 {
            append(&store.log(), &[event(number, number % 5)]).await;
        }
        truncate(&store, 22).await;
        for index in [before, idle, open(&store).await] {
            check_everything(&index, &store.log()).await;
            index.persist(&ctx()).await.unwrap();
        }
        check_everything(&open(&store).await, &store.log()).await;
    }

    async fn an_index_whose_last_event_was_given_up_goes_on_behind_it(store, _clock) {
        let index = open(&store).await;
        for number in 0..10 {
            append(&store.log(), &[event(number, number % 5)]).await;
        }
        index.catch_up(&ctx()).await.unwrap();
        truncate(&store, 10).await;
        check_everything(&index, &store.log()).await;
        append(&store.log(), &[event(1, 1)]).await;
        check_everything(&index, &store.log()).await;
        assert_eq!(index.status().rebuilt, 0);
    }
}
