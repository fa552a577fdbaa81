//! What a verification makes of what was verified before: what it need not read again, and what must
//! still be there.

use std::sync::Arc;

use bytes::Bytes;
use cim_domain::persistence::verification::{VerifiedHeads, Verifier};
use cim_domain::store::{
    ArchiveDigester, Context, Damage, EventCid, EventLog, Examined, LogQuery, Position,
    StreamPattern, Truncation,
};
use futures_util::TryStreamExt;

use crate::meddled_log::{
    Stored, append, at, forge, history, id, meddled, place, renumber, stored,
};
use crate::verification::{found_since, shown, verify};

#[tokio::test]
async fn a_second_verification_reads_nothing_old() {
    let (log, _) = history("abaab").await;
    let first = verify(log.clone(), VerifiedHeads::default()).await;
    append(&*log, "ac").await;
    let now = meddled(&log, stored(&*log).await);
    let second = verify(now.clone(), first.heads).await;
    assert_eq!(shown(&second), Vec::<String>::new());
    assert_eq!(
        (second.events, second.events_before, second.streams),
        (2, 5, 3)
    );
    // The first looks are at one event each: is it the same log, and does what was verified last
    // stand where it stood?
    let looks = [0, 4, 5].map(Position::new);
    assert_eq!(*now.examined.lock().unwrap(), looks);
    // The first looks are at the log's first event alone, and at the last one that was verified: is
    // it the same log, and does it stand where it stood?
    assert_eq!(
        *now.examined.lock().unwrap(),
        [Position::NONE, Position::new(4), Position::new(5)]
    );

    let third = verify(log, second.heads).await;
    assert_eq!((third.events, third.events_before), (0, 7));
}

#[tokio::test]
async fn what_follows_another_history_than_the_verified_one_is_a_fork() {
    let (log, _) = history("aab").await;
    let first = verify(log.clone(), VerifiedHeads::default()).await;
    append(&*log, "a").await;
    let mut forged = stored(&*log).await;
    let new = place(&forged, "a", 3);
    forge(
        at(&mut forged, new),
        b"3",
        Some(EventCid::of(b"another history")),
    );
    let cid = at(&mut forged, new).cid;
    forged.heads.get_mut(&id("a")).unwrap().cid = cid;
    let second = verify(meddled(&log, forged), first.heads).await;
    assert_eq!(shown(&second), ["forked sales.order.a 3"]);
    // What was verified before stays, so that the next one says the same.
    assert_eq!(second.heads.head(&id("a")).unwrap().version, 2);
    assert_eq!(second.heads.position(), Position::new(3));
}

#[tokio::test]
async fn heads_of_another_log_are_not_used() {
    let (one, _) = history("ab").await;
    let (other, _) = history("ccc").await;
    let first = verify(one, VerifiedHeads::default()).await;
    let second = verify(other, first.heads).await;
    assert!(second.is_sound() && second.other_log);
    assert_eq!((second.events, second.events_before), (3, 0));
}

#[tokio::test]
async fn another_log_is_a_fault_where_the_same_one_is_expected() {
    let (one, _) = history("ab").await;
    let (other, _) = history("ccc").await;
    let first = verify(one, VerifiedHeads::default()).await;
    let verifier = Verifier::new(other)
        .since(first.heads)
        .expecting_the_same_log();
    let second = verifier.verify(&Context::new(), |_| ()).await.unwrap();
    assert_eq!(shown(&second), ["forked log 0"]);
}

