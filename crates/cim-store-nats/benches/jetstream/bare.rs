//! What is compared with: the same work written by hand on `async-nats`, with nothing that it does
//! not need.

use std::sync::Arc;

use async_nats::jetstream::{self, consumer::push::OrderedConfig};
use async_nats::{Client, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use cim_store::StreamId;
use cim_store_nats::NatsSettings;
use futures_util::StreamExt;
use tokio::sync::Mutex;

use crate::measure::Result;
use crate::workload::TYPE;

const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
const EXPECTED_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
/// How often a publish is tried again that the server could not decide on.
const TRIES: usize = 20;

/// Publishes guarded messages, one or a batch at a time.
#[derive(Clone)]
pub(crate) struct Publisher {
    client: Client,
    jetstream: jetstream::Context,
    /// The headers that every message has, whatever they say.
    headers: HeaderMap,
    /// The same without what guards.
    unguarded: HeaderMap,
    payload: Bytes,
    gate: Arc<Mutex<()>>,
}

impl Publisher {
    /// Whose messages have nothing but what guards them.
    pub(crate) fn guards_only(
        client: &Client,
        jetstream: &jetstream::Context,
        payload: &Bytes,
    ) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(EXPECTED, "0");
        Self {
            client: client.clone(),
            jetstream: jetstream.clone(),
            headers,
            unguarded: HeaderMap::new(),
            payload: payload.clone(),
            gate: Arc::default(),
        }
    }

    /// Whose messages have as many bytes as the adapter's: the headers are those of a message that
    /// it stored.
    pub(crate) fn same_bytes(&self, headers: HeaderMap) -> Self {
        let mut unguarded = HeaderMap::new();
        for (name, values) in headers.iter() {
            let name: &str = name.as_ref();
            if ![EXPECTED, EXPECTED_SUBJECT].contains(&name) {
                for value in values {
                    unguarded.append(name, value.clone());
                }
            }
        }
        Self {
            headers,
            unguarded,
            ..self.clone()
        }
    }

    fn subject(stream: &StreamId, version: u64) -> String {
        format!("cim.events.{stream}.{TYPE}.{version}")
    }

    fn slot(stream: &StreamId, version: u64) -> String {
        format!("cim.events.{stream}.*.{version}")
    }

    /// Publishes one message, guarded, and waits until it is stored.
    pub(crate) async fn publish(&self, stream: &StreamId, version: u64) -> Result<()> {
        let mut tries = 0;
        loop {
            let mut headers = self.headers.clone();
            headers.insert(EXPECTED_SUBJECT, Self::slot(stream, version));
            let subject = Self::subject(stream, version);
            let sent = self
                .jetstream
                .publish_with_headers(subject, headers, self.payload.clone());
            match sent.await?.await {
                Ok(_) => return Ok(()),
                // A cluster is still deciding on somebody else's.
                Err(error) if undecided(&error) && tries < TRIES => tries += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Publishes an atomic batch, guarded on its first message, and waits until it is stored.
    pub(crate) async fn publish_batch(
        &self,
        stream: &StreamId,
        first: u64,
        count: u64,
    ) -> Result<()> {
        let mut tries = 0;
        loop {
            let id = format!("{}-{first}-{tries}", stream.id());
            let gate = self.gate.lock().await;
            for number in 1..count {
                let mut headers = self.batched(&id, number);
                if number == 1 {
                    headers.insert(EXPECTED_SUBJECT, Self::slot(stream, first));
                }
                let subject = Self::subject(stream, first + number - 1);
                self.client
                    .publish_with_headers(subject, headers, self.payload.clone())
                    .await?;
            }
            let mut headers = self.batched(&id, count);
            headers.insert("Nats-Batch-Commit", "1");
            let subject = Self::subject(stream, first + count - 1);
            let sent = self
                .jetstream
                .publish_with_headers(subject, headers, self.payload.clone())
                .await?;
            drop(gate);
            match sent.await {
                Ok(_) => return Ok(()),
                Err(error) if undecided(&error) && tries < TRIES => tries += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn batched(&self, id: &str, number: u64) -> HeaderMap {
        let headers = if number == 1 {
            &self.headers
        } else {
            &self.unguarded
        };
        let mut headers = headers.clone();
        headers.insert("Nats-Batch-Id", id);
        headers.insert("Nats-Batch-Sequence", number.to_string());
        headers
    }
}

/// Whether the same may be taken a moment later: 10164, and what batches that are open bring.
fn undecided(error: &jetstream::context::PublishError) -> bool {
    let source = std::error::Error::source(error);
    let refused = source.and_then(|source| source.downcast_ref::<jetstream::Error>());
    refused.is_some_and(|refused| matches!(refused.error_code().0, 10_164 | 10_176 | 10_210))
}

/// The headers of the message at this place of the log.
pub(crate) async fn headers_of(jetstream: &jetstream::Context, sequence: u64) -> Result<HeaderMap> {
    let stream = jetstream.get_stream(NatsSettings::STREAM).await?;
    Ok(stream.get_raw_message(sequence).await?.headers)
}

/// Gets many messages with one request, over one subscription for all answers.
pub(crate) struct Getter {
    client: Client,
    inbox: String,
    answers: Subscriber,
    subject: String,
}

impl Getter {
    pub(crate) async fn new(client: &Client) -> Result<Self> {
        let inbox = client.new_inbox();
        Ok(Self {
            answers: client.subscribe(inbox.clone()).await?,
            client: client.clone(),
            inbox,
            subject: format!("$JS.API.DIRECT.GET.{}", NatsSettings::STREAM),
        })
    }

    /// The last messages of all subjects of a stream.
    pub(crate) async fn multi_last(&mut self, stream: &StreamId) -> Result<Vec<Message>> {
        let body = format!(r#"{{"multi_last":["cim.events.{stream}.>"]}}"#);
        self.client
            .publish_with_reply(self.subject.clone(), self.inbox.clone(), body.into())
            .await?;
        let mut messages = Vec::new();
        while let Some(message) = self.answers.next().await {
            match message.status.map(|status| status.as_u16()) {
                None => messages.push(message),
                Some(204) => return Ok(messages),
                Some(status) => return Err(format!("the server answers {status}").into()),
            }
        }
        Err("the subscription ended".into())
    }
}

/// Reads the first `count` messages of the log through an ordered push consumer. Says how many bytes
/// they carry.
pub(crate) async fn read_log(
    client: &Client,
    jetstream: &jetstream::Context,
    count: u64,
) -> Result<u64> {
    let stream = jetstream.get_stream(NatsSettings::STREAM).await?;
    let consumer = stream
        .create_consumer(OrderedConfig {
            deliver_subject: client.new_inbox(),
            filter_subject: "cim.events.>".to_owned(),
            ..OrderedConfig::default()
        })
        .await?;
    let mut messages = consumer.messages().await?;
    let mut bytes = 0;
    for _ in 0..count {
        let message = messages.next().await.ok_or("the consumer ended")??;
        bytes += message.payload.len() as u64;
    }
    Ok(bytes)
}
