//! A store on NATS: opened, checked, closed.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cim_store::{
    Bucket, BucketError, BucketName, BucketSettings, Context, EventLog, EventLogError, FlushPolicy,
    Health, Limits, SharedSubscriptions, Store, Timestamp,
};

use crate::api::{Api, Failure, StreamInfo};
use crate::buckets;
use crate::budget::Budget;
use crate::config::StreamConfig;
use crate::connection::{self, Connection};
use crate::error;
use crate::events::log::NatsLog;
use crate::events::shared::NatsSharedSubscriptions;
use crate::health::{self, flush::Flush};
use crate::requests::{Lost, Requests};
use crate::server::ServerTime;
use crate::session::Session;
use crate::settings::NatsSettings;
use crate::upkeep;

/// Room that a message needs beside its payload: for the largest metadata, which goes into the body
/// where it is larger than headers, and for everything else that is said of an event.
const HEADERS: usize = Limits::CONTRACT.metadata_bytes + (16 << 10);

/// A store on NATS JetStream. Clones are the same store.
///
/// The log is one JetStream stream, named by [`NatsSettings::with_stream`]; each bucket is another
/// one, a NATS KV bucket that other clients can read. An account has room for one log.
///
/// ```no_run
/// use cim_store::{Context, Store};
/// use cim_store_nats::{NatsSettings, NatsStore};
///
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = NatsSettings::default().with_replicas(3);
/// let store = NatsStore::open("nats://n1:4222,n2:4222,n3:4222", settings).await?;
/// println!("{}", store.log().capabilities().durability);
/// store.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct NatsStore {
    session: Arc<Session>,
    log: Arc<NatsLog>,
}

impl NatsStore {
    /// Connects to the servers of a URL and opens the store there; makes it where it does not
    /// exist. Needs a tokio runtime.
    ///
    /// The URL is `nats://host:4222` or `tls://host:4222`; several servers are separated by commas.
    ///
    /// # Errors
    /// `Unavailable` where no server answers; `Denied` where the user is not known or may not do
    /// what is needed; `Unsupported` where the server is older than
    /// [`ServerVersion::OLDEST`](crate::ServerVersion::OLDEST) or has no JetStream; `Invalid` where
    /// the JetStream stream exists with other settings, naming them; `NotFound` where it must exist
    /// and does not; `Integrity` where it has holes.
    pub async fn open(url: &str, settings: NatsSettings) -> Result<Self, EventLogError> {
        settings.check()?;
        let connection = connection::connect(url, &settings.connection).await?;
        Self::on(connection, settings, Use::Work).await
    }

    /// Connects to the servers of a URL to look at the store there without opening it: also where
    /// messages of its log are missing, or its JetStream stream has other settings, so that it can't
    /// be opened. Nothing of it is changed: what would change something is refused as `Unsupported`.
    ///
    /// # Errors
    /// As [`open`](Self::open); `NotFound` where there is no store; `Invalid` where what is there is
    /// no log whose messages this library reads.
    pub async fn inspect(url: &str, settings: NatsSettings) -> Result<Self, EventLogError> {
        settings.check()?;
        let connection = connection::connect(url, &settings.connection).await?;
        Self::on(connection, settings.must_exist(), Use::Inspection).await
    }

