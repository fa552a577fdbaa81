//! A test that compares the shapes of what is stored with those in `cim-schemas.lock`.

mod now;

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use cim_store::StreamId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::schema::LockFile;
use crate::schema::rules::{self, Comparison, Now, Why};
use crate::schema::tracer::Hints;
use crate::{Aggregate, DomainEvent};

/// The environment variable that lets the test write the file, if it is `update`.
const VARIABLE: &str = "CIM_SCHEMAS";

/// Compares the shapes of events and snapshots with those that a file locks.
///
/// Events that were stored stay as they are, so what the code reads must go on fitting them. A
/// crate that stores events has one test such as this, and commits the file:
///
/// ```
/// use cim_domain::testing::SchemaLock;
/// # use cim_domain::{Aggregate, DomainEvent};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, DomainEvent)]
/// # enum AccountEvent { Deposited { cents: u64 } }
/// # #[derive(Default, Serialize, Deserialize)]
/// # struct Account { balance: u64 }
/// # impl Aggregate for Account {
/// #     const CONTEXT: &'static str = "bank";
/// #     const TYPE: &'static str = "account";
/// #     type Id = String;
/// #     type Event = AccountEvent;
/// #     type Command = ();
/// #     type Error = std::convert::Infallible;
/// #     fn apply(&mut self, AccountEvent::Deposited { cents }: &AccountEvent) { self.balance += cents; }
/// #     fn handle(&self, (): ()) -> Result<Vec<AccountEvent>, Self::Error> { Ok(vec![]) }
/// # }
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("cim-schemas.lock");
/// # std::fs::write(&path, "cim-schemas 1
/// # event deposited of bank.account version 1 { cents: u64 }
/// # snapshot bank.account version 1 { balance: u64 }
/// # ")?;
/// # let path = path.to_str().unwrap();
///
/// // #[test]
/// fn persisted_shapes_are_locked(path: &str) { // "cim-schemas.lock"
///     SchemaLock::at(path)
///         .aggregate::<Account>()
///         .snapshot::<Account>()
///         .check();
/// }
/// # persisted_shapes_are_locked(path);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// The first time it writes the file. From then on it fails where the code says something else,
/// shows the difference, and says what to do. With `CIM_SCHEMAS=update` in the environment it adds
/// new types, new versions, and changes that no stored event notices; it never takes anything back.
///
/// The guide to schema evolution says what counts as a change; `cim schema check` compares the file
/// with its own past and with a store.
#[must_use = "it does nothing until `check`"]
pub struct SchemaLock {
    path: PathBuf,
    parts: Vec<Part>,
    /// By the Rust type.
    samples: HashMap<TypeId, Vec<Sample>>,
    texts: Vec<String>,
    payloads: Vec<(String, u32, Value)>,
    mistakes: Vec<String>,
}

/// Finds out what the code says about one thing.
type Part = Box<dyn FnOnce(&Hinted<'_>, &mut Now)>;

/// A value that the user gave: its event type, and how it is written.
struct Sample {
    event_type: Option<&'static str>,
    value: Value,
}

/// What is at hand for every type.
struct Hinted<'a> {
    samples: &'a HashMap<TypeId, Vec<Sample>>,
    texts: &'a [String],
}

impl Hinted<'_> {
    fn of<T: 'static>(&self, event_type: Option<&str>) -> Hints {
        let samples = self.samples.get(&TypeId::of::<T>());
        let samples = samples.map(Vec::as_slice).unwrap_or_default().iter();
        Hints {
            samples: samples
                .filter(|sample| sample.event_type == event_type)
                .map(|sample| sample.value.clone())
                .collect(),
            texts: self.texts.to_vec(),
        }
    }
}

/// What the test may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Compare; write the file if there is none.
    Compare,
    /// Compare; there has to be a file.
    CompareOnly,
    /// Write down what may be written down.
    Update,
}

impl Mode {
    fn of_environment() -> Result<Self, String> {
        match std::env::var(VARIABLE) {
            Ok(value) if value == "update" => Ok(Self::Update),
            Ok(value) if !value.is_empty() => Err(format!(
                "{VARIABLE} is {value:?}, which means nothing here; `update` lets the test write"
            )),
            // Where nobody commits what a test wrote, a missing file would never be missed.
            _ if std::env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false") => {
                Ok(Self::CompareOnly)
            }
            _ => Ok(Self::Compare),
        }
    }
}

