//! Bad days on real servers: what is refused says what happened, where and what to do, within the
//! time that was given; what was acknowledged is there afterwards, and nothing is there by half.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy.toml allows it in tests, but not in what helps them"
)]

mod cluster;
mod damage;
mod encryption;
mod flushing;
mod opening;
mod permissions;
mod place;
mod restarts;
mod room;
mod users;
