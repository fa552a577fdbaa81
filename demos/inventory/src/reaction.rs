//! Commands that follow from events by themselves: while a resource is maintained its alerts are mute.
//!
//! [`reaction_to`] is the rule: pure, as decisions are. [`Reactions`] reads the log and executes what
//! follows, in the conversation of the event and with the event as cause. The rule also looks at
//! the resource as it is by now, so an event that comes twice, or late, does no harm: beginning again
//! at an older position changes nothing.

use cim_domain::prelude::*;
use cim_domain::store::{EventFilter, LogQuery, Position, RecordedEvent, SubjectError};
use futures_util::TryStreamExt as _;
use uuid::Uuid;

use crate::command::ComputeCommand;
use crate::event::ComputeEvent;
use crate::ids::{PolicyId, ResourceId};
use crate::resource::ComputeResource;
use crate::service::{Inventory, InventoryError};
use crate::status::Status;

/// The policy under which nobody is called at night.
pub const ALERTS_MUTED: PolicyId =
    PolicyId::from_uuid(Uuid::from_u128(0x8d1f_9a52_6a0c_4b0e_9f3b_52c1_0d2e_7a61));

/// What is to be done because of an event, if anything, about the resource as it is by now. Where it
/// has another status by now, there is a newer event for that.
pub fn reaction_to(event: &ComputeEvent, resource: &ComputeResource) -> Option<ComputeCommand> {
    let ComputeEvent::StatusChanged { to, .. } = event else {
        return None;
    };
    let policy = ALERTS_MUTED;
    let is_muted = resource.policies().contains(&policy);
    match to {
        _ if resource.status() != Some(*to) => None,
        Status::Maintenance if !is_muted => Some(ComputeCommand::AddPolicy { policy }),
        Status::Active if is_muted => Some(ComputeCommand::RemovePolicy { policy }),
        _ => None,
    }
}

/// Executes what follows from events.
#[derive(Clone, Debug)]
pub struct Reactions {
    inventory: Inventory,
    /// All that something may follow from; the rest is not even read.
    filter: EventFilter,
}

/// How far the reactions have come, and what they did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaughtUp {
    /// The position of the last event that was looked at: where to go on.
    pub position: Position,
    /// How many events were looked at.
    pub events: u64,
    /// How many commands followed from them.
    pub commands: u64,
}

impl Reactions {
    /// Reactions that execute their commands on this inventory.
    ///
    /// # Errors
    /// When the pattern of the events that it reacts to is none.
    pub fn new(inventory: Inventory) -> Result<Self, SubjectError> {
        let status_changes = "cim.events.infrastructure.compute.*.status_changed.*".parse()?;
        Ok(Self {
            inventory,
            filter: EventFilter::all().matching(status_changes),
        })
    }

    /// Reacts to all events after a position, in their order, up to the log's end as it is now.
    ///
    /// # Errors
    /// What the store says; an event that this program does not understand. Then some of the
    /// reactions have happened; beginning again at the same position is harmless.
    pub async fn catch_up(
        &self,
        ctx: &Context,
        after: Position,
    ) -> Result<CaughtUp, InventoryError> {
        let mut done = CaughtUp {
            position: after,
            events: 0,
            commands: 0,
        };
        let query = LogQuery::all().filter(self.filter.clone()).after(after);
        let log = self.inventory.resources().log();
        let mut events = log.read_log(ctx, query).await?;
        while let Some(recorded) = events.try_next().await? {
            done.position = recorded.position;
            done.events += 1;
            done.commands += u64::from(self.react(ctx, &recorded).await?);
        }
        Ok(done)
    }

    /// Executes what follows from one event. Says whether anything did.
    async fn react(&self, ctx: &Context, recorded: &RecordedEvent) -> Result<bool, InventoryError> {
        let Ok(id) = recorded.stream.decoded_id().parse::<ResourceId>() else {
            return Ok(false); // no resource of this inventory has such an id
        };
        let mut has_followed = false;
        let events = ComputeEvent::decode(recorded.into());
        let events = events.map_err(|source| RepositoryError::Decode {
            stream: recorded.stream.clone(),
            version: recorded.version,
            source: Box::new(source),
        })?;
        for event in events {
            let resource = self.inventory.resources().load(ctx, &id).await?.state;
            let Some(command) = reaction_to(&event, &resource) else {
                continue;
            };
            match self
                .inventory
                .execute(&ctx.caused_by(recorded), id, command)
                .await
            {
                Ok(changed) => has_followed |= !changed.events.is_empty(),
                // The resource has gone on since; what follows from that has an event of its own.
                Err(RepositoryError::Rejected(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(has_followed)
    }
}
