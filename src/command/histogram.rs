//! How long calls of a command took, to about six per cent, in a fixed amount of memory.

use std::time::Duration;

/// Steps to which a power of two is divided: 2 to this power.
const STEP_BITS: u32 = 4;
/// Below this each nanosecond has a counter of its own.
const EXACT: u64 = 1 << (STEP_BITS + 1);
/// What takes longer counts as this, which is a second. As in Redis.
const NANOS_MAX: u64 = 1_000_000_000;
const COUNTERS: usize = (EXACT + ((30 - STEP_BITS as u64 - 1) << STEP_BITS)) as usize;
/// The unit in which LATENCY HISTOGRAM counts: a microsecond, nearly.
const UNIT_NANOS: u64 = 1024;

/// The counters.
#[derive(Debug)]
pub(crate) struct Histogram {
    counters: [u64; COUNTERS],
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counters: [0; COUNTERS], count: 0 }
    }
}

fn place(nanos: u64) -> usize {
    if nanos < EXACT {
        return nanos as usize;
    }
    let power = nanos.ilog2();
    let step = (nanos >> (power - STEP_BITS)) & ((1 << STEP_BITS) - 1);
    (EXACT + ((u64::from(power - STEP_BITS - 1)) << STEP_BITS) + step) as usize
}

/// The largest number that is counted in this place.
fn largest(place: usize) -> u64 {
    let place = place as u64;
    if place < EXACT {
        return place;
    }
    let shift = ((place - EXACT) >> STEP_BITS) + 1;
    let step = (place - EXACT) & ((1 << STEP_BITS) - 1);
    (((1 << STEP_BITS) + step + 1) << shift) - 1
}

impl Histogram {
    pub(crate) fn add(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).min(NANOS_MAX);
        self.counters[place(nanos)] += 1;
        self.count += 1;
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// How many microseconds so many per cent of the calls took at most.
    pub(crate) fn percentile_micros(&self, percent: f64) -> f64 {
        let wanted = ((percent / 100.0 * self.count as f64).ceil() as u64).max(1);
        let mut so_far = 0;
        for (at, count) in self.counters.iter().enumerate() {
            so_far += count;
            if so_far >= wanted {
                return largest(at) as f64 / 1000.0;
            }
        }
        0.0
    }

    /// How many calls took up to so many microseconds, for powers of two; only where there are more than before.
    pub(crate) fn steps_of_two(&self) -> Vec<(u64, u64)> {
        let mut steps = Vec::new();
        let (mut so_far, mut told, mut at) = (0, 0, 0);
        let mut limit = UNIT_NANOS;
        while told < self.count {
            while at < COUNTERS && largest(at) < limit {
                so_far += self.counters[at];
                at += 1;
            }
            if so_far > told {
                steps.push((limit / 1000, so_far));
                told = so_far;
            }
            limit *= 2;
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_order_and_near() {
        let mut last = 0;
        for nanos in (0..5000).chain((5000..NANOS_MAX).step_by(777_777)).chain([NANOS_MAX]) {
            let place = place(nanos);
            assert!(place >= last && place < COUNTERS);
            let largest = largest(place);
            assert!(
                largest >= nanos && largest as f64 <= (nanos as f64 * 1.07).max(32.0),
                "{nanos} {largest}"
            );
            last = place;
        }
    }

    #[test]
    fn percentiles_and_steps() {
        let mut histogram = Histogram::default();
        for micros in 1..=100 {
            histogram.add(Duration::from_micros(micros));
        }
        histogram.add(Duration::from_secs(100));
        assert!((histogram.percentile_micros(50.0) - 51.0).abs() < 4.0);
        assert!(histogram.percentile_micros(100.0) >= 1_000_000.0);
        assert_eq!(histogram.count(), 101);
        let steps = histogram.steps_of_two();
        assert_eq!(steps[..3], [(1, 1), (2, 2), (4, 4)]);
        assert_eq!(steps.last().unwrap().1, 101);
    }
}
