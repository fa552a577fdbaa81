//! Several commits in one call: as if each were appended when the one before it was acknowledged.

use std::sync::Arc;

use cim_ipld::ChainVerifier;
use cim_store::{
    Append, Appended, AppendedInOrder, CausationId, CommitId, ContentType, Context, CorrelationId,
    EventFilter, EventId, EventLogError, EventType, ExpectedVersion, Fault, LimitName, Limits,
    NewEvent, OrderedAppend, Position, Principal, RecordedEvent, Resolution, StreamId, TraceParent,
    Version,
};
use tokio::sync::Barrier;

use crate::event_log::atomicity::whole_commits;
use crate::suite::{CaseFailure, CaseResult};
use crate::trial::{
    START, Trial, conflicts, event, events, numbers, refused, stream, take, too_large, v,
};

pub(crate) const CONTRACT: &str = "1. to 8. Commits in order";

/// A commit id that only its number decides.
pub(crate) fn id(number: u64) -> CommitId {
    CommitId::from_bytes((u128::from(number) | 1 << 120).to_be_bytes())
}

/// A commit with a context that says nothing.
pub(crate) fn plain(append: Append) -> OrderedAppend {
    OrderedAppend::new(Context::new(), append)
}

/// One event, of this number, for one stream, under a commit id of this number.
pub(crate) fn one(number: u64, to: &StreamId, expected: impl Into<ExpectedVersion>) -> Append {
    Append::new()
        .with_commit_id(id(number))
        .write(to.clone(), expected, vec![event(number)])
}

/// Stores them all.
async fn stored(t: &Trial, commits: Vec<Append>) -> Result<Vec<Appended>, CaseFailure> {
    let count = commits.len();
    let commits = commits.into_iter().map(plain).collect();
    let done = t.log.append_in_order(&t.ctx, commits).await;
    if let Some(error) = done.error {
        return Err(format!("ended after {} with {error:?}", done.appended.len()).into());
    }
    assert_eq!(done.appended.len(), count);
    Ok(done.appended)
}

/// The error that a call ended with, as what an append returns.
fn ended<T>(error: Option<EventLogError>) -> Result<Option<T>, EventLogError> {
    error.map_or(Ok(None), Err)
}

/// That nothing of these commits is stored.
async fn not_stored(t: &Trial, numbers: impl IntoIterator<Item = u64>) -> CaseResult {
    for number in numbers {
        let resolution = t.log.resolve(&t.ctx, id(number)).await?;
        assert_eq!(resolution, Resolution::NotCommitted, "commit {number}");
    }
    Ok(())
}

/// That every stream of these events is a chain that verifies.
fn chains_verify(events: &[RecordedEvent]) -> CaseResult {
    let mut chains = std::collections::BTreeMap::new();
    for event in events {
        let stream = event.stream.as_str();
        let chain = chains
            .entry(stream)
            .or_insert_with(|| ChainVerifier::start(stream));
        let mut block = Vec::new();
        event.block().encode_into(&mut block);
        chain.push(&block, &event.cid)?;
    }
    Ok(())
}

pub(crate) async fn commits_in_order_are_stored_in_their_order(t: Trial) -> CaseResult {
    let commits = (0..30).map(|n| {
        let own = stream(&format!("s{}", n % 4));
        one(n, &own, v(n / 4)).write(stream("all"), v(2 * n), events(2))
    });
    let results = stored(&t, commits.collect()).await?;
    assert!(results.windows(2).all(|w| w[0].position < w[1].position));
    for (result, n) in results.iter().zip(0_u64..) {
        assert_eq!(result.commit_id, id(n));
        let heads: Vec<_> = result
            .heads
            .iter()
            .map(|head| (head.stream.id(), head.version.get()))
            .collect();
        let own = format!("s{}", n % 4);
        assert_eq!(heads, [(own.as_str(), n / 4 + 1), ("all", 2 * n + 2)]);
    }
    let all = t.all_events().await?;
    whole_commits(&all)?;
    chains_verify(&all)?;
    let first = all.iter().filter(|event| event.commit_index == 0);
    let order: Vec<_> = first.map(|event| event.commit_id).collect();
    assert_eq!(order, (0..30).map(id).collect::<Vec<_>>());
    Ok(())
}

