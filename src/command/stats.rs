//! What INFO counts. Volatile: lost with the process.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::histogram::Histogram;
use super::table;

/// How many different error codes are counted apart.
const ERROR_CODES_MAX: usize = 128;

/// What was called how often.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calls {
    pub(crate) calls: u64,
    pub(crate) time: Duration,
    pub(crate) rejected: u64,
    pub(crate) failed: u64,
}

/// How much goes on, per second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    pub(crate) commands: f64,
    pub(crate) bytes_in: f64,
    pub(crate) bytes_out: f64,
}

/// Counters of this run.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) connections: Cell<u64>,
    pub(crate) connections_refused: Cell<u64>,
    pub(crate) commands: Cell<u64>,
    pub(crate) bytes_in: Cell<u64>,
    pub(crate) bytes_out: Cell<u64>,
    pub(crate) reads: Cell<u64>,
    pub(crate) writes: Cell<u64>,
    pub(crate) errors: Cell<u64>,
    /// Connections closed for a request that was too large,
    pub(crate) dropped_for_input: Cell<u64>,
    /// and for replies that were not read.
    pub(crate) dropped_for_output: Cell<u64>,
    /// The most memory that was used, as INFO counts it, when last looked at.
    pub(crate) memory_at_most: Cell<u64>,
    /// By the number of the command ([`table::Found::slot`]).
    pub(crate) calls: RefCell<Vec<Calls>>,
    /// How long they took, where that is tracked.
    pub(crate) histograms: RefCell<Vec<Option<Box<Histogram>>>>,
    /// Commands and bytes per second, when last looked at.
    pub(crate) rates: Cell<Rates>,
    sampled: Cell<Option<(Instant, [u64; 3])>>,
    /// Errors that were not counted apart by their code any more.
    pub(crate) errors_of_too_many_kinds: Cell<u64>,
    /// The most clients at a time.
    pub(crate) clients_at_most: Cell<u64>,
    /// By error code.
    pub(crate) error_codes: RefCell<BTreeMap<String, u64>>,
}

/// Adds to a counter.
pub(crate) fn add(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get().wrapping_add(more));
}

impl Stats {
    pub(crate) fn count_call(&self, slot: usize, time: Duration, failed: bool) {
        self.with_calls(slot, |calls| {
            calls.calls += 1;
            calls.time += time;
            calls.failed += u64::from(failed);
        });
    }

    /// Notes how long a call took.
    pub(crate) fn track(&self, slot: usize, time: Duration) {
        let mut histograms = self.histograms.borrow_mut();
        if histograms.len() <= slot {
            histograms.resize_with(table::slots(), || None);
        }
        if let Some(histogram) = histograms.get_mut(slot) {
            histogram.get_or_insert_default().add(time);
        }
    }

    /// Works out the rates since this was called last.
    pub(crate) fn sample(&self) {
        let now = Instant::now();
        let counts = [self.commands.get(), self.bytes_in.get(), self.bytes_out.get()];
        if let Some((then, before)) = self.sampled.replace(Some((now, counts))) {
            let seconds = now.saturating_duration_since(then).as_secs_f64().max(0.001);
            let rate = |at: usize| counts[at].saturating_sub(before[at]) as f64 / seconds;
            self.rates.set(Rates { commands: rate(0), bytes_in: rate(1), bytes_out: rate(2) });
        }
    }

    pub(crate) fn count_rejected(&self, slot: usize) {
        self.with_calls(slot, |calls| calls.rejected += 1);
    }

    /// A call that was counted when it began to wait has failed since.
    pub(crate) fn count_failed(&self, slot: usize) {
        self.with_calls(slot, |calls| calls.failed += 1);
    }

    pub(crate) fn count_error(&self, text: &[u8]) {
        add(&self.errors, 1);
        let code = text.split(|byte| *byte == b' ').next().unwrap_or_default();
        let code = String::from_utf8_lossy(code);
        let mut codes = self.error_codes.borrow_mut();
        if let Some(count) = codes.get_mut(&*code) {
            *count += 1;
        } else if codes.len() < ERROR_CODES_MAX {
            codes.insert(code.into_owned(), 1);
        } else {
            add(&self.errors_of_too_many_kinds, 1);
        }
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset(&self) {
        for counter in [
            &self.connections,
            &self.connections_refused,
            &self.commands,
            &self.bytes_in,
            &self.bytes_out,
            &self.reads,
            &self.writes,
            &self.errors,
            &self.dropped_for_input,
            &self.dropped_for_output,
            &self.errors_of_too_many_kinds,
        ] {
            counter.set(0);
        }
        self.calls.borrow_mut().clear();
        self.histograms.borrow_mut().clear();
        self.sampled.set(None);
        self.rates.set(Rates::default());
        self.error_codes.borrow_mut().clear();
    }

    fn with_calls(&self, slot: usize, change: impl FnOnce(&mut Calls)) {
        let mut calls = self.calls.borrow_mut();
        if calls.len() <= slot {
            calls.resize(table::slots(), Calls::default());
        }
        if let Some(calls) = calls.get_mut(slot) {
            change(calls);
        }
    }
}
