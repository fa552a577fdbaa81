//! Reads many messages with one request: a direct get of the last message of each of many subjects.
//! Every event has a subject of its own, so this gives events by their places.
//!
//! Any replica may answer, also one that is behind; whoever asks knows what must be there.

use std::fmt::Write as _;

use async_nats::{Message, Subject};
use bytes::Bytes;
use cim_store::{EventLogError, RecordedEvent, StreamId, Timestamp, Version};

use crate::api::{Failure, Refusal, direct};
use crate::budget::Budget;
use crate::requests::Lost;
use crate::session::Session;
use crate::subjects;
use crate::wire::{Arrived, decode_event};

use super::log_read::is_event;

/// About as many bytes as one request brings.
const PAGE_BYTES: usize = 8 << 20;

/// What a request brought.
#[derive(Debug)]
pub(crate) enum Page {
    /// Events in the order of the log; `more` of the same request were left out.
    Events {
        events: Vec<RecordedEvent>,
        more: bool,
    },
    /// More subjects match than one request can have.
    TooMany,
}

/// Reads all events of a stream, if they are few.
pub(crate) async fn whole_stream(
    session: &Session,
    stream: &StreamId,
    budget: &Budget,
) -> Result<Page, EventLogError> {
    let body = format!(
        "{{\"multi_last\":[\"{}\"],\"max_bytes\":{PAGE_BYTES}}}",
        subjects::stream(stream)
    );
    read(session, body, budget).await
}

/// Reads the events of a stream with the versions `from` to `to`, at most 500.
pub(crate) async fn slots(
    session: &Session,
    stream: &StreamId,
    (from, to): (Version, Version),
    budget: &Budget,
) -> Result<Page, EventLogError> {
    let mut body = String::from("{\"multi_last\":");
    subjects::write_slots(&mut body, stream, from, to);
    // Writing to a String can't fail.
    let _ = write!(body, ",\"max_bytes\":{PAGE_BYTES}}}");
    read(session, body, budget).await
}

/// Reads events from a position on: as many as stand next to each other there, at most `count`.
pub(crate) async fn positions(
    session: &Session,
    first: u64,
    count: u64,
    budget: &Budget,
) -> Result<Page, EventLogError> {
    let body = format!(
        "{{\"seq\":{first},\"next_by_subj\":\"{}\",\"batch\":{count},\"max_bytes\":{PAGE_BYTES}}}",
        subjects::EVENTS
    );
    read(session, body, budget).await
}

/// What a replica has at one position.
#[derive(Debug)]
pub(crate) enum One {
    Event(Box<RecordedEvent>),
    /// A message that is no event.
    Other,
    /// Nothing; the replica may be behind.
    Missing,
}

/// Reads the messages at some positions, which are asked for together. What is lost is asked for
/// again.
pub(crate) async fn messages(
    session: &Session,
    mut wanted: Vec<u64>,
    budget: &Budget,
) -> Result<Vec<(u64, One)>, EventLogError> {
    let subject = session
        .api
        .subject(&format!("DIRECT.GET.{}", session.log_stream()));
    let subject = Subject::from(subject);
    let mut found = Vec::with_capacity(wanted.len());
    let mut attempt = 0;
    loop {
        let body = |position: &u64| Bytes::from(format!("{{\"seq\":{position}}}"));
        let bodies = wanted.iter().map(body).collect();
        let limit = budget.next_request();
        let requests = &session.api.requests;
        let answers = requests.request_together(&subject, bodies, limit).await;
        let (mut again, mut temporary) = (Vec::new(), None);
        for (position, answer) in wanted.into_iter().zip(answers) {
            let failure = match answer.map(|message| one(&message, position)) {
                Ok(Ok(one)) => {
                    found.push((position, one?));
                    continue;
                }
                Ok(Err(failure)) => failure,
                Err(lost) => lost.into(),
            };
            if !failure.is_temporary() {
                return Err(session.report(failure, "reading events"));
            }
            again.push(position);
            temporary = Some(failure);
        }
        let Some(failure) = temporary else {
            return Ok(found);
        };
        attempt += 1;
        if !budget.pause(attempt).await {
            return Err(session.report(failure, "reading events"));
        }
        wanted = again;
    }
}