#[tokio::test]
async fn reading_all_finds_what_was_altered_behind_the_verified_heads_and_what_was_cut() {
    let (log, stored) = history("abaab").await;
    let first = verify(log.clone(), VerifiedHeads::default()).await;
    let all = |stored: Stored, heads: VerifiedHeads| {
        let verifier = Verifier::new(meddled(&log, stored)).since(heads);
        async move {
            let verifier = verifier.with_workers(1).reading_all();
            verifier.verify(&Context::new(), |_| ()).await.unwrap()
        }
    };
    let sound = all(stored.clone(), first.heads.clone()).await;
    assert_eq!(
        (shown(&sound), sound.events, sound.events_before),
        (vec![], 5, 0)
    );
    assert_eq!(sound.heads, first.heads);

    let mut altered = stored.clone();
    at(&mut altered, 0).block = Bytes::from_static(b"\xff");
    let since = verify(meddled(&log, altered.clone()), first.heads.clone()).await;
    assert!(since.is_sound(), "it stands behind what was verified");
    let found = all(altered, first.heads.clone()).await;
    assert_eq!(shown(&found), ["altered sales.order.a 1"]);

    // The last event of a, and the stream b, went with every trace of them.
    let mut cut = stored;
    cut.found.remove(4);
    cut.found.remove(3);
    cut.found.remove(1);
    let last = at(&mut cut, 1).clone();
    let head = cut.heads.get_mut(&id("a")).unwrap();
    (head.version, head.position, head.cid) = (last.version, last.position, last.cid);
    cut.heads.remove(&id("b"));
    let found = all(cut, first.heads).await;
    assert_eq!(
        shown(&found),
        ["cut sales.order.a 3", "cut sales.order.b 1"]
    );
}

#[tokio::test]
async fn a_pattern_reads_the_streams_that_match_and_goes_on_from_what_is_known() {
    let (log, _) = history("abaab").await;
    let of_a = |log: Arc<dyn EventLog>, heads: VerifiedHeads| async move {
        let pattern: StreamPattern = "sales.order.a".parse().unwrap();
        let verifier = Verifier::new(log).since(heads).with_workers(1);
        verifier
            .verify_streams(&Context::new(), &pattern, |_| ())
            .await
            .unwrap()
    };
    let first = of_a(log.clone(), VerifiedHeads::default()).await;
    assert_eq!(
        (first.streams, first.events, first.events_before),
        (1, 3, 0)
    );
    append(&*log, "a").await;
    let second = of_a(log.clone(), first.heads).await;
    assert_eq!((second.events, second.events_before), (1, 3));

    // A whole verification knows the stream then, and reads the others.
    let whole = verify(log.clone(), second.heads).await;
    assert_eq!(shown(&whole), Vec::<String>::new());
    assert_eq!((whole.events, whole.heads.streams()), (6, 2));
}

#[tokio::test]
async fn what_a_truncation_left_verifies_from_the_beginning_and_from_what_is_known() {
    let (log, _) = history("abaabca").await;
    let ctx = Context::new();
    let known = verify(log.clone(), VerifiedHeads::default()).await.heads;
    let mut digester = ArchiveDigester::new();
    let events = log.read_log(&ctx, LogQuery::all().limit(5)).await.unwrap();
    let events: Vec<_> = events.try_collect().await.unwrap();
    events.iter().for_each(|event| digester.push(event));
    let truncation = Truncation {
        through: Position::new(5),
        archived: digester.finish(),
    };
    log.truncate(&ctx, truncation).await.unwrap();
    append(&*log, "bd").await;
    let fresh = verify(log.clone(), VerifiedHeads::default()).await;
    assert_eq!((shown(&fresh), fresh.events), (Vec::new(), 4));
    let since = verify(log, known).await;
    assert_eq!((shown(&since), since.events), (Vec::new(), 2));
}

/// Moves every event, and where the heads say that it is.
fn move_by(stored: &mut Stored, places: u64) {
    let moved = |position: Position| Position::new(position.get() + places);
    for index in 0..stored.found.len() {
        let event = at(stored, index);
        event.position = moved(event.position);
    }
    for head in stored.heads.values_mut() {
        head.position = moved(head.position);
    }
}

