//! What was verified, kept by whoever verifies and not in the store: the next verification reads
//! only what is new, and notices a history that was cut or replaced since.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use cim_domain::persistence::verification::{HeadsFileError, VerifiedHeads};
use sha2::{Digest, Sha256};

use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::session::StoreAddress;

/// A file of verified heads that can't be used.
#[derive(Debug, thiserror::Error)]
enum KeptHeadsError {
    #[error("the verified heads can't be {done} ({path})", path = path.display())]
    File {
        done: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the verified heads can't be used ({path})", path = path.display())]
    Content {
        path: PathBuf,
        source: HeadsFileError,
    },
}

/// A file of verified heads, which may not exist yet.
#[derive(Clone, Debug)]
pub(crate) struct KeptHeads(PathBuf);

impl KeptHeads {
    /// The file that the user named.
    pub(crate) fn named(path: PathBuf) -> Self {
        Self(path)
    }

    /// The store's own file among those of this user; `None` for a store that is forgotten anyway.
    pub(crate) fn of_store(state_directory: &Path, address: &StoreAddress) -> Option<Self> {
        let (scheme, rest) = address.url.split_once(':')?;
        let store = match scheme.to_ascii_lowercase().as_str() {
            "memory" => return None,
            // The same directory has many spellings.
            "embedded" => {
                let directory = fs::canonicalize(rest).ok()?;
                format!("embedded:{}", directory.display())
            }
            _ => {
                // Users of one server may have logs of their own there.
                let (who, host) = rest.rsplit_once('@').unwrap_or(("", rest));
                let user = who.split_once(':').map_or("", |(user, _)| user);
                let creds = address.nats.creds.as_deref().unwrap_or(Path::new(""));
                let stream = address.nats.stream_name.as_deref().unwrap_or("");
                let creds = creds.display();
                format!("{user}@{} {creds} {stream}", host.trim_start_matches('/'))
            }
        };
        let digest = Sha256::digest(store.as_bytes());
        let name: String = digest[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let directory = state_directory.join("cim").join("verified");
        Some(Self(directory.join(format!("{name}.heads"))))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// What was verified before; `None` where nothing was.
    pub(crate) fn read(&self) -> Result<Option<VerifiedHeads>, Failure> {
        let path = &self.0;
        match File::open(path) {
            Ok(file) => match VerifiedHeads::read(BufReader::new(file)) {
                Ok(heads) => Ok(Some(heads)),
                Err(source @ HeadsFileError::Other) => Err(self.foreign(source)),
                Err(HeadsFileError::Read(error)) => Err(self.unreadable(error)),
                Err(source) => {
                    let path = path.clone();
                    let error = KeptHeadsError::Content { path, source };
                    Err(Failure::new(ExitCode::Invalid, error).with_hint(
                        "restore it from a copy of yours, or begin a new one with `cim verify --anew`",
                    ))
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unreadable(error)),
        }
    }

    /// Refuses to replace a file that holds something else than verified heads, whole or damaged.
    pub(crate) fn check_replaceable(&self) -> Result<(), Failure> {
        match File::open(&self.0).map(|file| VerifiedHeads::read(BufReader::new(file))) {
            Ok(Err(source @ HeadsFileError::Other)) => Err(self.foreign(source)),
            Ok(Err(HeadsFileError::Read(error))) => Err(self.unreadable(error)),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.unreadable(error)),
        }
    }

    fn unreadable(&self, error: io::Error) -> Failure {
        self.failure("read", error)
            .with_hint("name a file that can be read with `--heads FILE`")
    }

    fn foreign(&self, source: HeadsFileError) -> Failure {
        let path = self.0.clone();
        let error = KeptHeadsError::Content { path, source };
        Failure::new(ExitCode::Invalid, error)
            .with_hint("name another file with `--heads`; this one is left as it is")
    }

    /// Keeps what is verified now: whole, or as it was before.
    pub(crate) fn write(&self, heads: &VerifiedHeads) -> Result<(), Failure> {
        let written = || -> io::Result<()> {
            if let Some(directory) = self.0.parent().filter(|dir| !dir.as_os_str().is_empty()) {
                fs::create_dir_all(directory)?;
            }
            let mut new = self.0.clone().into_os_string();
            new.push(format!(".{}.new", std::process::id()));
            let new = PathBuf::from(new);
            let whole = write_whole(&new, heads).and_then(|()| fs::rename(&new, &self.0));
            whole.inspect_err(|_| {
                let _ = fs::remove_file(&new); // it is of no use
            })
        };
        written().map_err(|error| {
            self.failure("kept", error)
                .with_hint("name a file that can be written with `--heads FILE`")
        })
    }

    fn failure(&self, done: &'static str, source: io::Error) -> Failure {
        let path = self.0.clone();
        let code = ExitCode::of_file(&source);
        Failure::new(code, KeptHeadsError::File { done, path, source })
    }
}

/// Writes heads into a new file, and flushes it to disk.
fn write_whole(path: &Path, heads: &VerifiedHeads) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    heads.write(&mut out)?;
    out.flush()?;
    out.get_ref().sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_of_other_users_of_a_server_are_others_and_no_password_matters() {
        let name = |url: &str| {
            let address = StoreAddress {
                url: url.to_owned(),
                ..StoreAddress::default()
            };
            KeptHeads::of_store(Path::new("/state"), &address).map(|kept| kept.0)
        };
        assert_ne!(
            name("nats://ann:x@host:4222"),
            name("nats://bob:x@host:4222")
        );
        assert_eq!(
            name("nats://ann:x@host:4222"),
            name("nats://ann:y@host:4222")
        );
        assert_eq!(name("nats://host:4222"), name("tls://host:4222"));
        assert_ne!(name("nats://host:4222"), name("nats://other:4222"));
        assert_eq!(name("memory:"), None);
        assert_eq!(name("embedded:/no/such/directory"), None);
    }
}
