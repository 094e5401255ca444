//! The mechanics: what each record does to the state.

use bytes::Bytes;

use super::group::{Consumer, Group};
use super::pending::Pending;
use super::stream::Stream;
use super::tree::{Needs, Stamp, Trash};
use super::{Database, Misfit, State};
use crate::fields::PackedFields;
use crate::id::{ConsumerNo, DbNo, EntryId, Seq, StreamNo};
use crate::record::{Blob, ClaimedRow, Cursor, GroupAt, Record, ReleasedRow, StreamAt};

type Applied = Result<(), Misfit>;

/// Refuses a record: `ensure(holds, || why)?`.
fn ensure(holds: bool, why: impl FnOnce() -> String) -> Applied {
    if holds { Ok(()) } else { Err(Misfit(why())) }
}

fn no_database(no: DbNo) -> Misfit {
    Misfit(format!("there is no database {no}"))
}

fn ensure_free(database: &Database, name: &Blob<'_>) -> Applied {
    let free = database.stream(name.as_slice())?.is_none();
    ensure(free, || format!("the name {name:?} is bound already"))
}

fn owned(blob: &Blob<'_>) -> Bytes {
    Bytes::copy_from_slice(blob.as_slice())
}

impl State {
    /// Makes one record of batch `seq` true. The only way to change a state (I2).
    ///
    /// # Errors
    /// [`Misfit`] if the record does not fit; nothing was changed then.
    pub(crate) fn apply(&mut self, seq: Seq, record: &Record<'_>) -> Applied {
        match record {
            Record::StreamCreated { stream, name } => self.stream_created(seq, *stream, name),
            Record::StreamDeleted { stream } => self.stream_deleted(seq, *stream),
            Record::EntryAdded { stream, id, opens_node, fields } => {
                self.entry_added(seq, *stream, *id, *opens_node, fields)
            }
            Record::EntriesTrimmed { stream, through, removed } => {
                self.trimmed(seq, *stream, *through, *removed)
            }
            Record::EntriesDeleted { stream, ids } => self.entries_deleted(seq, *stream, ids),
            Record::IdsSet { stream, last_id, entries_added, max_deleted_id } => {
                let top = self.stream(*stream)?.entries.last_id()?;
                ensure(top.is_none_or(|top| top <= *last_id), || {
                    format!("{last_id} is below the last entry")
                })?;
                self.change_stream(seq, *stream, |stream, _, _| {
                    if *last_id < stream.last_id {
                        stream.put_back_from = stream.put_back_from.max(stream.last_id);
                    }
                    if *max_deleted_id < stream.max_deleted_id {
                        stream.put_back_from = stream.put_back_from.max(stream.max_deleted_id);
                    }
                    stream.last_id = *last_id;
                    stream.entries_added = *entries_added;
                    stream.max_deleted_id = *max_deleted_id;
                    Ok(())
                })
            }
            Record::GroupCreated { group, cursor } => self.group_created(seq, group, *cursor),
            Record::GroupMoved { group, cursor } => self.change_group(seq, group, |group, _| {
                group.cursor = *cursor;
                Ok(())
            }),
            Record::GroupDestroyed { group } => self.group_destroyed(seq, group),
            Record::ConsumerCreated { group, consumer, name, at_ms } => {
                self.consumer_created(seq, group, *consumer, owned(name), *at_ms)
            }
            Record::ConsumerRemoved { group, consumer } => {
                self.find_consumer(group, *consumer)?;
                self.change_group(seq, group, |group, stamp| group.remove_consumer(*consumer, stamp))
            }
            Record::Delivered { group, consumer, at_ms, ids, cursor } => {
                self.delivered(seq, group, *consumer, *at_ms, ids, *cursor)
            }
            Record::Claimed { group, consumer, rows, active_ms } => {
                self.claimed(seq, group, *consumer, rows, *active_ms)
            }
            Record::Acknowledged { group, ids } => self.acknowledged(seq, group, ids),
            Record::DatabaseFlushed { db } => {
                let at = self.position(*db)?;
                let flushed =
                    std::mem::replace(&mut self.databases[at], Database::new(self.next_db, self.name_seed));
                self.next_db = self.next_db.next();
                self.trash.push(Box::new(flushed));
                Ok(())
            }
            Record::DedupConfigured { stream, config } => {
                self.stream(*stream)?;
                self.change_stream(seq, *stream, |stream, _, _| {
                    stream.dedup.configure(*config);
                    Ok(())
                })
            }
            Record::DedupRemembered { stream, producer, iid, id, at_ms, counted } => {
                self.stream(*stream)?;
                let names = (owned(producer), owned(iid));
                self.change_stream(seq, *stream, |stream, stamp, _| {
                    stream.dedup.added = stream.dedup.added.saturating_add(u64::from(*counted));
                    stream.dedup.remember(names, *id, *at_ms, stamp)
                })
            }
            Record::DuplicateRefused { stream } => {
                self.stream(*stream)?;
                self.change_stream(seq, *stream, |stream, _, _| {
                    stream.dedup.duplicates = stream.dedup.duplicates.saturating_add(1);
                    Ok(())
                })
            }
            Record::Released { group, rows } => self.released(seq, group, rows),
            Record::ExpirySet { stream, at_ms } => {
                self.stream(*stream)?;
                let (database, mut stamp) = self.database_mut(seq, stream.db)?;
                Ok(database.set_expiry(stream.no, *at_ms, &mut stamp)?)
            }
            Record::StreamRenamed { stream, name } => {
                self.stream(*stream)?;
                let (database, mut stamp) = self.database_mut(seq, stream.db)?;
                ensure_free(database, name)?;
                Ok(database.rename(stream.no, owned(name), &mut stamp)?)
            }
            Record::StreamMoved { stream, to } => self.moved(seq, *stream, *to),
            Record::StreamCopied { from, to, name } => self.copied(seq, *from, *to, name),
            Record::DatabasesSwapped { one, other } => {
                let (one, other) = (self.position(*one)?, self.position(*other)?);
                self.databases.swap(one, other);
                Ok(())
            }
        }
    }

