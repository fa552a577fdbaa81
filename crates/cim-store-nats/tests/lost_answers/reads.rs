//! Reads whose answers are lost, or that meet what somebody else wrote into the log: everything is
//! given, or an error that says why not.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cim_conformance::nats_server::{ServerSettings, TestCluster};
use cim_store::{
    Append, Context, Direction, EventFilter, EventLogError, EventType, ExpectedVersion, Fault,
    LogQuery, NewEvent, Position, RecordedEvent, Resolution, Store, StreamRange,
};
use cim_store_nats::{NatsSettings, NatsStore};
use data_encoding::BASE64;
use futures_util::TryStreamExt;
use serde_json::{Value, json};

use crate::proxy::{self, Action};
use crate::{
    LOG, NO_MESSAGE, QUICK, append, append_as, client, first_append_as, fresh, id, id_ahead,
    is_damage, limited_to, open, open_impatient, read, stream, told, within,
};

/// A store that never hears of a consumer that was made, once the switch is on; then it is off.
async fn with_lost_consumers(url: &str) -> (NatsStore, Arc<AtomicBool>) {
    let lose = Arc::<AtomicBool>::default();
    let losing = lose.clone();
    let url = proxy::start(url, move |message| {
        let made = !message.to_server && message.body.contains("consumer_create_response");
        if made && losing.swap(false, Ordering::SeqCst) {
            Action::Lose
        } else {
            Action::Pass
        }
    });
    (open_impatient(&url.await).await, lose)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_of_the_log_whose_consumer_is_not_heard_of_gives_everything() {
    let (store, lose) = with_lost_consumers(&fresh()).await;
    for event_type in ["placed", "paid"] {
        append(&store, "1", event_type).await.unwrap();
    }
    lose.store(true, Ordering::SeqCst);
    let placed = EventFilter::all().of_type(EventType::new("placed").unwrap());
    let query = LogQuery::all().filter(placed);
    let events = store.log().read_log(&Context::new(), query).await.unwrap();
    let events: Vec<_> = events.try_collect().await.unwrap();
    let positions: Vec<_> = events.iter().map(|event| event.position.get()).collect();
    assert_eq!(positions, [1]);
    assert!(!lose.load(Ordering::SeqCst), "a consumer was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_found_and_not_repeated_where_the_consumer_is_not_heard_of() {
    let (url, id) = (fresh(), id());
    let writer = open(&url).await;
    let (log, ctx) = (writer.log(), Context::new());
    let appended = log.append(&ctx, first_append_as(id, "1")).await.unwrap();
    append(&writer, "1", "placed").await.unwrap();

    let (store, lose) = with_lost_consumers(&url).await;
    lose.store(true, Ordering::SeqCst);
    let resolution = store.log().resolve(&ctx, id).await.unwrap();
    let Resolution::Committed(found) = resolution else {
        panic!("{resolution:?}");
    };
    assert_eq!(found.position, appended.position);
    assert!(!lose.load(Ordering::SeqCst), "a consumer was made");

    lose.store(true, Ordering::SeqCst);
    let repeated = store.log().append(&ctx, append_as(id, "1")).await.unwrap();
    assert_eq!(repeated.position, appended.position);
    assert!(!lose.load(Ordering::SeqCst), "a consumer was made");
    assert_eq!(read(&store, "1").await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_quiet_cluster_an_unknown_commit_is_unknown_at_once() {
    let cluster = TestCluster::start(ServerSettings::new()).unwrap_or_else(|e| panic!("{e}"));
    let settings = NatsSettings::default().with_replicas(3);
    let store = NatsStore::open(&cluster.url(), settings).await.unwrap();
    append(&store, "1", "placed").await.unwrap();
    let (log, ctx) = (store.log(), Context::new());
    // Behind the first time nothing stands where the commit would, behind the second one all does.
    for ahead in [Duration::from_secs(300), Duration::ZERO] {
        let resolution = within(QUICK, log.resolve(&ctx, id_ahead(ahead))).await;
        let resolution = resolution.unwrap_or_else(|e| panic!("{}", told(&e)));
        assert!(!matches!(resolution, Resolution::Committed(_)));
    }
}

/// Stores a message of one log in another one, as it is.
async fn copy(sequence: u64, from: &async_nats::Client, to: &async_nats::Client) {
    let call = format!("$JS.API.STREAM.MSG.GET.{LOG}");
    let body = json!({ "seq": sequence }).to_string();
    let answer = from.request(call, body.into()).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    let part = |name: &str| answer["message"][name].as_str().unwrap().to_owned();
    let bytes = |name: &str| BASE64.decode(part(name).as_bytes()).unwrap();
    let mut headers = async_nats::HeaderMap::new();
    for line in String::from_utf8(bytes("hdrs")).unwrap().lines().skip(1) {
        if let Some((name, value)) = line.split_once(':')
            && !name.starts_with("Nats-")
        {
            headers.append(name, value.trim());
        }
    }
    let stored = to.request_with_headers(part("subject"), headers, bytes("data").into());
    stored.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_with_two_last_events_is_damage_in_both_directions() {
    let (url, other_url) = (fresh(), fresh());
    let (store, other) = (open(&url).await, open(&other_url).await);
    let (at, at_other) = (client(&url).await, client(&other_url).await);
    // Both logs have the same first event, and go on from it in different ways.
    append(&store, "1", "placed").await.unwrap();
    copy(1, &at, &at_other).await;
    append(&store, "1", "placed").await.unwrap();
    append(&other, "1", "paid").await.unwrap();
    copy(2, &at_other, &at).await;

    let store = open(&url).await;
    let (log, ctx, name) = (store.log(), Context::new(), stream("1"));
    for direction in [Direction::Forwards, Direction::Backwards] {
        let mut range = StreamRange::all();
        range.direction = direction;
        let events = log.read_stream(&ctx, &name, range);
        is_damage(match events.await {
            Ok(events) => events.try_collect::<Vec<_>>().await,
            Err(error) => Err(error),
        });
    }
    is_damage(read(&store, "1").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_that_leads_nowhere_is_damage() {
    let url = fresh();
    let store = open(&url).await;
    append(&store, "1", "placed").await.unwrap();
    let other = client(&url).await;
    let most = u64::MAX.to_string();
    for distance in [&most[..], "18446744073709551616", "1000000", "0", "-1", ""] {
        let id = id();
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Cim-Commit-Distance", distance);
        let subject = format!("cim.commits.{}", id.as_uuid().simple());
        let stored = other.request_with_headers(subject, headers, "".into());
        stored.await.unwrap();
        is_damage(store.log().resolve(&Context::new(), id).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_make_no_subject_are_invalid_at_once() {
    let url = fresh();
    let (domain, inbox) = (
        |domain: &str| NatsSettings::default().with_domain(domain),
        |prefix: &str| NatsSettings::default().with_inbox_prefix(prefix),
    );
    for settings in [
        domain("a b"),
        domain("a\r\nPUB x 0\r\n\r\n"),
        domain(""),
        domain("a.b"),
        domain(">"),
        inbox("a b"),
        inbox("a.*"),
        inbox(""),
    ] {
        let text = format!("{settings:?}");
        let error = within(QUICK, NatsStore::open(&url, settings)).await;
        let error = error.err().unwrap_or_else(|| panic!("opened: {text}"));
        assert_eq!(error.fault(), Some(Fault::Invalid), "{text}: {error}");
    }
}

/// What a replica says that has no such message.
const NOT_THERE: &str = "NATS/1.0 404 Message Not Found\r\n\r\n";

/// A store behind a replica that has nothing yet. So often its leader, too, says that it has no
/// third message. Three are stored: one commit of one event, then one of two.
async fn behind_a_replica_without_anything(lies: u32) -> NatsStore {
    let url = fresh();
    let left = AtomicU32::new(lies);
    let proxied = proxy::start(&url, move |message| {
        if message.to_server && message.subject.contains("DIRECT.GET") {
            return Action::Answer(NOT_THERE.into());
        }
        let one_less = |left: u32| left.checked_sub(1);
        let lies = message.asks_for("\"seq\":3")
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
                .is_ok();
        if lies {
            return Action::Answer(NO_MESSAGE.into());
        }
        Action::Pass
    });
    let store = open(&url).await;
    append(&store, "1", "placed").await.unwrap();
    let event = || NewEvent::json("paid", &1).unwrap();
    let both = Append::new().write(stream("2"), ExpectedVersion::NEW, vec![event(), event()]);
    store.log().append(&Context::new(), both).await.unwrap();
    store.close().await.unwrap();
    open_impatient(&proxied.await).await
}

async fn read_at(
    store: &NatsStore,
    positions: &[u64],
) -> Result<Vec<RecordedEvent>, EventLogError> {
    let positions: Vec<_> = positions.iter().copied().map(Position::new).collect();
    store.log().read_at(&Context::new(), &positions).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_has_the_events_that_a_replica_does_not_have_yet() {
    let store = behind_a_replica_without_anything(0).await;
    let events = read_at(&store, &[2, 1, 3]).await.unwrap();
    let found: Vec<_> = events.iter().map(|event| event.position.get()).collect();
    assert_eq!(found, [2, 1, 3]);
    // Also where only the end of a commit has to be looked at.
    assert_eq!(read_at(&store, &[2]).await.unwrap(), events[..1]);
    let error = read_at(&store, &[1, 4]).await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::NotFound), "{}", told(&error));
    assert!(told(&error).contains("position: 4"), "{}", told(&error));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_the_leader_is_not_believed_that_an_event_is_not_there() {
    for wanted in [[3], [2]] {
        let store = behind_a_replica_without_anything(1).await;
        assert_eq!(read_at(&store, &wanted).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_the_server_lost_is_damage_at_its_position() {
    let store = behind_a_replica_without_anything(u32::MAX).await;
    assert_eq!(read_at(&store, &[1]).await.unwrap().len(), 1);
    is_damage(read_at(&store, &[3]).await);
    // Its commit is not whole without it.
    is_damage(read_at(&store, &[2]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_whose_answer_is_lost_are_asked_for_again() {
    let (url, lost) = (fresh(), AtomicU32::new(0));
    let proxied = proxy::start(&url, move |message| {
        let asks = message.to_server && message.subject.contains("DIRECT.GET");
        if asks && lost.fetch_add(1, Ordering::SeqCst) % 2 == 0 {
            Action::Lose
        } else {
            Action::Pass
        }
    });
    let store = open_impatient(&proxied.await).await;
    for _ in 0..3 {
        append(&store, "1", "placed").await.unwrap();
    }
    assert_eq!(read_at(&store, &[3, 1, 2]).await.unwrap().len(), 3);
}

async fn read_log_after(
    store: &NatsStore,
    position: u64,
    filter: EventFilter,
) -> Result<Vec<u64>, EventLogError> {
    let query = LogQuery::all()
        .after(Position::new(position))
        .filter(filter);
    let events = store.log().read_log(&Context::new(), query).await?;
    let events: Vec<_> = events.try_collect().await?;
    Ok(events.iter().map(|event| event.position.get()).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_all_but_the_last_event_gets_it_with_one_question() {
    let (url, asked) = (fresh(), Arc::<AtomicU32>::default());
    let counting = asked.clone();
    let proxied = proxy::start(&url, move |message| {
        if message.to_server && message.subject.starts_with("$JS.API.") {
            counting.fetch_add(1, Ordering::SeqCst);
        }
        Action::Pass
    });
    let store = open(&proxied.await).await;
    for _ in 0..3 {
        append(&store, "1", "placed").await.unwrap();
    }
    let paid = EventFilter::all().of_type(EventType::new("paid").unwrap());
    let all = EventFilter::all;
    let expected: [(_, _, &[u64]); 3] = [(2, all(), &[3]), (2, paid, &[]), (3, all(), &[])];
    for (after, filter, found) in expected {
        asked.store(0, Ordering::SeqCst);
        assert_eq!(read_log_after(&store, after, filter).await.unwrap(), found);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
    let rest = read_log_after(&store, 1, all()).await.unwrap();
    assert_eq!(rest, [2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_new_events_are_got_with_a_question_each_and_no_consumer() {
    let (url, asked) = (fresh(), Arc::<Mutex<Vec<String>>>::default());
    let noting = asked.clone();
    let proxied = proxy::start(&url, move |message| {
        if message.to_server && message.subject.starts_with("$JS.API.") {
            noting.lock().unwrap().push(message.subject.to_owned());
        }
        Action::Pass
    });
    let store = open(&proxied.await).await;
    append(&store, "1", "placed").await.unwrap();
    let event = |event_type| NewEvent::json(event_type, &1).unwrap();
    let both = vec![event("paid"), event("sent")];
    let both = Append::new().write(stream("2"), ExpectedVersion::NEW, both);
    store.log().append(&Context::new(), both).await.unwrap();
    append(&store, "1", "paid").await.unwrap();
    let paid = EventFilter::all().of_type(EventType::new("paid").unwrap());
    // From the middle of a commit, too.
    let expected: [(_, _, &[u64]); 3] = [
        (1, EventFilter::all(), &[2, 3, 4]),
        (2, EventFilter::all(), &[3, 4]),
        (1, paid, &[2, 4]),
    ];
    for (after, filter, found) in expected {
        asked.lock().unwrap().clear();
        assert_eq!(read_log_after(&store, after, filter).await.unwrap(), found);
        let asked = std::mem::take(&mut *asked.lock().unwrap());
        let others = asked[1..].iter().all(|one| one.contains("DIRECT.GET"));
        assert!(others && asked.len() == 4 - after as usize, "{asked:?}");
    }
    let first = LogQuery::all().after(Position::new(1)).limit(1);
    let first = store.log().read_log(&Context::new(), first).await.unwrap();
    assert_eq!(first.try_collect::<Vec<_>>().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_events_that_a_replica_does_not_have_yet_come_from_the_leader() {
    let store = behind_a_replica_without_anything(0).await;
    let found = read_log_after(&store, 1, EventFilter::all()).await;
    assert_eq!(found.unwrap(), [2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_event_that_the_server_lost_is_damage() {
    let store = behind_a_replica_without_anything(u32::MAX).await;
    append(&store, "3", "placed").await.unwrap();
    is_damage(read_log_after(&store, 1, EventFilter::all()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_a_commit_at_the_end_of_the_log_is_damage() {
    let (url, other_url) = (fresh(), fresh());
    let (store, other) = (open(&url).await, open(&other_url).await);
    append(&store, "1", "placed").await.unwrap();
    let event = || NewEvent::json("paid", &1).unwrap();
    let both = Append::new().write(stream("2"), ExpectedVersion::NEW, vec![event(), event()]);
    let ctx = Context::new();
    let appended = other.log().append(&ctx, both).await.unwrap();
    let first = appended.position.get() - 1;
    copy(first, &client(&other_url).await, &client(&url).await).await;
    is_damage(read_log_after(&store, 1, EventFilter::all()).await);
}

/// A store behind a server that says so often that the log is empty, which two events are stored in.
async fn behind_an_old_leader(lies: u32) -> NatsStore {
    let (url, left) = (fresh(), AtomicU32::new(lies));
    let proxied = proxy::start(&url, move |message| {
        let one_less = |left: u32| left.checked_sub(1);
        let lies = message.asks_for(r#""last_by_subj":">""#)
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
                .is_ok();
        if lies {
            return Action::Answer(NO_MESSAGE.into());
        }
        Action::Pass
    });
    let store = open(&proxied.await).await;
    for _ in 0..2 {
        append(&store, "1", "placed").await.unwrap();
    }
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_the_leader_is_not_believed_that_nothing_is_new() {
    let store = behind_an_old_leader(2).await;
    let found = read_log_after(&store, 1, EventFilter::all()).await;
    assert_eq!(found.unwrap(), [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_the_leader_is_not_believed_that_the_log_ends_earlier() {
    let store = behind_an_old_leader(2).await;
    let found = read_log_after(&store, 0, EventFilter::all()).await;
    assert_eq!(found.unwrap(), [1, 2]);
    let store = behind_an_old_leader(u32::MAX).await;
    is_damage(read_log_after(&store, 0, EventFilter::all()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_stays_shorter_than_it_was_is_damage_for_who_asks_what_is_new() {
    let store = behind_an_old_leader(u32::MAX).await;
    let query = LogQuery::all().after(Position::new(1));
    let hurried = limited_to(Duration::from_millis(200));
    let Err(error) = store.log().read_log(&hurried, query).await else {
        panic!("an old leader was believed")
    };
    assert_eq!(error.fault(), Some(Fault::Unavailable), "{}", told(&error));
    is_damage(read_log_after(&store, 1, EventFilter::all()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_nobody_answers_are_given_up_at_once_when_the_store_is_closed() {
    let (url, asked) = (fresh(), Arc::new(tokio::sync::Notify::new()));
    let heard = asked.clone();
    let proxied = proxy::start(&url, move |message| {
        if message.to_server && message.subject.contains("DIRECT.GET") {
            heard.notify_one();
            return Action::Lose;
        }
        Action::Pass
    });
    let store = open(&proxied.await).await;
    for _ in 0..2 {
        append(&store, "1", "placed").await.unwrap();
    }
    let closing = async {
        asked.notified().await;
        store.close().await
    };
    let (found, closed) = within(QUICK, async {
        tokio::join!(read_at(&store, &[1, 2]), closing)
    })
    .await;
    closed.unwrap();
    let error = found.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Closed), "{}", told(&error));
    assert_eq!(
        read_at(&store, &[1]).await.unwrap_err().fault(),
        Some(Fault::Closed)
    );
}
