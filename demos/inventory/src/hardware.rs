//! What a resource is made of.

use serde::{Deserialize, Serialize};

/// What a resource is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardwareDetails {
    /// Processor cores, from 1.
    pub cpu_cores: u32,
    /// Main memory in units of 2^20 bytes, from 1.
    pub memory_mib: u64,
    /// Who made it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// What its maker calls it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl HardwareDetails {
    /// Of an unknown maker.
    pub const fn new(cpu_cores: u32, memory_mib: u64) -> Self {
        Self {
            cpu_cores,
            memory_mib,
            manufacturer: None,
            model: None,
        }
    }

    /// Whether a machine can be made of it.
    pub fn is_possible(&self) -> bool {
        self.cpu_cores > 0 && self.memory_mib > 0
    }
}
