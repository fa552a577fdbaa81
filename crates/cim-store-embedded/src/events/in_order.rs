//! Several commits of one call, in order.
//!
//! They go to the writer in parts of about a group's size, one part after the other, so that other
//! callers get their turn in between and a long list takes no memory twice. While the writer
//! stores one part the caller looks up what the next one needs. Nothing of a part is begun before
//! all of the one before it is flushed; so a crash, or a caller who goes, leaves a beginning.

use std::sync::Arc;

use cim_store::{
    Append, Appended, AppendedInOrder, CommitId, Context, EventLogError, Head, OrderedAppend,
    Position,
};
use tokio::sync::oneshot;
use tokio::task::coop::consume_budget;

use crate::error::EngineError;
use crate::events::log::{EmbeddedLog, Unanswered, answered};
use crate::events::writer::{AppendRequest, Group, Request};
use crate::journal::writer::FlushError;
use crate::writer_thread::GROUP_BYTES;

/// The most commits in a part.
const PART_COMMITS: usize = 8_192;
/// About what an event takes beside its payload.
const BYTES_AROUND: usize = 400;

/// Commits that are decided one after the other and end with the first that can't be stored.
pub(crate) struct InOrderRequest {
    pub(crate) commits: Vec<AppendRequest>,
}

/// A part, as it goes to the writer: the caller takes the memory for the answers, and keeps the
/// commits to free them.
pub(crate) struct Part {
    pub(crate) request: Arc<InOrderRequest>,
    rooms: Vec<Vec<Head>>,
    results: Vec<Appended>,
    answer: oneshot::Sender<AppendedInOrder>,
}

impl Part {
    /// Answers a part that came too late.
    pub(crate) fn refuse(self, error: EventLogError) {
        // Whoever asked may be gone.
        let _ = self.answer.send(AppendedInOrder {
            appended: Vec::new(),
            error: Some(error),
        });
    }
}

/// A part whose commits are decided one after the other.
pub(crate) struct StagedPart {
    request: Arc<InOrderRequest>,
    rooms: std::vec::IntoIter<Vec<Head>>,
    results: Vec<Appended>,
    /// So many of the results hold whatever becomes of the group.
    sure: usize,
    error: Option<EventLogError>,
    /// A flush failed, so nothing more of it may be stored.
    refused: bool,
    answer: oneshot::Sender<AppendedInOrder>,
}

impl StagedPart {
    /// `None` where whoever asked is gone: then nothing of it is begun.
    pub(crate) fn begin(part: Part) -> Option<Self> {
        if part.answer.is_closed() {
            return None;
        }
        Some(Self {
            request: part.request,
            rooms: part.rooms.into_iter(),
            results: part.results,
            sure: 0,
            error: None,
            refused: false,
            answer: part.answer,
        })
    }

    /// Whether nothing more of it may be stored.
    pub(crate) fn is_over(&self) -> bool {
        self.error.is_some()
    }

    /// Room for the heads of the next commit.
    pub(crate) fn room(&mut self) -> Vec<Head> {
        self.rooms.next().unwrap_or_default()
    }

    /// Notes what became of the next commit; `staged` tells whether it put anything into the group.
    pub(crate) fn note(&mut self, decided: Result<Appended, EventLogError>, staged: bool) {
        match decided {
            Ok(result) => {
                // A repetition was read from what is flushed. What an append without events was
                // checked against may not be.
                let flushed = !staged && result.position != Position::NONE;
                if flushed && self.sure == self.results.len() {
                    self.sure += 1;
                }
                self.results.push(result);
            }
            Err(error) => self.error = Some(error),
        }
    }

    /// Everything decided so far is flushed.
    pub(crate) fn flushed(&mut self) {
        self.sure = self.results.len();
    }

    /// What was decided since the last flush is not known to be stored.
    pub(crate) fn refuse(&mut self, error: &FlushError) {
        if self.refused {
            return;
        }
        self.results.truncate(self.sure);
        // Where all of it was stored before, the flush was none of its business.
        if let Some(next) = self.request.commits.get(self.sure) {
            self.error = Some(Group::refusal(error, next.commit_id));
            self.refused = true;
        }
    }

    /// Tells whoever asked.
    pub(crate) fn answer(self) {
        drop(self.request); // so that the caller frees it
        // Whoever asked may be gone.
        let _ = self.answer.send(AppendedInOrder {
            appended: self.results,
            error: self.error,
        });
    }
}

/// A part that is under way.
struct UnderWay {
    first: CommitId,
    /// Kept to be freed by the caller's thread.
    _request: Arc<InOrderRequest>,
    answer: oneshot::Receiver<AppendedInOrder>,
}

