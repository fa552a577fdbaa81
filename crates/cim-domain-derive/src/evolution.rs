//! Finds contradictions between the event types of today and those of the past: names that stand
//! for two things, chains of upcasts with a step missing, splits that lead nowhere or in a circle.

use std::collections::HashMap;

use proc_macro2::Span;
use syn::spanned::Spanned as _;
use syn::{Error, Ident, Result};

use crate::attributes::{Name, Split, Step, Upcast};
use crate::model::{EventDefinition, EventType};
use crate::names;

/// Refuses what can't be.
pub(crate) fn check(definition: &EventDefinition<'_>) -> Result<()> {
    let event_types = definition.event_types();
    let mut taken = Names::default();
    for event_type in &event_types {
        taken.take_name(event_type)?;
    }
    for event_type in &event_types {
        for alias in &event_type.aliases {
            taken.take_alias(event_type, alias)?;
        }
    }
    for split in &definition.splits {
        taken.take_split(split)?;
    }
    for name in &definition.retired {
        taken.take_retired(name)?;
    }
    for event_type in &event_types {
        let split_until = definition
            .split_of(event_type)
            .and_then(|split| split.until);
        check_upcast(event_type, split_until.map_or(0, |(until, _)| until))?;
    }
    for split in &definition.splits {
        check_targets(split, &taken)?;
    }
    check_circles(&definition.splits)
}

/// What each name stands for.
#[derive(Default)]
struct Names<'a>(HashMap<&'a str, Meaning<'a>>);

