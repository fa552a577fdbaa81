//! Runs the steps of a check one after the other and sums them up.
//!
//! A failing step does not stop the others: whoever repairs a change wants to see all that is
//! wrong with it at once.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::workspace::Workspace;

/// One named part of a check.
pub(crate) struct Step {
    /// The word that selects it on the command line.
    pub(crate) name: &'static str,
    /// What it makes sure of, in one line.
    pub(crate) about: &'static str,
    pub(crate) run: fn(&Workspace) -> StepResult,
}

/// Notes for the reader of a passed step, or what is wrong.
pub(crate) type StepResult = Result<Vec<String>, Failure>;

/// Why a step failed, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) findings: Vec<String>,
    pub(crate) way_out: &'static str,
}

impl Failure {
    pub(crate) fn new(finding: impl Into<String>, way_out: &'static str) -> Self {
        Self {
            findings: vec![finding.into()],
            way_out,
        }
    }

    /// Turns a list of findings into the result of a step; an empty list passes.
    pub(crate) fn unless_empty(findings: Vec<String>, way_out: &'static str) -> Result<(), Self> {
        if findings.is_empty() {
            Ok(())
        } else {
            Err(Self { findings, way_out })
        }
    }
}

struct Finished {
    name: &'static str,
    passed: bool,
    took: Duration,
}

/// Runs every step, prints what each has to say and a table at the end; true if all passed.
pub(crate) fn run_all(workspace: &Workspace, steps: &[&Step]) -> bool {
    let mut finished = Vec::new();
    for step in steps {
        println!("\n== {}: {}", step.name, step.about);
        let started = now();
        let result = (step.run)(workspace);
        let took = now() - started;
        let passed = result.is_ok();
        print!("{}", report(result));
        finished.push(Finished {
            name: step.name,
            passed,
            took,
        });
    }
    print!("\n{}", table(&finished));
    finished.iter().all(|step| step.passed)
}

#[allow(
    clippy::disallowed_methods,
    reason = "how long a step took is for the reader alone"
)]
fn now() -> Instant {
    Instant::now()
}

fn report(result: StepResult) -> String {
    let (lines, end) = match result {
        Ok(notes) => (notes, String::new()),
        Err(failure) => (failure.findings, format!("way out: {}\n", failure.way_out)),
    };
    lines
        .iter()
        .map(|line| format!("{line}\n"))
        .collect::<String>()
        + &end
}

fn table(finished: &[Finished]) -> String {
    let mut table = String::new();
    for step in finished {
        let result = if step.passed { "pass" } else { "FAIL" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "{:<14}{result}{:>9.1} s",
            step.name,
            step.took.as_secs_f64()
        );
    }
    let failed: Vec<_> = finished
        .iter()
        .filter(|step| !step.passed)
        .map(|step| step.name)
        .collect();
    let _ = if failed.is_empty() {
        writeln!(table, "verify: all {} steps passed", finished.len())
    } else {
        writeln!(
            table,
            "verify: {} of {} steps failed: {}",
            failed.len(),
            finished.len(),
            failed.join(", ")
        )
    };
    table
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_failure_fails_the_whole_and_the_later_steps_still_run() {
        static RAN: AtomicUsize = AtomicUsize::new(0);
        fn passes(_: &Workspace) -> StepResult {
            RAN.fetch_add(1, Ordering::Relaxed);
            Ok(Vec::new())
        }
        fn fails(_: &Workspace) -> StepResult {
            RAN.fetch_add(1, Ordering::Relaxed);
            Err(Failure::new("broken", "repair it"))
        }
        let pass = Step {
            name: "pass",
            about: "made up",
            run: passes,
        };
        let fail = Step {
            name: "fail",
            about: "made up",
            run: fails,
        };
        let workspace = Workspace::locate();

        assert!(run_all(&workspace, &[&pass]));
        assert!(!run_all(&workspace, &[&fail, &pass]));
        assert_eq!(RAN.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_failure_is_reported_with_its_way_out() {
        let failure = Failure::new("a.rs:3: broken", "repair it");
        assert_eq!(report(Err(failure)), "a.rs:3: broken\nway out: repair it\n");
    }

    #[test]
    fn the_table_names_every_step_and_every_failure() {
        let finished = [
            Finished {
                name: "format",
                passed: true,
                took: Duration::from_millis(1_240),
            },
            Finished {
                name: "clippy",
                passed: false,
                took: Duration::from_secs(61),
            },
        ];
        assert_eq!(
            table(&finished),
            "format        pass      1.2 s\n\
             clippy        FAIL     61.0 s\n\
             verify: 1 of 2 steps failed: clippy\n"
        );
    }

    #[test]
    fn an_empty_list_of_findings_passes_and_any_other_fails() {
        assert!(Failure::unless_empty(Vec::new(), "").is_ok());
        let failure = Failure::unless_empty(vec!["one".into(), "two".into()], "way").unwrap_err();
        assert_eq!(failure.findings, ["one", "two"]);
    }
}
