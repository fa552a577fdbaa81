//! `cim schema`: the lock file of persisted shapes.

mod check;
mod file;
mod past;
mod show;

use clap::{Args, Subcommand};

use crate::error::Failure;
use crate::session::Session;

/// Check the file that locks the shapes of what is stored
///
/// `cim-schemas.lock` says, for every event type and schema version, what its payload looks like. A
/// test of the application writes it and compares the code with it (`SchemaLock`); `check` sees to
/// it that the file itself is not rewritten, and that a store holds nothing else than it says.
/// docs/guide/schema_lock.md has the rules.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    #[command(subcommand)]
    command: SchemaCommand,
}

#[derive(Debug, Subcommand)]
enum SchemaCommand {
    Check(check::CheckArgs),
    Show(show::ShowArgs),
}

impl SchemaArgs {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        match self.command {
            SchemaCommand::Check(args) => args.run(session).await,
            SchemaCommand::Show(args) => args.run(session),
        }
    }
}
