//! Shared subscriptions: work that is split over several processes.
//!
//! A subscription of [`EventLog`](crate::EventLog) gives every event to everyone who subscribes. A
//! shared subscription gives each event to one of its members, waits until that member says that it
//! is done, and gives it to another one where it does not. Its place is kept by the store, so it
//! survives all members.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use bytestring::ByteString;
use futures_core::stream::BoxStream;

use crate::{Context, EventFilter, EventLogError, Position, RecordedEvent};

/// What a member is given, or the error that ends it. Nothing follows an error.
pub type DeliveryStream = BoxStream<'static, Result<Delivery, EventLogError>>;

/// The shared subscriptions of a store, which it has where its log's capabilities
/// [say so](crate::LogCapabilities::shared_subscriptions).
///
/// # What it promises
/// - **At least once.** Every event that the filter means is delivered until a member acknowledges
///   it or gives it up. Whoever handles it must therefore bear to see it twice: a member that
///   finished the work and died before it said so leaves an event that comes again.
/// - **One member at a time.** An event is delivered to another member only after
///   [`acknowledge_within`](SharedSettings::acknowledge_within) has passed without an answer, or
///   when the member hands it back. A member that takes longer says so with [`Delivery::keep`].
/// - **A place that lasts.** What was acknowledged and what was not is kept by the store, through
///   restarts, and for as long as nobody [deletes](Self::delete) the subscription. An adapter says
///   what a crash of its servers may make it forget; what is forgotten comes again, and nothing is
///   left out.
///
/// # What it does not promise
/// - **Order.** Members work side by side, and what comes again comes late. With
///   [`most_in_flight`](SharedSettings::most_in_flight) 1 each event comes after the one before was
///   acknowledged or given up, so order holds, and only one member works. Where order is needed and
///   speed as well, use [`EventLog::subscribe`](crate::EventLog::subscribe) with a checkpoint.
/// - **Fair shares.** A member gets events when it asks for the next one.
///
/// ```
/// use cim_store::{Context, EventFilter, EventLogError, EventType, SharedSettings};
/// use cim_store::{Store, SubscriptionName};
/// use futures_util::TryStreamExt;
///
/// async fn send_mails(store: &dyn Store) -> Result<(), Box<dyn std::error::Error>> {
///     let shared = store.shared_subscriptions().ok_or("this store has none")?;
///     let name = SubscriptionName::new("mailer")?;
///     let settings = SharedSettings::new()
///         .filter(EventFilter::all().of_type(EventType::new("order_placed")?));
///     // Every process that does this gets its share.
///     let mut mine = shared.join(&Context::new(), &name, settings).await?;
///     while let Some(delivery) = mine.try_next().await? {
///         println!("a mail for {}", delivery.event.stream);
///         delivery.acknowledge().await?;
///     }
///     Ok(())
/// }
/// ```
#[async_trait]
pub trait SharedSubscriptions: Send + Sync + fmt::Debug + 'static {
    /// Becomes a member: makes the subscription where there is none of this name, and delivers this
    /// member's share for as long as the stream is asked for more. The context's deadline applies
    /// to joining only.
    ///
    /// Nobody needs to leave: a member that is dropped, or whose process ends, gets nothing more,
    /// and what it did not acknowledge goes to others. Whoever stops for a while drops the stream:
    /// what is sent to a member that does not ask waits for nothing.
    ///
    /// # Errors
    /// `Invalid` where the settings are out of range, and where the subscription was made with
    /// other settings, naming the difference; `Unsupported` for a filter by time; `Unavailable`,
    /// `Denied`, `Closed`. The stream ends with `Closed` when the store is closed, with `NotFound`
    /// when the subscription is deleted, and with `Integrity` where an event is damaged; it waits
    /// while servers are away.
    async fn join(
        &self,
        ctx: &Context,
        name: &SubscriptionName,
        settings: SharedSettings,
    ) -> Result<DeliveryStream, EventLogError>;

    /// All shared subscriptions, by name, with what is left to do.
    ///
    /// # Errors
    /// `Unavailable`, `Denied`, `Closed`.
    async fn list(&self, ctx: &Context) -> Result<Vec<SharedStatus>, EventLogError>;

    /// Deletes a subscription and its place; its members end with `NotFound`. Joining again begins
    /// anew. Deleting what is not there is no error.
    ///
    /// # Errors
    /// `Unavailable`, `Denied`, `Closed`.
    async fn delete(&self, ctx: &Context, name: &SubscriptionName) -> Result<(), EventLogError>;
}

