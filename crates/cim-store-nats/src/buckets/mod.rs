//! Buckets on NATS KV.

use std::sync::Arc;

use cim_store::{Bucket, BucketError, BucketName, BucketSettings, Context};

use crate::session::Session;

pub(crate) async fn open(
    session: &Arc<Session>,
    ctx: &Context,
    _name: &BucketName,
    _settings: BucketSettings,
) -> Result<Arc<dyn Bucket>, BucketError> {
    session.begin::<cim_store::BucketErrorKind>(ctx, "bucket")?;
    Err(BucketError::unsupported("not yet"))
}

pub(crate) async fn list(
    session: &Arc<Session>,
    ctx: &Context,
) -> Result<Vec<(BucketName, BucketSettings)>, BucketError> {
    session.begin::<cim_store::BucketErrorKind>(ctx, "buckets")?;
    Err(BucketError::unsupported("not yet"))
}
