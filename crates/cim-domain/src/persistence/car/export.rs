//! From a log to a file.
//!
//! ```text
//! log ──► task: reads, in batches ──► channel ──► thread: checks, hashes, writes ──► file
//! ```

use std::io::{BufWriter, Seek, SeekFrom, Write};

use cim_ipld::car::{CarWriter, encode_header};
use cim_ipld::{EventBlock, EventCid};
use cim_store::{
    Context, EventFilter, EventLog, LogQuery, Position, RecordedEvent, StreamPattern,
    SubjectPattern,
};
use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;

use super::commits::{Commits, Seat};
use super::error::ExportError;
use super::file::{HistoryFile, UNFINISHED};
use super::layout::LayoutBlock;
use super::outline::Outline;

/// Events that are handed to the writing thread at once.
const BATCH_EVENTS: usize = 512;
/// Bytes of payload and metadata after which a batch is handed over, full or not.
const BATCH_BYTES: usize = 4 << 20;
/// Batches that may wait for the writing thread.
const WAITING_BATCHES: usize = 4;
/// What is written to the file at once.
const BUFFER_BYTES: usize = 1 << 20;

/// How far an export has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportProgress {
    /// How many events were read.
    pub events: u64,
    /// The position of the last one.
    pub position: Position,
    /// The position that the log ended with when the export began.
    pub last: Position,
}

/// Writes the history that a log holds, or of it the streams that a pattern matches, as a CAR file
/// to `file`, and gives that back with what it holds. The same events in the same order give the
/// same bytes, whichever store they came from. See [the module](super) for what is in it.
///
/// The log is read as it is when the export begins. `progress` is called now and then. Everything
/// that is written was checked: each event hashes to its CID and follows the one before it in its
/// stream, commits are whole, and nothing is missing. The file's header names no root until all of
/// that held to the end.
///
/// A commit that wrote streams which the pattern does not match is split; the result counts them,
/// because such a file can be read and checked, but not imported.
///
/// # Errors
/// [`ExportError`]: what was written is then no history, and whoever reads it is told so.
///
/// # Cancellation
/// Dropping the future leaves a file whose header says that the export did not come to its end.
pub async fn export<W>(
    log: &dyn EventLog,
    ctx: &Context,
    pattern: Option<&StreamPattern>,
    file: W,
    mut progress: impl FnMut(ExportProgress),
) -> Result<(HistoryFile, W), ExportError>
where
    W: Write + Seek + Send + 'static,
{
    let pattern = pattern.filter(|pattern| **pattern != StreamPattern::all());
    let stats = log.stats(ctx).await.map_err(ExportError::Read)?;
    let through = stats.truncated_through;
    if through > Position::NONE && has_lost(log, ctx, pattern, through).await? {
        return Err(ExportError::Truncated { through });
    }
    let (sender, batches) = mpsc::channel(WAITING_BATCHES);
    let named = pattern.map(|pattern| pattern.as_pattern().to_string());
    let writing = tokio::task::spawn_blocking(move || write_file(file, named, batches));

    let read = read_log(log, ctx, pattern, through, &sender, |events, position| {
        let last = stats.last;
        progress(ExportProgress {
            events,
            position,
            last,
        });
    });
    let read = read.await;
    let missing = match read {
        Ok(Some(found)) if pattern.is_none() && found < stats.events => Some(found),
        _ => None,
    };
    if read.is_ok() && missing.is_none() {
        // Without this the thread knows that its events did not come to their end.
        let _ = sender.send(Batch::End).await;
    }
    drop(sender);
    let written = writing.await.map_err(|e| ExportError::Thread(Some(e)))?;
    match written {
        Err(ExportError::Chain { fault, .. }) if begins_truncated(&fault, through) => {
            Err(ExportError::Truncated { through })
        }
        // It was not told that the events came to their end; what follows says why.
        Err(ExportError::Thread(None)) => {
            read?;
            match missing {
                Some(found) => Err(ExportError::Short {
                    expected: stats.events,
                    found,
                }),
                None => Err(ExportError::Thread(None)),
            }
        }
        written => written,
    }
}

