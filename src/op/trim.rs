//! XTRIM, and the trimming that XADD does.

use super::*;

/// What a stream is trimmed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    /// What stays.
    pub keep: Keep,
    /// `~`: only whole nodes are removed, as long as that does not go beyond the goal.
    pub approximate: bool,
    /// How many entries may be removed, only with `approximate`: `None` for the default (100 times
    /// `stream-node-max-entries`), `Some(0)` for no limit.
    pub limit: Option<u64>,
}

/// What stays of a stream that is trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// MAXLEN: the newest so many entries.
    Newest(u64),
    /// MINID: the entries with this id or a larger one.
    From(EntryId),
}

/// XTRIM (5.0): trims a stream. Answers how many entries were removed; 0 for an absent key.
#[derive(Clone, Debug)]
pub struct XTrim {
    /// The stream.
    pub key: Key,
    /// What it is trimmed to.
    pub trim: Trim,
}
stub!(XTrim, u64);
