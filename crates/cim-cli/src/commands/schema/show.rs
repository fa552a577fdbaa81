//! `cim schema show`: what is locked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cim_domain::schema::{LockFile, Persisted, Versions};
use clap::Args;
use serde::Serialize;

use super::file;
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::session::Session;

/// Show the shapes that are locked
///
/// With TYPE only those of one event type, or of one aggregate (`context.type`): its events and
/// snapshots.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim schema show
  cim schema show order_placed
  cim schema show sales.order --json | jq -r '.name'")]
pub(super) struct ShowArgs {
    /// An event type, or an aggregate
    #[arg(value_name = "TYPE")]
    name: Option<String>,
    /// The file
    #[arg(long, value_name = "FILE", default_value = file::DEFAULT)]
    file: PathBuf,
}

/// What an entry is about, as JSON.
#[derive(Serialize)]
pub(super) struct Name {
    kind: &'static str,
    name: String,
    /// Whose event it is; `null` where its name alone says which.
    aggregate: Option<String>,
}

/// An entry, as JSON.
#[derive(Serialize)]
struct EntryLine<'a> {
    #[serde(flatten)]
    name: Name,
    versions: BTreeMap<&'a u32, Vec<String>>,
}

impl Name {
    pub(super) fn of(what: &Persisted) -> Self {
        let (kind, aggregate) = match what {
            Persisted::Event { aggregate, .. } => ("event", aggregate.clone()),
            Persisted::Snapshot { aggregate } => ("snapshot", Some(aggregate.clone())),
            _ => ("other", None),
        };
        let name = what.name().to_owned();
        Self {
            kind,
            name,
            aggregate,
        }
    }
}

impl ShowArgs {
    pub(super) fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        let (_, locked) = file::read(&self.file)?;
        let shown = LockFile::from_iter(
            locked
                .entries()
                .filter(|(what, _)| self.is_wanted(what))
                .map(|(what, versions)| (what.clone(), versions.clone())),
        );
        if let (Some(name), None) = (&self.name, shown.entries().next()) {
            let error = format!("{} has nothing named `{name}`", self.file.display());
            return Err(Failure::new(ExitCode::NotFound, error)
                .with_hint("`cim schema show` without a name shows all of it"));
        }
        let ui = &mut *session.ui;
        if !ui.is_json() {
            // Without the title, as this is no file.
            let text = shown.to_string();
            let (_, entries) = text.split_once("\n\n").unwrap_or_default();
            return ui.raw(entries.as_bytes());
        }
        for (what, versions) in shown.entries() {
            ui.json(&EntryLine {
                name: Name::of(what),
                versions: texts(versions),
            })?;
        }
        Ok(())
    }

    fn is_wanted(&self, what: &Persisted) -> bool {
        let Some(name) = &self.name else {
            return true;
        };
        let is_of = match what {
            Persisted::Event { aggregate, .. } => aggregate.as_deref() == Some(name),
            _ => false,
        };
        is_of || what.name() == name
    }
}

fn texts(versions: &Versions) -> BTreeMap<&u32, Vec<String>> {
    let versions = versions.iter();
    versions
        .map(|(version, shapes)| (version, shapes.iter().map(ToString::to_string).collect()))
        .collect()
}
