//! What the program promises, one behaviour a test: commands run in this process against a memory
//! store whose clock and ids are decided here, `demo git` against real repositories made with
//! `git`, the built program against a directory, and commands against real NATS servers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy.toml allows it in tests, but not in what helps them"
)]

mod car;
mod checkpoints;
mod commands;
mod demo_git;
mod demo_git_interrupted;
mod demo_inventory;
mod health;
mod help;
mod nats;
mod program;
mod repository;
mod schema;
mod shell;
mod tampered_log;
mod verify;
mod workbench;
