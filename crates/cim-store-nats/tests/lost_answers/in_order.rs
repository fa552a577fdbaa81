//! Many commits in one call: in their order, each as if it had been appended by itself, whatever
//! becomes of the batches that they go in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use cim_store::{
    Append, AppendedInOrder, CommitId, Context, CorrelationId, EventFilter, EventLog, EventLogExt,
    Examined, ExpectedVersion, LogQuery, NewEvent, OrderedAppend, Position, Principal,
    RecordedEvent, Resolution, SharedSettings, Store, StreamId, SubscriptionName, Version,
};
use cim_store_nats::NatsStore;
use futures_util::{StreamExt, TryStreamExt};

use crate::proxy::{self, Action};
use crate::{events, fresh, id, id_ahead, limited_to, open, open_impatient, stream, told};

fn alone(append: Append) -> OrderedAppend {
    OrderedAppend::new(Context::new(), append)
}

/// An id as histories of elsewhere have them: it says no time.
fn old_id(number: u64) -> CommitId {
    let mut bytes = [0x40; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    CommitId::from_bytes(bytes)
}

/// Commits of one event each, over a few streams in turn, that expect what those before them bring
/// about.
fn history(ids: impl IntoIterator<Item = CommitId>) -> Vec<OrderedAppend> {
    const STREAMS: u64 = 7;
    let commits = ids.into_iter().zip(0_u64..);
    let commits = commits.map(|(id, number)| {
        let (name, version) = (stream(&(number % STREAMS).to_string()), number / STREAMS);
        let event = NewEvent::json("placed", &number).unwrap();
        let append = Append::new().with_commit_id(id);
        alone(append.write(name, Version::new(version), vec![event]))
    });
    commits.collect()
}

async fn append(log: &dyn EventLog, commits: &[OrderedAppend]) -> AppendedInOrder {
    log.append_in_order(&Context::new(), commits.to_vec()).await
}

async fn log_of(store: &NatsStore) -> Vec<RecordedEvent> {
    let read = store
        .log()
        .read_log(&Context::new(), LogQuery::all())
        .await
        .unwrap_or_else(|error| panic!("{}", told(&error)));
    read.try_collect()
        .await
        .unwrap_or_else(|error| panic!("{}", told(&error)))
}

#[track_caller]
fn all_stored(done: &AppendedInOrder, count: usize) {
    if let Some(error) = &done.error {
        panic!("after {}: {}", done.appended.len(), told(error));
    }
    assert_eq!(done.appended.len(), count);
}

/// What is stored is what was asked for: the commits in this order, and the results say where.
async fn is_stored_once(store: &NatsStore, commits: &[OrderedAppend], done: &AppendedInOrder) {
    all_stored(done, commits.len());
    let stored = log_of(store).await;
    let asked: Vec<_> = commits
        .iter()
        .map(|commit| commit.append.commit_id)
        .collect();
    let found: Vec<_> = stored.iter().map(|event| Some(event.commit_id)).collect();
    assert_eq!(found, asked);
    for (event, appended) in stored.iter().zip(&done.appended) {
        assert_eq!(appended.position, event.position);
        assert_eq!(appended.commit_id, event.commit_id);
        assert_eq!(appended.heads.len(), 1);
        assert_eq!(appended.heads[0].position, event.position);
        assert_eq!(appended.heads[0].version, event.version);
        assert_eq!(appended.heads[0].cid, event.cid);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_commits_take_few_requests_and_build_on_each_other() {
    let store = open(&fresh()).await;
    let commits = history((0..2_500).map(old_id));
    let before = store.requests_sent();
    let done = append(&*store.log(), &commits).await;
    let requests = store.requests_sent() - before;
    assert!(requests < 30, "{requests} requests");
    is_stored_once(&store, &commits, &done).await;
    let head = store.log().head(&Context::new(), &stream("1")).await;
    assert_eq!(head.unwrap().unwrap().version, Version::new(357));
    for number in [0, 7, 499, 500, 2_499] {
        let found = store.log().resolve(&Context::new(), old_id(number)).await;
        let expected = done.appended[number as usize].clone();
        assert_eq!(found.unwrap(), Resolution::Committed(expected));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_of_all_shapes_go_together_and_are_read_whole() {
    let url = fresh();
    let store = open(&url).await;
    let log = store.log();
    let (a, b, c) = (stream("a"), stream("b"), stream("c"));
    let version = Version::new;
    let principal = |name: &str| Context::new().with_principal(Principal::new(name).unwrap());
    let correlation = CorrelationId::from_bytes([7; 16]);
    let commits = vec![
        // Several events, marked.
        alone(Append::new().with_commit_id(old_id(1)).write(
            a.clone(),
            version(0),
            events("placed", 3),
        )),
        // Two streams, a check that an event carries, and one that needs a carrier.
        OrderedAppend::new(
            principal("anna").with_correlation_id(correlation),
            Append::new()
                .with_commit_id(old_id(2))
                .write(b.clone(), version(0), events("placed", 2))
                .check(a.clone(), version(3))
                .check(c.clone(), version(0)),
        ),
        // A fresh id: no mark.
        OrderedAppend::new(
            principal("bert"),
            Append::new().write(c.clone(), ExpectedVersion::Any, events("placed", 2)),
        ),
        // Only a check, between the others.
        alone(
            Append::new()
                .with_commit_id(old_id(4))
                .check(c.clone(), version(2)),
        ),
        alone(
            Append::new()
                .with_commit_id(id())
                .write(a.clone(), ExpectedVersion::Exists, events("paid", 1))
                .write(c.clone(), version(2), events("paid", 1)),
        ),
        // As many events as a batch has messages.
        alone(Append::new().with_commit_id(old_id(6)).write(
            b.clone(),
            version(2),
            events("paid", 1_000),
        )),
        alone(Append::new().with_commit_id(old_id(7)).write(
            b.clone(),
            version(1_002),
            events("sent", 2),
        )),
        alone(Append::new().with_commit_id(old_id(8)).write(
            b.clone(),
            version(1_004),
            events("sent", 1),
        )),
    ];
    let done = append(&*log, &commits).await;
    all_stored(&done, commits.len());
    assert_eq!(done.appended[3].position, Position::NONE);
    let stored = log_of(&store).await;
    let commits_of: Vec<CommitId> = stored.iter().map(|event| event.commit_id).collect();
    let mut expected = Vec::new();
    for (commit, appended) in commits.iter().zip(&done.appended) {
        expected.extend(vec![appended.commit_id; commit.append.event_count()]);
    }
    assert_eq!(commits_of, expected);
    let second: Vec<_> = stored.iter().filter(|e| e.commit_id == old_id(2)).collect();
    assert!(second.iter().all(|event| {
        event.principal.as_ref().map(Principal::as_str) == Some("anna")
            && event.correlation_id == Some(correlation)
            && event.commit_count == 2
    }));
    for (commit, appended) in commits.iter().zip(&done.appended) {
        if commit.append.event_count() == 0 {
            continue;
        }
        let found = log.resolve(&Context::new(), appended.commit_id).await;
        assert_eq!(found.unwrap(), Resolution::Committed(appended.clone()));
    }
    let stats = log.stats(&Context::new()).await.unwrap();
    assert_eq!((stats.events, stats.streams), (stored.len() as u64, 3));

    // Whoever follows, and whoever reads a stream, gets the same; nobody finds anything wrong.
    let (other, ctx) = (open(&url).await, Context::new());
    let followed = other.log();
    let followed = followed.subscribe(&ctx, EventFilter::all(), Position::NONE);
    let followed = followed.await.unwrap().take(stored.len());
    let followed: Vec<_> = followed.try_collect().await.unwrap();
    assert!(followed == stored);
    for name in [a, b, c] {
        let read = other.log().read_all(&ctx, &name).await.unwrap();
        let of_stream = stored.iter().filter(|event| event.stream == name);
        assert!(read.iter().eq(of_stream), "{name}");
    }
    let examined = other.log().examine(&ctx, Position::NONE).await.unwrap();
    let examined: Vec<_> = examined.try_collect().await.unwrap();
    let all = stored.iter().map(|event| Examined::Event(event.into()));
    assert!(examined.into_iter().eq(all));
    let shared = other.shared_subscriptions().unwrap();
    let member = SubscriptionName::new("readers").unwrap();
    let mut deliveries = shared
        .join(&ctx, &member, SharedSettings::default())
        .await
        .unwrap();
    for event in &stored[..10] {
        let delivery = deliveries.next().await.unwrap().unwrap();
        assert_eq!(delivery.event, *event);
        delivery.acknowledge().await.unwrap();
    }
    let health = other.health(&ctx).await.unwrap();
    assert!(health.is_healthy(), "{:?}", health.findings);
}

/// The commits from `at` on can't be stored, because somebody else was there.
async fn ends_with_a_conflict(commits: usize, at: usize, taken: &str) {
    let url = fresh();
    let (store, other) = (open(&url).await, open(&url).await);
    let commits = history((0..commits as u64).map(old_id));
    // The stream that the commit `at` writes is further than it expects, and nobody knows here.
    let name: StreamId = stream(taken);
    let expected = commits[at].append.writes[0].expected;
    assert_eq!(commits[at].append.writes[0].stream, name);
    let ExpectedVersion::Exact(version) = expected else {
        panic!("{expected}");
    };
    let first = append(&*store.log(), &commits[..at]).await;
    all_stored(&first, at);
    let intruder = Append::new().write(name.clone(), version, events("intruded", 1));
    other.log().append(&Context::new(), intruder).await.unwrap();

    let done = append(&*store.log(), &commits[at - 3..]).await;
    assert_eq!(done.appended, first.appended[at - 3..], "repetitions");
    let error = done.error.unwrap();
    assert!(error.is_conflict(), "{}", told(&error));
    let stored = log_of(&store).await;
    assert_eq!(stored.len(), at + 1, "nothing behind it is stored");
    assert_eq!(
        store
            .log()
            .resolve(&Context::new(), old_id(at as u64))
            .await
            .unwrap(),
        Resolution::NotCommitted
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_in_the_middle_ends_it_there() {
    ends_with_a_conflict(100, 40, "5").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_that_the_head_is_known_for_ends_it_there() {
    let store = open(&fresh()).await;
    let mut commits = history((0..60).map(old_id));
    commits[33].append.writes[0].expected = ExpectedVersion::Exact(Version::new(3));
    let done = append(&*store.log(), &commits).await;
    assert_eq!(done.appended.len(), 33);
    assert!(done.error.unwrap().is_conflict());
    assert_eq!(log_of(&store).await.len(), 33);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_were_stored_before_are_not_stored_again_marked_or_not() {
    let url = fresh();
    let store = open(&url).await;
    // Ids that say the present time, which were fresh when they were stored: without marks.
    let ids: Vec<CommitId> = (0..40).map(|_| id()).collect();
    let commits = history(ids);
    let first: Vec<OrderedAppend> = commits
        .iter()
        .cloned()
        .map(|mut commit| {
            commit.append.fresh = true;
            commit
        })
        .collect();
    let stored = append(&*store.log(), &first[..25]).await;
    all_stored(&stored, 25);
    // By another process, which knows of nothing, and expects whatever there is.
    let again: Vec<OrderedAppend> = commits
        .iter()
        .cloned()
        .map(|mut commit| {
            commit.append.writes[0].expected = ExpectedVersion::Any;
            commit
        })
        .collect();
    let other = open(&url).await;
    let done = append(&*other.log(), &again).await;
    assert_eq!(done.appended[..25], stored.appended);
    is_stored_once(&other, &commits, &done).await;
    let third = append(&*store.log(), &again).await;
    assert_eq!(third.appended, done.appended);
    assert_eq!(log_of(&store).await.len(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_comes_twice_in_a_call_is_a_repetition() {
    let store = open(&fresh()).await;
    let mut commits = history((0..20).map(old_id));
    for commit in &mut commits {
        commit.append.writes[0].expected = ExpectedVersion::Any;
    }
    let twice = commits[4].clone();
    commits.insert(11, twice);
    let done = append(&*store.log(), &commits).await;
    all_stored(&done, 21);
    assert_eq!(done.appended[11], done.appended[4]);
    assert_eq!(log_of(&store).await.len(), 20);
}

/// The answer to a batch is lost once; the commits' ids are these.
async fn after_a_lost_answer(ids: Vec<CommitId>, are_fresh: bool) {
    let url = fresh();
    let lose = Arc::new(AtomicBool::new(false));
    let losing = lose.clone();
    let proxied = proxy::start(&url, move |message| {
        if message.is_ack() && losing.swap(false, Ordering::SeqCst) {
            return Action::Lose;
        }
        Action::Pass
    });
    let store = open_impatient(&proxied.await).await;
    let mut commits = history(ids);
    for commit in &mut commits {
        commit.append.fresh = are_fresh;
    }
    lose.store(true, Ordering::SeqCst);
    let done = append(&*store.log(), &commits).await;
    assert!(!lose.load(Ordering::SeqCst), "an answer was lost");
    is_stored_once(&open(&url).await, &commits, &done).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_answer_is_lost_is_found_by_its_marks() {
    after_a_lost_answer((0..60).map(old_id).collect(), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_fresh_commits_whose_answer_is_lost_is_found_by_its_places() {
    after_a_lost_answer((0..60).map(|_| id()).collect(), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_answer_is_lost_is_found_though_its_ids_are_ahead_of_time() {
    let ahead = || id_ahead(Duration::from_secs(3_600));
    after_a_lost_answer((0..20).map(|_| ahead()).collect(), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_arrives_after_its_commits_were_sent_one_by_one_is_stored_once() {
    let url = fresh();
    let late = Arc::new(tokio::sync::Notify::new());
    let (until, holding) = (late.clone(), Arc::new(AtomicBool::new(true)));
    let held = holding.clone();
    // The connection stops in the middle of the batch, with all that comes behind it.
    let proxied = proxy::start(&url, move |message| {
        if message.is_event()
            && message.body.contains("Nats-Batch-Commit")
            && held.swap(false, Ordering::SeqCst)
        {
            return Action::Hold(until.clone());
        }
        Action::Pass
    });
    let store = open_impatient(&proxied.await).await;
    let commits = history((0..30).map(old_id));
    let deadline = limited_to(Duration::from_secs(2));
    let done = store
        .log()
        .append_in_order(&deadline, commits.clone())
        .await;
    assert!(!holding.load(Ordering::SeqCst), "it was held");
    let error = done.error.unwrap();
    assert!(done.appended.is_empty());
    assert_eq!(error.unknown_commit(), Some(old_id(0)), "{}", told(&error));

    // Somebody else imports the same, while the rest of the batch is still under way.
    let other = open(&url).await;
    let now = append(&*other.log(), &commits).await;
    late.notify_one();
    is_stored_once(&other, &commits, &now).await;
    let again = append(&*store.log(), &commits).await;
    assert_eq!(again.appended, now.appended);
    is_stored_once(&other, &commits, &again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_said_of_a_batch_is_unknown_and_never_said_to_be_refused() {
    let url = fresh();
    let silent = Arc::new(AtomicBool::new(false));
    let (silence, lost) = (silent.clone(), AtomicBool::new(false));
    // No acknowledgement comes, and no question after the first of them has an answer.
    let proxied = proxy::start(&url, move |message| {
        if !silence.load(Ordering::SeqCst) {
            return Action::Pass;
        }
        if message.is_ack() {
            lost.store(true, Ordering::SeqCst);
            return Action::Lose;
        }
        if lost.load(Ordering::SeqCst) && message.asks_for("") {
            return Action::Lose;
        }
        Action::Pass
    });
    let store = open_impatient(&proxied.await).await;
    let commits = history((0..30).map(|_| id()));
    all_stored(&append(&*store.log(), &commits[..10]).await, 10);
    silent.store(true, Ordering::SeqCst);
    let ctx = limited_to(Duration::from_secs(2));
    let rest = commits[10..].to_vec();
    let done = store.log().append_in_order(&ctx, rest.clone()).await;
    assert!(done.appended.is_empty());
    let error = done.error.unwrap();
    let first = rest[0].append.commit_id;
    assert_eq!(error.unknown_commit(), first, "{}", told(&error));
    silent.store(false, Ordering::SeqCst);
    // It was stored, all of it, and is not stored again.
    for commit in &rest {
        let id = commit.append.commit_id.unwrap();
        let found = store.log().resolve(&Context::new(), id).await.unwrap();
        assert!(matches!(found, Resolution::Committed(_)), "{id}");
    }
    let done = append(&*store.log(), &commits).await;
    is_stored_once(&store, &commits, &done).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_busy_for_a_while_are_asked_again() {
    const TOO_MANY: &str = r#"{"error":{"code":429,"err_code":10210,"description":"batch publish too many inflight"},"stream":"EVENTS","seq":0}"#;
    let (url, refused) = (fresh(), Arc::new(AtomicU32::new(0)));
    let counted = refused.clone();
    let proxied = proxy::start(&url, move |message| {
        let ends_batch = message.is_event() && message.body.contains("Nats-Batch-Commit");
        if ends_batch && counted.fetch_add(1, Ordering::SeqCst) < 3 {
            return Action::Answer(TOO_MANY.into());
        }
        Action::Pass
    });
    let store = open(&proxied.await).await;
    let commits = history((0..50).map(old_id));
    let done = append(&*store.log(), &commits).await;
    assert_eq!(refused.load(Ordering::SeqCst), 4);
    is_stored_once(&store, &commits, &done).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_import_the_same_at_once_store_it_once() {
    let url = fresh();
    let (one, two) = (open(&url).await, open(&url).await);
    let commits = history((0..300).map(old_id));
    let (one_done, two_done) = tokio::join!(async { append(&*one.log(), &commits).await }, async {
        append(&*two.log(), &commits).await
    },);
    is_stored_once(&one, &commits, &one_done).await;
    is_stored_once(&two, &commits, &two_done).await;
}
