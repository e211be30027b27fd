//! Splits a `postgres:` URI into parameters with libpq's names.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::percent::decode;

/// The parameters that the library has, by libpq's names.
pub const NAMES: [&str; 25] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "options",
    "passfile",
    "password",
    "port",
    "service",
    "servicefile",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
    // What JDBC calls sslmode=require, which libpq takes too.
    "ssl",
];

/// Parameters of libpq that the library does not have.
const UNSUPPORTED: [&str; 21] = [
    "client_encoding",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslpassword",
    "sslsni",
];

/// Options of the store, which are no parameters of a URI.
const OPTIONS: [&str; 5] = ["busy_timeout_ms", "create", "pool_size", "read_only", "schema"];

/// What other libraries call a parameter.
const ALIASES: [(&str, &str); 6] = [
    ("database", "dbname"),
    ("db", "dbname"),
    ("username", "user"),
    ("pass", "password"),
    ("timeout", "connect_timeout"),
    ("passwordfile", "passfile"),
];

/// The value of each parameter, decoded.
pub type Values = BTreeMap<String, String>;

/// Returns the parameters of a URI. No error repeats a part of the URI but the name of a parameter.
pub fn split(uri: &str) -> Result<Values> {
    let rest = ["postgresql://", "postgres://"]
        .iter()
        .find_map(|scheme| uri.strip_prefix(scheme))
        .ok_or_else(|| Error::invalid("uri: must start with postgres:// or postgresql://"))?;
    if uri.contains('\0') {
        return Err(Error::invalid("uri: must not contain a NUL"));
    }
    let authority_len = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(authority_len);
    split_parts(authority, rest).map_err(|error| {
        // A password that was not encoded may have been taken for something else, such as the name
        // of a parameter.
        if !authority.contains('@') && rest.contains('@') {
            return Error::invalid(
                "uri: the characters / ? # @ : and % of a user or a password must be \
                 percent-encoded",
            );
        }
        error
    })
}

fn split_parts(authority: &str, rest: &str) -> Result<Values> {
    let mut values = Values::new();
    let hosts = match authority.split_once('@') {
        None => authority,
        Some((user, hosts)) => {
            let (user, password) = match user.split_once(':') {
                None => (user, None),
                Some((user, password)) => (user, Some(password)),
            };
            set_unless_empty(&mut values, "user", decode(user)?)?;
            if let Some(password) = password {
                set_unless_empty(&mut values, "password", decode(password)?)?;
            }
            hosts
        }
    };
    split_hosts(hosts, &mut values)?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    set_unless_empty(&mut values, "dbname", decode(path.strip_prefix('/').unwrap_or(path))?)?;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter
            .split_once('=')
            .ok_or_else(|| Error::invalid("uri: a parameter must be written as name=value"))?;
        let name = decode(name)?;
        check_name(&name).map_err(|error| error.at("uri"))?;
        set(&mut values, &name, decode(value)?)?;
    }
    Ok(values)
}

/// Splits `host:port,host:port`, where a host may be an IPv6 address in brackets.
fn split_hosts(text: &str, values: &mut Values) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for host in text.split(',') {
        let (host, port) = match host.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or_else(|| {
                    Error::invalid("uri: an IPv6 address must end with a closing bracket")
                })?;
                if address.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err(Error::invalid("uri: brackets must contain an IPv6 address"));
                }
                match port.strip_prefix(':') {
                    None if port.is_empty() => (address, ""),
                    None => {
                        return Err(Error::invalid(
                            "uri: only a port may follow the brackets of an IPv6 address",
                        ));
                    }
                    Some(port) => (address, port),
                }
            }
            None => host.split_once(':').unwrap_or((host, "")),
        };
        hosts.push(decode(host)?);
        ports.push(decode(port)?);
    }
    if hosts.iter().any(|host| !host.is_empty()) {
        set(values, "host", hosts.join(","))?;
    }
    if ports.iter().any(|port| !port.is_empty()) {
        set(values, "port", ports.join(","))?;
    }
    Ok(())
}

fn set_unless_empty(values: &mut Values, name: &str, value: String) -> Result<()> {
    if value.is_empty() { Ok(()) } else { set(values, name, value) }
}

fn set(values: &mut Values, name: &str, value: String) -> Result<()> {
    if value.contains('\0') {
        return Err(Error::invalid(format!("uri: {name}: must not contain a NUL")));
    }
    match values.insert(name.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(Error::invalid(format!("uri: {name}: this parameter is given twice"))),
    }
}

