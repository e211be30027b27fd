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
    fn every_day_follows_the_one_before() {
        let leap = |year: u32| year.is_multiple_of(if year.is_multiple_of(100) { 400 } else { 4 });
        let (mut year, mut month, mut day) = (1, 1, 1);
        for counted in YEAR_1..YEAR_10000 {
            assert_eq!(date(counted), (year, month, day));
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
