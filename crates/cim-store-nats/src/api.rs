//! The JetStream API, as far as the adapter needs it: JSON requests on `$JS.API.…`, retried while
//! a server is away, with its refusals as data.
//!
//! Source: the NATS documentation, "JetStream wire API reference", and the architecture decisions
//! ADR-31 (direct get), ADR-43 (message TTL) and ADR-50 (atomic batches).

use std::fmt;
use std::time::Duration;

use async_nats::Message;
use bytes::Bytes;
use cim_store::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::config::StreamConfig;
use crate::requests::{Lost, Requests};

/// "no message found" of a read by sequence or subject.
pub(crate) const NO_MESSAGE: u32 = 10_037;
/// "stream not found".
pub(crate) const NO_STREAM: u32 = 10_059;
/// "wrong last sequence": a guard does not hold.
pub(crate) const WRONG_LAST_SEQUENCE: u32 = 10_071;
/// The same for a guard that is being decided on just now, so nothing is known yet.
pub(crate) const WRONG_LAST_SEQUENCE_UNDECIDED: u32 = 10_164;

/// What a server refuses, in its words.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("{description} (JetStream error {err_code})")]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    #[serde(default)]
    pub(crate) err_code: u32,
    #[serde(default)]
    pub(crate) description: String,
}

/// Why a call has no result.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Lost(#[from] Lost),
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Messages that were there are not.
    #[error("{stream} had messages up to {known}, and now has them up to {last}")]
    RolledBack {
        stream: String,
        known: u64,
        last: u64,
    },
    /// What came back can't be understood.
    #[error("the server's answer to {subject} can't be read: {reason}")]
    Malformed { subject: String, reason: String },
}

impl Refusal {
    /// What this process refuses in the server's place: it would have no room either.
    pub(crate) fn busy(description: &str) -> Self {
        Self {
            code: 429,
            err_code: 0,
            description: description.to_owned(),
        }
    }
}

impl Failure {
    /// Whether the server refused with this error.
    pub(crate) fn is(&self, err_code: u32) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.err_code == err_code)
    }

    /// Whether trying again can help.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Lost(lost) => lost.is_temporary(),
            // 503: no leader, no quorum or no resources at the moment.
            Self::Refused(refusal) => refusal.code == 503 && refusal.err_code != 10_039,
            Self::RolledBack { .. } | Self::Malformed { .. } => false,
        }
    }
}

#[derive(Deserialize)]
struct Refused {
    error: Refusal,
}

/// Calls the API of one JetStream domain.
pub(crate) struct Api {
    pub(crate) requests: Requests,
    prefix: String,
}

/// A message as JetStream keeps it, read through its leader.
#[derive(Clone, Debug)]
pub(crate) struct StoredMessage {
    pub(crate) subject: String,
    pub(crate) sequence: u64,
    pub(crate) stored_at: Timestamp,
    /// The header block, as it was published.
    pub(crate) headers: String,
    pub(crate) payload: Bytes,
}

impl StoredMessage {
    /// Names and values of the headers.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name, value.trim_start()))
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers()
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }
}

#[derive(Deserialize)]
struct GetResponse {
    message: RawMessage,
}

#[derive(Deserialize)]
struct RawMessage {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    time: String,
}

