//! The parameters of the connection to a PostgreSQL server, with libpq's names and meanings.
//!
//! Two things differ from libpq. The environment is not read, so `passfile`, `service` and
//! `servicefile` name what libpq finds by itself. And a connection over the network is
//! `verify-full` unless `sslmode` says otherwise.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::postgres::host::{Host, Location, hosts};
use crate::postgres::password::Password;
use crate::postgres::uri::{self, Values};
use crate::postgres::{passfile, service};

/// What TLS has to protect, by the values of `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS only if the server refuses a connection without.
    Allow,
    /// TLS if the server has it.
    Prefer,
    /// Always TLS, whoever the server is.
    Require,
    /// TLS, and a certificate that a trusted authority has signed.
    VerifyCa,
    /// TLS, and such a certificate for the name of the host.
    VerifyFull,
}

/// How TLS begins, by the values of `sslnegotiation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslNegotiation {
    /// The server is asked first whether it has TLS.
    Postgres,
    /// TLS from the first byte on, which servers from version 17 on take.
    Direct,
}

/// Whom a server's certificate may be signed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootCertificates {
    /// An authority that the system trusts.
    System,
    /// An authority in this file.
    File(PathBuf),
}

/// The files of a client's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The file of the certificate and those that lead to its authority.
    pub certificate: PathBuf,
    /// The file of its private key.
    pub key: PathBuf,
}

/// Whether the password's exchange is bound to the TLS connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// If the server offers it.
    Prefer,
    /// Always, else the connection fails.
    Require,
}

/// Which servers are taken, by the values of `target_session_attrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetSession {
    /// Any server.
    Any,
    /// A server whose transactions may write.
    ReadWrite,
    /// A server whose transactions may not write.
    ReadOnly,
    /// A server that follows no other.
    Primary,
    /// A server that follows another.
    Standby,
    /// A standby, or any other server if there is none.
    PreferStandby,
}

/// When the system looks whether a silent server is still there. `None` is the system's own value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalives {
    /// The time of silence before the first look.
    pub idle: Option<Duration>,
    /// The time between two looks.
    pub interval: Option<Duration>,
    /// How many looks without an answer end the connection.
    pub count: Option<u32>,
}

/// The parameters of the connection to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// The hosts in the order in which they are tried. There is at least one.
    pub hosts: Vec<Host>,
    /// The database.
    pub database: String,
    /// The role.
    pub user: String,
    password: Option<Password>,
    passfile: Option<PathBuf>,
    /// Which servers are taken, if the parameters say.
    pub target_session: Option<TargetSession>,
    ssl_mode: Option<SslMode>,
    /// How TLS begins.
    pub ssl_negotiation: SslNegotiation,
    /// Whom a server's certificate may be signed by.
    pub root_certificates: RootCertificates,
    /// The certificate that a server may ask for.
    pub client_certificate: Option<ClientCertificate>,
    /// Whether the password's exchange is bound to the TLS connection.
    pub channel_binding: ChannelBinding,
    /// How long connecting to one host may take. `None` is without a limit.
    pub connect_timeout: Option<Duration>,
    /// When a silent server is given up, if at all.
    pub keepalives: Option<Keepalives>,
    /// How long bytes that were sent may stay unacknowledged. `None` is the system's own value.
    pub tcp_user_timeout: Option<Duration>,
    /// The name by which the server's statistics show the connection.
    pub application_name: String,
    /// Options of the server's session, as a command line.
    pub options: Option<String>,
}

impl Parameters {
    /// Returns the parameters of a `postgres:` URI and of the service that it names.
    pub fn from_uri(uri: &str) -> Result<Self> {
        let mut values = uri::split(uri)?;
        add_service(&mut values)?;
        Self::from_values(values).map_err(|error| error.at("uri"))
    }

