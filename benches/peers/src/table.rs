//! The table for `docs/performance.md`. All rows take turns, so that a disk that gets slower or faster does so for all of
//! them, and the median counts.

use std::fmt;
use std::time::Duration;

use crate::queue::{LOADS, Row};
use crate::writers::{Until, append};

/// Messages per second, for each row and each load.
pub(crate) struct Table(Vec<(&'static str, [f64; LOADS.len()])>);

impl Table {
    /// Measures so many turns, so long each.
    pub(crate) fn take(rows: &[Row], turns: usize, each: Duration) -> Self {
        let mut rates = vec![[const { Vec::new() }; LOADS.len()]; rows.len()];
        for _ in 0..turns {
            for (column, load) in LOADS.into_iter().enumerate() {
                for ((_, queue), rates) in rows.iter().zip(&mut rates) {
                    rates[column].push(append(&**queue, load, Until::Elapsed(each)).per_second());
                }
            }
        }
        let rows = rows.iter().zip(rates);
        Self(rows.map(|((name, _), rates)| (*name, rates.map(median))).collect())
    }

    fn rate(&self, row: &str, column: usize) -> f64 {
        let row = self.0.iter().find(|(name, _)| name.starts_with(row));
        row.map_or(f64::NAN, |(_, rates)| rates[column])
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "|")?;
        for load in LOADS {
            write!(f, " | {} | of raw | claimlog / this", load.name)?;
        }
        writeln!(f, " |\n| --- {}|", "| --- | --- | --- ".repeat(LOADS.len()))?;
        for (name, rates) in &self.0 {
            write!(f, "| {name}")?;
            for (column, rate) in rates.iter().enumerate() {
                let of_raw = 100.0 * rate / self.rate("raw", column);
                let behind = self.rate("claimlog", column) / rate;
                write!(f, " | {}/s | {of_raw:.0} % | {behind:.2}", short(*rate))?;
            }
            writeln!(f, " |")?;
        }
        Ok(())
    }
}

/// Three digits are more than a disk is steady to.
fn short(rate: f64) -> String {
    match rate {
        100_000.0.. => format!("{:.0}k", rate / 1000.0),
        10_000.0.. => format!("{:.1}k", rate / 1000.0),
        1000.0.. => format!("{:.2}k", rate / 1000.0),
        _ => format!("{rate:.0}"),
    }
}
