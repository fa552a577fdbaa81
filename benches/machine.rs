//! On what and with what was measured.

use std::path::Path;
use std::process::Command;

use cim_store::{Clock, SystemClock};
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) when: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory: String,
    pub(crate) kernel: String,
    pub(crate) filesystem: String,
    pub(crate) rustc: String,
    pub(crate) store: String,
}

/// Describes the machine, and the file system that `directory` is on.
pub(crate) fn describe(directory: &Path) -> Machine {
    let first_line = |path: &str, key: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split_once(':')).map_or_else(
            || "unknown".to_owned(),
            |(_, value)| value.trim().to_owned(),
        )
    };
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    Machine {
        when: SystemClock.now().to_string(),
        processor: first_line("/proc/cpuinfo", "model name"),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        memory: first_line("/proc/meminfo", "MemTotal"),
        kernel: kernel.trim().to_owned(),
        filesystem: filesystem(directory).unwrap_or_else(|| "unknown".to_owned()),
        rustc: rustc.unwrap_or_else(|_| "unknown".to_owned()),
        store: concat!("cim-store-embedded ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

/// The type of the file system, and what it is mounted from: the longest mount point counts.
fn filesystem(directory: &Path) -> Option<String> {
    let directory = directory.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let found = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (source, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
            directory
                .starts_with(point)
                .then(|| (point.len(), format!("{kind} on {source}")))
        })
        .max_by_key(|(length, _)| *length);
    found.map(|(_, name)| name)
}
