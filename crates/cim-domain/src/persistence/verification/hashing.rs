//! The part of a verification that costs: hashing and decoding. It looks at each event alone, so it
//! runs on several cores, a batch at a time.

use cim_ipld::{BlockError, EventBlock};
use cim_store::{
    Damage, EventCid, Examined, ExaminedEvent, Position, StreamId, Timestamp, Version,
};

/// Events, or bytes, of one batch.
pub(super) const BATCH_EVENTS: u64 = 512;
const BATCH_BYTES: usize = 1 << 20;

/// What was found, hashed.
#[derive(Debug)]
pub(super) enum Hashed {
    Event(HashedEvent),
    Damage(Damage),
}

/// An event: where it is filed, and what its bytes say.
#[derive(Debug)]
pub(super) struct HashedEvent {
    pub(super) position: Position,
    pub(super) stored_at: Timestamp,
    pub(super) stream: StreamId,
    pub(super) version: Version,
    pub(super) cid: EventCid,
    pub(super) block: BlockFinding,
}

/// What an event's bytes say.
#[derive(Debug)]
pub(super) enum BlockFinding {
    /// They don't hash to the CID that they are filed under.
    Altered { actual: EventCid },
    /// They do, but are no event's block.
    Malformed(Box<BlockError>),
    /// They are what they should be.
    Sound(SoundBlock),
}

/// What links an event to its stream and its commit.
#[derive(Debug)]
pub(super) struct SoundBlock {
    /// The stream that the block names, where it is not the one that the event is filed under.
    pub(super) other_stream: Option<Box<str>>,
    pub(super) version: u64,
    pub(super) previous: Option<EventCid>,
    pub(super) commit: [u8; 16],
    pub(super) index: u32,
    pub(super) count: u32,
}

/// Hashes and decodes a batch.
pub(super) fn hash_all(batch: Vec<Examined>) -> Vec<Hashed> {
    batch.into_iter().map(hash).collect()
}

/// Hashes and decodes what was found.
pub(super) fn hash(found: Examined) -> Hashed {
    match found {
        Examined::Event(event) => Hashed::Event(hash_event(event)),
        Examined::Damage(damage) => Hashed::Damage(damage),
    }
}

fn hash_event(event: ExaminedEvent) -> HashedEvent {
    let actual = EventCid::of(&event.block);
    let block = if actual == event.cid {
        match EventBlock::decode(&event.block) {
            Ok(block) => BlockFinding::Sound(SoundBlock {
                other_stream: (block.stream != event.stream.as_str()).then(|| block.stream.into()),
                version: block.version,
                previous: block.previous,
                commit: block.commit,
                index: block.index,
                count: block.count,
            }),
            Err(error) => BlockFinding::Malformed(Box::new(error)),
        }
    } else {
        BlockFinding::Altered { actual }
    };
    HashedEvent {
        position: event.position,
        stored_at: event.stored_at,
        stream: event.stream,
        version: event.version,
        cid: event.cid,
        block,
    }
}

/// Collects what is found into batches that are worth a thread's turn.
#[derive(Debug, Default)]
pub(super) struct Batch {
    found: Vec<Examined>,
    bytes: usize,
}

impl Batch {
    /// Adds something; returns the batch when it is full.
    pub(super) fn push(&mut self, found: Examined) -> Option<Vec<Examined>> {
        if let Examined::Event(event) = &found {
            self.bytes += event.block.len();
        }
        if self.found.is_empty() {
            self.found.reserve(BATCH_EVENTS as usize);
        }
        self.found.push(found);
        if (self.found.len() as u64) < BATCH_EVENTS && self.bytes < BATCH_BYTES {
            return None;
        }
        self.take()
    }

    /// What is left.
    pub(super) fn take(&mut self) -> Option<Vec<Examined>> {
        self.bytes = 0;
        let found = std::mem::take(&mut self.found);
        (!found.is_empty()).then_some(found)
    }
}
