//! `cim doctor`: what is wrong with the store, and what to do about it.

use clap::Args;

use crate::commands::health::{FindingLine, code, counted, look, style};
use crate::error::Failure;
use crate::output::Style;
use crate::session::Session;

/// Say what is wrong with the store, and what to do
///
/// Looks at the same as `cim health`, and explains each finding with what to do about it. A problem
/// keeps the store from working as it should; a warning means that a power cut or one more failure
/// may hurt; a note needs nothing.
///
/// Ends with code 10 when there is a problem. A store that can't be opened is an error that says
/// why, with its own code.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim doctor
  cim --store nats://localhost:4222 --monitor http://localhost:8222 doctor
  cim doctor --json | jq -r 'select(.severity == \"problem\") | .advice'")]
pub struct DoctorArgs {}

impl DoctorArgs {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        let health = look(session).await?;
        let store = session.address.shown();
        let ui = &mut *session.ui;
        if ui.is_json() {
            for found in &health.findings {
                ui.json(&FindingLine::from(found))?;
            }
            return code(&health);
        }
        if health.findings.is_empty() {
            let well = ui.paint(Style::Good, "nothing is wrong");
            ui.line(format_args!("{store}: {well}"))?;
            return Ok(());
        }
        ui.line(format_args!("{store}: {}", counted(&health)))?;
        for found in &health.findings {
            let severity = format!("{:<7}", found.severity);
            let severity = ui.paint(style(found.severity), severity);
            ui.line("")?;
            ui.line(format_args!("{severity}  {}", sentence(&found.what)))?;
            ui.line(format_args!("to do    {}", sentence(&found.advice)))?;
        }
        code(&health)
    }
}

/// A sentence as one writes it: with a capital letter, and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}
