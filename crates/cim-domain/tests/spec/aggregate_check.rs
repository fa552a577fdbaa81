//! `AggregateCheck`: an aggregate that breaks a rule is caught, and what is shown of it.

use std::collections::HashSet;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};

use cim_domain::testing::AggregateCheck;
use cim_domain::{Aggregate, DomainEvent};
use expect_test::{Expect, expect};
use serde::{Deserialize, Serialize};

use crate::account::{Account, AccountCommand, AccountEvent};

/// An aggregate that counts, with what is given in place of a rule that it breaks.
macro_rules! counter {
    ($name:ident { $($field:ident: $type:ty),* } apply |$state:ident, $event:ident| $apply:block
     handle |$this:ident, $command:ident| $handle:block) => {
        #[derive(Debug, Default, PartialEq)]
        struct $name { $($field: $type),* }

        impl Aggregate for $name {
            const CONTEXT: &'static str = "test";
            const TYPE: &'static str = "counter";
            type Id = String;
            type Event = CounterEvent;
            type Command = CounterCommand;
            type Error = Refused;

            fn apply(&mut self, $event: &CounterEvent) {
                let $state = self;
                $apply
            }

            fn handle(&self, $command: CounterCommand) -> Result<Vec<CounterEvent>, Refused> {
                let $this = self;
                $handle
            }
        }
    };
}

#[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
enum CounterEvent {
    Increased { by: u64 },
    Reset,
    Named(#[serde(with = "shortened")] String),
}
use CounterEvent::{Increased, Named, Reset};

/// Forgets what comes after the third character.
mod shortened {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(name: &str, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&name.chars().take(3).collect::<String>())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        String::deserialize(from)
    }
}

#[derive(Clone, Debug)]
enum CounterCommand {
    Increase(u64),
    Reset,
    Name(&'static str),
}
use CounterCommand::Increase;

#[derive(Debug, thiserror::Error)]
#[error("refused with number {number}")]
struct Refused {
    number: u64,
}

/// What a sound counter decides.
fn decide(command: CounterCommand) -> Vec<CounterEvent> {
    match command {
        Increase(by) => vec![Increased { by }],
        CounterCommand::Reset => vec![Reset],
        CounterCommand::Name(name) => vec![Named(name.to_owned())],
    }
}

const COMMANDS: [CounterCommand; 3] = [Increase(1), Increase(5), CounterCommand::Reset];

#[track_caller]
fn shown(check: impl FnOnce() + std::panic::UnwindSafe, expected: &Expect) {
    let panic = catch_unwind(check).expect_err("no rule is broken");
    let text = match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast_ref::<&str>()
            .expect("the panic has a text")
            .to_string(),
    };
    // Where the code stands is not what is tested.
    let lines = text
        .lines()
        .map(|line| match line.split_once("aggregate_check.rs:") {
            Some((before, _)) => format!("{before}aggregate_check.rs:…\n"),
            None => format!("{line}\n"),
        });
    expected.assert_eq(&lines.collect::<String>());
}

counter!(Sound { count: u64 }
    apply |state, event| {
        match event {
            Increased { by } => state.count += by,
            Reset => state.count = 0,
            Named(_) => {}
        }
    }
    handle |_state, command| { Ok(decide(command)) }
);

#[test]
fn an_aggregate_that_keeps_the_rules_passes_and_it_is_told_what_was_looked_at() {
    let checked = AggregateCheck::<Account>::new()
        .history([
            AccountEvent::Deposited { cents: 5 },
            AccountEvent::Withdrawn { cents: 5 },
        ])
        .commands([
            AccountCommand::Deposit(7),
            AccountCommand::Withdraw(3),
            AccountCommand::Close,
        ])
        .seed(1)
        .walks(10)
        .steps(6)
        .check();
    assert_eq!(checked.seed, 1);
    // Three commands after three prefixes, and ten walks of six.
    assert_eq!(checked.decisions, 3 * 3 + 10 * 6);
    assert!(checked.refusals > 0 && checked.refusals < checked.decisions);
    assert_eq!(checked.unseen_event_types(), [""; 0]);
}

#[test]
fn the_same_seed_makes_the_same_choices() {
    let check = |seed| {
        AggregateCheck::<Sound>::new()
            .commands(COMMANDS)
            .seed(seed)
            .check()
    };
    assert_eq!(check(3), check(3));
    assert_ne!(check(3).seed, check(4).seed);
}

#[test]
fn event_types_that_nothing_led_to_are_told() {
    let checked = AggregateCheck::<Sound>::new().commands(COMMANDS).check();
    assert_eq!(checked.unseen_event_types(), ["named"]);
}

