//! Random histories: commits, questions, writing, opening again, and losing what was written, by two
//! processes at once.

use std::sync::Arc;

use cim_domain::persistence::event_index::EventIndex;
use cim_domain::store::{BucketExt as _, Store};
use futures_util::future::join;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::{Event, append, bucket, check_everything, conversation, ctx, open};

/// What happens, and to which of two processes.
#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Event>),
    Ask(usize),
    CatchUp(usize),
    Persist(usize),
    Reopen(usize),
    CatchUpTogether,
    PersistTogether,
    AppendMeanwhile(Vec<Event>),
    LoseEverything,
}

fn event() -> impl Strategy<Value = Event> {
    let conversation = prop::option::weighted(0.8, 0..5_u8);
    let tags = prop::collection::vec(0..5_u8, 0..3);
    (0..4_u8, conversation, tags, -4..4_i64).prop_map(|(stream, conversation, tags, minute)| {
        Event {
            stream,
            conversation,
            tags,
            minute,
        }
    })
}

fn commit() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(event(), 1..12)
}

fn history() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => commit().prop_map(Step::Append),
        3 => (0..2_usize).prop_map(Step::Ask),
        3 => (0..2_usize).prop_map(Step::CatchUp),
        2 => (0..2_usize).prop_map(Step::Persist),
        2 => (0..2_usize).prop_map(Step::Reopen),
        2 => Just(Step::CatchUpTogether),
        2 => Just(Step::PersistTogether),
        2 => commit().prop_map(Step::AppendMeanwhile),
        1 => Just(Step::LoseEverything),
    ];
    prop::collection::vec(step, 1..40)
}

async fn run(store: &Arc<dyn Store>, history: Vec<Step>) {
    let log = store.log();
    let mut indexes = [open(store).await, open(store).await];
    for step in history {
        let [one, other] = &indexes;
        match step {
            Step::Append(commit) => append(&log, &commit).await,
            Step::Ask(number) => check_everything(&indexes[number], &log).await,
            Step::CatchUp(number) => indexes[number].catch_up(&ctx()).await.unwrap(),
            Step::Persist(number) => indexes[number].persist(&ctx()).await.unwrap(),
            Step::Reopen(number) => {
                // Nothing that it does beside the questions goes on after it was dropped.
                indexes[number].catch_up(&ctx()).await.unwrap();
                indexes[number] = open(store).await;
            }
            Step::CatchUpTogether => {
                let (ctx, other_ctx) = (ctx(), ctx());
                let (one, other) = join(one.catch_up(&ctx), other.catch_up(&other_ctx)).await;
                one.unwrap();
                other.unwrap();
            }
            Step::PersistTogether => {
                let (ctx, other_ctx) = (ctx(), ctx());
                let (one, other) = join(one.persist(&ctx), other.persist(&other_ctx)).await;
                one.unwrap();
                other.unwrap();
            }
            Step::AppendMeanwhile(commit) => {
                let ctx = ctx();
                let asked = one.read_by_correlation(&ctx, conversation(1));
                let ((), found) = join(append(&log, &commit), asked).await;
                let id = Some(conversation(1));
                let all = super::all(&log).await;
                let all: Vec<_> = all.into_iter().filter(|e| e.correlation_id == id).collect();
                let found = found.unwrap();
                assert!(all.starts_with(&found), "{found:?} of {all:?}");
            }
            Step::LoseEverything => lose_everything(store).await,
        }
    }
    for index in &indexes {
        check_everything(index, &log).await;
    }
    let reopened = open(store).await;
    check_everything(&reopened, &log).await;
    for index in indexes.iter().chain([&reopened]) {
        index.catch_up(&ctx()).await.unwrap(); // and waits for merges that are under way
    }
    check_bucket(store, &open(store).await).await;
}

async fn lose_everything(store: &Arc<dyn Store>) {
    let bucket = bucket(store).await;
    for key in bucket.all_keys(&ctx()).await.unwrap() {
        bucket.purge(&ctx(), &key, None).await.unwrap();
    }
}

/// Nothing is in the bucket but the manifest and the blocks of its runs, once what was given up has
/// gone.
async fn check_bucket(store: &Arc<dyn Store>, index: &EventIndex) {
    let bucket = bucket(store).await;
    let keys = bucket
        .entries(&ctx(), &"block.>".parse().unwrap())
        .await
        .unwrap();
    let entries: Vec<_> = futures_util::TryStreamExt::try_collect(keys).await.unwrap();
    let entries: Vec<cim_domain::store::Entry> = entries;
    let blocks = entries.iter().filter(|entry| !entry.value.is_empty());
    assert_eq!(blocks.count() as u64, index.status().blocks);
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None, // it prints the history
        ..ProptestConfig::with_cases(cases)
    }
}

fn on_stores_like(url: &str, cases: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(config(cases));
    runner
        .run(&history(), |history| {
            let directory = tempfile::tempdir().unwrap();
            let url = url.replace("DIRECTORY", &directory.path().display().to_string());
            runtime.block_on(async {
                let (store, _) = crate::stores::open_at_noon(&url).await;
                run(&store, history).await;
                store.close().await.unwrap();
            });
            Ok(())
        })
        .unwrap();
}

#[test]
fn every_answer_is_what_a_look_at_every_event_gives_in_memory() {
    on_stores_like("memory:", 150);
}

#[cfg(feature = "embedded")]
#[test]
fn every_answer_is_what_a_look_at_every_event_gives_embedded() {
    on_stores_like("embedded:DIRECTORY", 20);
}

#[cfg(feature = "nats")]
#[test]
fn every_answer_is_what_a_look_at_every_event_gives_on_nats() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(config(4));
    runner
        .run(&history(), |history| {
            runtime.block_on(async {
                let (store, _) = crate::stores::open_on_nats().await;
                run(&store, history).await;
                store.close().await.unwrap();
            });
            Ok(())
        })
        .unwrap();
}
