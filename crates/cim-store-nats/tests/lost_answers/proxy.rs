//! Stands between a client and its server, and lets single messages through, loses them, holds
//! them up or answers them itself. It understands as much of the NATS protocol as that takes: a
//! line, and behind four of the verbs as many bytes as the line's last word says.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// A message on its way.
pub(crate) struct Message<'a> {
    pub(crate) to_server: bool,
    pub(crate) subject: &'a str,
    /// Its headers and what follows them.
    pub(crate) body: &'a str,
}

impl Message<'_> {
    /// Whether it asks for a message whose subject contains this.
    pub(crate) fn asks_for(&self, part: &str) -> bool {
        self.to_server && self.subject.contains("STREAM.MSG.GET") && self.body.contains(part)
    }

    /// Whether it says that something was stored in the log.
    pub(crate) fn is_ack(&self) -> bool {
        let start = format!("{{\"stream\":\"{}\"", crate::LOG);
        !self.to_server && self.body.starts_with(&start)
    }

    /// Whether it would store an event.
    pub(crate) fn is_event(&self) -> bool {
        self.to_server && self.subject.starts_with("cim.events.")
    }
}

/// What becomes of a message.
pub(crate) enum Action {
    Pass,
    Lose,
    /// It and all that come behind it wait.
    Hold(Arc<Notify>),
    /// The server never gets it; the client gets this: headers, where it begins as they do.
    Answer(String),
}

type Rule = Arc<dyn Fn(&Message<'_>) -> Action + Send + Sync>;

/// What one connection knows: the subjects that the client has subscribed to, with their ids.
#[derive(Default)]
struct Subscriptions(Mutex<Vec<(String, String)>>);

impl Subscriptions {
    fn note(&self, words: &[&str]) {
        if let ["SUB", subject, .., id] = words {
            let entry = ((*subject).to_owned(), (*id).to_owned());
            self.0.lock().unwrap().push(entry);
        }
    }

    /// The subscription with a wildcard at its end that gets a message with this subject.
    fn of(&self, subject: &str) -> String {
        let all = self.0.lock().unwrap();
        let mut all = all.iter();
        let found = all.find(|(pattern, _)| {
            pattern
                .strip_suffix('*')
                .is_some_and(|start| subject.starts_with(start))
        });
        found.expect("the client waits for an answer").1.clone()
    }
}

/// Starts a proxy for the server at this URL, and returns its own.
pub(crate) async fn start(
    url: &str,
    rule: impl Fn(&Message<'_>) -> Action + Send + Sync + 'static,
) -> String {
    let rule: Rule = Arc::new(rule);
    let (before, host) = url.rsplit_once(['@', '/']).unwrap();
    let before = &url[..=before.len()];
    let host = host.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(&host).await else {
                continue;
            };
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            join(client, server, &rule);
        }
    });
    format!("{before}127.0.0.1:{port}")
}

/// Starts to pass messages on, both ways.
fn join(client: TcpStream, server: TcpStream, rule: &Rule) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let to_client = Arc::new(tokio::sync::Mutex::new(to_client));
    let to_server = Arc::new(tokio::sync::Mutex::new(to_server));
    let known = Arc::<Subscriptions>::default();
    for (to_server_now, from, to) in [
        (true, from_client, to_server),
        (false, from_server, to_client.clone()),
    ] {
        let way = Way {
            to_server: to_server_now,
            from: BufReader::new(from),
            to,
            answers: to_client.clone(),
            known: known.clone(),
            rule: rule.clone(),
        };
        // It ends with the connection.
        tokio::spawn(way.pass_on());
    }
}

type Writer = Arc<tokio::sync::Mutex<OwnedWriteHalf>>;

/// One way of one connection.
struct Way {
    to_server: bool,
    from: BufReader<OwnedReadHalf>,
    to: Writer,
    answers: Writer,
    known: Arc<Subscriptions>,
    rule: Rule,
}

impl Way {
    async fn pass_on(mut self) -> Option<()> {
        loop {
            let (line, body) = self.next().await?;
            let words: Vec<&str> = line.split_whitespace().collect();
            self.known.note(&words);
            if !body.is_empty() {
                let message = Message {
                    to_server: self.to_server,
                    subject: words[1],
                    body: &String::from_utf8_lossy(&body),
                };
                match (self.rule)(&message) {
                    Action::Pass => {}
                    Action::Lose => continue,
                    Action::Hold(until) => until.notified().await,
                    Action::Answer(text) => {
                        let reply = words[2];
                        let (id, length) = (self.known.of(reply), text.len());
                        let answer = if text.starts_with("NATS/1.0") {
                            format!("HMSG {reply} {id} {length} {length}\r\n{text}\r\n")
                        } else {
                            format!("MSG {reply} {id} {length}\r\n{text}\r\n")
                        };
                        let mut answers = self.answers.lock().await;
                        answers.write_all(answer.as_bytes()).await.ok()?;
                        continue;
                    }
                }
            }
            let mut all = line.into_bytes();
            all.extend(body);
            self.to.lock().await.write_all(&all).await.ok()?;
        }
    }

    /// The next line, and the bytes that belong to it.
    async fn next(&mut self) -> Option<(String, Vec<u8>)> {
        let mut line = String::new();
        if self.from.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let mut body = Vec::new();
        let mut words = line.split_whitespace();
        if matches!(words.next(), Some("PUB" | "HPUB" | "MSG" | "HMSG")) {
            let length: usize = words.last()?.parse().ok()?;
            body.resize(length + 2, 0);
            self.from.read_exact(&mut body).await.ok()?;
        }
        Some((line, body))
    }
}