pub(crate) async fn what_commits_in_order_return_is_what_they_stored(t: Trial) -> CaseResult {
    let commits = (0..10).map(|n| one(n, &stream("a"), v(n)).write(stream("b"), v(n), events(1)));
    for result in stored(&t, commits.collect()).await? {
        let resolution = t.log.resolve(&t.ctx, result.commit_id).await?;
        assert_eq!(resolution, Resolution::Committed(result));
    }
    Ok(())
}

pub(crate) async fn commits_in_order_see_the_heads_of_those_before_them(t: Trial) -> CaseResult {
    let (a, b) = (stream("a"), stream("b"));
    let expected = [
        ExpectedVersion::NEW,
        ExpectedVersion::Exact(v(1)),
        ExpectedVersion::Exists,
        ExpectedVersion::Any,
    ];
    let mut commits: Vec<_> = (0..).zip(expected).map(|(n, e)| one(n, &a, e)).collect();
    // What is only checked counts, too.
    commits.push(one(4, &b, v(0)).check(a.clone(), v(4)));
    commits.push(one(5, &a, v(4)).check(b.clone(), v(1)));
    let results = stored(&t, commits).await?;
    assert_eq!(results[5].head(&a).map(|head| head.version), Some(v(5)));
    assert_eq!(numbers(&t.events(&a).await?)?, [0, 1, 2, 3, 5]);
    chains_verify(&t.events(&a).await?)
}

pub(crate) async fn commits_in_order_are_what_they_are_one_by_one(t: Trial) -> CaseResult {
    let given = |n: u64| {
        let mut append = Append::new().with_commit_id(id(n));
        for (at, name) in ["a", "b", "c"].iter().enumerate().take(n as usize % 3 + 1) {
            let event = event(n)
                .with_id(EventId::from_bytes([n as u8 + 100 * at as u8; 16]))
                .with_time(START);
            append = append.write(stream(name), ExpectedVersion::Any, vec![event]);
        }
        append
    };
    let alone = t.another().await?;
    for n in 0..20 {
        alone.log.append(&alone.ctx, given(n)).await?;
    }
    stored(&t, (0..20).map(given).collect()).await?;
    let cids = |events: Vec<RecordedEvent>| events.into_iter().map(|e| e.cid).collect::<Vec<_>>();
    assert_eq!(
        cids(t.all_events().await?),
        cids(alone.all_events().await?),
        "the same events in the same order"
    );
    Ok(())
}

pub(crate) async fn the_first_commit_that_conflicts_ends_commits_in_order(t: Trial) -> CaseResult {
    let (a, b) = (stream("a"), stream("b"));
    t.append(&b, v(0), events(3)).await?;
    let commits = vec![
        one(0, &a, v(0)),
        one(1, &a, v(1)),
        one(2, &a, v(2)).write(b.clone(), v(2), events(1)),
        one(3, &a, v(2)),
        one(4, &stream("c"), v(0)),
    ];
    let commits = commits.into_iter().map(plain).collect();
    let done = t.log.append_in_order(&t.ctx, commits).await;
    assert_eq!(done.appended.len(), 2);
    assert_eq!(
        done.appended[1].head(&a).map(|head| head.version),
        Some(v(2))
    );
    conflicts(ended::<()>(done.error), &b, v(2), 3);
    assert_eq!(t.version(&a).await?, 2);
    assert_eq!(t.version(&stream("c")).await?, 0);
    assert_eq!(t.all_events().await?.len(), 5);
    not_stored(&t, [2, 3, 4]).await
}

