//! How a repository begins its loads with snapshots, and takes them.

use cim_store::{
    Context, EventLogError, Head, Revision, StreamId, StreamRange, Timestamp, Version,
};
use futures_util::TryStreamExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Repository;
use super::after_append::Stored;
use crate::Aggregate;
use crate::persistence::RepositoryError;
use crate::persistence::error::ReplayFault;
use crate::persistence::replay::{Replay, Until};
use crate::persistence::snapshot::keeping::{Due, Last, Snapshots, Taken, UnderWay};
use crate::persistence::snapshot::stats::count;
use crate::persistence::snapshot::{
    IgnoredSnapshot, Newest, Snapshot, SnapshotError, SnapshotPolicy, SnapshotStore, Written,
};
use crate::persistence::write_behind::Offered;

impl<A: Aggregate> Repository<A> {
    /// With snapshots: loads begin with the newest one that stands on the log and read only the
    /// events after it, and new ones are taken after appends, when the policy wants them.
    ///
    /// # Behavior
    /// - A snapshot that is missing, damaged, of another schema, ahead of the log or of another
    ///   history is ignored, and so is a failure of the bucket: the events are read instead, and the
    ///   load gives the same. So it does where the bucket has not answered within two seconds, or
    ///   half of the time that the context's deadline leaves. Where the policy acts by itself, the next append replaces what was
    ///   ignored.
    /// - Snapshots are encoded and written after the append was acknowledged, on the runtime of the
    ///   caller, whose operation does not wait for it. Where too many wait, a snapshot is skipped; where it
    ///   takes longer than [`time_limit`](crate::persistence::snapshot::SnapshotSettings::time_limit),
    ///   it is given up, and is as due as before.
    ///   [`SnapshotStore::settled`] waits for what is under way, at shutdown say;
    ///   [`SnapshotStore::stats`] counts all of it.
    /// - What comes back from a snapshot must be the aggregate that was written: a field that serde
    ///   skips would be lost. So each type of state has a bucket of its own, where two types are
    ///   rebuilt from the same streams: a snapshot of one could be read as the other.
    /// - A state that is too large for the bucket has no snapshot. That is counted, and tried again
    ///   when the policy would want the next one.
    ///
    /// ```
    /// # use cim_domain::{Aggregate, DomainEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # enum CounterEvent { Increased { by: u64 } }
    /// #[derive(Clone, Default, Serialize, Deserialize)]
    /// struct Counter(u64);
    ///
    /// # impl Aggregate for Counter {
    /// #     const CONTEXT: &'static str = "docs";
    /// #     const TYPE: &'static str = "counter";
    /// #     type Id = String;
    /// #     type Event = CounterEvent;
    /// #     type Command = u64;
    /// #     type Error = std::convert::Infallible;
    /// #     fn apply(&mut self, event: &CounterEvent) { let CounterEvent::Increased { by } = event; self.0 += by; }
    /// #     fn handle(&self, by: u64) -> Result<Vec<CounterEvent>, Self::Error> { Ok(vec![CounterEvent::Increased { by }]) }
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use cim_domain::persistence::snapshot::{SnapshotPolicy, SnapshotSettings, SnapshotStore};
    /// use cim_domain::{Repository, store::Context};
    ///
    /// let store = cim_domain::open("memory:").await?;
    /// let snapshots = SnapshotStore::open(&*store, SnapshotSettings::default()).await?;
    /// let counters = Repository::<Counter>::new(store.log())
    ///     .with_snapshots(snapshots.clone(), SnapshotPolicy::EveryEvents(100));
    ///
    /// let (ctx, id) = (Context::new(), "visits".to_owned());
    /// for _ in 0..100 {
    ///     counters.execute(&ctx, &id, 1).await?;
    /// }
    /// snapshots.settled().await;
    /// assert_eq!(snapshots.stats().written, 1);
    /// assert_eq!(counters.load(&ctx, &id).await?.state.0, 100); // reads no event
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_snapshots(mut self, store: SnapshotStore, policy: SnapshotPolicy) -> Self
    where
        A: Clone + Serialize + DeserializeOwned,
    {
        self.snapshots = Some(Snapshots::new(store, policy));
        self
    }

    /// The snapshots of its aggregates, where it has some.
    pub fn snapshots(&self) -> Option<&SnapshotStore> {
        self.snapshots.as_ref().map(|snapshots| &snapshots.store)
    }

