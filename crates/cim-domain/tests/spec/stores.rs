//! Runs a test on every store that needs no server, on a clock that the test moves.

use std::sync::Arc;

use cim_domain::store::{ManualClock, SequentialIds, Store, Timestamp};
use cim_domain::{OpenOptions, open_with};

/// The time at which the tests begin: 2026-11-20T12:00:00Z.
pub(crate) const NOON: Timestamp = Timestamp::from_seconds(1_795_176_000);

/// Makes of each function a module with one test for each store.
macro_rules! on_every_store {
    ($($(#[$attribute:meta])* async fn $name:ident($store:ident, $clock:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $(#[$attribute])*
            async fn run(
                $store: std::sync::Arc<dyn cim_domain::store::Store>,
                $clock: cim_domain::store::ManualClock,
            ) $body

            #[tokio::test]
            async fn memory() {
                let (store, clock) = $crate::stores::open_at_noon("memory:").await;
                run(store, clock).await;
            }

            #[cfg(feature = "embedded")]
            #[tokio::test]
            async fn embedded() {
                let directory = tempfile::tempdir().unwrap();
                let url = format!("embedded:{}", directory.path().display());
                let (store, clock) = $crate::stores::open_at_noon(&url).await;
                run(store, clock).await;
            }
        }
    )*};
}

pub(crate) use on_every_store;

pub(crate) async fn open_at_noon(url: &str) -> (Arc<dyn Store>, ManualClock) {
    let clock = ManualClock::at(NOON);
    let options = OpenOptions {
        clock: Arc::new(clock.clone()),
        ids: Arc::new(SequentialIds::new(1)),
        must_exist: false,
    };
    (open_with(url, options).await.unwrap(), clock)
}
