//! What a command works with: the terminal, the store, time, and Ctrl-C.
//!
//! Commands see ports only. [`OpenStore`] is where the store comes from: [`Environment::system`]
//! chooses by URL, a test brings its own.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use cim_domain::NatsOptions;
use cim_store::{Clock, Store, SystemClock};

use crate::error::Failure;
use crate::interrupt::Interrupt;
use crate::open::OpenByUrl;
use crate::output::Ui;

/// Whether a command may create the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreMode {
    /// Create it where it does not exist.
    Create,
    /// A store that does not exist is an error.
    MustExist,
    /// Only look at it, also where it is so damaged that it can't be opened.
    Inspect,
}

/// Which store, and how to get there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreAddress {
    /// Its URL, which may hold a password.
    pub url: String,
    /// How a store on NATS is opened.
    pub nats: NatsOptions,
}

impl StoreAddress {
    /// The URL without the user and the password that it may hold: a password can have any
    /// character, so nothing is kept that might be a part of one.
    pub fn shown(&self) -> String {
        let scheme = self.url.split_once(':').map_or("", |(scheme, _)| scheme);
        let is_path = ["memory", "embedded"]
            .iter()
            .any(|path| scheme.eq_ignore_ascii_case(path));
        match self.url.rsplit_once('@') {
            Some((_, host)) if !is_path => format!("{scheme}://…@{host}"),
            _ => self.url.clone(),
        }
    }
}

/// Where stores come from.
#[async_trait]
pub trait OpenStore: Send + Sync + fmt::Debug {
    /// Opens the store at an address.
    ///
    /// # Errors
    /// What the user is told when it can't be opened.
    async fn open(
        &self,
        address: &StoreAddress,
        mode: StoreMode,
    ) -> Result<Arc<dyn Store>, Failure>;
}

/// What commands need from outside.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Where stores come from.
    pub opener: Arc<dyn OpenStore>,
    /// Measures how long work takes.
    pub clock: Arc<dyn Clock>,
    /// Whether the user asked to stop.
    pub interrupt: Interrupt,
    /// Where programs keep what they want to remember of this user's work; `None`: nothing is kept
    /// unless a file is named.
    pub state_directory: Option<PathBuf>,
}

impl Environment {
    /// Stores by URL, and the machine's own clock.
    pub fn system(interrupt: Interrupt) -> Self {
        Self {
            opener: Arc::new(OpenByUrl),
            clock: Arc::new(SystemClock),
            interrupt,
            state_directory: state_directory(),
        }
    }
}

/// `$XDG_STATE_HOME`, or `$HOME/.local/state` (XDG Base Directory Specification 0.8).
fn state_directory() -> Option<PathBuf> {
    let absolute = |name| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))
}

/// One run of one command.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    pub(crate) ui: &'a mut Ui,
    pub(crate) address: StoreAddress,
    pub(crate) environment: &'a Environment,
    opened: Option<Arc<dyn Store>>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(ui: &'a mut Ui, address: StoreAddress, environment: &'a Environment) -> Self {
        Self {
            ui,
            address,
            environment,
            opened: None,
        }
    }

    /// Opens the store; [`close`](Self::close) closes it.
    pub(crate) async fn open(&mut self, mode: StoreMode) -> Result<Arc<dyn Store>, Failure> {
        let store = self.environment.opener.open(&self.address, mode).await?;
        self.opened = Some(Arc::clone(&store));
        Ok(store)
    }

    /// Brings the store to rest.
    pub(crate) async fn close(&mut self) -> Result<(), Failure> {
        match self.opened.take() {
            Some(store) => Ok(store.close().await?),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_who_connects() {
        for (url, shown) in [
            ("nats://u:p@h:1,u:p@i:2,j", "nats://…@i:2,j"),
            ("NATS://u:p@h", "NATS://…@h"),
            ("tls://token@h", "tls://…@h"),
            ("nats://h:4222", "nats://h:4222"),
            ("embedded:./me@home", "embedded:./me@home"),
            ("memory:", "memory:"),
        ] {
            let address = StoreAddress {
                url: url.to_owned(),
                ..StoreAddress::default()
            };
            assert_eq!(address.shown(), shown);
        }
    }
}
