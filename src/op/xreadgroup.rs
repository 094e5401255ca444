//! XREADGROUP: delivers new entries to a consumer, or reads its history again.

use super::xread::{Budget, behind};
use super::*;
use crate::record::ClaimedRow;

/// XREADGROUP (5.0; `claim` 8.4; `limits` 8.10).
///
/// Waiting for data is not part of the request: see `Engine::read_or_wait`.
#[derive(Clone, Debug)]
pub struct XReadGroup {
    /// The database.
    pub db: DbIndex,
    /// The group, the same for all streams.
    pub group: Bytes,
    /// The consumer; created where absent.
    pub consumer: Bytes,
    /// The streams, in the order they are answered.
    pub streams: Vec<(Bytes, GroupFrom)>,
    /// At most so many entries of each stream.
    pub count: Option<u64>,
    /// How much of all streams together.
    pub limits: ReadLimits,
    /// NOACK: new entries do not become pending.
    pub no_ack: bool,
    /// CLAIM: before new entries come those that were released, and those that are pending, whoever owns them, and whose
    /// last delivery is at least so many milliseconds ago. Each entry then says how it stood before.
    pub claim: Option<u64>,
}

impl XReadGroup {
    /// All entries of one stream in database 0 that were never delivered to the group, to be acknowledged.
    #[must_use]
    pub fn new(group: impl Into<Bytes>, consumer: impl Into<Bytes>, key: impl Into<Bytes>) -> Self {
        Self {
            db: DbIndex::default(),
            group: group.into(),
            consumer: consumer.into(),
            streams: vec![(key.into(), GroupFrom::New)],
            count: None,
            limits: ReadLimits::default(),
            no_ack: false,
            claim: None,
        }
    }
}

/// What XREADGROUP reads of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupFrom {
    /// `>`: entries never delivered to the group.
    New,
    /// The consumer's own pending entries after this id.
    History(EntryId),
}

impl Op for XReadGroup {
    type Reply = Vec<StreamRead>;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, Self::Reply>, Stop> {
        let mut decision = Decision { reply: Vec::new(), records: Records::new(), seen: SmallVec::new() };
        let mut budget = Budget::new(self.limits);
        if let [(key, from)] = &self.streams[..] {
            self.read(view, key, *from, 0, &mut budget, &mut decision)?;
            return Ok(decision);
        }
        for (key, _) in &self.streams {
            self.find(view, key)?;
        }
        if !self.names_a_key_twice() {
            let mut created = 0;
            for (key, from) in &self.streams {
                created += self.read(view, key, *from, created, &mut budget, &mut decision)?;
            }
            return Ok(decision);
        }
        // A key named twice: its second reading sees what the first one did.
        let mut state = view.state.clone();
        for (key, from) in &self.streams {
            let mut step = Decision { reply: Vec::new(), records: Records::new(), seen: SmallVec::new() };
            self.read(&View { state: &state, ..*view }, key, *from, 0, &mut budget, &mut step)?;
            state = state.preview(&step.records).map_err(|_| self.no_such_group(key))?;
            decision.reply.append(&mut step.reply);
            decision.records.append(&mut step.records);
            decision.seen.append(&mut step.seen);
        }
        Ok(decision)
    }
}

impl XReadGroup {
    fn names_a_key_twice(&self) -> bool {
        let mut keys: Vec<&Bytes> = self.streams.iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys.windows(2).any(|pair| pair[0] == pair[1])
    }

    fn no_such_group(&self, key: &Bytes) -> Refusal {
        Refusal::NoSuchGroupToRead { key: key.clone(), group: self.group.clone() }
    }

