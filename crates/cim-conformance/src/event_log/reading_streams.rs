//! Reading one stream: ranges, directions, limits, and that a read is as of its begin.

use cim_store::{ExpectedVersion, StreamRange, Version};
use futures_util::{StreamExt, TryStreamExt};

use crate::suite::{CaseFailure, CaseResult};
use crate::trial::{Trial, collect, event, events, numbers, stream, v};

pub(crate) const CONTRACT: &str = "5. No short reads: streams";

/// The numbers of `a`'s events in this range.
async fn read(t: &Trial, range: StreamRange) -> Result<Vec<u64>, CaseFailure> {
    let read = t.log.read_stream(&t.ctx, &stream("a"), range).await;
    numbers(&collect(read).await?)
}

/// `a` with events 1 to 10, stored in commits of different sizes among others.
async fn ten_events(t: &Trial) -> CaseResult {
    let mut next = 1;
    for size in [1_u64, 4, 2, 3] {
        let mine = (next..next + size).map(event).collect();
        t.append(&stream("a"), v(next - 1), mine).await?;
        t.append(&stream("b"), ExpectedVersion::Any, events(2))
            .await?;
        next += size;
    }
    Ok(())
}

pub(crate) async fn a_stream_that_does_not_exist_has_no_events(t: Trial) -> CaseResult {
    t.append(&stream("b"), v(0), events(1)).await?;
    assert_eq!(read(&t, StreamRange::all()).await?, [0; 0]);
    assert_eq!(read(&t, StreamRange::all().backwards()).await?, [0; 0]);
    assert_eq!(read(&t, StreamRange::from(v(5))).await?, [0; 0]);
    Ok(())
}

pub(crate) async fn a_range_has_both_its_ends(t: Trial) -> CaseResult {
    ten_events(&t).await?;
    let range = StreamRange::from;
    assert_eq!(read(&t, range(v(4)).to(v(7))).await?, [4, 5, 6, 7]);
    assert_eq!(read(&t, range(v(4)).to(v(4))).await?, [4]);
    assert_eq!(read(&t, range(v(8))).await?, [8, 9, 10]);
    assert_eq!(read(&t, StreamRange::all().to(v(2))).await?, [1, 2]);
    assert_eq!(read(&t, range(v(0)).to(v(1))).await?, [1]);
    Ok(())
}

pub(crate) async fn a_range_that_goes_beyond_the_head_ends_there(t: Trial) -> CaseResult {
    ten_events(&t).await?;
    assert_eq!(read(&t, StreamRange::from(v(9)).to(v(99))).await?, [9, 10]);
    assert_eq!(read(&t, StreamRange::from(v(10))).await?, [10]);
    assert_eq!(read(&t, StreamRange::from(v(11))).await?, [0; 0]);
    assert_eq!(read(&t, StreamRange::from(Version::MAX)).await?, [0; 0]);
    let beyond = StreamRange::from(v(9)).to(Version::MAX).backwards();
    assert_eq!(read(&t, beyond).await?, [10, 9]);
    Ok(())
}

pub(crate) async fn an_empty_range_has_no_events(t: Trial) -> CaseResult {
    ten_events(&t).await?;
    assert_eq!(read(&t, StreamRange::from(v(6)).to(v(5))).await?, [0; 0]);
    assert_eq!(read(&t, StreamRange::all().to(v(0))).await?, [0; 0]);
    assert_eq!(read(&t, StreamRange::all().limit(0)).await?, [0; 0]);
    let backwards = StreamRange::from(v(6)).to(v(5)).backwards();
    assert_eq!(read(&t, backwards).await?, [0; 0]);
    Ok(())
}

