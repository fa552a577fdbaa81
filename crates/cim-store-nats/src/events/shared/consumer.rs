//! The durable consumer behind a shared subscription: what the server keeps of it.
//!
//! What a consumer's configuration can't say stands in its metadata, so that whoever joins later
//! can be told how the subscription was made. Other clients may pull from it, too.

use std::collections::BTreeMap;
use std::time::Duration;

use cim_store::shared_subscription::{SharedSettings, SharedStatus, SubscriptionName};
use cim_store::{EventFilter, EventLogError, EventType, Position, SubjectPattern};
use serde::{Deserialize, Serialize};

use crate::api::{Failure, nanos};
use crate::budget::Budget;
use crate::session::Session;
use crate::subjects;

/// "consumer not found".
const NO_CONSUMER: u32 = 10_014;
/// "consumer already exists", with another configuration.
const EXISTS: u32 = 10_148;
/// What the metadata of a shared subscription's consumer has, and nobody else's: how it was made.
const MADE: &str = "cim.shared";
/// Matches no event, whose subjects have seven tokens.
const NOTHING: &str = "cim.events.nothing";

/// The configuration of a consumer: the fields that the adapter sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ConsumerConfig {
    name: String,
    #[serde(default)]
    durable_name: String,
    #[serde(default)]
    description: String,
    deliver_policy: String,
    #[serde(default)]
    opt_start_seq: u64,
    ack_policy: String,
    #[serde(default)]
    ack_wait: u64,
    #[serde(default)]
    max_deliver: i64,
    #[serde(default)]
    max_ack_pending: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    filter_subject: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    filter_subjects: Vec<String>,
    replay_policy: String,
    /// As many as the JetStream stream has, which 0 says.
    #[serde(default)]
    num_replicas: u8,
    #[serde(default)]
    mem_storage: bool,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

/// How a shared subscription was made, as far as the configuration does not say it itself.
#[derive(Debug, Serialize, Deserialize)]
struct Made {
    format: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    types: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    most_attempts: Option<u32>,
}

/// The format of [`Made`].
const FORMAT: u32 = 1;

#[derive(Debug, Deserialize)]
struct ConsumerInfo {
    config: ConsumerConfig,
    #[serde(default)]
    num_pending: u64,
    #[serde(default)]
    num_ack_pending: u64,
    #[serde(default)]
    num_redelivered: u64,
}

#[derive(Deserialize)]
struct Page {
    total: usize,
    #[serde(default)]
    consumers: Vec<ConsumerInfo>,
    /// Whose leaders did not answer.
    #[serde(default)]
    missing: Vec<String>,
}

#[derive(Deserialize)]
struct Deleted {}

impl ConsumerConfig {
    fn of(name: &SubscriptionName, settings: &SharedSettings) -> Result<Self, EventLogError> {
        let filters = filters(&settings.filter);
        let (filter_subject, filter_subjects) = match &filters[..] {
            [only] => (only.clone(), Vec::new()),
            _ => (String::new(), filters),
        };
        let pattern = settings.filter.pattern.as_ref();
        let made = serde_json::to_string(&Made {
            format: FORMAT,
            pattern: pattern.map(|pattern| pattern.as_str().to_owned()),
            types: types(&settings.filter)
                .iter()
                .map(|t| t.as_str().to_owned())
                .collect(),
            most_attempts: settings.most_attempts,
        });
        let made = made.map_err(|error| {
            EventLogError::invalid("the settings can't be written").with_source(error)
        })?;
        Ok(Self {
            name: name.to_string(),
            durable_name: name.to_string(),
            description: "a shared subscription; made by cim-store-nats".to_owned(),
            deliver_policy: "by_start_sequence".to_owned(),
            opt_start_seq: settings.after.get().saturating_add(1),
            ack_policy: "explicit".to_owned(),
            ack_wait: nanos(settings.acknowledge_within),
            max_deliver: -1,
            max_ack_pending: settings.most_in_flight.into(),
            filter_subject,
            filter_subjects,
            replay_policy: "instant".to_owned(),
            num_replicas: 0,
            mem_storage: false,
            metadata: BTreeMap::from([(MADE.to_owned(), made)]),
        })
    }

    /// The settings that the consumer has; `None` where it is no shared subscription.
    fn settings(&self) -> Option<SharedSettings> {
        let made: Made = serde_json::from_str(self.metadata.get(MADE)?).ok()?;
        if made.format != FORMAT {
            return None;
        }
        let mut filter = EventFilter::all();
        if let Some(pattern) = made.pattern {
            filter = filter.matching(SubjectPattern::new(pattern).ok()?);
        }
        for name in made.types {
            filter = filter.of_type(EventType::new(name).ok()?);
        }
        let mut settings = SharedSettings::new()
            .filter(filter)
            .after(Position::new(self.opt_start_seq.saturating_sub(1)))
            .acknowledge_within(Duration::from_nanos(self.ack_wait))
            .most_in_flight(u32::try_from(self.max_ack_pending).ok()?);
        settings.most_attempts = made.most_attempts;
        Some(settings)
    }

