//! What happens after events of an aggregate were stored, off the path of whoever stored them.

use cim_store::{Append, Context, Head, StreamId, Timestamp};

use super::Repository;
use crate::Aggregate;

/// What was stored of an aggregate.
#[derive(Debug)]
pub(in crate::persistence) struct Stored<'a, A> {
    /// Its last event by now.
    pub(in crate::persistence) head: &'a Head,
    /// When the store took that event, where it said so.
    pub(in crate::persistence) stored_at: Option<Timestamp>,
    /// How many bytes the payloads of the new events have.
    pub(in crate::persistence) bytes: u64,
    /// The aggregate with the new events, where somebody has it.
    pub(in crate::persistence) state: Option<&'a A>,
    /// Whether a snapshot was asked for.
    pub(in crate::persistence) create_snapshot: bool,
}

impl<A: Aggregate> Repository<A> {
    /// Sees to what is computed from events, now that there are new ones.
    pub(in crate::persistence) async fn after_append(&self, ctx: &Context, stored: Stored<'_, A>) {
        self.snapshot_after(ctx, &stored).await;
        self.copy_after(ctx, &stored).await;
    }

    /// Sees to what was computed from the events of an aggregate that is deleted now.
    pub(in crate::persistence) async fn after_delete(&self, ctx: &Context, stream: &StreamId) {
        self.drop_snapshots(ctx, stream).await;
        self.offer_copy(ctx, stream, None).await;
    }
}

/// How many bytes the payloads have that an append writes to a stream.
pub(in crate::persistence) fn payload_bytes(append: &Append, stream: &StreamId) -> u64 {
    let writes = append.writes.iter().filter(|write| write.stream == *stream);
    let events = writes.flat_map(|write| &write.events);
    events.map(|event| event.payload.len() as u64).sum()
}