#[test]
fn a_check_of_nothing_fails() {
    shown(
        || {
            AggregateCheck::<Sound>::new().check();
        },
        &expect![[r#"
            there is nothing to check: give `history` or `commands`
        "#]],
    );
}

counter!(Narrow { count: u8 }
    apply |state, event| {
        match event {
            Increased { by } => state.count = state.count.checked_add(*by as u8).expect("it fits"),
            Reset => state.count = 0,
            Named(_) => {}
        }
    }
    handle |_state, command| { Ok(decide(command)) }
);

#[test]
fn a_replay_that_panics_is_caught_with_the_shortest_walk_to_it() {
    shown(
        || {
            AggregateCheck::<Narrow>::new()
                .history([Increased { by: 3 }, Reset])
                .commands([Increase(1), Increase(100), CounterCommand::Reset])
                .seed(5)
                .check();
        },
        &expect![[r#"
            test.counter: replaying a history panics: `apply` can't refuse what has happened, and an aggregate that can't be loaded can never be changed again

            what has happened, the shortest found:
              1. Increased { by: 100 }
              2. Increased { by: 100 }
              3. Increased { by: 100 }
            what came of it:
            panicked at crates/cim-domain/tests/spec/aggregate_check.rs:…
            it fits

            found by random walk 1 of seed 5; `CIM_SEED=5` repeats it
        "#]],
    );
}

#[test]
fn a_prefix_of_a_history_that_can_not_be_replayed_is_caught() {
    shown(
        || {
            AggregateCheck::<Narrow>::new()
                .history([Increased { by: 200 }, Increased { by: 100 }, Reset])
                .check();
        },
        &expect![[r#"
            test.counter: replaying a history panics: `apply` can't refuse what has happened, and an aggregate that can't be loaded can never be changed again

            what has happened, the shortest found:
              1. Increased { by: 200 }
              2. Increased { by: 100 }
            what came of it:
            panicked at crates/cim-domain/tests/spec/aggregate_check.rs:…
            it fits

            found in history 1
        "#]],
    );
}

counter!(Dividing { count: u64 }
    apply |state, event| {
        if let Increased { by } = event { state.count += by }
    }
    handle |state, command| {
        match command {
            Increase(by) if by % (6 - state.count.min(6)) < by + 1 => Ok(vec![Increased { by }]),
            _ => Ok(vec![]),
        }
    }
);

#[test]
fn a_decision_that_panics_is_caught() {
    shown(
        || {
            AggregateCheck::<Dividing>::new()
                .commands(COMMANDS)
                .seed(5)
                .check();
        },
        &expect![[r#"
            test.counter: deciding panics: what can't be done is refused with an error

            what has happened, the shortest found:
              1. Increased { by: 1 }
              2. Increased { by: 5 }
            what is asked:
              Increase(1)
            what came of it:
            panicked at crates/cim-domain/tests/spec/aggregate_check.rs:…
            attempt to calculate the remainder with a divisor of zero

            found by random walk 1 of seed 5; `CIM_SEED=5` repeats it
        "#]],
    );
}

/// A number that a shared reference can change.
#[derive(Debug, Default)]
struct Tally(AtomicU64);

impl Tally {
    /// Counts on, and gives the new number.
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl PartialEq for Tally {
    fn eq(&self, other: &Self) -> bool {
        self.0.load(Ordering::Relaxed) == other.0.load(Ordering::Relaxed)
    }
}

counter!(Impatient { count: u64, asked: Tally }
    apply |state, event| {
        if let Increased { by } = event { state.count += by }
    }
    handle |state, command| {
        state.asked.next();
        Ok(decide(command))
    }
);

#[test]
fn a_decision_that_changes_the_state_is_caught() {
    shown(
        || {
            AggregateCheck::<Impatient>::new()
                .commands([Increase(1)])
                .seed(5)
                .check();
        },
        &expect![[r#"
            test.counter: deciding changes the state: `handle` returns events, and `apply` alone takes them in; what it changed is lost with the next load

            nothing has happened before
            what is asked:
              Increase(1)
            what came of it:
            - after `handle`, + before it:
             Impatient {
                 count: 0,
                 asked: Tally(
            -        1,
            +        0,
                 ),
             }

            found by random walk 1 of seed 5; `CIM_SEED=5` repeats it
        "#]],
    );
}

static CALLS: Tally = Tally(AtomicU64::new(0));

counter!(Moody { count: u64 }
    apply |state, event| {
        if let Increased { by } = event { state.count += by }
    }
    handle |state, command| {
        match command {
            CounterCommand::Reset if state.count > 5 => {
                Err(Refused { number: CALLS.next() % 2 })
            }
            command => Ok(decide(command)),
        }
    }
);

#[test]
fn a_decision_that_rests_on_more_than_state_and_command_is_caught() {
    shown(
        || {
            AggregateCheck::<Moody>::new()
                .commands(COMMANDS)
                .seed(5)
                .check();
        },
        &expect![[r#"
            test.counter: the same command on the same state has different outcomes: `handle` may use nothing but the state and the command

            what has happened, the shortest found:
              1. Increased { by: 5 }
              2. Increased { by: 1 }
            what is asked:
              Reset
            what came of it:
            - first time, + second time:
             Err(
                 Refused {
            -        number: 1,
            +        number: 0,
                 },
             )

            found by random walk 1 of seed 5; `CIM_SEED=5` repeats it
        "#]],
    );
}

/// Remembers what it was asked, and shows it to nobody.
#[derive(Default)]
struct Secret(Tally);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl PartialEq for Secret {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

counter!(Tired { count: u64, secret: Secret }
    apply |state, event| {
        if let Increased { by } = event { state.count += by }
    }
    handle |state, command| {
        // The first calls don't differ; those after many do.
        Ok(match state.secret.0.next() > 8 {
            true => vec![],
            false => decide(command),
        })
    }
);

#[test]
fn a_decision_that_a_replayed_copy_does_not_make_is_caught() {
    shown(
        || {
            AggregateCheck::<Tired>::new()
                .commands([Increase(1)])
                .seed(5)
                .check();
        },
        &expect![[r#"
            test.counter: a copy that was replayed decides otherwise: the decision rests on something that the events don't say

            what has happened, the shortest found:
              1. Increased { by: 1 }
              2. Increased { by: 1 }
              3. Increased { by: 1 }
              4. Increased { by: 1 }
            what is asked:
              Increase(1)
            what came of it:
            - this one, + a replayed copy:
             Ok(
            -    [],
            +    [
            +        Increased {
            +            by: 1,
            +        },
            +    ],
             )

            found by random walk 1 of seed 5; `CIM_SEED=5` repeats it
        "#]],
    );
}

static APPLIED: Tally = Tally(AtomicU64::new(0));

counter!(Dated { count: u64, reset_at: u64 }
    apply |state, event| {
        match event {
            Increased { by } => state.count += by,
            Reset => *state = Self { count: 0, reset_at: APPLIED.next() % 2 },
            Named(_) => {}
        }
    }
    handle |_state, command| { Ok(decide(command)) }
);

#[test]
fn a_state_that_rests_on_more_than_its_events_is_caught() {
    shown(
        || {
            AggregateCheck::<Dated>::new()
                .commands(COMMANDS)
                .seed(5)
                .check();
        },
        &expect![[r#"
            test.counter: the same history leads to different states: `apply` may use nothing but the state and the event

            what has happened, the shortest found:
              1. Reset
            what came of it:
            - one replay, + the other:
             Dated {
                 count: 0,
            -    reset_at: 1,
            +    reset_at: 0,
             }

            found by random walk 1 of seed 5; `CIM_SEED=5` repeats it
        "#]],
    );
}

#[test]
fn an_event_that_storage_alters_is_caught() {
    shown(
        || {
            AggregateCheck::<Sound>::new()
                .commands([Increase(1), CounterCommand::Name("long name")])
                .seed(5)
                .check();
        },
        &expect![[r#"
            test.counter: an event does not survive storage

            what has happened, the shortest found:
              1. Named("long name")
            what came of it:
            another event comes back than was written as "lon" (- written, + came back):
             Named(
            -    "long name",
            +    "lon",
             )

            found by random walk 1 of seed 5; `CIM_SEED=5` repeats it
        "#]],
    );
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Remembered {
    count: u64,
    #[serde(skip)]
    resets: u64,
}

impl Aggregate for Remembered {
    const CONTEXT: &'static str = "test";
    const TYPE: &'static str = "counter";
    type Id = String;
    type Event = CounterEvent;
    type Command = CounterCommand;
    type Error = Refused;

    fn apply(&mut self, event: &CounterEvent) {
        match event {
            Increased { by } => self.count += by,
            Reset => (self.count, self.resets) = (0, self.resets + 1),
            Named(_) => {}
        }
    }

    fn handle(&self, command: CounterCommand) -> Result<Vec<CounterEvent>, Refused> {
        Ok(decide(command))
    }
}

#[test]
fn a_state_that_a_snapshot_alters_is_caught_where_snapshots_are_checked() {
    let check = || {
        AggregateCheck::<Remembered>::new()
            .commands(COMMANDS)
            .seed(5)
    };
    check().check();
    shown(
        || {
            check().with_snapshots().check();
        },
        &expect![[r#"
            test.counter: the state does not survive a snapshot: what serde skips or alters is missing after the next load

            what has happened, the shortest found:
              1. Reset
            what came of it:
            - as it was, + from the snapshot:
             Remembered {
                 count: 0,
            -    resets: 1,
            +    resets: 0,
             }

            found by random walk 1 of seed 5; `CIM_SEED=5` repeats it
        "#]],
    );
}

counter!(Unordered { names: HashSet<String> }
    apply |state, event| {
        if let Named(name) = event { state.names.insert(name.clone()); }
    }
    handle |_state, command| { Ok(decide(command)) }
);

#[test]
fn equal_states_that_are_shown_in_another_order_are_equal() {
    let names = ["a", "b", "c", "d", "e", "f", "g"].map(CounterCommand::Name);
    AggregateCheck::<Unordered>::new().commands(names).check();
}
