//! When events happened and when they were stored.

use std::time::Duration;

use cim_store::{Clock, EventFilter, ExpectedVersion, LogQuery, TimeBasis, TimeRange, Timestamp};

use crate::suite::CaseResult;
use crate::trial::{START, Trial, collect, event, events, numbers, stream, v};

pub(crate) const CONTRACT: &str = "Time";

const SECOND: Duration = Duration::from_secs(1);

pub(crate) async fn stored_at_is_when_the_store_took_it(t: Trial) -> CaseResult {
    let a = stream("a");
    let first = t.append(&a, v(0), events(2)).await?;
    t.pass(5 * SECOND).await;
    let second = t.append(&a, v(2), events(1)).await?;
    let read = t.events(&a).await?;
    assert!(read[0].stored_at <= read[1].stored_at);
    assert!(read[2].stored_at >= read[1].stored_at.saturating_add(5 * SECOND));
    // A store that says it with its answer says the same for the whole commit.
    for (answer, events) in [(first, &read[..2]), (second, &read[2..])] {
        if let Some(at) = answer.stored_at {
            assert!(events.iter().all(|event| event.stored_at == at));
        }
    }
    Ok(())
}

pub(crate) async fn stored_at_never_decreases_when_the_clock_is_set_back(t: Trial) -> CaseResult {
    let a = stream("a");
    t.append(&a, v(0), events(1)).await?;
    for n in 1..4 {
        t.clock
            .set(Timestamp::from_seconds(1_000_000 - 3_600 * n as i64));
        t.append(&a, v(n), events(1)).await?;
        t.append(&stream("b"), ExpectedVersion::Any, events(1))
            .await?;
    }
    let all = t.all_events().await?;
    assert!(all.windows(2).all(|w| w[0].stored_at <= w[1].stored_at));
    assert!(all.windows(2).all(|w| w[0].position < w[1].position));
    Ok(())
}

pub(crate) async fn stored_at_never_decreases_after_reopening(t: Trial) -> CaseResult {
    let a = stream("a");
    t.pass(5 * SECOND).await;
    t.append(&a, v(0), events(1)).await?;
    let Some(t) = t.reopen().await? else {
        return Ok(());
    };
    t.clock.set(Timestamp::EPOCH);
    t.append(&a, v(1), events(1)).await?;
    let read = t.events(&a).await?;
    assert!(read[1].stored_at >= read[0].stored_at);
    Ok(())
}

pub(crate) async fn the_time_of_an_event_can_be_any_time(t: Trial) -> CaseResult {
    let a = stream("a");
    let times = [i64::MIN, -1, 0, 1, START.as_micros(), i64::MAX].map(Timestamp::from_micros);
    for time in times {
        t.append(&a, ExpectedVersion::Any, vec![event(1).with_time(time)])
            .await?;
    }
    let found: Vec<_> = t.events(&a).await?.iter().map(|e| e.time).collect();
    assert_eq!(found, times);
    Ok(())
}

/// Six events: stored a second apart, and happened in the opposite order an hour apart.
async fn six_events(t: &Trial) -> Result<Vec<cim_store::RecordedEvent>, crate::CaseFailure> {
    for n in 1..=6 {
        let time = Timestamp::from_seconds(3_600 * (10 - n as i64));
        let event = event(n).with_time(time);
        t.append(
            &stream(&format!("s{}", n % 2)),
            ExpectedVersion::Any,
            vec![event],
        )
        .await?;
        t.pass(SECOND).await;
    }
    t.all_events().await
}

async fn during(
    t: &Trial,
    basis: TimeBasis,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Result<Vec<u64>, crate::CaseFailure> {
    let filter = EventFilter::all().during(TimeRange { basis, from, to });
    let query = LogQuery::all().filter(filter);
    numbers(&collect(t.log.read_log(&t.ctx, query).await).await?)
}

pub(crate) async fn the_log_can_be_read_by_when_events_happened(t: Trial) -> CaseResult {
    let all = six_events(&t).await?;
    let at = |n: usize| Some(all[n - 1].time);
    let basis = TimeBasis::Time;
    assert_eq!(during(&t, basis, None, None).await?, [1, 2, 3, 4, 5, 6]);
    // The end is exclusive, the begin inclusive; the order is the log's.
    assert_eq!(during(&t, basis, at(5), at(2)).await?, [3, 4, 5]);
    assert_eq!(during(&t, basis, at(2), None).await?, [1, 2]);
    assert_eq!(during(&t, basis, None, at(4)).await?, [5, 6]);
    assert_eq!(during(&t, basis, at(3), at(3)).await?, [0; 0]);
    Ok(())
}

pub(crate) async fn the_log_can_be_read_by_when_events_were_stored(t: Trial) -> CaseResult {
    let all = six_events(&t).await?;
    let at = |n: usize| Some(all[n - 1].stored_at);
    let basis = TimeBasis::StoredAt;
    assert_eq!(during(&t, basis, None, None).await?, [1, 2, 3, 4, 5, 6]);
    assert_eq!(during(&t, basis, at(2), at(5)).await?, [2, 3, 4]);
    assert_eq!(during(&t, basis, at(5), None).await?, [5, 6]);
    assert_eq!(during(&t, basis, None, at(3)).await?, [1, 2]);
    assert_eq!(during(&t, basis, at(5), at(2)).await?, [0; 0]);
    let between = Some(all[2].stored_at.saturating_add(Duration::from_micros(1)));
    assert_eq!(during(&t, basis, between, None).await?, [4, 5, 6]);
    let after_all = Some(all[5].stored_at.saturating_add(10 * SECOND));
    assert_eq!(during(&t, basis, after_all, None).await?, [0; 0]);
    Ok(())
}

pub(crate) async fn reading_by_stored_at_holds_where_the_clock_was_set_back(
    t: Trial,
) -> CaseResult {
    let a = stream("a");
    t.append(&a, v(0), vec![event(1)]).await?;
    t.clock.set(Timestamp::from_seconds(1_000));
    t.append(&a, v(1), vec![event(2)]).await?;
    t.clock.set(START.saturating_add(60 * SECOND));
    t.append(&a, v(2), vec![event(3)]).await?;
    let all = t.all_events().await?;
    for (n, first) in all.iter().enumerate() {
        let from = Some(first.stored_at);
        let expected: Vec<_> = (1..=3)
            .filter(|other| all[other - 1].stored_at >= first.stored_at)
            .map(|n| n as u64)
            .collect();
        let found = during(&t, TimeBasis::StoredAt, from, None).await?;
        assert_eq!(found, expected, "from event {}", n + 1);
    }
    Ok(())
}

pub(crate) async fn the_clocks_time_is_an_events_time_where_it_has_none(t: Trial) -> CaseResult {
    t.pass(3 * SECOND).await;
    let now = t.clock.now();
    t.append(&stream("a"), v(0), events(2)).await?;
    assert!(t.all_events().await?.iter().all(|e| e.time == now));
    Ok(())
}
