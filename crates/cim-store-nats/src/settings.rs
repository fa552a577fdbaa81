//! How a store on NATS is opened: how to connect, and what its JetStream stream is like.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cim_store::{Clock, EventLogError, IdGenerator, SystemClock, SystemIds};

/// What the names of JetStream streams begin with that hold a KV bucket or an object store.
const BUCKETS: [&str; 2] = ["KV_", "OBJ_"];

/// How a store is opened. The defaults suit a development server; production sets at least
/// [`with_replicas`](Self::with_replicas) to 3.
///
/// ```
/// use cim_store_nats::{Credentials, NatsSettings};
///
/// let settings = NatsSettings::default()
///     .with_replicas(3)
///     .with_credentials(Credentials::File("orders.creds".into()))
///     .with_name("orders-service");
/// ```
///
/// In production: encrypted both ways, and on servers that are known to flush before they
/// acknowledge.
///
/// ```
/// use std::time::Duration;
///
/// use cim_store_nats::NatsSettings;
///
/// let settings = NatsSettings::default()
///     .with_replicas(3)
///     .require_tls()
///     .with_authority("ca.pem")
///     .with_client_certificate("orders.pem", "orders.key")
///     .require_verified_flush()
///     .with_monitor_url("http://n1:8222,http://n2:8222,http://n3:8222")
///     .with_max_bytes(500 << 30)
///     .with_head_cache(1_000_000)
///     .with_connect_timeout(Duration::from_secs(2))
///     .with_request_timeout(Duration::from_secs(1))
///     .with_operation_timeout(Duration::from_secs(15));
/// ```
///
/// On a leaf node at the edge, whose permissions give each user subjects of its own for answers:
///
/// ```
/// use cim_store_nats::NatsSettings;
///
/// let settings = NatsSettings::default()
///     .tls_first()
///     .with_domain("shop-17")
///     .with_inbox_prefix("_INBOX_tills")
///     .with_stream("TILLS")
///     .compressed();
/// ```
#[derive(Clone, Debug)]
pub struct NatsSettings {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdGenerator>,
    pub(crate) must_exist: bool,
    pub(crate) stream: String,
    pub(crate) domain: Option<String>,
    pub(crate) replicas: Option<u8>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) compress: bool,
    pub(crate) require_verified_flush: bool,
    pub(crate) monitor_url: Option<String>,
    pub(crate) head_cache: usize,
    pub(crate) connection: ConnectionSettings,
}

/// How to connect.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionSettings {
    pub(crate) name: String,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) tls: Tls,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) operation_timeout: Duration,
    pub(crate) inbox_prefix: Option<String>,
}

/// Who connects. A user and password, or a token, can also stand in the URL:
/// `nats://user:password@host:4222`, `nats://token@host:4222`.
#[derive(Clone)]
#[non_exhaustive]
pub enum Credentials {
    /// A name and its password.
    UserPassword {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
    /// The seed of an nkey (`SU…`), which signs what the server asks and never leaves the process.
    NKey(String),
    /// A file with a JWT and the seed that belongs to it, as `nsc` makes it.
    File(PathBuf),
}

impl fmt::Debug for Credentials {
    /// Never shows a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserPassword { user, .. } => write!(f, "UserPassword({user})"),
            Self::Token(_) => f.write_str("Token"),
            Self::NKey(_) => f.write_str("NKey"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

/// How a connection is encrypted. `tls://` URLs are always encrypted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    pub(crate) required: bool,
    pub(crate) first: bool,
    pub(crate) authorities: Vec<PathBuf>,
    pub(crate) client: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// Whether anything says that the connection is to be encrypted.
    pub(crate) fn is_asked(&self) -> bool {
        self.required || self.first || !self.authorities.is_empty() || self.client.is_some()
    }
}

impl NatsSettings {
    /// The name that the log's JetStream stream has by default.
    pub const STREAM: &'static str = "EVENTS";
    /// How many heads of streams are remembered by default.
    pub const HEAD_CACHE: usize = 100_000;

