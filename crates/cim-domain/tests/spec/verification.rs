//! What a verification finds in logs that somebody has meddled with.

use std::sync::Arc;

use bytes::Bytes;
use cim_domain::persistence::verification::{
    Verification, VerificationFaultKind as Kind, VerificationProgress, VerifiedHeads, Verifier,
};
use cim_domain::store::memory::MemoryStore;
use cim_domain::store::{
    Append, ArchiveDigester, Context, Damage, EventCid, EventLog, Examined, ExpectedVersion,
    LogQuery, Position, Store, StreamPattern, Truncation, Version,
};
use futures_util::TryStreamExt;
use proptest::prelude::*;

use crate::meddled_log::{
    Stored, append, at, event, forge, history, id, meddled, place, renumber, stored,
};

async fn verify(log: Arc<dyn EventLog>, since: VerifiedHeads) -> Verification {
    let verifier = Verifier::new(log).since(since).with_workers(1);
    verifier.verify(&Context::new(), |_| ()).await.unwrap()
}

/// Verifies what somebody made of this history, from the beginning.
async fn found(streams: &str, meddle: impl FnOnce(&mut Stored)) -> Vec<String> {
    let (log, mut stored) = history(streams).await;
    meddle(&mut stored);
    shown(&verify(meddled(&log, stored), VerifiedHeads::default()).await)
}

/// Verifies what somebody made of this history after it was verified.
async fn found_since(streams: &str, meddle: impl FnOnce(&mut Stored)) -> Vec<String> {
    let (log, mut stored) = history(streams).await;
    let first = verify(log.clone(), VerifiedHeads::default()).await;
    assert!(first.is_sound());
    meddle(&mut stored);
    shown(&verify(meddled(&log, stored), first.heads).await)
}

fn shown(verification: &Verification) -> Vec<String> {
    let show = |fault: &cim_domain::persistence::verification::VerificationFault| {
        let stream = fault
            .stream
            .as_ref()
            .map_or("log".to_owned(), ToString::to_string);
        let version = fault.version.map_or(0, Version::get);
        format!("{} {stream} {version}", fault.kind)
    };
    verification.faults.iter().map(show).collect()
}

#[tokio::test]
async fn a_sound_log_verifies_and_is_counted() {
    let (log, _) = history("abaabc").await;
    let verification = verify(log, VerifiedHeads::default()).await;
    assert_eq!(shown(&verification), Vec::<String>::new());
    assert_eq!(
        (
            verification.streams,
            verification.events,
            verification.events_before
        ),
        (3, 6, 0)
    );
    let head = verification.heads.head(&id("a")).unwrap();
    assert_eq!((head.version, head.position), (3, Position::new(4)));
}

#[tokio::test]
async fn a_flipped_byte_is_an_altered_event() {
    let faults = found("abaab", |stored| {
        let event = at(stored, 2);
        let mut block = event.block.to_vec();
        let at = block.iter().rposition(|byte| *byte == b'2').unwrap();
        block[at] ^= 1;
        event.block = block.into();
    });
    assert_eq!(faults.await, ["altered sales.order.a 2"]);
}

#[tokio::test]
async fn bytes_that_are_no_event_are_malformed() {
    let faults = found("aab", |stored| {
        let event = at(stored, 1);
        event.block = Bytes::from_static(b"\xa0");
        event.cid = EventCid::of(&event.block);
    });
    assert_eq!(faults.await, ["malformed sales.order.a 2"]);
}

#[tokio::test]
async fn a_missing_event_is_removed() {
    let faults = found("abaab", |stored| drop(stored.found.remove(2)));
    assert_eq!(faults.await, ["removed sales.order.a 2"]);
    let first = found("abaab", |stored| drop(stored.found.remove(0)));
    assert_eq!(first.await, ["removed sales.order.a 1"]);
}