pub(crate) async fn a_check_that_fails_ends_commits_in_order(t: Trial) -> CaseResult {
    let (a, b) = (stream("a"), stream("b"));
    let commits = vec![
        one(0, &a, v(0)),
        one(1, &b, v(0)).check(a.clone(), v(0)),
        one(2, &stream("c"), v(0)),
    ];
    let commits = commits.into_iter().map(plain).collect();
    let done = t.log.append_in_order(&t.ctx, commits).await;
    assert_eq!(done.appended.len(), 1);
    conflicts(ended::<()>(done.error), &a, v(0), 1);
    assert_eq!(t.all_events().await?.len(), 1);
    not_stored(&t, [1, 2]).await
}

pub(crate) async fn a_commit_that_is_too_large_ends_commits_in_order(t: Trial) -> CaseResult {
    let a = stream("a");
    let larger = vec![0; Limits::CONTRACT.payload_bytes + 1];
    let larger = NewEvent::new(EventType::new("blob")?, ContentType::BYTES, larger);
    let commits = vec![
        one(0, &a, v(0)),
        one(1, &a, v(1)),
        Append::new()
            .with_commit_id(id(2))
            .write(a.clone(), v(2), vec![larger]),
        one(3, &a, v(2)),
    ];
    let commits = commits.into_iter().map(plain).collect();
    let done = t.log.append_in_order(&t.ctx, commits).await;
    assert_eq!(done.appended.len(), 2);
    too_large(ended::<()>(done.error), LimitName::PayloadBytes);
    assert_eq!(t.version(&a).await?, 2);
    not_stored(&t, [2, 3]).await
}

pub(crate) async fn an_invalid_commit_ends_commits_in_order(t: Trial) -> CaseResult {
    let a = stream("a");
    let twice = one(1, &a, v(1)).check(a.clone(), v(1));
    let commits = vec![one(0, &a, v(0)), twice, one(2, &a, v(1))];
    let commits = commits.into_iter().map(plain).collect();
    let done = t.log.append_in_order(&t.ctx, commits).await;
    assert_eq!(done.appended.len(), 1);
    refused(ended::<()>(done.error), Fault::Invalid);
    assert_eq!(t.version(&a).await?, 1);
    not_stored(&t, [1, 2]).await
}

pub(crate) async fn the_same_commits_in_order_again_are_stored_once(t: Trial) -> CaseResult {
    let a = stream("a");
    let commits: Vec<_> = (0..10).map(|n| one(n, &a, v(n))).collect();
    let first = stored(&t, commits.clone()).await?;
    t.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(stored(&t, commits).await?, first);
    assert_eq!(t.all_events().await?.len(), 10);
    Ok(())
}

pub(crate) async fn commits_in_order_go_on_where_a_call_before_them_ended(t: Trial) -> CaseResult {
    let (a, b) = (stream("a"), stream("b"));
    let commits: Vec<_> = (0..10)
        .map(|n| one(n, &a, v(n)).write(b.clone(), v(n), vec![event(n)]))
        .collect();
    let first = stored(&t, commits[..4].to_vec()).await?;
    let all = stored(&t, commits).await?;
    assert_eq!(all[..4], first);
    assert_eq!(
        numbers(&t.events(&a).await?)?,
        (0..10).collect::<Vec<u64>>()
    );
    whole_commits(&t.all_events().await?)?;
    Ok(())
}

pub(crate) async fn a_commit_that_stands_twice_among_commits_in_order_is_stored_once(
    t: Trial,
) -> CaseResult {
    let a = stream("a");
    let commits = vec![
        one(0, &a, v(0)),
        one(1, &a, v(1)),
        one(0, &a, v(0)),
        one(2, &a, v(2)),
        one(2, &a, v(2)),
    ];
    let results = stored(&t, commits).await?;
    assert_eq!(results[2], results[0]);
    assert_eq!(results[4], results[3]);
    assert_eq!(numbers(&t.events(&a).await?)?, [0, 1, 2]);
    Ok(())
}

