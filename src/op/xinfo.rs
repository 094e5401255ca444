//! XINFO: what a stream, its groups and their consumers look like.

use super::*;

/// XINFO STREAM key (5.0).
#[derive(Clone, Debug)]
pub struct XInfoStream {
    /// The stream, which must exist.
    pub key: Key,
}

/// A stream at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// How many entries it has.
    pub length: u64,
    /// How many nodes hold them, by Redis's node rule.
    pub node_count: u64,
    /// The last id given out.
    pub last_id: EntryId,
    /// The largest id that was deleted.
    pub max_deleted_id: EntryId,
    /// How many entries were ever added.
    pub entries_added: u64,
    /// The id of the first entry; `0-0` if there is none.
    pub first_id: EntryId,
    /// For how long it remembers idempotent ids, in seconds (8.6).
    pub idmp_duration_secs: u64,
    /// How many of each producer it remembers (8.6).
    pub idmp_maxsize: u64,
    /// How many producers it remembers idempotent ids of (8.6).
    pub pids_tracked: u64,
    /// How many idempotent ids it remembers (8.6).
    pub iids_tracked: u64,
    /// How many idempotent ids came with entries that were added, ever (8.6).
    pub iids_added: u64,
    /// How many duplicates were refused, ever (8.6).
    pub iids_duplicates: u64,
    /// How many groups it has.
    pub group_count: u64,
    /// The first entry.
    pub first_entry: Option<Entry>,
    /// The last entry.
    pub last_entry: Option<Entry>,
}

fn stream<'s>(view: &View<'s>, key: &Key) -> Result<&'s Stream, Stop> {
    Ok(view.stream(key)?.ok_or(Refusal::NoSuchKey)?)
}

fn stream_info(view: &View<'_>, stream: &Stream) -> Result<StreamInfo, Needs> {
    let (pids_tracked, iids_tracked) = stream.dedup.counts(view.now_ms);
    Ok(StreamInfo {
        length: stream.entries.len(),
        node_count: stream.entries.node_count(),
        last_id: stream.last_id,
        max_deleted_id: stream.max_deleted_id,
        entries_added: stream.entries_added,
        first_id: stream.first_id()?,
        idmp_duration_secs: stream.dedup.config.duration_secs,
        idmp_maxsize: stream.dedup.config.maxsize,
        pids_tracked,
        iids_tracked,
        iids_added: stream.dedup.added,
        iids_duplicates: stream.dedup.duplicates,
        group_count: stream.group_count(),
        first_entry: None,
        last_entry: None,
    })
}

fn group_info(stream: &Stream, group: &Group) -> Result<GroupInfo, Needs> {
    Ok(GroupInfo {
        name: group.name.clone(),
        consumer_count: group.consumer_count(),
        pending_count: group.pending.len(),
        last_delivered_id: group.cursor.last_delivered_id,
        entries_read: group.cursor.entries_read,
        lag: stream.lag(group.cursor)?,
    })
}

impl Op for XInfoStream {
    type Reply = StreamInfo;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, StreamInfo>, Stop> {
        let stream = stream(view, &self.key)?;
        let edge =
            |reverse| stream.entries.range(EntryId::MIN, EntryId::MAX, 1, reverse, |bytes| view.spend(bytes));
        let (first_entry, last_entry) = (edge(false)?.pop(), edge(true)?.pop());
        Decision::read(StreamInfo { first_entry, last_entry, ..stream_info(view, stream)? })
    }
}

/// XINFO STREAM key FULL (6.0).
#[derive(Clone, Debug)]
pub struct XInfoStreamFull {
    /// The stream, which must exist.
    pub key: Key,
    /// At most so many entries, and rows of each list; `None` for all.
    pub count: Option<u64>,
}

/// A stream in full. `info.first_entry` and `info.last_entry` are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfoFull {
    /// The numbers.
    pub info: StreamInfo,
    /// The first entries.
    pub entries: Vec<Entry>,
    /// The groups, by name.
    pub groups: Vec<GroupInfoFull>,
}

/// A group in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfoFull {
    /// The numbers.
    pub info: GroupInfo,
    /// How many of the pending entries were released (8.8).
    pub released_count: u64,
    /// The first pending entries: id, owner (empty if it was released), delivery time (Unix ms; 0 if it was released),
    /// delivery count.
    pub pending: Vec<(EntryId, Bytes, u64, u64)>,
    /// The consumers, by name.
    pub consumers: Vec<ConsumerInfoFull>,
}

