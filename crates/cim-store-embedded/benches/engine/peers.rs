//! What other stores were measured to do: on a machine of the same kind, on another day, so these
//! figures show an order of magnitude and are no part of any ratio.

use serde::Serialize;

/// A peer's figure.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) figure: f64,
}

/// The best peers of a kind of append, in calls per second.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct AppendPeers {
    /// Of those that flush before they acknowledge.
    pub(crate) flushed: Peer,
    /// Of all; the fastest ones acknowledge before anything is flushed.
    pub(crate) any: Peer,
}

const fn peer(name: &'static str, figure: f64) -> Peer {
    Peer { name, figure }
}

pub(crate) fn append(callers: usize, events: usize) -> Option<AppendPeers> {
    let (flushed, any) = match (callers, events) {
        (1, 1) => (peer("sierradb", 7_400.0), peer("esrc on NATS", 15_000.0)),
        (16, 1) => (peer("umadb", 26_000.0), peer("esrc on NATS", 84_000.0)),
        (64, 1) => (peer("umadb", 55_000.0), peer("NATS", 112_000.0)),
        (256, 1) => (peer("umadb", 80_000.0), peer("NATS", 133_000.0)),
        (1, 10) => (peer("sierradb", 2_900.0), peer("sierradb", 2_900.0)),
        (64, 10) => (peer("umadb", 29_000.0), peer("umadb", 29_000.0)),
        _ => return None,
    };
    Some(AppendPeers { flushed, any })
}

/// The best peer's median load of a stream, in microseconds.
pub(crate) fn load(events: usize) -> Option<Peer> {
    match events {
        10 => Some(peer("umadb", 56.0)),
        1_000 => Some(peer("evento on fjall", 2_400.0)),
        _ => None,
    }
}

/// The best peer's read of a whole log, in events per second.
pub(crate) fn scan() -> Option<Peer> {
    Some(peer("umadb", 2e6))
}
