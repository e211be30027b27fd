//! The hosts of a PostgreSQL server.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The folders in which distributions of PostgreSQL put a server's Unix socket.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

const DEFAULT_PORT: u16 = 5432;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The way to the server.
    pub location: Location,
    /// The port, which is also a part of the name of a Unix socket.
    pub port: u16,
}

/// The way to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A Unix socket in this folder.
    Socket(PathBuf),
    /// A host of this name or address, by which its certificate is checked. The address to connect
    /// to is looked up unless it is given.
    Network(String, Option<IpAddr>),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Location::Socket(_) => self.socket_path().unwrap_or_default().display().fmt(f),
            Location::Network(name, _) if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            Location::Network(name, _) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl Host {
    /// Returns the path of the Unix socket, if it is one.
    pub fn socket_path(&self) -> Option<PathBuf> {
        match &self.location {
            Location::Socket(folder) => Some(folder.join(format!(".s.PGSQL.{}", self.port))),
            Location::Network(..) => None,
        }
    }

    /// Returns the names that a file of passwords may have for the host.
    pub(super) fn passfile_names(&self) -> Vec<Cow<'_, str>> {
        match &self.location {
            Location::Network(name, _) => vec![name.into()],
            Location::Socket(folder) => {
                let is_usual = SOCKET_FOLDERS.iter().any(|usual| folder == Path::new(usual));
                let usual = is_usual.then_some("localhost".into());
                usual.into_iter().chain([folder.to_string_lossy()]).collect()
            }
        }
    }

    /// Returns whether bytes to this host stay on this machine.
    pub fn is_local(&self) -> bool {
        let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
        match &self.location {
            Location::Socket(_) => true,
            Location::Network(name, address) => {
                let is_local_name =
                    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback);
                is_local_name && address.is_none_or(is_loopback)
            }
        }
    }
}

/// Returns the hosts that the parameters `host`, `hostaddr` and `port` list.
pub(super) fn hosts(
    names: Option<String>,
    addresses: Option<String>,
    ports: Option<String>,
) -> Result<Vec<Host>> {
    let list = |text: &Option<String>| -> Vec<String> {
        text.iter().flat_map(|text| text.split(',')).map(str::to_owned).collect()
    };
    let (names, addresses, ports) = (list(&names), list(&addresses), list(&ports));
    if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
        return Err(Error::invalid("hostaddr: must have as many addresses as host has names"));
    }
    let count = names.len().max(addresses.len()).max(1);
    if ports.len() > 1 && ports.len() != count {
        return Err(Error::invalid("port: must be one number, or one for each host"));
    }
    let mut hosts = Vec::with_capacity(count);
    for index in 0..count {
        let text =
            |list: &[String]| list.get(index).filter(|text| !text.is_empty()).map(String::to_owned);
        let port = match if ports.len() == 1 { ports.first() } else { ports.get(index) } {
            None => DEFAULT_PORT,
            Some(port) if port.is_empty() => DEFAULT_PORT,
            Some(port) => match port.parse() {
                Ok(port @ 1..) => port,
                _ => return Err(Error::invalid("port: must be a number from 1 to 65535")),
            },
        };
        let address = text(&addresses)
            .map(|address| address.parse::<IpAddr>())
            .transpose()
            .map_err(|_| Error::invalid("hostaddr: must be an IP address"))?;
        let mut add = |location| hosts.push(Host { location, port });
        match (text(&names), address) {
            (None, None) => {
                SOCKET_FOLDERS.iter().for_each(|folder| add(Location::Socket(folder.into())))
            }
            (None, Some(own)) => add(Location::Network(own.to_string(), address)),
            (Some(name), _) if name.starts_with('/') => match address {
                None => add(Location::Socket(name.into())),
                Some(_) => return Err(Error::invalid("hostaddr: a Unix socket has no address")),
            },
            (Some(name), _) if name.contains(|c: char| c == '@' || c.is_ascii_control()) => {
                return Err(Error::invalid(
                    "host: is no name of a host (@ in a user or a password must be written as %40)",
                ));
            }
            (Some(name), _) => add(Location::Network(name, address)),
        }
    }
    Ok(hosts)
}
