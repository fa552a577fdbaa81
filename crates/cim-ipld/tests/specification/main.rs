//! What the crate promises, one test for each promise.
//!
//! `blocks` hold the event block against the field's general codec and against broken bytes,
//! `chains` break chains in every way, `golden` keeps version 1 of the block format as it is.
//! `codec`, `dag_json`, `codecs` and the fixtures test the codecs, `content_…` and `typed_content`
//! content that is not an event, `cars` and `car_fixtures` CAR files.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod blocks;
mod broken_blocks;
mod car_fixtures;
mod cars;
mod chains;
mod cids;
mod codec;
mod codecs;
mod content_addresses;
mod content_chains;
mod dag_json;
mod dag_json_fixtures;
mod golden;
mod hex;
mod ipld_fixtures;
mod sample;
mod typed_content;