pub(crate) async fn backwards_is_from_newer_to_older(t: Trial) -> CaseResult {
    ten_events(&t).await?;
    let all = StreamRange::all().backwards();
    assert_eq!(read(&t, all).await?, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    let some = StreamRange::from(v(3)).to(v(6)).backwards();
    assert_eq!(read(&t, some).await?, [6, 5, 4, 3]);
    Ok(())
}

pub(crate) async fn a_limit_ends_a_read(t: Trial) -> CaseResult {
    ten_events(&t).await?;
    assert_eq!(read(&t, StreamRange::all().limit(3)).await?, [1, 2, 3]);
    assert_eq!(read(&t, StreamRange::from(v(5)).limit(2)).await?, [5, 6]);
    let last = StreamRange::all().backwards().limit(2);
    assert_eq!(read(&t, last).await?, [10, 9]);
    let within = StreamRange::all().to(v(6)).backwards().limit(2);
    assert_eq!(read(&t, within).await?, [6, 5]);
    assert_eq!(read(&t, StreamRange::from(v(9)).limit(99)).await?, [9, 10]);
    let unlimited = StreamRange::from(v(9)).limit(u64::MAX);
    assert_eq!(read(&t, unlimited).await?, [9, 10]);
    Ok(())
}

pub(crate) async fn every_range_is_what_the_contract_says(t: Trial) -> CaseResult {
    ten_events(&t).await?;
    for from in 0..=12 {
        for to in 0..=12 {
            for limit in [None, Some(1), Some(4)] {
                let mut range = StreamRange::from(v(from)).to(v(to));
                range.limit = limit;
                let limit = limit.map_or(usize::MAX, |limit| limit as usize);
                let whole = from.max(1)..=to.min(10);
                let forwards: Vec<_> = whole.clone().take(limit).collect();
                let backwards: Vec<_> = whole.rev().take(limit).collect();
                assert_eq!(read(&t, range).await?, forwards, "{range:?}");
                assert_eq!(read(&t, range.backwards()).await?, backwards, "{range:?}");
            }
        }
    }
    Ok(())
}

pub(crate) async fn a_read_of_a_stream_is_as_of_its_begin(t: Trial) -> CaseResult {
    let a = stream("a");
    t.append(&a, v(0), events(300)).await?;
    for range in [StreamRange::all(), StreamRange::all().backwards()] {
        let before = t.version(&a).await?;
        let mut reading = t.log.read_stream(&t.ctx, &a, range).await?;
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(reading.next().await.ok_or("the read ended early")??);
        }
        t.append(&a, v(before), events(50)).await?;
        let rest: Vec<_> = reading.try_collect().await?;
        seen.extend(rest);
        assert_eq!(seen.len() as u64, before);
    }
    Ok(())
}

pub(crate) async fn a_read_sees_what_was_acknowledged_before_it(t: Trial) -> CaseResult {
    let a = stream("a");
    for n in 0..50 {
        t.append(&a, v(n), vec![event(n + 1)]).await?;
        assert_eq!(read(&t, StreamRange::from(v(n + 1))).await?, [n + 1]);
        assert_eq!(t.version(&a).await?, n + 1);
    }
    Ok(())
}

pub(crate) async fn a_long_stream_is_read_whole(t: Trial) -> CaseResult {
    let a = stream("a");
    for n in 0..5 {
        t.append(&a, v(n * 1_000), events(1_000)).await?;
    }
    let versions: Vec<_> = t
        .events(&a)
        .await?
        .iter()
        .map(|e| e.version.get())
        .collect();
    assert_eq!(versions, (1..=5_000).collect::<Vec<_>>());
    Ok(())
}

pub(crate) async fn a_read_that_is_dropped_disturbs_nobody(t: Trial) -> CaseResult {
    let a = stream("a");
    t.append(&a, v(0), events(500)).await?;
    for _ in 0..20 {
        let mut reading = t.log.read_stream(&t.ctx, &a, StreamRange::all()).await?;
        reading.next().await.ok_or("the read ended early")??;
    }
    t.append(&a, v(500), events(1)).await?;
    assert_eq!(t.events(&a).await?.len(), 501);
    Ok(())
}