#[tokio::test]
async fn two_events_in_each_others_place_are_reordered() {
    let faults = found("aaaba", |stored| {
        stored.found.swap(1, 2);
        renumber(stored);
    });
    assert_eq!(faults.await, ["reordered sales.order.a 2"]);
}

#[tokio::test]
async fn an_event_filed_under_anothers_version_or_stream_is_misfiled() {
    let version = found("aab", |stored| at(stored, 1).version = Version::new(7));
    assert_eq!(version.await, ["misfiled sales.order.a 7"]);
    let stream = found("aab", |stored| at(stored, 1).stream = id("b"));
    assert_eq!(
        stream.await,
        ["cut sales.order.a 2", "misfiled sales.order.b 1"]
    );
}

#[tokio::test]
async fn an_event_that_was_replaced_with_a_fitting_cid_shows_as_a_fork_at_the_next_one() {
    let faults = found("aaaab", |stored| forge(at(stored, 1), b"9", None));
    assert_eq!(faults.await, ["forked sales.order.a 3"]);
}

#[tokio::test]
async fn a_second_event_for_one_version_is_a_fork() {
    let faults = found("aabaa", |stored| {
        let mut rival = at(stored, 1).clone();
        forge(&mut rival, b"9", None);
        stored.found.insert(2, Examined::Event(rival));
        renumber(stored);
    });
    assert_eq!(faults.await, ["forked sales.order.a 2"]);
}

#[tokio::test]
async fn an_event_that_stands_there_again_is_repeated_or_out_of_order() {
    let again = |index: usize| {
        move |stored: &mut Stored| {
            let mut copy = at(stored, index).clone();
            let last = at(stored, 4).clone();
            (copy.position, copy.stored_at) = (last.position.next(), last.stored_at);
            stored.found.push(Examined::Event(copy));
        }
    };
    assert_eq!(found("abaab", again(4)).await, ["repeated sales.order.b 2"]);
    assert_eq!(
        found("abaab", again(0)).await,
        ["reordered sales.order.a 1"]
    );
    // Also when everything before was verified already.
    assert_eq!(
        found_since("abaab", again(0)).await,
        ["reordered sales.order.a 1"]
    );
}

#[tokio::test]
async fn a_stream_that_ends_before_its_head_is_cut() {
    let faults = found("abaab", |stored| drop(stored.found.remove(3)));
    assert_eq!(faults.await, ["cut sales.order.a 3"]);
    let all = found("abb", |stored| drop(stored.found.remove(0)));
    assert_eq!(all.await, ["cut sales.order.a 1"]);
}

#[tokio::test]
async fn a_history_that_was_cut_with_all_traces_shows_against_what_was_verified() {
    let cut = |stored: &mut Stored| {
        stored.found.truncate(3);
        let before = at(stored, 2).clone();
        let head = stored.heads.get_mut(&id("a")).unwrap();
        (head.version, head.position, head.cid) = (before.version, before.position, before.cid);
        stored.heads.remove(&id("c"));
    };
    assert_eq!(found("abaac", cut).await, Vec::<String>::new());
    let faults = found_since("abaac", cut).await;
    assert_eq!(faults, ["cut sales.order.a 3", "cut sales.order.c 1"]);
}

#[tokio::test]
async fn a_last_event_that_was_replaced_with_all_traces_shows_against_what_was_verified() {
    let replace = |stored: &mut Stored| {
        let last = at(stored, 3);
        forge(last, b"9", None);
        let cid = last.cid;
        stored.heads.get_mut(&id("a")).unwrap().cid = cid;
    };
    assert_eq!(found("abaab", replace).await, Vec::<String>::new());
    let faults = found_since("abaab", replace).await;
    assert_eq!(faults, ["forked sales.order.a 3"]);
}

