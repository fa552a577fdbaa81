//! What becomes of appends and reads when a single message between a client and its server is
//! lost, late or out of date, and when what the server has is not what it had: nothing is stored
//! twice, nothing is left out, and what nobody can know is said to be unknown.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod appends;
mod in_order;
mod proxy;
mod reads;
mod rollback;

use std::error::Error;
use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::sync::OnceLock;
use std::time::Duration;

use cim_conformance::nats_server::{ServerSettings, TestServer};
use cim_store::{
    Append, Appended, Clock, CommitId, Context, EventLogError, EventLogExt, ExpectedVersion,
    IdGenerator, NewEvent, RecordedEvent, Store, StreamId, SystemClock, SystemIds,
};
use cim_store_nats::{NatsSettings, NatsStore};
use futures_util::future::{Either, select};
use serde_json::json;

/// The name of the log's JetStream stream.
const LOG: &str = NatsSettings::STREAM;

/// Far below the 30 s after which an operation gives up, and long enough for a busy machine.
const QUICK: Duration = Duration::from_secs(5);

fn start() -> TestServer {
    TestServer::start(ServerSettings::new()).unwrap_or_else(|error| panic!("{error}"))
}

/// The URL of an account that nobody else has, on a server that all tests share.
fn fresh() -> String {
    static SERVER: OnceLock<TestServer> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let settings = ServerSettings::new().accounts(80);
        TestServer::start(settings).unwrap_or_else(|error| panic!("{error}"))
    });
    server.url_of(server.next_account().unwrap())
}

async fn open(url: &str) -> NatsStore {
    NatsStore::open(url, NatsSettings::default()).await.unwrap()
}

/// What a leader says that has no such message.
const NO_MESSAGE: &str = r#"{"type":"io.nats.jetstream.api.v1.stream_msg_get_response","error":{"code":404,"err_code":10037,"description":"no message found"}}"#;

/// A store that gives up an unanswered request soon.
async fn open_impatient(url: &str) -> NatsStore {
    let settings = NatsSettings::default().with_request_timeout(Duration::from_millis(500));
    NatsStore::open(url, settings).await.unwrap()
}

/// A client of the same account, for what somebody does behind the store's back.
async fn client(url: &str) -> async_nats::Client {
    let server: async_nats::ServerAddr = url.parse().unwrap();
    let mut options = async_nats::ConnectOptions::new();
    if let (Some(user), Some(password)) = (server.username(), server.password()) {
        options = options.user_and_password(user.to_owned(), password.to_owned());
    }
    options.connect(server).await.unwrap()
}

fn stream(id: &str) -> StreamId {
    StreamId::new("sales", "order", id).unwrap()
}

fn events(event_type: &str, count: usize) -> Vec<NewEvent> {
    let event = |number| NewEvent::json(event_type, &json!({ "number": number })).unwrap();
    (0..count).map(event).collect()
}

/// Appends one event to a stream, wherever it is.
async fn append(store: &NatsStore, id: &str, event_type: &str) -> Result<Appended, EventLogError> {
    let (log, any) = (store.log(), ExpectedVersion::Any);
    log.append_to(&Context::new(), &stream(id), any, events(event_type, 1))
        .await
}

async fn read(store: &NatsStore, id: &str) -> Result<Vec<RecordedEvent>, EventLogError> {
    store.log().read_all(&Context::new(), &stream(id)).await
}

/// An append of one event with this id.
fn append_as(id: CommitId, to: &str) -> Append {
    let any = ExpectedVersion::Any;
    let append = Append::new().with_commit_id(id);
    append.write(stream(to), any, events("paid", 1))
}

/// The same, by who has just made the id.
fn first_append_as(id: CommitId, to: &str) -> Append {
    let mut append = append_as(id, to);
    append.fresh = true;
    append
}

/// An id of version 7 (RFC 9562) whose time is this far ahead.
fn id_ahead(by: Duration) -> CommitId {
    let time = SystemClock.now().saturating_add(by);
    let millis = u64::try_from(time.as_micros() / 1_000).unwrap();
    let mut bytes = SystemIds.next_uuid().into_bytes();
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    CommitId::from_bytes(bytes)
}

fn id() -> CommitId {
    id_ahead(Duration::ZERO)
}

fn limited_to(time: Duration) -> Context {
    Context::new().with_timeout(&SystemClock, time)
}

/// Waits for something that must come in this time.
#[track_caller]
fn within<T>(time: Duration, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        match select(pin!(future), pin!(SystemClock.sleep(time))).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => panic!("{place}: not done after {time:?}"),
        }
    }
}

/// Everything that an error says: what happened, where, what to do, and its causes.
fn told(error: &EventLogError) -> String {
    let mut text = format!("{error:#}");
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!("\nbecause: {cause}"));
        next = cause.source();
    }
    text
}

#[track_caller]
fn is_damage<T: Debug>(answer: Result<T, EventLogError>) {
    let error = answer.unwrap_err();
    assert!(error.is_integrity(), "{}", told(&error));
}
