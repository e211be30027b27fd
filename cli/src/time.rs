//! Times as a person writes and reads them.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use crate::exit::Failure;

const UNITS: [(char, i64); 5] =
    [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 7 * 86_400)];

/// Parses a time: RFC 3339, a date (its first moment here), or how long ago (`2h`, `1d12h`).
/// Returns microseconds since 1970.
pub fn parse(text: &str) -> Result<i64, Failure> {
    if let Some(seconds) = seconds(text) {
        return Ok(Timestamp::now()
            .as_microsecond()
            .saturating_sub(seconds.saturating_mul(1_000_000)));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_microsecond());
    }
    let start = text.parse::<Date>().ok().filter(|_| text.len() == "2026-11-23".len());
    match start.and_then(|date| date.to_zoned_datetime(TimeZone::system()).ok()) {
        Some(time) => Ok(time.timestamp().as_microsecond()),
        None => Err(Failure::usage(format!(
            "`{text}` is no time: write 2026-11-23T04:12:17Z, 2026-11-23, or 2h for two hours ago"
        ))),
    }
}

/// Parses a moment in RFC 3339. Returns microseconds since 1970.
pub fn parse_moment(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_microsecond)
}

/// Returns the seconds of a duration such as `1d12h`.
fn seconds(text: &str) -> Option<i64> {
    let (mut seconds, mut rest) = (0_i64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].chars().next()?;
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds = seconds.checked_add(number.checked_mul(*factor)?)?;
        rest = &rest[digits + 1..];
    }
    (!text.is_empty()).then_some(seconds)
}

/// Returns a time as documents have it, such as `2026-11-23T04:12:17.123456Z`.
pub fn utc(micros: i64) -> String {
    format!("{:.6}", timestamp(micros))
}

/// Returns a time for a person here, such as `2026-11-23 05:12:17.123`.
pub fn local(micros: i64) -> String {
    zoned(micros).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// Returns a time for a person here, as short as it is of use, such as `11-23 05:12:17`.
pub fn local_short(micros: i64) -> String {
    zoned(micros).strftime("%m-%d %H:%M:%S").to_string()
}

/// Returns the day of a time here, such as `2026-11-23`.
pub fn day(micros: i64) -> String {
    zoned(micros).strftime("%Y-%m-%d").to_string()
}

fn zoned(micros: i64) -> ZonedDateTime {
    timestamp(micros).to_zoned_datetime(TimeZone::system())
}

/// Returns the time, or the nearest that there is.
fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(match micros {
        ..0 => Timestamp::MIN,
        _ => Timestamp::MAX,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_units() {
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("1d12h"), Some(36 * 3_600));
        for wrong in ["", "2", "h", "2x", "-2h", "99999999999999999999h", "9223372036854775807w"] {
            assert_eq!(seconds(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_time_is_a_moment_or_a_day() {
        assert_eq!(parse("1970-01-01T00:00:01.5Z").ok(), Some(1_500_000));
        assert_eq!(parse("1970-01-01T01:00:00+01:00").ok(), Some(0));
        assert!(parse("2026-11-23").is_ok());
        for wrong in ["yesterday", "2026-11-23T04:12", "2026-13-01", ""] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn utc_has_six_digits() {
        assert_eq!(utc(1_795_407_137_123_456), "2026-11-23T04:12:17.123456Z");
        assert_eq!(utc(0), "1970-01-01T00:00:00.000000Z");
    }
}
