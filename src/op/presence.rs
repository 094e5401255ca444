//! When consumers were last seen. Volatile: after a restart a consumer was last seen when it was created or last
//! got something, whichever is later.

use std::collections::HashMap;

use crate::id::ConsumerNo;

/// When consumers were last seen (Unix ms). Looked up by number only, so the order of the map can't show.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    seen_ms: HashMap<ConsumerNo, u64>,
    sweep_at: usize,
}

impl Presence {
    /// Below so many consumers the map is not swept.
    const SWEEP_MIN: usize = 1024;

    pub(crate) fn seen_ms(&self, consumer: ConsumerNo) -> Option<u64> {
        self.seen_ms.get(&consumer).copied()
    }

    pub(crate) fn set(&mut self, consumer: ConsumerNo, now_ms: u64) {
        self.seen_ms.insert(consumer, now_ms);
    }

    /// Whether consumers that are gone should be swept out: when the map has doubled since the last time.
    pub(crate) fn wants_sweep(&self) -> bool {
        self.seen_ms.len() >= self.sweep_at.max(Self::SWEEP_MIN)
    }

    /// Keeps only consumers that exist.
    pub(crate) fn sweep(&mut self, existing: impl Iterator<Item = ConsumerNo>) {
        let mut before = std::mem::take(&mut self.seen_ms);
        self.seen_ms = existing.filter_map(|no| before.remove_entry(&no)).collect();
        self.sweep_at = self.seen_ms.len() * 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_that_are_gone_are_swept_out() {
        let mut presence = Presence::default();
        for no in 0..Presence::SWEEP_MIN as u64 {
            assert!(!presence.wants_sweep());
            presence.set(ConsumerNo::new(no), no);
        }
        assert!(presence.wants_sweep());
        presence.sweep([ConsumerNo::new(7), ConsumerNo::new(1 << 40)].into_iter());
        assert_eq!(presence.seen_ms(ConsumerNo::new(7)), Some(7));
        assert_eq!(presence.seen_ms(ConsumerNo::new(8)), None);
        assert!(!presence.wants_sweep());
    }
}
