//! Giving up old events that an archive holds. Nothing to do where the adapter can't.

use cim_store::{
    Append, ArchiveDigest, ArchiveDigester, CommitId, EventFilter, EventLogError, ExpectedVersion,
    Fault, LogQuery, Position, RecordedEvent, Resolution, StreamPattern, StreamRange, Truncation,
};
use futures_util::TryStreamExt;

use crate::suite::{CaseFailure, CaseResult};
use crate::trial::{Trial, collect, conflicts, event, events, numbers, refused, stream, take, v};

pub(crate) const CONTRACT: &str = "5. No short reads: truncation";

fn digest(events: &[RecordedEvent]) -> ArchiveDigest {
    let mut digester = ArchiveDigester::new();
    events.iter().for_each(|event| digester.push(event));
    digester.finish()
}

/// Gives up everything up to and with `events`, whose digest is right.
pub(super) async fn give_up(t: &Trial, events: &[RecordedEvent]) -> Result<(), EventLogError> {
    let truncation = Truncation {
        through: events.last().map_or(Position::NONE, |e| e.position),
        archived: digest(events),
    };
    t.log.truncate(&t.ctx, truncation).await
}

/// Five commits, each of two events for `a` and one for `b`; `old` has one event in the first
/// commit only. Gives all events: four of the first commit, three of each other.
pub(super) async fn five_commits(t: &Trial) -> Result<Vec<RecordedEvent>, CaseFailure> {
    for n in 0..5 {
        let mut append = Append::new()
            .with_commit_id(CommitId::from_bytes([n; 16]))
            .write(stream("a"), ExpectedVersion::Any, events(2))
            .write(
                stream("b"),
                ExpectedVersion::Any,
                vec![event(u64::from(n) + 1)],
            );
        if n == 0 {
            append = append.write(stream("old"), ExpectedVersion::Any, vec![event(1)]);
        }
        t.log.append(&t.ctx, append).await?;
    }
    t.all_events().await
}

/// How many events the first three commits have.
pub(super) const CUT: usize = 10;

/// Whether the adapter can truncate; where it can't, checks that it says so.
pub(super) async fn can_truncate(t: &Trial) -> Result<bool, CaseFailure> {
    if t.log.capabilities().truncate {
        return Ok(true);
    }
    let all = five_commits(t).await?;
    refused(give_up(t, &all[..CUT]).await, Fault::Unsupported);
    Ok(false)
}

pub(crate) async fn truncation_gives_up_what_the_archive_holds(t: Trial) -> CaseResult {
    if !can_truncate(&t).await? {
        return Ok(());
    }
    let all = five_commits(&t).await?;
    give_up(&t, &all[..CUT]).await?;
    let after = LogQuery::all().after(all[CUT - 1].position);
    let rest = collect(t.log.read_log(&t.ctx, after).await).await?;
    assert_eq!(rest, all[CUT..]);
    let stats = t.log.stats(&t.ctx).await?;
    assert_eq!(stats.events, 6);
    assert_eq!(stats.streams, 3);
    assert_eq!(stats.first, all[CUT].position);
    assert_eq!(stats.last, all[15].position);
    assert_eq!(stats.truncated_through, all[CUT - 1].position);
    Ok(())
}

pub(crate) async fn truncation_with_the_digest_of_other_events_is_invalid(t: Trial) -> CaseResult {
    if !can_truncate(&t).await? {
        return Ok(());
    }
    let all = five_commits(&t).await?;
    let through = all[CUT - 1].position;
    let wrong = [
        digest(&all[1..CUT]),
        digest(&all[..CUT - 1]),
        digest(&all[..CUT + 3]),
        digest(&[]),
        ArchiveDigest::from_bytes([0; 32]),
    ];
    for archived in wrong {
        let truncation = Truncation { through, archived };
        refused(t.log.truncate(&t.ctx, truncation).await, Fault::Invalid);
    }
    assert_eq!(t.all_events().await?, all);
    Ok(())
}

