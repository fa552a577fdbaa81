//! A user who may not do everything: what is refused is known at once, by its subject. A server
//! answers no refused publish, so a time-out would be all that a plain client sees.

use std::sync::OnceLock;
use std::time::Duration;

use cim_conformance::nats_server::{ServerSettings, TestServer};
use cim_store::{
    Append, Context, EventLogExt, ExpectedVersion, Fault, Severity, Store, StreamId, SystemClock,
    Version,
};
use cim_store_nats::{NatsSettings, NatsStore};

use crate::place::{Watch, append, events, read, refused, start, stream, told};

/// Users of one account who may do less and less.
fn server() -> &'static TestServer {
    static SERVER: OnceLock<TestServer> = OnceLock::new();
    SERVER.get_or_init(|| {
        let reading = r#""$JS.API.STREAM.INFO.EVENTS", "$JS.API.STREAM.MSG.GET.EVENTS",
            "$JS.API.DIRECT.GET.EVENTS", "$JS.API.DIRECT.GET.EVENTS.>",
            "$JS.API.CONSUMER.CREATE.EVENTS.>""#;
        let user = |name: &str, publish: &str| {
            format!(
                "{{ user: {name}, password: {name}, permissions: {{ \
                 publish: [{publish}], subscribe: [\"_INBOX.>\"] }} }}"
            )
        };
        let config = format!(
            "accounts {{ ORDERS {{ jetstream: enabled, users: [\
             {{ user: owner, password: owner }},\n{},\n{},\n{}] }} }}",
            user("reader", reading),
            user(
                "sales",
                &format!("{reading}, \"cim.events.sales.>\", \"cim.commits.>\"")
            ),
            user("nobody", r#""something.else""#),
        );
        start(ServerSettings::new().server_config(&config))
    })
}

fn url(user: &str) -> String {
    server()
        .url()
        .replace("nats://", &format!("nats://{user}:{user}@"))
}

async fn open(user: &str) -> NatsStore {
    // The log is there before anybody with fewer rights comes.
    NatsStore::open(&url("owner"), NatsSettings::default())
        .await
        .unwrap();
    NatsStore::open(&url(user), NatsSettings::default())
        .await
        .unwrap()
}

#[tokio::test]
async fn an_append_that_is_not_permitted_is_denied_at_once_and_names_the_subject() {
    let store = open("reader").await;
    for count in [1, 3] {
        let watch = Watch::start();
        let error = append(&store, "denied", count).await.unwrap_err();
        watch.was_quick();
        assert_eq!(error.fault(), Some(Fault::Denied), "{}", told(&error));
        assert!(
            told(&error).contains("cim.events.sales.order.denied.placed."),
            "{}",
            told(&error)
        );
    }
    assert!(read(&store, "denied").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_permitted_works_beside_what_is_not() {
    let store = open("sales").await;
    append(&store, "permitted", 2).await.unwrap();
    assert_eq!(read(&store, "permitted").await.unwrap().len(), 2);

    let other = StreamId::new("people", "person", "1").unwrap();
    let watch = Watch::start();
    let log = store.log();
    let error = log
        .append_to(&Context::new(), &other, ExpectedVersion::NEW, events(1))
        .await
        .unwrap_err();
    watch.was_quick();
    assert_eq!(error.fault(), Some(Fault::Denied), "{}", told(&error));
    assert!(
        told(&error).contains("cim.events.people.person.1.placed.1"),
        "{}",
        told(&error)
    );
}

#[tokio::test]
async fn a_commit_of_which_a_part_is_not_permitted_is_not_stored_at_all() {
    let store = open("sales").await;
    let other = StreamId::new("people", "person", "2").unwrap();
    let allowed = |order: Append| order.write(stream("half"), Version::NONE, events(1));
    let refused = |order: Append| order.write(other.clone(), Version::NONE, events(1));
    let deadline = Duration::from_secs(2);
    for order in [
        allowed(refused(Append::new())),
        refused(allowed(Append::new())),
    ] {
        let ctx = Context::new().with_timeout(&SystemClock, deadline);
        let watch = Watch::start();
        let error = store.log().append(&ctx, order).await.unwrap_err();
        assert!(watch.elapsed() < deadline + Duration::from_secs(1));
        assert_eq!(error.fault(), Some(Fault::Denied), "{}", told(&error));
        assert!(
            told(&error).contains("cim.events.people.person.2.placed.1"),
            "{}",
            told(&error)
        );
    }
    assert!(read(&store, "half").await.unwrap().is_empty());
}

#[tokio::test]
async fn opening_without_the_permission_to_look_is_denied_and_names_the_subject() {
    let error = refused(&url("nobody"), NatsSettings::default()).await;
    assert_eq!(error.fault(), Some(Fault::Denied), "{}", told(&error));
    assert!(
        told(&error).contains("$JS.API.STREAM.INFO.EVENTS"),
        "{}",
        told(&error)
    );
}

#[tokio::test]
async fn a_user_who_may_only_read_hears_how_the_log_is() {
    let store = open("reader").await;
    let watch = Watch::start();
    let health = store.health(&Context::new()).await.unwrap();
    watch.was_quick();
    assert_eq!(health.fact("connected"), Some("yes"));
    assert_eq!(health.fact("replicas"), Some("1"));
    // What this user may not ask is not there, and is no fault of the store.
    assert_eq!(health.fact("bytes of the account"), None);
    assert_eq!(health.worst(), Some(Severity::Warning));
}