/// What the answer to a request for one message says.
fn one(message: &Message, position: u64) -> Result<Result<One, EventLogError>, Failure> {
    match message.status.map(|status| status.as_u16()) {
        None => {}
        Some(direct::NONE) => return Ok(Ok(One::Missing)),
        Some(code) => {
            return Err(Failure::Refused(Refusal {
                code,
                err_code: 0,
                description: message.description.clone().unwrap_or_default(),
            }));
        }
    }
    let Some(arrived) = arrived(message).filter(|arrived| arrived.sequence == position) else {
        return Err(Failure::Malformed {
            subject: message.subject.to_string(),
            reason: "a message without its place, or of another one".to_owned(),
        });
    };
    if !is_event(arrived.subject) {
        return Ok(Ok(One::Other));
    }
    let event = decode_event(arrived, &mut Vec::new());
    Ok(event.map(|event| One::Event(Box::new(event))))
}

async fn read(session: &Session, body: String, budget: &Budget) -> Result<Page, EventLogError> {
    let mut attempt = 0;
    loop {
        let failure = match request(session, body.clone(), budget).await {
            Ok(page) => return page,
            Err(failure) => failure,
        };
        attempt += 1;
        let temporary = matches!(&failure, Failure::Lost(lost) if lost.is_temporary());
        if !temporary || !budget.pause(attempt).await {
            return Err(session.report(failure, "reading events"));
        }
    }
}

async fn request(
    session: &Session,
    body: String,
    budget: &Budget,
) -> Result<Result<Page, EventLogError>, Failure> {
    let subject = session
        .api
        .subject(&format!("DIRECT.GET.{}", session.log_stream()));
    let limit = budget.next_request();
    let mut answers = session
        .api
        .requests
        .send_for_many(subject.clone(), body.into(), direct::MOST, limit)
        .await?;
    let mut events = Vec::new();
    let mut block = Vec::new();
    loop {
        let message = answers.next(budget.next_request()).await?;
        let Some(status) = message.status else {
            let Some(arrived) = arrived(&message) else {
                return Err(Failure::Malformed {
                    subject,
                    reason: "a message without its place".to_owned(),
                });
            };
            match decode_event(arrived, &mut block) {
                Ok(event) => events.push(event),
                Err(error) => return Ok(Err(error)),
            }
            continue;
        };
        return match status.as_u16() {
            direct::END => {
                let pending = header(&message, direct::PENDING)
                    .and_then(|pending| pending.parse::<u64>().ok());
                Ok(Ok(Page::Events {
                    events,
                    more: pending.is_some_and(|pending| pending > 0),
                }))
            }
            direct::NONE => Ok(Ok(Page::Events {
                events,
                more: false,
            })),
            direct::TOO_MANY => Ok(Ok(Page::TooMany)),
            code @ 503 => Err(Failure::Lost(Lost::NoResponders {
                subject: format!("{subject} ({code})"),
            })),
            code => Err(Failure::Refused(Refusal {
                code,
                err_code: 0,
                description: message.description.unwrap_or_default(),
            })),
        };
    }
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    let value = message.headers.as_ref()?.get(name)?;
    Some(value.as_str())
}

/// Names and values of a message's headers.
pub(crate) fn headers(message: &Message) -> impl Iterator<Item = (&str, &str)> {
    let headers = message.headers.iter().flat_map(async_nats::HeaderMap::iter);
    headers.flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        values.iter().map(move |value| (name, value.as_str()))
    })
}

fn arrived(message: &Message) -> Option<Arrived<'_, impl Iterator<Item = (&str, &str)>>> {
    let stored_at: Timestamp = header(message, direct::TIME)?.parse().ok()?;
    Some(Arrived {
        subject: header(message, direct::SUBJECT)?,
        sequence: header(message, direct::SEQUENCE)?.parse().ok()?,
        stored_at,
        headers: headers(message),
        payload: message.payload.clone(),
    })
}
