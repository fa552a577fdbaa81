//! `cim checkpoint key`: a new key to sign checkpoints with.

use std::path::PathBuf;

use cim_domain::persistence::checkpoint::note::{SigningKey, write_signing_key};
use clap::Args;
use serde::Serialize;

use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::session::Session;

/// Make a key to sign checkpoints with
///
/// Writes a new Ed25519 key into FILE, which only its owner can read, and prints the verifier key
/// that belongs to it: give that to everybody who is to check. NAME is the log's name in its
/// checkpoints, in the form of a URL without a scheme, and should be nobody else's.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim checkpoint key example.com/sales --out sales.key
  cim checkpoint key example.com/sales --out sales.key > sales.vkey")]
pub(super) struct KeyArgs {
    /// The log's name, without spaces and `+`
    name: String,
    /// The file to make; it must not be there yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// The key that was made, as JSON.
#[derive(Serialize)]
struct KeyLine<'a> {
    name: &'a str,
    verifier: String,
}

impl KeyArgs {
    pub(super) fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        if let Some((scheme, rest)) = self.name.split_once("://") {
            let error = format!("`{}` begins with a URL's scheme", self.name);
            let hint = match rest {
                "" => format!("leave out `{scheme}://`"),
                rest => format!("leave out `{scheme}://`: `{rest}`"),
            };
            return Err(Failure::new(ExitCode::Invalid, error).with_hint(hint));
        }
        let key = SigningKey::generate(&self.name)?;
        write_signing_key(&self.out, &key)?;
        let ui = &mut *session.ui;
        ui.notice(format_args!(
            "the key is in {}; whoever has that file can sign as {}",
            self.out.display(),
            self.name
        ));
        let verifier = key.verifier().to_string();
        if ui.is_json() {
            return ui.json(&KeyLine {
                name: &self.name,
                verifier,
            });
        }
        ui.line(verifier)
    }
}