#[tokio::test]
async fn a_head_that_names_another_event_is_a_fault_of_the_index() {
    let faults = found("abaab", |stored| {
        stored.heads.get_mut(&id("a")).unwrap().cid = EventCid::of(b"other");
    });
    assert_eq!(faults.await, ["index sales.order.a 3"]);
    let unlisted = found("abaab", |stored| drop(stored.heads.remove(&id("b"))));
    assert_eq!(unlisted.await, ["index sales.order.b 2"]);
}

#[tokio::test]
async fn a_place_that_cant_be_read_is_the_event_that_its_stream_misses() {
    let destroy = |index: usize, missing: bool| {
        move |stored: &mut Stored| {
            let position = Some(at(stored, index).position);
            stored.found[index] = Examined::Damage(Damage {
                position,
                stream: None,
                version: None,
                missing,
                message: "a record does not match its checksum".to_owned(),
            });
        }
    };
    assert_eq!(
        found("abaab", destroy(2, false)).await,
        ["altered sales.order.a 2"]
    );
    assert_eq!(
        found("abaab", destroy(3, false)).await,
        ["altered sales.order.a 3"]
    );
    assert_eq!(
        found("abaab", destroy(2, true)).await,
        ["removed sales.order.a 2"]
    );
}

#[tokio::test]
async fn a_place_that_no_stream_misses_is_a_fault_of_the_log() {
    let damage = |position| {
        Examined::Damage(Damage {
            position,
            stream: None,
            version: None,
            missing: false,
            message: "no record begins here".to_owned(),
        })
    };
    let faults = found("abb", |stored| stored.found.insert(1, damage(None)));
    assert_eq!(faults.await, ["damaged log 0"]);
}

