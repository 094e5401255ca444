//! XACK: acknowledges pending entries.

use super::*;

/// XACK (5.0). Answers how many of the ids were pending; 0 for an absent key or group.
#[derive(Clone, Debug)]
pub struct XAck {
    /// The stream.
    pub key: Key,
    /// The group.
    pub group: Bytes,
    /// The ids.
    pub ids: Vec<EntryId>,
}

impl Op for XAck {
    type Reply = u64;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, u64>, Stop> {
        let Some(stream) = view.stream(&self.key)? else { return Decision::read(0) };
        let Some(group) = stream.group(&self.group)? else { return Decision::read(0) };
        let ids = ascending(&self.ids, |id| Ok(group.pending.get(id)?.is_some()))?;
        let acknowledged = ids.len() as u64;
        let group = GroupAt { stream: view.at(self.key.db, stream), name: (&self.group).into() };
        let record = (acknowledged > 0).then_some(Record::Acknowledged { group, ids });
        Decision::change(acknowledged, record.into_iter().collect())
    }
}
