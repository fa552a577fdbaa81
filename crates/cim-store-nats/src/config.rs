//! What the JetStream streams of a store are like: made so at first, and checked at every opening.

use std::collections::BTreeMap;
use std::time::Duration;

use cim_store::{PortError, PortErrorKind};
use serde::{Deserialize, Serialize};

use crate::api::nanos;
use crate::settings::NatsSettings;
use crate::subjects;

/// How long a server remembers the ids of messages. The adapter rests nothing on it.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// The format of what is stored, in a JetStream stream's metadata.
pub(crate) const FORMAT: (&str, &str) = ("cim.format", "1");

/// The configuration of a JetStream stream: the fields that the adapter sets or looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamConfig {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) subjects: Vec<String>,
    pub(crate) retention: String,
    pub(crate) max_consumers: i64,
    pub(crate) max_msgs: i64,
    pub(crate) max_bytes: i64,
    pub(crate) max_age: u64,
    #[serde(default)]
    pub(crate) max_msgs_per_subject: i64,
    #[serde(default)]
    pub(crate) max_msg_size: i64,
    pub(crate) discard: String,
    pub(crate) storage: String,
    pub(crate) num_replicas: u8,
    #[serde(default)]
    pub(crate) duplicate_window: u64,
    #[serde(default)]
    pub(crate) compression: String,
    #[serde(default)]
    pub(crate) deny_delete: bool,
    #[serde(default)]
    pub(crate) deny_purge: bool,
    #[serde(default)]
    pub(crate) sealed: bool,
    #[serde(default)]
    pub(crate) allow_rollup_hdrs: bool,
    #[serde(default)]
    pub(crate) allow_direct: bool,
    #[serde(default)]
    pub(crate) allow_msg_ttl: bool,
    #[serde(default)]
    pub(crate) allow_atomic: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) subject_delete_marker_ttl: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) persist_mode: String,
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks so
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl StreamConfig {
    /// A JetStream stream that keeps everything it takes.
    fn keeping_everything(name: String, replicas: u8, settings: &NatsSettings) -> Self {
        Self {
            name,
            description: String::new(),
            subjects: Vec::new(),
            retention: "limits".to_owned(),
            max_consumers: -1,
            max_msgs: -1,
            max_bytes: -1,
            max_age: 0,
            max_msgs_per_subject: -1,
            max_msg_size: -1,
            discard: "new".to_owned(),
            storage: "file".to_owned(),
            num_replicas: replicas,
            duplicate_window: nanos(DUPLICATE_WINDOW),
            compression: if settings.compress { "s2" } else { "none" }.to_owned(),
            deny_delete: true,
            deny_purge: false,
            sealed: false,
            allow_rollup_hdrs: false,
            allow_direct: true,
            allow_msg_ttl: false,
            allow_atomic: true,
            subject_delete_marker_ttl: 0,
            persist_mode: String::new(),
            metadata: BTreeMap::from([(FORMAT.0.to_owned(), FORMAT.1.to_owned())]),
        }
    }

    /// Of the log.
    pub(crate) fn of_log(settings: &NatsSettings) -> Self {
        let all = [subjects::EVENTS, subjects::COMMITS, subjects::CHECKS];
        Self {
            description: "events, one subject each; written by cim-store-nats".to_owned(),
            subjects: all.map(str::to_owned).into(),
            max_bytes: settings
                .max_bytes
                .map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            ..Self::keeping_everything(
                settings.stream.clone(),
                settings.replicas.unwrap_or(1),
                settings,
            )
        }
    }

    /// Of a bucket whose subjects begin with `prefix`, and where so many changes of a key are kept.
    pub(crate) fn of_bucket(
        name: String,
        prefix: &str,
        history: u8,
        metadata: BTreeMap<String, String>,
        replicas: u8,
        settings: &NatsSettings,
    ) -> Self {
        let mut config = Self {
            subjects: vec![format!("{prefix}>")],
            max_msgs_per_subject: i64::from(history),
            allow_rollup_hdrs: true,
            allow_msg_ttl: true,
            allow_atomic: false,
            // The shortest that a server takes: the mark of an ended value wakes watchers, and
            // nothing else needs it.
            subject_delete_marker_ttl: nanos(Duration::from_secs(1)),
            ..Self::keeping_everything(name, replicas, settings)
        };
        config.metadata.extend(metadata);
        config
    }

    /// Checks that what was found is a log whose messages this library reads, whatever its settings.
    pub(crate) fn check_format<K: PortErrorKind>(&self, found: &Self) -> Result<(), PortError<K>> {
        let format = |config: &Self| config.metadata.get(FORMAT.0).cloned().unwrap_or_default();
        if format(self) == format(found) {
            return Ok(());
        }
        Err(
            PortError::invalid("the JetStream stream is not a log that can be read")
                .with("JetStream stream", &self.name)
                .with(FORMAT.0, format(found)),
        )
    }

    /// Checks that a JetStream stream that is there keeps what this store would store in it.
    /// `self` is what the settings ask for; the number of replicas counts only where it was asked.
    pub(crate) fn check_found<K: PortErrorKind>(
        &self,
        found: &Self,
        replicas: Option<u8>,
    ) -> Result<(), PortError<K>> {
        let mut differences: Vec<(&'static str, String, String)> = Vec::new();
        let mut compare = |name, asked: &dyn ToString, found: &dyn ToString| {
            let (asked, found) = (asked.to_string(), found.to_string());
            if asked != found {
                differences.push((name, found, asked));
            }
        };
        let sorted = |subjects: &[String]| {
            let mut subjects = subjects.to_vec();
            subjects.sort_unstable();
            subjects.join(",")
        };
        compare(
            "subjects",
            &sorted(&self.subjects),
            &sorted(&found.subjects),
        );
        if let Some(replicas) = replicas {
            compare("num_replicas", &replicas, &found.num_replicas);
        }
        compare("storage", &self.storage, &found.storage);
        compare("retention", &self.retention, &found.retention);
        compare("discard", &self.discard, &found.discard);
        compare("max_age", &self.max_age, &found.max_age);
        compare("max_msgs", &self.max_msgs, &found.max_msgs);
        let per_subject = |config: &Self| config.max_msgs_per_subject.max(0);
        compare(
            "max_msgs_per_subject",
            &per_subject(self),
            &per_subject(found),
        );
        compare("allow_atomic", &self.allow_atomic, &found.allow_atomic);
        compare("allow_direct", &self.allow_direct, &found.allow_direct);
        compare("deny_delete", &self.deny_delete, &found.deny_delete);
        compare(
            "allow_rollup_hdrs",
            &self.allow_rollup_hdrs,
            &found.allow_rollup_hdrs,
        );
        compare("allow_msg_ttl", &self.allow_msg_ttl, &found.allow_msg_ttl);
        let marker = |config: &Self| config.subject_delete_marker_ttl;
        compare("subject_delete_marker_ttl", &marker(self), &marker(found));
        compare("sealed", &self.sealed, &found.sealed);
        if found.persist_mode == "async" {
            compare("persist_mode", &"default", &found.persist_mode);
        }
        if self.max_bytes > 0 {
            compare("max_bytes", &self.max_bytes, &found.max_bytes);
        }
        let format = |config: &Self| config.metadata.get(FORMAT.0).cloned().unwrap_or_default();
        compare(FORMAT.0, &format(self), &format(found));
        if differences.is_empty() {
            return Ok(());
        }
        let change = differences
            .iter()
            .map(|(name, _, asked)| format!("{name} to {asked}"))
            .collect::<Vec<_>>()
            .join(", ");
        if !found.metadata.contains_key(FORMAT.0) {
            let what = "the JetStream stream of this name belongs to another program";
            return Err(PortError::invalid(what)
                .with("JetStream stream", &self.name)
                .with("its subjects", sorted(&found.subjects))
                .with_hint("take another name for the log, or another account"));
        }
        let mut error = PortError::invalid("the JetStream stream exists with other settings")
            .with("JetStream stream", &self.name);
        for (name, found, _) in differences {
            error = error.with(name, found);
        }
        Err(error.with_hint(format!(
            "open it with the settings it has, or change them with `nats stream edit`: {change}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cim_store::EventLogError;

    #[test]
    fn a_stream_as_it_was_made_is_taken() {
        let config = StreamConfig::of_log(&NatsSettings::default());
        assert!(
            config
                .check_found::<cim_store::EventLogErrorKind>(&config, None)
                .is_ok()
        );
    }

    #[test]
    fn a_stream_that_forgets_is_refused_with_what_to_change() {
        let config = StreamConfig::of_log(&NatsSettings::default().with_replicas(3));
        let found = StreamConfig {
            max_age: 60,
            num_replicas: 1,
            ..config.clone()
        };
        let error: EventLogError = config.check_found(&found, Some(3)).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("num_replicas: 1, max_age: 60"), "{text}");
        assert!(text.contains("num_replicas to 3, max_age to 0"), "{text}");
    }
}
