//! The values of options, as both benchmarks read them. An error is a line for the caller.

use std::time::Duration;

/// Reads a number above 0.
pub fn number(name: &str, value: &str) -> Result<u64, String> {
    match value.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{name}: {value} is not a number above 0")),
    }
}

/// Reads numbers with commas between them.
pub fn numbers(name: &str, value: &str) -> Result<Vec<u64>, String> {
    value.split(',').map(|one| number(name, one)).collect()
}

/// Reads a number of seconds, which may have a fraction.
pub fn seconds(name: &str, value: &str) -> Result<Duration, String> {
    value
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("{name}: {value} is not a time"))
}

/// Reads known words with commas between them.
pub fn words<'a>(name: &str, value: &'a str, known: &[&str]) -> Result<Vec<&'a str>, String> {
    value
        .split(',')
        .map(|word| match known.contains(&word) {
            true => Ok(word),
            false => Err(format!("{name}: {word} is not one of {}", known.join(", "))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for error in [
            number("--n", "0").unwrap_err(),
            number("--n", "-1").unwrap_err(),
            numbers("--n", "5,x").unwrap_err(),
            numbers("--n", "").unwrap_err(),
            seconds("--n", "-1").unwrap_err(),
            seconds("--n", "1e300").unwrap_err(),
            words("--n", "a,b", &["a"]).unwrap_err(),
        ] {
            assert!(error.starts_with("--n: "), "{error}");
        }
    }

    #[test]
    fn what_is_given_is_read() {
        assert_eq!(numbers("--n", "5,30"), Ok(vec![5, 30]));
        assert_eq!(seconds("--n", "0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(words("--n", "b,a", &["a", "b"]), Ok(vec!["b", "a"]));
    }
}
