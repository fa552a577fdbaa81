//! What a command works with: the terminal, the store, time, and Ctrl-C.
//!
//! Commands see ports only. [`OpenStore`] is where the store comes from: [`Environment::system`]
//! chooses by URL, a test brings its own.

use std::fmt;
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
        let is_nats = self.url.starts_with("nats:") || self.url.starts_with("tls:");
        match self.url.rsplit_once('@') {
            Some((before, host)) if is_nats => {
                let scheme = before.split_once(':').map_or("", |(scheme, _)| scheme);
                format!("{scheme}://…@{host}")
            }
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
}

impl Environment {
    /// Stores by URL, and the machine's own clock.
    pub fn system(interrupt: Interrupt) -> Self {
        Self {
            opener: Arc::new(OpenByUrl),
            clock: Arc::new(SystemClock),
            interrupt,
        }
    }
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
