//! `cim checkpoint prove`: the proof that an event was there, for somebody who has no store.

use std::path::PathBuf;
use std::str::FromStr;

use cim_domain::persistence::checkpoint::{Checkpoint, Checkpoints, EventAddress};
use cim_store::{Context, EventCid, Version};
use clap::Args;
use serde::Serialize;

use super::{CheckpointLine, files, number_of};
use crate::commands::{StreamError, parse_stream};
use crate::error::Failure;
use crate::out_file::{self, check_free};
use crate::session::{Session, StoreMode};

/// Prove that an event is in the log of a checkpoint
///
/// Writes a proof (c2sp.org/tlog-proof) that holds by itself: with it and the log's verifier key
/// anybody can check that the event was in the log when the checkpoint was made, without the store
/// and without any other event. `cim checkpoint verify` does so.
///
/// EVENT is `STREAM@VERSION`, or the event's CID; looking for a CID reads the CIDs of all events.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim checkpoint prove sales.order.7@1 --checkpoint sales.checkpoint --out order-7.tlog-proof
  cim checkpoint prove bafyreig… --checkpoint sales.checkpoint")]
pub(super) struct ProveArgs {
    /// The event: STREAM@VERSION, or its CID
    #[arg(value_name = "EVENT")]
    event: Address,
    /// The checkpoint to prove it against
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// Where to write the proof, instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Overwrite FILE where it exists and is a regular file
    #[arg(long, requires = "out")]
    force: bool,
}

/// EVENT.
#[derive(Clone, Debug)]
struct Address(EventAddress);

/// A text that names no event.
#[derive(Debug, thiserror::Error)]
enum AddressError {
    #[error("it is STREAM@VERSION such as sales.order.7@1, or a CID such as bafyrei…")]
    Form,
    #[error("`{0}` is no version: it is a number from 1")]
    Version(String),
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some((stream, number)) = text.rsplit_once('@') {
            let version = number.parse().ok().filter(|number| *number > 0);
            let version = version.ok_or_else(|| AddressError::Version(number.to_owned()))?;
            let stream = parse_stream(stream)?;
            return Ok(Self(EventAddress::Version(stream, Version::new(version))));
        }
        let cid: EventCid = text.parse().map_err(|_| AddressError::Form)?;
        Ok(Self(EventAddress::Cid(cid)))
    }
}

/// The proof, as JSON.
#[derive(Serialize)]
struct ProofLine<'a> {
    cid: String,
    index: u64,
    #[serde(flatten)]
    checkpoint: CheckpointLine<'a>,
    hashes: Vec<String>,
    proof: &'a str,
}

impl ProveArgs {
    pub(super) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        if let Some(path) = &self.out {
            check_free(path, self.force)?;
        }
        let checkpoint = Checkpoint::parse(&files::read(&self.checkpoint)?)?;
        let store = session.open(StoreMode::MustExist).await?;
        let (ctx, checkpoints) = (Context::new(), Checkpoints::new(store));
        let Address(event) = self.event;
        let proof = checkpoints.prove(&ctx, &event, &checkpoint).await?;
        let text = proof.to_string();
        if let Some(path) = &self.out {
            out_file::write(path, self.force, text.as_bytes())?;
        }
        let ui = &mut *session.ui;
        let line = ProofLine {
            cid: proof.cid().to_string(),
            index: proof.index(),
            checkpoint: CheckpointLine::of(&checkpoint),
            hashes: proof.hashes().iter().map(ToString::to_string).collect(),
            proof: &text,
        };
        if ui.is_json() {
            return ui.json(&line);
        }
        if self.out.is_none() {
            return ui.raw(text.as_bytes());
        }
        ui.line(format_args!("event     {}", line.cid))?;
        ui.line(format_args!("number    {}", number_of(line.index)))?;
        line.checkpoint.show(ui)
    }
}
