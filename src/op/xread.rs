//! XREAD: entries after given ids, of several streams.

use super::*;

/// XREAD (5.0). Streams that have nothing are left out of the answer.
///
/// Waiting for data is not part of the request: see `Engine::read_or_wait`.
#[derive(Clone, Debug)]
pub struct XRead {
    /// The database.
    pub db: DbIndex,
    /// The streams, in the order they are answered.
    pub streams: Vec<(Bytes, ReadFrom)>,
    /// At most so many entries of each stream.
    pub count: Option<u64>,
}

/// Where XREAD begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// After this id.
    After(EntryId),
    /// `$`: after the last id given out when the request is first looked at.
    Last,
}

/// What was read of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRead {
    /// The key.
    pub key: Bytes,
    /// The entries.
    pub entries: Vec<PendingEntry>,
}

/// An entry as a group reads it: the payload may be gone from the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingEntry {
    /// Its id.
    pub id: EntryId,
    /// Its pairs; `None` if the entry was deleted from the stream, or if only ids were asked for.
    pub fields: Option<Fields>,
}

impl Op for XRead {
    type Reply = Vec<StreamRead>;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, Self::Reply>, Stop> {
        let database = view.state.database(self.db);
        let mut reply = Vec::new();
        for (key, from) in &self.streams {
            let ReadFrom::After(after) = *from else { continue };
            let Some(stream) = database.stream(key)? else { continue };
            let entries = view.entries_after(stream, after, self.count)?;
            if !entries.is_empty() {
                let entries = entries.into_iter().map(PendingEntry::from).collect();
                reply.push(StreamRead { key: key.clone(), entries });
            }
        }
        Decision::read(reply)
    }
}

impl XRead {
    /// Fixes each `$` to the last id given out by now.
    pub(crate) fn fix_last(&mut self, view: &View<'_>) -> Result<(), Needs> {
        for (key, from) in self.streams.iter_mut().filter(|(_, from)| *from == ReadFrom::Last) {
            let stream = view.state.database(self.db).stream(key)?;
            *from = ReadFrom::After(stream.map_or(EntryId::MIN, |stream| stream.last_id));
        }
        Ok(())
    }
}

impl From<Entry> for PendingEntry {
    fn from(entry: Entry) -> Self {
        Self { id: entry.id, fields: Some(entry.fields) }
    }
}
