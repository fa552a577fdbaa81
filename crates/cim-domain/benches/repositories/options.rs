//! The command line.

use std::time::Duration;

use crate::measure::Result;

pub(crate) const HELP: &str = "\
Measures commands on aggregates and loads of them and prints one table.

  cargo xtask bench repositories [--quick] [-- OPTIONS]

  --quick        one short round
  --callers N    callers with one call under way each (256)
  --rounds N     rounds of every measurement (5; with --quick 1)
  --millis N     how long each of them lasts, in milliseconds (2 000; with --quick 500)
  --only PART    one part alone: commands or loads
  --rows TEXT    of the commands only those rows whose name begins like this
  --help         this text
";

pub(crate) struct Options {
    pub(crate) callers: usize,
    pub(crate) rounds: usize,
    pub(crate) window: Duration,
    /// Only rows of commands whose name begins like this.
    pub(crate) rows: String,
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

const PARTS: [&str; 2] = ["commands", "loads"];

pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Command> {
    let (mut quick, mut callers, mut rounds, mut millis) = (false, 256, None, None);
    let (mut rows, mut only) = (String::new(), None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--quick" => quick = true,
            // What cargo adds.
            "--bench" => {}
            "--callers" | "--rounds" | "--millis" | "--only" | "--rows" => {
                let value = arguments.next();
                let value = value.ok_or(format!("{argument} needs a value"))?;
                match argument.as_str() {
                    "--callers" => callers = value.parse::<usize>()?.max(1),
                    "--rounds" => rounds = Some(value.parse::<usize>()?.max(1)),
                    "--millis" => millis = Some(value.parse::<u64>()?.max(1)),
                    "--rows" => rows = value,
                    _ if PARTS.contains(&value.as_str()) => only = Some(value),
                    _ => return Err(format!("--only takes {}", PARTS.join(" or ")).into()),
                }
            }
            other => return Err(format!("there is no option `{other}`; see --help").into()),
        }
    }
    let window = millis.unwrap_or(if quick { 500 } else { 2_000 });
    Ok(Command::Run(Options {
        callers,
        rounds: rounds.unwrap_or(if quick { 1 } else { 5 }),
        window: Duration::from_millis(window),
        rows,
        only,
    }))
}
