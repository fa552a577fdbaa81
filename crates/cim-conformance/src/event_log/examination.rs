//! What stands in the log, handed out as it stands there: for those who check it. These cases look
//! at sound stores; what an adapter makes of damage is for tests of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cim_ipld::{ChainVerifier, EventBlock};
use cim_store::{
    ArchiveDigester, ContentType, EventCid, EventLog, EventType, Examined, ExaminedEvent,
    ExpectedVersion, Limits, NewEvent, OrderedAppend, Position, Truncation,
};
use futures_util::StreamExt;

use crate::event_log::in_order::{one, plain};
use crate::suite::{CaseFailure, CaseResult};
use crate::trial::{Trial, event, events, numbers, stream, v};

pub(crate) const CONTRACT: &str = "5. What is stored can be examined";

/// Everything that the log holds after a position; damage fails the case.
async fn examined(
    log: &dyn EventLog,
    ctx: &cim_store::Context,
    after: Position,
) -> Result<Vec<ExaminedEvent>, CaseFailure> {
    let mut examination = log.examine(ctx, after).await?;
    let mut found = Vec::new();
    while let Some(one) = examination.next().await {
        match one? {
            Examined::Event(event) => found.push(event),
            Examined::Damage(damage) => return Err(format!("damage: {damage:?}").into()),
        }
    }
    Ok(found)
}

/// That every block hashes to the CID, and is of the stream and version, that it is filed under,
/// and that every stream is a chain.
fn verify(events: &[ExaminedEvent]) -> CaseResult {
    let mut chains = BTreeMap::new();
    for event in events {
        assert_eq!(EventCid::of(&event.block), event.cid);
        let block = EventBlock::decode(&event.block)?;
        assert_eq!(block.stream, event.stream.as_str());
        assert_eq!(block.version, event.version.get());
        let stream = event.stream.as_str();
        let chain = chains
            .entry(stream)
            .or_insert_with(|| ChainVerifier::start(stream));
        chain.push(&event.block, &event.cid)?;
    }
    assert!(events.windows(2).all(|w| w[0].position < w[1].position));
    Ok(())
}

/// So many commits of one to three events to some streams.
async fn fill(t: &Trial, commits: u64) -> CaseResult {
    for n in 0..commits {
        let to = stream(&format!("s{}", n % 5));
        t.append(&to, ExpectedVersion::Any, events(n % 3 + 1))
            .await?;
    }
    Ok(())
}

pub(crate) async fn everything_that_is_stored_is_examined(t: Trial) -> CaseResult {
    fill(&t, 40).await?;
    let found = examined(&*t.log, &t.ctx, Position::NONE).await?;
    let stored: Vec<_> = t
        .all_events()
        .await?
        .iter()
        .map(ExaminedEvent::from)
        .collect();
    assert_eq!(found.len(), 79);
    assert_eq!(found, stored);
    verify(&found)
}

pub(crate) async fn an_empty_log_has_nothing_to_examine(t: Trial) -> CaseResult {
    assert_eq!(examined(&*t.log, &t.ctx, Position::NONE).await?, []);
    let after = Position::new(5);
    assert_eq!(examined(&*t.log, &t.ctx, after).await?, []);
    Ok(())
}

pub(crate) async fn an_examination_begins_after_its_position(t: Trial) -> CaseResult {
    fill(&t, 20).await?;
    let all = t.all_events().await?;
    for from in [0, 1, all.len() / 2, all.len() - 1, all.len()] {
        let after = from
            .checked_sub(1)
            .map_or(Position::NONE, |last| all[last].position);
        let found = examined(&*t.log, &t.ctx, after).await?;
        let left: Vec<_> = all[from..].iter().map(ExaminedEvent::from).collect();
        assert_eq!(found, left);
    }
    let last = all.last().map_or(Position::NONE, |last| last.position);
    let beyond = Position::new(last.get() + 100);
    assert_eq!(examined(&*t.log, &t.ctx, beyond).await?, []);
    Ok(())
}

pub(crate) async fn an_examination_shows_what_was_acknowledged_before_it(t: Trial) -> CaseResult {
    let mut after = Position::NONE;
    for n in 0..30 {
        let stored = t
            .append(&stream("a"), ExpectedVersion::Any, vec![event(n)])
            .await?;
        let found = examined(&*t.log, &t.ctx, after).await?;
        let versions: Vec<_> = found.iter().map(|event| event.version.get()).collect();
        assert_eq!(versions, [n + 1]);
        after = stored.position;
    }
    Ok(())
}

