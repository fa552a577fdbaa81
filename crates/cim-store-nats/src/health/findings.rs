//! What is wrong with what was seen: one function for each concern, all of them pure.

use std::time::Duration;

use cim_store::{Finding, Limits, Severity};

use super::{LogSeen, Seen};
use crate::api::{AccountInfo, Failure, Replica};
use crate::requests::Lost;
use crate::server::ServerVersion;

/// Clocks that differ by more make times of events misleading. In microseconds.
const CLOCK_TOLERANCE: i64 = 1_000_000;
/// A replica that was not heard of for so long is not just busy: leaders send a heartbeat each
/// second.
const SILENCE: Duration = Duration::from_secs(5);
/// Percent of a limit from which on somebody should know.
const NEARLY_FULL: u64 = 90;

pub(super) fn of(seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !seen.connected {
        findings.push(problem(
            "the connection to the servers is lost, and is being made again",
            "check that the servers run and can be reached; nothing needs to be opened again",
        ));
    }
    findings.extend(server_version(&seen.server.version));
    match &seen.log {
        Ok(Some(log)) => {
            findings.extend(completeness(log));
            findings.extend(configuration(log));
            findings.extend(leader(log));
            findings.extend(copies(log, seen));
            findings.extend(clocks(log));
            findings.extend(full_log(log));
        }
        Ok(None) => findings.push(problem(
            "the JetStream stream of the log is gone",
            "somebody deleted it: restore it from a backup",
        )),
        Err(failure) => findings.push(unanswered(failure)),
    }
    findings.extend(seen.account.as_ref().ok().and_then(full_account));
    findings.extend(seen.flush.storage.iter().filter_map(full_server));
    if !seen.flush.is_verified() {
        findings.push(warning(
            format!(
                "a power cut may lose what was acknowledged: it is not known that the servers flush \
                 before they acknowledge, or they don't: {}",
                seen.flush.why
            ),
            seen.flush.advice,
        ));
    }
    findings.extend(largest_payload(seen.payload_bytes));
    findings
}

fn problem(what: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding::new(Severity::Problem, what, advice)
}

fn warning(what: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding::new(Severity::Warning, what, advice)
}

fn server_version(version: &str) -> Option<Finding> {
    let known = ServerVersion::parse(version)?;
    let (oldest, recommended) = (ServerVersion::OLDEST, ServerVersion::RECOMMENDED);
    let advice = format!("install nats-server {recommended} or newer");
    if known < oldest {
        // The connection may have moved to another server than was checked at opening.
        return Some(problem(
            format!("the server has version {version}, and at least {oldest} is needed"),
            advice,
        ));
    }
    (known < recommended).then(|| {
        warning(
            format!(
                "the server has version {version}: before {recommended} a power cut can leave a \
                 part of a commit behind, which readers then refuse"
            ),
            advice,
        )
    })
}

fn completeness(log: &LogSeen) -> Option<Finding> {
    let error = crate::store::check_complete(&log.info).err()?;
    Some(problem(error.to_string(), error.hint().unwrap_or_default()))
}

fn configuration(log: &LogSeen) -> Vec<Finding> {
    let config = &log.info.config;
    let mut findings = Vec::new();
    if config.sealed {
        findings.push(problem(
            "the JetStream stream is sealed, so nothing can be appended ever again",
            "restore it from a backup under another name, and open that one",
        ));
    }
    if config.persist_mode == "async" {
        findings.push(problem(
            "the JetStream stream acknowledges before anything is written (`persist_mode: async`)",
            "set `persist_mode` to `default`",
        ));
    }
    if let Some(differs) = &log.differs {
        findings.push(problem(
            differs.to_string(),
            differs.hint().unwrap_or_default(),
        ));
    }
    findings
}

fn leader(log: &LogSeen) -> Option<Finding> {
    let cluster = log.info.cluster.as_ref()?;
    cluster.leader.is_none().then(|| {
        problem(
            "the log has no leader, so nothing can be appended now",
            "start the servers that are missing: a majority of the log's replicas elects one",
        )
    })
}