    /// With another clock for the times of events, and for deadlines. When events are stored is
    /// the server's time.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// With another source of ids.
    #[must_use]
    pub fn with_ids(mut self, ids: Arc<dyn IdGenerator>) -> Self {
        self.ids = ids;
        self
    }

    /// Refuses to open a store that does not exist, instead of making it.
    #[must_use]
    pub fn must_exist(mut self) -> Self {
        self.must_exist = true;
        self
    }

    /// With another name for the log's JetStream stream: 1 to 32 ASCII letters, digits, `-` and
    /// `_`. An account has room for one log, because subjects can't belong to two streams. Names
    /// that begin with `KV_` or `OBJ_` are refused: NATS clients take such streams for buckets.
    #[must_use]
    pub fn with_stream(mut self, name: impl Into<String>) -> Self {
        self.stream = name.into();
        self
    }

    /// In a JetStream domain: a leaf node's own, say.
    #[must_use]
    pub fn with_domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// With so many copies of everything: 1, 3 or 5. 3 survive the loss of one server. Without it a
    /// log that is there keeps those it has, and one that is made gets 1.
    #[must_use]
    pub fn with_replicas(mut self, replicas: u8) -> Self {
        self.replicas = Some(replicas);
        self
    }

    /// With a limit on the size of the log, in bytes. A full log refuses appends; it never gives up
    /// old events.
    #[must_use]
    pub fn with_max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Stores events compressed (S2). Set when the log is made.
    #[must_use]
    pub fn compressed(mut self) -> Self {
        self.compress = true;
        self
    }

    /// Refuses to open a store unless its servers are known to flush before they acknowledge
    /// (`sync_interval: always`). Needs [`with_monitor_url`](Self::with_monitor_url) or a system
    /// account's user.
    #[must_use]
    pub fn require_verified_flush(mut self) -> Self {
        self.require_verified_flush = true;
        self
    }

    /// Where a server's monitoring page is, `http://host:8222`: the only place where an ordinary
    /// user can see how the server flushes. Several are separated by commas, one for each server.
    #[must_use]
    pub fn with_monitor_url(mut self, url: impl Into<String>) -> Self {
        self.monitor_url = Some(url.into());
        self
    }

    /// With so many heads of streams remembered, about 250 bytes each. A stream whose head is
    /// remembered is appended to in one round trip, another one in two.
    #[must_use]
    pub fn with_head_cache(mut self, heads: usize) -> Self {
        self.head_cache = heads;
        self
    }

    /// With the name that the server's monitoring shows for the connection.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.connection.name = name.into();
        self
    }

    /// With credentials; they override what stands in the URL.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.connection.credentials = Some(credentials);
        self
    }

    /// Refuses an unencrypted connection, also for `nats://` URLs.
    #[must_use]
    pub fn require_tls(mut self) -> Self {
        self.connection.tls.required = true;
        self
    }

    /// Encrypts from the first byte, for servers with `handshake_first`.
    #[must_use]
    pub fn tls_first(mut self) -> Self {
        self.connection.tls.first = true;
        self.connection.tls.required = true;
        self
    }

    /// Trusts the certificate authorities in this PEM file, beside the system's; refuses an
    /// unencrypted connection.
    #[must_use]
    pub fn with_authority(mut self, pem: impl Into<PathBuf>) -> Self {
        self.connection.tls.authorities.push(pem.into());
        self
    }

