//! XLEN: how many entries a stream has.

use super::*;

/// XLEN (5.0). Answers 0 for an absent key.
#[derive(Clone, Debug)]
pub struct XLen {
    /// The stream.
    pub key: Key,
}
stub!(XLen, u64);
