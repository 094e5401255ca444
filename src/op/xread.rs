//! XREAD: entries after given ids, of several streams.

use super::*;

/// XREAD (5.0; [`ReadFrom::LastEntry`] 7.4; `max_count` and `max_bytes` 8.10). Streams that have nothing are left out of
/// the answer.
///
/// Waiting for data is not part of the request: see `Engine::read_or_wait`.
#[derive(Clone, Debug)]
pub struct XRead {
    /// The database.
    pub db: DbIndex,
    /// The streams, in the order they are answered.
    pub streams: Vec<(Bytes, ReadFrom)>,
    /// At most so many entries of each stream.
    pub count: Option<u64>,
    /// How much of all streams together.
    pub limits: ReadLimits,
}

impl XRead {
    /// All entries of one stream in database 0 from there on.
    #[must_use]
    pub fn new(key: impl Into<Bytes>, from: ReadFrom) -> Self {
        Self {
            db: DbIndex::default(),
            streams: vec![(key.into(), from)],
            count: None,
            limits: ReadLimits::default(),
        }
    }
}

/// How much a read of several streams answers in all (8.10). The streams come first that were named first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadLimits {
    /// MAXCOUNT: at most so many entries.
    pub entries: Option<u64>,
    /// MAXSIZE: no more entries than fit a reply of so many bytes, but at least one.
    pub bytes: Option<u64>,
}

/// What is left of [`ReadLimits`].
#[derive(Debug)]
pub(super) struct Budget {
    left: ReadLimits,
    /// Whether there is an entry already: the first one may be of any size.
    has_some: bool,
    /// What the frame around the entries of the present stream takes, as long as it has none.
    frame_bytes: u64,
}

impl Budget {
    pub(super) fn new(limits: ReadLimits) -> Self {
        Self { left: limits, has_some: false, frame_bytes: 0 }
    }

    /// Goes on to the next stream.
    pub(super) fn begin(&mut self, key: &Bytes) {
        self.frame_bytes = stream_wire_bytes(key);
    }

    /// How many entries may be read of the stream.
    pub(super) fn want(&self, count: Option<u64>) -> Option<u64> {
        match (self.left.entries, count) {
            (Some(left), Some(count)) => Some(left.min(count)),
            (left, count) => left.or(count),
        }
    }

    /// Whether an entry of so many bytes still fits; it is taken then, and otherwise nothing more is.
    fn take(&mut self, entry: &PendingEntry) -> bool {
        if self.left.entries == Some(0) {
            return false;
        }
        if let Some(left) = self.left.bytes {
            let rest = left.checked_sub(self.frame_bytes + entry.wire_bytes());
            if rest.is_none() && self.has_some {
                self.left.entries = Some(0);
                return false;
            }
            self.left.bytes = Some(rest.unwrap_or(0));
        }
        self.left.entries = self.left.entries.map(|left| left - 1);
        self.has_some = true;
        self.frame_bytes = 0;
        true
    }

    /// Takes entries, as many as fit.
    pub(super) fn take_entries(&mut self, entries: &mut Vec<PendingEntry>) {
        let fit = entries.iter().take_while(|entry| self.take(entry)).count();
        entries.truncate(fit);
    }

    /// How many entries are looked at in one go: no more than needed where their size decides.
    pub(super) fn step(&self) -> u64 {
        const STEP: u64 = 64;
        if self.left.bytes.is_some() { STEP } else { u64::MAX }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left.entries == Some(0)
    }
}

/// How many digits a number has.
fn digits(number: u64) -> u64 {
    u64::from(number.checked_ilog10().unwrap_or(0)) + 1
}

/// How long `$<length>\r\n<bytes>\r\n` is.
fn bulk_wire_bytes(len: u64) -> u64 {
    1 + digits(len) + 2 + len + 2
}

/// How long the frame around a stream's entries is: a pair of the key and an array.
fn stream_wire_bytes(key: &Bytes) -> u64 {
    const ARRAYS: u64 = 8;
    ARRAYS + bulk_wire_bytes(key.len() as u64)
}

/// Where XREAD begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// After this id.
    After(EntryId),
    /// `$`: after the last id given out when the request is first looked at.
    Last,
    /// `+`: the last entry alone (7.4).
    LastEntry,
}

/// What was read of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRead {
    /// The key.
    pub key: Bytes,
    /// The entries.
    pub entries: Vec<PendingEntry>,
}

