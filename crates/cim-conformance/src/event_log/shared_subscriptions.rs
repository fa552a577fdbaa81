//! Shared subscriptions give each event to one member until it is acknowledged. Nothing to do where
//! the adapter has none.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use cim_store::{
    Clock, Delivery, DeliveryStream, EventFilter, EventType, ExpectedVersion, Fault, Position,
    SharedSettings, SharedSubscriptions, SubjectPattern, SubscriptionName, SystemClock, TimeBasis,
    TimeRange,
};
use futures_util::StreamExt;
use futures_util::future::{Either, select};

use crate::suite::{CaseFailure, CaseResult};
use crate::trial::{Trial, event, events, number, refused, stream, typed, v};

pub(crate) const CONTRACT: &str = "6. No skips: shared subscriptions";

/// Where a case waits for an event to be delivered again, it comes after this time.
const SOON: Duration = Duration::from_secs(1);
/// Longer than it takes to deliver what is there to deliver.
const A_WHILE: Duration = Duration::from_millis(700);

/// The shared subscriptions of the store; `None` where it has none, and says so.
fn shared(t: &Trial) -> Option<Arc<dyn SharedSubscriptions>> {
    let shared = t.store.shared_subscriptions();
    let said = t.log.capabilities().shared_subscriptions;
    assert_eq!(shared.is_some(), said, "what the capabilities say");
    shared
}

fn name(text: &str) -> Result<SubscriptionName, CaseFailure> {
    Ok(SubscriptionName::new(text.to_owned())?)
}

async fn join(
    t: &Trial,
    shared: &Arc<dyn SharedSubscriptions>,
    settings: SharedSettings,
) -> Result<DeliveryStream, CaseFailure> {
    Ok(shared.join(&t.ctx, &name("work")?, settings).await?)
}

/// The next event that a member is given, which must come.
async fn next(member: &mut DeliveryStream) -> Result<Delivery, CaseFailure> {
    let next = member.next().await;
    Ok(next.ok_or("the member ended without an error")??)
}

/// The numbers of the next so many events, all of which are acknowledged.
async fn work(member: &mut DeliveryStream, count: usize) -> Result<Vec<u64>, CaseFailure> {
    let mut done = Vec::with_capacity(count);
    while done.len() < count {
        let delivery = next(member).await?;
        done.push(number(&delivery.event)?);
        delivery.acknowledge().await?;
    }
    Ok(done)
}

/// Fails if a member is given something within a while.
async fn nothing_comes(member: &mut DeliveryStream) -> CaseResult {
    match select(member.next(), SystemClock.sleep(A_WHILE)).await {
        Either::Left((given, _)) => Err(format!("should get nothing, but got {given:?}").into()),
        Either::Right(_) => Ok(()),
    }
}

