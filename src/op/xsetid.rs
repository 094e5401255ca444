//! XSETID: sets a stream's last id and counters.

use super::*;

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
stub!(XSetId, ());
