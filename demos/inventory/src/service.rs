//! What the rest of an application calls: registering, changing, and changing what was looked at.

use std::sync::Arc;

use cim_domain::persistence::{AggregateCache, SnapshotPolicy, SnapshotStore};
use cim_domain::prelude::*;
use cim_domain::store::{Clock, EventLog, ExpectedVersion, IdGenerator, SystemIds};

use crate::command::{ComputeCommand, ComputeError};
use crate::event::{ComputeEvent, ResourceKind};
use crate::host_name::HostName;
use crate::host_name_claim::{HostNameClaim, HostNameCommand};
use crate::ids::ResourceId;
use crate::resource::ComputeResource;
use crate::status::Status;

/// Why the inventory could not do it; `Rejected` has the resource's own reason.
pub type InventoryError = RepositoryError<ComputeError>;

/// The inventory. Cheap to clone; all over one log see the same resources.
#[derive(Clone, Debug)]
pub struct Inventory {
    resources: Repository<ComputeResource>,
    host_names: Repository<HostNameClaim>,
    ids: Arc<dyn IdGenerator>,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The resource after it.
    pub resource: ComputeResource,
    /// The resource's version after it.
    pub version: Version,
    /// What happened to the resource; nothing where it was so already.
    pub events: Vec<ComputeEvent>,
}

impl Inventory {
    /// An inventory in a log.
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self {
            resources: Repository::new(Arc::clone(&log)),
            host_names: Repository::new(log),
            ids: Arc::new(SystemIds),
        }
    }

    /// With the clock that says when events happen; a test gives one that it moves by itself.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.resources = self.resources.with_clock(Arc::clone(&clock));
        self.host_names = self.host_names.with_clock(clock);
        self
    }

    /// With the generator of all ids; a test gives one that counts.
    #[must_use]
    pub fn with_ids(mut self, ids: Arc<dyn IdGenerator>) -> Self {
        self.resources = self.resources.with_ids(Arc::clone(&ids));
        self.host_names = self.host_names.with_ids(Arc::clone(&ids));
        self.ids = ids;
        self
    }

    /// With a cache, so that a command on what was touched lately reads nothing.
    #[must_use]
    pub fn with_cache(mut self, cache: &AggregateCache) -> Self {
        self.resources = self.resources.with_cache(cache);
        self.host_names = self.host_names.with_cache(cache);
        self
    }

    /// With snapshots of resources, so that long lives are loaded as quickly as short ones.
    #[must_use]
    pub fn with_snapshots(mut self, snapshots: SnapshotStore, policy: SnapshotPolicy) -> Self {
        self.resources = self.resources.with_snapshots(snapshots, policy);
        self
    }

    /// The resources themselves, to load them and to look at their histories.
    pub fn resources(&self) -> &Repository<ComputeResource> {
        &self.resources
    }

    /// Who has which host name.
    pub fn host_names(&self) -> &Repository<HostNameClaim> {
        &self.host_names
    }

    /// Takes a resource into the inventory, under a fresh id.
    ///
    /// # Errors
    /// `Rejected` where another resource has the host name; what the store says.
    pub async fn register(
        &self,
        ctx: &Context,
        host_name: HostName,
        kind: ResourceKind,
    ) -> Result<ResourceId, InventoryError> {
        let id = ResourceId::from_uuid(self.ids.next_uuid());
        let register = ComputeCommand::Register { host_name, kind };
        self.execute(ctx, id, register).await?;
        Ok(id)
    }

    /// Asks a resource for something, whatever it is like at the moment. Where somebody else was
    /// first it is asked again.
    ///
    /// # Errors
    /// Why it refused; what the store says.
    pub async fn execute(
        &self,
        ctx: &Context,
        id: ResourceId,
        command: ComputeCommand,
    ) -> Result<Changed, InventoryError> {
        if let Some((name, of_name)) = self.needs_host_name(ctx, id, &command).await? {
            return self
                .execute_with(ctx, id, None, command, &name, of_name)
                .await;
        }
        let done = self.resources.execute(ctx, &id, command).await?;
        Ok(Changed {
            resource: done.state,
            version: done.version,
            events: done.events,
        })
    }

    /// Changes a resource that somebody has looked at, and only as it was looked at: a form was
    /// filled in, say, while it was at version `seen`.
    ///
    /// # Errors
    /// `VersionConflict` where it has changed since; why it refused; what the store says.
    pub async fn execute_as_seen(
        &self,
        ctx: &Context,
        id: ResourceId,
        seen: Version,
        command: ComputeCommand,
    ) -> Result<Changed, InventoryError> {
        if let Some((name, of_name)) = self.needs_host_name(ctx, id, &command).await? {
            return self
                .execute_with(ctx, id, Some(seen), command, &name, of_name)
                .await;
        }
        let loaded = self.resources.load(ctx, &id).await?;
        if loaded.version != seen {
            return Err(changed_since(seen, loaded.version));
        }
        let mut resource = loaded.state;
        let events = resource
            .handle(command)
            .map_err(RepositoryError::Rejected)?;
        // Somebody may be first even now; the store lets one of them win.
        let options = SaveOptions {
            expected_version: Some(seen),
            ..SaveOptions::default()
        };
        let saved = self
            .resources
            .save(ctx, &id, events.clone(), options)
            .await?;
        events.iter().for_each(|event| resource.apply(event));
        Ok(Changed {
            resource,
            version: saved.version,
            events,
        })
    }

    /// What a command means for a host name, if anything: registering claims it, decommissioning
    /// gives it back.
    async fn needs_host_name(
        &self,
        ctx: &Context,
        id: ResourceId,
        command: &ComputeCommand,
    ) -> Result<Option<(HostName, HostNameCommand)>, InventoryError> {
        match command {
            ComputeCommand::Register { host_name, .. } => Ok(Some((
                host_name.clone(),
                HostNameCommand::Claim { resource: id },
            ))),
            ComputeCommand::ChangeStatus {
                to: Status::Decommissioned,
                ..
            } => {
                // A resource keeps the name it was registered with, so what is read here stays true.
                match self.resources.load(ctx, &id).await {
                    Ok(loaded) => Ok(loaded
                        .state
                        .host_name()
                        .map(|name| (name.clone(), HostNameCommand::Release { resource: id }))),
                    Err(error) if error.is_not_found() => Ok(None),
                    Err(error) => Err(error),
                }
            }
            _ => Ok(None),
        }
    }

    /// Decides over a resource and its host name: both change, or none.
    async fn execute_with(
        &self,
        ctx: &Context,
        id: ResourceId,
        seen: Option<Version>,
        command: ComputeCommand,
        name: &HostName,
        of_name: HostNameCommand,
    ) -> Result<Changed, InventoryError> {
        let both = (
            self.resources.participant(&id),
            self.host_names.participant(name),
        );
        let decided = self
            .resources
            .execute_many(ctx, both, |(resource, host_name)| {
                let at = resource.version();
                if seen.is_some_and(|seen| seen != at) {
                    return Ok(Err(at));
                }
                resource.handle(command.clone())?;
                host_name.handle(of_name)?;
                let events = resource.events().to_vec();
                Ok::<_, ComputeError>(Ok(Changed {
                    resource: resource.state().clone(),
                    version: Version::new(at.get() + events.len() as u64),
                    events,
                }))
            });
        let changed = decided.await?.value;
        changed.map_err(|actual| changed_since(seen.unwrap_or_default(), actual))
    }
}

fn changed_since(seen: Version, actual: Version) -> InventoryError {
    RepositoryError::VersionConflict {
        expected: ExpectedVersion::Exact(seen),
        actual,
    }
}
