//! One server process: killed, stopped, paused, resumed, and started again where it was.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;

use super::ServerError;
use super::guardian::Guardian;
use super::monitor;
use super::waiting::Deadline;

/// A server that is asked to stop finishes what it has, which takes no longer than this.
const STOPS_WITHIN: Duration = Duration::from_secs(30);

/// How much of a log goes into an error.
const LAST_LINES: usize = 30;

/// One server, with the ports and the directory that it keeps through its lives.
#[derive(Debug)]
pub struct Node {
    name: String,
    program: PathBuf,
    directory: PathBuf,
    scheme: &'static str,
    client_port: u16,
    monitor_port: u16,
    ready_within: Duration,
    process: Mutex<Process>,
    guardian: Arc<Guardian>,
}

#[derive(Debug)]
enum Process {
    None,
    Running(Child),
    Paused(Child),
}

/// What a node is made of, apart from its process.
pub(super) struct Parts {
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) scheme: &'static str,
    pub(super) client_port: u16,
    pub(super) monitor_port: u16,
    pub(super) ready_within: Duration,
    pub(super) guardian: Arc<Guardian>,
}

impl Node {
    /// A node that does not run yet. `config` makes its configuration file from the directory for
    /// its streams.
    pub(super) fn new(
        parts: Parts,
        config: impl FnOnce(&Path) -> String,
    ) -> Result<Self, ServerError> {
        let node = Self {
            directory: parts.guardian.directory().join(&parts.name),
            name: parts.name,
            program: parts.program,
            scheme: parts.scheme,
            client_port: parts.client_port,
            monitor_port: parts.monitor_port,
            ready_within: parts.ready_within,
            process: Mutex::new(Process::None),
            guardian: parts.guardian,
        };
        std::fs::create_dir(&node.directory).map_err(ServerError::io(format!(
            "making {}",
            node.directory.display()
        )))?;
        let file = node.config_file();
        std::fs::write(&file, config(&node.store_dir()))
            .map_err(ServerError::io(format!("writing {}", file.display())))?;
        Ok(node)
    }

