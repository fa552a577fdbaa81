//! `cim checkpoint tiles`: the tree as files that any client of C2SP's tiled logs reads.

use std::path::{Path, PathBuf};

use cim_domain::persistence::checkpoint::Checkpoints;
use cim_domain::persistence::checkpoint::note::read_signing_key;
use cim_domain::persistence::checkpoint::tiles::pieces_of;
use cim_store::Context;
use clap::Args;
use serde::Serialize;

use super::{CheckpointLine, files, progress};
use crate::error::Failure;
use crate::session::{Session, StoreMode};

/// Write the log's tree as files for C2SP clients
///
/// Makes a checkpoint as `cim checkpoint create` does, and writes it into DIR together with the
/// tiles of the tree and the CIDs of all events, as c2sp.org/tlog-tiles says. Served by any web
/// server, or read in place, clients fetch what they need and check it against the checkpoint.
/// Payloads are not in it. Run again, it writes only what is new.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim checkpoint tiles /var/www/sales --key sales.key")]
pub(super) struct TilesArgs {
    /// The directory; it is made where there is none
    directory: PathBuf,
    /// The file with the key to sign with, which `cim checkpoint key` made
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// What was written, as JSON.
#[derive(Serialize)]
struct TilesLine<'a> {
    #[serde(flatten)]
    checkpoint: CheckpointLine<'a>,
    files: u64,
    written: u64,
}

impl TilesArgs {
    pub(super) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        let key = read_signing_key(&self.key)?;
        let store = session.open(StoreMode::MustExist).await?;
        let (ctx, checkpoints) = (Context::new(), Checkpoints::new(store));
        let ui = &mut *session.ui;
        let shown = progress(ui, "covered events");
        let checkpoint = checkpoints.create(&ctx, &key, shown).await?;
        let mut tiles = checkpoints.tile_files(&ctx, &checkpoint).await?;

        // The tiles, and the checkpoint.
        let total = pieces_of(checkpoint.size()).count() as u64 + 1;
        let mut written = 0;
        let mut shown = ui.progress("files", total);
        for (piece, done) in tiles.pieces().zip(1..) {
            let path = self.directory.join(piece.to_string());
            if !is_complete(&path, piece.bytes()) {
                if let Some(parent) = path.parent() {
                    files::make_directory(parent)?;
                }
                files::write(&path, &tiles.bytes(&ctx, piece).await?)?;
                written += 1;
            }
            shown.set(ui, done);
        }
        // Last, so that whoever reads it finds every tile that it speaks of.
        files::make_directory(&self.directory)?;
        let path = self.directory.join("checkpoint");
        let text = checkpoint.to_string();
        if !std::fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
            files::write(&path, text.as_bytes())?;
            written += 1;
        }
        shown.set(ui, total);
        drop(shown);
        let line = TilesLine {
            checkpoint: CheckpointLine::of(&checkpoint),
            files: total,
            written,
        };
        if ui.is_json() {
            return ui.json(&line);
        }
        line.checkpoint.show(ui)?;
        ui.line(format_args!("files     {}", line.files))?;
        ui.line(format_args!("written   {}", line.written))
    }
}

/// Whether the file is there. Its name says what is in it, and files are renamed when they are
/// whole, so that its length is enough.
fn is_complete(path: &Path, bytes: usize) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == bytes as u64)
}
