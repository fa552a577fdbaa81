//! Compares the shapes of today with those that are locked.
//!
//! What is locked stays: a version of a type has the shapes that stand in the file, for ever. The
//! code may add to that, and it has to go on reading everything that is in there.

mod problem;

use serde_json::Value;

use super::survival::{self, Loss, Reread};
use super::{LockFile, Persisted, Shape, Versions};
pub(crate) use problem::{Addition, Problem, Why};

/// Reads a stored payload: its event type, its schema version, the payload.
pub(crate) type Read = Box<dyn Fn(&str, u32, &Value) -> Result<Reread, String>>;

/// What the code says about the events of an aggregate, or of one enum.
pub(crate) struct EventsNow {
    pub(crate) aggregate: Option<String>,
    pub(crate) types: Vec<TypeNow>,
    /// Types of which nothing is written any more: retired, or split.
    pub(crate) former: Vec<String>,
    /// Types whose first versions are split.
    pub(crate) split: Vec<(String, u32)>,
    pub(crate) read: Read,
    /// Whether they are written in a format that is not JSON, of which JSON does not show the forms.
    pub(crate) is_binary: bool,
}

/// An event type of today.
pub(crate) struct TypeNow {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) aliases: Vec<String>,
    pub(crate) upcast_from: u32,
    /// Its shape, or why that can't be found out.
    pub(crate) shape: Result<Shape, String>,
    /// A payload that it writes and can't read, and why.
    pub(crate) unreadable: Option<(Value, String)>,
}

/// What the code says about the snapshots of an aggregate.
pub(crate) struct SnapshotNow {
    pub(crate) aggregate: String,
    pub(crate) version: u32,
    pub(crate) shape: Result<Shape, String>,
}

/// Everything the code says.
#[derive(Default)]
pub(crate) struct Now {
    pub(crate) events: Vec<EventsNow>,
    pub(crate) snapshots: Vec<SnapshotNow>,
    /// Payloads as they were really stored, which are read instead of made-up ones.
    pub(crate) payloads: Vec<(String, u32, Value)>,
}

/// What a comparison found.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// What the file may not, or can't, take in.
    pub(crate) problems: Vec<Problem>,
    /// What is not in the file yet.
    pub(crate) additions: Vec<Addition>,
}

/// Compares the code with the file.
pub(crate) fn compare(file: &LockFile, now: &Now) -> Comparison {
    let mut found = Comparison::default();
    for events in &now.events {
        for type_now in &events.types {
            let known = Known { file, now, events };
            known.compare_type(type_now, &mut found);
        }
    }
    for snapshot in &now.snapshots {
        compare_snapshot(file, snapshot, &mut found);
    }
    for (what, versions) in file.entries() {
        compare_former(file, now, what, versions, &mut found);
    }
    // Two enums may hold the same event type, if they agree about it.
    let mut additions: Vec<Addition> = Vec::new();
    for addition in found.additions {
        let same =
            |other: &&Addition| (&other.what, other.version) == (&addition.what, addition.version);
        match additions.iter().find(same) {
            None => additions.push(addition),
            Some(other) if other.shape.is_same_as(&addition.shape) => {}
            Some(other) => {
                let problem = Problem::ambiguous(&other.what, other.version);
                found.problems.push(problem);
            }
        }
    }
    found.additions = additions;
    found.problems.dedup();
    found
}

/// What is known where a type is compared.
struct Known<'a> {
    file: &'a LockFile,
    now: &'a Now,
    events: &'a EventsNow,
}

