//! What it costs to find a conversation, a tag or a time among many events.

use std::path::Path;
use std::sync::Arc;

use cim_domain::persistence::event_index::{EventIndex, IndexQuery, IndexSettings};
use cim_domain::prelude::*;
use cim_domain::store::{
    Append, CorrelationId, ExpectedVersion, LogQuery, NewEvent, OrderedAppend, Position, Store,
    StreamId, TimeBasis, TimeRange, Timestamp,
};
use futures_util::TryStreamExt as _;
use futures_util::future::BoxFuture;

use crate::measure::{Result, Stopwatch, median};
use crate::options::Options;
use crate::report::Report;
use crate::transport::open_in;

/// Events of a conversation, evenly scattered over the whole log.
const TOLD: usize = 5;
/// Events of a commit.
const COMMIT: usize = 1;
/// Commits that are stored with one call.
const AT_ONCE: usize = 5_000;
/// Questions of a round.
const QUESTIONS: usize = 2_000;

pub(crate) async fn run(options: &Options, data: &Path, report: &mut Report) -> Result<()> {
    let events = options.events * TOLD;
    let store = open_in(data, "conversations").await?;
    println!(
        "\nFinding conversations of {TOLD} among {events} events with 256 bytes of payload, embedded\n"
    );
    on(&store, events, options, None, report, "").await?;
    store.close().await?;
    #[cfg(feature = "nats")]
    on_nats(events, options, report).await?;
    Ok(())
}

#[cfg(feature = "nats")]
async fn on_nats(events: usize, options: &Options, report: &mut Report) -> Result<()> {
    use cim_conformance::nats_server::{ServerSettings, TestServer};
    use cim_domain::persistence::nats::{NatsSettings, NatsStore, async_nats};

    println!("\nThe same on one NATS server\n");
    let server = TestServer::start(ServerSettings::new())?;
    let url = server.url();
    let store: Arc<dyn Store> = Arc::new(NatsStore::open(&url, NatsSettings::default()).await?);
    let client = async_nats::connect(&url).await?;
    let by_hand = |number: usize| -> BoxFuture<'_, Result<f64>> {
        let client = &client;
        Box::pin(async move {
            let body = format!("{{\"seq\":{}}}", number * 31 % events + 1);
            let watch = Stopwatch::start();
            client
                .request("$JS.API.STREAM.MSG.GET.EVENTS", body.into())
                .await?;
            Ok(watch.seconds() * 1e6)
        })
    };
    on(&store, events, options, Some(&by_hand), report, ", NATS").await?;
    store.close().await?;
    Ok(())
}

