//! What a store makes of kills, power cuts, failing and full disks and damaged files: it keeps what
//! it acknowledged, whole and in order, or says what is wrong and where.
//!
//! Choices are random. Each test prints its seed; `CIM_SEED` repeats it, and `CIM_KILLS`,
//! `CIM_CUTS` and `CIM_DAMAGES` make the tests longer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "these are tests, also where a function of theirs has no attribute"
)]

mod bounded;
mod crash;
mod damage;
mod disk_faults;
mod disks;
mod examination;
mod in_order;
mod known_damage;
mod ledger;
mod locking;
mod overtaken;
mod positions;
mod power;
mod repetition;
mod truncation;