pub(crate) async fn a_commit_id_used_for_other_events_ends_commits_in_order(
    t: Trial,
) -> CaseResult {
    let (a, b) = (stream("a"), stream("b"));
    t.log.append(&t.ctx, one(7, &a, v(0))).await?;
    for other in [one(7, &b, v(1)), one(0, &b, v(1))] {
        // Used before the call, and used within it.
        let commits = vec![one(0, &a, v(1)), one(1, &b, v(0)), other, one(2, &a, v(2))];
        let commits = commits.into_iter().map(plain).collect();
        let done = t.log.append_in_order(&t.ctx, commits).await;
        assert_eq!(done.appended.len(), 2);
        refused(ended::<()>(done.error), Fault::Invalid);
    }
    assert_eq!((t.version(&a).await?, t.version(&b).await?), (2, 1));
    not_stored(&t, [2]).await
}

pub(crate) async fn every_commit_in_order_gets_an_id_where_it_has_none(t: Trial) -> CaseResult {
    let commits = (0..5).map(|n| Append::new().write(stream("a"), v(n), vec![event(n)]));
    let results = stored(&t, commits.collect()).await?;
    for (n, result) in results.iter().enumerate() {
        assert!(
            results[..n]
                .iter()
                .all(|one| one.commit_id != result.commit_id)
        );
    }
    assert_eq!(t.version(&stream("a")).await?, 5);
    Ok(())
}

pub(crate) async fn every_commit_in_order_has_a_context_of_its_own(t: Trial) -> CaseResult {
    let trace = |n: u8| {
        TraceParent::new(format!(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902{n:02x}-01"
        ))
    };
    let ctx = |n: u8| -> Result<Context, CaseFailure> {
        Ok(Context::new()
            .with_principal(Principal::new(format!("user-{n}"))?)
            .with_correlation_id(CorrelationId::from_bytes([n; 16]))
            .with_causation_id(CausationId::from_bytes([n + 100; 16]))
            .with_trace(trace(n)?))
    };
    let a = stream("a");
    let mut commits = Vec::new();
    for n in 0..4_u8 {
        let n64 = u64::from(n);
        commits.push(OrderedAppend::new(ctx(n)?, one(n64, &a, v(n64))));
    }
    commits.push(plain(one(4, &a, v(4))));
    // Of the call's own context only the deadline counts.
    let done = t.log.append_in_order(&ctx(50)?, commits).await;
    assert!(done.error.is_none(), "{:?}", done.error);
    let read = t.events(&a).await?;
    assert_eq!(read.len(), 5);
    for (event, n) in read[..4].iter().zip(0_u8..) {
        let ctx = ctx(n)?;
        assert_eq!(event.principal.as_ref(), ctx.principal());
        assert_eq!(event.correlation_id, ctx.correlation_id());
        assert_eq!(event.causation_id, ctx.causation_id());
        assert_eq!(event.trace.as_ref(), ctx.trace());
    }
    let last = &read[4];
    assert_eq!((&last.principal, &last.trace), (&None, &None));
    assert_eq!((last.correlation_id, last.causation_id), (None, None));
    Ok(())
}

pub(crate) async fn commits_in_order_after_the_deadline_store_nothing(t: Trial) -> CaseResult {
    let a = stream("a");
    let late = Context::new().with_deadline(cim_store::Clock::monotonic(&t.clock));
    let commits: Vec<_> = (0..3).map(|n| plain(one(n, &a, v(n)))).collect();
    let done = t.log.append_in_order(&late, commits.clone()).await;
    assert_eq!(done.appended, []);
    refused(ended::<()>(done.error), Fault::Unavailable);
    assert_eq!(t.version(&a).await?, 0);
    not_stored(&t, 0..3).await?;
    let done = t.log.append_in_order(&t.ctx, commits).await;
    assert_eq!((done.appended.len(), t.version(&a).await?), (3, 3));
    Ok(())
}

pub(crate) async fn the_deadline_of_the_call_is_that_of_every_commit_in_order(
    t: Trial,
) -> CaseResult {
    let a = stream("a");
    let late = Context::new().with_deadline(cim_store::Clock::monotonic(&t.clock));
    let commits = (0..3).map(|n| OrderedAppend::new(late.clone(), one(n, &a, v(n))));
    let done = t.log.append_in_order(&t.ctx, commits.collect()).await;
    assert!(done.error.is_none(), "{:?}", done.error);
    assert_eq!((done.appended.len(), t.version(&a).await?), (3, 3));
    Ok(())
}