/// Which message to get.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Get<'a> {
    /// The one with this sequence.
    Sequence { seq: u64 },
    /// The last one whose subject matches.
    Last { last_by_subj: &'a str },
    /// The first one from this sequence on whose subject matches.
    Next { seq: u64, next_by_subj: &'a str },
}

/// What a server says of a JetStream stream.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StreamInfo {
    pub(crate) config: StreamConfig,
    pub(crate) state: StreamState,
    #[serde(default)]
    pub(crate) cluster: Option<ClusterInfo>,
    /// The server's time.
    #[serde(default)]
    pub(crate) ts: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StreamState {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    #[serde(default)]
    pub(crate) subjects: Option<std::collections::BTreeMap<String, u64>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ClusterInfo {
    #[serde(default)]
    pub(crate) leader: Option<String>,
    #[serde(default)]
    pub(crate) replicas: Vec<Replica>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Replica {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) current: bool,
    #[serde(default)]
    pub(crate) offline: bool,
    /// Nanoseconds since the leader heard of it last; 0 where it never did.
    #[serde(default)]
    pub(crate) active: u64,
    #[serde(default)]
    pub(crate) lag: u64,
}

/// What a server says of an account.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AccountInfo {
    #[serde(default)]
    pub(crate) storage: u64,
    #[serde(default)]
    pub(crate) streams: u64,
    #[serde(default)]
    pub(crate) limits: AccountLimits,
    #[serde(default)]
    pub(crate) api: ApiLevel,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct AccountLimits {
    #[serde(default)]
    pub(crate) max_storage: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ApiLevel {
    #[serde(default)]
    pub(crate) level: u32,
}

impl Api {
    pub(crate) fn new(requests: Requests, domain: Option<&str>) -> Self {
        let prefix = match domain {
            Some(domain) => format!("$JS.{domain}.API"),
            None => "$JS.API".to_owned(),
        };
        Self { requests, prefix }
    }

    /// The subject of a call.
    pub(crate) fn subject(&self, call: &str) -> String {
        format!("{}.{call}", self.prefix)
    }

    /// Makes a call that changes nothing when it is repeated, again and again while a server is
    /// away and there is time.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        call: &str,
        body: &impl Serialize,
        budget: &Budget,
    ) -> Result<T, Failure> {
        let subject = self.subject(call);
        let malformed = |reason: serde_json::Error| Failure::Malformed {
            subject: subject.clone(),
            reason: reason.to_string(),
        };
        let body: Bytes = serde_json::to_vec(body).map_err(malformed)?.into();
        let mut attempt = 0;
        let mut before = None;
        loop {
            let limit = budget.next_request();
            let answer = self
                .requests
                .request(subject.clone(), None, body.clone(), limit)
                .await;
            let failure = match answer {
                Ok(message) => match read_answer(&message.payload) {
                    Ok(Ok(value)) => return Ok(value),
                    Ok(Err(refusal)) => refusal.into(),
                    Err(error) => malformed(error),
                },
                Err(lost) => lost.into(),
            };
            attempt += 1;
            if !failure.is_temporary() || !budget.pause(attempt).await {
                // An attempt for which little time was left says less than the one before it.
                let cut_short = matches!(failure, Failure::Lost(Lost::TimedOut { .. }));
                return Err(before.filter(|_| cut_short).unwrap_or(failure));
            }
            before = Some(failure);
        }
    }

    /// Gets one message through the leader, so that it is the newest; `None` where there is none.
    pub(crate) async fn get(
        &self,
        stream: &str,
        get: &Get<'_>,
        budget: &Budget,
    ) -> Result<Option<StoredMessage>, Failure> {
        let call = format!("STREAM.MSG.GET.{stream}");
        let response: GetResponse = match self.call(&call, get, budget).await {
            Ok(response) => response,
            Err(failure) if failure.is(NO_MESSAGE) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let raw = response.message;
        let malformed = |reason: String| Failure::Malformed {
            subject: call.clone(),
            reason,
        };
        let decode = |text: &str| {
            data_encoding::BASE64
                .decode(text.as_bytes())
                .map_err(|error| malformed(error.to_string()))
        };
        // Nothing of the log's own has other bytes; what has is seen where it is read.
        let headers = String::from_utf8_lossy(&decode(&raw.hdrs)?).into_owned();
        Ok(Some(StoredMessage {
            sequence: raw.seq,
            stored_at: raw.time.parse().map_err(|_| malformed(raw.time.clone()))?,
            headers,
            payload: decode(&raw.data)?.into(),
            subject: raw.subject,
        }))
    }

    /// What the leader says of a JetStream stream; `None` where there is none.
    pub(crate) async fn stream_info(
        &self,
        stream: &str,
        budget: &Budget,
    ) -> Result<Option<StreamInfo>, Failure> {
        let call = format!("STREAM.INFO.{stream}");
        match self.call(&call, &serde_json::json!({}), budget).await {
            Ok(info) => Ok(Some(info)),
            Err(failure) if failure.is(NO_STREAM) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// A page of the subjects that match, from the leader: those after the first `offset`.
    pub(crate) async fn subjects(
        &self,
        stream: &str,
        filter: &str,
        offset: usize,
        budget: &Budget,
    ) -> Result<Vec<String>, Failure> {
        let call = format!("STREAM.INFO.{stream}");
        let body = serde_json::json!({ "subjects_filter": filter, "offset": offset });
        let info: StreamInfo = self.call(&call, &body, budget).await?;
        let subjects = info.state.subjects.unwrap_or_default();
        Ok(subjects.into_keys().collect())
    }

    /// What the server says of the account.
    pub(crate) async fn account(&self, budget: &Budget) -> Result<AccountInfo, Failure> {
        self.call("INFO", &serde_json::json!({}), budget).await
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("prefix", &self.prefix)
            .field("requests", &self.requests)
            .finish()
    }
}

fn read_answer<T: DeserializeOwned>(
    payload: &[u8],
) -> Result<Result<T, Refusal>, serde_json::Error> {
    // A refusal has an `error`, which no result has. Most answers have no such word in them, and
    // are read but once.
    let may_be_refusal = payload.windows(7).any(|word| word == b"\"error\"");
    if may_be_refusal && let Ok(refused) = serde_json::from_slice::<Refused>(payload) {
        return Ok(Err(refused.error));
    }
    serde_json::from_slice(payload).map(Ok)
}

/// The acknowledgement of a publish.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PublishAck {
    pub(crate) seq: u64,
    #[serde(default)]
    pub(crate) duplicate: bool,
    /// How many messages the batch had; 0 for a single one.
    #[serde(default)]
    pub(crate) count: u64,
}

/// Reads the answer to a publish.
pub(crate) fn read_ack(message: &Message) -> Result<PublishAck, Failure> {
    match read_answer(&message.payload) {
        Ok(answer) => answer.map_err(Failure::Refused),
        Err(error) => Err(Failure::Malformed {
            subject: message.subject.to_string(),
            reason: error.to_string(),
        }),
    }
}

/// What a direct get says in the headers of its answers.
pub(crate) mod direct {
    pub(crate) const SUBJECT: &str = "Nats-Subject";
    pub(crate) const SEQUENCE: &str = "Nats-Sequence";
    pub(crate) const TIME: &str = "Nats-Time-Stamp";
    pub(crate) const PENDING: &str = "Nats-Num-Pending";
    /// The status of the message that ends the answers.
    pub(crate) const END: u16 = 204;
    pub(crate) const NONE: u16 = 404;
    pub(crate) const TOO_MANY: u16 = 413;
    /// More answers to one request than a server sends.
    pub(crate) const MOST: usize = 1_100;
}

/// Nanoseconds, as the API counts durations.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_from_a_result() {
        let refused = br#"{"type":"io.nats.jetstream.api.v1.stream_info_response","error":{"code":404,"err_code":10059,"description":"stream not found"}}"#;
        let answer: Result<PublishAck, Refusal> = read_answer(refused).unwrap();
        assert_eq!(answer.unwrap_err().err_code, NO_STREAM);
        let stored = br#"{"stream":"EVENTS","seq":12,"batch":"b","count":3}"#;
        let answer: Result<PublishAck, Refusal> = read_answer(stored).unwrap();
        assert_eq!(answer.map(|ack| (ack.seq, ack.count)), Ok((12, 3)));
    }

    #[test]
    fn a_server_that_is_away_is_asked_again_and_one_that_refuses_is_not() {
        let refused = |code, err_code| {
            Failure::Refused(Refusal {
                code,
                err_code,
                description: String::new(),
            })
        };
        assert!(refused(503, 10_008).is_temporary());
        assert!(
            !refused(503, 10_039).is_temporary(),
            "JetStream is not enabled"
        );
        assert!(!refused(404, NO_STREAM).is_temporary());
    }

    #[test]
    fn headers_are_read_line_by_line() {
        let message = StoredMessage {
            subject: String::new(),
            sequence: 1,
            stored_at: Timestamp::EPOCH,
            headers: "NATS/1.0\r\nce-type: placed\r\ncontent-type:text/plain\r\n\r\n".to_owned(),
            payload: Bytes::new(),
        };
        assert_eq!(message.header("ce-type"), Some("placed"));
        assert_eq!(message.header("content-type"), Some("text/plain"));
        assert_eq!(message.header("NATS/1.0"), None);
    }
}
