//! What an open store shares: the connection, the settings, what is known of the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cim_store::{Context, FlushPolicy, Limits, PortError, PortErrorKind};
use tokio::sync::watch;

use crate::api::{Api, Failure};
use crate::budget::Budget;
use crate::error;
use crate::server::ServerTime;
use crate::settings::NatsSettings;

/// An open store's connection and settings.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) settings: NatsSettings,
    pub(crate) api: Api,
    pub(crate) time: ServerTime,
    pub(crate) limits: Limits,
    pub(crate) flush: FlushPolicy,
    /// How many copies the log has.
    pub(crate) replicas: u8,
    /// Rises whenever the connection was lost or made again: consumers look whether they are alive.
    pub(crate) epoch: watch::Receiver<u64>,
    closed: AtomicBool,
    /// Messages of the log are missing on the server.
    damaged: AtomicBool,
    closing: watch::Sender<bool>,
}

impl Session {
    pub(crate) fn new(
        settings: NatsSettings,
        api: Api,
        time: ServerTime,
        limits: Limits,
        flush: FlushPolicy,
        replicas: u8,
        epoch: watch::Receiver<u64>,
    ) -> Arc<Self> {
        Arc::new(Self {
            settings,
            api,
            time,
            limits,
            flush,
            replicas,
            epoch,
            closed: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            closing: watch::Sender::new(false),
        })
    }

    /// Begins an operation: refuses it after closing and after its deadline.
    pub(crate) fn begin<K: PortErrorKind>(
        &self,
        ctx: &Context,
        operation: &str,
    ) -> Result<Budget, PortError<K>> {
        if self.is_closed() {
            return Err(error::closed());
        }
        if ctx.is_expired(&*self.settings.clock) {
            return Err(PortError::deadline_passed(operation));
        }
        Ok(self.budget(ctx))
    }

    /// Refuses to write from now on.
    pub(crate) fn stop_writing(&self) {
        self.damaged.store(true, Ordering::Release);
    }

    /// Refuses to write where what is stored is damaged.
    pub(crate) fn check_writable(&self) -> Result<(), cim_store::EventLogError> {
        if self.damaged.load(Ordering::Acquire) {
            return Err(error::holes(self.log_stream()));
        }
        Ok(())
    }

    /// How long an operation may take.
    pub(crate) fn budget(&self, ctx: &Context) -> Budget {
        let connection = &self.settings.connection;
        Budget::new(
            ctx,
            &self.settings.clock,
            connection.operation_timeout,
            connection.request_timeout,
        )
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ends with the store.
    pub(crate) async fn until_closed(&self) {
        let mut closing = self.closing.subscribe();
        // The sender lives as long as `self`, so this ends only with a close.
        let _ = closing.wait_for(|closed| *closed).await;
    }

    /// Refuses everything from now on and ends what waits. Says whether it was open.
    pub(crate) fn close(&self) -> bool {
        let was_open = !self.closed.swap(true, Ordering::AcqRel);
        self.closing.send_replace(true);
        self.api.requests.close();
        was_open
    }

    /// Reports a failure, after closing as `Closed`.
    pub(crate) fn report<K: PortErrorKind>(
        &self,
        failure: Failure,
        operation: &str,
    ) -> PortError<K> {
        if self.is_closed() {
            return error::closed();
        }
        error::report(failure, operation)
    }

    /// The JetStream stream that is the log.
    pub(crate) fn log_stream(&self) -> &str {
        &self.settings.stream
    }
}
