//! Windows: the events of whole commits that are handed out and stored together.

use bytes::Bytes;
use cim_ipld::{EventBlock, EventCid};
use cim_store::staging::decode_event_in;
use cim_store::{
    Append, Context, ExpectedVersion, NewEvent, OrderedAppend, Position, RecordedEvent,
    StreamWrite, Timestamp, Version,
};

use super::commits::SplitCommit;
use super::error::HistoryFileError;

/// Events of whole commits, in the order of the log.
#[derive(Debug)]
pub(crate) struct Window {
    /// How many events of the file are before it.
    first: u64,
    /// How much of the file was read for it.
    pub(crate) read: u64,
    /// The blocks, one after the other.
    blocks: Bytes,
    /// Where each block ends, and its CID.
    events: Vec<(usize, EventCid)>,
}

/// A window that is being filled.
#[derive(Debug, Default)]
pub(crate) struct Filling {
    first: u64,
    blocks: Vec<u8>,
    events: Vec<(usize, EventCid)>,
    /// How many of the events are of whole commits.
    whole: usize,
    /// Where the blocks of these end.
    whole_end: usize,
}

impl Filling {
    pub(crate) fn push(&mut self, block: &[u8], cid: EventCid, completes: bool) {
        self.blocks.extend_from_slice(block);
        self.events.push((self.blocks.len(), cid));
        if completes {
            self.whole = self.events.len();
            self.whole_end = self.blocks.len();
        }
    }

    /// How many events it has.
    pub(crate) fn events(&self) -> usize {
        self.events.len()
    }

    /// How many bytes it has.
    pub(crate) fn bytes(&self) -> usize {
        self.blocks.len()
    }

    /// How many of them are of a commit that is not whole yet.
    pub(crate) fn open_bytes(&self) -> usize {
        self.blocks.len() - self.whole_end
    }

    /// What is whole, if anything; the rest stays.
    pub(crate) fn take(&mut self, read: u64) -> Option<Window> {
        if self.whole == 0 {
            return None;
        }
        let mut rest = self.events.split_off(self.whole);
        rest.iter_mut().for_each(|(end, _)| *end -= self.whole_end);
        let mut blocks = Vec::with_capacity(self.blocks.capacity());
        blocks.extend_from_slice(self.blocks.get(self.whole_end..).unwrap_or_default());
        let mut taken = std::mem::replace(&mut self.blocks, blocks);
        taken.truncate(self.whole_end);
        let events = std::mem::replace(&mut self.events, rest);
        let first = self.first;
        self.first += events.len() as u64;
        (self.whole, self.whole_end) = (0, 0);
        Some(Window {
            first,
            read,
            blocks: taken.into(),
            events,
        })
    }

    /// The error for a commit that is not whole, of which this window has the events.
    pub(crate) fn split(&self, split: SplitCommit) -> HistoryFileError {
        let mut streams = Vec::new();
        let mut start = self.whole_end;
        for (end, _) in self.events.get(self.whole..).unwrap_or_default() {
            let block = self.blocks.get(start..*end).unwrap_or_default();
            start = *end;
            if let Ok(event) = EventBlock::decode(block)
                && event.commit == *split.commit.as_bytes()
                && !streams.iter().any(|stream| stream == event.stream)
            {
                streams.push(event.stream.to_owned());
            }
        }
        HistoryFileError::SplitCommit { split, streams }
    }
}

/// Commits that are ready to be stored, and the CIDs that their events have in the file.
#[derive(Debug)]
pub(crate) struct Commits {
    /// How many events of the file are before them.
    pub(crate) first: u64,
    /// How much of the file was read for them.
    pub(crate) read: u64,
    /// The commits.
    pub(crate) commits: Vec<OrderedAppend>,
    /// The CIDs of all their events, in order.
    pub(crate) cids: Vec<EventCid>,
}

impl Window {
    /// One without events, read up to here.
    pub(crate) fn empty(read: u64) -> Self {
        Self {
            first: 0,
            read,
            blocks: Bytes::new(),
            events: Vec::new(),
        }
    }

    /// Makes commits of it. Their events share the window's memory.
    ///
    /// # Errors
    /// Where a commit's events can't be those of one commit, or can't have been stored.
    pub(crate) fn into_commits(self) -> Result<Commits, HistoryFileError> {
        let mut commits = Vec::with_capacity(self.events.len());
        let mut start = 0;
        let mut open: Option<Open> = None;
        for (number, (end, cid)) in (self.first + 1..).zip(&self.events) {
            let block = self.blocks.get(start..*end).unwrap_or_default();
            start = *end;
            let decoded =
                decode_event_in(&self.blocks, block, *cid, Position::NONE, Timestamp::EPOCH);
            let event = decoded.map_err(|source| HistoryFileError::Event {
                event: number,
                source,
            })?;
            let last = event.commit_index + 1 == event.commit_count;
            let mut commit = match open.take() {
                Some(commit) => commit,
                None => Open::of(&event),
            };
            commit.push(event)?;
            if last {
                commits.push(commit.done);
            } else {
                open = Some(commit);
            }
        }
        Ok(Commits {
            first: self.first,
            read: self.read,
            commits,
            cids: self.events.into_iter().map(|(_, cid)| cid).collect(),
        })
    }
}

/// A commit that is being put together.
struct Open {
    done: OrderedAppend,
}

impl Open {
    fn of(first: &RecordedEvent) -> Self {
        let mut ctx = Context::new();
        if let Some(principal) = &first.principal {
            ctx = ctx.with_principal(principal.clone());
        }
        if let Some(trace) = &first.trace {
            ctx = ctx.with_trace(trace.clone());
        }
        let append = Append::new().with_commit_id(first.commit_id);
        Self {
            done: OrderedAppend::new(ctx, append),
        }
    }

    fn push(&mut self, event: RecordedEvent) -> Result<(), HistoryFileError> {
        let commit = event.commit_id;
        let refused = |why| Err(HistoryFileError::NotOneCommit { commit, why });
        let ctx = &self.done.ctx;
        if (ctx.principal(), ctx.trace()) != (event.principal.as_ref(), event.trace.as_ref()) {
            return refused("its events name different principals or traces");
        }
        let writes = &mut self.done.append.writes;
        let new = NewEvent {
            id: Some(event.id),
            event_type: event.event_type,
            schema_version: event.schema_version,
            time: Some(event.time),
            content_type: event.content_type,
            payload: event.payload,
            metadata: event.metadata,
            correlation_id: event.correlation_id,
            causation_id: event.causation_id,
        };
        if let Some(write) = writes.last_mut()
            && write.stream == event.stream
        {
            write.events.push(new);
            return Ok(());
        }
        if writes.iter().any(|write| write.stream == event.stream) {
            return refused("events of another stream stand between those of one");
        }
        let before = event.version.get().saturating_sub(1);
        writes.push(StreamWrite {
            stream: event.stream,
            expected: ExpectedVersion::Exact(Version::new(before)),
            events: vec![new],
        });
        Ok(())
    }
}
