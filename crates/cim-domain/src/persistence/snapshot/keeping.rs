//! What a repository needs to take and use snapshots of its aggregates: how their states are read
//! and written, when a snapshot is wanted, and what is known about those that are there.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cim_store::{Clock, Context, Head, Revision, StreamId, Timestamp, Version};
use futures_util::future::{BoxFuture, Either, select};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::stats::count;
use super::{
    NewSnapshot, Newest, SinceSnapshot, Snapshot, SnapshotError, SnapshotPolicy, SnapshotQuery,
    SnapshotStore, Written,
};
use crate::event::{EventVersion, SplitType};
use crate::{Aggregate, DomainEvent};

/// Of how many aggregates it is remembered what their last snapshot was: some 150 bytes each.
const REMEMBERED: usize = 8_192;

/// How long a load waits for a snapshot at most; and never longer than half of the time it has.
const PATIENCE: Duration = Duration::from_secs(2);

type Read<A> = fn(
    SnapshotStore,
    Context,
    StreamId,
    SnapshotQuery,
) -> BoxFuture<'static, Result<Newest<A>, SnapshotError>>;

type Write<A> =
    fn(SnapshotStore, Context, Taken<A>) -> BoxFuture<'static, Result<Written, SnapshotError>>;

/// Takes and uses snapshots of aggregates of one type. The aggregate's serde implementations are
/// captured here, so that a repository without snapshots needs none.
pub(in crate::persistence) struct Snapshots<A> {
    pub(in crate::persistence) store: SnapshotStore,
    pub(in crate::persistence) policy: SnapshotPolicy,
    read: Read<A>,
    write: Write<A>,
    pub(in crate::persistence) clone: fn(&A) -> A,
    known: Arc<Known>,
}

/// A state that is to become a snapshot.
#[derive(Debug)]
pub(in crate::persistence) struct Taken<A> {
    pub(in crate::persistence) state: A,
    pub(in crate::persistence) head: Head,
    pub(in crate::persistence) stored_at: Timestamp,
    /// A snapshot that was found not to stand on the log.
    pub(in crate::persistence) in_place_of: Option<Revision>,
}

/// What is known about the last snapshots of some aggregates: a guess that saves reading them again
/// after each append. Where it is wrong, a snapshot is taken earlier or later.
#[derive(Debug, Default)]
struct Known {
    last: Mutex<HashMap<StreamId, Last>>,
}

/// What is known about an aggregate's last snapshot.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::persistence) struct Last {
    /// Its version; 0: there is none that can be used.
    pub(in crate::persistence) version: Version,
    pub(in crate::persistence) taken_at: Option<Timestamp>,
    /// How many bytes of payload came after it.
    pub(in crate::persistence) bytes: u64,
    /// There is one that can't be used and is to be replaced soon.
    pub(in crate::persistence) is_to_be_replaced: bool,
    /// Which one that is, where it does not stand on the log.
    pub(in crate::persistence) in_place_of: Option<Revision>,
    /// It is not there yet: somebody is about to write it.
    pub(in crate::persistence) is_under_way: bool,
    /// It is not there, because it can't be written: it is too large, say. The next one is tried
    /// when the policy would want one after it, and not after each event.
    pub(in crate::persistence) is_impossible: bool,
}

/// Says that a snapshot is about to be written, until it is written or this is dropped.
pub(in crate::persistence) struct UnderWay {
    known: Arc<Known>,
    stream: StreamId,
    version: Version,
}

/// Whether it is time for a snapshot.
#[derive(Clone, Copy, Debug)]
pub(in crate::persistence) enum Due {
    No,
    Yes(Last),
    /// It is not known what there is.
    LookFirst,
}

impl<A: Aggregate + Clone + Serialize + DeserializeOwned> Snapshots<A> {
    pub(in crate::persistence) fn new(store: SnapshotStore, policy: SnapshotPolicy) -> Self {
        Self {
            store,
            policy,
            read: |store, ctx, stream, query| {
                Box::pin(async move { store.newest(&ctx, &stream, query).await })
            },
            write: |store, ctx, taken| {
                Box::pin(async move {
                    let new = NewSnapshot {
                        in_place_of: taken.in_place_of,
                        ..NewSnapshot::new(&taken.state, taken.head, taken.stored_at)
                            .with_schema_version(A::SNAPSHOT_VERSION)
                            .with_events(written::<A::Event>())
                    };
                    store.write(&ctx, &new).await
                })
            },
            clone: A::clone,
            known: Arc::default(),
        }
    }
}

impl<A: Aggregate> Snapshots<A> {
    /// The newest snapshot that can be used, up to a version and a time. What fails, or takes too
    /// long, is counted and is no snapshot: the events can be read instead, while there is time.
    pub(in crate::persistence) async fn newest(
        &self,
        ctx: &Context,
        clock: &dyn Clock,
        stream: &StreamId,
        up_to_version: Option<Version>,
        up_to_time: Option<Timestamp>,
    ) -> Newest<A> {
        let query = SnapshotQuery {
            schema_version: A::SNAPSHOT_VERSION,
            reads: Some(reads::<A::Event>),
            up_to_version,
            up_to_time,
        };
        let newest = (self.read)(self.store.clone(), ctx.clone(), stream.clone(), query);
        let left = ctx.remaining(clock).map_or(PATIENCE, |left| left / 2);
        // The timer is not made before the bucket lets us wait.
        let too_late = std::pin::pin!(async { clock.sleep(left.min(PATIENCE)).await });
        let newest = match Handle::try_current() {
            Ok(_) => match select(newest, too_late).await {
                Either::Left((newest, _)) => newest.ok(),
                Either::Right(_) => None,
            },
            // Without a runtime there are no timers.
            Err(_) => newest.await.ok(),
        };
        newest.unwrap_or_else(|| {
            count(&self.store.counters.unavailable);
            Newest::None
        })
    }

