//! Reading a file: every block is checked against everything that was read before it, and events
//! come out in windows of whole commits.
//!
//! ```text
//! blocks ──► hash ──► event: chain, commit ──► window ──────────────► handed out when the page that
//!                 └─► page, heads, root: made again, compared          names its events was compared
//! ```

use std::collections::HashSet;
use std::io::Read;

use cim_ipld::car::{CarBlock, CarReader};
use cim_ipld::{
    BLOCK_FORMAT_VERSION, BlockError, BlockErrorKind, Cid, EventBlock, EventCid, dag_cbor,
};
use cim_store::{CommitId, Limits, StreamId, StreamPattern};

use super::commits::{Commits, Seat, SplitCommit};
use super::error::HistoryFileError;
use super::layout::{LAYOUT_VERSION, LayoutBlock, PAGE_EVENTS, Page, Root, RootVersion};
use super::outline::Outline;
use super::window::{Filling, Window};
use crate::persistence::checkpoint::tree::TreeHash;

/// The root that a header has until the export comes to its end.
pub(crate) const UNFINISHED: EventCid = EventCid::from_digest([0; 32]);

/// Events, or bytes of events, after which a window is handed out at the end of a page: enough that
/// a store which flushes in groups can flush one while it takes the next.
const WINDOW_EVENTS: usize = 2 * PAGE_EVENTS;
const WINDOW_BYTES: usize = 8 << 20;

/// Bytes of events after which a window is handed out, page or no page: memory stays bounded
/// whatever the events' sizes.
const MAX_WINDOW_BYTES: usize = 2 * WINDOW_BYTES;

/// Bytes of an event's block beside payload and metadata are fewer than this.
const EVENT_OVERHEAD: usize = 4 << 10;

/// What a file holds, as its root says and its events prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryFile {
    /// The CID of its root: it stands for every byte of every event, and for their order.
    pub root: Cid,
    /// How many events it has.
    pub events: u64,
    /// How many streams they belong to.
    pub streams: u64,
    /// The root of the RFC 6962 Merkle tree over the events' CIDs in the order of the log: that of a
    /// checkpoint of the same log at the same size.
    pub tree: TreeHash,
    /// Which streams of the log were exported; `None`: all.
    pub pattern: Option<String>,
    /// How many bytes it has.
    pub bytes: u64,
    /// How many commits have events that are not in the file, because they wrote to streams that
    /// `pattern` does not match as well. A file with such commits can be read and checked, but not
    /// imported.
    pub split_commits: u64,
    /// The first one of them.
    pub first_split: Option<SplitCommit>,
}

/// What to do with commits that lack events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SplitCommits {
    /// Count them; nothing is to be stored.
    Count,
    /// Refuse the file.
    Refuse,
}

/// Reads a file to its end.
#[derive(Debug)]
pub(crate) struct FileReader<R> {
    car: CarReader<R>,
    root: Cid,
    split: SplitCommits,
    outline: Outline,
    commits: Commits,
    /// The ids of all commits so far: what keeps files with two commits of one id away from stores.
    ids: HashSet<CommitId>,
    window: Filling,
    /// Whether the block before this one was a page.
    paged: bool,
    /// Found, and told when the page was compared: a file that lost an event is damaged, and that it
    /// can't be stored is not the news.
    refused: Option<HistoryFileError>,
    ended: Option<HistoryFile>,
}

/// The root that a file's header announces. Nothing has been compared with it yet.
///
/// # Errors
/// Where the header is not that of an exported history, or of one that was never finished.
pub fn announced_root(file: impl Read) -> Result<Cid, HistoryFileError> {
    root_of(&CarReader::new(file)?)
}

fn root_of<R>(car: &CarReader<R>) -> Result<Cid, HistoryFileError> {
    match car.roots() {
        [root] if *root == UNFINISHED.to_cid() => Err(HistoryFileError::Unfinished),
        [root] => Ok(*root),
        roots => Err(HistoryFileError::Roots { found: roots.len() }),
    }
}

fn other_root(expected: Cid, found: Cid) -> HistoryFileError {
    HistoryFileError::OtherRoot {
        expected: expected.into(),
        found: found.into(),
    }
}

