//! Giving up old events: only what an archive holds.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{EventCid, Position, RecordedEvent};

/// Which events to give up, and the proof that an archive holds them.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_store::{memory::MemoryStore, *};
/// # let (store, ctx) = (MemoryStore::new(), Context::new());
/// # let log = store.log();
/// # let order = StreamId::new("sales", "order", "7")?;
/// # let placed = NewEvent::json("order_placed", &12)?;
/// # log.append_to(&ctx, &order, ExpectedVersion::NEW, vec![placed.clone()]).await?;
/// // What was archived, as the archive itself computes it: from what it can read again.
/// # let archive = log.read_all(&ctx, &order).await?;
/// let mut archived = ArchiveDigester::new();
/// for event in &archive {
///     archived.push_parts(event.position, &event.cid);
/// }
/// let archived = archived.finish();
///
/// // The digest is kept with the archive, as 32 bytes.
/// let archived = ArchiveDigest::from_bytes(*archived.as_bytes());
/// let through = archive.last().ok_or("something was archived")?.position;
/// log.truncate(&ctx, Truncation { through, archived }).await?;
/// assert_eq!(log.stats(&ctx).await?.truncated_through, through);
/// assert!(log.read_all(&ctx, &order).await.is_err()); // never shortened
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncation {
    /// The last position that goes. It must be the last of a commit.
    pub through: Position,
    /// What the archive holds: the digest of all events that can be read now, up to `through`.
    pub archived: ArchiveDigest,
}

/// SHA-256 over the positions (8 bytes, big-endian) and CID digests (32 bytes) of consecutive
/// events.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ArchiveDigest([u8; 32]);

impl ArchiveDigest {
    /// Takes a digest that was computed elsewhere.
    pub const fn from_bytes(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ArchiveDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ArchiveDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArchiveDigest({self})")
    }
}

/// Computes an [`ArchiveDigest`] from the archived events in their order.
#[derive(Clone, Debug, Default)]
pub struct ArchiveDigester(Sha256);

impl ArchiveDigester {
    /// Nothing archived yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next event.
    pub fn push(&mut self, event: &RecordedEvent) {
        self.push_parts(event.position, &event.cid);
    }

    /// Adds the next event by what counts of it.
    pub fn push_parts(&mut self, position: Position, cid: &EventCid) {
        self.0.update(position.get().to_be_bytes());
        self.0.update(cid.digest());
    }

    /// The digest of all that were added.
    pub fn finish(self) -> ArchiveDigest {
        ArchiveDigest(self.0.finalize().into())
    }
}
