//! The examples of the documentation that this system was asked for in, each as it stands there,
//! run against a real server. What differs from the text stands beside it.
//!
//! Everywhere: the client is made by `async_nats::connect`, for its type has no such function; and
//! the server is the test's own instead of `nats://localhost:4222`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy.toml allows it in tests, but not in their helpers"
)]

use std::error::Error;

use cim_conformance::nats_server::{ServerSettings, TestServer};
use cim_domain::persistence::nats::{NatsSettings, async_nats};
use cim_domain::persistence::*;
use cim_domain::store::{Context, ExpectedVersion, Position, Timestamp, Version};
use cim_domain::{Aggregate, DomainEvent, Entity};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

/// An empty server for one test, which stops when it is dropped.
fn server() -> TestServer {
    TestServer::start(ServerSettings::new()).expect("a server for the test")
}

async fn client(server: &TestServer) -> async_nats::Client {
    async_nats::connect(server.url())
        .await
        .expect("a client of the server")
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
enum MyEvent {
    Created { id: Uuid },
    Renamed { name: String },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct MyAggregate {
    id: Uuid,
    name: String,
}

impl Aggregate for MyAggregate {
    const CONTEXT: &'static str = "documented";
    const TYPE: &'static str = "MyAggregate";
    type Id = Uuid;
    type Event = MyEvent;
    type Command = String;
    type Error = std::convert::Infallible;

    fn apply(&mut self, event: &MyEvent) {
        match event {
            MyEvent::Created { id } => self.id = *id,
            MyEvent::Renamed { name } => self.name.clone_from(name),
        }
    }

    fn handle(&self, name: String) -> std::result::Result<Vec<MyEvent>, Self::Error> {
        Ok(vec![MyEvent::Renamed { name }])
    }
}

impl Entity for MyAggregate {
    type Id = Uuid;

    fn id(&self) -> &Uuid {
        &self.id
    }
}

const ID: Uuid = Uuid::from_u128(0x0193_4f4a_5678_7abc_def0_1234_5678_9abc);

fn created() -> (MyAggregate, Vec<MyEvent>) {
    let aggregate = MyAggregate {
        id: ID,
        name: "lamp".into(),
    };
    let events = vec![
        MyEvent::Created { id: ID },
        MyEvent::Renamed {
            name: "lamp".into(),
        },
    ];
    (aggregate, events)
}

async fn repository(server: &TestServer) -> Result<NatsRepository<MyAggregate>> {
    let config = NatsRepositoryConfig::default();
    Ok(NatsRepository::new(client(server).await, config, "MyAggregate").await?)
}

#[tokio::test]
async fn quick_start() -> Result {
    let server = server();
    let (aggregate, events) = created();
    let (given, aggregate_id) = (aggregate.clone(), ID);
    // Connect to NATS
    let client = async_nats::connect(server.url()).await?;

    // Create repository
    let config = NatsRepositoryConfig::default();
    let repository =
        NatsRepository::<MyAggregate>::new(client.clone(), config, "MyAggregate".to_string())
            .await?;

    // Save aggregate with events
    let metadata = repository
        .save(&aggregate, events, SaveOptions::default())
        .await?;
    assert_eq!(metadata.version, Version::new(2));

    // Load aggregate
    let (aggregate, metadata) = repository
        .load(&aggregate_id, LoadOptions::default())
        .await?;

    assert_eq!(aggregate, given);
    assert_eq!(metadata.version, Version::new(2));
    assert_eq!(metadata.aggregate_type, "MyAggregate");
    Ok(())
}

#[tokio::test]
async fn event_sourcing() -> Result {
    let server = server();
    let repository = repository(&server).await?;
    let (aggregate, events) = created();
    let aggregate_id = ID;
    let current_version = repository
        .save(&aggregate, events, SaveOptions::default())
        .await?
        .version;
    let events = vec![MyEvent::Renamed {
        name: "torch".into(),
    }];

    // Append events
    repository
        .save(
            &aggregate,
            events,
            SaveOptions {
                expected_version: Some(current_version),
                create_snapshot: true,
                ..Default::default()
            },
        )
        .await?;

    let snapshots = repository
        .repository()
        .snapshots()
        .expect("config has a bucket");
    snapshots.settled().await;
    let stream = MyAggregate::stream(&aggregate_id)?;
    let snapshot = snapshots
        .newest::<MyAggregate>(&Context::new(), &stream, Default::default())
        .await?
        .found()
        .expect("it was asked for");
    assert_eq!(snapshot.head.version, Version::new(3));
    assert_eq!(snapshot.state.name, "torch");
    assert_eq!(
        snapshot.subject()?.as_str(),
        format!("cim.snapshots.MyAggregate.{ID}.3")
    );

    let (from_version, to_version) = (Version::new(2), Version::new(3));
    // Get history
    let events = repository
        .get_history(&aggregate_id, Some(from_version), Some(to_version))
        .await?;

    let names: Vec<_> = events.into_iter().map(|stored| stored.event).collect();
    let renamed = |name: &str| MyEvent::Renamed { name: name.into() };
    assert_eq!(names, [renamed("lamp"), renamed("torch")]);
    Ok(())
}

#[tokio::test]
async fn repository_config() -> Result {
    let server = server();
    let config = NatsRepositoryConfig {
        event_stream_name: "EVENTS",
        aggregate_stream_name: "AGGREGATES",
        read_model_bucket: "readmodels",
        snapshot_bucket: "snapshots",
        cache_size: 1000,
        enable_ipld: true,
    };
    let client = client(&server).await;
    let repository =
        NatsRepository::<MyAggregate>::new(client.clone(), config, "MyAggregate").await?;
    let (aggregate, events) = created();
    repository
        .save(&aggregate, events, SaveOptions::default())
        .await?;

    let info = client
        .request("$JS.API.STREAM.INFO.EVENTS", "".into())
        .await?;
    let info: serde_json::Value = serde_json::from_slice(&info.payload)?;
    assert!(info["state"]["messages"].as_u64() >= Some(2), "{info}");

    // The state is kept where other services find it, as any client sees.
    let copies = repository
        .repository()
        .state_copies()
        .expect("config has a bucket");
    copies.settled().await;
    let subject = format!("$KV.AGGREGATES.cim.aggregates.documented.MyAggregate.{ID}.state.2");
    let copy = client
        .request(
            format!("$JS.API.DIRECT.GET.KV_AGGREGATES.{subject}"),
            "".into(),
        )
        .await?;
    let copy: serde_json::Value = serde_json::from_slice(&copy.payload)?;
    assert_eq!(copy["state"]["name"], "lamp", "{copy}");

    // Empty names: nothing of the kind.
    let config = NatsRepositoryConfig {
        aggregate_stream_name: "",
        snapshot_bucket: "",
        ..config
    };
    let bare = NatsRepository::<MyAggregate>::new(client, config, "MyAggregate").await?;
    assert!(bare.repository().state_copies().is_none() && bare.repository().snapshots().is_none());
    Ok(())
}

/// What is written after the events is written before the store is closed.
#[tokio::test]
async fn closing_waits_for_snapshots_and_copies() -> Result {
    let server = server();
    let closing = repository(&server).await?;
    let (aggregate, events) = created();
    let options = SaveOptions {
        create_snapshot: true,
        ..Default::default()
    };
    closing.save(&aggregate, events, options).await?;
    closing.close().await?;

    let opened = repository(&server).await?;
    let (ctx, stream) = (Context::new(), MyAggregate::stream(&ID)?);
    let snapshots = opened
        .repository()
        .snapshots()
        .expect("config has a bucket");
    assert_eq!(snapshots.history(&ctx, &stream).await?.len(), 1);
    let copies = opened
        .repository()
        .state_copies()
        .expect("config has a bucket");
    assert!(copies.get::<MyAggregate>(&ctx, &stream).await?.is_some());
    let (loaded, _) = opened.load(&ID, LoadOptions::default()).await?;
    assert_eq!(loaded, aggregate);
    Ok(())
}

/// What is printed there is returned here.
#[tokio::test]
async fn error_handling() -> Result {
    let server = server();
    let repository = repository(&server).await?;
    let save = async |events, options| -> String {
        let aggregate = MyAggregate {
            id: ID,
            ..MyAggregate::default()
        };
        match repository.save(&aggregate, events, options).await {
            Ok(metadata) => format!("Saved version {}", metadata.version),
            Err(RepositoryError::VersionConflict { expected, actual }) => {
                format!("Version conflict: expected {}, found {}", expected, actual)
            }
            Err(e) => format!("Error: {}", e),
        }
    };
    let new = || SaveOptions {
        expected_version: Some(Version::NONE),
        ..Default::default()
    };
    assert_eq!(save(created().1, new()).await, "Saved version 2");
    assert_eq!(
        save(created().1, new()).await,
        "Version conflict: expected no events yet, found 2"
    );
    repository.close().await?;
    assert_eq!(
        save(created().1, new()).await,
        "Error: the event log could not do it"
    );
    Ok(())
}

#[tokio::test]
async fn simple_repository() -> Result {
    let server = server();
    let (client, bucket, aggregate_type) = (client(&server).await, "my-aggregates", "MyAggregate");
    let (aggregate, _) = created();
    let id = ID;

    let repo = NatsSimpleRepository::new(client, bucket, aggregate_type).await?;
    let metadata = repo.save(&aggregate).await?;
    let loaded: Option<MyAggregate> = repo.load(&id).await?;

    assert_eq!(metadata.aggregate_id, ID.to_string());
    assert_eq!(loaded, Some(aggregate));
    assert_eq!(repo.list().await?, [ID]);
    repo.delete(&id).await?;
    assert!(!repo.exists(&id).await?);
    Ok(())
}

#[tokio::test]
async fn simple_persistence() -> Result {
    let server = server();
    let client = client(&server).await;
    let (product, id) = (created().0, ID);

    // Create repository
    let repository = NatsSimpleRepository::new(client, "products", "Product").await?;

    // Save aggregate
    let metadata = repository.save(&product).await?;

    // Load aggregate
    let product = repository.load(&id).await?;

    assert!(metadata.version > Version::NONE);
    assert_eq!(product, Some(created().0));
    Ok(())
}

#[tokio::test]
async fn kv_repository_with_builder() -> Result {
    let server = server();
    let client = client(&server).await;
    let (aggregate, _) = created();

    let repo = NatsKvRepositoryBuilder::new()
        .client(client)
        .bucket_name("my-bucket")
        .aggregate_type("MyAggregate")
        .ttl_seconds(3600)
        .build()
        .await?;

    let first = repo.save(&aggregate, ExpectedVersion::NEW).await?;
    assert!(
        repo.save(&aggregate, ExpectedVersion::NEW)
            .await
            .unwrap_err()
            .is_conflict()
    );
    repo.save(&aggregate, first.version).await?;
    let (loaded, metadata) = repo.load(&ID).await?.expect("it was saved");
    assert_eq!(loaded, aggregate);
    let lives = metadata
        .expires_at
        .unwrap()
        .saturating_since(metadata.last_modified.unwrap());
    assert_eq!(lives.as_secs(), 3600);
    Ok(())
}

/// Events of the aggregate that the documentation speaks of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
enum InfrastructureEvent {
    ResourceRegistered { hostname: String },
    AssetTagAssigned { tag: String },
}

fn registered() -> InfrastructureEvent {
    InfrastructureEvent::ResourceRegistered {
        hostname: "web-1".into(),
    }
}

fn tagged(tag: &str) -> InfrastructureEvent {
    InfrastructureEvent::AssetTagAssigned { tag: tag.into() }
}

/// The trait as it is documented, except for its parameter and the type of the times: every
/// method is called with the arguments that stand there.
#[tokio::test]
async fn event_store_trait() -> Result {
    let server = server();
    async fn use_it(store: &dyn EventStore<InfrastructureEvent>) -> InfrastructureResult<()> {
        let aggregate_id: Uuid = ID;
        let events: Vec<InfrastructureEvent> = vec![registered(), tagged("A-1")];
        let expected_version: Option<u64> = Some(0);
        let version: u64 = store.append(aggregate_id, events, expected_version).await?;
        assert_eq!(version, 2);

        let all: Vec<StoredEvent<InfrastructureEvent>> = store.read_events(aggregate_id).await?;
        assert_eq!(all.len(), 2);

        let from_version: u64 = 2;
        let last = store.read_events_from(aggregate_id, from_version).await?;
        assert_eq!(last, all[1..]);

        let correlation_id: Uuid = Uuid::from_u128(99);
        assert_eq!(store.read_by_correlation(correlation_id).await?, all);
        assert!(store.read_by_correlation(Uuid::nil()).await?.is_empty());

        assert_eq!(store.get_version(aggregate_id).await?, Some(2));
        assert_eq!(store.get_version(Uuid::nil()).await?, None);

        let (from_time, to_time) = (Timestamp::EPOCH, Timestamp::from_seconds(1 << 40));
        let ever = store
            .read_events_by_time_range(aggregate_id, from_time, to_time)
            .await?;
        assert_eq!(ever, all);
        let never = store
            .read_events_by_time_range(aggregate_id, from_time, from_time)
            .await?;
        assert!(never.is_empty());
        Ok(())
    }
    let store = NatsEventStore::connect(&server.url()).await?;
    let ctx = Context::new().with_correlation_id(Uuid::from_u128(99).into());
    use_it(&store.under(ctx)).await?;
    Ok(())
}

/// `infrastructure.compute.<aggregate_id>.<event_type>`, within `cim.events` and with the version.
#[tokio::test]
async fn subject_pattern() -> Result {
    let server = server();
    let url = server.url();
    let store = NatsEventStore::connect(&url).await?;
    store.append(ID, vec![registered()], Some(0)).await?;

    let client = async_nats::connect(&url).await?;
    let subject = "cim.events.infrastructure.compute.01934f4a-5678-7abc-def0-123456789abc\
                   .resource_registered.1";
    let read = format!("$JS.API.DIRECT.GET.{}.{subject}", NatsSettings::STREAM);
    let message = client.request(read, "".into()).await?;
    assert_eq!(message.payload, r#"{"hostname":"web-1"}"#);
    Ok(())
}

#[tokio::test]
async fn connect_with_config() -> Result {
    let server = server();
    let nats_url = server.url();
    let config = JetStreamConfig {
        settings: NatsSettings::default().with_name("inventory"),
        aggregate_type: "network".into(),
        ..JetStreamConfig::default()
    };
    let store = NatsEventStore::connect_with_config(&nats_url, config).await?;
    store.append(ID, vec![registered()], Some(0)).await?;
    let stored = store.read_events(ID).await?.remove(0);
    assert_eq!(
        stored.metadata.stream.as_str(),
        format!("infrastructure.network.{ID}")
    );

    // The same id among aggregates of another type is another aggregate.
    let computers = NatsEventStore::<InfrastructureEvent>::connect(&nats_url).await?;
    assert_eq!(computers.get_version(ID).await?, None);
    Ok(())
}

/// Full append and read cycle.
#[tokio::test]
async fn nats_event_store_integration() -> Result {
    let server = server();
    let url = server.url();
    let store = NatsEventStore::connect(&url).await?;
    assert_eq!(store.append(ID, vec![registered()], None).await?, 1);
    assert_eq!(
        store
            .append(ID, vec![tagged("A-1"), tagged("A-2")], Some(1))
            .await?,
        3
    );
    store.close().await?;

    let store = NatsEventStore::<InfrastructureEvent>::connect(&url).await?;
    let events = store.read_events(ID).await?;
    let told: Vec<_> = events.iter().map(|stored| stored.event.clone()).collect();
    assert_eq!(told, [registered(), tagged("A-1"), tagged("A-2")]);
    for (before, after) in events.iter().zip(&events[1..]) {
        assert_eq!(after.metadata.previous, Some(before.metadata.cid));
        assert!(after.metadata.position > before.metadata.position);
    }
    assert!(events[0].metadata.position > Position::NONE);
    Ok(())
}

/// Version conflict detection: of those that expect the same version one wins, and nothing of
/// what the others wanted is stored.
#[tokio::test]
async fn concurrency_control() -> Result {
    let server = server();
    let store = NatsEventStore::connect(&server.url()).await?;
    store.append(ID, vec![registered()], Some(0)).await?;
    let appends = (0..16).map(|number| {
        let store = store.clone();
        let events = vec![tagged(&number.to_string()), tagged("second")];
        tokio::spawn(async move { store.append(ID, events, Some(1)).await })
    });
    let appends: Vec<_> = appends.collect();
    let mut won = 0;
    for append in appends {
        match append.await? {
            Ok(version) => {
                assert_eq!(version, 3);
                won += 1;
            }
            Err(InfrastructureError::ConcurrencyError {
                expected, actual, ..
            }) => {
                assert_eq!(expected, ExpectedVersion::Exact(Version::new(1)));
                assert_eq!(actual, Version::new(3));
            }
            Err(other) => return Err(other.into()),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(store.get_version(ID).await?, Some(3));
    Ok(())
}

#[tokio::test]
async fn the_names_stand_on_one_log() -> Result {
    let server = server();
    let url = server.url();
    let client = async_nats::connect(&url).await?;
    let config = NatsRepositoryConfig::default();
    let repository = NatsRepository::<MyAggregate>::new(client, config, "MyAggregate").await?;
    let (aggregate, events) = created();
    repository
        .save(&aggregate, events, SaveOptions::default())
        .await?;
    let done = repository.execute(&ID, "torch".into()).await?;
    assert_eq!(
        (done.version, done.state.name.as_str()),
        (Version::new(3), "torch")
    );

    let config = JetStreamConfig {
        context: "documented".into(),
        aggregate_type: "MyAggregate".into(),
        ..JetStreamConfig::default()
    };
    let events = NatsEventStore::<MyEvent>::connect_with_config(&url, config).await?;
    assert_eq!(events.get_version(ID).await?, Some(3));
    let opened = Repository::<MyAggregate>::new(cim_domain::open(&url).await?.log());
    assert_eq!(
        opened.load(&Context::new(), &ID).await?.version,
        Version::new(3)
    );
    Ok(())
}

#[tokio::test]
async fn enable_ipld_says_whether_the_repository_verifies_what_it_loads() -> Result {
    let server = server();
    let client = client(&server).await;
    let (aggregate, events) = created();
    for (enable_ipld, verification) in [
        (true, LoadVerification::EveryRead),
        (false, LoadVerification::Off),
    ] {
        let config = NatsRepositoryConfig {
            enable_ipld,
            ..NatsRepositoryConfig::default()
        };
        let repository =
            NatsRepository::<MyAggregate>::new(client.clone(), config, "MyAggregate").await?;
        assert_eq!(repository.repository().verification(), verification);
        repository
            .save(&aggregate, events.clone(), SaveOptions::default())
            .await?;
        let (loaded, _) = repository.load(&ID, LoadOptions::default()).await?;
        assert_eq!(loaded, aggregate);
    }
    Ok(())
}

#[tokio::test]
async fn what_a_config_can_not_ask_for_is_refused_with_the_way_out() -> Result {
    let server = server();
    let client = client(&server).await;
    let config = NatsRepositoryConfig::default();
    let opened = NatsRepository::<MyAggregate>::new(client, config, "Order").await;
    let Err(RepositoryError::Store(error)) = opened else {
        panic!("{opened:?}");
    };
    assert_eq!(
        error.hint(),
        Some("give the repository the aggregate's own type")
    );
    let built = NatsKvRepositoryBuilder::new()
        .bucket_name("b")
        .aggregate_type("T");
    let error = built.build::<MyAggregate>().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the repository can't be built without `client`"
    );
    Ok(())
}
