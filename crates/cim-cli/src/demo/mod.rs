//! `cim demo`: real histories, which nobody here wrote, stored, read back and proved equal to
//! their source.

pub mod git;

use clap::{Args, Subcommand};

use crate::error::Failure;
use crate::session::Session;

/// See a real history stored, read back and proved
#[derive(Debug, Args)]
pub struct DemoArgs {
    #[command(subcommand)]
    command: DemoCommand,
}

#[derive(Debug, Subcommand)]
enum DemoCommand {
    Git(git::GitArgs),
}

impl DemoArgs {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        match self.command {
            DemoCommand::Git(args) => args.run(session).await,
        }
    }
}
