//! How the adapter's failures are reported by the ports: what happened, where, and what to do.

use cim_store::{EventLogError, Fault, PortError, PortErrorKind};

use crate::api::Failure;
use crate::requests::Lost;

/// "JetStream not enabled", for the server and for the account.
const NOT_ENABLED: [u32; 2] = [10_076, 10_039];
/// The store is full: bytes or messages of the JetStream stream, of the account, of the server.
const FULL: [u32; 5] = [10_077, 10_047, 10_028, 10_122, 10_023];
/// "message size exceeds maximum allowed".
const TOO_LARGE: u32 = 10_054;
/// "subjects overlap with an existing stream".
const OVERLAP: u32 = 10_065;
/// "replicas > 1 not supported in non-clustered mode".
const NOT_CLUSTERED: u32 = 10_074;
/// "stream is sealed".
const SEALED: u32 = 10_109;

/// Somebody else is at the same place, or too many batches are open: the same may succeed later.
const BUSY: [u32; 3] = [10_164, 10_176, 10_210];

/// Whether a refusal means that there is no room.
pub(crate) fn is_full(err_code: u32) -> bool {
    FULL.contains(&err_code)
}

/// Reports why an operation that stored nothing did not succeed.
pub(crate) fn report<K: PortErrorKind>(failure: Failure, operation: &str) -> PortError<K> {
    let error = match &failure {
        Failure::Lost(lost) => lost_error(lost, operation),
        Failure::Refused(refusal) if NOT_ENABLED.contains(&refusal.err_code) => {
            PortError::new(Fault::Unsupported, "JetStream is not enabled on the server")
                .with_hint("start it with `-js`, or enable `jetstream` for the account")
        }
        Failure::Refused(refusal) if FULL.contains(&refusal.err_code) => {
            PortError::unavailable("the server has no room for it; nothing was stored").with_hint(
                "give the JetStream stream, the account, the server (`max_file_store`) or the disk more room; nothing that is \
                 stored is given up for new events",
            )
        }
        Failure::Refused(refusal) if refusal.err_code == TOO_LARGE => {
            PortError::invalid("the message is larger than the JetStream stream takes")
                .with_hint("remove `max_msg_size` from the JetStream stream")
        }
        Failure::Refused(refusal) if refusal.err_code == OVERLAP => PortError::invalid(
            "another JetStream stream of the account has the log's subjects",
        )
        .with_hint(
            "if that stream is the log, name it (`--stream-name`, `NatsSettings::with_stream`); an \
             account has room for one",
        ),
        Failure::Refused(refusal) if refusal.err_code == NOT_CLUSTERED => {
            PortError::invalid("a server that is not part of a cluster keeps 1 replica")
                .with_hint("leave the number of replicas out, or run a cluster")
        }
        Failure::Refused(refusal) if refusal.err_code == SEALED => {
            PortError::new(Fault::Denied, "the JetStream stream is sealed")
                .with_hint("a sealed stream can only be read; restore it under another name")
        }
        Failure::Refused(refusal)
            if matches!(refusal.code, 429 | 503) || BUSY.contains(&refusal.err_code) =>
        {
            PortError::unavailable(format!("the server can't do {operation} now"))
                .with_hint("look at the cluster: it may have no quorum or no resources left")
        }
        Failure::Refused(_) => PortError::invalid(format!("the server refused {operation}")),
        Failure::RolledBack {
            stream,
            known,
            last,
        } => rolled_back(stream, *known, *last),
        Failure::Malformed { .. } => {
            PortError::integrity(format!("the server's answer to {operation} can't be read"))
        }
    };
    error.with_source(failure)
}

fn lost_error<K: PortErrorKind>(lost: &Lost, operation: &str) -> PortError<K> {
    match lost {
        Lost::Denied { subject } => PortError::new(
            Fault::Denied,
            format!("the server does not permit {operation}"),
        )
        .with("subject", subject)
        .with_hint("give the user the permission to publish to this subject"),
        Lost::Closed { .. } => closed(),
        Lost::Unreadable { .. } => {
            PortError::integrity(format!("the server's answer to {operation} can't be read"))
        }
        Lost::NotSent { .. } => {
            PortError::unavailable(format!("{operation} could not be sent to the server"))
        }
        Lost::NoResponders { .. } => PortError::unavailable(format!(
            "no server took {operation} in time"
        ))
        .with_hint("the JetStream stream has no leader, or JetStream is off: see `cim doctor`"),
        Lost::TimedOut { .. } | Lost::Disconnected { .. } => {
            PortError::unavailable(format!("no server answered {operation} in time")).with_hint(
                "see `cim doctor`; where servers are well, the user may lack the permission for \
                 the subject or for its inbox",
            )
        }
    }
}

/// The store is closed.
#[cold]
pub(crate) fn closed<K: PortErrorKind>() -> PortError<K> {
    PortError::closed("the store is closed").with_hint("open it again")
}

/// The store is only looked at.
#[cold]
pub(crate) fn inspected<K: PortErrorKind>() -> PortError<K> {
    PortError::unsupported("the store is inspected; nothing of it is changed")
        .with_hint("open it to use it")
}

/// The JetStream stream is not there any more.
#[cold]
pub(crate) fn stream_gone<K: PortErrorKind>(name: &str) -> PortError<K> {
    PortError::integrity("the JetStream stream is gone")
        .with("JetStream stream", name)
        .with_hint("somebody deleted it: restore it from a backup")
}

/// The log has holes.
#[cold]
pub(crate) fn holes(name: &str) -> EventLogError {
    EventLogError::integrity("messages of the log are missing on the server")
        .with("JetStream stream", name)
        .with_hint(
            "somebody deleted or purged them, or the leader's disk is damaged: restore the \
             JetStream stream from a backup, or make a replica that has them the leader",
        )
}

/// The log has less than it had.
#[cold]
pub(crate) fn rolled_back<K: PortErrorKind>(name: &str, known: u64, last: u64) -> PortError<K> {
    PortError::integrity("the server lost the latest messages of the log")
        .with("JetStream stream", name)
        .with("known until", known)
        .with("last", last)
        .with_hint(
            "a power cut or an older copy of its files: restore the JetStream stream from a \
             replica or a backup that has them; `sync_interval: always` and 3 replicas prevent it",
        )
}

/// The server that answered has less of the log than this process knows of: it may be one that was
/// the leader.
#[cold]
pub(crate) fn behind(known: u64, last: u64) -> EventLogError {
    EventLogError::unavailable("the server that answered has less of the log than there was")
        .with("known until", known)
        .with("last", last)
}

/// A read that ended before its known end.
#[cold]
pub(crate) fn ended_early(after: u64, end: u64) -> EventLogError {
    EventLogError::integrity("the log ended before its known end")
        .with("after", after)
        .with("expected end", end)
        .with_hint(
            "a replica lacks events that its leader has: find it with `nats stream info`, and let \
             it copy them anew",
        )
}