pub(crate) async fn each_event_goes_to_one_member(t: Trial) -> CaseResult {
    const TOTAL: u64 = 200;
    let Some(shared) = shared(&t) else {
        return Ok(());
    };
    let (given, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let mut members = Vec::new();
    for which in 0..2 {
        let mut member = join(&t, &shared, SharedSettings::new()).await?;
        let given = given.clone();
        members.push(tokio::spawn(async move {
            loop {
                let delivery = next(&mut member).await?;
                let (number, attempt) = (number(&delivery.event)?, delivery.attempt);
                delivery.acknowledge().await?;
                if given.send((which, number, attempt)).is_err() {
                    return Ok::<_, CaseFailure>(());
                }
            }
        }));
    }
    drop(given);
    for n in 0..TOTAL / 10 {
        let ten = (1..=10).map(|one| event(n * 10 + one)).collect();
        t.append(&stream("a"), v(n * 10), ten).await?;
    }
    let (mut numbers, mut sharers) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..TOTAL {
        let (which, number, attempt) = seen.recv().await.ok_or("a member ended")?;
        assert_eq!(attempt, 1);
        assert!(numbers.insert(number), "event {number} was done twice");
        sharers.insert(which);
    }
    assert_eq!(numbers, (1..=TOTAL).collect());
    assert_eq!(sharers.len(), 2, "one member did everything");
    match select(pin!(seen.recv()), SystemClock.sleep(A_WHILE)).await {
        Either::Left((again, _)) => panic!("it came again: {again:?}"),
        Either::Right(_) => {}
    }
    members.iter().for_each(|member| member.abort());
    Ok(())
}

pub(crate) async fn what_is_not_acknowledged_in_time_goes_to_another_member(
    t: Trial,
) -> CaseResult {
    let Some(shared) = shared(&t) else {
        return Ok(());
    };
    t.append(&stream("a"), v(0), vec![event(1)]).await?;
    let settings = SharedSettings::new().acknowledge_within(SOON);
    let mut forgetful = join(&t, &shared, settings.clone()).await?;
    let mut other = join(&t, &shared, settings).await?;
    let forgotten = next(&mut forgetful).await?;
    assert_eq!(forgotten.attempt, 1);
    t.pass(SOON).await;
    let again = next(&mut other).await?;
    assert_eq!(again.event, forgotten.event);
    assert_eq!(again.attempt, 2);
    again.acknowledge().await?;
    t.pass(SOON).await;
    nothing_comes(&mut forgetful).await?;
    nothing_comes(&mut other).await
}

pub(crate) async fn what_is_kept_stays_with_its_member(t: Trial) -> CaseResult {
    let Some(shared) = shared(&t) else {
        return Ok(());
    };
    t.append(&stream("a"), v(0), vec![event(1)]).await?;
    let settings = SharedSettings::new().acknowledge_within(2 * SOON);
    let mut slow = join(&t, &shared, settings.clone()).await?;
    let mut other = join(&t, &shared, settings).await?;
    let delivery = next(&mut slow).await?;
    let waiting = tokio::spawn(async move { other.next().await });
    for _ in 0..4 {
        t.pass(SOON).await;
        delivery.keep().await?;
    }
    delivery.acknowledge().await?;
    assert!(!waiting.is_finished(), "somebody else was given it");
    waiting.abort();
    Ok(())
}

pub(crate) async fn what_is_handed_back_comes_again_after_its_time(t: Trial) -> CaseResult {
    let Some(shared) = shared(&t) else {
        return Ok(());
    };
    t.append(&stream("a"), v(0), vec![event(1)]).await?;
    let mut member = join(&t, &shared, SharedSettings::new()).await?;
    let first = next(&mut member).await?;
    first.retry_after(Duration::ZERO).await?;
    let second = next(&mut member).await?;
    assert_eq!((number(&second.event)?, second.attempt), (1, 2));
    second.retry_after(3 * SOON).await?;
    nothing_comes(&mut member).await?;
    t.pass(3 * SOON).await;
    let third = next(&mut member).await?;
    assert_eq!((number(&third.event)?, third.attempt), (1, 3));
    third.acknowledge().await?;
    Ok(())
}

pub(crate) async fn what_is_given_up_never_comes_again(t: Trial) -> CaseResult {
    let Some(shared) = shared(&t) else {
        return Ok(());
    };
    t.append(&stream("a"), v(0), events(2)).await?;
    let settings = SharedSettings::new().acknowledge_within(SOON);
    let mut member = join(&t, &shared, settings).await?;
    let first = next(&mut member).await?;
    assert_eq!(number(&first.event)?, 1);
    first.give_up().await?;
    assert_eq!(work(&mut member, 1).await?, [2]);
    t.pass(SOON).await;
    nothing_comes(&mut member).await
}

pub(crate) async fn attempts_are_counted_and_exhausted_at_last(t: Trial) -> CaseResult {
    let Some(shared) = shared(&t) else {
        return Ok(());
    };
    t.append(&stream("a"), v(0), vec![event(1)]).await?;
    let settings = SharedSettings::new().most_attempts(3);
    let mut member = join(&t, &shared, settings).await?;
    let mut told = Vec::new();
    while told.len() < 5 {
        let delivery = next(&mut member).await?;
        told.push((delivery.attempt, delivery.exhausted));
        delivery.retry_after(Duration::ZERO).await?;
    }
    // It is not left out by itself.
    let expected = [(1, false), (2, false), (3, false), (4, true), (5, true)];
    assert_eq!(told, expected);
    let last = next(&mut member).await?;
    assert!(last.exhausted);
    last.give_up().await?;
    nothing_comes(&mut member).await
}

pub(crate) async fn one_in_flight_keeps_the_order(t: Trial) -> CaseResult {
    let Some(shared) = shared(&t) else {
        return Ok(());
    };
    t.append(&stream("a"), v(0), events(6)).await?;
    let settings = SharedSettings::new().most_in_flight(1);
    let mut one = join(&t, &shared, settings.clone()).await?;
    let mut other = join(&t, &shared, settings).await?;
    let first = next(&mut one).await?;
    assert_eq!(number(&first.event)?, 1);
    nothing_comes(&mut other).await?;
    first.acknowledge().await?;
    // The other one waits already, so it is served, and alone.
    let second = next(&mut other).await?;
    assert_eq!(number(&second.event)?, 2);
    second.retry_after(Duration::ZERO).await?;
    assert_eq!(work(&mut other, 1).await?, [2]);
    drop(other);
    assert_eq!(work(&mut one, 4).await?, [3, 4, 5, 6]);
    Ok(())
}

pub(crate) async fn the_place_survives_its_members_and_reopening(t: Trial) -> CaseResult {
    let Some(shared) = shared(&t) else {
        return Ok(());
    };
    t.append(&stream("a"), v(0), events(6)).await?;
    let settings = SharedSettings::new().acknowledge_within(SOON);
    let mut member = join(&t, &shared, settings.clone()).await?;
    let mut done: BTreeSet<u64> = work(&mut member, 3).await?.into_iter().collect();
    drop(member);
    let mut member = join(&t, &shared, settings.clone()).await?;
    done.extend(work(&mut member, 1).await?);
    let open = next(&mut member).await?;
    drop((member, open, shared));
    let Some(t) = t.reopen().await? else {
        return Ok(());
    };
    t.append(&stream("a"), v(6), vec![event(7)]).await?;
    t.pass(SOON).await;
    let shared = self::shared(&t).ok_or("it had shared subscriptions before")?;
    let mut member = join(&t, &shared, settings).await?;
    for n in work(&mut member, 3).await? {
        assert!(done.insert(n), "event {n} was acknowledged before");
    }
    assert_eq!(done, (1..=7).collect());
    nothing_comes(&mut member).await
}

pub(crate) async fn only_what_the_filter_means_is_shared(t: Trial) -> CaseResult {
    let Some(shared) = shared(&t) else {
        return Ok(());
    };
    let write = async |from: u64| -> CaseResult {
        for n in from..from + 8 {
            let kind = ["first", "second", "other", "fourth"][n as usize % 4];
            let id = stream(["a", "b"][n as usize / 4 % 2]);
            t.append(&id, ExpectedVersion::Any, vec![typed(kind, n)])
                .await?;
        }
        Ok(())
    };
    write(0).await?;
    let types = EventFilter::all()
        .of_type(EventType::new("first")?)
        .of_type(EventType::new("second")?);
    let of_b = SubjectPattern::new("cim.events.*.*.b.>")?;
    let never = SubjectPattern::new("another.subject.>")?;
    let filters = [
        ("types", types.clone(), vec![0, 1, 4, 5, 8, 9, 12, 13]),
        (
            "pattern",
            EventFilter::all().matching(of_b.clone()),
            vec![4, 5, 6, 7, 12, 13, 14, 15],
        ),
        ("both", types.matching(of_b), vec![4, 5, 12, 13]),
        ("nothing", EventFilter::all().matching(never), vec![]),
    ];
    let mut members = Vec::new();
    for (text, filter, expected) in filters {
        let settings = SharedSettings::new().filter(filter);
        let member = shared.join(&t.ctx, &name(text)?, settings).await?;
        members.push((member, expected));
    }
    write(8).await?;
    for (mut member, expected) in members {
        assert_eq!(work(&mut member, expected.len()).await?, expected);
        nothing_comes(&mut member).await?;
    }
    Ok(())
}

pub(crate) async fn a_shared_subscription_begins_after_its_position(t: Trial) -> CaseResult {
    let Some(shared) = shared(&t) else {
        return Ok(());
    };
    t.append(&stream("a"), v(0), events(5)).await?;
    let all = t.all_events().await?;
    let settings = SharedSettings::new().after(all[2].position);
    let mut member = join(&t, &shared, settings).await?;
    assert_eq!(work(&mut member, 2).await?, [4, 5]);
    // A position that nothing has reached yet.
    let ahead = Position::new(all[4].position.get() + 2);
    let settings = SharedSettings::new().after(ahead);
    let mut ahead_of_all = shared.join(&t.ctx, &name("ahead")?, settings).await?;
    for n in 6..=12 {
        t.append(&stream("a"), v(n - 1), vec![event(n)]).await?;
    }
    let all = t.all_events().await?;
    let expected = all.iter().filter(|event| event.position > ahead);
    let expected: Vec<u64> = expected.map(number).collect::<Result<_, _>>()?;
    assert_eq!(work(&mut ahead_of_all, expected.len()).await?, expected);
    Ok(())
}

pub(crate) async fn joining_with_other_settings_is_invalid(t: Trial) -> CaseResult {
    let Some(shared) = shared(&t) else {
        return Ok(());
    };
    let (one, two) = (EventType::new("one")?, EventType::new("two")?);
    let filter = EventFilter::all().of_type(one.clone()).of_type(two.clone());
    let made = SharedSettings::new().filter(filter);
    let work = name("work")?;
    drop(shared.join(&t.ctx, &work, made.clone()).await?);
    let turned = EventFilter::all().of_type(two).of_type(one);
    drop(
        shared
            .join(&t.ctx, &work, made.clone().filter(turned))
            .await?,
    );
    let others = [
        ("types", made.clone().filter(EventFilter::all())),
        (
            "pattern",
            made.clone().filter(
                made.filter
                    .clone()
                    .matching(SubjectPattern::new("cim.events.a.>")?),
            ),
        ),
        ("after", made.clone().after(Position::new(3))),
        ("acknowledge_within", made.clone().acknowledge_within(SOON)),
        ("most_in_flight", made.clone().most_in_flight(7)),
        ("most_attempts", made.clone().most_attempts(7)),
    ];
    for (what, other) in others {
        let joined = shared.join(&t.ctx, &work, other).await.map(|_| ());
        let told = joined
            .as_ref()
            .err()
            .map(ToString::to_string)
            .unwrap_or_default();
        refused(joined, Fault::Invalid);
        assert!(told.contains(what), "does not name {what}: {told}");
    }
    Ok(())
}

pub(crate) async fn shared_settings_out_of_range_are_refused(t: Trial) -> CaseResult {
    let Some(shared) = shared(&t) else {
        return Ok(());
    };
    let during = EventFilter::all().during(TimeRange {
        basis: TimeBasis::Time,
        from: None,
        to: None,
    });
    let new = SharedSettings::new;
    let refusals = [
        (new().most_in_flight(0), Fault::Invalid),
        (new().most_attempts(0), Fault::Invalid),
        (new().acknowledge_within(Duration::ZERO), Fault::Invalid),
        (new().acknowledge_within(Duration::MAX), Fault::Invalid),
        (new().filter(during), Fault::Unsupported),
    ];
    for (settings, fault) in refusals {
        let joined = shared.join(&t.ctx, &name("work")?, settings).await;
        refused(joined.map(|_| ()), fault);
    }
    assert_eq!(shared.list(&t.ctx).await?, []);
    Ok(())
}

pub(crate) async fn shared_subscriptions_are_listed_with_what_is_left(t: Trial) -> CaseResult {
    let Some(shared) = shared(&t) else {
        return Ok(());
    };
    let placed = EventFilter::all().of_type(EventType::new("placed")?);
    let rare = SharedSettings::new().filter(placed).most_attempts(4);
    drop(shared.join(&t.ctx, &name("rare")?, rare.clone()).await?);
    let all = SharedSettings::new();
    let mut member = shared.join(&t.ctx, &name("all")?, all.clone()).await?;
    t.append(&stream("a"), v(0), events(7)).await?;
    t.append(&stream("a"), v(7), vec![typed("placed", 8)])
        .await?;
    assert_eq!(work(&mut member, 1).await?, [1]);
    let first = next(&mut member).await?;
    first.retry_after(Duration::ZERO).await?;
    let again = loop {
        let delivery = next(&mut member).await?;
        if delivery.attempt == 2 {
            break delivery;
        }
        delivery.acknowledge().await?;
    };
    let listed = shared.list(&t.ctx).await?;
    let names: Vec<_> = listed.iter().map(|status| status.name.as_str()).collect();
    assert_eq!(names, ["all", "rare"]);
    assert_eq!((&listed[0].settings, &listed[1].settings), (&all, &rare));
    assert_eq!((listed[1].pending, listed[1].in_flight), (1, 0));
    assert!(
        listed[0].in_flight >= 1 && listed[0].redelivered == 1,
        "{listed:?}"
    );
    again.acknowledge().await?;
    let mut left = listed[0].pending;
    while left > 0 {
        next(&mut member).await?.acknowledge().await?;
        left = shared.list(&t.ctx).await?[0].pending;
    }
    Ok(())
}

pub(crate) async fn a_deleted_shared_subscription_ends_and_begins_anew(t: Trial) -> CaseResult {
    let Some(shared) = shared(&t) else {
        return Ok(());
    };
    t.append(&stream("a"), v(0), events(3)).await?;
    let mut member = join(&t, &shared, SharedSettings::new()).await?;
    assert_eq!(work(&mut member, 3).await?, [1, 2, 3]);
    t.append(&stream("a"), v(3), vec![event(4)]).await?;
    let open = next(&mut member).await?;
    let ending = tokio::spawn(async move { (member.next().await, member.next().await.is_none()) });
    let work_name = name("work")?;
    shared.delete(&t.ctx, &work_name).await?;
    shared.delete(&t.ctx, &work_name).await?;
    assert_eq!(shared.list(&t.ctx).await?, []);
    let (end, nothing_follows) = ending.await?;
    refused(end.ok_or("it ended without an error")?, Fault::NotFound);
    assert!(nothing_follows);
    refused(open.acknowledge().await, Fault::NotFound);
    let mut anew = join(&t, &shared, SharedSettings::new().most_in_flight(9)).await?;
    assert_eq!(work(&mut anew, 4).await?, [1, 2, 3, 4]);
    Ok(())
}

pub(crate) async fn a_member_that_waits_is_woken(t: Trial) -> CaseResult {
    let Some(shared) = shared(&t) else {
        return Ok(());
    };
    let mut member = join(&t, &shared, SharedSettings::new()).await?;
    let waiting = tokio::spawn(async move { work(&mut member, 2).await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    t.append(&stream("a"), v(0), vec![event(1)]).await?;
    t.append(&stream("b"), v(0), vec![event(2)]).await?;
    assert_eq!(waiting.await??, [1, 2]);
    Ok(())
}

pub(crate) async fn what_a_member_leaves_goes_to_others(t: Trial) -> CaseResult {
    let Some(shared) = shared(&t) else {
        return Ok(());
    };
    t.append(&stream("a"), v(0), events(500)).await?;
    let settings = SharedSettings::new().acknowledge_within(2 * SOON);
    let mut leaving = join(&t, &shared, settings.clone()).await?;
    // Quickly, so that it may have taken more than it was asked for.
    let mut done: BTreeSet<u64> = work(&mut leaving, 100).await?.into_iter().collect();
    let open = next(&mut leaving).await?;
    drop((leaving, open));
    let mut staying = join(&t, &shared, settings).await?;
    t.pass(2 * SOON).await;
    for n in work(&mut staying, 400).await? {
        assert!(done.insert(n), "event {n} was acknowledged before");
    }
    assert_eq!(done, (1..=500).collect());
    Ok(())
}

pub(crate) async fn a_member_ends_with_closed_when_the_store_is_closed(t: Trial) -> CaseResult {
    let Some(shared) = shared(&t) else {
        return Ok(());
    };
    t.append(&stream("a"), v(0), events(2)).await?;
    let mut member = join(&t, &shared, SharedSettings::new()).await?;
    assert_eq!(work(&mut member, 1).await?, [1]);
    let open = next(&mut member).await?;
    let waiting = tokio::spawn(async move {
        let end = member.next().await;
        (end, member.next().await.is_none())
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    t.store.close().await?;
    let (end, nothing_follows) = waiting.await?;
    refused(end.ok_or("it ended without an error")?, Fault::Closed);
    assert!(nothing_follows);
    refused(open.acknowledge().await, Fault::Closed);
    let work = name("work")?;
    let joined = shared.join(&t.ctx, &work, SharedSettings::new()).await;
    refused(joined.map(|_| ()), Fault::Closed);
    refused(shared.list(&t.ctx).await, Fault::Closed);
    refused(shared.delete(&t.ctx, &work).await, Fault::Closed);
    Ok(())
}
