//! `cim completions`: what a shell needs to complete this program's command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;
use crate::error::Failure;
use crate::session::Session;

/// Print shell completions
///
/// The script for the shell goes to standard output; put it where the shell looks for it.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim completions bash > ~/.local/share/bash-completion/completions/cim
  cim completions zsh > ~/.zfunc/_cim
  cim completions fish > ~/.config/fish/completions/cim.fish")]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

impl CompletionsArgs {
    pub(crate) fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "cim", &mut script);
        session.ui.raw(&script)
    }
}
