//! When consumers were last seen, and streams last used. Volatile: after a restart a consumer was last seen when it was
//! created or last got something, whichever is later, and a stream was used at the start.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::id::{ConsumerNo, StreamNo};

/// A consumer of a stream: the consumers of a copy have the same numbers.
pub(crate) type ConsumerAt = (StreamNo, ConsumerNo);

/// When consumers were last seen and streams last used (Unix ms). Looked up with nearly every command: a hash that nobody
/// can foresee, which numbers of ours need not have, costs more than these maps.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    seen_ms: BTreeMap<ConsumerAt, u64>,
    used_ms: RefCell<BTreeMap<StreamNo, u64>>,
    /// What was noted last: one stream may be used many times in a millisecond.
    noted: Cell<Option<(StreamNo, u64)>>,
    sweep_at: usize,
}

impl Presence {
    /// Below so many consumers the map is not swept.
    const SWEEP_MIN: usize = 1024;

    pub(crate) fn seen_ms(&self, consumer: ConsumerAt) -> Option<u64> {
        self.seen_ms.get(&consumer).copied()
    }

    pub(crate) fn set(&mut self, consumer: ConsumerAt, now_ms: u64) {
        self.seen_ms.insert(consumer, now_ms);
    }

    /// When a stream was last used.
    pub(crate) fn used_ms(&self, stream: StreamNo) -> Option<u64> {
        self.used_ms.borrow().get(&stream).copied()
    }

    /// A stream is used.
    pub(crate) fn set_used(&self, stream: StreamNo, now_ms: u64) {
        if self.noted.replace(Some((stream, now_ms))) != Some((stream, now_ms)) {
            self.used_ms.borrow_mut().insert(stream, now_ms);
        }
    }

    /// Whether what is gone should be swept out: when the maps have doubled since the last time.
    pub(crate) fn wants_sweep(&self) -> bool {
        self.len() >= self.sweep_at.max(Self::SWEEP_MIN)
    }

    fn len(&self) -> usize {
        self.seen_ms.len() + self.used_ms.borrow().len()
    }

    /// Keeps only streams and consumers that exist.
    pub(crate) fn sweep(
        &mut self,
        streams: impl Iterator<Item = StreamNo>,
        consumers: impl Iterator<Item = ConsumerAt>,
    ) {
        let mut seen = std::mem::take(&mut self.seen_ms);
        self.seen_ms = consumers.filter_map(|no| seen.remove_entry(&no)).collect();
        let mut used = self.used_ms.take();
        self.used_ms.replace(streams.filter_map(|no| used.remove_entry(&no)).collect());
        self.sweep_at = self.len() * 2;
        self.noted.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_swept_out() {
        let at = |no| (StreamNo::new(1), ConsumerNo::new(no));
        let mut presence = Presence::default();
        for no in 0..Presence::SWEEP_MIN as u64 / 2 {
            assert!(!presence.wants_sweep());
            presence.set(at(no), no);
            presence.set_used(StreamNo::new(no), no);
        }
        assert!(presence.wants_sweep());
        presence.sweep([StreamNo::new(3)].into_iter(), [at(7), at(1 << 40)].into_iter());
        assert_eq!((presence.seen_ms(at(7)), presence.seen_ms(at(8))), (Some(7), None));
        assert_eq!((presence.used_ms(StreamNo::new(3)), presence.used_ms(StreamNo::new(4))), (Some(3), None));
        assert!(!presence.wants_sweep());
    }
}
