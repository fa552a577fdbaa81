//! Checks the rules that every aggregate must keep, for the aggregates of an application.
//!
//! ```text
//! mod        what is checked: histories, then random walks     script     one way through an aggregate, run again at will
//! twin       one aggregate asked, one only rebuilt             violation  what is said when a rule is broken
//! panics     panics as values, without their noise
//! ```

mod panics;
mod script;
mod twin;
mod violation;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::script::{Script, Seen, Subject};
use self::violation::{Found, Violation};
use crate::persistence::mix;
use crate::{Aggregate, DomainEvent};

/// How often a violation is tried to be shown with less.
const MOST_TRIES_TO_SHORTEN: usize = 2_000;

/// The conformance check for an aggregate: does it keep the rules that everything here rests on?
///
/// - Replaying any prefix of every history does not panic, and neither does deciding.
/// - Replaying the same events again leads to the same state.
/// - `handle` is pure: the same outcome twice on the same state, which stays as it is, and the same
///   outcome on a copy that was only replayed.
/// - Every event survives storage: what comes back is the same event.
/// - [On demand](Self::with_snapshots) also every state survives a snapshot.
///
/// It asks every command after every prefix of the given histories, and after random sequences of
/// commands, which begin with nothing or with a prefix of a history. What was broken is shown with
/// the shortest history that was found for it.
///
/// ```
/// # use cim_domain::{Aggregate, DomainEvent};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
/// # enum AccountEvent { Deposited { cents: u64 }, Withdrawn { cents: u64 } }
/// # use AccountEvent::{Deposited, Withdrawn};
/// # #[derive(Clone, Debug)] enum AccountCommand { Deposit(u64), Withdraw(u64) }
/// # use AccountCommand::{Deposit, Withdraw};
/// # #[derive(Debug, thiserror::Error)] #[error("only {0} cents are left")] struct NotEnough(u64);
/// # #[derive(Debug, Default, PartialEq)] struct Account { balance: u64 }
/// # impl Aggregate for Account {
/// #     const CONTEXT: &'static str = "bank";
/// #     const TYPE: &'static str = "account";
/// #     type Id = String;
/// #     type Event = AccountEvent;
/// #     type Command = AccountCommand;
/// #     type Error = NotEnough;
/// #     fn apply(&mut self, event: &AccountEvent) {
/// #         match event {
/// #             Deposited { cents } => self.balance += cents,
/// #             Withdrawn { cents } => self.balance -= cents,
/// #         }
/// #     }
/// #     fn handle(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, NotEnough> {
/// #         match command {
/// #             Deposit(cents) => Ok(vec![Deposited { cents }]),
/// #             Withdraw(cents) if cents <= self.balance => Ok(vec![Withdrawn { cents }]),
/// #             Withdraw(_) => Err(NotEnough(self.balance)),
/// #         }
/// #     }
/// # }
/// use cim_domain::testing::AggregateCheck;
///
/// let checked = AggregateCheck::<Account>::new()
///     .history([Deposited { cents: 5 }, Withdrawn { cents: 2 }])
///     .commands([Deposit(1), Deposit(100), Withdraw(1), Withdraw(50)])
///     .check();
/// assert_eq!(checked.unseen_event_types(), [""; 0]);
///
/// // The same walks every time; fewer of them, and shorter.
/// let checked = AggregateCheck::<Account>::new()
///     .commands([Deposit(1), Withdraw(1)])
///     .seed(7)
///     .walks(20)
///     .steps(10)
///     .check();
/// assert_eq!((checked.seed, checked.decisions), (7, 200));
/// ```
///
/// # What it can't see
/// What neither `Debug` nor `PartialEq` of the aggregate shows, and what no given command leads to:
/// give commands that are refused, at the bounds, and that come at the wrong time.
#[must_use = "nothing is checked before `check`"]
pub struct AggregateCheck<A: Aggregate> {
    subject: Subject<A>,
    seed: Option<u64>,
    walks: u32,
    steps: u32,
}

