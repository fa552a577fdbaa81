//! Subscriptions deliver every matching event exactly once, in order: history, then live.

use std::time::Duration;

use cim_store::{
    Append, Context, EventFilter, EventLogError, EventType, ExpectedVersion, Fault, Position,
    RecordedEvent, SubjectPattern,
};
use futures_util::StreamExt;

use crate::suite::{CaseFailure, CaseResult};
use crate::trial::{Trial, event, events, numbers, refused, stream, take, typed, v};

pub(crate) const CONTRACT: &str = "6. No skips";

fn positions(events: &[RecordedEvent]) -> Vec<Position> {
    events.iter().map(|e| e.position).collect()
}

pub(crate) async fn a_subscription_delivers_history_first(t: Trial) -> CaseResult {
    t.append(&stream("a"), v(0), events(3)).await?;
    t.append(&stream("b"), v(0), events(2)).await?;
    let mut subscription = t
        .log
        .subscribe(&t.ctx, EventFilter::all(), Position::NONE)
        .await?;
    assert_eq!(take(&mut subscription, 5).await?, t.all_events().await?);
    Ok(())
}

pub(crate) async fn a_subscription_delivers_what_is_stored_later(t: Trial) -> CaseResult {
    let mut subscription = t
        .log
        .subscribe(&t.ctx, EventFilter::all(), Position::NONE)
        .await?;
    for n in 0..20 {
        t.append(&stream("a"), v(n), vec![event(n)]).await?;
        assert_eq!(numbers(&take(&mut subscription, 1).await?)?, [n]);
    }
    Ok(())
}

