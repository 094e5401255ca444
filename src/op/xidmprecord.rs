//! XIDMPRECORD: tells a stream that an idempotent id stands for an entry.

use super::*;

/// XIDMPRECORD (8.6.2): what Redis writes into its append-only file to keep idempotent ids.
#[derive(Clone, Debug)]
pub struct XIdmpRecord {
    /// The stream, which must exist.
    pub key: Key,
    /// The producer.
    pub producer: Bytes,
    /// Its idempotent id.
    pub iid: Bytes,
    /// The entry, which the stream must have.
    pub id: EntryId,
}

impl Op for XIdmpRecord {
    type Reply = ();

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, ()>, Stop> {
        let stream = view.stream(&self.key)?.ok_or(Refusal::NoSuchKey)?;
        match stream.dedup.find(&self.producer, &self.iid, view.now_ms)? {
            Some(known) if known == self.id => return Decision::read(()),
            Some(_) => return Err(Refusal::IidTaken.into()),
            None if !stream.entries.contains(self.id)? => return Err(Refusal::NoSuchEntry.into()),
            None => {}
        }
        let record = Record::DedupRemembered {
            stream: view.at(self.key.db, stream),
            producer: (&self.producer).into(),
            iid: (&self.iid).into(),
            id: self.id,
            at_ms: view.now_ms,
            counted: false,
        };
        Decision::change((), smallvec![record])
    }
}
