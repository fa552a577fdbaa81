//! What loads cost: of all events, from a snapshot and the events after it, and from a cache.

use std::path::Path;

use cim_domain::LoadOptions;
use cim_domain::persistence::AggregateCache;
use cim_domain::persistence::snapshot::{SnapshotPolicy, SnapshotSettings, SnapshotStore};
use cim_domain::prelude::*;
use uuid::Uuid;

use crate::measure::{Result, Stopwatch};
use crate::notes::{Noted, Notes, id};
use crate::open_in;
use crate::options::Options;
use crate::report::Report;

/// After how many events a snapshot is taken.
const EVERY: u64 = 100;
/// Events of the long stream.
const LONG: u64 = 10_000;
/// Loads in a row between two looks at the clock.
const LOADS: usize = 20;

/// Which aggregate is loaded, and how many loads like that a second are asked for, as a share of
/// those of a hundred events.
struct Row {
    name: &'static str,
    stream: usize,
    events: u64,
    way: Way,
    bar: Option<f64>,
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Events,
    Snapshot,
    Cache,
}

const ROWS: [Row; 5] = [
    Row {
        name: "load 100 events",
        stream: 0,
        events: EVERY,
        way: Way::Events,
        bar: None,
    },
    Row {
        name: "load 10 000 events",
        stream: 1,
        events: LONG,
        way: Way::Events,
        bar: None,
    },
    Row {
        name: "the same, from a snapshot of all",
        stream: 1,
        events: LONG,
        way: Way::Snapshot,
        bar: Some(0.5),
    },
    Row {
        name: "10 099 events, from a snapshot and 99 events",
        stream: 2,
        events: LONG + EVERY - 1,
        way: Way::Snapshot,
        bar: Some(0.5),
    },
    Row {
        name: "the same, cached",
        stream: 2,
        events: LONG + EVERY - 1,
        way: Way::Cache,
        bar: None,
    },
];

pub(crate) async fn run(options: &Options, data: &Path, report: &mut Report) -> Result<()> {
    let store = open_in(data, "loads").await?;
    let snapshots = SnapshotStore::open(&*store, SnapshotSettings::default()).await?;
    let notes = Repository::<Notes>::new(store.log())
        .with_snapshots(snapshots.clone(), SnapshotPolicy::EveryEvents(EVERY));
    for (stream, events) in [(0, EVERY), (1, LONG), (2, LONG + EVERY - 1)] {
        fill(&notes, &snapshots, id(0, stream), events).await?;
    }
    println!("\nLoading an aggregate, one load after the other; a snapshot every {EVERY} events\n");
    let cached = notes.clone().with_cache(&AggregateCache::default());
    let mut rates = [const { Vec::new() }; ROWS.len()];
    for _ in 0..options.rounds {
        for (row, rates) in ROWS.iter().zip(&mut rates) {
            let notes = if row.way == Way::Cache {
                &cached
            } else {
                &notes
            };
            rates.push(load(notes, row, options).await?);
        }
    }
    let [first, ..] = &rates;
    for (row, own) in ROWS.iter().zip(&rates) {
        let compared = (row.name != ROWS[0].name).then_some((&first[..], row.bar));
        report.rate(row.name, "loads/s", own, compared);
    }
    store.close().await?;
    Ok(())
}

/// Commits of as many events as there are between two snapshots.
async fn fill(
    notes: &Repository<Notes>,
    snapshots: &SnapshotStore,
    id: Uuid,
    events: u64,
) -> Result<()> {
    let mut left = events;
    while left > 0 {
        let count = left.min(EVERY);
        let noted = (0..count).map(|_| Noted::new()).collect();
        notes
            .save(&Context::new(), &id, noted, SaveOptions::default())
            .await?;
        snapshots.settled().await;
        left -= count;
    }
    Ok(())
}

/// Loads per second.
async fn load(notes: &Repository<Notes>, row: &Row, options: &Options) -> Result<f64> {
    let (ctx, id) = (Context::new(), id(0, row.stream));
    let how = LoadOptions {
        use_snapshot: row.way != Way::Events,
        ..LoadOptions::default()
    };
    let (watch, mut loads) = (Stopwatch::start(), 0);
    while watch.seconds() < options.window.as_secs_f64() / 2.0 {
        for _ in 0..LOADS {
            let loaded = notes.load_with(&ctx, &id, how).await?;
            if loaded.version.get() != row.events {
                return Err("a load was short".into());
            }
        }
        loads += LOADS;
    }
    Ok(loads as f64 / watch.seconds())
}
