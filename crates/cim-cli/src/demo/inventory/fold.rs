//! What is known of each resource, folded from the stored bytes without the domain.
//!
//! It reads payloads as JSON and knows the event types by their names, both schema versions of the
//! hardware details included. So a mistake in the aggregate, its events, the upcast or the repository
//! can't confirm itself: what they load is compared with this.

use std::collections::BTreeMap;
use std::fmt;

use cim_demo_inventory::prelude::*;
use cim_store::{Context, EventFilter, EventLog, LogQuery, RecordedEvent, StreamId, Version};
use futures_util::TryStreamExt;
use serde_json::Value;

use super::Stopped;

/// The events of every resource, in order.
pub(crate) type Histories = BTreeMap<StreamId, Vec<RecordedEvent>>;

/// Reads the events of all resources.
pub(crate) async fn read(log: &dyn EventLog, ctx: &Context) -> Result<Histories, Stopped> {
    let resources = "cim.events.infrastructure.compute.>".parse()?;
    let query = LogQuery::all().filter(EventFilter::all().matching(resources));
    let mut histories = Histories::new();
    let mut events = log.read_log(ctx, query).await?;
    while let Some(event) = events.try_next().await? {
        histories
            .entry(event.stream.clone())
            .or_default()
            .push(event);
    }
    Ok(histories)
}

/// What is known of a resource, by name, as texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts(BTreeMap<String, String>);

/// What two sides say of the same thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    name: String,
    loaded: Option<String>,
    folded: Option<String>,
}

impl Facts {
    /// From the first event to this version.
    pub(crate) fn folded(events: &[RecordedEvent], to: Version) -> Result<Self, serde_json::Error> {
        let mut facts = Self::default();
        for event in events.iter().take_while(|event| event.version <= to) {
            facts.fold(event.event_type.as_str(), &event.json()?);
        }
        Ok(facts)
    }

    /// As the domain says it is.
    pub(crate) fn loaded(resource: &ComputeResource) -> Self {
        let mut facts = Self::default();
        facts.know("host_name", resource.host_name());
        facts.know("status", resource.status());
        if let Some(kind) = resource.kind() {
            // Its stored word; there is no other.
            facts.take("kind", &serde_json::json!(kind));
        }
        facts.know("organization", resource.organization());
        facts.know("location", resource.location());
        facts.know("owner", resource.owner());
        facts.know("account_concept", resource.account_concept());
        facts.know("tag", resource.asset_tag());
        facts.know(
            "cpu_cores",
            resource.hardware().map(|hardware| hardware.cpu_cores),
        );
        facts.know(
            "memory_mib",
            resource.hardware().map(|hardware| hardware.memory_mib),
        );
        for policy in resource.policies() {
            facts.know(&format!("policy {policy}"), Some("holds"));
        }
        for (name, value) in resource.metadata() {
            facts.know(&format!("metadata {name}"), Some(value));
        }
        facts
    }

    /// A fact by its name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The first difference to what was folded.
    pub(crate) fn difference(&self, folded: &Self) -> Option<Difference> {
        let names = self.0.keys().chain(folded.0.keys());
        let mut names = names.filter(|name| self.0.get(*name) != folded.0.get(*name));
        names.next().map(|name| Difference {
            name: name.clone(),
            loaded: self.0.get(name).cloned(),
            folded: folded.0.get(name).cloned(),
        })
    }

    fn know(&mut self, name: &str, fact: Option<impl fmt::Display>) {
        if let Some(fact) = fact {
            self.0.insert(name.to_owned(), fact.to_string());
        }
    }

    /// Takes a JSON value in; what is no text is known by its JSON.
    fn take(&mut self, name: &str, value: &Value) {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        self.0.insert(name.to_owned(), text);
    }

    fn fold(&mut self, event_type: &str, payload: &Value) {
        match event_type {
            "resource_registered" => {
                self.take("host_name", &payload["host_name"]);
                self.take("kind", &payload["kind"]);
                self.take("status", &Value::from("provisioning"));
            }
            "organization_assigned" => self.take("organization", &payload["organization"]),
            "location_assigned" => self.take("location", &payload["location"]),
            "owner_assigned" => self.take("owner", &payload["owner"]),
            "account_concept_assigned" => self.take("account_concept", &payload["account_concept"]),
            "account_concept_cleared" => self.forget("account_concept"),
            "asset_tag_assigned" => self.take("tag", &payload["tag"]),
            "status_changed" => self.take("status", &payload["to"]),
            "policy_added" => self.take(&policy(payload), &Value::from("holds")),
            "policy_removed" => self.forget(&policy(payload)),
            "hardware_details_set" => {
                self.take("cpu_cores", &payload["cpu_cores"]);
                let memory = match payload["memory_gb"].as_u64() {
                    Some(gb) => Value::from(gb * 1024),
                    None => payload["memory_mib"].clone(),
                };
                self.take("memory_mib", &memory);
            }
            "metadata_updated" => {
                for (name, value) in payload["set"].as_object().into_iter().flatten() {
                    self.take(&format!("metadata {name}"), value);
                }
                for name in payload["removed"].as_array().into_iter().flatten() {
                    self.forget(&format!("metadata {}", name.as_str().unwrap_or_default()));
                }
            }
            // The other side does not know it either, and has said so.
            _ => {}
        }
    }

    fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }
}

fn policy(payload: &Value) -> String {
    format!("policy {}", payload["policy"].as_str().unwrap_or_default())
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(
            f,
            "{}: loaded is {}, the stored bytes say {}",
            self.name,
            side(&self.loaded),
            side(&self.folded)
        )
    }
}
