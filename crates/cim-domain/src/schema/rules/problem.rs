//! What is wrong, said to whoever runs the test: what changed, what that does to stored events, and
//! what to do now.

use std::fmt;

use serde_json::Value;

use super::super::misfit::shown;
use super::super::survival::Loss;
use super::super::{Persisted, Shape};

/// Something that the file can't take in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    what: Persisted,
    /// The version it is about; `None` where it is about all of them.
    version: Option<u32>,
    title: String,
    /// Lines that show it.
    details: String,
    /// What to do, one step a line.
    advice: String,
}

/// Something that is not in the file yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Addition {
    pub(crate) what: Persisted,
    pub(crate) version: u32,
    pub(crate) shape: Shape,
    pub(crate) why: Why,
}

/// Why it is not in there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Why {
    NewType,
    NewVersion,
    /// The shape is another one than this, and payloads of this one survive.
    Widened(Shape),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = match self.version {
            Some(version) => format!(", version {version}"),
            None => String::new(),
        };
        writeln!(f, "{}{version}: {}", self.what, self.title)?;
        indented(&self.details, f)?;
        writeln!(f, "  what to do:")?;
        self.advice
            .lines()
            .try_for_each(|line| writeln!(f, "    {line}"))
    }
}

impl fmt::Display for Addition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match &self.why {
            Why::NewType => "not locked yet",
            Why::NewVersion => "a new version, not locked yet",
            Why::Widened(_) => {
                "another shape than the locked one, of which payloads can still be read \
                 (- locked, + now)"
            }
        };
        writeln!(f, "{}, version {}: {why}", self.what, self.version)?;
        match &self.why {
            Why::Widened(was) => indented(&was.difference_to(Some(&self.shape)), f),
            _ => indented(&self.shape.to_string(), f),
        }
    }
}

fn indented(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    text.lines().try_for_each(|line| writeln!(f, "  {line}"))
}

impl Problem {
    /// Whether it is about this version.
    pub(super) fn is_about(&self, what: &Persisted, version: u32) -> bool {
        self.what == *what && self.version.is_none_or(|at| at == version)
    }

    fn new(what: &Persisted, version: Option<u32>, title: impl Into<String>) -> Self {
        Self {
            what: what.clone(),
            version,
            title: title.into(),
            details: String::new(),
            advice: String::new(),
        }
    }

    fn details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    pub(super) fn changed(
        what: &Persisted,
        version: u32,
        upcast_from: u32,
        was: &Shape,
        now: &Shape,
        loss: &Loss,
    ) -> Self {
        let difference = match was.is_same_as(now) {
            // An alias was removed, or the code that reads it changed.
            true => String::new(),
            false => format!("(- locked, + now)\n{}", was.difference_to(Some(now))),
        };
        let (title, reason) = match loss {
            Loss::Refused { payload, because } => (
                "the shape changed, and stored events can't be read any more",
                format!("refused: {}\nbecause: {because}", shown(payload)),
            ),
            Loss::Altered { at, was, is } => (
                "the shape changed, and stored events are read as something else",
                format!("{} in `{at}` is read as {}", shown(was), shown(is)),
            ),
            Loss::Renamed { gone, new } => (
                "the shape changed, and what stored events say is lost",
                format!(
                    "`{gone}` is not read any more, and what it held is not in `{}` either",
                    new.join("`, `")
                ),
            ),
        };
        let next = version.saturating_add(1);
        let before = match version.checked_sub(upcast_from) {
            Some(0) | None => String::new(),
            Some(_) => "…, ".to_owned(),
        };
        let mut advice = format!(
            "give it the next version, and an upcast from the one before:\n\
             \x20 #[event(version = {next}, upcast({before}{version} = from_{version}))]\n\
             \x20 fn from_{version}(payload: Value) -> Result<Value, UpcastError>\n\
             then run the test once with CIM_SCHEMAS=update"
        );
        if let Loss::Renamed { gone, new } = loss {
            let name = gone.rsplit('.').next().unwrap_or(gone);
            advice.push_str(&format!(
                "\nor, if `{}` is only the new name: #[serde(alias = \"{name}\")] on it\n\
                 or, if they have nothing to do with each other: remove the one first, and add the \
                 other after that is locked",
                new.first().unwrap_or(gone)
            ));
        }
        Self::new(what, Some(version), title)
            .details(format!("{difference}{reason}"))
            .advice(advice)
    }

