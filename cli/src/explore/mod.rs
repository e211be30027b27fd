//! `dcb explore`: a page that shows a store, served to a browser on this machine.
//!
//! The server only reads. It answers with pages that are bounded in events, bytes and time, so that
//! a store of any size stays pleasant, and each answer says what it left out.

mod access;
mod assets;
mod condition;
mod event_json;
mod events;
mod live;
mod names;
mod open_browser;
mod overview;
mod query;
mod rate;
mod reading;
mod sample;
mod server;
mod tag;
mod token;

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dcb::Error;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Failure;
use crate::store::StoreArgument;
use access::{Access, Hosts};
use token::Token;

/// Which store to show, and to whom.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArgument,
    /// Print the address of the page and open no browser
    #[arg(long)]
    no_open: bool,
    /// Listen on this address; port 0 is a free one. An address that other machines can reach needs
    /// --token, and what they are sent is not encrypted
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The secret part of the page's address: at least 20 letters, digits, `-` or `_`. It is random
    /// unless given
    #[arg(long, env = "DCB_EXPLORE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A host name under which browsers may reach the page, besides `localhost` and IP addresses;
    /// repeated: any of them
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// How long the search for one page may take; the page shows what was found by then
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1_500)]
    patience: u64,
}

/// Serves the page until the process is interrupted.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if !arguments.listen.ip().is_loopback() && arguments.token.is_none() {
        return Err(Failure::usage(
            "--listen: other machines can reach this address, so choose a secret with --token or \
             DCB_EXPLORE_TOKEN, or listen on 127.0.0.1",
        ));
    }
    let token = match &arguments.token {
        Some(text) => Token::given(text)?,
        None => Token::random()?,
    };
    let store = Arc::new(arguments.store.open_to_read()?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(16)
        .build()
        .map_err(Error::from)?;
    let listener =
        runtime.block_on(tokio::net::TcpListener::bind(arguments.listen)).map_err(|error| {
            Failure::new(error.to_string()).at(&format!("--listen {}", arguments.listen))
        })?;
    let address = listener.local_addr().map_err(Error::from)?;
    let url = format!("http://{}/{}/", reachable(address), token.as_str());
    let hosts = Hosts::new(address.ip(), &arguments.hosts);
    // Before the address is known, so that whoever knows it can end the page.
    let ends = {
        let _inside = runtime.enter();
        let end = |kind| signal(kind).map_err(Error::from);
        [end(SignalKind::interrupt())?, end(SignalKind::terminate())?]
    };
    writeln!(io::stdout(), "{url}")?;
    eprintln!("dcb: whoever has this address can read the store; Ctrl-C ends the page");
    if !arguments.no_open && !open_browser::open(&url) {
        eprintln!("dcb: no browser could be started: open the address in one");
    }
    let title = server::title_of(&arguments.store.uri);
    let patience = Duration::from_millis(arguments.patience);
    let access = Arc::new(Access { token, hosts });
    let served = runtime.block_on(server::serve(
        listener,
        Arc::clone(&store),
        title,
        patience,
        access,
        ends,
    ));
    // Ends the waits of the live lists, so that no thread holds the process.
    store.close();
    runtime.shutdown_timeout(Duration::from_secs(2));
    Ok(served?)
}

/// Returns the address under which a browser on this machine reaches the server.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
