//! The same commit id never stores twice, and `resolve` says what became of it.

use std::sync::Arc;

use cim_store::{Append, CommitId, ExpectedVersion, Fault, Resolution, Version};
use tokio::sync::Barrier;

use crate::suite::CaseResult;
use crate::trial::{Trial, event, events, refused, stream, typed, v};

pub(crate) const CONTRACT: &str = "4. No guessing";

const ID: CommitId = CommitId::from_bytes([0x11; 16]);

/// Two events for `a`, one for `b`, under [`ID`].
fn commit(expected_of_a: impl Into<ExpectedVersion>) -> Append {
    Append::new()
        .with_commit_id(ID)
        .write(stream("a"), expected_of_a, events(2))
        .write(stream("b"), ExpectedVersion::Any, events(1))
}

pub(crate) async fn the_commit_id_given_is_kept(t: Trial) -> CaseResult {
    let stored = t.log.append(&t.ctx, commit(Version::NONE)).await?;
    assert_eq!(stored.commit_id, ID);
    assert!(t.all_events().await?.iter().all(|e| e.commit_id == ID));
    Ok(())
}

pub(crate) async fn commits_without_an_id_get_one_each(t: Trial) -> CaseResult {
    let one = t.append(&stream("a"), v(0), events(1)).await?;
    let other = t.append(&stream("a"), v(1), events(1)).await?;
    assert_ne!(one.commit_id, other.commit_id);
    Ok(())
}

pub(crate) async fn the_same_commit_again_returns_the_first_result(t: Trial) -> CaseResult {
    let first = t.log.append(&t.ctx, commit(Version::NONE)).await?;
    let again = t.log.append(&t.ctx, commit(Version::NONE)).await?;
    assert_eq!(again, first);
    assert_eq!(t.all_events().await?.len(), 3);
    Ok(())
}

pub(crate) async fn the_same_commit_after_others_returns_the_first_result(t: Trial) -> CaseResult {
    let first = t.log.append(&t.ctx, commit(Version::NONE)).await?;
    t.append(&stream("a"), v(2), events(5)).await?;
    t.append(&stream("c"), v(0), events(1)).await?;
    t.clock.advance(std::time::Duration::from_secs(60));
    let again = t.log.append(&t.ctx, commit(Version::NONE)).await?;
    assert_eq!(again, first);
    assert_eq!(t.all_events().await?.len(), 9);
    Ok(())
}

pub(crate) async fn the_same_commit_with_other_expectations_returns_the_first_result(
    t: Trial,
) -> CaseResult {
    let first = t.log.append(&t.ctx, commit(Version::NONE)).await?;
    for expected in [v(0).into(), v(2).into(), v(99).into(), ExpectedVersion::Any] {
        assert_eq!(t.log.append(&t.ctx, commit(expected)).await?, first);
    }
    let with_check = commit(Version::NONE).check(stream("c"), v(12));
    assert_eq!(t.log.append(&t.ctx, with_check).await?, first);
    assert_eq!(t.all_events().await?.len(), 3);
    Ok(())
}

pub(crate) async fn the_same_commit_after_reopening_returns_the_first_result(
    t: Trial,
) -> CaseResult {
    let first = t.log.append(&t.ctx, commit(Version::NONE)).await?;
    t.append(&stream("a"), v(2), events(1)).await?;
    let Some(t) = t.reopen().await? else {
        return Ok(());
    };
    assert_eq!(t.log.append(&t.ctx, commit(Version::NONE)).await?, first);
    assert_eq!(
        t.log.resolve(&t.ctx, ID).await?,
        Resolution::Committed(first)
    );
    assert_eq!(t.all_events().await?.len(), 4);
    Ok(())
}

pub(crate) async fn the_same_commit_at_the_same_time_is_stored_once(t: Trial) -> CaseResult {
    for round in 0..50_u8 {
        let id = CommitId::from_bytes([round; 16]);
        let start = Arc::new(Barrier::new(4));
        let mut running = Vec::new();
        for _ in 0..4 {
            let (log, ctx, start) = (t.log.clone(), t.ctx.clone(), start.clone());
            let append = Append::new().with_commit_id(id).write(
                stream("a"),
                v(u64::from(round)),
                vec![event(1)],
            );
            running.push(tokio::spawn(async move {
                start.wait().await;
                log.append(&ctx, append).await
            }));
        }
        let mut results = Vec::new();
        for task in running {
            results.push(task.await??);
        }
        assert!(results.iter().all(|result| *result == results[0]));
        assert_eq!(t.version(&stream("a")).await?, u64::from(round) + 1);
    }
    Ok(())
}

pub(crate) async fn a_commit_id_used_for_other_events_is_invalid(t: Trial) -> CaseResult {
    let first = t.log.append(&t.ctx, commit(Version::NONE)).await?;
    let under_id = |append: Append| append.with_commit_id(ID);
    let others = [
        Append::new().write(stream("c"), ExpectedVersion::Any, events(1)),
        Append::new().write(stream("a"), ExpectedVersion::Any, events(2)),
        Append::new()
            .write(
                stream("a"),
                ExpectedVersion::Any,
                vec![event(1), typed("x", 2)],
            )
            .write(stream("b"), ExpectedVersion::Any, events(1)),
        Append::new()
            .write(stream("a"), ExpectedVersion::Any, events(2))
            .write(stream("b"), ExpectedVersion::Any, events(2)),
    ];
    for other in others {
        refused(t.log.append(&t.ctx, under_id(other)).await, Fault::Invalid);
    }
    assert_eq!(t.all_events().await?.len(), 3);
    assert_eq!(
        t.log.resolve(&t.ctx, ID).await?,
        Resolution::Committed(first)
    );
    Ok(())
}

pub(crate) async fn resolve_says_committed_with_the_result(t: Trial) -> CaseResult {
    let stored = t.log.append(&t.ctx, commit(Version::NONE)).await?;
    t.append(&stream("a"), v(2), events(1)).await?;
    assert_eq!(
        t.log.resolve(&t.ctx, ID).await?,
        Resolution::Committed(stored)
    );
    Ok(())
}

pub(crate) async fn resolve_says_not_committed_for_what_never_was(t: Trial) -> CaseResult {
    assert_eq!(t.log.resolve(&t.ctx, ID).await?, Resolution::NotCommitted);
    t.append(&stream("a"), v(0), events(1)).await?;
    assert_eq!(t.log.resolve(&t.ctx, ID).await?, Resolution::NotCommitted);
    Ok(())
}

pub(crate) async fn a_commit_that_lost_is_not_committed_and_can_be_tried_again(
    t: Trial,
) -> CaseResult {
    let a = stream("a");
    t.append(&a, v(0), events(1)).await?;
    let lost = t.log.append(&t.ctx, commit(v(0))).await;
    assert!(
        matches!(&lost, Err(error) if error.is_conflict()),
        "{lost:?}"
    );
    assert_eq!(t.log.resolve(&t.ctx, ID).await?, Resolution::NotCommitted);
    let stored = t.log.append(&t.ctx, commit(v(1))).await?;
    assert_eq!(stored.head(&a).map(|head| head.version), Some(v(3)));
    assert_eq!(
        t.log.resolve(&t.ctx, ID).await?,
        Resolution::Committed(stored)
    );
    Ok(())
}
