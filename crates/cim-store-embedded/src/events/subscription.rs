//! Following the log: what is stored, then what is being stored.
//!
//! A subscription reads the log itself, at its own pace. The writer only tells that there is more,
//! so nothing is buffered and nothing can be missed.

use std::sync::Arc;

use cim_store::{EventLogError, EventStream, RecordedEvent};
use futures_util::{StreamExt, stream};
use tokio::sync::watch;

use crate::error::EngineError;
use crate::events::log_read::LogRead;
use crate::journal::{Journal, Tail};

/// Events delivered between two looks at the queue of tasks.
const BATCH: usize = 256;
/// Bytes of payload in a batch.
const BATCH_BYTES: usize = 1 << 20;

struct Following {
    journal: Arc<Journal>,
    read: LogRead,
    tail: watch::Receiver<Tail>,
}

impl Following {
    /// The next events; waits until there are some.
    async fn next_batch(&mut self) -> Result<Vec<RecordedEvent>, EventLogError> {
        loop {
            // What is told from here on is not in what has been read.
            let closed = self.tail.borrow_and_update().closed;
            self.read.extend();
            let batch = self.take_batch()?;
            if !batch.is_empty() {
                return Ok(batch);
            }
            if closed || self.tail.changed().await.is_err() {
                return Err(self
                    .journal
                    .closed()
                    .unwrap_or_else(EngineError::closed)
                    .into());
            }
        }
    }

    fn take_batch(&mut self) -> Result<Vec<RecordedEvent>, EventLogError> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let Some(event) = self.read.next() else { break };
            let event = event?;
            bytes += event.payload.len();
            batch.push(event);
        }
        Ok(batch)
    }
}

/// Delivers what `read` has and goes on with what is stored from then on.
pub(crate) fn follow(
    journal: Arc<Journal>,
    read: LogRead,
    tail: watch::Receiver<Tail>,
) -> EventStream {
    let following = Following {
        journal,
        read,
        tail,
    };
    let batches = stream::unfold(Some(following), |following| async move {
        let mut following = following?;
        Some(match following.next_batch().await {
            Ok(batch) => (
                batch.into_iter().map(Ok).collect::<Vec<_>>(),
                Some(following),
            ),
            Err(error) => (vec![Err(error)], None),
        })
    });
    batches.flat_map(stream::iter).boxed()
}
