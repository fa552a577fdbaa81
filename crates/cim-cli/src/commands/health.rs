//! `cim health`: how the store is.

use cim_store::{Context, Finding, Health, Severity};
use clap::Args;
use serde::Serialize;

use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::output::{Style, Ui};
use crate::session::{Session, StoreMode};

/// Show how the store is
///
/// Asks the store about itself, and its servers where it has some: who leads, whether every replica
/// is there and up to date, how much room there is, whether servers flush before they acknowledge.
/// Nothing is changed.
///
/// Ends with code 10 when there is a problem. Warnings and notes end with code 0: the store works,
/// and `cim doctor` says what would make it safer.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim health
  cim --store nats://n1,n2,n3 health
  cim --store nats://localhost --monitor http://localhost:8222 health
  cim health --json | jq -r '.findings[].what'")]
pub struct HealthArgs {}

/// How the store is, as JSON.
#[derive(Serialize)]
struct HealthReport<'a> {
    store: &'a str,
    healthy: bool,
    facts: Vec<FactLine<'a>>,
    findings: Vec<FindingLine<'a>>,
}

#[derive(Serialize)]
struct FactLine<'a> {
    name: &'a str,
    value: &'a str,
}

/// A finding, as JSON.
#[derive(Serialize)]
pub(super) struct FindingLine<'a> {
    severity: String,
    what: &'a str,
    advice: &'a str,
}

impl<'a> From<&'a Finding> for FindingLine<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self {
            severity: finding.severity.to_string(),
            what: &finding.what,
            advice: &finding.advice,
        }
    }
}

impl HealthArgs {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        let health = look(session).await?;
        let store = session.address.shown();
        let ui = &mut *session.ui;
        if ui.is_json() {
            ui.json(&HealthReport {
                store: &store,
                healthy: health.is_healthy(),
                facts: health
                    .facts
                    .iter()
                    .map(|fact| FactLine {
                        name: &fact.name,
                        value: &fact.value,
                    })
                    .collect(),
                findings: health.findings.iter().map(FindingLine::from).collect(),
            })?;
        } else {
            show(ui, &store, &health)?;
        }
        code(&health)
    }
}

/// Opens the store and asks it.
pub(super) async fn look(session: &mut Session<'_>) -> Result<Health, Failure> {
    let store = session.open(StoreMode::MustExist).await?;
    Ok(store.health(&Context::new()).await?)
}

/// How a command ends that showed this.
pub(super) fn code(health: &Health) -> Result<(), Failure> {
    if health.is_healthy() {
        Ok(())
    } else {
        Err(Failure::reported(ExitCode::Unhealthy))
    }
}

/// How a severity is shown.
pub(super) fn style(severity: Severity) -> Style {
    match severity {
        Severity::Problem => Style::Bad,
        Severity::Warning => Style::Bold,
        Severity::Note => Style::Dim,
    }
}

/// How many there are of each severity: `1 problem, 2 warnings`.
pub(super) fn counted(health: &Health) -> String {
    let of = |severity: Severity| {
        let count = health
            .findings
            .iter()
            .filter(|found| found.severity == severity)
            .count();
        match count {
            0 => None,
            1 => Some(format!("1 {severity}")),
            _ => Some(format!("{count} {severity}s")),
        }
    };
    let all = [Severity::Problem, Severity::Warning, Severity::Note];
    let counts: Vec<String> = all.into_iter().filter_map(of).collect();
    counts.join(", ")
}

fn show(ui: &mut Ui, store: &str, health: &Health) -> Result<(), Failure> {
    let names = health.facts.iter().map(|fact| fact.name.chars().count());
    let width = names.fold("findings".len(), usize::max);
    ui.line(format_args!("{:width$}  {store}", "store"))?;
    for fact in &health.facts {
        ui.line(format_args!("{:width$}  {}", fact.name, fact.value))?;
    }
    for found in &health.findings {
        let severity = format!("{:width$}", found.severity);
        let severity = ui.paint(style(found.severity), severity);
        ui.line(format_args!("{severity}  {}", found.what))?;
    }
    let (healthy, with) = if health.is_healthy() {
        ("yes", Style::Good)
    } else {
        ("no", Style::Bad)
    };
    let healthy = ui.paint(with, healthy);
    ui.line(format_args!("{:width$}  {healthy}", "healthy"))?;
    if !health.findings.is_empty() {
        ui.notice("`cim doctor` says what to do");
    }
    Ok(())
}
