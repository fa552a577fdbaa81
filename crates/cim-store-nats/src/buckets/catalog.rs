//! Which buckets there are: each is a JetStream stream whose metadata says its settings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cim_store::{Bucket, BucketError, BucketErrorKind, BucketName, BucketSettings, Context};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;

use super::moment::{LastMoment, Moment};
use super::port::{NatsBucket, SharedBucket};
use crate::api::{Failure, StreamInfo};
use crate::budget::Budget;
use crate::config::{FORMAT, StreamConfig};
use crate::session::Session;
use crate::store::make_stream;

/// What the names of the JetStream streams of buckets begin with (ADR-8).
const STREAM: &str = "KV_";
/// Metadata: how many changes of a key are kept.
const HISTORY: &str = "cim.history";
/// Metadata: how long values live, in microseconds; not there: for ever.
const TTL: &str = "cim.ttl-micros";
/// "stream name already in use with a different configuration".
const NAME_IN_USE: u32 = 10_058;
/// How many JetStream streams are asked for their settings at the same time.
const READS: usize = 16;

/// Opens a bucket; makes it where it is not there.
pub(crate) async fn open(
    session: &Arc<Session>,
    ctx: &Context,
    name: &BucketName,
    settings: BucketSettings,
) -> Result<Arc<dyn Bucket>, BucketError> {
    let budget: Budget = session.begin(ctx, "opening the bucket")?;
    settings.check()?;
    let report = |failure| {
        let error: BucketError = session.report(failure, "opening the bucket");
        error.with("bucket", name)
    };
    let stream = format!("{STREAM}{name}");
    let prefix = format!("$KV.{name}.");
    let metadata = metadata_of(settings);
    let (history, of_store) = (settings.history, &session.settings);
    let config = StreamConfig::of_bucket(
        stream.clone(),
        &prefix,
        history,
        metadata,
        session.replicas,
        of_store,
    );
    let mut asked = Moment::ask();
    let found = session.api.stream_info(&stream, &budget).await;
    let info = match found.map_err(report)? {
        Some(info) => info,
        None => {
            asked = Moment::ask();
            make(session, &config, &budget).await.map_err(report)?
        }
    };
    if let Some(made) = settings_of(&info.config.metadata) {
        made.check_same(name, settings)?;
    }
    config.check_found::<BucketErrorKind>(&info.config, of_store.replicas)?;
    Ok(Arc::new(NatsBucket {
        shared: Arc::new(SharedBucket {
            session: session.clone(),
            name: name.clone(),
            settings,
            stream,
            prefix,
            last_moment: LastMoment::new(Moment::told(&info, asked)),
        }),
    }))
}

/// Makes a bucket's JetStream stream. Where somebody else made it in between with other settings,
/// it is theirs that count.
async fn make(
    session: &Session,
    config: &StreamConfig,
    budget: &Budget,
) -> Result<StreamInfo, Failure> {
    let failure = match make_stream(&session.api, config, budget).await {
        Err(failure) if failure.is(NAME_IN_USE) => failure,
        made => return made,
    };
    let found = session.api.stream_info(&config.name, budget).await?;
    found.ok_or(failure)
}

/// The store's buckets, by name.
pub(crate) async fn list(
    session: &Arc<Session>,
    ctx: &Context,
) -> Result<Vec<(BucketName, BucketSettings)>, BucketError> {
    let budget: Budget = session.begin(ctx, "listing the buckets")?;
    let found = find(session, &budget).await;
    found.map_err(|failure| session.report(failure, "listing the buckets"))
}

#[derive(Deserialize)]
struct Names {
    #[serde(default)]
    streams: Option<Vec<String>>,
}

async fn find(
    session: &Session,
    budget: &Budget,
) -> Result<Vec<(BucketName, BucketSettings)>, Failure> {
    // The names come from whoever leads the cluster's assignments, so that all are there; a list
    // with settings would lack those whose server is away.
    let mut names = Vec::new();
    loop {
        let body = serde_json::json!({ "subject": "$KV.>", "offset": names.len() });
        let page: Names = session.api.call("STREAM.NAMES", &body, budget).await?;
        let page = page.streams.unwrap_or_default();
        if page.is_empty() {
            break;
        }
        names.extend(page);
    }
    let buckets: Vec<Option<_>> = stream::iter(names)
        .map(|stream| async move {
            let name = stream.strip_prefix(STREAM).map(ToOwned::to_owned);
            let Some(name) = name.and_then(|name| BucketName::new(name).ok()) else {
                return Ok(None);
            };
            let info = session.api.stream_info(&stream, budget).await?;
            let settings = info.and_then(|info| settings_of(&info.config.metadata));
            Ok::<_, Failure>(settings.map(|settings| (name, settings)))
        })
        .buffer_unordered(READS)
        .try_collect()
        .await?;
    let mut buckets: Vec<_> = buckets.into_iter().flatten().collect();
    buckets.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    Ok(buckets)
}

fn metadata_of(settings: BucketSettings) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::from([(HISTORY.to_owned(), settings.history.to_string())]);
    if let Some(ttl) = settings.ttl {
        metadata.insert(TTL.to_owned(), ttl.as_micros().to_string());
    }
    metadata
}

/// The settings that a bucket was made with; `None` for what another client made.
fn settings_of(metadata: &BTreeMap<String, String>) -> Option<BucketSettings> {
    if metadata.get(FORMAT.0).map(String::as_str) != Some(FORMAT.1) {
        return None;
    }
    let ttl = match metadata.get(TTL) {
        Some(micros) => Some(Duration::from_micros(micros.parse().ok()?)),
        None => None,
    };
    let history = metadata.get(HISTORY)?.parse().ok()?;
    Some(BucketSettings { history, ttl })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_back_from_the_metadata() {
        let plain = BucketSettings::default();
        let short = plain
            .with_history(64)
            .with_ttl(Duration::from_micros(1_500_001));
        for settings in [plain, short] {
            let mut metadata = metadata_of(settings);
            assert_eq!(settings_of(&metadata), None, "of another format");
            metadata.insert(FORMAT.0.to_owned(), FORMAT.1.to_owned());
            assert_eq!(settings_of(&metadata), Some(settings));
        }
    }
}
