//! How the program ends, for scripts.
//!
//! Each code tells a caller what to do next, as the kinds of the ports' errors do. The table in
//! the help and in `docs/cli.md` is made from [`ExitCode::ALL`].

use std::io;

use cim_store::{BucketError, BucketErrorKind, EventLogError, EventLogErrorKind, Fault};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// Done.
    Ok = 0,
    /// None of the others.
    Failure = 1,
    /// The command line can't be understood.
    Usage = 2,
    /// Somebody else was first: a stream is not at the expected version.
    Conflict = 3,
    /// What was asked for is not there.
    NotFound = 4,
    /// The input was understood but can't be taken.
    Invalid = 5,
    /// Stored data is damaged, or an answer differs from its source.
    Integrity = 6,
    /// Not possible now; nothing was stored.
    Unavailable = 7,
    /// The commit may or may not have been stored.
    Unknown = 8,
    /// Not allowed.
    Denied = 9,
    /// The store can be asked, and does not work as it should.
    Unhealthy = 10,
    /// Stopped by Ctrl-C.
    Interrupted = 130,
}

impl ExitCode {
    /// All of them, by number.
    pub const ALL: [Self; 12] = [
        Self::Ok,
        Self::Failure,
        Self::Usage,
        Self::Conflict,
        Self::NotFound,
        Self::Invalid,
        Self::Integrity,
        Self::Unavailable,
        Self::Unknown,
        Self::Denied,
        Self::Unhealthy,
        Self::Interrupted,
    ];

    /// The number that the operating system gets.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// What it says, for the help.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done; also when the reader of the output went away",
            Self::Failure => "failed for a reason that no other code names",
            Self::Usage => "the command line can't be understood",
            Self::Conflict => "conflict: a stream is not at the expected version; nothing stored",
            Self::NotFound => "not found: no such store, stream, event, file or directory",
            Self::Invalid => "invalid input: refused before anything was stored",
            Self::Integrity => "stored data is damaged, or an answer differs from its source",
            Self::Unavailable => "unavailable or held by another process; nothing stored",
            Self::Unknown => "outcome unknown: repeat it with the commit id that was printed",
            Self::Denied => "not allowed",
            Self::Unhealthy => "the store does not work as it should; `cim doctor` says what to do",
            Self::Interrupted => "stopped by Ctrl-C",
        }
    }

    /// The code for an error of the event log.
    pub fn of(error: &EventLogError) -> Self {
        match error.kind() {
            EventLogErrorKind::VersionConflict { .. } => Self::Conflict,
            EventLogErrorKind::Unknown { .. } => Self::Unknown,
            EventLogErrorKind::Fault(fault) => Self::of_fault(*fault),
            _ => Self::Failure,
        }
    }

    /// The code for an error of a bucket.
    pub fn of_bucket(error: &BucketError) -> Self {
        match error.kind() {
            BucketErrorKind::RevisionConflict { .. } => Self::Conflict,
            // Nothing here has a commit id to repeat; what is done again is done once.
            BucketErrorKind::Unknown => Self::Unavailable,
            BucketErrorKind::Fault(fault) => Self::of_fault(*fault),
            _ => Self::Failure,
        }
    }

    /// The code for a file that can't be opened, read or written.
    pub(crate) fn of_file(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::IsADirectory
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::AlreadyExists => Self::Invalid,
            _ => Self::Failure,
        }
    }

    fn of_fault(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable | Fault::Closed => Self::Unavailable,
            Fault::Denied => Self::Denied,
            Fault::Invalid | Fault::TooLarge { .. } | Fault::Unsupported => Self::Invalid,
            Fault::NotFound => Self::NotFound,
            Fault::Integrity => Self::Integrity,
            _ => Self::Failure,
        }
    }

    /// The table of all codes, one a line.
    pub(crate) fn table() -> String {
        let lines = Self::ALL.map(|code| format!("  {:>3}  {}\n", code.number(), code.meaning()));
        lines.concat()
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        code.number().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cim_store::{ExpectedVersion, LimitName, StreamId, Version};

    #[test]
    fn every_kind_of_error_has_the_code_that_tells_what_to_do() {
        let stream = StreamId::new("sales", "order", "1").unwrap();
        let conflict =
            EventLogError::version_conflict(stream, ExpectedVersion::NEW, Version::new(1));
        let commit = cim_store::CommitId::from_bytes([0; 16]);
        let cases = [
            (conflict, ExitCode::Conflict),
            (EventLogError::unknown(commit, "lost"), ExitCode::Unknown),
            (EventLogError::unavailable("busy"), ExitCode::Unavailable),
            (EventLogError::closed("closed"), ExitCode::Unavailable),
            (EventLogError::invalid("no"), ExitCode::Invalid),
            (
                EventLogError::too_large(LimitName::PayloadBytes, 2, 1),
                ExitCode::Invalid,
            ),
            (EventLogError::unsupported("no"), ExitCode::Invalid),
            (EventLogError::not_found("no"), ExitCode::NotFound),
            (EventLogError::integrity("broken"), ExitCode::Integrity),
            (EventLogError::new(Fault::Denied, "no"), ExitCode::Denied),
        ];
        for (error, code) in cases {
            assert_eq!(ExitCode::of(&error), code, "{error}");
        }
    }

    #[test]
    fn a_file_that_can_not_be_used_has_the_code_that_says_why() {
        for (kind, code) in [
            (io::ErrorKind::NotFound, ExitCode::NotFound),
            (io::ErrorKind::PermissionDenied, ExitCode::Denied),
            (io::ErrorKind::IsADirectory, ExitCode::Invalid),
            (io::ErrorKind::StorageFull, ExitCode::Failure),
        ] {
            assert_eq!(ExitCode::of_file(&kind.into()), code, "{kind}");
        }
    }
}
