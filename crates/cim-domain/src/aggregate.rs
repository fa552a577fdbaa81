//! Aggregates: what decides, from its own past, whether a command becomes events.

use std::fmt;

use cim_store::StreamId;
use cim_store::stream_id::StreamIdError;

use crate::DomainEvent;

/// A plain type that is rebuilt from its events and decides about commands.
///
/// Both functions are pure and synchronous: no clock, no random numbers, no I/O. What a decision
/// needs from outside comes with the command. So the same events always give the same state, and a
/// [test](crate::testing) needs no runtime and no store.
///
/// ```
/// use cim_domain::{Aggregate, DomainEvent};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
/// enum AccountEvent {
///     Deposited { cents: u64 },
///     Withdrawn { cents: u64 },
/// }
///
/// #[derive(Clone)]
/// enum AccountCommand {
///     Deposit { cents: u64 },
///     Withdraw { cents: u64 },
/// }
///
/// #[derive(Debug, PartialEq, thiserror::Error)]
/// enum AccountError {
///     #[error("only {balance} cents are left")]
///     NotEnough { balance: u64 },
/// }
///
/// #[derive(Default)]
/// struct Account {
///     balance: u64,
/// }
///
/// impl Aggregate for Account {
///     const CONTEXT: &'static str = "bank";
///     const TYPE: &'static str = "account";
///     type Id = String;
///     type Event = AccountEvent;
///     type Command = AccountCommand;
///     type Error = AccountError;
///
///     fn apply(&mut self, event: &AccountEvent) {
///         match event {
///             AccountEvent::Deposited { cents } => self.balance += cents,
///             AccountEvent::Withdrawn { cents } => self.balance -= cents,
///         }
///     }
///
///     fn handle(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, AccountError> {
///         match command {
///             AccountCommand::Deposit { cents } => Ok(vec![AccountEvent::Deposited { cents }]),
///             AccountCommand::Withdraw { cents } if cents <= self.balance => {
///                 Ok(vec![AccountEvent::Withdrawn { cents }])
///             }
///             AccountCommand::Withdraw { .. } => {
///                 Err(AccountError::NotEnough { balance: self.balance })
///             }
///         }
///     }
/// }
///
/// assert_eq!(Account::stream(&"anna".to_owned())?.as_str(), "bank.account.anna");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Aggregate: Default + Send + Sync + 'static {
    /// The bounded context it belongs to: the first part of its streams' names.
    const CONTEXT: &'static str;

    /// What kind of aggregate it is: the second part of its streams' names. Changing it or
    /// [`CONTEXT`](Self::CONTEXT) means other streams, so it stays what it is.
    const TYPE: &'static str;

    /// What tells one from another: a UUID, a text, or a type around one. Its text is the third
    /// part of the stream's name, escaped where needed; two ids that differ have different texts.
    type Id: fmt::Display + Send + Sync + 'static;

    /// What counts the shapes of its state in [snapshots](crate::persistence::snapshot), from 1.
    ///
    /// Raise it with every change of the state's shape, and when [`apply`](Self::apply), or an
    /// upcast, makes something else of the same events: snapshots of other versions are then ignored,
    /// and the events are read instead. That serde reads the old shape is not enough: a field that an
    /// old snapshot lacks gets its default, and not what the events say.
    /// [`SchemaLock::snapshot`](crate::testing::SchemaLock::snapshot) makes a test of it.
    ///
    /// A snapshot is found by the stream, and not by the Rust type. So two types over the same
    /// streams, which have the same [`CONTEXT`](Self::CONTEXT) and [`TYPE`](Self::TYPE), must not
    /// share a bucket of snapshots: each would begin with the states of the other.
    const SNAPSHOT_VERSION: u32 = 1;

    /// Its events.
    type Event: DomainEvent;

    /// What it can be asked to do. Cloned, because a command is decided again when somebody else
    /// was first.
    type Command: Clone + Send + Sync;

    /// Why it refuses a command.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Takes in an event that has happened. It does not refuse: it did happen.
    fn apply(&mut self, event: &Self::Event);

    /// Decides about a command: the events that come of it, in order, or none where nothing
    /// changes.
    ///
    /// # Errors
    /// Why the command is refused.
    fn handle(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Error>;

    /// How many bytes this aggregate takes in an [`AggregateCache`](crate::persistence::AggregateCache),
    /// at most; the cache adds what it needs itself.
    ///
    /// `replayed_bytes` are the payloads of all events that it was rebuilt from. Unless this is
    /// overridden, the estimate is that it holds all of them: right for a state that only grows,
    /// too much for one that sums up, of which then fewer are kept than could be.
    fn cached_bytes(&self, replayed_bytes: u64) -> u64 {
        (size_of::<Self>() as u64).saturating_add(replayed_bytes)
    }

    /// The stream of the aggregate with this id.
    ///
    /// # Errors
    /// When the id's text is empty or the whole name is longer than [`StreamId::MAX_BYTES`].
    fn stream(id: &Self::Id) -> Result<StreamId, StreamIdError> {
        StreamId::new(Self::CONTEXT, Self::TYPE, &id.to_string())
    }
}
