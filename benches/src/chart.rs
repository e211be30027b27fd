//! The rates as an SVG: each store's beside the plain one's, on a scale of powers of ten.

use std::fmt::Write;

use crate::report::{Row, count};
use crate::stores::Kind;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 330.0;
const RIGHT: f64 = 110.0;
const TOP: f64 = 70.0;
const BAR: f64 = 11.0;
const GAP: f64 = 12.0;

fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Libdcb => "#0b6e4f",
        Kind::Tephra => "#6a8caf",
        Kind::Umadb => "#d08c60",
        Kind::Plain | Kind::Bare => "#b5b5b5",
    }
}

/// The chart of the rows in which both libdcb and the plain store ran.
pub fn svg(rows: &[Row]) -> String {
    let rows: Vec<&Row> = rows
        .iter()
        .filter(|row| row.rate(Kind::Libdcb).is_some() && row.rate(Kind::Plain).is_some())
        .collect();
    let times = |row: &Row, kind: Kind| {
        let (rate, plain) = (row.rate(kind)?, row.rate(Kind::Plain)?);
        Some((rate.median / plain.median, rate.median))
    };
    let all = || rows.iter().flat_map(|row| Kind::STORES.map(|kind| times(row, kind))).flatten();
    let low = all().map(|(times, _)| times.log10()).fold(0.0, f64::min).floor();
    let high = all().map(|(times, _)| times.log10()).fold(1.0, f64::max).ceil();
    let x = |times: f64| LEFT + (times.log10() - low) / (high - low) * (WIDTH - LEFT - RIGHT);
    let group = BAR * Kind::STORES.len() as f64 + GAP;
    let bottom = TOP + group * rows.len() as f64;
    let height = bottom + 34.0;

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"8\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"24\" font-size=\"15\" font-weight=\"bold\">\
         Times as fast as a plain SQLite store</text>\n"
    );
    for (index, kind) in Kind::STORES.into_iter().enumerate() {
        let left = 16.0 + 120.0 * index as f64;
        let _ = writeln!(
            svg,
            "<rect x=\"{left}\" y=\"36\" width=\"11\" height=\"11\" fill=\"{}\"/>\
             <text x=\"{}\" y=\"46\">{}</text>",
            colour(kind),
            left + 16.0,
            kind.name()
        );
    }
    for power in low as i32..=high as i32 {
        let at = x(10_f64.powi(power));
        let label = match power {
            0.. => count(10_f64.powi(power)).trim_end_matches(".0").to_owned(),
            _ => format!("{}", 10_f64.powi(power)),
        };
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"#dddddd\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#666666\">{label}x</text>",
            bottom + 18.0
        );
    }
    for (index, row) in rows.iter().enumerate() {
        let top = TOP + GAP / 2.0 + group * index as f64;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 10.0,
            top + BAR * 2.0 + 4.0,
            row.title
        );
        for (place, kind) in Kind::STORES.into_iter().enumerate() {
            let Some((times, rate)) = times(row, kind) else { continue };
            let (from, to) = (x(times.min(1.0)), x(times.max(1.0)));
            let y = top + BAR * place as f64;
            let _ = writeln!(
                svg,
                "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{}\" fill=\"{}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"9\" fill=\"#444444\">{} {}/s</text>",
                (to - from).max(1.0),
                BAR - 1.0,
                colour(kind),
                to + 4.0,
                y + 8.5,
                count(rate),
                row.unit
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}
