//! What the domain says, compared with what is stored.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cim_demo_inventory::prelude::*;
use cim_demo_inventory::reaction::ALERTS_MUTED;
use cim_domain::LoadOptions;
use cim_domain::persistence::event_index::EventIndex;
use cim_domain::persistence::verification::Verifier;
use cim_store::{Context, EventId, RecordedEvent, StreamId, StreamRange, Version};
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;
use serde_json::Value;

use super::clerks::Contest;
use super::fold::{Facts, Histories};
use super::{AT_ONCE, Stopped, conversations};

/// Resources whose earlier state is compared.
const EARLIER_STATES: usize = 20;

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub(crate) what: &'static str,
    pub(crate) compared: u64,
    pub(crate) unit: &'static str,
    /// The first difference; `None`: equal.
    pub(crate) difference: Option<String>,
}

impl Check {
    pub(super) fn new(what: &'static str, unit: &'static str) -> Self {
        Self {
            what,
            compared: 0,
            unit,
            difference: None,
        }
    }

    /// Counts one more thing that was compared.
    pub(super) fn count(&mut self, difference: Option<String>) {
        self.compared += 1;
        if self.difference.is_none() {
            self.difference = difference;
        }
    }
}

/// Compares everything.
pub(crate) async fn run(
    inventory: &Inventory,
    ctx: &Context,
    histories: &Histories,
    index: &EventIndex,
    contest: &Option<Contest>,
) -> Result<Vec<Check>, Stopped> {
    let mut clerks = Check::new("one of two clerks won", "contest");
    if let Some(contest) = contest {
        clerks.count(contest.difference.clone());
    }
    Ok(vec![
        states(inventory, ctx, histories).await?,
        earlier_states(inventory, ctx, histories).await?,
        snapshots(inventory, ctx, histories).await?,
        old_schema(inventory, ctx, histories).await?,
        reactions(histories),
        conversations::check(index, ctx, histories).await?,
        muted_alerts(inventory, ctx, histories).await?,
        host_names(inventory, ctx, histories).await?,
        clerks,
        chains(inventory, ctx).await?,
    ])
}

/// Loads a resource: now, or as it was. `None`: it could not be asked for.
async fn load(
    inventory: &Inventory,
    ctx: &Context,
    stream: &StreamId,
    at: Option<Version>,
) -> Result<Option<(ComputeResource, Version)>, Stopped> {
    let Ok(id) = stream.decoded_id().parse::<ResourceId>() else {
        return Ok(None);
    };
    let resources = inventory.resources();
    let loaded = match at {
        Some(version) => resources.load_at_version(ctx, &id, version).await?,
        None => resources.load(ctx, &id).await?,
    };
    Ok(Some((loaded.state, loaded.version)))
}

async fn compare(
    inventory: &Inventory,
    ctx: &Context,
    stream: &StreamId,
    events: &[RecordedEvent],
    at: Option<Version>,
) -> Result<Option<String>, Stopped> {
    let last = events.last().map_or(Version::NONE, |event| event.version);
    let Some((resource, version)) = load(inventory, ctx, stream, at).await? else {
        return Ok(Some(format!("{stream}: no resource has such an id")));
    };
    let due = at.unwrap_or(last);
    if version != due {
        return Ok(Some(format!(
            "{stream}: loaded is version {version}, stored is {due}"
        )));
    }
    let folded = match Facts::folded(events, due) {
        Ok(folded) => folded,
        Err(error) => return Ok(Some(format!("{stream}: a payload is no JSON: {error}"))),
    };
    let difference = Facts::loaded(&resource).difference(&folded);
    Ok(difference.map(|difference| format!("{stream}: {difference}")))
}

async fn states(
    inventory: &Inventory,
    ctx: &Context,
    histories: &Histories,
) -> Result<Check, Stopped> {
    let mut check = Check::new("state of every resource", "resources");
    let compared = histories
        .iter()
        .map(|(stream, events)| compare(inventory, ctx, stream, events, None));
    let mut compared = futures_util::stream::iter(compared).buffered(AT_ONCE);
    while let Some(difference) = compared.try_next().await? {
        check.count(difference);
    }
    Ok(check)
}

async fn earlier_states(
    inventory: &Inventory,
    ctx: &Context,
    histories: &Histories,
) -> Result<Check, Stopped> {
    let mut check = Check::new("states at earlier versions", "resources");
    let spread = histories.len().div_ceil(EARLIER_STATES).max(1);
    for (stream, events) in histories.iter().step_by(spread) {
        let middle = events.get(events.len() / 2).map(|event| event.version);
        check.count(compare(inventory, ctx, stream, events, middle).await?);
    }
    Ok(check)
}

/// Whether a load that begins with a snapshot gives what all events give.
async fn snapshots(
    inventory: &Inventory,
    ctx: &Context,
    histories: &Histories,
) -> Result<Check, Stopped> {
    let mut check = Check::new("states with and without snapshot", "resources");
    let replayed = LoadOptions {
        use_snapshot: false,
        ..LoadOptions::default()
    };
    for stream in histories.keys() {
        let Ok(id) = stream.decoded_id().parse::<ResourceId>() else {
            continue;
        };
        let resources = inventory.resources();
        let with = resources.load(ctx, &id).await?;
        let without = resources.load_with(ctx, &id, replayed).await?;
        let is_equal = with.state == without.state && with.head == without.head;
        check.count((!is_equal).then(|| format!("{stream}: its snapshot says something else")));
    }
    Ok(check)
}

