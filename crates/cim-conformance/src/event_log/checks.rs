//! Checks of streams that a commit does not write, and appends without events.

use std::sync::Arc;

use cim_store::{Append, CommitId, ExpectedVersion, Fault, Position, Resolution, Version};
use tokio::sync::Barrier;

use crate::suite::CaseResult;
use crate::trial::{Trial, conflicts, event, events, refused, stream, v};

pub(crate) const CONTRACT: &str = "2. and 7. Checks, and appends without events";

pub(crate) async fn a_check_that_holds_lets_the_commit_pass(t: Trial) -> CaseResult {
    let (a, b) = (stream("a"), stream("b"));
    t.append(&b, Version::NONE, events(2)).await?;
    let append = Append::new()
        .write(a.clone(), Version::NONE, events(1))
        .check(b.clone(), v(2));
    let stored = t.log.append(&t.ctx, append).await?;
    assert_eq!(stored.heads.len(), 1);
    assert_eq!(t.version(&a).await?, 1);
    assert_eq!(t.version(&b).await?, 2);
    Ok(())
}

pub(crate) async fn a_check_that_fails_stores_nothing(t: Trial) -> CaseResult {
    let (a, b) = (stream("a"), stream("b"));
    t.append(&b, Version::NONE, events(2)).await?;
    let append = Append::new()
        .write(a.clone(), Version::NONE, events(1))
        .check(b.clone(), v(1));
    conflicts(t.log.append(&t.ctx, append).await, &b, v(1), 2);
    assert_eq!(t.version(&a).await?, 0);
    Ok(())
}

pub(crate) async fn a_check_can_require_that_a_stream_does_not_exist(t: Trial) -> CaseResult {
    let (a, b) = (stream("a"), stream("b"));
    let append = |n| {
        Append::new()
            .write(a.clone(), v(n), vec![event(n)])
            .check(b.clone(), Version::NONE)
    };
    t.log.append(&t.ctx, append(0)).await?;
    t.append(&b, Version::NONE, events(1)).await?;
    conflicts(t.log.append(&t.ctx, append(1)).await, &b, Version::NONE, 1);
    assert_eq!(t.version(&a).await?, 1);
    Ok(())
}

pub(crate) async fn a_check_of_a_stream_that_does_not_exist_fails(t: Trial) -> CaseResult {
    let (a, b) = (stream("a"), stream("b"));
    let append = Append::new()
        .write(a.clone(), Version::NONE, events(1))
        .check(b.clone(), v(1));
    conflicts(t.log.append(&t.ctx, append).await, &b, v(1), 0);
    assert_eq!(t.version(&a).await?, 0);
    Ok(())
}

pub(crate) async fn two_decisions_that_rest_on_each_other_do_not_both_pass(t: Trial) -> CaseResult {
    // Write skew: each writes what the other one only read.
    for round in 0..100 {
        let a = stream(&format!("a{round}"));
        let b = stream(&format!("b{round}"));
        let start = Arc::new(Barrier::new(2));
        let mut running = Vec::new();
        for (written, read) in [(&a, &b), (&b, &a)] {
            let (log, ctx, start) = (t.log.clone(), t.ctx.clone(), start.clone());
            let append = Append::new()
                .write(written.clone(), Version::NONE, vec![event(round)])
                .check(read.clone(), Version::NONE);
            running.push(tokio::spawn(async move {
                start.wait().await;
                log.append(&ctx, append).await
            }));
        }
        let mut passed = 0;
        for task in running {
            match task.await? {
                Ok(_) => passed += 1,
                Err(error) => assert!(error.is_conflict(), "{error:?}"),
            }
        }
        assert_eq!(passed, 1, "in round {round}");
        assert_eq!(t.version(&a).await? + t.version(&b).await?, 1);
    }
    Ok(())
}

