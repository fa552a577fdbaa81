//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::measure::Result;

pub(crate) const HELP: &str = "\
Measures the embedded store and prints one table.

  cargo xtask bench [--quick] [-- OPTIONS]

  --quick          one short round of everything, without the 10 M events
  --only SECTIONS  of appends,reads,bulk,scale, with commas between
  --appends CELLS  of 1x1,16x1,64x1,256x1,1x10,64x10: callers x events per call
  --without-raw    appends without the raw limits, to look at with a profiler
  --rounds N       rounds of every measurement (3; with --quick 1)
  --help           this text
";

/// A part of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Appends,
    Reads,
    Bulk,
    Scale,
}

pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    /// Whether the raw limits are measured too.
    pub(crate) raw: bool,
    only: Vec<Section>,
    appends: Vec<String>,
}

impl Options {
    /// Whether appends with so many callers and events per call are wanted.
    pub(crate) fn wants_append(&self, callers: usize, events: usize) -> bool {
        let name = format!("{callers}x{events}");
        self.appends.is_empty() || self.appends.contains(&name)
    }

    pub(crate) fn wants(&self, section: Section) -> bool {
        self.only.is_empty() || self.only.contains(&section)
    }

    /// How long appends are counted in every round.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_millis(if self.quick { 400 } else { 1_000 })
    }

    /// How many events the large store gets.
    pub(crate) fn large(&self) -> u64 {
        if self.quick { 1_000_000 } else { 10_000_000 }
    }
}

/// What a process that the benchmark starts of itself has to do.
pub(crate) enum Task {
    /// To fill a store with the streams that are loaded later, and to close it.
    Fill(PathBuf),
    /// To append to a store until it is killed.
    Write(PathBuf),
    /// To append so many events, to tell its memory on the way, and to go on until it is killed.
    Grow(PathBuf, u64),
}

pub(crate) enum Command {
    Help,
    Run(Options),
    Child(Task),
}

pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Command> {
    let (mut quick, mut rounds, mut raw) = (false, None, true);
    let (mut only, mut appends) = (Vec::new(), Vec::new());
    while let Some(argument) = arguments.next() {
        let mut value = |what: &str| {
            arguments
                .next()
                .ok_or_else(|| format!("{argument} needs {what}"))
        };
        match argument.as_str() {
            "--bench" => {} // what cargo passes to every benchmark
            "--without-raw" => raw = false,
            "--quick" => quick = true,
            "--help" | "-h" => return Ok(Command::Help),
            "--rounds" => rounds = Some(value("a number")?.parse::<usize>()?.max(1)),
            "--appends" => appends.extend(value("cells")?.split(',').map(str::to_owned)),
            "--only" => {
                for name in value("sections")?.split(',') {
                    only.push(match name {
                        "appends" => Section::Appends,
                        "reads" => Section::Reads,
                        "bulk" => Section::Bulk,
                        "scale" => Section::Scale,
                        other => return Err(format!("there is no section `{other}`").into()),
                    });
                }
            }
            "--child-fill" => return Ok(Command::Child(Task::Fill(value("a path")?.into()))),
            "--child-write" => return Ok(Command::Child(Task::Write(value("a path")?.into()))),
            "--child-grow" => {
                let path = value("a path")?.into();
                let events = value("a number")?.parse()?;
                return Ok(Command::Child(Task::Grow(path, events)));
            }
            other => return Err(format!("there is no option `{other}`; see --help").into()),
        }
    }
    Ok(Command::Run(Options {
        quick,
        rounds: rounds.unwrap_or(if quick { 1 } else { 3 }),
        raw,
        only,
        appends,
    }))
}
