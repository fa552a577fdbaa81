//! What a repository needs to copy the states of its aggregates: how they are written. The
//! aggregate's serde implementation is captured here, so that a repository without copies needs none.

use std::fmt;

use bytes::Bytes;
use cim_store::{Context, Entry, Head, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::copy::{self, Told};
use super::{StateCopies, StateCopyError};
use crate::Aggregate;
use crate::persistence::snapshot::stats::count;

/// Copies states of aggregates of one type.
pub(in crate::persistence) struct Copies<A> {
    pub(in crate::persistence) store: StateCopies,
    pub(in crate::persistence) clone: fn(&A) -> A,
    encode: fn(&A, &Head, Timestamp) -> serde_json::Result<Bytes>,
}

impl<A: Aggregate + Clone + Serialize> Copies<A> {
    pub(in crate::persistence) fn new(store: StateCopies) -> Self {
        Self {
            store,
            clone: A::clone,
            encode: |state, head, stored_at| {
                copy::encode(state, A::SNAPSHOT_VERSION, head, stored_at)
            },
        }
    }
}

impl<A: Aggregate> Copies<A> {
    /// The value of a state as of an event.
    pub(in crate::persistence) fn value(
        &self,
        state: &A,
        head: &Head,
        stored_at: Timestamp,
    ) -> Result<Bytes, StateCopyError> {
        (self.encode)(state, head, stored_at).map_err(|source| StateCopyError::Encode {
            stream: head.stream.clone(),
            source,
        })
    }

    /// Writes a copy.
    pub(in crate::persistence) async fn write(
        &self,
        ctx: &Context,
        head: &Head,
        value: Bytes,
    ) -> Result<(), StateCopyError> {
        self.store.put(ctx, head, value).await?;
        count(&self.store.counters.written);
        Ok(())
    }

    /// Counts why a copy was not written.
    pub(in crate::persistence) fn count_failure(&self, error: &StateCopyError) {
        let counters = &self.store.counters;
        count(match error {
            StateCopyError::Encode { .. } | StateCopyError::TooLarge { .. } => {
                &counters.not_encodable
            }
            _ => &counters.failed,
        });
    }
}

/// Whether what stands under a key says what this value says, however it is spelled.
pub(in crate::persistence) fn says_the_same(entry: &Entry, value: &[u8]) -> bool {
    let sound = matches!(copy::decode::<Value>(entry), Ok(Told::State(_)));
    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    sound && read(&entry.value) == read(value)
}

/// Whether what stands under a key can be read as a copy at all.
pub(in crate::persistence) fn is_readable(entry: &Entry) -> bool {
    copy::decode::<Value>(entry).is_ok()
}

/// Whether what stands under a key says that the aggregate was deleted.
pub(in crate::persistence) fn says_deleted(entry: &Entry) -> bool {
    matches!(copy::decode::<Value>(entry), Ok(Told::Deleted))
}

impl<A> Clone for Copies<A> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            clone: self.clone,
            encode: self.encode,
        }
    }
}

impl<A> fmt::Debug for Copies<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Copies").field(&self.store).finish()
    }
}
