//! Opens a store by its URL: the one place that names adapters, so that moving to another one is
//! another URL and no other change.
//!
//! | URL | store |
//! |---|---|
//! | `memory:` | in this process, gone with it |
//! | `embedded:PATH` | in one directory, without a server (feature `embedded`, on by default) |
//! | `nats://HOST:PORT` | on NATS JetStream (feature `nats`) |
//! | `tls://HOST:PORT` | the same, over encrypted connections only |
//!
//! Several servers of a cluster are separated by commas, and a user and password or a token can
//! stand before the host: `nats://user:password@one:4222,two:4222`. Errors never repeat them.

use std::path::PathBuf;
use std::sync::Arc;

use cim_store::memory::MemoryStore;
use cim_store::{Clock, EventLogError, IdGenerator, Store, SystemClock, SystemIds};

/// The schemes that can be opened, for those who type another one.
const KNOWN: &str = "`memory:`, `embedded:PATH`, `nats://HOST` and `tls://HOST`";

/// With what a store is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Where the store takes its time from. On NATS the server says when it took an event.
    pub clock: Arc<dyn Clock>,
    /// Where the store takes its ids from.
    pub ids: Arc<dyn IdGenerator>,
    /// Whether a store that does not exist yet is an error. Otherwise it is made.
    pub must_exist: bool,
    /// What only a store on NATS takes.
    pub nats: NatsOptions,
}

/// With what a store on NATS is opened, beside its URL. What is not given is as
/// `cim_store_nats::NatsSettings` has it by default.
///
/// ```
/// use cim_domain::NatsOptions;
///
/// let options = NatsOptions {
///     creds: Some("orders.creds".into()),
///     replicas: Some(3),
///     ..NatsOptions::default()
/// };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatsOptions {
    /// A file of credentials (`.creds`), as `nsc` makes it. Overrides what the URL says of a user.
    pub creds: Option<PathBuf>,
    /// A PEM file of certificate authorities to trust beside the system's.
    pub tls_ca: Option<PathBuf>,
    /// A PEM file with the client's own certificate. Goes with `tls_key`.
    pub tls_cert: Option<PathBuf>,
    /// A PEM file with the private key of `tls_cert`.
    pub tls_key: Option<PathBuf>,
    /// The name of the log's JetStream stream, where it is not the usual one.
    pub stream_name: Option<String>,
    /// How many copies of everything: 1, 3 or 5. Without it a log that is there keeps those it has,
    /// and one that is made gets 1, on a cluster, too.
    pub replicas: Option<u8>,
    /// The monitoring pages of the servers, `http://host:8222`, separated by commas.
    pub monitor: Option<String>,
    /// Whether servers that are not known to flush before they acknowledge are refused.
    pub require_verified_flush: bool,
}

impl NatsOptions {
    /// The name of an option that was given; `None` where all are as by default.
    fn given(&self) -> Option<&'static str> {
        [
            ("creds", self.creds.is_some()),
            ("tls_ca", self.tls_ca.is_some()),
            ("tls_cert", self.tls_cert.is_some()),
            ("tls_key", self.tls_key.is_some()),
            ("stream_name", self.stream_name.is_some()),
            ("replicas", self.replicas.is_some()),
            ("monitor", self.monitor.is_some()),
            ("require_verified_flush", self.require_verified_flush),
        ]
        .into_iter()
        .find_map(|(name, given)| given.then_some(name))
    }
}

impl Default for OpenOptions {
    /// The machine's clock and ids; a store that does not exist is made.
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            ids: Arc::new(SystemIds),
            must_exist: false,
            nats: NatsOptions::default(),
        }
    }
}

/// A store that can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL has no scheme.
    #[error("`{url}` does not say which kind of store it is; did you mean `embedded:{url}`?")]
    NoScheme {
        /// What was given.
        url: String,
    },
    /// The URL has a scheme that no adapter has.
    #[error("there are no stores of kind `{scheme}:`; known are {KNOWN}")]
    UnknownScheme {
        /// The scheme that was given.
        scheme: String,
    },
    /// There is an adapter for the scheme, but not in this build.
    #[error("this build can't open `{scheme}:`: {reason}")]
    NotBuilt {
        /// The scheme that was given.
        scheme: String,
        /// Why, and what to do instead.
        reason: &'static str,
    },
    /// What follows the scheme is not what it takes.
    #[error("`{url}` can't be opened: {reason}")]
    Malformed {
        /// What was given.
        url: String,
        /// What it should be.
        reason: &'static str,
    },
    /// An option was given that stores of this kind don't have.
    #[error("a store of kind `{scheme}:` has no option `{option}`; stores on NATS have it")]
    NotAnOption {
        /// The URL's scheme.
        scheme: String,
        /// The field of [`NatsOptions`].
        option: &'static str,
    },
    /// Stores of this kind can't be [inspected](inspect), only opened.
    #[error("a store of kind `{scheme}:` can't be inspected; it is gone with its process")]
    NotInspectable {
        /// The URL's scheme.
        scheme: String,
    },
    /// The store had to exist and does not.
    #[error("there is no store at `{url}`")]
    NotFound {
        /// What was given.
        url: String,
    },
    /// The store is there but could not be opened.
    #[error("the store at `{url}` can't be opened")]
    Store {
        /// What was given.
        url: String,
        /// What the adapter says.
        source: EventLogError,
    },
}

