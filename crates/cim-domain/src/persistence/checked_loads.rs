//! Whether what is loaded is compared with the CIDs and links of its chain.
//!
//! Every event carries its CID and that of the event before it. [`LoadVerification`] says when that is
//! recomputed on the way to the application: whatever an adapter checks by itself, an event that
//! does not hash to its CID, or does not continue the one before it, then never becomes state.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cim_ipld::{ChainFault, ChainHead, ChainLink, ChainVerifier, EventCid, verify_link};
use cim_store::{Direction, RecordedEvent};

use super::retry::mix;

/// When a repository or an event store compares what it reads with the CIDs and links of the chain.
///
/// Verifying costs one encoding and one sha2-256 over each event that is read: with 256 bytes of
/// payload about as much as the rest of loading it from an embedded store (`docs/benchmarks.md`). What fails is an error that names stream, version and kind of fault; nothing of
/// that read is used.
///
/// | adapter | what it checks on every read by itself |
/// |---|---|
/// | memory | nothing: it hands out what it was given |
/// | embedded | a checksum over each record and its place, which finds every accident, but not somebody who writes a new checksum |
/// | NATS | the CID of each event and its link to the one before |
///
/// Loads and commands compare the CID that each event names as the one before it with the CID that
/// the one before it has, whatever the setting is.
///
/// So on NATS [`EveryRead`](Self::EveryRead) repeats what the adapter did, and guards what stands
/// between it and the repository. `cim verify` checks whole logs and heads that were kept elsewhere,
/// which no load can.
///
/// ```
/// use std::num::NonZeroU32;
/// use cim_domain::persistence::LoadVerification;
///
/// assert_eq!(LoadVerification::default(), LoadVerification::Off);
/// let now_and_then = LoadVerification::Sampled { one_in: NonZeroU32::new(100).ok_or("not 0")? };
/// # let _ = now_and_then;
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadVerification {
    /// Never. What the adapter checks by itself stays.
    #[default]
    Off,
    /// All events of all reads.
    ///
    /// What is not read is not verified: a load or a command that begins with a
    /// [snapshot](crate::Repository::with_snapshots) reads the events after it. That the snapshot
    /// stands on an event of the log is seen from that event's CID; that its state is what the events
    /// before give is not. A load with [`use_snapshot: false`](super::LoadOptions::use_snapshot) reads
    /// and verifies all events; so does a command of a repository that was given no snapshots, and no
    /// [cache](crate::Repository::with_cache) that it shares with one that was.
    EveryRead,
    /// All events of one read in so many.
    ///
    /// A load, the whole of a command with its repetitions, a history, or a call of an event store
    /// is one read. Clones of a repository count together. Of every `one_in` reads in a row exactly
    /// one is verified, at a place that changes from row to row, so that reads that come in a rhythm
    /// all get their turn. The places are the same in every run of a program.
    Sampled {
        /// How many reads there are for one that is verified; 1 is [`EveryRead`](Self::EveryRead).
        one_in: NonZeroU32,
    },
}

/// A [`LoadVerification`], and how many reads there were.
#[derive(Clone, Debug, Default)]
pub(super) struct Verifier {
    setting: LoadVerification,
    reads: Arc<AtomicU64>,
}

impl Verifier {
    pub(super) fn new(setting: LoadVerification) -> Self {
        Self {
            setting,
            reads: Arc::default(),
        }
    }

    pub(super) fn setting(&self) -> LoadVerification {
        self.setting
    }

    /// What checks the next read of one stream.
    pub(super) fn stream(&self) -> StreamCheck {
        StreamCheck {
            is_on: self.applies(),
            direction: Direction::Forwards,
            chain: None,
            later: None,
            block: Vec::new(),
        }
    }

    /// What checks the next read of events of several streams, not all of each.
    pub(super) fn log(&self) -> LogCheck {
        LogCheck {
            is_on: self.applies(),
            block: Vec::new(),
        }
    }

    fn applies(&self) -> bool {
        match self.setting {
            LoadVerification::Off => false,
            LoadVerification::EveryRead => true,
            LoadVerification::Sampled { one_in } => {
                let read = self.reads.fetch_add(1, Ordering::Relaxed);
                is_sampled(read, one_in)
            }
        }
    }
}