impl SchemaLock {
    /// The file, most often `cim-schemas.lock`. A relative path is taken from the directory of the
    /// package whose test runs: the one that its `Cargo.toml` is in.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let package = std::env::var_os("CARGO_MANIFEST_DIR");
        Self {
            path: match package {
                Some(package) => Path::new(&package).join(path),
                None => path,
            },
            parts: Vec::new(),
            samples: HashMap::new(),
            texts: Vec::new(),
            payloads: Vec::new(),
            mistakes: Vec::new(),
        }
    }

    /// The events of an aggregate. In the file they stand under its context and type, so another
    /// aggregate's events may have the same names.
    pub fn aggregate<A: Aggregate>(self) -> Self {
        self.part(|hinted, now| {
            let events = now::events::<A::Event>(Some(aggregate::<A>()), hinted);
            now.events.push(events);
        })
    }

    /// Events whose names alone say which ones they are, in whatever streams they stand.
    pub fn event<E: DomainEvent>(self) -> Self {
        self.part(|hinted, now| now.events.push(now::events::<E>(None, hinted)))
    }

    /// The state of an aggregate as it stands in snapshots, of version
    /// [`SNAPSHOT_VERSION`](Aggregate::SNAPSHOT_VERSION).
    ///
    /// Here every change of the shape needs another version: a snapshot in which something is
    /// missing is not the state that its events give. It costs nothing, as snapshots of an older
    /// version are made anew from the events.
    pub fn snapshot<A: Aggregate + Serialize + DeserializeOwned>(self) -> Self {
        self.part(|hinted, now| {
            let snapshot = now::snapshot::<A>(aggregate::<A>(), hinted);
            now.snapshots.push(snapshot);
        })
    }

    /// A sample of an event, where made-up ones are not enough: a type refuses whatever is made up,
    /// or serde hides how it is read (`untagged`, `tag`, `flatten`). Of what is hidden the file
    /// shows what samples show, so give one of every form.
    pub fn sample<E: DomainEvent>(mut self, event: E) -> Self {
        match now::json_of(&event) {
            Ok(value) => self
                .samples
                .entry(TypeId::of::<E>())
                .or_default()
                .push(Sample {
                    event_type: Some(event.event_type()),
                    value,
                }),
            Err(error) => self.mistakes.push(format!(
                "a sample of `{}` can't be written: {error}",
                event.event_type()
            )),
        }
        self
    }

    /// A sample of a state, as [`sample`](Self::sample) is one of an event.
    ///
    /// ```
    /// use cim_domain::testing::SchemaLock;
    /// # use cim_domain::{Aggregate, DomainEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize, DomainEvent)]
    /// # enum AccountEvent { Deposited { cents: u64 } }
    ///
    /// #[derive(Serialize, Deserialize)]
    /// #[serde(untagged)] // serde hides what such an enum looks like
    /// enum Limit {
    ///     Cents(u64),
    ///     Named { rule: String },
    /// }
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Account { balance: u64, limit: Limit }
    /// # impl Default for Account { fn default() -> Self { Self { balance: 0, limit: Limit::Cents(0) } } }
    /// # impl Aggregate for Account {
    /// #     const CONTEXT: &'static str = "bank";
    /// #     const TYPE: &'static str = "account";
    /// #     type Id = String;
    /// #     type Event = AccountEvent;
    /// #     type Command = ();
    /// #     type Error = std::convert::Infallible;
    /// #     fn apply(&mut self, AccountEvent::Deposited { cents }: &AccountEvent) { self.balance += cents; }
    /// #     fn handle(&self, (): ()) -> Result<Vec<AccountEvent>, Self::Error> { Ok(vec![]) }
    /// # }
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("cim-schemas.lock");
    /// # std::fs::write(&path, "cim-schemas 1
    /// # snapshot bank.account version 1 { balance: u64 limit: sampled either { integer { rule: text } } }
    /// # ")?;
    /// SchemaLock::at(path)
    ///     .snapshot::<Account>()
    ///     .snapshot_sample(Account { balance: 0, limit: Limit::Cents(500) })
    ///     .snapshot_sample(Account { balance: 0, limit: Limit::Named { rule: "students".into() } })
    ///     .check();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot_sample<A: Aggregate + Serialize>(mut self, state: A) -> Self {
        match serde_json::to_value(&state) {
            Ok(value) => self
                .samples
                .entry(TypeId::of::<A>())
                .or_default()
                .push(Sample {
                    event_type: None,
                    value,
                }),
            Err(error) => self.mistakes.push(format!(
                "a sample of {} can't be written: {error}",
                aggregate::<A>()
            )),
        }
        self
    }

    /// A text that is tried wherever a type wants a text in a certain format, such as
    /// `"ticket/7"`. UUIDs, dates, addresses and the like are tried anyway.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.texts.push(text.into());
        self
    }

    /// A payload of this event type and schema version that was really stored. It is read in place
    /// of made-up payloads of that version, for upcasts that refuse those for their content.
    pub fn stored(mut self, event_type: impl Into<String>, version: u32, payload: Value) -> Self {
        self.payloads.push((event_type.into(), version, payload));
        self
    }

    /// Compares, and writes what is to be written.
    ///
    /// # Panics
    /// If the shapes are others than the file says, with the difference and what to do; if the file
    /// can't be read or written; and if it is missing where the environment variable `CI` is set.
    #[track_caller]
    pub fn check(self) {
        let done = Mode::of_environment().and_then(|mode| self.run(mode));
        match done {
            // For whoever runs it with `--nocapture`, or with the variable.
            Ok(Some(note)) => _ = writeln!(io::stderr(), "{note}"),
            Ok(None) => {}
            Err(report) => panic!("{report}"),
        }
    }

    fn part(mut self, part: impl FnOnce(&Hinted<'_>, &mut Now) + 'static) -> Self {
        self.parts.push(Box::new(part));
        self
    }

    /// What was written, or what is wrong.
    fn run(self, mode: Mode) -> Result<Option<String>, String> {
        let path = &self.path;
        let shown = path.display();
        if let Some(mistake) = self.mistakes.first() {
            return Err(mistake.clone());
        }
        let text = read(path)?;
        let file = match &text {
            None if mode == Mode::CompareOnly => {
                return Err(format!(
                    "{shown} is missing; run the test outside of CI, and commit the file that it \
                     writes"
                ));
            }
            None => LockFile::default(),
            Some(text) => LockFile::parse(text)
                .map_err(|error| format!("{shown} can't be understood: {error}"))?,
        };
        let hinted = Hinted {
            samples: &self.samples,
            texts: &self.texts,
        };
        let mut now = Now {
            payloads: self.payloads,
            ..Now::default()
        };
        for part in self.parts {
            part(&hinted, &mut now);
        }
        let found = rules::compare(&file, &now);
        let may_write = mode == Mode::Update || text.is_none();
        if !found.problems.is_empty() || !found.additions.is_empty() && !may_write {
            return Err(report(path, &found));
        }
        let mut written = file;
        for addition in &found.additions {
            let (what, shape) = (addition.what.clone(), addition.shape.clone());
            written.add(what, addition.version, shape);
        }
        let new = written.to_string();
        if !may_write || text.as_deref() == Some(&new) {
            return Ok(None);
        }
        write(path, &new)?;
        let mut note = format!("written: {shown}\n");
        for addition in &found.additions {
            let also = match addition.why {
                Why::Widened(_) => ", one more shape",
                _ => "",
            };
            let rules::Addition { what, version, .. } = addition;
            note.push_str(&format!("  + {what}, version {version}{also}\n"));
        }
        Ok(Some(note))
    }
}

