//! The aggregates of a decision: a tuple of different types, or a list of one.

use super::participant::AnyParticipant;
use super::{Draft, Participant};
use crate::Aggregate;

/// The aggregates that a decision is over: a tuple of 1 to 8 [`Participant`]s of any types, or a
/// `Vec` of those of one type.
pub trait Participants: Members {
    /// What the decision is given: a tuple of [`Draft`]s in the same order, or a `Vec` of them.
    type Drafts<'a>
    where
        Self: 'a;

    /// The drafts, for one attempt at the decision.
    #[doc(hidden)]
    fn drafts(&mut self) -> Self::Drafts<'_>;
}

/// What is behind [`Participants`]; nobody else implements it.
#[doc(hidden)]
pub trait Members: Send + 'static {
    /// All of them.
    fn members(&mut self) -> List<'_>;
}

/// Participants of any types.
#[doc(hidden)]
#[allow(missing_debug_implementations)] // never leaves this crate
pub struct List<'a>(pub(super) Vec<&'a mut dyn AnyParticipant>);

macro_rules! tuple_of {
    ($($aggregate:ident $place:tt),+) => {
        impl<$($aggregate: Aggregate),+> Members for ($(Participant<$aggregate>,)+) {
            fn members(&mut self) -> List<'_> {
                List(vec![$(&mut self.$place),+])
            }
        }

        impl<$($aggregate: Aggregate),+> Participants for ($(Participant<$aggregate>,)+) {
            type Drafts<'a> = ($(&'a mut Draft<$aggregate>,)+);

            fn drafts(&mut self) -> Self::Drafts<'_> {
                ($(self.$place.draft(),)+)
            }
        }
    };
}

tuple_of!(A 0);
tuple_of!(A 0, B 1);
tuple_of!(A 0, B 1, C 2);
tuple_of!(A 0, B 1, C 2, D 3);
tuple_of!(A 0, B 1, C 2, D 3, E 4);
tuple_of!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple_of!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple_of!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);

impl<A: Aggregate> Members for Vec<Participant<A>> {
    fn members(&mut self) -> List<'_> {
        let members = self.iter_mut().map(|member| member as _);
        List(members.collect())
    }
}

impl<A: Aggregate> Participants for Vec<Participant<A>> {
    type Drafts<'a> = Vec<&'a mut Draft<A>>;

    fn drafts(&mut self) -> Self::Drafts<'_> {
        self.iter_mut().map(Participant::draft).collect()
    }
}