/// Whether the read of this number, from 0, is one of those that are verified.
fn is_sampled(read: u64, one_in: NonZeroU32) -> bool {
    let one_in = u64::from(one_in.get());
    mix(read / one_in) % one_in == read % one_in
}

/// Checks one read of one stream, in as many parts as it has.
#[derive(Debug)]
pub(super) struct StreamCheck {
    is_on: bool,
    direction: Direction,
    /// Forwards: the events so far.
    chain: Option<ChainVerifier>,
    /// Backwards: the event that came last, which is the one after the next.
    later: Option<Later>,
    block: Vec<u8>,
}

/// What an event says about its place, for the check of the one before it.
#[derive(Clone, Copy, Debug)]
struct Later {
    version: u64,
    previous: Option<EventCid>,
    cid: EventCid,
}

impl StreamCheck {
    /// Of a read whose events come in this order.
    pub(super) fn in_direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// Checks the next event: its content against its CID, and its link against its neighbour that
    /// came before. What the earliest event of a read that begins inside the stream follows is not
    /// known here.
    pub(super) fn check(&mut self, event: &RecordedEvent) -> Result<(), ChainFault> {
        if !self.is_on {
            return Ok(());
        }
        match self.direction {
            Direction::Forwards => {
                let chain = self.chain.get_or_insert_with(|| chain_before(event));
                push(chain, &mut self.block, event)
            }
            Direction::Backwards => self.check_backwards(event),
        }
    }

    fn check_backwards(&mut self, event: &RecordedEvent) -> Result<(), ChainFault> {
        push(&mut chain_before(event), &mut self.block, event)?;
        let this = Later {
            version: event.version.get(),
            previous: event.previous,
            cid: event.cid,
        };
        let Some(later) = self.later.replace(this) else {
            return Ok(());
        };
        let head = ChainHead {
            version: this.version,
            cid: this.cid,
        };
        let stream = event.stream.as_str();
        let link = ChainLink {
            stream,
            version: later.version,
            previous: later.previous,
            cid: later.cid,
        };
        verify_link(stream, Some(head), &link).map(drop)
    }
}

/// Checks events by themselves.
#[derive(Debug)]
pub(super) struct LogCheck {
    is_on: bool,
    block: Vec<u8>,
}

impl LogCheck {
    /// Checks an event's content against its CID.
    pub(super) fn check(&mut self, event: &RecordedEvent) -> Result<(), ChainFault> {
        if !self.is_on {
            return Ok(());
        }
        push(&mut chain_before(event), &mut self.block, event)
    }
}

/// The chain up to what an event says about the one before it.
fn chain_before(event: &RecordedEvent) -> ChainVerifier {
    let head = ChainHead {
        version: event.version.get().saturating_sub(1),
        // A later event that names no predecessor is a fault, whichever one it was to name.
        cid: event.previous.unwrap_or(EventCid::from_digest([0; 32])),
    };
    ChainVerifier::resume(event.stream.as_str(), head)
}

fn push(
    chain: &mut ChainVerifier,
    block: &mut Vec<u8>,
    event: &RecordedEvent,
) -> Result<(), ChainFault> {
    block.clear();
    event.block().encode_into(block);
    chain.push(block, &event.cid).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_every_so_many_reads_in_a_row_exactly_one_is_sampled_and_not_always_the_same() {
        for one_in in [1, 2, 3, 7, 100] {
            let one_in = NonZeroU32::new(one_in).unwrap();
            let row = u64::from(one_in.get());
            let places: Vec<u64> = (0..50 * row)
                .filter(|read| is_sampled(*read, one_in))
                .collect();
            let rows: Vec<u64> = places.iter().map(|read| read / row).collect();
            assert_eq!(rows, (0..50).collect::<Vec<_>>());
            let first = places[0] % row;
            assert_eq!(
                places.iter().all(|read| read % row == first),
                row == 1,
                "one in {row}"
            );
        }
    }
}