    /// Takes a snapshot of an aggregate as it is now, and waits until it is written.
    ///
    /// ```
    /// # use cim_domain::{Aggregate, DomainEvent};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Debug, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # enum CounterEvent { Increased { by: u64 } }
    /// # #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    /// # struct Counter(u64);
    /// # impl Aggregate for Counter {
    /// #     const CONTEXT: &'static str = "docs";
    /// #     const TYPE: &'static str = "counter";
    /// #     type Id = String;
    /// #     type Event = CounterEvent;
    /// #     type Command = u64;
    /// #     type Error = std::convert::Infallible;
    /// #     fn apply(&mut self, event: &CounterEvent) { let CounterEvent::Increased { by } = event; self.0 += by; }
    /// #     fn handle(&self, by: u64) -> Result<Vec<CounterEvent>, Self::Error> { Ok(vec![CounterEvent::Increased { by }]) }
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use cim_domain::persistence::snapshot::{SnapshotPolicy, SnapshotSettings, SnapshotStore, Written};
    /// use cim_domain::{Repository, store::Context};
    ///
    /// let store = cim_domain::open("memory:").await?;
    /// let snapshots = SnapshotStore::open(&*store, SnapshotSettings::default()).await?;
    /// let counters = Repository::<Counter>::new(store.log())
    ///     .with_snapshots(snapshots, SnapshotPolicy::OnDemand);
    ///
    /// let (ctx, id) = (Context::new(), "visits".to_owned());
    /// counters.execute(&ctx, &id, 3).await?;
    /// let written = counters.take_snapshot(&ctx, &id).await?; // after an import of many events, say
    /// assert!(matches!(written, Written::Stored(_)));
    /// assert_eq!(counters.take_snapshot(&ctx, &id).await?, Written::Superseded); // there is one
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `NoSnapshots` where the repository has none, or its policy is
    /// [`Never`](SnapshotPolicy::Never); `Snapshot` where it could not be written; as
    /// [`load`](Self::load).
    pub async fn take_snapshot(
        &self,
        ctx: &Context,
        id: &A::Id,
    ) -> Result<Written, RepositoryError<A::Error>> {
        self.check_snapshots_on_demand()?;
        let stream = Self::stream(id)?;
        let replay = self
            .replayed(ctx, stream.clone(), &Until::default(), true)
            .await?;
        let loaded = replay.into_loaded()?;
        let Some(snapshots) = &self.snapshots else {
            return Err(RepositoryError::NoSnapshots);
        };
        if loaded.skipped > 0 {
            let skipped = loaded.skipped;
            let incomplete = SnapshotError::Incomplete { stream, skipped };
            return Err(RepositoryError::Snapshot(incomplete));
        }
        let taken = Taken {
            state: loaded.state,
            head: loaded.head,
            stored_at: loaded.stored_at,
            in_place_of: snapshots.last(&stream).and_then(|last| last.in_place_of),
        };
        snapshots
            .write(ctx, taken)
            .await
            .map_err(RepositoryError::Snapshot)
    }

    /// That a snapshot can be demanded.
    pub(super) fn check_snapshots_on_demand(&self) -> Result<(), RepositoryError<A::Error>> {
        match &self.snapshots {
            Some(snapshots) if snapshots.policy != SnapshotPolicy::Never => Ok(()),
            _ => Err(RepositoryError::NoSnapshots),
        }
    }

    /// An aggregate brought to where `until` says, from a snapshot where one can be used.
    pub(in crate::persistence) async fn replayed(
        &self,
        ctx: &Context,
        stream: StreamId,
        until: &Until,
        use_snapshot: bool,
    ) -> Result<Replay<A>, ReplayFault> {
        let mut replay = self.replay(stream);
        self.rebuild(ctx, &mut replay, until, use_snapshot).await?;
        Ok(replay)
    }