    fn from_values(mut values: Values) -> Result<Self> {
        if let Some(ssl) = values.remove("ssl") {
            if ssl != "true" || values.contains_key("sslmode") {
                return Err(Error::invalid("ssl: must be true, and without sslmode"));
            }
            values.insert("sslmode".to_owned(), "require".to_owned());
        }
        let mut take = |name: &str| values.remove(name).filter(|value| !value.is_empty());
        let hosts = hosts(take("host"), take("hostaddr"), take("port"))?;
        let user = take("user").ok_or_else(|| {
            Error::invalid("user: is missing (postgres://USER@HOST/DATABASE, or user=USER)")
        })?;
        let ssl_mode =
            take("sslmode").map(|mode| choice("sslmode", &mode, SSL_MODES)).transpose()?;
        let root_certificates = take("sslrootcert");
        let ssl_mode = match (ssl_mode, root_certificates.as_deref()) {
            (None, Some("system")) => Some(SslMode::VerifyFull),
            (Some(mode), Some("system")) if mode < SslMode::VerifyFull => {
                return Err(Error::invalid("sslmode: must be verify-full with sslrootcert=system"));
            }
            // As libpq does: a file of certificates is there to be used.
            (Some(SslMode::Require), Some(_)) => Some(SslMode::VerifyCa),
            (mode, _) => mode,
        };
        let ssl_negotiation = match take("sslnegotiation") {
            None => SslNegotiation::Postgres,
            Some(value) => choice("sslnegotiation", &value, SSL_NEGOTIATIONS)?,
        };
        if ssl_negotiation == SslNegotiation::Direct
            && ssl_mode.is_some_and(|mode| mode < SslMode::Require)
        {
            return Err(Error::invalid("sslmode: must be at least require with direct TLS"));
        }
        let client_certificate = match (take("sslcert"), take("sslkey")) {
            (Some(certificate), Some(key)) => {
                Some(ClientCertificate { certificate: certificate.into(), key: key.into() })
            }
            (None, None) => None,
            _ => return Err(Error::invalid("sslcert: needs sslkey beside it, and sslkey it")),
        };
        let channel_binding = match take("channel_binding") {
            None => ChannelBinding::Prefer,
            Some(value) => choice("channel_binding", &value, CHANNEL_BINDINGS)?,
        };
        let target_session = take("target_session_attrs")
            .map(|value| choice("target_session_attrs", &value, TARGET_SESSIONS))
            .transpose()?;
        let mut number = |name, default| match take(name) {
            None => Ok(default),
            Some(value) => integer(name, &value),
        };
        let connect_timeout = number("connect_timeout", 10)?;
        let has_keepalives = number("keepalives", 1)? != 0;
        let keepalives = Keepalives {
            idle: positive(number("keepalives_idle", 30)?).map(seconds),
            interval: positive(number("keepalives_interval", 10)?).map(seconds),
            count: positive(number("keepalives_count", 3)?),
        };
        let tcp_user_timeout = number("tcp_user_timeout", 30_000)?;
        Ok(Parameters {
            database: take("dbname").unwrap_or_else(|| user.clone()),
            user,
            hosts,
            password: take("password").map(Password::new),
            passfile: take("passfile").map(PathBuf::from),
            target_session,
            ssl_mode,
            ssl_negotiation,
            root_certificates: match root_certificates {
                Some(file) if file != "system" => RootCertificates::File(file.into()),
                _ => RootCertificates::System,
            },
            client_certificate,
            channel_binding,
            connect_timeout: positive(connect_timeout).map(seconds),
            keepalives: has_keepalives.then_some(keepalives),
            tcp_user_timeout: positive(tcp_user_timeout)
                .map(|millis| Duration::from_millis(millis.into())),
            application_name: take("application_name").unwrap_or_else(|| "libdcb".to_owned()),
            options: take("options"),
        })
    }

    /// Returns what TLS has to protect on the way to a host.
    pub fn ssl_mode(&self, host: &Host) -> SslMode {
        match (&host.location, self.ssl_mode) {
            (Location::Socket(_), _) => SslMode::Disable,
            (Location::Network(..), Some(mode)) => mode,
            (Location::Network(..), None) if self.ssl_negotiation == SslNegotiation::Direct => {
                SslMode::VerifyFull
            }
            (Location::Network(..), None) if host.is_local() => SslMode::Prefer,
            (Location::Network(..), None) => SslMode::VerifyFull,
        }
    }

    /// Returns whether `sslmode` is given, and not the library's choice.
    pub fn has_ssl_mode(&self) -> bool {
        self.ssl_mode.is_some()
    }

    /// Returns the password for a host. A file of passwords is read at each call, so that a new
    /// password needs no restart.
    pub fn password(&self, host: &Host) -> Result<Option<Password>> {
        let (None, Some(path)) = (&self.password, &self.passfile) else {
            return Ok(self.password.clone());
        };
        let names = host.passfile_names();
        passfile::look_up(path, &names, host.port, &self.database, &self.user)
            .map_err(|error| error.at("uri"))
    }
}

/// Adds the parameters of the service that the URI names. Those of the URI count first.
fn add_service(values: &mut Values) -> Result<()> {
    let (service, file) = match (values.remove("service"), values.remove("servicefile")) {
        (None, None) => return Ok(()),
        (Some(service), Some(file)) => (service, file),
        _ => {
            return Err(Error::invalid(
                "uri: service: needs servicefile beside it, and servicefile it",
            ));
        }
    };
    for (name, value) in service::look_up(Path::new(&file), &service)? {
        uri::check_name(&name).map_err(|error| error.at("servicefile"))?;
        values.entry(name).or_insert(value);
    }
    Ok(())
}

const SSL_MODES: &[(&str, SslMode)] = &[
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

const SSL_NEGOTIATIONS: &[(&str, SslNegotiation)] =
    &[("postgres", SslNegotiation::Postgres), ("direct", SslNegotiation::Direct)];

const CHANNEL_BINDINGS: &[(&str, ChannelBinding)] = &[
    ("disable", ChannelBinding::Disable),
    ("prefer", ChannelBinding::Prefer),
    ("require", ChannelBinding::Require),
];

const TARGET_SESSIONS: &[(&str, TargetSession)] = &[
    ("any", TargetSession::Any),
    ("read-write", TargetSession::ReadWrite),
    ("read-only", TargetSession::ReadOnly),
    ("primary", TargetSession::Primary),
    ("standby", TargetSession::Standby),
    ("prefer-standby", TargetSession::PreferStandby),
];

fn choice<T: Copy>(name: &str, value: &str, choices: &[(&str, T)]) -> Result<T> {
    match choices.iter().find(|(text, _)| *text == value) {
        Some((_, choice)) => Ok(*choice),
        None => {
            let texts: Vec<&str> = choices.iter().map(|(text, _)| *text).collect();
            Err(Error::invalid(format!("{name}: must be one of {}", texts.join(", "))))
        }
    }
}

fn integer(name: &str, value: &str) -> Result<i32> {
    value.trim().parse().map_err(|_| Error::invalid(format!("{name}: must be a whole number")))
}

/// Returns a number, or `None` for zero and below.
fn positive(number: i32) -> Option<u32> {
    u32::try_from(number).ok().filter(|number| *number > 0)
}

fn seconds(number: u32) -> Duration {
    Duration::from_secs(number.into())
}

#[cfg(test)]
mod tests;
