//! What the file was at an earlier revision, from the program `git`.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::Failure;
use crate::exit_code::ExitCode;

/// The revision that is taken where none is named.
const HEAD: &str = "HEAD";
/// Characters of a commit's hash that are shown.
const SHOWN_HASH: usize = 10;

/// What the file was.
#[derive(Debug)]
pub(super) enum Past {
    /// Its text at a revision.
    Text {
        /// The revision, for people.
        revision: String,
        text: String,
    },
    /// There is nothing to compare with, and why.
    Nothing(String),
}

#[derive(Debug, thiserror::Error)]
enum PastError {
    #[error("the program `git` can't be started")]
    Start(#[source] io::Error),
    #[error("{} is in no git work tree", path.display())]
    NoWorkTree { path: PathBuf },
    #[error("`{revision}` is no revision of the git repository")]
    NoRevision { revision: String },
    #[error("`git {call}` failed: {said}")]
    Failed { call: &'static str, said: String },
}

impl From<PastError> for Failure {
    fn from(error: PastError) -> Self {
        let (code, hint) = match &error {
            PastError::Start(_) => (
                ExitCode::Failure,
                "install git and put it on the PATH, or check without the past: `--no-since`",
            ),
            PastError::NoWorkTree { .. } => (
                ExitCode::Invalid,
                "leave out `--since`, or name a file that is under version control",
            ),
            PastError::NoRevision { .. } => (
                ExitCode::NotFound,
                "name a commit, a branch or a tag, such as `origin/main`; where the clone is \
                 shallow, fetch it first",
            ),
            PastError::Failed { .. } => (ExitCode::Failure, "`git fsck` checks the repository"),
        };
        Self::new(code, error).with_hint(hint)
    }
}

/// The file at a revision; without one at HEAD, where that can be had.
pub(super) fn of(path: &Path, revision: Option<&str>) -> Result<Past, Failure> {
    let name = path.file_name().unwrap_or(OsStr::new(super::file::DEFAULT));
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let git = Git { directory };
    let inside = match git.run(&["rev-parse".as_ref(), "--is-inside-work-tree".as_ref()]) {
        Ok(output) if output.status.success() => output.stdout.starts_with(b"true"),
        // Any other reason is none to go on without the past: a repository of another owner, say.
        Ok(output) if !is_no_repository(&output) => return Err(failed("rev-parse", &output).into()),
        Ok(_) => false,
        // Nobody asked for git.
        Err(PastError::Start(_)) if revision.is_none() => {
            return Ok(Past::Nothing("there is no program `git`".to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    if !inside {
        if revision.is_none() {
            return Ok(Past::Nothing("it is in no git work tree".to_owned()));
        }
        let path = path.to_owned();
        return Err(PastError::NoWorkTree { path }.into());
    }
    let asked = revision.unwrap_or(HEAD);
    let commit = format!("{asked}^{{commit}}");
    let verify = ["rev-parse", "--verify", "--quiet", "--end-of-options"];
    let mut args: Vec<&OsStr> = verify.iter().map(OsStr::new).collect();
    args.push(commit.as_ref());
    let output = git.run(&args)?;
    if !output.status.success() {
        if revision.is_none() {
            // A HEAD that names a commit which can't be read is something else than none.
            let head = ["rev-parse", "--verify", "--quiet", HEAD].map(OsStr::new);
            let head = git.run(&head)?;
            return match head.status.success() {
                true => Err(failed("rev-parse HEAD^{commit}", &output).into()),
                false => Ok(Past::Nothing("nothing is committed yet".to_owned())),
            };
        }
        let revision = asked.to_owned();
        return Err(PastError::NoRevision { revision }.into());
    }
    let hash = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let short = hash.get(..SHOWN_HASH).unwrap_or(&hash);
    let shown = format!("{asked} ({short})");

    let list = ["--literal-pathspecs", "ls-tree", "--name-only"].map(OsStr::new);
    let mut args = list.to_vec();
    args.extend([hash.as_ref(), "--".as_ref(), name]);
    let listed = git.succeed("ls-tree", &args)?;
    if listed.stdout.is_empty() {
        return Ok(Past::Nothing(format!("{shown} does not have it")));
    }
    let mut object = std::ffi::OsString::from(format!("{hash}:./"));
    object.push(name);
    let output = git.succeed("show", &["cat-file".as_ref(), "blob".as_ref(), &object])?;
    Ok(Past::Text {
        revision: shown,
        text: String::from_utf8_lossy(&output.stdout).into_owned(),
    })
}

struct Git<'a> {
    directory: &'a Path,
}

impl Git<'_> {
    fn run(&self, args: &[&OsStr]) -> Result<Output, PastError> {
        Command::new("git")
            .env("LC_ALL", "C")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            .arg("-C")
            .arg(self.directory)
            .args(["--no-pager", "--no-replace-objects"])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .map_err(PastError::Start)
    }

    fn succeed(&self, call: &'static str, args: &[&OsStr]) -> Result<Output, PastError> {
        let output = self.run(args)?;
        if output.status.success() {
            return Ok(output);
        }
        Err(failed(call, &output))
    }
}

fn failed(call: &'static str, output: &Output) -> PastError {
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or("nothing").to_owned();
    PastError::Failed { call, said }
}

fn is_no_repository(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stderr).contains("not a git repository")
}
