//! What applications can rely on, by topic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy.toml allows it in tests, but not in their helpers"
)]

mod account;
mod aggregate_check;
mod aggregate_repository;
mod attacks;
mod cache;
mod cache_interrupted;
mod cache_together;
mod car;
mod car_damage;
mod car_histories;
mod checked_loads;
mod checkpoint_tiles;
mod checkpoints;
mod codecs;
mod concurrency;
mod content;
mod correlation;
mod decisions;
mod decoding;
mod deletion;
mod derive;
mod displaced_records;
mod event_index;
mod event_store;
mod evolution;
mod held_bucket;
mod hooked_bucket;
mod loading;
mod meddled_log;
mod opening;
mod queries;
mod repository;
mod retries;
mod rewritten_store;
mod round_trips;
mod scripted_log;
mod snapshots;
mod state_copies;
mod states;
mod stored;
mod stores;
mod test_kit;
mod unknown_outcomes;
mod upcasts;
mod verification;
mod verification_since;
mod watched_log;
