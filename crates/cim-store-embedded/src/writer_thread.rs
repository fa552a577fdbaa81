//! The loop of a writer's thread: it gathers what is asked into groups and commits them.

use tokio::sync::{mpsc, oneshot};

use crate::error::EngineError;

/// A group is committed when it has grown to this many bytes.
pub(crate) const GROUP_BYTES: usize = 4 << 20;

/// What is sent to a writer's thread.
pub(crate) enum Asked<R> {
    /// Something to do.
    Request(R),
    /// To stop, after everything that was asked before.
    Stop(oneshot::Sender<Result<(), EngineError>>),
}

/// What a writer does with requests. All of it happens on one thread.
pub(crate) trait Committer {
    type Request;

    /// Decides a request and adds it to the group.
    fn take(&mut self, request: Self::Request);

    /// Bytes in the group.
    fn gathered(&self) -> usize;

    /// Makes the group durable, shows it to readers, and answers.
    fn commit(&mut self);

    /// Does a small part of what is to be done when there is time; false when there is nothing.
    fn tidy(&mut self) -> bool;

    /// Ends writing and brings everything to rest. The lock is released with it.
    fn finish(self) -> Result<(), EngineError>;

    /// Answers a request that came too late.
    fn refuse(request: Self::Request);
}

/// Serves requests until it is told to stop or nobody is left to ask.
pub(crate) fn serve<C: Committer>(mut committer: C, mut queue: mpsc::Receiver<Asked<C::Request>>) {
    let mut stop = None;
    let mut idle = true;
    loop {
        let first = if idle {
            queue.blocking_recv()
        } else {
            queue.try_recv().ok()
        };
        if first.is_none() && idle {
            break;
        }
        let mut next = first;
        while let Some(asked) = next.take() {
            match asked {
                Asked::Request(request) => committer.take(request),
                Asked::Stop(answer) => {
                    stop = Some(answer);
                    break;
                }
            }
            if committer.gathered() < GROUP_BYTES {
                next = queue.try_recv().ok();
            }
        }
        committer.commit();
        if stop.is_some() {
            break;
        }
        idle = !committer.tidy();
    }
    queue.close();
    let finished = committer.finish();
    while let Ok(asked) = queue.try_recv() {
        if let Asked::Request(request) = asked {
            C::refuse(request);
        }
    }
    if let Some(answer) = stop {
        // Whoever asked may be gone.
        let _ = answer.send(finished);
    }
}
