//! XPENDING: what was delivered and not acknowledged.

use super::xclaim::find;
use super::*;

/// XPENDING key group (5.0): the summary.
#[derive(Clone, Debug)]
pub struct XPendingSummary {
    /// The stream.
    pub key: Key,
    /// The group.
    pub group: Bytes,
}

/// The summary of a pending entries list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingSummary {
    /// How many entries are pending.
    pub count: u64,
    /// The smallest and the largest pending id.
    pub range: Option<(EntryId, EntryId)>,
    /// The consumers that have any, by name, and how many.
    pub consumers: Vec<(Bytes, u64)>,
}

impl Op for XPendingSummary {
    type Reply = PendingSummary;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, PendingSummary>, Stop> {
        let (_, group, _) = find(view, &self.key, &self.group)?;
        let owned = |consumer: &Consumer| (consumer.name.clone(), group.pending.owned_count(consumer.no));
        let consumers = group.consumers().map(owned).filter(|(_, count)| *count > 0).collect();
        Decision::read(PendingSummary { count: group.pending.len(), range: group.pending.ends()?, consumers })
    }
}

/// XPENDING key group start end count (5.0; `min_idle_ms` 6.2): rows.
#[derive(Clone, Debug)]
pub struct XPendingRows {
    /// The stream.
    pub key: Key,
    /// The group.
    pub group: Bytes,
    /// The smallest id wanted (inclusive).
    pub first: EntryId,
    /// The largest id wanted (inclusive).
    pub last: EntryId,
    /// At most so many rows.
    pub count: u64,
    /// Only this consumer's.
    pub consumer: Option<Bytes>,
    /// Only entries idle for at least so long; 0 for all.
    pub min_idle_ms: u64,
}

/// One pending entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRow {
    /// Its id.
    pub id: EntryId,
    /// Its owner; empty if it was released.
    pub consumer: Bytes,
    /// Milliseconds since its delivery; `None` if it was released.
    pub idle_ms: Option<u64>,
    /// How many times it was delivered.
    pub delivery_count: u64,
}

impl Op for XPendingRows {
    type Reply = Vec<PendingRow>;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, Self::Reply>, Stop> {
        let (_, group, _) = find(view, &self.key, &self.group)?;
        let mut rows = Vec::new();
        // Whether to look at the row after this one.
        let mut look = |row: &Pending| -> Result<bool, Stop> {
            let more = row.id <= self.last && (rows.len() as u64) < self.count;
            if more && view.is_idle(row, self.min_idle_ms) {
                let owner = row.owner();
                let consumer =
                    owner.and_then(|owner| group.consumer_name(owner)).cloned().unwrap_or_default();
                view.spend(consumer.len())?;
                let idle_ms = owner.is_some().then(|| view.idle_ms(row.delivered_ms()));
                rows.push(PendingRow { id: row.id, consumer, idle_ms, delivery_count: row.delivery_count });
            }
            Ok(more)
        };
        match &self.consumer {
            None => {
                let mut walk = group.pending.walk_from(self.first)?;
                while let Some(row) = walk.row()? {
                    if !look(&row)? {
                        break;
                    }
                    match view.is_too_young(walk.oldest_delivered_ms(), self.min_idle_ms) {
                        true => drop(walk.pass(EntryId::MAX, u64::MAX)),
                        false => walk.step(),
                    }
                }
            }
            Some(name) => {
                let Some(consumer) = group.consumer(name)? else { return Decision::read(Vec::new()) };
                for id in group.pending.owned_from(consumer.no, self.first) {
                    let Some(row) = group.pending.get(id)? else { break };
                    if !look(&row)? {
                        break;
                    }
                }
            }
        }
        Decision::read(rows)
    }
}
