//! One part of a cache: its entries, who waits for them, and which one goes first.
//!
//! What goes is chosen by SIEVE (Zhang, Yang, Yue, Vigfusson, Rashmi: "SIEVE is Simpler than LRU",
//! NSDI 2024): entries stand in the order in which they came in and don't move when they are used;
//! a use only marks them. A hand goes from the oldest to the newest, takes marks away, and stops at
//! the first entry without one, which goes; there it continues the next time. So what was used once
//! and never again goes soon, and a walk through many aggregates does not drive out the busy ones.

use std::any::Any;
use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;

use super::Moment;
use super::keys::{BuildHashed, Key};
use super::turn::Baton;

/// What is kept of an aggregate.
pub(super) struct Kept {
    pub(super) value: Box<dyn Any + Send + Sync>,
    /// How much it counts against the bound, in bytes.
    pub(super) weight: u64,
    /// A moment at which the log had nothing newer.
    pub(super) confirmed: Moment,
}

/// How calls fared.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) conflicts: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.conflicts += other.conflicts;
    }
}

/// What a call finds.
pub(super) enum Arrival {
    /// Nobody works on the aggregate; this is kept of it.
    Free { node: usize, kept: Option<Kept> },
    /// Somebody does. The baton comes through this.
    Taken {
        node: usize,
        baton: oneshot::Receiver<Baton>,
    },
}

#[derive(Default)]
pub(super) struct Shard {
    places: HashMap<Key, usize, BuildHashed>,
    /// Entries by their place; `None` where it is free.
    nodes: Vec<Option<Node>>,
    free: Vec<usize>,
    queue: Queue,
    pub(super) tally: Tally,
    pub(super) evictions: u64,
}

/// An aggregate that is kept, or that somebody works on.
struct Node {
    key: Key,
    /// Whether somebody works on it. What is kept is with them then.
    is_taken: bool,
    kept: Option<Kept>,
    /// Those who wait, by the moment they arrived at.
    waiting: VecDeque<(Moment, oneshot::Sender<Baton>)>,
    /// Whether it was used since the hand came by.
    is_marked: bool,
    /// Whether it stands in the queue: exactly where something is kept or was when it was taken.
    is_queued: bool,
    older: Option<usize>,
    newer: Option<usize>,
}

impl Node {
    fn of(key: Key) -> Self {
        Self {
            key,
            is_taken: false,
            kept: None,
            waiting: VecDeque::new(),
            is_marked: false,
            is_queued: false,
            older: None,
            newer: None,
        }
    }
}

/// The entries in the order in which they came in, linked through their nodes.
#[derive(Default)]
struct Queue {
    oldest: Option<usize>,
    newest: Option<usize>,
    hand: Option<usize>,
    length: usize,
}

impl Shard {
    /// Takes the aggregate, or stands in line for it.
    pub(super) fn arrive(&mut self, key: &Key, moment: Moment) -> Arrival {
        let place = match self.places.get(key) {
            Some(place) => *place,
            None => self.free_place(),
        };
        let node = self.nodes[place].get_or_insert_with(|| {
            self.places.insert(key.clone(), place);
            Node::of(key.clone())
        });
        if node.is_taken {
            let (sender, baton) = oneshot::channel();
            node.waiting.push_back((moment, sender));
            return Arrival::Taken { node: place, baton };
        }
        node.is_taken = true;
        let kept = node.kept.take();
        node.is_marked |= kept.is_some();
        Arrival::Free { node: place, kept }
    }

    /// The next of those who wait for the aggregate.
    pub(super) fn next_waiting(&mut self, place: usize) -> Option<oneshot::Sender<Baton>> {
        let node = self.node(place)?;
        let (_, next) = node.waiting.pop_front()?;
        node.is_marked = true;
        Some(next)
    }

