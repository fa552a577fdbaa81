//! A writing process is killed at random moments, again and again, in one and the same store.
//!
//! What it had acknowledged is there afterwards, once and unchanged; what it had begun is there
//! whole or not at all; and everything else is as if nothing had happened. Files are so small that
//! rotations, sealing, runs of the index, merges and truncations happen around the kills.
//!
//! `CIM_SEED` repeats the choices, `CIM_KILLS` says how many kills there are.

use crate::ledger;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::ledger::keys::{self, Change, KEY_WRITERS, KeyLedger};
use crate::ledger::{Ledger, Stored, WRITERS};
use cim_conformance::model::Rng;
use cim_store::{
    Bucket, Clock, Context, EventLog, Operation, Store, StreamId, SystemClock, Version,
};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};

const TEST: &str = "crash::acknowledged_commits_survive_every_kill_once_and_whole";
const CHILD: &str = "CIM_CRASH_CHILD";

fn settings() -> EmbeddedSettings {
    EmbeddedSettings::default()
        .with_segment_bytes(24 << 10)
        .with_fresh_entries(48)
}

#[test]
fn acknowledged_commits_survive_every_kill_once_and_whole() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    match std::env::var(CHILD) {
        Ok(task) => runtime.block_on(write_until_killed(&task)),
        Err(_) => runtime.block_on(kill_again_and_again()),
    }
}

/// What the child is told: the directory, the seed, and the first number of each writer.
struct Task {
    directory: String,
    seed: u64,
    from: u64,
    keys_from: u64,
    truncates: bool,
}

impl Task {
    fn encode(&self) -> String {
        let Self {
            directory,
            seed,
            from,
            keys_from,
            truncates,
        } = self;
        format!("{seed} {from} {keys_from} {truncates} {directory}")
    }

    fn decode(text: &str) -> Self {
        let mut parts = text.splitn(5, ' ');
        let mut next = || parts.next().unwrap();
        Self {
            seed: next().parse().unwrap(),
            from: next().parse().unwrap(),
            keys_from: next().parse().unwrap(),
            truncates: next().parse().unwrap(),
            directory: next().to_owned(),
        }
    }
}

/// Writes a line of its own in one step, so that a kill leaves it whole or away.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n@{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

