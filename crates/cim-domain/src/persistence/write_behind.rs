//! Writes what was computed from events, off the path of those who append them.
//!
//! One piece of work waits for each stream at most: a later one takes the place of an earlier one,
//! since whatever is computed from more events is worth more. So the queue is bounded by streams, and
//! the work of one stream is done in order. What finds no room is not done, and whoever offered it
//! hears so.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cim_store::StreamId;
use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// A piece of work.
pub(super) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How many pieces are under way at the same time.
const WORKERS: usize = 4;

/// Work that waits or is under way. Clones are the same queue.
#[derive(Clone)]
pub(super) struct WriteBehind {
    shared: Arc<Shared>,
}

/// What became of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// It will be done.
    Taken,
    /// It will be done, instead of what waited for the same stream.
    InsteadOfAnother,
    /// There is no room for it.
    Full,
}

struct Shared {
    queue: Mutex<Queue>,
    idle: Notify,
    room: usize,
    lost: AtomicU64,
}

#[derive(Default)]
struct Queue {
    /// Each with a piece of work, in the order in which they came.
    waiting: VecDeque<StreamId>,
    work: HashMap<StreamId, Work>,
    under_way: HashSet<StreamId>,
    workers: usize,
}

impl Queue {
    /// The next piece whose stream is not at work already.
    fn next(&mut self) -> Option<(StreamId, Work)> {
        let free = |stream: &StreamId| !self.under_way.contains(stream);
        let place = self.waiting.iter().position(free)?;
        let stream = self.waiting.remove(place)?;
        let work = self.work.remove(&stream)?;
        self.under_way.insert(stream.clone());
        Some((stream, work))
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }
}

impl WriteBehind {
    /// With room for the work of so many streams, beside what is under way.
    pub(super) fn new(room: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                queue: Mutex::default(),
                idle: Notify::new(),
                room,
                lost: AtomicU64::new(0),
            }),
        }
    }

    /// Takes in a piece of work for a stream. Where no runtime is there to do it, it is done before
    /// this returns.
    pub(super) async fn offer(&self, stream: &StreamId, work: Work) -> Offered {
        let (offered, worker) = self.take_in(stream, work);
        if let Some(worker) = worker {
            match Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(worker.run())),
                Err(_) => worker.run().await,
            }
        }
        offered
    }

    /// Takes in a piece of work, with a worker for it where another one is of use.
    fn take_in(&self, stream: &StreamId, work: Work) -> (Offered, Option<Worker>) {
        let mut queue = self.shared.lock();
        let offered = if let Some(waiting) = queue.work.get_mut(stream) {
            *waiting = work;
            Offered::InsteadOfAnother
        } else if queue.waiting.len() < self.shared.room {
            queue.waiting.push_back(stream.clone());
            queue.work.insert(stream.clone(), work);
            Offered::Taken
        } else {
            return (Offered::Full, None);
        };
        if queue.workers >= WORKERS {
            return (offered, None);
        }
        queue.workers += 1;
        let worker = Worker {
            shared: Arc::clone(&self.shared),
            stream: None,
            is_counted: true,
        };
        (offered, Some(worker))
    }

    /// Ends when nothing waits and nothing is under way.
    pub(super) async fn settled(&self) {
        loop {
            let mut idle = std::pin::pin!(self.shared.idle.notified());
            idle.as_mut().enable();
            if self.shared.lock().is_idle() {
                return;
            }
            idle.await;
        }
    }

    /// How many pieces of work did not come to their end: they panicked, or their runtime was shut
    /// down.
    pub(super) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self, pieces: usize) {
        self.lost.fetch_add(pieces as u64, Ordering::Relaxed);
    }
}

/// Does what waits until nothing does.
struct Worker {
    shared: Arc<Shared>,
    /// The stream whose work is under way.
    stream: Option<StreamId>,
    /// Whether it is one of those that the queue counts on.
    is_counted: bool,
}

impl Worker {
    async fn run(mut self) {
        while let Some(work) = self.next() {
            // A panic of the application's own code must not take the others' work along.
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                self.shared.lose(1);
            }
        }
    }

    fn next(&mut self) -> Option<Work> {
        let mut queue = self.shared.lock();
        if let Some(done) = self.stream.take() {
            queue.under_way.remove(&done);
        }
        let Some((stream, work)) = queue.next() else {
            // Whoever offers work from now on must not count on this one.
            self.is_counted = false;
            queue.workers -= 1;
            if queue.is_idle() {
                self.shared.idle.notify_waiters();
            }
            return None;
        };
        self.stream = Some(stream);
        Some(work)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.is_counted {
            return;
        }
        let mut queue = self.shared.lock();
        queue.workers -= 1;
        if let Some(stream) = self.stream.take() {
            // The runtime ended in the middle of it.
            queue.under_way.remove(&stream);
            self.shared.lose(1);
        }
        // Work that waits has a worker, unless the last of them went with its runtime.
        if queue.workers == 0 && !queue.waiting.is_empty() {
            self.shared.lose(queue.waiting.len());
            queue.waiting.clear();
            queue.work.clear();
        }
        if queue.is_idle() {
            self.shared.idle.notify_waiters();
        }
    }
}

