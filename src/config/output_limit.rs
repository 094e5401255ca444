//! `client-output-buffer-limit`: how many bytes of replies may wait for a client to read them, by kind of client.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The kinds of clients, as they are shown. There are only normal ones here; the others are kept as they are set.
const KINDS: [&str; 3] = ["normal", "slave", "pubsub"];

/// When a client is dropped for what it does not read. 0 means no such limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputLimit {
    /// At once at so many bytes,
    pub(crate) hard_bytes: u64,
    /// or at so many
    pub(crate) soft_bytes: u64,
    /// for longer than so many seconds without a break.
    pub(crate) soft_secs: u64,
}

impl OutputLimit {
    /// Whether a client with so many unsent bytes is to be dropped. `since`: when it was first seen at its soft limit,
    /// and it has not been seen below it after that.
    pub(crate) fn is_passed(&self, unsent_bytes: usize, since: &Cell<Option<Instant>>, now: Instant) -> bool {
        let reaches = |limit: u64| limit > 0 && unsent_bytes as u64 >= limit;
        if !reaches(self.soft_bytes) {
            since.set(None);
            return reaches(self.hard_bytes);
        }
        let first = since.get().unwrap_or(now);
        since.set(Some(first));
        let over = now.saturating_duration_since(first) > Duration::from_secs(self.soft_secs);
        reaches(self.hard_bytes) || over
    }
}

/// The limits of all kinds of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputLimits([OutputLimit; 3]);

impl Default for OutputLimits {
    /// As in Redis.
    fn default() -> Self {
        let limit = |hard_bytes, soft_bytes, soft_secs| OutputLimit { hard_bytes, soft_bytes, soft_secs };
        Self([limit(0, 0, 0), limit(256 << 20, 64 << 20, 60), limit(32 << 20, 8 << 20, 60)])
    }
}

impl OutputLimits {
    /// That of normal clients.
    pub(crate) fn normal(&self) -> OutputLimit {
        self.0[0]
    }

    /// As CONFIG GET shows them.
    pub(crate) fn text(&self) -> String {
        let shown = KINDS.iter().zip(self.0).map(|(kind, limit)| {
            format!("{kind} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_secs)
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    /// Changes the limits of those kinds that are named: groups of a kind, two sizes and a number of seconds. The errors
    /// are Redis's.
    pub(crate) fn set(&mut self, value: &str, size: impl Fn(&str) -> Option<u64>) -> Result<(), String> {
        let words: Vec<&str> = value.split_whitespace().collect();
        if !words.len().is_multiple_of(4) {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        let mut changed = *self;
        for group in words.chunks_exact(4) {
            let kind = group[0].to_ascii_lowercase();
            let kind = if kind == "replica" { "slave" } else { &kind };
            let at = KINDS.iter().position(|known| *known == kind);
            let at = at.ok_or("Invalid client class specified in buffer limit configuration.")?;
            let (hard, soft, secs) = (size(group[1]), size(group[2]), group[3].parse::<u32>().ok());
            let (Some(hard_bytes), Some(soft_bytes), Some(secs)) = (hard, soft, secs) else {
                return Err(
                    "Error in hard, soft or soft_seconds setting in buffer limit configuration.".into()
                );
            };
            changed.0[at] = OutputLimit { hard_bytes, soft_bytes, soft_secs: secs.into() };
        }
        *self = changed;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_counts_time_without_a_break() {
        let limit = OutputLimit { hard_bytes: 100, soft_bytes: 50, soft_secs: 3 };
        let (since, start) = (Cell::new(None), Instant::now());
        let passed = |bytes, secs| limit.is_passed(bytes, &since, start + Duration::from_secs(secs));
        assert!(!passed(49, 0) && !passed(50, 1) && !passed(99, 4));
        assert!(passed(50, 5));
        // Below it for a moment: it counts from the beginning.
        assert!(!passed(49, 6) && !passed(50, 7) && !passed(50, 10));
        assert!(passed(50, 11));
        assert!(passed(100, 0));
        let none = OutputLimits::default().normal();
        assert!(!none.is_passed(usize::MAX, &since, start));
    }

    #[test]
    fn words_are_taken_as_redis_takes_them() {
        let size = |word: &str| word.parse().ok();
        let mut limits = OutputLimits::default();
        assert_eq!(limits.text(), "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60");
        limits.set("replica 1 2 3 NORMAL 4 5 6 normal 7 8 9", size).unwrap();
        assert_eq!(limits.text(), "normal 7 8 9 slave 1 2 3 pubsub 33554432 8388608 60");
        limits.set("", size).unwrap();
        for wrong in ["normal 1 2", "all 1 2 3", "normal x 2 3", "normal 1 2 -3"] {
            let before = limits;
            assert!(limits.set(&format!("pubsub 0 0 0 {wrong}"), size).is_err(), "{wrong}");
            assert_eq!(limits, before);
        }
    }
}
