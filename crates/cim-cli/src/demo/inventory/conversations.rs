//! Conversations, found by an index and compared with a scan over everything.
//!
//! What the policy did belongs to the conversation of the event that led to it. The index finds the
//! events of a conversation without reading the others; here, where all events are known anyhow, its
//! answers are compared with what a scan finds.

use cim_domain::persistence::event_index::EventIndex;
use cim_store::{Context, EventId, RecordedEvent};

use super::Stopped;
use super::checks::{Check, is_reaction};
use super::fold::Histories;

/// Conversations that are looked for.
const CONVERSATIONS: usize = 20;

/// Asks the index for conversations in which the policy did something.
pub(crate) async fn check(
    index: &EventIndex,
    ctx: &Context,
    histories: &Histories,
) -> Result<Check, Stopped> {
    let mut check = Check::new("conversations by the index", "found");
    let events = || histories.values().flatten();
    let reactions = events().filter(|event| is_reaction(event));
    let conversations = reactions.filter_map(|event| event.correlation_id);
    for conversation in conversations.take(CONVERSATIONS) {
        let found = index.read_by_correlation(ctx, conversation).await?;
        let found = found
            .iter()
            .filter(|event| histories.contains_key(&event.stream));
        let due = events().filter(|event| event.correlation_id == Some(conversation));
        let mut due: Vec<&RecordedEvent> = due.collect();
        due.sort_unstable_by_key(|event| event.position);
        let (found, due) = (ids(found), ids(due.into_iter()));
        check.count((found != due).then(|| {
            let (found, due) = (found.len(), due.len());
            format!("{conversation}: the index finds {found} events, the log has {due} of it")
        }));
    }
    Ok(check)
}

fn ids<'a>(events: impl Iterator<Item = &'a RecordedEvent>) -> Vec<EventId> {
    events.map(|event| event.id).collect()
}
