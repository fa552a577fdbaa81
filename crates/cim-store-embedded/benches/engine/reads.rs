//! A store with 1 M events: opening it, loading streams, reading the whole log, looking things up.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use cim_store::{
    CommitId, Context, EventFilter, EventLog, EventLogExt, LogQuery, Position, Resolution, Store,
    StreamId,
};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};
use futures_util::StreamExt;

use crate::appends::directory_bytes;
use crate::child::Process;
use crate::latencies::{Latencies, Sample};
use crate::measure::{Result, Stopwatch, median, now};
use crate::options::Options;
use crate::peers;
use crate::random::Random;
use crate::report::{Figure, Report, Row};
use crate::workload::{CONTEXTS, Events, Lengths, READ_STREAMS, read_events, stream};

pub(crate) async fn run(options: &Options, data: &Path, report: &mut Report) -> Result<()> {
    let directory = data.join("reads");
    let path = directory.to_str().ok_or("the path is not UTF-8")?;
    report.begin("A store with 1 M events of 256 bytes, in 23 500 streams, one event per commit");
    let mut child = Process::start("--child-fill", &[path])?;
    let told = child.told()?;
    child.finish()?;
    let rate = told.events as f64 / told.seconds;
    report.row(Row::new("fill, 64 callers", Figure::Rate(rate, "events/s")));
    let log_bytes = directory_bytes(&directory.join("events"))? as f64;
    let index_bytes = directory_bytes(&directory.join("events/index"))? as f64;
    let per_event = |bytes: f64| Figure::Number(bytes / read_events() as f64, "bytes/event");
    report.row(Row::new("size of the log", per_event(log_bytes)));
    report.row(Row::new("size of the index", per_event(index_bytes)));

    opens(options, &directory, report).await?;

    let store = open(&directory).await?;
    let log = store.log();
    for (lengths, bar) in READ_STREAMS
        .into_iter()
        .zip([Some(15.0), None, Some(500.0)])
    {
        let mut rounds = Vec::new();
        for round in 0..options.rounds {
            rounds.push(load(&log, lengths, round as u64).await?);
        }
        let name = format!("load a stream of {}", lengths.events);
        let row = Row::new(&name, Figure::Times(Sample::median(&rounds)))
            .at_most(bar)
            .peer(peers::load(lengths.events));
        report.row(row);
    }
    let commits = scans(options, &directory, &log, report).await?;
    lookups(options, &log, &commits, report).await?;
    store.close().await?;
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

pub(crate) async fn open(directory: &Path) -> Result<EmbeddedStore> {
    Ok(EmbeddedStore::open(directory, EmbeddedSettings::default().must_exist()).await?)
}

/// How many seconds opening takes. The store is closed again.
pub(crate) async fn open_seconds(directory: &Path) -> Result<(f64, u64)> {
    let watch = Stopwatch::start();
    let store = open(directory).await?;
    let (seconds, caught_up) = (watch.seconds(), store.open_report().caught_up);
    store.close().await?;
    Ok((seconds, caught_up))
}

async fn opens(options: &Options, directory: &Path, report: &mut Report) -> Result<()> {
    let path = directory.to_str().ok_or("the path is not UTF-8")?;
    let (mut killed, mut clean, mut rebuilt, mut records) = (vec![], vec![], vec![], vec![]);
    for _ in 0..options.rounds {
        let mut child = Process::start("--child-write", &[path])?;
        child.told()?;
        child.kill()?;
        let (seconds, caught_up) = open_seconds(directory).await?;
        killed.push(seconds);
        records.push(caught_up as f64);
        clean.push(open_seconds(directory).await?.0);
        std::fs::remove_dir_all(directory.join("events/index"))?;
        rebuilt.push(open_seconds(directory).await?.0);
    }
    let note = format!("{:.0} records read again", median(records));
    let row = |name: &str, seconds: Vec<f64>| Row::new(name, Figure::Seconds(median(seconds)));
    report.row(
        row("open after kill -9", killed)
            .at_most(Some(1.0))
            .note(note),
    );
    report.row(row("open after close", clean));
    report.row(row("open without index (rebuild)", rebuilt));
    Ok(())
}

/// One round of loads of random streams of one length.
async fn load(log: &Arc<dyn EventLog>, lengths: Lengths, seed: u64) -> Result<Sample> {
    let loads = 200_000 / lengths.events;
    let mut random = Random::new(seed);
    let mut streams = Vec::with_capacity(loads);
    for _ in 0..loads {
        streams.push(stream(lengths.name, random.below(lengths.streams))?);
    }
    let ctx = Context::new();
    let mut latencies = Latencies::default();
    let watch = Stopwatch::start();
    for stream in &streams {
        let start = now();
        let events = log.read_all(&ctx, stream).await?;
        latencies.add(now().saturating_duration_since(start));
        if events.len() != lengths.events {
            return Err(format!("{stream} has {} events", events.len()).into());
        }
    }
    Ok(Sample::of(latencies, loads as f64 / watch.seconds()))
}

/// Reads the whole log in several ways. Returns ids of commits that are in it.
async fn scans(
    options: &Options,
    directory: &Path,
    log: &Arc<dyn EventLog>,
    report: &mut Report,
) -> Result<Vec<CommitId>> {
    let context = format!("cim.events.{}.>", CONTEXTS[0]);
    let pattern = LogQuery::all().filter(EventFilter::all().matching(context.parse()?));
    let one_type = Events::new()?.first_type();
    let by_type = LogQuery::all().filter(EventFilter::all().of_type(one_type));
    let (mut raw, mut all, mut in_context, mut of_type) = (vec![], vec![], vec![], vec![]);
    for _ in 0..options.rounds {
        raw.push(read_files(&directory.join("events"))?);
        all.push(scan(log, LogQuery::all()).await?);
        in_context.push(scan(log, pattern.clone()).await?);
        of_type.push(scan(log, by_type.clone()).await?);
    }
    let stats = log.stats(&Context::new()).await?;
    let per_event = stats.bytes as f64 / stats.events as f64;
    let rate = median(all);
    let ratio = rate * per_event / median(raw.iter().copied());
    let events = |rate| Figure::Rate(rate, "events/s");
    let row = Row::new("read the whole log", events(rate))
        .at_least(Some(3e6))
        .note(format!(
            "{:.0} MB/s, {ratio:.2} of reading and checksumming the files",
            rate * per_event / 1e6
        ))
        .peer(peers::scan());
    report.row(row);
    let note = "of all events, a quarter match";
    report.row(Row::new("read one context", events(median(in_context))).note(note));
    report.row(Row::new("read one type", events(median(of_type))).note(note));

    let mut events = log.read_log(&Context::new(), LogQuery::all()).await?;
    let mut commits = Vec::new();
    while let Some(event) = events.next().await {
        let event = event?;
        if event.position.get() % 50 == 0 {
            commits.push(event.commit_id);
        }
    }
    Ok(commits)
}

/// Events per second, those that don't match counted too.
async fn scan(log: &Arc<dyn EventLog>, query: LogQuery) -> Result<f64> {
    let ctx = Context::new();
    let total = log.stats(&ctx).await?.events;
    let watch = Stopwatch::start();
    let mut events = log.read_log(&ctx, query).await?;
    let mut matched = 0_u64;
    while let Some(event) = events.next().await {
        black_box(&event?);
        matched += 1;
    }
    let rate = total as f64 / watch.seconds();
    if matched < total / 8 {
        return Err("a scan found too little".into());
    }
    Ok(rate)
}

/// Bytes per second of reading the segments in pieces and computing their checksums.
fn read_files(directory: &Path) -> Result<f64> {
    use std::io::Read;
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0;
    let watch = Stopwatch::start();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "seg") {
            continue;
        }
        let mut file = std::fs::File::open(path)?;
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            black_box(crc32c::crc32c(&buffer[..count]));
            bytes += count;
        }
    }
    Ok(bytes as f64 / watch.seconds())
}

