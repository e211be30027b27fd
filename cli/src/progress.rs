//! How far a command is, on stderr if that is a terminal.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// What the steps of a command are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Events of a store.
    Events,
    /// Bytes of a file.
    Bytes,
}

/// A bar with rate and time left, or only a rate where the total is not known.
pub struct Progress(ProgressBar);

impl Progress {
    /// Returns a bar that begins at 0.
    pub fn new(what: &'static str, unit: Unit, total: Option<u64>) -> Self {
        if !io::stderr().is_terminal() {
            return Progress(ProgressBar::hidden());
        }
        let template = match (unit, total) {
            (Unit::Events, Some(_)) => {
                "{msg} {wide_bar} {human_pos}/{human_len} events, {rate}/s, {eta} left"
            }
            (Unit::Events, None) => "{msg} {human_pos} events, {rate}/s, {elapsed}",
            (Unit::Bytes, Some(_)) => {
                "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes}, {binary_bytes_per_sec}, {eta} left"
            }
            (Unit::Bytes, None) => "{msg} {binary_bytes}, {binary_bytes_per_sec}, {elapsed}",
        };
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        // Without the fractions of an event.
        let rate = |state: &ProgressState, text: &mut dyn Write| {
            let _ = write!(text, "{}", HumanCount(state.per_sec() as u64));
        };
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr())
            .with_style(style.with_key("rate", rate))
            .with_message(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress(bar)
    }

    /// Shows that so much is done.
    pub fn reach(&self, done: u64) {
        self.0.set_position(done);
    }

    /// Changes what is to be done in all.
    pub fn set_total(&self, total: u64) {
        self.0.set_length(total);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
