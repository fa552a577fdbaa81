//! The tree of files, rebuilt from events and compared with git's.
//!
//! Memory is one entry per path that the history ever had.

use std::collections::HashMap;
use std::fmt;

use super::events::FileChange;
use super::object::{Mode, ObjectId};
use super::program::{GitError, Repository};
use super::reader::{ChangeKind, ReadError};
use super::text::GitText;

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) mode: Mode,
    pub(crate) blob: ObjectId,
}

/// All paths that events spoke of.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    paths: HashMap<Vec<u8>, PathState>,
    /// How many paths have a file now.
    files: usize,
}

#[derive(Debug, Default)]
struct PathState {
    entry: Option<Entry>,
    changes: u64,
}

/// The first place where two trees differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) path: GitText,
    pub(crate) rebuilt: Option<Entry>,
    pub(crate) git: Option<Entry>,
}

impl Tree {
    /// Takes the next event of a path.
    pub(crate) fn apply(&mut self, kind: ChangeKind, change: FileChange) {
        let state = self.paths.entry(change.path.into_bytes()).or_default();
        state.changes += 1;
        self.files -= usize::from(state.entry.is_some());
        state.entry = match kind {
            ChangeKind::Added | ChangeKind::Modified => Some(Entry {
                mode: change.mode,
                blob: change.blob,
            }),
            ChangeKind::Deleted => None,
        };
        self.files += usize::from(state.entry.is_some());
    }

    /// How many files there are.
    pub(crate) fn len(&self) -> usize {
        self.files
    }

    /// Compares with all of git's entries, each once.
    pub(crate) fn compare<E>(
        &self,
        git: impl IntoIterator<Item = Result<(Vec<u8>, Entry), E>>,
    ) -> Result<Option<Difference>, E> {
        let mut listed = std::collections::HashSet::new();
        for entry in git {
            let (path, entry) = entry?;
            let rebuilt = self.paths.get(&path).and_then(|state| state.entry);
            if rebuilt != Some(entry) {
                return Ok(Some(Difference {
                    path: GitText::new(path),
                    rebuilt,
                    git: Some(entry),
                }));
            }
            listed.insert(path);
        }
        if listed.len() == self.files {
            return Ok(None);
        }
        // Everything git lists is there, so there is something that git does not list.
        let extra = self
            .paths
            .iter()
            .filter(|(path, _)| !listed.contains(*path));
        let first = extra
            .filter_map(|(path, state)| state.entry.map(|entry| (path, entry)))
            .min_by_key(|(path, _)| *path);
        Ok(first.map(|(path, entry)| Difference {
            path: GitText::new(path.clone()),
            rebuilt: Some(entry),
            git: None,
        }))
    }

    /// Compares with git's tree at a commit.
    pub(crate) fn compare_with_git(
        &self,
        repository: &Repository,
        commit: &ObjectId,
    ) -> Result<Option<Difference>, GitError> {
        let commit = commit.to_string();
        let mut output = repository.stream(["ls-tree", "-r", "-z", "--full-tree", &commit])?;
        let entries = std::iter::from_fn(|| match output.token(0) {
            Ok(None) => None,
            Ok(Some(line)) => Some(parse_line(&line).map_err(|error| output.parse_error(error))),
            Err(error) => Some(Err(error)),
        });
        let difference = self.compare(entries)?;
        if difference.is_none() {
            // A listing that git did not finish proves nothing.
            output.finish()?;
        }
        Ok(difference)
    }

    /// The paths with the most changes, most first, and how many each has had.
    pub(crate) fn most_changed(&self, count: usize) -> Vec<(Vec<u8>, u64)> {
        let mut paths: Vec<_> = self.paths.iter().map(|(p, s)| (p, s.changes)).collect();
        let by_changes = |one: &(&Vec<u8>, u64), other: &(&Vec<u8>, u64)| {
            other.1.cmp(&one.1).then_with(|| one.0.cmp(other.0))
        };
        if paths.len() > count {
            paths.select_nth_unstable_by(count, by_changes);
            paths.truncate(count);
        }
        paths.sort_by(by_changes);
        paths
            .into_iter()
            .map(|(path, changes)| (path.clone(), changes))
            .collect()
    }
}