/// A consumer in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerInfoFull {
    /// Its name.
    pub name: Bytes,
    /// When it was last seen (Unix ms).
    pub seen_ms: u64,
    /// When it last got something (Unix ms).
    pub active_ms: Option<u64>,
    /// How many entries it has pending.
    pub pending_count: u64,
    /// The first of them: id, delivery time (Unix ms), delivery count.
    pub pending: Vec<(EntryId, u64, u64)>,
}

impl Op for XInfoStreamFull {
    type Reply = StreamInfoFull;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, StreamInfoFull>, Stop> {
        let stream = stream(view, &self.key)?;
        let count = count_max(self.count);
        let mut groups = Vec::new();
        for group in stream.groups() {
            groups.push(GroupInfoFull {
                info: group_info(stream, group)?,
                released_count: group.pending.released_count(),
                pending: group.pending.rows().take(count).map(|row| full_row(group, &row)).collect(),
                consumers: group
                    .consumers()
                    .map(|consumer| full_consumer(view, (stream, group), consumer, count))
                    .collect(),
            });
        }
        let entries =
            stream.entries.range(EntryId::MIN, EntryId::MAX, count, false, |bytes| view.spend(bytes))?;
        Decision::read(StreamInfoFull { info: stream_info(view, stream)?, entries, groups })
    }
}

fn full_row(group: &Group, row: &Pending) -> (EntryId, Bytes, u64, u64) {
    let owner = row.owner().and_then(|owner| group.consumer_name(owner)).cloned().unwrap_or_default();
    (row.id, owner, row.delivered_ms(), row.delivery_count)
}

fn full_consumer(
    view: &View<'_>,
    (stream, group): (&Stream, &Group),
    consumer: &Consumer,
    count: usize,
) -> ConsumerInfoFull {
    let owned = group.pending.owned_from(consumer.no, EntryId::MIN).take(count);
    let rows = owned.filter_map(|id| group.pending.get(id).ok().flatten());
    ConsumerInfoFull {
        name: consumer.name.clone(),
        seen_ms: view.seen_ms(stream, consumer),
        active_ms: consumer.active_ms,
        pending_count: group.pending.owned_count(consumer.no),
        pending: rows.map(|row| (row.id, row.delivered_ms(), row.delivery_count)).collect(),
    }
}

/// XINFO GROUPS key (5.0). Groups come by name.
#[derive(Clone, Debug)]
pub struct XInfoGroups {
    /// The stream, which must exist.
    pub key: Key,
}

/// A group at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    /// Its name.
    pub name: Bytes,
    /// How many consumers it has.
    pub consumer_count: u64,
    /// How many entries are pending.
    pub pending_count: u64,
    /// The last id delivered.
    pub last_delivered_id: EntryId,
    /// How many entries were read, if that is known.
    pub entries_read: Option<u64>,
    /// How many entries are still to be read, if that is known.
    pub lag: Option<u64>,
}

impl Op for XInfoGroups {
    type Reply = Vec<GroupInfo>;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, Self::Reply>, Stop> {
        let stream = stream(view, &self.key)?;
        let groups: Result<Vec<GroupInfo>, Needs> =
            stream.groups().map(|group| group_info(stream, group)).collect();
        Decision::read(groups?)
    }
}

/// XINFO CONSUMERS key group (5.0). Consumers come by name.
#[derive(Clone, Debug)]
pub struct XInfoConsumers {
    /// The stream, which must exist.
    pub key: Key,
    /// The group, which must exist.
    pub group: Bytes,
}

/// A consumer at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerInfo {
    /// Its name.
    pub name: Bytes,
    /// How many entries it has pending.
    pub pending_count: u64,
    /// Milliseconds since it was last seen.
    pub idle_ms: u64,
    /// Milliseconds since it last got something; `None` if it never did.
    pub inactive_ms: Option<u64>,
}

impl Op for XInfoConsumers {
    type Reply = Vec<ConsumerInfo>;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, Self::Reply>, Stop> {
        let stream = stream(view, &self.key)?;
        let Some(group) = stream.group(&self.group)? else {
            return Err(Refusal::NoSuchGroup { key: self.key.name.clone(), group: self.group.clone() }.into());
        };
        let info = |consumer: &Consumer| ConsumerInfo {
            name: consumer.name.clone(),
            pending_count: group.pending.owned_count(consumer.no),
            idle_ms: view.idle_ms(view.seen_ms(stream, consumer)),
            inactive_ms: consumer.active_ms.map(|active_ms| view.idle_ms(active_ms)),
        };
        Decision::read(group.consumers().map(info).collect())
    }
}