/// Opens the store at a URL, and makes it where it does not exist.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let store = cim_domain::open("memory:").await?;
/// assert_eq!(store.log().stats(&cim_domain::store::Context::new()).await?.events, 0);
///
/// let error = cim_domain::open("./data").await.unwrap_err();
/// assert!(error.to_string().ends_with("did you mean `embedded:./data`?"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Every [`OpenError`] except `NotFound` and `NotInspectable`.
pub async fn open(url: &str) -> Result<Arc<dyn Store>, OpenError> {
    open_with(url, OpenOptions::default()).await
}

/// Opens the store at a URL with [`OpenOptions`]: a clock and ids of the caller's, only if it exists,
/// or with what a store on NATS takes.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use cim_domain::{NatsOptions, OpenOptions, open_with};
///
/// let nats = NatsOptions {
///     creds: Some("orders.creds".into()),
///     replicas: Some(3), // without it a new log gets one copy, also on a cluster
///     monitor: Some("http://n1:8222,http://n2:8222,http://n3:8222".into()),
///     require_verified_flush: true,
///     ..NatsOptions::default()
/// };
/// let options = OpenOptions { nats, ..OpenOptions::default() };
/// let store = open_with("nats://n1:4222,n2:4222,n3:4222", options).await?;
/// # let _ = store;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Every [`OpenError`] except `NotInspectable`.
pub async fn open_with(url: &str, options: OpenOptions) -> Result<Arc<dyn Store>, OpenError> {
    let (scheme, rest) = parts(url)?;
    check_options(&scheme, &options)?;
    match scheme.as_str() {
        "memory" => open_memory(url, rest, options),
        "embedded" => open_embedded(url, rest, options).await,
        scheme @ ("nats" | "tls") => open_nats(scheme, url, rest, options).await,
        scheme => Err(OpenError::UnknownScheme {
            scheme: scheme.to_owned(),
        }),
    }
}

/// Looks at the store at a URL without opening it: also at one that is so damaged that it can't be
/// opened, to learn which events are hit. Nothing of it is changed.
///
/// Its log can be examined, its streams be listed and its size be told; everything else is refused as
/// `Unsupported`, where an adapter can't do it in a damaged store. A store in memory can't be inspected.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let directory = tempfile::tempdir()?;
/// # let url = format!("embedded:{}", directory.path().join("data").display());
/// # cim_domain::open(&url).await?.close().await?;
/// use cim_domain::store::{Context, Position};
///
/// let store = cim_domain::inspect(&url).await?;
/// let found = store.log().examine(&Context::new(), Position::NONE).await?;
/// # drop(found);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// `NotInspectable` for stores of another kind; `NotFound` where there is none; `Store` where it can't
/// be looked at, as when a process has it open; and those of a URL that is none.
pub async fn inspect(url: &str) -> Result<Arc<dyn Store>, OpenError> {
    inspect_with(url, OpenOptions::default()).await
}

/// As [`inspect`], with [`OpenOptions`]. A store that does not exist is an error in any case.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use cim_domain::store::{Context, Position};
/// use cim_domain::{NatsOptions, OpenOptions, inspect_with};
///
/// // An auditor's credentials, which may read the log's stream and nothing else.
/// let nats = NatsOptions { creds: Some("auditor.creds".into()), ..NatsOptions::default() };
/// let options = OpenOptions { nats, ..OpenOptions::default() };
/// let store = inspect_with("nats://n1:4222", options).await?;
/// let found = store.log().examine(&Context::new(), Position::NONE).await?;
/// # drop(found);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`inspect`]; `NotAnOption` and `Malformed` as [`open_with`].
pub async fn inspect_with(url: &str, options: OpenOptions) -> Result<Arc<dyn Store>, OpenError> {
    let (scheme, rest) = parts(url)?;
    check_options(&scheme, &options)?;
    match scheme.as_str() {
        "embedded" => inspect_embedded(url, rest).await,
        scheme @ ("nats" | "tls") => inspect_nats(scheme, url, rest, options).await,
        "memory" => Err(OpenError::NotInspectable { scheme }),
        _ => Err(OpenError::UnknownScheme { scheme }),
    }
}

