//! What is stored of an event is what was given.

use cim_store::{
    Append, CausationId, ContentType, Context, CorrelationId, EventId, EventType, ExpectedVersion,
    Metadata, NewEvent, Principal, SchemaVersion, StreamId, Timestamp, TraceParent, Version,
};

use crate::suite::CaseResult;
use crate::trial::{START, Trial, event, events, stream, v};

pub(crate) const CONTRACT: &str = "3. What is stored is what was given";

pub(crate) async fn every_part_of_an_event_comes_back(t: Trial) -> CaseResult {
    let a = stream("a");
    let metadata = Metadata::from_pairs([("tenant", "acme"), ("ip", "10.0.0.1"), ("", "empty")])?;
    let given = NewEvent::new(
        EventType::new("order_placed")?,
        ContentType::new("application/x-thing; version=2")?,
        vec![0_u8, 255, 1, 254],
    )
    .with_id(EventId::from_bytes([5; 16]))
    .with_time(Timestamp::from_micros(-12_345_678))
    .with_schema_version(SchemaVersion::new(7).ok_or("7 is not 0")?)
    .with_metadata(metadata)
    .with_correlation_id(CorrelationId::from_bytes([6; 16]))
    .with_causation_id(CausationId::from_bytes([7; 16]));
    t.append(&a, v(0), vec![given.clone()]).await?;
    for read in [t.events(&a).await?, t.all_events().await?] {
        let [event] = &read[..] else {
            return Err(format!("{} events instead of one", read.len()).into());
        };
        assert_eq!(event.stream, a);
        assert_eq!(Some(event.id), given.id);
        assert_eq!(event.event_type, given.event_type);
        assert_eq!(event.schema_version, given.schema_version);
        assert_eq!(Some(event.time), given.time);
        assert_eq!(event.content_type, given.content_type);
        assert_eq!(event.payload, given.payload);
        assert_eq!(event.metadata, given.metadata);
        assert_eq!(event.correlation_id, given.correlation_id);
        assert_eq!(event.causation_id, given.causation_id);
        assert_eq!(event.principal, None);
        assert_eq!(event.trace, None);
    }
    Ok(())
}

pub(crate) async fn what_an_event_lacks_is_filled_in(t: Trial) -> CaseResult {
    let a = stream("a");
    t.append(&a, v(0), events(3)).await?;
    let read = t.events(&a).await?;
    for (n, event) in read.iter().enumerate() {
        assert_eq!(event.time, START);
        assert_eq!(event.schema_version, SchemaVersion::FIRST);
        assert!(event.metadata.is_empty());
        assert_eq!(event.correlation_id, None);
        assert!(read[..n].iter().all(|other| other.id != event.id));
    }
    Ok(())
}

pub(crate) async fn the_context_is_recorded_with_the_event(t: Trial) -> CaseResult {
    let a = stream("a");
    let ctx = Context::new()
        .with_principal(Principal::new("anna@example.org")?)
        .with_correlation_id(CorrelationId::from_bytes([1; 16]))
        .with_causation_id(CausationId::from_bytes([2; 16]))
        .with_trace(TraceParent::new(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        )?);
    let append = Append::new().write(a.clone(), v(0), events(1));
    t.log.append(&ctx, append).await?;
    let read = t.events(&a).await?;
    assert_eq!(read[0].principal.as_ref(), ctx.principal());
    assert_eq!(read[0].correlation_id, ctx.correlation_id());
    assert_eq!(read[0].causation_id, ctx.causation_id());
    assert_eq!(read[0].trace.as_ref(), ctx.trace());
    Ok(())
}

pub(crate) async fn the_events_own_correlation_overrides_the_contexts(t: Trial) -> CaseResult {
    let a = stream("a");
    let ctx = Context::new()
        .with_correlation_id(CorrelationId::from_bytes([1; 16]))
        .with_causation_id(CausationId::from_bytes([2; 16]));
    let own = event(1)
        .with_correlation_id(CorrelationId::from_bytes([3; 16]))
        .with_causation_id(CausationId::from_bytes([4; 16]));
    let append = Append::new().write(a.clone(), v(0), vec![own, event(2)]);
    t.log.append(&ctx, append).await?;
    let read = t.events(&a).await?;
    let bytes = |n: usize| {
        (
            read[n].correlation_id.map(|id| id.as_bytes()[0]),
            read[n].causation_id.map(|id| id.as_bytes()[0]),
        )
    };
    assert_eq!(bytes(0), (Some(3), Some(4)));
    assert_eq!(bytes(1), (Some(1), Some(2)));
    Ok(())
}