impl<A> AggregateCheck<A>
where
    A: Aggregate + fmt::Debug + PartialEq,
    A::Event: fmt::Debug + PartialEq,
    A::Command: fmt::Debug,
{
    /// A check that has no histories and no commands yet.
    pub fn new() -> Self {
        Self {
            subject: Subject {
                histories: Vec::new(),
                commands: Vec::new(),
                restore: None,
            },
            seed: None,
            walks: 100,
            steps: 30,
        }
    }

    /// Adds a history: the events of one aggregate from its first on. Give those that today's
    /// commands don't lead to any more.
    pub fn history(mut self, events: impl IntoIterator<Item = A::Event>) -> Self {
        self.subject.histories.push(events.into_iter().collect());
        self
    }

    /// Adds commands that are asked.
    pub fn commands(mut self, commands: impl IntoIterator<Item = A::Command>) -> Self {
        self.subject.commands.extend(commands);
        self
    }

    /// Also checks that states survive snapshots, after every event and with every codec. For
    /// aggregates of repositories that have [some](crate::Repository::with_snapshots).
    pub fn with_snapshots(mut self) -> Self
    where
        A: Serialize + DeserializeOwned,
    {
        self.subject.restore = Some(twin::restored);
        self
    }

    /// The seed of the random choices. Without it, it is what the environment variable `CIM_SEED`
    /// says, and without that it is another one in every run. A violation says the seed that found it.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// How many random sequences of commands are tried; 100 unless told.
    pub fn walks(mut self, walks: u32) -> Self {
        self.walks = walks;
        self
    }

    /// How many commands each of them has; 30 unless told.
    pub fn steps(mut self, steps: u32) -> Self {
        self.steps = steps;
        self
    }

    /// Checks, and says what was looked at.
    ///
    /// # Panics
    /// With the rule that is broken, the shortest history that was found to break it, and what
    /// differed there; also where there is nothing to check.
    #[track_caller]
    pub fn check(self) -> Checked {
        assert!(
            !self.subject.commands.is_empty()
                || self.subject.histories.iter().any(|h| !h.is_empty()),
            "there is nothing to check: give `history` or `commands`"
        );
        let seed = match self.seed.map_or_else(default_seed, Ok) {
            Ok(seed) => seed,
            Err(sentence) => panic!("{sentence}"),
        };
        match self.run(seed) {
            Ok(seen) => Checked {
                seed,
                decisions: seen.decisions,
                refusals: seen.refusals,
                events: seen.events,
                unseen: A::Event::EVENT_TYPES
                    .iter()
                    .map(|known| known.name)
                    .filter(|name| !seen.event_types.contains(name))
                    .collect(),
            },
            Err(found) => panic!("{found}"),
        }
    }

    /// What was looked at, or what to say about the rule that is broken.
    fn run(&self, seed: u64) -> Result<Seen, String> {
        let mut seen = Seen::default();
        for number in 0..self.subject.histories.len() {
            let whole = self.subject.every_prefix(number, &mut seen);
            whole.map_err(|violation| {
                let by = format!("in history {}", number + 1);
                Found { violation, by }.to_string()
            })?;
        }
        if self.subject.commands.is_empty() {
            return Ok(seen);
        }
        let mut random = Random(mix(seed));
        for walk in 1..=self.walks {
            let script = self.random_script(&mut random);
            let Err(violation) = self.subject.run(&script, &mut seen) else {
                continue;
            };
            let violation = self.shorten(script, violation);
            let by = format!("by random walk {walk} of seed {seed}; `CIM_SEED={seed}` repeats it");
            return Err(Found { violation, by }.to_string());
        }
        Ok(seen)
    }

    fn random_script(&self, random: &mut Random) -> Script {
        let histories = &self.subject.histories;
        // Nothing at all is as likely a beginning as any of the histories.
        let history = random.below(histories.len() + 1);
        let start = histories
            .get(history)
            .map(|events| (history, random.below(events.len() + 1)));
        let commands = (0..self.steps).map(|_| random.below(self.subject.commands.len()));
        Script {
            start,
            commands: commands.collect(),
        }
    }

    /// Leaves out of the script what the same kind of violation does not need.
    fn shorten(&self, mut script: Script, mut violation: Violation) -> Violation {
        let mut tries = 0;
        let mut has_changed = true;
        while std::mem::take(&mut has_changed) {
            let shorter = script.shorter();
            for candidate in shorter {
                tries += 1;
                if tries > MOST_TRIES_TO_SHORTEN {
                    return violation;
                }
                match self.subject.run(&candidate, &mut Seen::default()) {
                    Err(again) if again.is_like(&violation) => {
                        (script, violation) = (candidate, again);
                        has_changed = true;
                        break;
                    }
                    _ => {}
                }
            }
        }
        violation
    }
}

impl<A> Default for AggregateCheck<A>
where
    A: Aggregate + fmt::Debug + PartialEq,
    A::Event: fmt::Debug + PartialEq,
    A::Command: fmt::Debug,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Aggregate> fmt::Debug for AggregateCheck<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AggregateCheck")
            .field("aggregate", &std::any::type_name::<A>())
            .field("histories", &self.subject.histories.len())
            .field("commands", &self.subject.commands.len())
            .field("seed", &self.seed)
            .field("walks", &self.walks)
            .field("steps", &self.steps)
            .finish()
    }
}

/// What an [`AggregateCheck`] looked at without finding a rule broken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// The seed of the random choices.
    pub seed: u64,
    /// How often a command was decided upon, not counting repetitions.
    pub decisions: u64,
    /// How many of these were refusals.
    pub refusals: u64,
    /// How many events were applied, not counting repetitions.
    pub events: u64,
    unseen: Vec<&'static str>,
}

impl Checked {
    /// The event types that occurred in no history and in no decision, so that nothing is known of
    /// them: `assert_eq!(checked.unseen_event_types(), [""; 0])` makes the check a whole one.
    pub fn unseen_event_types(&self) -> &[&'static str] {
        &self.unseen
    }
}

/// What `CIM_SEED` says, or a fresh one.
fn default_seed() -> Result<u64, String> {
    match std::env::var("CIM_SEED") {
        Ok(text) => text
            .parse()
            .map_err(|_| format!("CIM_SEED is a whole number from 0 to 2^64 - 1, not `{text}`")),
        Err(_) => getrandom::u64()
            .map_err(|error| format!("the machine gives no random seed ({error}); set one")),
    }
}

/// Numbers that follow from a seed.
#[derive(Debug)]
struct Random(u64);

impl Random {
    /// A number from 0 to below `bound`; 0 where that is 0.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(1);
        // The bias of a remainder is far below what a test could notice.
        let number = mix(mix(self.0)) % (bound as u64).max(1);
        usize::try_from(number).unwrap_or(0)
    }
}