/// Refuses options that stores of this kind don't have.
fn check_options(scheme: &str, options: &OpenOptions) -> Result<(), OpenError> {
    match (scheme, options.nats.given()) {
        ("memory" | "embedded", Some(option)) => Err(OpenError::NotAnOption {
            scheme: scheme.to_owned(),
            option,
        }),
        _ => Ok(()),
    }
}

/// The scheme of a URL, in lower case, and what follows it.
fn parts(url: &str) -> Result<(String, &str), OpenError> {
    if url.is_empty() {
        return Err(OpenError::Malformed {
            url: String::new(),
            reason: "it is empty; a store is named such as `embedded:./data`",
        });
    }
    let Some((scheme, rest)) = split_scheme(url) else {
        return Err(OpenError::NoScheme {
            url: url.to_owned(),
        });
    };
    Ok((scheme.to_ascii_lowercase(), rest))
}

/// The scheme (RFC 3986, section 3.1) and what follows its colon. A single letter is the drive of
/// a path.
fn split_scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let possible = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let is_scheme = scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(possible);
    is_scheme.then_some((scheme, rest))
}

fn open_memory(url: &str, rest: &str, options: OpenOptions) -> Result<Arc<dyn Store>, OpenError> {
    if !matches!(rest, "" | "//") {
        return Err(OpenError::Malformed {
            url: url.to_owned(),
            reason: "nothing follows `memory:`, because every memory store is a new one",
        });
    }
    if options.must_exist {
        return Err(OpenError::NotFound {
            url: url.to_owned(),
        });
    }
    Ok(Arc::new(MemoryStore::with(options.clock, options.ids)))
}

#[cfg(feature = "embedded")]
async fn open_embedded(
    url: &str,
    rest: &str,
    options: OpenOptions,
) -> Result<Arc<dyn Store>, OpenError> {
    use cim_store::Fault;
    use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};

    let path = embedded_path(url, rest)?;
    let mut settings = EmbeddedSettings::default()
        .with_clock(options.clock)
        .with_ids(options.ids);
    if options.must_exist {
        settings = settings.must_exist();
    }
    let is_missing =
        |error: &EventLogError| options.must_exist && error.fault() == Some(Fault::NotFound);
    match EmbeddedStore::open(path, settings).await {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) if is_missing(&error) => Err(OpenError::NotFound {
            url: url.to_owned(),
        }),
        Err(source) => Err(OpenError::Store {
            url: url.to_owned(),
            source,
        }),
    }
}

/// The directory that an `embedded:` URL names.
#[cfg(feature = "embedded")]
fn embedded_path<'a>(url: &str, rest: &'a str) -> Result<&'a str, OpenError> {
    // `embedded://PATH` is taken as it is meant.
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() {
        return Err(OpenError::Malformed {
            url: url.to_owned(),
            reason: "a directory follows `embedded:`, such as `embedded:./data`",
        });
    }
    if path == "~" || path.starts_with("~/") {
        // Taken as it is it would quietly be a directory named `~`.
        return Err(OpenError::Malformed {
            url: url.to_owned(),
            reason: "only a shell knows what `~` means, and it does not look behind `embedded:`; \
                     write the directory out, or `./~` for one of that name",
        });
    }
    Ok(path)
}

#[cfg(feature = "embedded")]
async fn inspect_embedded(url: &str, rest: &str) -> Result<Arc<dyn Store>, OpenError> {
    use cim_store::Fault;
    use cim_store_embedded::{EmbeddedSettings, EmbeddedStore};

    let path = embedded_path(url, rest)?;
    match EmbeddedStore::inspect(path, EmbeddedSettings::default()).await {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) if error.fault() == Some(Fault::NotFound) => Err(OpenError::NotFound {
            url: url.to_owned(),
        }),
        Err(source) => Err(OpenError::Store {
            url: url.to_owned(),
            source,
        }),
    }
}

#[cfg(not(feature = "embedded"))]
async fn inspect_embedded(_: &str, _: &str) -> Result<Arc<dyn Store>, OpenError> {
    Err(without_embedded())
}

#[cfg(not(feature = "embedded"))]
fn without_embedded() -> OpenError {
    OpenError::NotBuilt {
        scheme: "embedded".to_owned(),
        reason: "it was built without the feature `embedded` of cim-domain",
    }
}