pub(crate) async fn no_commits_in_order_are_no_error(t: Trial) -> CaseResult {
    let AppendedInOrder { appended, error } = t.log.append_in_order(&t.ctx, Vec::new()).await;
    assert_eq!(appended, []);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(t.log.stats(&t.ctx).await?.last, Position::NONE);
    Ok(())
}

pub(crate) async fn commits_in_order_without_events_only_check(t: Trial) -> CaseResult {
    let a = stream("a");
    let commits = vec![
        Append::new().check(a.clone(), v(0)),
        one(0, &a, v(0)),
        Append::new(),
        Append::new().write(a.clone(), v(1), Vec::new()),
        one(1, &a, v(1)),
        Append::new().check(a.clone(), v(1)),
        one(2, &a, v(2)),
    ];
    let commits = commits.into_iter().map(plain).collect();
    let done = t.log.append_in_order(&t.ctx, commits).await;
    conflicts(ended::<()>(done.error), &a, v(1), 2);
    let positions: Vec<_> = done.appended.iter().map(|one| one.position).collect();
    assert_eq!(positions.len(), 5);
    for nothing in [0, 2, 3] {
        assert_eq!(positions[nothing], Position::NONE);
        assert_eq!(done.appended[nothing].heads, []);
    }
    assert!(positions[4] > positions[1] && positions[1] > Position::NONE);
    assert_eq!(numbers(&t.events(&a).await?)?, [0, 1]);
    Ok(())
}

pub(crate) async fn many_commits_in_order_are_stored_whole(t: Trial) -> CaseResult {
    let commits = (0..1_500).map(|n| {
        let to = stream(&format!("s{}", n % 7));
        one(n, &to, v(n / 7))
    });
    let results = stored(&t, commits.collect()).await?;
    assert!(results.windows(2).all(|w| w[0].position < w[1].position));
    let all = t.all_events().await?;
    assert_eq!(numbers(&all)?, (0..1_500).collect::<Vec<u64>>());
    chains_verify(&all)
}

pub(crate) async fn large_commits_in_order_are_stored_whole(t: Trial) -> CaseResult {
    let large = |n: u64| -> Result<Append, CaseFailure> {
        // Of every size from small to the largest, also of several events.
        let bytes = Limits::CONTRACT.payload_bytes >> (n % 5 * 3);
        let blob = NewEvent::new(
            EventType::new("blob")?,
            ContentType::BYTES,
            vec![n as u8; bytes],
        );
        let count = n as usize % 3 + 1;
        Ok(Append::new().with_commit_id(id(n)).write(
            stream("a"),
            ExpectedVersion::Any,
            vec![blob; count],
        ))
    };
    let commits: Result<Vec<_>, _> = (0..24).map(large).collect();
    stored(&t, commits?).await?;
    let all = t.events(&stream("a")).await?;
    whole_commits(&all)?;
    chains_verify(&all)?;
    let seen: Vec<_> = all
        .iter()
        .filter(|event| event.commit_index == 0)
        .map(|event| (event.payload[0], event.payload.len(), event.commit_count))
        .collect();
    let given: Vec<_> = (0..24_u8)
        .map(|n| (n, (1 << 20) >> (n % 5 * 3), u32::from(n % 3) + 1))
        .collect();
    assert_eq!(seen, given);
    Ok(())
}