/// Stores the commits of one call.
pub(crate) async fn append_in_order(
    log: &EmbeddedLog,
    ctx: &Context,
    commits: Vec<OrderedAppend>,
) -> AppendedInOrder {
    let mut done = AppendedInOrder {
        appended: Vec::with_capacity(commits.len()),
        error: None,
    };
    let mut commits = commits.into_iter().peekable();
    let mut under_way = None;
    while commits.peek().is_some() && done.error.is_none() {
        let (part, refused) = prepare(log, ctx, &mut commits).await;
        if !finish(log, ctx, under_way.take(), &mut done).await {
            return done;
        }
        match send(log, ctx, part).await {
            Ok(sent) => under_way = sent,
            Err(error) => {
                done.error = Some(error);
                return done;
            }
        }
        if let Some(error) = refused {
            // Those before it in the part come first, and may have an error of their own.
            if finish(log, ctx, under_way.take(), &mut done).await {
                done.error = Some(error);
            }
        }
    }
    finish(log, ctx, under_way, &mut done).await;
    done
}

/// Prepares the next part, and gives the error of the commit that ends it, if one can't be stored.
async fn prepare(
    log: &EmbeddedLog,
    ctx: &Context,
    commits: &mut impl Iterator<Item = OrderedAppend>,
) -> (Vec<AppendRequest>, Option<EventLogError>) {
    let mut part = Vec::new();
    let mut bytes = 0;
    for commit in commits {
        consume_budget().await; // lookups take their time
        bytes += size(&commit.append);
        let own = commit.ctx.with_deadline_of(ctx);
        match log.prepare(&own, commit.append) {
            Ok(prepared) => part.push(prepared),
            Err(error) => return (part, Some(error)),
        }
        if bytes >= GROUP_BYTES || part.len() == PART_COMMITS {
            break;
        }
    }
    (part, None)
}

/// About how many bytes a commit takes in the log.
fn size(append: &Append) -> usize {
    let events = append.writes.iter().flat_map(|write| &write.events);
    let sizes =
        events.map(|event| event.payload.len() + event.metadata.encoded_len() + BYTES_AROUND);
    sizes.sum()
}

/// Sends a part to the writer.
async fn send(
    log: &EmbeddedLog,
    ctx: &Context,
    commits: Vec<AppendRequest>,
) -> Result<Option<UnderWay>, EventLogError> {
    let Some(first) = commits.first().map(|commit| commit.commit_id) else {
        return Ok(None);
    };
    let room = |commit: &AppendRequest| Vec::with_capacity(commit.append.writes.len());
    let rooms = commits.iter().map(room).collect();
    let results = Vec::with_capacity(commits.len());
    let request = Arc::new(InOrderRequest { commits });
    let (sender, answer) = oneshot::channel();
    let part = Part {
        request: Arc::clone(&request),
        rooms,
        results,
        answer: sender,
    };
    log.ask(ctx, Request::AppendInOrder(part)).await?;
    Ok(Some(UnderWay {
        first,
        _request: request,
        answer,
    }))
}

/// Waits for the part that is under way; false where the call ends with it.
async fn finish(
    log: &EmbeddedLog,
    ctx: &Context,
    under_way: Option<UnderWay>,
    done: &mut AppendedInOrder,
) -> bool {
    let Some(part) = under_way else {
        return done.error.is_none();
    };
    match answered(ctx, &*log.clock, part.answer).await {
        Ok(answer) => {
            done.appended.extend(answer.appended);
            done.error = answer.error;
        }
        Err(why) => done.error = Some(why.unknown(part.first)),
    }
    done.error.is_none()
}

impl Unanswered {
    /// The error for a commit that was asked for.
    pub(crate) fn unknown(self, commit: CommitId) -> EventLogError {
        let message = match self {
            Self::Late => "the deadline passed before the answer came",
            Self::Gone => "the writer ended before it answered",
        };
        EventLogError::unknown(commit, message)
    }
}

impl EmbeddedLog {
    /// Sends a request to the writer, before the deadline.
    pub(crate) async fn ask(&self, ctx: &Context, request: Request) -> Result<(), EventLogError> {
        use futures_util::future::{Either, select};
        let request = crate::writer_thread::Asked::Request(request);
        let sent = match ctx.remaining(&*self.clock) {
            None => self.requests.send(request).await.is_ok(),
            Some(left) => {
                let sending = std::pin::pin!(self.requests.send(request));
                match select(sending, self.clock.sleep(left)).await {
                    Either::Left((sent, _)) => sent.is_ok(),
                    Either::Right(_) => return Err(EventLogError::deadline_passed("the append")),
                }
            }
        };
        if sent {
            return Ok(());
        }
        let closed = self.journal.closed();
        Err(closed.unwrap_or_else(EngineError::closed).into())
    }
}
