//! What is too large is refused with a typed error before anything is stored.

use cim_store::{
    Append, ContentType, EventType, ExpectedVersion, LimitName, Limits, Metadata, NewEvent,
    StreamId, Version,
};

use crate::suite::{CaseFailure, CaseResult};
use crate::trial::{Trial, event, events, stream, too_large, v};

pub(crate) const CONTRACT: &str = "7. Limits";

const MAX: Limits = Limits::CONTRACT;

fn bytes(count: usize) -> Result<NewEvent, CaseFailure> {
    Ok(NewEvent::new(
        EventType::new("blob")?,
        ContentType::BYTES,
        vec![0xA5; count],
    ))
}

/// That the commit is too large for this limit, also behind a sound write, and stores nothing.
async fn is_refused(t: &Trial, events: Vec<NewEvent>, limit: LimitName) -> CaseResult {
    let alone = t.append(&stream("a"), v(0), events.clone()).await;
    too_large(alone, limit);
    let sound = bytes(1)?;
    let with_others =
        Append::new()
            .write(stream("b"), v(0), vec![sound])
            .write(stream("a"), v(0), events);
    too_large(t.log.append(&t.ctx, with_others).await, limit);
    assert_eq!(t.all_events().await?.len(), 0);
    assert_eq!(t.log.head(&t.ctx, &stream("b")).await?, None);
    Ok(())
}

pub(crate) async fn every_store_has_the_contracts_limits(t: Trial) -> CaseResult {
    assert_eq!(t.log.capabilities().limits, MAX);
    Ok(())
}

pub(crate) async fn the_largest_payload_is_stored(t: Trial) -> CaseResult {
    let largest = bytes(MAX.payload_bytes)?;
    let payload = largest.payload.clone();
    t.append(&stream("a"), v(0), vec![largest]).await?;
    let read = t.events(&stream("a")).await?;
    assert!(read[0].payload == payload, "the payload came back changed");
    assert!(read[0].has_its_cid());
    Ok(())
}

pub(crate) async fn a_payload_of_one_byte_more_is_too_large(t: Trial) -> CaseResult {
    let larger = bytes(MAX.payload_bytes + 1)?;
    is_refused(&t, vec![larger], LimitName::PayloadBytes).await
}

/// Metadata of exactly this encoded size.
fn metadata(size: usize) -> Result<Metadata, CaseFailure> {
    let overhead = Metadata::from_pairs([("k", "x".repeat(size))])?.encoded_len() - size;
    let metadata = Metadata::from_pairs([("k", "x".repeat(size - overhead))])?;
    // The length's own encoding can be shorter for the shorter text.
    let missing = size - metadata.encoded_len();
    let metadata = Metadata::from_pairs([("k", "x".repeat(size - overhead + missing))])?;
    assert_eq!(metadata.encoded_len(), size);
    Ok(metadata)
}

pub(crate) async fn the_largest_metadata_is_stored(t: Trial) -> CaseResult {
    let largest = metadata(MAX.metadata_bytes)?;
    let event = event(1).with_metadata(largest.clone());
    t.append(&stream("a"), v(0), vec![event]).await?;
    assert!(t.events(&stream("a")).await?[0].metadata == largest);
    Ok(())
}

pub(crate) async fn metadata_of_one_byte_more_is_too_large(t: Trial) -> CaseResult {
    let event = event(1).with_metadata(metadata(MAX.metadata_bytes + 1)?);
    is_refused(&t, vec![event], LimitName::MetadataBytes).await
}

pub(crate) async fn a_commit_of_one_event_more_is_too_large(t: Trial) -> CaseResult {
    let many = events(MAX.commit_events as u64 + 1);
    is_refused(&t, many, LimitName::CommitEvents).await?;
    // The events of all streams count together.
    let append =
        Append::new()
            .write(stream("a"), v(0), events(500))
            .write(stream("b"), v(0), events(501));
    too_large(t.log.append(&t.ctx, append).await, LimitName::CommitEvents);
    assert_eq!(t.all_events().await?.len(), 0);
    Ok(())
}

pub(crate) async fn the_largest_commit_in_bytes_is_stored(t: Trial) -> CaseResult {
    let count = MAX.commit_bytes / MAX.payload_bytes;
    let many = vec![bytes(MAX.payload_bytes)?; count];
    t.append(&stream("a"), v(0), many).await?;
    let read = t.events(&stream("a")).await?;
    assert_eq!(read.len(), count);
    assert!(read.iter().all(|e| e.payload.len() == MAX.payload_bytes));
    Ok(())
}

