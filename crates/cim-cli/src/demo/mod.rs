//! `cim demo`: histories stored, read back and proved: a real one, which nobody here wrote, equal to
//! its source, and the one of a made-up application equal to the bytes that it stored.

pub mod git;
pub mod inventory;

use clap::{Args, Subcommand};

use crate::error::Failure;
use crate::session::Session;

/// See histories stored, read back and proved
#[derive(Debug, Args)]
pub struct DemoArgs {
    #[command(subcommand)]
    command: DemoCommand,
}

#[derive(Debug, Subcommand)]
enum DemoCommand {
    Git(git::GitArgs),
    Inventory(inventory::InventoryArgs),
}

impl DemoArgs {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        match self.command {
            DemoCommand::Git(args) => args.run(session).await,
            DemoCommand::Inventory(args) => args.run(session).await,
        }
    }
}
