//! The table, printed row by row, and the same figures as JSON.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::latencies::Sample;
use crate::machine::Machine;
use crate::measure::{Result, median};
use crate::options::Options;
use crate::workload::PAYLOAD_BYTES;

/// What one side did in a round.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    pub(crate) sample: Sample,
    /// Microseconds of the client's processor time for a call.
    pub(crate) cpu: f64,
}

/// The rounds of a measurement: each has all sides.
#[derive(Default)]
pub(crate) struct Compared {
    ours: Vec<Round>,
    bare: Vec<Round>,
    least: Vec<Round>,
}

impl Compared {
    pub(crate) fn ours(&mut self, round: Round) {
        self.ours.push(round);
    }

    /// With messages of the same bytes as ours.
    pub(crate) fn bare(&mut self, round: Round) {
        self.bare.push(round);
    }

    /// With the fewest bytes that do.
    pub(crate) fn least(&mut self, round: Round) {
        self.least.push(round);
    }

    /// The median of the rounds' ratios.
    fn ratio(ours: &[Round], to: &[Round], of: fn(&Round) -> f64) -> f64 {
        median(ours.iter().zip(to).map(|(ours, to)| of(ours) / of(to)))
    }
}

enum Figure {
    /// What counts is how many calls a second.
    Rates(Compared),
    /// What counts is how long half of the calls take at most.
    Times(Compared),
    Ratio(f64),
    Rate(f64),
    Count(u64),
}

#[derive(Clone, Copy)]
enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

/// A row of the table. The bar is on the ratio to bare, where there is one.
pub(crate) struct Row {
    name: String,
    figure: Figure,
    bar: Option<Bar>,
    note: String,
}

impl Row {
    fn new(figure: Figure) -> Self {
        Self {
            name: String::new(),
            figure,
            bar: None,
            note: String::new(),
        }
    }

    pub(crate) fn rates(compared: Compared) -> Self {
        Self::new(Figure::Rates(compared))
    }

    pub(crate) fn times(compared: Compared) -> Self {
        Self::new(Figure::Times(compared))
    }

    pub(crate) fn ratio(ratio: f64) -> Self {
        Self::new(Figure::Ratio(ratio))
    }

    pub(crate) fn rate(rate: f64) -> Self {
        Self::new(Figure::Rate(rate))
    }

    pub(crate) fn count(count: u64) -> Self {
        Self::new(Figure::Count(count))
    }

    pub(crate) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    pub(crate) fn at_least(mut self, bar: Option<f64>) -> Self {
        self.bar = bar.map(Bar::AtLeast);
        self
    }

    pub(crate) fn at_most(mut self, bar: Option<f64>) -> Self {
        self.bar = bar.map(Bar::AtMost);
        self
    }

    pub(crate) fn note(mut self, note: String) -> Self {
        self.note = note;
        self
    }

    fn compared(&self) -> Option<&Compared> {
        match &self.figure {
            Figure::Rates(compared) | Figure::Times(compared) => Some(compared),
            _ => None,
        }
    }

    pub(crate) fn ours(&self) -> Round {
        middle(self.compared().map_or(&[], |compared| &compared.ours))
    }

    pub(crate) fn bare(&self) -> Round {
        middle(self.compared().map_or(&[], |compared| &compared.bare))
    }

    fn least(&self) -> Round {
        middle(self.compared().map_or(&[], |compared| &compared.least))
    }

    fn of(&self) -> fn(&Round) -> f64 {
        match &self.figure {
            Figure::Times(_) => |round| round.sample.p50,
            _ => |round| round.sample.rate,
        }
    }

    /// What the bar is on.
    fn value(&self) -> f64 {
        match &self.figure {
            Figure::Rates(compared) | Figure::Times(compared) => {
                Compared::ratio(&compared.ours, &compared.bare, self.of())
            }
            Figure::Ratio(value) | Figure::Rate(value) => *value,
            Figure::Count(count) => *count as f64,
        }
    }

    fn ratio_to_least(&self) -> f64 {
        self.compared().map_or(f64::NAN, |compared| {
            Compared::ratio(&compared.ours, &compared.least, self.of())
        })
    }

    fn meets(&self) -> Option<bool> {
        let value = self.value();
        if !value.is_finite() {
            return None; // it was measured without what it is compared with
        }
        self.bar.map(|bar| match bar {
            Bar::AtLeast(least) => value >= least,
            Bar::AtMost(most) => value <= most,
        })
    }
}

pub(crate) struct Report {
    machine: Machine,
    settings: Map<String, Value>,
    section: String,
    replicas: u8,
    rows: Vec<Value>,
    missed: Vec<String>,
    bars: usize,
    pub(crate) seconds: f64,
}

impl Report {
    pub(crate) fn new(machine: Machine, options: &Options) -> Self {
        let mut settings = Map::new();
        settings.insert("quick".into(), options.quick.into());
        settings.insert("rounds".into(), options.rounds.into());
        settings.insert("sync_always".into(), options.sync_always.into());
        settings.insert(
            "append_seconds".into(),
            options.window().as_secs_f64().into(),
        );
        settings.insert("payload_bytes".into(), PAYLOAD_BYTES.into());
        Self {
            machine,
            settings,
            section: String::new(),
            replicas: 0,
            rows: Vec::new(),
            missed: Vec::new(),
            bars: 0,
            seconds: 0.0,
        }
    }

