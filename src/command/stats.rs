//! What INFO counts. Volatile: lost with the process.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

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
    /// By the number of the command ([`table::Found::slot`]).
    pub(crate) calls: RefCell<Vec<Calls>>,
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
        ] {
            counter.set(0);
        }
        self.calls.borrow_mut().clear();
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
