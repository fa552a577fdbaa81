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
}

impl Default for OpenOptions {
    /// The machine's clock and ids; a store that does not exist is made.
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            ids: Arc::new(SystemIds),
            must_exist: false,
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
/// Every [`OpenError`] except `NotFound`.
pub async fn open(url: &str) -> Result<Arc<dyn Store>, OpenError> {
    open_with(url, OpenOptions::default()).await
}

/// Opens the store at a URL with a clock and ids of the caller's, or only if it exists.
///
/// # Errors
/// Every [`OpenError`].
pub async fn open_with(url: &str, options: OpenOptions) -> Result<Arc<dyn Store>, OpenError> {
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
    match scheme.to_ascii_lowercase().as_str() {
        "memory" => open_memory(url, rest, options),
        "embedded" => open_embedded(url, rest, options).await,
        scheme @ ("nats" | "tls") => open_nats(scheme, url, rest, options).await,
        scheme => Err(OpenError::UnknownScheme {
            scheme: scheme.to_owned(),
        }),
    }
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

#[cfg(not(feature = "embedded"))]
async fn open_embedded(_: &str, _: &str, _: OpenOptions) -> Result<Arc<dyn Store>, OpenError> {
    Err(OpenError::NotBuilt {
        scheme: "embedded".to_owned(),
        reason: "it was built without the feature `embedded` of cim-domain",
    })
}

#[cfg(feature = "nats")]
async fn open_nats(
    _: &str,
    url: &str,
    rest: &str,
    options: OpenOptions,
) -> Result<Arc<dyn Store>, OpenError> {
    use cim_store::Fault;
    use cim_store_nats::{NatsSettings, NatsStore};

    let shown = || without_credentials(url);
    if rest.trim_matches('/').is_empty() {
        return Err(OpenError::Malformed {
            url: shown(),
            reason: "a server follows, such as in `nats://localhost:4222`",
        });
    }
    let mut settings = NatsSettings::default()
        .with_clock(options.clock)
        .with_ids(options.ids);
    if options.must_exist {
        settings = settings.must_exist();
    }
    match NatsStore::open(url, settings).await {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) if options.must_exist && error.fault() == Some(Fault::NotFound) => {
            Err(OpenError::NotFound { url: shown() })
        }
        Err(source) => Err(OpenError::Store {
            url: shown(),
            source,
        }),
    }
}

#[cfg(not(feature = "nats"))]
async fn open_nats(
    scheme: &str,
    _: &str,
    _: &str,
    _: OpenOptions,
) -> Result<Arc<dyn Store>, OpenError> {
    Err(OpenError::NotBuilt {
        scheme: scheme.to_owned(),
        reason: "it was built without the feature `nats` of cim-domain",
    })
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
