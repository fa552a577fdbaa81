//! What an examination hands out of a log that somebody changed behind the store's back: what is
//! there, as it stands there, and where something is missing. It is done on copies, made message by
//! message.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use cim_conformance::nats_server::{ServerSettings, TestCluster, TestServer};
use cim_store::{
    Append, BucketSettings, CommitId, Context, Damage, EventCid, EventLogError, EventLogExt,
    Examined, ExaminedEvent, ExpectedVersion, Fault, LogQuery, Metadata, NewEvent, OrderedAppend,
    Position, Store, StreamId, SystemClock, Version,
};
use cim_store_nats::{NatsSettings, NatsStore};
use futures_util::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

/// The name of the log's JetStream stream.
const LOG: &str = NatsSettings::STREAM;

/// The URL of an account that nobody else has, on a server that all tests share.
fn fresh() -> String {
    static SERVER: OnceLock<TestServer> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let settings = ServerSettings::new().accounts(40);
        TestServer::start(settings).unwrap_or_else(|error| panic!("{error}"))
    });
    server.url_of(server.next_account().unwrap())
}

async fn open(url: &str) -> NatsStore {
    NatsStore::open(url, NatsSettings::default()).await.unwrap()
}

async fn client(url: &str) -> Client {
    let server: async_nats::ServerAddr = url.split(',').next().unwrap().parse().unwrap();
    let user = server.username().unwrap().to_owned();
    let password = server.password().unwrap().to_owned();
    let options = async_nats::ConnectOptions::new().user_and_password(user, password);
    options.connect(server).await.unwrap()
}

async fn api(client: &Client, call: &str, body: &Value) -> Value {
    let body = serde_json::to_vec(body).unwrap();
    let answer = client.request(format!("$JS.API.{call}"), body.into()).await;
    let answer: Value = serde_json::from_slice(&answer.unwrap().payload).unwrap();
    assert_eq!(answer["error"], Value::Null, "{call}");
    answer
}

fn stream(id: &str) -> StreamId {
    StreamId::new("sales", "order", id).unwrap()
}

fn events(count: usize) -> Vec<NewEvent> {
    let event = |number| NewEvent::json("placed", &json!({ "number": number })).unwrap();
    (0..count).map(event).collect()
}

async fn append(store: &NatsStore, id: &str, count: usize) {
    let (log, ctx, any) = (store.log(), Context::new(), ExpectedVersion::Any);
    log.append_to(&ctx, &stream(id), any, events(count))
        .await
        .unwrap();
}

async fn examine_from(store: &NatsStore, after: u64) -> Vec<Examined> {
    let ctx = Context::new().with_timeout(&SystemClock, Duration::from_secs(60));
    let examined = store.log().examine(&ctx, Position::new(after)).await;
    examined.unwrap().try_collect().await.unwrap()
}

async fn examine(store: &NatsStore) -> Vec<Examined> {
    examine_from(store, 0).await
}

/// One message of a log.
#[derive(Clone, Debug)]
struct Message {
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
}

impl Message {
    fn set(&mut self, name: &str, value: &str) {
        assert!(self.headers.get(name).is_some(), "{name}");
        self.headers.insert(name, value);
    }
}

/// All messages of a log.
async fn messages(url: &str) -> Vec<Message> {
    let client = client(url).await;
    let info = api(&client, &format!("STREAM.INFO.{LOG}"), &json!({})).await;
    let mut messages = Vec::new();
    for seq in 1..=info["state"]["last_seq"].as_u64().unwrap() {
        let call = format!("STREAM.MSG.GET.{LOG}");
        let answer = api(&client, &call, &json!({ "seq": seq })).await;
        let message = &answer["message"];
        let decode = |name: &str| {
            let text = message[name].as_str().unwrap_or_default();
            data_encoding::BASE64.decode(text.as_bytes()).unwrap()
        };
        let mut headers = HeaderMap::new();
        let text = String::from_utf8(decode("hdrs")).unwrap();
        for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
            // A copy is published by itself, and unguarded.
            if !name.starts_with("Nats-") {
                headers.insert(name, value.trim());
            }
        }
        messages.push(Message {
            subject: message["subject"].as_str().unwrap().to_owned(),
            headers,
            payload: decode("data").into(),
        });
    }
    messages
}

