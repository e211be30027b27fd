//! Who may read the page: the token, the host and the origin of a request, and the headers that bind
//! the browser.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::token::Token;

/// What a request must have to be answered.
pub struct Access {
    /// The secret in the path.
    pub token: Token,
    /// The names under which the page may be asked for.
    pub hosts: Hosts,
}

/// The hosts that a request may name.
///
/// A page of another site can make its own name resolve to this machine (DNS rebinding). The browser
/// then takes both for one site, but it still sends that name. So every name is refused but those
/// listed here; an IP address cannot be rebound.
pub struct Hosts {
    only_loopback: bool,
    names: Vec<String>,
}

impl Hosts {
    /// Returns the hosts of a server that listens on `address`, with the names that a person added.
    pub fn new(address: IpAddr, names: &[String]) -> Self {
        let names = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        Hosts { only_loopback: address.is_loopback(), names }
    }

    /// Returns whether a request may name `host`, which is a name or an IP address with or without a
    /// port. Any port will do, since a tunnel has one of its own.
    fn allow(&self, host: &str) -> bool {
        let name = without_port(host).to_ascii_lowercase();
        if name == "localhost" || self.names.contains(&name) {
            return true;
        }
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        address.is_ok_and(|address| address.is_loopback() || !self.only_loopback)
    }
}

/// Returns the part of `host` before its port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            // The colons of an IPv6 address are within brackets.
            if name.contains(':') && !name.ends_with(']') { host } else { name }
        }
        _ => host,
    }
}

impl Access {
    /// Returns why a request is refused, or `None` if it is not.
    fn refusal(&self, path: &str, headers: &HeaderMap) -> Option<&'static str> {
        let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let Some(host) = text(header::HOST) else {
            return Some("the request names no host");
        };
        if headers.get_all(header::HOST).iter().count() != 1 || !self.hosts.allow(host) {
            return Some("the request names another host; use the address that dcb printed");
        }
        if let Some(origin) = text(header::ORIGIN)
            && origin.strip_prefix("http://") != Some(host)
            && origin.strip_prefix("https://") != Some(host)
        {
            return Some("the request comes from another page");
        }
        // Browsers say whether a page of another site asks.
        let site = text(HeaderName::from_static("sec-fetch-site"));
        if site.is_some_and(|site| !["same-origin", "none"].contains(&site)) {
            return Some("the request comes from another page");
        }
        let token = path.split('/').nth(1).unwrap_or("");
        if !self.token.is(token) {
            return Some("the address lacks its secret part; use the address that dcb printed");
        }
        None
    }
}

/// What every response carries. Scripts and styles come from this server only, no other page may
/// embed or read it, and the address with its secret is told to nobody.
const HEADERS: [(&str, &str); 9] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("cache-control", "no-store"),
];

/// Refuses what may not be answered, and adds the headers to every response.
pub async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let mut response = match access.refusal(request.uri().path(), request.headers()) {
        Some(reason) => (StatusCode::FORBIDDEN, format!("dcb explore: {reason}\n")).into_response(),
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        let name = HeaderName::from_static(name);
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_and_listed_names_are_hosts() {
        let hosts = Hosts::new("127.0.0.1".parse().unwrap(), &["Tools.example".to_owned()]);
        for host in
            ["127.0.0.1:80", "localhost", "LOCALHOST:9", "[::1]:7", "127.9.9.9", "tools.example:1"]
        {
            assert!(hosts.allow(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1:80",
            "[fe80::1]",
            "::2",
            "localhost.",
            "x:80:80",
        ] {
            assert!(!hosts.allow(host), "{host}");
        }
    }

    #[test]
    fn a_server_for_others_allows_addresses_but_no_unknown_name() {
        let hosts = Hosts::new("0.0.0.0".parse().unwrap(), &[]);
        assert!(
            hosts.allow("10.0.0.1:80") && hosts.allow("[fe80::1]:80") && hosts.allow("localhost")
        );
        assert!(!hosts.allow("evil.example:80"));
    }
}