impl<R: Read> FileReader<R> {
    /// Reads the header. `expected` is the root that the file must have.
    pub(crate) fn open(
        file: R,
        expected: Option<Cid>,
        split: SplitCommits,
    ) -> Result<Self, HistoryFileError> {
        // Each block is hashed below, once.
        let car = CarReader::new(file)?.without_verification();
        let root = root_of(&car)?;
        if let Some(expected) = expected.filter(|expected| *expected != root) {
            return Err(other_root(expected, root));
        }
        Ok(Self {
            car,
            root,
            split,
            outline: Outline::default(),
            commits: Commits::default(),
            ids: HashSet::new(),
            window: Filling::default(),
            paged: false,
            refused: None,
            ended: None,
        })
    }

    /// What the file holds, once [`next_window`](Self::next_window) has said that nothing is left.
    pub(crate) fn ended(self) -> Option<HistoryFile> {
        self.ended
    }

    /// The next window; `None` when everything was handed out and the file was compared with its
    /// root. Where split commits are only counted, windows are empty and say how far it came.
    pub(crate) fn next_window(&mut self) -> Result<Option<Window>, HistoryFileError> {
        while self.ended.is_none() {
            let Some(block) = self.car.next_block()? else {
                let events = self.outline.events();
                return Err(HistoryFileError::Cut { events });
            };
            let cid = check_hash(&block)?;
            if let Some(page) = self.outline.full_page() {
                compare_page(&block, &page?, self.outline.events())?;
                self.paged = true;
                if let Some(refused) = self.refused.take() {
                    return Err(refused);
                }
                if self.split == SplitCommits::Count {
                    return Ok(Some(Window::empty(self.car.position())));
                }
                continue;
            }
            if !is_event(block.bytes) {
                let first = Kept::of(&block);
                let ended = self.close(first)?;
                self.ended = Some(ended);
                return Ok(self.window.take(self.car.position()));
            }
            // A window that is full is handed out when there is more than it: so a small file is
            // compared with its root before anything of it is stored.
            let (events, bytes) = (self.window.events(), self.window.bytes());
            let full = events >= WINDOW_EVENTS || bytes >= WINDOW_BYTES;
            let due = (self.paged && full) || bytes >= MAX_WINDOW_BYTES;
            let full = if due {
                self.window.take(block.offset)
            } else {
                None
            };
            self.paged = false;
            let number = self.outline.events() + 1;
            let event = EventBlock::decode(block.bytes)
                .map_err(|source| unreadable(block.offset, number, source))?;
            if !self.outline.has_stream(event.stream) {
                StreamId::parse(event.stream).map_err(|source| HistoryFileError::Stream {
                    event: number,
                    source,
                })?;
            }
            self.outline.push(&event, cid).map_err(|fault| {
                let offset = block.offset;
                HistoryFileError::Chain {
                    offset,
                    event: number,
                    fault,
                }
            })?;
            let seat = Seat {
                commit: CommitId::from_bytes(event.commit),
                index: event.index,
                count: event.count,
            };
            let step = self.commits.push(seat);
            let repeats = step.begins && !self.ids.insert(seat.commit);
            if repeats && self.refused.is_none() {
                self.refused = Some(HistoryFileError::RepeatedCommit {
                    offset: block.offset,
                    event: number,
                    commit: seat.commit,
                });
            }
            match self.split {
                // Nobody stores them, so they need not be kept.
                SplitCommits::Count => {}
                SplitCommits::Refuse if self.refused.is_some() => {}
                SplitCommits::Refuse => {
                    self.refused = match step.split {
                        Some(split) => Some(self.window.split(split)),
                        None => too_large(&self.window, seat),
                    };
                    self.window.push(block.bytes, cid, step.completes);
                }
            }
            if full.is_some() {
                return Ok(full);
            }
        }
        Ok(None)
    }

