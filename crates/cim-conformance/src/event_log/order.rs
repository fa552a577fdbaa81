//! Versions, positions and heads.

use cim_store::{Append, ExpectedVersion, Position, StreamPattern, Version};
use futures_util::TryStreamExt;

use crate::event_log::atomicity::whole_commits;
use crate::suite::CaseResult;
use crate::trial::{Trial, event, events, stream, v};

pub(crate) const CONTRACT: &str = "Ordering";

pub(crate) async fn versions_count_from_one_without_gaps(t: Trial) -> CaseResult {
    let a = stream("a");
    for n in 0..5 {
        t.append(&a, ExpectedVersion::Any, events(n % 3 + 1))
            .await?;
        t.append(&stream("b"), ExpectedVersion::Any, events(2))
            .await?;
    }
    let versions: Vec<_> = t
        .events(&a)
        .await?
        .iter()
        .map(|e| e.version.get())
        .collect();
    assert_eq!(versions, (1..=9).collect::<Vec<_>>());
    Ok(())
}

pub(crate) async fn positions_increase_along_the_log(t: Trial) -> CaseResult {
    for n in 0..30_u64 {
        let id = stream(&format!("s{}", n % 4));
        t.append(&id, ExpectedVersion::Any, events(n % 3 + 1))
            .await?;
    }
    let all = t.all_events().await?;
    assert_eq!(all.len(), 60);
    assert!(all[0].position >= Position::new(1));
    assert!(all.windows(2).all(|w| w[0].position < w[1].position));
    whole_commits(&all)?;
    Ok(())
}

pub(crate) async fn positions_of_concurrent_commits_do_not_mix(t: Trial) -> CaseResult {
    let mut running = Vec::new();
    for writer in 0..8 {
        let (log, ctx) = (t.log.clone(), t.ctx.clone());
        running.push(tokio::spawn(async move {
            for n in 0..20 {
                let append = Append::new()
                    .write(stream(&format!("own-{writer}")), v(2 * n), events(2))
                    .write(stream("shared"), ExpectedVersion::Any, events(1));
                log.append(&ctx, append).await?;
            }
            Ok::<_, cim_store::EventLogError>(())
        }));
    }
    for task in running {
        task.await??;
    }
    let all = t.all_events().await?;
    assert_eq!(all.len(), 8 * 20 * 3);
    assert!(all.windows(2).all(|w| w[0].position < w[1].position));
    whole_commits(&all)
}

pub(crate) async fn what_was_acknowledged_before_has_the_smaller_positions(t: Trial) -> CaseResult {
    let mut last = Position::NONE;
    for n in 0..20_u64 {
        let id = stream(&format!("s{}", n % 7));
        let stored = t.append(&id, ExpectedVersion::Any, events(3)).await?;
        let mine = t.events(&id).await?;
        let first_of_mine = mine[mine.len() - 3].position;
        assert!(first_of_mine > last, "{first_of_mine} after {last}");
        assert_eq!(stored.position, mine[mine.len() - 1].position);
        last = stored.position;
    }
    Ok(())
}

pub(crate) async fn the_log_and_the_streams_hold_the_same_events(t: Trial) -> CaseResult {
    for n in 0..12 {
        let append = Append::new()
            .write(stream("a"), ExpectedVersion::Any, events(n % 2 + 1))
            .write(stream("b"), ExpectedVersion::Any, events(n % 3 + 1));
        t.log.append(&t.ctx, append).await?;
    }
    let mut from_streams = t.events(&stream("a")).await?;
    from_streams.extend(t.events(&stream("b")).await?);
    from_streams.sort_by_key(|e| e.position);
    assert_eq!(t.all_events().await?, from_streams);
    Ok(())
}

pub(crate) async fn the_head_is_the_last_event(t: Trial) -> CaseResult {
    let a = stream("a");
    assert_eq!(t.log.head(&t.ctx, &a).await?, None);
    for n in 0..3 {
        let stored = t.append(&a, v(2 * n), events(2)).await?;
        t.append(&stream("b"), ExpectedVersion::Any, events(1))
            .await?;
        let last = t.events(&a).await?.pop().ok_or("nothing was read")?;
        let head = t.log.head(&t.ctx, &a).await?.ok_or("there is no head")?;
        assert_eq!(head.stream, a);
        assert_eq!(head.version, last.version);
        assert_eq!(head.position, last.position);
        assert_eq!(head.cid, last.cid);
        assert_eq!(stored.head(&a), Some(&head));
    }
    Ok(())
}