/// The id of a conversation: random to look at, as those of version 4 are.
fn conversation(number: usize) -> CorrelationId {
    let number = (number as u128 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    CorrelationId::from_uuid(uuid::Uuid::from_u128(number))
}

async fn fill(store: &Arc<dyn Store>, events: usize) -> Result<()> {
    let payload = serde_json::json!({ "text": "x".repeat(245) });
    let log = store.log();
    let mut commits = Vec::new();
    for commit in 0..events / COMMIT {
        let stream = StreamId::new("bench", "note", &(commit % 1_000).to_string())?;
        let numbers = commit * COMMIT..(commit + 1) * COMMIT;
        let event = |number: usize| -> Result<NewEvent> {
            let event = NewEvent::json("noted", &payload)?
                .with_time(Timestamp::from_seconds(number as i64))
                .with_correlation_id(conversation(number % (events / TOLD)));
            Ok(event)
        };
        let numbered: Result<Vec<_>> = numbers.map(event).collect();
        let append = Append::new().write(stream, ExpectedVersion::Any, numbered?);
        commits.push(OrderedAppend::new(Context::new(), append));
        if commits.len() == AT_ONCE || commit + 1 == events / COMMIT {
            let done = log
                .append_in_order(&Context::new(), std::mem::take(&mut commits))
                .await;
            if let Some(error) = done.error {
                return Err(error.into());
            }
        }
    }
    Ok(())
}

/// One round trip to the server by hand, for an event, in microseconds.
type ByHand<'a> = &'a (dyn Fn(usize) -> BoxFuture<'a, Result<f64>> + Sync);

async fn on(
    store: &Arc<dyn Store>,
    events: usize,
    options: &Options,
    by_hand: Option<ByHand<'_>>,
    report: &mut Report,
    place: &str,
) -> Result<()> {
    fill(store, events).await?;
    let ctx = Context::new();
    let (mut reads, mut builds) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        let watch = Stopwatch::start();
        let mut read = store.log().read_log(&ctx, LogQuery::all()).await?;
        let mut count = 0;
        while read.try_next().await?.is_some() {
            count += 1;
        }
        reads.push(f64::from(count) / watch.seconds());
        let settings = IndexSettings::default().in_bucket(format!("round-{round}"));
        let watch = Stopwatch::start();
        let index = EventIndex::open(&**store, settings).await?;
        index.catch_up(&ctx).await?;
        builds.push(events as f64 / watch.seconds());
    }
    let read = report.rate_in(
        "events/s",
        &format!("the whole log, read{place}"),
        &reads,
        None,
        None,
    );
    let name = format!("the index, built and merged{place}");
    report.rate_in(
        "events/s",
        &name,
        &builds,
        Some(read),
        Some((f64::MAX, 0.5)),
    );

    let settings = IndexSettings::default().in_bucket("round-0");
    EventIndex::open(&**store, settings.clone())
        .await?
        .persist(&ctx)
        .await?;
    let watch = Stopwatch::start();
    let index = EventIndex::open(&**store, settings).await?;
    ask(&index, 0, events).await?;
    let first = watch.seconds() * 1e6;
    report.rate_in(
        "us",
        &format!("opened, and asked once{place}"),
        &[first],
        None,
        None,
    );
    let (mut tails, mut places) = (Vec::new(), Vec::new());
    for number in 0..QUESTIONS {
        let watch = Stopwatch::start();
        let end = LogQuery::all().after(index.status().position);
        if store
            .log()
            .read_log(&ctx, end)
            .await?
            .try_next()
            .await?
            .is_some()
        {
            return Err("the log has more than was stored".into());
        }
        tails.push(watch.seconds() * 1e6);
        let first = (number * 7919 % (events / TOLD)) as u64;
        let told =
            (0..TOLD as u64).map(|part| Position::new(part * (events / TOLD) as u64 + first + 1));
        let watch = Stopwatch::start();
        store.log().read_at(&ctx, &told.collect::<Vec<_>>()).await?;
        places.push(watch.seconds() * 1e6);
    }
    let name = format!("the log asked for what is new, p50{place}");
    report.rate_in("us", &name, &[median(&tails)], None, None);
    let name = format!("{TOLD} events read by their positions, p50{place}");
    report.rate_in("us", &name, &[median(&places)], None, None);
    let (mut cold, mut warm, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds + 1 {
        let (mut times, mut trips) = (Vec::new(), Vec::new());
        for number in 0..QUESTIONS {
            // In turn, as both depend on what else the machine does.
            if let Some(by_hand) = by_hand {
                trips.push(by_hand(number).await?);
            }
            let watch = Stopwatch::start();
            ask(&index, (number + round) * 7919, events).await?;
            times.push(watch.seconds() * 1e6);
        }
        if round == 0 {
            cold.push(median(times.get(..100).unwrap_or_default()));
        } else {
            warm.push(median(&times));
            bare.push(median(&trips));
        }
    }
    let raw = by_hand.map(|_| {
        let name = "one round trip by hand, in turn with the questions, p50";
        report.rate_in("us", name, &bare, None, None)
    });
    let name = format!("a conversation, the first hundred, p50{place}");
    report.rate_in("us", &name, &cold, raw, None);
    let name = format!("a conversation, blocks in memory, p50{place}");
    let asked = report.rate_in("us", &name, &warm, raw, None);
    let kept = asked < raw.map_or(1_000.0, |raw| 3.0 * raw);
    println!("    {}", if kept { "kept" } else { "MISSED" });

    let mut times = Vec::new();
    for number in 0..QUESTIONS {
        let from = Timestamp::from_seconds((number * 7919 % events) as i64);
        let range = TimeRange {
            basis: TimeBasis::Time,
            from: Some(from),
            to: Some(from.saturating_add(std::time::Duration::from_secs(10))),
        };
        let watch = Stopwatch::start();
        index.read_all(&ctx, IndexQuery::time(range)).await?;
        times.push(watch.seconds() * 1e6);
    }
    let name = format!("10 events of a time, p50{place}");
    report.rate_in("us", &name, &[median(&times)], raw, None);

    let mut times = Vec::new();
    for number in 0..QUESTIONS {
        let stream = StreamId::new("bench", "told", &number.to_string())?;
        let told = conversation(number);
        let event = NewEvent::json("told", &number)?.with_correlation_id(told);
        let append = Append::new().write(stream, ExpectedVersion::Any, vec![event]);
        store.log().append(&ctx, append).await?;
        let watch = Stopwatch::start();
        let found = index.read_by_correlation(&ctx, told).await?;
        times.push(watch.seconds() * 1e6);
        if found.len() != TOLD + 1 {
            return Err(format!("{} events of {}", found.len(), TOLD + 1).into());
        }
    }
    let name = format!("a conversation, just gone on, p50{place}");
    report.rate_in("us", &name, &[median(&times)], raw, None);
    Ok(())
}

async fn ask(index: &EventIndex, number: usize, events: usize) -> Result<()> {
    let id = conversation(number % (events / TOLD));
    let found = index.read_by_correlation(&Context::new(), id).await?;
    if found.len() != TOLD {
        return Err(format!("{} events of {TOLD}", found.len()).into());
    }
    Ok(())
}