    /// Checks that a consumer that is there does what is asked for. `self` is what is asked for.
    fn check_found(
        &self,
        found: &Self,
        name: &SubscriptionName,
        asked: &SharedSettings,
    ) -> Result<(), EventLogError> {
        let Some(settings) = found.settings() else {
            return Err(EventLogError::invalid(
                "the consumer of this name is no shared subscription",
            )
            .with("consumer", name)
            .with_hint("take another name; somebody else uses this one"));
        };
        settings.check_same(name, asked)?;
        let sorted = |config: &Self| {
            let mut filters = config.filter_subjects.clone();
            filters.push(config.filter_subject.clone());
            filters.sort_unstable();
            filters.join(" ").trim().to_owned()
        };
        let said = |config: &Self| {
            [
                ("filter", sorted(config)),
                ("deliver_policy", config.deliver_policy.clone()),
                ("ack_policy", config.ack_policy.clone()),
                ("max_deliver", config.max_deliver.to_string()),
                ("mem_storage", config.mem_storage.to_string()),
            ]
        };
        let changed = said(found).into_iter().zip(said(self));
        let mut changed = changed.filter(|(found, asked)| found != asked);
        match changed.next() {
            Some(((what, found), (_, asked))) => Err(EventLogError::invalid(
                "the consumer of the shared subscription was changed by somebody",
            )
            .with("consumer", name)
            .with(what, found)
            .with_hint(format!(
                "change `{what}` back to `{asked}` with `nats consumer edit`, or delete the consumer and \
                 begin anew"
            ))),
            None => Ok(()),
        }
    }
}

/// The types that are meant, each once, in an order of their own.
fn types(filter: &EventFilter) -> Vec<EventType> {
    let mut types = filter.types.clone();
    types.sort_unstable();
    types.dedup();
    types
}

/// The subjects that are meant. They don't overlap.
fn filters(filter: &EventFilter) -> Vec<String> {
    let pattern = filter.pattern.as_ref();
    let types = types(filter);
    let filters: Vec<String> = if types.is_empty() {
        subjects::events_meant(pattern, &[]).into_iter().collect()
    } else {
        let each = types.chunks(1);
        each.filter_map(|one| subjects::events_meant(pattern, one))
            .collect()
    };
    if filters.is_empty() {
        return vec![NOTHING.to_owned()];
    }
    filters
}

/// Makes the consumer where it is not there, and checks it.
pub(super) async fn make(
    session: &Session,
    name: &SubscriptionName,
    settings: &SharedSettings,
    budget: &Budget,
) -> Result<(), EventLogError> {
    let asked = ConsumerConfig::of(name, settings)?;
    let report = |failure| session.report(failure, "joining");
    let found = match info(session, name, budget).await.map_err(report)? {
        Some(found) => found,
        None => match create(session, &asked, budget).await {
            Ok(made) => made,
            // Somebody else was first.
            Err(failure) if failure.is(EXISTS) => {
                let found = info(session, name, budget).await.map_err(report)?;
                found.ok_or_else(|| gone(name))?
            }
            Err(failure) => return Err(report(failure)),
        },
    };
    asked.check_found(&found.config, name, settings)
}

async fn create(
    session: &Session,
    config: &ConsumerConfig,
    budget: &Budget,
) -> Result<ConsumerInfo, Failure> {
    let stream = session.log_stream();
    let mut call = format!("CONSUMER.CREATE.{stream}.{}", config.name);
    if !config.filter_subject.is_empty() {
        call = format!("{call}.{}", config.filter_subject);
    }
    // "create" takes the same configuration twice, so a lost answer does not matter, and refuses
    // another one.
    let body = serde_json::json!({
        "stream_name": stream,
        "config": config,
        "action": "create",
    });
    session.api.call(&call, &body, budget).await
}