    /// Its name: `n0`, `n1`, `n2`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where clients connect, without credentials: `nats://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.url_with("")
    }

    /// `credentials` end with `@` or are empty.
    pub(super) fn url_with(&self, credentials: &str) -> String {
        format!(
            "{}://{credentials}127.0.0.1:{}",
            self.scheme, self.client_port
        )
    }

    /// The port for clients.
    pub fn client_port(&self) -> u16 {
        self.client_port
    }

    /// The port of the monitoring endpoint, plain HTTP.
    pub fn monitor_port(&self) -> u16 {
        self.monitor_port
    }

    /// Its process id, while it runs or is paused.
    pub fn pid(&self) -> Option<u32> {
        match &*self.lock() {
            Process::None => None,
            Process::Running(child) | Process::Paused(child) => Some(child.id()),
        }
    }

    /// Whether it runs and is not paused.
    pub fn is_running(&self) -> bool {
        matches!(&*self.lock(), Process::Running(_))
    }

    /// Where its streams are.
    pub fn store_dir(&self) -> PathBuf {
        self.directory.join("store")
    }

    /// All it has written to its log, in all its lives.
    ///
    /// # Errors
    /// [`ServerError::Io`] if the log can't be read.
    pub fn log(&self) -> Result<String, ServerError> {
        let file = self.log_file();
        let bytes =
            std::fs::read(&file).map_err(ServerError::io(format!("reading {}", file.display())))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Asks its monitoring endpoint, for instance `/varz` or `/jsz?streams=true`.
    ///
    /// # Errors
    /// [`ServerError::Monitor`] if it does not answer within two seconds, or not with status 200
    /// and JSON.
    pub fn monitor(&self, path: &str) -> Result<Value, ServerError> {
        let bad = |why: String| ServerError::Monitor {
            node: self.name.clone(),
            path: path.to_owned(),
            why,
        };
        match monitor::get(self.monitor_port, path) {
            Ok((200, body)) => {
                serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))
            }
            Ok((status, body)) => {
                let said = String::from_utf8_lossy(&body);
                Err(bad(format!("status {status}, {}", said.trim())))
            }
            Err(error) => Err(bad(error.to_string())),
        }
    }

    /// Starts it again, with what it has stored; nothing if it runs. Returns once it answers
    /// clients. Whether JetStream is ready says `wait_healthy` of the server or the cluster.
    ///
    /// # Errors
    /// [`ServerError::Ended`] or [`ServerError::NotReady`] with the end of its log.
    pub fn start(&self) -> Result<(), ServerError> {
        let deadline = Deadline::after(self.ready_within);
        let mut process = self.lock();
        if !matches!(&*process, Process::None) {
            return Ok(());
        }
        loop {
            let log_before = self.log_length();
            self.begin(&mut process)?;
            let outcome = deadline.poll(|| match self.ended_by_itself(&mut process) {
                Ok(None) if self.answers() => Some(Ok(())),
                Ok(None) => None,
                Ok(Some(ended)) => Some(Err(ended)),
                Err(error) => Some(Err(error)),
            });
            match outcome {
                // Somebody has its port, for instance who looks for a free one just now.
                Some(Err(ServerError::Ended { .. }))
                    if self.port_was_taken(log_before) && !deadline.left().is_zero() => {}
                Some(outcome) => return outcome,
                None => {
                    return Err(ServerError::NotReady {
                        waited: deadline.allowed,
                        why: format!("{} does not answer clients", self.name),
                        log: self.end_of_log(),
                    });
                }
            }
        }
    }

    /// Kills it with `SIGKILL`, paused or not, and waits until it is gone.
    ///
    /// # Errors
    /// [`ServerError::Io`] if the system refuses.
    pub fn kill(&self) -> Result<(), ServerError> {
        self.kill_locked(&mut self.lock())
    }

    /// Asks it to stop in order (`SIGTERM`; it is resumed if it is paused), and waits until it is
    /// gone.
    ///
    /// # Errors
    /// [`ServerError::DidNotStop`] after 30 seconds; it is killed then.
    pub fn stop(&self) -> Result<(), ServerError> {
        let mut process = self.lock();
        self.signal(&mut process, Signal::CONT)?;
        self.signal(&mut process, Signal::TERM)?;
        let deadline = Deadline::after(STOPS_WITHIN);
        let gone = deadline.poll(|| match self.reap(&mut process) {
            Ok(None) if matches!(&*process, Process::None) => Some(Ok(())),
            Ok(None) => None,
            Ok(Some(_)) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        });
        gone.unwrap_or_else(|| {
            self.kill_locked(&mut process)?;
            Err(ServerError::DidNotStop {
                node: self.name.clone(),
                waited: STOPS_WITHIN,
            })
        })
    }

    /// Stops it in the middle of whatever it does (`SIGSTOP`), and waits until it stands still.
    /// Its connections stay open, and nobody answers.
    ///
    /// # Errors
    /// [`ServerError::NotRunning`]; [`ServerError::Ended`] if it just ended by itself;
    /// [`ServerError::Io`] if the system refuses.
    pub fn pause(&self) -> Result<(), ServerError> {
        let mut process = self.lock();
        self.must_exist(&process)?;
        self.signal(&mut process, Signal::STOP)?;
        let deadline = Deadline::after(STOPS_WITHIN);
        let stands = deadline.poll(|| match self.ended_by_itself(&mut process) {
            Ok(None) => stands_still(&process).then_some(Ok(())),
            Ok(Some(ended)) => Some(Err(ended)),
            Err(error) => Some(Err(error)),
        });
        stands.unwrap_or_else(|| {
            let failed = ServerError::io(format!("pausing {}", self.name));
            Err(failed(io::ErrorKind::TimedOut.into()))
        })
    }

    /// Lets it go on where it was paused (`SIGCONT`).
    ///
    /// # Errors
    /// [`ServerError::NotRunning`]; [`ServerError::Io`] if the system refuses.
    pub fn resume(&self) -> Result<(), ServerError> {
        let mut process = self.lock();
        self.must_exist(&process)?;
        self.signal(&mut process, Signal::CONT)
    }

    /// An error if it ended although nobody told it to.
    pub(super) fn check_alive(&self) -> Result<(), ServerError> {
        match self.ended_by_itself(&mut self.lock())? {
            None => Ok(()),
            Some(ended) => Err(ended),
        }
    }

    /// Starts it without waiting for it.
    pub(super) fn launch(&self) -> Result<(), ServerError> {
        self.begin(&mut self.lock())
    }

    /// Whether a client is greeted; the greeting comes before TLS.
    pub(super) fn answers(&self) -> bool {
        let greeting = || -> io::Result<bool> {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.client_port));
            let mut stream = TcpStream::connect_timeout(&address, monitor::ANSWERS_WITHIN)?;
            stream.set_read_timeout(Some(monitor::ANSWERS_WITHIN))?;
            let mut word = [0; 5];
            stream.read_exact(&mut word)?;
            Ok(&word == b"INFO ")
        };
        greeting().unwrap_or(false)
    }

    /// The last lines of its log, for an error.
    pub(super) fn end_of_log(&self) -> String {
        match self.log() {
            Ok(log) => {
                let lines: Vec<&str> = log.lines().collect();
                lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
            }
            Err(error) => error.to_string(),
        }
    }

    /// How long the log is now, to tell later lines from earlier ones.
    pub(super) fn log_length(&self) -> u64 {
        std::fs::metadata(self.log_file()).map_or(0, |file| file.len())
    }

    /// Whether it has said since then that somebody else listens on its port.
    pub(super) fn port_was_taken(&self, since: u64) -> bool {
        let Ok(log) = self.log() else { return false };
        let since = usize::try_from(since).unwrap_or(usize::MAX);
        log.get(since..)
            .is_some_and(|log| log.contains("address already in use"))
    }

    fn begin(&self, process: &mut Process) -> Result<(), ServerError> {
        let child = self
            .guardian
            .run(&self.program, |command| {
                let log = self.open_log()?;
                command
                    .arg("-c")
                    .arg(self.config_file())
                    .current_dir(&self.directory)
                    .stdout(log.try_clone()?)
                    .stderr(log);
                Ok(())
            })
            .map_err(ServerError::io(format!(
                "starting {}",
                self.program.display()
            )))?;
        *process = Process::Running(child);
        Ok(())
    }

    fn kill_locked(&self, process: &mut Process) -> Result<(), ServerError> {
        let (Process::Running(child) | Process::Paused(child)) = process else {
            return Ok(());
        };
        let pid = child.id();
        child
            .kill()
            .and_then(|()| child.wait())
            .and_then(|_| self.guardian.ended(pid))
            .map_err(ServerError::io(format!("killing {}", self.name)))?;
        *process = Process::None;
        Ok(())
    }

    /// Nothing if it does not run.
    fn signal(&self, process: &mut Process, signal: Signal) -> Result<(), ServerError> {
        let (Process::Running(child) | Process::Paused(child)) =
            std::mem::replace(process, Process::None)
        else {
            return Ok(());
        };
        // It was not waited for, so the id is still its own.
        let sent = kill_process(Pid::from_child(&child), signal);
        *process = match signal {
            Signal::STOP if sent.is_ok() => Process::Paused(child),
            _ => Process::Running(child),
        };
        sent.map_err(|error| ServerError::io(format!("signalling {}", self.name))(error.into()))
    }

    /// How it ended, if it ended since it was asked last.
    fn reap(&self, process: &mut Process) -> Result<Option<ExitStatus>, ServerError> {
        let (Process::Running(child) | Process::Paused(child)) = process else {
            return Ok(None);
        };
        let failed = || ServerError::io(format!("waiting for {}", self.name));
        let pid = child.id();
        let Some(status) = child.try_wait().map_err(failed())? else {
            return Ok(None);
        };
        *process = Process::None;
        self.guardian.ended(pid).map_err(failed())?;
        Ok(Some(status))
    }

    fn ended_by_itself(&self, process: &mut Process) -> Result<Option<ServerError>, ServerError> {
        let status = self.reap(process)?;
        Ok(status.map(|status| ServerError::Ended {
            node: self.name.clone(),
            status,
            log: self.end_of_log(),
        }))
    }

    fn must_exist(&self, process: &Process) -> Result<(), ServerError> {
        match process {
            Process::None => Err(ServerError::NotRunning {
                node: self.name.clone(),
            }),
            Process::Running(_) | Process::Paused(_) => Ok(()),
        }
    }

    fn open_log(&self) -> io::Result<File> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file())
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn config_file(&self) -> PathBuf {
        self.directory.join("server.conf")
    }

    fn lock(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether all threads of the process are stopped. Asking takes nothing from those who wait for it.
fn stands_still(process: &Process) -> bool {
    let (Process::Running(child) | Process::Paused(child)) = process else {
        return false;
    };
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::Pid(Pid::from_child(child)), options);
    status.is_ok_and(|status| status.is_some_and(|status| status.stopped()))
}

impl Drop for Node {
    fn drop(&mut self) {
        // A drop can't report. What could not be killed here the guardian kills.
        let _ = self.kill();
    }
}
