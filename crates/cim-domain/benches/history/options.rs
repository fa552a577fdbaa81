//! The command line.

use crate::measure::Result;

pub(crate) const HELP: &str = "\
Measures verifying, loading, exporting and importing whole histories and prints one table.

  cargo xtask bench history [--quick] [-- OPTIONS]

  --quick      one round, with a tenth of the events
  --events N   events in the history (200 000; with --quick 20 000), 1 KiB of payload each;
               conversations are found in five times as many
  --rounds N   rounds of every measurement (3; with --quick 1)
  --only PART  one part alone: chains, conversations, loads or transport
  --help       this text
";

pub(crate) struct Options {
    pub(crate) events: usize,
    pub(crate) rounds: usize,
    /// The only part that is measured; `None`: all.
    only: Option<String>,
}

impl Options {
    pub(crate) fn has(&self, part: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == part)
    }
}

pub(crate) enum Command {
    Help,
    Run(Options),
}

pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Command> {
    let mut arguments = arguments;
    let (mut quick, mut events, mut rounds, mut only) = (false, None, None, None);
    while let Some(argument) = arguments.next() {
        if argument == "--only" {
            let part = arguments.next().unwrap_or_default();
            if !["chains", "conversations", "loads", "transport"].contains(&part.as_str()) {
                return Err("--only takes chains, conversations, loads or transport".into());
            }
            only = Some(part);
            continue;
        }
        let mut number = || -> Result<usize> {
            let value = arguments
                .next()
                .ok_or(format!("{argument} needs a number"))?;
            Ok(value.parse()?)
        };
        match argument.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--quick" => quick = true,
            "--events" => events = Some(number()?),
            "--rounds" => rounds = Some(number()?.max(1)),
            // What cargo adds.
            "--bench" => {}
            other => return Err(format!("there is no option `{other}`; see --help").into()),
        }
    }
    Ok(Command::Run(Options {
        events: events.unwrap_or(if quick { 20_000 } else { 200_000 }),
        rounds: rounds.unwrap_or(if quick { 1 } else { 3 }),
        only,
    }))
}
