//! Writes what was computed from events, off the path of those who append them.
//!
//! One piece of work waits for each stream at most: a later one takes the place of an earlier one,
//! since whatever is computed from more events is worth more. So the queue is bounded by streams, and
//! the work of one stream is done in order. What finds no room is not done, and whoever offered it
//! hears so. What takes too long is given up, so that a store that never answers holds no place for
//! ever, and nobody who waits for the end of all work.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cim_store::{Clock, StreamId};
use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
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
    /// How long a piece may take.
    limit: Duration,
    lost: AtomicU64,
    given_up: AtomicU64,
}

#[derive(Default)]
struct Queue {
    /// Each with a piece of work, in the order in which they came.
    waiting: VecDeque<StreamId>,
    work: HashMap<StreamId, Piece>,
    under_way: HashSet<StreamId>,
    workers: usize,
    /// When a piece that was under way was given up the last time.
    gave_up_at: Option<Instant>,
}

/// A piece of work, and since when it waits, by its own clock.
struct Piece {
    work: Work,
    clock: Arc<dyn Clock>,
    offered_at: Instant,
}

impl Queue {
    /// The next piece whose stream is not at work already.
    fn next(&mut self) -> Option<(StreamId, Piece)> {
        let free = |stream: &StreamId| !self.under_way.contains(stream);
        let place = self.waiting.iter().position(free)?;
        let stream = self.waiting.remove(place)?;
        let piece = self.work.remove(&stream)?;
        self.under_way.insert(stream.clone());
        Some((stream, piece))
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }
}

impl WriteBehind {
    /// With room for the work of so many streams, beside what is under way, each piece of which may
    /// take so long.
    pub(super) fn new(room: usize, limit: Duration) -> Self {
        Self {
            shared: Arc::new(Shared {
                queue: Mutex::default(),
                idle: Notify::new(),
                room,
                limit,
                lost: AtomicU64::new(0),
                given_up: AtomicU64::new(0),
            }),
        }
    }

