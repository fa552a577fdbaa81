//! The `git` program as reader: how it is started, and what it says when it fails.
//!
//! Every call is made so that the user's configuration, environment and place can't change the
//! answer: the git directory is named, paths are literal, replaced objects are not followed.
//! Output is streamed; what git says on standard error is kept for the error.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use super::object::{ObjectId, ObjectIdError};
use super::reader::ReadError;
use crate::error::Failure;
use crate::exit_code::ExitCode;

/// Bytes that are kept of what git says on standard error.
const SAID_BYTES: u64 = 4096;

/// Variables that name another repository than the one that was asked for; they are what
/// `git rev-parse --local-env-vars` lists.
const LOCAL_VARIABLES: [&str; 15] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_OBJECT_DIRECTORY",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_COMMON_DIR",
];

/// What went wrong between us and git.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    /// The program can't be started.
    #[error("the program `git` can't be started")]
    Start(#[source] io::Error),
    /// The path is not there.
    #[error("there is no directory {}", path.display())]
    NoDirectory { path: PathBuf },
    /// The path is no repository.
    #[error("{} is not a git repository that can be read", path.display())]
    NotARepository { path: PathBuf, source: Said },
    /// A call failed.
    #[error("`git {call}` failed")]
    Failed { call: String, source: Said },
    /// Its output ended early or can't be read.
    #[error("the output of `git {call}` can't be read")]
    Read { call: String, source: io::Error },
    /// Its output is not what git writes.
    #[error("the output of `git {call}` can't be understood")]
    Parse { call: String, source: ReadError },
}

/// What git said on standard error.
#[derive(Debug, thiserror::Error)]
#[error("git said: {0}")]
pub(crate) struct Said(String);

impl From<GitError> for Failure {
    fn from(error: GitError) -> Self {
        let (code, hint) = match &error {
            GitError::Start(_) => (
                ExitCode::Failure,
                Some("install git and put it on the PATH"),
            ),
            GitError::NoDirectory { .. } => (
                ExitCode::NotFound,
                Some("name a git repository with `--repo`"),
            ),
            GitError::NotARepository { .. } => (
                ExitCode::Invalid,
                Some("name a git repository with `--repo`"),
            ),
            GitError::Failed { .. } => (
                ExitCode::Failure,
                Some("`git fsck` checks the repository; what was imported so far is stored"),
            ),
            GitError::Read { .. } | GitError::Parse { .. } => (ExitCode::Failure, None),
        };
        let failure = Self::new(code, error);
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

/// A git repository, and how to ask it.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    program: OsString,
    git_dir: PathBuf,
    /// Whether variables that name another repository are removed: when a path was given.
    foreign: bool,
}

impl Repository {
    /// Finds the repository that `path` is in; without one that of the current directory or of
    /// the environment.
    pub(crate) fn find(path: Option<&Path>) -> Result<Self, GitError> {
        Self::find_with("git".into(), path)
    }

    fn find_with(program: OsString, path: Option<&Path>) -> Result<Self, GitError> {
        if let Some(path) = path
            && !path.is_dir()
        {
            return Err(GitError::NoDirectory {
                path: path.to_owned(),
            });
        }
        let mut command = Command::new(&program);
        quiet(&mut command);
        if let Some(path) = path {
            LOCAL_VARIABLES.iter().for_each(|name| {
                command.env_remove(name);
            });
            command.arg("-C").arg(path);
        }
        command.args(["rev-parse", "--absolute-git-dir"]);
        let output = command.output().map_err(GitError::Start)?;
        let shown = path
            .unwrap_or(Path::new("the current directory"))
            .to_owned();
        if !output.status.success() {
            return Err(GitError::NotARepository {
                path: shown,
                source: Said::of(&output.stderr),
            });
        }
        let line = output.stdout.strip_suffix(b"\n").unwrap_or(&output.stdout);
        Ok(Self {
            program,
            git_dir: os_path(line).into(),
            foreign: path.is_some(),
        })
    }

