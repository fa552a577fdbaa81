//! The cache by itself, with numbers for states.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use cim_store::memory::MemoryStore;
use cim_store::{Context, ManualClock, Store as _, StreamId, Timestamp};
use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::*;

fn stream(number: usize) -> StreamId {
    StreamId::new("test", "thing", &number.to_string()).unwrap()
}

struct Things {
    cache: AggregateCache,
    space: Space,
    clock: ManualClock,
    /// Keeps the log's number from going.
    _log: Arc<dyn EventLog>,
}

impl Things {
    fn new(max_entries: usize, max_bytes: u64) -> Self {
        let cache = AggregateCache::new(CacheSettings {
            max_entries,
            max_bytes,
        });
        let log = MemoryStore::new().log();
        Self {
            space: cache.space::<u64>(&log),
            cache,
            clock: ManualClock::at(Timestamp::EPOCH),
            _log: log,
        }
    }

    /// A cache for so many entries, whatever they weigh.
    fn of(max_entries: usize) -> Self {
        Self::new(max_entries, u64::MAX)
    }

    async fn turn(&self, number: usize) -> Turn<u64> {
        let (ctx, stream) = (Context::new(), stream(number));
        let turn = self.cache.turn(self.space, &stream, &ctx, &self.clock);
        turn.await.unwrap()
    }

    fn now(&self, number: usize) -> Turn<u64> {
        self.turn(number).now_or_never().expect("nobody has it")
    }

    /// Keeps a value, as a call does that finds what is kept out of date.
    fn keep(&self, number: usize, value: u64, bytes: u64) {
        let mut turn = self.now(number);
        let moment = turn.begin();
        turn.keep(Box::new(value), bytes, moment);
    }

    fn kept(&self) -> BTreeSet<String> {
        let shared = &self.cache.shared;
        let mut kept = BTreeSet::new();
        for number in 0..shared.shards.len() {
            let shard = shared.shard(number);
            let names = shard.kept_keys().into_iter();
            kept.extend(names.map(|key| key.stream.id().to_owned()));
        }
        kept
    }

    fn known(&self) -> usize {
        let shared = &self.cache.shared;
        (0..shared.shards.len())
            .map(|number| shared.shard(number).known())
            .sum()
    }
}

#[test]
fn what_one_call_keeps_the_next_one_finds() {
    let things = Things::of(10);
    things.keep(1, 7, 100);
    assert_eq!(things.now(1).kept(), Some(&7));
    assert_eq!(things.now(2).kept(), None);
    let stats = things.cache.stats();
    assert_eq!((stats.hits, stats.misses), (1, 2));
    assert_eq!((stats.entries, stats.bytes), (1, 100 + ENTRY_BYTES));
    assert!((stats.hit_rate() - 1.0 / 3.0).abs() < 1e-9);
}

#[test]
fn a_cache_that_was_never_asked_has_a_hit_rate_of_nothing() {
    assert_eq!(AggregateCache::default().stats().hit_rate(), 0.0);
}

#[test]
fn what_is_taken_out_and_not_given_back_is_not_kept() {
    let things = Things::of(10);
    things.keep(1, 7, 100);
    assert_eq!(things.now(1).take(), Some(Box::new(7)));
    assert_eq!(things.now(1).kept(), None);
    things.keep(1, 8, 100);
    things.now(1).forget();
    assert_eq!(things.now(1).kept(), None);
    assert_eq!(things.cache.stats().bytes, 0);
}

#[test]
fn a_panic_while_an_entry_is_held_drops_it() {
    let things = Things::of(10);
    things.keep(1, 7, 100);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _turn = things.now(1);
        panic!("as an aggregate may");
    }));
    assert!(panicked.is_err());
    assert_eq!(things.now(1).kept(), None);
    assert_eq!(things.cache.stats().entries, 0);
}

