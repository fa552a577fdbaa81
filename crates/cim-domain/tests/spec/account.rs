//! The aggregate that these tests work with.

use std::sync::Arc;

use cim_domain::store::{Context, EventLog};
use cim_domain::{Aggregate, DomainEvent, Repository, open};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
pub(crate) enum AccountEvent {
    Deposited { cents: u64 },
    Withdrawn { cents: u64 },
    Closed,
}

#[derive(Clone, Debug)]
pub(crate) enum AccountCommand {
    Deposit(u64),
    Withdraw(u64),
    /// Withdraws what is left and closes; nothing where it is closed already.
    Close,
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum AccountError {
    #[error("only {balance} cents are left")]
    NotEnough { balance: u64 },
    #[error("the account is closed")]
    Closed,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) balance: u64,
    pub(crate) closed: bool,
}

impl Aggregate for Account {
    const CONTEXT: &'static str = "bank";
    const TYPE: &'static str = "account";
    type Id = Uuid;
    type Event = AccountEvent;
    type Command = AccountCommand;
    type Error = AccountError;

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Deposited { cents } => self.balance += cents,
            AccountEvent::Withdrawn { cents } => self.balance -= cents,
            AccountEvent::Closed => self.closed = true,
        }
    }

    fn handle(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, AccountError> {
        match command {
            AccountCommand::Close if self.closed => Ok(vec![]),
            _ if self.closed => Err(AccountError::Closed),
            AccountCommand::Deposit(cents) => Ok(vec![AccountEvent::Deposited { cents }]),
            AccountCommand::Withdraw(cents) if cents > self.balance => {
                Err(AccountError::NotEnough {
                    balance: self.balance,
                })
            }
            AccountCommand::Withdraw(cents) => Ok(vec![AccountEvent::Withdrawn { cents }]),
            AccountCommand::Close if self.balance == 0 => Ok(vec![AccountEvent::Closed]),
            AccountCommand::Close => Ok(vec![
                AccountEvent::Withdrawn {
                    cents: self.balance,
                },
                AccountEvent::Closed,
            ]),
        }
    }
}

pub(crate) const ID: Uuid = Uuid::from_u128(7);

pub(crate) async fn empty_log() -> Arc<dyn EventLog> {
    open("memory:").await.unwrap().log()
}

pub(crate) async fn accounts() -> Repository<Account> {
    Repository::new(empty_log().await)
}

pub(crate) fn ctx() -> Context {
    Context::new()
}
