//! XGROUP: creates, moves and destroys groups and consumers.

use super::*;

/// Where a group begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupStart {
    /// After this id.
    After(EntryId),
    /// `$`: after the last id the stream has given out.
    Last,
}

/// XGROUP CREATE (5.0; `entries_read` 7.0).
#[derive(Clone, Debug)]
pub struct XGroupCreate {
    /// The stream.
    pub key: Key,
    /// The new group.
    pub group: Bytes,
    /// Where it begins.
    pub start: GroupStart,
    /// MKSTREAM: an absent stream is created, empty.
    pub make_stream: bool,
    /// How many entries count as read; `None` for unknown. More than were ever added counts as that many.
    pub entries_read: Option<u64>,
}

impl GroupStart {
    fn cursor(self, stream: Option<&Stream>, entries_read: Option<u64>) -> Cursor {
        let last_id = stream.map_or(EntryId::MIN, |stream| stream.last_id);
        let entries_added = stream.map_or(0, |stream| stream.entries_added);
        let last_delivered_id = match self {
            Self::After(id) => id,
            Self::Last => last_id,
        };
        Cursor { last_delivered_id, entries_read: entries_read.map(|read| read.min(entries_added)) }
    }
}

/// A group that must exist, and how records name it.
fn find<'a, 's>(view: &View<'s>, key: &Key, name: &'a Bytes) -> Result<(&'s Group, GroupAt<'a>), Stop> {
    let Some(stream) = view.stream(key)? else { return Err(Refusal::GroupNeedsKey.into()) };
    let Some(group) = stream.group(name)? else {
        return Err(Refusal::NoSuchGroup { key: key.name.clone(), group: name.clone() }.into());
    };
    Ok((group, GroupAt { stream: view.at(key.db, stream), name: name.into() }))
}

impl Op for XGroupCreate {
    type Reply = ();
    const DENY_OOM: bool = true;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, ()>, Stop> {
        let stream = view.stream(&self.key)?;
        let mut records = Records::new();
        let at = match stream {
            Some(stream) if stream.group(&self.group)?.is_some() => return Err(Refusal::GroupExists.into()),
            Some(stream) => view.at(self.key.db, stream),
            None if !self.make_stream => return Err(Refusal::GroupNeedsKey.into()),
            None => view.create(&self.key, &mut records),
        };
        let cursor = self.start.cursor(stream, self.entries_read);
        records
            .push(Record::GroupCreated { group: GroupAt { stream: at, name: (&self.group).into() }, cursor });
        Decision::change((), records)
    }
}

/// XGROUP SETID (5.0; `entries_read` 7.0).
#[derive(Clone, Debug)]
pub struct XGroupSetId {
    /// The stream.
    pub key: Key,
    /// The group.
    pub group: Bytes,
    /// Where it goes on.
    pub start: GroupStart,
    /// How many entries count as read; `None` for unknown. More than were ever added counts as that many.
    pub entries_read: Option<u64>,
}

impl Op for XGroupSetId {
    type Reply = ();

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, ()>, Stop> {
        let (_, group) = find(view, &self.key, &self.group)?;
        let cursor = self.start.cursor(view.stream(&self.key)?, self.entries_read);
        Decision::change((), smallvec![Record::GroupMoved { group, cursor }])
    }
}

/// XGROUP DESTROY (5.0). Answers whether there was such a group.
#[derive(Clone, Debug)]
pub struct XGroupDestroy {
    /// The stream.
    pub key: Key,
    /// The group.
    pub group: Bytes,
}

impl Op for XGroupDestroy {
    type Reply = bool;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, bool>, Stop> {
        match find(view, &self.key, &self.group) {
            Ok((_, group)) => Decision::change(true, smallvec![Record::GroupDestroyed { group }]),
            Err(Stop::Refuse(Refusal::NoSuchGroup { .. })) => Decision::read(false),
            Err(stop) => Err(stop),
        }
    }
}

/// XGROUP CREATECONSUMER (6.2). Answers whether it is new.
#[derive(Clone, Debug)]
pub struct XGroupCreateConsumer {
    /// The stream.
    pub key: Key,
    /// The group.
    pub group: Bytes,
    /// The consumer.
    pub consumer: Bytes,
}

impl Op for XGroupCreateConsumer {
    type Reply = bool;
    const DENY_OOM: bool = true;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, bool>, Stop> {
        let (group, group_at) = find(view, &self.key, &self.group)?;
        let joined = join_group(view, group, &group_at, &self.consumer, 0)?;
        Decision::change(joined.created.is_some(), joined.created.into_iter().collect())
    }
}

/// XGROUP DELCONSUMER (5.0). Answers how many pending entries went with it.
#[derive(Clone, Debug)]
pub struct XGroupDelConsumer {
    /// The stream.
    pub key: Key,
    /// The group.
    pub group: Bytes,
    /// The consumer.
    pub consumer: Bytes,
}

impl Op for XGroupDelConsumer {
    type Reply = u64;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, u64>, Stop> {
        let (group, group_at) = find(view, &self.key, &self.group)?;
        let Some(consumer) = group.consumer(&self.consumer)? else { return Decision::read(0) };
        let pending = group.pending.owned_count(consumer.no);
        Decision::change(
            pending,
            smallvec![Record::ConsumerRemoved { group: group_at, consumer: consumer.no }],
        )
    }
}