/// How a shared subscription delivers. Fixed when it is made: who joins later says the same.
///
/// ```
/// use std::time::Duration;
/// use cim_store::{SharedSettings, SubscriptionName};
///
/// let made = SharedSettings::new()
///     .acknowledge_within(Duration::from_secs(5))
///     .most_in_flight(32)
///     .most_attempts(10);
/// made.check()?;
///
/// // What a store says to a member that joins with others.
/// let name = SubscriptionName::new("invoices")?;
/// let error = made.check_same(&name, &made.clone().most_in_flight(64)).unwrap_err();
/// assert!(error.to_string().ends_with("most_in_flight: 32, asked for 64)"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedSettings {
    /// Which events are meant. A filter by time is not supported.
    pub filter: EventFilter,
    /// Only events after this position; by default all.
    pub after: Position,
    /// How long a member may take to acknowledge an event before it is delivered to another one; by
    /// default 30 seconds, at least [`SharedSettings::SHORTEST`].
    pub acknowledge_within: Duration,
    /// How many events may be delivered and not yet acknowledged, all members together; by default
    /// 256, at least 1. Where so many are, nothing is delivered.
    pub most_in_flight: u32,
    /// After how many deliveries without an acknowledgement an event is
    /// [exhausted](Delivery::exhausted); `None`, the default: never.
    pub most_attempts: Option<u32>,
}

impl SharedSettings {
    /// The shortest time within which an acknowledgement can be asked for.
    pub const SHORTEST: Duration = Duration::from_millis(100);
    /// The longest.
    pub const LONGEST: Duration = Duration::from_secs(24 * 3_600);

    /// All events from the first one on, acknowledged within 30 seconds, 256 in flight, never
    /// exhausted.
    pub fn new() -> Self {
        Self {
            filter: EventFilter::all(),
            after: Position::NONE,
            acknowledge_within: Duration::from_secs(30),
            most_in_flight: 256,
            most_attempts: None,
        }
    }

    /// Only events that the filter means.
    #[must_use]
    pub fn filter(mut self, filter: EventFilter) -> Self {
        self.filter = filter;
        self
    }

    /// Only events after this position.
    #[must_use]
    pub fn after(mut self, position: Position) -> Self {
        self.after = position;
        self
    }

    /// With this long to acknowledge an event.
    #[must_use]
    pub fn acknowledge_within(mut self, time: Duration) -> Self {
        self.acknowledge_within = time;
        self
    }

    /// With at most so many events delivered and not yet acknowledged.
    #[must_use]
    pub fn most_in_flight(mut self, events: u32) -> Self {
        self.most_in_flight = events;
        self
    }

    /// With events that are exhausted after so many deliveries.
    #[must_use]
    pub fn most_attempts(mut self, attempts: u32) -> Self {
        self.most_attempts = Some(attempts);
        self
    }

    /// Checks that everything is in its range.
    ///
    /// # Errors
    /// `Unsupported` for a filter by time, `Invalid` for numbers and times out of range.
    pub fn check(&self) -> Result<(), EventLogError> {
        if self.filter.time.is_some() {
            return Err(
                EventLogError::unsupported("a shared subscription has no filter by time")
                    .with_hint(
                        "begin after a position, and leave out what is too new when it comes",
                    ),
            );
        }
        if !(Self::SHORTEST..=Self::LONGEST).contains(&self.acknowledge_within) {
            let (shortest, longest) = (Self::SHORTEST, Self::LONGEST);
            return Err(EventLogError::invalid(format!(
                "an acknowledgement is awaited for {shortest:?} to {longest:?}"
            ))
            .with(
                "acknowledge_within",
                format!("{:?}", self.acknowledge_within),
            ));
        }
        let zero = [
            ("most_in_flight", self.most_in_flight == 0),
            ("most_attempts", self.most_attempts == Some(0)),
        ];
        match zero.iter().find(|(_, is_zero)| *is_zero) {
            Some((name, _)) => {
                Err(EventLogError::invalid("at least one must be possible").with(name, 0))
            }
            None => Ok(()),
        }
    }