    /// The repository's git directory.
    pub(crate) fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.program);
        quiet(&mut command);
        if self.foreign {
            LOCAL_VARIABLES.iter().for_each(|name| {
                command.env_remove(name);
            });
        }
        for name in ["GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
            command.env_remove(name);
        }
        command.arg("--git-dir").arg(&self.git_dir);
        command.args(["--no-pager", "--no-replace-objects", "--literal-pathspecs"]);
        // Configuration that would change what is listed, or in which order.
        let settings = [
            "core.quotePath=false",
            "log.showSignature=false",
            "log.showRoot=true",
        ];
        for setting in settings {
            command.args(["-c", setting]);
        }
        command.args(args);
        command
    }

    /// Starts git and streams what it writes.
    pub(crate) fn stream<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<GitOutput, GitError> {
        let mut command = self.command(args);
        let call = call_text(&command);
        // Ctrl-C is for us; git is ended when its output is not needed any more.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(GitError::Start)?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            let source = io::Error::other("no pipe");
            return Err(GitError::Read { call, source });
        };
        // Read beside, so that git never waits for somebody to read its complaints.
        let said = std::thread::spawn(move || {
            let mut stderr = stderr;
            let mut said = Vec::new();
            // Whatever could be read is worth showing.
            let _ = (&mut stderr).take(SAID_BYTES).read_to_end(&mut said);
            let _ = io::copy(&mut stderr, &mut io::sink());
            said
        });
        Ok(GitOutput {
            call,
            child,
            stdout: BufReader::with_capacity(1 << 16, stdout),
            said: Some(said),
        })
    }

    /// All that git writes for a call with a short answer, without the last line's end.
    pub(crate) fn text<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<String, GitError> {
        let mut output = self.stream(args)?;
        let mut text = Vec::new();
        let read = output.stdout.read_to_end(&mut text);
        read.map_err(|source| output.read_error(source))?;
        output.finish()?;
        Ok(String::from_utf8_lossy(&text)
            .trim_end_matches('\n')
            .to_owned())
    }

    /// The commit at HEAD; `None` where there is none yet.
    pub(crate) fn head(&self) -> Result<Option<ObjectId>, GitError> {
        let args = ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"];
        match self.text(args) {
            Ok(text) => text
                .parse()
                .map(Some)
                .map_err(|error| parse_error(args, error)),
            // Without commits HEAD names a branch that is yet to be born.
            Err(GitError::Failed { .. }) if self.head_is_unborn()? => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn head_is_unborn(&self) -> Result<bool, GitError> {
        let Ok(branch) = self.text(["symbolic-ref", "--quiet", "HEAD"]) else {
            return Ok(false);
        };
        match self.text(["show-ref", "--verify", "--quiet", &branch]) {
            Ok(_) => Ok(false),
            Err(GitError::Failed { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The first-parent history that ends with `head`, oldest first.
    pub(crate) fn first_parents(&self, head: &ObjectId) -> Result<Vec<ObjectId>, GitError> {
        let head = head.to_string();
        let args = ["rev-list", "--first-parent", "--reverse", &head];
        let mut output = self.stream(args)?;
        let mut history = Vec::new();
        while let Some(line) = output.token(b'\n')? {
            history.push(ObjectId::from_hex(&line).map_err(|error| parse_error(args, error))?);
        }
        output.finish()?;
        Ok(history)
    }

    /// Whether this commit has parents that a shallow clone lacks.
    pub(crate) fn is_boundary(&self, commit: &ObjectId) -> Result<bool, GitError> {
        if self.text(["rev-parse", "--is-shallow-repository"])? != "true" {
            return Ok(false);
        }
        let text = self.text(["cat-file", "commit", &commit.to_string()])?;
        Ok(text
            .lines()
            .take_while(|line| !line.is_empty())
            .any(|l| l.starts_with("parent ")))
    }
}

fn parse_error<S: AsRef<OsStr>>(args: impl AsRef<[S]>, error: ObjectIdError) -> GitError {
    let call: Vec<_> = args
        .as_ref()
        .iter()
        .map(|arg| arg.as_ref().to_string_lossy())
        .collect();
    GitError::Parse {
        call: call.join(" "),
        source: error.into(),
    }
}

/// Nothing asks, nothing is translated, nothing is locked.
fn quiet(command: &mut Command) {
    command
        .env("LC_ALL", "C")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0");
    command.stdin(Stdio::null());
}

/// The call's own arguments, as a user would type them, without what we always add.
fn call_text(command: &Command) -> String {
    let args: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    let own = args
        .iter()
        .rposition(|arg| arg == "-c")
        .map_or(0, |at| at + 2);
    args[own.min(args.len())..].join(" ").replace('\0', "%00")
}

/// A path of a repository, for the system.
#[cfg(unix)]
pub(crate) fn os_path(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStrExt;
    OsStr::from_bytes(bytes).to_owned()
}

/// A path of a repository, for the system; here git speaks UTF-8.
#[cfg(not(unix))]
pub(crate) fn os_path(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

impl Said {
    fn of(stderr: &[u8]) -> Self {
        let text = String::from_utf8_lossy(stderr);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .take(5)
            .collect();
        Self(if lines.is_empty() {
            "nothing".to_owned()
        } else {
            lines.join("; ")
        })
    }
}

/// What a running git writes. Dropping it ends git.
#[derive(Debug)]
pub(crate) struct GitOutput {
    call: String,
    child: Child,
    stdout: BufReader<ChildStdout>,
    said: Option<JoinHandle<Vec<u8>>>,
}

impl GitOutput {
    /// The bytes up to the next `end`, without it; `None` at the end. What comes last needs no
    /// `end`.
    pub(crate) fn token(&mut self, end: u8) -> Result<Option<Vec<u8>>, GitError> {
        let mut token = Vec::new();
        match self.stdout.read_until(end, &mut token) {
            Ok(0) => Ok(None),
            Ok(_) => {
                token.pop_if(|last| *last == end);
                Ok(Some(token))
            }
            Err(source) => Err(self.read_error(source)),
        }
    }

    /// What git writes.
    pub(crate) fn reader(&mut self) -> &mut BufReader<ChildStdout> {
        &mut self.stdout
    }

    pub(crate) fn parse_error(&self, source: ReadError) -> GitError {
        GitError::Parse {
            call: self.call.clone(),
            source,
        }
    }

    fn read_error(&self, source: io::Error) -> GitError {
        GitError::Read {
            call: self.call.clone(),
            source,
        }
    }

    /// Waits for git's end. Whatever was read counts only when this says that git succeeded.
    pub(crate) fn finish(mut self) -> Result<(), GitError> {
        let status = self
            .child
            .wait()
            .map_err(|source| self.read_error(source))?;
        if status.success() {
            return Ok(());
        }
        let said = self
            .said
            .take()
            .and_then(|said| said.join().ok())
            .unwrap_or_default();
        Err(GitError::Failed {
            call: self.call.clone(),
            source: Said::of(&said),
        })
    }
}

impl Drop for GitOutput {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_git_the_error_says_so() {
        let error = Repository::find_with("no-such-git-program".into(), None).unwrap_err();
        assert!(matches!(error, GitError::Start(_)), "{error:?}");
        let failure = Failure::from(error);
        assert_eq!(failure.hint(), Some("install git and put it on the PATH"));
    }

    #[test]
    fn a_path_that_is_not_there_is_named() {
        let path = Path::new("/no/such/directory");
        let error = Repository::find(Some(path)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no directory /no/such/directory"
        );
    }
}
