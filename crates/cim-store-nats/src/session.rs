//! What an open store shares: the connection, the settings, what is known of the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cim_store::{Context, EventLogError, Fault, FlushPolicy, Limits, PortError, PortErrorKind};
use tokio::sync::watch;

use crate::api::{Api, Failure};
use crate::budget::Budget;
use crate::doubt::ShorterLog;
use crate::error;
use crate::server::ServerTime;
use crate::settings::NatsSettings;

/// For so long a server may be behind after its cluster changed its leader.
pub(crate) const BEHIND: Duration = Duration::from_secs(8);

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
    /// It is only looked at: nothing is changed.
    inspected: AtomicBool,
    closing: watch::Sender<bool>,
    /// The highest sequence of the log that this process was told of.
    highest: AtomicU64,
    /// The epoch in which the log's end was compared with it.
    compared: AtomicU64,
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
        let told = *epoch.borrow();
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
            inspected: AtomicBool::new(false),
            closing: watch::Sender::new(false),
            highest: AtomicU64::new(0),
            compared: AtomicU64::new(told),
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

    /// Changes nothing from now on.
    pub(crate) fn only_inspect(&self) {
        self.inspected.store(true, Ordering::Release);
    }

    pub(crate) fn is_inspected(&self) -> bool {
        self.inspected.load(Ordering::Acquire)
    }

    /// Refuses what might change the store where it is only looked at.
    pub(crate) fn check_not_inspected<K: PortErrorKind>(&self) -> Result<(), PortError<K>> {
        if self.is_inspected() {
            return Err(error::inspected());
        }
        Ok(())
    }

    /// Refuses to write where what is stored is damaged, and where it is only looked at.
    pub(crate) fn check_writable(&self) -> Result<(), EventLogError> {
        self.check_not_inspected()?;
        if self.damaged.load(Ordering::Acquire) {
            return Err(error::holes(self.log_stream()));
        }
        Ok(())
    }

    /// A message of the log stands at this sequence.
    pub(crate) fn saw(&self, sequence: u64) {
        self.highest.fetch_max(sequence, Ordering::AcqRel);
    }

    /// The last position of the log that this process was told of; 0 where it was of none.
    pub(crate) fn highest(&self) -> u64 {
        self.highest.load(Ordering::Acquire)
    }

    /// Checks, once after the connection was made again, that the log still has what this process
    /// knows of: a server that lost its latest messages would take events behind a gap. Heads that
    /// are remembered can't be believed any more then.
    pub(crate) async fn check_kept(&self, budget: &Budget) -> Result<(), EventLogError> {
        let epoch = *self.epoch.borrow();
        let highest = self.highest();
        if highest == 0 {
            self.compared.store(epoch, Ordering::Release);
        }
        if self.compared.load(Ordering::Acquire) == epoch {
            return Ok(());
        }
        // A server that was the leader may answer, or one that is not done with becoming it; so it
        // has to be said for a while.
        let mut shorter = ShorterLog::than(highest);
        loop {
            let info = self.api.stream_info(self.log_stream(), budget).await;
            let info = info.map_err(|failure| self.report(failure, "append"))?;
            let last = info.map_or(0, |info| info.state.last_seq);
            if last >= highest {
                self.compared.store(epoch, Ordering::Release);
                return Ok(());
            }
            let waited = shorter.again(self.log_stream(), last, budget).await;
            if let Err(error) = &waited
                && error.fault() == Some(Fault::Integrity)
            {
                self.stop_writing();
            }
            waited?;
        }
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