    /// Counts a batch whose records were all applied.
    pub(crate) fn finish(&mut self, seq: Seq) {
        debug_assert_eq!(seq, self.applied.next());
        self.applied = seq;
    }

    /// Where a database is.
    fn position(&self, no: DbNo) -> Result<usize, Misfit> {
        self.databases.iter().position(|database| database.no() == no).ok_or_else(|| no_database(no))
    }

    /// A database to be changed; not what lies within a stream, see [`State::change_stream`].
    fn database_mut(&mut self, seq: Seq, no: DbNo) -> Result<(&mut Database, Stamp<'_>), Misfit> {
        let at = self.position(no)?;
        let stamp = Stamp { seq, next_page: &mut self.next_page, shared_through: Seq::ZERO };
        Ok((&mut self.databases[at], stamp))
    }

    pub(super) fn stream(&self, at: StreamAt) -> Result<&Stream, Misfit> {
        self.stream_at(at)?
            .ok_or_else(|| Misfit(format!("there is no stream {} in database {}", at.no, at.db)))
    }

    fn group(&self, at: &GroupAt<'_>) -> Result<&Group, Misfit> {
        let group = self.stream(at.stream)?.group(at.name.as_slice())?;
        group.ok_or_else(|| Misfit(format!("stream {} has no group {:?}", at.stream.no, at.name)))
    }

    fn find_consumer(&self, at: &GroupAt<'_>, consumer: ConsumerNo) -> Result<&Group, Misfit> {
        let group = self.group(at)?;
        ensure(group.is_consumer(consumer), || format!("group {:?} has no consumer {consumer}", at.name))?;
        Ok(group)
    }

