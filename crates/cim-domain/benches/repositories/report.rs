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
    /// A row: the rate of each round, and where it is compared with the rates of the same rounds of
    /// something else, the median of the rounds' shares, of which at least `bar` is asked for.
    pub(crate) fn rate(
        &mut self,
        name: &str,
        unit: &str,
        rates: &[f64],
        compared: Option<(&[f64], Option<f64>)>,
    ) {
        let rate = median(rates);
        let (low, high) = (rates.iter()).fold((f64::MAX, f64::MIN), |(low, high), &rate| {
            (low.min(rate), high.max(rate))
        });
        let compared = compared.map(|(others, bar)| {
            let shares: Vec<f64> = (rates.iter().zip(others))
                .map(|(own, other)| own / other)
                .collect();
            (median(&shares), bar)
        });
        let kept = compared.and_then(|(share, bar)| Some(share >= bar?));
        let told = match (compared, kept) {
            (Some((share, _)), Some(true)) => format!("{share:5.2} of it  kept"),
            (Some((share, _)), Some(false)) => format!("{share:5.2} of it  MISSED"),
            (Some((share, _)), None) => format!("{share:5.2} of it"),
            (None, _) => String::new(),
        };
        println!("{name:<48} {rate:8.0} {unit}  ({low:.0} to {high:.0})  {told}");
        let (share, bar) = compared.map_or((None, None), |(share, bar)| (Some(share), bar));
        let value = json!({
            "unit": unit, "rate": rate, "rounds": rates, "share": share, "bar": bar, "kept": kept,
        });
        self.rows.insert(name.to_owned(), value);
    }

    /// A row below: processor time of the whole program for one call, which depends less on what
    /// else the machine does.
    pub(crate) fn cpu(&mut self, name: &str, micros: &[f64]) {
        let middle = median(micros);
        println!("{:<48} {middle:8.2} us of processor time each", "");
        let value = json!({ "unit": "us", "cpu": middle, "rounds": micros });
        self.rows.insert(format!("{name}, processor time"), value);
    }

    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(&self.rows)?)
    }
}