pub(crate) async fn an_append_without_events_only_checks(t: Trial) -> CaseResult {
    let (a, b) = (stream("a"), stream("b"));
    t.append(&a, Version::NONE, events(2)).await?;
    let passed = Append::new().write(a.clone(), v(2), Vec::new()).write(
        b.clone(),
        Version::NONE,
        Vec::new(),
    );
    let stored = t.log.append(&t.ctx, passed).await?;
    assert_eq!(stored.position, Position::NONE);
    assert!(stored.heads.is_empty());
    let stale = Append::new().write(a.clone(), v(1), Vec::new());
    conflicts(t.log.append(&t.ctx, stale).await, &a, v(1), 2);
    let missing = Append::new().write(b.clone(), ExpectedVersion::Exists, Vec::new());
    conflicts(
        t.log.append(&t.ctx, missing).await,
        &b,
        ExpectedVersion::Exists,
        0,
    );
    assert_eq!(t.all_events().await?.len(), 2);
    assert_eq!(t.log.head(&t.ctx, &b).await?, None);
    Ok(())
}

pub(crate) async fn an_append_of_checks_alone_stores_nothing(t: Trial) -> CaseResult {
    let a = stream("a");
    let id = CommitId::from_bytes([7; 16]);
    t.append(&a, Version::NONE, events(1)).await?;
    let stored = t
        .log
        .append(
            &t.ctx,
            Append::new().with_commit_id(id).check(a.clone(), v(1)),
        )
        .await?;
    assert_eq!(stored.commit_id, id);
    assert_eq!(stored.position, Position::NONE);
    conflicts(
        t.log
            .append(&t.ctx, Append::new().check(a.clone(), v(2)))
            .await,
        &a,
        v(2),
        1,
    );
    assert_eq!(t.log.resolve(&t.ctx, id).await?, Resolution::NotCommitted);
    assert_eq!(t.all_events().await?.len(), 1);
    Ok(())
}

pub(crate) async fn an_append_of_nothing_passes(t: Trial) -> CaseResult {
    let stored = t.log.append(&t.ctx, Append::new()).await?;
    assert_eq!(stored.position, Position::NONE);
    assert!(stored.heads.is_empty());
    assert_eq!(t.log.stats(&t.ctx).await?.events, 0);
    Ok(())
}

pub(crate) async fn a_write_without_events_checks_for_the_others(t: Trial) -> CaseResult {
    let (a, b) = (stream("a"), stream("b"));
    t.append(&b, Version::NONE, events(1)).await?;
    let append = |expected| {
        Append::new()
            .write(a.clone(), ExpectedVersion::Any, vec![event(1)])
            .write(b.clone(), v(expected), Vec::new())
    };
    conflicts(t.log.append(&t.ctx, append(4)).await, &b, v(4), 1);
    assert_eq!(t.version(&a).await?, 0);
    let stored = t.log.append(&t.ctx, append(1)).await?;
    assert_eq!(stored.heads.len(), 1);
    assert!(stored.head(&b).is_none());
    assert_eq!(t.version(&b).await?, 1);
    Ok(())
}

pub(crate) async fn a_stream_named_twice_is_invalid(t: Trial) -> CaseResult {
    let (a, b) = (stream("a"), stream("b"));
    let twice_written = Append::new()
        .write(a.clone(), ExpectedVersion::Any, events(1))
        .write(b.clone(), ExpectedVersion::Any, events(1))
        .write(a.clone(), ExpectedVersion::Any, events(1));
    refused(t.log.append(&t.ctx, twice_written).await, Fault::Invalid);
    let written_and_checked = Append::new()
        .write(a.clone(), ExpectedVersion::Any, events(1))
        .check(a.clone(), Version::NONE);
    refused(
        t.log.append(&t.ctx, written_and_checked).await,
        Fault::Invalid,
    );
    let twice_checked = Append::new()
        .write(b, ExpectedVersion::Any, events(1))
        .check(a.clone(), Version::NONE)
        .check(a, Version::NONE);
    refused(t.log.append(&t.ctx, twice_checked).await, Fault::Invalid);
    assert_eq!(t.all_events().await?.len(), 0);
    Ok(())
}

pub(crate) async fn many_streams_can_be_written_and_checked_at_once(t: Trial) -> CaseResult {
    let mut append = Append::new();
    for n in 0..400 {
        append = append.write(stream(&format!("w{n}")), Version::NONE, vec![event(n)]);
    }
    for n in 0..600 {
        append = append.check(stream(&format!("c{n}")), Version::NONE);
    }
    t.log.append(&t.ctx, append).await?;
    assert_eq!(t.log.stats(&t.ctx).await?.streams, 400);
    Ok(())
}