    /// Compares what follows after the last event, of which `block` is the first, to the file's end.
    fn close(&mut self, mut block: Kept) -> Result<HistoryFile, HistoryFileError> {
        let events = self.outline.events();
        if let Some(page) = self.outline.last_page() {
            compare_page(&block.borrowed(), &page?, events)?;
            block = self.next_kept(events)?;
        }
        if let Some(split) = self.commits.finish()
            && self.split == SplitCommits::Refuse
        {
            self.refused.get_or_insert(self.window.split(split));
        }
        if let Some(refused) = self.refused.take() {
            return Err(refused);
        }
        let outline = std::mem::take(&mut self.outline);
        let mut closing = outline.close();
        while let Some(heads) = closing.next_heads() {
            compare(&block.borrowed(), &heads?, |_| {
                "the heads of the streams should stand here, and this is not what the events before \
                 lead to"
                    .to_owned()
            })?;
            block = self.next_kept(events)?;
        }
        let found = read_root(&block.borrowed())?;
        let expected = closing.root(found.pattern.clone());
        compare(&block.borrowed(), &expected.to_block()?, |_| {
            root_fault(&found, &expected)
        })?;
        if block.cid != self.root {
            return Err(other_root(self.root, block.cid));
        }
        let wrong = match &expected.pattern {
            None if self.commits.split() > 0 => Some(
                "the root says that this is a whole log, but it has commits that are not whole"
                    .to_owned(),
            ),
            None => None,
            Some(text) => match text.parse::<StreamPattern>() {
                Ok(pattern) => closing.stream_outside(&pattern).map(|stream| {
                    format!("the root says pattern: {text}, but the file has stream {stream}")
                }),
                Err(_) => Some("the root's pattern is none".to_owned()),
            },
        };
        if let Some(what) = wrong {
            let offset = block.offset;
            return Err(HistoryFileError::Layout { offset, what });
        }
        if let Some(more) = self.car.next_block()? {
            return Err(HistoryFileError::Layout {
                offset: more.offset,
                what: "a block follows after the root".to_owned(),
            });
        }
        Ok(HistoryFile {
            root: self.root,
            events,
            streams: expected.streams,
            tree: expected.tree,
            pattern: expected.pattern,
            bytes: self.car.position(),
            split_commits: self.commits.split(),
            first_split: self.commits.first_split(),
        })
    }

    fn next_kept(&mut self, events: u64) -> Result<Kept, HistoryFileError> {
        match self.car.next_block()? {
            Some(block) => {
                check_hash(&block)?;
                Ok(Kept::of(&block))
            }
            None => Err(HistoryFileError::Cut { events }),
        }
    }
}

/// A block with bytes of its own.
struct Kept {
    cid: Cid,
    offset: u64,
    length: u64,
    bytes: Vec<u8>,
}

impl Kept {
    fn of(block: &CarBlock<'_>) -> Self {
        Self {
            cid: block.cid,
            offset: block.offset,
            length: block.length,
            bytes: block.bytes.to_vec(),
        }
    }

    fn borrowed(&self) -> CarBlock<'_> {
        CarBlock {
            cid: self.cid,
            offset: self.offset,
            length: self.length,
            bytes: &self.bytes,
        }
    }
}

/// Whether a block begins as every event's does: a map whose first keys are `v`, an unsigned integer,
/// and `id`. Nothing else in a file begins so. The number is that of the format: one that this release
/// does not know is no reason to take an event for something else.
fn is_event(block: &[u8]) -> bool {
    let [0xa0..=0xb7, 0x61, b'v', version, rest @ ..] = block else {
        return false;
    };
    let more = match version {
        0..=0x17 => 0,
        0x18 => 1,
        0x19 => 2,
        0x1a => 4,
        0x1b => 8,
        _ => return false,
    };
    matches!(rest.get(more..), Some([0x62, b'i', b'd', ..]))
}

/// The error for an event's block that can't be decoded.
fn unreadable(offset: u64, event: u64, source: BlockError) -> HistoryFileError {
    match *source.kind() {
        BlockErrorKind::UnsupportedVersion { found } if found > BLOCK_FORMAT_VERSION => {
            HistoryFileError::EventVersion {
                offset,
                event,
                found,
            }
        }
        _ => HistoryFileError::Malformed {
            offset,
            event,
            source,
        },
    }
}

