//! Brings new git commits into the store, in order, each whole.
//!
//! ```text
//! git log ── thread: read, make events, plan parts ── channel ── appends, several in flight ── store
//! ```
//!
//! Every append expects the exact version of each stream it writes, and checks that the git commit
//! before it is stored. So the store itself keeps git's order, however many appends are under way,
//! and two imports at once can't mix. A git commit of several parts is appended part by part.
//! Appends have ids derived from the history: what an interrupted run stored is recognised.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use cim_store::stream_id::StreamIdError;
use cim_store::{
    Append, Appended, Context, EventLog, EventLogError, EventLogExt, StreamId, Version,
};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

use super::events::{EventError, FILE, commit_stream};
use super::object::ObjectId;
use super::plan::{Part, Planner};
use super::program::{GitError, Repository};
use super::reader::{FORMAT, Item, LogReader};
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::interrupt::Interrupt;

/// Appends in flight: enough that a store which flushes in groups fills its groups.
const IN_FLIGHT: usize = 64;
/// Bytes in flight, so that memory stays bounded whatever the commits' sizes.
const IN_FLIGHT_BYTES: usize = 16 << 20;
/// Parts that may wait between the reader and the store.
const WAITING_PARTS: usize = 64;
/// Streams whose version is remembered; beyond that the store is asked again.
const KNOWN_VERSIONS: usize = 100_000;