    /// Opens the store over a connection that was made elsewhere. What the settings say of
    /// connecting is not used.
    ///
    /// A permission that is missing then shows as `Unavailable` when the time is over, because only
    /// who made the connection hears of it.
    ///
    /// ```no_run
    /// use cim_store_nats::{NatsSettings, NatsStore};
    ///
    /// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = async_nats::connect("nats://127.0.0.1:4222").await?;
    /// let store = NatsStore::with_client(client, NatsSettings::default()).await?;
    /// println!("opened with {} requests", store.requests_sent());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn with_client(
        client: async_nats::Client,
        settings: NatsSettings,
    ) -> Result<Self, EventLogError> {
        settings.check()?;
        Self::on(connection::adopt(client)?, settings, Use::Work).await
    }

    async fn on(
        connection: Connection,
        settings: NatsSettings,
        used_for: Use,
    ) -> Result<Self, EventLogError> {
        let Connection {
            client,
            waiting,
            epoch,
        } = connection;
        let limits = limits(client.max_payload());
        let has_jetstream = client.try_server_info().is_some_and(|info| info.jetstream);
        let requests = Requests::start(client, waiting).await.map_err(|lost| {
            error::report::<cim_store::EventLogErrorKind>(lost.into(), "opening")
        })?;
        let api = Api::new(requests, settings.domain.as_deref());
        let budget = Budget::new(
            &Context::new(),
            &settings.clock,
            settings.connection.operation_timeout,
            settings.connection.request_timeout,
        );
        let info = open_stream(&api, &settings, has_jetstream, used_for, &budget).await?;
        let time = info.ts.as_deref().and_then(|time| time.parse().ok());
        let time: Timestamp = time.unwrap_or_else(|| settings.clock.now());
        let flush = flush_policy(&api, &settings, &info, &budget).await?;
        let replicas = info.config.num_replicas;
        let time = ServerTime::new(time);
        let session = Session::new(settings, api, time, limits, flush, replicas, epoch);
        match used_for {
            Use::Work => upkeep::start(&session),
            Use::Inspection => session.only_inspect(),
        }
        Ok(Self {
            log: Arc::new(NatsLog::new(session.clone())),
            session,
        })
    }

    /// How many requests were sent to the servers since the store was opened.
    pub fn requests_sent(&self) -> u64 {
        self.session.api.requests.sent()
    }
}

/// What a store is connected to for.
#[derive(Clone, Copy)]
enum Use {
    Work,
    /// To look at it, and change nothing.
    Inspection,
}

/// The contract's limits, as far as the server takes messages of that size.
fn limits(max_payload: usize) -> Limits {
    let mut limits = Limits::CONTRACT;
    limits.payload_bytes = limits
        .payload_bytes
        .min(max_payload.saturating_sub(HEADERS));
    limits
}

/// Makes the log's JetStream stream where it is not there, and checks it.
async fn open_stream(
    api: &Api,
    settings: &NatsSettings,
    has_jetstream: bool,
    used_for: Use,
    budget: &Budget,
) -> Result<StreamInfo, EventLogError> {
    let report = |failure: Failure| match failure {
        // Nobody listens where the API is.
        Failure::Lost(Lost::NoResponders { .. }) if !has_jetstream => {
            EventLogError::unsupported("JetStream is not enabled on the server")
                .with_hint("start it with `-js`, or with `jetstream {}` in its configuration")
                .with_source(failure)
        }
        failure => error::report(failure, "opening"),
    };
    let asked = StreamConfig::of_log(settings);
    let probe = if has_jetstream {
        budget.clone()
    } else {
        budget.shortened()
    };
    let name = &settings.stream;
    let mut found = api.stream_info(name, &probe).await.map_err(report)?;
    if found.is_none() && settings.must_exist {
        found = look_again(api, name, budget).await.map_err(report)?;
    }
    let info = match found {
        Some(info) => info,
        None if settings.must_exist => {
            return Err(
                EventLogError::not_found("there is no such log on the server")
                    .with("JetStream stream", &settings.stream),
            );
        }
        None => match make_stream(api, &asked, budget).await {
            Ok(info) => info,
            Err(failure) => {
                // It may be there after all, with other settings, which are then named.
                let there = look_again(api, name, budget).await.map_err(report)?;
                there.ok_or_else(|| report(failure).with("JetStream stream", name))?
            }
        },
    };
    match used_for {
        Use::Work => {
            asked.check_found(&info.config, settings.replicas)?;
            check_complete(&info)?;
        }
        Use::Inspection => asked.check_format(&info.config)?,
    }
    Ok(info)
}

