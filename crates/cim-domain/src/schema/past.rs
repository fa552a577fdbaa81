//! A lock file compared with its own past: what was locked stays.

use std::fmt;

use super::{LockFile, Persisted, Shape};

/// Something that was locked and is another one now, or gone.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rewrite {
    /// What was locked.
    pub what: Persisted,
    /// The schema version.
    pub version: u32,
    /// The shape that was locked.
    pub was: Shape,
    /// What stands in its place; `None` where it is gone.
    pub is: Option<Shape>,
}

impl fmt::Display for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, version, .. } = self;
        match &self.is {
            None => {
                writeln!(
                    f,
                    "{what}, version {version}: a locked shape is gone (- was)"
                )?;
                f.write_str(self.was.difference_to(None).trim_end())
            }
            Some(is) => {
                writeln!(
                    f,
                    "{what}, version {version}: a locked shape is another one (- was, + is)"
                )?;
                f.write_str(self.was.difference_to(Some(is)).trim_end())
            }
        }
    }
}

impl LockFile {
    /// What was locked in `before` and is not locked any more, or is another shape. Entries,
    /// versions and shapes that were added are no rewrites.
    ///
    /// ```
    /// use cim_domain::schema::LockFile;
    ///
    /// let before = LockFile::parse("cim-schemas 1\nevent deposited version 1 { cents: u64 }\n")?;
    /// let grown = LockFile::parse(
    ///     "cim-schemas 1\nevent deposited version 1 { cents: u64 } version 2 { amount: u64 }\n",
    /// )?;
    /// assert!(grown.rewrites_since(&before).is_empty());
    ///
    /// let edited = LockFile::parse("cim-schemas 1\nevent deposited version 1 { cents: text }\n")?;
    /// let rewrites = edited.rewrites_since(&before);
    /// assert_eq!((rewrites[0].what.to_string().as_str(), rewrites[0].version), ("event deposited", 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rewrites_since(&self, before: &Self) -> Vec<Rewrite> {
        let mut rewrites = Vec::new();
        for (what, versions) in before.entries() {
            for (version, was) in versions {
                let now = self.get(what).and_then(|versions| versions.get(version));
                let now = now.map(Vec::as_slice).unwrap_or_default();
                for (index, was) in was.iter().enumerate() {
                    // Further shapes may be in another order after a merge; the first is the
                    // version's own.
                    let is_there = match index {
                        0 => now.first().is_some_and(|now| now.is_same_as(was)),
                        _ => now.iter().any(|now| now.is_same_as(was)),
                    };
                    if !is_there {
                        rewrites.push(Rewrite {
                            what: what.clone(),
                            version: *version,
                            was: was.clone(),
                            is: now.get(index).cloned(),
                        });
                    }
                }
            }
        }
        rewrites
    }
}
