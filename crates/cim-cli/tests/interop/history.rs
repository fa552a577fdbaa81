//! Histories in embedded stores, and the commands that tests run on them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;

use cim_cli::{Environment, ExitCode, Interrupt, Ui};
use cim_store::{
    Append, CausationId, ContentType, Context, CorrelationId, EventType, Metadata, NewEvent,
    Principal, SchemaVersion, StreamId, Timestamp, TraceParent, Version,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Streams of [`History::large`] besides those of [`History::small`]: more than a block of heads
/// names, so that there are two of these and two pages.
const STREAMS: u32 = 4_200;

/// A store in a directory of its own.
#[derive(Debug)]
pub(crate) struct History {
    folder: TempDir,
}

/// A stream's last event.
#[derive(Debug, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct Head {
    pub(crate) version: u64,
    pub(crate) cid: String,
}

impl History {
    /// A folder in which no store is yet.
    pub(crate) fn none() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Every field that an event can have, present and absent, in a handful of events.
    pub(crate) async fn small() -> Self {
        let history = Self::none();
        history.append(every_field()).await;
        history
    }

    /// That, and many streams.
    pub(crate) async fn large() -> Self {
        let history = Self::none();
        let numbers: Vec<u32> = (0..STREAMS).collect();
        let many = numbers.chunks(100).map(|numbers| {
            numbers.iter().fold(Append::new(), |append, number| {
                let event = NewEvent::json("counted", &json!({ "number": number })).unwrap();
                append.write(
                    stream("zähler", &number.to_string()),
                    Version::NONE,
                    vec![event],
                )
            })
        });
        history.append(many.chain(every_field()).collect()).await;
        history
    }

    async fn append(&self, appends: Vec<Append>) {
        let store = cim_domain::open(&self.url()).await.unwrap();
        let ctx = Context::new()
            .with_principal(Principal::new("user:zoë müller").unwrap())
            .with_correlation_id(CorrelationId::from_bytes([0xc0; 16]))
            .with_causation_id(CausationId::from_bytes([0xca; 16]))
            .with_trace(
                TraceParent::new("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
                    .unwrap(),
            );
        let log = store.log();
        // Every other commit without a context, so without its fields.
        for (append, ctx) in appends
            .into_iter()
            .zip([ctx, Context::new()].iter().cycle())
        {
            log.append(ctx, append).await.unwrap();
        }
        store.close().await.unwrap();
    }

    fn url(&self) -> String {
        format!("embedded:{}", self.folder.path().join("store").display())
    }

    /// A place for a file beside the store.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `cim` on the store; gives what it printed.
    pub(crate) async fn cim(&self, args: &[&OsStr]) -> String {
        let url = self.url();
        let start = ["cim", "--json", "--store", &url].map(OsStr::new);
        let args = start.iter().chain(args);
        let (mut ui, captured) = Ui::captured();
        let environment = Environment {
            state_directory: None,
            ..Environment::system(Interrupt::on_ctrl_c())
        };
        let code = cim_cli::run(args, &mut ui, &environment).await;
        assert_eq!(code, ExitCode::Ok, "{}", captured.err());
        captured.out()
    }

    /// Exports the history; gives what the command says, and the file.
    pub(crate) async fn export(&self) -> (Value, PathBuf) {
        let file = self.file("history.car");
        let said = self
            .cim(&[OsStr::new("export"), OsStr::new("--car"), file.as_os_str()])
            .await;
        (serde_json::from_str(&said).unwrap(), file)
    }

    async fn lines(&self, args: &[&str]) -> Vec<Value> {
        let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
        let said = self.cim(&args).await;
        said.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The heads of all streams, as the store has them.
    pub(crate) async fn heads(&self) -> BTreeMap<String, Head> {
        let head = |line: &Value| {
            let stream = line["stream"].as_str().unwrap().to_owned();
            let head = Head {
                version: line["version"].as_u64().unwrap(),
                cid: line["cid"].as_str().unwrap().to_owned(),
            };
            (stream, head)
        };
        self.lines(&["streams"]).await.iter().map(head).collect()
    }

    /// The CIDs of all events in the order of the log, as the store has them.
    pub(crate) async fn order(&self) -> Vec<String> {
        let lines = self.lines(&["log"]).await;
        let cid = |line: &Value| line["cid"].as_str().unwrap().to_owned();
        lines.iter().map(cid).collect()
    }
}

/// Names a stream; what needs it is escaped.
pub(crate) fn stream(aggregate: &str, id: &str) -> StreamId {
    StreamId::new("verkauf", aggregate, id).unwrap()
}

fn every_field() -> Vec<Append> {
    let placed =
        json!({ "total": 12, "note": "Grüße, 你好, \"quoted\" 100 %", "lines": [1, null] });
    let rich = NewEvent::json("Bestellung ausgelöst", &placed)
        .unwrap()
        .with_time(Timestamp::from_micros(1_767_225_600_000_001))
        .with_schema_version(SchemaVersion::new(3).unwrap())
        .with_metadata(
            Metadata::from_pairs([
                ("mandant", "Zoë \"Z\" 100%"),
                ("app", "shop"),
                ("__proto__", ""),
            ])
            .unwrap(),
        );
    let text = NewEvent::new(
        EventType::new("note_added").unwrap(),
        ContentType::new("text/plain; charset=utf-8").unwrap(),
        "e\u{301}\u{2028}\u{feff}",
    );
    // What looks like a CID in a payload is none.
    let binary = NewEvent::new(
        EventType::new("photo_added").unwrap(),
        ContentType::BYTES,
        b"\x01\x71\x12\x20\x00\xff\xfe\r\n".to_vec(),
    )
    .with_time(Timestamp::from_micros(-1));
    let empty = NewEvent::new(
        EventType::new("emptied").unwrap(),
        ContentType::BYTES,
        Vec::new(),
    )
    .with_time(Timestamp::from_micros(0));
    let large = NewEvent::new(
        EventType::new("video_added").unwrap(),
        ContentType::BYTES,
        vec![0xa5; 300_000],
    )
    .with_metadata(Metadata::from_pairs([("note", "é".repeat(20_000))]).unwrap());
    let plain = |total: u32| NewEvent::json("order_placed", &json!({ "total": total })).unwrap();

    let order = || stream("bestellung", "0193");
    let customer = || stream("kundin", "Zoë/7.a");
    vec![
        Append::new().write(order(), Version::NONE, vec![plain(12)]),
        // Several events of several streams in one commit, with a check.
        Append::new()
            .write(order(), Version::new(1), vec![rich, text])
            .write(customer(), Version::NONE, vec![binary])
            .check(stream("kundin", "niemand"), Version::NONE),
        Append::new()
            .write(customer(), Version::new(1), vec![empty])
            .write(
                stream("bestellung", "0194"),
                Version::NONE,
                vec![plain(13), large],
            ),
        Append::new().write(order(), Version::new(3), vec![plain(14)]),
        Append::new().write(customer(), Version::new(2), vec![plain(15), plain(16)]),
    ]
}