/// Refuses a name that is no parameter, and suggests the right one.
pub fn check_name(name: &str) -> Result<()> {
    if NAMES.contains(&name) {
        return Ok(());
    }
    let folded = folded(name);
    let message = if UNSUPPORTED.contains(&name) {
        format!("{name}: this parameter of libpq is not supported")
    } else if let Some(option) = OPTIONS.iter().find(|option| folded == self::folded(option)) {
        format!("{option}: this is an option for opening a store, not a parameter of its uri")
    } else if folded.is_empty() || name.len() > 40 || !name.is_ascii() {
        "a parameter of this name does not exist".to_owned()
    } else {
        let alias = ALIASES.iter().find(|(alias, _)| *alias == folded).map(|(_, name)| *name);
        let near = || {
            NAMES
                .iter()
                .map(|own| (distance(&folded, &self::folded(own)), *own))
                .min()
                .filter(|(distance, own)| *distance <= 2 && *distance < own.len() / 2)
                .map(|(_, own)| own)
        };
        match alias.or_else(near) {
            Some(own) => format!("{name}: no such parameter (did you mean {own}?)"),
            None => format!("{name}: no such parameter"),
        }
    };
    Err(Error::invalid(message))
}

/// Returns a name without case and separators.
fn folded(name: &str) -> String {
    name.chars().filter(|c| !"_-".contains(*c)).map(|c| c.to_ascii_lowercase()).collect()
}

/// Returns how many characters have to be inserted, removed or changed to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(uri: &str) -> Vec<(String, String)> {
        split(uri).unwrap().into_iter().collect()
    }

    fn refusal(uri: &str) -> String {
        split(uri).unwrap_err().message.into_owned()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn the_parts_of_a_uri_are_parameters() {
        assert_eq!(values("postgres://"), []);
        assert_eq!(values("postgresql:///"), []);
        assert_eq!(
            values("postgresql://ada:s%3Acr%40t@db.example:5433/my%2Fdb?sslmode=require"),
            pairs(&[
                ("dbname", "my/db"),
                ("host", "db.example"),
                ("password", "s:cr@t"),
                ("port", "5433"),
                ("sslmode", "require"),
                ("user", "ada"),
            ])
        );
        assert_eq!(
            values("postgres://[::1]:1,b,10.0.0.1:3/d"),
            pairs(&[("dbname", "d"), ("host", "::1,b,10.0.0.1"), ("port", "1,,3")])
        );
        assert_eq!(
            values("postgres://%2Frun%2Fpg/d"),
            pairs(&[("dbname", "d"), ("host", "/run/pg")])
        );
        assert_eq!(
            values("postgres:///d?host=/run/pg&port=7&user=a"),
            pairs(&[("dbname", "d"), ("host", "/run/pg"), ("port", "7"), ("user", "a")])
        );
        assert_eq!(values("postgres://:5433"), pairs(&[("port", "5433")]));
        assert_eq!(values("postgres://a@"), pairs(&[("user", "a")]));
        assert_eq!(
            values("postgres://?options=-c%20x%3D1&application_name=a+b"),
            pairs(&[("application_name", "a+b"), ("options", "-c x=1")])
        );
    }

    #[test]
    fn an_unknown_parameter_is_named_and_the_right_one_suggested() {
        let unknown = |name: &str| refusal(&format!("postgres://h/d?{name}=1"));
        for (name, suggested) in [
            ("sslMode", "sslmode"),
            ("ssl_mode", "sslmode"),
            ("sslmodes", "sslmode"),
            ("conect_timeout", "connect_timeout"),
            ("database", "dbname"),
            ("username", "user"),
            ("target-session-attrs", "target_session_attrs"),
        ] {
            let expected = format!("uri: {name}: no such parameter (did you mean {suggested}?)");
            assert_eq!(unknown(name), expected);
        }
        assert_eq!(unknown("colour"), "uri: colour: no such parameter");
        assert!(unknown("sslcrl").contains("of libpq is not supported"));
        assert!(unknown("schema").contains("is an option for opening a store"));
        assert!(unknown(&"x".repeat(10_000)).len() < 100);
        assert!(!unknown("%C3%A9").contains('é'));
    }

    #[test]
    fn a_malformed_uri_is_refused() {
        for (uri, expected) in [
            ("mysql://h", "must start with"),
            ("postgres:h", "must start with"),
            ("postgres://h/d?a", "name=value"),
            ("postgres://h/d?user=%f", "hexadecimal"),
            ("postgres://h/d?user=a&user=b", "user: this parameter is given twice"),
            ("postgres://h/d?host=i", "host: this parameter is given twice"),
            ("postgres://a@h/d?user=b", "user: this parameter is given twice"),
            ("postgres://[::1/d", "closing bracket"),
            ("postgres://[h]/d", "must contain an IPv6 address"),
            ("postgres://[::1]x/d", "only a port"),
            ("postgres://h/a%00b", "dbname: must not contain a NUL"),
            ("postgres://h/a\0b", "must not contain a NUL"),
        ] {
            let message = refusal(uri);
            assert!(message.starts_with("uri: ") && message.contains(expected), "{uri}: {message}");
        }
    }

    #[test]
    fn a_password_that_is_not_encoded_is_not_repeated() {
        for uri in ["postgres://ada:se?cr=et@h/d", "postgres://ada:se/cr?et=1@h/d?x"] {
            let message = refusal(uri);
            assert!(message.contains("percent-encoded") && !message.contains("cr"), "{message}");
        }
    }
}
