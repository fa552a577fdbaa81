//! From a file into a log.
//!
//! ```text
//! file ──► thread: reads, hashes, checks, makes commits ──► channel ──► task: compares with what the
//!                                                    one window        log holds, then appends
//! ```

use std::io::Read;
use std::ops::ControlFlow;

use cim_ipld::{Cid, EventCid};
use cim_store::{CommitId, Context, EventLog, EventStream, LogQuery, Position};
use futures_util::TryStreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::error::{HistoryFileError, ImportError};
use super::file::{FileReader, HistoryFile, SplitCommits};
use super::window::Commits;

/// How to import.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportOptions {
    /// The root that the file must have, from somebody who can be trusted: then nobody can have made
    /// up another history. Without it the file is only known to be sound in itself.
    pub root: Option<Cid>,
}

/// How far an import has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportProgress {
    /// Bytes of the file that were dealt with.
    pub bytes: u64,
    /// Events of the file that the log holds now.
    pub events: u64,
    /// How many of them this import has stored.
    pub stored: u64,
}

/// What an import did. The log holds exactly what the file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// What the file holds.
    pub file: HistoryFile,
    /// How many of its events were stored before.
    pub found: u64,
    /// How many of its events this import has stored.
    pub stored: u64,
}

/// Stores the history that a CAR file holds in a log that is empty, or holds a beginning of it: the
/// same CIDs, versions, commits and order. Positions, and when the store took an event, are the
/// log's own. See [the module](super) for an example.
///
/// Every block is hashed and every chain checked before an event is stored; order and end are
/// proven by the file's pages and its root. What the log holds is compared with the file first, so
/// an import that was interrupted goes on where it ended. `progress` is called after every window of
/// some thousand events, and stops the import there by breaking.
///
/// The file is read on a thread of its own, a window ahead; memory is a few windows of at most
/// 16 MiB, a head for each stream, and the 16 bytes of each commit's id in a set, which are 20 to 40.
///
/// # Errors
/// [`ImportError`]. What is stored is always a beginning of the file made of whole commits, and
/// where the log holds something else nothing is stored.
///
/// # Cancellation
/// Dropping the future leaves a beginning of the file stored.
pub async fn import<R>(
    log: &dyn EventLog,
    ctx: &Context,
    file: R,
    options: ImportOptions,
    mut progress: impl FnMut(ImportProgress) -> ControlFlow<()>,
) -> Result<Imported, ImportError>
where
    R: Read + Send + 'static,
{
    let mut target = Target::open(log, ctx).await?;
    let (mut messages, reading) = start(file, options, SplitCommits::Refuse);
    let mut stopped = false;
    while let Some(message) = messages.recv().await {
        let mut commits = match message? {
            Message::Commits(commits) => commits,
            Message::End(file) => return target.end(file).await,
        };
        if stopped {
            let events = target.events();
            return Err(ImportError::Stopped { events });
        }
        let bytes = commits.read;
        target.compare(&mut commits).await?;
        target.append(commits).await?;
        stopped = progress(ImportProgress {
            bytes,
            events: target.events(),
            stored: target.stored,
        })
        .is_break();
    }
    Err(ImportError::Thread(reading.await.err()))
}

/// Reads and checks a file without storing anything. `progress` is told how many bytes were read.
/// Memory is a page, a head for each stream and, as for an [`import()`], each commit's id.
///
/// # Errors
/// [`ImportError::File`] with the place; also where the file does not have the root of the options.
///
/// # Cancellation
/// Safe.
pub async fn check<R>(
    file: R,
    options: ImportOptions,
    mut progress: impl FnMut(u64),
) -> Result<HistoryFile, ImportError>
where
    R: Read + Send + 'static,
{
    let (mut messages, reading) = start(file, options, SplitCommits::Count);
    while let Some(message) = messages.recv().await {
        match message? {
            Message::Commits(commits) => progress(commits.read),
            Message::End(file) => return Ok(file),
        }
    }
    Err(ImportError::Thread(reading.await.err()))
}