#[tokio::test]
async fn the_same_history_at_other_positions_is_compared_by_version() {
    // As an import stores it where commits leave marks.
    let (log, stored) = history("abaab").await;
    let first = verify(log.clone(), VerifiedHeads::default()).await;
    let mut copy = stored.clone();
    move_by(&mut copy, 3);
    let copied = verify(meddled(&log, copy.clone()), first.heads.clone()).await;
    assert_eq!((shown(&copied), copied.events), (vec![], 5));
    assert_eq!(copied.heads.position(), Position::new(8));

    // And back: positions that are not reached again yet don't hide what is new.
    let back = verify(log.clone(), copied.heads).await;
    assert_eq!((shown(&back), back.events), (vec![], 5));
    append(&*log, "a").await;
    let grown = verify(log.clone(), back.heads).await;
    assert_eq!((shown(&grown), grown.events), (vec![], 1));

    // Another history is found there as well.
    let last = place(&copy, "b", 2);
    forge(at(&mut copy, last), b"9", None);
    copy.heads.get_mut(&id("b")).unwrap().cid = at(&mut copy, last).cid;
    let forged = verify(meddled(&log, copy), first.heads).await;
    assert_eq!(shown(&forged), ["forked sales.order.b 2"]);
}

#[tokio::test]
async fn another_order_between_streams_than_the_verified_one_is_found() {
    let (log, stored) = history("abcab").await;
    let known = verify(log.clone(), VerifiedHeads::default()).await.heads;
    // c 1 and a 2 change places, so every chain is what it was.
    let mut other = stored;
    other.found.swap(2, 3);
    renumber(&mut other);
    for index in [2, 3] {
        let event = at(&mut other, index).clone();
        other.heads.get_mut(&event.stream).unwrap().position = event.position;
    }
    let other = meddled(&log, other);
    let fresh = verify(other.clone(), VerifiedHeads::default()).await;
    assert_eq!(shown(&fresh), Vec::<String>::new());
    let moved = ["order sales.order.a 2", "order sales.order.c 1"];
    assert_eq!(shown(&verify(other.clone(), known.clone()).await), moved);
    let whole = Verifier::new(other)
        .since(known)
        .with_workers(1)
        .reading_all();
    let whole = whole.verify(&Context::new(), |_| ()).await.unwrap();
    assert_eq!(shown(&whole), moved);
}

#[tokio::test]
async fn a_first_event_that_is_gone_shows_also_where_only_what_is_new_would_be_read() {
    let faults = found_since("abaab", |stored| {
        stored.found[0] = Examined::Damage(Damage {
            position: Some(Position::new(1)),
            stream: None,
            version: None,
            missing: true,
            message: "there is no event".to_owned(),
        });
    });
    assert_eq!(faults.await, ["removed sales.order.a 1"]);
}

/// Truncates the log up to a position.
async fn truncate(log: &dyn EventLog, through: u64) {
    let ctx = Context::new();
    let mut digester = ArchiveDigester::new();
    let until = LogQuery::all().limit(through);
    let events = log.read_log(&ctx, until).await.unwrap();
    let events: Vec<_> = events.try_collect().await.unwrap();
    events.iter().for_each(|event| digester.push(event));
    let truncation = Truncation {
        through: Position::new(through),
        archived: digester.finish(),
    };
    log.truncate(&ctx, truncation).await.unwrap();
}