    /// Takes in a piece of work for a stream, whose time is measured by a clock. Where no runtime is
    /// there to do it, it is done before this returns, however long it takes: there are no timers.
    pub(super) async fn offer(
        &self,
        clock: &Arc<dyn Clock>,
        stream: &StreamId,
        work: Work,
    ) -> Offered {
        let piece = Piece {
            work,
            clock: Arc::clone(clock),
            offered_at: clock.monotonic(),
        };
        let (offered, worker) = self.take_in(stream, piece);
        if let Some(worker) = worker {
            match Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(worker.run())),
                Err(_) => worker.run().await,
            }
        }
        offered
    }

    /// Takes in a piece of work, with a worker for it where another one is of use.
    fn take_in(&self, stream: &StreamId, piece: Piece) -> (Offered, Option<Worker>) {
        let mut queue = self.shared.lock();
        let offered = if let Some(waiting) = queue.work.get_mut(stream) {
            *waiting = piece;
            Offered::InsteadOfAnother
        } else if queue.waiting.len() < self.shared.room {
            queue.waiting.push_back(stream.clone());
            queue.work.insert(stream.clone(), piece);
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

    /// Ends when nothing waits and nothing is under way: within twice the limit of a piece after the
    /// last one was offered where nothing comes to an end by itself any more.
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

    /// How many pieces of work were given up because they took too long, or had waited too long
    /// behind such.
    pub(super) fn given_up(&self) -> u64 {
        self.shared.given_up.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self, pieces: usize) {
        self.lost.fetch_add(pieces as u64, Ordering::Relaxed);
    }

    /// Does a piece of work, or gives it up.
    async fn work(&self, piece: Piece) {
        let Some(left) = self.time_for(&piece) else {
            drop(piece);
            self.given_up.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let Piece { work, clock, .. } = piece;
        if Handle::try_current().is_err() {
            return work.await;
        }
        // The timer is not made before the work lets us wait.
        let too_late = std::pin::pin!(async { clock.sleep(left).await });
        if let Either::Right(((), work)) = select(work, too_late).await {
            drop(work); // what it holds is let go before anybody sees that it ended
            self.lock().gave_up_at = Some(clock.monotonic());
            self.given_up.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How long a piece may take from now on. What waited while another piece was given up has only
    /// what is left of its limit: the next ones will hardly fare better, and all of them together
    /// would take as many times as long. `None`: nothing is left.
    fn time_for(&self, piece: &Piece) -> Option<Duration> {
        match self.lock().gave_up_at {
            Some(at) if at >= piece.offered_at => {
                let waited = piece.clock.monotonic();
                let waited = waited.saturating_duration_since(piece.offered_at);
                self.limit
                    .checked_sub(waited)
                    .filter(|left| !left.is_zero())
            }
            _ => Some(self.limit),
        }
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
        while let Some(piece) = self.next() {
            // A panic of the application's own code must not take the others' work along.
            let work = AssertUnwindSafe(self.shared.work(piece));
            if work.catch_unwind().await.is_err() {
                self.shared.lose(1);
            }
        }
    }

    fn next(&mut self) -> Option<Piece> {
        let mut queue = self.shared.lock();
        if let Some(done) = self.stream.take() {
            queue.under_way.remove(&done);
        }
        let Some((stream, piece)) = queue.next() else {
            // Whoever offers work from now on must not count on this one.
            self.is_counted = false;
            queue.workers -= 1;
            if queue.is_idle() {
                self.shared.idle.notify_waiters();
            }
            return None;
        };
        self.stream = Some(stream);
        Some(piece)
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
    use cim_store::{ManualClock, Timestamp};
    use tokio::sync::oneshot;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    type Log = Arc<Mutex<Vec<u32>>>;

    fn stream(id: u32) -> StreamId {
        StreamId::new("test", "work", &id.to_string()).unwrap()
    }

    fn noting(log: &Log, number: u32) -> Work {
        let log = Arc::clone(log);
        Box::pin(async move { log.lock().unwrap().push(number) })
    }

    fn clock() -> (ManualClock, Arc<dyn Clock>) {
        let clock = ManualClock::at(Timestamp::EPOCH);
        (clock.clone(), Arc::new(clock))
    }

    fn queue(room: usize) -> WriteBehind {
        WriteBehind::new(room, LIMIT)
    }

    /// Offers work that takes no time by its clock.
    async fn offer(queue: &WriteBehind, id: u32, work: Work) -> Offered {
        queue.offer(&clock().1, &stream(id), work).await
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
        let (queue, log) = (queue(10), Log::default());
        let (first, go) = held(&log, 1);
        assert_eq!(offer(&queue, 1, first).await, Offered::Taken);
        tokio::task::yield_now().await;
        assert_eq!(offer(&queue, 1, noting(&log, 2)).await, Offered::Taken);
        let replaced = offer(&queue, 1, noting(&log, 3)).await;
        assert_eq!(replaced, Offered::InsteadOfAnother);
        go.send(()).unwrap();
        queue.settled().await;
        assert_eq!(*log.lock().unwrap(), [1, 3]);
    }

    #[tokio::test]
    async fn what_finds_no_room_is_refused() {
        let (queue, log) = (queue(2), Log::default());
        let mut held_back = Vec::new();
        for id in 0..2 {
            let (work, go) = held(&log, id);
            assert_eq!(offer(&queue, id, work).await, Offered::Taken);
            held_back.push(go);
        }
        assert_eq!(offer(&queue, 9, noting(&log, 9)).await, Offered::Full);
        for go in held_back {
            go.send(()).unwrap();
        }
        queue.settled().await;
        assert_eq!(offer(&queue, 9, noting(&log, 9)).await, Offered::Taken);
        queue.settled().await;
        assert_eq!(log.lock().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn a_panic_loses_its_own_piece_and_no_other() {
        let (queue, log) = (queue(10), Log::default());
        offer(&queue, 1, Box::pin(async { panic!("on purpose") })).await;
        for id in 2..8 {
            offer(&queue, id, noting(&log, id)).await;
        }
        queue.settled().await;
        assert_eq!((queue.lost(), log.lock().unwrap().len()), (1, 6));
    }

    #[test]
    fn work_that_comes_when_all_workers_found_nothing_more_to_do_has_a_worker() {
        let (queue, log) = (queue(10), Log::default());
        let (_, clock) = clock();
        let offer = |id| {
            let piece = Piece {
                work: noting(&log, id),
                offered_at: clock.monotonic(),
                clock: Arc::clone(&clock),
            };
            queue.take_in(&stream(id), piece).1
        };
        let mut workers: Vec<Worker> = (0..4).filter_map(offer).collect();
        for worker in &mut workers {
            while let Some(piece) = worker.next() {
                piece.work.now_or_never().unwrap();
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
        let (queue, log) = (queue(10), Log::default());
        let offered = offer(&queue, 1, noting(&log, 1)).now_or_never();
        assert_eq!(offered, Some(Offered::Taken));
        assert_eq!(*log.lock().unwrap(), [1]);
    }

    #[test]
    fn a_runtime_that_ends_takes_its_work_along_and_the_queue_goes_on() {
        let (queue, log) = (queue(10), Log::default());
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
                offer(&queue, id, work).await;
                never.push(go);
                tokio::task::yield_now().await;
            }
        });
        drop(ends);
        assert_eq!(queue.lost(), 6);
        runtime().block_on(async {
            offer(&queue, 1, noting(&log, 1)).await;
            queue.settled().await;
        });
        assert_eq!(*log.lock().unwrap(), [1]);
    }

    /// Lets all workers go as far as they can.
    async fn turns() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_does_not_end_in_time_is_given_up_and_its_place_is_free() {
        let (queue, log, (time, clock)) = (queue(10), Log::default(), clock());
        let mut never = Vec::new();
        for id in 0..4 {
            let (work, go) = held(&log, id);
            queue.offer(&clock, &stream(id), work).await;
            never.push(go);
        }
        turns().await;
        time.advance(LIMIT / 2);
        queue.offer(&clock, &stream(9), noting(&log, 9)).await;
        turns().await;
        assert_eq!(queue.given_up(), 0);
        time.advance(LIMIT / 2);
        queue.settled().await;
        assert_eq!((queue.given_up(), queue.lost()), (4, 0));
        assert_eq!(*log.lock().unwrap(), [9]);
        // Nobody waits for them any more.
        assert!(never.into_iter().all(|go| go.send(()).is_err()));
    }

    #[tokio::test]
    async fn however_many_hang_all_of_them_end_within_twice_the_limit() {
        let (queue, log, (time, clock)) = (queue(100), Log::default(), clock());
        let mut never = Vec::new();
        for id in 0..50 {
            let (work, go) = held(&log, id);
            assert_eq!(queue.offer(&clock, &stream(id), work).await, Offered::Taken);
            never.push(go);
            if id == 25 {
                turns().await;
                time.advance(LIMIT / 2);
            }
        }
        for _ in 0..3 {
            turns().await;
            time.advance(LIMIT / 2);
        }
        queue.settled().await;
        assert_eq!(queue.given_up(), 50);
        // Whatever comes now has all of its time.
        let (late, go) = held(&log, 99);
        queue.offer(&clock, &stream(99), late).await;
        turns().await;
        time.advance(LIMIT / 2);
        go.send(()).unwrap();
        queue.settled().await;
        assert_eq!((queue.given_up(), log.lock().unwrap().len()), (50, 1));
    }

    #[tokio::test]
    async fn what_waits_behind_slow_work_is_not_given_up() {
        let (queue, log, (time, clock)) = (queue(100), Log::default(), clock());
        for id in 0..40 {
            let (clock_of_work, log) = (clock.clone(), Arc::clone(&log));
            let work = async move {
                clock_of_work.sleep(LIMIT / 2).await;
                log.lock().unwrap().push(id);
            };
            queue.offer(&clock, &stream(id), Box::pin(work)).await;
        }
        for _ in 0..10 {
            turns().await;
            time.advance(LIMIT / 2);
        }
        queue.settled().await;
        assert_eq!((queue.given_up(), log.lock().unwrap().len()), (0, 40));
    }
}
