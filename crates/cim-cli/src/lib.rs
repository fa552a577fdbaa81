//! What the program `cim` does: the command line over the ports.
//!
//! [`run`] parses a command line and runs one command, writing to a [`Ui`]. The store comes from
//! [`Environment::opener`], so a test runs every command against a store of its own; commands see
//! the ports and never an adapter.
//!
//! ```
//! use cim_cli::{Environment, ExitCode, Interrupt, Ui};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let (mut ui, captured) = Ui::captured();
//! let environment = Environment::system(Interrupt::on_ctrl_c());
//! let command = ["cim", "--store", "memory:", "append", "sales.order.7", "order_placed"];
//! let code = cim_cli::run(command, &mut ui, &environment).await;
//! assert_eq!(code, ExitCode::Ok);
//! assert!(captured.out().contains("version   1"));
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```

pub mod args;
pub mod commands;
pub mod demo;
mod error;
mod exit_code;
mod interrupt;
mod kept_heads;
mod open;
mod out_file;
mod output;
mod render;
mod session;

use std::ffi::OsString;

use clap::Parser;

pub use error::Failure;
pub use exit_code::ExitCode;
pub use interrupt::Interrupt;
pub use output::{Captured, ColorChoice, Ui};
pub use session::{Environment, OpenStore, StoreAddress, StoreMode};

use args::{Cli, Command};
use session::Session;

/// Runs the command that `args` name, the program's own name first. Results, notices and errors
/// are written to `ui`.
pub async fn run(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ui: &mut Ui,
    environment: &Environment,
) -> ExitCode {
    let ended = match Cli::try_parse_from(args) {
        Ok(cli) => {
            ui.configure(cli.global.color, cli.global.quiet, cli.global.json);
            execute(cli, ui, environment).await
        }
        Err(error) => ui.usage(&error).and_then(|()| match error.exit_code() {
            0 => Ok(()),
            _ => Err(Failure::reported(ExitCode::Usage)),
        }),
    };
    match ended.and_then(|()| ui.flush()) {
        Ok(()) => ExitCode::Ok,
        Err(failure) => {
            // What was written before the error comes first; if that fails too, so be it.
            let _ = ui.flush();
            ui.failure(&failure);
            failure.code()
        }
    }
}

/// Says that the program could not even start.
pub fn report_start_failure(ui: &mut Ui, error: std::io::Error) -> ExitCode {
    ui.failure(&Failure::new(ExitCode::Failure, error));
    ExitCode::Failure
}

async fn execute(cli: Cli, ui: &mut Ui, environment: &Environment) -> Result<(), Failure> {
    let address = StoreAddress {
        url: cli.global.store,
        nats: cli.global.nats.into(),
    };
    let mut session = Session::new(ui, address, environment);
    let ended = match cli.command {
        // These write, so they come to rest by themselves.
        Command::Append(args) => args.run(&mut session).await,
        Command::Import(args) => args.run(&mut session).await,
        Command::Demo(args) => args.run(&mut session).await,
        reading => tokio::select! {
            ended = read(reading, &mut session) => ended,
            () = environment.interrupt.wait() => Err(Failure::reported(ExitCode::Interrupted)),
        },
    };
    let closed = session.close().await;
    ended.and(closed)
}

async fn read(command: Command, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        Command::Append(args) => args.run(session).await,
        Command::Streams(args) => args.run(session).await,
        Command::Events(args) => args.run(session).await,
        Command::Log(args) => args.run(session).await,
        Command::Stats(args) => args.run(session).await,
        Command::Health(args) => args.run(session).await,
        Command::Doctor(args) => args.run(session).await,
        Command::Verify(args) => args.run(session).await,
        Command::Export(args) => args.run(session).await,
        Command::Import(args) => args.run(session).await,
        // Stopped anywhere, the tree is what it was or what it was to be.
        Command::Checkpoint(args) => args.run(session).await,
        Command::Schema(args) => args.run(session).await,
        Command::Demo(args) => args.run(session).await,
        Command::Completions(args) => args.run(session),
    }
}
