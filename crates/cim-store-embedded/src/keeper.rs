//! The background thread of a journal: it builds the index's runs and seals full segments, so
//! that the writer does not wait for either.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use crate::index::Index;
use crate::journal::segment::{LastRecord, Segment};

enum Job {
    Build,
    Seal(Arc<Segment>, LastRecord),
    Run(Box<dyn FnOnce() + Send>),
    /// Answers when everything before is done.
    Pass(mpsc::Sender<()>),
}

/// The writer's end of the background thread.
pub(crate) struct Keeper {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// Does what is asked for, in order, until nobody can ask any more.
fn work(index: &Index, queue: mpsc::Receiver<Job>) {
    // Segments that could not be sealed: each job is an occasion to try again.
    let mut unsealed: Vec<(Arc<Segment>, LastRecord)> = Vec::new();
    for job in queue {
        match job {
            Job::Build => {
                if let Err(error) = index.build() {
                    // The entries stay in memory; the next attempt takes them along.
                    tracing::warn!(%error, "the index could not be written");
                }
            }
            Job::Seal(segment, last) => unsealed.push((segment, last)),
            Job::Run(work) => work(),
            Job::Pass(done) => {
                // Whoever asked may be gone.
                let _ = done.send(());
            }
        }
        unsealed.retain(|(segment, last)| match segment.seal(*last) {
            Ok(()) => false,
            Err(error) => {
                tracing::warn!(%error, "a segment could not be sealed");
                true // at the latest, the next opening seals it
            }
        });
    }
}

impl Keeper {
    /// Starts the thread.
    pub(crate) fn start(name: &str, index: Arc<Index>) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let thread = std::thread::Builder::new()
            .name(format!("cim-{name}-keeper"))
            .spawn(move || work(&index, queue))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The thread ends only after its queue does.
            let _ = jobs.send(job);
        }
    }

    /// Has a full segment sealed.
    pub(crate) fn seal(&self, segment: Arc<Segment>, last: LastRecord) {
        self.send(Job::Seal(segment, last));
    }

    /// Has the index's new entries written to a run.
    pub(crate) fn freeze(&self, index: &Index) {
        if index.freeze_unless_busy() {
            self.send(Job::Build);
        }
    }

    /// Has something else done.
    pub(crate) fn run(&self, work: impl FnOnce() + Send + 'static) {
        self.send(Job::Run(Box::new(work)));
    }

    /// Waits until everything that was asked for is done.
    pub(crate) fn wait(&self) {
        let (done, wait) = mpsc::channel();
        self.send(Job::Pass(done));
        let _ = wait.recv();
    }

    /// Finishes what was asked for, and ends. So many new entries are `worth` a run; fewer are left
    /// to be read from the journal at the next opening.
    pub(crate) fn finish(&mut self, index: &Index, worth: usize) {
        let worth_it = index.fresh_entries() >= worth || index.lacks_carried();
        if worth_it && !index.is_broken() {
            self.wait();
            self.freeze(index);
        }
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
