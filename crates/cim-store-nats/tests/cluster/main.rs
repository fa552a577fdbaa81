//! What a cluster of three real servers does to those who write to it while its leaders are killed
//! and paused, and what two processes that race for the same place do to each other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod deaths;
mod imports;
mod races;
mod replicas;
mod workload;
