//! The table, printed row by row, and the same figures as JSON.

use std::fmt::Write as _;
use std::path::Path;

use cim_store_embedded::EmbeddedSettings;
use serde_json::{Map, Value, json};

use crate::latencies::Sample;
use crate::machine::Machine;
use crate::measure::Result;
use crate::options::Options;
use crate::peers::{AppendPeers, Peer};
use crate::workload::PAYLOAD_BYTES;

/// What a row measures.
#[derive(Clone, Copy)]
pub(crate) enum Figure {
    /// A rate, with its unit.
    Rate(f64, &'static str),
    /// Calls: how many per second, and how long they took.
    Times(Sample),
    Seconds(f64),
    /// A number, with its unit.
    Number(f64, &'static str),
}

#[derive(Clone, Copy)]
enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

/// A row about the store alone.
pub(crate) struct Row {
    name: String,
    figure: Figure,
    bar: Option<Bar>,
    peer: Option<Peer>,
    note: String,
}

impl Row {
    pub(crate) fn new(name: &str, figure: Figure) -> Self {
        Self {
            name: name.to_owned(),
            figure,
            bar: None,
            peer: None,
            note: String::new(),
        }
    }

    /// With the least that is asked for, in the figure's unit.
    pub(crate) fn at_least(mut self, bar: Option<f64>) -> Self {
        self.bar = bar.map(Bar::AtLeast);
        self
    }

    /// With the most that is allowed, in the figure's unit; of times, p50 in microseconds.
    pub(crate) fn at_most(mut self, bar: Option<f64>) -> Self {
        self.bar = bar.map(Bar::AtMost);
        self
    }

    pub(crate) fn peer(mut self, peer: Option<Peer>) -> Self {
        self.peer = peer;
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    fn value(&self) -> f64 {
        match self.figure {
            Figure::Rate(value, _) | Figure::Seconds(value) | Figure::Number(value, _) => value,
            Figure::Times(sample) => sample.p50,
        }
    }

    fn meets(&self) -> Option<bool> {
        self.bar.map(|bar| match bar {
            Bar::AtLeast(least) => self.value() >= least,
            Bar::AtMost(most) => self.value() <= most,
        })
    }
}

/// A row of appends, next to its raw limits.
pub(crate) struct AppendRow {
    pub(crate) callers: usize,
    pub(crate) events: usize,
    pub(crate) ours: Sample,
    /// One thread that writes and flushes the bytes of all callers.
    pub(crate) plain: Sample,
    /// The same thread with callers and a queue before it.
    pub(crate) called: Sample,
    pub(crate) ratio: f64,
    pub(crate) ratio_callers: f64,
    pub(crate) bar: Option<f64>,
    pub(crate) peers: Option<AppendPeers>,
}

pub(crate) struct Report {
    machine: Machine,
    settings: Map<String, Value>,
    appends: Vec<Value>,
    rows: Vec<Value>,
    section: String,
    missed: Vec<String>,
    bars: usize,
    pub(crate) seconds: f64,
}

impl Report {
    pub(crate) fn new(machine: Machine, options: &Options) -> Self {
        let mut settings = Map::new();
        settings.insert("quick".into(), options.quick.into());
        settings.insert("rounds".into(), options.rounds.into());
        settings.insert(
            "append_seconds".into(),
            options.window().as_secs_f64().into(),
        );
        settings.insert("payload_bytes".into(), PAYLOAD_BYTES.into());
        settings.insert(
            "segment_bytes".into(),
            EmbeddedSettings::SEGMENT_BYTES.into(),
        );
        settings.insert(
            "fresh_entries".into(),
            EmbeddedSettings::FRESH_ENTRIES.into(),
        );
        Self {
            machine,
            settings,
            appends: Vec::new(),
            rows: Vec::new(),
            section: String::new(),
            missed: Vec::new(),
            bars: 0,
            seconds: 0.0,
        }
    }

    pub(crate) fn heading(&self) -> String {
        let machine = &self.machine;
        format!(
            "{}, {} cores, {} memory, Linux {}, {}\n{}, {}, {}\n\
             payloads of {PAYLOAD_BYTES} bytes; medians of {} rounds",
            machine.processor,
            machine.cores,
            machine.memory,
            machine.kernel,
            machine.filesystem,
            machine.store,
            machine.rustc,
            machine.when,
            self.settings.get("rounds").cloned().unwrap_or_default(),
        )
    }

    /// Notes something about the run.
    pub(crate) fn set(&mut self, name: &str, value: f64) {
        self.settings.insert(name.to_owned(), value.into());
    }

    pub(crate) fn begin_appends(&mut self, bytes: &[f64; 2]) {
        println!(
            "\nDurable appends, calls/s. raw: one thread, the same bytes ({:.0} a call, {:.0} with \
             10 events), one fdatasync\nper group. called: that thread behind the same queue, with \
             the same callers.\n",
            bytes[0], bytes[1]
        );
        println!(
            "{:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>6} {:>5}  best peer, any / flushing",
            "callers",
            "ours",
            "p50",
            "p99",
            "raw",
            "called",
            "ours/raw",
            "ours/call.",
            "bar",
            "met",
        );
    }

    pub(crate) fn append(&mut self, row: AppendRow) {
        let name = format!("{}x{}", row.callers, row.events);
        let bar = row.bar.filter(|_| row.ratio.is_finite()); // without raw there is no ratio
        let met = bar.map(|bar| row.ratio >= bar);
        let bar = row.bar.map_or(String::new(), |bar| format!("{bar:.1}"));
        let peers = row.peers.map_or(String::new(), |peers| {
            format!(
                "{} {} / {} {}",
                amount(peers.any.figure),
                peers.any.name,
                amount(peers.flushed.figure),
                peers.flushed.name
            )
        });
        println!(
            "{name:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8.2} {:>9.2} {bar:>6} {:>5}  {peers}",
            amount(row.ours.rate),
            micros(row.ours.p50),
            micros(row.ours.p99),
            amount(row.plain.rate),
            amount(row.called.rate),
            row.ratio,
            row.ratio_callers,
            yes(met),
        );
        self.judge(&format!("append {name}"), met);
        self.appends.push(json!({
            "callers": row.callers,
            "events_per_call": row.events,
            "ours": sample(&row.ours),
            "raw": sample(&row.plain),
            "raw_with_callers": sample(&row.called),
            "ratio_to_raw": row.ratio,
            "ratio_to_raw_with_callers": row.ratio_callers,
            "bar": row.bar,
            "met": met,
            "peers_elsewhere": row.peers,
        }));
    }

    pub(crate) fn begin(&mut self, section: &str) {
        section.clone_into(&mut self.section);
        println!("\n{section}\n");
    }

    pub(crate) fn row(&mut self, row: Row) {
        let met = row.meets();
        let unit = match row.figure {
            Figure::Times(_) => "us",
            Figure::Seconds(_) => "s",
            Figure::Rate(_, unit) | Figure::Number(_, unit) => unit,
        };
        let value = match row.figure {
            Figure::Rate(rate, unit) => format!("{} {unit}", amount(rate)),
            Figure::Times(sample) => format!(
                "{}/s  p50 {}  p99 {}",
                amount(sample.rate),
                micros(sample.p50),
                micros(sample.p99)
            ),
            Figure::Seconds(seconds) => format!("{seconds:.3} s"),
            Figure::Number(number, unit) => format!("{number:.1} {unit}"),
        };
        let bar = row.bar.map_or(String::new(), |bar| match bar {
            Bar::AtLeast(least) => format!(">= {} {unit}", amount(least)),
            Bar::AtMost(most) => format!("<= {} {unit}", amount(most)),
        });
        let peer = row.peer.map_or(String::new(), |peer| {
            format!("best peer {} {unit} ({}) ", amount(peer.figure), peer.name)
        });
        println!(
            "  {:<44} {value:<36} {bar:<16} {:<4} {peer}{}",
            row.name,
            yes(met),
            row.note
        );
        self.judge(&row.name, met);
        let times = match row.figure {
            Figure::Times(times) => sample(&times),
            _ => Value::Null,
        };
        self.rows.push(json!({
            "section": self.section,
            "name": row.name,
            "value": row.value(),
            "unit": unit,
            "times": times,
            "at_least": row.bar.and_then(|bar| match bar { Bar::AtLeast(bar) => Some(bar), Bar::AtMost(_) => None }),
            "at_most": row.bar.and_then(|bar| match bar { Bar::AtMost(bar) => Some(bar), Bar::AtLeast(_) => None }),
            "met": met,
            "peer_elsewhere": row.peer,
            "note": row.note,
        }));
    }

    fn judge(&mut self, name: &str, met: Option<bool>) {
        self.bars += usize::from(met.is_some());
        if met == Some(false) {
            self.missed.push(name.to_owned());
        }
    }

    /// What stands below the table.
    pub(crate) fn closing(&self, json: &Path) -> String {
        let mut text = format!(
            "{} of {} bars met",
            self.bars - self.missed.len(),
            self.bars
        );
        if !self.missed.is_empty() {
            let _ = write!(text, "; missed: {}", self.missed.join(", ")); // to a String: can't fail
        }
        let _ = write!(
            text,
            "\nPeers were measured on a machine of the same kind on another day.\n\
             {:.0} s; the same figures are in {}",
            self.seconds,
            json.display()
        );
        text
    }

    pub(crate) fn json(&self) -> Result<String> {
        let whole = json!({
            "machine": self.machine,
            "settings": self.settings,
            "appends": self.appends,
            "rows": self.rows,
            "missed": self.missed,
            "seconds": self.seconds,
        });
        Ok(serde_json::to_string_pretty(&whole)?)
    }
}

fn sample(sample: &Sample) -> Value {
    json!({ "per_second": sample.rate, "p50_us": sample.p50, "p99_us": sample.p99 })
}

fn yes(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "",
    }
}

/// Three digits, with k or M.
fn amount(number: f64) -> String {
    let (scaled, unit) = match number {
        number if number >= 999_500.0 => (number / 1e6, "M"),
        number if number >= 999.5 => (number / 1e3, "k"),
        number => (number, ""),
    };
    let digits = match scaled {
        scaled if scaled >= 99.95 => 0,
        scaled if scaled >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{scaled:.digits$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    };
    format!("{text}{unit}")
}

fn micros(micros: f64) -> String {
    if micros >= 9_995.0 {
        format!("{:.1}ms", micros / 1e3)
    } else if micros >= 999.5 {
        format!("{:.2}ms", micros / 1e3)
    } else if micros >= 99.95 {
        format!("{micros:.0}us")
    } else {
        format!("{micros:.1}us")
    }
}