fn copies(log: &LogSeen, seen: &Seen) -> Vec<Finding> {
    if log.info.config.num_replicas == 1 {
        let is_clustered = seen.server.cluster.is_some();
        return is_clustered
            .then(|| {
                warning(
                    "the servers are a cluster, but the log is on one of them only: it can't be \
                     used while that one is away, and is lost with its disk",
                    "give it three replicas: `nats stream edit --replicas 3`; where `--replicas` or \
                     `NatsSettings::with_replicas` says a number, that becomes 3",
                )
            })
            .into_iter()
            .collect();
    }
    let replicas = log
        .info
        .cluster
        .iter()
        .flat_map(|cluster| &cluster.replicas);
    let mut findings: Vec<Finding> = replicas.clone().filter_map(replica).collect();
    // The leader is one of the replicas, and does not name itself among the others.
    let wanted = usize::from(log.info.config.num_replicas).saturating_sub(1);
    let found = replicas.count();
    if found < wanted {
        findings.push(problem(
            format!(
                "the log should have {} replicas, and has {}",
                wanted + 1,
                found + 1
            ),
            "start the servers that are missing",
        ));
    }
    findings
}

/// What a replica is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Current,
    Behind,
    /// The leader has not heard of it for a while, whatever it still believes of it.
    Silent,
    Offline,
}

impl Condition {
    pub(super) fn of(replica: &Replica) -> Self {
        let silent = Duration::from_nanos(replica.active) >= SILENCE;
        match replica {
            Replica { offline: true, .. } => Self::Offline,
            _ if silent => Self::Silent,
            Replica { current: true, .. } => Self::Current,
            Replica { active: 0, .. } => Self::Silent,
            _ => Self::Behind,
        }
    }
}

fn replica(replica: &Replica) -> Option<Finding> {
    let Replica {
        name, active, lag, ..
    } = replica;
    Some(match Condition::of(replica) {
        Condition::Current => return None,
        Condition::Behind => warning(
            format!("replica {name} of the log is behind: it has {lag} operations to copy"),
            "wait and look again; where it does not catch up, look at that server's disk and \
             network",
        ),
        Condition::Silent => {
            let since = match active {
                0 => String::new(),
                _ => format!(" for {:.0} s", Duration::from_nanos(*active).as_secs_f64()),
            };
            problem(
                format!("replica {name} of the log has not been heard of{since}"),
                format!("check that the server {name} runs, and the network between the servers"),
            )
        }
        Condition::Offline => problem(
            format!("replica {name} of the log is offline"),
            format!("start the server {name} again; it copies what it missed by itself"),
        ),
    })
}

fn clocks(log: &LogSeen) -> Option<Finding> {
    let ahead = log.ahead?;
    let uncertain = i64::try_from(log.round_trip.as_micros()).unwrap_or(i64::MAX);
    if ahead.saturating_abs() <= CLOCK_TOLERANCE.saturating_add(uncertain) {
        return None;
    }
    let seconds = ahead.unsigned_abs() as f64 / 1_000_000.0;
    let direction = if ahead > 0 { "ahead of" } else { "behind" };
    Some(warning(
        format!(
            "the server's clock is {seconds:.1} s {direction} this machine's, so an event's time \
             and the time when it was stored don't fit together"
        ),
        "synchronize the clocks of all machines (NTP); the order of events does not rest on them",
    ))
}

fn is_nearly_full(used: u64, limit: i64) -> bool {
    match u64::try_from(limit) {
        Ok(limit) if limit > 0 => {
            u128::from(used) * 100 >= u128::from(limit) * u128::from(NEARLY_FULL)
        }
        _ => false,
    }
}

fn full_log(log: &LogSeen) -> Option<Finding> {
    let (used, limit) = (log.info.state.bytes, log.info.config.max_bytes);
    is_nearly_full(used, limit).then(|| {
        warning(
            format!("the log has {used} of the {limit} bytes that it may have"),
            "give it more room (`max_bytes`): a full log refuses appends",
        )
    })
}

fn full_account(account: &AccountInfo) -> Option<Finding> {
    let (used, limit) = (account.storage, account.limits.max_storage);
    is_nearly_full(used, limit).then(|| {
        warning(
            format!("the account has {used} of the {limit} bytes that it may store"),
            "give it more room: a full account refuses appends",
        )
    })
}

fn full_server((name, used, most): &(String, u64, i64)) -> Option<Finding> {
    let advice = "give it more room (`max_file_store`): a full server refuses appends";
    let what = format!("server {name} stores {used} of the {most} bytes that it may");
    let is_full = u64::try_from(*most).is_ok_and(|most| most > 0 && *used >= most);
    if is_full {
        return Some(problem(what, advice));
    }
    is_nearly_full(*used, *most).then(|| warning(what, advice))
}