async fn info(
    session: &Session,
    name: &SubscriptionName,
    budget: &Budget,
) -> Result<Option<ConsumerInfo>, Failure> {
    let call = format!("CONSUMER.INFO.{}.{name}", session.log_stream());
    let nothing = serde_json::json!({});
    match session.api.call(&call, &nothing, budget).await {
        Ok(info) => Ok(Some(info)),
        Err(failure) if failure.is(NO_CONSUMER) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Whether the subscription is still there.
pub(super) async fn is_there(
    session: &Session,
    name: &SubscriptionName,
    budget: &Budget,
) -> Result<bool, Failure> {
    Ok(info(session, name, budget).await?.is_some())
}

/// All shared subscriptions, by name.
pub(super) async fn list(
    session: &Session,
    budget: &Budget,
) -> Result<Vec<SharedStatus>, EventLogError> {
    const WHAT: &str = "listing shared subscriptions";
    let call = format!("CONSUMER.LIST.{}", session.log_stream());
    let (mut found, mut offset, mut attempt) = (BTreeMap::new(), 0, 0);
    loop {
        let body = serde_json::json!({ "offset": offset });
        let page = session.api.call(&call, &body, budget).await;
        let page: Page = page.map_err(|failure| session.report(failure, WHAT))?;
        if !page.missing.is_empty() {
            attempt += 1;
            if budget.pause(attempt).await {
                continue;
            }
            return Err(EventLogError::unavailable(
                "consumers of the log have no leader that answers",
            )
            .with("consumers", page.missing.join(", ")));
        }
        offset += page.consumers.len();
        let is_last = page.consumers.is_empty() || offset >= page.total;
        for info in page.consumers {
            let name = SubscriptionName::new(info.config.name.clone()).ok();
            // Others are not made here: of those who follow the log, of other programs.
            if let (Some(name), Some(settings)) = (name, info.config.settings()) {
                let mut status = SharedStatus::new(name.clone(), settings);
                status.pending = info.num_pending;
                status.in_flight = info.num_ack_pending;
                status.redelivered = info.num_redelivered;
                found.insert(name, status);
            }
        }
        if is_last {
            return Ok(found.into_values().collect());
        }
    }
}

/// Deletes the consumer, where it is there and a shared subscription's.
pub(super) async fn delete(
    session: &Session,
    name: &SubscriptionName,
    budget: &Budget,
) -> Result<(), EventLogError> {
    const WHAT: &str = "deleting a shared subscription";
    let report = |failure| session.report(failure, WHAT);
    let Some(found) = info(session, name, budget).await.map_err(report)? else {
        return Ok(());
    };
    if found.config.settings().is_none() {
        return Err(
            EventLogError::invalid("the consumer of this name is no shared subscription")
                .with("consumer", name),
        );
    }
    let call = format!("CONSUMER.DELETE.{}.{name}", session.log_stream());
    let nothing = serde_json::json!({});
    match session.api.call(&call, &nothing, budget).await {
        Ok(Deleted {}) => Ok(()),
        Err(failure) if failure.is(NO_CONSUMER) => Ok(()),
        Err(failure) => Err(report(failure)),
    }
}

/// The subscription was deleted.
#[cold]
pub(super) fn gone(name: &SubscriptionName) -> EventLogError {
    EventLogError::not_found("the shared subscription was deleted")
        .with("shared subscription", name)
        .with_hint("join again to begin anew")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> SubscriptionName {
        SubscriptionName::new("mailer").unwrap()
    }

    fn types_and_pattern() -> SharedSettings {
        let placed = EventType::new("placed").unwrap();
        let paid = EventType::new("order paid").unwrap();
        let pattern = SubjectPattern::new("cim.events.sales.>").unwrap();
        let filter = EventFilter::all()
            .matching(pattern)
            .of_type(placed)
            .of_type(paid);
        SharedSettings::new()
            .filter(filter)
            .after(Position::new(7))
            .most_attempts(5)
    }

    #[test]
    fn the_server_filters_each_type() {
        let filters = filters(&types_and_pattern().filter);
        assert_eq!(
            filters,
            [
                "cim.events.sales.*.*.order=20paid.*",
                "cim.events.sales.*.*.placed.*"
            ]
        );
    }

    #[test]
    fn a_filter_that_means_nothing_matches_no_event() {
        let pattern = SubjectPattern::new("other.>").unwrap();
        assert_eq!(filters(&EventFilter::all().matching(pattern)), [NOTHING]);
        assert!(subjects::parse_event(NOTHING).is_none());
    }

    #[test]
    fn the_settings_are_read_back_from_the_consumer() {
        let asked = types_and_pattern();
        let config = ConsumerConfig::of(&name(), &asked).unwrap();
        assert_eq!(config.opt_start_seq, 8);
        let found = config.settings().unwrap();
        assert!(found.check_same(&name(), &asked).is_ok());
        assert!(config.check_found(&config, &name(), &asked).is_ok());
    }

    #[test]
    fn a_consumer_that_somebody_changed_is_refused_with_what_to_change() {
        let asked = SharedSettings::new();
        let config = ConsumerConfig::of(&name(), &asked).unwrap();
        let found = ConsumerConfig {
            max_deliver: 3,
            ..config.clone()
        };
        let error = config.check_found(&found, &name(), &asked).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("max_deliver: 3"), "{text}");
        assert!(text.contains("change `max_deliver` back to `-1`"), "{text}");
    }

    #[test]
    fn a_consumer_of_somebody_else_is_refused() {
        let asked = SharedSettings::new();
        let config = ConsumerConfig::of(&name(), &asked).unwrap();
        let found = ConsumerConfig {
            metadata: BTreeMap::new(),
            ..config.clone()
        };
        let error = config.check_found(&found, &name(), &asked).unwrap_err();
        assert!(error.to_string().contains("is no shared subscription"));
    }
}
