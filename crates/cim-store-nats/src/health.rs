//! How a store on NATS is: the connection, the log's leader and its replicas, room, flushing.
//!
//! First everything is looked at, each question with a deadline of its own, because a server that
//! is away is a finding and no failure; then [`findings`] says what is wrong with what was seen.
//! Nothing is changed.

mod findings;
pub(crate) mod flush;
mod monitor;

use std::time::Duration;

use async_nats::connection::State;
use cim_store::{Context, EventLogError, Health, Timestamp};

use self::findings::Condition;
use self::flush::Flush;
use crate::api::{AccountInfo, Failure, Replica, StreamInfo};
use crate::budget::Budget;
use crate::error;
use crate::session::Session;

/// What was seen of a store.
#[derive(Debug)]
struct Seen {
    connected: bool,
    server: Server,
    /// What the leader says of the log, or why it does not: `None` where there is no such log.
    log: Result<Option<LogSeen>, Failure>,
    account: Result<AccountInfo, Failure>,
    flush: Flush,
    /// Bytes of the largest payload that fits into a message.
    payload_bytes: usize,
}

/// The server that the connection leads to.
#[derive(Clone, Debug, Default)]
struct Server {
    name: String,
    version: String,
    cluster: Option<String>,
}

/// What the leader says of the log.
#[derive(Debug)]
struct LogSeen {
    info: StreamInfo,
    round_trip: Duration,
    /// How far the server's clock is ahead of this machine's, in microseconds. As exact as half a
    /// round trip.
    ahead: Option<i64>,
    /// What differs from the settings, as opening would refuse it.
    differs: Option<EventLogError>,
}

/// Looks at a store, and says what is wrong.
pub(crate) async fn look(session: &Session, ctx: &Context) -> Result<Health, EventLogError> {
    let budget = session.begin(ctx, "looking at the store's health")?;
    let seen = see(session, &budget).await;
    if session.is_closed() {
        return Err(error::closed());
    }
    let mut health = facts(session, &seen);
    for finding in findings::of(&seen) {
        health = health.with_finding(finding);
    }
    Ok(health)
}

async fn see(session: &Session, budget: &Budget) -> Seen {
    let client = session.api.requests.client();
    let log = see_log(session, &budget.shortened()).await;
    let info = client.try_server_info().unwrap_or_default();
    let holders = match &log {
        Ok(Some(log)) => flush::holders(&log.info, &info.server_name),
        _ => vec![info.server_name.clone()],
    };
    let monitor = session.settings.monitor_url.as_deref();
    // Where the leader is away the account is asked all the same: then it is known who is.
    let (account, flush) = futures_util::future::join(
        session.api.account(&budget.shortened()),
        // Only behind the first look is it known whose word counts.
        flush::detect(monitor, &session.api.requests, &holders, budget),
    )
    .await;
    Seen {
        connected: client.connection_state() == State::Connected,
        server: Server {
            name: info.server_name,
            version: info.version,
            cluster: info.cluster,
        },
        log,
        account,
        flush,
        payload_bytes: session.limits.payload_bytes,
    }
}

async fn see_log(session: &Session, budget: &Budget) -> Result<Option<LogSeen>, Failure> {
    let clock = &session.settings.clock;
    let (before, started) = (clock.now(), clock.monotonic());
    let found = session
        .api
        .stream_info(session.log_stream(), budget)
        .await?;
    let round_trip = clock.monotonic().saturating_duration_since(started);
    Ok(found.map(|info| LogSeen {
        round_trip,
        ahead: ahead(&info, before, round_trip),
        differs: crate::config::StreamConfig::of_log(&session.settings)
            .check_found(&info.config, session.settings.replicas)
            .err(),
        info,
    }))
}

/// How far the server's clock is ahead, if its time is that of the middle of the round trip.
fn ahead(info: &StreamInfo, before: Timestamp, round_trip: Duration) -> Option<i64> {
    let there: Timestamp = info.ts.as_deref()?.parse().ok()?;
    let here = before.saturating_add(round_trip / 2);
    Some(there.as_micros().saturating_sub(here.as_micros()))
}

fn facts(session: &Session, seen: &Seen) -> Health {
    let mut health = Health::new().with_fact("connected", yes_or_no(seen.connected));
    if !seen.server.name.is_empty() {
        health = health
            .with_fact("server", &seen.server.name)
            .with_fact("version", &seen.server.version);
    }
    if let Some(cluster) = &seen.server.cluster {
        health = health.with_fact("cluster", cluster);
    }
    health = health.with_fact("JetStream stream", session.log_stream());
    if let Ok(Some(log)) = &seen.log {
        health = log_facts(health, log);
    }
    if let Ok(account) = &seen.account {
        let storage = account.storage;
        let used = match u64::try_from(account.limits.max_storage) {
            Ok(limit) if limit > 0 => format!("{storage} of {limit}"),
            _ => format!("{storage}, without a limit"),
        };
        health = health
            .with_fact("bytes of the account", used)
            .with_fact("JetStream streams of the account", account.streams)
            .with_fact("JetStream API level", account.api.level);
    }
    let flush = if seen.flush.is_verified() {
        "verified"
    } else {
        "unverified"
    };
    health
        .with_fact("flush", format!("{flush}: {}", seen.flush.why))
        .with_fact("largest payload", seen.payload_bytes)
}

fn log_facts(health: Health, log: &LogSeen) -> Health {
    let LogSeen {
        info, round_trip, ..
    } = log;
    let state = &info.state;
    let mut health = health
        .with_fact("messages", state.messages)
        .with_fact("last position", state.last_seq);
    health = match u64::try_from(info.config.max_bytes) {
        Ok(limit) if limit > 0 => health.with_fact("bytes", format!("{} of {limit}", state.bytes)),
        _ => health.with_fact("bytes", state.bytes),
    };
    health = health.with_fact("replicas", info.config.num_replicas);
    if let Some(cluster) = &info.cluster {
        let leader = cluster.leader.as_deref().unwrap_or("none");
        health = health.with_fact("leader", leader);
        for replica in &cluster.replicas {
            health = health.with_fact(format!("replica {}", replica.name), replica_fact(replica));
        }
    }
    if let Some(ahead) = log.ahead {
        let milliseconds = ahead as f64 / 1_000.0;
        health = health.with_fact("clock of the server", format!("{milliseconds:+.1} ms"));
    }
    health.with_fact(
        "round trip",
        format!("{:.2} ms", round_trip.as_secs_f64() * 1_000.0),
    )
}

fn replica_fact(replica: &Replica) -> String {
    let state = match Condition::of(replica) {
        Condition::Current => "current",
        Condition::Behind => "behind",
        Condition::Silent => "silent",
        Condition::Offline => "offline",
    };
    let heard = match replica.active {
        0 => "not heard of".to_owned(),
        active => {
            let ago = Duration::from_nanos(active).as_secs_f64();
            format!("heard of {ago:.1} s ago")
        }
    };
    format!("{state}, {} operations to copy, {heard}", replica.lag)
}

fn yes_or_no(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}
