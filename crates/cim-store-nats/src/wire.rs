//! An event as a message: its payload as the body, all else about it as headers in the binary mode
//! of CloudEvents 1.0. `docs/format/nats-message.md` says every header.
//!
//! Sources: CloudEvents 1.0.2, "NATS Protocol Binding" (headers begin with `ce-`) and "HTTP
//! Protocol Binding", section 3.1.3.2 (percent-encoding of values).

mod decode;
mod encode;
pub(crate) mod percent;

pub(crate) use decode::{Arrived, commit_of, decode_event, examine_event};
pub(crate) use encode::{BatchPlace, Encoded, encode_event, guard};

/// The names of the headers.
pub(crate) mod header {
    pub(crate) const SPEC_VERSION: &str = "ce-specversion";
    pub(crate) const ID: &str = "ce-id";
    pub(crate) const SOURCE: &str = "ce-source";
    pub(crate) const SUBJECT: &str = "ce-subject";
    pub(crate) const TYPE: &str = "ce-type";
    pub(crate) const TIME: &str = "ce-time";
    /// Instead of the time, where RFC 3339 can't write it.
    pub(crate) const TIME_MICROS: &str = "ce-timemicros";
    pub(crate) const CONTENT_TYPE: &str = "content-type";
    pub(crate) const STREAM_VERSION: &str = "ce-streamversion";
    pub(crate) const SCHEMA_VERSION: &str = "ce-schemaversion";
    pub(crate) const COMMIT: &str = "ce-commitid";
    pub(crate) const COMMIT_INDEX: &str = "ce-commitindex";
    pub(crate) const COMMIT_COUNT: &str = "ce-commitcount";
    pub(crate) const CORRELATION: &str = "ce-correlationid";
    pub(crate) const CAUSATION: &str = "ce-causationid";
    pub(crate) const PRINCIPAL: &str = "ce-principal";
    pub(crate) const TRACE: &str = "ce-traceparent";
    pub(crate) const CID: &str = "ce-cid";
    pub(crate) const PREVIOUS: &str = "ce-previouscid";
    pub(crate) const METADATA: &str = "ce-metadata";
    /// `block` where the body is the event's whole block, because its metadata is larger than
    /// headers can be.
    pub(crate) const BODY: &str = "ce-body";

    pub(crate) const EXPECTED_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";
    pub(crate) const EXPECTED_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
    pub(crate) const BATCH_ID: &str = "Nats-Batch-Id";
    pub(crate) const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
    pub(crate) const BATCH_COMMIT: &str = "Nats-Batch-Commit";
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
