//! How an index is kept.

use cim_store::BucketName;

use super::error::IndexError;

/// How an [`EventIndex`](super::EventIndex) is kept. Processes that share an index may use different
/// ones, the bucket's name aside.
///
/// Together they bound the memory that an index takes, whatever the number of events: about
/// `newest_entries` times 64 bytes (times 512 while a long log is taken in, or while the bucket refuses
/// to be written to), `cache_bytes`, and while it is written or merged a few blocks.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_domain::persistence::event_index::{EventIndex, IndexSettings};
///
/// // For a small machine: about 256 KiB of newest entries, and 1 MiB of blocks.
/// let settings = IndexSettings::default()
///     .in_bucket("sales-index")
///     .with_newest_entries(4_096)
///     .with_block_bytes(4 << 10)
///     .with_cache_bytes(1 << 20)
///     .with_page_events(32);
/// let store = cim_domain::open("memory:").await?;
/// let index = EventIndex::open(&*store, settings.clone()).await?;
/// assert_eq!(index.status().cached_bytes, 0);
///
/// let refused = EventIndex::open(&*store, settings.with_page_events(0)).await.unwrap_err();
/// assert_eq!(refused.to_string(), "page_events can't be 0: it is 1 to 1000");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexSettings {
    /// The bucket that it is kept in: `cim-index` by default.
    pub bucket: String,
    /// How many entries are kept in memory before they are written into the bucket: 16 to
    /// 1 048 576; 65 536 by default. An event has an entry for its time, one for its correlation
    /// id, and one for each tag. Whoever opens the index reads the events behind what is written
    /// from the log.
    pub newest_entries: usize,
    /// How many bytes a block has, which is what is read at once: 512 to 262 144; 16 384 by default.
    pub block_bytes: usize,
    /// How many bytes of blocks are kept in memory: 32 MiB by default, at least 64 KiB.
    pub cache_bytes: usize,
    /// How many events are read at once where an answer is longer: 1 to 1000; 128 by default. The
    /// first request of an answer asks for 32 at most, the next one for up to four times as many, and
    /// for fewer where that would be more than 4 MiB if they were as large as those before.
    pub page_events: usize,
}

impl Default for IndexSettings {
    fn default() -> Self {
        Self {
            bucket: "cim-index".to_owned(),
            newest_entries: 65_536,
            block_bytes: 16 << 10,
            cache_bytes: 32 << 20,
            page_events: 128,
        }
    }
}

impl IndexSettings {
    /// In another bucket: 1 to 64 ASCII letters, digits, `-` and `_`.
    #[must_use]
    pub fn in_bucket(mut self, name: impl Into<String>) -> Self {
        self.bucket = name.into();
        self
    }

    /// With another number of entries in memory.
    #[must_use]
    pub fn with_newest_entries(mut self, entries: usize) -> Self {
        self.newest_entries = entries;
        self
    }

    /// With blocks of another size.
    #[must_use]
    pub fn with_block_bytes(mut self, bytes: usize) -> Self {
        self.block_bytes = bytes;
        self
    }

    /// With more or less memory for blocks.
    #[must_use]
    pub fn with_cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// With longer or shorter pages of events.
    #[must_use]
    pub fn with_page_events(mut self, events: usize) -> Self {
        self.page_events = events;
        self
    }

    /// The bucket's name, where everything is in its range.
    pub(super) fn check(&self) -> Result<BucketName, IndexError> {
        let ranges = [
            ("newest_entries", self.newest_entries, 16, 1 << 20),
            ("block_bytes", self.block_bytes, 512, 256 << 10),
            ("cache_bytes", self.cache_bytes, 64 << 10, usize::MAX),
            ("page_events", self.page_events, 1, 1000),
        ];
        for (setting, asked, least, most) in ranges {
            if asked < least || asked > most {
                return Err(IndexError::InvalidSettings {
                    setting,
                    asked: asked.to_string(),
                    why: if most == usize::MAX {
                        format!("it is at least {least}")
                    } else {
                        format!("it is {least} to {most}")
                    },
                });
            }
        }
        BucketName::new(self.bucket.clone()).map_err(|error| IndexError::InvalidSettings {
            setting: "bucket",
            asked: self.bucket.chars().take(100).collect(),
            why: error.to_string(),
        })
    }
}
