//! What the tests share: servers, stores on them, and clients that go behind the store's back.

use std::error::Error;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cim_conformance::nats_server::{ServerSettings, TestServer};
use cim_store::{
    Appended, Clock, Context, EventLogError, EventLogExt, ExpectedVersion, NewEvent, RecordedEvent,
    Store, StreamId, SystemClock,
};
use cim_store_nats::{NatsSettings, NatsStore};
use serde_json::{Value, json};

/// Long enough for a busy machine, and far below the 30 s after which an operation gives up: what
/// is refused is not waited for.
pub(crate) const QUICK: Duration = Duration::from_secs(5);

/// The name of the log's JetStream stream.
pub(crate) const LOG: &str = NatsSettings::STREAM;

pub(crate) fn start(settings: ServerSettings) -> TestServer {
    TestServer::start(settings).unwrap_or_else(|error| panic!("{error}"))
}

/// A server that all tests share; each takes accounts of its own.
pub(crate) fn shared() -> &'static TestServer {
    static SERVER: OnceLock<TestServer> = OnceLock::new();
    SERVER.get_or_init(|| start(ServerSettings::new().accounts(40)))
}

/// The URL of an account that nobody else has.
pub(crate) fn fresh() -> String {
    shared().url_of(shared().next_account().unwrap())
}

pub(crate) async fn open(url: &str) -> NatsStore {
    NatsStore::open(url, NatsSettings::default()).await.unwrap()
}

/// Opens what must be refused, and quickly.
pub(crate) async fn refused(url: &str, settings: NatsSettings) -> EventLogError {
    let watch = Watch::start();
    let error = NatsStore::open(url, settings).await.unwrap_err();
    watch.was_quick();
    error
}

/// Measures how long something takes.
pub(crate) struct Watch(Instant);

impl Watch {
    pub(crate) fn start() -> Self {
        Self(SystemClock.monotonic())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        SystemClock.monotonic().saturating_duration_since(self.0)
    }

    #[track_caller]
    pub(crate) fn was_quick(&self) {
        let elapsed = self.elapsed();
        assert!(elapsed < QUICK, "it took {elapsed:?}");
    }
}

/// Everything that an error says: what happened, where, what to do, and its causes.
pub(crate) fn told(error: &EventLogError) -> String {
    let mut text = format!("{error:#}");
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!("\nbecause: {cause}"));
        next = cause.source();
    }
    text
}

pub(crate) fn stream(id: &str) -> StreamId {
    StreamId::new("sales", "order", id).unwrap()
}

pub(crate) fn events(count: usize) -> Vec<NewEvent> {
    let event = |number| NewEvent::json("placed", &json!({ "number": number })).unwrap();
    (0..count).map(event).collect()
}

/// Appends events to a stream, wherever it is.
pub(crate) async fn append(
    store: &NatsStore,
    id: &str,
    count: usize,
) -> Result<Appended, EventLogError> {
    let log = store.log();
    let any = ExpectedVersion::Any;
    log.append_to(&Context::new(), &stream(id), any, events(count))
        .await
}

pub(crate) async fn read(store: &NatsStore, id: &str) -> Result<Vec<RecordedEvent>, EventLogError> {
    store.log().read_all(&Context::new(), &stream(id)).await
}

/// A client of the same account, for what somebody does behind the store's back.
pub(crate) async fn client(url: &str) -> async_nats::Client {
    let server: async_nats::ServerAddr = url.parse().unwrap();
    let mut options = async_nats::ConnectOptions::new();
    if let (Some(user), Some(password)) = (server.username(), server.password()) {
        options = options.user_and_password(user.to_owned(), password.to_owned());
    }
    options.connect(server).await.unwrap()
}

/// Calls the JetStream API; a refusal fails the test.
pub(crate) async fn api(client: &async_nats::Client, call: &str, body: &Value) -> Value {
    let body = serde_json::to_vec(body).unwrap();
    let answer = client
        .request(format!("$JS.API.{call}"), body.into())
        .await
        .unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(answer["error"], Value::Null, "{call}");
    answer
}

/// The configuration of the log's JetStream stream, as the store made it in another account.
pub(crate) async fn config_of_log() -> Value {
    let url = fresh();
    open(&url).await;
    let info = api(
        &client(&url).await,
        &format!("STREAM.INFO.{LOG}"),
        &json!({}),
    )
    .await;
    info["config"].clone()
}
