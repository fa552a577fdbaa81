//! After the store was closed.

use cim_store::{
    Append, ArchiveDigest, EventFilter, Fault, LogQuery, Position, StreamPattern, StreamRange,
    Truncation,
};

use crate::event_log::in_order::{one, plain};
use crate::suite::CaseResult;
use crate::trial::{Trial, collect, event, events, numbers, refused, stream, v};

pub(crate) const CONTRACT: &str = "3. Closing";

pub(crate) async fn every_operation_of_a_closed_log_is_refused(t: Trial) -> CaseResult {
    let a = stream("a");
    let stored = t.append(&a, v(0), events(3)).await?;
    t.store.close().await?;
    let fault = Fault::Closed;
    refused(t.append(&a, v(3), events(1)).await, fault);
    refused(t.log.append(&t.ctx, Append::new()).await, fault);
    let commits = vec![plain(one(1, &a, v(3))), plain(one(2, &a, v(4)))];
    let done = t.log.append_in_order(&t.ctx, commits).await;
    assert_eq!(done.appended, []);
    refused(done.error.map_or(Ok(()), Err), fault);
    let examination = t.log.examine(&t.ctx, Position::NONE).await;
    refused(examination.map(|_| ()), fault);
    let read = t.log.read_stream(&t.ctx, &a, StreamRange::all()).await;
    refused(collect(read).await, fault);
    let read = t.log.read_log(&t.ctx, LogQuery::all()).await;
    refused(collect(read).await, fault);
    refused(t.log.read_at(&t.ctx, &[stored.position]).await, fault);
    refused(t.log.read_at(&t.ctx, &[]).await, fault);
    let subscription = t.log.subscribe(&t.ctx, EventFilter::all(), Position::NONE);
    refused(subscription.await.map(|_| ()), fault);
    refused(t.log.head(&t.ctx, &a).await, fault);
    let streams = t.log.streams(&t.ctx, &StreamPattern::all()).await;
    refused(streams.map(|_| ()), fault);
    refused(t.log.resolve(&t.ctx, stored.commit_id).await, fault);
    refused(t.log.stats(&t.ctx).await, fault);
    if t.log.capabilities().truncate {
        let truncation = Truncation {
            through: stored.position,
            archived: ArchiveDigest::from_bytes([0; 32]),
        };
        refused(t.log.truncate(&t.ctx, truncation).await, fault);
    }
    // The same log, taken again, is closed too.
    refused(t.store.log().head(&t.ctx, &a).await, fault);
    Ok(())
}

pub(crate) async fn closing_twice_is_no_error(t: Trial) -> CaseResult {
    t.append(&stream("a"), v(0), events(3)).await?;
    t.store.close().await?;
    t.store.close().await?;
    Ok(())
}

pub(crate) async fn what_was_acknowledged_before_closing_is_there_after_it(t: Trial) -> CaseResult {
    // Writers go on until they are told that the store is closed.
    let mut running = Vec::new();
    for writer in 0..4_u64 {
        let (log, ctx) = (t.log.clone(), t.ctx.clone());
        running.push(tokio::spawn(async move {
            let id = stream(&format!("own-{writer}"));
            for n in 0.. {
                let append = Append::new().write(id.clone(), v(n), vec![event(n)]);
                match log.append(&ctx, append).await {
                    Ok(_) => {}
                    Err(error) if error.fault() == Some(Fault::Closed) => return Ok((n, false)),
                    // Under way while it closed: stored or not.
                    Err(error) if error.unknown_commit().is_some() => return Ok((n, true)),
                    Err(error) => return Err(error),
                }
                tokio::task::yield_now().await;
            }
            Ok((0, false))
        }));
    }
    while t.log.stats(&t.ctx).await?.events < 40 {
        tokio::task::yield_now().await;
    }
    t.store.close().await?;
    let mut acknowledged = Vec::new();
    for task in running {
        acknowledged.push(task.await??);
    }
    let Some(t) = t.reopen().await? else {
        return Ok(());
    };
    for (writer, (count, unknown)) in acknowledged.into_iter().enumerate() {
        let found = numbers(&t.events(&stream(&format!("own-{writer}"))).await?)?;
        let possible = count..=count + u64::from(unknown);
        assert!(possible.contains(&(found.len() as u64)), "{}", found.len());
        assert_eq!(found, (0..found.len() as u64).collect::<Vec<_>>());
    }
    Ok(())
}
