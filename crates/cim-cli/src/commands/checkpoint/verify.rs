//! `cim checkpoint verify`: whether the log still is what a checkpoint says, or a proof holds.

use std::path::PathBuf;

use cim_domain::persistence::checkpoint::note::VerifierKey;
use cim_domain::persistence::checkpoint::{
    Checkpoint, Checkpoints, ConsistencyProof, Difference, Found, InclusionProof, Verdict,
    Verification,
};
use cim_store::{Context, EventCid};
use clap::Args;
use serde::Serialize;

use super::consistency::show_growth;
use super::{CheckpointLine, files, number_of, progress};
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::output::{Style, Ui};
use crate::session::{Session, StoreMode};

/// Compare the log with a checkpoint, or check a proof
///
/// Checks who signed the checkpoint, reads as many events as it has from the beginning of the log,
/// hashes them anew and compares. Nothing in the store is believed. The verdict is `unchanged`,
/// `cut` (events are missing at the end) or `rewritten`, with the first event that is another one
/// than it was, where the tree in the store tells.
///
/// A proof that `cim checkpoint prove` wrote is checked by itself, without any store: that the
/// checkpoint in it is signed, and that the event it names is in the log of that checkpoint. One that
/// `cim checkpoint consistency` wrote is checked with the old checkpoint, `--old`: that both are
/// signed, and that the log only grew.
///
/// KEY is the log's verifier key, `NAME+ID+BASE64`, or a file that has it or the key that signs.
/// The exit code is 6 when history is not what it was, or something is not signed with that key.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cim checkpoint verify sales-2026-11-20.checkpoint --key sales.vkey
  cim checkpoint verify order-7.tlog-proof --key example.com/sales+0f3a1b2c+AZ…
  cim checkpoint verify order-7.tlog-proof --key sales.vkey --cid bafyrei…
  cim checkpoint verify growth --old october.checkpoint --key sales.vkey")]
pub(super) struct VerifyArgs {
    /// The checkpoint or the proof
    file: PathBuf,
    /// The log's verifier key, or a file that has it
    #[arg(long, value_name = "KEY")]
    key: String,
    /// The event that the proof must be about
    #[arg(long, value_name = "CID")]
    cid: Option<EventCid>,
    /// The older checkpoint, from which the proof of growth begins
    #[arg(long, value_name = "FILE", conflicts_with = "cid")]
    old: Option<PathBuf>,
}

/// A checkpoint's verdict, as JSON.
#[derive(Serialize)]
struct VerdictLine<'a> {
    #[serde(flatten)]
    checkpoint: CheckpointLine<'a>,
    verdict: &'static str,
    /// Events that were truncated, whose hashes come from the tree.
    from_tree: u64,
    /// How many events there are, where the log was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    found_events: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<DifferenceLine>,
    /// What the log could not hand out.
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<&'a str>,
}

/// The first event that differs, as JSON.
#[derive(Serialize)]
struct DifferenceLine {
    index: u64,
    position: Option<u64>,
    expected: String,
    stream: Option<String>,
    version: Option<u64>,
    found_position: Option<u64>,
    found: Option<String>,
    damage: Option<String>,
}

/// A proof that holds, as JSON.
#[derive(Serialize)]
struct ProvenLine<'a> {
    cid: String,
    index: u64,
    #[serde(flatten)]
    checkpoint: CheckpointLine<'a>,
    verdict: &'static str,
}

impl VerifyArgs {
    pub(super) async fn run(self, session: &mut Session<'_>) -> Result<(), Failure> {
        let key = files::verifier_key(&self.key)?;
        let text = files::read(&self.file)?;
        if ConsistencyProof::is_meant(&text) {
            return self.check_growth(session.ui, &text, &key);
        }
        if self.old.is_some() {
            let error = "`--old` is for proofs of growth, and the file holds none";
            return Err(Failure::new(ExitCode::Invalid, error)
                .with_hint("`cim checkpoint consistency OLD NEW --out FILE` makes one"));
        }
        if InclusionProof::is_meant(&text) {
            return check_proof(session.ui, &text, &key, self.cid);
        }
        if self.cid.is_some() {
            return Err(no_proof_of_an_event());
        }
        let checkpoint = Checkpoint::open(&text, std::slice::from_ref(&key))?;
        let store = session.open(StoreMode::MustExist).await?;
        let ui = &mut *session.ui;
        let shown = progress(ui, "verified events");
        let (ctx, checkpoints) = (Context::new(), Checkpoints::new(store));
        let verified = checkpoints.verify(&ctx, &checkpoint, shown).await?;
        show(ui, &checkpoint, &verified)?;
        match verified.verdict {
            Verdict::Unchanged => Ok(()),
            _ => Err(Failure::reported(ExitCode::Integrity)),
        }
    }

