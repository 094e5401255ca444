//! XCFGSET: how long a stream remembers idempotent ids.

use super::*;

/// XCFGSET (8.6). A value that differs from the present one makes the stream forget all idempotent ids.
#[derive(Clone, Debug)]
pub struct XCfgSet {
    /// The stream, which must exist.
    pub key: Key,
    /// For how many seconds it remembers; `None` leaves that.
    pub duration_secs: Option<u64>,
    /// How many of each producer it remembers; `None` leaves that.
    pub maxsize: Option<u64>,
}

impl Op for XCfgSet {
    type Reply = ();

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, ()>, Stop> {
        let stream = view.stream(&self.key)?.ok_or(Refusal::NoSuchKey)?;
        let present = stream.dedup.config;
        let config = DedupConfig {
            duration_secs: self.duration_secs.unwrap_or(present.duration_secs),
            maxsize: self.maxsize.unwrap_or(present.maxsize),
        };
        let record = Record::DedupConfigured { stream: view.at(self.key.db, stream), config };
        Decision::change((), (config != present).then_some(record).into_iter().collect())
    }
}
