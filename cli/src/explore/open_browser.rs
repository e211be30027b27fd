//! Starts the browser of the person who runs the command.

use std::process::{Command, Stdio};

/// Opens `url` in a browser. Returns whether one was started.
pub fn open(url: &str) -> bool {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let started = Command::new(opener)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = started else { return false };
    // It may last as long as the browser, and is waited for so that it leaves no zombie.
    std::thread::spawn(move || child.wait());
    true
}
