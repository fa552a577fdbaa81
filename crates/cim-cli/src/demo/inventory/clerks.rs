//! Two clerks who look at the same resource and change it at the same moment: one of them wins, the
//! other is told, looks again, and only then changes it.

use std::collections::{BTreeMap, BTreeSet};

use cim_demo_inventory::prelude::*;
use cim_domain::RepositoryError;
use cim_store::{Context, ExpectedVersion, Version};
use serde::Serialize;

use super::Stopped;
use super::lives::{Life, LifeError};

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Contest {
    pub(crate) host_name: String,
    /// The version that both looked at.
    pub(crate) seen: u64,
    /// The version that one of them stored.
    pub(crate) won: Option<u64>,
    /// What the other one was told.
    pub(crate) told: Option<String>,
    /// The version that the other one stored after looking again.
    pub(crate) looked_again: Option<u64>,
    /// What should not have happened.
    pub(crate) difference: Option<String>,
}

/// Lets two clerks write their names on the first resource that is in service, if there is one.
pub(crate) async fn contest(
    inventory: &Inventory,
    ctx: &Context,
    in_service: &[Life],
) -> Result<Option<Contest>, Stopped> {
    let Some(life) = in_service.first() else {
        return Ok(None);
    };
    let looked_at = inventory.resources().load(ctx, &life.id).await?;
    let seen = looked_at.version;
    let sign = |name: &str, seen: Version| -> Result<ComputeCommand, LifeError> {
        let value = LabelValue::new(format!("{name}, who saw version {seen}"))?;
        Ok(ComputeCommand::UpdateMetadata {
            set: BTreeMap::from([(LabelName::new("checked_by")?, value)]),
            remove: BTreeSet::new(),
        })
    };
    let write = async |name, seen| -> Result<Result<Version, InventoryError>, Stopped> {
        let command = sign(name, seen)?;
        let changed = inventory.execute_as_seen(ctx, life.id, seen, command).await;
        Ok(changed.map(|changed| changed.version))
    };
    let (anna, berta) = tokio::join!(write("Anna", seen), write("Berta", seen));
    let mut contest = Contest {
        host_name: looked_at
            .state
            .host_name()
            .map(ToString::to_string)
            .unwrap_or_default(),
        seen: seen.get(),
        won: None,
        told: None,
        looked_again: None,
        difference: None,
    };
    let (won, told, loser) = match (anna?, berta?) {
        (Ok(won), Err(told)) => (won, told, "Berta"),
        (Err(told), Ok(won)) => (won, told, "Anna"),
        (Ok(_), Ok(_)) => {
            contest.difference = Some("both of them changed what they had seen".to_owned());
            return Ok(Some(contest));
        }
        (Err(error), Err(_)) => return Err(error.into()),
    };
    contest.won = Some(won.get());
    contest.told = Some(told.to_string());
    let is_as_promised = matches!(
        told,
        RepositoryError::VersionConflict { expected: ExpectedVersion::Exact(expected), actual }
            if expected == seen && actual == won && won == seen.next()
    );
    if !is_as_promised {
        contest.difference = Some(format!("the one who lost was told: {told}"));
        return Ok(Some(contest));
    }
    let now = inventory.resources().load(ctx, &life.id).await?.version;
    let again = write(loser, now).await??;
    contest.looked_again = Some(again.get());
    if again != won.next() {
        contest.difference = Some(format!("version {again} followed version {won}"));
    }
    Ok(Some(contest))
}
