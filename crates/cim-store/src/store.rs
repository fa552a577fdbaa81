//! What an adapter opens: one log and any number of buckets.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    Bucket, BucketError, BucketName, BucketSettings, Context, EventLog, EventLogError, Health,
    SharedSubscriptions,
};

/// An open store. Functions that need one for the moment take it as `&dyn Store`, which an
/// `Arc<dyn Store>` becomes by `&*store`.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cim_store::{memory::MemoryStore, *};
/// let (store, ctx) = (MemoryStore::new(), Context::new());
/// let name = BucketName::new("prices")?;
/// store.bucket(&ctx, &name, BucketSettings::default()).await?;
/// assert_eq!(store.buckets(&ctx).await?, [(name, BucketSettings::default())]);
///
/// assert!(store.health(&ctx).await?.is_healthy());
/// store.close().await?;
/// assert!(store.log().stats(&ctx).await.is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `Store`",
    note = "an `Arc<dyn Store>` is given as `&*store` where `&dyn Store` is wanted"
)]
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// The log of all events: the same one with every call, which a cache may tell by its address.
    fn log(&self) -> Arc<dyn EventLog>;

    /// Subscriptions whose work is split over several processes; `None` where the adapter has none,
    /// as [`LogCapabilities::shared_subscriptions`](crate::LogCapabilities) says.
    fn shared_subscriptions(&self) -> Option<Arc<dyn SharedSubscriptions>>;

    /// Opens a bucket; makes it with these settings where it does not exist.
    ///
    /// # Errors
    /// `Invalid` where it exists with other settings, naming the difference; `Unavailable`,
    /// `Closed`, `Integrity`.
    async fn bucket(
        &self,
        ctx: &Context,
        name: &BucketName,
        settings: BucketSettings,
    ) -> Result<Arc<dyn Bucket>, BucketError>;

    /// The names and settings of all buckets, by name.
    ///
    /// # Errors
    /// `Unavailable`, `Closed`, `Integrity`.
    async fn buckets(
        &self,
        ctx: &Context,
    ) -> Result<Vec<(BucketName, BucketSettings)>, BucketError>;

    /// How the store is: what there is to know, and what is wrong with what to do. It only looks,
    /// and takes as long as a few questions to a server, or to the disk.
    ///
    /// What is wrong is a [`Finding`](crate::Finding) wherever the store can still say so: a server
    /// that is away, a replica that is missing, a store that stopped writing.
    ///
    /// # Errors
    /// `Closed` after closing; `Unavailable` where the deadline passed before.
    async fn health(&self, ctx: &Context) -> Result<Health, EventLogError>;

    /// Ends writing, waits for what is under way, and frees what the store holds. Later calls to
    /// its ports get `Closed`. Closing twice is no error.
    ///
    /// # Errors
    /// Where what was acknowledged could not be brought to rest properly; nothing that was
    /// acknowledged is lost by it.
    async fn close(&self) -> Result<(), EventLogError>;
}
