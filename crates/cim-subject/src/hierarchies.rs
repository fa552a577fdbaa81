//! The hierarchies that are ready made, each a [`SubjectScheme`].
//!
//! Each is compiled once and shared. They are put together from tokens, not read from a template,
//! because reading can fail; a test holds them against their templates.

use std::sync::LazyLock;

use crate::SubjectScheme;
use crate::template::Part::{Field, Fixed};
use crate::template::Template;

impl SubjectScheme {
    /// `cim.events.{context}.{aggregate}.{id}.{event}.{version}`: one event; `version` is its
    /// version in its stream.
    ///
    /// ```
    /// # use cim_subject::SubjectScheme;
    /// let fields: Vec<_> = SubjectScheme::events().fields().map(str::to_owned).collect();
    /// assert_eq!(fields, ["context", "aggregate", "id", "event", "version"]);
    /// ```
    pub fn events() -> Self {
        static SCHEME: LazyLock<SubjectScheme> = LazyLock::new(|| {
            Template::compile(&[
                Fixed("cim"),
                Fixed("events"),
                Field("context"),
                Field("aggregate"),
                Field("id"),
                Field("event"),
                Field("version"),
            ])
            .into()
        });
        SCHEME.clone()
    }

    /// `cim.aggregates.{context}.{aggregate}.{id}.state.{version}`: the state of an aggregate as
    /// of a version.
    ///
    /// ```
    /// # use cim_subject::SubjectScheme;
    /// assert_eq!(SubjectScheme::aggregates().pattern_all(), "cim.aggregates.*.*.*.state.*");
    /// ```
    pub fn aggregates() -> Self {
        static SCHEME: LazyLock<SubjectScheme> = LazyLock::new(|| {
            Template::compile(&[
                Fixed("cim"),
                Fixed("aggregates"),
                Field("context"),
                Field("aggregate"),
                Field("id"),
                Fixed("state"),
                Field("version"),
            ])
            .into()
        });
        SCHEME.clone()
    }

    /// `cim.readmodels.{type}.{id}.{operation}`: one operation on a read model.
    ///
    /// ```
    /// # use cim_subject::SubjectScheme;
    /// assert_eq!(SubjectScheme::read_models().pattern_all(), "cim.readmodels.*.*.*");
    /// ```
    pub fn read_models() -> Self {
        static SCHEME: LazyLock<SubjectScheme> = LazyLock::new(|| {
            Template::compile(&[
                Fixed("cim"),
                Fixed("readmodels"),
                Field("type"),
                Field("id"),
                Field("operation"),
            ])
            .into()
        });
        SCHEME.clone()
    }

    /// `cim.snapshots.{aggregate}.{id}.{version}`: the snapshot of an aggregate at a version.
    ///
    /// ```
    /// # use cim_subject::SubjectScheme;
    /// assert_eq!(SubjectScheme::snapshots().pattern_all(), "cim.snapshots.*.*.*");
    /// ```
    pub fn snapshots() -> Self {
        static SCHEME: LazyLock<SubjectScheme> = LazyLock::new(|| {
            Template::compile(&[
                Fixed("cim"),
                Fixed("snapshots"),
                Field("aggregate"),
                Field("id"),
                Field("version"),
            ])
            .into()
        });
        SCHEME.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_made_schemes_are_what_their_templates_say() {
        let schemes = [
            (
                SubjectScheme::events(),
                "cim.events.{context}.{aggregate}.{id}.{event}.{version}",
            ),
            (
                SubjectScheme::aggregates(),
                "cim.aggregates.{context}.{aggregate}.{id}.state.{version}",
            ),
            (
                SubjectScheme::read_models(),
                "cim.readmodels.{type}.{id}.{operation}",
            ),
            (
                SubjectScheme::snapshots(),
                "cim.snapshots.{aggregate}.{id}.{version}",
            ),
        ];
        for (scheme, template) in schemes {
            let read = SubjectScheme::from_template(template).unwrap();
            assert_eq!(scheme, read);
            assert_eq!(scheme.template(), template);
            assert!(scheme.fields().eq(read.fields()));
            assert_eq!(scheme.pattern_all(), read.pattern_all());
        }
    }
}
