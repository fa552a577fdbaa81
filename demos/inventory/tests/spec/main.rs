//! What the inventory promises, by topic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy.toml allows it in tests, but not in their helpers"
)]

mod checks;
mod decisions;
mod events;
mod evolution;
mod host_names;
mod samples;
mod services;
mod shapes;
mod statuses;
