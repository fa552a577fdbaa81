//! What `demo git` prints at the end: counts, rates, and for each answer `equal` or the first
//! difference.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::answers::{Answer, Answers};
use super::import::ImportOutcome;
use super::object::ObjectId;
use super::text::GitText;
use crate::error::Failure;
use crate::output::{Style, Ui};

/// The report, as JSON.
#[derive(Serialize)]
pub(crate) struct Report {
    repository: String,
    head: ObjectId,
    /// The first commit where the repository is a shallow clone.
    boundary: Option<ObjectId>,
    commits: u64,
    commits_imported: u64,
    events: u64,
    events_imported: u64,
    files: u64,
    import_seconds: f64,
    rebuild_seconds: f64,
    answers: Vec<AnswerLine>,
    most_changed: Vec<MostChanged>,
    all_equal: bool,
}

#[derive(Serialize)]
struct AnswerLine {
    question: String,
    compared: u64,
    unit: &'static str,
    seconds: f64,
    equal: bool,
    difference: Option<String>,
}

#[derive(Serialize)]
struct MostChanged {
    path: GitText,
    changes: u64,
}

/// What the import did, and how long it took.
#[derive(Debug)]
pub(crate) struct ImportReport {
    pub(crate) boundary: Option<ObjectId>,
    pub(crate) history: usize,
    pub(crate) outcome: ImportOutcome,
    pub(crate) elapsed: Duration,
}

impl Report {
    pub(crate) fn new(
        git_dir: &Path,
        head: ObjectId,
        import: &ImportReport,
        asked: Answers,
    ) -> Self {
        let all_equal = asked.all_equal();
        Self {
            repository: git_dir.display().to_string(),
            head,
            boundary: import.boundary,
            commits: import.history as u64,
            commits_imported: import.outcome.commits,
            events: asked.events,
            events_imported: import.outcome.events,
            files: asked.files,
            import_seconds: import.elapsed.as_secs_f64(),
            rebuild_seconds: asked.rebuild.as_secs_f64(),
            answers: asked.answers.into_iter().map(AnswerLine::from).collect(),
            most_changed: asked
                .most_changed
                .into_iter()
                .map(|(path, changes)| MostChanged { path, changes })
                .collect(),
            all_equal,
        }
    }

    /// Whether every answer equals git's.
    pub(crate) fn all_equal(&self) -> bool {
        self.all_equal
    }

    pub(crate) fn print(&self, ui: &mut Ui) -> Result<(), Failure> {
        if ui.is_json() {
            return ui.json(self);
        }
        ui.line(format_args!("repository  {}", self.repository))?;
        ui.line(format_args!("HEAD        {}", self.head))?;
        if let Some(boundary) = self.boundary {
            ui.line(format_args!("shallow     begins at {boundary}"))?;
        }
        let width = self.events.to_string().len();
        let counted =
            |name, all: u64, new: u64| format!("{name:10}  {all:>width$}, {new} of them new");
        ui.line(counted("commits", self.commits, self.commits_imported))?;
        ui.line(counted("events", self.events, self.events_imported))?;
        ui.line(format_args!("files       {:>width$} at HEAD", self.files))?;
        let rate = |count, unit, seconds| match per_second(count, seconds) {
            Some(rate) => format!(", {rate} {unit}/s"),
            None => String::new(),
        };
        if self.commits_imported > 0 {
            let seconds = self.import_seconds;
            ui.line(format_args!(
                "import      {seconds:.2} s{}{}",
                rate(self.commits_imported, "commits", seconds),
                rate(self.events_imported, "events", seconds),
            ))?;
        }
        ui.line(format_args!(
            "rebuild     {:.2} s{}",
            self.rebuild_seconds,
            rate(self.events, "events", self.rebuild_seconds)
        ))?;
        ui.line("")?;
        self.print_answers(ui)?;
        if !self.most_changed.is_empty() {
            ui.line("")?;
            let title = ui.paint(Style::Bold, "CHANGES  MOST CHANGED FILES");
            ui.line(title)?;
        }
        for most in &self.most_changed {
            ui.line(format_args!("{:>7}  {}", most.changes, most.path))?;
        }
        Ok(())
    }

