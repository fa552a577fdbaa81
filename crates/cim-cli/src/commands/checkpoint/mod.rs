//! `cim checkpoint`: signed statements of what the log was, and what they prove.

mod consistency;
mod create;
mod failure;
mod files;
mod key;
mod prove;
mod tiles;
mod verify;

use cim_domain::persistence::checkpoint::{self, Checkpoint};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::error::Failure;
use crate::output::Ui;
use crate::session::Session;

/// Sign what the log is now, and prove later that it only grew
///
/// A checkpoint is a few lines of text: how many events the log had, and one hash for all of them,
/// signed. Kept where nobody who can write to the store can change it, it proves that history was
/// not rewritten: `verify` compares the log with it, `prove` proves to others that an event was
/// there, `consistency` proves that of two checkpoints one is the beginning of the other. The
/// formats are those of C2SP (c2sp.org), so other tools can check them. docs/guide/checkpoints.md
/// says how to keep checkpoints, and what they can't prove.
#[derive(Debug, Args)]
pub struct CheckpointArgs {
    #[command(subcommand)]
    command: CheckpointCommand,
}

#[derive(Debug, Subcommand)]
enum CheckpointCommand {
    Key(key::KeyArgs),
    Create(create::CreateArgs),
    Verify(verify::VerifyArgs),
    Prove(prove::ProveArgs),
    Consistency(consistency::ConsistencyArgs),
    Tiles(tiles::TilesArgs),
}

impl CheckpointArgs {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        match self.command {
            CheckpointCommand::Key(args) => args.run(session),
            CheckpointCommand::Create(args) => args.run(session).await,
            CheckpointCommand::Verify(args) => args.run(session).await,
            CheckpointCommand::Prove(args) => args.run(session).await,
            CheckpointCommand::Consistency(args) => args.run(session).await,
            CheckpointCommand::Tiles(args) => args.run(session).await,
        }
    }
}

/// A checkpoint, as JSON.
#[derive(Serialize)]
struct CheckpointLine<'a> {
    origin: &'a str,
    size: u64,
    root: String,
}

impl<'a> CheckpointLine<'a> {
    fn of(checkpoint: &'a Checkpoint) -> Self {
        Self {
            origin: checkpoint.origin(),
            size: checkpoint.size(),
            root: checkpoint.root().to_string(),
        }
    }

    fn show(&self, ui: &mut Ui) -> Result<(), Failure> {
        ui.line(format_args!("log       {}", self.origin))?;
        ui.line(format_args!("events    {}", self.size))?;
        ui.line(format_args!("root      {}", self.root))
    }
}

/// An event's number for people, who count from 1; the formats' index counts from 0.
fn number_of(index: u64) -> u64 {
    index.saturating_add(1)
}

/// Shows how far work over events has come.
fn progress(ui: &mut Ui, what: &'static str) -> impl FnMut(checkpoint::Progress) + Send {
    /// A terminal or a file is no place for a line per event.
    const STEP: u64 = 1024;
    let mut shown = None;
    move |now| {
        if now.done.is_multiple_of(STEP) || now.done == now.total {
            let shown = shown.get_or_insert_with(|| ui.progress(what, now.total));
            shown.set(ui, now.done);
        }
    }
}
