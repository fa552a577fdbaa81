//! Reading events at positions: what an index leads to.

use bytes::Bytes;
use cim_store::{
    Append, Context, EventLog, EventLogError, ExpectedVersion, Fault, LimitName, Limits, NewEvent,
    Position, RecordedEvent,
};

use futures_util::FutureExt;

use crate::event_log::atomicity::{while_commits_are_written, whole_commits};
use crate::event_log::truncation::{CUT, can_truncate, five_commits, give_up};
use crate::suite::{CaseFailure, CaseResult};
use crate::trial::{Trial, event, events, refused, stream, too_large, v};

pub(crate) const CONTRACT: &str = "5. No short reads: positions";

/// As many as one call may name.
const MOST: usize = Limits::CONTRACT.read_positions;

fn positions(events: &[RecordedEvent]) -> Vec<Position> {
    events.iter().map(|event| event.position).collect()
}

/// Fails unless the error is that no event stands at this position.
#[track_caller]
fn is_not_found(result: Result<Vec<RecordedEvent>, EventLogError>, position: Position) {
    if let Err(error) = &result {
        let (named, text) = ("position", position.to_string());
        let names_it = error.context().any(|part| part == (named, text.as_str()));
        assert!(names_it, "{position} is not named: {error:?}");
    }
    refused(result, Fault::NotFound);
}

/// So many commits: the first of one event, the second of two, then of three, and so on again, with
/// a check in between. Gives all events.
async fn commits(t: &Trial, count: u64) -> Result<Vec<RecordedEvent>, CaseFailure> {
    for n in 0..count {
        let mut append =
            Append::new().write(stream("a"), ExpectedVersion::Any, vec![event(3 * n + 1)]);
        if n % 3 > 0 {
            append = append.write(stream("b"), ExpectedVersion::Any, vec![event(3 * n + 2)]);
        }
        if n % 3 > 1 {
            append = append.write(stream("c"), ExpectedVersion::Any, vec![event(3 * n + 3)]);
        } else {
            append = append.check(stream("nobody"), v(0));
        }
        t.log.append(&t.ctx, append).await?;
    }
    t.all_events().await
}

pub(crate) async fn events_come_in_the_order_of_the_positions_asked_for(t: Trial) -> CaseResult {
    let mut all = commits(&t, 12).await?;
    assert_eq!(t.log.read_at(&t.ctx, &positions(&all)).await?, all);
    all.reverse();
    assert_eq!(t.log.read_at(&t.ctx, &positions(&all)).await?, all);
    // Every fifth, around and around: 24 and 5 have no common divisor.
    let mixed: Vec<_> = (0..all.len())
        .map(|n| all[n * 5 % all.len()].clone())
        .collect();
    assert_eq!(all.len(), 24);
    assert_eq!(t.log.read_at(&t.ctx, &positions(&mixed)).await?, mixed);
    Ok(())
}

pub(crate) async fn a_position_asked_for_twice_is_delivered_twice(t: Trial) -> CaseResult {
    let all = commits(&t, 3).await?;
    let twice: Vec<_> = [4, 0, 4, 4, 1, 0].map(|n| all[n].clone()).into();
    assert_eq!(t.log.read_at(&t.ctx, &positions(&twice)).await?, twice);
    Ok(())
}

pub(crate) async fn where_no_positions_are_asked_for_there_are_no_events(t: Trial) -> CaseResult {
    assert_eq!(t.log.read_at(&t.ctx, &[]).await?, []);
    commits(&t, 2).await?;
    assert_eq!(t.log.read_at(&t.ctx, &[]).await?, []);
    Ok(())
}

pub(crate) async fn a_position_where_no_event_stands_is_not_found(t: Trial) -> CaseResult {
    let nowhere = [
        Position::NONE,
        Position::new(1),
        Position::new(77),
        Position::MAX,
    ];
    for position in nowhere {
        is_not_found(t.log.read_at(&t.ctx, &[position]).await, position);
    }
    let all = commits(&t, 4).await?;
    let last = all[all.len() - 1].position;
    let beyond = Position::new(last.get() + 1_000);
    for position in [Position::NONE, last.next(), beyond, Position::MAX] {
        is_not_found(t.log.read_at(&t.ctx, &[position]).await, position);
        let among = [all[0].position, position, last];
        is_not_found(t.log.read_at(&t.ctx, &among).await, position);
    }
    Ok(())
}

pub(crate) async fn every_position_has_its_event_or_none(t: Trial) -> CaseResult {
    let all = commits(&t, 20).await?;
    let end = all[all.len() - 1].position.get() + 3;
    let mut left = all.iter().peekable();
    for position in (0..=end).map(Position::new) {
        let read = t.log.read_at(&t.ctx, &[position]).await;
        match left.next_if(|event| event.position == position) {
            Some(event) => assert_eq!(read?, std::slice::from_ref(event)),
            None => is_not_found(read, position),
        }
    }
    assert_eq!(left.next(), None);
    Ok(())
}

pub(crate) async fn a_thousand_positions_are_read_at_once(t: Trial) -> CaseResult {
    for n in 0..13 {
        let append = Append::new().write(stream(&format!("{n}")), v(0), events(100));
        t.log.append(&t.ctx, append).await?;
    }
    let all = t.all_events().await?;
    // 1,300 and 777 have no common divisor.
    let wanted: Vec<_> = (0..MOST)
        .map(|n| all[n * 777 % all.len()].clone())
        .collect();
    assert_eq!(t.log.read_at(&t.ctx, &positions(&wanted)).await?, wanted);
    Ok(())
}

