//! Shapes of what is stored, and the file that locks them.
//!
//! What an event type looks like in the store is decided by a Rust type that anyone may edit, while
//! the events that were stored with it stay what they are. So every shape is written down, in
//! `cim-schemas.lock`, and a test compares the code with it
//! ([`SchemaLock`](crate::testing::SchemaLock)); `cim schema check` compares the file with its own
//! past ([`LockFile::rewrites_since`]), and with what a store holds ([`StoredShapes`]).
//!
//! A [`Shape`] is found by letting a type read made-up values (`tracer`), so nothing has to be
//! derived or written by hand for it. `docs/format/schema-lock.md` describes the file.

mod json_shape;
mod key;
mod lock_file;
mod misfit;
mod parse;
mod past;
mod print;
pub(crate) mod rules;
mod samples;
mod shape;
mod stored;
mod survival;
pub(crate) mod tracer;

pub use key::Persisted;
pub use lock_file::{LockFile, Versions};
pub use misfit::Misfit;
pub use parse::LockFileError;
pub use past::Rewrite;
pub use shape::{Field, Scalar, Shape};
pub use stored::{StoredMisfit, StoredShapes, StoredVersion};

#[cfg(test)]
mod tests;
