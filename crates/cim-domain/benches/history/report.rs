//! The table, printed row by row, and the same figures as JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::measure::{Result, median};

/// What was measured so far.
#[derive(Default)]
pub(crate) struct Report {
    rows: BTreeMap<String, Value>,
}

impl Report {
    /// A row: a rate in MB/s, its median over the rounds, against the `raw` one where there is one,
    /// of which at least `share` is asked for, or else at least `least` MB/s.
    pub(crate) fn rate(
        &mut self,
        name: &str,
        rates: &[f64],
        raw: Option<f64>,
        least: Option<(f64, f64)>,
    ) -> f64 {
        self.rate_in("MB/s", name, rates, raw, least)
    }

    /// As [`rate`](Self::rate), in another unit.
    pub(crate) fn rate_in(
        &mut self,
        unit: &str,
        name: &str,
        rates: &[f64],
        raw: Option<f64>,
        least: Option<(f64, f64)>,
    ) -> f64 {
        let rate = median(rates);
        let (low, high) = rates
            .iter()
            .fold((f64::MAX, f64::MIN), |(low, high), &rate| {
                (low.min(rate), high.max(rate))
            });
        let against = raw.map_or_else(String::new, |raw| format!("{:5.2} of it", rate / raw));
        let kept = match (raw, least) {
            (Some(raw), Some((least, share))) => Some(rate >= least || rate >= share * raw),
            _ => None,
        };
        let told = match kept {
            Some(true) => "  kept",
            Some(false) => "  MISSED",
            None => "",
        };
        println!("{name:<52} {rate:8.0} {unit}  ({low:.0} to {high:.0})  {against}{told}");
        let value =
            json!({ "unit": unit, "rate": rate, "rounds": rates, "raw": raw, "kept": kept });
        self.rows.insert(name.to_owned(), value);
        rate
    }

    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(&self.rows)?)
    }
}
