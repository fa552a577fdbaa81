//! What a stored event becomes when it is read: most often one event of today, sometimes none or
//! several.

/// What a stored event became: events of today, in order.
///
/// An event that an upcast split is several events now; one of a kind that was given up is none.
///
/// ```
/// use cim_domain::event::Decoded;
///
/// let one = Decoded::One("placed");
/// assert_eq!(one.into_iter().collect::<Vec<_>>(), ["placed"]);
/// assert_eq!(Decoded::Several(vec!["placed", "paid"]).len(), 2);
/// assert!(Decoded::<&str>::Nothing.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded<E> {
    /// Nothing: the fact no longer matters.
    Nothing,
    /// One event.
    One(E),
    /// Several events in this order, as an upcast made them.
    Several(Vec<E>),
}

impl<E> Decoded<E> {
    /// How many events there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(_) => 1,
            Self::Several(events) => events.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<E> IntoIterator for Decoded<E> {
    type Item = E;
    type IntoIter = DecodedEvents<E>;

    fn into_iter(self) -> DecodedEvents<E> {
        DecodedEvents(match self {
            Self::Nothing => Inner::One(None),
            Self::One(event) => Inner::One(Some(event)),
            Self::Several(events) => Inner::Several(events.into_iter()),
        })
    }
}

/// The events of a [`Decoded`].
#[derive(Clone, Debug)]
pub struct DecodedEvents<E>(Inner<E>);

#[derive(Clone, Debug)]
enum Inner<E> {
    One(Option<E>),
    Several(std::vec::IntoIter<E>),
}

impl<E> Iterator for DecodedEvents<E> {
    type Item = E;

    fn next(&mut self) -> Option<E> {
        match &mut self.0 {
            Inner::One(event) => event.take(),
            Inner::Several(events) => events.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Inner::One(event) => {
                let left = usize::from(event.is_some());
                (left, Some(left))
            }
            Inner::Several(events) => events.size_hint(),
        }
    }
}

impl<E> ExactSizeIterator for DecodedEvents<E> {}
