//! XDELEX: removes entries by id, and says what becomes of the references to them.

use std::collections::BTreeSet;

use super::references::forgotten;
use super::*;

/// XDELEX (8.2). Answers what became of each id, in order; all are [`Removed::Absent`] if the key is.
#[derive(Clone, Debug)]
pub struct XDelEx {
    /// The stream.
    pub key: Key,
    /// The ids.
    pub ids: Vec<EntryId>,
    /// What becomes of references.
    pub references: References,
}

/// What became of an entry that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// There was none.
    Absent,
    /// It is gone.
    Gone,
    /// It stays: some group has not read or not acknowledged it.
    StillReferenced,
}

impl Op for XDelEx {
    type Reply = Vec<Removed>;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, Self::Reply>, Stop> {
        let Some(stream) = view.stream(&self.key)? else {
            return Decision::read(vec![Removed::Absent; self.ids.len()]);
        };
        let gone = ascending(&self.ids, |id| {
            let free = self.references != References::Acked || !stream.is_referenced(id)?;
            Ok(free && stream.entries.contains(id)?)
        })?;
        let mut reply = Vec::with_capacity(self.ids.len());
        let mut met = BTreeSet::new();
        for id in &self.ids {
            // An id that is named twice is gone when its turn comes again.
            reply.push(match gone.binary_search(id) {
                Ok(_) if met.insert(*id) => Removed::Gone,
                Err(_) if stream.entries.contains(*id)? => Removed::StillReferenced,
                Ok(_) | Err(_) => Removed::Absent,
            });
        }
        let at = view.at(self.key.db, stream);
        let mut records = Records::new();
        if !gone.is_empty() {
            records.push(Record::EntriesDeleted { stream: at, ids: gone });
        }
        if self.references == References::Delete {
            // Also those to entries that were gone already.
            records.extend(forgotten(stream, at, &ascending(&self.ids, |_| Ok(true))?, None)?);
        }
        Decision::change(reply, records)
    }
}
