//! What `demo inventory` prints.

use std::collections::BTreeMap;
use std::time::Duration;

use cim_demo_inventory::prelude::*;
use cim_domain::DomainEvent as _;
use cim_store::{Context, StreamRange, Version};
use serde::Serialize;

use super::Stopped;
use super::checks::{Check, is_old};
use super::clerks::Contest;
use super::fold::{Facts, Histories};
use super::lives::{Life, Lived};
use crate::error::Failure;
use crate::output::{Style, Ui};

/// Events of the shown history that are printed.
const SHOWN_EVENTS: usize = 16;

/// What became of the resources in this run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lives {
    /// Those that are in service, by number.
    pub(crate) in_service: Vec<Life>,
    /// How many were registered.
    pub(crate) registered: u64,
    /// How many were decommissioned in this run.
    pub(crate) gone_just_now: u64,
    /// Events that were stored for commands.
    pub(crate) events: u64,
    /// Commands that followed from events.
    pub(crate) reactions: u64,
    /// Snapshots that were written: how many depends on how long each of them waited.
    pub(crate) snapshots: u64,
    /// How long all of that took.
    pub(crate) elapsed: Duration,
}

impl Lives {
    pub(crate) fn count(&mut self, life: Life, lived: Lived) {
        self.registered += u64::from(lived.is_new);
        self.events += lived.events;
        if !lived.is_gone {
            self.in_service.push(life);
        } else if lived.events > 0 {
            self.gone_just_now += 1;
        }
    }
}

/// The history of one resource, of two schema versions where there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct History {
    host_name: String,
    events: Vec<HistoryLine>,
    states: Vec<StateLine>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct HistoryLine {
    version: u64,
    event_type: &'static str,
    schema_version: u32,
    payload: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct StateLine {
    version: u64,
    state: String,
}

impl History {
    /// Reads the history of the first resource that has hardware details of two schema versions, or
    /// else of one; nothing where there is no resource.
    pub(crate) async fn read(
        inventory: &Inventory,
        ctx: &Context,
        histories: &Histories,
    ) -> Result<Self, Stopped> {
        let with_old = || {
            histories
                .iter()
                .filter(|(_, events)| events.iter().any(is_old))
        };
        let with_both = with_old().find(|(_, events)| {
            let details = events
                .iter()
                .filter(|e| e.event_type.as_str() == "hardware_details_set");
            details.count() > 1
        });
        let any = || with_old().next().or_else(|| histories.iter().next());
        let Some((stream, _)) = with_both.or_else(any) else {
            return Ok(Self::default());
        };
        let Ok(id) = stream.decoded_id().parse::<ResourceId>() else {
            return Ok(Self::default());
        };
        let resources = inventory.resources();
        let history = resources
            .history(ctx, &id, StreamRange::all())
            .await?
            .all()
            .await?;
        let mut shown = Self::default();
        for entry in &history {
            shown.events.push(HistoryLine {
                version: entry.recorded.version.get(),
                event_type: entry.event.event_type(),
                schema_version: entry.recorded.schema_version.get(),
                payload: String::from_utf8_lossy(&entry.recorded.payload).into_owned(),
            });
        }
        let last = history.len() as u64;
        let mut versions = vec![2, last / 2, last];
        versions.retain(|version| (1..=last).contains(version));
        versions.sort_unstable();
        versions.dedup();
        for version in versions {
            let loaded = resources
                .load_at_version(ctx, &id, Version::new(version))
                .await?;
            shown.host_name = loaded
                .state
                .host_name()
                .map(ToString::to_string)
                .unwrap_or_default();
            shown.states.push(StateLine {
                version,
                state: describe(&loaded.state),
            });
        }
        Ok(shown)
    }
}

/// A resource in one line.
fn describe(resource: &ComputeResource) -> String {
    let facts = Facts::loaded(resource);
    let mut text = facts.get("status").unwrap_or("not registered").to_owned();
    if let (Some(cores), Some(memory)) = (facts.get("cpu_cores"), facts.get("memory_mib")) {
        text.push_str(&format!(", {cores} cores, {memory} MiB"));
    }
    if let Some(tag) = facts.get("tag") {
        text.push_str(&format!(", tag {tag}"));
    }
    for (count, what) in [
        (resource.policies().len(), ["policy", "policies"]),
        (resource.metadata().len(), ["label", "labels"]),
    ] {
        match (count, what) {
            (0, _) => {}
            (1, [one, _]) => text.push_str(&format!(", 1 {one}")),
            (_, [_, many]) => text.push_str(&format!(", {count} {many}")),
        }
    }
    text
}

/// The report, as JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    resources: u64,
    resources_registered: u64,
    resources_decommissioned: u64,
    events: u64,
    events_stored: u64,
    reactions: u64,
    snapshots: u64,
    seconds: f64,
    statuses: BTreeMap<String, u64>,
    history: History,
    clerks: Option<Contest>,
    checks: Vec<Check>,
    all_equal: bool,
}