/// What ends an import early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("git commit {hash} can't be stored")]
    Event {
        hash: ObjectId,
        source: Box<EventError>,
    },
    #[error("`git log` gave {found} where {expected} comes next")]
    Order { expected: String, found: String },
    #[error("a stream can't be named")]
    Stream(#[from] StreamIdError),
    #[error("git commit {hash} can't be stored")]
    Store {
        hash: ObjectId,
        source: EventLogError,
    },
    #[error("the store can't be read")]
    Read(#[from] EventLogError),
    #[error("an append ended unexpectedly")]
    Task(#[from] JoinError),
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        let code = match &error {
            ImportError::Store { source, .. } | ImportError::Read(source) => ExitCode::of(source),
            ImportError::Event { .. } => ExitCode::Invalid,
            ImportError::Git(_) => match error {
                ImportError::Git(error) => return error.into(),
                _ => ExitCode::Failure,
            },
            _ => ExitCode::Failure,
        };
        let hint = match code {
            ExitCode::Conflict => "somebody else writes to these streams; run it again",
            ExitCode::Integrity => "`cim verify` names every damaged place",
            _ => "what was imported so far is stored; the next run continues after it",
        };
        Self::new(code, error).with_hint(hint)
    }
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImportOutcome {
    /// Git commits that were imported.
    pub(crate) commits: u64,
    /// Events that were appended.
    pub(crate) events: u64,
    /// Whether Ctrl-C ended it.
    pub(crate) is_interrupted: bool,
}

/// Imports `history`, of which the store holds the first `imported` already. `progress` is told
/// how many git commits are stored.
pub(crate) async fn import(
    log: Arc<dyn EventLog>,
    repository: &Repository,
    history: &[ObjectId],
    imported: usize,
    interrupt: &Interrupt,
    mut progress: impl FnMut(u64),
) -> Result<ImportOutcome, ImportError> {
    let Some((head, new)) = history.last().zip(history.get(imported..)) else {
        return Ok(ImportOutcome::default());
    };
    if new.is_empty() {
        return Ok(ImportOutcome::default());
    }
    let before = imported
        .checked_sub(1)
        .and_then(|at| history.get(at))
        .copied();
    let mut parts = read_parts(repository.clone(), before, *head, new.to_vec());
    let mut importer = Importer::new(log, before)?;
    loop {
        tokio::select! {
            biased;
            () = interrupt.wait() => {
                importer.outcome.is_interrupted = true;
                break;
            }
            part = parts.recv() => match part {
                Some(part) => importer.submit(part?).await?,
                None => break,
            },
        }
        progress(importer.outcome.commits);
    }
    importer.drain().await?;
    progress(importer.outcome.commits);
    Ok(importer.outcome)
}

/// Reads git's history in a thread of its own. The thread ends when the receiver is dropped.
fn read_parts(
    repository: Repository,
    before: Option<ObjectId>,
    head: ObjectId,
    expected: Vec<ObjectId>,
) -> mpsc::Receiver<Result<Part, ImportError>> {
    let (sender, receiver) = mpsc::channel(WAITING_PARTS);
    std::thread::spawn(move || {
        let sent = |part| sender.blocking_send(Ok(part)).is_ok();
        if let Err(error) = read_history(&repository, before, head, &expected, sent) {
            // Where nobody listens any more nobody needs the error.
            let _ = sender.blocking_send(Err(error));
        }
    });
    receiver
}

/// Streams the commits after `before` up to `head`, which must be those `expected`, as parts.
/// Ends early when `send` says that nobody wants more.
fn read_history(
    repository: &Repository,
    before: Option<ObjectId>,
    head: ObjectId,
    expected: &[ObjectId],
    send: impl Fn(Part) -> bool,
) -> Result<(), ImportError> {
    let range = match before {
        Some(before) => format!("{before}..{head}"),
        None => head.to_string(),
    };
    let format = format!("--format={FORMAT}");
    let mut output = repository.stream([
        "log",
        "--first-parent",
        "--reverse",
        "--diff-merges=first-parent",
        "--raw",
        "-z",
        "--no-renames",
        "--no-abbrev",
        "--no-color",
        "--no-relative",
        "--ignore-submodules=none",
        "-O/dev/null",
        "--encoding=UTF-8",
        "--date=raw",
        &format,
        &range,
        "--",
    ])?;
    let mut planner = Planner::new();
    let mut expected = expected.iter();
    let mut hash = head;
    loop {
        let read = LogReader::new(output.reader()).next_item();
        let item = match read {
            Ok(Some(item)) => item,
            Ok(None) => break,
            // Git's own error, if it ended with one, says more than its cut output.
            Err(error) => {
                let error = output.parse_error(error);
                return Err(output.finish().err().unwrap_or(error).into());
            }
        };
        if let Item::Commit(commit) = &item {
            hash = commit.hash;
            let next = expected.next();
            if next != Some(&hash) {
                return Err(ImportError::Order {
                    expected: next.map_or("the end".to_owned(), ToString::to_string),
                    found: hash.to_string(),
                });
            }
        }
        let done = planner.push(item);
        let done = done.map_err(|source| event_error(hash, source))?;
        if done.is_some_and(|part| !send(part)) {
            return Ok(());
        }
    }
    output.finish()?;
    if let Some(next) = expected.next() {
        return Err(ImportError::Order {
            expected: next.to_string(),
            found: "the end".to_owned(),
        });
    }
    let last = planner.finish();
    if let Some(part) = last.map_err(|source| event_error(hash, source))? {
        send(part);
    }
    Ok(())
}

fn event_error(hash: ObjectId, source: EventError) -> ImportError {
    ImportError::Event {
        hash,
        source: Box::new(source),
    }
}

/// Appends parts.
struct Importer {
    log: Arc<dyn EventLog>,
    ctx: Context,
    versions: Versions,
    /// The stream of the git commit before the one to come.
    previous: Option<StreamId>,
    in_flight: VecDeque<InFlight>,
    in_flight_bytes: usize,
    window: usize,
    outcome: ImportOutcome,
}

/// A git commit that is being stored.
struct InFlight {
    hash: ObjectId,
    append: Append,
    bytes: usize,
    running: Running,
}

enum Running {
    Done(Box<Result<Appended, EventLogError>>),
    Task(JoinHandle<Result<Appended, EventLogError>>),
}

impl Importer {
    fn new(log: Arc<dyn EventLog>, before: Option<ObjectId>) -> Result<Self, StreamIdError> {
        Ok(Self {
            log,
            ctx: Context::new(),
            versions: Versions::default(),
            previous: before.map(|hash| commit_stream(&hash)).transpose()?,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            window: IN_FLIGHT,
            outcome: ImportOutcome::default(),
        })
    }

    async fn submit(&mut self, part: Part) -> Result<(), ImportError> {
        if self.versions.is_full_with(part.events.len()) {
            self.drain().await?;
            self.versions.clear();
        }
        if !part.is_whole_commit() {
            return self.append_part(part).await;
        }
        let (hash, bytes) = (part.hash, part.bytes);
        let append = self.plan_append(part).await?;
        while self.in_flight.len() >= self.window
            || (self.in_flight_bytes + bytes > IN_FLIGHT_BYTES && !self.in_flight.is_empty())
        {
            self.settle_oldest().await?;
        }
        // Polled once here, so that the store sees appends in this order; then it runs by itself.
        // Unconstrained, because a runtime may make a task that did much wait its turn, and an
        // append that waits is overtaken.
        let (log, ctx, given) = (Arc::clone(&self.log), self.ctx.clone(), append.clone());
        let append_it = async move { log.append(&ctx, given).await };
        let mut running = Box::pin(tokio::task::unconstrained(append_it));
        let begun = poll_fn(|task| Poll::Ready(running.as_mut().poll(task))).await;
        let running = match begun {
            Poll::Ready(result) => Running::Done(Box::new(result)),
            Poll::Pending => Running::Task(tokio::spawn(running)),
        };
        self.previous = Some(commit_stream(&hash)?);
        self.in_flight_bytes += bytes;
        self.in_flight.push_back(InFlight {
            hash,
            append,
            bytes,
            running,
        });
        Ok(())
    }

    /// Appends a part of a git commit that has several, alone: an interrupted run may have stored
    /// it, so versions are known only from the answer.
    async fn append_part(&mut self, part: Part) -> Result<(), ImportError> {
        self.drain().await?;
        let (hash, is_last) = (part.hash, part.is_last);
        let append = self.plan_append(part).await?;
        let events = append.event_count() as u64;
        let appended = self.log.append(&self.ctx, append).await;
        let appended = appended.map_err(|source| ImportError::Store { hash, source })?;
        for head in appended.heads {
            if head.stream.aggregate() == FILE {
                self.versions.learn(head.stream, head.version);
            }
        }
        self.outcome.events += events;
        if is_last {
            self.outcome.commits += 1;
            self.previous = Some(commit_stream(&hash)?);
        }
        Ok(())
    }

    /// The part as an append that expects every stream to be where it will be by then.
    async fn plan_append(&mut self, part: Part) -> Result<Append, ImportError> {
        let mut append = Append::new().with_commit_id(part.append_id);
        for (stream, event) in part.events {
            let version = if stream.aggregate() == FILE {
                let version = self.versions.get(&self.log, &self.ctx, &stream).await?;
                self.versions.learn(stream.clone(), version.next());
                version
            } else {
                Version::NONE
            };
            append = append.write(stream, version, vec![event]);
        }
        Ok(match &self.previous {
            Some(previous) => append.check(previous.clone(), Version::new(1)),
            None => append,
        })
    }

    /// Waits until nothing is in flight.
    async fn drain(&mut self) -> Result<(), ImportError> {
        while !self.in_flight.is_empty() {
            self.settle_oldest().await?;
        }
        Ok(())
    }

    async fn settle_oldest(&mut self) -> Result<(), ImportError> {
        let Some(oldest) = self.in_flight.pop_front() else {
            return Ok(());
        };
        self.in_flight_bytes -= oldest.bytes;
        match oldest.running.result().await? {
            Ok(_) => {
                self.count(&oldest.append);
                Ok(())
            }
            // A store may take appends in another order than they were made; then a later one
            // finds the one before it missing. In order, one at a time, that can't happen.
            Err(error) if error.is_conflict() && self.window > 1 => {
                self.window = (self.window / 2).max(1);
                let mut again = vec![(oldest.hash, oldest.append)];
                for later in std::mem::take(&mut self.in_flight) {
                    // Whatever came of it: appending it again says so.
                    let _ = later.running.result().await?;
                    again.push((later.hash, later.append));
                }
                self.in_flight_bytes = 0;
                for (hash, append) in again {
                    let appended = self.log.append(&self.ctx, append.clone()).await;
                    appended.map_err(|source| ImportError::Store { hash, source })?;
                    self.count(&append);
                }
                Ok(())
            }
            Err(source) => Err(ImportError::Store {
                hash: oldest.hash,
                source,
            }),
        }
    }

    fn count(&mut self, append: &Append) {
        self.outcome.commits += 1;
        self.outcome.events += append.event_count() as u64;
    }
}

impl Running {
    async fn result(self) -> Result<Result<Appended, EventLogError>, JoinError> {
        match self {
            Self::Done(result) => Ok(*result),
            Self::Task(task) => task.await,
        }
    }
}

/// The versions that streams will be at when everything in flight is stored.
#[derive(Debug, Default)]
struct Versions(HashMap<StreamId, Version>);

impl Versions {
    async fn get(
        &self,
        log: &Arc<dyn EventLog>,
        ctx: &Context,
        stream: &StreamId,
    ) -> Result<Version, EventLogError> {
        match self.0.get(stream) {
            Some(version) => Ok(*version),
            // Whatever is in flight is remembered, so the store knows the rest.
            None => log.version(ctx, stream).await,
        }
    }

    fn learn(&mut self, stream: StreamId, version: Version) {
        self.0.insert(stream, version);
    }

    fn is_full_with(&self, more: usize) -> bool {
        !self.0.is_empty() && self.0.len() + more > KNOWN_VERSIONS
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}
