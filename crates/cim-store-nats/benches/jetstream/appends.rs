//! Guarded appends and commits of ten events, by callers that each have one call under way.

use std::future::Future;
use std::sync::Arc;

use cim_store::{Context, EventLog, NewEvent, StreamId};
use tokio::task::JoinSet;

use crate::bare::{self, Publisher};
use crate::cpu::CpuTime;
use crate::latencies::{Latencies, Sample, Window};
use crate::measure::{Result, now};
use crate::options::Options;
use crate::report::{Compared, Report, Round, Row};
use crate::servers::{Servers, Sides};
use crate::workload;

/// Streams of every caller.
const STREAMS: usize = 50;
/// Events of a commit that is a batch.
const BATCH: usize = 10;

/// A stream, and the version it is at.
type Place = (StreamId, u64);

/// The callers of one side, each with streams of its own.
struct Callers {
    places: Vec<Vec<Place>>,
}

impl Callers {
    fn new(side: &str, callers: usize) -> Result<Self> {
        let caller = |caller: usize| {
            let numbers = caller * STREAMS..(caller + 1) * STREAMS;
            let places = numbers.map(|number| Ok((workload::stream(side, number)?, 0)));
            places.collect::<Result<_>>()
        };
        let places = (0..callers).map(caller).collect::<Result<_>>()?;
        Ok(Self { places })
    }

    /// Every caller calls again and again; `None` as the window: once for each of its streams.
    async fn run<C, F>(&mut self, window: Option<Window>, events: u64, call: C) -> Result<Latencies>
    where
        C: Fn(StreamId, u64) -> F + Clone + Send + 'static,
        F: Future<Output = Result<()>> + Send,
    {
        let mut running = JoinSet::new();
        for mut places in self.places.drain(..) {
            let call = call.clone();
            running.spawn(async move {
                let mut latencies = Latencies::default();
                'calls: loop {
                    for (stream, version) in &mut places {
                        if window.is_some_and(|window| window.is_over()) {
                            break 'calls;
                        }
                        let start = now();
                        call(stream.clone(), *version).await?;
                        *version += events;
                        if let Some(window) = &window {
                            latencies.add_call(window, start);
                        }
                    }
                    if window.is_none() {
                        break;
                    }
                }
                Result::Ok((places, latencies))
            });
        }
        let mut all = Latencies::default();
        while let Some(ended) = running.join_next().await {
            let (places, latencies) = ended??;
            self.places.push(places);
            all.merge(latencies);
        }
        Ok(all)
    }

    async fn round<C, F>(&mut self, options: &Options, events: u64, call: C) -> Result<Round>
    where
        C: Fn(StreamId, u64) -> F + Clone + Send + 'static,
        F: Future<Output = Result<()>> + Send,
    {
        let window = Window::from_now(options.window());
        let before = self.calls(events);
        let time = CpuTime::start()?;
        let latencies = self.run(Some(window), events, call).await?;
        let calls = self.calls(events) - before;
        let rate = latencies.rate_in(&window);
        Ok(Round {
            sample: Sample::of(latencies, rate),
            cpu: time.micros_per_call(calls)?,
        })
    }

    /// How many calls there were so far.
    fn calls(&self, events: u64) -> usize {
        let places = self.places.iter().flatten();
        places.map(|(_, version)| version / events).sum::<u64>() as usize
    }
}

pub(crate) async fn singles(
    options: &Options,
    servers: &Servers,
    report: &mut Report,
) -> Result<()> {
    for (callers, bar) in [(1, None), (64, Some(0.9)), (256, Some(0.9))] {
        if options.wants_callers(callers) {
            let name = format!("append one event, {callers} callers");
            let row = measure(options, servers, callers, 1).await?;
            report.row(row.named(&name).at_least(bar));
        }
    }
    Ok(())
}

pub(crate) async fn batches(
    options: &Options,
    servers: &Servers,
    report: &mut Report,
) -> Result<()> {
    // One server stages every batch in files of its own, whoever sends it.
    let bar = (servers.replicas() > 1).then_some(0.8);
    for (callers, bar) in [(1, None), (64, bar)] {
        if options.wants_callers(callers) {
            let name = format!("commit {BATCH} events, {callers} callers");
            let row = measure(options, servers, callers, BATCH).await?;
            report.row(row.named(&name).at_least(bar));
        }
    }
    Ok(())
}

/// Measures appends of so many events: ours and both bare ones, in turn.
async fn measure(
    options: &Options,
    servers: &Servers,
    callers: usize,
    events: usize,
) -> Result<Row> {
    let sides = servers.connect(400_000).await?;
    let event = workload::event()?;
    let guards = Publisher::guards_only(&sides.client, &sides.jetstream, &event.payload);
    let same = guards.same_bytes(headers(&sides, &event).await?);
    let mut ours_callers = Callers::new("our_order", callers)?;
    let mut same_callers = Callers::new("raw_order", callers)?;
    let mut guards_callers = Callers::new("min_order", callers)?;
    let count = events as u64;
    let logs = servers.logs(&sides, options.connections).await?;
    let ours = our_call(logs, &event, events);
    // Every stream exists before anything is counted.
    ours_callers.run(None, count, ours.clone()).await?;
    if options.bare {
        same_callers
            .run(None, count, bare_call(&same, count))
            .await?;
        guards_callers
            .run(None, count, bare_call(&guards, count))
            .await?;
    }
    let mut compared = Compared::default();
    for _ in 0..options.rounds {
        if options.bare {
            let call = bare_call(&same, count);
            compared.bare(same_callers.round(options, count, call).await?);
        }
        let call = ours.clone();
        compared.ours(ours_callers.round(options, count, call).await?);
        if options.bare {
            let call = bare_call(&guards, count);
            compared.least(guards_callers.round(options, count, call).await?);
        }
    }
    Ok(Row::rates(compared))
}

/// The headers of a second event of a stream, so that it names the one before it.
async fn headers(sides: &Sides, event: &NewEvent) -> Result<async_nats::HeaderMap> {
    let stream = workload::stream("our_order", usize::MAX)?;
    let append = workload::append(&stream, 0, event, 1);
    sides.log.append(&Context::new(), append).await?;
    let append = workload::append(&stream, 1, event, 1);
    let second = sides.log.append(&Context::new(), append).await?;
    bare::headers_of(&sides.jetstream, second.position.get()).await
}

/// Every stream is written over one of the logs.
fn our_call(
    logs: Vec<Arc<dyn EventLog>>,
    event: &NewEvent,
    events: usize,
) -> impl Fn(StreamId, u64) -> futures_util::future::BoxFuture<'static, Result<()>>
+ Clone
+ Send
+ 'static {
    let (logs, event) = (Arc::new(logs), event.clone());
    move |stream, version| {
        let number: usize = stream.as_str().bytes().map(usize::from).sum();
        let (log, event) = (logs[number % logs.len()].clone(), event.clone());
        Box::pin(async move {
            let append = workload::append(&stream, version, &event, events);
            log.append(&Context::new(), append).await?;
            Ok(())
        })
    }
}

fn bare_call(
    publisher: &Publisher,
    events: u64,
) -> impl Fn(StreamId, u64) -> futures_util::future::BoxFuture<'static, Result<()>>
+ Clone
+ Send
+ 'static {
    let publisher = publisher.clone();
    move |stream, version| {
        let publisher = publisher.clone();
        Box::pin(async move {
            if events == 1 {
                publisher.publish(&stream, version + 1).await
            } else {
                publisher.publish_batch(&stream, version + 1, events).await
            }
        })
    }
}