#[test]
fn nothing_is_remembered_of_aggregates_of_which_nothing_is_kept() {
    let things = Things::of(10);
    for number in 0..1_000 {
        drop(things.now(number));
    }
    assert_eq!(things.known(), 0);
}

#[test]
fn logs_types_and_ways_of_reading_have_entries_of_their_own() {
    let (cache, clock) = (AggregateCache::default(), ManualClock::at(Timestamp::EPOCH));
    let (one, other) = (MemoryStore::new(), MemoryStore::new());
    let (ctx, stream) = (Context::new(), stream(1));
    let number = |space: Space, kept: Option<u64>| {
        let turn = cache.turn::<u64>(space, &stream, &ctx, &clock);
        let mut turn = turn.now_or_never().unwrap().unwrap();
        let before = turn.kept().copied();
        if let Some(kept) = kept {
            let moment = turn.begin();
            turn.keep(Box::new(kept), 1, moment);
        }
        before
    };
    let (log, other_log) = (one.log(), other.log());
    let space = cache.space::<u64>(&log);
    assert_eq!(number(space, Some(7)), None);
    assert_eq!(number(cache.space::<u64>(&other_log), None), None);
    assert_eq!(number(space.verified(true), None), None);
    let text = cache.space::<String>(&log);
    let turn = cache.turn::<String>(text, &stream, &ctx, &clock);
    assert_eq!(turn.now_or_never().unwrap().unwrap().kept(), None);
    // Every handle on one store is the same log.
    assert_eq!(number(cache.space::<u64>(&one.log()), None), Some(7));
}

#[test]
fn entries_of_a_log_that_is_gone_go_and_are_never_taken_for_those_of_another() {
    let things = Things::of(100);
    things.keep(1, 7, 1);
    let gone = cim_store::memory::MemoryStore::new().log();
    let space = things.cache.space::<u64>(&gone);
    {
        let (ctx, stream) = (Context::new(), stream(1));
        let turn = things
            .cache
            .turn::<u64>(space, &stream, &ctx, &things.clock);
        let mut turn = turn.now_or_never().unwrap().unwrap();
        let moment = turn.begin();
        turn.keep(Box::new(8), 1, moment);
    }
    assert_eq!(things.cache.stats().entries, 2);
    drop(gone);
    for _ in 0..100 {
        let next = MemoryStore::new().log();
        assert_ne!(things.cache.space::<u64>(&next), space);
    }
    assert_eq!(things.cache.stats().entries, 1);
    assert_eq!(things.now(1).kept(), Some(&7));
}

#[test]
fn calls_on_one_aggregate_take_turns_in_the_order_in_which_they_came() {
    let things = Things::of(10);
    let first = things.now(1);
    let mut waiting: Vec<_> = (0..5).map(|_| Box::pin(things.turn(1))).collect();
    for call in &mut waiting {
        assert!(call.as_mut().now_or_never().is_none());
    }
    drop(things.now(2)); // others are not held up
    drop(waiting.remove(2)); // does not wait any more
    let mut turn = first;
    for (number, mut call) in waiting.into_iter().enumerate() {
        let moment = turn.begin();
        turn.keep(Box::new(number as u64), 1, moment);
        drop(turn);
        turn = call.as_mut().now_or_never().expect("it is its turn");
        assert_eq!(turn.kept(), Some(&(number as u64)));
    }
}

#[test]
fn a_turn_that_was_given_to_a_call_that_is_dropped_goes_to_the_next() {
    let things = Things::of(10);
    let first = things.now(1);
    let mut dropped = Box::pin(things.turn(1));
    let mut next = Box::pin(things.turn(1));
    assert!(dropped.as_mut().now_or_never().is_none());
    assert!(next.as_mut().now_or_never().is_none());
    drop(first); // it is the dropped one's turn, which does not look
    drop(dropped);
    assert!(next.as_mut().now_or_never().is_some());
    assert_eq!(things.known(), 0);
}