pub(crate) async fn an_examination_is_as_of_its_begin(t: Trial) -> CaseResult {
    t.append(&stream("a"), v(0), events(300)).await?;
    let mut examination = t.log.examine(&t.ctx, Position::NONE).await?;
    for _ in 0..3 {
        examination.next().await.ok_or("it ended early")??;
    }
    t.append(&stream("a"), v(300), events(50)).await?;
    t.append(&stream("b"), v(0), events(50)).await?;
    let mut rest = 0;
    while let Some(one) = examination.next().await {
        assert!(matches!(one?, Examined::Event(_)));
        rest += 1;
    }
    assert_eq!(rest, 297);
    Ok(())
}

pub(crate) async fn a_long_log_is_examined_whole(t: Trial) -> CaseResult {
    let commits = (0..2_000).map(|n| plain(one(n, &stream(&format!("s{}", n % 9)), v(n / 9))));
    let commits: Vec<OrderedAppend> = commits.collect();
    let done = t.log.append_in_order(&t.ctx, commits).await;
    assert!(done.error.is_none(), "{:?}", done.error);
    let found = examined(&*t.log, &t.ctx, Position::NONE).await?;
    assert_eq!(found.len(), 2_000);
    verify(&found)
}

pub(crate) async fn the_largest_event_is_examined(t: Trial) -> CaseResult {
    let largest = vec![0x5A; Limits::CONTRACT.payload_bytes];
    let largest = NewEvent::new(EventType::new("blob")?, ContentType::BYTES, largest);
    t.append(&stream("a"), v(0), vec![event(1), largest, event(2)])
        .await?;
    let found = examined(&*t.log, &t.ctx, Position::NONE).await?;
    assert_eq!(found.len(), 3);
    assert!(found[1].block.len() > Limits::CONTRACT.payload_bytes);
    verify(&found)
}

pub(crate) async fn everything_is_examined_after_reopening(t: Trial) -> CaseResult {
    fill(&t, 30).await?;
    let before = examined(&*t.log, &t.ctx, Position::NONE).await?;
    let Some(t) = t.reopen().await? else {
        return Ok(());
    };
    assert_eq!(examined(&*t.log, &t.ctx, Position::NONE).await?, before);
    t.append(&stream("s0"), ExpectedVersion::Any, events(2))
        .await?;
    let found = examined(&*t.log, &t.ctx, Position::NONE).await?;
    assert_eq!(found.len(), before.len() + 2);
    verify(&found)
}

pub(crate) async fn a_log_is_examined_while_it_is_written(t: Trial) -> CaseResult {
    let done = Arc::new(AtomicBool::new(false));
    let (log, ctx, until) = (t.log.clone(), t.ctx.clone(), done.clone());
    let examining = tokio::spawn(async move {
        let mut last = 0;
        loop {
            let over = until.load(Ordering::Acquire);
            let found = examined(&*log, &ctx, Position::NONE).await?;
            verify(&found)?;
            assert!(found.len() >= last, "{} after {last}", found.len());
            last = found.len();
            if over {
                return Ok::<_, CaseFailure>(last);
            }
        }
    });
    for n in 0..100 {
        t.append(&stream("a"), v(2 * n), events(2)).await?;
        let append = cim_store::Append::new()
            .write(stream("b"), v(n), vec![event(n)])
            .write(stream("c"), v(n), vec![event(n)]);
        t.log.append(&t.ctx, append).await?;
    }
    done.store(true, Ordering::Release);
    assert_eq!(examining.await??, 400);
    Ok(())
}

pub(crate) async fn an_examination_that_is_dropped_disturbs_nobody(t: Trial) -> CaseResult {
    fill(&t, 30).await?;
    for taken in 0..5 {
        let mut examination = t.log.examine(&t.ctx, Position::NONE).await?;
        for _ in 0..taken {
            examination.next().await.ok_or("it ended early")??;
        }
        drop(examination);
        let n = t.version(&stream("after")).await?;
        t.append(&stream("after"), v(n), vec![event(n)]).await?;
    }
    let after = t.events(&stream("after")).await?;
    assert_eq!(numbers(&after)?, (0..5).collect::<Vec<u64>>());
    Ok(())
}

pub(crate) async fn what_is_truncated_is_passed_over_by_an_examination(t: Trial) -> CaseResult {
    if !t.log.capabilities().truncate {
        return Ok(());
    }
    fill(&t, 30).await?;
    let all = t.all_events().await?;
    let cut = 39; // of 59; the twentieth commit ends there
    let mut digester = ArchiveDigester::new();
    all[..cut].iter().for_each(|event| digester.push(event));
    let truncation = Truncation {
        through: all[cut - 1].position,
        archived: digester.finish(),
    };
    t.log.truncate(&t.ctx, truncation).await?;
    let left: Vec<_> = all[cut..].iter().map(ExaminedEvent::from).collect();
    for after in [Position::NONE, all[3].position, all[cut - 1].position] {
        assert_eq!(examined(&*t.log, &t.ctx, after).await?, left);
    }
    let found = examined(&*t.log, &t.ctx, all[cut].position).await?;
    assert_eq!(found, left[1..]);
    Ok(())
}
