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
stub!(XDel, u64);