    fn print_answers(&self, ui: &mut Ui) -> Result<(), Failure> {
        let questions = self
            .answers
            .iter()
            .map(|answer| answer.question.len())
            .max()
            .unwrap_or(0);
        let title = format!(
            "{:questions$}  {:>17}  {:>9}  RESULT",
            "ANSWER", "COMPARED", "TIME"
        );
        let title = ui.paint(Style::Bold, title);
        ui.line(title)?;
        for answer in &self.answers {
            let compared = format!("{} {:7}", answer.compared, answer.unit);
            let result = match &answer.difference {
                None => ui.paint(Style::Good, "equal"),
                Some(difference) => {
                    format!("{}: {difference}", ui.paint(Style::Bad, "different"))
                }
            };
            ui.line(format_args!(
                "{:questions$}  {compared:>17}  {:>7.2} s  {result}",
                answer.question, answer.seconds
            ))?;
        }
        Ok(())
    }
}

impl From<Answer> for AnswerLine {
    fn from(answer: Answer) -> Self {
        Self {
            question: answer.question,
            compared: answer.compared,
            unit: answer.unit,
            seconds: answer.elapsed.as_secs_f64(),
            equal: answer.difference.is_none(),
            difference: answer.difference,
        }
    }
}

/// A rate in whole numbers; `None` where no time passed.
fn per_second(count: u64, seconds: f64) -> Option<String> {
    // Rates are for people; what a float can't hold of a count does not show.
    #[allow(clippy::cast_precision_loss)]
    let count = count as f64;
    (seconds > 0.0).then(|| format!("{:.0}", count / seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(question: &str, difference: Option<&str>) -> Answer {
        Answer {
            question: question.to_owned(),
            compared: 12,
            unit: "files",
            elapsed: Duration::from_millis(1230),
            difference: difference.map(str::to_owned),
        }
    }

    fn report(difference: Option<&str>) -> (Report, String) {
        let asked = Answers {
            answers: [
                answer("tree at HEAD", None),
                answer("trees at 20 earlier commits", difference),
                answer("changes of the 5 most changed files", None),
                answer("chain of every stream", None),
            ],
            most_changed: vec![(GitText::new("a\nb"), 3)],
            events: 900,
            files: 12,
            rebuild: Duration::from_millis(20),
        };
        let import = ImportReport {
            boundary: None,
            history: 300,
            outcome: ImportOutcome {
                commits: 300,
                events: 900,
                is_interrupted: false,
            },
            elapsed: Duration::from_millis(1500),
        };
        let head = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
        let report = Report::new(Path::new("/repository/.git"), head, &import, asked);
        let (mut ui, captured) = Ui::captured();
        report.print(&mut ui).unwrap();
        (report, captured.out())
    }

    #[test]
    fn equal_answers_are_a_table() {
        let (report, text) = report(None);
        assert!(report.all_equal());
        expect_test::expect![[r#"
            repository  /repository/.git
            HEAD        0123456789abcdef0123456789abcdef01234567
            commits     300, 300 of them new
            events      900, 900 of them new
            files        12 at HEAD
            import      1.50 s, 200 commits/s, 600 events/s
            rebuild     0.02 s, 45000 events/s

            ANSWER                                        COMPARED       TIME  RESULT
            tree at HEAD                                12 files       1.23 s  equal
            trees at 20 earlier commits                 12 files       1.23 s  equal
            changes of the 5 most changed files         12 files       1.23 s  equal
            chain of every stream                       12 files       1.23 s  equal

            CHANGES  MOST CHANGED FILES
                  3  a\nb
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn a_difference_is_shown_and_not_equal() {
        let (report, text) = report(Some("at 0123456789: a: rebuilt is nothing"));
        assert!(!report.all_equal());
        assert!(
            text.contains("different: at 0123456789: a: rebuilt is nothing\n"),
            "{text}"
        );
    }
}