    /// Changes a stream that is known to exist.
    fn change_stream(
        &mut self,
        seq: Seq,
        at: StreamAt,
        change: impl FnOnce(&mut Stream, &mut Stamp<'_>, &mut Trash) -> Result<(), Needs>,
    ) -> Applied {
        let Self { databases, next_page, trash, .. } = self;
        let mut stamp = Stamp { seq, next_page, shared_through: Seq::ZERO };
        let database = databases.iter_mut().find(|database| database.no() == at.db);
        let database = database.ok_or_else(|| no_database(at.db))?;
        let changed = database.change(at.no, &mut stamp, |stream, stamp| {
            let shared_through = stream.shared_through;
            change(stream, &mut Stamp { seq, next_page: stamp.next_page, shared_through }, trash)
        })?;
        changed.ok_or_else(|| Misfit(format!("there is no stream {}", at.no)))?.map_err(Misfit::from)
    }

    fn change_group(
        &mut self,
        seq: Seq,
        at: &GroupAt<'_>,
        change: impl FnOnce(&mut Group, &mut Stamp<'_>) -> Result<(), Needs>,
    ) -> Applied {
        self.group(at)?;
        let recovered = self.recovered;
        let change = |group: &mut Group, stamp: &mut Stamp<'_>| {
            change(group, stamp)?;
            if recovered {
                group.pending.derive_if_long();
            }
            Ok(())
        };
        self.change_stream(seq, at.stream, |stream, stamp, _| {
            stream.groups.update(at.name.as_slice(), stamp, change)?.unwrap_or(Ok(()))
        })
    }

    fn stream_created(&mut self, seq: Seq, at: StreamAt, name: &Blob<'_>) -> Applied {
        self.ensure_next(at.no)?;
        let (database, mut stamp) = self.database_mut(seq, at.db)?;
        ensure_free(database, name)?;
        database.add(Stream::new(at.no, owned(name)), &mut stamp)?;
        self.next_stream = self.next_stream.next();
        Ok(())
    }

    fn ensure_next(&self, no: StreamNo) -> Applied {
        ensure(no == self.next_stream, || format!("stream {no} is not the next one"))
    }

    fn stream_deleted(&mut self, seq: Seq, at: StreamAt) -> Applied {
        self.stream(at)?;
        let (database, mut stamp) = self.database_mut(seq, at.db)?;
        let stream = database.take(at.no, &mut stamp)?;
        self.trash.push(Box::new(stream));
        Ok(())
    }

    fn moved(&mut self, seq: Seq, at: StreamAt, to: DbNo) -> Applied {
        let name = Blob(self.stream(at)?.name.to_vec().into());
        ensure(at.db != to, || format!("stream {} is in database {to} already", at.no))?;
        ensure_free(&self.databases[self.position(to)?], &name)?;
        let (database, mut stamp) = self.database_mut(seq, at.db)?;
        if let Some(stream) = database.take(at.no, &mut stamp)? {
            let (database, mut stamp) = self.database_mut(seq, to)?;
            database.add(stream, &mut stamp)?;
        }
        Ok(())
    }

    /// Both streams have the same pages from now on, until either changes one.
    fn copied(&mut self, seq: Seq, from: StreamAt, to: StreamAt, name: &Blob<'_>) -> Applied {
        self.ensure_next(to.no)?;
        ensure_free(&self.databases[self.position(to.db)?], name)?;
        let copy = Stream { no: to.no, name: owned(name), shared_through: seq, ..self.stream(from)?.clone() };
        self.change_stream(seq, from, |stream, _, _| {
            stream.shared_through = seq;
            Ok(())
        })?;
        let (database, mut stamp) = self.database_mut(seq, to.db)?;
        database.add(copy, &mut stamp)?;
        self.next_stream = self.next_stream.next();
        Ok(())
    }

    fn entry_added(
        &mut self,
        seq: Seq,
        at: StreamAt,
        id: EntryId,
        opens_node: bool,
        fields: &Blob<'_>,
    ) -> Applied {
        let last_id = self.stream(at)?.last_id;
        ensure(id > last_id, || format!("entry {id} is not above {last_id} in stream {}", at.no))?;
        let fields = PackedFields::new(fields.as_slice())
            .ok_or_else(|| Misfit(format!("the fields of entry {id} are not well formed")))?;
        self.change_stream(seq, at, |stream, stamp, _| {
            stream.entries.append(id, fields, opens_node, stamp)?;
            stream.last_id = id;
            stream.entries_added = stream.entries_added.saturating_add(1);
            Ok(())
        })
    }

    fn trimmed(&mut self, seq: Seq, at: StreamAt, through: EntryId, removed: u64) -> Applied {
        let found = self.stream(at)?.entries.count_through(through)?;
        ensure(found == removed, || {
            format!("{found} entries of stream {} are not above {through}, not {removed}", at.no)
        })?;
        self.change_stream(seq, at, |stream, stamp, trash| stream.entries.trim_through(through, stamp, trash))
    }

    fn entries_deleted(&mut self, seq: Seq, at: StreamAt, ids: &[EntryId]) -> Applied {
        let stream = self.stream(at)?;
        ensure(ids.is_sorted_by(|a, b| a < b), || "deleted ids are not ascending".into())?;
        for id in ids {
            ensure(stream.entries.contains(*id)?, || format!("stream {} has no entry {id}", at.no))?;
        }
        self.change_stream(seq, at, |stream, stamp, _| {
            for id in ids {
                stream.entries.delete(*id, stamp)?;
            }
            stream.max_deleted_id = stream.max_deleted_id.max(ids.last().copied().unwrap_or_default());
            Ok(())
        })
    }

    fn group_created(&mut self, seq: Seq, at: &GroupAt<'_>, cursor: Cursor) -> Applied {
        let exists = self.stream(at.stream)?.group(at.name.as_slice())?.is_some();
        ensure(!exists, || format!("stream {} has a group {:?} already", at.stream.no, at.name))?;
        self.change_stream(seq, at.stream, |stream, stamp, _| {
            stream.groups.insert(Group::new(owned(&at.name), cursor), stamp).map(drop)
        })
    }

    fn group_destroyed(&mut self, seq: Seq, at: &GroupAt<'_>) -> Applied {
        self.group(at)?;
        self.change_stream(seq, at.stream, |stream, stamp, trash| {
            let group = stream.groups.remove(at.name.as_slice(), stamp)?;
            trash.push(Box::new(group));
            Ok(())
        })
    }

    fn consumer_created(
        &mut self,
        seq: Seq,
        at: &GroupAt<'_>,
        no: ConsumerNo,
        name: Bytes,
        created_ms: u64,
    ) -> Applied {
        ensure(no == self.next_consumer, || format!("consumer {no} is not the next one"))?;
        let exists = self.group(at)?.consumer(&name)?.is_some();
        ensure(!exists, || format!("group {:?} has a consumer {name:?} already", at.name))?;
        self.change_group(seq, at, |group, stamp| {
            group.add_consumer(Consumer { name, no, created_ms, active_ms: None }, stamp)
        })?;
        self.next_consumer = self.next_consumer.next();
        Ok(())
    }

    fn delivered(
        &mut self,
        seq: Seq,
        at: &GroupAt<'_>,
        owner: ConsumerNo,
        at_ms: u64,
        ids: &[EntryId],
        cursor: Cursor,
    ) -> Applied {
        self.find_consumer(at, owner)?;
        self.change_group(seq, at, |group, stamp| {
            let rows: Vec<_> = ids.iter().map(|id| Pending::owned(*id, owner, at_ms, 1)).collect();
            group.pending.put_all(&rows, stamp)?;
            group.cursor = cursor;
            if !ids.is_empty() {
                group.set_active(owner, at_ms, stamp)?;
            }
            Ok(())
        })
    }

    fn claimed(
        &mut self,
        seq: Seq,
        at: &GroupAt<'_>,
        owner: ConsumerNo,
        rows: &[ClaimedRow],
        active_ms: Option<u64>,
    ) -> Applied {
        self.find_consumer(at, owner)?;
        self.change_group(seq, at, |group, stamp| {
            let owned =
                |row: &ClaimedRow| Pending::owned(row.id, owner, row.delivered_ms, row.delivery_count);
            let rows: Vec<_> = rows.iter().map(owned).collect();
            group.pending.put_all(&rows, stamp)?;
            active_ms.map_or(Ok(()), |at_ms| group.set_active(owner, at_ms, stamp))
        })
    }

    fn released(&mut self, seq: Seq, at: &GroupAt<'_>, rows: &[ReleasedRow]) -> Applied {
        self.change_group(seq, at, |group, stamp| {
            rows.iter().try_for_each(|row| group.pending.release(row.id, row.delivery_count, stamp))
        })
    }

    fn acknowledged(&mut self, seq: Seq, at: &GroupAt<'_>, ids: &[EntryId]) -> Applied {
        let group = self.group(at)?;
        ensure(ids.is_sorted_by(|a, b| a < b), || "acknowledged ids are not ascending".into())?;
        let missing = group.pending.first_missing(ids)?;
        ensure(missing.is_none(), || {
            format!("{} is not pending in group {:?}", missing.unwrap_or_default(), at.name)
        })?;
        self.change_group(seq, at, |group, stamp| group.pending.remove_all(ids, stamp))
    }
}