    /// Brings an aggregate before its first event to where `until` says, from a snapshot where one
    /// can be used.
    pub(in crate::persistence) async fn rebuild(
        &self,
        ctx: &Context,
        replay: &mut Replay<A>,
        until: &Until,
        use_snapshot: bool,
    ) -> Result<(), ReplayFault> {
        let mut last = Last::default();
        if let Some(snapshots) = self.snapshots.as_ref().filter(|_| use_snapshot) {
            let stream = replay.stream().clone();
            let clock = &*self.writer.clock;
            let newest = snapshots
                .newest(ctx, clock, &stream, until.version, until.as_of)
                .await;
            match newest {
                Newest::Found(snapshot) => {
                    let (revision, found) = (snapshot.revision, Last::of(&snapshot));
                    match self.replay_from(ctx, replay, *snapshot, until).await? {
                        None => {
                            count(&snapshots.store.counters.loads_with);
                            self.note_load(replay, until, found);
                            if replay.is_deleted() {
                                // Whoever deleted it did not get that far, or was overtaken.
                                self.drop_snapshots(ctx, &stream).await;
                            }
                            return Ok(());
                        }
                        Some(reason) => snapshots.store.counters.ignored(reason),
                    }
                    *replay = self.replay(stream);
                    last.is_to_be_replaced = true;
                    last.in_place_of = Some(revision);
                }
                Newest::Ignored(_) => last.is_to_be_replaced = true,
                Newest::None => {}
            }
            count(&snapshots.store.counters.loads_without);
        }
        replay.advance(self.log().as_ref(), ctx, until).await?;
        if use_snapshot {
            self.note_load(replay, until, last);
        }
        Ok(())
    }

    /// Brings an aggregate from a snapshot to where `until` says; or says why the snapshot is none
    /// of this log.
    async fn replay_from(
        &self,
        ctx: &Context,
        replay: &mut Replay<A>,
        snapshot: Snapshot<A>,
        until: &Until,
    ) -> Result<Option<IgnoredSnapshot>, ReplayFault> {
        let Snapshot {
            state,
            head,
            stored_at,
            bytes,
            ..
        } = snapshot;
        replay.resume(state, head, stored_at, bytes);
        replay.advance_if_on(self.log().as_ref(), ctx, until).await
    }

    /// Remembers which snapshot a load of the present state began with.
    fn note_load(&self, replay: &Replay<A>, until: &Until, last: Last) {
        if let Some(snapshots) = &self.snapshots
            && until.version.is_none()
            && until.as_of.is_none()
        {
            let bytes = replay.read_bytes();
            snapshots.note_found(replay.stream(), Last { bytes, ..last });
        }
    }

    /// Takes a snapshot, off the caller's path, where it was asked for or the policy wants one.
    pub(super) async fn snapshot_after(&self, ctx: &Context, stored: &Stored<'_, A>) {
        let Some(snapshots) = &self.snapshots else {
            return;
        };
        let (stream, version) = (&stored.head.stream, stored.head.version);
        let last = match snapshots.due(stream, version, stored.bytes) {
            Due::No if !stored.create_snapshot => return,
            Due::No => Some(snapshots.last(stream).unwrap_or_default()),
            Due::Yes(last) => Some(last),
            Due::LookFirst => None,
        };
        let at_hand = stored.state.zip(last).map(|(state, last)| AtHand {
            state: (snapshots.clone)(state),
            head: stored.head.clone(),
            stored_at: stored.stored_at,
            in_place_of: last.in_place_of,
        });
        let wanted = stored.create_snapshot || last.is_some();
        self.offer_snapshot(ctx, stream, version, at_hand, wanted)
            .await;
    }

    /// Takes a snapshot off the caller's path, because it was asked for.
    pub(super) async fn snapshot_on_demand(
        &self,
        ctx: &Context,
        stream: &StreamId,
        version: Version,
    ) {
        if version > Version::NONE {
            self.offer_snapshot(ctx, stream, version, None, true).await;
        }
    }

    async fn offer_snapshot(
        &self,
        ctx: &Context,
        stream: &StreamId,
        version: Version,
        at_hand: Option<AtHand<A>>,
        wanted: bool,
    ) {
        let Some(snapshots) = &self.snapshots else {
            return;
        };
        let before = snapshots.last(stream);
        let under_way = wanted.then(|| snapshots.begin(stream, version));
        let work = self.clone().snapshot_behind(
            ctx.clone().with_deadline_of(&Context::new()),
            stream.clone(),
            at_hand,
            under_way,
        );
        let (queue, clock) = (&snapshots.store.queue, &self.writer.clock);
        match queue.offer(clock, stream, Box::pin(work)).await {
            Offered::Taken => {}
            Offered::InsteadOfAnother if !wanted => {}
            Offered::InsteadOfAnother => count(&snapshots.store.counters.superseded),
            Offered::Full => {
                count(&snapshots.store.counters.skipped_busy);
                // It is wanted as much as before.
                match before {
                    Some(before) => snapshots.note(stream, before),
                    None => snapshots.forget(stream),
                }
            }
        }
    }

