//! Shared subscriptions: a durable consumer, which the server keeps, and members that pull from it.
//!
//! ```text
//! consumer  what the server keeps: made, compared with what is asked for, listed, deleted
//! member    pulls a few messages at a time, for as long as somebody asks for the next event
//! answers   acknowledgements and the like, confirmed by the server
//! ```
//!
//! On a cluster everything a member says is replicated before it is confirmed. A single server
//! writes it to its disk within a tenth of a second, so a crash forgets that much.

mod answers;
mod consumer;
mod member;

use std::sync::Arc;

use async_trait::async_trait;
use cim_store::shared_subscription::{
    DeliveryStream, SharedSettings, SharedStatus, SharedSubscriptions, SubscriptionName,
};
use cim_store::{Context, EventLogError};

use super::log::SharedLog;

/// The shared subscriptions of a store on NATS.
#[derive(Debug)]
pub(crate) struct NatsSharedSubscriptions {
    log: Arc<SharedLog>,
}

impl NatsSharedSubscriptions {
    pub(crate) fn new(log: Arc<SharedLog>) -> Self {
        Self { log }
    }
}

#[async_trait]
impl SharedSubscriptions for NatsSharedSubscriptions {
    async fn join(
        &self,
        ctx: &Context,
        name: &SubscriptionName,
        settings: SharedSettings,
    ) -> Result<DeliveryStream, EventLogError> {
        let budget = self.log.session.begin(ctx, "joining")?;
        settings.check()?;
        consumer::make(&self.log.session, name, &settings, &budget).await?;
        member::join(self.log.clone(), name.clone(), settings, &budget).await
    }

    async fn list(&self, ctx: &Context) -> Result<Vec<SharedStatus>, EventLogError> {
        let budget = self
            .log
            .session
            .begin(ctx, "listing shared subscriptions")?;
        consumer::list(&self.log.session, &budget).await
    }

    async fn delete(&self, ctx: &Context, name: &SubscriptionName) -> Result<(), EventLogError> {
        let budget = self
            .log
            .session
            .begin(ctx, "deleting a shared subscription")?;
        consumer::delete(&self.log.session, name, &budget).await
    }
}
