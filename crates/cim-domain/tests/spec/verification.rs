//! What a verification finds in logs that somebody has meddled with.

use std::sync::Arc;

use bytes::Bytes;
use cim_domain::persistence::verification::{
    Verification, VerificationFaultKind as Kind, VerificationProgress, VerifiedHeads, Verifier,
};
use cim_domain::store::memory::MemoryStore;
use cim_domain::store::{
    Append, Context, Damage, EventCid, EventLog, Examined, ExpectedVersion, Position, Store,
    StreamPattern, Version,
};
use proptest::prelude::*;

use crate::meddled_log::{
    Stored, append, at, event, forge, history, id, meddled, renumber, stored,
};

pub(crate) async fn verify(log: Arc<dyn EventLog>, since: VerifiedHeads) -> Verification {
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
pub(crate) async fn found_since(streams: &str, meddle: impl FnOnce(&mut Stored)) -> Vec<String> {
    let (log, mut stored) = history(streams).await;
    let first = verify(log.clone(), VerifiedHeads::default()).await;
    assert!(first.is_sound());
    meddle(&mut stored);
    shown(&verify(meddled(&log, stored), first.heads).await)
}

pub(crate) fn shown(verification: &Verification) -> Vec<String> {
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
