//! XNACK: gives pending entries back, so that others get them first.

use std::collections::BTreeMap;

use super::xclaim::find;
use super::*;
use crate::record::ReleasedRow;

/// XNACK (8.8): the entries lose their owner and are handed out before all others, in the order in which they were
/// released. Answers how many were.
#[derive(Clone, Debug)]
pub struct XNack {
    /// The stream.
    pub key: Key,
    /// The group, which must exist.
    pub group: Bytes,
    /// What the release says about the delivery.
    pub mode: NackMode,
    /// The ids. One that is named twice counts twice.
    pub ids: Vec<EntryId>,
    /// RETRYCOUNT: the delivery count to record, whatever the mode.
    pub retry_count: Option<u64>,
    /// FORCE: an entry that is not pending becomes so, if the stream has it.
    pub force: bool,
}

/// What a release says about the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NackMode {
    /// It does not count: the delivery count goes down by one.
    Silent,
    /// It failed: the delivery count stays.
    Fail,
    /// It can't succeed: the delivery count becomes the largest there is.
    Fatal,
}

impl Op for XNack {
    type Reply = u64;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, u64>, Stop> {
        let (stream, group, group_at) = find(view, &self.key, &self.group)?;
        let mut counts: BTreeMap<EntryId, u64> = BTreeMap::new();
        let mut order: Vec<EntryId> = Vec::new();
        for id in self.ids.iter().copied() {
            let known = match counts.get(&id) {
                Some(count) => Some(*count),
                None => group.pending.get(id)?.map(|row| row.delivery_count),
            };
            let count = match known {
                Some(count) => self.count_after(count),
                None if self.force && stream.entries.contains(id)? => self.count_after(0),
                None => continue,
            };
            counts.insert(id, count);
            order.push(id);
        }
        let released = order.len() as u64;
        // Its place is that of the last time it was named.
        let mut rows = Vec::with_capacity(counts.len());
        for id in order.into_iter().rev() {
            if let Some(delivery_count) = counts.remove(&id) {
                rows.push(ReleasedRow { id, delivery_count });
            }
        }
        rows.reverse();
        let record = (!rows.is_empty()).then_some(Record::Released { group: group_at, rows });
        Decision::change(released, record.into_iter().collect())
    }
}

impl XNack {
    fn count_after(&self, count: u64) -> u64 {
        self.retry_count.unwrap_or(match self.mode {
            NackMode::Silent => count.saturating_sub(1),
            NackMode::Fail => count,
            NackMode::Fatal => DELIVERY_COUNT_MAX,
        })
    }
}
