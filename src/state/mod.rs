//! The state: what all batches of the log, applied in order, add up to.
//!
//! It is pure: no clock, no I/O, no randomness, no settings, no iteration over unordered maps. It changes in
//! [`State::apply`] only (I2), which is mechanics: the policy has been decided before a record exists. Each arm checks
//! all it needs first and then changes, or reports a [`Misfit`] and has changed nothing.
//!
//! A clone shares all pages ([`tree`]) and takes microseconds, whatever the size: that is what a snapshot dumps.

mod apply;
mod database;
mod dedup;
pub(crate) mod digest;
pub(crate) mod entries;
pub(crate) mod group;
mod in_one_piece;
mod index;
mod listpack;
mod node;
mod packed;
mod parts;
pub(crate) mod pending;
mod pending_page;
mod rows;
mod run;
pub(crate) mod stream;
pub(crate) mod tree;

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

pub(crate) use self::database::{Database, Name};
pub(crate) use self::rows::Row;
pub(crate) use self::run::RunEntry;
use self::stream::Stream;
use self::tree::{CONFIG, Comparison, Dump, LoadError, Needs, PartSink, Parts, Stopped, Trash};
use crate::id::{ConsumerNo, DbIndex, DbNo, PageNo, PartKey, Seq, StreamNo};
use crate::record::{Record, StreamAt};

/// All databases.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// The last batch applied.
    applied: Seq,
    /// By index.
    databases: Vec<Database>,
    next_db: DbNo,
    next_stream: StreamNo,
    next_consumer: ConsumerNo,
    next_page: PageNo,
    /// What the hashes depend on by which names are sorted: no two stores have the same, so that nobody who does not know
    /// it finds names that share one. In the head, behind the rest of it.
    #[serde(skip)]
    name_seed: u64,
    /// Whether replay has ended: see [`pending`].
    #[serde(skip)]
    recovered: bool,
    /// What changes dropped, to be freed where it takes nobody's time.
    #[serde(skip)]
    trash: Trash,
}

/// A record that does not fit the state. Live that is a bug of ours; in replay it is damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misfit(pub(crate) String);

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Needs> for Misfit {
    fn from(Needs(part): Needs) -> Self {
        Self(format!("page {} of batch {} is not loaded", part.page, part.changed_at))
    }
}

impl Clone for State {
    fn clone(&self) -> Self {
        Self { databases: self.databases.clone(), trash: Vec::new(), ..*self }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new(0)
    }
}

impl State {
    /// An empty state of a store.
    pub(crate) fn new(name_seed: u64) -> Self {
        let database = |no: u8| Database::new(DbNo::new(no.into()), name_seed);
        let databases: Vec<Database> = (0..DbIndex::COUNT).map(database).collect();
        Self {
            applied: Seq::ZERO,
            databases,
            next_db: DbNo::new(DbIndex::COUNT.into()),
            next_stream: StreamNo::new(1),
            next_consumer: ConsumerNo::new(1),
            next_page: PageNo::new(1),
            name_seed,
            recovered: false,
            trash: Vec::new(),
        }
    }

    /// The last batch applied.
    pub(crate) fn applied(&self) -> Seq {
        self.applied
    }

    /// The database at an index.
    pub(crate) fn database(&self, index: DbIndex) -> &Database {
        &self.databases[usize::from(index.get())]
    }

    /// The databases, by index.
    pub(crate) fn databases(&self) -> impl Iterator<Item = &Database> {
        self.databases.iter()
    }

    /// The index where a database is now.
    pub(crate) fn index_of(&self, no: DbNo) -> Option<DbIndex> {
        let at = self.databases.iter().position(|database| database.no() == no)?;
        DbIndex::new(u8::try_from(at).ok()?)
    }

    /// The stream with that number.
    pub(crate) fn stream_at(&self, at: StreamAt) -> Result<Option<&Stream>, Needs> {
        match self.databases.iter().find(|database| database.no() == at.db) {
            Some(database) => database.stream_no(at.no),
            None => Ok(None),
        }
    }

    /// The number that the next stream gets.
    pub(crate) fn next_stream(&self) -> StreamNo {
        self.next_stream
    }

    /// The number that the next consumer gets.
    pub(crate) fn next_consumer(&self) -> ConsumerNo {
        self.next_consumer
    }

    /// About how many bytes it takes in memory. Known at any time, and less as soon as something is deleted: what other
    /// clones or replies still hold of that does not count.
    pub(crate) fn memory_bytes(&self) -> u64 {
        size_of::<Self>() as u64 + self.databases.iter().map(Database::memory_bytes).sum::<u64>()
    }

    /// Replay has ended: makes what was not derived meanwhile and takes long.
    pub(crate) fn recovered(&mut self) {
        self.recovered = true;
        let streams = self.databases.iter().flat_map(Database::streams);
        streams.flat_map(Stream::groups).for_each(|group| group.pending.derive_if_long());
    }

