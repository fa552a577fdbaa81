//! Makes the connection, and hears of its fate.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use cim_store::{Clock, EventLogError, Fault, SystemClock};
use tokio::sync::watch;

use crate::budget::within;
use crate::requests::Waiting;
use crate::server::ServerVersion;
use crate::settings::{ConnectionSettings, Credentials};
use crate::wire::percent;

/// A connection, and where its fate is heard of.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) epoch: watch::Receiver<u64>,
}

/// Connects to one of the servers of a URL: `nats://host:port`, `tls://host:port`, several of them
/// separated by commas.
pub(crate) async fn connect(
    url: &str,
    settings: &ConnectionSettings,
) -> Result<Connection, EventLogError> {
    let servers = servers(url)?;
    let waiting = Arc::new(Waiting::default());
    let (fate, epoch) = watch::channel(0);
    let credentials = match &settings.credentials {
        Some(credentials) => Some(credentials.clone()),
        None => credentials_of(&servers),
    };
    let tls_url = servers.iter().any(ServerAddr::tls_required);
    let options = options(settings, credentials, tls_url).await?;
    let (told, fate) = (waiting.clone(), Arc::new(fate));
    let options = options.event_callback(move |event| {
        hear(&event, &told, &fate);
        std::future::ready(())
    });
    // Each server of the list may take its time.
    let tries = u32::try_from(servers.len()).unwrap_or(1).max(1);
    let limit = settings.connect_timeout.saturating_mul(tries);
    let connecting = within(limit, options.connect(servers)).await;
    let client = match connecting {
        Some(Ok(client)) => client,
        Some(Err(error)) => return Err(refused(url, error)),
        None => {
            return Err(
                EventLogError::unavailable("no server answered in time").with("url", shown(url))
            );
        }
    };
    check_version(&client)?;
    Ok(Connection {
        client,
        waiting,
        epoch,
    })
}

/// Takes a client that somebody else connected. Its fate is not heard of, so waits end only with
/// their time.
pub(crate) fn adopt(client: Client) -> Result<Connection, EventLogError> {
    check_version(&client)?;
    let (_, epoch) = watch::channel(0);
    Ok(Connection {
        client,
        waiting: Arc::new(Waiting::default()),
        epoch,
    })
}

fn hear(event: &Event, waiting: &Waiting, fate: &watch::Sender<u64>) {
    match event {
        Event::Disconnected | Event::Closed => {
            tracing::warn!(%event, "the connection to NATS was lost");
            waiting.disconnected();
            fate.send_modify(|epoch| *epoch += 1);
        }
        Event::Connected => {
            tracing::debug!("connected to NATS");
            fate.send_modify(|epoch| *epoch += 1);
        }
        Event::ServerError(error) => {
            let text = error.to_string();
            tracing::warn!(error = text, "the NATS server reports an error");
            if let Some(subject) = denied_subject(&text) {
                waiting.denied(subject);
            }
        }
        other => tracing::debug!(event = %other, "NATS connection"),
    }
}

/// The subject of `Permissions Violation for Publish to "subject"`.
fn denied_subject(report: &str) -> Option<&str> {
    let report = report
        .to_ascii_lowercase()
        .find("permissions violation for publish")
        .and_then(|at| report.get(at..))?;
    let (_, rest) = report.split_once('"')?;
    rest.split_once('"').map(|(subject, _)| subject)
}

/// Splits a URL with several servers. The scheme, user and password of the first one hold for
/// those that have none.
fn servers(url: &str) -> Result<Vec<ServerAddr>, EventLogError> {
    // The whole URL is shown: of a part nobody can tell where a password in it begins.
    let malformed = || {
        EventLogError::invalid("a server is named such as nats://host:4222")
            .with("url", shown(url))
            .with_hint(
                "nothing follows the port, which is at most 65535; in a password escape `,`, `/`, `@`, \
                 `:`, `?`, `#` and `%` as %2C, %2F, %40, %3A, %3F, %23 and %25",
            )
    };
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    let scheme = scheme.ok_or_else(malformed)?;
    url.split(',')
        .map(|server| {
            let server = server.trim();
            if server.is_empty() {
                return Err(malformed());
            }
            let whole = if server.contains("://") {
                server.to_owned()
            } else {
                format!("{scheme}://{server}")
            };
            let parsed: ServerAddr = whole
                .parse()
                .map_err(|error: std::io::Error| malformed().with_source(error))?;
            let known = matches!(parsed.scheme(), "nats" | "tls");
            // Whatever follows the port would be ignored.
            let authority = whole.split_once("://").map_or("", |(_, rest)| rest);
            let behind = authority.trim_end_matches('/').contains(['/', '?', '#']);
            if parsed.host().is_empty() || !known || behind {
                return Err(malformed());
            }
            Ok(parsed)
        })
        .collect()
}

