//! How many requests to the servers an operation takes.

use cim_store::{Context, EventLogExt, ExpectedVersion};

use crate::measure::Result;
use crate::report::{Report, Row};
use crate::servers::{Servers, Sides};
use crate::workload;

pub(crate) async fn run(servers: &Servers, report: &mut Report) -> Result<()> {
    let ctx = Context::new();
    let event = workload::event()?;
    let (known, new) = (workload::stream("trips", 1)?, workload::stream("trips", 2)?);
    let any = workload::stream("trips", 3)?;
    let sides = servers.connect(1_000).await?;
    let log = &sides.log;
    log.append(&ctx, workload::append(&known, 0, &event, 10))
        .await?;
    let mut row = |name: &str, requests: u64, most: Option<f64>| {
        report.row(Row::count(requests).named(name).at_most(most));
    };

    let count = Count::begin(&sides);
    log.append(&ctx, workload::append(&known, 10, &event, 1))
        .await?;
    row("requests: append, head known", count.end(), Some(1.0));

    let count = Count::begin(&sides);
    log.append(&ctx, workload::append(&known, 11, &event, 10))
        .await?;
    row("requests: commit of 10, head known", count.end(), Some(1.0));

    let count = Count::begin(&sides);
    log.append(&ctx, workload::append(&new, 0, &event, 1))
        .await?;
    row("requests: append to a new stream", count.end(), Some(1.0));

    let count = Count::begin(&sides);
    log.append_to(&ctx, &any, ExpectedVersion::Any, vec![event.clone()])
        .await?;
    row(
        "requests: append, expecting nothing",
        count.end(),
        Some(2.0),
    );

    let sides = servers.again(sides).await?;
    let log = &sides.log;
    let count = Count::begin(&sides);
    log.append(&ctx, workload::append(&known, 21, &event, 1))
        .await?;
    // The head; that its commit is whole is known from the head itself where it is its last event.
    row("requests: append, head not known", count.end(), Some(2.0));

    let count = Count::begin(&sides);
    let events = log.read_all(&ctx, &known).await?;
    // Both at the same time: the events, and the leader's word on how many there must be.
    row("requests: load a short stream", count.end(), Some(2.0));

    let sides = servers.again(sides).await?;
    let log = &sides.log;
    let count = Count::begin(&sides);
    let loaded = log.read_all(&ctx, &known).await?;
    log.append(
        &ctx,
        workload::append(&known, events.len() as u64, &event, 1),
    )
    .await?;
    row("requests: load, then append", count.end(), Some(3.0));
    if loaded.len() != 22 {
        return Err(format!("the stream has {} events", loaded.len()).into());
    }
    Ok(())
}

/// Counts the requests of a store.
struct Count<'a> {
    sides: &'a Sides,
    before: u64,
}

impl<'a> Count<'a> {
    fn begin(sides: &'a Sides) -> Self {
        let before = sides.store.requests_sent();
        Self { sides, before }
    }

    fn end(self) -> u64 {
        self.sides.store.requests_sent() - self.before
    }
}
