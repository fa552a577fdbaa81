//! A history from one embedded store into a file, and from there into another store.

use std::fs::File;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use cim_domain::open;
use cim_domain::persistence::car::{HistoryFile, ImportOptions, check, export, import};
use cim_domain::store::{
    Append, ContentType, Context, EventLog, EventType, ExpectedVersion, NewEvent, OrderedAppend,
    Store, StreamId,
};

use crate::measure::{Result, Stopwatch};
use crate::options::Options;
use crate::report::Report;

/// Bytes of every payload.
const PAYLOAD_BYTES: usize = 1_024;
/// Events of every stream, one after the other round all streams.
const EVENTS_OF_STREAM: usize = 10;
/// Commits that are stored at once when the history is made.
const WINDOW: usize = 4_096;
/// What the raw limits write and read at once.
const PIECE: usize = 1 << 20;
/// What is asked for: so many MB/s, or this share of what the disk gives.
const ASKED: (f64, f64) = (150.0, 0.5);

pub(crate) async fn run(options: &Options, data: &Path, report: &mut Report) -> Result<()> {
    let here = open_in(data, "here").await?;
    fill(
        &*here.log(),
        options.events,
        EVENTS_OF_STREAM,
        PAYLOAD_BYTES,
    )
    .await?;
    let car = data.join("history.car");
    let mut rates: [Vec<f64>; 5] = Default::default();
    let [raw_write, exports, raw_read, checks, imports] = &mut rates;
    let mut file = write_car(&*here.log(), &car).await?.0;
    println!(
        "\nCAR files of {} events with {PAYLOAD_BYTES} bytes of payload, {} streams, {} bytes; {} rounds\n",
        file.events, file.streams, file.bytes, options.rounds
    );
    for round in 0..options.rounds {
        let megabytes = file.bytes as f64 / 1e6;
        let bytes = std::fs::read(&car)?;
        let seconds = write_plainly(&data.join("plain"), &bytes)?;
        raw_write.push(megabytes / seconds);
        drop(bytes);
        let (exported, seconds) = write_car(&*here.log(), &car).await?;
        file = exported;
        exports.push(megabytes / seconds);
        raw_read.push(megabytes / read_plainly(&car)?);
        let watch = Stopwatch::start();
        check(File::open(&car)?, ImportOptions::default(), |_| {}).await?;
        checks.push(megabytes / watch.seconds());
        let name = format!("there-{round}");
        let there = open_in(data, &name).await?;
        let seconds = read_car(&*there.log(), &car, &file).await?;
        imports.push(megabytes / seconds);
        there.close().await?;
        std::fs::remove_dir_all(data.join(name))?;
    }
    here.close().await?;
    let write = report.rate(
        "the same bytes written, with one fdatasync",
        raw_write,
        None,
        None,
    );
    report.rate("export, flushed", exports, Some(write), Some(ASKED));
    let read = report.rate("the same bytes read from memory", raw_read, None, None);
    report.rate("check", checks, Some(read), None);
    report.rate(
        "import, flushed (against the write)",
        imports,
        Some(write),
        Some(ASKED),
    );
    Ok(())
}

pub(crate) async fn open_in(data: &Path, name: &str) -> Result<Arc<dyn Store>> {
    let url = format!("embedded:{}", data.join(name).display());
    Ok(open(&url).await?)
}

/// Commits of one event each, one stream after the other, and again.
pub(crate) async fn fill(
    log: &dyn EventLog,
    events: usize,
    events_of_stream: usize,
    payload_bytes: usize,
) -> Result<()> {
    let streams = (events / events_of_stream).max(1);
    let payload = Bytes::from(format!("\"{}\"", "x".repeat(payload_bytes - 2)));
    let kind = EventType::new("order_changed")?;
    let numbers: Vec<usize> = (0..events).collect();
    for window in numbers.chunks(WINDOW) {
        let commit = |number: &usize| -> Result<OrderedAppend> {
            let id = format!("0193f2a4-7c1e-7d52-9a3b-{:012}", number % streams);
            let stream = StreamId::new("sales", "order", &id)?;
            let event = NewEvent::new(kind.clone(), ContentType::JSON, payload.clone());
            let append = Append::new().write(stream, ExpectedVersion::Any, vec![event]);
            Ok(OrderedAppend::new(Context::new(), append))
        };
        let commits: Result<Vec<_>> = window.iter().map(commit).collect();
        let done = log.append_in_order(&Context::new(), commits?).await;
        if let Some(error) = done.error {
            return Err(error.into());
        }
    }
    Ok(())
}

async fn write_car(log: &dyn EventLog, path: &Path) -> Result<(HistoryFile, f64)> {
    let _ = std::fs::remove_file(path);
    let watch = Stopwatch::start();
    let file = File::create(path)?;
    let (exported, file) = export(log, &Context::new(), None, file, |_| {}).await?;
    file.sync_all()?;
    Ok((exported, watch.seconds()))
}

async fn read_car(log: &dyn EventLog, path: &Path, expected: &HistoryFile) -> Result<f64> {
    let watch = Stopwatch::start();
    let options = ImportOptions {
        root: Some(expected.root),
    };
    let go_on = |_| ControlFlow::Continue(());
    let file = File::open(path)?;
    let imported = import(log, &Context::new(), file, options, go_on).await?;
    let seconds = watch.seconds();
    if imported.file != *expected || imported.stored != expected.events {
        return Err("the import is not the export".into());
    }
    Ok(seconds)
}

fn write_plainly(path: &Path, bytes: &[u8]) -> Result<f64> {
    let watch = Stopwatch::start();
    let mut file = File::create(path)?;
    for piece in bytes.chunks(PIECE) {
        file.write_all(piece)?;
    }
    file.sync_data()?;
    let seconds = watch.seconds();
    std::fs::remove_file(path)?;
    Ok(seconds)
}

fn read_plainly(path: &Path) -> Result<f64> {
    let watch = Stopwatch::start();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; PIECE];
    while file.read(&mut buffer)? > 0 {}
    Ok(watch.seconds())
}
