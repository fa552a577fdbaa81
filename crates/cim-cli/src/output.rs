//! The one place that owns the terminal: standard output and error, colour, progress.
//!
//! Results go to standard output, everything else (notices, progress, errors) to standard error.
//! Nothing else in this crate writes to either. A reader of the output that went away is not an
//! error: the program ends quietly, as if done.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::error::Failure;
use crate::exit_code::ExitCode;

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless the environment variable `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How a word is shown where there is colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// A heading.
    Bold,
    /// What is there to be complete.
    Dim,
    /// All is well.
    Good,
    /// Something is wrong.
    Bad,
    /// A name.
    Name,
}

impl Style {
    /// The "select graphic rendition" parameters of ECMA-48.
    const fn parameters(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Bad => "1;31",
            Self::Name => "36",
        }
    }
}

/// Standard output and error, and how to write to them.
pub struct Ui {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    out_is_terminal: bool,
    err_is_terminal: bool,
    no_color: bool,
    color: ColorChoice,
    quiet: bool,
    json: bool,
}

impl Ui {
    /// The process's own.
    pub fn stdio() -> Self {
        Self {
            out: Box::new(io::BufWriter::new(io::stdout())),
            err: Box::new(io::stderr()),
            out_is_terminal: io::stdout().is_terminal(),
            err_is_terminal: io::stderr().is_terminal(),
            no_color: std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()),
            color: ColorChoice::Auto,
            quiet: false,
            json: false,
        }
    }

    /// Writes into memory, as if into a file: for tests.
    pub fn captured() -> (Self, Captured) {
        let captured = Captured::default();
        let ui = Self {
            out: Box::new(captured.out.clone()),
            err: Box::new(captured.err.clone()),
            out_is_terminal: false,
            err_is_terminal: false,
            no_color: false,
            color: ColorChoice::Auto,
            quiet: false,
            json: false,
        };
        (ui, captured)
    }

    /// Takes what the command line says.
    pub(crate) fn configure(&mut self, color: ColorChoice, quiet: bool, json: bool) {
        self.color = color;
        self.quiet = quiet;
        self.json = json;
    }

    /// Whether results are written as JSON lines.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    fn paints(&self, is_terminal: bool) -> bool {
        match self.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => is_terminal && !self.no_color,
        }
    }

    /// `text` in this style, for standard output.
    pub(crate) fn paint(&self, style: Style, text: impl fmt::Display) -> String {
        paint(self.paints(self.out_is_terminal), style, text)
    }

    /// Writes a line of results.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> Result<(), Failure> {
        writeln!(self.out, "{text}").map_err(output_failure)
    }

    /// Writes one JSON value on a line of its own.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let line = serde_json::to_string(value).map_err(|e| Failure::new(ExitCode::Failure, e))?;
        self.line(line)
    }

    /// Writes text as it is.
    pub(crate) fn raw(&mut self, text: &[u8]) -> Result<(), Failure> {
        self.out.write_all(text).map_err(output_failure)
    }

    /// Brings everything that was written to the reader.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(output_failure)
    }

    /// Says something that is not a result, unless the user wants it quiet.
    pub(crate) fn notice(&mut self, text: impl fmt::Display) {
        if !self.quiet {
            // Where even this can't be written there is nobody to tell.
            let _ = writeln!(self.err, "{text}");
        }
    }

    /// Writes an error's chain, and the hint on its own line.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        let paints = self.paints(self.err_is_terminal);
        let chain = failure.chain();
        let mut text = String::new();
        for (depth, sentence) in chain.iter().enumerate() {
            let name = match depth {
                0 => paint(paints, Style::Bad, "error:"),
                _ => "  because:".to_owned(),
            };
            text.push_str(&format!("{name} {sentence}\n"));
        }
        if let Some(hint) = failure.hint() {
            text.push_str(&format!("{} {hint}\n", paint(paints, Style::Bold, "hint:")));
        }
        let _ = self.err.write_all(text.as_bytes());
    }

    /// Writes what the command line parser has to say.
    pub(crate) fn usage(&mut self, error: &clap::Error) -> Result<(), Failure> {
        let to_stderr = error.use_stderr();
        let is_terminal = if to_stderr {
            self.err_is_terminal
        } else {
            self.out_is_terminal
        };
        let text = if self.paints(is_terminal) {
            error.render().ansi().to_string()
        } else {
            error.render().to_string()
        };
        if to_stderr {
            self.err.write_all(text.as_bytes()).map_err(output_failure)
        } else {
            self.raw(text.as_bytes())?;
            self.flush()
        }
    }

    /// Shows how far long work has come: a bar on a terminal, a line every tenth elsewhere.
    pub(crate) fn progress(&self, what: &'static str, total: u64) -> Progress {
        let kind = if self.quiet || total == 0 {
            ProgressKind::Silent
        } else if self.err_is_terminal {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let template = "{msg} [{bar:30}] {pos}/{len} {per_sec} eta {eta}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message(what);
            ProgressKind::Bar(bar)
        } else {
            ProgressKind::Lines { tenths: 0 }
        };
        Progress { what, total, kind }
    }
}

impl fmt::Debug for Ui {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ui")
            .field("color", &self.color)
            .field("quiet", &self.quiet)
            .field("json", &self.json)
            .finish_non_exhaustive()
    }
}

fn paint(paints: bool, style: Style, text: impl fmt::Display) -> String {
    if paints {
        format!("\x1b[{}m{text}\x1b[0m", style.parameters())
    } else {
        text.to_string()
    }
}

fn output_failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::reported(ExitCode::Ok);
    }
    Failure::new(ExitCode::Failure, OutputError(error))
}

/// Standard output can't be written.
#[derive(Debug, thiserror::Error)]
#[error("the output can't be written")]
struct OutputError(#[source] io::Error);

/// How far long work has come.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    total: u64,
    kind: ProgressKind,
}

#[derive(Debug)]
enum ProgressKind {
    Silent,
    Bar(ProgressBar),
    Lines { tenths: u64 },
}

impl Progress {
    /// So many are done now.
    pub(crate) fn set(&mut self, ui: &mut Ui, done: u64) {
        match &mut self.kind {
            ProgressKind::Silent => {}
            ProgressKind::Bar(bar) => bar.set_position(done),
            ProgressKind::Lines { tenths } => {
                let now = done.saturating_mul(10) / self.total;
                if now > *tenths {
                    *tenths = now;
                    ui.notice(format_args!("{}: {done} of {}", self.what, self.total));
                }
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let ProgressKind::Bar(bar) = &self.kind {
            bar.finish_and_clear();
        }
    }
}

/// What a [`Ui::captured`] wrote.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    out: Memory,
    err: Memory,
}

impl Captured {
    /// Standard output so far.
    pub fn out(&self) -> String {
        self.out.text()
    }

    /// Standard error so far.
    pub fn err(&self) -> String {
        self.err.text()
    }
}

#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn a_reader_that_went_away_ends_the_command_quietly() {
        let (mut ui, _) = Ui::captured();
        ui.out = Box::new(Gone);
        let failure = ui.line("result").unwrap_err();
        assert_eq!(failure.code(), ExitCode::Ok);
        assert_eq!(failure.chain(), Vec::<String>::new());
    }

    #[test]
    fn colour_is_for_terminals_unless_asked_for_or_refused() {
        let (mut ui, _) = Ui::captured();
        let painted = "\x1b[1mx\x1b[0m";
        assert_eq!(ui.paint(Style::Bold, "x"), "x");
        ui.out_is_terminal = true;
        assert_eq!(ui.paint(Style::Bold, "x"), painted);
        ui.no_color = true;
        assert_eq!(ui.paint(Style::Bold, "x"), "x");
        ui.configure(ColorChoice::Always, false, false);
        assert_eq!(ui.paint(Style::Bold, "x"), painted);
        ui.configure(ColorChoice::Never, false, false);
        assert_eq!(ui.paint(Style::Bold, "x"), "x");
    }

    #[test]
    fn without_a_terminal_progress_is_a_line_every_tenth() {
        let (mut ui, captured) = Ui::captured();
        let mut progress = ui.progress("verified streams", 20);
        for done in 1..=5 {
            progress.set(&mut ui, done);
        }
        assert_eq!(
            captured.err(),
            "verified streams: 2 of 20\nverified streams: 4 of 20\n"
        );
    }

    #[test]
    fn quiet_says_nothing_but_results() {
        let (mut ui, captured) = Ui::captured();
        ui.configure(ColorChoice::Auto, true, false);
        ui.notice("notice");
        let mut progress = ui.progress("work", 1);
        progress.set(&mut ui, 1);
        ui.line("result").unwrap();
        assert_eq!(
            (captured.out().as_str(), captured.err().as_str()),
            ("result\n", "")
        );
    }
}
