//! The process that outlives the test process, and clears up after it.
//!
//! A shell reads from a pipe whose other end only the test process holds. It is told which servers
//! run. When the pipe ends, for whatever reason the test process ended, it kills the servers that
//! still run, by process id, and removes the directory. A server is told to begin only after the
//! guardian knows it, so there is no moment in which one could be forgotten.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::ServerError;

/// `$1` is the directory. The guardian makes it, so that there is no moment in which it is there
/// and has no guardian. A process that was just killed may still end a write, so removing is tried
/// again. The test process can be gone before it reads `made`.
const SCRIPT: &str = r#"
trap '' PIPE
mkdir -- "$1" || exit 1
echo made
pids=
while read -r word pid; do
    case $word in
        run) pids="$pids $pid" ;;
        end)
            rest=
            for one in $pids; do [ "$one" = "$pid" ] || rest="$rest $one"; done
            pids=$rest
            ;;
    esac
done
for one in $pids; do kill -KILL "$one"; done
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf -- "$1" && exit 0
    sleep 1
done
exit 1
"#;

/// Waits for the word to begin, and then becomes the server under the same process id.
const BEGIN: &str = r#"read -r begin && exec "$0" "$@" </dev/null"#;

/// A directory with all that servers leave, and the process that clears it up.
#[derive(Debug)]
pub(super) struct Guardian {
    directory: PathBuf,
    process: Mutex<Option<(Child, ChildStdin)>>,
}

impl Guardian {
    /// A new empty directory below `parent`, and its guardian.
    pub(super) fn of_directory_in(parent: &Path) -> Result<Self, ServerError> {
        std::fs::create_dir_all(parent)
            .map_err(ServerError::io(format!("making {}", parent.display())))?;
        // The guardian has another working directory.
        let parent = parent
            .canonicalize()
            .map_err(ServerError::io(format!("finding {}", parent.display())))?;
        let random = RandomState::new().hash_one(std::process::id());
        let directory = parent.join(format!("cim-nats-{random:016x}"));
        let process = start(&directory).map_err(ServerError::io(format!(
            "starting a guardian `sh` for the directory {}",
            directory.display()
        )))?;
        Ok(Self {
            directory,
            process: Mutex::new(Some(process)),
        })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Starts a program that goes away with the test process. Its standard input is empty, its
    /// output goes where `prepare` says.
    pub(super) fn run(
        &self,
        program: &Path,
        prepare: impl FnOnce(&mut Command) -> io::Result<()>,
    ) -> io::Result<Child> {
        let mut command = Command::new("sh");
        command.args(["-c", BEGIN]).arg(program);
        command.stdin(Stdio::piped()).process_group(0);
        prepare(&mut command)?;
        let mut child = command.spawn()?;
        let begun = self
            .tell("run", child.id())
            .and_then(|()| child.stdin.take().ok_or_else(no_pipe))
            .and_then(|mut pipe| pipe.write_all(b"begin\n"));
        match begun {
            Ok(()) => Ok(child),
            Err(error) => {
                // Without a guardian it must not run.
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// To be told after the process was waited for: its id may now be somebody else's.
    pub(super) fn ended(&self, pid: u32) -> io::Result<()> {
        self.tell("end", pid)
    }

    fn tell(&self, word: &str, pid: u32) -> io::Result<()> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        match process.as_mut() {
            Some((_, pipe)) => pipe.write_all(format!("{word} {pid}\n").as_bytes()),
            None => Err(no_pipe()),
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        let process = self
            .process
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((mut child, pipe)) = process.take() {
            drop(pipe);
            // A drop can't report; the tests see that nothing is left.
            let _ = child.wait();
        }
    }
}

fn no_pipe() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the process has no pipe")
}

/// Returns when the directory is there.
fn start(directory: &Path) -> io::Result<(Child, ChildStdin)> {
    let mut child = shell(directory).spawn()?;
    let (pipe, mut said) = child
        .stdin
        .take()
        .zip(child.stdout.take())
        .ok_or_else(no_pipe)?;
    let mut word = [0; 5];
    match said.read_exact(&mut word) {
        Ok(()) => Ok((child, pipe)),
        Err(_) => {
            let status = child.wait()?;
            Err(io::Error::other(format!("it ended with {status}")))
        }
    }
}

fn shell(directory: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", SCRIPT, "guardian"])
        .arg(directory)
        .current_dir("/")
        .stdin(Stdio::piped())
        // The test process's own would keep whoever reads them waiting for the guardian.
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // Ctrl-C in a terminal is for the test process; the pipe tells us that it is gone.
        .process_group(0);
    shell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_new_and_goes_with_its_guardian() {
        let parent = std::env::temp_dir();
        let guardian = Guardian::of_directory_in(&parent).unwrap();
        let directory = guardian.directory().to_path_buf();
        assert!(directory.is_dir());
        std::fs::write(directory.join("file"), "x").unwrap();
        drop(guardian);
        assert!(!directory.exists());
    }

    #[test]
    fn a_directory_that_is_there_is_neither_taken_nor_removed() {
        let other = Guardian::of_directory_in(&std::env::temp_dir()).unwrap();
        assert!(start(other.directory()).is_err());
        assert!(other.directory().is_dir());
    }

    #[test]
    fn nothing_is_left_where_the_test_process_goes_before_it_has_heard_of_the_directory() {
        let other = Guardian::of_directory_in(&std::env::temp_dir()).unwrap();
        for number in 0..20 {
            let directory = other.directory().join(number.to_string());
            let mut child = shell(&directory).spawn().unwrap();
            drop(child.stdout.take());
            drop(child.stdin.take());
            assert!(child.wait().unwrap().success());
            assert!(!directory.exists());
        }
    }

    #[test]
    fn what_runs_at_the_end_is_killed_and_what_ended_is_not() {
        let guardian = Guardian::of_directory_in(&std::env::temp_dir()).unwrap();
        let sleep = |guardian: &Guardian| {
            let seconds = |command: &mut Command| {
                command.arg("1000");
                Ok(())
            };
            guardian.run(Path::new("sleep"), seconds).unwrap()
        };
        let (mut forgotten, mut left) = (sleep(&guardian), sleep(&guardian));
        guardian.ended(forgotten.id()).unwrap();
        drop(guardian);
        assert!(!left.wait().unwrap().success());
        assert!(forgotten.try_wait().unwrap().is_none());
        forgotten.kill().unwrap();
        forgotten.wait().unwrap();
    }
}
