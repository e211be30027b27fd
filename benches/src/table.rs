//! Cells of tables in markdown.

use std::fmt::Write;

use crate::measure::{Sample, Spread};

/// The head of a table: some columns of text, then columns of numbers.
pub fn heading(text: &mut String, words: &[String], numbers: impl Iterator<Item = String>) {
    let mut rule = String::from("|");
    text.push('|');
    for word in words {
        let _ = write!(text, " {word} |");
        rule.push_str(" --- |");
    }
    for number in numbers {
        let _ = write!(text, " {number} |");
        rule.push_str(" ---: |");
    }
    let _ = writeln!(text, "\n{rule}");
}

/// `1.52 (1.40..1.66)`, bold where it reaches its goal, else with the goal beside it.
pub fn ratio(ratio: Option<Spread>, goal: Option<f64>) -> String {
    let Some(Spread { min, median, max }) = ratio else { return String::new() };
    let ends = format!("({min:.2}..{max:.2})");
    match goal {
        Some(goal) if median >= goal => format!("**{median:.2}** {ends}"),
        Some(goal) => format!("{median:.2} {ends}, goal {goal}"),
        None => format!("{median:.2} {ends}"),
    }
}

/// The medians of the rounds' percentiles.
pub fn percentiles(samples: &[Sample]) -> String {
    let median = |of: fn(&Sample) -> f64| Spread::of(samples.iter().map(of));
    match (median(|sample| sample.p50), median(|sample| sample.p99)) {
        (Some(p50), Some(p99)) => format!("{} / {}", count(p50.median), count(p99.median)),
        _ => String::new(),
    }
}

/// A number with commas between its thousands, and a decimal if it is small.
pub fn count(number: f64) -> String {
    if number < 100.0 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas() {
        let texts = [3.25, 999.4, 1000.0, 123_456.0, 1_234_567.0].map(count);
        assert_eq!(texts, ["3.2", "999", "1,000", "123,456", "1,234,567"]);
    }

    #[test]
    fn a_ratio_tells_whether_it_reaches_its_goal() {
        let spread = Some(Spread { min: 1.0, median: 1.5, max: 2.0 });
        assert_eq!(ratio(spread, Some(1.5)), "**1.50** (1.00..2.00)");
        assert_eq!(ratio(spread, Some(1.6)), "1.50 (1.00..2.00), goal 1.6");
        assert_eq!(ratio(spread, None), "1.50 (1.00..2.00)");
        assert_eq!(ratio(None, Some(1.5)), "");
    }
}
