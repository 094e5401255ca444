//! A database: names, the streams they are bound to, and when these expire.

use bytes::Bytes;
use imbl::OrdSet;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::rows::{Row, RowCount, Rows, weight_of_name};
use super::stream::Stream;
use super::tree::{Comparison, Dump, LoadError, Needs, Parts, Stamp, Stopped, Tree};
use crate::id::{DbNo, StreamNo};

/// A database. Nobody outside this file can bind a name without its stream, or forget when that expires.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Database {
    no: DbNo,
    #[serde(skip)]
    name_seed: u64,
    names: Tree<Rows<Names>>,
    streams: Tree<Rows<Stream>>,
    /// What expires when, derived from the streams.
    #[serde(skip)]
    expiring: OrdSet<(u64, StreamNo)>,
}

/// The names that share a hash: nearly always one. Sorted by that, so that SCAN can go through a database in an order
/// that renaming and overwriting do not change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Names {
    hash: u64,
    /// At least one.
    bound: Vec<Name>,
}

/// A name and what it is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Name {
    pub(crate) name: Bytes,
    pub(crate) stream: StreamNo,
}

impl Row for Names {
    type Key = u64;
    type Summary = RowCount;
    const LEAF_ROWS_MAX: usize = 64;
    const WEIGHS: bool = true;

    fn key(&self) -> &u64 {
        &self.hash
    }

    fn weight(&self) -> usize {
        self.bound.iter().map(|bound| weight_of_name(&bound.name)).sum()
    }

    fn bytes(&self) -> u64 {
        let names = self.bound.iter().map(|bound| (size_of::<Name>() + bound.name.len()) as u64);
        size_of::<Self>() as u64 + names.sum::<u64>()
    }

    fn count(&self, summary: &mut RowCount) {
        summary.0 += self.bound.len() as u64;
    }
}

impl Database {
    pub(super) fn new(no: DbNo, name_seed: u64) -> Self {
        Self { no, name_seed, names: Tree::default(), streams: Tree::default(), expiring: OrdSet::new() }
    }

    /// See [`State`](super::State).
    pub(super) fn set_name_seed(&mut self, name_seed: u64) {
        self.name_seed = name_seed;
    }

    /// Where a name stands in the order of SCAN. Part of the format.
    fn hash_of(&self, name: &[u8]) -> u64 {
        xxh3_64_with_seed(name, self.name_seed)
    }

    /// Its number for life.
    pub(crate) fn no(&self) -> DbNo {
        self.no
    }

    /// How many keys it has.
    pub(crate) fn key_count(&self) -> u64 {
        self.names.summary().0
    }

    /// About how many bytes it takes in memory.
    pub(super) fn memory_bytes(&self) -> u64 {
        // A place in a set that is half full.
        const EXPIRING_BYTES: u64 = 32;
        size_of::<Self>() as u64
            + self.names.bytes()
            + self.streams.bytes()
            + self.expiring_count() * EXPIRING_BYTES
    }

    /// How many of them expire.
    pub(crate) fn expiring_count(&self) -> u64 {
        self.expiring.len() as u64
    }

