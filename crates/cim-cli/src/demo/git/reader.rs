//! Reads what `git log --raw -z` writes: commits, each followed by its changes.
//!
//! ```text
//! hash NUL parents NUL author NUL … message NUL NUL          nine fields and the commit's end
//! [LF] :100644 100755 old-blob new-blob M NUL path NUL       no, one or many changes
//! ```
//!
//! Everything ends with NUL and is read by its place, so names, messages and paths may hold any
//! other byte. Only one commit's fields and one change are in memory at a time.

use std::io::BufRead;

use super::object::{Mode, ObjectId, ObjectIdError};
use super::text::GitText;

/// The fields of a commit, for `git log --format`: `%x00` writes the NUL after each.
pub(crate) const FORMAT: &str = "%H%x00%P%x00%an%x00%ae%x00%ad%x00%cn%x00%ce%x00%cd%x00%B%x00";

/// What the reader finds next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A commit begins.
    Commit(Box<GitCommit>),
    /// A change of the commit that began last.
    Change(Change),
}

/// A git commit, without its changes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GitCommit {
    pub(crate) hash: ObjectId,
    pub(crate) parents: Vec<ObjectId>,
    pub(crate) author: Person,
    pub(crate) committer: Person,
    pub(crate) message: GitText,
}

/// Who, and when.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) name: GitText,
    pub(crate) email: GitText,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub(crate) seconds: i64,
    /// The zone's distance from UTC, such as `+0200`.
    pub(crate) offset: String,
}

/// What happened to one path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) kind: ChangeKind,
    pub(crate) path: GitText,
    /// The mode since the change; of a deleted file the one it had.
    pub(crate) mode: Mode,
    /// The content since the change; of a deleted file the one it had.
    pub(crate) blob: ObjectId,
}

/// What kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Added,
    /// Its content, its mode or its type is another one.
    Modified,
    Deleted,
}

/// Bytes that `git log` does not write.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("it can't be read")]
    Io(#[from] std::io::Error),
    #[error("it ends within {0}")]
    End(&'static str),
    #[error(transparent)]
    ObjectId(#[from] ObjectIdError),
    #[error("`{found}` is not {expected}")]
    Unexpected {
        expected: &'static str,
        found: String,
    },
}

/// Reads commits and changes.
#[derive(Debug)]
pub(crate) struct LogReader<R> {
    input: R,
    token: Vec<u8>,
}

impl<R: BufRead> LogReader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            token: Vec::new(),
        }
    }

    /// The next commit or change; `None` at the end.
    pub(crate) fn next_item(&mut self) -> Result<Option<Item>, ReadError> {
        if !self.read_token("a commit or a change")? {
            return Ok(None);
        }
        let token = self.token.strip_prefix(b"\n").unwrap_or(&self.token);
        match token.strip_prefix(b":") {
            Some(entry) => {
                let (kind, mode, blob) = parse_entry(entry)?;
                let path = GitText::new(self.field("a path")?);
                Ok(Some(Item::Change(Change {
                    kind,
                    path,
                    mode,
                    blob,
                })))
            }
            None => {
                let hash = ObjectId::from_hex(token)?;
                self.commit(hash)
                    .map(|commit| Some(Item::Commit(Box::new(commit))))
            }
        }
    }

    fn commit(&mut self, hash: ObjectId) -> Result<GitCommit, ReadError> {
        let parents = self.field("a commit's parents")?;
        let parents = parents
            .split(|byte| *byte == b' ')
            .filter(|parent| !parent.is_empty())
            .map(ObjectId::from_hex)
            .collect::<Result<_, _>>()?;
        let author = self.person()?;
        let committer = self.person()?;
        let message = GitText::new(self.field("a message")?);
        let end = self.field("a commit's end")?;
        if !end.is_empty() {
            return Err(unexpected("a commit's end", &end));
        }
        Ok(GitCommit {
            hash,
            parents,
            author,
            committer,
            message,
        })
    }

    fn person(&mut self) -> Result<Person, ReadError> {
        let name = GitText::new(self.field("a name")?);
        let email = GitText::new(self.field("an e-mail address")?);
        let date = self.field("a date")?;
        let text = std::str::from_utf8(&date).ok();
        let parts = text.and_then(|text| text.split_once(' '));
        let (seconds, offset) = parts.ok_or_else(|| unexpected("a date", &date))?;
        Ok(Person {
            name,
            email,
            seconds: seconds.parse().map_err(|_| unexpected("a date", &date))?,
            offset: offset.to_owned(),
        })
    }

    fn field(&mut self, what: &'static str) -> Result<Vec<u8>, ReadError> {
        if self.read_token(what)? {
            Ok(std::mem::take(&mut self.token))
        } else {
            Err(ReadError::End(what))
        }
    }

    /// Reads up to the next NUL; `false` at the end.
    fn read_token(&mut self, what: &'static str) -> Result<bool, ReadError> {
        self.token.clear();
        if self.input.read_until(0, &mut self.token)? == 0 {
            return Ok(false);
        }
        match self.token.pop() {
            Some(0) => Ok(true),
            _ => Err(ReadError::End(what)),
        }
    }
}