    fn find<'s>(&self, view: &View<'s>, key: &Bytes) -> Result<(&'s Stream, &'s Group), Stop> {
        let Some(stream) = view.stream_named(self.db, key)? else {
            return Err(self.no_such_group(key).into());
        };
        match stream.group(&self.group)? {
            Some(group) => Ok((stream, group)),
            None => Err(self.no_such_group(key).into()),
        }
    }

    /// Reads one stream; `created_before`: so many consumers the same request has created. Answers how many more.
    fn read<'a>(
        &'a self,
        view: &View<'_>,
        key: &Bytes,
        from: GroupFrom,
        created_before: u64,
        budget: &mut Budget,
        decision: &mut Decision<'a, Vec<StreamRead>>,
    ) -> Result<u64, Stop> {
        let (stream, group) = self.find(view, key)?;
        let group_at = GroupAt { stream: view.at(self.db, stream), name: (&self.group).into() };
        let joined = join_group(view, group, &group_at, &self.consumer, created_before)?;
        decision.seen.extend(joined.seen());
        let consumer = joined.no;
        let created = u64::from(joined.created.is_some());
        decision.records.extend(joined.created);
        budget.begin(key);
        let reading = Reading { view, stream, group, group_at, consumer };
        let entries = match from {
            GroupFrom::New => {
                let entries = self.deliver(&reading, budget, &mut decision.records)?;
                if entries.is_empty() {
                    return Ok(created);
                }
                entries
            }
            GroupFrom::History(after) => self.read_history(&reading, after, budget, &mut decision.records)?,
        };
        decision.reply.push(StreamRead { key: key.clone(), entries });
        Ok(created)
    }

    /// What may be claimed, if that is asked for, then entries never delivered to the group: all become pending for the
    /// consumer.
    fn deliver<'a>(
        &self,
        reading: &Reading<'_, 'a>,
        budget: &mut Budget,
        records: &mut Records<'a>,
    ) -> Result<Vec<PendingEntry>, Stop> {
        let Reading { view, stream, group, ref group_at, consumer } = *reading;
        let entries = match self.claim {
            Some(min_idle_ms) => self.claim(reading, min_idle_ms, budget, records)?,
            None => Vec::new(),
        };
        let count = self.count.map(|count| count - entries.len() as u64);
        let (after, before) =
            (group.cursor.last_delivered_id, self.claim.map(|_| DeliveredBefore::default()));
        let new = view.read_after(stream, after, count, before, budget)?;
        if new.is_empty() {
            return Ok(entries);
        }
        let mut cursor = group.cursor;
        for entry in &new {
            cursor = stream.advance(cursor, entry.id)?;
        }
        let ids = if self.no_ack { Vec::new() } else { new.iter().map(|entry| entry.id).collect() };
        let (group, at_ms) = (group_at.clone(), view.now_ms);
        records.push(Record::Delivered { group, consumer, at_ms, ids, cursor });
        Ok(behind(entries, new))
    }

    /// Takes over what was released, then what was delivered long enough ago, the oldest first. What is gone from the
    /// stream stays pending: XAUTOCLAIM and XACK clear that up.
    fn claim<'a>(
        &self,
        reading: &Reading<'_, 'a>,
        min_idle_ms: u64,
        budget: &mut Budget,
        records: &mut Records<'a>,
    ) -> Result<Vec<PendingEntry>, Stop> {
        let Reading { view, stream, group, ref group_at, consumer } = *reading;
        let most = count_max(budget.want(self.count));
        let mut entries = Vec::new();
        let mut rows = Vec::new();
        let latest_ms = view.now_ms.checked_sub(min_idle_ms);
        let idle = latest_ms.into_iter().flat_map(|latest_ms| group.pending.delivered_by(latest_ms));
        for id in group.pending.released().chain(idle) {
            if entries.len() >= most {
                break;
            }
            let Some(row) = group.pending.get(id)? else { continue };
            let Some(fields) = stream.entries.get(id)? else { continue };
            view.spend(fields.packed().len())?;
            let idle_ms = view.idle_ms(row.delivered_ms());
            let before = Some(DeliveredBefore { idle_ms, delivery_count: row.delivery_count });
            let mut one = vec![PendingEntry { id, fields: Some(fields), before }];
            budget.take_entries(&mut one);
            if one.is_empty() {
                break;
            }
            entries.append(&mut one);
            let delivery_count = once_more(row.delivery_count);
            rows.push(ClaimedRow { id, delivered_ms: view.now_ms, delivery_count });
        }
        if !rows.is_empty() {
            let (group, active_ms) = (group_at.clone(), Some(view.now_ms));
            records.push(Record::Claimed { group, consumer, rows, active_ms });
        }
        Ok(entries)
    }

    /// The consumer's own pending entries after an id, each delivered once more if the stream still has it.
    fn read_history<'a>(
        &self,
        reading: &Reading<'_, 'a>,
        after: EntryId,
        budget: &mut Budget,
        records: &mut Records<'a>,
    ) -> Result<Vec<PendingEntry>, Stop> {
        let Reading { view, stream, group, ref group_at, consumer } = *reading;
        let Some(first) = after.successor() else { return Ok(Vec::new()) };
        let mut rows = Vec::new();
        let mut entries = Vec::new();
        for id in group.pending.owned_from(consumer, first).take(count_max(budget.want(self.count))) {
            let fields = view.entry(stream, id)?;
            let gone = fields.is_none();
            let mut one = vec![PendingEntry::new(id, fields)];
            budget.take_entries(&mut one);
            if one.is_empty() {
                break;
            }
            entries.append(&mut one);
            if let Some(row) = group.pending.get(id)?.filter(|_| !gone) {
                let delivery_count = once_more(row.delivery_count);
                rows.push(ClaimedRow { id, delivered_ms: view.now_ms, delivery_count });
            }
        }
        if !rows.is_empty() {
            records.push(Record::Claimed { group: group_at.clone(), consumer, rows, active_ms: None });
        }
        Ok(entries)
    }

    /// When a reader that found nothing at a time may find something in this stream, if nothing else happens: when the
    /// oldest pending entry that it could not claim yet is old enough (Unix ms).
    pub(crate) fn wakes_at(&self, state: &State, key: &Bytes, found_nothing_ms: u64) -> Option<u64> {
        let min_idle_ms = self.claim?;
        let group = state.database(self.db).stream(key).ok()??.group(&self.group).ok()??;
        // Those that are old enough already are gone from the stream.
        let next = match found_nothing_ms.checked_sub(min_idle_ms) {
            Some(latest) => group.pending.next_delivery_after(latest),
            None => group.pending.first_delivery(),
        };
        next?.checked_add(min_idle_ms)
    }
}

/// One stream being read.
struct Reading<'s, 'a> {
    view: &'s View<'s>,
    stream: &'s Stream,
    group: &'s Group,
    group_at: GroupAt<'a>,
    consumer: ConsumerNo,
}
