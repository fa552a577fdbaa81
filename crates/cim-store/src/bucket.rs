//! The port for keys and values: [`Bucket`], and what is convenient on top of it: [`BucketExt`].

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use bytestring::ByteString;
use cim_subject::SubjectPattern;
use futures_core::stream::BoxStream;
use futures_util::TryStreamExt;

use crate::{BucketCapabilities, BucketError, Context, Limits, Revision, Timestamp};

/// Entries, or the error that ends them.
pub type EntryStream = BoxStream<'static, Result<Entry, BucketError>>;

/// Keys, or the error that ends them.
pub type KeyStream = BoxStream<'static, Result<Key, BucketError>>;

/// A text that can't be a key or the name of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It has no characters, too many, or an empty token.
    #[error(
        "`{text}` can't be a key: it has 1 to {max} bytes and no empty part between its dots",
        max = Limits::CONTRACT.subject_bytes
    )]
    Shape {
        /// What was given, shortened to 100 characters.
        text: String,
    },
    /// It has a character that no key has.
    #[error(
        "`{text}` can't be a key because of `{character}`: letters, digits, `-`, `_`, `=`, `/` and dots are possible; escape others with `cim_subject::token::encode_token`"
    )]
    Character {
        /// What was given, shortened to 100 characters.
        text: String,
        /// The first character that no key has.
        character: char,
    },
    /// It can't be the name of a bucket.
    #[error("`{text}` can't be the name of a bucket: it has 1 to 64 letters, digits, `-` and `_`")]
    BucketName {
        /// What was given, shortened to 100 characters.
        text: String,
    },
}

/// A key: tokens of ASCII letters, digits, `-`, `_`, `=` and `/`, with dots between them, together
/// at most 255 bytes. Patterns apply to keys as they do to subjects.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(ByteString);

