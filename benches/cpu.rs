//! How much processor time this process took: the client's part of what a call costs. Other work on
//! the machine changes it far less than it changes how long a call takes.

use crate::measure::Result;

/// Of the clock that `/proc` counts with, per second; the same on every Linux (`man 5 proc`).
const TICKS: f64 = 100.0;

/// A moment, as the processor time until then.
pub(crate) struct CpuTime(f64);

impl CpuTime {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self(seconds()?))
    }

    /// Microseconds since then for each of so many calls.
    pub(crate) fn micros_per_call(&self, calls: usize) -> Result<f64> {
        Ok((seconds()? - self.0) * 1e6 / calls as f64)
    }
}

/// In user and in system mode.
fn seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The program's name stands in parentheses and may have spaces; the times are the 12th and
    // 13th field after it.
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/self/stat has no name")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || -> Result<f64> { Ok(fields.next().ok_or("a time is missing")?.parse()?) };
    Ok((next()? + next()?) / TICKS)
}
