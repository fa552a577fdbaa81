//! The aggregate that is measured: one small event a command, with 256 bytes of payload as in the
//! benchmark of the store.

use bytes::Bytes;
use cim_domain::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Bytes of every payload.
pub(crate) const PAYLOAD_BYTES: usize = 256;

#[derive(Debug, Serialize, Deserialize, DomainEvent)]
#[event(name = "noted")]
pub(crate) struct Noted {
    note: String,
}

impl Noted {
    pub(crate) fn new() -> Self {
        Self { note: note() }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Notes {
    notes: u64,
    bytes: u64,
}

impl Aggregate for Notes {
    const CONTEXT: &'static str = "bench";
    const TYPE: &'static str = "notes";
    type Id = Uuid;
    type Event = Noted;
    type Command = String;
    type Error = std::convert::Infallible;

    fn apply(&mut self, event: &Noted) {
        self.notes += 1;
        self.bytes += event.note.len() as u64;
    }

    fn handle(&self, note: String) -> Result<Vec<Noted>, Self::Error> {
        Ok(vec![Noted { note }])
    }

    fn cached_bytes(&self, _replayed_bytes: u64) -> u64 {
        size_of::<Self>() as u64
    }
}

/// What is noted each time.
pub(crate) fn note() -> String {
    let frame = r#"{"note":""}"#.len();
    let text = "The quick brown fox jumps over the lazy dog. ".repeat(6);
    text.chars().take(PAYLOAD_BYTES - frame).collect()
}

/// The same, as it is stored.
pub(crate) fn payload() -> Bytes {
    format!(r#"{{"note":"{}"}}"#, note()).into()
}

/// The aggregate of a caller in a round.
pub(crate) fn id(round: usize, caller: usize) -> Uuid {
    // The bits of a random id, so that streams are as long and as spread as in use.
    let mut number = (round as u128) << 64 | caller as u128;
    for _ in 0..3 {
        number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        number ^= number >> 61;
    }
    Uuid::from_u128(number)
}