pub(crate) async fn truncation_in_the_middle_of_a_commit_is_invalid(t: Trial) -> CaseResult {
    if !can_truncate(&t).await? {
        return Ok(());
    }
    let all = five_commits(&t).await?;
    for cut in [1, 2, 3, CUT - 2, CUT - 1] {
        refused(give_up(&t, &all[..cut]).await, Fault::Invalid);
    }
    assert_eq!(t.all_events().await?, all);
    Ok(())
}

pub(crate) async fn truncation_through_a_position_that_is_not_there_is_not_found(
    t: Trial,
) -> CaseResult {
    if !can_truncate(&t).await? {
        return Ok(());
    }
    let all = five_commits(&t).await?;
    let truncation = Truncation {
        through: Position::new(all[15].position.get() + 1_000),
        archived: digest(&all),
    };
    refused(t.log.truncate(&t.ctx, truncation).await, Fault::NotFound);
    assert_eq!(t.all_events().await?, all);
    Ok(())
}

pub(crate) async fn reads_that_begin_before_the_cut_are_refused(t: Trial) -> CaseResult {
    if !can_truncate(&t).await? {
        return Ok(());
    }
    let all = five_commits(&t).await?;
    give_up(&t, &all[..CUT]).await?;
    let before = all[CUT - 2].position;
    for after in [Position::NONE, all[0].position, before] {
        let query = LogQuery::all().after(after);
        refused(
            collect(t.log.read_log(&t.ctx, query).await).await,
            Fault::NotFound,
        );
        let subscription = t.log.subscribe(&t.ctx, EventFilter::all(), after).await;
        let refusal = match subscription {
            Ok(mut subscription) => subscription.try_next().await.map(|_| ()),
            Err(error) => Err(error),
        };
        refused(refusal, Fault::NotFound);
    }
    // `a` has versions 1 to 10, of which 1 to 6 went.
    let a = stream("a");
    for range in [
        StreamRange::all(),
        StreamRange::all().backwards(),
        StreamRange::from(v(6)),
        StreamRange::from(v(2)).to(v(3)),
    ] {
        let read = t.log.read_stream(&t.ctx, &a, range).await;
        refused(collect(read).await, Fault::NotFound);
    }
    let old = stream("old");
    let gone = t.log.read_stream(&t.ctx, &old, StreamRange::all()).await;
    refused(collect(gone).await, Fault::NotFound);
    Ok(())
}

pub(crate) async fn reads_after_the_cut_go_on(t: Trial) -> CaseResult {
    if !can_truncate(&t).await? {
        return Ok(());
    }
    let all = five_commits(&t).await?;
    give_up(&t, &all[..CUT]).await?;
    let a = stream("a");
    let read = async |range| -> Result<Vec<u64>, CaseFailure> {
        let read = collect(t.log.read_stream(&t.ctx, &a, range).await).await?;
        Ok(read.iter().map(|e| e.version.get()).collect())
    };
    assert_eq!(read(StreamRange::from(v(7))).await?, [7, 8, 9, 10]);
    assert_eq!(read(StreamRange::from(v(8)).to(v(9))).await?, [8, 9]);
    assert_eq!(read(StreamRange::all().backwards().limit(1)).await?, [10]);
    assert_eq!(read(StreamRange::from(v(11))).await?, [0; 0]);
    let mut subscription = t
        .log
        .subscribe(&t.ctx, EventFilter::all(), all[CUT - 1].position)
        .await?;
    t.append(&stream("b"), v(5), vec![event(6)]).await?;
    let seen = take(&mut subscription, 7).await?;
    assert_eq!(seen[..6], all[CUT..]);
    assert_eq!(numbers(&seen[6..])?, [6]);
    Ok(())
}