async fn write_until_killed(task: &str) {
    let task = Task::decode(task);
    say("opening");
    let store = EmbeddedStore::open(&task.directory, settings()).await;
    let store = store.unwrap_or_else(|error| {
        say(&format!("broken open: {error}"));
        std::process::exit(1)
    });
    say("opened");
    let last = Arc::new(AtomicU64::new(0));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (log, seed, from) = (store.log(), task.seed, task.from + writer);
        writers.push(tokio::spawn(write(log, seed, from, Arc::clone(&last))));
    }
    let bucket = keys::bucket(&store).await.unwrap();
    for writer in 0..KEY_WRITERS {
        let (bucket, seed, from) = (Arc::clone(&bucket), task.seed, task.keys_from + writer);
        writers.push(tokio::spawn(write_keys(bucket, seed, from)));
    }
    if task.truncates {
        let log = store.log();
        writers.push(tokio::spawn(async move {
            if let Some(truncation) =
                ledger::truncation(&*log, task.seed % 1_000 + task.from * 2).await
            {
                let through = truncation.through.get();
                say(&format!("truncating {through}"));
                match log.truncate(&Context::new(), truncation).await {
                    Ok(()) => say(&format!("truncated {through}")),
                    Err(error) => say(&format!("broken truncation: {error}")),
                }
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

/// One of several that write at the same time.
async fn write(log: Arc<dyn EventLog>, seed: u64, from: u64, last: Arc<AtomicU64>) {
    let ctx = Context::new();
    let mut versions: HashMap<StreamId, Version> = HashMap::new();
    let mut rng = Rng::new(seed ^ from);
    for number in (from..).step_by(WRITERS as usize) {
        for write in &ledger::append(seed, number, |_| None).writes {
            let own = !write.stream.as_str().contains("shared");
            if own && !versions.contains_key(&write.stream) {
                let head = log.head(&ctx, &write.stream).await.unwrap();
                let version = head.map_or(Version::NONE, |head| head.version);
                versions.insert(write.stream.clone(), version);
            }
        }
        // Sometimes a commit that was acknowledged before is asked for again.
        let earlier = from % WRITERS + rng.below(from / WRITERS + 1) * WRITERS;
        let again = rng.one_in(6) && last.load(Ordering::Relaxed) > 0;
        let known = again && {
            let id = ledger::commit_id(seed, earlier);
            matches!(
                log.resolve(&ctx, id).await,
                Ok(cim_store::Resolution::Committed(_))
            )
        };
        for (number, repeated) in [(earlier, true), (number, false)] {
            if repeated && !known {
                continue;
            }
            let append = ledger::append(seed, number, |stream| {
                if repeated {
                    None
                } else {
                    versions.get(stream).copied()
                }
            });
            say(&format!("begin {number}"));
            match log.append(&ctx, append).await {
                Ok(appended) => {
                    let stored = Stored::from(&appended);
                    let mut line = format!("acked {number} {}", stored.position);
                    for (stream, version) in &stored.heads {
                        line.push_str(&format!(" {stream} {version}"));
                        if !repeated && let Some(known) = versions.get_mut(stream) {
                            *known = Version::new(*version);
                        }
                    }
                    say(&line);
                    last.store(number, Ordering::Relaxed);
                }
                Err(error) => say(&format!("broken append {number}: {error}")),
            }
        }
    }
}

/// One of several that change keys at the same time, each its own.
async fn write_keys(bucket: Arc<dyn Bucket>, seed: u64, from: u64) {
    for number in (from..).step_by(KEY_WRITERS as usize) {
        let change = keys::next(&*bucket, seed, number).await.unwrap();
        say(&format!("changing {number} {}", change.operation as u8));
        match keys::apply(&*bucket, seed, &change).await {
            Ok(revision) => say(&format!("changed {number} {revision}")),
            Err(error) => say(&format!("broken change {number}: {error}")),
        }
    }
}

/// Adds what the child said to the ledger.
fn learn(ledger: &mut Ledger, keys: &mut KeyLedger, line: &str) -> Result<(), String> {
    let Some((word, rest)) = line.split_once(' ') else {
        return Ok(());
    };
    let mut numbers = rest.split(' ');
    let mut next = || numbers.next().and_then(|text| text.parse::<u64>().ok());
    match word {
        "begin" => ledger.begin(next().ok_or(line)?),
        "acked" => {
            let (number, position) = (next().ok_or(line)?, next().ok_or(line)?);
            let heads: Vec<&str> = rest.split(' ').skip(2).collect();
            let heads = heads.chunks_exact(2).map(|pair| {
                (
                    StreamId::parse(pair[0].to_owned()).unwrap(),
                    pair[1].parse().unwrap(),
                )
            });
            let heads = heads.collect();
            ledger.acknowledge(number, Stored { position, heads })?;
        }
        "changing" => {
            let number = next().ok_or(line)?;
            let operations = [Operation::Put, Operation::Delete, Operation::Purge];
            let named = next().ok_or(line)?;
            let operation = operations
                .into_iter()
                .find(|operation| *operation as u64 == named);
            keys.begin(Change {
                number,
                operation: operation.ok_or(line)?,
            });
        }
        "changed" => keys.acknowledge(next().ok_or(line)?, next().ok_or(line)?),
        "truncating" => ledger.begin_truncation(next().ok_or(line)?),
        "truncated" => ledger.acknowledge_truncation(next().ok_or(line)?),
        _ => return Err(line.to_owned()),
    }
    Ok(())
}

async fn kill_again_and_again() {
    let seed = ledger::seed(TEST);
    let kills = ledger::setting("CIM_KILLS", 200);
    let mut rng = Rng::new(seed);
    let mut place = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::new(seed);
    let mut keys = KeyLedger::new(seed);
    let mut changes = 0;
    let mut oldest = 0;
    let (mut acknowledged, mut settled, mut lost, mut torn, mut while_opening) = (0, 0, 0, 0, 0);
    for kill in 0..kills {
        // A new store from time to time, so that checking everything stays short.
        if kill % 40 == 0 {
            acknowledged += ledger.acknowledged();
            place = tempfile::tempdir().unwrap();
            ledger = Ledger::new(seed ^ kill);
            changes += keys.changes;
            keys = KeyLedger::new(seed ^ kill);
        }
        let directory = place.path().join("store");
        let opened = run_and_kill(&directory, &mut ledger, &mut keys, &mut rng);
        while_opening += u64::from(!opened);
        // Sometimes the next writer finds what the kill left, before anybody has mended it. But a
        // key has only one change under way.
        if rng.one_in(3) && kill % 40 != 39 && !keys.is_open() {
            continue;
        }
        let store = EmbeddedStore::open(&directory, settings()).await;
        let store = store.unwrap_or_else(|error| panic!("kill {kill}: does not open: {error}"));
        torn += store.open_report().torn_tails.len();
        // Only a kill within a truncation, or before the index made anew is written, leaves one
        // behind that does not fit.
        let rebuilt = &store.open_report().rebuilt_indexes;
        assert!(
            rebuilt.is_empty() || ledger.has_truncated(),
            "kill {kill}: {rebuilt:?}"
        );
        let log = store.log();
        let found = if kill % 10 == 9 {
            ledger.check_all(&*log).await
        } else {
            ledger.check(&*log).await
        };
        let found = found.unwrap_or_else(|what| panic!("kill {kill}: {what}"));
        settled += found.settled_as_stored;
        lost += found.settled_as_absent;
        let bucket = keys::bucket(&store).await.unwrap();
        keys.check(&*bucket)
            .await
            .unwrap_or_else(|what| panic!("kill {kill}: {what}"));
        oldest = oldest.max(oldest_segment(&directory.join("buckets")));
        drop((log, bucket));
        store.close().await.unwrap();
    }
    acknowledged += ledger.acknowledged();
    changes += keys.changes;
    println!(
        "{kills} kills, {while_opening} of them while opening: {acknowledged} commits acknowledged or \
         found, {changes} changes of keys acknowledged, {settled} unanswered ones stored, {lost} not stored, {torn} torn ends cut, buckets compacted \
         up to segment {oldest}"
    );
    assert!(
        acknowledged as u64 > kills && changes > kills && oldest > 1 && settled + lost > 0,
        "the kills met nobody at work"
    );
}

/// The number of the oldest segment in a directory.
fn oldest_segment(directory: &Path) -> u64 {
    let names = std::fs::read_dir(directory).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let numbers = names.filter_map(|name| name.strip_suffix(".seg")?.parse().ok());
    numbers.min().unwrap_or_default()
}

/// Returns whether the store was open when its process was killed.
fn run_and_kill(
    directory: &Path,
    ledger: &mut Ledger,
    keys: &mut KeyLedger,
    rng: &mut Rng,
) -> bool {
    let task = Task {
        directory: directory.to_str().unwrap().to_owned(),
        seed: ledger.seed,
        from: ledger.first_number(0),
        keys_from: keys.first_number(0),
        truncates: rng.one_in(6),
    };
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([TEST, "--exact", "--nocapture"])
        .env(CHILD, task.encode())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (lines, said) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if let Some(line) = line.strip_prefix('@') {
                lines.send(line.to_owned()).unwrap();
            }
        }
    });
    let in_opening = rng.one_in(5);
    let moment = Duration::from_micros(rng.below(if in_opening { 15_000 } else { 60_000 }));
    let mut begun = false;
    let mut until: Option<std::time::Instant> = None;
    let mut heard = Vec::new();
    loop {
        // Waiting for what the child says is waiting for the moment, too.
        let left = match until {
            None => Duration::from_secs(60),
            Some(end) => match end.saturating_duration_since(SystemClock.monotonic()) {
                Duration::ZERO => break,
                left => left,
            },
        };
        match said.recv_timeout(left) {
            Ok(line) => {
                begun |= line.starts_with("acked") || in_opening && line == "opening";
                if begun && until.is_none() {
                    until = Some(SystemClock.monotonic() + moment);
                }
                heard.push(line);
            }
            Err(mpsc::RecvTimeoutError::Timeout) if until.is_some() => break,
            Err(_) => panic!("the writer neither wrote nor lived: {heard:?}"),
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    heard.extend(said.try_iter());
    for line in heard.iter().filter(|line| !line.starts_with("open")) {
        learn(ledger, keys, line).unwrap_or_else(|what| panic!("{what}"));
    }
    heard.iter().any(|line| line == "opened")
}
