//! What it costs to verify what is loaded.

use std::num::NonZeroU32;
use std::path::Path;

use cim_domain::persistence::LoadVerification;
use cim_domain::prelude::*;
use cim_domain::store::ExpectedVersion;
use cim_domain::store::{Append, NewEvent, StreamId};
use serde::{Deserialize, Serialize};

use crate::measure::{Result, Stopwatch};
use crate::options::Options;
use crate::report::Report;
use crate::transport::open_in;

const STREAMS: usize = 200;
const EVENTS: usize = 100;
/// Loads of a round.
const LOADS: usize = 4_000;

#[derive(Debug, Serialize, Deserialize, DomainEvent)]
struct Noted {
    text: String,
}

#[derive(Default)]
struct Notes {
    bytes: usize,
}

impl Aggregate for Notes {
    const CONTEXT: &'static str = "bench";
    const TYPE: &'static str = "notes";
    type Id = String;
    type Event = Noted;
    type Command = ();
    type Error = std::convert::Infallible;

    fn apply(&mut self, event: &Noted) {
        self.bytes += event.text.len();
    }

    fn handle(&self, (): ()) -> std::result::Result<Vec<Noted>, Self::Error> {
        Ok(Vec::new())
    }
}

pub(crate) async fn run(options: &Options, data: &Path, report: &mut Report) -> Result<()> {
    let store = open_in(data, "loads").await?;
    let (log, ctx) = (store.log(), Context::new());
    let text = "x".repeat(240);
    for number in 0..STREAMS {
        let stream = StreamId::new("bench", "notes", &number.to_string())?;
        let event = NewEvent::json("noted", &Noted { text: text.clone() })?;
        let events = vec![event; EVENTS];
        let append = Append::new().write(stream, ExpectedVersion::NEW, events);
        log.append(&ctx, append).await?;
    }
    println!("\nLoading aggregates of {EVENTS} events with 256 bytes of payload\n");
    let settings = [
        ("unverified", LoadVerification::Off),
        ("every read verified", LoadVerification::EveryRead),
        (
            "one read in 20 verified",
            LoadVerification::Sampled {
                one_in: NonZeroU32::new(20).ok_or("20 is not 0")?,
            },
        ),
    ];
    let mut rates = [const { Vec::new() }; 3];
    for _ in 0..options.rounds {
        for ((_, setting), rates) in settings.iter().zip(&mut rates) {
            let notes = Repository::<Notes>::new(log.clone()).with_verification(*setting);
            let watch = Stopwatch::start();
            for number in 0..LOADS {
                let loaded = notes.load(&ctx, &(number % STREAMS).to_string()).await?;
                if loaded.version.get() != EVENTS as u64 {
                    return Err("a load was short".into());
                }
            }
            rates.push(LOADS as f64 / watch.seconds());
        }
    }
    let mut raw = None;
    for ((name, _), rates) in settings.iter().zip(&rates) {
        let rate = report.rate_in("loads/s", &format!("load, {name}"), rates, raw, None);
        raw = raw.or(Some(rate));
    }
    store.close().await?;
    Ok(())
}
