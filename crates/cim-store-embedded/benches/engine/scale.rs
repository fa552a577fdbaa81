//! A store that grows: memory, disk and opening must not grow with it.

use std::path::Path;

use cim_store::Store;

use crate::appends::directory_bytes;
use crate::child::{GROWN_STREAMS, Process};
use crate::measure::Result;
use crate::options::Options;
use crate::random::Random;
use crate::reads::{heads, open, open_seconds};
use crate::report::{Figure, Report, Row};
use crate::workload::stream;

pub(crate) async fn run(options: &Options, data: &Path, report: &mut Report) -> Result<()> {
    let directory = data.join("scale");
    let path = directory.to_str().ok_or("the path is not UTF-8")?;
    let events = options.large();
    report.begin("A store that grows: commits of 10 events to random ones of 1 M streams");
    let mut child = Process::start("--child-grow", &[path, &events.to_string()])?;
    let small = child.told()?;
    let told = if events > small.events {
        vec![small, child.told()?]
    } else {
        vec![small]
    };
    child.kill()?;
    for told in &told {
        let size = format!("{} M events", told.events / 1_000_000);
        let memory = |bytes: u64| Figure::Number(bytes as f64 / f64::from(1 << 20), "MiB");
        let rate = Figure::Rate(told.events as f64 / told.seconds, "events/s");
        report.row(Row::new(&format!("append {size}, 64 callers"), rate));
        let own = Row::new(
            &format!("peak memory of its own, {size}"),
            memory(told.peak_own),
        );
        report.row(own.at_most(Some(256.0)));
        let all = Row::new(
            &format!("peak memory with mapped pages, {size}"),
            memory(told.peak_resident),
        );
        report.row(all.note("pages of files, which the system takes back as it needs"));
    }
    let size = format!("{} M events", events / 1_000_000);
    let (killed, caught_up) = open_seconds(&directory).await?;
    let row = Row::new(
        &format!("open after kill -9, {size}"),
        Figure::Seconds(killed),
    );
    report.row(row.note(format!("{caught_up} records read again")));
    let (clean, _) = open_seconds(&directory).await?;
    report.row(Row::new(
        &format!("open after close, {size}"),
        Figure::Seconds(clean),
    ));

    let store = open(&directory).await?;
    let log = store.log();
    let mut random = Random::new(5);
    let mut streams = Vec::new();
    while streams.len() < 20_000 {
        // Some were not appended to yet.
        let stream = stream("grown", random.below(GROWN_STREAMS))?;
        if log
            .head(&cim_store::Context::new(), &stream)
            .await?
            .is_some()
        {
            streams.push(stream);
        }
    }
    random.shuffle(&mut streams);
    let sample = heads(&log, &streams, true).await?;
    report.row(Row::new(
        &format!("head of a stream, {size}"),
        Figure::Times(sample),
    ));
    let stored = log.stats(&cim_store::Context::new()).await?.events as f64;
    store.close().await?;
    let (events_dir, index_dir) = (directory.join("events"), directory.join("events/index"));
    let log_bytes = directory_bytes(&events_dir)? as f64;
    let index_bytes = directory_bytes(&index_dir)? as f64;
    let per_event = |bytes: f64| Figure::Number(bytes / stored, "bytes/event");
    report.row(Row::new(
        &format!("size of the log, {size}"),
        per_event(log_bytes),
    ));
    report.row(Row::new(
        &format!("size of the index, {size}"),
        per_event(index_bytes),
    ));
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