impl Known<'_> {
    fn compare_type(&self, type_now: &TypeNow, found: &mut Comparison) {
        let what = self.persisted(&type_now.name);
        let shape = match &type_now.shape {
            Ok(shape) => shape,
            Err(error) => {
                found.problems.push(Problem::untraceable(&what, error));
                return;
            }
        };
        if let Some((payload, because)) = &type_now.unreadable {
            let problem = Problem::unreadable(&what, payload, because);
            found.problems.push(problem);
        }
        let names = std::iter::once(&type_now.name).chain(&type_now.aliases);
        for name in names {
            let what = self.persisted(name);
            let Some(versions) = self.file.get(&what) else {
                continue;
            };
            for (version, shapes) in versions {
                // One that is written still was compared by itself.
                let problem = match *version {
                    later if later > type_now.version => {
                        Some(Problem::older(&what, later, type_now.version))
                    }
                    same if same == type_now.version => {
                        let last = shapes.len().saturating_sub(1);
                        shapes.iter().enumerate().find_map(|(index, was)| {
                            self.survives(type_now, name, same, was, shape, index == last)
                        })
                    }
                    older => self.is_lifted(type_now, name, older, shapes),
                };
                found.problems.extend(problem);
            }
        }
        let versions = self.file.get(&what);
        let locked = versions.and_then(|versions| versions.get(&type_now.version));
        let is_older = |(latest, _): (&u32, _)| *latest > type_now.version;
        let why = match (versions, locked) {
            (Some(versions), None) if versions.last_key_value().is_some_and(is_older) => return,
            (None, _) => Why::NewType,
            (Some(_), None) => Why::NewVersion,
            (_, Some(shapes)) if shapes.iter().any(|was| was.is_same_as(shape)) => return,
            (_, Some(shapes)) => Why::Widened(shapes.last().cloned().unwrap_or(Shape::Any)),
        };
        // What does not survive is told already, and can't be added.
        let is_told = |problem: &Problem| problem.is_about(&what, type_now.version);
        if !found.problems.iter().any(is_told) {
            found.additions.push(Addition {
                what,
                version: type_now.version,
                shape: shape.clone(),
                why,
            });
        }
    }

    fn persisted(&self, name: &str) -> Persisted {
        Persisted::event(self.events.aggregate.as_deref(), name)
    }

    /// The payloads to lift of a shape: real ones where they were given. Upcasts calculate, so
    /// made-up ones are nothing out of the ordinary.
    fn payloads_to_lift(&self, name: &str, version: u32, shape: &Shape) -> Vec<Value> {
        match &self.given_payloads(name, version, shape)[..] {
            [] => shape.usual_samples(),
            given => given.to_vec(),
        }
    }

    fn given_payloads(&self, name: &str, version: u32, shape: &Shape) -> Vec<Value> {
        let given = self.now.payloads.iter().filter(|(of, at, payload)| {
            of == name && *at == version && shape.check(payload).is_ok()
        });
        given.map(|(_, _, payload)| payload.clone()).collect()
    }

    fn loss(
        &self,
        type_now: &TypeNow,
        name: &str,
        version: u32,
        was: &Shape,
        now: &Shape,
        is_last: bool,
    ) -> Option<Loss> {
        // The ends of every range must fit, whatever was stored so far.
        let payloads = was.samples();
        survival::loss(&payloads, was, now, &type_now.name, is_last, |payload| {
            (self.events.read)(name, version, payload)
        })
    }

    /// What of the version of today does not survive.
    fn survives(
        &self,
        type_now: &TypeNow,
        name: &str,
        version: u32,
        was: &Shape,
        shape: &Shape,
        is_last: bool,
    ) -> Option<Problem> {
        let loss = self
            .loss(type_now, name, version, was, shape, is_last)
            .or_else(|| {
                let hides = self.events.is_binary && survival::differs_in_a_leaf(was, shape);
                hides.then(|| Loss::Refused {
                    payload: was.samples().into_iter().next().unwrap_or_default(),
                    because: "another type is read there, and in a format that is not JSON it may \
                              have another form"
                        .to_owned(),
                })
            })?;
        let what = self.persisted(name);
        let upcast_from = type_now.upcast_from;
        Some(Problem::changed(
            &what,
            version,
            upcast_from,
            was,
            shape,
            &loss,
        ))
    }

    /// What of an older version is not lifted to the one of today.
    fn is_lifted(
        &self,
        type_now: &TypeNow,
        name: &str,
        version: u32,
        shapes: &[Shape],
    ) -> Option<Problem> {
        let what = self.persisted(name);
        let is_split = |(split, until): &(String, u32)| split == name && version <= *until;
        if version < type_now.upcast_from && !self.events.split.iter().any(is_split) {
            let problem = Problem::no_upcaster(&what, version, type_now.version);
            return Some(problem);
        }
        shapes.iter().find_map(|shape| {
            let payloads = self.payloads_to_lift(name, version, shape);
            payloads.iter().find_map(|payload| {
                let read = (self.events.read)(name, version, payload);
                let because = read.err()?;
                Some(Problem::not_lifted(&what, version, payload, &because))
            })
        })
    }
}

fn compare_snapshot(file: &LockFile, now: &SnapshotNow, found: &mut Comparison) {
    let what = Persisted::Snapshot {
        aggregate: now.aggregate.clone(),
    };
    let shape = match &now.shape {
        Ok(shape) => shape,
        Err(error) => {
            found.problems.push(Problem::untraceable(&what, error));
            return;
        }
    };
    let versions = file.get(&what);
    if let Some((latest, _)) = versions.and_then(|versions| versions.last_key_value())
        && *latest > now.version
    {
        let problem = Problem::older(&what, *latest, now.version);
        found.problems.push(problem);
    }
    let why = match versions.map(|versions| versions.get(&now.version)) {
        None => Why::NewType,
        Some(None) => Why::NewVersion,
        Some(Some(shapes)) => {
            // A snapshot in which something is missing is another state than its events give, so
            // nothing is bridged here.
            if let Some(was) = shapes.first()
                && !was.is_same_as(shape)
            {
                let problem = Problem::snapshot(&what, now.version, was, shape);
                found.problems.push(problem);
            }
            return;
        }
    };
    found.additions.push(Addition {
        what,
        version: now.version,
        shape: shape.clone(),
        why,
    });
}

/// Something in the file that the code may not know any more.
fn compare_former(
    file: &LockFile,
    now: &Now,
    what: &Persisted,
    versions: &Versions,
    found: &mut Comparison,
) {
    // Snapshots are copies: without their type nobody reads them.
    let Persisted::Event {
        aggregate,
        event_type,
    } = what
    else {
        return;
    };
    let mut scopes = now
        .events
        .iter()
        .filter(|events| events.aggregate == *aggregate)
        .peekable();
    if scopes.peek().is_none() {
        found.problems.push(Problem::no_scope(what));
        return;
    }
    for events in scopes {
        let is_today = |type_now: &TypeNow| {
            type_now.name == *event_type || type_now.aliases.contains(event_type)
        };
        if events.types.iter().any(is_today) {
            return;
        }
        if events.former.contains(event_type) {
            let known = Known { file, now, events };
            let problem = versions.iter().find_map(|(version, shapes)| {
                shapes.iter().find_map(|shape| {
                    let payloads = known.payloads_to_lift(event_type, *version, shape);
                    payloads.iter().find_map(|payload| {
                        let because = (events.read)(event_type, *version, payload).err()?;
                        Some(Problem::not_lifted(what, *version, payload, &because))
                    })
                })
            });
            found.problems.extend(problem);
            return;
        }
    }
    found.problems.push(Problem::gone(what));
}
