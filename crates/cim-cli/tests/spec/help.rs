//! The help, and `docs/cli.md`, whose reference is made from it.

use cim_cli::args::Cli;
use clap::{Command, CommandFactory};
use expect_test::{expect, expect_file};

use crate::workbench::Workbench;

/// Where the part of `docs/cli.md` begins that is made here.
const REFERENCE: &str = "<!-- From here on generated: UPDATE_EXPECT=1 cargo test -p cim-cli -->\n";

/// The long help of the command and of all below it.
fn reference(command: &Command, names: &str, text: &mut String) {
    let names = format!("{names} {}", command.get_name())
        .trim_start()
        .to_owned();
    let mut shown = command.clone().bin_name(&names).term_width(100);
    if names != "cim" {
        // Said once, at the top.
        shown = shown.mut_args(|arg| {
            let is_global = arg.is_global_set();
            arg.hide(is_global)
        });
    }
    text.push_str(&format!(
        "\n### `{names}`\n\n```text\n{}```\n",
        trimmed(&shown.render_long_help())
    ));
    for below in command
        .get_subcommands()
        .filter(|below| below.get_name() != "help")
    {
        reference(below, &names, text);
    }
}

/// Without white space at the ends of lines, which nobody sees.
fn trimmed(text: &impl ToString) -> String {
    let lines = text.to_string();
    lines
        .trim_end()
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

#[test]
fn the_reference_in_the_documentation_is_the_programs_own_help() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let now = std::fs::read_to_string(&file).unwrap();
    let (written, _) = now.split_once(REFERENCE).expect("the marker is there");
    let mut made = format!("{written}{REFERENCE}");
    let mut command = Cli::command();
    command.build(); // gives the commands below the global options
    reference(&command, "", &mut made);
    expect_file!["../../../../docs/cli.md"].assert_eq(&made);
}

#[test]
fn every_command_has_examples() {
    fn check(command: &Command) {
        if command.get_subcommands().next().is_none() {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Examples:\n  cim "), "{help}");
        }
        command
            .get_subcommands()
            .filter(|below| below.get_name() != "help")
            .for_each(check);
    }
    check(&Cli::command());
}

#[test]
fn the_command_line_has_no_contradictions() {
    Cli::command().debug_assert();
}

#[tokio::test]
async fn help_goes_to_standard_output_and_ends_well() {
    let ended = Workbench::new().run(&["-h"]).await;
    expect![[r#"
        Append, read, follow and verify streams of events

        Usage: cim [OPTIONS] <COMMAND>

        Commands:
          append       Append an event to a stream
          streams      List streams
          events       Read one stream
          log          Read the log of all streams
          stats        Show how much the store holds
          health       Show how the store is
          doctor       Say what is wrong with the store, and what to do
          verify       Verify that history is what was stored
          export       Export the history to a CAR file
          import       Import a history from a CAR file
          checkpoint   Sign what the log is now, and prove later that it only grew
          schema       Check the file that locks the shapes of what is stored
          demo         See histories stored, read back and proved
          completions  Print shell completions
          help         Print this message or the help of the given subcommand(s)

        Options:
          -h, --help     Print help (see more with '--help')
          -V, --version  Print version

        Global options:
              --store <URL>   The store, as a URL [env: CIM_STORE] [default: embedded:./cim-data]
              --json          Write results as JSON, one value a line
              --color <WHEN>  When to use colour [default: auto] [possible values: auto, always, never]
          -q, --quiet         Write results and errors only: no notices, no progress
    "#]].assert_eq(&ended.show());
}

#[tokio::test]
async fn what_can_not_be_understood_ends_with_code_2_and_says_what() {
    let bench = Workbench::new();
    expect![[r#"
        --- standard error
        error: invalid value 'sales.order' for '<STREAM>': `sales.order` is not the name of a stream; it has the form context.aggregate.id, such as sales.order.0193

        For more information, try '--help'.
        --- code 2
    "#]].assert_eq(&bench.run(&["append", "sales.order", "placed"]).await.show());
    expect![[r#"
        --- standard error
        error: invalid value 'a..b' for '[PATTERN]': "a..b" has an empty token at byte 2: put a name there or remove the dot

        For more information, try '--help'.
        --- code 2
    "#]].assert_eq(&bench.run(&["log", "a..b"]).await.show());
    expect![[r#"
        --- standard error
        error: invalid value 'old' for '--expected <VERSION>': it is `any`, `new`, `exists` or a version such as 3

        For more information, try '--help'.
        --- code 2
    "#]].assert_eq(
        &bench
            .run(&["append", "a.b.c", "d", "--expected", "old"])
            .await
            .show(),
    );
}

#[tokio::test]
async fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Workbench::new().run(&["completions", shell]).await.ok();
        assert!(script.contains("verify"), "{shell}");
    }
}
