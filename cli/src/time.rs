//! Times as a person writes and reads them.

use std::cell::Cell;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ZonedDateTime};

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
    parse_utc(text).or_else(|| text.parse::<Timestamp>().ok().map(Timestamp::as_microsecond))
}

const MICROS_PER_DAY: i64 = 86_400_000_000;
const EPOCH: Date = jiff::civil::date(1970, 1, 1);

/// A day in the text of a time, such as `2026-11-23`.
type DayText = [u8; 10];

thread_local! {
    // The days of the last calls, in days since 1970. Most events have the day of the one before, and
    // a calendar is much slower than what is left to do.
    static PRINTED: Cell<(i64, DayText)> = const { Cell::new((i64::MIN, [0; 10])) };
    static PARSED: Cell<(DayText, i64)> = const { Cell::new(([0; 10], 0)) };
}

/// Parses a time in the form of [`utc`]. Returns `None` for every other form and for what is no time.
fn parse_utc(text: &str) -> Option<i64> {
    let bytes: &[u8; 27] = text.as_bytes().try_into().ok()?;
    let [.., b'T', _, _, b':', _, _, b':', _, _, b'.', _, _, _, _, _, _, b'Z'] = bytes else {
        return None;
    };
    let number = |from: usize, to: usize| {
        bytes[from..to].iter().try_fold(0_i64, |number, byte| {
            byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'))
        })
    };
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let in_day = ((hour * 60 + minute) * 60 + second) * 1_000_000 + number(20, 26)?;
    let text = &text[..10];
    let (known, mut day) = PARSED.get();
    if known != text.as_bytes() {
        day = (text.parse::<Date>().ok()? - EPOCH).get_days().into();
        PARSED.set((text.as_bytes().try_into().ok()?, day));
    }
    Some(day * MICROS_PER_DAY + in_day)
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
    let mut text = Vec::with_capacity(27);
    add_utc(&mut text, micros);
    String::from_utf8_lossy(&text).into_owned()
}

/// Adds a time as documents have it.
pub fn add_utc(text: &mut Vec<u8>, micros: i64) {
    let day = micros.div_euclid(MICROS_PER_DAY);
    let (known, mut date) = PRINTED.get();
    if known != day {
        let of_day = Span::new().try_days(day).and_then(|days| EPOCH.checked_add(days));
        match of_day.ok().and_then(|date| date.to_string().as_bytes().try_into().ok()) {
            Some(own) => date = own,
            // A year that does not have four digits.
            None => return text.extend_from_slice(format!("{:.6}", timestamp(micros)).as_bytes()),
        }
        PRINTED.set((day, date));
    }
    let in_day = micros.rem_euclid(MICROS_PER_DAY);
    let (second, mut micro) = (in_day / 1_000_000, in_day % 1_000_000);
    let digit = |number: i64| b'0' + (number % 10) as u8;
    let mut rest = *b"T00:00:00.000000Z";
    for (place, number) in [(1, second / 3_600), (4, second / 60 % 60), (7, second % 60)] {
        (rest[place], rest[place + 1]) = (digit(number / 10), digit(number));
    }
    for place in rest[10..16].iter_mut().rev() {
        *place = digit(micro);
        micro /= 10;
    }
    text.extend_from_slice(&date);
    text.extend_from_slice(&rest);
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
    fn times_of_stores_are_those_of_the_calendar() {
        let mut random = 1_u64;
        for round in 0..20_000_i64 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Times of the years 1 to 9999, some of them of the same day as the one before, and the
            // ends of days.
            let micros = (random % 315_537_811_200_000_000) as i64 - 62_135_596_800_000_000;
            let start = micros.div_euclid(MICROS_PER_DAY) * MICROS_PER_DAY;
            for micros in [micros, start, start + round, start + MICROS_PER_DAY - 1] {
                let text = format!("{:.6}", timestamp(micros));
                assert_eq!(utc(micros), text);
                assert_eq!(parse_utc(&text), Some(micros), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_time_of_a_store_is_left_to_the_calendar() {
        for wrong in [
            "2026-02-29T00:00:00.000000Z",
            "2026-11-23T24:00:00.000000Z",
            "2026-11-23T23:59:60.000000Z",
            "2026-11-23T04:12:17.12345xZ",
            "2026-11-23 04:12:17.123456Z",
            "2026-11-23T04:12:17.123456+",
            "2026-11-2\u{e9}T04:12:17.12345Z",
            "2026-11-\u{e9}T04:12:17.123456Z",
            "",
        ] {
            assert_eq!(parse_utc(wrong), None, "{wrong}");
        }
        assert_eq!(parse_moment("2026-02-29T00:00:00.000000Z"), None);
        // The last day that a store has, which is not the calendar's as a whole.
        assert_eq!(utc(253_402_300_799_999_999), "9999-12-31T23:59:59.999999Z");
        assert_eq!(parse_moment("9999-12-31T23:59:59.999999Z"), Some(253_402_300_799_999_999));
        assert_eq!(utc(i64::MAX), format!("{:.6}", Timestamp::MAX));
        assert_eq!(utc(i64::MIN), format!("{:.6}", Timestamp::MIN));
    }

    #[test]
    fn utc_has_six_digits() {
        assert_eq!(utc(1_795_407_137_123_456), "2026-11-23T04:12:17.123456Z");
        assert_eq!(utc(0), "1970-01-01T00:00:00.000000Z");
    }
}
