//! Cancelling a call never corrupts, and an operation ends at its deadline.

use std::pin::pin;
use std::task::Poll;

use cim_store::{
    Append, CommitId, Context, EventFilter, Fault, LogQuery, Position, Resolution, StreamPattern,
    StreamRange,
};

use crate::event_log::atomicity::whole_commits;
use crate::event_log::in_order::{one, plain};
use crate::suite::CaseResult;
use crate::trial::{Trial, collect, event, events, numbers, refused, stream, v};

pub(crate) const CONTRACT: &str = "8. Cancellation and deadlines";

/// Polls the future so many times, unless it ends before, and drops it.
async fn poll_and_drop(future: impl Future, polls: usize) {
    let mut future = pin!(future);
    for _ in 0..polls {
        let ended = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready()));
        if ended.await {
            return;
        }
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn a_cancelled_append_is_stored_whole_or_not_at_all(t: Trial) -> CaseResult {
    let (a, b) = (stream("a"), stream("b"));
    for round in 0..60_u64 {
        let append = Append::new()
            .with_commit_id(CommitId::from_bytes([round as u8; 16]))
            .write(a.clone(), v(2 * round), vec![event(round), event(round)])
            .write(b.clone(), v(round), vec![event(round)]);
        let polls = round as usize % 4;
        poll_and_drop(t.log.append(&t.ctx, append.clone()), polls).await;
        // Whichever it was: appending it again makes sure of it, and stores it once.
        let stored = t.log.append(&t.ctx, append).await?;
        assert_eq!(
            t.log.resolve(&t.ctx, stored.commit_id).await?,
            Resolution::Committed(stored)
        );
        assert_eq!(t.version(&a).await?, 2 * round + 2);
        assert_eq!(t.version(&b).await?, round + 1);
    }
    whole_commits(&t.all_events().await?)?;
    assert_eq!(numbers(&t.events(&b).await?)?, (0..60).collect::<Vec<_>>());
    Ok(())
}

pub(crate) async fn an_append_that_is_never_polled_stores_nothing(t: Trial) -> CaseResult {
    let append = Append::new().write(stream("a"), v(0), events(1));
    drop(t.log.append(&t.ctx, append));
    assert_eq!(t.version(&stream("a")).await?, 0);
    Ok(())
}

pub(crate) async fn a_cancelled_append_does_not_hold_up_others(t: Trial) -> CaseResult {
    for n in 0..50 {
        let cancelled = Append::new().write(stream("other"), v(99), vec![event(n)]);
        poll_and_drop(t.log.append(&t.ctx, cancelled), 1).await;
        t.append(&stream("a"), v(n), vec![event(n)]).await?;
    }
    assert_eq!(t.version(&stream("a")).await?, 50);
    assert_eq!(t.version(&stream("other")).await?, 0);
    Ok(())
}

pub(crate) async fn a_cancelled_call_leaves_a_beginning_of_its_commits_in_order(
    t: Trial,
) -> CaseResult {
    const EACH: u64 = 8;
    let a = stream("a");
    for round in 0..20 {
        let commits: Vec<_> = (round * EACH..(round + 1) * EACH)
            .map(|n| plain(one(n, &a, v(n))))
            .collect();
        let polls = round as usize % 5;
        poll_and_drop(t.log.append_in_order(&t.ctx, commits.clone()), polls).await;
        let found = numbers(&t.events(&a).await?)?;
        assert_eq!(found, (0..found.len() as u64).collect::<Vec<_>>());
        // Whatever became of it: the same call again makes sure of all, and stores each once.
        let done = t.log.append_in_order(&t.ctx, commits).await;
        assert!(done.error.is_none(), "{:?}", done.error);
    }
    let found = numbers(&t.events(&a).await?)?;
    assert_eq!(found, (0..20 * EACH).collect::<Vec<_>>());
    Ok(())
}

pub(crate) async fn many_cancelled_appends_leave_a_whole_log(t: Trial) -> CaseResult {
    let mut running = Vec::new();
    for writer in 0..6_u8 {
        let (log, ctx) = (t.log.clone(), t.ctx.clone());
        running.push(tokio::spawn(async move {
            for n in 0..20_u8 {
                let append = Append::new()
                    .with_commit_id(CommitId::from_bytes([writer * 20 + n; 16]))
                    .write(stream("shared"), cim_store::ExpectedVersion::Any, events(2))
                    .write(
                        stream(&format!("own-{writer}")),
                        cim_store::ExpectedVersion::Any,
                        events(1),
                    );
                poll_and_drop(log.append(&ctx, append), usize::from(n) % 5).await;
            }
        }));
    }
    for task in running {
        task.await?;
    }
    // What was cancelled may still be under way; a later append of the same stream comes after
    // whatever became of it, so from here on nothing may be half there.
    t.append(
        &stream("shared"),
        cim_store::ExpectedVersion::Any,
        events(1),
    )
    .await?;
    let all = t.all_events().await?;
    whole_commits(&all)?;
    assert!(all.windows(2).all(|w| w[0].position < w[1].position));
    Ok(())
}

pub(crate) async fn an_append_after_its_deadline_stores_nothing(t: Trial) -> CaseResult {
    let late = Context::new().with_deadline(cim_store::Clock::monotonic(&t.clock));
    let id = CommitId::from_bytes([1; 16]);
    let append = Append::new()
        .with_commit_id(id)
        .write(stream("a"), v(0), events(1));
    refused(
        t.log.append(&late, append.clone()).await,
        Fault::Unavailable,
    );
    assert_eq!(t.version(&stream("a")).await?, 0);
    assert_eq!(t.log.resolve(&t.ctx, id).await?, Resolution::NotCommitted);
    t.log.append(&t.ctx, append).await?;
    assert_eq!(t.version(&stream("a")).await?, 1);
    Ok(())
}

pub(crate) async fn an_append_before_its_deadline_is_stored(t: Trial) -> CaseResult {
    let ctx = Context::new().with_timeout(&t.clock, std::time::Duration::from_secs(3_600));
    let append = Append::new().write(stream("a"), v(0), events(1));
    t.log.append(&ctx, append).await?;
    assert_eq!(t.version(&stream("a")).await?, 1);
    Ok(())
}

pub(crate) async fn every_operation_after_its_deadline_is_unavailable(t: Trial) -> CaseResult {
    let a = stream("a");
    let stored = t.append(&a, v(0), events(3)).await?;
    let late = Context::new().with_deadline(cim_store::Clock::monotonic(&t.clock));
    let fault = Fault::Unavailable;
    let read = t.log.read_stream(&late, &a, StreamRange::all()).await;
    refused(collect(read).await, fault);
    let read = t.log.read_log(&late, LogQuery::all()).await;
    refused(collect(read).await, fault);
    refused(t.log.read_at(&late, &[stored.position]).await, fault);
    refused(t.log.read_at(&late, &[]).await, fault);
    let subscription = t.log.subscribe(&late, EventFilter::all(), Position::NONE);
    refused(subscription.await.map(|_| ()), fault);
    let examination = t.log.examine(&late, Position::NONE).await;
    refused(examination.map(|_| ()), fault);
    refused(t.log.head(&late, &a).await, fault);
    let streams = t.log.streams(&late, &StreamPattern::all()).await;
    refused(streams.map(|_| ()), fault);
    refused(t.log.resolve(&late, stored.commit_id).await, fault);
    refused(t.log.stats(&late).await, fault);
    Ok(())
}