fn report(path: &Path, found: &Comparison) -> String {
    let mut text = format!(
        "\nthe shapes of what is stored are not those in {}\n",
        path.display()
    );
    for problem in &found.problems {
        text.push_str(&format!("\n{problem}"));
    }
    for addition in &found.additions {
        text.push_str(&format!("\n{addition}"));
    }
    if !found.additions.is_empty() {
        let first = match found.problems.is_empty() {
            true => "",
            false => "after that, ",
        };
        text.push_str(&format!(
            "\n{first}run the test once with {VARIABLE}=update, and commit the file\n"
        ));
    }
    text
}

fn read(path: &Path) -> Result<Option<String>, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{} can't be read: {error}", path.display())),
    }
}

/// Puts the new file in the place of the old one at once.
fn write(path: &Path, text: &str) -> Result<(), String> {
    let part = path.with_extension("lock.part");
    let written = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, path));
    written.map_err(|error| format!("{} can't be written: {error}", path.display()))
}

/// The part of its streams' names that all of them have, spelled as in there.
fn aggregate<A: Aggregate>() -> String {
    match StreamId::new(A::CONTEXT, A::TYPE, "id") {
        Ok(stream) => format!("{}.{}", stream.context(), stream.aggregate()),
        Err(_) => format!("{}.{}", A::CONTEXT, A::TYPE),
    }
}

impl fmt::Debug for SchemaLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaLock")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
