//! What the user is told when a checkpoint, a proof or a key does not do.

use std::io;

use cim_domain::persistence::checkpoint::note::{KeyError, KeyFileError, NoteError};
use cim_domain::persistence::checkpoint::tree::ProofError;
use cim_domain::persistence::checkpoint::{CheckpointError, CheckpointTextError, ProofTextError};

use crate::error::Failure;
use crate::exit_code::ExitCode;

/// A failure with a hint, where there is one.
fn failure(
    code: ExitCode,
    error: impl std::error::Error + Send + Sync + 'static,
    hint: Option<&str>,
) -> Failure {
    let failure = Failure::new(code, error);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Self {
        let restore = "`cim verify` says more; restore what is damaged from a copy, and compare it \
                       with a checkpoint that was kept elsewhere";
        let (code, hint) = match &error {
            CheckpointError::Log(source) => (ExitCode::of(source), source.hint()),
            CheckpointError::Bucket(source) => (ExitCode::of_bucket(source), source.hint()),
            CheckpointError::Damaged { .. } | CheckpointError::Edge(_) => (
                ExitCode::Integrity,
                Some(
                    "the log itself can be verified all the same; `cim checkpoint create --anew` \
                     makes the tree again",
                ),
            ),
            CheckpointError::Rewritten { .. } => (
                ExitCode::Integrity,
                Some(
                    "`cim checkpoint verify` compares the log with a checkpoint that was kept \
                     elsewhere: where it is unchanged, the log was only moved, and \
                     `cim checkpoint create --anew` makes its tree again; otherwise restore what \
                     is damaged from a copy",
                ),
            ),
            CheckpointError::Truncated { .. } => (
                ExitCode::NotFound,
                Some("make checkpoints before events are truncated"),
            ),
            CheckpointError::NotCovered { .. } => (
                ExitCode::NotFound,
                Some(
                    "`cim checkpoint create` makes the tree cover the whole log; where the log itself \
                     has fewer events, `cim checkpoint verify` tells what is missing",
                ),
            ),
            CheckpointError::AfterCheckpoint { .. } => (
                ExitCode::NotFound,
                Some("make a newer checkpoint with `cim checkpoint create`, and name that one"),
            ),
            CheckpointError::NoSuchEvent { .. } => (
                ExitCode::NotFound,
                Some("`cim events STREAM --json` shows versions and CIDs"),
            ),
            CheckpointError::OtherTree { .. } => (
                ExitCode::Integrity,
                Some(
                    "it is a checkpoint of another log, or history was rewritten: \
                     `cim checkpoint verify` compares the log itself with it",
                ),
            ),
            CheckpointError::Contended { .. } => (
                ExitCode::Unavailable,
                Some("run the same command again, or let one process make checkpoints"),
            ),
            _ => (ExitCode::Integrity, Some(restore)),
        };
        let hint = hint.map(str::to_owned);
        failure(code, error, hint.as_deref())
    }
}

/// Whether it is the signature that is wrong, and not the form.
fn is_wrongly_signed(error: &CheckpointTextError) -> bool {
    matches!(
        error,
        CheckpointTextError::Origin { .. }
            | CheckpointTextError::Note(NoteError::Wrong { .. } | NoteError::Unknown { .. })
    )
}

const WRONGLY_SIGNED: &str = "don't trust it: take the checkpoint from where it was kept, and name \
                              the log's own key with `--key`";

const TAKE_OUT_RETURNS: &str = "it went through mail or an editor; `tr -d '\\r' < FILE > NEW` gives \
                                it back as it was";

/// What to do about a text that is a checkpoint but for what was done to it on the way.
fn repair(error: &CheckpointTextError) -> Option<&'static str> {
    match error {
        CheckpointTextError::Note(NoteError::CarriageReturn { .. }) => Some(TAKE_OUT_RETURNS),
        CheckpointTextError::Note(NoteError::EmptyEnd) => Some(
            "it went through mail or an editor; take out the empty lines at the end of the file",
        ),
        _ => None,
    }
}

impl From<CheckpointTextError> for Failure {
    fn from(error: CheckpointTextError) -> Self {
        let (code, hint) = match is_wrongly_signed(&error) {
            true => (ExitCode::Integrity, WRONGLY_SIGNED),
            false => (
                ExitCode::Invalid,
                repair(&error).unwrap_or("name a file that `cim checkpoint create` wrote"),
            ),
        };
        failure(code, error, Some(hint))
    }
}

impl From<ProofTextError> for Failure {
    fn from(error: ProofTextError) -> Self {
        let (code, hint) = match &error {
            ProofTextError::Checkpoint(signed) if is_wrongly_signed(signed) => {
                (ExitCode::Integrity, Some(WRONGLY_SIGNED))
            }
            ProofTextError::Proof(ProofError::OtherRoot { .. }) => (
                ExitCode::Integrity,
                Some("don't trust it: it was altered, or it belongs to another checkpoint"),
            ),
            ProofTextError::OtherEvent { .. } => (ExitCode::Integrity, None),
            ProofTextError::Checkpoint(text) if repair(text).is_some() => {
                (ExitCode::Invalid, repair(text))
            }
            ProofTextError::CarriageReturn { .. } => (ExitCode::Invalid, Some(TAKE_OUT_RETURNS)),
            ProofTextError::OtherOld { .. } => (
                ExitCode::Invalid,
                Some("name the checkpoint that the proof was made from with `--old`"),
            ),
            _ => (
                ExitCode::Invalid,
                Some("name a file that `cim checkpoint prove` or `consistency` wrote"),
            ),
        };
        failure(code, error, hint)
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        failure(ExitCode::Invalid, error, None)
    }
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        key_file(error, "`cim checkpoint key NAME --out FILE` makes a key")
    }
}

const ASK: &str = "ask whoever signs for the verifier key; it looks like example.com/sales+0f3a1b2c+AZ… \
                   (NAME+ID+BASE64)";

/// A verifier key's text that is none.
pub(super) fn verifier_text(error: KeyError) -> Failure {
    let hint = match &error {
        KeyError::Signs => {
            "a key that stood on a command line may have been seen: name the file that has it, or the \
             verifier key, which `cim checkpoint key` printed"
        }
        _ => ASK,
    };
    failure(ExitCode::Invalid, error, Some(hint))
}

/// A file with a key to verify with that can't be had.
pub(super) fn verifier_file(error: KeyFileError) -> Failure {
    key_file(error, ASK)
}

/// `get` says how to come by such a key.
fn key_file(error: KeyFileError, get: &str) -> Failure {
    let (code, hint) = match &error {
        KeyFileError::Read { source, .. } => {
            let hint = match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::IsADirectory => get,
                _ => "name a file that can be read",
            };
            (ExitCode::of_file(source), hint)
        }
        KeyFileError::Write { source, .. } => (
            ExitCode::of_file(source),
            "name a file that can be written, where there is room for it",
        ),
        KeyFileError::Exposed { .. } => (
            ExitCode::Invalid,
            "if nobody has read it, `chmod 600` the file; otherwise make another key and tell those \
             who keep checkpoints",
        ),
        KeyFileError::Exists { .. } => (ExitCode::Invalid, "name another file"),
        KeyFileError::Key { .. } => (ExitCode::Invalid, get),
        _ => return failure(ExitCode::Failure, error, None),
    };
    failure(code, error, Some(hint))
}
