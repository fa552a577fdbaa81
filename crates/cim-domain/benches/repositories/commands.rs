//! What a command costs, with and without a cache, against bare appends of the same bytes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cim_domain::persistence::{AggregateCache, CacheSettings};
use cim_domain::prelude::*;
use cim_domain::store::{
    Clock as _, ContentType, EventLog, EventType, ExpectedVersion, NewEvent, SystemClock,
};
use tokio::task::JoinSet;

use crate::cpu::CpuTime;
use crate::measure::Result;
use crate::notes::{Notes, PAYLOAD_BYTES, id, note, payload};
use crate::open_in;
use crate::options::Options;
use crate::report::Report;

/// One way to store an event.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Bare,
    Cached,
    Uncached,
    /// All callers on one aggregate.
    Busy,
}

const ROWS: [(&str, Way, Option<f64>); 4] = [
    ("bare appends", Way::Bare, None),
    ("execute, cached", Way::Cached, Some(0.85)),
    ("execute, uncached", Way::Uncached, None),
    ("all callers on one aggregate, cached", Way::Busy, None),
];

pub(crate) async fn run(options: &Options, data: &Path, report: &mut Report) -> Result<()> {
    let store = open_in(data, "commands").await?;
    let log = store.log();
    println!(
        "\nStoring events of {PAYLOAD_BYTES} bytes, one a call, {} callers with an aggregate each; {} rounds of {} ms\n",
        options.callers,
        options.rounds,
        options.window.as_millis()
    );
    let rows: Vec<_> = ROWS
        .into_iter()
        .filter(|(name, _, _)| name.starts_with(&options.rows))
        .collect();
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); rows.len()];
    let mut micros = rates.clone();
    for round in 0..options.rounds {
        // What one way leaves to be done in the background burdens the next: each goes first in
        // turn.
        let mut order: Vec<_> = rows.iter().enumerate().collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for (number, (_, way, _)) in order {
            let group = round * ROWS.len() + number;
            let (rate, cpu) = measure(*way, &log, group, options).await?;
            rates[number].push(rate);
            micros[number].push(cpu);
        }
    }
    let bare = rows.iter().position(|(_, way, _)| *way == Way::Bare);
    for (((name, way, bar), own), micros) in rows.iter().zip(&rates).zip(&micros) {
        let bare = bare.filter(|_| *way != Way::Bare);
        let compared = bare.map(|bare| (&rates[bare][..], *bar));
        report.rate(name, "calls/s", own, compared);
        report.cpu(name, micros);
    }
    store.close().await?;
    Ok(())
}

/// Calls per second, and the processor time of one in microseconds.
async fn measure(
    way: Way,
    log: &Arc<dyn EventLog>,
    group: usize,
    options: &Options,
) -> Result<(f64, f64)> {
    let cache = AggregateCache::new(CacheSettings::default());
    let mut notes = Repository::<Notes>::new(Arc::clone(log));
    if way != Way::Uncached {
        notes = notes.with_cache(&cache);
    }
    let window = Window::from_now(options.window);
    let (count, all) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let cpu = CpuTime::start()?;
    let mut callers = JoinSet::new();
    for caller in 0..options.callers {
        let id = id(group, if way == Way::Busy { 0 } else { caller });
        let (log, notes) = (Arc::clone(log), notes.clone());
        let (count, all) = (Arc::clone(&count), Arc::clone(&all));
        callers.spawn(async move {
            let (calls, with_warming_up) = match way {
                Way::Bare => append(&log, id, window).await?,
                _ => execute(&notes, id, window).await?,
            };
            count.fetch_add(calls, Ordering::Relaxed);
            all.fetch_add(with_warming_up, Ordering::Relaxed);
            Result::Ok(())
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    let micros = cpu.micros_per_call(all.load(Ordering::Relaxed) as usize)?;
    let rate = count.load(Ordering::Relaxed) as f64 / options.window.as_secs_f64();
    Ok((rate, micros))
}

/// When calls are counted: after a time to warm up, until the end.
#[derive(Clone, Copy)]
struct Window {
    begin: Instant,
    end: Instant,
}

impl Window {
    fn from_now(length: Duration) -> Self {
        let begin = SystemClock.monotonic() + length / 5;
        Self {
            begin,
            end: begin + length,
        }
    }
}

async fn append(log: &Arc<dyn EventLog>, id: uuid::Uuid, window: Window) -> Result<(u64, u64)> {
    let (ctx, payload, stream) = (Context::new(), payload(), Notes::stream(&id)?);
    let kind = EventType::new("noted")?;
    let (mut version, mut calls, mut all) = (Version::NONE, 0, 0);
    loop {
        // As commands do, so that the bytes are the same.
        let event = NewEvent::new(kind.clone(), ContentType::JSON, payload.clone())
            .with_correlation_id(id.into());
        let expected = ExpectedVersion::Exact(version);
        let stored = log.append_to(&ctx, &stream, expected, vec![event]).await?;
        version = stored.head(&stream).ok_or("an append has no head")?.version;
        let now = SystemClock.monotonic();
        all += 1;
        if now >= window.end {
            return Ok((calls, all));
        }
        calls += u64::from(now >= window.begin);
    }
}

async fn execute(notes: &Repository<Notes>, id: uuid::Uuid, window: Window) -> Result<(u64, u64)> {
    let (ctx, note, mut calls, mut all) = (Context::new(), note(), 0, 0);
    loop {
        notes.execute(&ctx, &id, note.clone()).await?;
        let now = SystemClock.monotonic();
        all += 1;
        if now >= window.end {
            return Ok((calls, all));
        }
        calls += u64::from(now >= window.begin);
    }
}
