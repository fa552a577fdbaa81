//! A decision tested from events alone: no runtime, no store.

use std::fmt;

use super::difference;
use crate::Aggregate;

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

/// [`given`] under the name that says what it does without: the decision is made of these events
/// alone, at once, without a store and without a runtime.
///
/// ```
/// # use cim_domain::{Aggregate, DomainEvent};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
/// # enum JarEvent { Filled(u32) }
/// # #[derive(Debug, Default, PartialEq)] struct Jar(u32);
/// # impl Aggregate for Jar {
/// #     const CONTEXT: &'static str = "kitchen";
/// #     const TYPE: &'static str = "jar";
/// #     type Id = String;
/// #     type Event = JarEvent;
/// #     type Command = u32;
/// #     type Error = std::convert::Infallible;
/// #     fn apply(&mut self, event: &JarEvent) { let JarEvent::Filled(n) = event; self.0 += n; }
/// #     fn handle(&self, n: u32) -> Result<Vec<JarEvent>, Self::Error> {
/// #         Ok(vec![JarEvent::Filled(n)])
/// #     }
/// # }
/// use cim_domain::testing::given_events_no_runtime;
///
/// given_events_no_runtime::<Jar>([JarEvent::Filled(8)])
///     .when(1)
///     .then_state_is(Jar(9));
/// ```
pub fn given_events_no_runtime<A: Aggregate>(
    events: impl IntoIterator<Item = A::Event>,
) -> Given<A> {
    given(events)
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

    /// Then the command is rejected with this error.
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
    /// given::<Jar>([JarEvent::Filled(8)]).when(3).then_error_is(JarError::Full(2));
    /// ```
    ///
    /// # Panics
    /// With the difference if it is rejected with another error; if it is not rejected.
    #[track_caller]
    pub fn then_error_is(self, expected: A::Error)
    where
        A::Event: fmt::Debug,
        A::Error: PartialEq,
    {
        match self.outcome {
            Err(error) if error == expected => {}
            Err(error) => panic!(
                "the command was rejected with another error than expected \
                 (- expected, + followed):\n{}",
                difference::of(&expected, &error)
            ),
            Ok(events) => panic!(
                "the command was expected to be rejected because: {expected}\n\
                 but these events followed:\n{events:#?}"
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

    /// Then, with the events that follow applied, the aggregate is in this state.
    ///
    /// # Panics
    /// With the difference if it is in another one; if the command is rejected.
    #[track_caller]
    pub fn then_state_is(mut self, expected: A)
    where
        A: fmt::Debug + PartialEq,
    {
        match self.outcome {
            Ok(events) => {
                events.iter().for_each(|event| self.state.apply(event));
                assert!(
                    self.state == expected,
                    "the aggregate is in another state than expected (- expected, + is):\n{}",
                    difference::of(&expected, &self.state)
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