pub(crate) async fn a_waiting_subscription_is_woken(t: Trial) -> CaseResult {
    let mut subscription = t
        .log
        .subscribe(&t.ctx, EventFilter::all(), Position::NONE)
        .await?;
    let waiting = tokio::spawn(async move { take(&mut subscription, 2).await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    t.append(&stream("a"), v(0), vec![event(1)]).await?;
    t.append(&stream("b"), v(0), vec![event(2)]).await?;
    assert_eq!(numbers(&waiting.await??)?, [1, 2]);
    Ok(())
}

pub(crate) async fn history_and_live_join_without_gap_or_repeat(t: Trial) -> CaseResult {
    t.append(&stream("a"), v(0), events(500)).await?;
    let mut subscription = t
        .log
        .subscribe(&t.ctx, EventFilter::all(), Position::NONE)
        .await?;
    let mut seen = Vec::new();
    // While history is being delivered, more is stored.
    for n in 0..50 {
        seen.extend(take(&mut subscription, 10).await?);
        t.append(&stream("b"), v(n), vec![event(n)]).await?;
    }
    seen.extend(take(&mut subscription, 50).await?);
    assert_eq!(positions(&seen), positions(&t.all_events().await?));
    Ok(())
}

pub(crate) async fn every_subscriber_sees_what_concurrent_writers_store(t: Trial) -> CaseResult {
    const WRITERS: u64 = 4;
    const COMMITS: u64 = 50;
    let total = (WRITERS * COMMITS * 2) as usize;
    let mut subscribers = Vec::new();
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let mut subscription = t
            .log
            .subscribe(&t.ctx, EventFilter::all(), Position::NONE)
            .await?;
        subscribers.push(tokio::spawn(
            async move { take(&mut subscription, total).await },
        ));
        let (log, ctx) = (t.log.clone(), t.ctx.clone());
        writers.push(tokio::spawn(async move {
            for n in 0..COMMITS {
                let append = Append::new()
                    .write(stream(&format!("own-{writer}")), v(n), vec![event(n)])
                    .write(stream("shared"), ExpectedVersion::Any, vec![event(n)]);
                log.append(&ctx, append).await?;
            }
            Ok::<_, EventLogError>(())
        }));
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await??;
    }
    let all = t.all_events().await?;
    assert_eq!(all.len(), total);
    for subscriber in subscribers {
        let seen = subscriber.await??;
        assert_eq!(positions(&seen), positions(&all));
        assert_eq!(seen, all);
    }
    Ok(())
}

pub(crate) async fn a_subscription_starts_after_its_position(t: Trial) -> CaseResult {
    t.append(&stream("a"), v(0), events(5)).await?;
    let all = t.all_events().await?;
    for n in 0..5 {
        let after = all[n].position;
        let mut subscription = t.log.subscribe(&t.ctx, EventFilter::all(), after).await?;
        let rest = take(&mut subscription, 4 - n).await?;
        assert_eq!(rest, all[n + 1..]);
    }
    let mut at_the_end = t
        .log
        .subscribe(&t.ctx, EventFilter::all(), all[4].position)
        .await?;
    t.append(&stream("b"), v(0), vec![event(77)]).await?;
    assert_eq!(numbers(&take(&mut at_the_end, 1).await?)?, [77]);
    Ok(())
}

pub(crate) async fn a_subscription_delivers_only_what_its_filter_means(t: Trial) -> CaseResult {
    let write = async |from: u64| -> CaseResult {
        for n in from..from + 6 {
            let name = if n % 3 == 0 { "rare" } else { "common" };
            let id = stream(["a", "b"][n as usize % 2]);
            t.append(&id, ExpectedVersion::Any, vec![typed(name, n)])
                .await?;
        }
        Ok(())
    };
    write(0).await?;
    let by_type = EventFilter::all().of_type(EventType::new("rare")?);
    let by_subject = EventFilter::all().matching(SubjectPattern::new("cim.events.*.*.b.>")?);
    let mut rare = t.log.subscribe(&t.ctx, by_type, Position::NONE).await?;
    let mut of_b = t.log.subscribe(&t.ctx, by_subject, Position::NONE).await?;
    write(6).await?;
    assert_eq!(numbers(&take(&mut rare, 4).await?)?, [0, 3, 6, 9]);
    assert_eq!(numbers(&take(&mut of_b, 6).await?)?, [1, 3, 5, 7, 9, 11]);
    write(12).await?;
    assert_eq!(numbers(&take(&mut rare, 2).await?)?, [12, 15]);
    assert_eq!(numbers(&take(&mut of_b, 3).await?)?, [13, 15, 17]);
    Ok(())
}

pub(crate) async fn a_subscription_resumes_from_the_last_position_seen(t: Trial) -> CaseResult {
    let writer = {
        let (log, ctx) = (t.log.clone(), t.ctx.clone());
        tokio::spawn(async move {
            for n in 0..100 {
                let append = Append::new().write(stream("a"), v(n), vec![event(n)]);
                log.append(&ctx, append).await?;
            }
            Ok::<_, EventLogError>(())
        })
    };
    let (mut seen, mut after) = (Vec::new(), Position::NONE);
    while seen.len() < 100 {
        let mut subscription = t.log.subscribe(&t.ctx, EventFilter::all(), after).await?;
        let count = 7.min(100 - seen.len());
        seen.extend(take(&mut subscription, count).await?);
        after = seen.last().map_or(Position::NONE, |e| e.position);
    }
    writer.await??;
    assert_eq!(numbers(&seen)?, (0..100).collect::<Vec<_>>());
    Ok(())
}

pub(crate) async fn a_subscription_resumes_after_reopening(t: Trial) -> CaseResult {
    t.append(&stream("a"), v(0), events(5)).await?;
    let mut subscription = t
        .log
        .subscribe(&t.ctx, EventFilter::all(), Position::NONE)
        .await?;
    let seen = take(&mut subscription, 3).await?;
    drop(subscription);
    let Some(t) = t.reopen().await? else {
        return Ok(());
    };
    let mut resumed = t
        .log
        .subscribe(&t.ctx, EventFilter::all(), seen[2].position)
        .await?;
    t.append(&stream("a"), v(5), vec![event(6)]).await?;
    assert_eq!(numbers(&take(&mut resumed, 3).await?)?, [4, 5, 6]);
    Ok(())
}

pub(crate) async fn a_slow_subscriber_misses_nothing(t: Trial) -> CaseResult {
    let mut subscription = t
        .log
        .subscribe(&t.ctx, EventFilter::all(), Position::NONE)
        .await?;
    t.append(&stream("a"), v(0), events(1)).await?;
    take(&mut subscription, 1).await?;
    for n in 0..30 {
        t.append(&stream("b"), v(n * 100), events(100)).await?;
    }
    let seen = take(&mut subscription, 3_000).await?;
    assert_eq!(positions(&seen), positions(&t.all_events().await?[1..]));
    Ok(())
}

pub(crate) async fn a_subscription_outlives_its_deadline(t: Trial) -> CaseResult {
    let ctx = Context::new().with_timeout(&t.clock, Duration::from_secs(10));
    let mut subscription = t
        .log
        .subscribe(&ctx, EventFilter::all(), Position::NONE)
        .await?;
    t.clock.advance(Duration::from_secs(3_600));
    t.append(&stream("a"), v(0), vec![event(5)]).await?;
    assert_eq!(numbers(&take(&mut subscription, 1).await?)?, [5]);
    Ok(())
}

pub(crate) async fn a_subscription_that_is_dropped_disturbs_nobody(t: Trial) -> CaseResult {
    for n in 0..20 {
        let mut subscription = t
            .log
            .subscribe(&t.ctx, EventFilter::all(), Position::NONE)
            .await?;
        t.append(&stream("a"), v(n), vec![event(n)]).await?;
        take(&mut subscription, 1).await?;
    }
    assert_eq!(t.events(&stream("a")).await?.len(), 20);
    Ok(())
}

pub(crate) async fn a_subscription_ends_with_closed_when_the_store_is_closed(
    t: Trial,
) -> CaseResult {
    t.append(&stream("a"), v(0), events(2)).await?;
    let mut subscription = t
        .log
        .subscribe(&t.ctx, EventFilter::all(), Position::NONE)
        .await?;
    take(&mut subscription, 2).await?;
    let waiting = tokio::spawn(async move {
        let end = subscription.next().await;
        (end, subscription.next().await.is_none())
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    t.store.close().await?;
    let (end, nothing_follows) = waiting.await?;
    refused(end.ok_or("it ended without an error")?, Fault::Closed);
    assert!(nothing_follows);
    Ok(())
}

pub(crate) async fn a_conflict_wakes_no_subscriber(t: Trial) -> CaseResult {
    let mut subscription = t
        .log
        .subscribe(&t.ctx, EventFilter::all(), Position::NONE)
        .await?;
    t.append(&stream("a"), v(0), vec![event(1)]).await?;
    let lost = t.append(&stream("a"), v(0), vec![event(2)]).await;
    assert!(lost.is_err());
    t.append(&stream("a"), v(1), vec![event(3)]).await?;
    let seen: Result<Vec<u64>, CaseFailure> = numbers(&take(&mut subscription, 2).await?);
    assert_eq!(seen?, [1, 3]);
    Ok(())
}
