//! Old segments that are kept for use again: what is in one already need not be filled with zeros.

use super::place::Ordinal;

/// How many are kept at least, beyond the number of segments made ahead.
const EXTRA: usize = 2;

/// And at most.
const MAX: u64 = 8;

/// They take no more than one part in so many of what the disk has free.
const FREE_PARTS: u64 = 8;

/// A segment that nothing needs any more, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OldSegment {
    pub(super) ordinal: Ordinal,
    pub(super) bytes: u64,
}

/// Those that are kept.
#[derive(Debug, Default)]
pub(super) struct OldSegments {
    kept: Vec<OldSegment>,
    /// How many segments had been begun when some were retired last, since the time before.
    begun_before: usize,
}

impl OldSegments {
    /// Keeps one.
    pub(super) fn keep(&mut self, segment: OldSegment) {
        self.kept.push(segment);
    }

    /// Gives one out that has at least so many bytes.
    pub(super) fn take(&mut self, bytes: u64) -> Option<OldSegment> {
        let at = self.kept.iter().position(|segment| segment.bytes >= bytes)?;
        Some(self.kept.swap_remove(at))
    }

    /// Gives out the longest one, if it has at least so many bytes.
    pub(super) fn take_longest(&mut self, bytes: u64) -> Option<OldSegment> {
        let at = (0..self.kept.len()).max_by_key(|at| self.kept[*at].bytes)?;
        (self.kept[at].bytes >= bytes).then(|| self.kept.swap_remove(at))
    }

    /// Gives the shortest ones out that are too many.
    pub(super) fn surplus(&mut self, most: usize) -> impl Iterator<Item = Ordinal> {
        self.kept.sort_by_key(|segment| std::cmp::Reverse(segment.bytes));
        self.kept.drain(most.min(self.kept.len())..).map(|segment| segment.ordinal)
    }

    /// How many are kept: as many as are begun from one snapshot to the next, so that none needs to be filled, where the
    /// disk has plenty. The log takes no more space by that than it had just before.
    ///
    /// `begun`: so many since this was asked last; `free_bytes`: of the disk, as far as that can be told.
    pub(super) fn most(
        &mut self,
        begun: usize,
        ahead: usize,
        segment_bytes: u64,
        free_bytes: Option<u64>,
    ) -> usize {
        let used = begun.max(std::mem::replace(&mut self.begun_before, begun));
        let plenty = free_bytes.map_or(0, |free| free / FREE_PARTS / segment_bytes.max(1));
        let allowed = usize::try_from(plenty.min(MAX)).unwrap_or(0);
        ahead.saturating_add(EXTRA).max(used.min(allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(lengths: &[u64]) -> OldSegments {
        let mut old = OldSegments::default();
        for (at, &bytes) in lengths.iter().enumerate() {
            old.keep(OldSegment { ordinal: Ordinal::new(at as u64 + 1), bytes });
        }
        old
    }

    #[test]
    fn as_many_are_kept_as_are_used() {
        let plenty = Some(1 << 30);
        let mut old = OldSegments::default();
        assert_eq!(old.most(0, 1, 2048, plenty), 3);
        assert_eq!(old.most(7, 1, 2048, plenty), 7);
        assert_eq!(old.most(1, 1, 2048, plenty), 7, "it may be more again");
        assert_eq!(old.most(1, 1, 2048, plenty), 3);
        assert_eq!(old.most(9, 1, 2048, Some(70_000)), 4, "an eighth of what is free");
        assert_eq!(old.most(9, 1, 2048, None), 3, "nobody knows what is free");
        assert_eq!(old.most(9, 1, 2048, plenty), 8, "and no more than that");
    }

    #[test]
    fn one_is_given_out_that_is_long_enough() {
        let mut old = kept(&[10, 30, 20]);
        assert_eq!(old.take(31), None);
        assert_eq!(old.take(15).map(|segment| segment.bytes), Some(30));
        assert_eq!(old.take_longest(21), None);
        assert_eq!(old.take_longest(20).map(|segment| segment.bytes), Some(20));
        assert_eq!(old.take_longest(0).map(|segment| segment.bytes), Some(10));
        assert_eq!(old.take_longest(0), None);
    }

    #[test]
    fn the_shortest_go() {
        let mut old = kept(&[10, 30, 20, 40]);
        assert_eq!(old.surplus(4).count(), 0);
        assert_eq!(old.surplus(2).map(Ordinal::get).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(old.take(0).map(|segment| segment.bytes), Some(40));
    }
}