impl Key {
    /// Takes a key.
    ///
    /// # Errors
    /// When it is empty, too long, or has a character that no key has.
    pub fn new(text: impl Into<ByteString>) -> Result<Self, KeyError> {
        let text = text.into();
        let shown = || text.chars().take(100).collect();
        if text.len() > Limits::CONTRACT.subject_bytes || text.split('.').any(str::is_empty) {
            return Err(KeyError::Shape { text: shown() });
        }
        let possible = |c: char| c.is_ascii_alphanumeric() || "-_=/.".contains(c);
        if let Some(character) = text.chars().find(|c| !possible(*c)) {
            return Err(KeyError::Character {
                text: shown(),
                character,
            });
        }
        Ok(Self(text))
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a bucket: 1 to 64 ASCII letters, digits, `-` and `_`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(ByteString);

impl BucketName {
    /// Takes a name.
    ///
    /// # Errors
    /// When it is empty, too long, or has a character that no name has.
    pub fn new(text: impl Into<ByteString>) -> Result<Self, KeyError> {
        let text = text.into();
        let possible = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if text.is_empty() || text.len() > 64 || !text.chars().all(possible) {
            return Err(KeyError::BucketName {
                text: text.chars().take(100).collect(),
            });
        }
        Ok(Self(text))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_type {
    ($name:ident) => {
        impl FromStr for $name {
            type Err = KeyError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

text_type!(Key);
text_type!(BucketName);

/// How a bucket keeps its keys. Fixed when it is made.
///
/// ```
/// use std::time::Duration;
/// use cim_store::{BucketName, BucketSettings};
///
/// let made = BucketSettings::default().with_history(5).with_ttl(Duration::from_secs(3_600));
/// made.check()?;
///
/// // What a store says to a program that opens it with others.
/// let name = BucketName::new("sessions")?;
/// let error = made.check_same(&name, made.with_history(1)).unwrap_err();
/// assert!(error.to_string().ends_with("(bucket: sessions, history: 5, asked for 1)"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketSettings {
    /// How many changes of each key are kept, the newest included: 1 to
    /// [`BucketSettings::MAX_HISTORY`].
    pub history: u8,
    /// How long a value lives where its own change does not say; `None`: for ever.
    pub ttl: Option<Duration>,
}

impl BucketSettings {
    /// The longest history.
    pub const MAX_HISTORY: u8 = 64;

    /// With this many changes of each key kept.
    #[must_use]
    pub const fn with_history(mut self, changes: u8) -> Self {
        self.history = changes;
        self
    }

    /// With values that live this long.
    #[must_use]
    pub const fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Checks that the history is in its range and the time to live is at least a second.
    ///
    /// # Errors
    /// `Invalid` otherwise.
    pub fn check(&self) -> Result<(), BucketError> {
        if !(1..=Self::MAX_HISTORY).contains(&self.history) {
            let max = Self::MAX_HISTORY;
            return Err(BucketError::invalid(format!(
                "a bucket keeps 1 to {max} changes of a key"
            ))
            .with("history", self.history));
        }
        check_ttl(self.ttl)
    }

    /// Checks that a bucket that was made with these settings is opened with the same.
    ///
    /// # Errors
    /// `Invalid`, naming the difference.
    pub fn check_same(&self, name: &BucketName, asked: Self) -> Result<(), BucketError> {
        if *self == asked {
            return Ok(());
        }
        let mut error =
            BucketError::invalid("the bucket exists with other settings").with("bucket", name);
        if self.history != asked.history {
            let (made, asked) = (self.history, asked.history);
            error = error.with("history", format!("{made}, asked for {asked}"));
        }
        if self.ttl != asked.ttl {
            let shown = |ttl: Option<_>| ttl.map_or("none".to_owned(), |ttl| format!("{ttl:?}"));
            let (made, asked) = (shown(self.ttl), shown(asked.ttl));
            error = error.with("ttl", format!("{made}, asked for {asked}"));
        }
        Err(error.with_hint("open it with the settings it was made with, or take another name"))
    }
}

/// Checks that a time to live is at least a second and at most 100 years.
fn check_ttl(ttl: Option<Duration>) -> Result<(), BucketError> {
    const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
    match ttl {
        Some(ttl) if ttl < Duration::from_secs(1) || ttl > LONGEST => Err(BucketError::invalid(
            "a time to live is at least a second and at most 100 years",
        )
        .with("ttl", format!("{ttl:?}"))),
        _ => Ok(()),
    }
}

impl Default for BucketSettings {
    /// One value of each key, for ever.
    fn default() -> Self {
        Self {
            history: 1,
            ttl: None,
        }
    }
}

/// What a change did to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Gave it a value.
    Put,
    /// Took its value away; its history stays.
    Delete,
    /// Took its value and its history away; also what the end of a time to live does.
    Purge,
}

/// One change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// Its value; empty for [`Operation::Delete`] and [`Operation::Purge`].
    pub value: Bytes,
    /// The change's number in the bucket.
    pub revision: Revision,
    /// What the change did.
    pub operation: Operation,
    /// When the store took it.
    pub stored_at: Timestamp,
    /// When the value ends; `None`: never.
    pub expires_at: Option<Timestamp>,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// How long the value lives, instead of the bucket's own: at least a second.
    pub ttl: Option<Duration>,
}

impl WriteOptions {
    /// The value lives this long.
    pub const fn ttl(ttl: Duration) -> Self {
        Self { ttl: Some(ttl) }
    }

    /// Checks that the time to live is at least a second and at most 100 years.
    ///
    /// # Errors
    /// `Invalid` otherwise.
    pub fn check(&self) -> Result<(), BucketError> {
        check_ttl(self.ttl)
    }
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchFrom {
    /// With the changes from now on.
    Now,
    /// With the present value of each key, in the order of revisions, then the changes from then
    /// on.
    Current,
    /// With what the bucket still keeps of the changes after this revision, then the changes from
    /// then on.
    After(Revision),
}

/// The port for keys and values: a named bucket.
///
/// # Contract
/// - **`Ok` means stored** at the durability that [`capabilities`](Self::capabilities) states.
/// - **One winner.** Of two [`create`](Self::create) of the same key, or two
///   [`update`](Self::update) from the same revision, exactly one succeeds.
/// - Revisions increase with every change of the bucket; a key's history is ordered by them.
/// - A value whose time to live is over is not there: not for `get`, `keys`, `entries`, `history`
///   or `create`. Watchers see a [`Operation::Purge`] of it.
/// - A watch delivers every change after its start exactly once and in order, except changes
///   that the bucket's history no longer keeps when the watcher gets there.
/// - Damage is `Integrity`, never "not there".
///
/// # Wrappers
/// A wrapper implements every method, each by a decision of its own; there are no defaults.
///
/// # Example
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_store::{memory::MemoryStore, *};
/// use futures_util::TryStreamExt;
///
/// let (store, ctx) = (MemoryStore::new(), Context::new());
/// let settings = BucketSettings::default().with_history(5);
/// let prices = store.bucket(&ctx, &BucketName::new("prices")?, settings).await?;
///
/// let (lamp, table) = (Key::new("hall.lamp")?, Key::new("table")?);
/// let seen = prices.set(&ctx, &lamp, "300".into()).await?;
/// prices.set(&ctx, &table, "80".into()).await?;
///
/// // Two people change what they have seen. One of them is told.
/// let options = WriteOptions::default();
/// prices.update(&ctx, &lamp, "320".into(), seen, options).await?;
/// let late = prices.update(&ctx, &lamp, "290".into(), seen, options).await;
/// assert!(late.unwrap_err().is_conflict());
/// assert_eq!(prices.history(&ctx, &lamp).await?.len(), 2);
///
/// let in_the_hall = SubjectPattern::new("hall.*")?;
/// let keys: Vec<Key> = prices.keys(&ctx, &in_the_hall).await?.try_collect().await?;
/// assert_eq!(keys, [lamp.clone()]);
/// assert_eq!(prices.all_keys(&ctx).await?.len(), 2);
///
/// // `delete` keeps what it was before, `purge` does not.
/// prices.purge(&ctx, &lamp, None).await?;
/// assert_eq!(prices.get(&ctx, &lamp).await?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[async_trait]
pub trait Bucket: Send + Sync + fmt::Debug + 'static {
    /// Its name.
    fn name(&self) -> &BucketName;

    /// How it keeps its keys.
    fn settings(&self) -> BucketSettings;

    /// The key's value; `None` when it has none.
    ///
    /// # Errors
    /// `Integrity`, `Unavailable`, `Closed`.
    async fn get(&self, ctx: &Context, key: &Key) -> Result<Option<Entry>, BucketError>;

    /// Gives the key a value, whatever it had.
    ///
    /// # Errors
    /// `TooLarge`, `Invalid`, `Unknown`, `Unavailable`, `Closed`.
    async fn put(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        options: WriteOptions,
    ) -> Result<Revision, BucketError>;

    /// Gives the key a value if it has none.
    ///
    /// # Errors
    /// `RevisionConflict` if it has one; as [`put`](Self::put).
    async fn create(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        options: WriteOptions,
    ) -> Result<Revision, BucketError>;

    /// Gives the key a new value if its value is still the one of this revision.
    ///
    /// # Errors
    /// `RevisionConflict` if it is not; as [`put`](Self::put).
    async fn update(
        &self,
        ctx: &Context,
        key: &Key,
        value: Bytes,
        expected: Revision,
        options: WriteOptions,
    ) -> Result<Revision, BucketError>;

    /// Takes the key's value away and keeps its history; with `expected` only if its value is
    /// still the one of this revision. A key without a value may be deleted too.
    ///
    /// # Errors
    /// `RevisionConflict` if it is not; as [`put`](Self::put).
    async fn delete(
        &self,
        ctx: &Context,
        key: &Key,
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError>;

    /// Takes the key's value and its history away; with `expected` only if its value is still the
    /// one of this revision.
    ///
    /// # Errors
    /// `RevisionConflict` if it is not; as [`put`](Self::put).
    async fn purge(
        &self,
        ctx: &Context,
        key: &Key,
        expected: Option<Revision>,
    ) -> Result<Revision, BucketError>;

    /// The keys that match and have a value, each once, in an order of the adapter's own.
    ///
    /// # Errors
    /// `Integrity`, `Unavailable`, `Closed`.
    async fn keys(&self, ctx: &Context, pattern: &SubjectPattern)
    -> Result<KeyStream, BucketError>;

    /// The values of the keys that match, each key once, in an order of the adapter's own.
    ///
    /// # Errors
    /// `Integrity`, `Unavailable`, `Closed`.
    async fn entries(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
    ) -> Result<EntryStream, BucketError>;

    /// What is kept of the key's changes, oldest first: at most as many as
    /// [`BucketSettings::history`] says.
    ///
    /// # Errors
    /// `Integrity`, `Unavailable`, `Closed`.
    async fn history(&self, ctx: &Context, key: &Key) -> Result<Vec<Entry>, BucketError>;

    /// Delivers changes of the keys that match, as they are stored. It ends only with an error or
    /// when it is dropped.
    ///
    /// # Errors
    /// `Integrity`, `Unavailable`, `Closed`.
    async fn watch(
        &self,
        ctx: &Context,
        pattern: &SubjectPattern,
        from: WatchFrom,
    ) -> Result<EntryStream, BucketError>;

    /// What this bucket can do.
    fn capabilities(&self) -> BucketCapabilities;
}

/// What is convenient on top of [`Bucket`].
#[async_trait]
pub trait BucketExt: Bucket {
    /// Gives the key a value that lives as long as the bucket says.
    ///
    /// # Errors
    /// As [`Bucket::put`].
    async fn set(&self, ctx: &Context, key: &Key, value: Bytes) -> Result<Revision, BucketError> {
        self.put(ctx, key, value, WriteOptions::default()).await
    }

    /// All keys with a value. For buckets whose keys fit into memory.
    ///
    /// # Errors
    /// As [`Bucket::keys`].
    async fn all_keys(&self, ctx: &Context) -> Result<Vec<Key>, BucketError> {
        self.keys(ctx, &SubjectPattern::all())
            .await?
            .try_collect()
            .await
    }
}

impl<B: Bucket + ?Sized> BucketExt for B {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_parts_or_with_other_characters_is_refused() {
        for text in ["", ".", "a..b", "a.", &"x".repeat(256)] {
            assert!(
                matches!(Key::new(text.to_owned()), Err(KeyError::Shape { .. })),
                "{text}"
            );
        }
        for text in ["a b", "a.*", ">", "é"] {
            assert!(
                matches!(Key::new(text), Err(KeyError::Character { .. })),
                "{text}"
            );
        }
        assert!(Key::new("orders/eu.2026=x_1-a").is_ok());
    }
}
