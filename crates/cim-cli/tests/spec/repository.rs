//! Small git repositories, made with `git`, the same in every run.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A git repository in a directory of its own.
#[derive(Debug)]
pub(crate) struct Repository {
    directory: TempDir,
    commits: std::cell::Cell<u32>,
}

impl Repository {
    /// Without commits.
    pub(crate) fn empty() -> Self {
        let repository = Self {
            directory: tempfile::tempdir().unwrap(),
            commits: std::cell::Cell::new(0),
        };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    /// With so many commits, each of which adds a file and changes another.
    pub(crate) fn with_commits(count: u32) -> Self {
        let repository = Self::empty();
        for number in 1..=count {
            repository.write(format!("file {number}"), "new");
            repository.write("counter", &number.to_string());
            repository.commit(&format!("commit {number}"));
        }
        repository
    }

    /// With so many commits, each of which adds a file of its own and nothing else.
    pub(crate) fn with_files(count: u32) -> Self {
        let repository = Self::empty();
        for number in 1..=count {
            repository.write(format!("file {number}"), "new");
            repository.commit(&format!("commit {number}"));
        }
        repository
    }

    /// A clone with these options.
    pub(crate) fn cloned(&self, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("file://{}", self.path_text());
        let mut args = vec!["clone", "--quiet"];
        args.extend(options);
        args.extend([url.as_str(), directory.path().to_str().unwrap()]);
        self.git(&args);
        Self {
            directory,
            commits: std::cell::Cell::new(1000),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path_text(&self) -> &str {
        self.path().to_str().unwrap()
    }

    pub(crate) fn file(&self, path: impl AsRef<[u8]>) -> PathBuf {
        self.path().join(OsStr::from_bytes(path.as_ref()))
    }

    pub(crate) fn write(&self, path: impl AsRef<[u8]>, content: &str) {
        let file = self.file(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    }

    pub(crate) fn remove(&self, path: impl AsRef<[u8]>) {
        std::fs::remove_file(self.file(path)).unwrap();
    }

    /// Commits whatever is in the work tree; gives the commit's hash.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.commit_index(message)
    }

    /// Commits what was added.
    pub(crate) fn commit_index(&self, message: &str) -> String {
        self.git(&[
            "commit",
            "--quiet",
            "--allow-empty",
            "--allow-empty-message",
            "-m",
            message,
        ]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git; gives what it writes, without the last line's end.
    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) -> String {
        self.commits.set(self.commits.get() + 1);
        let date = format!("{} +0200", 1_000_000_000 + self.commits.get());
        let output = Command::new("git")
            .current_dir(self.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "Ann")
            .env("GIT_AUTHOR_EMAIL", "ann@example.org")
            .env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_NAME", "Ben")
            .env("GIT_COMMITTER_EMAIL", "ben@example.org")
            .env("GIT_COMMITTER_DATE", &date)
            .args([
                "-c",
                "protocol.file.allow=always",
                "-c",
                "core.hooksPath=/dev/null",
            ])
            .args(args)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?}: {said}");
        String::from_utf8_lossy(&output.stdout)
            .trim_end_matches('\n')
            .to_owned()
    }
}
