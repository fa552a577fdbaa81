//! `cim checkpoint create`: signs what the log is now.

use std::path::PathBuf;

use cim_domain::persistence::checkpoint::Checkpoints;
use cim_domain::persistence::checkpoint::note::read_signing_key;
use cim_store::Context;
use clap::Args;
use serde::Serialize;

use super::{CheckpointLine, progress};
use crate::error::Failure;
use crate::out_file::{self, check_free};
use crate::session::{Session, StoreMode};

/// Sign what the log is now
///
/// Reads the events that came since the last time, adds them to the tree over the log, which is
/// kept in the store's bucket `cim-checkpoints`, and writes a signed checkpoint. Keep it elsewhere:
/// send it, print it, put it where those who can write to the store can't change it.
///
/// Each new event's CID is computed anew, and the last event that was covered has to be there
/// still. Whether older events are what they were is what `cim checkpoint verify` says. Stopped by
/// Ctrl-C, the same command goes on from where it was.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim checkpoint create --key sales.key --out sales-2026-11-20.checkpoint
  cim checkpoint create --key sales.key | mail -s checkpoint auditor@example.com")]
pub(super) struct CreateArgs {
    /// The file with the key to sign with, which `cim checkpoint key` made
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where to write the checkpoint, instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Overwrite FILE where it exists and is a regular file
    #[arg(long, requires = "out")]
    force: bool,
    /// Make the tree over the log again: it is damaged, or the log was imported again
    #[arg(long)]
    anew: bool,
}

/// The checkpoint, as JSON.
#[derive(Serialize)]
struct CreatedLine<'a> {
    #[serde(flatten)]
    line: CheckpointLine<'a>,
    checkpoint: &'a str,
}

impl CreateArgs {
    pub(super) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        if let Some(path) = &self.out {
            check_free(path, self.force)?;
        }
        let key = read_signing_key(&self.key)?;
        let store = session.open(StoreMode::MustExist).await?;
        let ui = &mut *session.ui;
        let shown = progress(ui, "covered events");
        let (ctx, checkpoints) = (Context::new(), Checkpoints::new(store));
        if self.anew {
            checkpoints.forget(&ctx).await?;
        }
        let checkpoint = checkpoints.create(&ctx, &key, shown).await?;
        let text = checkpoint.to_string();
        if let Some(path) = &self.out {
            out_file::write(path, self.force, text.as_bytes())?;
        }
        let line = CheckpointLine::of(&checkpoint);
        if ui.is_json() {
            let checkpoint = &text;
            return ui.json(&CreatedLine { line, checkpoint });
        }
        match &self.out {
            Some(_) => line.show(ui),
            None => ui.raw(text.as_bytes()),
        }
    }
}