    fn check_growth(&self, ui: &mut Ui, text: &[u8], key: &VerifierKey) -> Result<(), Failure> {
        if self.cid.is_some() {
            return Err(no_proof_of_an_event());
        }
        let Some(old) = &self.old else {
            let file = self.file.display();
            let error =
                format!("{file} is a proof of growth, and does not hold the old checkpoint");
            return Err(Failure::new(ExitCode::Invalid, error)
                .with_hint("name the checkpoint that it begins from with `--old FILE`"));
        };
        let old = files::open_checkpoint(old, key)?;
        let proof = ConsistencyProof::open(text, &old, std::slice::from_ref(key))?;
        show_growth(ui, &old, &proof)
    }
}

fn no_proof_of_an_event() -> Failure {
    let error = "`--cid` is for proofs of an event, and the file holds none";
    Failure::new(ExitCode::Invalid, error)
        .with_hint("`cim checkpoint prove` makes the proof of an event")
}

fn check_proof(
    ui: &mut Ui,
    text: &[u8],
    key: &VerifierKey,
    cid: Option<EventCid>,
) -> Result<(), Failure> {
    let proof = InclusionProof::open(text, std::slice::from_ref(key))?;
    if let Some(cid) = cid {
        proof.check_event(cid)?;
    }
    let line = ProvenLine {
        cid: proof.cid().to_string(),
        index: proof.index(),
        checkpoint: CheckpointLine::of(proof.checkpoint()),
        verdict: "proven",
    };
    if ui.is_json() {
        return ui.json(&line);
    }
    ui.line(format_args!("event     {}", line.cid))?;
    ui.line(format_args!("number    {}", number_of(line.index)))?;
    line.checkpoint.show(ui)?;
    let verdict = ui.paint(Style::Good, "the event is in the log of this checkpoint");
    ui.line(format_args!("verdict   {verdict}"))
}

fn show(ui: &mut Ui, checkpoint: &Checkpoint, verified: &Verification) -> Result<(), Failure> {
    let (verdict, found_events, first) = match &verified.verdict {
        Verdict::Unchanged => ("unchanged", None, None),
        Verdict::Cut { events, .. } => ("cut", Some(*events), None),
        Verdict::Rewritten { first } => ("rewritten", None, first.as_ref()),
        _ => ("changed", None, None),
    };
    let line = CheckpointLine::of(checkpoint);
    if ui.is_json() {
        return ui.json(&VerdictLine {
            checkpoint: line,
            verdict,
            from_tree: verified.from_tree,
            found_events,
            first: first.map(difference_line),
            damage: verified.damage.as_deref(),
        });
    }
    line.show(ui)?;
    if verified.from_tree > 0 {
        let truncated = verified.from_tree;
        ui.line(format_args!(
            "from tree {truncated} (truncated; the checkpoint proves their hashes, not that an archive has them)"
        ))?;
    }
    let sentence = match &verified.verdict {
        Verdict::Unchanged => "unchanged: the log begins with exactly these events".to_owned(),
        Verdict::Cut {
            events,
            rest_is_unchanged,
        } => {
            let rest = match rest_is_unchanged {
                true => "they are unchanged",
                false => "without the tree it can't be told whether they are unchanged",
            };
            format!("cut: the log has {events} events now; {rest}")
        }
        Verdict::Rewritten { first: Some(first) } => {
            let number = number_of(first.index);
            format!("rewritten: event number {number} of the log is another one")
        }
        _ if verified.damage.is_some() => "rewritten: the log is damaged".to_owned(),
        _ => "rewritten: the tree in the store does not tell where; it may be another log's \
              checkpoint"
            .to_owned(),
    };
    let style = match verified.verdict {
        Verdict::Unchanged => Style::Good,
        _ => Style::Bad,
    };
    ui.line(format_args!("verdict   {}", ui.paint(style, sentence)))?;
    if let Some(first) = first {
        let position = match first.position {
            Some(position) => format!(" at position {position}"),
            None => String::new(),
        };
        ui.line(format_args!("was       {}{position}", first.expected))?;
        ui.line(format_args!("is        {}", is(first)))?;
    } else if let Some(damage) = &verified.damage {
        ui.line(format_args!("damage    {damage}"))?;
    }
    Ok(())
}

fn is(first: &Difference) -> String {
    match &first.found {
        Found::Event {
            stream,
            version,
            position,
            cid,
            filed,
        } => {
            let filed = match filed == cid {
                true => String::new(),
                false => format!(", filed under {filed}"),
            };
            format!("{cid} at position {position}, {stream}@{version}{filed}")
        }
        Found::Damage(message) => message.clone(),
        _ => "something else".to_owned(),
    }
}

fn difference_line(first: &Difference) -> DifferenceLine {
    let mut line = DifferenceLine {
        index: first.index,
        position: first.position.map(|position| position.get()),
        expected: first.expected.to_string(),
        stream: None,
        version: None,
        found_position: None,
        found: None,
        damage: None,
    };
    match &first.found {
        Found::Event {
            stream,
            version,
            position,
            cid,
            ..
        } => {
            line.stream = Some(stream.to_string());
            line.version = Some(version.get());
            line.found_position = Some(position.get());
            line.found = Some(cid.to_string());
        }
        Found::Damage(message) => line.damage = Some(message.clone()),
        _ => {}
    }
    line
}