    /// Checks that a subscription that was made with these settings is joined with the same. The
    /// order of a filter's types does not matter.
    ///
    /// # Errors
    /// `Invalid`, naming the difference.
    pub fn check_same(&self, name: &SubscriptionName, asked: &Self) -> Result<(), EventLogError> {
        let said = |settings: &Self| {
            let mut types: Vec<_> = settings.filter.types.iter().map(|t| t.as_str()).collect();
            types.sort_unstable();
            types.dedup();
            let pattern = settings.filter.pattern.as_ref().map(|p| p.as_str());
            [
                ("pattern", pattern.unwrap_or("any").to_owned()),
                (
                    "types",
                    if types.is_empty() {
                        "any".to_owned()
                    } else {
                        types.join(" ")
                    },
                ),
                ("time", format!("{:?}", settings.filter.time)),
                ("after", settings.after.to_string()),
                (
                    "acknowledge_within",
                    format!("{:?}", settings.acknowledge_within),
                ),
                ("most_in_flight", settings.most_in_flight.to_string()),
                (
                    "most_attempts",
                    settings
                        .most_attempts
                        .map_or("any".to_owned(), |n| n.to_string()),
                ),
            ]
        };
        let differences: Vec<_> = said(self)
            .into_iter()
            .zip(said(asked))
            .filter(|(made, asked)| made != asked)
            .collect();
        if differences.is_empty() {
            return Ok(());
        }
        let mut error =
            EventLogError::invalid("the shared subscription exists with other settings")
                .with("shared subscription", name);
        for ((what, made), (_, asked)) in differences {
            error = error.with(what, format!("{made}, asked for {asked}"));
        }
        Err(error.with_hint(
            "join with the settings it has, take another name, or delete it and begin anew",
        ))
    }
}

impl Default for SharedSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// A shared subscription and what is left to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedStatus {
    /// Its name.
    pub name: SubscriptionName,
    /// What it was made with.
    pub settings: SharedSettings,
    /// Events that were never delivered.
    pub pending: u64,
    /// Events that were delivered and neither acknowledged nor given up.
    pub in_flight: u64,
    /// How many of those in flight were delivered more than once.
    pub redelivered: u64,
}

impl SharedStatus {
    /// A subscription of this name, of which nothing is left to do.
    pub fn new(name: SubscriptionName, settings: SharedSettings) -> Self {
        Self {
            name,
            settings,
            pending: 0,
            in_flight: 0,
            redelivered: 0,
        }
    }
}

/// An event that a member was given, to be answered with one of [`acknowledge`](Self::acknowledge),
/// [`retry_after`](Self::retry_after) and [`give_up`](Self::give_up).
///
/// One that is dropped is delivered again when its time to be acknowledged is over.
///
/// # Errors
/// All answers are `Ok` only when the store confirmed them. They fail with `Unavailable` where it
/// did not in time, so that the answer may or may not have arrived and the event may come again;
/// with `NotFound` where the subscription was deleted; with `Denied` and `Closed`.
#[derive(Debug)]
#[must_use = "an event that is not acknowledged is delivered again"]
pub struct Delivery {
    /// The event.
    pub event: RecordedEvent,
    /// How often it was delivered, this time included: from 1. A member that died, or that did not
    /// come to look at what it was sent, counts too.
    pub attempt: u64,
    /// Whether it was delivered [`most_attempts`](SharedSettings::most_attempts) times before, and
    /// nobody acknowledged it. Nothing is left out by itself, so it is not given up but delivered
    /// with this mark, again and again: put it where somebody sees it, then [give it
    /// up](Self::give_up).
    pub exhausted: bool,
    answering: Box<dyn Answering>,
}

impl Delivery {
    /// For adapters: an event, how often it was delivered, and how its member's answer gets to the
    /// store.
    pub fn new(
        event: RecordedEvent,
        attempt: u64,
        settings: &SharedSettings,
        answering: Box<dyn Answering>,
    ) -> Self {
        Self {
            event,
            attempt,
            exhausted: settings
                .most_attempts
                .is_some_and(|most| attempt > u64::from(most)),
            answering,
        }
    }

    /// Says that it is done. It is never delivered again.
    ///
    /// # Errors
    /// As said [above](Self#errors).
    pub async fn acknowledge(self) -> Result<(), EventLogError> {
        self.answering.answer(Answer::Done).await
    }

    /// Hands it back, to be delivered again after this time: at once for zero. Where a server dies
    /// meanwhile, it may come sooner.
    ///
    /// # Errors
    /// As said [above](Self#errors).
    pub async fn retry_after(self, time: Duration) -> Result<(), EventLogError> {
        self.answering.answer(Answer::RetryAfter(time)).await
    }

    /// Says that nobody should try again. It is never delivered again.
    ///
    /// # Errors
    /// As said [above](Self#errors).
    pub async fn give_up(self) -> Result<(), EventLogError> {
        self.answering.answer(Answer::GivenUp).await
    }

    /// Says that it takes longer: from now on there is as much time to acknowledge it as in the
    /// beginning.
    ///
    /// # Errors
    /// As said [above](Self#errors).
    pub async fn keep(&self) -> Result<(), EventLogError> {
        self.answering.answer(Answer::Kept).await
    }
}

/// What a member says of an event that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// Deliver it again after this time.
    RetryAfter(Duration),
    /// Never deliver it again, although it is not done.
    GivenUp,
    /// It takes longer.
    Kept,
}

