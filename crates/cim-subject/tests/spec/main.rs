//! What subjects, patterns, tokens and schemes promise, as tests.
//!
//! `algebra` compares the algebra with sets that are enumerated; `limit` does the same at the limit
//! of 255 bytes, where sets behave in their own way.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, but not in their helpers"
)]

mod algebra;
mod grammar;
mod limit;
mod scheme;
mod token;