#[tokio::test]
async fn a_commit_that_is_not_whole_is_named() {
    let log = MemoryStore::new().log();
    let both = Append::new()
        .write(id("a"), ExpectedVersion::Any, vec![event(1)])
        .write(id("b"), ExpectedVersion::Any, vec![event(2)]);
    log.append(&Context::new(), both).await.unwrap();
    append(&*log, "ab").await;
    let mut without_the_first = stored(&*log).await;
    without_the_first.found.remove(0);
    let faults = verify(meddled(&log, without_the_first), VerifiedHeads::default()).await;
    assert_eq!(
        shown(&faults),
        ["removed sales.order.a 1", "commit sales.order.b 1"]
    );
}

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
async fn where_a_stream_cant_be_read_the_log_says_what_is_wrong() {
    let (log, mut stored) = history("abaab").await;
    at(&mut stored, 2).block = Bytes::from_static(b"\xff");
    let mut refusing = Arc::into_inner(meddled(&log, stored)).unwrap();
    refusing.refuses = Some(id("a"));
    let refusing: Arc<dyn EventLog> = Arc::new(refusing);
    let verifier = Verifier::new(refusing.clone()).with_workers(1);
    let pattern = StreamPattern::all();
    let faults = verifier
        .verify_streams(&Context::new(), &pattern, |_| ())
        .await
        .unwrap();
    assert_eq!(shown(&faults), ["altered sales.order.a 2"]);

    // The events are sound: it is the way to them that is broken.
    let (log, stored) = history("abaab").await;
    let mut refusing = Arc::into_inner(meddled(&log, stored)).unwrap();
    refusing.refuses = Some(id("a"));
    let refusing: Arc<dyn EventLog> = Arc::new(refusing);
    let verifier = Verifier::new(refusing.clone()).with_workers(1);
    let faults = verifier
        .verify_streams(&Context::new(), &pattern, |_| ())
        .await
        .unwrap();
    assert_eq!(shown(&faults), ["index sales.order.a 1"]);
    let whole = Verifier::new(refusing.clone())
        .verify(&Context::new(), |_| ())
        .await
        .unwrap();
    assert_eq!(shown(&whole), Vec::<String>::new());
    let streams = Verifier::new(refusing).reading_streams();
    let streams = streams.verify(&Context::new(), |_| ()).await.unwrap();
    assert_eq!(shown(&streams), ["index sales.order.a 1"]);
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
async fn progress_counts_up_to_the_whole() {
    let (log, _) = history("abaab").await;
    let mut last: Option<VerificationProgress> = None;
    let note = |now: VerificationProgress| {
        assert!(last.is_none_or(|last| last.done <= now.done));
        last = Some(now);
    };
    Verifier::new(log)
        .with_workers(1)
        .verify(&Context::new(), note)
        .await
        .unwrap();
    let last = last.unwrap();
    assert_eq!((last.done, last.total), (5, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_appended_meanwhile_is_no_fault() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("embedded:{}", directory.path().join("store").display());
    for store in [
        cim_domain::open("memory:").await.unwrap(),
        cim_domain::open(&url).await.unwrap(),
    ] {
        let log = store.log();
        append(&*log, "abc").await;
        let writer = tokio::spawn({
            let log = log.clone();
            async move {
                for _ in 0..60 {
                    append(&*log, "abcdeafghb").await;
                }
            }
        });
        let mut heads = VerifiedHeads::default();
        let mut verified = 0;
        while !writer.is_finished() || verified < 603 {
            let verifier = Verifier::new(log.clone()).since(heads).with_workers(2);
            let found = verifier.verify(&Context::new(), |_| ()).await.unwrap();
            assert_eq!(found.faults, []);
            verified = found.heads.events();
            heads = found.heads;
        }
        writer.await.unwrap();
        assert_eq!((heads.events(), heads.streams()), (603, 8));
    }
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

/// One thing that somebody does to what is stored.
#[derive(Clone, Debug)]
enum Meddling {
    Flip { event: usize, byte: usize, bit: u8 },
    Remove { event: usize },
    Swap { one: usize, other: usize },
    Forge { event: usize },
}

impl Meddling {
    /// Whether it was possible, and shows without knowing more than the log and its heads.
    fn apply(self, stored: &mut Stored) -> bool {
        let count = stored.found.len();
        match self {
            Self::Flip { event, byte, bit } => {
                let event = at(stored, event % count);
                let mut block = event.block.to_vec();
                let byte = byte % block.len();
                block[byte] ^= 1 << bit;
                event.block = block.into();
            }
            Self::Remove { event } => drop(stored.found.remove(event % count)),
            Self::Swap { one, other } => {
                let (one, other) = (one % count, other % count);
                let stream = at(stored, one).stream.clone();
                if stream != at(stored, other).stream || one == other {
                    return false;
                }
                stored.found.swap(one, other);
                renumber(stored);
            }
            Self::Forge { event } => forge(at(stored, event % count), b"\"forged\"", None),
        }
        true
    }
}

fn meddling() -> impl Strategy<Value = Meddling> {
    let any = any::<usize>();
    prop_oneof![
        (any, any, 0..8_u8).prop_map(|(event, byte, bit)| Meddling::Flip { event, byte, bit }),
        any.prop_map(|event| Meddling::Remove { event }),
        (any, any).prop_map(|(one, other)| Meddling::Swap { one, other }),
        any.prop_map(|event| Meddling::Forge { event }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_meddling_goes_unnoticed_on_one_core_or_several(
        streams in "[a-d]{1,40}",
        meddling in meddling(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(async {
            let (log, mut stored) = history(&streams).await;
            let noticed = meddling.apply(&mut stored);
            let log = meddled(&log, stored);
            let one = verify(log.clone(), VerifiedHeads::default()).await;
            let several = Verifier::new(log).with_workers(3).verify(&Context::new(), |_| ()).await;
            prop_assert_eq!(shown(&one), shown(&several.unwrap()));
            prop_assert_eq!(one.is_sound(), !noticed);
            let known = [Kind::Altered, Kind::Removed, Kind::Reordered, Kind::Forked, Kind::Cut, Kind::Index];
            prop_assert!(one.faults.iter().all(|fault| known.contains(&fault.kind)), "{:?}", one.faults);
            Ok(())
        })?;
    }
}
