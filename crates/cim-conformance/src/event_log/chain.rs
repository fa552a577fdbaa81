//! Every event has its CID, and names the one before it.

use cim_ipld::ChainVerifier;
use cim_store::{
    Append, CommitId, Context, CorrelationId, EventId, ExpectedVersion, Metadata, Principal,
    RecordedEvent, StreamId, Timestamp, Version,
};

use crate::suite::{CaseFailure, CaseResult};
use crate::trial::{Trial, event, events, stream, v};

pub(crate) const CONTRACT: &str = "5. The chain proves what is read";

pub(crate) async fn every_event_has_its_cid(t: Trial) -> CaseResult {
    for n in 0..10 {
        t.append(&stream("a"), ExpectedVersion::Any, events(n % 3 + 1))
            .await?;
    }
    for read in [t.events(&stream("a")).await?, t.all_events().await?] {
        assert_eq!(read.len(), 19);
        assert!(read.iter().all(RecordedEvent::has_its_cid));
    }
    Ok(())
}

pub(crate) async fn every_event_names_the_one_before_it(t: Trial) -> CaseResult {
    for n in 0..10 {
        let append = Append::new()
            .write(stream("a"), ExpectedVersion::Any, events(n % 3 + 1))
            .write(stream("b"), ExpectedVersion::Any, events(1));
        t.log.append(&t.ctx, append).await?;
    }
    for id in [stream("a"), stream("b")] {
        let read = t.events(&id).await?;
        assert_eq!(read[0].previous, None);
        assert!(read.windows(2).all(|w| w[1].previous == Some(w[0].cid)));
    }
    Ok(())
}

pub(crate) async fn every_stream_verifies_as_a_chain(t: Trial) -> CaseResult {
    for n in 0..12_u64 {
        let id = stream(&format!("s{}", n % 3));
        t.append(&id, ExpectedVersion::Any, events(n % 4 + 1))
            .await?;
    }
    for n in 0..3 {
        let id = stream(&format!("s{n}"));
        let last = verify_chain(&id, &t.events(&id).await?)?;
        let head = t.log.head(&t.ctx, &id).await?.ok_or("there is no head")?;
        assert_eq!(last, Some((head.version.get(), head.cid)));
    }
    Ok(())
}

pub(crate) async fn the_chain_goes_on_after_reopening(t: Trial) -> CaseResult {
    let a = stream("a");
    t.append(&a, Version::NONE, events(3)).await?;
    let Some(t) = t.reopen().await? else {
        return Ok(());
    };
    t.append(&a, v(3), events(2)).await?;
    let last = verify_chain(&a, &t.events(&a).await?)?;
    assert_eq!(last.map(|(version, _)| version), Some(5));
    Ok(())
}

/// Verifies a whole stream; gives its last version and CID.
fn verify_chain(
    id: &StreamId,
    events: &[RecordedEvent],
) -> Result<Option<(u64, cim_store::EventCid)>, CaseFailure> {
    let mut chain = ChainVerifier::start(id.as_str());
    let mut block = Vec::new();
    for event in events {
        block.clear();
        event.block().encode_into(&mut block);
        chain.push(&block, &event.cid)?;
    }
    Ok(chain.head().map(|head| (head.version, head.cid)))
}

/// Computed once from `docs/format/event-block.md` by an encoder outside this workspace.
const GOLDEN: [&str; 2] = [
    "bafyreibyahsuft3qzk77h7oumw7lz52ch6pteukphom7ohife24rto7m2y",
    "bafyreiewmegf3euvflmbpywzfe44z5hect6yqzmw57bke4eyjmmmzi4enm",
];

pub(crate) async fn the_same_event_has_the_same_cid_in_every_store(t: Trial) -> CaseResult {
    let time = Timestamp::from_seconds(1_600_000_000);
    let fixed = |n: u8| {
        event(u64::from(n))
            .with_id(EventId::from_bytes([n; 16]))
            .with_time(time)
    };
    let second = fixed(2).with_metadata(Metadata::from_pairs([("tenant", "acme")])?);
    let ctx = Context::new()
        .with_principal(Principal::new("anna")?)
        .with_correlation_id(CorrelationId::from_bytes([9; 16]));
    let append = Append::new()
        .with_commit_id(CommitId::from_bytes([7; 16]))
        .write(stream("golden"), Version::NONE, vec![fixed(1), second]);
    t.log.append(&ctx, append).await?;
    let read = t.events(&stream("golden")).await?;
    let cids: Vec<_> = read.iter().map(|e| e.cid.to_string()).collect();
    assert_eq!(cids, GOLDEN);
    Ok(())
}
