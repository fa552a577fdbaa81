//! Ctrl-C, as a value that long work asks.
//!
//! The first Ctrl-C asks the command to come to rest, the second ends the program at once; what
//! was acknowledged is stored in either case.

use tokio::sync::watch;

use crate::exit_code::ExitCode;

/// Whether the user asked to stop.
#[derive(Clone, Debug)]
pub struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Stops at Ctrl-C. Needs a tokio runtime with its signal driver.
    pub fn on_ctrl_c() -> Self {
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            // Where signals can't be had, Ctrl-C ends the process as it does by default.
            if tokio::signal::ctrl_c().await.is_ok() {
                let _ = sender.send(true);
                if tokio::signal::ctrl_c().await.is_ok() {
                    std::process::exit(i32::from(ExitCode::Interrupted.number()));
                }
            }
            std::future::pending::<()>().await;
        });
        Self(receiver)
    }

    /// Stops when the sender sends `true`; never once the sender is dropped.
    pub fn from_channel(receiver: watch::Receiver<bool>) -> Self {
        Self(receiver)
    }

    /// Whether to stop.
    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when it is time to stop.
    pub(crate) async fn wait(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
