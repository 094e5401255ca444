//! XCLAIM: hands pending entries to another consumer.

use std::collections::BTreeMap;

use super::*;
use crate::record::ClaimedRow;

/// XCLAIM (5.0). Answers the entries claimed, in the order of the ids given.
#[derive(Clone, Debug)]
pub struct XClaim {
    /// The stream.
    pub key: Key,
    /// The group.
    pub group: Bytes,
    /// The new owner; created where absent.
    pub consumer: Bytes,
    /// Only entries idle for at least so long are claimed.
    pub min_idle_ms: u64,
    /// The ids.
    pub ids: Vec<EntryId>,
    /// The delivery time to record; `None` for now.
    pub delivered: Option<DeliveryTime>,
    /// The delivery count to record; `None` to count one more (unless `just_id`).
    pub retry_count: Option<u64>,
    /// FORCE: an entry that is not pending becomes so, if the stream has it.
    pub force: bool,
    /// JUSTID: answer ids only, and leave the delivery count alone.
    pub just_id: bool,
    /// LASTID: moves the group's last delivered id forward to this one.
    pub last_id: Option<EntryId>,
}

/// A delivery time, as XCLAIM may set it. What lies in the future or before 1970 becomes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryTime {
    /// IDLE: so many milliseconds ago.
    IdleMs(i64),
    /// TIME: this many milliseconds since the Unix epoch.
    UnixMs(i64),
}

/// A group that must exist, its stream, and how records name it.
pub(super) fn find<'a, 's>(
    view: &View<'s>,
    key: &Key,
    name: &'a Bytes,
) -> Result<(&'s Stream, &'s Group, GroupAt<'a>), Stop> {
    let none = || Refusal::NoSuchKeyOrGroup { key: key.name.clone(), group: name.clone() };
    let stream = view.stream(key)?.ok_or_else(none)?;
    let group = stream.group(name)?.ok_or_else(none)?;
    Ok((stream, group, GroupAt { stream: view.at(key.db, stream), name: name.into() }))
}

impl Op for XClaim {
    type Reply = Vec<PendingEntry>;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, Self::Reply>, Stop> {
        let (stream, group, group_at) = find(view, &self.key, &self.group)?;
        let joined = join_group(view, group, &group_at, &self.consumer, 0)?;
        let delivered_ms = self.delivered_ms(view.now_ms);
        let mut reply = Vec::new();
        // What became of each id in this call, as an id may be named more than once: `None` left the list.
        let mut outcome: BTreeMap<EntryId, Option<Pending>> = BTreeMap::new();
        for id in self.ids.iter().copied() {
            let row = match outcome.get(&id) {
                Some(row) => *row,
                None => group.pending.get(id)?,
            };
            let Some(fields) = view.entry(stream, id)? else {
                // Gone from the stream: a reference to it is of no use to anyone.
                if row.is_some() {
                    outcome.insert(id, None);
                }
                continue;
            };
            let delivery_count = match row {
                Some(row) if !view.is_idle(&row, self.min_idle_ms) => continue,
                Some(row) => row.delivery_count,
                None if self.force => 1,
                None => continue,
            };
            let delivery_count = match self.retry_count {
                Some(retry_count) => retry_count,
                None if self.just_id => delivery_count,
                None => once_more(delivery_count),
            };
            outcome.insert(id, Some(Pending::owned(id, joined.no, delivered_ms, delivery_count)));
            reply.push(PendingEntry::new(id, (!self.just_id).then_some(fields)));
        }
        let mut records = Records::new();
        let seen = joined.seen().into_iter().collect();
        records.extend(joined.created);
        if let Some(last_delivered_id) = self.last_id.filter(|id| *id > group.cursor.last_delivered_id) {
            let cursor = Cursor { last_delivered_id, ..group.cursor };
            records.push(Record::GroupMoved { group: group_at.clone(), cursor });
        }
        records.extend(outcome_records(group, &group_at, joined.no, view.now_ms, &outcome));
        Ok(Decision { reply, records, seen })
    }
}

/// The facts of a claim: references that left the list, and rows with their new owner.
pub(super) fn outcome_records<'a>(
    group: &Group,
    group_at: &GroupAt<'a>,
    consumer: ConsumerNo,
    now_ms: u64,
    outcome: &BTreeMap<EntryId, Option<Pending>>,
) -> impl Iterator<Item = Record<'a>> + use<'a> {
    let gone = |(id, row): (&EntryId, &Option<Pending>)| row.is_none().then_some(*id);
    let mut ids: Vec<EntryId> = outcome.iter().filter_map(gone).collect();
    // An id that FORCE made pending and that left again in the same call never was.
    ids.retain(|id| group.pending.get(*id).is_ok_and(|row| row.is_some()));
    let claimed = |row: &Pending| ClaimedRow {
        id: row.id,
        delivered_ms: row.delivered_ms(),
        delivery_count: row.delivery_count,
    };
    let rows: Vec<ClaimedRow> = outcome.values().flatten().map(claimed).collect();
    let dropped = (!ids.is_empty()).then(|| Record::Acknowledged { group: group_at.clone(), ids });
    let claimed = (!rows.is_empty()).then(|| Record::Claimed {
        group: group_at.clone(),
        consumer,
        rows,
        active_ms: Some(now_ms),
    });
    dropped.into_iter().chain(claimed)
}

impl XClaim {
    fn delivered_ms(&self, now_ms: u64) -> u64 {
        let now = i64::try_from(now_ms).unwrap_or(i64::MAX);
        let wanted = match self.delivered {
            None => return now_ms,
            Some(DeliveryTime::IdleMs(idle_ms)) => now.checked_sub(idle_ms),
            Some(DeliveryTime::UnixMs(unix_ms)) => Some(unix_ms),
        };
        wanted.filter(|wanted| *wanted <= now).and_then(|wanted| u64::try_from(wanted).ok()).unwrap_or(now_ms)
    }
}