impl Report {
    pub(crate) fn new(
        lives: &Lives,
        histories: &Histories,
        clerks: Option<Contest>,
        history: History,
        checks: Vec<Check>,
    ) -> Self {
        let mut statuses = BTreeMap::new();
        for events in histories.values() {
            // Of what can't be folded the checks speak.
            let facts = Facts::folded(events, Version::MAX).unwrap_or_default();
            let status = facts.get("status").unwrap_or("not registered").to_owned();
            *statuses.entry(status).or_insert(0) += 1;
        }
        Self {
            resources: histories.len() as u64,
            resources_registered: lives.registered,
            resources_decommissioned: lives.gone_just_now,
            events: histories.values().map(|events| events.len() as u64).sum(),
            events_stored: lives.events,
            reactions: lives.reactions,
            snapshots: lives.snapshots,
            seconds: lives.elapsed.as_secs_f64(),
            statuses,
            history,
            clerks,
            all_equal: checks.iter().all(|check| check.difference.is_none()),
            checks,
        }
    }

    /// Whether everything that was compared is equal.
    pub(crate) fn all_equal(&self) -> bool {
        self.all_equal
    }

    pub(crate) fn print(&self, ui: &mut Ui) -> Result<(), Failure> {
        if ui.is_json() {
            return ui.json(self);
        }
        let width = self.events.to_string().len();
        ui.line(format_args!(
            "resources  {:>width$}, {} registered and {} decommissioned in this run",
            self.resources, self.resources_registered, self.resources_decommissioned
        ))?;
        ui.line(format_args!(
            "events     {:>width$}, {} by commands and {} by the policy in this run",
            self.events, self.events_stored, self.reactions
        ))?;
        if self.seconds > 0.0 {
            // Rates are for people; what a float can't hold of a count does not show.
            #[allow(clippy::cast_precision_loss)]
            let rate = (self.events_stored + self.reactions) as f64 / self.seconds;
            ui.line(format_args!(
                "time       {:.2} s, {rate:.0} events/s",
                self.seconds
            ))?;
        }
        ui.line("")?;
        self.print_statuses(ui)?;
        self.print_history(ui)?;
        self.print_clerks(ui)?;
        self.print_checks(ui)
    }

    fn print_statuses(&self, ui: &mut Ui) -> Result<(), Failure> {
        let title = ui.paint(Style::Bold, "STATUS          RESOURCES");
        ui.line(title)?;
        // In the order of a life.
        for status in Status::ALL {
            if let Some(count) = self.statuses.get(status.name()) {
                ui.line(format_args!("{status:14}  {count:>9}"))?;
            }
        }
        ui.line("")
    }

    fn print_history(&self, ui: &mut Ui) -> Result<(), Failure> {
        if self.history.events.is_empty() {
            return Ok(());
        }
        let title = format!("HISTORY OF {}", self.history.host_name);
        let title = ui.paint(Style::Bold, title);
        ui.line(title)?;
        for event in self.history.events.iter().take(SHOWN_EVENTS) {
            let HistoryLine {
                version,
                event_type,
                schema_version,
                payload,
            } = event;
            ui.line(format_args!(
                "{version:>7}  {event_type:24} v{schema_version}  {payload}"
            ))?;
        }
        if let Some(more) = self.history.events.len().checked_sub(SHOWN_EVENTS)
            && more > 0
        {
            ui.line(format_args!("         and {more} more"))?;
        }
        ui.line("")?;
        let title = ui.paint(Style::Bold, "VERSION  ITS STATE THEN");
        ui.line(title)?;
        for StateLine { version, state } in &self.history.states {
            ui.line(format_args!("{version:>7}  {state}"))?;
        }
        ui.line("")
    }

    fn print_clerks(&self, ui: &mut Ui) -> Result<(), Failure> {
        let Some(contest) = &self.clerks else {
            return Ok(());
        };
        let title = ui.paint(Style::Bold, "TWO CLERKS, ONE RESOURCE");
        ui.line(title)?;
        ui.line(format_args!(
            "both       look at version {} of {}",
            contest.seen, contest.host_name
        ))?;
        if let Some(won) = contest.won {
            ui.line(format_args!("one        stores version {won}"))?;
        }
        if let Some(told) = &contest.told {
            ui.line(format_args!("the other  is told: {told}"))?;
        }
        if let Some(again) = contest.looked_again {
            ui.line(format_args!(
                "the other  looks again and stores version {again}"
            ))?;
        }
        ui.line("")
    }

    fn print_checks(&self, ui: &mut Ui) -> Result<(), Failure> {
        let what = self
            .checks
            .iter()
            .map(|check| check.what.len())
            .max()
            .unwrap_or(0);
        let title = format!("{:what$}  {:>17}  RESULT", "CHECK", "COMPARED");
        let title = ui.paint(Style::Bold, title);
        ui.line(title)?;
        for check in &self.checks {
            let compared = format!("{} {:9}", check.compared, check.unit);
            let result = match &check.difference {
                None => ui.paint(Style::Good, "equal"),
                Some(difference) => {
                    format!("{}: {difference}", ui.paint(Style::Bad, "different"))
                }
            };
            ui.line(format_args!(
                "{:what$}  {compared:>17}  {result}",
                check.what
            ))?;
        }
        Ok(())
    }
}
