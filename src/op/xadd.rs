//! XADD: appends an entry.

use xxhash_rust::xxh3::Xxh3;

use super::trim::Appended;
use super::*;

/// XADD (5.0; NOMKSTREAM, MINID and LIMIT 6.2; `ms-*` 7.0; idempotent ids 8.6): appends an entry, then trims if asked
/// to.
///
/// Answers the id given, or `None` when the key is absent and `make_stream` is off.
#[derive(Clone, Debug)]
pub struct XAdd {
    /// The stream.
    pub key: Key,
    /// The id, or the rule for making one.
    pub id: NewId,
    /// The pairs; at least one.
    pub fields: Fields,
    /// Whether an absent key is created (no NOMKSTREAM).
    pub make_stream: bool,
    /// What is trimmed after the entry was appended.
    pub trim: Option<Trim>,
    /// Only once: if the stream remembers this, the id that was given then is answered and nothing is appended. Only
    /// with [`NewId::Auto`].
    pub once: Option<Idempotent>,
}

impl XAdd {
    /// An entry with an id of its own, in a stream that is created if absent, without trimming.
    #[must_use]
    pub fn new(key: impl Into<Key>, fields: Fields) -> Self {
        Self { key: key.into(), id: NewId::Auto, fields, make_stream: true, trim: None, once: None }
    }
}

/// What a producer calls an entry, so that it is not added twice (IDMP).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotent {
    /// The producer.
    pub producer: Bytes,
    /// Its name for the entry.
    pub iid: Bytes,
}

impl Idempotent {
    /// The name follows from the pairs, whatever their order (IDMPAUTO).
    #[must_use]
    pub fn by_content(producer: Bytes, fields: &Fields) -> Self {
        // A sum, so that the order does not matter; with lengths, so that `a` = `bc` is not `ab` = `c`.
        let pair = |(name, value): (&[u8], &[u8])| {
            let mut hash = Xxh3::new();
            for part in [name, value] {
                hash.update(&(part.len() as u64).to_le_bytes());
                hash.update(part);
            }
            hash.digest128()
        };
        let sum = fields.iter().map(pair).fold(fields.len() as u128, u128::wrapping_add);
        Self { producer, iid: Bytes::copy_from_slice(&sum.to_le_bytes()) }
    }
}

/// The id of an entry to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewId {
    /// `*`: the present millisecond, or the successor of the last id if the clock is behind it.
    Auto,
    /// `ms-*`: the next free sequence number within that millisecond.
    AutoSeq(u64),
    /// Exactly this id, which must be above the last one.
    Exact(EntryId),
}

/// Redis stores no more than this in one entry.
const CONTENT_BYTES_MAX: u64 = 1 << 30;

impl Op for XAdd {
    type Reply = Option<EntryId>;
    const DENY_OOM: bool = true;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, Self::Reply>, Stop> {
        if self.id == NewId::Exact(EntryId::MIN) {
            return Err(Refusal::IdZero.into());
        }
        let stream = view.stream(&self.key)?;
        if stream.is_none() && !self.make_stream {
            return Decision::read(None);
        }
        if let (Some(stream), Some(once)) = (stream, &self.once)
            && let Some(known) = stream.dedup.find(&once.producer, &once.iid, view.now_ms)?
        {
            let stream = view.at(self.key.db, stream);
            return Decision::change(Some(known), smallvec![Record::DuplicateRefused { stream }]);
        }
        let last_id = stream.map_or(EntryId::MIN, |stream| stream.last_id);
        let id = self.new_id(last_id, view.now_ms)?;
        let content_bytes = self.fields.content_bytes();
        if content_bytes > CONTENT_BYTES_MAX {
            return Err(Refusal::EntryTooLarge.into());
        }
        let mut records = Records::new();
        let (at, opens_node) = match stream {
            Some(stream) => {
                (view.at(self.key.db, stream), stream.entries.opens_node(content_bytes, view.node_limits)?)
            }
            None => (view.create(&self.key, &mut records), true),
        };
        records.push(Record::EntryAdded { stream: at, id, opens_node, fields: self.fields.packed().into() });
        if let Some(trim) = self.trim {
            let appended = Some(Appended { id, opens_node });
            trim.decide(stream, at, appended, view.node_limits, &mut records)?;
        }
        if let Some(Idempotent { producer, iid }) = &self.once {
            records.push(Record::DedupRemembered {
                stream: at,
                producer: producer.into(),
                iid: iid.into(),
                id,
                at_ms: view.now_ms,
                counted: true,
            });
        }
        Decision::change(Some(id), records)
    }
}

impl XAdd {
    fn new_id(&self, last_id: EntryId, now_ms: u64) -> Result<EntryId, Refusal> {
        let Some(next) = last_id.successor() else { return Err(Refusal::IdsExhausted) };
        let id = match self.id {
            NewId::Auto if now_ms > last_id.ms => EntryId::new(now_ms, 0),
            NewId::Auto => next,
            NewId::AutoSeq(ms) if ms != last_id.ms => EntryId::new(ms, 0),
            NewId::AutoSeq(_) if next.ms == last_id.ms => next,
            NewId::AutoSeq(_) => return Err(Refusal::IdTooSmall),
            NewId::Exact(id) => id,
        };
        if id > last_id { Ok(id) } else { Err(Refusal::IdTooSmall) }
    }
}
