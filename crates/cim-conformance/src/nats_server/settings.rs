//! How a test server is set up, and the configuration file that this becomes.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ServerError, ServerProgram};

/// What a test server is asked to be. The default is open to everybody on this machine, with
/// JetStream, and takes messages as large as the store's largest.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    accounts: usize,
    auth: Auth,
    system_user: bool,
    jetstream: bool,
    sync_always: bool,
    max_payload: Option<u64>,
    max_file_store: Option<u64>,
    tls: Option<Tls>,
    server_config: String,
    jetstream_config: String,
    pub(super) program: Option<ServerProgram>,
    pub(super) parent: PathBuf,
    pub(super) ready_within: Duration,
}

#[derive(Clone, Debug)]
enum Auth {
    Nobody,
    Password { user: String, password: String },
    Token(String),
    Nkey(String),
}

/// The files that a server needs to speak TLS, all PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The server's certificate, for `127.0.0.1`.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Who signs the certificates of clients.
    pub ca: Option<PathBuf>,
    /// Whether a client must show a certificate signed by `ca`.
    pub verify_clients: bool,
}

/// Where one server of a fleet listens and keeps its files.
pub(super) struct Place<'a> {
    pub(super) name: &'a str,
    pub(super) client_port: u16,
    pub(super) monitor_port: u16,
    pub(super) store: &'a Path,
    /// Of a cluster: the own port for the others, and those of all.
    pub(super) routes: Option<(u16, &'a [u16])>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            accounts: 0,
            auth: Auth::Nobody,
            system_user: false,
            jetstream: true,
            sync_always: false,
            max_payload: Some(4 << 20),
            max_file_store: None,
            tls: None,
            server_config: String::new(),
            jetstream_config: String::new(),
            program: None,
            parent: std::env::temp_dir(),
            ready_within: Duration::from_secs(30),
        }
    }
}

impl ServerSettings {
    /// The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Accounts `a0`, `a1`, … with JetStream, each with a user of the same name and password.
    /// Accounts share nothing. Default 0: one account for all, `$G`.
    #[must_use]
    pub fn accounts(mut self, count: usize) -> Self {
        self.accounts = count;
        self
    }

    /// Only this user may connect.
    #[must_use]
    pub fn password(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.auth = Auth::Password {
            user: user.into(),
            password: password.into(),
        };
        self
    }

