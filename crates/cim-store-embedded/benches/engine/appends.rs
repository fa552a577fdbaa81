//! Durable appends by closed-loop callers, each round next to the raw limit of the same bytes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cim_store::{Context, EventLog, EventLogExt, ExpectedVersion, Store, Version};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};

use crate::latencies::{Latencies, Sample, Window};
use crate::measure::{Result, median, now};
use crate::options::Options;
use crate::peers;
use crate::raw;
use crate::report::{AppendRow, Report};
use crate::workload::{Events, stream};

/// So many callers with one call under way each, and so many events per call.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) callers: usize,
    pub(crate) events: usize,
    /// The least share of the raw limit that is asked for.
    pub(crate) bar: Option<f64>,
}

const CELLS: [Cell; 6] = [
    Cell {
        callers: 1,
        events: 1,
        bar: Some(0.8),
    },
    Cell {
        callers: 16,
        events: 1,
        bar: None,
    },
    Cell {
        callers: 64,
        events: 1,
        bar: Some(0.6),
    },
    Cell {
        callers: 256,
        events: 1,
        bar: Some(0.6),
    },
    Cell {
        callers: 1,
        events: 10,
        bar: Some(0.8),
    },
    Cell {
        callers: 64,
        events: 10,
        bar: Some(0.6),
    },
];

/// Streams that each caller appends to in turn.
const STREAMS: usize = 100;

pub(crate) async fn run(options: &Options, data: &Path, report: &mut Report) -> Result<()> {
    let bytes = [
        bytes_per_call(data, 1).await?,
        bytes_per_call(data, 10).await?,
    ];
    report.set("bytes_per_event_alone", bytes[0]);
    report.set("bytes_per_event_in_tens", bytes[1] / 10.0);
    let directory = data.join("appends");
    let store = EmbeddedStore::open(&directory, EmbeddedSettings::default()).await?;
    let log = store.log();
    let file = data.join("raw");
    report.begin_appends(&bytes);
    for (number, cell) in CELLS.into_iter().enumerate() {
        if !options.wants_append(cell.callers, cell.events) {
            continue;
        }
        let call = bytes[usize::from(cell.events == 10)] as usize;
        let (mut plain, mut ours, mut called) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..options.rounds {
            if options.raw {
                plain.push(raw::plain(&file, cell.callers, call, options.window())?);
            }
            let tag = format!("order{number}-{round}");
            ours.push(append(&log, &tag, cell, options.window()).await?);
            if options.raw {
                let length = options.window();
                called.push(raw::with_callers(&file, cell.callers, call, length).await?);
            }
        }
        let ratio =
            |raw: &[Sample]| median(ours.iter().zip(raw).map(|(ours, raw)| ours.rate / raw.rate));
        report.append(AppendRow {
            callers: cell.callers,
            events: cell.events,
            ratio: ratio(&plain),
            ratio_callers: ratio(&called),
            ours: Sample::median(&ours),
            plain: Sample::median(&plain),
            called: Sample::median(&called),
            bar: cell.bar,
            peers: peers::append(cell.callers, cell.events),
        });
    }
    store.close().await?;
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

/// How many bytes the log grows by with every commit of so many events.
async fn bytes_per_call(data: &Path, events: usize) -> Result<f64> {
    const CALLS: usize = 500;
    let directory = data.join("calibration");
    let store = EmbeddedStore::open(&directory, EmbeddedSettings::default()).await?;
    let (log, ctx, made) = (store.log(), Context::new(), Events::new()?);
    let mut streams = Vec::new();
    for number in 0..CALLS / 5 {
        streams.push(stream("order0-0", number)?);
    }
    // Appends that are under way together are flushed together, so this does not take long.
    for _ in 0..5 {
        let calls = streams
            .iter()
            .map(|stream| log.append_to(&ctx, stream, ExpectedVersion::Any, made.events(events)));
        futures_util::future::try_join_all(calls).await?;
    }
    store.close().await?;
    let bytes = segment_bytes(&directory)?;
    std::fs::remove_dir_all(&directory)?;
    Ok(bytes as f64 / CALLS as f64)
}

/// Bytes of the files of events of a store that is closed.
pub(crate) fn segment_bytes(store: &Path) -> Result<u64> {
    directory_bytes(&store.join("events"))
}

/// Bytes of the files that stand right in a directory.
pub(crate) fn directory_bytes(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let metadata = entry?.metadata()?;
        if metadata.is_file() {
            bytes += metadata.len();
        }
    }
    Ok(bytes)
}

/// One round: every caller goes round its own streams and expects their exact versions.
pub(crate) async fn append(
    log: &Arc<dyn EventLog>,
    tag: &str,
    cell: Cell,
    length: Duration,
) -> Result<Sample> {
    let made = Events::new()?;
    let mut callers = Vec::new();
    for caller in 0..cell.callers {
        let mut streams = Vec::new();
        for number in 0..STREAMS {
            streams.push((stream(tag, caller * STREAMS + number)?, Version::NONE));
        }
        callers.push(streams);
    }
    let window = Window::from_now(length);
    let tasks: Vec<_> = callers
        .into_iter()
        .map(|mut streams| {
            let (log, made, ctx) = (Arc::clone(log), made.clone(), Context::new());
            tokio::spawn(async move {
                let mut latencies = Latencies::default();
                'rounds: loop {
                    for (stream, version) in &mut streams {
                        if window.is_over() {
                            break 'rounds;
                        }
                        let start = now();
                        let events = made.events(cell.events);
                        let expected = ExpectedVersion::Exact(*version);
                        let stored = log.append_to(&ctx, stream, expected, events).await?;
                        latencies.add_call(&window, start);
                        *version = stored.head(stream).ok_or("an append has no head")?.version;
                    }
                }
                Result::Ok(latencies)
            })
        })
        .collect();
    let mut all = Latencies::default();
    for task in tasks {
        all.merge(task.await??);
    }
    let rate = all.rate_in(&window);
    Ok(Sample::of(all, rate))
}
