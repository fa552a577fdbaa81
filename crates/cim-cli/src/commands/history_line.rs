//! What `cim export` and `cim import` say of a file that holds a history.

use std::path::Path;

use cim_domain::persistence::car::HistoryFile;
use serde::Serialize;

use crate::error::Failure;
use crate::output::Ui;

/// What a file holds, as JSON and as lines.
#[derive(Serialize)]
pub(super) struct HistoryLine<'a> {
    file: String,
    root: String,
    events: u64,
    streams: u64,
    tree: String,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<&'a str>,
    split_commits: u64,
}

impl<'a> HistoryLine<'a> {
    pub(super) fn of(path: &Path, held: &'a HistoryFile) -> Self {
        Self {
            file: path.display().to_string(),
            root: held.root.to_string(),
            events: held.events,
            streams: held.streams,
            tree: held.tree.to_string(),
            bytes: held.bytes,
            pattern: held.pattern.as_deref(),
            split_commits: held.split_commits,
        }
    }

    pub(super) fn show(&self, ui: &mut Ui) -> Result<(), Failure> {
        ui.line(format_args!("file     {}", self.file))?;
        ui.line(format_args!("root     {}", self.root))?;
        ui.line(format_args!("events   {}", self.events))?;
        ui.line(format_args!("streams  {}", self.streams))?;
        ui.line(format_args!("tree     {}", self.tree))?;
        if let Some(pattern) = self.pattern {
            ui.line(format_args!("pattern  {pattern}"))?;
        }
        ui.line(format_args!("bytes    {}", self.bytes))
    }
}