pub(crate) async fn one_position_more_than_a_thousand_is_too_large(t: Trial) -> CaseResult {
    let all = commits(&t, 1).await?;
    let many = vec![all[0].position; MOST + 1];
    let refused = t.log.read_at(&t.ctx, &many).await;
    too_large(refused, LimitName::ReadPositions);
    assert_eq!(t.log.read_at(&t.ctx, &many[1..]).await?.len(), MOST);
    Ok(())
}

pub(crate) async fn the_largest_events_are_read_at_their_positions(t: Trial) -> CaseResult {
    for n in 0..24_u8 {
        let mut largest = NewEvent::json("happened", &())?;
        largest.content_type = cim_store::ContentType::BYTES;
        largest.payload = Bytes::from(vec![n; Limits::CONTRACT.payload_bytes]);
        let small = event(u64::from(n));
        t.append(&stream("a"), ExpectedVersion::Any, vec![largest, small])
            .await?;
    }
    let mut all = t.all_events().await?;
    all.reverse();
    let read = t.log.read_at(&t.ctx, &positions(&all)).await?;
    assert!(read == all, "the events came back changed");
    assert!(read.iter().all(RecordedEvent::has_its_cid));
    Ok(())
}

/// Reads events at the positions that appends were acknowledged with.
async fn read_what_was_acknowledged(
    writer: std::sync::Arc<dyn EventLog>,
    reader: std::sync::Arc<dyn EventLog>,
    name: String,
) -> CaseResult {
    let ctx = Context::new();
    for n in 0..50 {
        let id = stream(&name);
        let append = Append::new().write(id.clone(), v(n), vec![event(n)]);
        let stored = writer.append(&ctx, append).await?;
        let read = reader.read_at(&ctx, &[stored.position]).await?;
        assert_eq!(read.len(), 1);
        assert_eq!((&read[0].stream, read[0].version), (&id, v(n + 1)));
        assert_eq!(read[0].position, stored.position);
    }
    Ok(())
}

pub(crate) async fn what_was_acknowledged_is_read_at_its_position(t: Trial) -> CaseResult {
    let clients: Vec<_> = (0..4)
        .map(|n| {
            let (log, name) = (t.log.clone(), format!("of-{n}"));
            tokio::spawn(read_what_was_acknowledged(log.clone(), log, name))
        })
        .collect();
    for client in clients {
        client.await??;
    }
    Ok(())
}

pub(crate) async fn readers_at_positions_never_see_a_part_of_a_commit(t: Trial) -> CaseResult {
    // Whoever sees one event of a commit of four sees the others beside it.
    while_commits_are_written(&t, |log, ctx| async move {
        let head = log.head(&ctx, &stream("b")).await?;
        let last = head.map_or(0, |head| head.position.get());
        for position in last.saturating_sub(4)..last + 8 {
            let found = log.read_at(&ctx, &[Position::new(position)]).await;
            let found = match found {
                Err(error) if error.fault() == Some(Fault::NotFound) => continue,
                found => found?,
            };
            let first = position - u64::from(found[0].commit_index);
            let commit: Vec<_> = (first..first + 4).map(Position::new).collect();
            whole_commits(&log.read_at(&ctx, &commit).await?)?;
        }
        Ok(())
    })
    .await
}

pub(crate) async fn events_are_read_at_their_positions_after_reopening(t: Trial) -> CaseResult {
    let before = commits(&t, 9).await?;
    let Some(t) = t.reopen().await? else {
        return Ok(());
    };
    let read = t.log.read_at(&t.ctx, &positions(&before)).await?;
    assert_eq!(read, before);
    let later = commits(&t, 3).await?;
    let read = t.log.read_at(&t.ctx, &positions(&later)).await?;
    assert_eq!(read, later);
    Ok(())
}

pub(crate) async fn a_read_at_positions_that_is_dropped_disturbs_nobody(t: Trial) -> CaseResult {
    let all = commits(&t, 12).await?;
    let wanted = positions(&all);
    for _ in 0..20 {
        // Begun, and dropped where it waits first.
        let begun = t.log.read_at(&t.ctx, &wanted).now_or_never();
        drop(begun);
        assert_eq!(t.log.read_at(&t.ctx, &wanted).await?, all);
    }
    commits(&t, 1).await?;
    Ok(())
}

pub(crate) async fn positions_before_the_cut_are_not_found(t: Trial) -> CaseResult {
    if !can_truncate(&t).await? {
        return Ok(());
    }
    let all = five_commits(&t).await?;
    give_up(&t, &all[..CUT]).await?;
    let (gone, left) = all.split_at(CUT);
    for event in gone {
        let position = event.position;
        let read = t.log.read_at(&t.ctx, &[position]).await;
        let advised = read.as_ref().err().and_then(EventLogError::hint);
        assert!(
            advised.is_some_and(|hint| hint.contains("archive")),
            "{read:?} does not say where they are"
        );
        is_not_found(read, position);
        let among = [left[0].position, position];
        is_not_found(t.log.read_at(&t.ctx, &among).await, position);
    }
    assert_eq!(t.log.read_at(&t.ctx, &positions(left)).await?, left);
    is_not_found(
        t.log.read_at(&t.ctx, &[Position::NONE]).await,
        Position::NONE,
    );
    let Some(t) = t.reopen().await? else {
        return Ok(());
    };
    assert_eq!(t.log.read_at(&t.ctx, &positions(left)).await?, left);
    let last = gone[CUT - 1].position;
    is_not_found(t.log.read_at(&t.ctx, &[last]).await, last);
    Ok(())
}
