//! Expected versions, and that of two writers one wins.

use std::sync::Arc;

use cim_store::{Append, ExpectedVersion, Version};
use tokio::sync::Barrier;

use crate::suite::CaseResult;
use crate::trial::{Trial, conflicts, event, events, numbers, stream, v};

pub(crate) const CONTRACT: &str = "2. One winner";

pub(crate) async fn append_with_the_right_version_succeeds(t: Trial) -> CaseResult {
    let a = stream("a");
    t.append(&a, Version::NONE, events(2)).await?;
    let stored = t.append(&a, v(2), events(1)).await?;
    assert_eq!(stored.head(&a).map(|head| head.version), Some(v(3)));
    assert_eq!(t.version(&a).await?, 3);
    Ok(())
}

pub(crate) async fn append_with_stale_version_conflicts(t: Trial) -> CaseResult {
    let a = stream("a");
    t.append(&a, Version::NONE, events(3)).await?;
    conflicts(t.append(&a, v(2), events(1)).await, &a, v(2), 3);
    assert_eq!(t.events(&a).await?.len(), 3);
    Ok(())
}

pub(crate) async fn append_with_a_version_of_the_future_conflicts(t: Trial) -> CaseResult {
    let a = stream("a");
    t.append(&a, Version::NONE, events(3)).await?;
    conflicts(t.append(&a, v(4), events(1)).await, &a, v(4), 3);
    conflicts(
        t.append(&a, Version::MAX, events(1)).await,
        &a,
        Version::MAX,
        3,
    );
    assert_eq!(t.events(&a).await?.len(), 3);
    Ok(())
}

pub(crate) async fn append_of_a_new_stream_conflicts_when_it_exists(t: Trial) -> CaseResult {
    let a = stream("a");
    t.append(&a, ExpectedVersion::NEW, events(1)).await?;
    let again = t.append(&a, ExpectedVersion::NEW, events(1)).await;
    conflicts(again, &a, ExpectedVersion::NEW, 1);
    Ok(())
}

pub(crate) async fn append_to_a_stream_that_should_exist_conflicts_when_it_does_not(
    t: Trial,
) -> CaseResult {
    let a = stream("a");
    let missing = t.append(&a, ExpectedVersion::Exists, events(1)).await;
    conflicts(missing, &a, ExpectedVersion::Exists, 0);
    conflicts(t.append(&a, v(1), events(1)).await, &a, v(1), 0);
    assert_eq!(t.version(&a).await?, 0);
    t.append(&a, ExpectedVersion::NEW, events(1)).await?;
    t.append(&a, ExpectedVersion::Exists, events(1)).await?;
    assert_eq!(t.version(&a).await?, 2);
    Ok(())
}

pub(crate) async fn append_at_any_version_takes_what_is_there(t: Trial) -> CaseResult {
    let a = stream("a");
    for n in 1..=3 {
        t.append(&a, ExpectedVersion::Any, vec![event(n)]).await?;
    }
    assert_eq!(numbers(&t.events(&a).await?)?, [1, 2, 3]);
    Ok(())
}

pub(crate) async fn the_first_expectation_that_fails_is_the_one_reported(t: Trial) -> CaseResult {
    let (a, b, c) = (stream("a"), stream("b"), stream("c"));
    t.append(&c, Version::NONE, events(1)).await?;
    let append = Append::new()
        .write(a, Version::NONE, events(1))
        .write(b.clone(), v(7), events(1))
        .check(c, v(9));
    conflicts(t.log.append(&t.ctx, append).await, &b, v(7), 0);
    Ok(())
}

pub(crate) async fn a_writer_that_lost_can_decide_again_and_win(t: Trial) -> CaseResult {
    let a = stream("a");
    t.append(&a, Version::NONE, vec![event(1)]).await?;
    conflicts(
        t.append(&a, Version::NONE, vec![event(2)]).await,
        &a,
        Version::NONE,
        1,
    );
    t.append(&a, v(1), vec![event(3)]).await?;
    assert_eq!(numbers(&t.events(&a).await?)?, [1, 3]);
    Ok(())
}

pub(crate) async fn of_two_writers_of_the_same_version_one_wins(t: Trial) -> CaseResult {
    let a = stream("a");
    for round in 0..200 {
        race(&t, &a, round, 2).await?;
    }
    assert_eq!(t.events(&a).await?.len(), 200);
    Ok(())
}

