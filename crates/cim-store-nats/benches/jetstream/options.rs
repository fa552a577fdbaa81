//! The command line.

use std::time::Duration;

use crate::measure::Result;

pub(crate) const HELP: &str = "\
Measures the NATS adapter against async-nats by itself and prints one table.

  cargo xtask bench nats [OPTIONS]

  --quick          one short round of everything, with 100 k events to load and read
  --only SECTIONS  of trips,singles,batches,loads,log, with commas between
  --replicas N     1 or 3 only
  --callers N      appends with so many callers only
  --connections N  our appends over so many connections (1)
  --rounds N       rounds of every measurement (3; with --quick 1)
  --sync-always    servers that flush before they acknowledge
  --without-bare   ours alone, to look at with a profiler
  --help           this text
";

/// A part of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Trips,
    Singles,
    Batches,
    Loads,
    Log,
}

pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) sync_always: bool,
    /// Whether what is compared with is measured too.
    pub(crate) bare: bool,
    only: Vec<Section>,
    replicas: Option<u8>,
    callers: Option<usize>,
    /// Over how many connections our appends go.
    pub(crate) connections: usize,
}

impl Options {
    pub(crate) fn wants(&self, section: Section) -> bool {
        self.only.is_empty() || self.only.contains(&section)
    }

    pub(crate) fn wants_replicas(&self, replicas: u8) -> bool {
        self.replicas.is_none_or(|wanted| wanted == replicas)
    }

    pub(crate) fn wants_callers(&self, callers: usize) -> bool {
        self.callers.is_none_or(|wanted| wanted == callers)
    }

    /// How long appends are counted in every round.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_millis(if self.quick { 500 } else { 1_500 })
    }

    /// How many streams of 10 events the store has that is loaded from: at first, and in the end.
    pub(crate) fn streams(&self) -> [usize; 2] {
        if self.quick {
            [3_000, 10_000]
        } else {
            [30_000, 100_000]
        }
    }

    /// How many short streams are loaded in every round.
    pub(crate) fn loads(&self) -> usize {
        if self.quick { 1_000 } else { 5_000 }
    }
}

pub(crate) enum Command {
    Help,
    Run(Options),
}

pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Command> {
    let mut options = Options {
        quick: false,
        rounds: 0,
        sync_always: false,
        bare: true,
        only: Vec::new(),
        replicas: None,
        callers: None,
        connections: 1,
    };
    while let Some(argument) = arguments.next() {
        let mut value = |what: &str| {
            arguments
                .next()
                .ok_or_else(|| format!("{argument} needs {what}"))
        };
        match argument.as_str() {
            "--bench" => {} // what cargo passes to every benchmark
            "--quick" => options.quick = true,
            "--sync-always" => options.sync_always = true,
            "--without-bare" => options.bare = false,
            "--help" | "-h" => return Ok(Command::Help),
            "--rounds" => options.rounds = value("a number")?.parse::<usize>()?.max(1),
            "--replicas" => options.replicas = Some(value("a number")?.parse()?),
            "--connections" => options.connections = value("a number")?.parse::<usize>()?.max(1),
            "--callers" => options.callers = Some(value("a number")?.parse()?),
            "--only" => {
                for name in value("sections")?.split(',') {
                    options.only.push(match name {
                        "trips" => Section::Trips,
                        "singles" => Section::Singles,
                        "batches" => Section::Batches,
                        "loads" => Section::Loads,
                        "log" => Section::Log,
                        other => return Err(format!("there is no section `{other}`").into()),
                    });
                }
            }
            other => return Err(format!("there is no option `{other}`; see --help").into()),
        }
    }
    if options.rounds == 0 {
        options.rounds = if options.quick { 1 } else { 3 };
    }
    Ok(Command::Run(options))
}
