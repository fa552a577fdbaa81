//! Which buckets there are. A small file that is replaced whole when one is made.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cim_store::{BucketError, BucketName, BucketSettings};
use serde::{Deserialize, Serialize};

use crate::checked_file;
use crate::disk::Disk;
use crate::error::EngineError;
use crate::journal::Setting;

const FILE: &str = "buckets.json";
/// Buckets are numbered with 16 bits in the index.
const MOST: usize = u16::MAX as usize;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    number: u16,
    name: String,
    history: u8,
    /// Milliseconds.
    ttl: Option<u64>,
}

impl Entry {
    fn settings(&self) -> BucketSettings {
        BucketSettings {
            history: self.history,
            ttl: self.ttl.map(Duration::from_millis),
        }
    }
}

/// The buckets of a store.
#[derive(Debug)]
pub(crate) struct Catalog {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    entries: Mutex<Vec<Entry>>,
}

impl Catalog {
    /// Makes the file, durably, with no bucket in it.
    pub(crate) fn create(setting: &Setting) -> Result<(), EngineError> {
        let none: Vec<Entry> = Vec::new();
        checked_file::write(&*setting.disk, &setting.path(FILE), &none)
    }

    /// Reads the file.
    pub(crate) fn open(setting: &Setting) -> Result<Self, EngineError> {
        let path = setting.path(FILE);
        let entries = checked_file::read(&*setting.disk, &path)?;
        let disk = Arc::clone(&setting.disk);
        Ok(Self {
            disk,
            path,
            entries: Mutex::new(entries),
        })
    }

    /// The number of a bucket; makes it where it does not exist.
    ///
    /// The lock is held over the file's replacement: two that make a bucket must not lose one.
    pub(crate) fn open_bucket(
        &self,
        name: &BucketName,
        settings: BucketSettings,
    ) -> Result<u16, BucketError> {
        settings.check()?;
        let whole = settings
            .ttl
            .map(|ttl| Duration::from_millis(ttl.as_millis() as u64));
        if whole != settings.ttl {
            return Err(BucketError::invalid(
                "a time to live has whole milliseconds",
            ));
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.iter().find(|entry| entry.name == name.as_str()) {
            entry.settings().check_same(name, settings)?;
            return Ok(entry.number);
        }
        if entries.len() >= MOST {
            return Err(BucketError::invalid("a store has at most 65 535 buckets"));
        }
        let number = entries.len() as u16 + 1;
        let entry = Entry {
            number,
            name: name.as_str().to_owned(),
            history: settings.history,
            ttl: settings.ttl.map(|ttl| ttl.as_millis() as u64),
        };
        let mut extended = entries.clone();
        extended.push(entry);
        checked_file::write(&*self.disk, &self.path, &extended)?;
        *entries = extended;
        Ok(number)
    }

    /// Names and settings, by name.
    pub(crate) fn list(&self) -> Result<Vec<(BucketName, BucketSettings)>, BucketError> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list = entries
            .iter()
            .map(|entry| {
                let name = BucketName::new(entry.name.clone()).map_err(|_| {
                    BucketError::from(EngineError::damage("a name is invalid", &self.path, 0))
                })?;
                Ok((name, entry.settings()))
            })
            .collect::<Result<Vec<_>, BucketError>>()?;
        list.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(list)
    }

    /// How many changes of each key a bucket keeps.
    pub(crate) fn history(&self, number: u16) -> u8 {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .iter()
            .find(|entry| entry.number == number)
            .map_or(BucketSettings::MAX_HISTORY, |entry| entry.history)
    }
}