#[tokio::test]
async fn waiting_ends_at_the_deadline_and_leaves_the_line() {
    let things = Things::of(10);
    let turn = things.now(1);
    let ctx = Context::new().with_timeout(&things.clock, Duration::from_secs(5));
    let stream = stream(1);
    let mut late = Box::pin(
        things
            .cache
            .turn::<u64>(things.space, &stream, &ctx, &things.clock),
    );
    assert!(late.as_mut().now_or_never().is_none());
    things.clock.advance(Duration::from_secs(4));
    assert!(late.as_mut().now_or_never().is_none());
    things.clock.advance(Duration::from_secs(1));
    let error = late.now_or_never().unwrap().err().unwrap();
    assert_eq!(error.fault(), Some(cim_store::Fault::Unavailable));
    assert!(things.now(2).kept().is_none());
    drop(turn);
    assert_eq!(things.known(), 0);
}

#[test]
fn what_was_confirmed_after_a_call_came_is_current_for_it() {
    let things = Things::of(10);
    things.keep(1, 7, 1);
    assert!(!things.now(1).is_current(), "confirmed before it came");

    let mut reads = things.now(1);
    let mut early = Box::pin(things.turn(1));
    assert!(early.as_mut().now_or_never().is_none());
    let moment = reads.begin(); // the read begins here
    let mut late = Box::pin(things.turn(1));
    assert!(late.as_mut().now_or_never().is_none());
    reads.keep(Box::new(8), 1, moment);
    drop(reads);
    let early = early.as_mut().now_or_never().unwrap();
    assert!(early.is_current());
    drop(early);
    let late = late.as_mut().now_or_never().unwrap();
    assert!(!late.is_current(), "the read began before it came");
}

#[test]
fn an_entry_in_use_is_never_given_up() {
    let things = Things::of(2);
    things.keep(1, 1, 1);
    things.keep(2, 2, 1);
    let (one, two) = (things.now(1), things.now(2));
    things.keep(3, 3, 1); // there is no room that could be made
    assert_eq!(things.kept().len(), 2);
    drop(one);
    things.keep(4, 4, 1); // now there is
    drop(two);
    assert_eq!(things.kept(), ["2", "4"].map(String::from).into());
    assert_eq!(things.cache.stats().evictions, 1);
}

#[test]
fn an_entry_that_is_larger_than_the_cache_drives_nothing_out() {
    let things = Things::new(100, 10_000);
    things.keep(1, 1, 100);
    things.keep(2, 2, 20_000);
    things.keep(3, 3, 100);
    assert_eq!(things.kept(), ["1", "3"].map(String::from).into());
    things.keep(1, 1, 20_000); // it has grown
    assert_eq!(things.kept(), ["3"].map(String::from).into());
    assert_eq!(things.cache.stats().bytes, 100 + ENTRY_BYTES);
}

#[test]
fn a_cache_without_room_keeps_nothing() {
    let things = Things::of(0);
    things.keep(1, 1, 1);
    assert_eq!(things.now(1).kept(), None);
    assert_eq!(things.cache.stats().entries, 0);
}

#[test]
fn clearing_gives_up_all_but_what_is_in_use() {
    let things = Things::of(1_000);
    for number in 0..500 {
        things.keep(number, 1, 1);
    }
    let held = things.now(7);
    things.cache.clear();
    assert_eq!(things.cache.stats().entries, 1);
    drop(held);
    assert_eq!(things.kept(), ["7"].map(String::from).into());
}

#[test]
fn one_walk_through_many_does_not_drive_out_what_is_used() {
    let things = Things::of(100);
    for number in 0..100 {
        things.keep(number, 1, 1);
    }
    for number in 0..50 {
        drop(things.now(number)); // used once more
    }
    for number in 1_000..1_040 {
        things.keep(number, 1, 1);
    }
    let kept = things.kept();
    assert!((0..50).all(|number| kept.contains(&number.to_string())));
}

