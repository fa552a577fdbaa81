//! Repositories that keep the state of an aggregate and no events: values in a bucket.
//!
//! [`SimpleRepository`] saves whatever it is given; [`KvRepository`] saves only over the state that
//! was read, keeps the last states, and lets them expire. Both keep the same values under the same
//! keys: `{aggregate type}.{id}`, each escaped as a token of a subject, with the state as JSON.

mod builder;
mod error;
mod keys;
mod kv;
mod simple;

pub use builder::KvRepositoryBuilder;
pub use error::StateError;
pub use kv::{KvRepository, SavedState};
pub use simple::SimpleRepository;