/// A log of these messages.
async fn copy(messages: &[Message]) -> (String, NatsStore) {
    let url = fresh();
    let store = open(&url).await;
    publish(&client(&url).await, messages).await;
    (url, store)
}

async fn publish(client: &Client, messages: &[Message]) {
    for message in messages {
        let (subject, headers) = (message.subject.clone(), message.headers.clone());
        let answer = client.request_with_headers(subject, headers, message.payload.clone());
        let answer: Value = serde_json::from_slice(&answer.await.unwrap().payload).unwrap();
        assert_eq!(answer["error"], Value::Null);
    }
}

/// A log with everything that there is in one: streams of several events, commits of several
/// streams, marks, checks and large metadata. The first event of the stream `1` is at position 1,
/// those of its versions 2 and 3 follow.
async fn original() -> (String, NatsStore) {
    let url = fresh();
    let store = open(&url).await;
    append(&store, "1", 1).await;
    append(&store, "1", 2).await;
    append(&store, "2", 1).await;
    let transfer = Append::new()
        .with_commit_id(CommitId::from_bytes([3; 16]))
        .write(stream("1"), ExpectedVersion::Any, events(2))
        .write(stream("2"), ExpectedVersion::Any, events(1))
        .check(stream("3"), Version::NONE)
        .check(stream("4"), Version::NONE);
    store.log().append(&Context::new(), transfer).await.unwrap();
    let large = Metadata::from_pairs([("note", "é".repeat(10_000))]).unwrap();
    let event = events(1).remove(0).with_metadata(large);
    let append = Append::new().write(stream("5"), ExpectedVersion::NEW, vec![event]);
    store.log().append(&Context::new(), append).await.unwrap();
    let commits = (0_u8..3).map(|number| {
        let append = Append::new().with_commit_id(CommitId::from_bytes([number; 16]));
        let append = append.write(stream("6"), ExpectedVersion::Any, events(1));
        OrderedAppend::new(Context::new(), append)
    });
    let log = store.log();
    let done = log
        .append_in_order(&Context::new(), commits.collect())
        .await;
    assert!(done.error.is_none(), "{:?}", done.error);
    (url, store)
}

/// What an examination of a sound log hands out: its events.
async fn sound(store: &NatsStore) -> Vec<ExaminedEvent> {
    let read = store.log().read_log(&Context::new(), LogQuery::all()).await;
    let events: Vec<_> = read.unwrap().try_collect().await.unwrap();
    events.iter().map(ExaminedEvent::from).collect()
}

fn hashes(event: &ExaminedEvent) -> bool {
    EventCid::of(&event.block) == event.cid
}

/// What two examinations hand out differently: by position, what is in the second instead. When
/// something was stored is not compared.
fn differences(sound: &[ExaminedEvent], examined: &[Examined]) -> BTreeMap<u64, Option<Examined>> {
    let mut rest: BTreeMap<u64, &ExaminedEvent> = BTreeMap::new();
    for event in sound {
        rest.insert(event.position.get(), event);
    }
    let mut differ = BTreeMap::new();
    let mut last = 0;
    for examined in examined {
        let position = match examined {
            Examined::Event(event) => event.position.get(),
            Examined::Damage(damage) => damage.position.unwrap().get(),
        };
        assert!(position > last, "{position} after {last}");
        last = position;
        let expected = rest.remove(&position);
        let same = match (expected, examined) {
            (Some(expected), Examined::Event(event)) => {
                let stored_at = event.stored_at;
                ExaminedEvent {
                    stored_at,
                    ..expected.clone()
                } == *event
            }
            _ => false,
        };
        if !same {
            differ.insert(position, Some(examined.clone()));
        }
    }
    differ.extend(rest.into_keys().map(|position| (position, None)));
    differ
}

