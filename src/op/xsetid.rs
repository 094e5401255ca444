//! XSETID: sets a stream's last id and counters.

use super::*;
use crate::record::Blob;

/// XSETID (5.0; options 7.0).
#[derive(Clone, Debug)]
pub struct XSetId {
    /// The stream, which must exist.
    pub key: Key,
    /// The new last id.
    pub last_id: EntryId,
    /// How many entries were ever added.
    pub entries_added: Option<u64>,
    /// The largest id that was deleted; `0-0` is ignored.
    pub max_deleted_id: Option<EntryId>,
}

impl Op for XSetId {
    type Reply = ();
    const DENY_OOM: bool = true;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, ()>, Stop> {
        let given_max_deleted = self.max_deleted_id.filter(|id| *id != EntryId::MIN);
        if given_max_deleted.is_some_and(|max_deleted| self.last_id < max_deleted) {
            return Err(Refusal::SetIdBelowGivenMaxDeleted.into());
        }
        let Some(stream) = view.stream(&self.key)? else { return Err(Refusal::NoSuchKey.into()) };
        if self.last_id < stream.max_deleted_id {
            return Err(Refusal::SetIdBelowMaxDeleted.into());
        }
        if let Some(top) = stream.entries.last_id()? {
            if self.last_id < top {
                return Err(Refusal::SetIdBelowTop.into());
            }
            if self.entries_added.is_some_and(|added| added < stream.entries.len()) {
                return Err(Refusal::SetIdBelowLength.into());
            }
        }
        let at = view.at(self.key.db, stream);
        let entries_added = self.entries_added.unwrap_or(stream.entries_added);
        let max_deleted_id = given_max_deleted.unwrap_or(stream.max_deleted_id);
        let mut records =
            smallvec![Record::IdsSet { stream: at, last_id: self.last_id, entries_added, max_deleted_id }];
        // A group can't have read more than was ever added: its lag would be negative.
        for group in stream.groups().filter(|group| group.cursor.entries_read > Some(entries_added)) {
            let cursor = Cursor { entries_read: Some(entries_added), ..group.cursor };
            let group = GroupAt { stream: at, name: Blob(group.name.to_vec().into()) };
            records.push(Record::GroupMoved { group, cursor });
        }
        Decision::change((), records)
    }
}
