//! How commits and the core's lock are spread: how many batches share a frame, how long writing, syncing and waiting
//! take, how long the lock is held.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::wal::Spent;

/// Every power of two is cut into so many ranges: what is read off is at most an eighth too large.
const RANGES_PER_POWER: u64 = 8;
/// One more power than a `u64` has, for what is smaller than the ranges.
const RANGES: usize = 65 * RANGES_PER_POWER as usize;

/// How values are spread since the start.
#[derive(Debug)]
pub(super) struct Histogram {
    counts: Box<[AtomicU64]>,
    most: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: (0..RANGES).map(|_| AtomicU64::new(0)).collect(), most: AtomicU64::new(0) }
    }
}

impl Histogram {
    fn add(&self, value: u64) {
        if let Some(count) = self.counts.get(range_of(value)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.most.fetch_max(value, Ordering::Relaxed);
    }

    fn add_time(&self, time: Duration) {
        self.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    fn spread(&self) -> Spread {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let count: u64 = counts.iter().sum();
        let most = self.most.load(Ordering::Relaxed);
        let below = |per_mille: u64| {
            let wanted = (count * per_mille).div_ceil(1000).max(1);
            let mut seen = 0;
            let range = counts.iter().position(|count| {
                seen += count;
                seen >= wanted
            });
            range.map_or(0, |range| end_of(range).min(most))
        };
        Spread { count, p50: below(500), p99: below(990), p999: below(999), most }
    }
}

/// The range that a value belongs to.
fn range_of(value: u64) -> usize {
    let Some(power) = value.checked_ilog2().map(u64::from).filter(|power| *power >= 3) else {
        return value as usize;
    };
    (RANGES_PER_POWER * (power - 2) + (value >> (power - 3)) % RANGES_PER_POWER) as usize
}

/// The largest value of a range.
fn end_of(range: usize) -> u64 {
    let range = range as u64;
    if range < RANGES_PER_POWER {
        return range;
    }
    let shift = range / RANGES_PER_POWER - 1;
    let next = (RANGES_PER_POWER + range % RANGES_PER_POWER + 1) as u128;
    u64::try_from((next << shift) - 1).unwrap_or(u64::MAX)
}

/// How values are spread since the start. Those below which a share lies are at most an eighth too large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spread {
    /// How many values there were.
    pub count: u64,
    /// Half of them are no larger than this.
    pub p50: u64,
    /// 99 % are no larger than this.
    pub p99: u64,
    /// 99.9 % are no larger than this.
    pub p999: u64,
    /// The largest.
    pub most: u64,
}

/// Where the time of commits goes, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitStats {
    /// How many commands or transactions that changed something were written at once.
    pub batches: Spread,
    /// How long writing took (ns).
    pub write_ns: Spread,
    /// How long syncing took (ns); only commits that synced.
    pub sync_ns: Spread,
    /// From the moment when the first batch of a commit was applied to when the commit was done (ns): the longest that
    /// a reply of it waited for the disk.
    pub wait_ns: Spread,
    /// How long the core's lock was held for a request (ns). Each 64th request is measured.
    pub lock_held_ns: Spread,
}

/// What [`CommitStats`] is worked out from.
#[derive(Debug, Default)]
pub(super) struct Timings {
    batches: Histogram,
    write: Histogram,
    sync: Histogram,
    wait: Histogram,
    lock_held: Histogram,
}

impl Timings {
    /// A commit of so many batches is done, the first of which was applied at that time.
    pub(super) fn note_commit(&self, batches: u64, first_applied: Option<Instant>, spent: &Spent) {
        self.batches.add(batches);
        self.write.add_time(spent.write_time());
        if let Some(time) = spent.sync_time() {
            self.sync.add_time(time);
        }
        if let Some(at) = first_applied {
            self.wait.add_time(at.elapsed());
        }
    }

    /// The lock was held since then.
    pub(super) fn note_lock(&self, since: Instant) {
        self.lock_held.add_time(since.elapsed());
    }

    pub(super) fn stats(&self) -> CommitStats {
        CommitStats {
            batches: self.batches.spread(),
            write_ns: self.write.spread(),
            sync_ns: self.sync.spread(),
            wait_ns: self.wait.spread(),
            lock_held_ns: self.lock_held.spread(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_lies_in_its_range() {
        let mut values: Vec<u64> = (0..64).flat_map(|power| [(1u64 << power) - 1, 1 << power]).collect();
        values.extend([3, 1000, 123_456_789, u64::MAX]);
        for value in values {
            let range = range_of(value);
            assert!(range < RANGES && value <= end_of(range), "{value}");
            assert!(range == 0 || value > end_of(range - 1), "{value}");
            assert!(end_of(range) - value <= value / RANGES_PER_POWER, "{value}");
        }
    }

    #[test]
    fn a_spread_is_that_of_the_values() {
        let histogram = Histogram::default();
        assert_eq!(histogram.spread(), Spread::default());
        (1..=1000).for_each(|value| histogram.add(value));
        let Spread { count, p50, p99, p999, most } = histogram.spread();
        assert_eq!((count, most), (1000, 1000));
        for (found, exact) in [(p50, 500), (p99, 990), (p999, 999)] {
            assert!((exact..=exact + exact / 8).contains(&found), "{found} for {exact}");
        }
    }
}
