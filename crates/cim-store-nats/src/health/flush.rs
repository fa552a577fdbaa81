//! Whether the log's servers flush before they acknowledge.
//!
//! By default a server flushes every two minutes, so a power cut of all servers at once loses what
//! they acknowledged since. `sync_interval: always` flushes first. An ordinary user can't see which
//! one it is: only a server's monitoring page and the system account tell. So the policy counts as
//! verified only where every server that holds the log has said so itself.

use cim_store::FlushPolicy;

use super::monitor::{ServerFlush, ask_servers, read_pages};
use crate::api::StreamInfo;
use crate::budget::Budget;
use crate::requests::{Lost, Requests};

/// What is known of flushing, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flush {
    pub(crate) policy: FlushPolicy,
    /// A sentence without a full stop.
    pub(crate) why: String,
    /// What would make it verified.
    pub(crate) advice: &'static str,
    /// What each server that was heard stores, and may store, in bytes.
    pub(crate) storage: Vec<(String, u64, i64)>,
}

const NAME_PAGES: &str = "name the monitoring pages of all servers (`--monitor http://host:8222,…`, \
                          `NatsSettings::with_monitor_url`), or ask the user of a system account";
const FLUSH_ALWAYS: &str = "set `sync_interval: always` in the block `jetstream` of each server's \
                            configuration, and start the servers again one by one";

impl Flush {
    fn unverified(why: impl Into<String>, advice: &'static str) -> Self {
        Self {
            policy: FlushPolicy::Unverified,
            why: why.into(),
            advice,
            storage: Vec::new(),
        }
    }

    /// Nobody was asked.
    pub(crate) fn not_asked() -> Self {
        Self::unverified("no server was asked", NAME_PAGES)
    }

    fn with_storage(mut self, servers: &[ServerFlush]) -> Self {
        let storage = |server: &ServerFlush| {
            let (used, most) = server.storage;
            (server.name.clone(), used, most)
        };
        self.storage = servers.iter().map(storage).collect();
        self
    }

    pub(crate) fn is_verified(&self) -> bool {
        self.policy == FlushPolicy::Verified
    }
}

/// Asks the servers how they flush: their monitoring pages where those are known, else over NATS,
/// which only some users may.
pub(crate) async fn detect(
    monitor: Option<&str>,
    requests: &Requests,
    holders: &[String],
    budget: &Budget,
) -> Flush {
    let budget = budget.shortened();
    if let Some(urls) = monitor {
        return match read_pages(urls, &budget).await {
            Ok(servers) => judge(&servers, holders, "monitoring pages").with_storage(&servers),
            Err(error) => Flush::unverified(
                format!("a monitoring page can't be read: {error}"),
                "check the address, and that the server has `http_port: 8222`",
            ),
        };
    }
    match ask_servers(requests, holders, &budget).await {
        Ok(servers) => judge(&servers, holders, "system account").with_storage(&servers),
        Err(Lost::NoResponders { .. } | Lost::Denied { .. }) => Flush::unverified(
            "servers tell it only on their monitoring pages and to the system account",
            NAME_PAGES,
        ),
        Err(lost) => Flush::unverified(format!("the servers did not tell: {lost}"), NAME_PAGES),
    }
}

/// The names of the servers that hold a copy of the log. A server that is not part of a cluster
/// holds it itself.
pub(crate) fn holders(info: &StreamInfo, server: &str) -> Vec<String> {
    let cluster = info.cluster.as_ref();
    let leader = cluster.and_then(|cluster| cluster.leader.clone());
    let replicas = cluster.into_iter().flat_map(|cluster| &cluster.replicas);
    let mut names: Vec<String> = leader.into_iter().collect();
    names.extend(replicas.map(|replica| replica.name.clone()));
    if names.is_empty() {
        names.push(server.to_owned());
    }
    names
}

/// What servers that were asked say, for a log that these `holders` have.
fn judge(servers: &[ServerFlush], holders: &[String], asked: &str) -> Flush {
    let said = |name: &String| servers.iter().find(|server| server.name == *name);
    let named = |names: Vec<&String>| {
        let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
        names.join(", ")
    };
    let late: Vec<&String> = holders
        .iter()
        .filter(|name| said(name).is_some_and(|server| server.always != Some(true)))
        .collect();
    if !late.is_empty() {
        let why = format!(
            "these servers flush later than they acknowledge: {}",
            named(late)
        );
        return Flush::unverified(why, FLUSH_ALWAYS);
    }
    let silent: Vec<&String> = holders.iter().filter(|name| said(name).is_none()).collect();
    if !silent.is_empty() {
        let why = format!(
            "these servers hold the log and have not told ({asked}): {}",
            named(silent)
        );
        return Flush::unverified(why, NAME_PAGES);
    }
    Flush {
        policy: FlushPolicy::Verified,
        why: format!(
            "flushed before it is acknowledged ({asked}): {}",
            named(holders.iter().collect())
        ),
        advice: "nothing",
        storage: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(all: &[(&str, Option<bool>)]) -> Vec<ServerFlush> {
        let server = |(name, always): &(&str, Option<bool>)| ServerFlush {
            name: (*name).to_owned(),
            always: *always,
            storage: (0, 0),
        };
        all.iter().map(server).collect()
    }

    fn judged(all: &[(&str, Option<bool>)]) -> Flush {
        let holders = ["n0", "n1", "n2"].map(str::to_owned);
        judge(&servers(all), &holders, "monitoring pages")
    }

    #[test]
    fn it_is_verified_where_every_server_that_holds_the_log_says_always() {
        let flush = judged(&[
            ("n0", Some(true)),
            ("n1", Some(true)),
            ("n2", Some(true)),
            ("another", Some(false)),
        ]);
        assert!(flush.is_verified(), "{}", flush.why);
    }

    #[test]
    fn one_server_that_flushes_later_is_named() {
        let flush = judged(&[("n0", Some(true)), ("n1", Some(false)), ("n2", Some(true))]);
        assert!(!flush.is_verified());
        assert_eq!(
            flush.why,
            "these servers flush later than they acknowledge: n1"
        );
        assert_eq!(flush.advice, FLUSH_ALWAYS);
    }

    #[test]
    fn a_server_that_was_not_asked_is_named() {
        let flush = judged(&[("n0", Some(true))]);
        assert!(!flush.is_verified());
        assert!(flush.why.ends_with("n1, n2"), "{}", flush.why);
        assert_eq!(flush.advice, NAME_PAGES);
    }
}
