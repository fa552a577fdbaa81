//! `cim checkpoint consistency`: that between two checkpoints history only grew.

use std::path::PathBuf;

use cim_domain::persistence::checkpoint::{Checkpoint, Checkpoints, ConsistencyProof};
use cim_store::Context;
use clap::Args;
use serde::Serialize;

use super::{CheckpointLine, files};
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::out_file::{self, check_free};
use crate::output::{Style, Ui};
use crate::session::{Session, StoreMode};

/// Prove that between two checkpoints history only grew
///
/// Checks who signed them, and proves from the tree in the store that the log of OLD is the
/// beginning of the log of NEW. The proof holds by itself: `--out` writes it in the form that
/// witnesses take (c2sp.org/tlog-witness, `add-checkpoint`), and `cim checkpoint verify FILE --old
/// OLD` checks it without any store.
///
/// It speaks of the two checkpoints. Whether the log still is what they say is what
/// `cim checkpoint verify` says.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim checkpoint consistency october.checkpoint november.checkpoint --key sales.vkey
  cim checkpoint consistency october.checkpoint november.checkpoint --key sales.vkey --out growth")]
pub(super) struct ConsistencyArgs {
    /// The older checkpoint
    old: PathBuf,
    /// The newer one
    new: PathBuf,
    /// The log's verifier key, or a file that has it
    #[arg(long, value_name = "KEY")]
    key: String,
    /// Where to write the proof
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Overwrite FILE where it exists and is a regular file
    #[arg(long, requires = "out")]
    force: bool,
}

/// The result, as JSON.
#[derive(Serialize)]
struct ConsistencyLine<'a> {
    old: CheckpointLine<'a>,
    new: CheckpointLine<'a>,
    hashes: Vec<String>,
    verdict: &'static str,
}

impl ConsistencyArgs {
    pub(super) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        if let Some(path) = &self.out {
            check_free(path, self.force)?;
        }
        let key = files::verifier_key(&self.key)?;
        let old = files::open_checkpoint(&self.old, &key)?;
        let new = files::open_checkpoint(&self.new, &key)?;
        if old.size() > new.size() {
            let (old, new) = (old.size(), new.size());
            let error = format!("OLD has {old} events and NEW only {new}");
            return Err(Failure::new(ExitCode::Invalid, error)
                .with_hint("name the checkpoint with fewer events first"));
        }
        let store = session.open(StoreMode::MustExist).await?;
        let (ctx, checkpoints) = (Context::new(), Checkpoints::new(store));
        let proof = checkpoints.consistency(&ctx, &old, &new).await?;
        if let Some(path) = &self.out {
            out_file::write(path, self.force, proof.to_string().as_bytes())?;
        }
        show_growth(session.ui, &old, &proof)
    }
}

/// Says that a proof of growth holds.
pub(super) fn show_growth(
    ui: &mut Ui,
    old: &Checkpoint,
    proof: &ConsistencyProof,
) -> Result<(), Failure> {
    let line = ConsistencyLine {
        old: CheckpointLine::of(old),
        new: CheckpointLine::of(proof.checkpoint()),
        hashes: proof.hashes().iter().map(ToString::to_string).collect(),
        verdict: "consistent",
    };
    if ui.is_json() {
        return ui.json(&line);
    }
    ui.line(format_args!("log       {}", line.new.origin))?;
    ui.line(format_args!(
        "old       {} {}",
        line.old.size, line.old.root
    ))?;
    ui.line(format_args!(
        "new       {} {}",
        line.new.size, line.new.root
    ))?;
    let verdict = ui.paint(Style::Good, "consistent: history only grew");
    ui.line(format_args!("verdict   {verdict}"))
}