/// Whether the truncation took anything that is to be exported, as far as the heads tell.
async fn has_lost(
    log: &dyn EventLog,
    ctx: &Context,
    pattern: Option<&StreamPattern>,
    through: Position,
) -> Result<bool, ExportError> {
    let Some(pattern) = pattern else {
        return Ok(true);
    };
    let heads = log.streams(ctx, pattern).await;
    let mut heads = heads.map_err(ExportError::Read)?;
    while let Some(head) = heads.try_next().await.map_err(ExportError::Read)? {
        if head.position <= through {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a chain breaks because the stream's first events were truncated.
fn begins_truncated(fault: &cim_ipld::ChainFault, through: Position) -> bool {
    let gap = matches!(fault.kind, cim_ipld::ChainFaultKind::Gap { .. });
    through > Position::NONE && fault.version == 1 && gap
}

enum Batch {
    Events(Vec<RecordedEvent>),
    /// All events have come.
    End,
}

/// Hands all events over, and counts them; `None` when the writing thread has ended: its error says
/// why.
async fn read_log(
    log: &dyn EventLog,
    ctx: &Context,
    pattern: Option<&StreamPattern>,
    through: Position,
    sender: &mpsc::Sender<Batch>,
    mut progress: impl FnMut(u64, Position),
) -> Result<Option<u64>, ExportError> {
    let mut filter = EventFilter::all();
    if let Some(subjects) = pattern.and_then(subjects_of) {
        filter = filter.matching(subjects);
    }
    let query = LogQuery::all().filter(filter).after(through);
    let events = log.read_log(ctx, query).await.map_err(ExportError::Read)?;
    let mut events = events.fuse();
    let mut count = 0;
    loop {
        let mut batch = Vec::with_capacity(BATCH_EVENTS);
        let mut bytes = 0;
        while batch.len() < BATCH_EVENTS && bytes < BATCH_BYTES {
            let Some(event) = events.next().await else {
                break;
            };
            let event = event.map_err(ExportError::Read)?;
            if pattern.is_none_or(|pattern| pattern.matches(&event.stream)) {
                bytes += event.payload.len() + event.metadata.encoded_len();
                batch.push(event);
            }
        }
        let Some(last) = batch.last() else {
            return Ok(Some(count));
        };
        let position = last.position;
        let events = batch.len() as u64;
        if sender.send(Batch::Events(batch)).await.is_err() {
            return Ok(None);
        }
        count += events;
        progress(count, position);
    }
}

/// The subjects of the events of the streams that a pattern matches; `None` where they can't be
/// named so, and all have to be looked at.
fn subjects_of(pattern: &StreamPattern) -> Option<SubjectPattern> {
    let text = pattern.as_pattern().as_str();
    let subjects = if text == ">" || text.ends_with(".>") {
        format!("cim.events.{text}")
    } else {
        format!("cim.events.{text}.>")
    };
    SubjectPattern::new(subjects).ok()
}

fn write_file<W: Write + Seek>(
    file: W,
    pattern: Option<String>,
    mut batches: mpsc::Receiver<Batch>,
) -> Result<(HistoryFile, W), ExportError> {
    let mut writer = FileWriter::begin(file, pattern)?;
    while let Some(batch) = batches.blocking_recv() {
        match batch {
            Batch::Events(events) => {
                events.iter().try_for_each(|event| writer.event(event))?;
            }
            Batch::End => return writer.finish(),
        }
    }
    Err(ExportError::Thread(None))
}

/// Writes a file, event by event.
#[derive(Debug)]
struct FileWriter<W: Write> {
    car: CarWriter<BufWriter<W>>,
    /// Where in what is written to the file begins.
    start: u64,
    pattern: Option<String>,
    outline: Outline,
    commits: Commits,
    position: Position,
    /// The block under way; kept for its memory.
    block: Vec<u8>,
}

impl<W: Write + Seek> FileWriter<W> {
    fn begin(mut file: W, pattern: Option<String>) -> Result<Self, ExportError> {
        let start = file.stream_position().map_err(ExportError::Header)?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(Self {
            car: CarWriter::new(file, &[UNFINISHED.to_cid()])?,
            start,
            pattern,
            outline: Outline::default(),
            commits: Commits::default(),
            position: Position::NONE,
            block: Vec::new(),
        })
    }

    fn event(&mut self, event: &RecordedEvent) -> Result<(), ExportError> {
        let position = event.position;
        if position <= self.position {
            return Err(ExportError::Order {
                position,
                previous: self.position,
            });
        }
        self.position = position;
        self.block.clear();
        event.block().encode_into(&mut self.block);
        let cid = EventCid::of(&self.block);
        if cid != event.cid {
            return Err(ExportError::Altered {
                position,
                stream: event.stream.clone(),
                version: event.version,
                claimed: event.cid,
                actual: cid,
            });
        }
        let block = EventBlock::decode(&self.block)
            .map_err(|source| ExportError::Malformed { position, source })?;
        let pushed = self.outline.push(&block, cid);
        pushed.map_err(|fault| ExportError::Chain { position, fault })?;
        let seat = Seat {
            commit: event.commit_id,
            index: event.commit_index,
            count: event.commit_count,
        };
        let split = self.commits.push(seat).split;
        self.refuse_split(split)?;
        self.car.write_block(&cid.to_cid(), &self.block)?;
        if let Some(page) = self.outline.full_page() {
            put(&mut self.car, &page?)?;
        }
        Ok(())
    }

    /// A whole log has whole commits.
    fn refuse_split(&self, split: Option<super::SplitCommit>) -> Result<(), ExportError> {
        match split {
            Some(split) if self.pattern.is_none() => Err(ExportError::SplitCommit {
                position: self.position,
                split,
            }),
            _ => Ok(()),
        }
    }

    fn finish(mut self) -> Result<(HistoryFile, W), ExportError> {
        let split = self.commits.finish();
        self.refuse_split(split)?;
        if let Some(page) = self.outline.last_page() {
            put(&mut self.car, &page?)?;
        }
        let mut closing = self.outline.close();
        while let Some(heads) = closing.next_heads() {
            put(&mut self.car, &heads?)?;
        }
        let root = closing.root(self.pattern);
        let block = root.to_block()?;
        put(&mut self.car, &block)?;
        let bytes = self.car.bytes_written();
        let file = self.car.finish()?;
        let mut file = file
            .into_inner()
            .map_err(|error| ExportError::Header(error.into_error()))?;
        // The root is known only now. Its header has the length of the one that is there.
        let header = encode_header(&[block.cid])?;
        let mut patch = || {
            file.seek(SeekFrom::Start(self.start))?;
            file.write_all(&header)?;
            file.seek(SeekFrom::Start(self.start + bytes))?;
            file.flush()
        };
        patch().map_err(ExportError::Header)?;
        let done = HistoryFile {
            root: block.cid,
            events: root.events,
            streams: root.streams,
            tree: root.tree,
            pattern: root.pattern,
            bytes,
            split_commits: self.commits.split(),
            first_split: self.commits.first_split(),
        };
        Ok((done, file))
    }
}

fn put<W: Write>(car: &mut CarWriter<W>, block: &LayoutBlock) -> Result<(), ExportError> {
    car.write_block(&block.cid, &block.bytes)?;
    Ok(())
}