/// `100644 100755 old-blob new-blob M`, as in git-diff-tree(1), "raw output format".
fn parse_entry(entry: &[u8]) -> Result<(ChangeKind, Mode, ObjectId), ReadError> {
    let refused = || unexpected("a change", entry);
    let mut parts = entry.split(|byte| *byte == b' ');
    let mut part = || parts.next().ok_or_else(refused);
    let (old_mode, new_mode, old_blob, new_blob, status) =
        (part()?, part()?, part()?, part()?, part()?);
    let (kind, mode, blob) = match status {
        b"A" => (ChangeKind::Added, new_mode, new_blob),
        b"M" | b"T" => (ChangeKind::Modified, new_mode, new_blob),
        b"D" => (ChangeKind::Deleted, old_mode, old_blob),
        _ => return Err(refused()),
    };
    let mode = Mode::from_octal(mode).ok_or_else(refused)?;
    Ok((kind, mode, ObjectId::from_hex(blob)?))
}

fn unexpected(expected: &'static str, found: &[u8]) -> ReadError {
    ReadError::Unexpected {
        expected,
        found: GitText::new(&found[..found.len().min(100)]).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef01234567";
    const BLOB: &str = "89abcdef0123456789abcdef0123456789abcdef";
    const NULL: &str = "0000000000000000000000000000000000000000";

    fn read(bytes: &[u8]) -> Result<Vec<Item>, ReadError> {
        let mut reader = LogReader::new(bytes);
        std::iter::from_fn(|| reader.next_item().transpose()).collect()
    }

    fn commit(message: &[u8]) -> Vec<u8> {
        let people = "A\0a@b\x000 +0000\0C\0c@d\0-5 -0130\0";
        let mut bytes = format!("{HASH}\0{BLOB} {HASH}\0{people}").into_bytes();
        bytes.extend_from_slice(message);
        bytes.extend_from_slice(b"\0\0");
        bytes
    }

    #[test]
    fn a_commit_is_read_with_all_its_fields() {
        let items = read(&commit(b"subject\n\n:not a change\n")).unwrap();
        let [Item::Commit(commit)] = items.as_slice() else {
            panic!("{items:?}");
        };
        assert_eq!(commit.hash.to_string(), HASH);
        assert_eq!(commit.parents.len(), 2);
        assert_eq!(commit.author.name, GitText::new("A"));
        assert_eq!(
            (commit.committer.seconds, commit.committer.offset.as_str()),
            (-5, "-0130")
        );
        assert_eq!(commit.message, GitText::new("subject\n\n:not a change\n"));
    }

    #[test]
    fn changes_follow_their_commit_and_paths_hold_any_byte() {
        let mut bytes = commit(b"one");
        bytes.extend_from_slice(
            format!(
                "\n:000000 100644 {NULL} {BLOB} A\0a\nb\" \0:100644 000000 {BLOB} {NULL} D\0:x\0"
            )
            .as_bytes(),
        );
        bytes.extend(commit(b"two"));
        bytes.extend_from_slice(format!("\n:100644 160000 {NULL} {BLOB} T\0").as_bytes());
        bytes.extend_from_slice(b"\xff\0");
        let items = read(&bytes).unwrap();
        let changes: Vec<_> = items
            .iter()
            .filter_map(|item| match item {
                Item::Change(change) => {
                    Some((change.kind, change.path.as_bytes(), change.mode.to_string()))
                }
                Item::Commit(_) => None,
            })
            .collect();
        assert_eq!(items.len(), 5);
        assert_eq!(
            changes,
            [
                (
                    ChangeKind::Added,
                    b"a\nb\" ".as_slice(),
                    "100644".to_owned()
                ),
                (ChangeKind::Deleted, b":x".as_slice(), "100644".to_owned()),
                (
                    ChangeKind::Modified,
                    b"\xff".as_slice(),
                    "160000".to_owned()
                ),
            ]
        );
    }

    #[test]
    fn an_output_that_was_cut_is_an_error_not_an_end() {
        let mut whole = commit(b"one");
        whole.extend_from_slice(format!("\n:000000 100644 {NULL} {BLOB} A\0path\0").as_bytes());
        let boundary = commit(b"one").len();
        for cut in 1..whole.len() {
            let read = read(&whole[..cut]);
            assert_eq!(read.is_ok(), cut == boundary, "cut at {cut}: {read:?}");
        }
    }

    #[test]
    fn what_git_does_not_write_is_refused() {
        let mut bytes = commit(b"one");
        bytes.extend_from_slice(format!(":100644 100644 {BLOB} {BLOB} R100\0a\0b\0").as_bytes());
        let error = read(&bytes).unwrap_err();
        assert!(
            error.to_string().ends_with("R100` is not a change"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn nothing_that_is_read_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