#[tokio::test]
async fn a_truncation_hides_no_other_history_from_those_who_know_the_one_before() {
    // Everything up to position 5 is truncated; what is left are c 1, a 4 and b 3.
    let found = async |streams: &str, since: &str, meddle: fn(&mut Stored)| {
        let (log, _) = history(since).await;
        let known = verify(log.clone(), VerifiedHeads::default()).await.heads;
        append(&*log, &streams[since.len()..]).await;
        truncate(&*log, 5).await;
        let mut stored = stored(&*log).await;
        meddle(&mut stored);
        let log = meddled(&log, stored);
        let mut faults = Vec::new();
        for whole in [false, true] {
            let verifier = Verifier::new(log.clone())
                .since(known.clone())
                .with_workers(1);
            let verifier = if whole {
                verifier.reading_all()
            } else {
                verifier
            };
            let verification = verifier.verify(&Context::new(), |_| ()).await.unwrap();
            faults.push(shown(&verification));
        }
        let streams = Verifier::new(log)
            .since(known)
            .with_workers(1)
            .reading_all();
        let pattern = StreamPattern::all();
        let streams = streams
            .verify_streams(&Context::new(), &pattern, |_| ())
            .await;
        faults.push(shown(&streams.unwrap()));
        <[Vec<String>; 3]>::try_from(faults).unwrap()
    };
    let nothing = found("abaabcab", "abaab", |_| ()).await;
    assert_eq!(nothing, [const { Vec::<String>::new() }; 3]);
    // The event that is left follows another one than the one that was verified.
    let rewritten = found("abaabcab", "abaab", |stored| {
        let next = place(stored, "a", 4);
        forge(at(stored, next), b"9", Some(EventCid::of(b"other")));
        let cid = at(stored, next).cid;
        stored.heads.get_mut(&id("a")).unwrap().cid = cid;
    });
    // Streams are read by the memory's own index, where nobody has meddled with the event.
    let [new, whole, _] = rewritten.await;
    assert_eq!([new, whole], [["forked sales.order.a 4"]; 2]);
    // A stream without events is not there any more, or its head is another one.
    let gone = found("abaab", "abaab", |stored| {
        drop(stored.heads.remove(&id("b")))
    });
    assert_eq!(gone.await, [["cut sales.order.b 1"]; 3]);
    let other = found("abaab", "abaab", |stored| {
        stored.heads.get_mut(&id("b")).unwrap().cid = EventCid::of(b"other");
    });
    assert_eq!(other.await, [["forked sales.order.b 2"]; 3]);
}

#[tokio::test]
async fn what_was_verified_behind_a_truncation_must_still_be_there() {
    // a 3, at position 6, was verified, and is not truncated.
    let (log, _) = history("abbcca").await;
    append(&*log, "b").await;
    append(&*log, "a").await;
    append(&*log, "a").await;
    let known = verify(log.clone(), VerifiedHeads::default()).await.heads;
    append(&*log, "a").await;
    truncate(&*log, 5).await;
    let mut stored = stored(&*log).await;
    // Everything of `a` but the last event goes, and others take the places.
    stored.found.retain(|found| match found {
        Examined::Event(event) => event.stream != id("a") || event.version.get() == 5,
        Examined::Damage(_) => true,
    });
    let last = place(&stored, "a", 5);
    forge(at(&mut stored, last), b"9", Some(EventCid::of(b"other")));
    stored.heads.get_mut(&id("a")).unwrap().cid = at(&mut stored, last).cid;
    let verifier = Verifier::new(meddled(&log, stored)).since(known);
    let whole = verifier.with_workers(1).reading_all();
    let whole = whole.verify(&Context::new(), |_| ()).await.unwrap();
    assert_eq!(shown(&whole), ["removed sales.order.a 4"]);
}

#[tokio::test]
async fn heads_of_the_same_history_in_another_store_are_compared_and_then_those_of_that_store() {
    let (log, here) = history("abaab").await;
    // The same history elsewhere, with gaps between positions, as on NATS.
    let mut there = here.clone();
    for index in 0..there.found.len() {
        let event = at(&mut there, index);
        event.position = Position::new(event.position.get() * 2);
        let (stream, position) = (event.stream.clone(), event.position);
        there.heads.get_mut(&stream).unwrap().position = position;
    }
    let there = verify(meddled(&log, there), VerifiedHeads::default()).await;
    assert_eq!(
        (shown(&there), there.heads.position()),
        (vec![], Position::new(10))
    );

    let moved = verify(log.clone(), there.heads.clone()).await;
    assert_eq!(
        (shown(&moved), moved.events, moved.events_before),
        (vec![], 5, 0)
    );
    append(&*log, "abc").await;
    let next = verify(log.clone(), moved.heads).await;
    assert_eq!(
        (shown(&next), next.events, next.events_before),
        (vec![], 3, 5)
    );

    // What was cut before it was moved shows.
    let mut cut = here;
    cut.found.truncate(4);
    let last = at(&mut cut, 1).clone();
    let head = cut.heads.get_mut(&id("b")).unwrap();
    (head.version, head.position, head.cid) = (last.version, last.position, last.cid);
    let cut = verify(meddled(&log, cut), there.heads).await;
    assert_eq!(shown(&cut), ["cut sales.order.b 2"]);
}
