//! Reading the log from its begin to its end.

use cim_store::{Context, LogQuery};
use futures_util::StreamExt;

use crate::bare;
use crate::cpu::CpuTime;
use crate::latencies::{Latencies, Sample};
use crate::measure::{Result, Stopwatch};
use crate::options::Options;
use crate::report::{Compared, Round, Row};
use crate::servers::Sides;

pub(crate) async fn run(options: &Options, sides: &Sides, events: u64) -> Result<Row> {
    let mut compared = Compared::default();
    for _ in 0..options.rounds {
        if options.bare {
            let (watch, time) = (Stopwatch::start(), CpuTime::start()?);
            bare::read_log(&sides.client, &sides.jetstream, events).await?;
            compared.bare(round(events, &watch, &time)?);
        }
        let (watch, time) = (Stopwatch::start(), CpuTime::start()?);
        let mut log = sides.log.read_log(&Context::new(), LogQuery::all()).await?;
        let mut read = 0;
        while let Some(event) = log.next().await {
            event?;
            read += 1;
        }
        if read != events {
            return Err(format!("the log has {read} of {events} events").into());
        }
        compared.ours(round(events, &watch, &time)?);
    }
    Ok(Row::rates(compared).named("read the log, events/s"))
}

fn round(events: u64, watch: &Stopwatch, time: &CpuTime) -> Result<Round> {
    let rate = events as f64 / watch.seconds();
    Ok(Round {
        sample: Sample::of(Latencies::default(), rate),
        cpu: time.micros_per_call(events as usize)?,
    })
}
