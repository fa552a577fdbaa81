//! What verifying a history costs, against hashing the same bytes.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use cim_domain::persistence::verification::{Verification, VerifiedHeads, Verifier};
use cim_domain::store::{Context, EventCid, EventLog, Examined, Position, StreamId};
use cim_ipld::ChainVerifier;
use futures_util::TryStreamExt;
use tokio::runtime::Runtime;

use crate::measure::{Result, Stopwatch};
use crate::options::Options;
use crate::report::Report;
use crate::transport::{fill, open_in};

/// Bytes of a payload.
const PAYLOADS: [usize; 2] = [256, 1_024];
/// Events of every stream.
const EVENTS_OF_STREAM: usize = 40;
/// Of hashing alone, on one core.
const ASKED_OF_HASHING: f64 = 0.6;
/// Of one core, on two.
const ASKED_OF_ONE_CORE: f64 = 1.8;

/// A block, and what it is filed under.
struct Filed {
    stream: StreamId,
    cid: EventCid,
    block: Bytes,
}

pub(crate) fn run(
    options: &Options,
    data: &Path,
    two_cores: &Runtime,
    report: &mut Report,
) -> Result<()> {
    let one_core = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for payload in PAYLOADS {
        let name = format!("chains-{payload}");
        let store = two_cores.block_on(open_in(data, &name))?;
        let log = store.log();
        two_cores.block_on(fill(&*log, options.events, EVENTS_OF_STREAM, payload))?;
        let blocks = two_cores.block_on(blocks(&*log))?;
        let bytes: usize = blocks.iter().map(|filed| filed.block.len()).sum();
        let megabytes = bytes as f64 / 1e6;
        println!(
            "\nVerifying {} events with {payload} bytes of payload in streams of \
             {EVENTS_OF_STREAM}, {bytes} bytes of blocks; {} rounds\n",
            blocks.len(),
            options.rounds
        );
        let mut rates: [Vec<f64>; 6] = Default::default();
        let [hashing, chains, two_chains, alone, both, again] = &mut rates;
        for _ in 0..options.rounds {
            let watch = Stopwatch::start();
            for filed in &blocks {
                black_box(EventCid::of(&filed.block));
            }
            hashing.push(megabytes / watch.seconds());
            chains.push(megabytes / in_memory(&[&blocks])?);
            two_chains.push(megabytes / in_memory(&halves(&blocks))?);
            let watch = Stopwatch::start();
            let first = one_core.block_on(verify(&log, 1, VerifiedHeads::default()))?;
            alone.push(megabytes / watch.seconds());
            let watch = Stopwatch::start();
            two_cores.block_on(verify(&log, 2, VerifiedHeads::default()))?;
            both.push(megabytes / watch.seconds());
            let watch = Stopwatch::start();
            let second = one_core.block_on(verify(&log, 1, first.heads))?;
            again.push(watch.seconds() * 1e3);
            if second.events != 0 {
                return Err("the second verification read something old".into());
            }
        }
        let of = |what: &str| format!("{what}, {payload} bytes");
        let share = |share| Some((f64::INFINITY, share));
        let bare = report.rate(&of("sha2-256 alone, one core"), hashing, None, None);
        let asked = share(ASKED_OF_HASHING);
        let one = of("chains of blocks in memory, one core");
        let one = report.rate(&one, chains, Some(bare), asked);
        let twice = share(ASKED_OF_ONE_CORE);
        let two = of("chains in memory, two cores (of one)");
        report.rate(&two, two_chains, Some(one), twice);
        let one = report.rate(&of("a whole store, one core"), alone, Some(bare), asked);
        let two = of("a whole store, two cores (of one)");
        report.rate(&two, both, Some(one), twice);
        report.rate_in("ms", &of("again, with nothing new"), again, None, None);
        two_cores.block_on(store.close())?;
        std::fs::remove_dir_all(data.join(name))?;
    }
    Ok(())
}

async fn verify(
    log: &Arc<dyn EventLog>,
    workers: usize,
    since: VerifiedHeads,
) -> Result<Verification> {
    let verifier = Verifier::new(log.clone())
        .with_workers(workers)
        .since(since);
    let done = verifier.verify(&Context::new(), |_| ()).await?;
    match done.faults.first() {
        Some(fault) => Err(fault.to_string().into()),
        None => Ok(done),
    }
}

/// Every block in memory of its own, stream by stream.
async fn blocks(log: &dyn EventLog) -> Result<Vec<Filed>> {
    let mut examined = log.examine(&Context::new(), Position::NONE).await?;
    let mut blocks = Vec::new();
    while let Some(found) = examined.try_next().await? {
        let Examined::Event(event) = found else {
            return Err("the store is damaged".into());
        };
        blocks.push(Filed {
            stream: event.stream,
            cid: event.cid,
            block: Bytes::copy_from_slice(&event.block),
        });
    }
    blocks.sort_by(|one, other| one.stream.cmp(&other.stream));
    Ok(blocks)
}

/// Two parts with about as many events, each with whole streams.
fn halves(blocks: &[Filed]) -> [&[Filed]; 2] {
    let middle = blocks.get(blocks.len() / 2).map(|filed| &filed.stream);
    let in_first = |filed: &Filed| Some(&filed.stream) < middle;
    let (first, second) = blocks.split_at(blocks.partition_point(in_first));
    [first, second]
}

/// Verifies all chains, each part on a thread of its own; gives the seconds.
fn in_memory(parts: &[&[Filed]]) -> Result<f64> {
    let watch = Stopwatch::start();
    std::thread::scope(|scope| -> Result<()> {
        let parts = parts.iter().copied();
        let threads: Vec<_> = parts
            .map(|part| scope.spawn(move || verify_chains(part)))
            .collect();
        for thread in threads {
            thread.join().map_err(|_| "a thread ended early")??;
        }
        Ok(())
    })?;
    Ok(watch.seconds())
}

fn verify_chains(blocks: &[Filed]) -> Result<()> {
    for stream in blocks.chunk_by(|one, other| one.stream == other.stream) {
        let Some(first) = stream.first() else {
            continue;
        };
        let mut chain = ChainVerifier::start(first.stream.as_str());
        for filed in stream {
            chain.push(&filed.block, &filed.cid)?;
        }
    }
    Ok(())
}