#[test]
fn states_are_dropped_when_no_lock_is_held() {
    /// An application's code, which may come back to the cache.
    struct Asks(AggregateCache, Arc<AtomicUsize>);

    impl Drop for Asks {
        fn drop(&mut self) {
            self.0.clear();
            let _ = self.0.stats();
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }

    let things = Things::of(2);
    let (dropped, ctx) = (Arc::new(AtomicUsize::new(0)), Context::new());
    let keep = |number: usize, bytes: u64| {
        let stream = stream(number);
        let turn = things
            .cache
            .turn::<Asks>(things.space, &stream, &ctx, &things.clock);
        let mut turn = turn.now_or_never().unwrap().unwrap();
        let moment = turn.begin();
        let asks = Asks(things.cache.clone(), Arc::clone(&dropped));
        turn.keep(Box::new(asks), bytes, moment);
    };
    keep(1, 1);
    keep(2, 1);
    keep(3, 1); // another one goes
    keep(3, u64::MAX); // it is too large by now
    things.cache.clear();
    assert_eq!(dropped.load(Ordering::SeqCst), 4);
}

/// SIEVE, as simply as it can be written.
#[derive(Default)]
struct Sieve {
    /// From the oldest to the newest, with their marks.
    queue: Vec<(usize, bool)>,
    /// The place from which the next search goes.
    hand: usize,
    bytes: BTreeMap<usize, u64>,
}

impl Sieve {
    fn evict(&mut self, but: usize) {
        loop {
            let (number, is_marked) = &mut self.queue[self.hand];
            if *number != but && !*is_marked {
                let gone = *number;
                self.queue.remove(self.hand);
                self.bytes.remove(&gone);
                self.hand %= self.queue.len().max(1);
                return;
            }
            if *number != but {
                *is_marked = false;
            }
            self.hand = (self.hand + 1) % self.queue.len();
        }
    }

    fn keep(&mut self, number: usize, bytes: u64, max_entries: usize, max_bytes: u64) {
        let is_new = self.bytes.insert(number, bytes).is_none();
        if !is_new {
            let entry = self.queue.iter_mut().find(|(queued, _)| *queued == number);
            entry.unwrap().1 = true;
        }
        while self.bytes.len() > max_entries || self.bytes.values().sum::<u64>() > max_bytes {
            self.evict(number);
        }
        if is_new {
            self.queue.push((number, false));
        }
    }
}

proptest! {
    #[test]
    fn a_cache_keeps_what_sieve_keeps_within_both_bounds(
        max_entries in 1_usize..20,
        max_kilobytes in 10_u64..40,
        calls in prop::collection::vec((0_usize..40, 0_u64..5_000), 1..400),
    ) {
        let max_bytes = max_kilobytes * 1_000;
        let things = Things::new(max_entries, max_bytes);
        let mut model = Sieve::default();
        for (number, bytes) in calls {
            things.keep(number, 1, bytes);
            model.keep(number, bytes + ENTRY_BYTES, max_entries, max_bytes);
            let expected: BTreeSet<_> = model.bytes.keys().map(ToString::to_string).collect();
            prop_assert_eq!(things.kept(), expected);
            let stats = things.cache.stats();
            prop_assert_eq!(stats.entries, model.bytes.len() as u64);
            prop_assert_eq!(stats.bytes, model.bytes.values().sum::<u64>());
            prop_assert_eq!(things.known(), model.bytes.len());
        }
    }

    /// Calls that overlap, end in any order and at any step: nobody waits for ever, nobody works
    /// beside another one, and the bounds hold.
    #[test]
    fn whatever_calls_do_one_at_a_time_works_and_the_bounds_hold(
        max_entries in 0_usize..300,
        steps in prop::collection::vec((0_usize..6, 0_u8..8, 0_u64..100), 1..300),
    ) {
        let things = Things::new(max_entries, 40 * (ENTRY_BYTES + 50));
        let mut held: Vec<(usize, Turn<u64>)> = Vec::new();
        let mut waiting: Vec<(usize, _)> = Vec::new();
        for (number, step, bytes) in steps {
            match step {
                0..=2 => {
                    let mut call = Box::pin(things.turn(number));
                    match call.as_mut().now_or_never() {
                        Some(turn) => held.push((number, turn)),
                        None => waiting.push((number, call)),
                    }
                }
                3..=4 if !held.is_empty() => {
                    let (_, mut turn) = held.swap_remove(number % held.len());
                    let moment = turn.begin();
                    turn.keep(Box::new(1), bytes, moment);
                }
                5 if !held.is_empty() => drop(held.swap_remove(number % held.len())),
                6 if !held.is_empty() => held.swap_remove(number % held.len()).1.forget(),
                7 if !waiting.is_empty() => drop(waiting.swap_remove(number % waiting.len())),
                _ => {}
            }
            let mut still = Vec::new();
            for (number, mut call) in waiting {
                match call.as_mut().now_or_never() {
                    Some(turn) => held.push((number, turn)),
                    None => still.push((number, call)),
                }
            }
            waiting = still;
            let numbers: BTreeSet<_> = held.iter().map(|(number, _)| number).collect();
            prop_assert_eq!(numbers.len(), held.len(), "two work on one aggregate");
            for (number, _) in &waiting {
                prop_assert!(numbers.contains(number), "somebody waits for nobody");
            }
            let stats = things.cache.stats();
            prop_assert!(stats.entries <= max_entries as u64);
            prop_assert!(stats.bytes <= 40 * (ENTRY_BYTES + 50));
        }
        drop(held);
        while !waiting.is_empty() {
            let before = waiting.len();
            waiting.retain_mut(|(_, call)| call.as_mut().now_or_never().is_none());
            prop_assert!(waiting.len() < before, "somebody waits for nobody");
        }
        prop_assert_eq!(things.known() as u64, things.cache.stats().entries);
        things.cache.clear();
        let stats = things.cache.stats();
        prop_assert_eq!((stats.entries, stats.bytes, things.known()), (0, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_never_work_on_one_aggregate_at_once_and_none_is_forgotten() {
    let things = Arc::new(Things::of(200));
    let busy: Arc<Vec<AtomicUsize>> = Arc::new((0..300).map(|_| AtomicUsize::new(0)).collect());
    let tasks: Vec<_> = (0..16_usize)
        .map(|task| {
            let (things, busy) = (Arc::clone(&things), Arc::clone(&busy));
            tokio::spawn(async move {
                for step in 0..2_000_usize {
                    let number = (step * 7 + task * 13) % if step % 3 == 0 { 300 } else { 4 };
                    let mut call = Box::pin(things.turn(number));
                    // Now and then somebody gives up waiting, also just when the turn comes.
                    if step % 5 == 0 {
                        let polled = std::future::poll_fn(|cx| Poll::Ready(call.poll_unpin(cx)));
                        if polled.await.is_pending() {
                            tokio::task::yield_now().await;
                        }
                        continue;
                    }
                    let mut turn = call.await;
                    assert_eq!(busy[number].fetch_add(1, Ordering::SeqCst), 0);
                    if step % 11 == 0 {
                        tokio::task::yield_now().await;
                    }
                    let count = turn.kept().copied().unwrap_or(0) + 1;
                    let moment = turn.begin();
                    turn.keep(Box::new(count), 10, moment);
                    assert_eq!(busy[number].fetch_sub(1, Ordering::SeqCst), 1);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let stats = things.cache.stats();
    assert!(stats.entries <= 200);
    assert_eq!(things.known() as u64, stats.entries);
    assert_eq!(stats.bytes, stats.entries * (10 + ENTRY_BYTES));
}
