//! XAUTOCLAIM: claims what has been idle for long, page by page.

use std::collections::BTreeMap;

use super::xclaim::{find, outcome_records};
use super::*;

/// So many rows are looked at for each one that may be claimed.
const LOOKS_PER_CLAIM: u64 = 10;

/// XAUTOCLAIM (6.2; deleted ids answered since 7.0).
#[derive(Clone, Debug)]
pub struct XAutoClaim {
    /// The stream.
    pub key: Key,
    /// The group.
    pub group: Bytes,
    /// The new owner; created where absent.
    pub consumer: Bytes,
    /// Only entries idle for at least so long are claimed.
    pub min_idle_ms: u64,
    /// The smallest pending id looked at (inclusive).
    pub start: EntryId,
    /// How many entries are claimed at most; ten times as many are looked at.
    pub count: u64,
    /// JUSTID: answer ids only, and leave the delivery count alone.
    pub just_id: bool,
}

/// What XAUTOCLAIM did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoClaimed {
    /// Where the next call begins; `0-0` when all was looked at.
    pub next: EntryId,
    /// What was claimed.
    pub entries: Vec<PendingEntry>,
    /// Pending ids whose entry is gone from the stream: removed from the pending entries list.
    pub deleted: Vec<EntryId>,
}

impl Op for XAutoClaim {
    type Reply = AutoClaimed;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, AutoClaimed>, Stop> {
        let (stream, group, group_at) = find(view, &self.key, &self.group)?;
        let joined = join_group(view, group, &group_at, &self.consumer, 0)?;
        let mut looks_left = self.count.saturating_mul(LOOKS_PER_CLAIM);
        let mut claims_left = self.count;
        let mut reply = AutoClaimed { next: EntryId::MIN, entries: Vec::new(), deleted: Vec::new() };
        let mut outcome = BTreeMap::new();
        let mut walk = group.pending.walk_from(self.start)?;
        let mut presence = stream.entries.presence();
        while let Some(row) = walk.row()? {
            if looks_left == 0 || claims_left == 0 {
                reply.next = row.id;
                break;
            }
            // Rows that are all too young are looked at by counting them, as long as none of their entries may be gone.
            if view.is_too_young(walk.oldest_delivered_ms(), self.min_idle_ms)
                && row.id > stream.doubtful_through()
                && let Some(through) = presence.whole_through(row.id)?
            {
                looks_left -= walk.pass(through, looks_left);
                continue;
            }
            looks_left -= 1;
            walk.step();
            if !presence.contains(row.id)? {
                view.spend(0)?;
                claims_left -= 1;
                outcome.insert(row.id, None);
                reply.deleted.push(row.id);
                continue;
            }
            if !view.is_idle(&row, self.min_idle_ms) {
                continue;
            }
            let Some(fields) = stream.entries.get(row.id)? else { continue };
            view.spend(fields.packed().len())?;
            claims_left -= 1;
            let delivery_count =
                if self.just_id { row.delivery_count } else { once_more(row.delivery_count) };
            let claimed = Pending::owned(row.id, joined.no, view.now_ms, delivery_count);
            outcome.insert(row.id, Some(claimed));
            reply.entries.push(PendingEntry::new(row.id, (!self.just_id).then_some(fields)));
        }
        let mut records = Records::new();
        let seen = joined.seen().into_iter().collect();
        records.extend(joined.created);
        records.extend(outcome_records(group, &group_at, joined.no, view.now_ms, &outcome));
        Ok(Decision { reply, records, seen })
    }
}
