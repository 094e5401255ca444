//! What took longer than `latency-monitor-threshold`, for LATENCY.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::context::unix_time;

/// So many samples of each kind are kept. As in Redis.
const SAMPLES_MAX: usize = 160;

/// Something took long.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) unix_secs: u64,
    pub(crate) millis: u64,
}

/// A kind of thing that took long.
#[derive(Debug, Default)]
pub(crate) struct SlowEvent {
    /// The longest, ever.
    pub(crate) worst_millis: u64,
    /// One a second at most, the latest at the end.
    pub(crate) samples: VecDeque<Sample>,
}

/// By name.
#[derive(Debug, Default)]
pub(crate) struct SlowEvents {
    pub(crate) events: RefCell<BTreeMap<&'static str, SlowEvent>>,
}

impl SlowEvents {
    /// Keeps what took longer than the threshold; 0: nothing.
    pub(crate) fn note(&self, name: &'static str, took: Duration, threshold_ms: u64) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if threshold_ms == 0 || millis < threshold_ms {
            return;
        }
        let mut events = self.events.borrow_mut();
        let event = events.entry(name).or_default();
        let unix_secs = unix_time().as_secs();
        event.worst_millis = event.worst_millis.max(millis);
        match event.samples.back_mut() {
            Some(last) if last.unix_secs == unix_secs => last.millis = last.millis.max(millis),
            _ => event.samples.push_back(Sample { unix_secs, millis }),
        }
        if event.samples.len() > SAMPLES_MAX {
            event.samples.pop_front();
        }
    }
}
