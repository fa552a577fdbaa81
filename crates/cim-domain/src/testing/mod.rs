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

mod difference;

use std::fmt;

use crate::event::{Codec as _, Decoded, Encoded};
use crate::{Aggregate, DomainEvent};

/// An aggregate to which this has happened.
///
/// ```
/// # use cim_domain::{Aggregate, DomainEvent, testing::given};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
/// # enum JarEvent { Filled(u32) }
/// # #[derive(Debug, PartialEq, thiserror::Error)]
/// # enum JarError { #[error("only {0} fit")] Full(u32) }
/// # #[derive(Default)] struct Jar(u32);
/// # impl Aggregate for Jar {
/// #     const CONTEXT: &'static str = "kitchen";
/// #     const TYPE: &'static str = "jar";
/// #     type Id = String;
/// #     type Event = JarEvent;
/// #     type Command = u32;
/// #     type Error = JarError;
/// #     fn apply(&mut self, event: &JarEvent) { let JarEvent::Filled(n) = event; self.0 += n; }
/// #     fn handle(&self, n: u32) -> Result<Vec<JarEvent>, JarError> {
/// #         if self.0 + n > 10 { return Err(JarError::Full(10 - self.0)); }
/// #         Ok(vec![JarEvent::Filled(n)])
/// #     }
/// # }
/// given::<Jar>([JarEvent::Filled(8)])
///     .when(3)
///     .then_error(|error| matches!(error, JarError::Full(2)));
/// ```
pub fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut state = A::default();
    for event in events {
        state.apply(&event);
    }
    Given { state }
}

/// An aggregate to which nothing has happened yet.
pub fn given_no_events<A: Aggregate>() -> Given<A> {
    given([])
}

/// An aggregate with a past.
#[derive(Clone, Debug)]
#[must_use = "go on with `when`"]
pub struct Given<A> {
    state: A,
}

impl<A: Aggregate> Given<A> {
    /// Asks it to execute a command.
    pub fn when(self, command: A::Command) -> When<A> {
        let outcome = self.state.handle(command);
        When {
            state: self.state,
            outcome,
        }
    }
}

/// An aggregate that decided about a command.
#[must_use = "go on with one of the `then` functions"]
pub struct When<A: Aggregate> {
    state: A,
    outcome: Result<Vec<A::Event>, A::Error>,
}

impl<A: Aggregate> When<A> {
    /// Then exactly these events follow, in this order.
    ///
    /// # Panics
    /// With the difference, if other events follow or the command is rejected.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = A::Event>)
    where
        A::Event: fmt::Debug + PartialEq,
    {
        let expected: Vec<A::Event> = expected.into_iter().collect();
        match self.outcome {
            Ok(events) if events == expected => {}
            Ok(events) => panic!(
                "other events followed than expected (- expected, + followed):\n{}",
                difference::of(&expected, &events)
            ),
            Err(error) => panic!(
                "the command was rejected, but these events were expected:\n{expected:#?}\n\
                 rejected because: {error}\n{error:#?}"
            ),
        }
    }

    /// Then nothing follows: the command is accepted and changes nothing.
    ///
    /// # Panics
    /// If events follow or the command is rejected.
    #[track_caller]
    pub fn then_nothing(self)
    where
        A::Event: fmt::Debug,
    {
        match self.outcome {
            Ok(events) if events.is_empty() => {}
            Ok(events) => panic!("nothing was expected, but these events followed:\n{events:#?}"),
            Err(error) => panic!(
                "nothing was expected, but the command was rejected because: {error}\n{error:#?}"
            ),
        }
    }

    /// Then the command is rejected with an error of which this is true.
    ///
    /// # Panics
    /// If it is rejected with another error, or not rejected.
    #[track_caller]
    pub fn then_error(self, expected: impl FnOnce(&A::Error) -> bool)
    where
        A::Event: fmt::Debug,
    {
        match self.outcome {
            Err(error) if expected(&error) => {}
            Err(error) => panic!("the command was rejected with another error:\n{error:#?}"),
            Ok(events) => panic!(
                "the command was expected to be rejected, but these events followed:\n{events:#?}"
            ),
        }
    }

    /// Then, with the events that follow applied, this is true of the aggregate.
    ///
    /// # Panics
    /// If it is not true, or the command is rejected.
    #[track_caller]
    pub fn then_state(mut self, expected: impl FnOnce(&A) -> bool)
    where
        A: fmt::Debug,
    {
        match self.outcome {
            Ok(events) => {
                events.iter().for_each(|event| self.state.apply(event));
                assert!(
                    expected(&self.state),
                    "the aggregate is in another state than expected:\n{:#?}",
                    self.state
                );
            }
            Err(error) => panic!("the command was rejected because: {error}\n{error:#?}"),
        }
    }
}

impl<A: Aggregate> fmt::Debug for When<A>
where
    A::Event: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("When")
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

/// Writes an event as its payload and reads it again: what comes back must be the same event.
///
/// ```
/// # use cim_domain::DomainEvent;
/// # use serde::{Deserialize, Serialize};
/// #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
/// enum OrderEvent {
///     Placed { customer: String },
/// }
///
/// cim_domain::testing::assert_survives_storage(&OrderEvent::Placed { customer: "anna".into() });
/// ```
///
/// # Panics
/// With the difference if it is another event, or with the error if it can't be written or read.
#[track_caller]
pub fn assert_survives_storage<E: DomainEvent + fmt::Debug + PartialEq>(event: &E) {
    let payload = match event.encode() {
        Ok(payload) => payload,
        Err(error) => panic!("the event can't be written: {error}\n{error:#?}\n{event:#?}"),
    };
    let shown = String::from_utf8_lossy(&payload);
    let stored = Encoded {
        event_type: event.event_type(),
        schema_version: event.schema_version(),
        content_type: E::Codec::CONTENT_TYPE,
        payload: &payload,
    };
    match E::decode(stored) {
        Ok(Decoded::One(read)) if read == *event => {}
        Ok(Decoded::One(read)) => panic!(
            "another event comes back than was written as {shown} (- written, + came back):\n{}",
            difference::of(event, &read)
        ),
        Ok(read) => panic!(
            "what was written as {shown} is read as {} events",
            read.len()
        ),
        Err(error) => panic!("what was written can't be read: {shown}\n{error}\n{error:#?}"),
    }
}
