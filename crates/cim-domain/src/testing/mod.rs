//! A test kit for aggregates: *given* what happened, *when* this is asked, *then* that follows.
//!
//! It needs no runtime and no store. Where an expectation is not met it panics with the difference
//! line by line, at the place in the test that stated it.
//!
//! ```
//! # use cim_domain::{Aggregate, DomainEvent};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
//! # enum DoorEvent { Opened, Closed }
//! # use DoorEvent::{Closed, Opened};
//! # #[derive(Clone)] enum DoorCommand { Open, Close }
//! # use DoorCommand::{Close, Open};
//! # #[derive(Debug, thiserror::Error)]
//! # enum DoorError { #[error("the door is locked")] Locked }
//! # #[derive(Debug, Default)] struct Door { open: bool }
//! # impl Aggregate for Door {
//! #     const CONTEXT: &'static str = "house";
//! #     const TYPE: &'static str = "door";
//! #     type Id = String;
//! #     type Event = DoorEvent;
//! #     type Command = DoorCommand;
//! #     type Error = DoorError;
//! #     fn apply(&mut self, event: &DoorEvent) { self.open = *event == Opened; }
//! #     fn handle(&self, command: DoorCommand) -> Result<Vec<DoorEvent>, DoorError> {
//! #         Ok(match (command, self.open) {
//! #             (Open, false) => vec![Opened],
//! #             (Close, true) => vec![Closed],
//! #             _ => vec![],
//! #         })
//! #     }
//! # }
//! use cim_domain::testing::{given, given_no_events};
//!
//! given_no_events::<Door>().when(Open).then([Opened]);
//! given::<Door>([Opened]).when(Close).then([Closed]);
//! given::<Door>([Opened, Closed]).when(Close).then_nothing();
//! given::<Door>([Opened]).when(Close).then_state(|door| !door.open);
//! ```

mod check;
mod decision;
pub(crate) mod difference;
mod schema_lock;
mod seeding;
mod storage;

pub use check::{AggregateCheck, Checked};
pub use cim_store::{ManualClock, SequentialIds};
pub use decision::{Given, When, given, given_events_no_runtime, given_no_events};
pub use schema_lock::SchemaLock;
pub use seeding::given_events;
pub use storage::assert_survives_storage;