impl fmt::Debug for WriteBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.shared.lock();
        f.debug_struct("WriteBehind")
            .field("waiting", &queue.waiting.len())
            .field("under_way", &queue.under_way.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    type Log = Arc<Mutex<Vec<u32>>>;

    fn stream(id: u32) -> StreamId {
        StreamId::new("test", "work", &id.to_string()).unwrap()
    }

    fn noting(log: &Log, number: u32) -> Work {
        let log = Arc::clone(log);
        Box::pin(async move { log.lock().unwrap().push(number) })
    }

    /// Work that does not end before it is let go.
    fn held(log: &Log, number: u32) -> (Work, oneshot::Sender<()>) {
        let (go, wait) = oneshot::channel::<()>();
        let log = Arc::clone(log);
        let work = async move {
            let _ = wait.await;
            log.lock().unwrap().push(number);
        };
        (Box::pin(work), go)
    }

    #[tokio::test]
    async fn a_later_piece_takes_the_place_of_one_that_waits_for_the_same_stream() {
        let (queue, log) = (WriteBehind::new(10), Log::default());
        let (first, go) = held(&log, 1);
        assert_eq!(queue.offer(&stream(1), first).await, Offered::Taken);
        tokio::task::yield_now().await;
        assert_eq!(
            queue.offer(&stream(1), noting(&log, 2)).await,
            Offered::Taken
        );
        let replaced = queue.offer(&stream(1), noting(&log, 3)).await;
        assert_eq!(replaced, Offered::InsteadOfAnother);
        go.send(()).unwrap();
        queue.settled().await;
        assert_eq!(*log.lock().unwrap(), [1, 3]);
    }

    #[tokio::test]
    async fn what_finds_no_room_is_refused() {
        let (queue, log) = (WriteBehind::new(2), Log::default());
        let mut held_back = Vec::new();
        for id in 0..2 {
            let (work, go) = held(&log, id);
            assert_eq!(queue.offer(&stream(id), work).await, Offered::Taken);
            held_back.push(go);
        }
        assert_eq!(
            queue.offer(&stream(9), noting(&log, 9)).await,
            Offered::Full
        );
        for go in held_back {
            go.send(()).unwrap();
        }
        queue.settled().await;
        assert_eq!(
            queue.offer(&stream(9), noting(&log, 9)).await,
            Offered::Taken
        );
        queue.settled().await;
        assert_eq!(log.lock().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn a_panic_loses_its_own_piece_and_no_other() {
        let (queue, log) = (WriteBehind::new(10), Log::default());
        queue
            .offer(&stream(1), Box::pin(async { panic!("on purpose") }))
            .await;
        for id in 2..8 {
            queue.offer(&stream(id), noting(&log, id)).await;
        }
        queue.settled().await;
        assert_eq!((queue.lost(), log.lock().unwrap().len()), (1, 6));
    }

    #[test]
    fn work_that_comes_when_all_workers_found_nothing_more_to_do_has_a_worker() {
        let (queue, log) = (WriteBehind::new(10), Log::default());
        let offer = |id| queue.take_in(&stream(id), noting(&log, id)).1;
        let mut workers: Vec<Worker> = (0..4).filter_map(offer).collect();
        for worker in &mut workers {
            while let Some(work) = worker.next() {
                work.now_or_never().unwrap();
            }
        }
        // They have not ended yet.
        let another = offer(9).expect("the others look for work no more");
        drop(workers);
        another.run().now_or_never().unwrap();
        assert_eq!((queue.lost(), log.lock().unwrap().len()), (0, 5));
    }

    #[test]
    fn without_a_runtime_the_work_is_done_at_once() {
        let (queue, log) = (WriteBehind::new(10), Log::default());
        let offered = queue.offer(&stream(1), noting(&log, 1)).now_or_never();
        assert_eq!(offered, Some(Offered::Taken));
        assert_eq!(*log.lock().unwrap(), [1]);
    }

    #[test]
    fn a_runtime_that_ends_takes_its_work_along_and_the_queue_goes_on() {
        let (queue, log) = (WriteBehind::new(10), Log::default());
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap()
        };
        let ends = runtime();
        let mut never = Vec::new();
        ends.block_on(async {
            for id in 0..6 {
                let (work, go) = held(&log, id);
                queue.offer(&stream(id), work).await;
                never.push(go);
                tokio::task::yield_now().await;
            }
        });
        drop(ends);
        assert_eq!(queue.lost(), 6);
        runtime().block_on(async {
            queue.offer(&stream(1), noting(&log, 1)).await;
            queue.settled().await;
        });
        assert_eq!(*log.lock().unwrap(), [1]);
    }
}
