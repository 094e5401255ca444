//! XACKDEL: acknowledges pending entries and removes them.

use std::collections::BTreeSet;

use super::references::forgotten;
use super::*;

/// XACKDEL (8.2). Answers what became of each id, in order: [`Removed::Absent`] if it was not pending in this group (all
/// of them if there is no such key or group); otherwise it was acknowledged, and removed if it could be.
#[derive(Clone, Debug)]
pub struct XAckDel {
    /// The stream.
    pub key: Key,
    /// The group.
    pub group: Bytes,
    /// The ids.
    pub ids: Vec<EntryId>,
    /// What becomes of the references that other groups have.
    pub references: References,
}

impl Op for XAckDel {
    type Reply = Vec<Removed>;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, Self::Reply>, Stop> {
        let absent = || Decision::read(vec![Removed::Absent; self.ids.len()]);
        let Some(stream) = view.stream(&self.key)? else { return absent() };
        let Some(group) = stream.group(&self.group)? else { return absent() };
        let acknowledged = ascending(&self.ids, |id| Ok(group.pending.get(id)?.is_some()))?;
        let free = |id: EntryId| -> Result<bool, Needs> {
            Ok(self.references != References::Acked || !self.holds_up(stream, id)?)
        };
        let gone = ascending(&acknowledged, |id| Ok(stream.entries.contains(id)? && free(id)?))?;
        let mut reply = Vec::with_capacity(self.ids.len());
        let mut met = BTreeSet::new();
        for id in &self.ids {
            let pending = acknowledged.binary_search(id).is_ok() && met.insert(*id);
            let stays = gone.binary_search(id).is_err() && stream.entries.contains(*id)?;
            reply.push(match (pending, stays) {
                (false, _) => Removed::Absent,
                (true, false) => Removed::Gone,
                (true, true) => Removed::StillReferenced,
            });
        }
        let at = view.at(self.key.db, stream);
        let mut records = Records::new();
        if self.references == References::Delete {
            records = forgotten(stream, at, &acknowledged, Some(&self.group))?;
        }
        if !gone.is_empty() {
            records.push(Record::EntriesDeleted { stream: at, ids: gone });
        }
        if !acknowledged.is_empty() {
            let group = GroupAt { stream: at, name: (&self.group).into() };
            records.push(Record::Acknowledged { group, ids: acknowledged });
        }
        Decision::change(reply, records)
    }
}

impl XAckDel {
    /// Whether some group still has to do with an entry when this one has acknowledged it.
    fn holds_up(&self, stream: &Stream, id: EntryId) -> Result<bool, Needs> {
        for group in stream.groups() {
            let pending = group.name != self.group && group.pending.get(id)?.is_some();
            if pending || id > group.cursor.last_delivered_id {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
