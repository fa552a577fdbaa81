//! A task that takes in events as they are stored.

use std::sync::Arc;
use std::time::Duration;

use cim_store::{Clock as _, Context, EventFilter, Fault as PortFault, SystemClock};
use futures_util::future::{Either, select};
use futures_util::{StreamExt as _, pin_mut};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::error::IndexError;
use super::inner::Inner;
use super::shelf::LONG;

/// So many events are taken in at once.
const AT_ONCE: usize = 512;
/// How long it is waited after a failure that may pass.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps an index fresh until it is stopped or dropped.
///
/// [`stop`](Self::stop) writes what is in memory into the bucket, so that whoever opens the index next
/// need not read it from the log. Dropping it only ends the task.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_domain::persistence::event_index::{EventIndex, IndexSettings};
///
/// let store = cim_domain::open("memory:").await?;
/// let index = EventIndex::open(&*store, IndexSettings::default()).await?;
/// let follower = index.follow();
/// assert!(!follower.has_ended()); // for a health check
/// follower.stop().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Follower {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), IndexError>>,
}

impl Follower {
    pub(super) fn begin(inner: Arc<Inner>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(inner, stopped));
        Self { stop, task }
    }

    /// Whether it ended by itself: because the store was closed, or can't be read.
    /// [`stop`](Self::stop) says why.
    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends the task, and writes what it took in into the bucket.
    ///
    /// # Errors
    /// Why it had ended before, if it had; `Log`, `Bucket` where what is in memory can't be written;
    /// `Stopped`.
    pub async fn stop(self) -> Result<(), IndexError> {
        // Where nobody listens any more the task has ended, and says why.
        let _ = self.stop.send(());
        self.task.await.map_err(IndexError::Stopped)?
    }
}

async fn run(inner: Arc<Inner>, mut stopped: oneshot::Receiver<()>) -> Result<(), IndexError> {
    loop {
        let ended = {
            let following = follow(&inner);
            pin_mut!(following);
            match select(&mut stopped, following).await {
                // Dropped, not stopped: nobody waits for anything.
                Either::Left((Err(_), _)) => return Ok(()),
                Either::Left((Ok(()), _)) => break,
                Either::Right((ended, _)) => ended,
            }
        };
        match ended {
            Ok(()) => {}
            Err(error) if may_pass(&error) => {
                let pause = SystemClock.sleep(PAUSE);
                match select(&mut stopped, pause).await {
                    Either::Left((Err(_), _)) => return Ok(()),
                    Either::Left((Ok(()), _)) => break,
                    Either::Right(_) => {}
                }
            }
            Err(error) => return Err(error),
        }
    }
    inner.persist(&Context::new()).await
}

/// Takes in what comes, until a subscription has to begin anew.
async fn follow(inner: &Arc<Inner>) -> Result<(), IndexError> {
    let ctx = Context::new();
    inner.freshen(&ctx).await?;
    inner.merge(&ctx).await?;
    let (after, epoch) = {
        let state = inner.state();
        (state.reached(), state.epoch)
    };
    let events = inner.log.subscribe(&ctx, EventFilter::all(), after).await?;
    let mut events = events.ready_chunks(AT_ONCE);
    while let Some(chunk) = events.next().await {
        let mut delivered = Vec::with_capacity(chunk.len());
        let mut ended: Result<(), IndexError> = Ok(());
        for event in chunk {
            match event {
                Ok(event) => delivered.push(event),
                Err(error) => ended = Err(error.into()),
            }
        }
        if !inner.take_delivered(&ctx, &delivered, epoch).await? {
            return Ok(());
        }
        ended?;
        inner.merge_if_wanted();
    }
    Ok(())
}

fn may_pass(error: &IndexError) -> bool {
    let fault = match error {
        IndexError::Log(error) => error.fault(),
        IndexError::Bucket(error) => match error.kind() {
            cim_store::BucketErrorKind::Unknown => Some(PortFault::Unavailable),
            _ => error.fault(),
        },
        _ => None,
    };
    fault == Some(PortFault::Unavailable)
}

impl Inner {
    /// Merges beside everything else, if there is something to merge.
    pub(super) fn merge_if_wanted(self: &Arc<Self>) {
        let wanted = &self.merge_wanted;
        if !wanted.swap(false, std::sync::atomic::Ordering::Relaxed) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let inner = Arc::clone(self);
        runtime.spawn(async move {
            // Nobody waits for it. What it leaves undone is done after the next run was written.
            let ctx = Context::new().with_timeout(&SystemClock, LONG);
            let _ = inner.merge(&ctx).await;
        });
    }
}