/// The user and password, or the token, of the first server that has some. One set of credentials
/// is for all servers.
fn credentials_of(servers: &[ServerAddr]) -> Option<Credentials> {
    let server = servers.iter().find(|server| server.has_user_pass())?;
    let plain =
        |text: &str| percent::decode(text).map_or(text.to_owned(), |text| text.into_owned());
    let user = plain(server.username()?);
    Some(match server.password() {
        Some(password) => Credentials::UserPassword {
            user,
            password: plain(password),
        },
        None => Credentials::Token(user),
    })
}

/// A URL without whoever connects: nothing between the first `//` and the last `@`.
pub(crate) fn shown(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((before, host)) => match before.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://…@{host}"),
            None => format!("…@{host}"),
        },
        None => url.to_owned(),
    }
}

async fn options(
    settings: &ConnectionSettings,
    credentials: Option<Credentials>,
    tls_url: bool,
) -> Result<ConnectOptions, EventLogError> {
    let mut options = ConnectOptions::new()
        .name(&settings.name)
        .connection_timeout(settings.connect_timeout)
        .request_timeout(Some(settings.request_timeout))
        .max_reconnects(None)
        .reconnect_delay_callback(reconnect_delay)
        // Every subject is made of checked tokens.
        .skip_subject_validation(true)
        // A dead peer is noticed by then, also where the network says nothing.
        .ping_interval(Duration::from_secs(10))
        // Whoever says how to encrypt does not want to go without.
        .require_tls(settings.tls.is_asked() || tls_url);
    for authority in &settings.tls.authorities {
        check_file(authority, "certificate authority")?;
        options = options.add_root_certificates(authority.clone());
    }
    if let Some((certificate, key)) = &settings.tls.client {
        check_file(certificate, "client certificate")?;
        check_file(key, "key of the client certificate")?;
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    if settings.tls.first {
        options = options.tls_first();
    }
    if let Some(prefix) = &settings.inbox_prefix {
        options = options.custom_inbox_prefix(prefix);
    }
    Ok(match credentials {
        None => options,
        Some(Credentials::UserPassword { user, password }) => {
            options.user_and_password(user, password)
        }
        Some(Credentials::Token(token)) => options.token(token),
        Some(Credentials::NKey(seed)) => options.nkey(seed),
        Some(Credentials::File(path)) => {
            options.credentials_file(&path).await.map_err(|error| {
                EventLogError::invalid("the file of credentials can't be read")
                    .with("file", path.display())
                    .with_source(error)
            })?
        }
    })
}

fn check_file(path: &std::path::Path, what: &str) -> Result<(), EventLogError> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(_) => Err(EventLogError::invalid(format!("the {what} is not a file"))
            .with("path", path.display())),
        Err(error) => Err(
            EventLogError::invalid(format!("the file of the {what} can't be read"))
                .with("path", path.display())
                .with_source(error),
        ),
    }
}

/// Up to 4 s between attempts, doubling from 50 ms; up to half of it is left out by chance, so that
/// the clients of a server that comes back don't all come at once.
fn reconnect_delay(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(7);
    let longest = Duration::from_millis(50 << doublings).min(Duration::from_secs(4));
    let left_out = SystemClock.now().as_micros().unsigned_abs() % 1_000;
    longest - longest.mul_f64(left_out as f64 / 2_000.0)
}

const NOT_ENCRYPTED: (Fault, &str, &str) = (
    Fault::Unavailable,
    "no encrypted connection could be made",
    "check the certificates (the server's authority, its host name, the client's own), and that the \
     server encrypts at all",
);

/// Whether the handshake of TLS failed: its errors come as invalid data.
fn is_distrust(error: &ConnectError) -> bool {
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let io = cause.downcast_ref::<std::io::Error>();
        if io.is_some_and(|error| error.kind() == std::io::ErrorKind::InvalidData) {
            return true;
        }
        next = cause.source();
    }
    false
}