pub(crate) async fn of_many_writers_of_the_same_version_one_wins(t: Trial) -> CaseResult {
    let a = stream("a");
    for round in 0..20 {
        race(&t, &a, round, 16).await?;
    }
    assert_eq!(t.events(&a).await?.len(), 20);
    Ok(())
}

pub(crate) async fn of_two_writers_that_create_a_stream_one_wins(t: Trial) -> CaseResult {
    for round in 0..100 {
        race(&t, &stream(&format!("new-{round}")), 0, 2).await?;
    }
    assert_eq!(t.all_events().await?.len(), 100);
    Ok(())
}

/// So many writers append at once, all expecting `version`: one succeeds, the others are told the
/// version that it made.
async fn race(t: &Trial, id: &cim_store::StreamId, version: u64, writers: u64) -> CaseResult {
    let start = Arc::new(Barrier::new(writers as usize));
    let mut running = Vec::new();
    for writer in 0..writers {
        let (log, ctx, start) = (t.log.clone(), t.ctx.clone(), start.clone());
        let append = Append::new().write(id.clone(), v(version), vec![event(writer)]);
        running.push(tokio::spawn(async move {
            start.wait().await;
            log.append(&ctx, append).await
        }));
    }
    let mut winners = Vec::new();
    for (writer, task) in running.into_iter().enumerate() {
        match task.await? {
            Ok(_) => winners.push(writer as u64),
            lost => conflicts(lost, id, v(version), version + 1),
        }
    }
    assert_eq!(winners.len(), 1, "winners: {winners:?}");
    let stored = t.events(id).await?;
    assert_eq!(stored.len() as u64, version + 1);
    assert_eq!(numbers(&stored[version as usize..])?, winners);
    Ok(())
}

pub(crate) async fn commits_that_cross_each_other_do_not_both_win(t: Trial) -> CaseResult {
    let (a, b) = (stream("a"), stream("b"));
    for round in 0..50 {
        let start = Arc::new(Barrier::new(2));
        let mut running = Vec::new();
        // The same two streams, named in opposite orders.
        for (first, second) in [(&a, &b), (&b, &a)] {
            let (log, ctx, start) = (t.log.clone(), t.ctx.clone(), start.clone());
            let append = Append::new()
                .write(first.clone(), v(round), vec![event(round)])
                .write(second.clone(), v(round), vec![event(round)]);
            running.push(tokio::spawn(async move {
                start.wait().await;
                log.append(&ctx, append).await
            }));
        }
        let mut won = 0;
        for task in running {
            won += usize::from(task.await?.is_ok());
        }
        assert_eq!(won, 1, "in round {round}");
        assert_eq!(t.version(&a).await?, round + 1);
        assert_eq!(t.version(&b).await?, round + 1);
    }
    Ok(())
}

pub(crate) async fn counting_up_by_retries_loses_no_count(t: Trial) -> CaseResult {
    let a = stream("a");
    let mut running = Vec::new();
    for _ in 0..8 {
        let (log, ctx, a) = (t.log.clone(), t.ctx.clone(), a.clone());
        running.push(tokio::spawn(async move {
            for _ in 0..10 {
                loop {
                    let head = log.head(&ctx, &a).await?;
                    let version = head.map_or(Version::NONE, |head| head.version);
                    let next = event(version.get() + 1);
                    tokio::task::yield_now().await; // so that others write in between
                    let append = Append::new().write(a.clone(), version, vec![next]);
                    match log.append(&ctx, append).await {
                        Ok(_) => break,
                        Err(error) if error.is_conflict() => tokio::task::yield_now().await,
                        Err(error) => return Err(error),
                    }
                }
            }
            Ok(())
        }));
    }
    for task in running {
        task.await??;
    }
    // Each writer saw exactly the version that its event follows.
    assert_eq!(numbers(&t.events(&a).await?)?, (1..=80).collect::<Vec<_>>());
    Ok(())
}

pub(crate) async fn versions_go_on_after_reopening(t: Trial) -> CaseResult {
    let a = stream("a");
    t.append(&a, Version::NONE, events(3)).await?;
    let Some(t) = t.reopen().await? else {
        return Ok(());
    };
    conflicts(t.append(&a, v(2), events(1)).await, &a, v(2), 3);
    t.append(&a, v(3), events(1)).await?;
    assert_eq!(t.version(&a).await?, 4);
    Ok(())
}
