//! A task that takes in events as they are stored.

use std::sync::Arc;
use std::time::Duration;

use cim_store::{
    Clock as _, Context, EventFilter, EventLogError, EventStream, Fault as PortFault,
    RecordedEvent, SystemClock,
};
use futures_util::future::{Either, select};
use futures_util::{FutureExt as _, StreamExt as _, pin_mut};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::error::IndexError;
use super::inner::Inner;
use super::query::bytes_of;
use super::shelf::LONG;

/// So many events are taken in at once, and fewer where they have more bytes than this together.
const AT_ONCE: usize = 512;
const BYTES_AT_ONCE: usize = 4 << 20;
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
    let mut events = inner.log.subscribe(&ctx, EventFilter::all(), after).await?;
    while let Some(first) = events.next().await {
        let (delivered, ended) = with_what_is_ready(first, &mut events);
        if !inner.take_delivered(&ctx, &delivered, epoch).await? {
            return Ok(());
        }
        ended?;
        inner.merge_if_wanted();
    }
    Ok(())
}

/// An event with those after it that need not be waited for, and the error that ends them.
fn with_what_is_ready(
    first: Result<RecordedEvent, EventLogError>,
    events: &mut EventStream,
) -> (Vec<RecordedEvent>, Result<(), EventLogError>) {
    let (mut delivered, mut bytes) = (Vec::new(), 0);
    let mut next = Some(first);
    while let Some(event) = next.take() {
        match event {
            Ok(event) => {
                bytes += bytes_of(&event);
                delivered.push(event);
            }
            Err(error) => return (delivered, Err(error)),
        }
        if delivered.len() < AT_ONCE && bytes < BYTES_AT_ONCE {
            next = events.next().now_or_never().flatten();
        }
    }
    (delivered, Ok(()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use cim_store::{EventLogExt as _, ExpectedVersion, LogQuery, NewEvent, StreamId};

    /// How many events are taken in at once of a log with payloads of these sizes, each of which is
    /// taken in once and in order.
    async fn chunks(sizes: &[usize]) -> Vec<usize> {
        let store = crate::open("memory:").await.unwrap();
        let (log, ctx) = (store.log(), Context::new());
        let stream = StreamId::new("shop", "picture", "1").unwrap();
        for size in sizes {
            let event = NewEvent::json("was_taken", &"x".repeat(*size)).unwrap();
            let appended = log.append_to(&ctx, &stream, ExpectedVersion::Any, vec![event]);
            appended.await.unwrap();
        }
        let mut events = log.read_log(&ctx, LogQuery::all()).await.unwrap();
        let (mut counts, mut seen) = (Vec::new(), 0);
        while let Some(first) = events.next().await {
            let (delivered, ended) = with_what_is_ready(first, &mut events);
            ended.unwrap();
            for event in &delivered {
                seen += 1;
                assert_eq!(event.version.get(), seen);
            }
            counts.push(delivered.len());
        }
        assert_eq!(seen, sizes.len() as u64);
        counts
    }

    #[tokio::test]
    async fn of_large_events_fewer_are_taken_in_at_once() {
        let counts = chunks(&[1_000_000; 12]).await;
        assert!(counts.iter().all(|count| *count <= 5), "{counts:?}");
        let counts = chunks(&[10; 1_100]).await;
        assert!(counts.iter().all(|count| *count <= AT_ONCE), "{counts:?}");
        assert!(counts.len() < 30, "{counts:?}");
    }
}
