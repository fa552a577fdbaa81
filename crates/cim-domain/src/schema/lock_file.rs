//! The file `cim-schemas.lock` as data.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::{Persisted, Shape};

/// The first line: name and version of the format.
pub(super) const TITLE: &str = "cim-schemas 1";

/// The shapes that each version may have. The first is the one that the version was made with;
/// the others came later, and payloads of the earlier ones can still be read with them.
pub type Versions = BTreeMap<u32, Vec<Shape>>;

/// What `cim-schemas.lock` says.
///
/// Its [`Display`](std::fmt::Display) is the file's text; [`parse`](Self::parse) reads it.
///
/// ```
/// use cim_domain::schema::LockFile;
///
/// let file = LockFile::parse(
///     "cim-schemas 1\n\nevent deposited\n  version 1\n    { cents: u64 }\n",
/// )?;
/// let (what, versions) = file.entries().next().unwrap();
/// assert_eq!(what.to_string(), "event deposited");
/// assert_eq!(versions[&1].len(), 1);
/// assert_eq!(LockFile::parse(&file.to_string())?, file);
/// # Ok::<(), cim_domain::schema::LockFileError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LockFile(BTreeMap<Persisted, Versions>);

impl LockFile {
    /// Everything in it, in the file's order.
    pub fn entries(&self) -> impl Iterator<Item = (&Persisted, &Versions)> {
        self.0.iter()
    }

    /// The versions of one thing.
    pub fn get(&self, what: &Persisted) -> Option<&Versions> {
        self.0.get(what)
    }

    /// Adds a shape as the last one of a version.
    pub(crate) fn add(&mut self, what: Persisted, version: u32, shape: Shape) {
        self.0
            .entry(what)
            .or_default()
            .entry(version)
            .or_default()
            .push(shape);
    }

    /// Adds an entry that is read from a file; `false` if there is one already.
    pub(super) fn insert(&mut self, what: Persisted, versions: Versions) -> bool {
        match self.0.entry(what) {
            Entry::Vacant(vacant) => {
                vacant.insert(versions);
                true
            }
            Entry::Occupied(_) => false,
        }
    }
}

impl FromIterator<(Persisted, Versions)> for LockFile {
    fn from_iter<I: IntoIterator<Item = (Persisted, Versions)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}