#[track_caller]
fn only_event(differ: BTreeMap<u64, Option<Examined>>) -> ExaminedEvent {
    assert_eq!(differ.len(), 1, "{differ:?}");
    match differ.into_values().next().unwrap() {
        Some(Examined::Event(event)) => event,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn only_damage(differ: BTreeMap<u64, Option<Examined>>) -> Damage {
    assert_eq!(differ.len(), 1, "{differ:?}");
    match differ.into_values().next().unwrap() {
        Some(Examined::Damage(damage)) => damage,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_sound_log_is_handed_out_as_it_is_without_marks_and_checks() {
    let (url, store) = original().await;
    let sound = sound(&store).await;
    assert_eq!(sound.len(), 11);
    let all: Vec<_> = sound.iter().cloned().map(Examined::Event).collect();
    assert_eq!(examine(&store).await, all);
    assert!(sound.iter().all(hashes));
    // By somebody who was not there when it was written; and from anywhere.
    let other = open(&url).await;
    assert_eq!(examine(&other).await, all);
    for after in 0..20 {
        let rest = all.iter().filter(|examined| match examined {
            Examined::Event(event) => event.position.get() > after,
            Examined::Damage(_) => false,
        });
        let rest: Vec<_> = rest.cloned().collect();
        assert_eq!(examine_from(&other, after).await, rest, "after {after}");
    }
    assert_eq!(examine_from(&other, u64::MAX).await, []);
    assert_eq!(examine(&open(&fresh()).await).await, []);
    let (_, copied) = copy(&messages(&url).await).await;
    assert_eq!(
        differences(&sound, &examine(&copied).await),
        BTreeMap::new()
    );
}

#[tokio::test]
async fn a_changed_byte_of_a_payload_is_handed_out_under_the_cid_it_had() {
    let (url, store) = original().await;
    let sound = sound(&store).await;
    let mut changed = messages(&url).await;
    let mut payload = changed[1].payload.to_vec();
    payload[2] ^= 1;
    changed[1].payload = payload.into();
    let (_, copied) = copy(&changed).await;
    let event = only_event(differences(&sound, &examine(&copied).await));
    assert_eq!(
        (event.stream.clone(), event.version.get()),
        (stream("1"), 2)
    );
    assert_eq!(event.cid, sound[1].cid);
    assert!(!hashes(&event));
}

#[tokio::test]
async fn a_changed_header_is_handed_out_changed_or_is_damage_that_names_it() {
    let (url, store) = original().await;
    let sound = sound(&store).await;
    let messages = messages(&url).await;
    for (name, value) in [
        ("ce-time", "2020-01-01T00:00:00Z"),
        ("ce-commitid", "00000000-0000-0000-0000-000000000001"),
        ("ce-previouscid", &sound[4].cid.to_string()),
        ("ce-cid", &sound[4].cid.to_string()),
    ] {
        let mut changed = messages.clone();
        changed[1].set(name, value);
        let (_, copied) = copy(&changed).await;
        let event = only_event(differences(&sound, &examine(&copied).await));
        assert_eq!(
            (event.stream.clone(), event.version.get()),
            (stream("1"), 2)
        );
        assert!(!hashes(&event), "{name}");
    }
    for (name, value) in [
        ("ce-time", "yesterday"),
        ("ce-cid", "x"),
        ("ce-type", "paid"),
    ] {
        let mut changed = messages.clone();
        changed[1].set(name, value);
        let (_, copied) = copy(&changed).await;
        let damage = only_damage(differences(&sound, &examine(&copied).await));
        assert_eq!(damage.position, Some(Position::new(2)));
        assert_eq!(damage.stream, Some(stream("1")));
        assert_eq!(damage.version.unwrap().get(), 2);
        assert!(!damage.missing);
        assert!(damage.message.contains(name), "{}", damage.message);
        let subject = "cim.events.sales.order.1.placed.2";
        assert!(damage.message.contains(subject), "{}", damage.message);
    }
}

#[tokio::test]
async fn what_was_removed_is_missing_where_it_was_in_the_middle_and_at_the_end() {
    let (url, store) = original().await;
    let sound = sound(&store).await;
    let messages = messages(&url).await;
    let end = messages.len() as u64;
    for (removed, run) in [
        (vec![2], 2),
        (vec![2, 3], 2),
        (vec![end], end),
        (vec![1], 1),
    ] {
        let (copied_at, copied) = copy(&messages).await;
        let client = client(&copied_at).await;
        for position in &removed {
            let subject = &messages[*position as usize - 1].subject;
            let purge = json!({ "filter": subject });
            api(&client, &format!("STREAM.PURGE.{LOG}"), &purge).await;
        }
        let mut differ = differences(&sound, &examine(&copied).await);
        for position in &removed[1..] {
            assert_eq!(differ.remove(position), Some(None));
        }
        let damage = only_damage(differ);
        assert_eq!(damage.position, Some(Position::new(run)));
        assert!(damage.missing);
        assert_eq!((damage.stream, damage.version), (None, None));
        assert!(
            damage.message.contains(&run.to_string()),
            "{}",
            damage.message
        );
    }
}

#[tokio::test]
async fn a_log_that_can_not_be_opened_can_be_inspected() {
    let (url, store) = original().await;
    let sound = sound(&store).await;
    // A copy in a JetStream stream that lets messages be deleted.
    let (copied_at, messages) = (fresh(), messages(&url).await);
    let info = api(
        &client(&url).await,
        &format!("STREAM.INFO.{LOG}"),
        &json!({}),
    )
    .await;
    let mut config = info["config"].clone();
    config["deny_delete"] = false.into();
    let other = client(&copied_at).await;
    api(&other, &format!("STREAM.CREATE.{LOG}"), &config).await;
    publish(&other, &messages).await;
    let delete = format!("STREAM.MSG.DELETE.{LOG}");
    api(&other, &delete, &json!({ "seq": 2 })).await;
    api(&other, &delete, &json!({ "seq": messages.len() })).await;

    let refused = NatsStore::open(&copied_at, NatsSettings::default()).await;
    assert_eq!(refused.unwrap_err().fault(), Some(Fault::Invalid));
    let inspected = NatsStore::inspect(&copied_at, NatsSettings::default());
    let inspected = inspected.await.unwrap();
    let differ = differences(&sound, &examine(&inspected).await);
    let missing: Vec<_> = differ
        .into_iter()
        .map(|(position, found)| match found {
            Some(Examined::Damage(damage)) => (position, damage.missing),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(missing, [(2, true), (messages.len() as u64, true)]);

    // Nothing of it is changed.
    let (log, ctx) = (inspected.log(), Context::new());
    let commit = Append::new().write(stream("9"), ExpectedVersion::Any, events(1));
    let write = log.append(&ctx, commit.clone());
    assert_eq!(write.await.unwrap_err().fault(), Some(Fault::Unsupported));
    let commits = vec![OrderedAppend::new(Context::new(), commit)];
    let error = log.append_in_order(&ctx, commits).await.error.unwrap();
    assert_eq!(error.fault(), Some(Fault::Unsupported));
    let name = "settings".parse().unwrap();
    let bucket = inspected.bucket(&ctx, &name, BucketSettings::default());
    assert_eq!(bucket.await.unwrap_err().fault(), Some(Fault::Unsupported));
    assert!(inspected.shared_subscriptions().is_none());
    assert!(!log.capabilities().shared_subscriptions);

    let nothing = NatsStore::inspect(&fresh(), NatsSettings::default()).await;
    assert_eq!(nothing.unwrap_err().fault(), Some(Fault::NotFound));
}

#[tokio::test]
async fn what_this_process_knows_of_and_is_cut_off_is_missing() {
    let (url, store) = original().await;
    let sound = sound(&store).await;
    let end = sound.last().unwrap().position.get();
    let client = client(&url).await;
    let info = api(&client, &format!("STREAM.INFO.{LOG}"), &json!({})).await;
    let kept = messages(&url).await;
    // As if the server's files had been replaced by older ones.
    api(&client, &format!("STREAM.DELETE.{LOG}"), &json!({})).await;
    let create = format!("STREAM.CREATE.{LOG}");
    api(&client, &create, &info["config"]).await;
    publish(&client, &kept[..4]).await;
    let examined = examine(&store).await;
    assert_eq!(examined.len(), 5);
    let Some(Examined::Damage(damage)) = examined.last() else {
        panic!("{examined:?}");
    };
    assert!(damage.missing);
    assert_eq!(damage.position, Some(Position::new(5)));
    let told = format!("there are no messages at positions 5 to {end}");
    assert_eq!(damage.message, told);
}

#[tokio::test]
async fn a_copy_without_its_tail_is_sound_as_far_as_it_goes() {
    let (url, store) = original().await;
    let sound = sound(&store).await;
    let messages = messages(&url).await;
    let (_, copied) = copy(&messages[..4]).await;
    let examined = examine(&copied).await;
    assert_eq!(examined.len(), 4);
    let differ = differences(&sound, &examined);
    assert!(differ.values().all(Option::is_none), "{differ:?}");
}

#[tokio::test]
async fn two_swapped_events_are_handed_out_where_they_are_filed() {
    let (url, store) = original().await;
    let sound = sound(&store).await;
    let mut swapped = messages(&url).await;
    let subjects = [1, 2].map(|at| swapped[at].subject.clone());
    swapped.swap(1, 2);
    let moved = copy(&swapped).await.1;
    // Their places in the log alone: each is still what its subject says.
    let differ = differences(&sound, &examine(&moved).await);
    let versions: Vec<_> = differ
        .into_values()
        .map(|found| match found {
            Some(Examined::Event(event)) => {
                assert!(hashes(&event));
                event.version.get()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(versions, [3, 2]);
    // Their places in the stream as well.
    for (at, subject) in subjects.into_iter().enumerate() {
        swapped[at + 1].subject = subject;
    }
    let moved = copy(&swapped).await.1;
    let differ = differences(&sound, &examine(&moved).await);
    let found: Vec<_> = differ
        .into_values()
        .map(|found| match found {
            Some(Examined::Event(event)) => {
                assert!(hashes(&event));
                (event.version.get(), event.cid)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(found, [(2, sound[2].cid), (3, sound[1].cid)]);
}

#[tokio::test]
async fn both_events_of_a_fork_are_handed_out() {
    let (url, store) = original().await;
    let sound = sound(&store).await;
    let mut forked = messages(&url).await;
    // Another second event of the stream, by a store that had the same first one.
    let (other_at, other) = copy(&forked[..1]).await;
    let paid = NewEvent::json("paid", &1).unwrap();
    let fork = Append::new().write(stream("1"), Version::new(1), vec![paid]);
    other.log().append(&Context::new(), fork).await.unwrap();
    forked.push(messages(&other_at).await[1].clone());
    let (_, copied) = copy(&forked).await;
    let event = only_event(differences(&sound, &examine(&copied).await));
    assert_eq!(
        (event.stream.clone(), event.version.get()),
        (stream("1"), 2)
    );
    assert!(hashes(&event) && event.cid != sound[1].cid);
}

#[tokio::test]
async fn what_others_published_to_the_logs_subjects_is_damage() {
    let (url, store) = original().await;
    let sound = sound(&store).await;
    let mut foreign = messages(&url).await;
    let end = foreign.len() as u64;
    let mut add = |subject: &str| {
        foreign.push(Message {
            subject: subject.to_owned(),
            headers: HeaderMap::new(),
            payload: "{}".into(),
        });
    };
    add("cim.events.hello");
    add("cim.commits.hello");
    add("cim.checks.hello.world");
    add("cim.events.sales.order.1.placed.77");
    let (_, copied) = copy(&foreign).await;
    let differ = differences(&sound, &examine(&copied).await);
    let damages: Vec<_> = differ
        .into_iter()
        .map(|(position, found)| match found {
            Some(Examined::Damage(damage)) => {
                assert!(!damage.missing);
                let version = damage.version.map(Version::get);
                (position - end, damage.stream, version)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        (1, None, None),
        (2, None, None),
        (3, None, None),
        (4, Some(stream("1")), Some(77)),
    ];
    assert_eq!(damages, expected);
}

#[tokio::test]
async fn it_goes_on_behind_everything_that_is_wrong() {
    let (url, store) = original().await;
    let sound = sound(&store).await;
    let mut changed = messages(&url).await;
    changed[0].payload = "{}".into();
    changed[2].headers = HeaderMap::new();
    changed[3].set("ce-cid", &sound[0].cid.to_string());
    let (copied_at, copied) = copy(&changed).await;
    let purge = json!({ "filter": changed[1].subject });
    api(
        &client(&copied_at).await,
        &format!("STREAM.PURGE.{LOG}"),
        &purge,
    )
    .await;
    let differ = differences(&sound, &examine(&copied).await);
    let found: Vec<_> = differ
        .iter()
        .map(|(position, found)| match found {
            Some(Examined::Event(event)) => (*position, hashes(event), false),
            Some(Examined::Damage(damage)) => (*position, false, damage.missing),
            None => panic!("{position}"),
        })
        .collect();
    let expected = [
        (1, false, false),
        (2, false, true),
        (3, false, false),
        (4, false, false),
    ];
    assert_eq!(found, expected);
    // A position behind some of it is examined from there.
    assert_eq!(
        differences(&sound[4..], &examine_from(&copied, 4).await),
        BTreeMap::new()
    );
}

#[tokio::test]
async fn headers_that_are_no_text_end_neither_the_examination_nor_the_connection_for_good() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (url, store) = original().await;
    let sound = sound(&store).await;
    let end = messages(&url).await.len() as u64;
    // No client library publishes this, so it is written by hand.
    let server: async_nats::ServerAddr = url.split(',').next().unwrap().parse().unwrap();
    let address = format!("{}:{}", server.host(), server.port());
    let mut raw = tokio::net::TcpStream::connect(address).await.unwrap();
    let (user, password) = (server.username().unwrap(), server.password().unwrap());
    let subject = "cim.events.sales.order.1.placed.6";
    let mut text = format!(
        "CONNECT {{\"user\":\"{user}\",\"pass\":\"{password}\",\"headers\":true,\"verbose\":false}}\r\n\
         HPUB {subject} 23 25\r\nNATS/1.0\r\nce-id: \u{1}\u{1}\r\n\r\n{{}}\r\nPING\r\n"
    )
    .into_bytes();
    for byte in &mut text {
        if *byte == 1 {
            *byte = 0xff;
        }
    }
    raw.write_all(&text).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"PONG\r\n") {
        let read = raw.read_buf(&mut answer).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
    }
    append(&store, "9", 1).await;

    let damage = only_damage(
        differences(&sound, &examine(&store).await)
            .into_iter()
            .filter(|(position, _)| *position != end + 2)
            .collect(),
    );
    assert_eq!(damage.position, Some(Position::new(end + 1)));
    assert_eq!(damage.stream, Some(stream("1")));
    let last = examine_from(&store, end + 1).await;
    assert_eq!(last.len(), 1);
}

#[tokio::test]
async fn what_can_not_be_looked_at_is_an_error_and_not_a_shorter_answer() {
    let (_, store) = original().await;
    let kind = |error: EventLogError| error.fault().unwrap();
    let over = Context::new().with_timeout(&SystemClock, Duration::ZERO);
    let refused = store.log().examine(&over, Position::NONE).await;
    assert_eq!(kind(refused.err().unwrap()), Fault::Unavailable);
    let log = store.log();
    let mut examined = log.examine(&Context::new(), Position::NONE).await.unwrap();
    examined.next().await.unwrap().unwrap();
    store.close().await.unwrap();
    let rest: Result<Vec<_>, _> = examined.try_collect().await;
    // What had come before it was closed may still be handed out.
    match rest {
        Ok(rest) => assert_eq!(rest.len(), 10),
        Err(error) => assert_eq!(kind(error), Fault::Closed),
    }
    let refused = log.examine(&Context::new(), Position::NONE).await;
    assert_eq!(kind(refused.err().unwrap()), Fault::Closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_it_reaches_the_end_that_was_there_when_it_began() {
    let settings = ServerSettings::new().accounts(2);
    let cluster = TestCluster::start(settings).unwrap_or_else(|error| panic!("{error}"));
    let url = cluster.url_of(0);
    let settings = || NatsSettings::default().with_replicas(3);
    let store = NatsStore::open(&url, settings()).await.unwrap();
    // Consumers are placed on any replica, also on one that is a moment behind.
    for round in 1..=20 {
        let commits = (0..50).map(|_| {
            let append = Append::new().write(stream("1"), ExpectedVersion::Any, events(1));
            OrderedAppend::new(Context::new(), append)
        });
        let (log, ctx) = (store.log(), Context::new());
        let done = log.append_in_order(&ctx, commits.collect()).await;
        assert!(done.error.is_none(), "{:?}", done.error);
        let examined = examine(&store).await;
        assert_eq!(examined.len(), round * 50);
        assert!(examined.iter().all(|examined| matches!(
            examined,
            Examined::Event(event) if hashes(event)
        )));
    }
    let client = client(&url).await;
    let purge = json!({ "filter": "cim.events.sales.order.1.placed.700" });
    api(&client, &format!("STREAM.PURGE.{LOG}"), &purge).await;
    let examined = examine(&store).await;
    let damages = examined.iter().filter_map(|examined| match examined {
        Examined::Damage(damage) => Some((damage.missing, damage.position.unwrap().get())),
        Examined::Event(_) => None,
    });
    assert_eq!(damages.collect::<Vec<_>>(), [(true, 700)]);
    assert_eq!(examined.len(), 1_000);
}
