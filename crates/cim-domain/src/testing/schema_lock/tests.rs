//! What a lock file takes in, what it refuses, and what the user reads then.

mod added;
mod hidden;
mod others;
mod refused;

use std::path::PathBuf;

use expect_test::{Expect, expect};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::UpcastError;
use crate::event::{Decoded, Encoded, EventVersion, Json, PastEvent};

/// A directory with a lock file, or without one yet.
struct Desk {
    directory: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// With the file that locks the events `E`.
    fn locking<E: DomainEvent>() -> Self {
        let desk = Self::new();
        desk.written(SchemaLock::event::<E>, Mode::Compare);
        desk
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("cim-schemas.lock")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }

    /// The entry that begins with this line.
    fn entry(&self, head: &str) -> String {
        let text = self.text();
        let mut entries = text.split("\n\n");
        let entry = entries.find(|entry| entry.lines().next() == Some(head));
        format!("{}\n", entry.unwrap().trim_end())
    }

    fn run(
        &self,
        with: impl FnOnce(SchemaLock) -> SchemaLock,
        mode: Mode,
    ) -> Result<Option<String>, String> {
        let shown = |text: String| text.replace(&self.path().display().to_string(), "FILE");
        let done = with(SchemaLock::at(self.path())).run(mode);
        done.map(|note| note.map(shown)).map_err(shown)
    }

    #[track_caller]
    fn is_fine(&self, with: impl FnOnce(SchemaLock) -> SchemaLock) {
        let before = self.text();
        assert_eq!(self.run(with, Mode::Compare), Ok(None));
        assert_eq!(self.text(), before);
    }

    #[track_caller]
    fn written(&self, with: impl FnOnce(SchemaLock) -> SchemaLock, mode: Mode) -> String {
        match self.run(with, mode) {
            Ok(Some(note)) => note,
            other => panic!("nothing was written: {other:?}"),
        }
    }

    /// It is refused, in either mode with the same words, and nothing is written.
    #[track_caller]
    fn refused(&self, with: impl Fn(SchemaLock) -> SchemaLock, expected: Expect) {
        let before = self.text();
        let report = self.run(&with, Mode::Compare).unwrap_err();
        assert_eq!(self.run(&with, Mode::Update), Err(report.clone()));
        assert_eq!(self.text(), before);
        expected.assert_eq(&report);
    }

    /// It is not in the file yet; with the variable it is.
    #[track_caller]
    fn is_added(&self, with: impl Fn(SchemaLock) -> SchemaLock, expected: Expect, note: Expect) {
        let before = self.text();
        let report = self.run(&with, Mode::Compare).unwrap_err();
        assert_eq!(self.text(), before);
        expected.assert_eq(&report);
        note.assert_eq(&self.written(&with, Mode::Update));
        self.is_fine(with);
    }
}

/// The first version of everything.
mod first {
    use super::*;

    #[derive(Serialize, Deserialize, DomainEvent)]
    #[event(crate = crate)]
    pub(super) enum Event {
        Opened {
            owner: Uuid,
            nickname: Option<String>,
        },
        Deposited {
            cents: u64,
        },
        Closed,
    }
}

fn cents_to_amount(payload: Value) -> Result<Value, UpcastError> {
    Ok(json!({ "amount": { "cents": payload["cents"], "currency": "EUR" } }))
}

#[derive(Serialize, Deserialize)]
struct Amount {
    cents: u64,
    currency: String,
}