    pub(crate) fn heading(&self) -> String {
        let machine = &self.machine;
        format!(
            "{}, {} cores, {} memory, Linux {}, {}\n{}, {}, {}, load {}\n\
             payloads of {PAYLOAD_BYTES} bytes; medians of {} rounds; servers and clients share \
             the machine",
            machine.processor,
            machine.cores,
            machine.memory,
            machine.kernel,
            machine.filesystem,
            machine.store,
            machine.rustc,
            machine.when,
            load(),
            self.settings.get("rounds").cloned().unwrap_or_default(),
        )
    }

    pub(crate) fn begin(&mut self, section: &str, replicas: u8) {
        self.replicas = replicas;
        section.clone_into(&mut self.section);
        println!("\n{section}\n");
        println!(
            "  {:<38} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>7} {:<4} {:>9} {:>6}",
            "",
            "ours",
            "p50",
            "p99",
            "cpu",
            "bare",
            "p50",
            "p99",
            "cpu",
            "ours/bare",
            "bar",
            "met",
            "/guards",
            "load"
        );
    }

    pub(crate) fn row(&mut self, row: Row) {
        let met = row.meets();
        let value = row.value();
        let (load, least) = (load(), row.ratio_to_least());
        let bar = row.bar.map_or(String::new(), |bar| match bar {
            Bar::AtLeast(least) => format!(">= {least}"),
            Bar::AtMost(most) => format!("<= {most}"),
        });
        let (ours, bare) = match &row.figure {
            Figure::Rates(_) | Figure::Times(_) => (cells(&row.ours()), cells(&row.bare())),
            Figure::Ratio(_) => (cells_of(""), cells_of("")),
            Figure::Rate(_) | Figure::Count(_) => (cells_of(&amount(value)), cells_of("")),
        };
        let ratio = match &row.figure {
            Figure::Rate(_) | Figure::Count(_) => String::new(),
            _ => ratio(value),
        };
        println!(
            "  {:<38} {ours} {bare} {ratio:>9} {bar:>7} {:<4} {:>9} {load:>6} {}",
            row.name,
            yes(met),
            self::ratio(least),
            row.note
        );
        self.bars += usize::from(met.is_some());
        if met == Some(false) {
            self.missed
                .push(format!("{} on R{}", row.name, self.replicas));
        }
        self.rows.push(json!({
            "section": self.section,
            "replicas": self.replicas,
            "name": row.name,
            "value": value,
            "ours": round(&row.ours()),
            "bare_same_bytes": round(&row.bare()),
            "bare_guards_only": round(&row.least()),
            "ratio_to_guards_only": number(least),
            "rounds": row.compared().map(rounds),
            "at_least": row.bar.and_then(|bar| match bar { Bar::AtLeast(bar) => Some(bar), Bar::AtMost(_) => None }),
            "at_most": row.bar.and_then(|bar| match bar { Bar::AtMost(bar) => Some(bar), Bar::AtLeast(_) => None }),
            "met": met,
            "load_average": load,
            "note": row.note,
        }));
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
            "\n{:.0} s; the same figures are in {}",
            self.seconds,
            json.display()
        );
        text
    }

    pub(crate) fn json(&self) -> Result<String> {
        let whole = json!({
            "machine": self.machine,
            "settings": self.settings,
            "rows": self.rows,
            "missed": self.missed,
            "seconds": self.seconds,
        });
        Ok(serde_json::to_string_pretty(&whole)?)
    }
}

/// Each figure's median.
fn middle(rounds: &[Round]) -> Round {
    let samples: Vec<Sample> = rounds.iter().map(|round| round.sample).collect();
    Round {
        sample: Sample::median(&samples),
        cpu: median(rounds.iter().map(|round| round.cpu)),
    }
}

/// How many processes waited for a processor in the last minute, on average: with more than there
/// are processors, others were at work too.
fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

fn rounds(compared: &Compared) -> Value {
    let all = |rounds: &[Round]| rounds.iter().map(round).collect::<Vec<_>>();
    json!({
        "ours": all(&compared.ours),
        "bare_same_bytes": all(&compared.bare),
        "bare_guards_only": all(&compared.least),
    })
}

/// JSON has no word for what was not measured but `null`.
fn number(number: f64) -> Option<f64> {
    number.is_finite().then_some(number)
}

fn round(round: &Round) -> Value {
    let sample = &round.sample;
    json!({
        "per_second": number(sample.rate),
        "p50_us": number(sample.p50),
        "p99_us": number(sample.p99),
        "client_cpu_us": number(round.cpu),
    })
}

fn cells(round: &Round) -> String {
    let sample = &round.sample;
    format!(
        "{:>8} {:>8} {:>8} {:>8}",
        amount(sample.rate),
        micros(sample.p50),
        micros(sample.p99),
        micros(round.cpu)
    )
}

fn cells_of(first: &str) -> String {
    format!("{first:>8} {:>8} {:>8} {:>8}", "", "", "")
}

fn ratio(ratio: f64) -> String {
    number(ratio).map_or(String::new(), |ratio| format!("{ratio:.2}"))
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
    if !number.is_finite() {
        return String::new();
    }
    let (scaled, unit) = match number {
        number if number >= 999_500.0 => (number / 1e6, "M"),
        number if number >= 999.5 => (number / 1e3, "k"),
        number => (number, ""),
    };
    let digits = match scaled {
        scaled if scaled >= 99.95 || scaled.fract() == 0.0 => 0,
        scaled if scaled >= 9.995 => 1,
        _ => 2,
    };
    format!("{scaled:.digits$}{unit}")
}

fn micros(micros: f64) -> String {
    if !micros.is_finite() {
        return String::new();
    }
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