    pub(super) fn no_upcaster(what: &Persisted, from: u32, to: u32) -> Self {
        let steps: Vec<String> = (from..to.min(from.saturating_add(3)))
            .map(|step| format!("{step} = from_{step}"))
            .collect();
        let steps = steps.join(", ");
        Self::new(
            what,
            Some(from),
            format!("nothing lifts it to version {to}, so stored events of it can't be read"),
        )
        .advice(format!(
            "give the type an upcast for each step:\n\
             \x20 #[event(version = {to}, upcast({steps}))]\n\
             \x20 fn from_{from}(payload: Value) -> Result<Value, UpcastError>"
        ))
    }

    pub(super) fn not_lifted(
        what: &Persisted,
        version: u32,
        payload: &Value,
        because: &str,
    ) -> Self {
        let name = what.name();
        Self::new(what, Some(version), "a payload of a locked shape is not lifted")
            .details(format!("refused: {payload}\nbecause: {because}"))
            .advice(format!(
                "repair the upcast that refuses it\n\
                 or, if such a payload was never stored: name one that was, and it is taken in place \
                 of made-up ones:\n\
                 \x20 .stored(\"{name}\", {version}, json!(…))"
            ))
    }

    pub(super) fn older(what: &Persisted, locked: u32, now: u32) -> Self {
        Self::new(
            what,
            Some(locked),
            format!("the code is at version {now}, which is older"),
        )
        .advice(format!(
            "give it version {locked} or the next one: what was stored can't be read as an older one\n\
             or, if version {locked} was never released: remove it from the file by hand"
        ))
    }

    pub(super) fn gone(what: &Persisted) -> Self {
        let name = what.name();
        Self::new(what, None, "the code does not know it any more")
            .details("stored events of it can't be read")
            .advice(format!(
                "if it has another name now: #[event(alias = \"{name}\")] on the variant\n\
                 if its events don't matter any more: #[event(retired(\"{name}\"))] on the enum\n\
                 if they are other events now: #[event(split(name = \"{name}\", into(…), by = …))] \
                 on the enum\n\
                 if none was ever stored: remove the entry from the file by hand"
            ))
    }

    pub(super) fn no_scope(what: &Persisted) -> Self {
        let name = match what {
            Persisted::Event {
                aggregate: Some(aggregate),
                ..
            } => format!("`.aggregate::<…>()` for {aggregate}"),
            _ => "`.event::<…>()` for it".to_owned(),
        };
        Self::new(what, None, "the test does not name whose event it is").advice(format!(
            "add {name} to the test\n\
             or, if there is no such aggregate any more: keep its event type, name it with \
             `.event::<…>()`, and move the entry in the file by hand"
        ))
    }

    pub(super) fn untraceable(what: &Persisted, error: &str) -> Self {
        let kind = match what {
            Persisted::Event { .. } => ".sample(…)",
            Persisted::Snapshot { .. } => ".snapshot_sample(…)",
        };
        Self::new(what, None, "its shape can't be found out")
            .details(error)
            .advice(format!(
                "show it: a sample of every form that this can have, {kind}\n\
                 or, where only a text is wanted that nobody would make up: .text(\"…\")"
            ))
    }

    pub(super) fn unreadable(what: &Persisted, payload: &Value, because: &str) -> Self {
        Self::new(what, None, "it writes what it can't read")
            .details(format!("written: {payload}\nbecause: {because}"))
            .advice("make Serialize and Deserialize agree before such an event is stored")
    }

    pub(super) fn ambiguous(what: &Persisted, version: u32) -> Self {
        Self::new(
            what,
            Some(version),
            "two types have this name and different shapes",
        )
        .advice(
            "say whose they are: `.aggregate::<A>()` in place of `.event::<E>()`, for each of them",
        )
    }

    pub(super) fn snapshot(what: &Persisted, version: u32, was: &Shape, now: &Shape) -> Self {
        let next = version.saturating_add(1);
        Self::new(what, Some(version), "the shape of the state changed")
            .details(format!(
                "(- locked, + now)\n{}",
                was.difference_to(Some(now))
            ))
            .advice(format!(
                "raise the version, so that old snapshots are made anew from the events:\n\
                 \x20 const SNAPSHOT_VERSION: u32 = {next};"
            ))
    }
}