pub(crate) async fn any_text_can_be_an_id(t: Trial) -> CaseResult {
    let ids = [
        "a b",
        "a.b",
        "a*b",
        ">",
        "=",
        "=2E",
        "é",
        "日本語",
        "🦀",
        "\u{0}",
        "\n",
        "A",
        "a",
        "/",
        "..",
        "%2E",
        "\"",
        "\\",
    ];
    for (n, id) in (0..).zip(ids) {
        let id = StreamId::new("a context", "an aggregate", id)?;
        t.append(&id, Version::NONE, vec![event(n)]).await?;
    }
    for (n, id) in (0..).zip(ids) {
        let read = t
            .events(&StreamId::new("a context", "an aggregate", id)?)
            .await?;
        assert_eq!(read.len(), 1, "{id:?}");
        assert_eq!(crate::trial::number(&read[0])?, n, "{id:?}");
        assert_eq!(read[0].stream.decoded_id(), id);
    }
    Ok(())
}

pub(crate) async fn any_printable_text_can_be_an_event_type(t: Trial) -> CaseResult {
    let a = stream("a");
    let types = ["order placed", "Ordre créé", "a.b", "*", ">", "=", "注文"];
    for (n, name) in (0..).zip(types) {
        let event = crate::trial::typed(name, n);
        t.append(&a, ExpectedVersion::Any, vec![event]).await?;
    }
    let read = t.events(&a).await?;
    let found: Vec<_> = read.iter().map(|e| e.event_type.as_str()).collect();
    assert_eq!(found, types);
    assert!(read.iter().all(|e| e.subject().is_ok() && e.has_its_cid()));
    Ok(())
}

pub(crate) async fn metadata_comes_back_in_canonical_order(t: Trial) -> CaseResult {
    let a = stream("a");
    let pairs = [("zz", "1"), ("a", "2"), ("mmm", "é\n\"\u{0}"), ("b", "")];
    let event = event(1).with_metadata(Metadata::from_pairs(pairs)?);
    t.append(&a, v(0), vec![event]).await?;
    let read = t.events(&a).await?;
    let found: Vec<_> = read[0].metadata.iter().collect();
    assert_eq!(
        found,
        [("a", "2"), ("b", ""), ("zz", "1"), ("mmm", "é\n\"\u{0}")]
    );
    Ok(())
}

pub(crate) async fn an_empty_payload_is_a_payload(t: Trial) -> CaseResult {
    let a = stream("a");
    let empty = NewEvent::new(EventType::new("e")?, ContentType::BYTES, Vec::new());
    t.append(&a, v(0), vec![empty]).await?;
    let read = t.events(&a).await?;
    assert!(read[0].payload.is_empty());
    assert!(read[0].has_its_cid());
    Ok(())
}

pub(crate) async fn everything_comes_back_after_reopening(t: Trial) -> CaseResult {
    let ctx = Context::new()
        .with_principal(Principal::new("anna")?)
        .with_correlation_id(CorrelationId::from_bytes([1; 16]));
    for n in 0..20 {
        let metadata = Metadata::from_pairs([("n", n.to_string())])?;
        let append = Append::new()
            .write(
                stream("a"),
                ExpectedVersion::Any,
                vec![event(n).with_metadata(metadata)],
            )
            .write(stream(&format!("é{n}")), Version::NONE, events(2));
        t.log.append(&ctx, append).await?;
    }
    let before = t.all_events().await?;
    let Some(t) = t.reopen().await? else {
        return Ok(());
    };
    assert_eq!(t.all_events().await?, before);
    assert_eq!(t.events(&stream("a")).await?.len(), 20);
    Ok(())
}
