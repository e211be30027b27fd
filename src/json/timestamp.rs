//! Timestamps as text, such as `2026-11-23T04:12:17.123456Z`.

const MICROS_PER_DAY: i64 = 24 * 60 * 60 * 1_000_000;
/// The first day of the year 1, counted from 1970.
const YEAR_1: i64 = -719_162;
/// The first day of the year 10000, counted from 1970.
const YEAR_10000: i64 = 2_932_897;

/// Returns the UTC time `micros` microseconds after the beginning of 1970. A time outside of the
/// years 1 to 9999, which no clock reports, becomes the nearest one inside.
pub(super) fn text(micros: i64) -> [u8; 27] {
    let micros = micros.clamp(YEAR_1 * MICROS_PER_DAY, YEAR_10000 * MICROS_PER_DAY - 1);
    let (year, month, day) = date(micros.div_euclid(MICROS_PER_DAY));
    let in_day = micros.rem_euclid(MICROS_PER_DAY);
    // Both fit, since a day has 86,400 seconds.
    let (second, micro) = ((in_day / 1_000_000) as u32, (in_day % 1_000_000) as u32);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    digits(&mut text[0..4], year);
    digits(&mut text[5..7], month);
    digits(&mut text[8..10], day);
    digits(&mut text[11..13], second / 3600);
    digits(&mut text[14..16], second / 60 % 60);
    digits(&mut text[17..19], second % 60);
    digits(&mut text[20..26], micro);
    text
}

/// Parses a time in the form of [`text`]. Returns microseconds since 1970, or `None` if the form is
/// another one or there is no such time.
pub(super) fn parse(text: &str) -> Option<i64> {
    let bytes: &[u8; 27] = text.as_bytes().try_into().ok()?;
    let number = |from: usize, to: usize| {
        bytes[from..to].iter().try_fold(0, |number: u32, byte| {
            byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let in_day = (hour * 60 + minute) * 60 + second;
    let micros = day_of(year, month, day) * MICROS_PER_DAY
        + i64::from(in_day) * 1_000_000
        + i64::from(number(20, 26)?);
    // A month, a day or an hour that does not exist, and another separator, have another text.
    (self::text(micros) == *bytes).then_some(micros)
}

/// Returns the number of a day, counted from 1970, as the inverse of [`date`].
fn day_of(year: u32, month: u32, day: u32) -> i64 {
    // Years begin in March.
    let (year, month_from_march) = match month {
        ..=2 => (i64::from(year) - 1, i64::from(month) + 9),
        _ => (i64::from(year), i64::from(month) - 3),
    };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

fn digits(text: &mut [u8], mut number: u32) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Returns the year, month and day of a day in the years 1 to 9999, counted from 1970.
///
/// It counts in years that begin in March, so that the leap day is the last day of its year, and
/// the first day of a month is a linear function of the month.
fn date(day: i64) -> (u32, u32, u32) {
    const DAYS_PER_400_YEARS: u32 = 146_097;
    // Counted from 1 March of the year 0, a day in range is neither negative nor large.
    let day = (day + 719_468) as u32;
    let era = day / DAYS_PER_400_YEARS;
    let of_era = day % DAYS_PER_400_YEARS;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, carry) = match month_from_march {
        0..=9 => (month_from_march + 3, 0),
        _ => (month_from_march - 9, 1),
    };
    (era * 400 + year_of_era + carry, month, of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(micros: i64) -> String {
        String::from_utf8(text(micros).to_vec()).unwrap()
    }

    #[test]
    fn known_times_have_their_text() {
        for (micros, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_795_407_137_123_456, "2026-11-23T04:12:17.123456Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
            (YEAR_1 * MICROS_PER_DAY, "0001-01-01T00:00:00.000000Z"),
            (i64::MIN, "0001-01-01T00:00:00.000000Z"),
            (YEAR_10000 * MICROS_PER_DAY - 1, "9999-12-31T23:59:59.999999Z"),
            (i64::MAX, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(shown(micros), expected);
        }
    }

    #[test]
    fn a_text_is_parsed_to_its_time() {
        for micros in [
            0,
            -1,
            951_782_400_000_000,
            1_795_407_137_123_456,
            YEAR_1 * MICROS_PER_DAY,
            YEAR_10000 * MICROS_PER_DAY - 1,
        ] {
            assert_eq!(parse(&shown(micros)), Some(micros));
        }
        for wrong in [
            "",
            "2026-11-23T04:12:17Z",
            "2026-11-23T04:12:17.123Z",
            "2026-11-23T04:12:17.123456z",
            "2026-11-23 04:12:17.123456Z",
            "2026-11-23T04:12:17,123456Z",
            "2026-11-23T04:12:17.1234567Z",
            "2026-02-29T04:12:17.123456Z",
            "2026-00-23T04:12:17.123456Z",
            "2026-99-23T04:12:17.123456Z",
            "2026-11-00T04:12:17.123456Z",
            "2026-11-99T04:12:17.123456Z",
            "2026-11-23T24:00:00.000000Z",
            "2026-11-23T04:60:00.000000Z",
            "2026-11-23T04:12:60.000000Z",
            "2026-11-23T04:12:1é.12345Z",
            "0000-01-01T00:00:00.000000Z",
            "+026-11-23T04:12:17.123456Z",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let leap = |year: u32| year.is_multiple_of(if year.is_multiple_of(100) { 400 } else { 4 });
        let (mut year, mut month, mut day) = (1, 1, 1);
        for counted in YEAR_1..YEAR_10000 {
            assert_eq!(date(counted), (year, month, day));
            assert_eq!(day_of(year, month, day), counted);
            let days = match month {
                2 => 28 + u32::from(leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > days {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
        assert_eq!((year, month, day), (10_000, 1, 1));
    }
}
