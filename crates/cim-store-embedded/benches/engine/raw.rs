//! The raw limit: the same bytes appended to a file, with one `fdatasync` per group, and nothing
//! else.
//!
//! [`plain`] is one thread that writes what N callers would have written, flushes, and begins
//! again. [`with_callers`] puts N callers and a queue before that thread: what is left between the
//! two is the price of having callers at all.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::latencies::{Latencies, Sample, Window};
use crate::measure::{Result, now};

/// Bytes that don't compress and are not zeros.
fn record(bytes: usize) -> Vec<u8> {
    let mut random = crate::random::Random::new(7);
    (0..bytes).map(|_| random.next() as u8).collect()
}

pub(crate) fn plain(path: &Path, callers: usize, bytes: usize, length: Duration) -> Result<Sample> {
    let group = record(bytes).repeat(callers);
    let mut file = File::create(path)?;
    let mut latencies = Latencies::default();
    let window = Window::from_now(length);
    while !window.is_over() {
        let start = now();
        file.write_all(&group)?;
        file.sync_data()?;
        latencies.add_call(&window, start);
    }
    std::fs::remove_file(path)?;
    let rate = latencies.rate_in(&window) * callers as f64;
    Ok(Sample::of(latencies, rate))
}

type Call = (Vec<u8>, oneshot::Sender<()>);

pub(crate) async fn with_callers(
    path: &Path,
    callers: usize,
    bytes: usize,
    length: Duration,
) -> Result<Sample> {
    let (sender, queue) = mpsc::channel::<Call>(1_024);
    let file = File::create(path)?;
    let writer = std::thread::spawn(move || write(file, queue));
    let window = Window::from_now(length);
    let record: Arc<[u8]> = record(bytes).into();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (sender, record) = (sender.clone(), Arc::clone(&record));
            tokio::spawn(async move {
                let mut latencies = Latencies::default();
                while !window.is_over() {
                    let start = now();
                    let (answer, answered) = oneshot::channel();
                    sender.send((record.to_vec(), answer)).await?;
                    answered.await?;
                    latencies.add_call(&window, start);
                }
                Result::Ok(latencies)
            })
        })
        .collect();
    drop(sender);
    let mut all = Latencies::default();
    for task in tasks {
        all.merge(task.await??);
    }
    writer.join().map_err(|_| "the raw writer panicked")??;
    std::fs::remove_file(path)?;
    let rate = all.rate_in(&window);
    Ok(Sample::of(all, rate))
}

/// Takes what waits, writes it, flushes, answers.
fn write(mut file: File, mut queue: mpsc::Receiver<Call>) -> Result<()> {
    let (mut group, mut answers) = (Vec::new(), Vec::new());
    while let Some(first) = queue.blocking_recv() {
        let mut next = Some(first);
        while let Some((bytes, answer)) = next {
            group.extend_from_slice(&bytes);
            answers.push(answer);
            next = queue.try_recv().ok();
        }
        file.write_all(&group)?;
        file.sync_data()?;
        group.clear();
        for answer in answers.drain(..) {
            let _ = answer.send(()); // a caller may have ended
        }
    }
    Ok(())
}
