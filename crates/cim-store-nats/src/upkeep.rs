//! Looks at the log now and then: that no message of it is missing, and what time the server has.
//!
//! A leader whose disk lost messages goes on as if nothing had happened: it takes appends at places
//! that were filled. So whoever finds holes stops writing at once.

use std::sync::{Arc, Weak};
use std::time::Duration;

use cim_store::{Clock, Context, EventLogErrorKind, SystemClock};

use crate::session::Session;
use crate::store::check_complete;

/// How often.
const INTERVAL: Duration = Duration::from_secs(30);
/// How soon once more, where something was found.
const ONCE_MORE: Duration = Duration::from_secs(1);
/// How long after the connection was made again, so that a new leader is there.
const SETTLED: Duration = Duration::from_secs(2);

/// Begins to look after a store; ends with it.
pub(crate) fn start(session: &Arc<Session>) {
    tokio::spawn(look_after(Arc::downgrade(session)));
}

async fn look_after(session: Weak<Session>) {
    loop {
        let Some(mut epoch) = session.upgrade().map(|session| session.epoch.clone()) else {
            return;
        };
        let changed = async {
            if epoch.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            SystemClock.sleep(SETTLED).await;
        };
        crate::budget::within(INTERVAL, changed).await;
        let Some(session) = session.upgrade().filter(|session| !session.is_closed()) else {
            return;
        };
        if is_damaged(&session).await {
            // What was stored between the two figures of one answer would be no damage.
            SystemClock.sleep(ONCE_MORE).await;
            is_damaged_for_good(&session).await;
        }
    }
}

/// Asks the leader. Says whether messages seem to be missing.
async fn is_damaged(session: &Session) -> bool {
    let Ok(budget) = session.begin::<EventLogErrorKind>(&Context::new(), "upkeep") else {
        return false;
    };
    let info = session.api.stream_info(session.log_stream(), &budget).await;
    let Ok(Some(info)) = info else {
        return false; // whoever needs it is told
    };
    if let Some(time) = info.ts.as_deref().and_then(|time| time.parse().ok()) {
        session.time.told(time);
    }
    check_complete(&info).is_err()
}

async fn is_damaged_for_good(session: &Session) {
    if is_damaged(session).await {
        tracing::error!(
            stream = session.log_stream(),
            "messages of the log are missing on the server; nothing is written any more"
        );
        session.stop_writing();
    }
}