/// Reads and checks as much of a file as an [`import()`] does before it stores anything: a small file
/// to its end. So nobody has to make a store for a file that is refused anyway. This blocks.
///
/// # Errors
/// Where the file is damaged there, can't be imported, or does not have the root of the options.
pub fn check_beginning(file: impl Read, options: ImportOptions) -> Result<(), HistoryFileError> {
    let mut reader = FileReader::open(file, options.root, SplitCommits::Refuse)?;
    if let Some(window) = reader.next_window()? {
        window.into_commits()?;
    }
    Ok(())
}

enum Message {
    Commits(Commits),
    End(HistoryFile),
}

type Sender = mpsc::Sender<Result<Message, HistoryFileError>>;
type Receiver = mpsc::Receiver<Result<Message, HistoryFileError>>;

/// Reads the file on a thread of its own, which ends when the receiver is dropped.
fn start<R: Read + Send + 'static>(
    file: R,
    options: ImportOptions,
    split: SplitCommits,
) -> (Receiver, JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel(1);
    let reading = tokio::task::spawn_blocking(move || {
        if let Err(error) = read_file(file, options.root, split, &sender) {
            // Where nobody listens any more nobody needs the error.
            let _ = sender.blocking_send(Err(error));
        }
    });
    (receiver, reading)
}

/// Sends what the file holds.
fn read_file(
    file: impl Read,
    root: Option<Cid>,
    split: SplitCommits,
    sender: &Sender,
) -> Result<(), HistoryFileError> {
    let mut reader = FileReader::open(file, root, split)?;
    while let Some(window) = reader.next_window()? {
        let commits = window.into_commits()?;
        if sender.blocking_send(Ok(Message::Commits(commits))).is_err() {
            return Ok(());
        }
    }
    if let Some(file) = reader.ended() {
        let _ = sender.blocking_send(Ok(Message::End(file)));
    }
    Ok(())
}

/// The log that is imported into.
struct Target<'a> {
    log: &'a dyn EventLog,
    ctx: &'a Context,
    /// What the log held when the import began and was not compared yet.
    held: Option<EventStream>,
    /// How many events of it are those of the file.
    found: u64,
    stored: u64,
}

impl<'a> Target<'a> {
    async fn open(log: &'a dyn EventLog, ctx: &'a Context) -> Result<Self, ImportError> {
        let stats = log.stats(ctx).await.map_err(ImportError::Read)?;
        let through = stats.truncated_through;
        if through > Position::NONE {
            return Err(ImportError::TruncatedTarget { through });
        }
        let held = match stats.last {
            Position::NONE => None,
            _ => {
                let events = log.read_log(ctx, LogQuery::all()).await;
                Some(events.map_err(ImportError::Read)?)
            }
        };
        Ok(Self {
            log,
            ctx,
            held,
            found: 0,
            stored: 0,
        })
    }

    /// Events of the file that the log holds.
    fn events(&self) -> u64 {
        self.found + self.stored
    }

