//! What Ctrl-C and a request to terminate do to a command that goes on until it is told to stop.

use std::thread;

use dcb::CancelToken;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::Failure;

/// Returns a token that the first SIGINT or SIGTERM triggers. The second one ends the process.
pub fn stop_token() -> Result<CancelToken, Failure> {
    let token = CancelToken::new();
    let triggered = token.clone();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || {
        let mut arrived = signals.forever();
        if arrived.next().is_some() {
            triggered.trigger();
        }
        if let Some(signal) = arrived.next() {
            // Exits with the status that the signal would have left.
            std::process::exit(128 + signal);
        }
    });
    Ok(token)
}
