//! Appends whose messages or answers are lost, late or contradicted: stored once, and never said
//! to have failed where they may not have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cim_store::{CommitId, Context, EventLogExt, ExpectedVersion, Resolution, Store, Version};
use cim_store_nats::NatsStore;
use futures_util::future::join_all;
use tokio::sync::Notify;

use crate::proxy::{self, Action, Message};
use crate::{
    NO_MESSAGE, append, append_as, events, first_append_as, fresh, id, limited_to, open,
    open_impatient, read, start, stream, told, within,
};

const NOT_ALLOWED: &str = r#"{"type":"io.nats.jetstream.api.v1.stream_msg_get_response","error":{"code":400,"err_code":10003,"description":"bad request"}}"#;

/// How long what must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

fn switch() -> Arc<AtomicBool> {
    Arc::default()
}

/// Whether the switch was on; it is off then.
fn take(switch: &AtomicBool) -> bool {
    switch.swap(false, Ordering::SeqCst)
}

/// A repetition of an append whose message is still under way is itself held where `held` says,
/// until that message has arrived.
async fn repeat_while_it_arrives(
    held: impl Fn(CommitId, &Message<'_>) -> bool + Send + Sync + 'static,
) {
    let (url, id) = (fresh(), id());
    let observer = open(&url).await;
    append(&observer, "1", "placed").await.unwrap();

    let late = Arc::new(Notify::new());
    let until = late.clone();
    let first_url = proxy::start(&url, move |message| {
        if message.is_event() {
            Action::Hold(until.clone())
        } else {
            Action::Pass
        }
    });
    let first = open_impatient(&first_url.await).await;

    let (reached, go_on, armed) = (Arc::new(Notify::new()), Arc::new(Notify::new()), switch());
    let (arrived, until, once) = (reached.clone(), go_on.clone(), armed.clone());
    let again_url = proxy::start(&url, move |message| {
        if held(id, message) && take(&once) {
            arrived.notify_one();
            return Action::Hold(until.clone());
        }
        Action::Pass
    });
    let again = open(&again_url.await).await;

    let ctx = limited_to(Duration::from_secs(1));
    let error = first.log().append(&ctx, first_append_as(id, "1")).await;
    assert_eq!(error.unwrap_err().unknown_commit(), Some(id));

    armed.store(true, Ordering::SeqCst);
    let repetition = tokio::spawn(async move {
        again
            .log()
            .append(&Context::new(), append_as(id, "1"))
            .await
    });
    within(PATIENCE, reached.notified()).await;
    late.notify_one();
    let arrives = async { while read(&observer, "1").await.unwrap().len() < 2 {} };
    within(PATIENCE, arrives).await;
    go_on.notify_one();

    let appended = repetition.await.unwrap().unwrap();
    let stored = read(&observer, "1").await.unwrap();
    assert_eq!(stored.len(), 2);
    assert_eq!(stored[1].commit_id, id);
    assert_eq!(appended.position, stored[1].position);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_arrives_before_its_repetition_reads_heads_is_stored_once() {
    repeat_while_it_arrives(|_, message| message.asks_for("cim.events.sales.order.1.>")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_arrives_before_its_repetition_looks_for_it_is_stored_once() {
    repeat_while_it_arrives(|id, message| message.asks_for(&id.as_uuid().simple().to_string()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_arrives_before_its_repetition_is_stored_once() {
    repeat_while_it_arrives(|_, message| message.is_event()).await;
}

/// A store whose next acknowledgement is lost, and whose next question who took the place is
/// answered as if nobody had, once the switches are on.
async fn with_stale_answers(url: &str) -> (NatsStore, Arc<AtomicBool>, Arc<AtomicBool>) {
    let (lose, lie) = (switch(), switch());
    let (losing, lying) = (lose.clone(), lie.clone());
    let url = proxy::start(url, move |message| {
        if message.is_ack() && take(&losing) {
            return Action::Lose;
        }
        // The place of one event, whatever its type.
        if message.asks_for("cim.events.sales.order.1.*.") && take(&lying) {
            return Action::Answer(NO_MESSAGE.into());
        }
        Action::Pass
    });
    (open_impatient(&url.await).await, lose, lie)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_answer_that_a_taken_place_is_empty_doubles_nothing() {
    let (store, lose, lie) = with_stale_answers(&fresh()).await;
    append(&store, "1", "placed").await.unwrap();
    lose.store(true, Ordering::SeqCst);
    lie.store(true, Ordering::SeqCst);
    let appended = append(&store, "1", "paid").await.unwrap();
    assert!(!lose.load(Ordering::SeqCst) && !lie.load(Ordering::SeqCst));
    assert_eq!(appended.heads[0].version, Version::new(2));
    assert_eq!(read(&store, "1").await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_answer_that_a_taken_place_is_empty_is_no_conflict() {
    let (store, lose, lie) = with_stale_answers(&fresh()).await;
    append(&store, "1", "placed").await.unwrap();
    lose.store(true, Ordering::SeqCst);
    lie.store(true, Ordering::SeqCst);
    let (log, ctx, name) = (store.log(), Context::new(), stream("1"));
    let exactly = ExpectedVersion::Exact(Version::new(1));
    let appended = log.append_to(&ctx, &name, exactly, events("paid", 1)).await;
    assert_eq!(appended.unwrap().heads[0].version, Version::new(2));
    assert!(!lose.load(Ordering::SeqCst) && !lie.load(Ordering::SeqCst));
    assert_eq!(read(&store, "1").await.unwrap().len(), 2);
}

/// No append is acknowledged, and every question after that ends as `answer` says. The append was
/// stored, as is found out later.
async fn stays_unknown(answer: impl Fn() -> Action + Send + Sync + 'static) {
    let (url, silent, asked) = (fresh(), switch(), switch());
    let (silence, question) = (silent.clone(), asked.clone());
    let proxied = proxy::start(&url, move |message| {
        if !silence.load(Ordering::SeqCst) {
            return Action::Pass;
        }
        if message.is_ack() {
            Action::Lose
        } else if message.asks_for("") {
            question.store(true, Ordering::SeqCst);
            answer()
        } else {
            Action::Pass
        }
    });
    let store = open_impatient(&proxied.await).await;
    append(&store, "1", "placed").await.unwrap();
    silent.store(true, Ordering::SeqCst);
    let (ctx, id) = (limited_to(Duration::from_secs(3)), id());
    let answer = store.log().append(&ctx, first_append_as(id, "1")).await;
    let error = answer.unwrap_err();
    assert_eq!(error.unknown_commit(), Some(id), "{}", told(&error));
    assert!(asked.load(Ordering::SeqCst), "it asked for its place");
    silent.store(false, Ordering::SeqCst);
    let resolution = store.log().resolve(&Context::new(), id).await.unwrap();
    assert!(matches!(resolution, Resolution::Committed(_)));
    assert_eq!(read(&store, "1").await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unanswered_append_stays_unknown_where_questions_are_unanswered_too() {
    stays_unknown(|| Action::Lose).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unanswered_append_stays_unknown_where_questions_are_refused() {
    stays_unknown(|| Action::Answer(NOT_ALLOWED.into())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unanswered_append_stays_unknown_where_answers_are_unreadable() {
    stays_unknown(|| Action::Answer("<html>".into())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_commits_of_several_events_at_once_are_all_stored() {
    const COMMITS: u64 = 1_500;
    let server = start();
    let store = open(&server.url()).await;
    let commits = (0..COMMITS).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let (name, new) = (stream(&number.to_string()), ExpectedVersion::NEW);
            let (log, ctx) = (store.log(), Context::new());
            log.append_to(&ctx, &name, new, events("placed", 3)).await
        })
    });
    for appended in join_all(commits.collect::<Vec<_>>()).await {
        appended.unwrap().unwrap_or_else(|e| panic!("{}", told(&e)));
    }
    let stats = store.log().stats(&Context::new()).await.unwrap();
    assert_eq!(stats.events, 3 * COMMITS);
}