async fn lookups(
    options: &Options,
    log: &Arc<dyn EventLog>,
    commits: &[CommitId],
    report: &mut Report,
) -> Result<()> {
    const COUNT: usize = 100_000;
    let mut random = Random::new(3);
    let (mut there, mut absent) = (Vec::new(), Vec::new());
    for number in 0..COUNT {
        let lengths = READ_STREAMS[number % READ_STREAMS.len()];
        there.push(stream(lengths.name, random.below(lengths.streams))?);
        absent.push(stream("absent", number)?);
    }
    let known: Vec<CommitId> = (0..COUNT)
        .map(|_| commits[random.below(commits.len())])
        .collect();
    let unknown: Vec<CommitId> = (0..COUNT)
        .map(|_| CommitId::from_bytes((u128::from(random.next()) << 64).to_be_bytes()))
        .collect();
    let mut rounds = [vec![], vec![], vec![], vec![], vec![]];
    for _ in 0..options.rounds {
        rounds[0].push(heads(log, &there, true).await?);
        rounds[1].push(heads(log, &absent, false).await?);
        rounds[2].push(resolves(log, &known, true).await?);
        rounds[3].push(resolves(log, &unknown, false).await?);
        rounds[4].push(at_positions(log, COUNT / 10).await?);
    }
    let names = [
        "head of a stream",
        "head of no stream",
        "resolve a commit",
        "resolve no commit",
        "5 events at their positions",
    ];
    for (name, samples) in names.into_iter().zip(&rounds) {
        report.row(Row::new(name, Figure::Times(Sample::median(samples))));
    }
    Ok(())
}