#[cfg(not(feature = "embedded"))]
async fn open_embedded(_: &str, _: &str, _: OpenOptions) -> Result<Arc<dyn Store>, OpenError> {
    Err(without_embedded())
}

#[cfg(feature = "nats")]
async fn open_nats(
    _: &str,
    url: &str,
    rest: &str,
    options: OpenOptions,
) -> Result<Arc<dyn Store>, OpenError> {
    let must_exist = options.must_exist;
    let settings = nats_settings(url, rest, options)?;
    let opened = cim_store_nats::NatsStore::open(url, settings).await;
    nats_store(url, must_exist, opened)
}

#[cfg(feature = "nats")]
async fn inspect_nats(
    _: &str,
    url: &str,
    rest: &str,
    options: OpenOptions,
) -> Result<Arc<dyn Store>, OpenError> {
    let settings = nats_settings(url, rest, options)?;
    let opened = cim_store_nats::NatsStore::inspect(url, settings).await;
    nats_store(url, true, opened)
}

#[cfg(feature = "nats")]
fn nats_store(
    url: &str,
    must_exist: bool,
    opened: Result<cim_store_nats::NatsStore, EventLogError>,
) -> Result<Arc<dyn Store>, OpenError> {
    let url = || without_credentials(url);
    match opened {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) if must_exist && error.fault() == Some(cim_store::Fault::NotFound) => {
            Err(OpenError::NotFound { url: url() })
        }
        Err(source) => Err(OpenError::Store { url: url(), source }),
    }
}

#[cfg(feature = "nats")]
fn nats_settings(
    url: &str,
    rest: &str,
    options: OpenOptions,
) -> Result<cim_store_nats::NatsSettings, OpenError> {
    let malformed = |reason| OpenError::Malformed {
        url: without_credentials(url),
        reason,
    };
    if rest.trim_matches('/').is_empty() {
        return Err(malformed(
            "a server follows, such as in `nats://localhost:4222`",
        ));
    }
    let mut settings = cim_store_nats::NatsSettings::default()
        .with_clock(options.clock)
        .with_ids(options.ids);
    if options.must_exist {
        settings = settings.must_exist();
    }
    with_nats_options(settings, options.nats).ok_or_else(|| {
        malformed(
            "a client certificate needs its key, and a key its certificate: `tls_cert` and \
             `tls_key` go together",
        )
    })
}

/// `None` where a certificate is without its key, or a key without its certificate.
#[cfg(feature = "nats")]
fn with_nats_options(
    mut settings: cim_store_nats::NatsSettings,
    options: NatsOptions,
) -> Option<cim_store_nats::NatsSettings> {
    if let Some(creds) = options.creds {
        settings = settings.with_credentials(cim_store_nats::Credentials::File(creds));
    }
    if let Some(authority) = options.tls_ca {
        settings = settings.with_authority(authority);
    }
    settings = match (options.tls_cert, options.tls_key) {
        (Some(certificate), Some(key)) => settings.with_client_certificate(certificate, key),
        (None, None) => settings,
        _ => return None,
    };
    if let Some(stream) = options.stream_name {
        settings = settings.with_stream(stream);
    }
    if let Some(replicas) = options.replicas {
        settings = settings.with_replicas(replicas);
    }
    if let Some(monitor) = options.monitor {
        settings = settings.with_monitor_url(monitor);
    }
    if options.require_verified_flush {
        settings = settings.require_verified_flush();
    }
    Some(settings)
}

#[cfg(not(feature = "nats"))]
async fn open_nats(
    scheme: &str,
    _: &str,
    _: &str,
    _: OpenOptions,
) -> Result<Arc<dyn Store>, OpenError> {
    Err(without_nats(scheme))
}

#[cfg(not(feature = "nats"))]
async fn inspect_nats(
    scheme: &str,
    _: &str,
    _: &str,
    _: OpenOptions,
) -> Result<Arc<dyn Store>, OpenError> {
    Err(without_nats(scheme))
}

#[cfg(not(feature = "nats"))]
fn without_nats(scheme: &str) -> OpenError {
    OpenError::NotBuilt {
        scheme: scheme.to_owned(),
        reason: "it was built without the feature `nats` of cim-domain",
    }
}

/// The URL without what stands before its last `@`, the scheme aside: passwords can hold any
/// character, so nothing is kept that might be a part of one.
#[cfg(feature = "nats")]
fn without_credentials(url: &str) -> String {
    let Some((before, host)) = url.rsplit_once('@') else {
        return url.to_owned();
    };
    let scheme = before.split_once("//").map_or("", |(scheme, _)| scheme);
    format!("{scheme}//…@{host}")
}
