//! How long calls took, in a window of time.

use std::time::{Duration, Instant};

use crate::measure::{median, now};

/// When calls are counted: after a time to warm up, until the end.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    begin: Instant,
    end: Instant,
}

impl Window {
    /// A sixth of the time is for warming up.
    pub(crate) fn from_now(length: Duration) -> Self {
        let start = now();
        let begin = start + length / 6;
        Self {
            begin,
            end: begin + length,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        now() >= self.end
    }

    fn counts(&self, end_of_call: Instant) -> bool {
        self.begin <= end_of_call && end_of_call < self.end
    }

    fn seconds(&self) -> f64 {
        (self.end - self.begin).as_secs_f64()
    }
}

/// How long calls took. Every call is kept: it costs the measured program less than sorting calls
/// into a histogram.
#[derive(Default)]
pub(crate) struct Latencies {
    /// In nanoseconds.
    calls: Vec<u64>,
}

impl Latencies {
    pub(crate) fn add(&mut self, elapsed: Duration) {
        // Durations above 584 years are not to be expected.
        self.calls
            .push(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts a call that ended just now, if it lies in the window.
    pub(crate) fn add_call(&mut self, window: &Window, start: Instant) {
        let end = now();
        if window.counts(end) {
            self.add(end.saturating_duration_since(start));
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.calls.extend(other.calls);
    }

    pub(crate) fn rate_in(&self, window: &Window) -> f64 {
        self.calls.len() as f64 / window.seconds()
    }

    /// In microseconds: the call that this share of all calls, from 0 to 1, is not slower than.
    fn micros(&mut self, share: f64) -> f64 {
        let rank = (self.calls.len() as f64 * share).ceil() as usize;
        let Some(last) = self.calls.len().checked_sub(1) else {
            return f64::NAN;
        };
        let at = rank.saturating_sub(1).min(last);
        *self.calls.select_nth_unstable(at).1 as f64 / 1_000.0
    }
}

/// What a round measured: calls per second, and how long calls took in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Sample {
    pub(crate) fn of(mut latencies: Latencies, rate: f64) -> Self {
        Self {
            rate,
            p50: latencies.micros(0.5),
            p99: latencies.micros(0.99),
        }
    }

    /// Each figure's median over the rounds.
    pub(crate) fn median(samples: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(samples.iter().map(figure));
        Self {
            rate: of(|sample| sample.rate),
            p50: of(|sample| sample.p50),
            p99: of(|sample| sample.p99),
        }
    }
}