/// `100644 blob 89ab… TAB path`, as in git-ls-tree(1), "output format".
fn parse_line(line: &[u8]) -> Result<(Vec<u8>, Entry), ReadError> {
    let refused = || ReadError::Unexpected {
        expected: "an entry of a tree",
        found: GitText::new(line).to_string(),
    };
    let tab = line
        .iter()
        .position(|byte| *byte == b'\t')
        .ok_or_else(refused)?;
    let mut parts = line[..tab].split(|byte| *byte == b' ');
    let mut part = || parts.next().ok_or_else(refused);
    let (mode, _type, blob) = (part()?, part()?, part()?);
    let entry = Entry {
        mode: Mode::from_octal(mode).ok_or_else(refused)?,
        blob: ObjectId::from_hex(blob)?,
    };
    Ok((line[tab + 1..].to_vec(), entry))
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |entry: Option<Entry>| match entry {
            Some(entry) => format!("{} {}", entry.mode, entry.blob),
            None => "nothing".to_owned(),
        };
        let (rebuilt, git) = (side(self.rebuilt), side(self.git));
        write!(f, "{}: rebuilt is {rebuilt}, git has {git}", self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn entry(mode: &str, blob: u8) -> Entry {
        Entry {
            mode: Mode::from_octal(mode.as_bytes()).unwrap(),
            blob: format!("{blob:040x}").parse().unwrap(),
        }
    }

    fn change(path: &str, entry: Entry) -> FileChange {
        FileChange {
            path: GitText::new(path),
            mode: entry.mode,
            blob: entry.blob,
        }
    }

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.apply(ChangeKind::Added, change("a", entry("100644", 1)));
        tree.apply(ChangeKind::Added, change("b", entry("100644", 2)));
        tree.apply(ChangeKind::Modified, change("b", entry("100755", 3)));
        tree.apply(ChangeKind::Added, change("c", entry("120000", 4)));
        tree.apply(ChangeKind::Deleted, change("c", entry("120000", 4)));
        tree
    }

    fn compare(git: &[(&str, Entry)]) -> Option<String> {
        let git = git
            .iter()
            .map(|(path, entry)| Ok((path.as_bytes().to_vec(), *entry)));
        let Ok(difference) = tree().compare::<Infallible>(git);
        difference.map(|difference| difference.to_string())
    }

    #[test]
    fn equal_trees_have_no_difference() {
        assert_eq!(
            compare(&[("b", entry("100755", 3)), ("a", entry("100644", 1))]),
            None
        );
        assert_eq!(tree().len(), 2);
    }

    #[test]
    fn every_kind_of_difference_is_found_and_named() {
        let (a, b) = (("a", entry("100644", 1)), ("b", entry("100755", 3)));
        let cases: [(&[_], &str); 5] = [
            (&[a, ("b", entry("100644", 3))], "b: rebuilt is 100755 "),
            (&[a, ("b", entry("100755", 4))], "b: rebuilt is 100755 "),
            (
                &[a, b, ("c", entry("120000", 4))],
                "c: rebuilt is nothing, git has 120000 ",
            ),
            (&[a], "b: rebuilt is 100755 "),
            (&[], "a: rebuilt is 100644 "),
        ];
        for (git, expected) in cases {
            let found = compare(git).unwrap();
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn changes_are_counted_also_of_what_is_gone() {
        let most = tree().most_changed(2);
        assert_eq!(most, [(b"b".to_vec(), 2), (b"c".to_vec(), 2)]);
        assert_eq!(tree().most_changed(9).len(), 3);
    }
}
