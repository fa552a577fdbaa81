//! A store with many streams of 10 events and some of 1 000, scattered over its log: loading them,
//! while the store grows, and reading the log.

use std::sync::Arc;
use std::time::Duration;

use cim_store::{Context, EventLog, EventLogExt, NewEvent, Store, StreamId};
use tokio::task::JoinSet;

use crate::bare::Getter;
use crate::cpu::CpuTime;
use crate::latencies::{Latencies, Sample};
use crate::measure::{Result, Stopwatch, now};
use crate::options::{Options, Section};
use crate::random::Random;
use crate::report::{Compared, Report, Round, Row};
use crate::scan;
use crate::servers::{Servers, Sides};
use crate::workload;

const SHORT: usize = 10;
const LONG: usize = 1_000;
/// Streams with 1 000 events.
const LONG_STREAMS: usize = 20;
/// Callers that fill the store.
const FILLERS: usize = 256;

pub(crate) async fn run(options: &Options, servers: &Servers, report: &mut Report) -> Result<()> {
    let [first, all] = options.streams();
    let mut sides = servers.connect(4 * all).await?;
    let mut times = Vec::new();
    let watch = Stopwatch::start();
    fill(&sides.log, 0..first, LONG_STREAMS).await?;
    let mut filled = watch.seconds();
    for streams in [first, all] {
        if streams == all {
            let watch = Stopwatch::start();
            fill(&sides.log, first..all, 0).await?;
            filled += watch.seconds();
        }
        sides = servers.again(sides).await?;
        if options.wants(Section::Loads) {
            let store = store_name(streams);
            let row = loads(options, &sides, "short", streams, SHORT).await?;
            times.push((row.ours(), row.bare()));
            report.row(
                row.named(&format!("load {SHORT} events, {store}"))
                    .at_most(Some(2.0)),
            );
            let row = loads(options, &sides, "long", LONG_STREAMS, LONG).await?;
            report.row(
                row.named(&format!("load {LONG} events, {store}"))
                    .at_most(Some(2.0)),
            );
        }
    }
    if let [(small, bare_small), (large, bare_large)] = times[..] {
        let growth = large.sample.p50 / small.sample.p50;
        let note = format!(
            "p50 of a load of {SHORT} in the larger store, against the smaller one; bare {:.2}",
            bare_large.sample.p50 / bare_small.sample.p50
        );
        report.row(
            Row::ratio(growth)
                .named("growing with the store")
                .at_most(Some(1.3))
                .note(note),
        );
    }
    let events = (all * SHORT + LONG_STREAMS * LONG) as f64;
    report.row(Row::rate(events / filled).named("fill, 256 callers, events/s"));
    if options.wants(Section::Log) {
        report.row(
            scan::run(options, &sides, events as u64)
                .await?
                .at_least(Some(0.7)),
        );
    }
    sides.store.close().await?;
    Ok(())
}

fn store_name(streams: usize) -> String {
    let events = streams * SHORT;
    if events >= 1_000_000 {
        format!("{} M events", events / 1_000_000)
    } else {
        format!("{} k events", events / 1_000)
    }
}

/// Appends 10 events to every short stream of a range, and a tenth of their events to the long ones
/// in each of the ten passes, everybody in another order each time.
async fn fill(log: &Arc<dyn EventLog>, short: std::ops::Range<usize>, long: usize) -> Result<()> {
    let event = workload::event()?;
    let mut work: Vec<(StreamId, usize)> = Vec::new();
    for number in short {
        work.push((workload::stream("short", number)?, 1));
    }
    for number in 0..long {
        work.push((workload::stream("long", number)?, LONG / SHORT));
    }
    let mut random = Random::new(work.len() as u64);
    for pass in 0..SHORT {
        random.shuffle(&mut work);
        let mut running = JoinSet::new();
        for part in work.chunks(work.len().div_ceil(FILLERS)) {
            running.spawn(append_each(log.clone(), event.clone(), part.to_vec(), pass));
        }
        while let Some(ended) = running.join_next().await {
            ended??;
        }
    }
    Ok(())
}

async fn append_each(
    log: Arc<dyn EventLog>,
    event: NewEvent,
    work: Vec<(StreamId, usize)>,
    pass: usize,
) -> Result<()> {
    let ctx = Context::new();
    for (stream, events) in work {
        for number in 0..events {
            let version = (pass * events + number) as u64;
            let append = workload::append(&stream, version, &event, 1);
            log.append(&ctx, append).await?;
        }
    }
    Ok(())
}

/// Loads random streams of a group, one at a time, ours and bare in turn.
async fn loads(
    options: &Options,
    sides: &Sides,
    group: &str,
    streams: usize,
    events: usize,
) -> Result<Row> {
    let loads = (options.loads() * SHORT / events).max(40);
    let mut getter = Getter::new(&sides.client).await?;
    let ctx = Context::new();
    let mut compared = Compared::default();
    let mut random = Random::new(events as u64);
    let check = |found: usize, stream: &StreamId| -> Result<()> {
        if found == events {
            return Ok(());
        }
        Err(format!("{stream} has {found} events").into())
    };
    for _ in 0..options.rounds {
        let mut chosen = Vec::with_capacity(loads);
        for _ in 0..loads {
            chosen.push(workload::stream(group, random.below(streams))?);
        }
        let (mut ours, mut bare) = (Side::default(), Side::default());
        // In short pieces, so that both meet the same moments of a machine with other work. Each
        // side is the first to touch every other piece's streams.
        for (piece, streams) in chosen.chunks(20).enumerate() {
            for turn in 0..2 {
                let bares = turn == piece % 2;
                if bares && !options.bare {
                    continue;
                }
                let time = CpuTime::start()?;
                for stream in streams {
                    let start = now();
                    let found = if bares {
                        getter.multi_last(stream).await?.len()
                    } else {
                        sides.log.read_all(&ctx, stream).await?.len()
                    };
                    let elapsed = now().saturating_duration_since(start);
                    check(found, stream)?;
                    if bares { &mut bare } else { &mut ours }.add(elapsed);
                }
                if bares { &mut bare } else { &mut ours }.cpu += time.micros_per_call(1)?;
            }
        }
        if options.bare {
            compared.bare(bare.round(loads));
        }
        compared.ours(ours.round(loads));
    }
    Ok(Row::times(compared))
}

/// How long one side's loads took.
#[derive(Default)]
struct Side {
    latencies: Latencies,
    whole: Duration,
    /// Microseconds of processor time.
    cpu: f64,
}

impl Side {
    fn add(&mut self, elapsed: Duration) {
        self.latencies.add(elapsed);
        self.whole += elapsed;
    }

    fn round(self, loads: usize) -> Round {
        let rate = loads as f64 / self.whole.as_secs_f64();
        Round {
            sample: Sample::of(self.latencies, rate),
            cpu: self.cpu / loads as f64,
        }
    }
}