pub(crate) async fn commits_in_order_of_many_callers_keep_each_their_order(t: Trial) -> CaseResult {
    const CALLERS: u64 = 4;
    const EACH: u64 = 60;
    let start = Arc::new(Barrier::new(CALLERS as usize + 1));
    let mut running = Vec::new();
    for caller in 0..CALLERS {
        let (log, ctx, start) = (t.log.clone(), t.ctx.clone(), start.clone());
        running.push(tokio::spawn(async move {
            let own = stream(&format!("own-{caller}"));
            let commits = (0..EACH).map(|n| {
                let commit = one(caller * EACH + n, &own, v(n));
                plain(commit.write(stream("shared"), ExpectedVersion::Any, vec![event(n)]))
            });
            start.wait().await;
            log.append_in_order(&ctx, commits.collect()).await
        }));
    }
    // Somebody who appends one by one comes in between.
    start.wait().await;
    for n in 0..20 {
        t.append(&stream("other"), v(n), vec![event(n)]).await?;
    }
    for task in running {
        let done = task.await?;
        assert!(done.error.is_none(), "{:?}", done.error);
        assert_eq!(done.appended.len(), EACH as usize);
    }
    let all = t.all_events().await?;
    assert_eq!(all.len() as u64, 2 * CALLERS * EACH + 20);
    whole_commits(&all)?;
    chains_verify(&all)?;
    for caller in 0..CALLERS {
        let own = t.events(&stream(&format!("own-{caller}"))).await?;
        let given = caller * EACH..(caller + 1) * EACH;
        assert_eq!(numbers(&own)?, given.collect::<Vec<_>>());
        assert!(own.windows(2).all(|w| w[0].position < w[1].position));
    }
    Ok(())
}

pub(crate) async fn of_two_callers_with_the_same_commits_in_order_both_store_them_once(
    t: Trial,
) -> CaseResult {
    let a = stream("a");
    let commits: Vec<_> = (0..40).map(|n| plain(one(n, &a, v(n)))).collect();
    let start = Arc::new(Barrier::new(2));
    let mut running = Vec::new();
    for _ in 0..2 {
        let (log, ctx, start) = (t.log.clone(), t.ctx.clone(), start.clone());
        let commits = commits.clone();
        running.push(tokio::spawn(async move {
            start.wait().await;
            log.append_in_order(&ctx, commits).await
        }));
    }
    let mut results = Vec::new();
    for task in running {
        let done = task.await?;
        assert!(done.error.is_none(), "{:?}", done.error);
        results.push(done.appended);
    }
    assert_eq!(results[0], results[1]);
    assert_eq!(
        numbers(&t.events(&a).await?)?,
        (0..40).collect::<Vec<u64>>()
    );
    Ok(())
}

pub(crate) async fn a_subscriber_sees_commits_in_order_in_their_order(t: Trial) -> CaseResult {
    let mut live = t
        .log
        .subscribe(&t.ctx, EventFilter::all(), Position::NONE)
        .await?;
    let commits = (0..100).map(|n| one(n, &stream(&format!("s{}", n % 3)), v(n / 3)));
    stored(&t, commits.collect()).await?;
    assert_eq!(
        numbers(&take(&mut live, 100).await?)?,
        (0..100).collect::<Vec<u64>>()
    );
    Ok(())
}

pub(crate) async fn commits_in_order_are_there_after_reopening(t: Trial) -> CaseResult {
    let a = stream("a");
    let commits: Vec<_> = (0..50).map(|n| one(n, &a, v(n))).collect();
    let first = stored(&t, commits.clone()).await?;
    let Some(t) = t.reopen().await? else {
        return Ok(());
    };
    assert_eq!(stored(&t, commits).await?, first);
    stored(&t, vec![one(50, &a, v(50))]).await?;
    let all = t.all_events().await?;
    assert_eq!(numbers(&all)?, (0..=50).collect::<Vec<u64>>());
    chains_verify(&all)
}

pub(crate) async fn a_commit_in_order_said_to_be_fresh_is_stored(t: Trial) -> CaseResult {
    let a = stream("a");
    let fresh = |n: u64| Append {
        fresh: true,
        ..one(n, &a, v(n))
    };
    let results = stored(&t, (0..10).map(fresh).collect()).await?;
    for result in results {
        let found = t.log.resolve(&t.ctx, result.commit_id).await?;
        assert_eq!(found, Resolution::Committed(result));
    }
    assert_eq!(t.version(&a).await?, Version::new(10).get());
    Ok(())
}