/// What must hold after the first three of the five commits went.
async fn all_is_known(t: &Trial, before: &Known) -> CaseResult {
    assert_eq!(t.version(&stream("a")).await?, 10);
    assert_eq!(t.version(&stream("old")).await?, 1);
    assert_eq!(known(t).await?, *before);
    conflicts(
        t.append(&stream("old"), v(0), events(1)).await,
        &stream("old"),
        v(0),
        1,
    );
    for n in 0..5_u8 {
        let mut again = Append::new()
            .with_commit_id(CommitId::from_bytes([n; 16]))
            .write(stream("a"), v(0), events(2))
            .write(stream("b"), v(0), vec![event(u64::from(n) + 1)]);
        if n == 0 {
            again = again.write(stream("old"), v(0), events(1));
        }
        let repeated = t.log.append(&t.ctx, again).await?;
        assert_eq!(
            Resolution::Committed(repeated),
            before.commits[usize::from(n)]
        );
    }
    Ok(())
}

/// Heads and commits.
#[derive(Debug, PartialEq)]
struct Known {
    heads: Vec<cim_store::Head>,
    commits: Vec<Resolution>,
}

async fn known(t: &Trial) -> Result<Known, CaseFailure> {
    let heads = t.log.streams(&t.ctx, &StreamPattern::all()).await?;
    let mut heads: Vec<_> = heads.try_collect().await?;
    heads.sort_by(|a: &cim_store::Head, b| a.stream.cmp(&b.stream));
    let mut commits = Vec::new();
    for n in 0..5 {
        let id = CommitId::from_bytes([n; 16]);
        commits.push(t.log.resolve(&t.ctx, id).await?);
    }
    Ok(Known { heads, commits })
}

pub(crate) async fn heads_and_commits_stay_known_after_truncation(t: Trial) -> CaseResult {
    if !can_truncate(&t).await? {
        return Ok(());
    }
    let all = five_commits(&t).await?;
    let before = known(&t).await?;
    give_up(&t, &all[..CUT]).await?;
    all_is_known(&t, &before).await
}

pub(crate) async fn heads_and_commits_stay_known_after_truncation_and_reopening(
    t: Trial,
) -> CaseResult {
    if !can_truncate(&t).await? {
        return Ok(());
    }
    let all = five_commits(&t).await?;
    let before = known(&t).await?;
    give_up(&t, &all[..CUT]).await?;
    let stats = t.log.stats(&t.ctx).await?;
    let Some(t) = t.reopen().await? else {
        return Ok(());
    };
    let reopened = t.log.stats(&t.ctx).await?;
    assert_eq!(reopened.truncated_through, stats.truncated_through);
    assert_eq!(
        (reopened.events, reopened.first, reopened.last),
        (stats.events, stats.first, stats.last)
    );
    all_is_known(&t, &before).await?;
    let whole = collect(t.log.read_log(&t.ctx, LogQuery::all()).await).await;
    refused(whole, Fault::NotFound);
    Ok(())
}

pub(crate) async fn a_stream_that_lost_all_its_events_goes_on(t: Trial) -> CaseResult {
    if !can_truncate(&t).await? {
        return Ok(());
    }
    let all = five_commits(&t).await?;
    give_up(&t, &all).await?;
    let b = stream("b");
    let last = all.iter().rfind(|e| e.stream == b).ok_or("no event of b")?;
    assert_eq!(t.log.stats(&t.ctx).await?.events, 0);
    let stored = t.append(&b, v(5), vec![event(6)]).await?;
    assert!(stored.position > all[15].position);
    let read = t.log.read_stream(&t.ctx, &b, StreamRange::from(v(6))).await;
    let read = collect(read).await?;
    assert_eq!(read[0].version, v(6));
    assert_eq!(read[0].previous, Some(last.cid));
    Ok(())
}

pub(crate) async fn truncation_can_go_on_later(t: Trial) -> CaseResult {
    if !can_truncate(&t).await? {
        return Ok(());
    }
    let all = five_commits(&t).await?;
    give_up(&t, &all[..4]).await?;
    // The second digest is over what could be read by then.
    let second = Truncation {
        through: all[CUT - 1].position,
        archived: digest(&all[..CUT]),
    };
    refused(t.log.truncate(&t.ctx, second).await, Fault::Invalid);
    give_up(&t, &all[4..CUT]).await?;
    let after = LogQuery::all().after(all[CUT - 1].position);
    let rest = collect(t.log.read_log(&t.ctx, after).await).await?;
    assert_eq!(rest, all[CUT..]);
    Ok(())
}