fn largest_payload(bytes: usize) -> Option<Finding> {
    let contract = Limits::CONTRACT.payload_bytes;
    (bytes < contract).then(|| {
        warning(
            format!("payloads are limited to {bytes} bytes, other stores take {contract}"),
            "set `max_payload: 4MB` in the configuration of each server",
        )
    })
}

fn unanswered(failure: &Failure) -> Finding {
    let what = format!("the leader of the log does not answer: {failure}");
    match failure {
        Failure::Lost(Lost::Denied { subject }) => problem(
            "this user may not ask how the log is",
            format!("give it the permission to publish to {subject}"),
        ),
        _ => problem(
            what,
            "start the servers that are missing: a majority of the log's replicas elects a leader",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ClusterInfo, StreamState};
    use crate::config::StreamConfig;
    use crate::health::Server;
    use crate::health::flush::Flush;
    use crate::settings::NatsSettings;
    use cim_store::FlushPolicy;

    fn current(name: &str) -> Replica {
        Replica {
            name: name.to_owned(),
            current: true,
            offline: false,
            active: 1_000_000,
            lag: 0,
        }
    }

    /// A cluster without a fault.
    fn well() -> Seen {
        let info = crate::api::StreamInfo {
            config: StreamConfig::of_log(&NatsSettings::default().with_replicas(3)),
            state: StreamState {
                messages: 10,
                bytes: 1_000,
                first_seq: 1,
                last_seq: 10,
                subjects: None,
            },
            cluster: Some(ClusterInfo {
                leader: Some("n0".to_owned()),
                replicas: vec![current("n1"), current("n2")],
            }),
            ts: None,
        };
        let log = LogSeen {
            info,
            round_trip: Duration::from_millis(1),
            ahead: Some(-300),
            differs: None,
        };
        Seen {
            connected: true,
            server: Server {
                name: "n1".to_owned(),
                version: "2.15.1".to_owned(),
                cluster: Some("test".to_owned()),
            },
            log: Ok(Some(log)),
            account: Ok(AccountInfo {
                storage: 1_000,
                streams: 1,
                limits: crate::api::AccountLimits { max_storage: 2_000 },
                api: crate::api::ApiLevel::default(),
            }),
            flush: Flush {
                policy: FlushPolicy::Verified,
                why: String::new(),
                advice: "",
                storage: Vec::new(),
            },
            payload_bytes: Limits::CONTRACT.payload_bytes,
        }
    }

    /// What is found once the log of a well cluster is changed.
    fn with_log(change: impl FnOnce(&mut LogSeen)) -> Vec<String> {
        with(|seen| {
            if let Ok(Some(log)) = &mut seen.log {
                change(log);
            }
        })
    }

    fn with(change: impl FnOnce(&mut Seen)) -> Vec<String> {
        let mut seen = well();
        change(&mut seen);
        shown(&seen)
    }

    fn shown(seen: &Seen) -> Vec<String> {
        let findings = of(seen);
        assert!(findings.iter().all(|found| !found.advice.is_empty()));
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_cluster_without_a_fault_has_no_findings() {
        assert_eq!(with(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn a_replica_that_is_away_is_a_problem_and_one_that_copies_a_warning() {
        let replicas = |replica: Replica| {
            with_log(|log| {
                if let Some(cluster) = &mut log.info.cluster {
                    cluster.replicas[1] = replica;
                }
            })
        };
        let behind = Replica {
            current: false,
            lag: 7,
            ..current("n2")
        };
        assert_eq!(
            replicas(behind.clone()),
            ["warning: replica n2 of the log is behind: it has 7 operations to copy"]
        );
        let silent = Replica {
            active: 12_000_000_000,
            ..behind.clone()
        };
        assert_eq!(
            replicas(silent.clone()),
            ["problem: replica n2 of the log has not been heard of for 12 s"]
        );
        // The leader still believes in it, but heartbeats come every second.
        let believed = Replica {
            current: true,
            ..silent
        };
        assert!(replicas(believed)[0].starts_with("problem: replica n2"));
        let offline = Replica {
            offline: true,
            ..behind
        };
        assert_eq!(
            replicas(offline),
            ["problem: replica n2 of the log is offline"]
        );
    }

    #[test]
    fn a_replica_that_nobody_names_is_missed() {
        let found = with_log(|log| {
            if let Some(cluster) = &mut log.info.cluster {
                cluster.replicas.pop();
            }
        });
        assert_eq!(
            found,
            ["problem: the log should have 3 replicas, and has 2"]
        );
    }

    #[test]
    fn a_log_without_a_leader_is_a_problem() {
        let found = with_log(|log| {
            if let Some(cluster) = &mut log.info.cluster {
                cluster.leader = None;
            }
        });
        assert_eq!(
            found,
            ["problem: the log has no leader, so nothing can be appended now"]
        );
    }

    #[test]
    fn one_replica_is_a_warning_in_a_cluster_and_nothing_without_one() {
        let alone = |seen: &mut Seen| {
            if let Ok(Some(log)) = &mut seen.log {
                log.info.config.num_replicas = 1;
                log.info.cluster = None;
            }
        };
        assert!(with(alone)[0].starts_with("warning: the servers are a cluster"));
        let found = with(|seen| {
            alone(seen);
            seen.server.cluster = None;
        });
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn holes_are_a_problem() {
        let found = with_log(|log| log.info.state.messages = 9);
        assert!(
            found[0].starts_with("problem: messages of the log are missing"),
            "{found:?}"
        );
    }

    #[test]
    fn a_sealed_or_forgetful_log_is_a_problem() {
        let sealed = with_log(|log| log.info.config.sealed = true);
        assert!(sealed[0].starts_with("problem: the JetStream stream is sealed"));
        let forgetful = with_log(|log| log.info.config.persist_mode = "async".to_owned());
        assert!(forgetful[0].starts_with("problem: the JetStream stream acknowledges before"));
    }

    #[test]
    fn clocks_may_differ_by_a_second() {
        assert_eq!(
            with_log(|log| log.ahead = Some(1_000_000)),
            Vec::<String>::new()
        );
        let found = with_log(|log| log.ahead = Some(-2_500_000));
        assert!(
            found[0].starts_with("warning: the server's clock is 2.5 s behind this machine's"),
            "{found:?}"
        );
    }

    #[test]
    fn an_older_server_is_a_warning() {
        let found = with(|seen| seen.server.version = "2.14.6".to_owned());
        assert!(
            found[0].starts_with("warning: the server has version 2.14.6"),
            "{found:?}"
        );
        let found = with(|seen| seen.server.version = "2.12.0".to_owned());
        assert!(
            found[0].starts_with("problem: the server has version 2.12.0"),
            "{found:?}"
        );
    }

    #[test]
    fn little_room_is_a_warning() {
        let found = with(|seen| {
            if let Ok(account) = &mut seen.account {
                account.storage = 1_800;
            }
        });
        assert_eq!(
            found,
            ["warning: the account has 1800 of the 2000 bytes that it may store"]
        );
        let found = with_log(|log| log.info.config.max_bytes = 1_100);
        assert_eq!(
            found,
            ["warning: the log has 1000 of the 1100 bytes that it may have"]
        );
    }

    #[test]
    fn unverified_flushing_and_small_messages_are_warnings() {
        let found = with(|seen| {
            seen.flush = Flush::not_asked();
            seen.payload_bytes = 830_000;
        });
        assert!(found[0].contains("a power cut may lose"), "{found:?}");
        assert!(found[1].contains("limited to 830000 bytes"), "{found:?}");
    }

    #[test]
    fn a_leader_that_does_not_answer_is_a_problem() {
        let found = with(|seen| {
            seen.log = Err(Failure::Lost(Lost::NoResponders {
                subject: "$JS.API.STREAM.INFO.X".to_owned(),
            }));
        });
        assert!(found[0].starts_with("problem: the leader of the log does not answer"));
    }

    #[test]
    fn a_server_that_is_full_is_a_problem_and_one_that_soon_will_be_a_warning() {
        let severity = |used, most| {
            full_server(&("n1".to_owned(), used, most)).map(|finding| finding.severity)
        };
        assert_eq!(severity(381_803, 204_800), Some(Severity::Problem));
        assert_eq!(severity(190, 200), Some(Severity::Warning));
        assert_eq!(severity(10, 200), None);
        assert_eq!(severity(10, 0), None, "without a limit");
    }
}
