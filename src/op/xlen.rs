//! XLEN: how many entries a stream has.

use super::*;

/// XLEN (5.0). Answers 0 for an absent key.
#[derive(Clone, Debug)]
pub struct XLen {
    /// The stream.
    pub key: Key,
}

impl Op for XLen {
    type Reply = u64;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, u64>, Stop> {
        Decision::read(view.stream(&self.key)?.map_or(0, |stream| stream.entries.len()))
    }
}