pub(crate) async fn a_commit_of_one_byte_more_is_too_large(t: Trial) -> CaseResult {
    let count = MAX.commit_bytes / MAX.payload_bytes;
    let mut many = vec![bytes(MAX.payload_bytes)?; count];
    many.push(bytes(1)?);
    is_refused(&t, many, LimitName::CommitBytes).await
}

pub(crate) async fn a_commit_with_one_stream_more_is_too_large(t: Trial) -> CaseResult {
    let mut append = Append::new().write(stream("a"), v(0), events(1));
    for n in 0..MAX.commit_streams {
        append = append.check(stream(&format!("c{n}")), Version::NONE);
    }
    too_large(t.log.append(&t.ctx, append).await, LimitName::CommitStreams);
    assert_eq!(t.all_events().await?.len(), 0);
    Ok(())
}

/// The longest name of a stream.
fn longest_stream() -> Result<StreamId, CaseFailure> {
    let id = "x".repeat(StreamId::MAX_BYTES - "test.thing.".len());
    Ok(StreamId::new("test", "thing", &id)?)
}

/// Bytes of a subject beside the longest stream and the type: the rest of its words, the dots and
/// the twenty digits of the largest version.
const AROUND: usize = "cim.events...".len() + 20;

pub(crate) async fn the_longest_subject_is_stored(t: Trial) -> CaseResult {
    let id = longest_stream()?;
    let name = "t".repeat(MAX.subject_bytes - AROUND - StreamId::MAX_BYTES);
    let event = crate::trial::typed(&name, 1);
    t.append(&id, v(0), vec![event]).await?;
    let read = t.events(&id).await?;
    assert_eq!(read[0].event_type.as_str(), name);
    assert!(read[0].subject().is_ok());
    Ok(())
}

pub(crate) async fn a_subject_of_one_byte_more_is_too_large(t: Trial) -> CaseResult {
    let room = MAX.subject_bytes - AROUND - StreamId::MAX_BYTES;
    // The second name is short, but each of its letters takes three bytes.
    for name in ["t".repeat(room + 1), " ".repeat(room / 3 + 1)] {
        let event = crate::trial::typed(&name, 1);
        let id = longest_stream()?;
        let refused = t.append(&id, ExpectedVersion::Any, vec![event]).await;
        too_large(refused, LimitName::SubjectBytes);
        assert_eq!(t.version(&id).await?, 0);
    }
    Ok(())
}

/// A JSON payload of so many levels.
fn nested(levels: usize, content_type: ContentType) -> Result<NewEvent, CaseFailure> {
    let payload = "[".repeat(levels) + &"]".repeat(levels);
    Ok(NewEvent::new(
        EventType::new("nested")?,
        content_type,
        payload,
    ))
}

pub(crate) async fn the_deepest_payload_is_stored(t: Trial) -> CaseResult {
    let deepest = nested(MAX.nesting, ContentType::JSON)?;
    let not_json = nested(MAX.nesting + 1, ContentType::BYTES)?;
    t.append(&stream("a"), v(0), vec![deepest, not_json])
        .await?;
    assert_eq!(t.version(&stream("a")).await?, 2);
    Ok(())
}

pub(crate) async fn a_payload_of_one_level_more_is_too_large(t: Trial) -> CaseResult {
    let deeper = nested(MAX.nesting + 1, ContentType::JSON)?;
    is_refused(&t, vec![deeper], LimitName::Nesting).await?;
    let vendor = ContentType::new("application/vnd.acme+json")?;
    let deeper = nested(MAX.nesting + 1, vendor)?;
    is_refused(&t, vec![deeper], LimitName::Nesting).await
}

pub(crate) async fn what_was_too_large_can_be_appended_smaller(t: Trial) -> CaseResult {
    let id = cim_store::CommitId::from_bytes([3; 16]);
    let append = |count| -> Result<Append, CaseFailure> {
        let events = vec![bytes(count)?];
        Ok(Append::new()
            .with_commit_id(id)
            .write(stream("a"), v(0), events))
    };
    let larger = append(MAX.payload_bytes + 1)?;
    too_large(t.log.append(&t.ctx, larger).await, LimitName::PayloadBytes);
    t.log.append(&t.ctx, append(10)?).await?;
    assert_eq!(t.version(&stream("a")).await?, 1);
    Ok(())
}