    /// Takes somebody out of the line who does not wait any more.
    pub(super) fn stop_waiting(&mut self, place: usize, moment: Moment) {
        // Moments come once, so in a place that was given to another aggregate there is none like it.
        if let Some(node) = self.node(place)
            && let Ok(index) = node
                .waiting
                .binary_search_by_key(&moment, |(arrived, _)| *arrived)
        {
            node.waiting.remove(index);
        }
    }

    /// Gives the aggregate back, with what is to be kept of it.
    pub(super) fn put_back(&mut self, place: usize, kept: Option<Kept>) {
        let Some(node) = self.node(place) else { return };
        let (is_kept, was_queued) = (kept.is_some(), node.is_queued);
        node.is_taken = false;
        node.kept = kept;
        match (is_kept, was_queued) {
            (true, false) => self.enqueue(place),
            (true, true) => {}
            (false, _) => {
                self.remove(place);
            }
        }
    }

    /// Gives up the entry that was used least lately and is not in use.
    pub(super) fn evict(&mut self) -> Option<Kept> {
        // Each is passed twice at most: once to take its mark away, once to take it.
        for _ in 0..=2 * self.queue.length {
            let place = self.queue.hand.or(self.queue.oldest)?;
            let node = self.node(place)?;
            let newer = node.newer;
            if node.is_taken || node.is_marked {
                node.is_marked &= node.is_taken;
                self.queue.hand = newer;
                continue;
            }
            // The hand stays where it is: `remove` moves it on.
            self.queue.hand = Some(place);
            self.evictions += 1;
            return self.remove(place);
        }
        None
    }

    /// Gives up the entries that are meant and not in use.
    pub(super) fn remove_where(&mut self, is_meant: impl Fn(&Key) -> bool) -> Vec<Kept> {
        let meant: Vec<usize> = (self.places.iter())
            .filter(|(key, _)| is_meant(key))
            .map(|(_, place)| *place)
            .collect();
        let mut gone = Vec::new();
        for place in meant {
            if self.node(place).is_some_and(|node| !node.is_taken) {
                gone.extend(self.remove(place));
            }
        }
        gone
    }

    fn node(&mut self, place: usize) -> Option<&mut Node> {
        self.nodes.get_mut(place)?.as_mut()
    }

    fn free_place(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.nodes.push(None);
            self.nodes.len() - 1
        })
    }

    fn remove(&mut self, place: usize) -> Option<Kept> {
        if self.node(place)?.is_queued {
            self.dequeue(place);
        }
        let node = self.nodes.get_mut(place)?.take()?;
        self.places.remove(&node.key);
        self.free.push(place);
        node.kept
    }

    /// Puts an entry behind all others.
    fn enqueue(&mut self, place: usize) {
        let newest = self.queue.newest.replace(place);
        match newest.and_then(|newest| self.node(newest)) {
            Some(newest) => newest.newer = Some(place),
            None => self.queue.oldest = Some(place),
        }
        if let Some(node) = self.node(place) {
            (node.older, node.newer) = (newest, None);
            (node.is_queued, node.is_marked) = (true, false);
        }
        self.queue.length += 1;
    }

    fn dequeue(&mut self, place: usize) {
        let Some(node) = self.node(place) else { return };
        let (older, newer) = (node.older, node.newer);
        node.is_queued = false;
        match older.and_then(|older| self.node(older)) {
            Some(older) => older.newer = newer,
            None => self.queue.oldest = newer,
        }
        match newer.and_then(|newer| self.node(newer)) {
            Some(newer) => newer.older = older,
            None => self.queue.newest = older,
        }
        if self.queue.hand == Some(place) {
            self.queue.hand = newer;
        }
        self.queue.length -= 1;
    }

    #[cfg(test)]
    pub(super) fn kept_keys(&self) -> Vec<&Key> {
        let nodes = self.nodes.iter().flatten();
        nodes
            .filter(|node| node.is_queued)
            .map(|node| &node.key)
            .collect()
    }

    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.places.len()
    }
}
