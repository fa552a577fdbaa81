//! A commit is visible whole or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cim_store::{Append, ExpectedVersion, LogQuery, RecordedEvent, StreamRange, Version};

use crate::suite::{CaseFailure, CaseResult};
use crate::trial::{Trial, collect, conflicts, event, events, numbers, stream, v};

pub(crate) const CONTRACT: &str = "1. All or nothing";

pub(crate) async fn a_commit_of_one_stream_is_stored_whole(t: Trial) -> CaseResult {
    let a = stream("a");
    let stored = t.append(&a, Version::NONE, events(5)).await?;
    let read = t.events(&a).await?;
    assert_eq!(numbers(&read)?, [1, 2, 3, 4, 5]);
    assert!(read.iter().all(|e| e.commit_id == stored.commit_id));
    Ok(())
}

pub(crate) async fn a_commit_of_many_streams_is_stored_whole(t: Trial) -> CaseResult {
    let mut append = Append::new();
    for n in 0..20 {
        append = append.write(stream(&format!("s{n}")), Version::NONE, events(n + 1));
    }
    let stored = t.log.append(&t.ctx, append).await?;
    assert_eq!(stored.heads.len(), 20);
    for n in 0..20 {
        let id = stream(&format!("s{n}"));
        assert_eq!(t.events(&id).await?.len() as u64, n + 1);
        assert_eq!(stored.head(&id), t.log.head(&t.ctx, &id).await?.as_ref());
    }
    Ok(())
}

pub(crate) async fn a_commit_with_one_stale_stream_stores_nothing(t: Trial) -> CaseResult {
    let (a, b, c) = (stream("a"), stream("b"), stream("c"));
    t.append(&b, Version::NONE, events(2)).await?;
    let append = Append::new()
        .write(a.clone(), Version::NONE, events(1))
        .write(b.clone(), v(1), events(1))
        .write(c.clone(), Version::NONE, events(1));
    conflicts(t.log.append(&t.ctx, append).await, &b, v(1), 2);
    assert_eq!(t.version(&a).await?, 0);
    assert_eq!(t.version(&b).await?, 2);
    assert_eq!(t.version(&c).await?, 0);
    assert_eq!(t.all_events().await?.len(), 2);
    Ok(())
}

pub(crate) async fn a_commit_of_a_thousand_events_is_stored_whole(t: Trial) -> CaseResult {
    let a = stream("a");
    t.append(&a, Version::NONE, events(1_000)).await?;
    let read = t.events(&a).await?;
    assert_eq!(numbers(&read)?, (1..=1_000).collect::<Vec<_>>());
    assert!(read.iter().all(|e| e.commit_count == 1_000));
    Ok(())
}

pub(crate) async fn every_event_says_its_place_in_its_commit(t: Trial) -> CaseResult {
    let append = Append::new()
        .write(stream("a"), Version::NONE, events(2))
        .write(stream("b"), Version::NONE, events(3));
    t.log.append(&t.ctx, append).await?;
    let places: Vec<_> = t
        .all_events()
        .await?
        .iter()
        .map(|e| (e.commit_index, e.commit_count, e.stream.id().to_owned()))
        .collect();
    let expected = [(0, "a"), (1, "a"), (2, "b"), (3, "b"), (4, "b")];
    assert_eq!(places, expected.map(|(i, id)| (i, 5, id.to_owned())));
    Ok(())
}

pub(crate) async fn readers_of_the_log_never_see_a_part_of_a_commit(t: Trial) -> CaseResult {
    while_commits_are_written(&t, |log, ctx| async move {
        let seen = collect(log.read_log(&ctx, LogQuery::all()).await).await?;
        let of = |id| seen.iter().filter(|e| e.stream == stream(id)).count();
        assert_eq!(of("a"), of("b"), "each commit has as many of both");
        whole_commits(&seen)
    })
    .await
}

pub(crate) async fn readers_of_streams_never_see_a_part_of_a_commit(t: Trial) -> CaseResult {
    while_commits_are_written(&t, |log, ctx| async move {
        let (a, b) = (stream("a"), stream("b"));
        // `b` is read after `a`, so it may be longer, but never shorter.
        let in_a = collect(log.read_stream(&ctx, &a, StreamRange::all()).await).await?;
        let in_b = collect(log.read_stream(&ctx, &b, StreamRange::all()).await).await?;
        assert!(
            in_b.len() >= in_a.len(),
            "{} then {}",
            in_a.len(),
            in_b.len()
        );
        let head_of_a = log
            .head(&ctx, &a)
            .await?
            .map_or(Version::NONE, |h| h.version);
        let head_of_b = log
            .head(&ctx, &b)
            .await?
            .map_or(Version::NONE, |h| h.version);
        assert!(head_of_b >= head_of_a, "{head_of_a} then {head_of_b}");
        // Two events of each commit stand in `a`.
        assert_eq!(in_a.len() % 2, 0, "half of a commit");
        Ok(())
    })
    .await
}

/// Commits to two streams at once, 100 times, while four readers do as they are told.
pub(super) async fn while_commits_are_written<F, R>(t: &Trial, read: F) -> CaseResult
where
    F: Fn(Arc<dyn cim_store::EventLog>, cim_store::Context) -> R + Copy + Send + 'static,
    R: Future<Output = CaseResult> + Send,
{
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (log, ctx, done) = (t.log.clone(), t.ctx.clone(), done.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    read(log.clone(), ctx.clone()).await?;
                    tokio::task::yield_now().await;
                }
                read(log, ctx).await
            })
        })
        .collect();
    for n in 0..100 {
        let append = Append::new()
            .write(stream("a"), ExpectedVersion::Any, vec![event(n), event(n)])
            .write(stream("b"), ExpectedVersion::Any, vec![event(n), event(n)]);
        t.log.append(&t.ctx, append).await?;
    }
    done.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await??;
    }
    Ok(())
}

/// Checks that a part of the log, in order, consists of whole commits.
pub(crate) fn whole_commits(events: &[RecordedEvent]) -> Result<(), CaseFailure> {
    let mut seen: BTreeMap<_, u32> = BTreeMap::new();
    let mut rest = events;
    while let Some(first) = rest.first() {
        let count = first.commit_count as usize;
        assert!(rest.len() >= count, "{} of {count} events", rest.len());
        let (commit, after) = rest.split_at(count);
        for (index, event) in commit.iter().enumerate() {
            assert_eq!(event.commit_id, first.commit_id, "at {}", event.position);
            assert_eq!(event.commit_index as usize, index, "at {}", event.position);
            assert_eq!(event.commit_count, first.commit_count);
        }
        let times = seen.entry(first.commit_id).or_default();
        *times += 1;
        assert_eq!(*times, 1, "commit {} stands there twice", first.commit_id);
        rest = after;
    }
    Ok(())
}

pub(crate) async fn whole_commits_are_there_after_reopening(t: Trial) -> CaseResult {
    for n in 0..10 {
        let append = Append::new()
            .write(stream("a"), v(n), vec![event(n)])
            .write(stream("b"), v(2 * n), vec![event(n), event(n)]);
        t.log.append(&t.ctx, append).await?;
    }
    let before = t.all_events().await?;
    let Some(t) = t.reopen().await? else {
        return Ok(());
    };
    let after = t.all_events().await?;
    whole_commits(&after)?;
    assert_eq!(after, before);
    Ok(())
}