    /// Only who knows this token may connect.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.auth = Auth::Token(token.into());
        self
    }

    /// Only the owner of this public user nkey (`U…`) may connect.
    #[must_use]
    pub fn nkey(mut self, public_key: impl Into<String>) -> Self {
        self.auth = Auth::Nkey(public_key.into());
        self
    }

    /// A user `sys` with the password `sys` of the system account, who may ask the server about
    /// itself.
    #[must_use]
    pub fn system_user(mut self) -> Self {
        self.system_user = true;
        self
    }

    /// A server without JetStream, if `false`.
    #[must_use]
    pub fn jetstream(mut self, enabled: bool) -> Self {
        self.jetstream = enabled;
        self
    }

    /// Whether every write is flushed to the disk before it is acknowledged. Default `false`: what
    /// the server does by itself, every two minutes.
    #[must_use]
    pub fn sync_always(mut self, always: bool) -> Self {
        self.sync_always = always;
        self
    }

    /// The largest message in bytes. Default 4 MiB; `None` leaves the server's own default, 1 MiB.
    #[must_use]
    pub fn max_payload(mut self, bytes: Option<u64>) -> Self {
        self.max_payload = bytes;
        self
    }

    /// How many bytes all streams together may store, to see what happens when the disk is full.
    #[must_use]
    pub fn max_file_store(mut self, bytes: u64) -> Self {
        self.max_file_store = Some(bytes);
        self
    }

    /// Speaks TLS with its clients; URLs then begin with `tls://`.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// More lines for the server's configuration file.
    #[must_use]
    pub fn server_config(mut self, lines: &str) -> Self {
        self.server_config.push_str(lines);
        self.server_config.push('\n');
        self
    }

    /// More lines for the block `jetstream` of the configuration file.
    #[must_use]
    pub fn jetstream_config(mut self, lines: &str) -> Self {
        self.jetstream_config.push_str(lines);
        self.jetstream_config.push('\n');
        self
    }

    /// Which server to run, of any version. Default: [`ServerProgram::find`].
    #[must_use]
    pub fn program(mut self, program: ServerProgram) -> Self {
        self.program = Some(program);
        self
    }

    /// Where the servers' directory is made; a benchmark wants a real disk. Default: the system's
    /// directory for temporary files.
    #[must_use]
    pub fn directory_in(mut self, parent: impl Into<PathBuf>) -> Self {
        self.parent = parent.into();
        self
    }

    /// How long waiting may take for a server, or a cluster, to be ready. Default 30 s.
    #[must_use]
    pub fn ready_within(mut self, time: Duration) -> Self {
        self.ready_within = time;
        self
    }

    pub(super) fn account_count(&self) -> usize {
        self.accounts
    }

    pub(super) fn has_jetstream(&self) -> bool {
        self.jetstream
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "tls" } else { "nats" }
    }

    /// Settings that the server would take but not as they are meant.
    pub(super) fn check(&self) -> Result<(), ServerError> {
        let objection = match &self.auth {
            Auth::Nobody => return Ok(()),
            _ if self.accounts > 0 => "accounts have users of their own",
            Auth::Token(_) if self.system_user => "a token leaves no room for the system user",
            _ => return Ok(()),
        };
        Err(ServerError::Settings(objection))
    }

    /// The configuration file, in the server's own format.
    pub(super) fn config(&self, place: &Place<'_>) -> String {
        let mut text = String::new();
        let mut line = |line: String| {
            text.push_str(&line);
            text.push('\n');
        };
        line(format!("server_name: {}", quoted(place.name)));
        line(format!("listen: \"127.0.0.1:{}\"", place.client_port));
        line(format!("http: \"127.0.0.1:{}\"", place.monitor_port));
        if let Some(bytes) = self.max_payload {
            line(format!("max_payload: {bytes}"));
        }
        if let Some((own, all)) = place.routes {
            let routes: Vec<String> = all
                .iter()
                .map(|port| format!("\"nats://127.0.0.1:{port}\""))
                .collect();
            let routes = routes.join(", ");
            line(format!(
                "cluster {{ name: test, listen: \"127.0.0.1:{own}\", routes: [{routes}] }}"
            ));
        }
        if self.jetstream {
            line(format!(
                "jetstream {{\n  store_dir: {}",
                quoted_path(place.store)
            ));
            if let Some(bytes) = self.max_file_store {
                line(format!("  max_file_store: {bytes}"));
            }
            if self.sync_always {
                line("  sync_interval: always".to_owned());
            }
            line(format!("{}}}", self.jetstream_config));
        }
        if let Some(tls) = &self.tls {
            line(format!(
                "tls {{\n  cert_file: {}",
                quoted_path(&tls.certificate)
            ));
            line(format!("  key_file: {}", quoted_path(&tls.key)));
            if let Some(ca) = &tls.ca {
                line(format!("  ca_file: {}", quoted_path(ca)));
            }
            line(format!("  verify: {}\n}}", tls.verify_clients));
        }
        line(self.who_may_connect());
        line(self.server_config.clone());
        text
    }

    fn who_may_connect(&self) -> String {
        let mut text = String::new();
        let user = match &self.auth {
            Auth::Token(token) => {
                return format!("authorization {{ token: {} }}", quoted(token));
            }
            Auth::Password { user, password } => Some(format!(
                "user: {}, password: {}",
                quoted(user),
                quoted(password)
            )),
            Auth::Nkey(key) => Some(format!("nkey: {}", quoted(key))),
            // Where there is one user, everybody must be one.
            Auth::Nobody if self.system_user && self.accounts == 0 => {
                text.push_str("no_auth_user: anybody\n");
                Some("user: anybody, password: anybody".to_owned())
            }
            Auth::Nobody => None,
        };
        if let Some(user) = user {
            text.push_str("authorization { users: [{ ");
            text.push_str(&user);
            text.push_str(" }] }\n");
        }
        if self.accounts > 0 || self.system_user {
            text.push_str("accounts {\n");
            let jetstream = if self.jetstream {
                "jetstream: enabled, "
            } else {
                ""
            };
            for number in 0..self.accounts {
                let name = account_name(number);
                // Writing to a string can't fail.
                let _ = writeln!(
                    text,
                    "  {name} {{ {jetstream}users: [{{ user: {name}, password: {name} }}] }}"
                );
            }
            if self.system_user {
                text.push_str("  $SYS { users: [{ user: sys, password: sys }] }\n");
            }
            text.push_str("}\n");
        }
        text
    }
}

/// Also the name of its user, and the password.
pub(super) fn account_name(number: usize) -> String {
    format!("a{number}")
}

/// A string in the server's configuration format, which has the escapes of C.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_not_be_meant_is_refused() {
        let both = ServerSettings::new().accounts(1).token("t").check();
        assert!(matches!(both, Err(ServerError::Settings(_))));
        let both = ServerSettings::new().system_user().token("t").check();
        assert!(matches!(both, Err(ServerError::Settings(_))));
        assert!(
            ServerSettings::new()
                .system_user()
                .accounts(1)
                .check()
                .is_ok()
        );
    }

    #[test]
    fn quotes_do_not_end_a_string() {
        assert_eq!(quoted(r#"a"b\c"#), r#""a\"b\\c""#);
    }
}
