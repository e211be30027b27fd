//! What was measured, as markdown.

use std::fmt::Write;

use crate::measure::{Sample, Spread};
use crate::stores::Kind;
pub use crate::table::{count, heading, percentiles, ratio};

/// A workload and what each store made of it, round by round.
pub struct Row {
    pub title: String,
    pub unit: &'static str,
    /// What libdcb is to reach.
    pub goal: Goal,
    pub cells: Vec<(Kind, Vec<Sample>)>,
}

/// How many times as fast as another store libdcb is to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Goal {
    pub tephra: Option<f64>,
    pub umadb: Option<f64>,
}

impl Goal {
    pub fn tephra(times: f64) -> Self {
        Goal { tephra: Some(times), umadb: None }
    }

    pub fn and_umadb(self, times: f64) -> Self {
        Goal { umadb: Some(times), ..self }
    }

    fn over(self, rival: Kind) -> Option<f64> {
        match rival {
            Kind::Tephra => self.tephra,
            Kind::Umadb => self.umadb,
            Kind::Libdcb | Kind::Plain | Kind::Bare => None,
        }
    }
}

impl Row {
    pub fn samples(&self, kind: Kind) -> &[Sample] {
        self.cells.iter().find(|cell| cell.0 == kind).map_or(&[], |cell| &cell.1)
    }

    pub fn rate(&self, kind: Kind) -> Option<Spread> {
        Spread::of(self.samples(kind).iter().map(|sample| sample.rate))
    }

    /// How many times as fast as `rival` libdcb was, in each round.
    pub fn ratio(&self, rival: Kind) -> Option<Spread> {
        let pairs = self.samples(Kind::Libdcb).iter().zip(self.samples(rival));
        Spread::of(pairs.map(|(own, other)| own.rate / other.rate))
    }
}

/// All of a run.
#[derive(Default)]
pub struct Report {
    pub rows: Vec<Row>,
    /// Tables and lines of their own, in markdown.
    pub sections: Vec<(String, String)>,
}

impl Report {
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        if !self.rows.is_empty() {
            self.rates(&mut text);
            self.latencies(&mut text);
            self.processor(&mut text);
        }
        for (title, section) in &self.sections {
            let _ = write!(text, "\n### {title}\n\n{section}");
        }
        text
    }

    fn kinds(&self) -> Vec<Kind> {
        let ran = |kind: &Kind| self.rows.iter().any(|row| !row.samples(*kind).is_empty());
        Kind::ALL.into_iter().filter(ran).collect()
    }

    fn rates(&self, text: &mut String) {
        let kinds = self.kinds();
        let rivals: Vec<Kind> =
            kinds.iter().copied().filter(|kind| *kind != Kind::Libdcb).collect();
        let names = kinds.iter().map(|kind| kind.name().to_owned());
        let over = rivals.iter().map(|kind| format!("libdcb / {}", kind.name()));
        heading(text, &["workload".to_owned(), "a second".to_owned()], names.chain(over));
        for row in &self.rows {
            let _ = write!(text, "| {} | {} |", row.title, row.unit);
            for kind in &kinds {
                let _ = write!(
                    text,
                    " {} |",
                    row.rate(*kind).map_or(String::new(), |rate| count(rate.median))
                );
            }
            for rival in &rivals {
                let _ = write!(text, " {} |", ratio(row.ratio(*rival), row.goal.over(*rival)));
            }
            text.push('\n');
        }
    }

    /// What other programs of a busy machine do not change.
    fn processor(&self, text: &mut String) {
        let kinds = self.kinds();
        text.push_str("\n### Processor time of all threads together, in µs\n\n");
        let words = ["workload".to_owned(), "for one of the".to_owned()];
        heading(text, &words, kinds.iter().map(|kind| kind.name().to_owned()));
        for row in &self.rows {
            let _ = write!(text, "| {} | {} |", row.title, row.unit);
            for kind in &kinds {
                let _ = write!(text, " {} |", cpu(row.samples(*kind)));
            }
            text.push('\n');
        }
    }

    fn latencies(&self, text: &mut String) {
        let kinds = self.kinds();
        text.push_str("\n### One operation: median / 99th percentile, in µs\n\n");
        heading(text, &["workload".to_owned()], kinds.iter().map(|kind| kind.name().to_owned()));
        for row in &self.rows {
            let _ = write!(text, "| {} |", row.title);
            for kind in &kinds {
                let _ = write!(text, " {} |", percentiles(row.samples(*kind)));
            }
            text.push('\n');
        }
    }
}

/// The median of the rounds' processor times.
fn cpu(samples: &[Sample]) -> String {
    Spread::of(samples.iter().map(|sample| sample.cpu))
        .map_or(String::new(), |cpu| format!("{:.2}", cpu.median))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_same_round() {
        let at = |rate| Sample { rate, ..Sample::default() };
        let row = Row {
            title: String::new(),
            unit: "",
            goal: Goal::default(),
            cells: vec![
                (Kind::Libdcb, vec![at(10.0), at(30.0)]),
                (Kind::Tephra, vec![at(5.0), at(10.0)]),
            ],
        };
        assert_eq!(row.ratio(Kind::Tephra), Some(Spread { min: 2.0, median: 2.5, max: 3.0 }));
        assert_eq!(row.ratio(Kind::Umadb), None);
    }
}