fn refused(url: &str, error: ConnectError) -> EventLogError {
    let (fault, what, hint) = match error.kind() {
        ConnectErrorKind::ServerParse => (
            Fault::Invalid,
            "the server's address can't be read",
            "name it such as nats://host:4222",
        ),
        ConnectErrorKind::Dns => (
            Fault::Unavailable,
            "the server's name can't be resolved",
            "check the host's name",
        ),
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => (
            Fault::Denied,
            "the server does not know this user",
            "check the user and password, the token, the nkey or the file of credentials",
        ),
        // What the other side shows is not trusted, or it does not trust what is shown to it.
        ConnectErrorKind::Io if is_distrust(&error) => NOT_ENCRYPTED,
        ConnectErrorKind::Tls => NOT_ENCRYPTED,
        _ => (
            Fault::Unavailable,
            "no server could be reached",
            "check that a server runs there, and the address",
        ),
    };
    EventLogError::new(fault, what)
        .with("url", shown(url))
        .with_hint(hint)
        .with_source(error)
}

/// Refuses servers that don't keep what the adapter rests on.
pub(crate) fn check_version(client: &Client) -> Result<(), EventLogError> {
    let Some(info) = client.try_server_info() else {
        return Err(EventLogError::unavailable(
            "the server did not introduce itself",
        ));
    };
    let version = ServerVersion::parse(&info.version);
    if version.is_some_and(|version| version >= ServerVersion::OLDEST) {
        return Ok(());
    }
    Err(EventLogError::unsupported(format!(
        "the NATS server is too old: it has version {}, and at least {} is needed",
        info.version,
        ServerVersion::OLDEST
    ))
    .with("server", &info.server_name)
    .with_hint(format!(
        "install nats-server {} or newer; older ones scan the log to load a stream, and store \
         what they should have refused",
        ServerVersion::RECOMMENDED
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_servers_share_the_first_ones_scheme() {
        let found = servers("tls://a:4222, b:4223,nats://c").unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|server| {
                (
                    server.host().to_owned(),
                    server.port(),
                    server.tls_required(),
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("a".to_owned(), 4222, true),
                ("b".to_owned(), 4223, true),
                ("c".to_owned(), 4222, false)
            ]
        );
    }

    #[test]
    fn a_url_without_a_server_is_refused() {
        for url in [
            "nats://",
            "nats://u:p@",
            "localhost:4222",
            "ws://host",
            "nats://a,,b",
            "nats://a:port",
        ] {
            let error = servers(url).unwrap_err();
            assert_eq!(error.fault(), Some(Fault::Invalid), "{url}");
        }
    }

    #[test]
    fn a_url_can_say_who_connects() {
        let found = |url: &str| credentials_of(&servers(url).unwrap());
        assert!(matches!(
            found("nats://us%40er:p%3Aw@a,b"),
            Some(Credentials::UserPassword { user, password }) if user == "us@er" && password == "p:w"
        ));
        assert!(
            matches!(found("nats://a,nats://s3cr3t@b"), Some(Credentials::Token(token)) if token == "s3cr3t")
        );
        assert!(found("nats://a,b").is_none());
    }

    #[test]
    fn a_url_is_shown_without_its_password() {
        assert_eq!(shown("nats://u:p@h:1,u:p@i:2,j"), "nats://…@i:2,j");
        // Not even where the password should have been escaped.
        let error = servers("nats://anna:secret,/@x@host").unwrap_err();
        assert!(
            !format!("{error:#} {error:?}").contains("secret"),
            "{error:?}"
        );
    }

    #[test]
    fn a_refused_publish_names_its_subject() {
        let report = r#"nats: Permissions Violation for Publish to "cim.events.a.b.c.d.1""#;
        assert_eq!(denied_subject(report), Some("cim.events.a.b.c.d.1"));
        assert_eq!(denied_subject("nats: Stale Connection"), None);
    }

    #[test]
    fn reconnecting_waits_longer_but_not_too_long() {
        assert!(reconnect_delay(1) <= Duration::from_millis(50));
        assert!(reconnect_delay(1) >= Duration::from_millis(25));
        assert!(reconnect_delay(1_000) >= Duration::from_secs(2));
        assert!(reconnect_delay(1_000) <= Duration::from_secs(4));
    }
}
