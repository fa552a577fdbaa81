//! The processes that the benchmark starts of itself: to be killed, or to have a memory of their
//! own that is measured. They talk to it in lines on their standard output.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cim_store::{Clock, Context, EventLogExt, ExpectedVersion, Store, SystemClock, Version};
use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};
use serde::{Deserialize, Serialize};

use crate::measure::{Result, Stopwatch};
use crate::options::Task;
use crate::random::Random;
use crate::workload::{Events, READ_STREAMS, stream};

const CALLERS: usize = 64;
/// Streams of the store that grows.
pub(crate) const GROWN_STREAMS: usize = 1_000_000;

/// What a child tells about itself.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) events: u64,
    pub(crate) seconds: f64,
    /// The most memory that was resident, in bytes: its own and pages of files.
    pub(crate) peak_resident: u64,
    /// The most memory of its own, in bytes.
    pub(crate) peak_own: u64,
}

pub(crate) async fn run(task: Task) -> Result<()> {
    match task {
        Task::Fill(directory) => fill(&directory).await,
        Task::Write(directory) => write(&directory).await,
        Task::Grow(directory, events) => grow(&directory, events).await,
    }
}

async fn open(directory: &Path) -> Result<EmbeddedStore> {
    Ok(EmbeddedStore::open(directory, EmbeddedSettings::default()).await?)
}

/// Stores the streams to be loaded, one event per commit, in an order that scatters each stream
/// over the whole log.
async fn fill(directory: &Path) -> Result<()> {
    let store = open(directory).await?;
    let (watch, memory) = (Stopwatch::start(), Memory::sample());
    let mut tasks = Vec::new();
    for caller in 0..CALLERS {
        let mut order = Vec::new();
        let mut streams = Vec::new();
        for lengths in READ_STREAMS {
            for number in (caller..lengths.streams).step_by(CALLERS) {
                order.extend(std::iter::repeat_n(streams.len(), lengths.events));
                streams.push((stream(lengths.name, number)?, 0));
            }
        }
        Random::new(caller as u64).shuffle(&mut order);
        let (log, made, ctx) = (store.log(), Events::new()?, Context::new());
        tasks.push(tokio::spawn(async move {
            for (number, at) in order.into_iter().enumerate() {
                let (stream, version) = &mut streams[at];
                let expected = ExpectedVersion::Exact(Version::new(*version));
                log.append_to(&ctx, stream, expected, vec![made.event(number)])
                    .await?;
                *version += 1;
            }
            Result::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    memory.tell(crate::workload::read_events() as u64, &watch)?;
    store.close().await?;
    Ok(())
}

/// Appends until it is killed.
async fn write(directory: &Path) -> Result<()> {
    let store = open(directory).await?;
    let (log, made, ctx) = (store.log(), Events::new()?, Context::new());
    let memory = Memory::sample();
    let mut tasks = Vec::new();
    let counted = Arc::new(AtomicU64::new(0));
    for caller in 0..CALLERS {
        let mut streams = Vec::new();
        for number in 0..20 {
            streams.push(stream("killed", caller * 20 + number)?);
        }
        let (log, made, ctx) = (Arc::clone(&log), made.clone(), ctx.clone());
        let counted = Arc::clone(&counted);
        tasks.push(tokio::spawn(async move {
            for stream in streams.iter().cycle() {
                let events = made.events(1);
                log.append_to(&ctx, stream, ExpectedVersion::Any, events)
                    .await?;
                counted.fetch_add(1, Ordering::Relaxed);
            }
            Result::Ok(())
        }));
    }
    let watch = Stopwatch::start();
    while counted.load(Ordering::Relaxed) < 50_000 {
        SystemClock.sleep(Duration::from_millis(1)).await;
    }
    memory.tell(counted.load(Ordering::Relaxed), &watch)?;
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// Appends commits of ten events to random ones of a million streams; tells its memory at 1 M
/// events and at the end, and goes on until it is killed.
async fn grow(directory: &Path, events: u64) -> Result<()> {
    let store = open(directory).await?;
    let (watch, memory) = (Stopwatch::start(), Memory::sample());
    let counted = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for caller in 0..CALLERS {
        let (log, made, ctx) = (store.log(), Events::new()?, Context::new());
        let counted = Arc::clone(&counted);
        tasks.push(tokio::spawn(async move {
            // The versions are all that is kept of the streams, so as not to be measured along.
            let mine = GROWN_STREAMS / CALLERS;
            let mut versions = vec![0_u8; mine];
            let mut random = Random::new(caller as u64);
            loop {
                let at = random.below(mine);
                let stream = stream("grown", caller * mine + at)?;
                let expected = Version::new(u64::from(versions[at]) * 10);
                let events = made.events(10);
                log.append_to(&ctx, &stream, ExpectedVersion::Exact(expected), events)
                    .await?;
                versions[at] += 1;
                counted.fetch_add(10, Ordering::Relaxed);
            }
            #[allow(unreachable_code)]
            Result::Ok(())
        }));
    }
    for milestone in [1_000_000, events] {
        while counted.load(Ordering::Relaxed) < milestone {
            if tasks.iter().any(tokio::task::JoinHandle::is_finished) {
                break;
            }
            SystemClock.sleep(Duration::from_millis(1)).await;
        }
        if counted.load(Ordering::Relaxed) >= milestone {
            memory.tell(milestone, &watch)?;
        }
    }
    for task in tasks {
        task.await??;
    }
    drop(store);
    Ok(())
}

/// Watches the memory of this process.
struct Memory {
    peak_own: Arc<AtomicU64>,
}

impl Memory {
    /// Begins to look every few milliseconds.
    fn sample() -> Self {
        let peak_own = Arc::new(AtomicU64::new(0));
        let peak = Arc::clone(&peak_own);
        tokio::spawn(async move {
            loop {
                peak.fetch_max(status("RssAnon:"), Ordering::Relaxed);
                SystemClock.sleep(Duration::from_millis(10)).await;
            }
        });
        Self { peak_own }
    }

    fn tell(&self, events: u64, watch: &Stopwatch) -> Result<()> {
        let told = Told {
            events,
            seconds: watch.seconds(),
            peak_resident: status("VmHWM:"),
            peak_own: self
                .peak_own
                .load(Ordering::Relaxed)
                .max(status("RssAnon:")),
        };
        println!("{}", serde_json::to_string(&told)?);
        Ok(std::io::stdout().flush()?)
    }
}

/// A figure of `/proc/self/status`, in bytes; 0 where there is none.
fn status(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}

/// A child, as its parent sees it.
pub(crate) struct Process {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Process {
    pub(crate) fn start(task: &str, arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(task)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("a child has no output")?;
        Ok(Self {
            child,
            lines: BufReader::new(output).lines(),
        })
    }

    /// Waits for what it tells next.
    pub(crate) fn told(&mut self) -> Result<Told> {
        let line = self.lines.next().ok_or("a child ended early")??;
        Ok(serde_json::from_str(&line)?)
    }

    /// Waits until it ends by itself.
    pub(crate) fn finish(mut self) -> Result<()> {
        let status = self.child.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("a child ended with {status}").into())
        }
    }

    /// Kills it with SIGKILL, in the middle of what it does.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; none is left behind after an error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