    /// Takes from the commits those that the log holds.
    async fn compare(&mut self, window: &mut Commits) -> Result<(), ImportError> {
        let Some(held) = &mut self.held else {
            return Ok(());
        };
        let mut cids = window.cids.iter();
        let mut same = 0;
        let mut ended = false;
        'commits: for commit in &window.commits {
            let count = commit.append.event_count();
            for (index, cid) in cids.by_ref().take(count).enumerate() {
                let Some(event) = held.try_next().await.map_err(ImportError::Read)? else {
                    if index > 0 {
                        let commit = commit.append.commit_id.unwrap_or(NO_COMMIT);
                        return Err(ImportError::HalfCommit { commit });
                    }
                    ended = true;
                    break 'commits;
                };
                if event.cid != *cid {
                    return Err(ImportError::OtherHistory {
                        event: self.found + 1,
                        position: event.position,
                        stream: event.stream,
                        version: event.version,
                    });
                }
                self.found += 1;
            }
            same += 1;
        }
        if ended {
            self.held = None;
        }
        let events: usize = window
            .commits
            .drain(..same)
            .map(|commit| commit.append.event_count())
            .sum();
        window.cids.drain(..events);
        window.first += events as u64;
        Ok(())
    }

    /// Stores commits that the log does not hold.
    async fn append(&mut self, mut window: Commits) -> Result<(), ImportError> {
        if window.commits.is_empty() {
            return Ok(());
        }
        let mut expected = Vec::with_capacity(window.commits.len());
        let mut heads = Vec::with_capacity(window.commits.len());
        let mut at = 0;
        for commit in &mut window.commits {
            // Its streams must be where they are before it, so even an earlier try that is still
            // under way can't store it a second time.
            commit.append.fresh = true;
            for write in &commit.append.writes {
                at += write.events.len();
                heads.extend(window.cids.get(at - 1).copied());
            }
            let id = commit.append.commit_id.unwrap_or(NO_COMMIT);
            expected.push((id, commit.append.writes.len(), commit.append.event_count()));
        }
        let done = self.log.append_in_order(self.ctx, window.commits).await;
        let mut heads = heads.as_slice();
        let mut event = window.first;
        let mut commits = expected.into_iter();
        for appended in &done.appended {
            let Some((commit, writes, events)) = commits.next() else {
                let what = "it acknowledged more commits than it was given".to_owned();
                let commit = appended.commit_id;
                return Err(ImportError::OtherCid { commit, what });
            };
            let (of_commit, rest) = heads.split_at(writes.min(heads.len()));
            heads = rest;
            check_stored(commit, of_commit, appended)?;
            event += events as u64;
            self.stored += events as u64;
        }
        match (done.error, commits.next()) {
            (None, None) => Ok(()),
            (Some(source), Some((commit, ..))) => Err(ImportError::Store {
                event: event + 1,
                commit,
                source,
            }),
            (None, Some((commit, ..))) => {
                let what = "it acknowledged fewer commits than it was given".to_owned();
                Err(ImportError::OtherCid { commit, what })
            }
            (Some(source), None) => Err(ImportError::Read(source)),
        }
    }

    /// The file has come to its end: so must the log.
    async fn end(mut self, file: HistoryFile) -> Result<Imported, ImportError> {
        if let Some(held) = &mut self.held
            && let Some(more) = held.try_next().await.map_err(ImportError::Read)?
        {
            return Err(ImportError::MoreThanFile {
                events: file.events,
                position: more.position,
                stream: more.stream,
                version: more.version,
            });
        }
        let stats = self.log.stats(self.ctx).await.map_err(ImportError::Read)?;
        if stats.events != file.events {
            return Err(ImportError::Mixed {
                file: file.events,
                found: stats.events,
            });
        }
        Ok(Imported {
            file,
            found: self.found,
            stored: self.stored,
        })
    }
}

/// Every commit of a file has an id; this one stands for none.
const NO_COMMIT: CommitId = CommitId::from_bytes([0; 16]);

fn check_stored(
    commit: CommitId,
    heads: &[EventCid],
    appended: &cim_store::Appended,
) -> Result<(), ImportError> {
    let other = |what| Err(ImportError::OtherCid { commit, what });
    if appended.commit_id != commit {
        return other(format!("it acknowledged commit {}", appended.commit_id));
    }
    if appended.heads.len() != heads.len() {
        let found = appended.heads.len();
        return other(format!(
            "it wrote {found} streams, the file's {}",
            heads.len()
        ));
    }
    for (head, file) in appended.heads.iter().zip(heads) {
        if head.cid != *file {
            return other(format!(
                "version {} of stream {} is {}, in the file {file}",
                head.version, head.stream, head.cid
            ));
        }
    }
    Ok(())
}
