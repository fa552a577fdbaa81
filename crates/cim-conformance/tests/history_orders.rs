//! One stream, few calls, answers at random: the checker and a search through all orders of the
//! calls agree on which histories are possible.

#![allow(clippy::unwrap_used, reason = "a test")]

use cim_conformance::history::{
    AppendCall, Call, FinalState, History, Operation, Outcome, Seen, WriteCall, Written, check,
};
use cim_conformance::model::Rng;
use cim_store::memory::MemoryStore;
use cim_store::{
    Append, CommitId, Context, EventId, ExpectedVersion, NewEvent, Store, StreamId, Version,
};

fn v(version: u64) -> Version {
    Version::new(version)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

const CALLS: usize = 6;

/// What a call was told about the length of the stream.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// It is the `n`-th commit of the log, from 0, and was acknowledged or not.
    Stored(usize, bool),
    /// It is not in the log, and nobody knows.
    Lost,
    /// The stream had so many commits.
    Saw(usize),
}

struct Small {
    told: Vec<Told>,
    times: Vec<(u64, u64)>,
    commits: usize,
}

fn small(rng: &mut Rng) -> Small {
    let commits = 1 + rng.below(4) as usize;
    let mut told: Vec<Told> = (0..commits)
        .map(|n| Told::Stored(n, !rng.one_in(4)))
        .collect();
    while told.len() < CALLS {
        told.push(match rng.below(5) {
            0 => Told::Lost,
            _ => Told::Saw(rng.below(commits as u64 + 1) as usize),
        });
    }
    // Intervals of random length, begun roughly in the order of the log, so that about as
    // many histories are right as are wrong.
    let mut used = std::collections::BTreeSet::new();
    let mut fresh = |near: u64| {
        let mut moment = near;
        while !used.insert(moment) {
            moment += 1;
        }
        moment
    };
    let times = told
        .iter()
        .map(|told| {
            let place = match told {
                Told::Stored(n, _) => *n as u64 * 8,
                Told::Saw(n) => *n as u64 * 8,
                Told::Lost => 0,
            };
            let begin = fresh(place + rng.below(12));
            let end = fresh(begin + 1 + rng.below(12));
            (begin, end)
        })
        .collect();
    Small {
        told,
        times,
        commits,
    }
}

/// Tries every order of the calls that keeps those apart that did not overlap.
fn some_order_explains(case: &Small) -> bool {
    fn go(case: &Small, done: u32, length: usize) -> bool {
        let must: Vec<usize> = (0..CALLS)
            .filter(|call| done & (1 << call) == 0)
            .filter(|call| !matches!(case.told[*call], Told::Lost))
            .collect();
        if must.is_empty() {
            return length == case.commits;
        }
        must.iter().any(|call| {
            // No other call that is still to come ended before this one began. One that was
            // not answered has no end.
            let first = must.iter().all(|other| {
                let (_, end) = case.times[*other];
                let answered = !matches!(case.told[*other], Told::Stored(_, false));
                !answered || end > case.times[*call].0
            });
            first
                && match case.told[*call] {
                    Told::Stored(n, _) => n == length && go(case, done | 1 << call, length + 1),
                    Told::Saw(n) => n == length && go(case, done | 1 << call, length),
                    Told::Lost => false,
                }
        })
    }
    go(case, 0, 0)
}

fn as_history(case: &Small) -> (History, FinalState) {
    block_on(async {
        let log = MemoryStore::new().log();
        let a = StreamId::new("test", "thing", "a").unwrap();
        let id = |n: usize| EventId::from_bytes([n as u8 + 1; 16]);
        for n in 0..case.commits {
            let append = Append::new()
                .with_commit_id(CommitId::from_bytes([n as u8 + 1; 16]))
                .write(
                    a.clone(),
                    ExpectedVersion::Any,
                    vec![NewEvent::json("happened", &n).unwrap().with_id(id(n))],
                );
            log.append(&Context::new(), append).await.unwrap();
        }
        let append = |n: usize| {
            Call::Append(AppendCall {
                commit: CommitId::from_bytes([n as u8 + 1; 16]),
                writes: vec![WriteCall {
                    stream: a.clone(),
                    expected: ExpectedVersion::Any,
                    events: vec![id(n)],
                }],
                checks: Vec::new(),
            })
        };
        let mut history = History::default();
        for (call, (told, (begin, end))) in case.told.iter().zip(&case.times).enumerate() {
            let (asked, outcome) = match *told {
                Told::Stored(n, true) => {
                    let version = v(n as u64 + 1);
                    let written = Written {
                        stream: a.clone(),
                        first: version,
                        last: version,
                    };
                    (append(n), Outcome::Appended(vec![written]))
                }
                Told::Stored(n, false) => (append(n), Outcome::Unknown),
                Told::Lost => (append(100 + call), Outcome::Unknown),
                Told::Saw(n) if call % 2 == 0 => {
                    (Call::Head { stream: a.clone() }, Outcome::Head(v(n as u64)))
                }
                Told::Saw(count) => (
                    Call::Read {
                        stream: a.clone(),
                        from: v(1),
                    },
                    Outcome::Read(
                        (0..count)
                            .map(|n| Seen {
                                version: v(n as u64 + 1),
                                id: id(n),
                            })
                            .collect(),
                    ),
                ),
            };
            history.operations.push(Operation {
                client: call as u32,
                invoked: *begin,
                completed: Some(*end),
                call: asked,
                outcome,
            });
        }
        let left = FinalState::read(&*log, &Context::new()).await.unwrap();
        (history, left)
    })
}

#[test]
fn the_checker_agrees() {
    let mut rng = Rng::new(42);
    let (mut right, mut wrong) = (0, 0);
    for round in 0..1_500 {
        let case = small(&mut rng);
        let expected = some_order_explains(&case);
        let (history, left) = as_history(&case);
        let found = check(&history, &left);
        assert_eq!(
            found.is_ok(),
            expected,
            "round {round}: {:?} {:?}: {found:#?}",
            case.told,
            case.times
        );
        if expected {
            right += 1;
        } else {
            wrong += 1;
        }
    }
    assert!(right > 200 && wrong > 200, "{right} right, {wrong} wrong");
}
