//! What servers say of themselves: how they flush. Their monitoring pages tell everybody who can
//! reach them; over NATS they tell the users of the system account, and those to whom it exports
//! the question.
//!
//! Source: the NATS documentation, "Monitoring" (`/varz`) and "System Events" (the service
//! `$SYS.REQ.SERVER.PING.VARZ`).

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde::Deserialize;

use crate::budget::{Budget, within};
use crate::requests::{Lost, Requests};

/// Every server answers, each with a message of its own.
const ALL_SERVERS: &str = "$SYS.REQ.SERVER.PING.VARZ";
/// More servers than answer one question.
const MOST_SERVERS: usize = 1_000;
/// More than a server says of itself.
const LONGEST_PAGE: u64 = 4 << 20;

/// How one server flushes, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerFlush {
    pub(super) name: String,
    /// `None` where the server has no JetStream.
    pub(super) always: Option<bool>,
    /// Bytes that it stores for all accounts, and how many it may.
    pub(super) storage: (u64, i64),
}

/// Why a page could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {reason}")]
pub(super) struct PageError {
    url: String,
    reason: String,
}

#[derive(Deserialize)]
struct Varz {
    server_name: String,
    #[serde(default)]
    jetstream: JetStream,
}

#[derive(Default, Deserialize)]
struct JetStream {
    config: Option<Config>,
    #[serde(default)]
    stats: Stats,
}

#[derive(Default, Deserialize)]
struct Stats {
    #[serde(default)]
    storage: u64,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    sync_always: bool,
    #[serde(default)]
    max_storage: i64,
}

#[derive(Deserialize)]
struct Pong {
    data: Varz,
}

impl From<Varz> for ServerFlush {
    fn from(varz: Varz) -> Self {
        let config = varz.jetstream.config;
        let most = config.as_ref().map_or(0, |config| config.max_storage);
        Self {
            name: varz.server_name,
            always: config.map(|config| config.sync_always),
            storage: (varz.jetstream.stats.storage, most),
        }
    }
}

/// Reads the monitoring pages of all servers at once.
pub(super) async fn read_pages(urls: &str, budget: &Budget) -> Result<Vec<ServerFlush>, PageError> {
    let limit = budget.next_request();
    let pages = urls.split(',').map(str::trim).filter(|url| !url.is_empty());
    let pages = join_all(pages.map(|url| read_page(url, limit))).await;
    pages.into_iter().collect()
}

async fn read_page(url: &str, limit: Duration) -> Result<ServerFlush, PageError> {
    let bad = |reason: String| PageError {
        url: shown(url).to_owned(),
        reason,
    };
    if !url.starts_with("http://") {
        return Err(bad(
            "a monitoring page is named such as http://host:8222, without encryption".to_owned(),
        ));
    }
    let base = url.trim_end_matches('/');
    let base = base.strip_suffix("/varz").unwrap_or(base);
    let page = format!("{base}/varz");
    let reading = tokio::task::spawn_blocking(move || get(&page, limit));
    // The reader has the same limit, but not where a name is being resolved.
    match within(limit, reading).await {
        Some(Ok(Ok(text))) => read_varz(&text).map_err(bad),
        Some(Ok(Err(error))) => Err(bad(error.to_string())),
        Some(Err(error)) => Err(bad(error.to_string())),
        None => Err(bad(format!("no answer within {limit:?}"))),
    }
}

/// A page's body. Redirections are not followed: a server sends none.
fn get(url: &str, limit: Duration) -> Result<Vec<u8>, ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .max_redirects(0)
        .proxy(None)
        .build()
        .into();
    let mut answer = agent.get(url).call()?;
    answer
        .body_mut()
        .with_config()
        .limit(LONGEST_PAGE)
        .read_to_vec()
}

fn read_varz(text: &[u8]) -> Result<ServerFlush, String> {
    serde_json::from_slice::<Varz>(text)
        .map(ServerFlush::from)
        .map_err(|error| format!("it is not the page of a NATS server: {error}"))
}

/// A URL without the password that it may hold.
fn shown(url: &str) -> &str {
    let url = url.split(['?', '#']).next().unwrap_or(url);
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}

/// Asks all servers over NATS. Stops once every server of `wanted` has answered, else when nobody
/// else answers for a while.
pub(super) async fn ask_servers(
    requests: &Requests,
    wanted: &[String],
    budget: &Budget,
) -> Result<Vec<ServerFlush>, Lost> {
    let limit = budget.next_request();
    let mut answers = requests
        .send_for_many(ALL_SERVERS, Bytes::new(), MOST_SERVERS, limit)
        .await?;
    let mut servers: Vec<ServerFlush> = Vec::new();
    loop {
        let answer = match answers.next(budget.next_request()).await {
            Ok(answer) => answer,
            // Who did not answer by now is missing; who did counts.
            Err(Lost::TimedOut { .. }) if !servers.is_empty() => return Ok(servers),
            Err(lost) => return Err(lost),
        };
        if let Ok(pong) = serde_json::from_slice::<Pong>(&answer.payload) {
            servers.push(pong.data.into());
        }
        let has_answered = |name: &String| servers.iter().any(|server| server.name == *name);
        if !servers.is_empty() && wanted.iter().all(has_answered) {
            return Ok(servers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flush(name: &str, always: Option<bool>) -> ServerFlush {
        ServerFlush {
            name: name.to_owned(),
            always,
            storage: (0, 0),
        }
    }

    #[test]
    fn a_page_says_how_its_server_flushes() {
        let always = br#"{"server_name":"n0","version":"2.15.1","jetstream":{"config":{"sync_interval":120000000000,"sync_always":true},"stats":{}}}"#;
        assert_eq!(read_varz(always), Ok(flush("n0", Some(true))));
        let later =
            br#"{"server_name":"n0","jetstream":{"config":{"sync_interval":120000000000}}}"#;
        assert_eq!(read_varz(later), Ok(flush("n0", Some(false))));
        let without = br#"{"server_name":"n0","jetstream":{}}"#;
        assert_eq!(read_varz(without), Ok(flush("n0", None)));
    }

    #[test]
    fn another_page_is_not_taken_for_one() {
        let error = read_varz(b"<html></html>").unwrap_err();
        assert!(
            error.starts_with("it is not the page of a NATS server"),
            "{error}"
        );
        assert!(read_varz(b"{}").is_err());
    }

    #[tokio::test]
    async fn a_url_of_another_kind_is_refused_without_its_password() {
        let limit = Duration::from_secs(1);
        for url in [
            "https://u:secret@host:8222",
            "nats://u:secret@host:4222",
            "host:8222",
        ] {
            let error = read_page(url, limit).await.unwrap_err().to_string();
            assert!(error.contains("such as http://host:8222"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
