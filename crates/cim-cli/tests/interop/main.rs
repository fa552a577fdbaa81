//! What we store, read by software that nobody here wrote, and the other way round.
//!
//! A history that `cim export --car` wrote is checked by the JavaScript implementation of IPLD and
//! by Python: they recompute every CID, walk every chain and find the same heads; they also find
//! what was altered. A CAR file that the JavaScript implementation writes is read, and imported, by
//! us. Made-up values of every kind go both ways. The packages are pinned here, and live below the
//! target directory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy.toml allows it in tests, but not in what helps them"
)]

mod altered;
mod blocks;
mod car_file;
mod history;
mod read_by_others;
mod software;
mod values;