    /// What the state would be after these records. For requests whose later steps depend on their earlier ones.
    pub(crate) fn preview(&self, records: &[Record<'_>]) -> Result<Self, Misfit> {
        let mut copy = self.clone();
        let seq = self.applied.next();
        records.iter().try_for_each(|record| copy.apply(seq, record))?;
        Ok(copy)
    }

    /// When the next key expires (Unix ms), if any does.
    pub(crate) fn next_expiry_ms(&self) -> Option<u64> {
        self.databases.iter().filter_map(|database| Some(database.expiries().next()?.0)).min()
    }

    /// Up to `most` streams that have expired by a time (Unix ms).
    pub(crate) fn expired_by(&self, now_ms: u64, most: usize) -> Vec<StreamAt> {
        let expired = |database: &Database| -> Vec<StreamAt> {
            let due = database.expiries().take_while(|(at_ms, _)| *at_ms <= now_ms);
            due.map(|(_, no)| StreamAt { db: database.no(), no }).take(most).collect()
        };
        self.databases.iter().flat_map(expired).take(most).collect()
    }

    /// What changes dropped since the last call.
    pub(crate) fn take_trash(&mut self) -> Trash {
        std::mem::take(&mut self.trash)
    }

    /// The state as parts: `sink` gets every page that changed after batch `since`, and the answer is the head, which
    /// leads to all pages.
    ///
    /// # Errors
    /// If the sink wanted no more.
    pub(crate) fn dump(&self, since: Seq, sink: &mut dyn PartSink) -> Result<Vec<u8>, Stopped> {
        let mut dump = Dump::new(since, sink);
        for database in &self.databases {
            database.dump(&mut dump)?;
        }
        let mut head = bincode::serde::encode_to_vec(self, CONFIG)
            .expect("the head of the state is always encodable into memory");
        head.extend_from_slice(&self.name_seed.to_le_bytes());
        Ok(head)
    }

    /// The parts of a saved state that a later one does not have any more. `kept` is what the later one's dump said to
    /// be kept. Reads little more than what is gone.
    pub(crate) fn dropped(
        head: &[u8],
        parts: &mut dyn Parts,
        kept: &HashSet<PartKey>,
    ) -> Result<Vec<PartKey>, LoadError> {
        let comparison = Comparison::new(parts, kept, false);
        Self::compare(head, comparison)
    }

    /// Reads all parts of a saved state, as loading it would, and keeps none.
    pub(crate) fn read_through(head: &[u8], parts: &mut dyn Parts) -> Result<(), LoadError> {
        let kept = HashSet::new();
        let comparison = Comparison::new(parts, &kept, true);
        Self::compare(head, comparison).map(drop)
    }

    fn compare(head: &[u8], mut comparison: Comparison<'_>) -> Result<Vec<PartKey>, LoadError> {
        for database in &Self::decode_head(head)?.databases {
            database.dropped(&mut comparison)?;
        }
        Ok(comparison.dropped)
    }

    /// The state that a dump came from. `load(dump(s)) == s`.
    pub(crate) fn load(head: &[u8], parts: &mut dyn Parts) -> Result<Self, LoadError> {
        let mut state = Self::decode_head(head)?;
        for database in &mut state.databases {
            database.load(parts)?;
        }
        Ok(state)
    }

    /// The state with all pages away.
    fn decode_head(head: &[u8]) -> Result<Self, LoadError> {
        let fail =
            |why: String| LoadError { key: PartKey { changed_at: Seq::ZERO, page: PageNo::ZERO }, why };
        let (mut state, used): (Self, usize) = bincode::serde::decode_from_slice(head, CONFIG)
            .map_err(|error| fail(format!("the head can't be decoded: {error}")))?;
        let name_seed = match &head[used..] {
            // As it was before there were seeds.
            [] => Some(0),
            seed => seed.try_into().map(u64::from_le_bytes).ok(),
        };
        let Some(name_seed) = name_seed.filter(|_| state.databases.len() == usize::from(DbIndex::COUNT))
        else {
            return Err(fail("the head is not that of a state".into()));
        };
        state.set_name_seed(name_seed);
        Ok(state)
    }

    /// Only for a state whose names were sorted with that seed, or that has none.
    pub(crate) fn set_name_seed(&mut self, name_seed: u64) {
        self.name_seed = name_seed;
        self.databases.iter_mut().for_each(|database| database.set_name_seed(name_seed));
    }

    /// Says what is wrong with the state itself, if anything is.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.databases.iter().try_for_each(Database::check)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Default)]
    struct Store(BTreeMap<PartKey, Vec<u8>>);

    impl PartSink for Store {
        fn changed(&mut self, key: PartKey, bytes: Vec<u8>) -> Result<(), Stopped> {
            self.0.insert(key, bytes);
            Ok(())
        }

        fn kept(&mut self, _: PartKey) {}
    }

    impl Parts for Store {
        fn read(&mut self, key: PartKey) -> Result<Vec<u8>, String> {
            self.0.get(&key).cloned().ok_or_else(|| "missing".into())
        }
    }

    fn with_streams(name_seed: u64) -> State {
        let mut state = State::new(name_seed);
        for (no, name) in (1..).zip(["a", "b", "c", "d", "e"]) {
            let stream = StreamAt { db: DbNo::new(0), no: StreamNo::new(no) };
            let name = bytes::Bytes::from(name);
            state.apply(Seq::new(no), &Record::StreamCreated { stream, name: (&name).into() }).unwrap();
        }
        state
    }

    fn order(state: &State) -> Vec<&[u8]> {
        state.databases[0].names().map(|name| &name[..]).collect()
    }

    #[test]
    fn names_are_sorted_by_hashes_of_the_stores_own() {
        let (one, other) = (with_streams(1), with_streams(2));
        assert_ne!(order(&one), order(&other));
        assert_eq!(one.digest(), other.digest(), "what they say is the same");
        for state in [one, with_streams(0)] {
            let mut store = Store::default();
            let head = state.dump(Seq::ZERO, &mut store).unwrap();
            let loaded = State::load(&head, &mut store).unwrap();
            loaded.check().unwrap();
            assert_eq!((loaded.name_seed, order(&loaded)), (state.name_seed, order(&state)));
            // As older versions wrote it.
            let (old, _) = head.split_at(head.len() - 8);
            let loaded = State::load(old, &mut store).unwrap();
            assert_eq!(loaded.check().is_ok(), state.name_seed == 0);
            State::load(&head[..head.len() - 1], &mut store).unwrap_err();
        }
    }
}