/// How the log's servers flush. Nobody is asked unless the settings say whom, or that they must.
async fn flush_policy(
    api: &Api,
    settings: &NatsSettings,
    info: &StreamInfo,
    budget: &Budget,
) -> Result<FlushPolicy, EventLogError> {
    let monitor = settings.monitor_url.as_deref();
    let flush = if monitor.is_some() || settings.require_verified_flush {
        let server = api.requests.client().try_server_info().unwrap_or_default();
        let holders = health::flush::holders(info, &server.server_name);
        health::flush::detect(monitor, &api.requests, &holders, budget).await
    } else {
        Flush::not_asked()
    };
    if settings.require_verified_flush && !flush.is_verified() {
        return Err(EventLogError::unsupported(
            "it must be known that the servers flush before they acknowledge, and it is not",
        )
        .with("flush", flush.why)
        .with_hint(flush.advice));
    }
    Ok(flush.policy)
}

/// Looks once more for a JetStream stream that was said not to be there: a server of a cluster says
/// so, too, when it is behind.
async fn look_again(api: &Api, name: &str, budget: &Budget) -> Result<Option<StreamInfo>, Failure> {
    let server = api.requests.client().try_server_info();
    let clustered = server.is_some_and(|server| server.cluster.is_some());
    let patience = budget.shortened();
    let mut attempt = 0;
    loop {
        attempt += 1;
        let found = api.stream_info(name, budget).await?;
        if found.is_some() || !clustered || !patience.pause(attempt).await {
            return Ok(found);
        }
    }
}

/// Makes a JetStream stream. Whoever comes second with the same settings gets the same one.
pub(crate) async fn make_stream(
    api: &Api,
    config: &StreamConfig,
    budget: &Budget,
) -> Result<StreamInfo, Failure> {
    let call = format!("STREAM.CREATE.{}", config.name);
    let _: StreamInfo = api.call(&call, config, budget).await?;
    // What counts is what the server made of it.
    let found = api.stream_info(&config.name, budget).await?;
    found.ok_or_else(|| Failure::Malformed {
        subject: call,
        reason: "the JetStream stream that was made is not there".to_owned(),
    })
}

/// A log gives nothing up, so it has every message from the first one on.
pub(crate) fn check_complete(info: &StreamInfo) -> Result<(), EventLogError> {
    let state = &info.state;
    let expected = (state.last_seq + 1).saturating_sub(state.first_seq);
    let from_the_start = state.first_seq <= 1;
    if from_the_start && (state.messages == expected || state.last_seq == 0) {
        return Ok(());
    }
    Err(error::holes(&info.config.name)
        .with("messages", state.messages)
        .with("first", state.first_seq)
        .with("last", state.last_seq))
}

#[async_trait]
impl Store for NatsStore {
    fn log(&self) -> Arc<dyn EventLog> {
        Arc::clone(&self.log) as Arc<dyn EventLog>
    }

    fn shared_subscriptions(&self) -> Option<Arc<dyn SharedSubscriptions>> {
        // To join one makes it.
        (!self.session.is_inspected()).then(|| {
            let shared = NatsSharedSubscriptions::new(self.log.shared.clone());
            Arc::new(shared) as Arc<dyn SharedSubscriptions>
        })
    }

    async fn bucket(
        &self,
        ctx: &Context,
        name: &BucketName,
        settings: BucketSettings,
    ) -> Result<Arc<dyn Bucket>, BucketError> {
        self.session.check_not_inspected()?;
        buckets::open(&self.session, ctx, name, settings).await
    }

    async fn buckets(
        &self,
        ctx: &Context,
    ) -> Result<Vec<(BucketName, BucketSettings)>, BucketError> {
        buckets::list(&self.session, ctx).await
    }

    async fn health(&self, ctx: &Context) -> Result<Health, EventLogError> {
        health::look(&self.session, ctx).await
    }

    async fn close(&self) -> Result<(), EventLogError> {
        self.session.close();
        Ok(())
    }
}

impl fmt::Debug for NatsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsStore")
            .field("stream", &self.session.log_stream())
            .field("closed", &self.session.is_closed())
            .finish_non_exhaustive()
    }
}