/// Whether hardware details of the first schema version are read in the units of today.
async fn old_schema(
    inventory: &Inventory,
    ctx: &Context,
    histories: &Histories,
) -> Result<Check, Stopped> {
    let mut check = Check::new("events of an earlier schema", "events");
    for old in histories.values().flatten().filter(|event| is_old(event)) {
        let Ok(id) = old.stream.decoded_id().parse::<ResourceId>() else {
            continue;
        };
        let range = StreamRange::from(old.version).to(old.version);
        let history = inventory.resources().history(ctx, &id, range).await?;
        let read = history
            .all()
            .await?
            .into_iter()
            .next()
            .map(|entry| entry.event);
        let payload: Value = old.json().unwrap_or_default();
        let due = payload["memory_gb"].as_u64().map(|gb| gb * 1024);
        let read = match read {
            Some(ComputeEvent::HardwareDetailsSet(details)) => Some(details.memory_mib),
            _ => None,
        };
        check.count((read != due).then(|| {
            let (stream, version) = (&old.stream, old.version);
            format!("version {version} of {stream}: read is {read:?} MiB, stored {due:?} MiB")
        }));
    }
    Ok(check)
}

/// Whether this is an event of a schema version that is written no more.
pub(crate) fn is_old(event: &RecordedEvent) -> bool {
    event.event_type.as_str() == "hardware_details_set" && event.schema_version.get() == 1
}

/// Whether what the policy did names its cause, in the same conversation.
fn reactions(histories: &Histories) -> Check {
    let mut check = Check::new("reactions and their causes", "events");
    let events = || histories.values().flatten();
    let of_status: HashMap<EventId, &RecordedEvent> = events()
        .filter(|event| event.event_type.as_str() == "status_changed")
        .map(|event| (event.id, event))
        .collect();
    for event in events().filter(|event| is_reaction(event)) {
        let cause = event
            .causation_id
            .and_then(|cause| of_status.get(&EventId::from_uuid(cause.into())));
        let is_caused = cause.is_some_and(|cause| {
            let conversation = cause.correlation_id.unwrap_or((*cause.id.as_uuid()).into());
            cause.stream == event.stream
                && cause.version < event.version
                && event.correlation_id == Some(conversation)
        });
        check.count((!is_caused).then(|| {
            let (stream, version) = (&event.stream, event.version);
            format!("version {version} of {stream} does not follow from a change of status")
        }));
    }
    check
}

/// Whether the policy did this.
pub(super) fn is_reaction(event: &RecordedEvent) -> bool {
    let is_about_policies = matches!(event.event_type.as_str(), "policy_added" | "policy_removed");
    is_about_policies
        && event
            .json::<Value>()
            .is_ok_and(|payload| payload["policy"] == ALERTS_MUTED.to_string())
}

/// Whether alerts are mute where a resource is maintained, and nowhere else that is in service.
async fn muted_alerts(
    inventory: &Inventory,
    ctx: &Context,
    histories: &Histories,
) -> Result<Check, Stopped> {
    let mut check = Check::new("alerts muted by the policy", "resources");
    for stream in histories.keys() {
        let Some((resource, _)) = load(inventory, ctx, stream, None).await? else {
            continue;
        };
        let is_muted = resource.policies().contains(&ALERTS_MUTED);
        let is_due = match resource.status() {
            Some(Status::Maintenance) => true,
            Some(Status::Provisioning | Status::Active) => false,
            // What is gone stays as it was.
            Some(Status::Decommissioned) | None => continue,
        };
        check.count((is_muted != is_due).then(|| {
            let status = resource.status().map(Status::name).unwrap_or_default();
            format!("{stream} is {status}, muted: {is_muted}")
        }));
    }
    Ok(check)
}

/// Whether every resource in service has its host name, and nothing else has one. The earlier
/// release knew no claims.
async fn host_names(
    inventory: &Inventory,
    ctx: &Context,
    histories: &Histories,
) -> Result<Check, Stopped> {
    let mut due = BTreeMap::new();
    for (stream, events) in histories {
        // Of what can't be folded another check speaks.
        let facts = Facts::folded(events, Version::MAX).unwrap_or_default();
        let is_gone = facts.get("status") == Some(Status::Decommissioned.name());
        if let Some(name) = facts.get("host_name")
            && !is_gone
            && !events.iter().any(is_old)
        {
            due.insert(name.to_owned(), stream.decoded_id());
        }
    }
    let mut check = Check::new("host names and who has them", "names");
    let log = inventory.resources().log();
    let pattern = "infrastructure.host_name.*".parse()?;
    let mut names = log.streams(ctx, &pattern).await?;
    while let Some(head) = names.try_next().await? {
        let name = head.stream.decoded_id();
        let holder = match name.parse::<HostName>() {
            Ok(name) => inventory
                .host_names()
                .load(ctx, &name)
                .await?
                .state
                .holder(),
            Err(_) => None,
        };
        let (holder, due) = (holder.map(|holder| holder.to_string()), due.remove(&name));
        check.count((holder != due).then(|| {
            let said = |id: Option<String>| id.unwrap_or_else(|| "nobody".to_owned());
            format!(
                "{name}: claimed by {}, called so is {}",
                said(holder),
                said(due)
            )
        }));
    }
    if let Some((name, id)) = due.pop_first() {
        check.count(Some(format!(
            "{name}: claimed by nobody, called so is {id}"
        )));
    }
    Ok(check)
}

async fn chains(inventory: &Inventory, ctx: &Context) -> Result<Check, Stopped> {
    let mut check = Check::new("chain of every stream", "streams");
    let pattern = "infrastructure.>".parse()?;
    let verifier = Verifier::new(Arc::clone(inventory.resources().log()));
    let verified = verifier.verify_streams(ctx, &pattern, |_| ()).await?;
    check.compared = verified.streams;
    check.difference = verified.faults.first().map(ToString::to_string);
    Ok(check)
}