/// One round of lookups of heads, all of which exist or none.
pub(crate) async fn heads(
    log: &Arc<dyn EventLog>,
    streams: &[StreamId],
    exist: bool,
) -> Result<Sample> {
    let ctx = Context::new();
    let mut latencies = Latencies::default();
    let watch = Stopwatch::start();
    for stream in streams {
        let start = now();
        let head = log.head(&ctx, stream).await?;
        latencies.add(now().saturating_duration_since(start));
        if head.is_some() != exist {
            return Err(format!("the head of {stream} is {head:?}").into());
        }
    }
    Ok(Sample::of(
        latencies,
        streams.len() as f64 / watch.seconds(),
    ))
}

async fn resolves(log: &Arc<dyn EventLog>, commits: &[CommitId], stored: bool) -> Result<Sample> {
    let ctx = Context::new();
    let mut latencies = Latencies::default();
    let watch = Stopwatch::start();
    for commit in commits {
        let start = now();
        let resolution = log.resolve(&ctx, *commit).await?;
        latencies.add(now().saturating_duration_since(start));
        if matches!(resolution, Resolution::Committed(_)) != stored {
            return Err(format!("{commit} was resolved wrongly").into());
        }
    }
    Ok(Sample::of(
        latencies,
        commits.len() as f64 / watch.seconds(),
    ))
}

/// Reads the events at five random positions, as an index leads to them, so often.
async fn at_positions(log: &Arc<dyn EventLog>, times: usize) -> Result<Sample> {
    let ctx = Context::new();
    let last = usize::try_from(log.stats(&ctx).await?.last.get())?;
    let mut random = Random::new(7);
    let mut latencies = Latencies::default();
    let watch = Stopwatch::start();
    for _ in 0..times {
        let positions = [(); 5].map(|()| Position::new(1 + random.below(last) as u64));
        let start = now();
        let events = log.read_at(&ctx, &positions).await?;
        latencies.add(now().saturating_duration_since(start));
        if !events.iter().map(|event| event.position).eq(positions) {
            return Err("other events were read".into());
        }
    }
    Ok(Sample::of(latencies, times as f64 / watch.seconds()))
}