pub(crate) async fn what_an_append_returns_is_what_it_stored(t: Trial) -> CaseResult {
    let (a, b) = (stream("a"), stream("b"));
    t.append(&b, Version::NONE, events(1)).await?;
    let append =
        Append::new()
            .write(b.clone(), v(1), events(2))
            .write(a.clone(), Version::NONE, events(1));
    let stored = t.log.append(&t.ctx, append).await?;
    let order: Vec<_> = stored.heads.iter().map(|head| &head.stream).collect();
    assert_eq!(order, [&b, &a]);
    let all = t.all_events().await?;
    let last = all.last().ok_or("nothing was read")?;
    assert_eq!(stored.position, last.position);
    assert!(stored.stored_at.is_none_or(|at| at == last.stored_at));
    assert_eq!(stored.commit_id, last.commit_id);
    for head in &stored.heads {
        assert_eq!(t.log.head(&t.ctx, &head.stream).await?.as_ref(), Some(head));
    }
    Ok(())
}

pub(crate) async fn streams_are_listed_by_pattern_each_once(t: Trial) -> CaseResult {
    let names = [
        "sales.order.1",
        "sales.order.2",
        "sales.customer.1",
        "stock.item.1",
    ];
    for _ in 0..3 {
        for name in names {
            t.append(&name.parse()?, ExpectedVersion::Any, vec![event(1)])
                .await?;
        }
    }
    for (pattern, expected) in [
        (">", &names[..]),
        ("sales.order.*", &names[..2]),
        ("sales.>", &names[..3]),
        (
            "*.*.1",
            &["sales.order.1", "sales.customer.1", "stock.item.1"],
        ),
        ("stock.item.1", &names[3..]),
        ("stock.item.2", &[]),
    ] {
        let pattern: StreamPattern = pattern.parse()?;
        let heads: Vec<_> = t.log.streams(&t.ctx, &pattern).await?.try_collect().await?;
        let mut found: Vec<_> = heads.iter().map(|h| h.stream.as_str()).collect();
        found.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "for {pattern:?}");
        for head in &heads {
            assert_eq!(head.version, v(3));
            assert_eq!(t.log.head(&t.ctx, &head.stream).await?.as_ref(), Some(head));
        }
    }
    Ok(())
}

pub(crate) async fn the_stats_count_what_is_there(t: Trial) -> CaseResult {
    let empty = t.log.stats(&t.ctx).await?;
    assert_eq!((empty.events, empty.streams), (0, 0));
    assert_eq!((empty.first, empty.last), (Position::NONE, Position::NONE));
    t.append(&stream("a"), v(0), events(3)).await?;
    t.append(&stream("b"), v(0), events(2)).await?;
    let _ = t.append(&stream("c"), v(9), events(2)).await;
    let stats = t.log.stats(&t.ctx).await?;
    let all = t.all_events().await?;
    assert_eq!((stats.events, stats.streams), (5, 2));
    assert_eq!(stats.first, all[0].position);
    assert_eq!(stats.last, all[4].position);
    assert_eq!(stats.truncated_through, Position::NONE);
    Ok(())
}

pub(crate) async fn positions_go_on_after_reopening(t: Trial) -> CaseResult {
    t.append(&stream("a"), v(0), events(3)).await?;
    let stats = t.log.stats(&t.ctx).await?;
    let Some(t) = t.reopen().await? else {
        return Ok(());
    };
    let reopened = t.log.stats(&t.ctx).await?;
    assert_eq!((reopened.events, reopened.streams), (3, 1));
    assert_eq!((reopened.first, reopened.last), (stats.first, stats.last));
    let stored = t.append(&stream("b"), v(0), events(1)).await?;
    assert!(stored.position > stats.last);
    Ok(())
}
