//! The wall clock, which gives events their timestamps.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the time in microseconds since 1970, or 0 if the clock is set to an earlier time.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