    /// When they expire (Unix ms), soonest first.
    pub(crate) fn expiries(&self) -> impl Iterator<Item = (u64, StreamNo)> + use<'_> {
        self.expiring.iter().copied()
    }

    /// The stream that a name is bound to.
    pub(crate) fn stream(&self, name: &[u8]) -> Result<Option<&Stream>, Needs> {
        let Some(names) = self.names.get(&self.hash_of(name))? else { return Ok(None) };
        match names.bound.iter().find(|bound| bound.name == name) {
            Some(bound) => self.streams.get(&bound.stream),
            None => Ok(None),
        }
    }

    /// The stream with that number.
    pub(crate) fn stream_no(&self, no: StreamNo) -> Result<Option<&Stream>, Needs> {
        self.streams.get(&no)
    }

    /// The names, in the order of SCAN.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Bytes> {
        self.names.rows().flat_map(|names| &names.bound).map(|bound| &bound.name)
    }

    /// The names from a place in the order of SCAN on, those of one place together.
    pub(crate) fn names_from(
        &self,
        place: u64,
    ) -> Result<impl Iterator<Item = Result<(u64, &[Name]), Needs>> + use<'_>, Needs> {
        Ok(self.names.range_from(&place)?.map(|row| row.map(|names| (names.hash, &names.bound[..]))))
    }

    /// The streams, in the order in which they were created.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.streams.rows()
    }

    /// Binds a name that is free to a stream that is new here.
    pub(super) fn add(&mut self, stream: Stream, stamp: &mut Stamp<'_>) -> Result<(), Needs> {
        self.bind(stream.name.clone(), stream.no, stamp)?;
        if let Some(at_ms) = stream.expires_ms {
            self.expiring.insert((at_ms, stream.no));
        }
        self.streams.insert(stream, stamp).map(drop)
    }

    /// Takes a stream out, and unbinds its name.
    pub(super) fn take(&mut self, no: StreamNo, stamp: &mut Stamp<'_>) -> Result<Option<Stream>, Needs> {
        let Some(stream) = self.streams.remove(&no, stamp)? else { return Ok(None) };
        self.unbind(&stream.name, stamp)?;
        if let Some(at_ms) = stream.expires_ms {
            self.expiring.remove(&(at_ms, no));
        }
        Ok(Some(stream))
    }

    /// Changes a stream in place; not its number, its name or its expiry. `None` if it is not here.
    pub(super) fn change<T>(
        &mut self,
        no: StreamNo,
        stamp: &mut Stamp<'_>,
        change: impl FnOnce(&mut Stream, &mut Stamp<'_>) -> T,
    ) -> Result<Option<T>, Needs> {
        self.streams.update(&no, stamp, change)
    }

    /// Binds a stream to another name, which is free.
    pub(super) fn rename(&mut self, no: StreamNo, name: Bytes, stamp: &mut Stamp<'_>) -> Result<(), Needs> {
        let new = name.clone();
        let old = self.streams.update(&no, stamp, |stream, _| std::mem::replace(&mut stream.name, new))?;
        if let Some(old) = old {
            self.unbind(&old, stamp)?;
            self.bind(name, no, stamp)?;
        }
        Ok(())
    }

    /// Sets when a stream expires.
    pub(super) fn set_expiry(
        &mut self,
        no: StreamNo,
        at_ms: Option<u64>,
        stamp: &mut Stamp<'_>,
    ) -> Result<(), Needs> {
        let before =
            self.streams.update(&no, stamp, |stream, _| std::mem::replace(&mut stream.expires_ms, at_ms))?;
        if let Some(before) = before.flatten() {
            self.expiring.remove(&(before, no));
        }
        if let Some(at_ms) = at_ms {
            self.expiring.insert((at_ms, no));
        }
        Ok(())
    }

    fn bind(&mut self, name: Bytes, stream: StreamNo, stamp: &mut Stamp<'_>) -> Result<(), Needs> {
        let hash = self.hash_of(&name);
        let mut bound = self.names.get(&hash)?.map_or_else(Vec::new, |names| names.bound.clone());
        bound.push(Name { name, stream });
        self.names.insert(Names { hash, bound }, stamp).map(drop)
    }

    fn unbind(&mut self, name: &[u8], stamp: &mut Stamp<'_>) -> Result<(), Needs> {
        let hash = self.hash_of(name);
        let Some(names) = self.names.get(&hash)? else { return Ok(()) };
        let bound: Vec<Name> = names.bound.iter().filter(|bound| bound.name != name).cloned().collect();
        if bound.is_empty() {
            return self.names.remove(&hash, stamp).map(drop);
        }
        self.names.insert(Names { hash, bound }, stamp).map(drop)
    }

    pub(super) fn dump(&self, dump: &mut Dump<'_>) -> Result<(), Stopped> {
        self.names.dump(dump)?;
        self.streams.dump(dump)
    }

    pub(super) fn dropped(&self, comparison: &mut Comparison<'_>) -> Result<(), LoadError> {
        self.names.dropped(comparison)?;
        self.streams.dropped(comparison)
    }

    pub(super) fn load(&mut self, parts: &mut dyn Parts) -> Result<(), LoadError> {
        self.names.load(parts)?;
        self.streams.load(parts)?;
        let expiring = self.streams.rows().filter_map(|stream| Some((stream.expires_ms?, stream.no)));
        self.expiring = expiring.collect();
        Ok(())
    }

    /// Says what is wrong, if anything is: names, streams and expiries must agree.
    pub(super) fn check(&self) -> Result<(), String> {
        self.names.check_rows()?;
        self.streams.check_rows()?;
        if self.names.summary().0 != self.streams.summary().streams {
            return Err(format!("database {} has not as many streams as names", self.no));
        }
        for names in self.names.rows() {
            for bound in &names.bound {
                let stream = self.streams.get(&bound.stream).ok().flatten();
                if stream.is_none_or(|stream| stream.name != bound.name)
                    || self.hash_of(&bound.name) != names.hash
                {
                    return Err(format!("the name {:?} is not that of its stream", bound.name));
                }
            }
        }
        let expiring = self.streams.rows().filter_map(|stream| Some((stream.expires_ms?, stream.no)));
        if expiring.collect::<OrdSet<_>>() != self.expiring {
            return Err(format!("database {} does not know what expires", self.no));
        }
        self.streams.rows().try_for_each(Stream::check)
    }
}