#[derive(Clone, Copy)]
enum Meaning<'a> {
    Name(&'a EventType),
    Alias(&'a Ident),
    Split,
    /// The first versions are split, later ones are not.
    NameAndSplit(&'a Ident),
    Retired,
}

impl<'a> Names<'a> {
    fn take_name(&mut self, event_type: &'a EventType) -> Result<()> {
        let EventType {
            ident, name, place, ..
        } = event_type;
        match self.0.insert(name, Meaning::Name(event_type)) {
            Some(Meaning::Name(first)) => {
                let first = &first.ident;
                refuse(
                    *place,
                    format!(
                        "`{first}` and `{ident}` have the same event type `{name}`; give one of \
                         them another with #[event(name = \"…\")], or raise the version of a \
                         single variant"
                    ),
                )
            }
            _ => Ok(()),
        }
    }

    fn take_alias(&mut self, event_type: &'a EventType, (alias, place): &'a Name) -> Result<()> {
        names::check_whole(alias, *place)?;
        let ident = &event_type.ident;
        match self.0.insert(alias, Meaning::Alias(ident)) {
            None => Ok(()),
            Some(Meaning::Name(owner)) if owner.ident == *ident => refuse(
                *place,
                format!(
                    "`{alias}` is what `{ident}` is stored as today; an alias is a name that it \
                     was stored under before"
                ),
            ),
            Some(Meaning::Name(owner)) => refuse(
                *place,
                format!(
                    "`{alias}` is the event type of `{}` and can't be an old name of `{ident}` as \
                     well",
                    owner.ident
                ),
            ),
            Some(Meaning::Alias(owner)) if owner == ident => refuse(
                *place,
                format!("`{ident}` is given the alias `{alias}` twice"),
            ),
            Some(Meaning::Alias(owner)) => refuse(
                *place,
                format!(
                    "`{alias}` is an old name of `{owner}` already; an event that was stored under \
                     it can be read as one of both only"
                ),
            ),
            Some(_) => Ok(()), // splits and retired names come later
        }
    }

    fn take_split(&mut self, split: &'a Split) -> Result<()> {
        let (name, place) = (&split.name.0, split.name.1);
        names::check_whole(name, place)?;
        let meaning = match self.0.get(name.as_str()).copied() {
            None => Meaning::Split,
            Some(Meaning::Name(owner)) => {
                let ident = &owner.ident;
                match split.until {
                    None => {
                        return refuse(
                            place,
                            format!(
                                "`{name}` is the event type of `{ident}`; say which of its schema \
                                 versions are split: `until = …`"
                            ),
                        );
                    }
                    Some((until, place)) if until >= owner.version => {
                        return refuse(
                            place,
                            format!(
                                "`{ident}` is written with schema version {}, so only versions \
                                 below it can be split; was its `version` not raised?",
                                owner.version
                            ),
                        );
                    }
                    Some(_) => Meaning::NameAndSplit(ident),
                }
            }
            Some(Meaning::Alias(owner)) => {
                return refuse(
                    place,
                    format!(
                        "`{name}` is an old name of `{owner}`, whose versions are counted on; \
                         split the versions of its name of today"
                    ),
                );
            }
            Some(Meaning::Split | Meaning::NameAndSplit(_) | Meaning::Retired) => {
                return refuse(place, format!("`{name}` is split twice"));
            }
        };
        self.0.insert(name, meaning);
        Ok(())
    }

    fn take_retired(&mut self, (name, place): &'a Name) -> Result<()> {
        names::check_whole(name, *place)?;
        let why = match self.0.insert(name, Meaning::Retired) {
            None => return Ok(()),
            Some(Meaning::Name(EventType { ident, .. }) | Meaning::NameAndSplit(ident)) => {
                format!("`{name}` is the event type of `{ident}`, so it is not retired")
            }
            Some(Meaning::Alias(owner)) => {
                format!("`{name}` is an old name of `{owner}`, so its events are not given up")
            }
            Some(Meaning::Split) => {
                format!("`{name}` is split, so its events are not given up")
            }
            Some(Meaning::Retired) => format!("`{name}` is retired twice"),
        };
        refuse(*place, why)
    }
}

/// Refuses upcasts that do not lead from the first schema version that is not split to the one of
/// today.
fn check_upcast(event_type: &EventType, split_until: u32) -> Result<()> {
    let (ident, version) = (&event_type.ident, event_type.version);
    let Some(upcast) = &event_type.upcast else {
        return Ok(());
    };
    let place = match upcast {
        Upcast::All(function) => function.span(),
        Upcast::Steps(_, place) => *place,
    };
    if version == 1 {
        return refuse(
            place,
            "there is nothing to upcast: version 1 is the first; was `version = 2` forgotten?"
                .to_owned(),
        );
    }
    if split_until + 1 >= version {
        return refuse(
            place,
            format!("there is nothing to upcast: all versions before {version} are split"),
        );
    }
    let Upcast::Steps(steps, _) = upcast else {
        return Ok(());
    };
    for Step { from, place, .. } in steps {
        if *from >= version {
            return refuse(
                *place,
                format!(
                    "`{ident}` has schema version {version}, so there is none after {from} to \
                     lift to; was `version = {}` forgotten?",
                    from.saturating_add(1)
                ),
            );
        }
        if *from <= split_until {
            return refuse(
                *place,
                format!("schema version {from} of `{ident}` is split, so this is never called"),
            );
        }
    }
    let mut due = split_until + 1;
    for Step { from, place, .. } in steps {
        if *from > due {
            return missing_step(ident, due, *place);
        }
        if *from < due {
            return refuse(
                *place,
                format!("the steps of `{ident}` are listed once each, from the oldest on"),
            );
        }
        due += 1;
    }
    match due < version {
        true => missing_step(ident, due, place),
        false => Ok(()),
    }
}

fn missing_step(ident: &Ident, from: u32, place: Span) -> Result<()> {
    refuse(
        place,
        format!(
            "the step of `{ident}` from schema version {from} to {} is missing; add `{from} = …`",
            from + 1
        ),
    )
}

fn check_targets(split: &Split, taken: &Names<'_>) -> Result<()> {
    let (name, place) = (&split.name.0, split.name.1);
    if split.into.is_empty() {
        return refuse(
            place,
            format!("`{name}` becomes nothing; then it is retired: #[event(retired(\"{name}\"))]"),
        );
    }
    for (index, (into, place)) in split.into.iter().enumerate() {
        let why = match taken.0.get(into.as_str()) {
            _ if split.into[..index].iter().any(|(other, _)| other == into) => {
                format!("`{into}` is said twice")
            }
            Some(Meaning::Name(_) | Meaning::NameAndSplit(_) | Meaning::Split) => continue,
            Some(Meaning::Alias(owner)) => {
                format!("`{into}` is an old name of `{owner}`; write the name of today")
            }
            Some(Meaning::Retired) => {
                format!("`{into}` is retired; leave it out, and let the function not give it")
            }
            None => format!(
                "`{into}` is no event type here; a split becomes types of today, or others that \
                 are split"
            ),
        };
        return refuse(*place, why);
    }
    Ok(())
}

/// Refuses splits that lead back to themselves. One of a type of today may give later versions of
/// that type, which is no circle, because they are not split again.
fn check_circles(splits: &[Split]) -> Result<()> {
    for start in splits {
        let mut path = vec![start.name.0.as_str()];
        if leads_back(start, start, splits, &mut path) {
            return refuse(
                start.name.1,
                format!("splits go round in a circle: `{}`", path.join("` → `")),
            );
        }
    }
    Ok(())
}

/// Whether a way leads from `from` to `start`. `path` is that way, or as it was.
fn leads_back<'a>(
    from: &'a Split,
    start: &Split,
    splits: &'a [Split],
    path: &mut Vec<&'a str>,
) -> bool {
    for (into, _) in &from.into {
        let is_itself = *into == from.name.0;
        if is_itself && from.until.is_some() {
            continue;
        }
        path.push(into);
        if *into == start.name.0 {
            return true;
        }
        let next = splits.iter().find(|split| split.name.0 == *into);
        // A circle that does not hold `start` is found from one of its own.
        let is_new = path.iter().filter(|name| **name == into.as_str()).count() == 1;
        if let Some(next) = next
            && is_new
            && leads_back(next, start, splits, path)
        {
            return true;
        }
        path.pop();
    }
    false
}

fn refuse(place: Span, why: String) -> Result<()> {
    Err(Error::new(place, why))
}

#[cfg(test)]
mod tests;