/// An entry as a group reads it: the payload may be gone from the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingEntry {
    /// Its id.
    pub id: EntryId,
    /// Its pairs; `None` if the entry was deleted from the stream, or if only ids were asked for.
    pub fields: Option<Fields>,
    /// How it stood before this delivery, where a read with CLAIM asks for that (8.4).
    pub before: Option<DeliveredBefore>,
}

/// How a delivered entry stood before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveredBefore {
    /// How long ago its last delivery was; 0 if it is new.
    pub idle_ms: u64,
    /// How often it had been delivered; 0 if it is new.
    pub delivery_count: u64,
}

impl PendingEntry {
    pub(super) fn new(id: EntryId, fields: Option<Fields>) -> Self {
        Self { id, fields, before: None }
    }

    /// How long it is in a reply.
    fn wire_bytes(&self) -> u64 {
        const ARRAY: u64 = 4;
        let id = digits(self.id.ms) + 1 + digits(self.id.seq);
        let fields = self.fields.as_ref().map_or(ARRAY + 1, |fields| {
            let part = |bytes: &[u8]| bulk_wire_bytes(bytes.len() as u64);
            let pairs = fields.iter().map(|(name, value)| part(name) + part(value));
            3 + digits(fields.len() as u64 * 2) + pairs.sum::<u64>()
        });
        let integer = |number| 1 + digits(number) + 2;
        let before = self.before.map_or(0, |before| integer(before.idle_ms) + integer(before.delivery_count));
        ARRAY + bulk_wire_bytes(id) + fields + before
    }
}

impl Op for XRead {
    type Reply = Vec<StreamRead>;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, Self::Reply>, Stop> {
        let mut reply = Vec::new();
        let mut budget = Budget::new(self.limits);
        for (key, from) in &self.streams {
            let Some(stream) = view.stream_named(self.db, key)? else { continue };
            budget.begin(key);
            let entries = match *from {
                ReadFrom::After(after) => view.read_after(stream, after, self.count, None, &mut budget)?,
                ReadFrom::LastEntry => {
                    let spend = |bytes| view.spend(bytes);
                    let last = stream.entries.range(EntryId::MIN, EntryId::MAX, 1, true, spend)?;
                    let mut last = last.into_iter().map(PendingEntry::from).collect();
                    budget.take_entries(&mut last);
                    last
                }
                ReadFrom::Last => continue,
            };
            if !entries.is_empty() {
                reply.push(StreamRead { key: key.clone(), entries });
            }
            if budget.is_spent() {
                break;
            }
        }
        Decision::read(reply)
    }
}

impl View<'_> {
    /// Entries of a stream after an id, as many as fit, each with that much said about how it stood before.
    pub(super) fn read_after(
        &self,
        stream: &Stream,
        mut after: EntryId,
        count: Option<u64>,
        before: Option<DeliveredBefore>,
        budget: &mut Budget,
    ) -> Result<Vec<PendingEntry>, Stop> {
        let mut left = budget.want(count).unwrap_or(u64::MAX);
        let mut found: Vec<PendingEntry> = Vec::new();
        while left > 0 {
            let step = left.min(budget.step());
            let entries = self.entries_after(stream, after, Some(step))?;
            let entry = |entry: Entry| PendingEntry { before, ..entry.into() };
            let mut entries: Vec<PendingEntry> = entries.into_iter().map(entry).collect();
            let read = entries.len() as u64;
            budget.take_entries(&mut entries);
            let Some(last) = entries.last() else { break };
            after = last.id;
            left -= step;
            let all_fit = entries.len() as u64 == read;
            found = behind(found, entries);
            if read < step || !all_fit {
                break;
            }
        }
        Ok(found)
    }
}

/// Both lists as one. Most often the first is empty, and the second need not be copied.
pub(super) fn behind<T>(mut first: Vec<T>, mut second: Vec<T>) -> Vec<T> {
    if first.is_empty() {
        return second;
    }
    first.append(&mut second);
    first
}

impl XRead {
    /// Fixes each `$` to the last id given out by now.
    pub(crate) fn fix_last(&mut self, view: &View<'_>) -> Result<(), Needs> {
        for (key, from) in self.streams.iter_mut().filter(|(_, from)| *from == ReadFrom::Last) {
            let stream = view.peek(self.db, key)?;
            *from = ReadFrom::After(stream.map_or(EntryId::MIN, |stream| stream.last_id));
        }
        Ok(())
    }
}

impl From<Entry> for PendingEntry {
    fn from(entry: Entry) -> Self {
        Self::new(entry.id, Some(entry.fields))
    }
}
