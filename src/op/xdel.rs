//! XDEL: removes entries by id.

use super::*;

/// XDEL (5.0). Answers how many of the ids were there. Pending references stay.
#[derive(Clone, Debug)]
pub struct XDel {
    /// The stream.
    pub key: Key,
    /// The ids.
    pub ids: Vec<EntryId>,
}

impl Op for XDel {
    type Reply = u64;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, u64>, Stop> {
        let Some(stream) = view.stream(&self.key)? else { return Decision::read(0) };
        let ids = ascending(&self.ids, |id| stream.entries.contains(id))?;
        let deleted = ids.len() as u64;
        let record = Record::EntriesDeleted { stream: view.at(self.key.db, stream), ids };
        Decision::change(deleted, (deleted > 0).then_some(record).into_iter().collect())
    }
}