/// For adapters: how the answer for one event gets to the store.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use std::sync::{Arc, Mutex};
/// use cim_store::{memory::MemoryStore, *};
/// use cim_store::shared_subscription::{Answer, Answering};
///
/// /// A store that notes what it is told.
/// #[derive(Clone, Debug, Default)]
/// struct Notes(Arc<Mutex<Vec<Answer>>>);
///
/// #[async_trait::async_trait]
/// impl Answering for Notes {
///     async fn answer(&self, answer: Answer) -> Result<(), EventLogError> {
///         self.0.lock().map_err(|_| EventLogError::closed("the notes are lost"))?.push(answer);
///         Ok(())
///     }
/// }
///
/// # let (store, ctx) = (MemoryStore::new(), Context::new());
/// # let log = store.log();
/// # let order = StreamId::new("sales", "order", "7")?;
/// # let placed = NewEvent::json("order_placed", &12)?;
/// # log.append_to(&ctx, &order, ExpectedVersion::NEW, vec![placed.clone()]).await?;
/// # let event = log.read_all(&ctx, &order).await?.remove(0);
/// let notes = Notes::default();
/// let delivery = Delivery::new(event, 1, &SharedSettings::new(), Box::new(notes.clone()));
///
/// // What the member does with it.
/// delivery.keep().await?; // it takes longer
/// delivery.acknowledge().await?;
/// assert_eq!(*notes.0.lock().unwrap(), [Answer::Kept, Answer::Done]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[async_trait]
pub trait Answering: Send + Sync + fmt::Debug + 'static {
    /// Tells the store, and waits until it confirms.
    ///
    /// # Errors
    /// As [`Delivery`] says.
    async fn answer(&self, answer: Answer) -> Result<(), EventLogError>;
}

/// A text that can't be the name of a shared subscription.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` can't be the name of a shared subscription: it has 1 to 64 ASCII letters, digits, `-` and `_`"
)]
pub struct SubscriptionNameError {
    text: String,
}

/// The name of a shared subscription: 1 to 64 ASCII letters, digits, `-` and `_`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionName(ByteString);

impl SubscriptionName {
    /// Takes a name.
    ///
    /// # Errors
    /// When it is empty, too long, or has a character that no name has.
    pub fn new(text: impl Into<ByteString>) -> Result<Self, SubscriptionNameError> {
        let text = text.into();
        let possible = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if text.is_empty() || text.len() > 64 || !text.chars().all(possible) {
            return Err(SubscriptionNameError {
                text: text.chars().take(100).collect(),
            });
        }
        Ok(Self(text))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SubscriptionName {
    type Err = SubscriptionNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl AsRef<str> for SubscriptionName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for SubscriptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for SubscriptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubscriptionName({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventType, Fault, TimeBasis, TimeRange};

    fn name() -> SubscriptionName {
        SubscriptionName::new("mailer").unwrap()
    }

    #[test]
    fn a_name_has_only_letters_digits_and_two_signs() {
        for good in ["a", "Mailer-2_x", &"x".repeat(64)] {
            assert_eq!(
                SubscriptionName::new(good.to_owned()).unwrap().as_str(),
                good
            );
        }
        for bad in ["", "a.b", "a b", "ä", "*", &"x".repeat(65)] {
            assert!(SubscriptionName::new(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let new = SharedSettings::new;
        assert!(new().check().is_ok());
        let invalid = [
            new().most_in_flight(0),
            new().most_attempts(0),
            new().acknowledge_within(Duration::from_millis(99)),
            new().acknowledge_within(SharedSettings::LONGEST + Duration::from_millis(1)),
        ];
        for settings in invalid {
            let error = settings.check().unwrap_err();
            assert_eq!(error.fault(), Some(Fault::Invalid), "{settings:?}");
        }
        let during = EventFilter::all().during(TimeRange {
            basis: TimeBasis::StoredAt,
            from: None,
            to: None,
        });
        let error = new().filter(during).check().unwrap_err();
        assert_eq!(error.fault(), Some(Fault::Unsupported));
    }

    #[test]
    fn other_settings_are_named_and_the_order_of_types_does_not_matter() {
        let of = |types: [&'static str; 2]| {
            let [a, b] = types.map(|name| EventType::new(name).unwrap());
            SharedSettings::new().filter(EventFilter::all().of_type(a).of_type(b))
        };
        let made = of(["paid", "placed"]);
        assert!(made.check_same(&name(), &of(["placed", "paid"])).is_ok());
        let asked = of(["placed", "sent"]).most_in_flight(7);
        let error = made.check_same(&name(), &asked).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the shared subscription exists with other settings (shared subscription: mailer, \
             types: paid placed, asked for placed sent, most_in_flight: 256, asked for 7)"
        );
    }
}