    /// Takes a snapshot in the background.
    async fn snapshot_behind(
        self,
        ctx: Context,
        stream: StreamId,
        at_hand: Option<AtHand<A>>,
        wanted: Option<UnderWay>,
    ) {
        let Some(snapshots) = &self.snapshots else {
            return;
        };
        let taken = match at_hand {
            Some(at_hand) => self.taken(&ctx, at_hand).await.map(Some),
            None => self.taken_by_loading(&ctx, &stream, wanted.is_some()).await,
        };
        match taken {
            // What fails is counted where it is written.
            Ok(Some(taken)) => drop(snapshots.write(&ctx, taken).await),
            Ok(None) => {}
            Err(_) => count(&snapshots.store.counters.failed),
        }
    }

    /// A snapshot of a state that the caller had.
    async fn taken(&self, ctx: &Context, at_hand: AtHand<A>) -> Result<Taken<A>, ReplayFault> {
        let stored_at = match at_hand.stored_at {
            Some(stored_at) => stored_at,
            None => self.stored_at(ctx, &at_hand.head).await?,
        };
        Ok(Taken {
            state: at_hand.state,
            head: at_hand.head,
            stored_at,
            in_place_of: at_hand.in_place_of,
        })
    }

    /// A snapshot of an aggregate as it is by now; `None` where none is wanted, or there is no
    /// aggregate.
    async fn taken_by_loading(
        &self,
        ctx: &Context,
        stream: &StreamId,
        wanted: bool,
    ) -> Result<Option<Taken<A>>, ReplayFault> {
        let replay = self
            .replayed(ctx, stream.clone(), &Until::default(), true)
            .await?;
        let Some(snapshots) = &self.snapshots else {
            return Ok(None);
        };
        let last = snapshots.last(stream).unwrap_or_default();
        let wanted = wanted || snapshots.wants(&last, replay.version());
        let Some((head, stored_at)) = replay.present().filter(|_| wanted) else {
            return Ok(None);
        };
        Ok(Some(Taken {
            head: head.clone(),
            stored_at,
            state: replay.state,
            in_place_of: last.in_place_of,
        }))
    }

    /// When the store took an event, where its acknowledgement did not say so.
    pub(super) async fn stored_at(
        &self,
        ctx: &Context,
        head: &Head,
    ) -> Result<Timestamp, ReplayFault> {
        let range = StreamRange::from(head.version).to(head.version);
        let mut events = self.log().read_stream(ctx, &head.stream, range).await?;
        match events.try_next().await? {
            Some(event) if event.cid == head.cid => Ok(event.stored_at),
            _ => Err(EventLogError::integrity(
                "the log does not hold an event that it acknowledged",
            )
            .with("stream", &head.stream)
            .with("version", head.version)
            .into()),
        }
    }

    /// Takes the snapshots of a deleted aggregate away, off the caller's path.
    pub(super) async fn drop_snapshots(&self, ctx: &Context, stream: &StreamId) {
        let Some(snapshots) = &self.snapshots else {
            return;
        };
        snapshots.forget(stream);
        let ctx = ctx.clone().with_deadline_of(&Context::new());
        let (store, gone) = (snapshots.store.clone(), stream.clone());
        let work = async move {
            if store.delete(&ctx, &gone).await.is_err() {
                count(&store.counters.failed);
            }
        };
        let (queue, clock) = (&snapshots.store.queue, &self.writer.clock);
        match queue.offer(clock, stream, Box::pin(work)).await {
            Offered::Taken => {}
            Offered::InsteadOfAnother => count(&snapshots.store.counters.superseded),
            Offered::Full => count(&snapshots.store.counters.skipped_busy),
        }
    }
}

/// A state that the caller had.
struct AtHand<A> {
    state: A,
    head: Head,
    /// When the store took its last event, where that was said.
    stored_at: Option<Timestamp>,
    in_place_of: Option<Revision>,
}
