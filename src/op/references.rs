//! What becomes of the references that groups have to entries which are removed (8.2).

use super::*;
use crate::record::Blob;

/// What becomes of pending references to entries that are removed, and what they hold up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum References {
    /// KEEPREF: they stay in the pending entries lists.
    #[default]
    Keep,
    /// DELREF: they go with the entry, in all groups.
    Delete,
    /// ACKED: only entries are removed that every group has read and acknowledged.
    Acked,
}

/// The facts that take references to entries out of all groups' pending entries lists, but for one group's, where that
/// is dealt with elsewhere. The ids are ascending.
pub(super) fn forgotten<'r>(
    stream: &Stream,
    at: StreamAt,
    ids: &[EntryId],
    but: Option<&Bytes>,
) -> Result<Records<'r>, Needs> {
    let mut records = Records::new();
    for group in stream.groups().filter(|group| but != Some(&group.name)) {
        let mut found = Vec::new();
        for id in ids {
            if group.pending.get(*id)?.is_some() {
                found.push(*id);
            }
        }
        if !found.is_empty() {
            let group = GroupAt { stream: at, name: Blob(group.name.to_vec().into()) };
            records.push(Record::Acknowledged { group, ids: found });
        }
    }
    Ok(records)
}
