//! Reading the whole log: after a position, with filters, and that a read is as of its begin.

use cim_store::{
    EventFilter, EventType, ExpectedVersion, LogQuery, Position, SubjectPattern, TimeBasis,
    TimeRange, Timestamp,
};
use futures_util::{StreamExt, TryStreamExt};

use crate::suite::{CaseFailure, CaseResult};
use crate::trial::{Trial, collect, event, events, numbers, stream, typed, v};

pub(crate) const CONTRACT: &str = "5. No short reads: the log";

/// The numbers of the events that the query delivers.
async fn read(t: &Trial, query: LogQuery) -> Result<Vec<u64>, CaseFailure> {
    numbers(&collect(t.log.read_log(&t.ctx, query).await).await?)
}

/// Events 1 to 12: of streams a, b, c in turn; odd ones are `odd`, even ones `even`; the time is
/// the number in seconds.
async fn twelve_events(t: &Trial) -> Result<Vec<Position>, CaseFailure> {
    for n in 1..=12 {
        let id = stream(["c", "a", "b"][n as usize % 3]);
        let event = typed(if n % 2 == 0 { "even" } else { "odd" }, n)
            .with_time(Timestamp::from_seconds(n as i64));
        t.append(&id, ExpectedVersion::Any, vec![event]).await?;
    }
    Ok(t.all_events().await?.iter().map(|e| e.position).collect())
}

pub(crate) async fn an_empty_log_has_no_events(t: Trial) -> CaseResult {
    assert_eq!(read(&t, LogQuery::all()).await?, [0; 0]);
    assert_eq!(
        read(&t, LogQuery::all().after(Position::new(7))).await?,
        [0; 0]
    );
    Ok(())
}

pub(crate) async fn after_a_position_does_not_include_it(t: Trial) -> CaseResult {
    let positions = twelve_events(&t).await?;
    for (number, position) in (1..).zip(positions) {
        let found = read(&t, LogQuery::all().after(position)).await?;
        assert_eq!(found, (number + 1..=12).collect::<Vec<_>>());
    }
    let all = read(&t, LogQuery::all().after(Position::NONE)).await?;
    assert_eq!(all.len(), 12);
    let none = read(&t, LogQuery::all().after(Position::MAX)).await?;
    assert_eq!(none, [0; 0]);
    Ok(())
}

pub(crate) async fn a_limit_ends_a_read_of_the_log(t: Trial) -> CaseResult {
    let positions = twelve_events(&t).await?;
    assert_eq!(read(&t, LogQuery::all().limit(2)).await?, [1, 2]);
    assert_eq!(read(&t, LogQuery::all().limit(0)).await?, [0; 0]);
    let some = LogQuery::all().after(positions[9]).limit(99);
    assert_eq!(read(&t, some).await?, [11, 12]);
    Ok(())
}

pub(crate) async fn a_limit_counts_only_what_the_filter_means(t: Trial) -> CaseResult {
    twelve_events(&t).await?;
    let even = EventFilter::all().of_type(EventType::new("even")?);
    assert_eq!(
        read(&t, LogQuery::all().filter(even).limit(3)).await?,
        [2, 4, 6]
    );
    Ok(())
}

pub(crate) async fn the_log_can_be_read_page_by_page(t: Trial) -> CaseResult {
    t.append(&stream("a"), v(0), events(100)).await?;
    let (mut seen, mut after) = (0, Position::NONE);
    loop {
        let query = LogQuery::all().after(after).limit(7);
        let page = collect(t.log.read_log(&t.ctx, query).await).await?;
        let Some(last) = page.last() else { break };
        assert!(page[0].position > after);
        after = last.position;
        seen += page.len();
    }
    assert_eq!(seen, 100);
    Ok(())
}

pub(crate) async fn the_log_can_be_read_by_subject(t: Trial) -> CaseResult {
    twelve_events(&t).await?;
    for (pattern, expected) in [
        ("cim.events.test.thing.a.>", &[1, 4, 7, 10][..]),
        ("cim.events.test.thing.a.odd.*", &[1, 7]),
        ("cim.events.*.*.*.even.*", &[2, 4, 6, 8, 10, 12]),
        ("cim.events.test.thing.b.*.2", &[5]),
        ("cim.events.test.thing.*.*.1", &[1, 2, 3]),
        ("cim.events.test.thing.c.odd.1", &[3]),
        ("cim.events.other.>", &[]),
        ("cim.events.test.thing", &[]),
        (">", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
    ] {
        let filter = EventFilter::all().matching(SubjectPattern::new(pattern)?);
        let found = read(&t, LogQuery::all().filter(filter)).await?;
        assert_eq!(found, expected, "{pattern}");
    }
    Ok(())
}

pub(crate) async fn the_log_can_be_read_by_type(t: Trial) -> CaseResult {
    twelve_events(&t).await?;
    t.append(&stream("d"), v(0), vec![typed("a.b c", 13)])
        .await?;
    let of = |names: &[&str]| -> Result<LogQuery, CaseFailure> {
        let mut filter = EventFilter::all();
        for name in names {
            filter = filter.of_type(EventType::new((*name).to_owned())?);
        }
        Ok(LogQuery::all().filter(filter))
    };
    assert_eq!(read(&t, of(&["odd"])?).await?, [1, 3, 5, 7, 9, 11]);
    assert_eq!(read(&t, of(&["a.b c"])?).await?, [13]);
    assert_eq!(read(&t, of(&["even", "odd"])?).await?.len(), 12);
    assert_eq!(read(&t, of(&["none"])?).await?, [0; 0]);
    Ok(())
}

pub(crate) async fn all_parts_of_a_filter_narrow_it(t: Trial) -> CaseResult {
    let positions = twelve_events(&t).await?;
    let filter = EventFilter::all()
        .matching(SubjectPattern::new("cim.events.test.thing.a.>")?)
        .of_type(EventType::new("even")?)
        .during(TimeRange {
            basis: TimeBasis::Time,
            from: Some(Timestamp::from_seconds(2)),
            to: Some(Timestamp::from_seconds(11)),
        });
    let query = LogQuery::all().filter(filter);
    assert_eq!(read(&t, query.clone()).await?, [4, 10]);
    assert_eq!(read(&t, query.clone().after(positions[3])).await?, [10]);
    assert_eq!(read(&t, query.limit(1)).await?, [4]);
    Ok(())
}

pub(crate) async fn a_read_of_the_log_is_as_of_its_begin(t: Trial) -> CaseResult {
    t.append(&stream("a"), v(0), events(300)).await?;
    let mut reading = t.log.read_log(&t.ctx, LogQuery::all()).await?;
    for _ in 0..3 {
        reading.next().await.ok_or("the read ended early")??;
    }
    t.append(&stream("a"), v(300), events(50)).await?;
    t.append(&stream("b"), v(0), events(50)).await?;
    let rest: Vec<_> = reading.try_collect().await?;
    assert_eq!(rest.len(), 297);
    Ok(())
}

pub(crate) async fn the_log_shows_what_was_acknowledged_before_the_read(t: Trial) -> CaseResult {
    let mut after = Position::NONE;
    for n in 0..50 {
        let stored = t
            .append(&stream("a"), ExpectedVersion::Any, vec![event(n)])
            .await?;
        assert_eq!(read(&t, LogQuery::all().after(after)).await?, [n]);
        after = stored.position;
    }
    Ok(())
}