/// The address of a block that hashes to the one it stands under.
fn check_hash(block: &CarBlock<'_>) -> Result<EventCid, HistoryFileError> {
    let claimed = EventCid::try_from(&block.cid).map_err(|_| HistoryFileError::Layout {
        offset: block.offset,
        what: format!(
            "a block under {}; every block of a history has a CIDv1 with dag-cbor and sha2-256",
            block.cid
        ),
    })?;
    let actual = EventCid::of(block.bytes);
    if actual == claimed {
        return Ok(claimed);
    }
    Err(HistoryFileError::Altered {
        offset: block.offset,
        claimed,
        actual,
    })
}

fn compare(
    found: &CarBlock<'_>,
    expected: &LayoutBlock,
    why: impl FnOnce(&[u8]) -> String,
) -> Result<(), HistoryFileError> {
    if found.cid == expected.cid && found.bytes == expected.bytes {
        return Ok(());
    }
    Err(HistoryFileError::Layout {
        offset: found.offset,
        what: why(found.bytes),
    })
}

/// `last` is the number of the last event that the page names, from 1.
fn compare_page(
    found: &CarBlock<'_>,
    expected: &LayoutBlock,
    last: u64,
) -> Result<(), HistoryFileError> {
    compare(found, expected, |bytes| page_fault(bytes, expected, last))
}

fn page_fault(found: &[u8], expected: &LayoutBlock, last: u64) -> String {
    let page = |bytes| dag_cbor::from_slice::<Page>(bytes).ok();
    let Some(expected) = page(&expected.bytes) else {
        return "a page should stand here".to_owned();
    };
    let first = last + 1 - expected.events.len() as u64;
    let Some(found) = page(found) else {
        return format!("the page of the events {first} to {last} should stand here");
    };
    let pairs = expected.events.iter().zip(&found.events).zip(first..);
    for ((file, named), number) in pairs {
        if file != named {
            return format!(
                "event {number} of the file is {file}, but the page names {named} there"
            );
        }
    }
    if expected.events.len() == found.events.len() {
        return format!("the page of the events {first} to {last} follows another page");
    }
    format!(
        "the page names {} events, but {} stand before it",
        found.events.len(),
        expected.events.len()
    )
}

fn read_root(block: &CarBlock<'_>) -> Result<Root, HistoryFileError> {
    let offset = block.offset;
    let no_root = |_| HistoryFileError::Layout {
        offset,
        what: "the root should stand here, and this is none".to_owned(),
    };
    let version: RootVersion = dag_cbor::from_slice(block.bytes).map_err(no_root)?;
    if version.v != LAYOUT_VERSION {
        return Err(HistoryFileError::Version {
            offset,
            found: version.v,
        });
    }
    dag_cbor::from_slice(block.bytes).map_err(no_root)
}

fn root_fault(found: &Root, expected: &Root) -> String {
    let (name, says, is) = if found.events != expected.events {
        let (says, is) = (found.events.to_string(), expected.events.to_string());
        ("events", says, is)
    } else if found.streams != expected.streams {
        let (says, is) = (found.streams.to_string(), expected.streams.to_string());
        ("streams", says, is)
    } else if found.tree != expected.tree {
        ("tree", found.tree.to_string(), expected.tree.to_string())
    } else {
        return "the root names other pages or heads than those of the file".to_owned();
    };
    format!("the root says {name}: {says}, but the file has {is}")
}

/// Refuses a commit that no store takes before it fills the memory.
fn too_large(window: &Filling, seat: Seat) -> Option<HistoryFileError> {
    let limits = Limits::CONTRACT;
    let count = usize::try_from(seat.count).unwrap_or(usize::MAX);
    let refused = |why| {
        Some(HistoryFileError::NotOneCommit {
            commit: seat.commit,
            why,
        })
    };
    if count > limits.commit_events {
        return refused("it has more events than a commit can have");
    }
    if window.open_bytes() > limits.commit_bytes + count * EVENT_OVERHEAD {
        return refused("it has more bytes than a commit can have");
    }
    None
}