    /// Shows the server this certificate, with its key, both PEM files; refuses an unencrypted
    /// connection.
    #[must_use]
    pub fn with_client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.connection.tls.client = Some((certificate.into(), key.into()));
        self
    }

    /// With another limit on the time that connecting to one server takes; 5 s by default.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connection.connect_timeout = timeout;
        self
    }

    /// With another limit on the time until a server answers one request, after which it is sent
    /// again; 3 s by default.
    #[must_use]
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.connection.request_timeout = timeout;
        self
    }

    /// With another limit on the time of an operation whose context has no deadline, all its
    /// requests together; 30 s by default. Electing a new leader takes a cluster 4 to 10 s.
    #[must_use]
    pub fn with_operation_timeout(mut self, timeout: Duration) -> Self {
        self.connection.operation_timeout = timeout;
        self
    }

    /// With another prefix than `_INBOX` for the subjects of answers: where permissions give each
    /// user one of its own.
    #[must_use]
    pub fn with_inbox_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.connection.inbox_prefix = Some(prefix.into());
        self
    }

    pub(crate) fn check(&self) -> Result<(), EventLogError> {
        let possible = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let name = &self.stream;
        if name.is_empty() || name.len() > 32 || !name.chars().all(possible) {
            return Err(EventLogError::invalid(
                "a JetStream stream's name has 1 to 32 letters, digits, `-` and `_`",
            )
            .with("stream", name));
        }
        if BUCKETS.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(EventLogError::invalid(
                "a JetStream stream of this name is a bucket to NATS clients, not a log",
            )
            .with("stream", name)
            .with_hint(
                "take a name that does not begin with `KV_` or `OBJ_`: whoever deletes that bucket \
                 would delete the log",
            ));
        }
        // Both become parts of subjects, which nobody checks later.
        let is_plain = |text: &str| {
            let plain = |c: char| c.is_ascii_graphic() && !"*>".contains(c);
            text.chars().all(plain) && text.split('.').all(|token| !token.is_empty())
        };
        if let Some(domain) = &self.domain
            && (!is_plain(domain) || domain.contains('.'))
        {
            return Err(
                EventLogError::invalid("a JetStream domain is one token of a subject")
                    .with("domain", format!("{domain:?}")),
            );
        }
        if let Some(prefix) = &self.connection.inbox_prefix
            && !is_plain(prefix)
        {
            return Err(EventLogError::invalid(
                "the prefix of answers is a subject without wildcards",
            )
            .with("prefix", format!("{prefix:?}")));
        }
        if let Some(replicas) = self.replicas
            && !matches!(replicas, 1 | 3 | 5)
        {
            return Err(
                EventLogError::invalid("a JetStream stream has 1, 3 or 5 replicas")
                    .with("replicas", replicas)
                    .with_hint("take 3 on a cluster; an even number survives no more losses"),
            );
        }
        if self.connection.request_timeout.is_zero() || self.connection.operation_timeout.is_zero()
        {
            return Err(EventLogError::invalid(
                "a time limit of zero lets nothing be done",
            ));
        }
        Ok(())
    }
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            ids: Arc::new(SystemIds),
            must_exist: false,
            stream: Self::STREAM.to_owned(),
            domain: None,
            replicas: None,
            max_bytes: None,
            compress: false,
            require_verified_flush: false,
            monitor_url: None,
            head_cache: Self::HEAD_CACHE,
            connection: ConnectionSettings {
                name: "cim".to_owned(),
                credentials: None,
                tls: Tls::default(),
                connect_timeout: Duration::from_secs(5),
                request_timeout: Duration::from_secs(3),
                operation_timeout: Duration::from_secs(30),
                inbox_prefix: None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Result<(), EventLogError> {
        NatsSettings::default().with_stream(name).check()
    }

    #[test]
    fn a_log_is_named_by_letters_digits_hyphens_and_underscores() {
        for name in ["EVENTS", "sales-2", "_", "KVM", "MY_KV_", &"x".repeat(32)] {
            named(name).unwrap();
        }
        for name in ["", " ", "a b", "a.b", "*", ">", "ü", &"x".repeat(33)] {
            assert!(named(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_log_is_not_named_as_a_bucket_that_somebody_might_delete() {
        for name in ["KV_snapshots", "KV_", "OBJ_files"] {
            let error = named(name).unwrap_err();
            assert!(error.to_string().contains("is a bucket"), "{error}");
        }
    }
}
