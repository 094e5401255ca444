//! XREADGROUP: delivers new entries to a consumer, or reads its history again.

use super::*;
use crate::record::ClaimedRow;

/// XREADGROUP (5.0).
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
    /// NOACK: new entries do not become pending.
    pub no_ack: bool,
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
        for (key, _) in &self.streams {
            self.find(view, key)?;
        }
        let mut decision = Decision { reply: Vec::new(), records: Vec::new(), seen: Vec::new() };
        if !self.names_a_key_twice() {
            for (key, from) in &self.streams {
                self.read(view, key, *from, &mut decision)?;
            }
            return Ok(decision);
        }
        // A key named twice: its second reading sees what the first one did.
        let mut state = view.state.clone();
        for (key, from) in &self.streams {
            let mut step = Decision { reply: Vec::new(), records: Vec::new(), seen: Vec::new() };
            self.read(&View { state: &state, ..*view }, key, *from, &mut step)?;
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
        let Some(stream) = view.state.database(self.db).stream(key)? else {
            return Err(self.no_such_group(key).into());
        };
        match stream.group(&self.group)? {
            Some(group) => Ok((stream, group)),
            None => Err(self.no_such_group(key).into()),
        }
    }

    fn read<'a>(
        &'a self,
        view: &View<'_>,
        key: &Bytes,
        from: GroupFrom,
        decision: &mut Decision<'a, Vec<StreamRead>>,
    ) -> Result<(), Stop> {
        let (stream, group) = self.find(view, key)?;
        let group_at = GroupAt { stream: view.at(self.db, stream), name: (&self.group).into() };
        let new_consumer = |record: &&Record<'_>| matches!(record, Record::ConsumerCreated { consumer, .. } if *consumer >= view.state.next_consumer());
        let created_before = decision.records.iter().filter(new_consumer).count() as u64;
        let joined = join_group(view, group, &group_at, &self.consumer, created_before)?;
        match joined.created {
            Some(created) => decision.records.push(created),
            None => decision.seen.push(joined.no),
        }
        let entries = match from {
            GroupFrom::New => {
                self.deliver(view, (stream, group), group_at, joined.no, &mut decision.records)?
            }
            GroupFrom::History(after) => Some(self.read_history(
                view,
                (stream, group),
                group_at,
                joined.no,
                after,
                &mut decision.records,
            )?),
        };
        if let Some(entries) = entries {
            decision.reply.push(StreamRead { key: key.clone(), entries });
        }
        Ok(())
    }

    /// Entries never delivered to the group become pending for the consumer. `None` if there are none.
    fn deliver<'a>(
        &self,
        view: &View<'_>,
        (stream, group): (&Stream, &Group),
        group_at: GroupAt<'a>,
        consumer: ConsumerNo,
        records: &mut Vec<Record<'a>>,
    ) -> Result<Option<Vec<PendingEntry>>, Stop> {
        let entries = view.entries_after(stream, group.cursor.last_delivered_id, self.count)?;
        if entries.is_empty() {
            return Ok(None);
        }
        let mut cursor = group.cursor;
        for entry in &entries {
            cursor = stream.advance(cursor, entry.id)?;
        }
        let ids = if self.no_ack { Vec::new() } else { entries.iter().map(|entry| entry.id).collect() };
        records.push(Record::Delivered { group: group_at, consumer, at_ms: view.now_ms, ids, cursor });
        Ok(Some(entries.into_iter().map(PendingEntry::from).collect()))
    }

    /// The consumer's own pending entries after an id, each delivered once more if the stream still has it.
    fn read_history<'a>(
        &self,
        view: &View<'_>,
        (stream, group): (&Stream, &Group),
        group_at: GroupAt<'a>,
        consumer: ConsumerNo,
        after: EntryId,
        records: &mut Vec<Record<'a>>,
    ) -> Result<Vec<PendingEntry>, Stop> {
        let Some(first) = after.successor() else { return Ok(Vec::new()) };
        let mut rows = Vec::new();
        let mut entries = Vec::new();
        for id in group.pending.owned_from(consumer, first).take(count_max(self.count)) {
            let fields = view.entry(stream, id)?;
            if let Some(row) = group.pending.get(id)?.filter(|_| fields.is_some()) {
                let delivery_count = row.delivery_count.saturating_add(1);
                rows.push(ClaimedRow { id, delivered_ms: view.now_ms, delivery_count });
            }
            entries.push(PendingEntry { id, fields });
        }
        if !rows.is_empty() {
            records.push(Record::Claimed { group: group_at, consumer, rows, active_ms: None });
        }
        Ok(entries)
    }
}