    /// Writes a snapshot. What fails is counted.
    pub(in crate::persistence) async fn write(
        &self,
        ctx: &Context,
        taken: Taken<A>,
    ) -> Result<Written, SnapshotError> {
        let stream = taken.head.stream.clone();
        let version = taken.head.version;
        let taken_at = self.store.clock.now();
        let in_place_of = taken.in_place_of;
        let written = (self.write)(self.store.clone(), ctx.clone(), taken).await;
        match &written {
            Ok(_) => {
                let bytes = self.last(&stream).filter(|last| last.version == version);
                let last = Last {
                    version,
                    taken_at: Some(taken_at),
                    bytes: bytes.map_or(0, |last| last.bytes),
                    ..Last::default()
                };
                self.note(&stream, last);
            }
            // What is there now is to be seen by whoever needs it next.
            Err(error) if error.is_temporary() => self.forget(&stream),
            Err(_) => {
                let last = Last {
                    version,
                    taken_at: Some(taken_at),
                    in_place_of,
                    is_impossible: true,
                    ..Last::default()
                };
                self.note(&stream, last);
            }
        }
        written
    }

    /// Notes what there is.
    pub(in crate::persistence) fn note(&self, stream: &StreamId, last: Last) {
        insert(&mut self.known.lock(), stream, last);
    }

    /// Notes what a load found, unless a later one is on its way or impossible.
    pub(in crate::persistence) fn note_found(&self, stream: &StreamId, last: Last) {
        let mut known = self.known.lock();
        let is_later = |known: &&mut Last| {
            known.is_under_way || (known.is_impossible && known.version > last.version)
        };
        match known.get_mut(stream).filter(is_later) {
            // The later one has to replace what was found not to stand on the log.
            Some(known) => known.in_place_of = last.in_place_of,
            None => insert(&mut known, stream, last),
        }
    }

    /// Notes that a snapshot at this version is about to be written, so that no other one is wanted
    /// until it is, or failed.
    pub(in crate::persistence) fn begin(&self, stream: &StreamId, version: Version) -> UnderWay {
        let last = Last {
            version,
            taken_at: Some(self.store.clock.now()),
            is_under_way: true,
            ..Last::default()
        };
        self.note(stream, last);
        UnderWay {
            known: Arc::clone(&self.known),
            stream: stream.clone(),
            version,
        }
    }

    /// What is known about the last snapshot.
    pub(in crate::persistence) fn last(&self, stream: &StreamId) -> Option<Last> {
        self.known.lock().get(stream).copied()
    }

    /// The next one who needs it looks at what there is.
    pub(in crate::persistence) fn forget(&self, stream: &StreamId) {
        self.known.lock().remove(stream);
    }

    /// Whether it is time for a snapshot, now that events with so many bytes of payload brought the
    /// stream to a version.
    pub(in crate::persistence) fn due(
        &self,
        stream: &StreamId,
        version: Version,
        bytes: u64,
    ) -> Due {
        if !self.policy.acts_by_itself() {
            return Due::No;
        }
        let mut known = self.known.lock();
        let Some(last) = known.get_mut(stream) else {
            return Due::LookFirst;
        };
        last.bytes = last.bytes.saturating_add(bytes);
        match self.wants(last, version) {
            true => Due::Yes(*last),
            false => Due::No,
        }
    }

    /// Whether the policy wants a snapshot of an aggregate at a version.
    pub(in crate::persistence) fn wants(&self, last: &Last, version: Version) -> bool {
        let since = SinceSnapshot {
            events: version.get().saturating_sub(last.version.get()),
            bytes: last.bytes,
            age: last
                .taken_at
                .map(|taken_at| self.store.clock.now().saturating_since(taken_at)),
        };
        self.policy.wants(&since) || (last.is_to_be_replaced && self.policy.acts_by_itself())
    }
}

impl Last {
    /// What is known after a load that began with this snapshot.
    pub(in crate::persistence) fn of<A>(snapshot: &Snapshot<A>) -> Self {
        Self {
            version: snapshot.head.version,
            taken_at: Some(snapshot.taken_at),
            ..Self::default()
        }
    }
}

/// The event types that a program writes.
fn written<E: DomainEvent>() -> Vec<(String, u32)> {
    let types = E::EVENT_TYPES.iter();
    types.map(|it| (it.name.to_owned(), it.version)).collect()
}

/// Whether a program reads events of this type and schema version.
fn reads<E: DomainEvent>(name: &str, version: u32) -> bool {
    let is_current = |it: &EventVersion| it.is_named(name) && version <= it.version;
    let is_split = |it: &SplitType| it.name == name && it.takes(version);
    E::EVENT_TYPES.iter().any(is_current)
        || E::SPLIT_TYPES.iter().any(is_split)
        || E::RETIRED_TYPES.contains(&name)
}

fn insert(known: &mut HashMap<StreamId, Last>, stream: &StreamId, last: Last) {
    if known.len() >= REMEMBERED && !known.contains_key(stream) {
        let any = known.keys().next().cloned();
        any.and_then(|any| known.remove(&any));
    }
    known.insert(stream.clone(), last);
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut known = self.known.lock();
        let is_it = |last: &Last| last.is_under_way && last.version == self.version;
        if known.get(&self.stream).is_some_and(is_it) {
            known.remove(&self.stream);
        }
    }
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, HashMap<StreamId, Last>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A> Clone for Snapshots<A> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            policy: self.policy.clone(),
            read: self.read,
            write: self.write,
            clone: self.clone,
            known: Arc::clone(&self.known),
        }
    }
}

impl<A> fmt::Debug for Snapshots<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshots")
            .field("store", &self.store)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
